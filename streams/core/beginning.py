"""Since when a stream knows what happened, and what of it nobody can tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from streams.core.local_days import day_bounds_ms, day_of

__all__ = ["BEGUN_LATER", "FORGOTTEN", "Beginning"]

BEGUN_LATER: Final = "begun_later"
"""Reason: the stream began after the period did, and nobody told it of the time before."""
FORGOTTEN: Final = "forgotten"
"""Reason: the stream was computed anew from a journal that no longer reaches back so far."""
_HELD_BACK_MS: Final = 2 * 86_400_000
"""What is so much older than the day of the beginning was brought in: collectors wait for hours. [ms]"""
_BROUGHT_IN_D: Final = 2
"""Of how many local days papers are that were brought in."""


@dataclass(slots=True)
class Beginning:
    """The beginning of a stream.

    Attributes
    ----------
    heard_ms : int or None
        When it heard its first message, None before. [ms UTC]
    anew_to : int or None
        Of a stream whose beginning is forgotten the last record that was there when it was computed anew:
        what it says of the time up to that was said by a stream that knew more.
    anew_to_ms : int or None
        Its now after that record, None before. [ms UTC]
    """

    heard_ms: int | None = None
    anew_to: int | None = None
    anew_to_ms: int | None = None

    @classmethod
    def load(cls, kept: Mapping[str, Any] | None) -> Beginning:
        """What `asdict` gave; of a checkpoint that has none it was as if it had always been."""
        return cls(heard_ms=0) if kept is None else cls(**kept)

    def asdict(self) -> dict[str, int | None]:
        """As a checkpoint keeps it."""
        return asdict(self)

    def hear(self, oldest_ms: int, timestamp_ms: int) -> bool:
        """Note a message; whether it changed anything.

        A record of the data clock may bear no time yet: then the oldest sample of those is the beginning.
        """
        ms = max(oldest_ms, timestamp_ms)
        if ms <= 0 or (self.heard_ms is not None and (timestamp_ms > 0 or ms >= self.heard_ms)):
            return False
        self.heard_ms = ms
        return True

    def stepped(self, offset: int, now_ms: int) -> bool:
        """Note a record; whether all that was there is now computed anew."""
        if self.anew_to is None or self.anew_to_ms is not None or offset < self.anew_to:
            return False
        self.anew_to_ms = now_ms
        return True

    @property
    def anew(self) -> bool:
        """Whether it is being computed anew, without its beginning."""
        return self.anew_to is not None and self.anew_to_ms is None

    def why_unknown(self, first_day_end_ms: int, told_ms: Iterable[int], timezone: str) -> str:
        """Why sums of a period are unknown; empty where they are known.

        A stream knows a period of whose first local day it heard some, and one whose papers were brought in:
        some are of that day or before, or of two days at least so long before the stream began that no
        collector held them back. One alone may be of a clock that was wrong.

        Parameters
        ----------
        first_day_end_ms : int
            End of the period's first local day. [ms UTC]
        told_ms : iterable of int
            When its papers are of. [ms UTC]
        timezone : str
        """
        heard_ms = self.heard_ms
        if heard_ms is not None and heard_ms < first_day_end_ms:
            return ""
        if self.anew_to is not None:
            return FORGOTTEN
        if heard_ms is None:
            return BEGUN_LATER
        before_ms = day_bounds_ms(heard_ms, timezone)[0] - _HELD_BACK_MS
        needed = 1 if before_ms <= first_day_end_ms else _BROUGHT_IN_D
        days = {day_of(t, timezone) for t in told_ms if t < max(before_ms, first_day_end_ms)}
        return "" if len(days) >= needed else BEGUN_LATER

    def forgot(self, t_ms: int) -> bool:
        """Whether it would have to know of a time of which the journal no longer tells. [ms UTC]"""
        return self.anew_to is not None and (self.heard_ms is None or t_ms < self.heard_ms)

    def stands(self, end_ms: int) -> bool:
        """Whether what was said of a time that ended then by a stream that knew more stands."""
        return self.anew or (self.anew_to_ms is not None and end_ms <= self.anew_to_ms)
