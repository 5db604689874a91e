"""Queues window by window: the stays that a window rests on change only with the trucks that come and go."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from models.queue import Visit, visits_of

__all__ = ["MovingVisits"]

_T = TypeVar("_T", bound=tuple[str, int, object])


class MovingVisits:
    """Stays at one place, of a span of time that moves on.

    What `visits_of` says of a span's crossings and weighings, but that moving on costs only the trucks of
    which something enters or leaves the span: a week has 672 quarters of an hour, which rest on a day each.

    Parameters
    ----------
    crossings : sequence of (truck, t_ms, enters)
        In order of time.
    weighings : sequence of (truck, t_ms, bridge)
        In order of time.

    Examples
    --------
    >>> moving = MovingVisits([("a", 0, True), ("a", 9, False)], [("a", 4, "b1")])
    >>> moving.move(0, 5)
    >>> [(v.entered_ms, v.weighed) for v in moving.since(0)], moving.order_of("b1")
    ([(0, ((4, 'b1'),))], 0)
    >>> moving.move(5, 20)
    >>> list(moving.since(5))
    []
    """

    def __init__(self, crossings: Sequence[tuple[str, int, bool]], weighings: Sequence[tuple[str, int, str]]):
        self._crossings, self._weighings = _Timed(crossings), _Timed(weighings)
        self._visits: dict[str, list[Visit]] = {}
        self._left_ms: dict[str, int] = {}
        self._places: dict[str, Counter[int]] = {}

    def move(self, from_ms: int, to_ms: int) -> None:
        """Let the span be [from, to), neither of which goes back. [ms UTC]"""
        changed = self._crossings.move(from_ms, to_ms) | self._weighings.move(from_ms, to_ms)
        for truck in changed:
            self._count(self._visits.pop(truck, ()), -1)
            self._left_ms.pop(truck, None)
            visits = visits_of(self._crossings.of(truck), self._weighings.of(truck))
            if visits:
                self._visits[truck], self._left_ms[truck] = visits, max(v.left_ms for v in visits)
                self._count(visits, 1)

    def since(self, from_ms: int) -> Iterator[Visit]:
        """Stays that had not ended by then, by truck and time. [ms UTC]"""
        for truck in sorted(t for t, left_ms in self._left_ms.items() if left_ms >= from_ms):
            yield from (v for v in self._visits[truck] if v.left_ms >= from_ms)

    def order_of(self, bridge: str) -> int:
        """How many weighings usually come before that of a bridge in a stay of the span: the median."""
        places = sorted(self._places.get(bridge, Counter()).elements())
        middle = len(places) // 2
        return (places[middle] + places[~middle]) // 2 if places else 0

    def _count(self, visits: Iterable[Visit], by: int) -> None:
        for visit in visits:
            for at, (_, bridge) in enumerate(visit.weighed):
                self._places.setdefault(bridge, Counter())[at] += by


class _Timed(Generic[_T]):
    """What was when, in order of time, of which a span is looked at."""

    def __init__(self, what: Sequence[_T]):
        self._trucks = [x[0] for x in what]
        self._t_ms = [x[1] for x in what]
        self._of: dict[str, tuple[list[int], list[_T]]] = {}
        for each in what:
            times, mine = self._of.setdefault(each[0], ([], []))
            times.append(each[1])
            mine.append(each)
        self._span = (0, 0)
        self._places = (0, 0)

    def move(self, from_ms: int, to_ms: int) -> set[str]:
        """Let the span be [from, to); the trucks of which something came in or went."""
        low, high = bisect_left(self._t_ms, from_ms), bisect_left(self._t_ms, to_ms)
        before = self._places
        self._span, self._places = (from_ms, to_ms), (low, high)
        return {*self._trucks[before[0] : low], *self._trucks[before[1] : high]}

    def of(self, truck: str) -> Sequence[_T]:
        """Of one truck what lies in the span."""
        times, mine = self._of.get(truck, ((), ()))
        return mine[bisect_left(times, self._span[0]) : bisect_left(times, self._span[1])]
