"""Numbers by local day, of which only what they come to by a day's end is asked for."""

from __future__ import annotations

from typing import Self

from streams.core.local_days import QUARTER_MS

__all__ = ["DaySums", "DayTops"]


class _ByDay:
    """Numbers by a day's start (ms UTC)."""

    __slots__ = ("_of",)

    def __init__(self) -> None:
        self._of: dict[int, int] = {}

    @property
    def first(self) -> int | None:
        """The first day that has a number. [ms UTC]"""
        return min(self._of, default=None)

    @property
    def last(self) -> int | None:
        """The last day that has a number. [ms UTC]"""
        return max(self._of, default=None)

    def reaches_before(self, day_ms: int) -> bool:
        """Whether a day that began before `day_ms` has a number."""
        return any(day < day_ms for day in self._of)

    def _fold(self, day_ms: int, number: int) -> None:
        raise NotImplementedError

    def unite(self, other: Self) -> None:
        """Take in another's numbers."""
        for day_ms, number in other._of.items():
            self._fold(day_ms, number)

    def forget_before(self, day_ms: int) -> None:
        """Move the numbers of the days before `day_ms` to that day."""
        for old in [day for day in self._of if day < day_ms]:
            self._fold(day_ms, self._of.pop(old))

    def to_list(self) -> list[int]:
        """State as quarters of an hour and numbers in turn; `from_list` reads it."""
        return [x for day_ms, number in sorted(self._of.items()) for x in (day_ms // QUARTER_MS, number)]

    @classmethod
    def from_list(cls, flat: list[int] | int) -> Self:
        """Read what `to_list` wrote; a bare number is of before all days."""
        self = cls()
        pairs = [0, flat] if isinstance(flat, int) else flat
        for quarter, number in zip(pairs[::2], pairs[1::2], strict=True):
            if number or not isinstance(flat, int):
                self._of[quarter * QUARTER_MS] = number
        return self


class DayTops(_ByDay):
    """Highest number of each day.

    Examples
    --------
    >>> tops = DayTops()
    >>> tops.see(0, 7)
    >>> tops.see(86_400_000, 5)
    >>> tops.before(86_400_000), tops.before(2 * 86_400_000)
    (7, 7)
    """

    __slots__ = ()

    def see(self, day_ms: int, number: int) -> None:
        """Note that `number` is of that day."""
        if number > self._of.get(day_ms, -1):
            self._of[day_ms] = number

    _fold = see

    def before(self, day_ms: int) -> int:
        """The highest number of days that began before `day_ms`, 0 where there is none."""
        return max((number for day, number in self._of.items() if day < day_ms), default=0)

    def steps(self) -> list[tuple[int, int]]:
        """Each day with how many numbers came with it, in order."""
        return [(day, self.before(day + 1) - self.before(day)) for day in sorted(self._of)]


class DaySums(_ByDay):
    """How many there were on each day.

    Examples
    --------
    >>> sums = DaySums()
    >>> sums.add(0, 2)
    >>> sums.add(86_400_000, 3)
    >>> sums.before(86_400_000), sums.before(None)
    (2, 5)
    """

    __slots__ = ()

    def add(self, day_ms: int, number: int) -> None:
        """Count `number` more on that day."""
        self._of[day_ms] = self._of.get(day_ms, 0) + number

    _fold = add

    def before(self, day_ms: int | None) -> int:
        """How many there were on days that began before `day_ms`, or on all."""
        return sum(count for day, count in self._of.items() if day_ms is None or day < day_ms)
