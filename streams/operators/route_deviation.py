"""Trucks that leave the ways usually taken from the place that they come from, as anomalies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa

from models.anomaly import ANOMALY, Anomaly, Severity, State, anomaly_table
from models.corridor import Corridor
from models.packing import packed, unpacked
from models.places import place_at
from models.position_filter import Fault, FilterState, Fixes, follow, metres
from models.route_watch import OFF_M, Deviation, Point, RouteWatch, UnderWay
from streams.core.network_rows import Settled
from streams.core.operator import learner

__all__ = ["RouteState", "route_deviation"]

VERSION: Final = 2
CODE: Final = "route_deviation"
KEPT_M: Final = 400.0
"""A point is kept each time a truck has driven so far. [m]"""


@dataclass(frozen=True, slots=True, eq=False)
class RouteState:
    """What is known of trucks and lanes.

    Attributes
    ----------
    filter : FilterState
    watch : RouteWatch
    active : mapping of str to int
        By plate of an anomaly that has not ended, when it was told first. [ms UTC]
    """

    filter: FilterState = field(default_factory=FilterState.none)
    watch: RouteWatch = field(default_factory=RouteWatch)
    active: Mapping[str, int] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """All of it; `from_bytes` reads it."""
        watch = self.watch
        under_way = sorted(watch.under_way.items())
        kept = {
            "filter": [packed(getattr(self.filter, f.name)) for f in fields(self.filter)],
            "active": sorted(self.active.items()),
            "at": sorted(watch.at.items()),
            "under_way": [
                [k, w.origin, len(w.lat_deg), None if w.off is None else asdict(w.off), w.back_m, w.strayed]
                for k, w in under_way
            ],
            "points": [
                packed(np.concatenate([getattr(w, name) for _, w in under_way] or [np.empty(0)]))
                for name in ("lat_deg", "lon_deg")
            ],
            "paths": [
                [lane, [[packed(lat), packed(lon)] for lat, lon in paths]]
                for lane, paths in sorted(watch.paths.items())
            ],
            "corridors": [
                [lane, c.trips, *(packed(x) for x in (c.lat_deg, c.lon_deg, c.at_m, c.half_width_m))]
                for lane, c in sorted(watch.corridors.items())
            ],
            "fresh": sorted(watch.fresh.items()),
            "settled": sorted(watch.settled.items()),
        }
        return json.dumps(kept).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote."""
        kept = json.loads(data)
        lat, lon = (unpacked(text) for text in kept["points"])
        cuts = np.cumsum([0, *(w[2] for w in kept["under_way"])])
        under_way = {
            k: UnderWay(
                origin, lat[a:b], lon[a:b], None if off is None else Deviation(**off), back_m, strayed
            )
            for (k, origin, _, off, back_m, strayed), a, b in zip(
                kept["under_way"], cuts, cuts[1:], strict=False
            )
        }
        paths = {
            (lane[0], lane[1]): tuple((unpacked(a), unpacked(b)) for a, b in each)
            for lane, each in kept["paths"]
        }
        corridors = {
            (lane[0], lane[1]): Corridor(unpacked(lat), unpacked(lon), unpacked(at_m), unpacked(half), trips)
            for lane, trips, lat, lon, at_m, half in kept["corridors"]
        }
        at = {k: (place, lat, lon) for k, (place, lat, lon) in kept["at"]}
        fresh = {(lane[0], lane[1]): count for lane, count in kept["fresh"]}
        watch = RouteWatch(under_way, at, paths, corridors, fresh, dict(kept["settled"]))
        return cls(FilterState(*(unpacked(x) for x in kept["filter"])), watch, dict(kept["active"]))


