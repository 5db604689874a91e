"""Entering and leaving of places: circles on the map, crossed between two fixes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.position_filter import EARTH_M, Fixes, metres
from models.site import Place

__all__ = ["EDGE_M", "Crossings", "crossings", "place_at"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

EDGE_M: Final = 25.0
"""Who has entered leaves only so far outside the circle: noise at its edge is no coming and going. [m]"""


@dataclass(frozen=True, slots=True)
class Crossings:
    """Crossings of the edges of places, by truck and time; all of shape (n,).

    Attributes
    ----------
    truck : ndarray of int64
    place : ndarray of int64
        By place in the sequence of places.
    enters : ndarray of bool
        Or leaves.
    t_ms : ndarray of int64
        When it crossed the circle, as it would have driving evenly between two fixes. [ms UTC]
    from_ms, to_ms : ndarray of int64
        The two fixes; equal where the first fix of all was inside. [ms UTC]
    """

    truck: IntArray
    place: IntArray
    enters: NDArray[np.bool_]
    t_ms: IntArray
    from_ms: IntArray
    to_ms: IntArray


def place_at(places: Sequence[Place], lat_deg: FloatArray, lon_deg: FloatArray) -> IntArray:
    """The place that each position is inside, by place in the sequence, the nearest of several; −1 none."""
    best = np.full(len(lat_deg), -1, dtype=np.int64)
    least = np.full(len(lat_deg), np.inf)
    here = _Positions(lat_deg, lon_deg)
    for at, place in enumerate(places):
        near, apart = here.near(place, place.radius_m)
        mine = near[apart <= np.minimum(place.radius_m, least[near])]
        least[mine] = apart[np.searchsorted(near, mine)]
        best[mine] = at
    return best


def crossings(places: Sequence[Place], fixes: Fixes, edge_m: float = EDGE_M) -> Crossings:
    """Where trucks entered and left places.

    Parameters
    ----------
    places : sequence of Place
    fixes : Fixes
        Believed ones, filtered. The first of a truck is where it begins: inside is entered then.
    edge_m : float
        Who has entered leaves only so far outside the circle. With 0 a crossing rests on its two fixes alone,
        and who stands at the very edge comes and goes. [m]
    """
    here, trucks = _Positions(fixes.lat_deg, fixes.lon_deg), _Runs(fixes.truck)
    found = [_of(at, place, fixes, here, trucks, edge_m) for at, place in enumerate(places)]
    columns = [np.concatenate([part[n] for part in found] or [np.empty(0, np.int64)]) for n in range(6)]
    order = np.lexsort((columns[1], columns[3], columns[0]))
    truck, place, enters, t_ms, from_ms, to_ms = (c[order] for c in columns)
    return Crossings(truck, place, enters.astype(np.bool_), t_ms, from_ms, to_ms)


def _of(
    number: int, place: Place, every: Fixes, here: _Positions, trucks: _Runs, edge_m: float
) -> tuple[IntArray, ...]:
    """Columns of the crossings of one place."""
    edge = place.radius_m + edge_m
    near, apart = here.near(place, edge)
    if not len(near):
        return tuple(np.empty(0, np.int64) for _ in range(6))
    rows = trucks.whole(near)  # who was never near has not crossed its edge
    fixes = every.take(rows)
    near = np.searchsorted(rows, near)
    n = len(fixes.truck)
    ring = np.zeros(n, dtype=np.int8)  # 0 outside, 1 at the edge, 2 inside
    ring[near[apart <= edge]] = 1
    ring[near[apart <= place.radius_m]] = 2
    first = np.append(True, fixes.truck[1:] != fixes.truck[:-1])
    # At the edge a truck is where it was; one that begins there is outside.
    said = np.where((ring != 1) | first, np.arange(n), 0)
    inside = ring[np.maximum.accumulate(said)] == 2
    was = np.append(False, inside[:-1]) & ~first
    at = np.flatnonzero(inside != was)
    before = np.where(first[at], at, at - 1)
    enters = inside[at]
    # Who leaves crossed the circle where it was last inside it, which may be some fixes back.
    deep = np.maximum.accumulate(np.where((ring == 2) | first, np.arange(n), 0))
    left = np.where(enters, before, np.minimum(deep[before], at))
    right = np.where(enters | first[at], at, left + 1)
    inner = _apart(place, fixes, left)
    outer = _apart(place, fixes, right)
    span = outer - inner
    share = np.clip(
        np.divide(place.radius_m - inner, span, out=np.ones(len(at)), where=span != 0.0), 0.0, 1.0
    )
    t_left, t_right = fixes.t_ms[left], fixes.t_ms[right]
    t_ms = t_left + np.rint(share * (t_right - t_left)).astype(np.int64)
    return fixes.truck[at], np.full(len(at), number), enters.astype(np.int64), t_ms, t_left, t_right


def _apart(place: Place, fixes: Fixes, at: IntArray) -> FloatArray:
    lat, lon = np.full(len(at), place.lat_deg), np.full(len(at), place.lon_deg)
    return metres(fixes.lat_deg[at], fixes.lon_deg[at], lat, lon)


class _Runs:
    """Fixes of one truck after the other: where each truck's begin and end."""

    def __init__(self, truck: IntArray):
        first = np.append(True, truck[1:] != truck[:-1])[: len(truck)]
        self._of = np.cumsum(first) - 1
        self._start = np.flatnonzero(first)
        self._length = np.diff(np.append(self._start, len(truck)))

    def whole(self, at: IntArray) -> IntArray:
        """All fixes of the trucks that have one `at`, in order."""
        runs = np.unique(self._of[at])
        length = self._length[runs]
        ahead = np.cumsum(length) - length
        return np.asarray(np.repeat(self._start[runs] - ahead, length) + np.arange(int(length.sum())))


class _Positions:
    """Positions by latitude, so that a place looks at those beside it alone."""

    def __init__(self, lat_deg: FloatArray, lon_deg: FloatArray):
        self._lat, self._lon = lat_deg, lon_deg
        self._order = np.argsort(lat_deg, kind="stable")
        self._by_lat = lat_deg[self._order]

    def near(self, place: Place, within_m: float) -> tuple[IntArray, FloatArray]:
        """Positions that may be so near to a place, in order, and how far they are. [m]"""
        tall = np.degrees(within_m / EARTH_M) * 1.01
        wide = tall / max(np.cos(np.radians(min(abs(place.lat_deg) + tall, 89.0))), 1e-3)
        ends = np.searchsorted(self._by_lat, (place.lat_deg - tall, place.lat_deg + tall))
        beside = self._order[ends[0] : ends[1]]
        near = np.sort(beside[np.abs(self._lon[beside] - place.lon_deg) <= wide])
        there = (np.full(len(near), place.lat_deg), np.full(len(near), place.lon_deg))
        return near, metres(self._lat[near], self._lon[near], *there)
