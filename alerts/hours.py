"""Hours of the day and days of the week, by a site's own clock."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

__all__ = ["ALWAYS", "DAYS", "Hours", "Week", "read_days", "read_hours"]

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SPAN: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-4]):([0-5][0-9])")
_DAY_MIN: Final = 1440
_MIN_MS: Final = 60_000
_WEEK_MIN: Final = 7 * _DAY_MIN


@dataclass(frozen=True, slots=True)
class Hours:
    """From one minute of the day to another; an end at or before the start is on the next day.

    Attributes
    ----------
    start_min, end_min : int
        [min]
    """

    start_min: int
    end_min: int

    @property
    def long_min(self) -> int:
        """How long. [min]"""
        return (self.end_min - self.start_min - 1) % _DAY_MIN + 1


ALWAYS: Final = Hours(0, _DAY_MIN)


@dataclass(frozen=True, slots=True)
class Week:
    """Hours on some days of the week, named after the day on which they begin.

    Attributes
    ----------
    days : frozenset of int
        0 is Monday.
    hours : Hours
    """

    days: frozenset[int] = frozenset(range(7))
    hours: Hours = ALWAYS

    def holds(self, at: datetime) -> bool:
        """Whether local time `at` is within.

        Examples
        --------
        >>> night = Week(frozenset({4}), Hours(22 * 60, 6 * 60))  # Friday night
        >>> night.holds(datetime(2026, 1, 3, 5, 59)), night.holds(datetime(2026, 1, 3, 6, 0))
        (True, False)
        """
        minute = at.hour * 60 + at.minute
        today = (minute - self.hours.start_min) % _WEEK_MIN if minute >= self.hours.start_min else None
        if today is not None and today < self.hours.long_min and at.weekday() in self.days:
            return True
        yesterday = minute + _DAY_MIN - self.hours.start_min
        return yesterday < self.hours.long_min and (at.weekday() - 1) % 7 in self.days

    def minutes(self) -> set[int]:
        """Minutes of the week, from Monday 00:00, that are within."""
        return {
            (day * _DAY_MIN + self.hours.start_min + n) % _WEEK_MIN
            for day in self.days
            for n in range(self.hours.long_min)
        }

    def end_after(self, at_ms: int, zone: ZoneInfo) -> int:
        """When the hours that hold `at_ms` are over; `at_ms` itself when they do not hold. [ms UTC]"""
        end_ms = at_ms
        # By UTC, so that an hour that a clock shows twice is gone through twice.
        while (
            self.holds(datetime.fromtimestamp(end_ms / 1000, zone)) and end_ms - at_ms < _WEEK_MIN * _MIN_MS
        ):
            end_ms = (end_ms // _MIN_MS + 1) * _MIN_MS
        return end_ms


def hole(shifts: list[Week], cover: Week) -> str:
    """The first time of the week that `cover` asks for and none of `shifts` has; empty if there is none."""
    open_min = sorted(cover.minutes() - set().union(*(s.minutes() for s in shifts)))
    if not open_min:
        return ""
    first = last = open_min[0]
    for minute in open_min[1:]:
        if minute != last + 1:
            break
        last = minute
    return f"{_named(first)} to {_named((last + 1) % _WEEK_MIN)}"


def _named(minute: int) -> str:
    day, rest = divmod(minute, _DAY_MIN)
    return f"{DAYS[day]} {rest // 60:02}:{rest % 60:02}"


def read_hours(value: Any) -> Hours:
    """Hours from text such as ``22:00-07:00``; ValueError says what was expected."""
    found = _SPAN.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        msg = f"expected hours such as 22:00-07:00, got {value!r}"
        raise ValueError(msg)
    numbers = [int(n) for n in found.groups()]
    start, end = numbers[0] * 60 + numbers[1], numbers[2] * 60 + numbers[3]
    if end > _DAY_MIN:
        msg = f"expected an end of at most 24:00, got {value!r}"
        raise ValueError(msg)
    return Hours(start, end)


def read_days(value: Any) -> frozenset[int]:
    """Days from a list such as ``["mon", "tue"]``; ValueError says what was expected."""
    if not isinstance(value, list) or not value or any(day not in DAYS for day in value):
        msg = f"expected a list of {', '.join(DAYS)}, got {value!r}"
        raise ValueError(msg)
    return frozenset(DAYS.index(day) for day in value)
