"""Time zones of a site, one after the other, and the local days of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from streams.core.local_days import day_of, day_starts

__all__ = ["Zones"]


class Zones:
    """Local days, each by the time zone that held when it began.

    A day is told by its start. The first of a zone may begin before the last of the zone before it ends:
    what is of its time counts from that end on.

    Examples
    --------
    >>> zones = Zones()
    >>> zones.change("UTC", 0)
    >>> zones.change("Asia/Shanghai", 86_400_000)
    >>> hour_ms = 3_600_000
    >>> [zones.day(n * hour_ms) // hour_ms for n in (0, 23, 24, 39, 40)]
    [0, 0, 24, 24, 40]
    """

    def __init__(self) -> None:
        self._of: list[tuple[int, str]] = []  # since when (ms UTC) each holds, in order

    @property
    def timezone(self) -> str:
        """The one that holds, UTC before any is known."""
        return self._of[-1][1] if self._of else "UTC"

    def since(self, at_ms: int | None = None) -> int:
        """Since when the one of a time, or the last, holds; 0 where it always did. [ms UTC]"""
        return self._of[-1][0] if self._of and at_ms is None else self._at(at_ms or 0)[0]

    def change(self, timezone: str, from_ms: int) -> None:
        """Have days of `timezone` from `from_ms` (ms UTC) on, where a day ends; the first is for ever."""
        before = [each for each in self._of if each[0] < from_ms]
        if not before:
            self._of = [(0, timezone)]
        elif timezone != self.timezone:
            self._of = before if before[-1][1] == timezone else [*before, (from_ms, timezone)]

    def bounds(self, at_ms: int) -> tuple[int, int]:
        """Start and end of the local day that a time lies in. [ms UTC]"""
        return day_of(at_ms, self._at(at_ms)[1])

    def day(self, at_ms: int) -> int:
        """Start of the local day that what is of a time counts on. [ms UTC]"""
        from_ms, timezone = self._at(at_ms)
        start = day_of(at_ms, timezone)[0]
        return max(start, from_ms) if from_ms else start

    def days(self, times_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """`day` of each time, shape (n,). [ms UTC]"""
        days = day_starts(times_ms, self._at(0)[1])
        for from_ms, timezone in self._of[1:]:
            since = times_ms >= from_ms
            days[since] = np.maximum(day_starts(times_ms[since], timezone), from_ms)
        return days

    def forget_before(self, at_ms: int) -> None:
        """Let what held before the one of `at_ms` (ms UTC) be as that one."""
        while len(self._of) > 1 and self._of[1][0] <= at_ms:
            del self._of[0]
            self._of[0] = (0, self._of[0][1])

    def _at(self, at_ms: int) -> tuple[int, str]:
        for each in reversed(self._of):
            if each[0] <= at_ms:
                return each
        return self._of[0] if self._of else (0, self.timezone)

    def to_json(self) -> dict[str, Any]:
        """State; `from_json` reads it."""
        return {"timezone": self.timezone, "zones": self._of}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote, and what was written when one zone alone was known."""
        self = cls()
        self._of = [(from_ms, zone) for from_ms, zone in state.get("zones", [(0, state["timezone"])])]
        return self
