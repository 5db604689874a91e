"""The figures of a desk while it runs: alarms by ten minutes, those of the last 24 hours, worst actors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import pyarrow as pa

from alerts.action import ALARM_STREAM
from alerts.actors import DAY_MS, RINGS, Actors, Heard
from alerts.alarm import Alarm, Phase
from alerts.book import Happened
from alerts.quality import STALE_MS, TEN_MIN_MS, Standing, figures
from alerts.rows import ACTORS, QUALITY, actors_table, quality_table

__all__ = ["RINGS", "Measured"]

_EVERY_MS: Final = 60_000


class Measured:
    """Counts what rings.

    Parameters
    ----------
    desks : int
        How many desks share the alarms.
    """

    def __init__(self, desks: int):
        self._desks = desks
        self._rung: list[tuple[int, str]] = []
        self._actors = Actors()
        self._since_ms: int | None = None
        self._told_ms = 0

    def hear(self, happened: Happened) -> None:
        """Take note of something that happened."""
        alarm, event = happened.alarm, happened.event
        if not alarm.quiet:
            alone = not alarm.acknowledged_by
            self.note(
                Heard(event.at_ms, event.note, alarm.subject, alarm.code, alarm.unit, alarm.region, alone)
            )

    def note(self, heard: Heard) -> None:
        """Take note of what was heard, now or before a restart."""
        self._actors.note(heard)
        if heard.note in RINGS:
            self._rung.append((heard.at_ms, f"{heard.subject}:{heard.code}"))

    def due(self, now_ms: int, alarms: Iterable[Alarm]) -> dict[str, pa.Table] | None:
        """Rows of the running 10 minutes and of the day, once a minute; None between."""
        if self._since_ms is None:
            self._since_ms = now_ms
        if now_ms - self._told_ms < _EVERY_MS:
            return None
        self._told_ms = now_ms
        self._rung = [(t, name) for t, name in self._rung if t >= now_ms - DAY_MS]
        near = [a for a in alarms if a.phase in {Phase.RAISED, Phase.ACKNOWLEDGED} and not a.quiet]
        standing = [Standing(a.id, a.raised_ms or now_ms, now_ms) for a in near]
        from_ms = max(now_ms - DAY_MS, min(self._since_ms, now_ms - TEN_MIN_MS))
        day = figures(self._rung, standing, from_ms, now_ms + 1, self._desks)
        start_ms = now_ms // TEN_MIN_MS * TEN_MIN_MS
        row = {
            "alarms": sum(t >= start_ms for t, _ in self._rung), "standing": len(near),
            "unacknowledged": sum(a.phase is Phase.RAISED for a in near),
            "stale": sum(s.to_ms - s.from_ms > STALE_MS for s in standing), "a_day": day.a_day,
            "worst_10_min": day.worst_10_min, "flood_pct": day.flood_pct, "chatter": day.chatter,
        }  # fmt: skip
        return {
            QUALITY: quality_table(start_ms, TEN_MIN_MS, row, ALARM_STREAM),
            ACTORS: actors_table(self._actors.worst(now_ms), now_ms // DAY_MS * DAY_MS, ALARM_STREAM),
        }
