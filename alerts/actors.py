"""Worst actors: the alarms by subject and code that ring most, as ISA-18.2 has a desk look for them.

A few of them make most of a desk's alarms, so that is where rules are worth mending. What cleared without
anybody having acknowledged it asked nobody to do anything; what rings three times in a minute chatters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, NamedTuple

from alerts.alarm import Note
from alerts.scopes import DESK, by_scope

__all__ = ["ACTORS_MS", "DAY_MS", "MOST", "REMEMBERED", "RINGS", "Actor", "Actors", "Heard", "heard_again"]

RINGS: Final = frozenset({Note.RAISED, Note.REALARMED, Note.WORSENED})
"""What makes a bell ring."""
_MUTED: Final = {Note.SHELVED: "shelf", Note.SUPPRESSED: "cover"}
_UNMUTED: Final = {Note.UNSHELVED: "shelf", Note.UNSUPPRESSED: "cover"}
REMEMBERED: Final = frozenset(
    {*RINGS, Note.CLEARED, Note.ACKNOWLEDGED, Note.CLOSED, Note.WITHDRAWN, *_MUTED, *_UNMUTED}
)
"""What has to be read again after a restart."""
DAY_MS: Final = 86_400_000
_DAYS: Final = 30
_WEEK: Final = 7
ACTORS_MS: Final = _DAYS * DAY_MS
"""How far back they are counted. [ms]"""
MOST: Final = 10
"""How many are told of."""
_CHATTER: Final = 3
_CHATTER_MS: Final = 60_000


class Heard(NamedTuple):
    """Something that happened to an alarm that people were told of.

    Attributes
    ----------
    at_ms : int
        [ms UTC]
    note : str
    subject, code, unit, region : str
    alone : bool
        Nobody has acknowledged it since it rang.
    """

    at_ms: int
    note: str
    subject: str
    code: str
    unit: str
    region: str
    alone: bool


@dataclass(slots=True)
class _Counts:
    alarms: int = 0
    cleared_alone: int = 0
    chatter: int = 0

    def add(self, other: _Counts) -> None:
        self.alarms += other.alarms
        self.cleared_alone += other.cleared_alone
        self.chatter += other.chatter


class Actor(NamedTuple):
    """How often alarms of a subject and code rang within 30 days, today's included.

    Attributes
    ----------
    subject, code, unit, region : str
    alarms, alarms_7d : int
        Within 30 days, and within 7.
    share_pct : float
        Of all alarms of its scope within 30 days. [%]
    cleared_alone : int
        How many of them cleared without anybody having acknowledged them.
    chatter : int
        How often one rang three times in a minute.
    """

    subject: str
    code: str
    unit: str
    region: str
    alarms: int
    alarms_7d: int
    share_pct: float
    cleared_alone: int
    chatter: int


class Actors:
    """Counts by day what rings: memory holds the days and not every alarm."""

    def __init__(self) -> None:
        self._days: dict[int, dict[tuple[str, str], _Counts]] = {}
        self._places: dict[tuple[str, str], tuple[str, str]] = {}
        self._rung: dict[tuple[str, str], list[int]] = {}

    def note(self, heard: Heard) -> None:
        """Take note of something, in order of time."""
        name = heard.subject, heard.code
        if heard.note not in RINGS and heard.note != Note.CLEARED:
            return
        counts = self._days.setdefault(heard.at_ms // DAY_MS, {}).setdefault(name, _Counts())
        self._places[name] = heard.unit, heard.region
        if heard.note == Note.CLEARED:
            counts.cleared_alone += heard.alone
            return
        counts.alarms += 1
        rung = [t for t in self._rung.get(name, ()) if heard.at_ms - t < _CHATTER_MS] + [heard.at_ms]
        chatters = len(rung) >= _CHATTER
        counts.chatter += chatters
        self._rung[name] = [] if chatters else rung

    def worst(self, now_ms: int) -> dict[str, list[Actor]]:
        """The ten of each scope that rang most often, the worst first; forgets what is over 30 days ago.

        Returns
        -------
        dict of str to list of Actor
            By ``desk``, ``region:ID`` and ``unit:ID``; of regions and units those that have any.
        """
        today = now_ms // DAY_MS
        self._days = {day: counts for day, counts in self._days.items() if day > today - _DAYS}
        self._rung = {n: ts for n, ts in self._rung.items() if ts and now_ms - ts[-1] < _CHATTER_MS}
        month = self._since(today - _DAYS)
        week = self._since(today - _WEEK)
        self._places = {name: self._places[name] for name in month}
        actors = [
            Actor(
                *name, *self._places[name], counts.alarms, week.get(name, _Counts()).alarms, 0.0,
                counts.cleared_alone, counts.chatter,
            )
            for name, counts in sorted(month.items(), key=lambda x: (-x[1].alarms, x[0]))
            if counts.alarms
        ]  # fmt: skip
        told: dict[str, list[Actor]] = {DESK: []}
        for scope, found in by_scope(actors).items():
            every = sum(actor.alarms for actor in found)
            told[scope] = [a._replace(share_pct=100.0 * a.alarms / every) for a in found[:MOST]]
        return told

    def _since(self, after: int) -> dict[tuple[str, str], _Counts]:
        total: dict[tuple[str, str], _Counts] = {}
        for day, found in self._days.items():
            for name, counts in found.items() if day > after else ():
                total.setdefault(name, _Counts()).add(counts)
        return total


def heard_again(events: Iterable[Mapping[str, Any]]) -> Iterator[Heard]:
    """What was heard of alarms, from their records in order: what was quiet by the end of its turn is not.

    Parameters
    ----------
    events : iterable of dict
        With ``alarm_id``, ``at_ms``, ``note``, ``subject``, ``code``, ``unit``, ``region``.
    """
    muted: dict[str, set[str]] = {}
    acknowledged: set[str] = set()
    for (_, alarm), turn in groupby(events, key=lambda e: (e["at_ms"], e["alarm_id"])):
        told: list[Heard] = []
        for e in turn:
            if e["note"] == Note.SHELVED and not muted.get(alarm):  # a person's deed: it had been heard
                yield from told
                told.clear()
            _follow(e["note"], alarm, muted, acknowledged)
            place = e["subject"], e["code"], e["unit"], e["region"]
            told.append(Heard(e["at_ms"], e["note"], *place, alarm not in acknowledged))
        if not muted.get(alarm):
            yield from told


def _follow(note: str, alarm: str, muted: dict[str, set[str]], acknowledged: set[str]) -> None:
    if note in _MUTED:
        muted.setdefault(alarm, set()).add(_MUTED[Note(note)])
    elif note in _UNMUTED:
        muted.get(alarm, set()).discard(_UNMUTED[Note(note)])
    elif note in {Note.CLOSED, Note.WITHDRAWN}:
        muted.pop(alarm, None)
        acknowledged.discard(alarm)
    elif note == Note.ACKNOWLEDGED:
        acknowledged.add(alarm)
    elif note in RINGS:
        acknowledged.discard(alarm)
