"""What rules would have made of the past: the same conditions, run through the book of alarms again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import pyarrow as pa

from alerts.alarm import Note
from alerts.book import Book, Happened
from alerts.condition import Condition, conditions_of
from alerts.measured import RINGS
from alerts.quality import Figures, Standing, figures
from alerts.rules import SitePolicy
from alerts.shared_cause import SHARED_CAUSE
from models.anomaly import Severity
from models.branches import branches_of
from models.site import Site

__all__ = ["Rehearsed", "Word", "caught", "fast_conditions", "rehearse", "within", "words_of"]

_HOUR_MS: Final = 3_600_000
_ENDS: Final = frozenset({Note.CLEARED, Note.CLOSED, Note.WITHDRAWN, Note.SUPPRESSED})


@dataclass(frozen=True, slots=True)
class Word:
    """A condition, and when it was said. [ms UTC]"""

    at_ms: int
    condition: Condition


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What came of it.

    Attributes
    ----------
    figures : Figures
    rung : list of dict
        Every time that a bell rang: ``at_ms``, ``alarm``, ``subject``, ``code``, ``severity``.
    alarms : dict of str to int
        How many alarms ended in which phase or were never told.
    """

    figures: Figures
    rung: list[dict[str, Any]]
    alarms: Mapping[str, int]


def words_of(anomalies: pa.Table, alarms: pa.Table, lateness_ms: int) -> list[Word]:
    """Stored conditions as they were said, in order.

    A condition is said when its first window is final, and its end when the window after it is; how it
    looked in between is not kept. Those of fast rules are in no table but the alarms'.

    Parameters
    ----------
    anomalies, alarms : pyarrow.Table
        Rows of `anomaly` and of `alarm`.
    lateness_ms : int
        After which a window is final. [ms]
    """
    words = []
    for condition, window_ms in _stored(anomalies):
        said_ms = condition.first_ms + window_ms + lateness_ms
        known_ms = min(condition.until_ms, condition.first_ms + window_ms)  # what comes later is hindsight
        words.append(Word(said_ms, replace(condition, active=True, until_ms=known_ms, order=0)))
        if not condition.active:
            words.append(Word(max(said_ms, condition.until_ms + lateness_ms), replace(condition, order=1)))
    for said in fast_conditions(alarms):
        words.append(Word(said.first_ms, replace(said, active=True, until_ms=said.first_ms, order=0)))
        if not said.active:
            words.append(Word(said.until_ms, said))
    return sorted(words, key=lambda w: (w.at_ms, w.condition.order, w.condition.key))


def fast_conditions(alarms: pa.Table) -> list[Condition]:
    """What fast rules said, by rows of `alarm`: it stands nowhere else."""
    return [
        Condition(
            row["key"], row["subject"], row["code"], Severity(row["severity"]), row["window_start"],
            max(row["until"], row["window_start"]), row["active"], provisional=True, unit=row["unit"],
            region=row["region"], evidence=json.loads(row["evidence"]), order=1,
        )
        for row in alarms.to_pylist()
        if row["provisional"]
    ]  # fmt: skip


def _stored(anomalies: pa.Table) -> Iterable[tuple[Condition, int]]:
    windows = dict(
        zip(anomalies["key"].to_pylist(), anomalies["window_ms"].to_pylist(), strict=True)
        if anomalies.num_rows
        else ()
    )
    return ((c, windows[c.key]) for c in conditions_of([anomalies], 0))


def rehearse(words: Sequence[Word], policy: SitePolicy, from_ms: int, to_ms: int) -> Rehearsed:
    """Run `words` through the rules, as if nobody had done anything, and measure [from_ms, to_ms)."""
    book = Book(policy)
    happened: list[Happened] = []
    now_ms = words[0].at_ms if words else from_ms
    at = 0
    while at < len(words):
        said_ms = words[at].at_ms
        while (now_ms := min(said_ms, _next(book, now_ms))) < said_ms:
            happened += book.tick(now_ms)
        together = at
        while together < len(words) and words[together].at_ms == said_ms:
            together += 1
        happened += book.take([w.condition for w in words[at:together]], now_ms)
        happened += book.tick(now_ms)
        book.changed.clear()
        at = together
    while now_ms < to_ms:
        now_ms = min(to_ms, _next(book, now_ms))
        happened += book.tick(now_ms)
        book.changed.clear()
    return _measured(happened, policy, from_ms, to_ms)


