"""Channels of heat meters that show one value for longer than they ever did, as anomalies."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.anomaly import ANOMALY, Anomaly, Severity, State, anomaly_table
from models.frozen import LONGER, QUANTILE, FrozenRuns, Runs, fold, frozen_runs
from models.measurements import Kind, of_class
from models.quality import STALE_INTERVALS
from streams.core.network_rows import Settled
from streams.core.operator import learner
from streams.core.samples import ClassSamples

__all__ = ["FrozenState", "frozen_value"]

CODE: Final = "frozen_value"
VERSION: Final = 1
CLASSES: Final = ("plant", "substation", "meter")
PLACED: Final = frozenset({"valve_pct", "pump_hz", "secondary_setpoint_c"})
"""These stay where they are put."""
AT_REST: Final = frozenset({"flow_m3_h", "secondary_flow_m3_h", "heat_kw"})
"""These stay at zero where nothing flows."""
_AT_ONCE: Final = 500_000  # values of one piece of work, so that a step of many devices takes little memory
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FrozenState:
    """What is known of every channel, and which devices have one that is frozen.

    Attributes
    ----------
    columns : mapping of str to tuple of str
        By device class the measurements whose runs are known.
    runs : mapping of str to Runs
        By device class; a channel is device index × columns + column.
    active : mapping of str to dict
        By device what was told of it last, without state, of each anomaly that has not ended.
    """

    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    runs: Mapping[str, Runs] = field(default_factory=dict)
    active: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """All of it; `from_bytes` reads it."""
        runs = {
            name: [_text(a) for a in (r.bins, r.counts, r.value, r.since_ms, r.until_ms)]
            for name, r in self.runs.items()
        }
        kept = {"columns": dict(self.columns), "runs": runs, "active": dict(self.active)}
        return json.dumps(kept, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote."""
        kept = json.loads(data)
        kinds = (np.int64, np.int64, np.float64, np.int64, np.int64)
        runs = {
            name: Runs(*(_array(text, kind) for text, kind in zip(texts, kinds, strict=True)))
            for name, texts in kept["runs"].items()
        }
        columns = {name: tuple(names) for name, names in kept["columns"].items()}
        return cls(columns, runs, kept["active"])


def _text(array: NDArray[Any]) -> str:
    return base64.b64encode(zlib.compress(array.tobytes(), 1)).decode()


def _array(text: str, kind: type) -> NDArray[Any]:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=kind)


@learner(samples=CLASSES, version=VERSION, writes=ANOMALY, state=FrozenState)
def frozen_value(state: FrozenState | None, settled: Settled) -> tuple[FrozenState, pa.Table | None]:
    """Learn how long each gauge shows one value, and tell of devices with one that does so for too long.

    One that is frozen raises an anomaly of its device. It changes no coverage: the value may be true.
    """
    state = state or FrozenState()
    runs, columns = dict(state.runs), dict(state.columns)
    for name, samples in settled.samples.items():
        if columns.get(name) != samples.columns:  # the table of measurements has changed: learn anew
            columns[name], runs[name] = samples.columns, Runs.none()
        runs[name] = _folded(runs[name], name, samples, settled)
    found: dict[int, list[dict[str, Any]]] = {}
    for name, known in runs.items():
        for device, evidence in _frozen(known, name, columns[name], settled):
            found.setdefault(device, []).append(evidence)
    active, told = _told(state.active, found, settled)
    table = anomaly_table(told, settled.stream) if told else None
    return replace(state, columns=columns, runs=runs, active=active), table


def _judged(device_class: str, columns: tuple[str, ...]) -> IntArray:
    """Columns of the gauges that never rest."""
    gauges = {m.name for m in of_class(device_class) if m.kind is Kind.GAUGE} - PLACED
    return np.array([at for at, name in enumerate(columns) if name in gauges], dtype=np.int64)


