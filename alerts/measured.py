"""The figures of a desk while it runs: alarms by ten minutes, those of the last 24 hours, worst actors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import pyarrow as pa

from alerts.action import ALARM_STREAM
from alerts.actors import DAY_MS, RINGS, Actors, Heard
from alerts.alarm import Alarm, Phase
from alerts.book import Happened
from alerts.quality import STALE_MS, TEN_MIN_MS, Standing, figures
from alerts.rows import ACTORS, QUALITY, actors_table, quality_table
from alerts.scopes import by_scope, places_of
from models.site import Site

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
        self._rung: list[Heard] = []
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
        if self._since_ms is None or heard.at_ms < self._since_ms:
            self._since_ms = heard.at_ms  # listened at least since then, before a restart too
        if heard.note in RINGS:
            self._rung.append(heard)

    def due(self, now_ms: int, alarms: Iterable[Alarm], site: Site) -> dict[str, pa.Table] | None:
        """Rows of the running 10 minutes and of the day by scope, once a minute; None between."""
        if self._since_ms is None:
            self._since_ms = now_ms
        if now_ms - self._told_ms < _EVERY_MS:
            return None
        self._told_ms = now_ms
        self._rung = [heard for heard in self._rung if heard.at_ms >= now_ms - DAY_MS]
        near = [a for a in alarms if a.phase in {Phase.RAISED, Phase.ACKNOWLEDGED} and not a.quiet]
        start_ms = now_ms // TEN_MIN_MS * TEN_MIN_MS
        rung, stood = by_scope(self._rung), by_scope(near)
        places = places_of(site)
        quality = {
            scope: {**place, **self._figures(now_ms, rung.get(scope, []), stood.get(scope, []))}
            for scope, place in places.items()
        }
        today_ms = now_ms // DAY_MS * DAY_MS
        return {
            QUALITY: quality_table(start_ms, TEN_MIN_MS, quality, ALARM_STREAM),
            ACTORS: actors_table(self._actors.worst(now_ms), places, today_ms, ALARM_STREAM),
        }

    def _figures(self, now_ms: int, rung: Sequence[Heard], near: Sequence[Alarm]) -> dict[str, Any]:
        """What some of the alarms ask of the desk."""
        assert self._since_ms is not None
        standing = [Standing(a.id, a.raised_ms or now_ms, now_ms) for a in near]
        from_ms = max(now_ms - DAY_MS, min(self._since_ms, now_ms - TEN_MIN_MS))
        told = [(heard.at_ms, f"{heard.subject}:{heard.code}") for heard in rung]
        day = figures(told, standing, from_ms, now_ms + 1, self._desks)
        listened = (now_ms - from_ms) / DAY_MS
        start_ms = now_ms // TEN_MIN_MS * TEN_MIN_MS
        return {
            "alarms": sum(t >= start_ms for t, _ in told), "standing": len(near),
            "unacknowledged": sum(a.phase is Phase.RAISED for a in near),
            "stale": sum(s.to_ms - s.from_ms > STALE_MS for s in standing), "a_day": day.a_day,
            "worst_10_min": day.worst_10_min, "flood_pct": day.flood_pct, "chatter": day.chatter,
            "coverage": round(listened, 6),
        }  # fmt: skip