@learner(samples=("truck",), version=VERSION, writes=ANOMALY, state=RouteState)
def route_deviation(state: RouteState | None, settled: Settled) -> tuple[RouteState, pa.Table | None]:
    """Learn the ways between places from trips that end, and tell of trucks off every way from their origin.

    A way rests on the newest trips of its lane that did not stray; from an origin where a way is still to be
    learnt nobody deviates.
    """
    state = state or RouteState()
    samples = settled.samples.get("truck")
    if samples is None:
        return state, None
    rows = samples.rows
    lat, lon = (rows.values[samples.columns.index(name)] for name in ("lat_deg", "lon_deg"))
    filter_, filtered = follow(state.filter, Fixes(rows.device, rows.t, lat, lon))
    good = filtered.fault == Fault.NONE
    kept = Fixes(rows.device[good], rows.t[good], filtered.lat_deg[good], filtered.lon_deg[good])
    watch, off, ended = state.watch.after(_points(kept, settled))
    active = dict(state.active)
    told = []
    for truck, deviation in sorted(ended.items()):
        if truck in active:
            told.append(_told(truck, deviation, active.pop(truck), settled, State.ENDED))
        elif truck not in off:  # it came and went in one step
            told.append(_told(truck, deviation, settled.start_ms, settled, State.ENDED))
    for truck, deviation in sorted(off.items()):
        active.setdefault(truck, settled.start_ms)
        told.append(_told(truck, deviation, active[truck], settled, State.ACTIVE))
    table = anomaly_table(told, settled.stream) if told else None
    return RouteState(filter_, watch, active), table


def _points(kept: Fixes, settled: Settled) -> dict[str, list[Point]]:
    """Of each truck a point each `KEPT_M` that it drove, and where it crossed the edge of a place."""
    if not len(kept.truck):
        return {}
    places = [settled.site.site.places[name] for name in sorted(settled.site.site.places)]
    names = np.array([*(p.place for p in places), ""], dtype=object)
    inside = place_at(places, kept.lat_deg, kept.lon_deg)
    first = np.append(True, kept.truck[1:] != kept.truck[:-1])
    lat, lon = kept.lat_deg, kept.lon_deg
    drove = np.append(0.0, metres(lat[:-1], lon[:-1], lat[1:], lon[1:]))
    drove[first] = 0.0
    begins = np.flatnonzero(first)
    # Each truck by itself: what another drove must not decide which points are kept.
    total = [np.cumsum(mine) for mine in np.split(drove, begins[1:])]
    part = np.concatenate(total) // KEPT_M
    changes = np.append(inside[1:] != inside[:-1], True) | first
    wanted = changes | np.append(True, (part[1:] != part[:-1]) | changes[:-1])
    found: dict[str, list[Point]] = {}
    at = np.flatnonzero(wanted)
    for truck, t, a, b, place in zip(
        kept.truck[at].tolist(), kept.t_ms[at].tolist(), lat[at].tolist(), lon[at].tolist(),
        names[inside[at]].tolist(), strict=True,
    ):  # fmt: skip
        found.setdefault(settled.site.ids[truck], []).append((t, a, b, place))
    return found


def _told(device: str, off: Deviation, first_ms: int, settled: Settled, state: State) -> Anomaly:
    site = settled.site.site
    at = settled.site.ids.index(device)
    plate = site.plates.get(device)
    evidence: dict[str, Any] = {
        "rule": f"driven {OFF_M:g} m or more outside every corridor from its origin",
        "device": device, "since": off.since_ms, "until": off.until_ms, "driven_m": round(off.driven_m),
        "off_m": round(off.off_m), "over_half_width": round(off.over, 2), "lat_deg": round(off.lat_deg, 5),
        "lon_deg": round(off.lon_deg, 5),
    }  # fmt: skip
    return Anomaly(
        f"plate:{plate}" if plate else device, CODE, Severity.MINOR, max(1.0, off.driven_m / OFF_M), evidence,
        first_ms, settled.end_ms, settled.end_ms - settled.start_ms, str(settled.site.units[at]),
        str(settled.site.regions[at]), state, f"{CODE}/{VERSION}",
    )  # fmt: skip