def _folded(runs: Runs, device_class: str, samples: ClassSamples, settled: Settled) -> Runs:
    """`runs` with the samples of a step."""
    interval_ms = settled.site.meters.interval_ms
    rows = samples.rows
    unknown = np.isnan(interval_ms[rows.device])
    rows = rows.take(~unknown) if unknown.any() else rows
    width, judged = len(samples.columns), _judged(device_class, samples.columns)
    at_once = max(1, _AT_ONCE // max(rows.n, 1))
    for low in range(0, len(judged), at_once):
        mine = judged[low : low + at_once]
        # By device, then column, then time, as channels are numbered.
        value = rows.values[mine]
        there = ~np.isnan(value)
        column, at = np.nonzero(there)
        channel = rows.device[at] * width + mine[column]
        if len(mine) > 1:
            order = np.argsort(channel, kind="stable")
            channel, column, at = channel[order], column[order], at[order]
        limit_ms = STALE_INTERVALS * interval_ms[rows.device[at]]
        runs = fold(runs, channel, rows.t[at], value[column, at], limit_ms)
    return runs


def _frozen(
    runs: Runs, device_class: str, columns: tuple[str, ...], settled: Settled
) -> list[tuple[int, dict[str, Any]]]:
    """Device index and evidence of each channel of a class that is frozen at the end of the step."""
    width = len(columns)
    devices = min(-(-len(runs.value) // width), len(settled.site.ids))
    mine = np.flatnonzero(settled.site.owned[:devices] & (settled.site.classes[:devices] == device_class))
    channel = (mine[:, None] * width + _judged(device_class, columns)).ravel()
    channel = channel[channel < len(runs.value)]
    interval_ms = settled.site.meters.interval_ms[channel // width]
    found = frozen_runs(
        runs, channel, interval_ms, STALE_INTERVALS * interval_ms, settled.start_ms, settled.end_ms
    )
    return [
        (int(c) // width, _evidence(columns[int(c) % width], found, at))
        for at, c in enumerate(found.channel.tolist())
        if not (columns[c % width] in AT_REST and found.value[at] == 0)
    ]


def _evidence(channel: str, found: FrozenRuns, at: int) -> dict[str, Any]:
    return {
        "channel": channel,
        "value": float(found.value[at]),
        "since": int(found.since_ms[at]),
        "run_s": float(found.run_s[at]),
        "usual_s": float(found.usual_s[at]),
        "runs_known": int(found.known[at]),
    }


def _told(
    active: Mapping[str, Mapping[str, Any]], found: Mapping[int, list[dict[str, Any]]], settled: Settled
) -> tuple[dict[str, Mapping[str, Any]], list[Anomaly]]:
    """Anomalies that go on after this step, and what there is to tell: those, and others that have ended."""
    site = settled.site
    goes_on: dict[str, Mapping[str, Any]] = {}
    for device, channels in sorted(found.items(), key=lambda item: site.ids[item[0]]):
        name = site.ids[device]
        rule = f"one value for {LONGER:g} times the longest of {QUANTILE:.1%} of the channel's runs"
        goes_on[name] = {
            "subject": name,
            "code": CODE,
            "severity": Severity.MINOR,
            "score": max(c["run_s"] / (LONGER * c["usual_s"]) for c in channels),
            "evidence": {"rule": rule, "channels": channels},
            "first_ms": active[name]["first_ms"] if name in active else settled.start_ms,
            "until_ms": settled.end_ms,
            "window_ms": settled.end_ms - settled.start_ms,
            "unit": str(site.units[device]),
            "region": str(site.regions[device]),
            "model": f"{CODE}/{VERSION}",
        }
    ended = {name: about for name, about in active.items() if name not in goes_on}
    told = [Anomaly(**goes_on[name]) for name in sorted(goes_on)]
    told += [Anomaly(**{**ended[name], "state": State.ENDED}) for name in sorted(ended)]
    return goes_on, told
