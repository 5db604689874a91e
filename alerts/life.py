"""The life of one alarm: what time makes of it, by its conditions and the rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from alerts.action import Action
from alerts.alarm import LEGAL, Alarm, Event, Note, Phase
from alerts.condition import most_severe
from alerts.shared_cause import listed
from alerts.terms import Policy, Terms
from models.anomaly import Severity

__all__ = ["FOUND_LATE_MS", "Happened", "Life"]

FOUND_LATE_MS: Final = 3_600_000
"""An episode that is found so long after its end is recorded, and nobody is told. [ms]"""
_NEAR: Final = (Phase.RAISED, Phase.ACKNOWLEDGED)
_RANK: Final = {severity: place for place, severity in enumerate(Severity)}


@dataclass(frozen=True, slots=True)
class Happened:
    """Something that happened to an alarm."""

    alarm: Alarm
    event: Event


class Life:
    """Alarms, and how each goes on.

    Parameters
    ----------
    policy : Policy
        The rules.
    """

    def __init__(self, policy: Policy):
        self.policy = policy
        self.alarms: dict[str, Alarm] = {}
        self.maintenance: dict[str, Action] = {}
        self.changed: set[str] = set()
        """Ids of alarms that changed since somebody emptied it."""
        self._happened: list[Happened] = []

    def _covered(self, alarm: Alarm) -> bool:
        """Whether the alarm of its cause stands for it.

        One that was made of its children comes back when they do; one that a stream told of does not.
        """
        parent = self.alarms.get(alarm.cause)
        if parent is None or not parent.open:
            return False
        return parent.phase is not Phase.CLEARED or not listed(parent.evidence)

    def _unshelve(self, alarm: Alarm, now_ms: int, **by: str) -> None:
        alarm.shelf = None
        # Whoever put it aside wanted to hear of it again: it is as if it were new.
        alarm.told = alarm.told and alarm.phase is not Phase.RAISED
        self._note(alarm, Note.UNSHELVED, now_ms, **by)

    def due_ms(self, now_ms: int) -> int | None:
        """When time alone will next change an alarm, as the rules are now; None if it never will. [ms UTC]"""
        times = [t for a in self.alarms.values() if a.open for t in self._due_times(a, now_ms)]
        return min((t for t in times if t > now_ms), default=None)

    def _due_times(self, alarm: Alarm, now_ms: int) -> list[int]:
        terms = self.policy.terms(alarm, now_ms)
        times = [] if alarm.shelf is None else [alarm.shelf.until_ms]
        if alarm.phase is Phase.PENDING:
            times.append(alarm.since_ms + terms.on_delay_ms)
        elif alarm.phase is Phase.CLEARED:
            times += [alarm.since_ms + terms.rearm_ms, alarm.since_ms + terms.forget_ms]
        elif alarm.gone_ms is not None:
            times.append(alarm.gone_ms + terms.off_delay_ms)
        if alarm.phase is Phase.RAISED and terms.escalate_ms and alarm.level + 1 < terms.steps:
            times.append(_or(alarm.raised_ms, now_ms) + terms.escalate_ms * (alarm.level + 1))
        return times

    def _advance(self, alarm: Alarm, now_ms: int) -> None:
        """Bring an alarm to where it belongs now."""
        terms = self.policy.terms(alarm, now_ms)
        self._mute(alarm, now_ms)
        self._worsen(alarm, terms, now_ms)
        while self._step(alarm, terms, now_ms):
            pass
        if alarm.phase is not Phase.RAISED or alarm.quiet or not terms.notify:
            return
        if not alarm.told:
            alarm.told = True
            self._note(alarm, Note.REALARMED, now_ms, tell=True, route=terms.route)
        while (
            terms.escalate_ms
            and alarm.level + 1 < terms.steps
            and now_ms - _or(alarm.raised_ms, now_ms) >= terms.escalate_ms * (alarm.level + 1)
        ):
            alarm.level += 1
            self._note(alarm, Note.ESCALATED, now_ms, detail=str(alarm.level), tell=True, route=terms.route)

    def _mute(self, alarm: Alarm, now_ms: int) -> None:
        """Shelves run out, and suppression comes and goes."""
        if alarm.shelf is not None and alarm.shelf.until_ms <= now_ms:
            self._unshelve(alarm, now_ms)
        if not alarm.open:
            return
        wanted = f"cause:{alarm.cause}" if alarm.cause and self._covered(alarm) else ""
        for name, m in self.maintenance.items():
            standing = m.at_ms <= now_ms < (m.until_ms or 0) and m.code in {"", alarm.code}
            if standing and self.policy.covers(m.alarm, alarm):
                wanted = f"maintenance:{name}"
        if wanted != alarm.suppressed:
            note = Note.SUPPRESSED if wanted else Note.UNSUPPRESSED
            detail, alarm.suppressed = wanted or alarm.suppressed, wanted
            if wanted:
                alarm.told = False
            self._note(alarm, note, now_ms, detail=detail)

    def _worsen(self, alarm: Alarm, terms: Terms, now_ms: int) -> None:
        lasting = [m.severity for m in alarm.members.values() if not m.withdrawn]
        severity = terms.severity or (most_severe(lasting) if lasting else alarm.severity)
        worse = _RANK[severity] < _RANK[alarm.severity]
        alarm.severity = severity
        if not worse or alarm.phase not in _NEAR or not alarm.active:
            return
        tell = terms.notify and not alarm.quiet
        if alarm.phase is Phase.ACKNOWLEDGED:
            self._raise(alarm, Note.WORSENED, terms, now_ms)
        else:
            alarm.told = alarm.told or tell
            self._note(alarm, Note.WORSENED, now_ms, tell=tell, route=terms.route if tell else "")

    def _step(self, alarm: Alarm, terms: Terms, now_ms: int) -> bool:
        """One step of the alarm's life, if one is due."""
        if alarm.active:
            alarm.gone_ms = None
        elif alarm.gone_ms is None:
            alarm.gone_ms = now_ms
        if alarm.open and alarm.never_was:
            tell = alarm.told and not alarm.quiet
            return self._pass_to(alarm, Phase.CLOSED, Note.WITHDRAWN, now_ms, tell=tell)
        if alarm.phase is Phase.PENDING:
            return self._pending(alarm, terms, now_ms)
        if alarm.phase in _NEAR:
            over = not alarm.active and now_ms - _or(alarm.gone_ms, now_ms) >= terms.off_delay_ms
            tell = alarm.told and not alarm.quiet
            return over and self._pass_to(alarm, Phase.CLEARED, Note.CLEARED, now_ms, tell=tell)
        if alarm.phase is Phase.CLEARED:
            return self._cleared(alarm, terms, now_ms)
        return alarm.active and self._pass_to(alarm, Phase.PENDING, Note.REOPENED, now_ms)

    def _cleared(self, alarm: Alarm, terms: Terms, now_ms: int) -> bool:
        if alarm.active:
            return self._raise(alarm, Note.REALARMED, terms, now_ms)
        # What stands under a shared cause is acknowledged with that.
        done = alarm.acknowledged_by or alarm.cause
        wait = terms.rearm_ms if done else max(terms.forget_ms, terms.rearm_ms)
        over = now_ms - alarm.since_ms >= wait
        return over and self._pass_to(alarm, Phase.CLOSED, Note.CLOSED, now_ms)

    def _due(self, alarm: Alarm, terms: Terms, now_ms: int) -> bool:
        lasted = max(now_ms - alarm.since_ms, alarm.until_ms - alarm.first_ms)
        return alarm.phase is not Phase.PENDING or lasted >= terms.on_delay_ms

    def _pending(self, alarm: Alarm, terms: Terms, now_ms: int) -> bool:
        held = alarm.until_ms - alarm.first_ms >= terms.on_delay_ms
        if alarm.active and self._due(alarm, terms, now_ms):
            return self._raise(alarm, Note.RAISED, terms, now_ms)
        if alarm.active:
            return False
        if held and now_ms - alarm.until_ms <= FOUND_LATE_MS:
            return self._raise(alarm, Note.RAISED, terms, now_ms)
        return self._pass_to(alarm, Phase.CLOSED, Note.RECORDED if held else Note.PASSED, now_ms)

    def _raise(self, alarm: Alarm, note: Note, terms: Terms, now_ms: int) -> bool:
        tell = terms.notify and not alarm.quiet
        alarm.raised_ms, alarm.level, alarm.acknowledged_by, alarm.told = now_ms, 0, "", tell
        route = terms.route if tell else ""
        return self._pass_to(alarm, Phase.RAISED, note, now_ms, tell=tell, route=route)

    def _pass_to(self, alarm: Alarm, phase: Phase, note: Note, now_ms: int, **more: Any) -> bool:
        assert phase in LEGAL[alarm.phase], f"{alarm.id}: {alarm.phase} -> {phase}"
        alarm.phase, alarm.since_ms = phase, now_ms
        if phase is Phase.CLOSED:
            alarm.shelf, alarm.suppressed, alarm.told = None, "", False
        self._note(alarm, note, now_ms, **more)
        return True

    def _note(self, alarm: Alarm, note: Note, now_ms: int, **more: Any) -> None:
        self.changed.add(alarm.id)
        event = Event(len(alarm.events), now_ms, note, alarm.phase, **more)
        alarm.events.append(event)
        self._happened.append(Happened(alarm, event))


def _or(value: int | None, other: int) -> int:
    return other if value is None else value
