"""Times as recordings write them, and the rule for the hours that daylight saving skips or repeats."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

__all__ = ["FORMATS", "LocalClock", "parser", "zone"]

FORMATS: Final = ("iso", "unix_s", "unix_ms", "seconds_from")
"""Named formats; anything else is a pattern of `datetime.strptime`."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)


def _ms(when: datetime) -> int:
    return (when - _EPOCH) // _MS


class LocalClock:
    """Turns wall-clock times of one zone, in the order of a recording, into ms UTC.

    - An hour that occurs twice (autumn): the first pass is daylight-saving time. The second begins with
      the row whose time steps back, or stands still though the row differs from the one before it. Equal
      rows are one row repeated and share their instant.
    - An hour that does not occur (spring): the clock was not moved yet, so the offset before the change
      holds. Rows that skip the hour, as those of a correct logger do, stay one interval apart.

    Parameters
    ----------
    zone : tzinfo
        Time zone of the recording.
    """

    def __init__(self, zone: tzinfo):
        self.zone = zone
        self._previous: datetime | None = None
        self._second_pass = False

    def ms(self, naive: datetime, *, repeated_row: bool) -> int:
        """Wall-clock time to ms UTC; `repeated_row` says that the row equals the one before it."""
        first, second = naive.replace(tzinfo=self.zone), naive.replace(tzinfo=self.zone, fold=1)
        twice = (first.utcoffset() or timedelta()) > (second.utcoffset() or timedelta())
        if not twice:
            self._second_pass = False
        elif self._previous is not None and self._ambiguous(self._previous):
            back = naive < self._previous or (naive == self._previous and not repeated_row)
            self._second_pass = self._second_pass or back
        self._previous = naive
        return _ms(second if self._second_pass else first)

    def _ambiguous(self, naive: datetime) -> bool:
        first, second = naive.replace(tzinfo=self.zone), naive.replace(tzinfo=self.zone, fold=1)
        return (first.utcoffset() or timedelta()) > (second.utcoffset() or timedelta())

    @property
    def state(self) -> tuple[str, bool]:
        """What `restore` needs to go on in the middle of a recording."""
        return (self._previous.isoformat() if self._previous else "", self._second_pass)

    def restore(self, state: tuple[str, bool]) -> None:
        """Go on after the row that `state` was taken at."""
        self._previous = datetime.fromisoformat(state[0]) if state[0] else None
        self._second_pass = state[1]


def parser(time_format: str, clock: LocalClock, epoch: datetime | None) -> Callable[[str, bool], int]:
    """Make the reader of time cells, ``(text, repeated_row) -> ms UTC``; it raises ValueError."""

    def local(when: datetime, repeated_row: bool) -> int:
        return _ms(when) if when.tzinfo is not None else clock.ms(when, repeated_row=repeated_row)

    if time_format == "iso":
        return lambda text, repeated: local(datetime.fromisoformat(text), repeated)
    if time_format == "unix_s":
        return lambda text, _: _number_ms(text, 1000.0)
    if time_format == "unix_ms":
        return lambda text, _: _number_ms(text, 1.0)
    if time_format == "seconds_from":
        start = _ms(epoch) if epoch is not None else 0
        return lambda text, _: start + _number_ms(text, 1000.0)
    return lambda text, repeated: local(datetime.strptime(text, time_format), repeated)  # noqa: DTZ007  the zone is the clock's


def _number_ms(text: str, factor: float) -> int:
    value = float(text) * factor
    if not math.isfinite(value) or "_" in text:
        raise ValueError(f"expected a number, got {text!r}")
    return round(value)


def zone(name: str) -> tzinfo:
    """Time zone by its IANA name; ValueError if there is none of that name."""
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"expected an IANA time zone such as Europe/Tallinn, got {name!r}") from error
