r"""The way between two places, learnt from past trips or given: how far along it a truck is, and how far off.

A corridor is a line of points, each with the half width that the trips kept to. It is learnt by laying every
trip on the trip of middle length, from end to end, and taking medians: one that strayed does not move it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from models.position_filter import EARTH_M, metres

__all__ = ["LEAST_TRIPS", "Corridor", "along", "given", "learnt"]

FloatArray = NDArray[np.float64]
Path = tuple[FloatArray, FloatArray]
"""Latitudes and longitudes of a trip, in order of time. [°]"""

LEAST_TRIPS: Final = 5
"""Fewer make no corridor."""
SPACING_M: Final = 250.0
NARROWEST_M: Final = 150.0
"""Half width of a road with its stations and crossings, and of a fix's noise. [m]"""
WIDENED: Final = 2.0
"""Half width over the 90 % quantile of how far past trips were off the middle."""
_AT_ONCE: Final = 4_000_000
_NEIGHBOURS: Final = (8, 64)
"""How many to look at first; who is far off a line has many pieces about as near."""
_WORTH_A_TREE: Final = 64
"""Legs from which on looking for neighbours costs less than looking at all."""


@dataclass(frozen=True)
class Corridor:
    """A line of points, all of shape (n,).

    Attributes
    ----------
    lat_deg, lon_deg : ndarray
        [°]
    at_m : ndarray
        How far along it each lies. [m]
    half_width_m : ndarray
        Off the line by more is off the corridor. [m]
    trips : int
        How many it rests on; 0 where it was given.
    """

    lat_deg: FloatArray
    lon_deg: FloatArray
    at_m: FloatArray
    half_width_m: FloatArray
    trips: int

    @cached_property
    def legs(self) -> _Legs:
        """Its pieces."""
        return _Legs(self.lat_deg, self.lon_deg)

    @property
    def length_m(self) -> float:
        """From end to end. [m]"""
        return float(self.at_m[-1])


def given(lat_deg: FloatArray, lon_deg: FloatArray, half_width_m: float) -> Corridor:
    """A corridor along given points."""
    lat, lon, at_m = _spaced(lat_deg, lon_deg)
    return Corridor(lat, lon, at_m, np.full(len(lat), half_width_m), 0)


