"""Sets of sequence numbers as inclusive intervals."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Final

__all__ = ["IntervalSet"]

_NOTHING: Final[list[int]] = []
"""Of every empty set, and never written to: of a device's sets nearly all are empty."""


class IntervalSet:
    """A set of integers kept as sorted, disjoint, non-adjacent inclusive intervals.

    Parameters
    ----------
    ranges : iterable of (int, int)
        Inclusive intervals in any order; they may overlap.

    Examples
    --------
    >>> numbers = IntervalSet([(1, 3), (7, 9)])
    >>> numbers.add(4, 6)
    >>> list(numbers), len(numbers), 5 in numbers
    ([(1, 9)], 9, True)
    """

    __slots__ = ("_first", "_last")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()):
        self._first = self._last = _NOTHING
        for first, last in ranges:
            self.add(first, last)

    def add(self, first: int, last: int) -> None:
        """Put in every number from `first` to `last`."""
        firsts, lasts = self._first, self._last
        if not lasts:
            self._first, self._last = [first], [last]
            return
        if first > lasts[-1] + 1:
            firsts.append(first)
            lasts.append(last)
            return
        if first == lasts[-1] + 1:
            lasts[-1] = last
            return
        low = bisect_left(lasts, first - 1)
        high = bisect_right(firsts, last + 1)
        if low < high:
            first = min(first, firsts[low])
            last = max(last, lasts[high - 1])
        firsts[low:high] = [first]
        lasts[low:high] = [last]

    def append(self, first: int, last: int) -> bool:
        """Put in `first` to `last` if above 0 and all that is there; False, nothing done, if not."""
        lasts = self._last
        highest = lasts[-1] if lasts else 0
        if first <= highest:
            return False
        if not lasts:
            self._first, self._last = [first], [last]
        elif first == highest + 1:
            lasts[-1] = last
        else:
            self._first.append(first)
            lasts.append(last)
        return True

    def __contains__(self, number: int) -> bool:
        at = bisect_left(self._last, number)
        return at < len(self._last) and self._first[at] <= number

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self._first, self._last, strict=True))

    def __bool__(self) -> bool:
        return bool(self._first)

    def __len__(self) -> int:
        return sum(self._last) - sum(self._first) + len(self._first)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IntervalSet) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    @property
    def highest(self) -> int:
        """The largest number, 0 when empty."""
        return self._last[-1] if self._last else 0

    @property
    def parts(self) -> int:
        """How many intervals it is made of."""
        return len(self._first)

    def count_below(self, bound: int) -> int:
        """How many numbers there are under `bound`."""
        firsts, lasts = self._first, self._last
        at = bisect_left(lasts, bound)
        whole = sum(lasts[:at]) - sum(firsts[:at]) + at if at else 0
        return whole + max(0, bound - firsts[at]) if at < len(lasts) else whole

    def below(self, bound: int) -> IntervalSet:
        """The numbers under `bound`; not to be changed."""
        if bound > self.highest:
            return self
        return IntervalSet((a, min(b, bound - 1)) for a, b in self if a < bound)

    def union(self, other: IntervalSet) -> IntervalSet:
        """Numbers that are in either."""
        return IntervalSet([*self, *other])

    def minus(self, other: IntervalSet) -> IntervalSet:
        """Numbers that are in this set and not in `other`."""
        if not other._first:
            return IntervalSet(self)
        left = IntervalSet()
        for first, last in self:
            at = bisect_left(other._last, first)
            start = first
            while at < len(other._first) and other._first[at] <= last:
                if other._first[at] > start:
                    left.add(start, other._first[at] - 1)
                start = other._last[at] + 1
                at += 1
            if start <= last:
                left.add(start, last)
        return left
