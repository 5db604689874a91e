"""What each truck does, from its positions: driving, stopped or out of reach, since when, where, how far."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.motion import Motion, Run
from models.places import place_at
from models.position_filter import Fixes
from models.results import Status, result_schema
from models.tracking import Tracking
from streams.core.network_rows import Settled
from streams.core.operator import learner

__all__ = ["TRACK_SCHEMA", "TrackState", "track"]

VERSION: Final = 1
TRACK_SCHEMA: Final = result_schema([
    pa.field("state", pa.string()),
    pa.field("place", pa.string()),
    pa.field("until", pa.int64()),
    pa.field("distance_m", pa.float64()),
    pa.field("rejected", pa.int64()),
])  # fmt: skip


@dataclass(frozen=True, slots=True)
class TrackState:
    """What is known of all trucks.

    Attributes
    ----------
    tracking : Tracking
    told : mapping of int to list
        By truck the starts of states that were told and are not final. [ms UTC]
    rejected : mapping of int to int
        By truck how many fixes were not believed since its last state ended.
    """

    tracking: Tracking = field(default_factory=Tracking)
    told: Mapping[int, list[int]] = field(default_factory=dict)
    rejected: Mapping[int, int] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """All of it; `from_bytes` reads it."""
        head = json.dumps([sorted(self.told.items()), sorted(self.rejected.items())]).encode()
        return len(head).to_bytes(8, "big") + head + self.tracking.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote."""
        size = 8 + int.from_bytes(data[:8], "big")
        told, rejected = (dict(pairs) for pairs in json.loads(data[8:size]))
        return cls(Tracking.from_bytes(data[size:]), told, rejected)


@learner(samples=("truck",), version=VERSION, state=TrackState, late=True)
def track(state: TrackState | None, settled: Settled) -> tuple[TrackState, pa.Table | None]:
    """Follow every truck through a step, and tell of the states that ended and of those in progress.

    A state is final when it is over. One in progress is provisional: `until` is the last fix that it rests
    on; out of reach, the end of the step. What was told of it and is not so is withdrawn. Fixes later than
    the lateness count with the next step if they are newer than all of their truck that did, as those of a
    box that was out of reach; others are kept as readings, and change no state.
    """
    state = state or TrackState()
    samples, late = settled.samples.get("truck"), settled.late.get("truck")
    if samples is None and late is None and not state.told:
        return state, None
    fixes = _with_late(_fixes(samples), _fixes(late), state.tracking)
    tracking, ended, fault = state.tracking.after(fixes)
    rejected = dict(state.rejected)
    for truck, count in zip(*np.unique(fixes.truck[fault > 0], return_counts=True), strict=True):
        rejected[int(truck)] = rejected.get(int(truck), 0) + int(count)
    told: dict[int, list[int]] = {}
    rows: list[tuple[int, Run | int, Status, int]] = []
    for truck, open_ in tracking.at(settled.end_ms).items():
        if not settled.site.owned[truck]:
            continue
        count = rejected.get(truck, 0)
        over = ended.get(truck, [])
        # What was not believed while several states passed is told with the first that ended.
        rows += [(truck, run, Status.FINAL, 0 if at else count) for at, run in enumerate(over)]
        if over:
            rejected.pop(truck, None)
            count = 0
        rows += [(truck, run, Status.PROVISIONAL, count if run is open_[0] else 0) for run in open_]
        told[truck] = [run.from_ms for run in open_]
        gone = set(state.told.get(truck, ())) - {run.from_ms for run in (*over, *open_)}
        rows += [(truck, start, Status.WITHDRAWN, 0) for start in sorted(gone)]
    return replace(state, tracking=tracking, told=told, rejected=rejected), _table(rows, settled)


def _fixes(samples: Any) -> Fixes:
    if samples is None:
        return Fixes(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0))
    rows = samples.rows
    lat, lon = (rows.values[samples.columns.index(name)] for name in ("lat_deg", "lon_deg"))
    return Fixes(rows.device, rows.t, lat, lon)


def _with_late(fixes: Fixes, late: Fixes, tracking: Tracking) -> Fixes:
    """The fixes of a step, and those of before it that are newer than what is known of their truck."""
    if not len(late.truck):
        return fixes
    new = np.flatnonzero(late.t_ms > tracking.newest_ms(late.truck))
    if not len(new):
        return fixes
    both = (np.concatenate([a, b[new]]) for a, b in zip(_columns(fixes), _columns(late), strict=True))
    truck, t_ms, lat, lon = both
    return Fixes(truck, t_ms, lat, lon).take(np.lexsort((t_ms, truck)))


def _columns(fixes: Fixes) -> tuple[NDArray[Any], ...]:
    return fixes.truck, fixes.t_ms, fixes.lat_deg, fixes.lon_deg


def _table(rows: list[tuple[int, Run | int, Status, int]], settled: Settled) -> pa.Table | None:
    if not rows:
        return None
    site = settled.site
    device = np.array([r[0] for r in rows])
    runs = [r[1] if isinstance(r[1], Run) else None for r in rows]
    start = np.array([r[1].from_ms if isinstance(r[1], Run) else r[1] for r in rows])
    until = [None if run is None else run.to_ms for run in runs]
    n = len(rows)
    columns = {
        "key": pa.array(np.array(site.ids, dtype=object)[device], pa.string()),
        "unit": pa.array(site.units[device], pa.string()),
        "region": pa.array(site.regions[device], pa.string()),
        "stream": pa.array([settled.stream] * n, pa.string()),
        "window_start": pa.array(start, pa.int64()),
        "window_ms": pa.array(
            [0 if u is None else u - int(s) for u, s in zip(until, start, strict=True)], pa.int64()
        ),
        "state": pa.array([None if run is None else run.motion.name.lower() for run in runs], pa.string()),
        "place": pa.array(_places(runs, settled), pa.string()),
        "until": pa.array(until, pa.int64()),
        "distance_m": pa.array([None if run is None else run.metres for run in runs], pa.float64()),
        "rejected": pa.array(
            [None if run is None else r[3] for run, r in zip(runs, rows, strict=True)], pa.int64()
        ),
        "coverage": pa.nulls(n, pa.float64()),
        "status": pa.array([str(r[2]) for r in rows], pa.string()),
        "reason": pa.nulls(n, pa.string()),
        "revision": pa.array([0] * n, pa.int32()),
        "model": pa.nulls(n, pa.string()),
    }
    return pa.table(columns).select(TRACK_SCHEMA.names).cast(TRACK_SCHEMA)


def _places(runs: list[Run | None], settled: Settled) -> NDArray[Any]:
    """The place at which each stop is, None elsewhere."""
    places = [settled.site.site.places[name] for name in sorted(settled.site.site.places)]
    stops = [at for at, run in enumerate(runs) if run is not None and run.motion is Motion.STOPPED]
    lat, lon = (np.array([getattr(runs[at], n) for at in stops], dtype=float) for n in ("lat_deg", "lon_deg"))
    found = np.full(len(runs), None, dtype=object)
    names = np.array([*(p.place for p in places), None], dtype=object)
    found[stops] = names[place_at(places, lat, lon)]
    return found
