"""Settled steps made by hand, for learners alone: rows of heat and weather without a pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from models.site_files import parse_site
from streams.core.network_loads import HEAT, WEATHER
from streams.core.network_rows import STEP_MS, Settled, Source
from streams.core.operator import Learner
from streams.core.stream_site import StreamSite
from streams.core.window_state import FINAL, UNKNOWN, WindowState
from streams.operators.device_heat import device_heat
from streams.operators.secondary_heat import secondary_heat
from streams.operators.weather import weather

__all__ = ["learn", "site_texts"]

Row = dict[str, Any]


def site_texts(devices: Sequence[str], network: str = "", timezone: str = "UTC") -> dict[str, str]:
    """A network with `devices`, each a line: device, class, network, mounting, area_m2 and, if known, qp_m3_h."""
    lines = [[*line.split(","), ""][:6] for line in devices]
    return {
        "site.toml": f'[site]\nid = "s"\nname = "s"\ntimezone = "{timezone}"\n'
        '[[region]]\nid = "r"\nname = "r"\n[[unit]]\nid = "u1"\nregion = "r"\nname = "u"\n'
        f'[[network]]\nid = "n1"\nunit = "u1"\nname = "n"\n{network}',
        "devices.csv": "device,class,unit,network,mounting,area_m2,qp_m3_h,interval_s\n"
        + "".join(f"{d},{c},u1,{n},{m},{a},{qp},60\n" for d, c, n, m, a, qp in lines),
    }


def learn(
    learner: Learner,
    texts: Mapping[str, str],
    start_ms: int,
    steps: Sequence[Mapping[str, Mapping[str, float]]],
) -> dict[tuple[str, int], Row]:
    """Give a learner `steps`, each the fields of devices by name, and give its rows.

    A device without fields in a step has a row that is unknown there. Fields of its secondary loop begin with
    ``loop.``.
    """

    def loops(step: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
        return {
            i: {f.removeprefix("loop."): v for f, v in fields.items() if f.startswith("loop.")} for i, fields in step.items()
        }  # fmt: skip

    site = parse_site(dict(texts))[0]
    ids = tuple(site.devices)
    stream = StreamSite(site, ids, {}, "u1")
    classes = np.array([site.devices[i].device_class for i in ids])
    state: Any = None
    rows: list[Row] = []
    for nth, step in enumerate(steps):
        at = start_ms + nth * STEP_MS
        sources = {
            HEAT: Source(device_heat.fields, "device", {at: _rows(device_heat.fields, ids, classes != "weather", step)}),
            WEATHER: Source(
                weather.fields, "device",
                {at: _rows(weather.fields, ids, (classes == "weather") | (classes == "plant"), step)},
            ),
            "secondary_heat": Source(
                secondary_heat.fields, "device",
                {at: _rows(secondary_heat.fields, ids, classes == "substation", loops(step))},
            ),
        }  # fmt: skip
        settled = Settled(at, at + STEP_MS, stream, "u1", ("n1",), sources)
        state, table = learner.function(state, settled)
        rows += [] if table is None else pa.table(table).to_pylist()
    return {(r["key"], r["window_start"]): r for r in rows}


def _rows(
    fields: Sequence[str], ids: Sequence[str], mine: np.ndarray, step: Mapping[str, Mapping[str, float]]
) -> WindowState:
    state = WindowState(len(fields))
    values = np.array([[step.get(i, {}).get(f, np.nan) for i in ids] for f in fields])
    status = np.where(np.isnan(values).all(axis=0), UNKNOWN, FINAL)
    at = np.flatnonzero(mine)
    n = len(at)
    state.remember(at, values[:, at], np.ones(n), status[at], np.full(n, "", object), np.zeros(n, np.int64))
    return state