def learnt(paths: Sequence[Path]) -> Corridor | None:
    """The corridor of past trips between the same two places; None where they are too few."""
    whole = [path for path in paths if len(path[0]) >= 2]
    if len(whole) < LEAST_TRIPS:
        return None
    lengths = np.array([_lengths(*path)[-1] for path in whole])
    middle = whole[int(np.argsort(lengths, kind="stable")[len(lengths) // 2])]
    line = given(*middle, np.inf)
    laid = [_laid(line, path) for path in whole]
    lat = np.median([p[0] for p in laid], axis=0)
    lon = np.median([p[1] for p in laid], axis=0)
    middle_line = given(lat, lon, np.inf)
    off = np.array([_off_at(middle_line, path) for path in whole])
    half = np.maximum(WIDENED * np.quantile(off, 0.9, axis=0), NARROWEST_M)
    return Corridor(middle_line.lat_deg, middle_line.lon_deg, middle_line.at_m, half, len(whole))


def along(
    corridor: Corridor, lat_deg: FloatArray, lon_deg: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Where positions lie beside a corridor.

    Returns
    -------
    at_m : ndarray, shape (n,)
        How far along it the nearest point of it lies. [m]
    off_m : ndarray, shape (n,)
        How far off it the position is. [m]
    over : ndarray, shape (n,)
        That, over the half width there: more than 1 is off the corridor.
    """
    n, m = len(lat_deg), len(corridor.lat_deg) - 1
    at, off, over = np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan)
    known = np.flatnonzero(np.isfinite(lat_deg) & np.isfinite(lon_deg))
    step = max(1, _AT_ONCE // m)
    for low in range(0, len(known), step):
        mine = known[low : low + step]
        at[mine], off[mine], leg, share = _projected(corridor, lat_deg[mine], lon_deg[mine])
        half = corridor.half_width_m
        width = half[leg] + share * (half[leg + 1] - half[leg]) if np.isfinite(half).all() else half[leg]
        over[mine] = off[mine] / width
    return at, off, over


def _projected(
    line: Corridor, lat: FloatArray, lon: FloatArray
) -> tuple[FloatArray, FloatArray, NDArray[np.int64], FloatArray]:
    """Along, off, leg and share of the leg of the nearest point of a line."""
    off2, leg, part = line.legs.nearest(lat, lon)
    at = line.at_m[leg] + part * (line.at_m[leg + 1] - line.at_m[leg])
    return at, np.sqrt(off2), leg, part


class _Legs:
    """The straight pieces of a line of points, laid flat about its middle. [m]"""

    def __init__(self, lat_deg: FloatArray, lon_deg: FloatArray):
        self.north_m = np.radians(1.0) * EARTH_M
        self.east_m = self.north_m * np.cos(np.radians(float(np.mean(lat_deg))))
        self.ax, self.ay = lon_deg[:-1] * self.east_m, lat_deg[:-1] * self.north_m
        self.dx, self.dy = np.diff(lon_deg) * self.east_m, np.diff(lat_deg) * self.north_m
        self.length2 = np.maximum(self.dx * self.dx + self.dy * self.dy, 1e-9)

    @cached_property
    def _middles(self) -> cKDTree:
        return cKDTree(np.column_stack([self.ax + self.dx / 2.0, self.ay + self.dy / 2.0]))

    @cached_property
    def _half_m(self) -> float:
        return float(np.sqrt(np.max(self.length2))) / 2.0

    def nearest(
        self, lat_deg: FloatArray, lon_deg: FloatArray
    ) -> tuple[FloatArray, NDArray[np.int64], FloatArray]:
        """Distance squared, leg and share of the leg of the nearest point; of equals the first leg's."""
        x, y = lon_deg * self.east_m, lat_deg * self.north_m
        if len(self.ax) < _WORTH_A_TREE:
            return self._best(x, y)
        # A leg is no nearer than its middle less half its length, and the nearest leg no farther than its
        # middle: with these bounds a few neighbours give what all legs would, to the bit.
        off2, share = np.empty(len(x)), np.empty(len(x))
        leg = np.zeros(len(x), np.int64)
        left = np.arange(len(x))
        for count in _NEIGHBOURS:
            if not left.size or count >= len(self.ax):
                break
            apart, near = self._middles.query(np.column_stack([x[left], y[left]]), k=count)
            sure = apart[:, -1] > (apart[:, 0] + self._half_m) * (1.0 + 1e-9)
            mine = left[sure]
            off2[mine], leg[mine], share[mine] = self._best(x[mine], y[mine], np.sort(near[sure], axis=1))
            left = left[~sure]
        if left.size:
            off2[left], leg[left], share[left] = self._best(x[left], y[left])
        return off2, leg, share

    def _best(
        self, x: FloatArray, y: FloatArray, legs: NDArray[np.int64] | None = None
    ) -> tuple[FloatArray, NDArray[np.int64], FloatArray]:
        """Of each point's own `legs`, shape (n, k) and ascending; of all where none are given."""
        ax, ay, dx, dy, length2 = self.ax, self.ay, self.dx, self.dy, self.length2
        if legs is not None:
            ax, ay, dx, dy, length2 = ax[legs], ay[legs], dx[legs], dy[legs], length2[legs]
        px, py = x[:, None] - ax, y[:, None] - ay
        share = np.clip((px * dx + py * dy) / length2, 0.0, 1.0)
        off2 = (px - share * dx) ** 2 + (py - share * dy) ** 2
        best, rows = np.argmin(off2, axis=1), np.arange(len(x))
        return off2[rows, best], best if legs is None else legs[rows, best], share[rows, best]


def _lengths(lat: FloatArray, lon: FloatArray) -> FloatArray:
    return np.append(0.0, np.cumsum(metres(lat[:-1], lon[:-1], lat[1:], lon[1:])))


def _spaced(lat: FloatArray, lon: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Points of a path at even distances."""
    at = _lengths(lat, lon)
    count = max(2, int(np.ceil(at[-1] / SPACING_M)) + 1)
    even = np.linspace(0.0, at[-1], count)
    lat, lon = np.interp(even, at, lat), np.interp(even, at, lon)
    return lat, lon, _lengths(lat, lon)


def _laid(line: Corridor, path: Path) -> tuple[FloatArray, FloatArray]:
    """A path's points beside each point of a line, in the order of the line."""
    lat, lon, _ = _spaced(*path)
    at, *_ = _projected(line, lat, lon)
    at = np.maximum.accumulate(at)
    return np.interp(line.at_m, at, lat), np.interp(line.at_m, at, lon)


def _off_at(line: Corridor, path: Path) -> FloatArray:
    """How far off a line a path is, at each point of the line. [m]"""
    lat, lon, _ = _spaced(*path)
    at, off, *_ = _projected(line, lat, lon)
    worst = np.zeros(len(line.at_m))
    np.maximum.at(worst, np.searchsorted(line.at_m, at, side="right").clip(1) - 1, off)
    return worst
