"""Roads between places: geometry, speed by stretch, traffic by hour, jams, rests."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.site import Place
from simulator.logistics.plan import LaneTerms
from simulator.rng import generator

__all__ = ["EARTH_M", "Road", "metres_apart"]

Array = NDArray[np.float64]

EARTH_M: Final = 6_371_000.0
_STRETCH_M: Final = 5_000.0  # speed changes from one to the next
_POINT_M: Final = 1_000.0
_TOWN_KM_H: Final = 38.0  # near both ends
_JAM: Final = 0.3  # speed in a jam over free speed
# Share of free speed by local hour: slow at the two rush hours, free at night.
_BY_HOUR: Final = np.array(
    [1.04, 1.05, 1.05, 1.05, 1.04, 1.02, 0.95, 0.84, 0.80, 0.88, 0.94, 0.96,
     0.95, 0.95, 0.94, 0.92, 0.87, 0.80, 0.78, 0.86, 0.94, 0.98, 1.01, 1.03]
)  # fmt: skip


def metres_apart(lat: Array, lon: Array, to_lat: float, to_lon: float) -> Array:
    """Distance of points from one point, on a plane that is good enough for 100 km. [m]."""
    east = np.radians(lon - to_lon) * np.cos(np.radians((lat + to_lat) / 2.0))
    apart: Array = np.hypot(np.radians(lat - to_lat), east) * EARTH_M
    return apart


class Road:
    """A road from an origin to a destination.

    Attributes
    ----------
    lat, lon, at_m : ndarray
        Its points, and how far along it they lie. [°], [m]
    leaves_m, enters_m : float
        Where it leaves the origin's fence for the last time, and enters the destination's first. [m]
    """

    def __init__(
        self,
        seed: int,
        number: int,
        origin: Place,
        destination: Place,
        terms: LaneTerms,
        jam_share: float = 0.0,
    ) -> None:
        self.number, self.origin, self.destination = number, origin, destination
        self._seed, self._jam_share = seed, jam_share
        self.name = f"{origin.place} {destination.place}"
        rng = generator(seed, f"road {self.name}")
        self.lat, self.lon = _points(rng, origin, destination, terms)
        north = np.radians(np.diff(self.lat))
        east = np.radians(np.diff(self.lon)) * np.cos(np.radians((self.lat[1:] + self.lat[:-1]) / 2.0))
        steps = np.hypot(north, east) * EARTH_M
        self.at_m: Array = np.concatenate([[0.0], np.cumsum(steps)])
        count = max(2, round(self.length_m / _STRETCH_M))
        self.edges_m = np.linspace(0.0, self.length_m, count + 1)
        middle = (self.edges_m[1:] + self.edges_m[:-1]) / 2.0
        from_end = np.minimum(middle, self.length_m - middle)
        speed = np.where(from_end < 6_000.0, _TOWN_KM_H, terms.speed_km_h) / 3.6
        self.speed_m_s = np.minimum(speed, terms.speed_km_h / 3.6) * rng.uniform(0.88, 1.1, count)
        self.leaves_m, self.enters_m = self._fences()
        self._day = lru_cache(maxsize=8)(self._speeds)

    @property
    def length_m(self) -> float:
        """Length along the road. [m]."""
        return float(self.at_m[-1])

    def across(self) -> tuple[float, float]:
        """The direction to the right of the whole way: its parts to the east and to the north."""
        north = float(self.lat[-1] - self.lat[0])
        east = float((self.lon[-1] - self.lon[0]) * np.cos(np.radians(self.lat[0])))
        length = float(np.hypot(north, east)) or 1.0
        return north / length, -east / length

    def _fences(self) -> tuple[float, float]:
        along = np.linspace(0.0, self.length_m, max(1_000, int(self.length_m / 25.0)))
        lat, lon = np.interp(along, self.at_m, self.lat), np.interp(along, self.at_m, self.lon)
        near = metres_apart(lat, lon, self.origin.lat_deg, self.origin.lon_deg) <= self.origin.radius_m
        there = metres_apart(lat, lon, self.destination.lat_deg, self.destination.lon_deg)
        inside = np.flatnonzero(there <= self.destination.radius_m)
        outside = np.flatnonzero(near)
        return (
            float(along[outside[-1]]) if len(outside) else 0.0,
            float(along[inside[0]]) if len(inside) else self.length_m,
        )

    def _speeds(self, day: int) -> list[list[float]]:
        """Speed by stretch and hour of a local day. [m/s]."""
        rng = generator(self._seed, f"traffic {self.name}", day)
        shape = (24, len(self.speed_m_s))
        jam = np.where(rng.random(shape) < self._jam_share, _JAM, 1.0)
        busy = _BY_HOUR[:, None] * rng.normal(1.0, 0.02, shape).clip(0.9, 1.1)
        rows: list[list[float]] = (self.speed_m_s * busy * jam).tolist()
        return rows

    def drive(
        self,
        start_s: float,
        offset_s: float,
        pace: float,
        *,
        back: bool,
        rest_after_s: float,
        rests_s: list[float],
    ) -> tuple[list[float], list[float], list[tuple[float, float, float]]]:
        """Drive from one end to the other.

        Parameters
        ----------
        start_s, offset_s : float
            When it begins [s UTC], and local time less UTC [s].
        pace : float
            The driver's speed over that of the traffic.
        back : bool
            From the destination to the origin.
        rest_after_s, rests_s
            Time at the wheel after which the driver rests, and how long each rest takes. [s]

        Returns
        -------
        at_s, along_m : list of float
            Points of the drive; it moves evenly between them.
        rests : list of (float, float, float)
            Rests: from when, until when, and where along the road. [s], [s], [m]
        """
        order = range(len(self.speed_m_s) - 1, -1, -1) if back else range(len(self.speed_m_s))
        edges = self.edges_m.tolist()
        now, wheel = start_s, 0.0
        at_s, along, rests = [now], [edges[-1] if back else 0.0], list[tuple[float, float, float]]()
        for stretch in order:
            day, second = divmod(now + offset_s, 86_400.0)
            speed = self._day(int(day))[int(second // 3_600.0)][stretch] * pace
            took = (edges[stretch + 1] - edges[stretch]) / speed
            now += took
            wheel += took
            end = edges[stretch] if back else edges[stretch + 1]
            at_s.append(now)
            along.append(end)
            if wheel >= rest_after_s and stretch != order[-1] and len(rests) < len(rests_s):
                until = now + rests_s[len(rests)]
                rests.append((now, until, end))
                at_s.append(until)
                along.append(end)
                now, wheel = until, 0.0
        return at_s, along, rests


def _points(
    rng: np.random.Generator, origin: Place, destination: Place, terms: LaneTerms
) -> tuple[Array, Array]:
    """The points given, between the two places; or a winding road."""
    if terms.points:
        given = np.array(terms.points, dtype=np.float64)
        lat = np.concatenate([[origin.lat_deg], given[:, 0], [destination.lat_deg]])
        lon = np.concatenate([[origin.lon_deg], given[:, 1], [destination.lon_deg]])
        return lat, lon
    north, east = destination.lat_deg - origin.lat_deg, destination.lon_deg - origin.lon_deg
    apart = float(
        metres_apart(
            np.array(origin.lat_deg), np.array(origin.lon_deg), destination.lat_deg, destination.lon_deg
        )
    )
    share = np.linspace(0.0, 1.0, int(np.clip(apart / _POINT_M, 40, 400)))
    bends = sum(rng.normal(0.0, 0.03 / k) * np.sin(np.pi * k * share) for k in range(1, 9))
    squeeze = float(np.cos(np.radians((origin.lat_deg + destination.lat_deg) / 2.0)))
    # Across the line: a quarter turn on the ground, not in degrees.
    return (
        origin.lat_deg + share * north - bends * east * squeeze,
        origin.lon_deg + share * east + bends * north / squeeze,
    )
