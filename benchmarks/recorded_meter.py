"""A real heat meter's half-year, where its recording is at hand, as learners of samples are given it."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from models.site import Device, Network, Region, Site, Unit
from streams.core.network_rows import STEP_MS, Settled, Source
from streams.core.operator import Learner
from streams.core.rows import Rows, numeric_columns
from streams.core.samples import ClassSamples, Samples
from streams.core.stream_site import StreamSite
from streams.core.window_state import WindowState
from streams.operators.data_quality import data_quality

__all__ = ["DEVICE", "recorded_meter"]

DEVICE: Final = "meter-10259"
_ZONE: Final = ZoneInfo("Europe/Tallinn")
_COLUMNS: Final = {
    "energy_gj": ("ENERGY", 3.6), "volume_m3": ("VOLUME", 1.0), "operating_h": ("HOURS", 1.0),
    "heat_kw": ("POWER1", 1.0), "flow_m3_h": ("FLOW", 1e-3), "supply_c": ("FLOW_TEMP", 1.0),
    "return_c": ("RETURN_TEMP", 1.0),
}  # fmt: skip


def _site() -> Site:
    meter = Device(
        DEVICE, "meter", "house", "house", "net", qp_m3_h=1.5, accuracy_class=2, dt_min_k=3.0,
        mounting="return", interval_s=3600.0,
    )  # fmt: skip
    return Site(
        "", "one building", "Europe/Tallinn", regions={"ee": Region("ee", "ee")},
        units={"house": Unit("house", "ee", "house")}, networks={"net": Network("net", "house", "net")},
        devices={DEVICE: meter},
    )  # fmt: skip


def recorded_meter(
    path: Path, learners: Sequence[Learner], *, days: float | None = None
) -> list[dict[str, Any]]:
    """Rows that learners tell of the record, over every step of it or of its first `days`."""
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    at = [datetime.fromisoformat(r["READ_DATE"]).replace(tzinfo=_ZONE).timestamp() * 1000 for r in rows]
    t, first = np.unique(np.array(at, dtype=np.int64), return_index=True)
    columns = numeric_columns("meter")
    values = np.full((len(columns), len(t)), np.nan)
    for name, (source, factor) in _COLUMNS.items():
        values[columns.index(name)] = [float(rows[n][source] or "nan") * factor for n in first.tolist()]
    stream = StreamSite(_site(), [DEVICE], {})
    state: dict[str, Any] = {}
    told: list[dict[str, Any]] = []
    end_ms = int(t[-1]) if days is None else int(t[0] + days * 86_400_000)
    for start in range(int(t[0]) // STEP_MS * STEP_MS, end_ms, STEP_MS):
        end = start + STEP_MS
        inside = _part(columns, t, values, start, end)
        sources = _sources(columns, t, values, start, stream) if inside.rows.n else {}
        settled = Settled(start, end, stream, "house", ("net",), sources, samples={"meter": inside})
        for learner in learners:
            state[learner.name], table = learner.function(state.get(learner.name), settled)
            rows_told = table.to_pylist() if table is not None else ()
            told += [{**row, "evidence": json.loads(row["evidence"])} for row in rows_told]
    return told


def _sources(
    columns: tuple[str, ...], t: Any, values: Any, start: int, stream: StreamSite
) -> dict[str, Source]:
    """Rows of a step that has samples, which alone are asked for."""
    end = start + STEP_MS
    samples = Samples(start, end, [_part(columns, t, values, start - 3 * 3_600_000, end + 2 * 3_600_000)])
    result = data_quality.function(samples, stream)
    said = WindowState(len(data_quality.fields))
    fields = np.array([getattr(result, f) for f in data_quality.fields], dtype=np.float64)
    said.say(samples.devices, fields, result.coverage, result.reason, np.ones(1, dtype=bool))
    return {
        "data_quality": Source(data_quality.fields, "device", {start: said}),
        "device_heat": Source(("excess_m3",), "device", {}),
    }


def _part(columns: tuple[str, ...], t: Any, values: Any, low_ms: int, high_ms: int) -> ClassSamples:
    low, high = int(np.searchsorted(t, low_ms)), int(np.searchsorted(t, high_ms))
    zeros = np.zeros(high - low, dtype=np.int64)
    return ClassSamples(columns, Rows(zeros, t[low:high], zeros, zeros, zeros, values[:, low:high]))