def _next(book: Book, now_ms: int) -> int:
    """When time is next to pass: when something is due, and at each full hour, since rules have hours."""
    hour_ms = (now_ms // _HOUR_MS + 1) * _HOUR_MS
    due_ms = book.due_ms(now_ms)
    return hour_ms if due_ms is None else min(due_ms, hour_ms)


def _measured(happened: Sequence[Happened], policy: SitePolicy, from_ms: int, to_ms: int) -> Rehearsed:
    rung, standing, began = list[dict[str, Any]](), list[Standing](), dict[str, int]()
    names, told = dict[str, str](), set[str]()
    for one in happened:
        alarm, event = one.alarm, one.event
        names[alarm.id] = f"{alarm.subject}:{alarm.code}"
        if event.tell and event.note in RINGS:
            told.add(alarm.id)
            began.setdefault(alarm.id, event.at_ms)
            rung.append({
                "at_ms": event.at_ms, "alarm": alarm.id, "subject": alarm.subject, "code": alarm.code,
                "severity": str(alarm.severity), "group": alarm.group,
            })  # fmt: skip
        elif event.note in _ENDS and alarm.id in began:
            standing.append(Standing(alarm.id, began.pop(alarm.id), event.at_ms))
    standing += [Standing(name, start, to_ms) for name, start in began.items()]
    found = figures(
        [(r["at_ms"], names[r["alarm"]]) for r in rung], standing, from_ms, to_ms, policy.rules.desks
    )
    inside = [r for r in rung if from_ms <= r["at_ms"] < to_ms]
    counts = {"told": len(told), "never told": len(names.keys() - told)}
    return Rehearsed(found, inside, counts)


def caught(
    rehearsed: Rehearsed, faults: Iterable[Mapping[str, Any]], site: Site
) -> tuple[list[str], list[str]]:
    """Which of the true faults people were told of before their deadline, and which not.

    A fault of a device is caught by an alarm about it, or by a shared cause of the branch or network that it
    is on; one of a pipe or a node by an alarm about their network or a branch of it; any other by an alarm
    about its place.
    """
    branches = branches_of(site)
    yes, no = list[str](), list[str]()
    for fault in faults:
        onset, deadline = fault["onset_ms"], fault.get("deadline_ms") or 2**62
        place = str(fault.get("place", ""))
        mine = [r for r in rehearsed.rung if onset <= r["at_ms"] <= deadline]
        told = any(_is_about(r, place, site, branches) for r in mine)
        (yes if told else no).append(f"{fault.get('kind', '?')} at {place}")
    return yes, no


def _is_about(rung: Mapping[str, Any], place: str, site: Site, branches: Mapping[str, str]) -> bool:
    subject = str(rung["subject"])
    if place in site.devices:
        over = {branches.get(place, ""), f"network:{site.devices[place].network}"}
        return subject == place or (rung["code"] == SHARED_CAUSE and subject in over)
    networks = {
        p.network for p in site.pipes.values() if place in {p.pipe, p.from_node, p.to_node, p.network}
    }
    whole = {f"network:{name}" for name in networks}
    return (
        subject in whole
        or subject.partition(":")[2] == place
        or any(subject.startswith(f"branch:{name}/") for name in networks)
    )


def within(words: Sequence[Word], from_ms: int) -> list[Word]:
    """Words about what still was, or came, from a time on; with how it began."""
    ends = {w.condition.key: w.at_ms for w in words if not w.condition.active}
    return [w for w in words if ends.get(w.condition.key, from_ms) >= from_ms]
