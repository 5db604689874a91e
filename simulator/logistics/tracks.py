"""Where every truck really is: points in time, between which it moves evenly."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulator.logistics.roads import EARTH_M, Road

__all__ = ["Spot", "Tracks", "Whereabouts"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

_APART_S: Final = 1e8  # longer than any run: it keeps the trucks apart on one axis of time
_APART_M: Final = 1e8  # and the roads on one axis of distance
_MOVING_M_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Spot:
    """A point beside a road.

    Attributes
    ----------
    road : int
        Number of the road.
    along_m, east_m, north_m : float
        How far along it, and how far off it. [m]
    """

    road: int
    along_m: float
    east_m: float = 0.0
    north_m: float = 0.0


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where trucks are at given instants; all of one shape.

    Attributes
    ----------
    lat_deg, lon_deg, heading_deg, speed_m_s, load_kg : ndarray
    moving : ndarray of bool
    since_s : ndarray
        When the present movement or stand began. [s]
    """

    lat_deg: Array
    lon_deg: Array
    heading_deg: Array
    speed_m_s: Array
    load_kg: Array
    moving: NDArray[np.bool_]
    since_s: Array


class _Track:
    """Points of one truck in the order of time."""

    __slots__ = ("at_s", "points")

    def __init__(self, at_s: float, spot: Spot) -> None:
        self.at_s = [at_s]
        self.points = [(float(spot.road), spot.along_m, spot.east_m, spot.north_m, 0.0)]


class Tracks:
    """The tracks of all trucks.

    Parameters
    ----------
    roads : sequence of Road
        By number.
    origin_s : float
        Before every time that is asked for. [s]
    """

    def __init__(self, roads: Sequence[Road], origin_s: float) -> None:
        self._origin_s = origin_s
        self._tracks: list[_Track] = []
        self._flat: tuple[Array, Array, Ints] | None = None
        self._road_at = np.concatenate([road.at_m + road.number * _APART_M for road in roads])
        self._road_lat = np.concatenate([road.lat for road in roads])
        self._road_lon = np.concatenate([road.lon for road in roads])

    def add(self, at_s: float, spot: Spot) -> int:
        """A further truck, standing at `spot`; gives its number."""
        self._tracks.append(_Track(at_s, spot))
        self._flat = None
        return len(self._tracks) - 1

    def go(self, truck: int, at_s: float, spot: Spot, load_kg: float) -> None:
        """The truck is at `spot` with `load_kg` at `at_s`, and moved there evenly since its last point."""
        track = self._tracks[truck]
        track.at_s.append(max(at_s, track.at_s[-1]))
        track.points.append((float(spot.road), spot.along_m, spot.east_m, spot.north_m, load_kg))
        self._flat = None

    def trim(self, before_s: float) -> None:
        """Forget the points that are not needed from `before_s` on."""
        for track in self._tracks:
            keep = bisect_right(track.at_s, before_s) - 1
            if keep > 0:
                del track.at_s[:keep], track.points[:keep]
        self._flat = None

    def _flatten(self) -> tuple[Array, Array, Ints]:
        if self._flat is None:
            counts = np.array([len(track.at_s) for track in self._tracks])
            at = np.fromiter((t for track in self._tracks for t in track.at_s), np.float64, counts.sum())
            at += np.repeat(np.arange(len(counts)) * _APART_S, counts) - self._origin_s
            points = np.array([p for track in self._tracks for p in track.points], dtype=np.float64)
            self._flat = at, points, np.repeat(np.arange(len(counts)), counts)
        return self._flat

    def where(self, truck: Ints, t_s: Array) -> Whereabouts:
        """Where trucks are.

        Parameters
        ----------
        truck : ndarray of int, shape (n,)
        t_s : ndarray, shape (n,)
            Not before a truck's first point that is kept. [s]
        """
        at, points, owner = self._flatten()
        keys = truck * _APART_S + (t_s - self._origin_s)
        left = np.clip(np.searchsorted(at, keys, side="right") - 1, 0, len(at) - 1)
        right = np.minimum(left + 1, len(at) - 1)
        a, b = points[left], points[right]
        joined = (owner[right] == owner[left]) & (a[:, 0] == b[:, 0]) & (at[right] > at[left])
        seconds = np.where(joined, at[right] - at[left], 1.0)
        share = np.where(joined, np.clip((keys - at[left]) / seconds, 0.0, 1.0), 0.0)[:, None]
        now = a + (b - a) * share
        step = np.where(joined[:, None], b - a, 0.0)
        speed = np.sqrt(step[:, 1] ** 2 + step[:, 2] ** 2 + step[:, 3] ** 2) / seconds
        lat, lon, heading = self._on_road(a[:, 0], now[:, 1], back=step[:, 1] < 0.0)
        lat = lat + np.degrees(now[:, 3] / EARTH_M)
        lon = lon + np.degrees(now[:, 2] / (EARTH_M * np.cos(np.radians(lat))))
        aside = np.abs(step[:, 1]) < 1.0
        heading = np.where(
            aside & (speed > _MOVING_M_S), np.degrees(np.arctan2(step[:, 2], step[:, 3])) % 360.0, heading
        )
        since = at[left] - truck * _APART_S + self._origin_s
        return Whereabouts(lat, lon, heading, speed, now[:, 4], speed > _MOVING_M_S, since)

    def _on_road(self, road: Array, along_m: Array, *, back: NDArray[np.bool_]) -> tuple[Array, Array, Array]:
        keys = road * _APART_M + along_m
        leg = np.clip(np.searchsorted(self._road_at, keys, side="right") - 1, 0, len(self._road_at) - 2)
        # The end of a road: its last leg, not the gap to the next road.
        last = self._road_at[leg + 1] - self._road_at[leg] > _APART_M / 10.0
        leg = np.where(last, leg - 1, leg)
        length = self._road_at[leg + 1] - self._road_at[leg]
        share = np.clip((keys - self._road_at[leg]) / np.maximum(length, 1e-9), 0.0, 1.0)
        north = self._road_lat[leg + 1] - self._road_lat[leg]
        east = self._road_lon[leg + 1] - self._road_lon[leg]
        lat = self._road_lat[leg] + share * north
        heading = np.degrees(np.arctan2(east * np.cos(np.radians(lat)), north))
        return lat, self._road_lon[leg] + share * east, (heading + np.where(back, 180.0, 0.0)) % 360.0
