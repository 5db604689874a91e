"""Alarms made again from what is stored: conditions, and what people did about them, in order of time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from alerts.action import ALARM_STREAM, Action, actions_of
from alerts.book import Book, Happened
from alerts.condition import Condition
from journal.protocol import Journal
from models.frame import Frame

__all__ = ["deeds_of", "rebuild", "standing"]


def deeds_of(journal: Journal) -> list[tuple[int, int, Action]]:
    """All that people did: when, at which offset, and what. [ms UTC], [-]"""
    found: list[tuple[int, int, Action]] = []
    offset = -1
    while records := journal.read(ALARM_STREAM, offset, 1000):
        for record in records:
            offset = record.offset
            found += [(record.timestamp_ms, offset, a) for a in actions_of(Frame.decode(record.frame))]
    return found


def rebuild(
    book: Book, conditions: Sequence[Condition], deeds: Iterable[tuple[int, int, Action]], now_ms: int
) -> int:
    """Let all of it happen to an empty book, and time pass until `now_ms`; gives what is now. [ms UTC]"""
    began = [Condition.from_json({**c.to_json(), "active": True}) for c in conditions if not c.withdrawn]
    told: list[tuple[int, int, int, Any]] = [(c.first_ms, 0, n, c) for n, c in enumerate(began)]
    told += [(at, 1, offset, action) for at, offset, action in deeds]
    told += [(c.until_ms, 2, n, c) for n, c in enumerate(conditions) if not c.active]
    then_ms = 0
    for at_ms, _, _, one in sorted(told, key=lambda x: x[:3]):
        then_ms = max(then_ms, at_ms)
        if isinstance(one, Action):
            book.act(one, then_ms)
        else:
            book.take([one], then_ms)
    then_ms = max(then_ms, now_ms)
    book.tick(then_ms)
    return then_ms


def standing(book: Book, now_ms: int) -> list[Happened]:
    """The raising of every alarm that still is and that somebody should hear of, to be told once more.

    It is told by the route of `now_ms` [ms UTC], and its end will go there.
    """
    found = []
    for alarm in book.alarms.values():
        if alarm.told and alarm.active and not alarm.quiet:
            event = next((e for e in reversed(alarm.events) if e.tell), alarm.events[-1])
            event = replace(event, route=book.policy.terms(alarm, now_ms).route)
            alarm.events[event.n] = event
            found.append(Happened(alarm, event))
    return found
