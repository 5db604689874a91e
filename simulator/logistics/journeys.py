"""A loaded or empty drive as a list of points, with rests, detours and unlawful stops."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final

from simulator.logistics.roads import Road
from simulator.logistics.tracks import Spot

__all__ = ["Journey", "drive"]

_LAY_BY_M: Final = 35.0
_STEALTH_M: Final = 320.0  # a yard where nobody looks
_DETOUR_M_S: Final = 12.0


@dataclass(slots=True)
class Journey:
    """A drive: points in time and where the truck stood.

    Attributes
    ----------
    at_s : list of float
    along_m, east_m, north_m, load_kg : list of float
        Where it is and what it carries at those times.
    stands : list of (float, float, str)
        From when, until when, and why it stood.
    """

    road: Road
    at_s: list[float]
    along_m: list[float]
    east_m: list[float]
    north_m: list[float]
    load_kg: list[float]
    stands: list[tuple[float, float, str]] = field(default_factory=list)

    @property
    def end_s(self) -> float:
        """When it is there. [s]."""
        return self.at_s[-1]

    def passes_s(self, along_m: float) -> float:
        """When a loaded truck first comes by a point of its road. [s]."""
        n = min(max(bisect_left(self.along_m, along_m), 1), len(self.at_s) - 1)
        step = self.along_m[n] - self.along_m[n - 1]
        share = (along_m - self.along_m[n - 1]) / step if step > 0.0 else 0.0
        return self.at_s[n - 1] + min(max(share, 0.0), 1.0) * (self.at_s[n] - self.at_s[n - 1])

    def spots(self) -> list[tuple[float, Spot, float]]:
        """Time, place and load of each point."""
        number = self.road.number
        return [
            (t, Spot(number, a, e, n), load)
            for t, a, e, n, load in zip(
                self.at_s, self.along_m, self.east_m, self.north_m, self.load_kg, strict=True
            )
        ]


def drive(
    road: Road,
    start_s: float,
    offset_s: float,
    pace: float,
    load_kg: float,
    *,
    back: bool,
    rest_after_s: float,
    rests_s: list[float],
) -> Journey:
    """A drive from one end of a road to the other; see `Road.drive`."""
    at, along, rests = road.drive(
        start_s, offset_s, pace, back=back, rest_after_s=rest_after_s, rests_s=rests_s
    )
    east, north = [0.0] * len(at), [0.0] * len(at)
    for begin, until, _ in rests:
        n = at.index(begin)
        for k in (n, n + 1):
            east[k], north[k] = _LAY_BY_M, _LAY_BY_M / 2.0
        assert at[n + 1] == until
    stands = [(begin, until, "rest") for begin, until, _ in rests]
    return Journey(road, at, along, east, north, [load_kg] * len(at), stands)


def steal(journey: Journey, share: float, seconds: float, taken_kg: float) -> None:
    """Stop off the road after `share` of the points, and go on with less."""
    n = min(max(1, round(share * (len(journey.at_s) - 1))), len(journey.at_s) - 2)
    begin, along = journey.at_s[n], journey.along_m[n]
    aside = 2.0 * _STEALTH_M / _DETOUR_M_S
    _delay(journey, n + 1, seconds + aside)
    there, until = begin + aside / 2.0, begin + aside / 2.0 + seconds
    rest = journey.load_kg[n] - taken_kg
    for k, (t, off, load) in enumerate(
        (
            (there, _STEALTH_M, journey.load_kg[n]),
            (until, _STEALTH_M, rest),
            (until + aside / 2.0, 0.0, rest),
        ),
        start=n + 1,
    ):
        journey.at_s.insert(k, t)
        journey.along_m.insert(k, along)
        journey.east_m.insert(k, off * 0.8)
        journey.north_m.insert(k, off * 0.6)
        journey.load_kg.insert(k, load)
    for k in range(n + 4, len(journey.at_s)):
        journey.load_kg[k] -= taken_kg
    journey.stands.append((there, until, "theft"))


def deviate(journey: Journey, off_m: float, turn: float) -> None:
    """Leave the lane by `off_m` on the middle third of the way, to the left or, over a half, to the right."""
    east, north = journey.road.across()
    side = -off_m if turn < 0.5 else off_m
    count = len(journey.at_s)
    first, last = count // 3, 2 * count // 3
    if last - first < 2:
        first, last = 0, count - 1
    if last - first < 2:  # two points only: one between them
        return
    for k in range(first + 1, last):
        journey.east_m[k] += side * east
        journey.north_m[k] += side * north
    way = off_m / _DETOUR_M_S
    _delay(journey, first + 1, way)
    _delay(journey, last, way)


def _delay(journey: Journey, first: int, seconds: float) -> None:
    """Everything from point `first` on happens later."""
    from_s = journey.at_s[first]
    for k in range(first, len(journey.at_s)):
        journey.at_s[k] += seconds
    journey.stands = [
        (a + seconds, b + seconds, why) if a >= from_s else (a, b, why) for a, b, why in journey.stands
    ]
