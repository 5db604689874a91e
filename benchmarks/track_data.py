"""Recorded fixes for benchmarks and tests of tracks, and stops by a plain definition."""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.motion import Motion, Run, runs_of, steps
from models.position_filter import EARTH_M, Fixes, believed, in_order
from models.standing import states

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Recording:
    """Fixes of a recording, in the order of arrival, and what else it says of each."""

    names: list[str]
    truck: NDArray[np.int64]
    t_ms: NDArray[np.int64]
    lat: FloatArray
    lon: FloatArray
    trip: list[str]

    def fixes(self, at: NDArray[np.int64] | None = None) -> Fixes:
        """Sorted, repeats removed; of those `at` these places, in that order."""
        at = np.arange(len(self.truck)) if at is None else at
        return in_order(self.truck[at], self.t_ms[at], self.lat[at], self.lon[at])


def recorded(path: Path, truck: str, time: str, lat: str, lon: str, trip: str = "") -> Recording:
    """Read a file of fixes; local times are taken for UTC, which changes no difference."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = sorted({r[truck] for r in rows})
    number = {name: at for at, name in enumerate(names)}
    t = np.array([np.datetime64(datetime.fromisoformat(r[time]), "ms") for r in rows]).astype(np.int64)
    lat_deg, lon_deg = (np.array([float(r[column]) for r in rows]) for column in (lat, lon))
    who = np.array([number[r[truck]] for r in rows])
    return Recording(names, who, t, lat_deg, lon_deg, [r[trip] if trip else "" for r in rows])


def trucks_of(recordings: Path) -> Recording:
    """The recording of heavy trucks."""
    return recorded(recordings / "trucks" / "truck_fixes.csv", "truck_id", "timestamp_local", "lat", "lon")


def route_of(recordings: Path) -> Recording:
    """The recording of buses on one route."""
    path = recordings / "route" / "route14_outbound.csv"
    return recorded(path, "vehicle_id", "timestamp", "latitude", "longitude", "trip_id")


def states_of(fixes: Fixes) -> dict[int, list[Run]]:
    """States of each truck."""
    kept, broken, _ = believed(fixes)
    truck, runs = runs_of(steps(kept, broken))
    by_truck = defaultdict(list)
    for each, run in zip(truck.tolist(), runs, strict=True):
        by_truck[each].append(run)
    return {each: states(mine) for each, mine in by_truck.items()}


def plain_stops(
    fixes: Fixes, radius_m: float = 100.0, least_s: float = 300.0, gap_s: float = 3600.0
) -> list[tuple[int, int, int]]:
    """Stops by a plain definition: every fix within `radius_m` of the first, for `least_s` or longer.

    Fixes over `gap_s` apart are of no one stop. Truck, from, until [ms].
    """
    found = []
    n, at = len(fixes.t_ms), 0
    t, truck = fixes.t_ms.tolist(), fixes.truck.tolist()
    lat, lon = np.radians(fixes.lat_deg), np.radians(fixes.lon_deg)
    while at < n:
        end = at
        while end + 1 < n and truck[end + 1] == truck[at] and t[end + 1] - t[end] <= 1000 * gap_s:
            north = lat[end + 1] - lat[at]
            east = (lon[end + 1] - lon[at]) * np.cos(lat[at])
            if EARTH_M * np.hypot(north, east) > radius_m:
                break
            end += 1
        if t[end] - t[at] >= 1000 * least_s:
            found.append((truck[at], t[at], t[end]))
            at = end
        else:
            at += 1
    return found


def stood_s(mine: list[Run], from_ms: int, to_ms: int) -> float:
    """How much of a time a truck is said to have stood. [s]"""
    return sum(
        max(0, min(r.to_ms, to_ms) - max(r.from_ms, from_ms)) / 1000.0
        for r in mine
        if r.motion is Motion.STOPPED
    )


def resent(recording: Recording, count: int) -> NDArray[np.int64]:
    """Places of so many fixes of a recording that stand for a truck and time, chosen anyhow."""
    n = len(recording.truck)
    order = np.lexsort((np.arange(n), recording.t_ms, recording.truck))
    truck, t_ms = recording.truck[order], recording.t_ms[order]
    stands = order[np.append((truck[1:] != truck[:-1]) | (t_ms[1:] != t_ms[:-1]), True)]
    return np.random.default_rng(3).choice(stands, count)
