"""Trucks between two places: the ways that they usually take, and who leaves them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.corridor import Corridor, Path, along, learnt
from models.position_filter import EARTH_M, metres

__all__ = ["LANE_PATHS", "LEARN_SHARE", "OFF_M", "Deviation", "Lane", "Point", "RouteWatch", "UnderWay"]

FloatArray = NDArray[np.float64]
Lane = tuple[str, str]
"""Origin and destination."""
Point = tuple[int, float, float, str]
"""Time [ms UTC], latitude, longitude [°], and the place that it is inside, or empty."""

SPACING_M: Final = 400.0
"""Nearer points of a path are left out. [m]"""
OFF_M: Final = 1_500.0
"""Who has driven so far off every known way has left it: it is no station and no jump. [m]"""
BACK_M: Final = 1_000.0
"""Who has driven so far on a known way again is back. [m]"""
LANE_PATHS: Final = 15
"""Paths of a lane that its corridor rests on: the newest."""
LEARN_SHARE: Final = 3
"""A corridor is learnt anew when, to one in so many of the paths that it rests on, a new one has come."""
SETTLED: Final = 10
"""Arrivals in a row on lanes with a corridor until an origin's ways count as known: before, and again when a
lane is new, a truck off them may be on a way that has not been learnt."""
MOST_POINTS: Final = 3_000
"""Who has gone farther without coming to a place is on no lane."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """A truck off every way that is known from its origin.

    Attributes
    ----------
    since_ms, until_ms : int
        First and last point off the way. [ms UTC]
    off_m, over : float
        The farthest off, and that over the corridor's half width there. [m]
    driven_m : float
        How far it drove off the way. [m]
    lat_deg, lon_deg : float
        Where it was farthest off. [°]
    """

    since_ms: int
    until_ms: int
    off_m: float
    over: float
    driven_m: float
    lat_deg: float
    lon_deg: float

    @property
    def told(self) -> bool:
        """Whether it has gone far enough to tell."""
        return self.driven_m >= OFF_M


@dataclass(frozen=True, slots=True, eq=False)
class UnderWay:
    """A truck since it left a place.

    Attributes
    ----------
    origin : str
    lat_deg, lon_deg : ndarray
        Its path. [°]
    off : Deviation or None
        How it is off the way at present, far enough to be told or not.
    back_m : float
        How far it has driven on a known way since it was last off. [m]
    strayed : bool
        Whether it was ever told: its path teaches nothing.
    """

    origin: str
    lat_deg: FloatArray
    lon_deg: FloatArray
    off: Deviation | None = None
    back_m: float = 0.0
    strayed: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class RouteWatch:
    """Trucks under way, and what is known of lanes. Never changed in place.

    Attributes
    ----------
    under_way : mapping of str to UnderWay
        By truck.
    at : mapping of str to (str, float, float)
        By truck the place that it is inside, and where it was there last. [°]
    paths : mapping of Lane to tuple of Path
    corridors : mapping of Lane to Corridor
    fresh : mapping of Lane to int
        Paths that its corridor does not rest on yet.
    settled : mapping of str to int
        By origin, arrivals in a row on lanes with a corridor, up to `SETTLED`.
    """

    under_way: Mapping[str, UnderWay] = field(default_factory=dict)
    at: Mapping[str, tuple[str, float, float]] = field(default_factory=dict)
    paths: Mapping[Lane, tuple[Path, ...]] = field(default_factory=dict)
    corridors: Mapping[Lane, Corridor] = field(default_factory=dict)
    fresh: Mapping[Lane, int] = field(default_factory=dict)
    settled: Mapping[str, int] = field(default_factory=dict)

    def after(
        self, points: Mapping[str, Sequence[Point]]
    ) -> tuple[RouteWatch, dict[str, Deviation], dict[str, Deviation]]:
        """Take in points of trucks, in order of time.

        Returns
        -------
        watch : RouteWatch
        off : dict of str to Deviation
            Of each truck that is off the way after these.
        ended : dict of str to Deviation
            Of each that was off the way, before or meanwhile, and is no more.
        """
        step = _Step(self)
        step.take(points)
        corridors = dict(self.corridors)
        for lane in sorted(step.learning):
            known = corridors.get(lane)
            if known is not None and step.fresh[lane] < known.trips // LEARN_SHARE:
                continue
            found = learnt(step.paths[lane])
            if found is not None:
                corridors[lane] = found
                del step.fresh[lane]
        watch = RouteWatch(step.under_way, step.at, step.paths, corridors, step.fresh, step.settled)
        return watch, step.off, step.ended


@dataclass(frozen=True, slots=True)
class _Part:
    """What a truck drove in a step since it left a place, up to the next one if it came to it."""

    truck: str
    way: UnderWay
    fresh: list[tuple[int, float, float]]
    arrival: tuple[str, float, float] | None


class _Step:
    """One step of a `RouteWatch`."""

    def __init__(self, watch: RouteWatch):
        self.under_way, self.at = dict(watch.under_way), dict(watch.at)
        self.paths, self.fresh = dict(watch.paths), dict(watch.fresh)
        self.learning: set[Lane] = set()
        self.off: dict[str, Deviation] = {}
        self.ended: dict[str, Deviation] = {}
        self.settled = dict(watch.settled)
        self._corridors = watch.corridors
        self._known: dict[str, list[Corridor]] = {}
        for (origin, _), corridor in sorted(watch.corridors.items()):
            self._known.setdefault(origin, []).append(corridor)

    def take(self, points: Mapping[str, Sequence[Point]]) -> None:
        """Points of trucks: all that came from one place are laid beside its ways at once."""
        parts = [part for truck, mine in sorted(points.items()) for part in self._parts(truck, mine)]
        for part, beside in zip(parts, self._beside(parts), strict=True):
            way = self._further(part, beside)
            if part.arrival is not None:
                self._arrive(part.truck, way, *part.arrival)
                continue
            if way.off is not None and way.off.told:
                self.off[part.truck] = way.off
            if len(way.lat_deg) <= MOST_POINTS:
                self.under_way[part.truck] = way

    def _parts(self, truck: str, points: Sequence[Point]) -> Iterator[_Part]:
        """What one truck drove between places."""
        way, fresh = self.under_way.pop(truck, None), list[tuple[int, float, float]]()
        for t_ms, lat, lon, place in points:
            if place:
                if way is not None:
                    yield _Part(truck, way, fresh, (place, lat, lon))
                    way, fresh = None, []
                self.at[truck] = (place, lat, lon)
                continue
            if way is None and truck in self.at:
                origin, from_lat, from_lon = self.at.pop(truck)
                way = UnderWay(origin, np.array([from_lat]), np.array([from_lon]))
            if way is not None and _apart(way, fresh, lat, lon) >= SPACING_M:
                fresh.append((t_ms, lat, lon))
        if way is not None:
            yield _Part(truck, way, fresh, None)

    def _beside(self, parts: Sequence[_Part]) -> list[tuple[FloatArray, FloatArray] | None]:
        """How far off the best of its origin's ways each point is, and that over the half width there.

        None where there is no point, or no way is known.
        """
        found: list[tuple[FloatArray, FloatArray] | None] = [None] * len(parts)
        mine: dict[str, list[int]] = {}
        for n, part in enumerate(parts):
            if part.fresh and part.way.origin in self._known:
                mine.setdefault(part.way.origin, []).append(n)
        for origin, which in mine.items():
            _, lat, lon = np.array([point for n in which for point in parts[n].fresh]).T
            every = np.array([along(corridor, lat, lon)[1:] for corridor in self._known[origin]])
            best, rows = np.argmin(every[:, 1], axis=0), np.arange(len(lat))
            cuts = np.cumsum([len(parts[n].fresh) for n in which])[:-1]
            pieces = zip(
                np.split(every[best, 0, rows], cuts), np.split(every[best, 1, rows], cuts), strict=True
            )
            for n, piece in zip(which, pieces, strict=True):
                found[n] = piece
        return found

    def _arrive(self, truck: str, way: UnderWay, place: str, lat: float, lon: float) -> None:
        if way.off is not None and way.off.told:
            self.ended[truck] = way.off
        if place == way.origin:
            return
        lane = (way.origin, place)
        known = lane in self._corridors
        self.settled[way.origin] = min(SETTLED, self.settled.get(way.origin, 0) + 1) if known else 0
        if known and way.strayed:  # where nothing is known yet, what was off all other ways teaches a new one
            return
        path = (np.append(way.lat_deg, lat), np.append(way.lon_deg, lon))
        self.paths[lane] = (*self.paths.get(lane, ()), path)[-LANE_PATHS:]
        self.fresh[lane] = self.fresh.get(lane, 0) + 1
        self.learning.add(lane)

    def _further(self, part: _Part, beside: tuple[FloatArray, FloatArray] | None) -> UnderWay:
        """A truck after more points of its path."""
        way = part.way
        if not part.fresh:
            return way
        t_ms, lat, lon = (np.array(column) for column in zip(*part.fresh, strict=True))
        longer = replace(way, lat_deg=np.append(way.lat_deg, lat), lon_deg=np.append(way.lon_deg, lon))
        if beside is None or (way.off is None and self.settled.get(way.origin, 0) < SETTLED):
            return longer
        begin = len(way.lat_deg) - 1
        driven = metres(longer.lat_deg[begin:-1], longer.lon_deg[begin:-1], lat, lon)
        off_m, over = beside
        off, back_m, strayed = way.off, way.back_m, way.strayed
        for k in range(len(lat)):
            if over[k] > 1.0:
                back_m = 0.0
                off = _farther(off, int(t_ms[k]), *(float(x[k]) for x in (off_m, over, driven, lat, lon)))
                strayed = strayed or off.told
            elif off is not None:
                back_m += float(driven[k])
                if not off.told:
                    off = None
                elif back_m >= BACK_M:
                    self.ended[part.truck], off = off, None
        return replace(longer, off=off, back_m=back_m, strayed=strayed)


def _apart(way: UnderWay, fresh: Sequence[tuple[int, float, float]], lat: float, lon: float) -> float:
    """How far a point is from the last of a path, one at a time: arrays would cost ten times as much. [m]"""
    _, last_lat, last_lon = fresh[-1] if fresh else (0, float(way.lat_deg[-1]), float(way.lon_deg[-1]))
    east = (lon - last_lon) * math.cos(math.radians((lat + last_lat) / 2.0))
    return math.radians(math.hypot(lat - last_lat, east)) * EARTH_M


def _farther(
    off: Deviation | None, t_ms: int, off_m: float, over: float, driven_m: float, lat: float, lon: float
) -> Deviation:
    if off is None:
        return Deviation(t_ms, t_ms, off_m, over, 0.0, lat, lon)
    longer = replace(off, until_ms=t_ms, driven_m=off.driven_m + driven_m)
    return longer if over <= off.over else replace(longer, off_m=off_m, over=over, lat_deg=lat, lon_deg=lon)
