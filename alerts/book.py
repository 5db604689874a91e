"""The book of alarms: conditions, deeds of people and time in, what happened to which alarm out.

Pure: time is an argument, what it knows can be written down at any moment and taken up again, and a word
that is said twice, or said again of old, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from alerts.action import Action, ActionError, Deed, action_of
from alerts.alarm import LEGAL, Alarm, Event, Member, Note, Phase, Shelf
from alerts.condition import Condition, most_severe
from alerts.shared_cause import SHARED_CAUSE, Gathered, gather, listed
from alerts.terms import Policy, Terms
from models.anomaly import Severity

__all__ = ["FOUND_LATE_MS", "Book", "Happened"]

FOUND_LATE_MS: Final = 3_600_000
"""An episode that is found so long after its end is recorded, and nobody is told. [ms]"""
KEEP_MS: Final = 7 * 86_400_000
_NEAR: Final = (Phase.RAISED, Phase.ACKNOWLEDGED)
_RANK: Final = {severity: place for place, severity in enumerate(Severity)}


@dataclass(frozen=True, slots=True)
class Happened:
    """Something that happened to an alarm."""

    alarm: Alarm
    event: Event


class Book:
    """All alarms that are open, and those closed of late.

    Parameters
    ----------
    policy : Policy
        The rules.
    recall : callable
        Gives an alarm that was closed long ago by the key of one of its conditions; None if there is none.
    """

    def __init__(self, policy: Policy, recall: Callable[[str], Alarm | None] = lambda _key: None):
        self.policy = policy
        self._recall = recall
        self.alarms: dict[str, Alarm] = {}
        self.maintenance: dict[str, Action] = {}
        self.changed: set[str] = set()
        """Ids of alarms that changed since somebody emptied it."""
        self._of_key: dict[str, str] = {}
        self._of_what: dict[tuple[str, str], list[str]] = {}
        self._happened: list[Happened] = []

    # -- what comes in ---------------------------------------------------------------------

    def take(self, conditions: Iterable[Condition], now_ms: int) -> list[Happened]:
        """Take in what the streams say; what belongs together should come together."""
        touched: dict[str, Alarm] = {}
        for condition in conditions:
            alarm = self._take_one(condition, now_ms)
            if alarm is not None:
                touched[alarm.id] = alarm
        for found in self._causes(touched.values(), now_ms):
            for member in self._under(found, now_ms):
                touched[member.id] = member
        for alarm in list(touched.values()):
            self._advance(alarm, now_ms)
        self._follow(touched.values(), now_ms)
        return self._said()

    def act(self, action: Action, now_ms: int) -> list[Happened]:
        """Do what a person asked for; what is not possible (any more) changes nothing."""
        try:
            self.check(action)
        except ActionError:
            return []
        if action.deed in {Deed.MAINTAIN, Deed.END_MAINTENANCE}:
            self._maintain(action, now_ms)
        else:
            self._do(self.alarms[action.alarm], action, now_ms)
        return self._said()

    def tick(self, now_ms: int) -> list[Happened]:
        """Let time pass."""
        self.maintenance = {n: m for n, m in self.maintenance.items() if (m.until_ms or 0) > now_ms - KEEP_MS}
        due = [a for a in self.alarms.values() if a.open]
        for found in self._causes((a for a in due if a.phase is Phase.PENDING), now_ms):
            self._under(found, now_ms)
        for alarm in [a for a in self.alarms.values() if a.open]:
            self._advance(alarm, now_ms)
        self._follow(due, now_ms)
        for alarm in [a for a in self.alarms.values() if not a.open and a.since_ms < now_ms - KEEP_MS]:
            self._forget(alarm)
        return self._said()

    def check(self, action: Action) -> None:
        """Say by an ActionError why `action` cannot be done now."""
        action.check()
        if action.deed is Deed.MAINTAIN:
            return
        if action.deed is Deed.END_MAINTENANCE:
            if action.alarm not in self.maintenance:
                raise ActionError(f"expected the id of a maintenance, got {action.alarm[:80]!r}")
            return
        alarm = self.alarms.get(action.alarm)
        if alarm is None:
            raise ActionError(f"expected the id of an alarm, got {action.alarm[:120]!r}")
        if any(e.action == action.id for e in alarm.events):
            return
        if action.deed is Deed.ACKNOWLEDGE and (
            alarm.phase not in {Phase.RAISED, Phase.CLEARED} or alarm.acknowledged_by
        ):
            whose = f" by {alarm.acknowledged_by}" if alarm.acknowledged_by else ""
            raise ActionError(
                f"expected an alarm that waits to be acknowledged, got one {alarm.phase}{whose}"
            )
        if action.deed in {Deed.SHELVE, Deed.ASSIGN} and not alarm.open:
            raise ActionError("expected an open alarm, got a closed one")
        if action.deed is Deed.UNSHELVE and alarm.shelf is None:
            raise ActionError("expected a shelved alarm, got one that is not")

    # -- keeping and taking up again ---------------------------------------------------------

    def restore(self, alarms: Iterable[Alarm], maintenance: Iterable[Mapping[str, Any]] = ()) -> None:
        """Take up what was kept."""
        for alarm in alarms:
            self._keep(alarm)
        self.maintenance = {a.id: a for a in map(action_of, maintenance)}

    def _keep(self, alarm: Alarm) -> None:
        self.alarms[alarm.id] = alarm
        for key in alarm.members:
            self._of_key[key] = alarm.id
        ids = self._of_what.setdefault((alarm.subject, alarm.code), [])
        if alarm.id not in ids:
            ids.append(alarm.id)

    def _forget(self, alarm: Alarm) -> None:
        del self.alarms[alarm.id]
        for key in alarm.members:
            self._of_key.pop(key, None)
        ids = self._of_what[alarm.subject, alarm.code]
        ids.remove(alarm.id)
        if not ids:
            del self._of_what[alarm.subject, alarm.code]

    def _said(self) -> list[Happened]:
        said, self._happened = self._happened, []
        return said

    # -- conditions --------------------------------------------------------------------------

    def _take_one(self, condition: Condition, now_ms: int) -> Alarm | None:
        alarm = self._known(condition, now_ms)
        if alarm is None:
            return None
        before = alarm.members.get(condition.key)
        if before is not None and condition.order < before.order:
            return None  # an older word, said again after a restart
        alarm.members[condition.key] = Member(
            condition.first_ms, condition.until_ms, condition.active, condition.withdrawn,
            condition.severity, condition.order,
        )  # fmt: skip
        self._of_key[condition.key] = alarm.id
        if before is None and len(alarm.members) > 1:
            self._note(alarm, Note.MERGED, now_ms, detail=condition.key)
        if not condition.withdrawn:
            alarm.evidence = condition.evidence or alarm.evidence
            alarm.score = condition.score
            alarm.provisional = condition.provisional
        self.changed.add(alarm.id)
        return alarm

    def _known(self, condition: Condition, now_ms: int) -> Alarm | None:
        """The alarm that a condition belongs to: its own, one that it overlaps, or a new one."""
        if condition.key in self._of_key:
            return self.alarms[self._of_key[condition.key]]
        recalled = self._recall(condition.key)
        if recalled is not None:
            self._keep(recalled)
            return recalled
        if condition.withdrawn:
            return None
        for other in (self.alarms[i] for i in self._of_what.get((condition.subject, condition.code), ())):
            gap = self.policy.terms(other, now_ms).rearm_ms if other.open else 0
            if other.overlaps(condition.first_ms, condition.until_ms, gap):
                return other
        if condition.code == SHARED_CAUSE and (parent := self._parent_of(listed(condition.evidence))):
            return parent
        alarm = Alarm(
            condition.key, condition.subject, condition.code, condition.severity, now_ms, now_ms,
            condition.unit, condition.region, self.policy.group(condition.subject, condition.unit),
            condition.score, condition.evidence, provisional=condition.provisional,
        )  # fmt: skip
        self._keep(alarm)
        late = not condition.active and now_ms - condition.until_ms > FOUND_LATE_MS
        alarm.members[condition.key] = Member(
            condition.first_ms, condition.until_ms, condition.active, withdrawn=False,
            severity=condition.severity, order=-(2**62),
        )  # fmt: skip
        self._note(alarm, Note.PENDING, now_ms)
        if late:
            self._pass_to(alarm, Phase.CLOSED, Note.RECORDED, now_ms)
        return alarm

    # -- shared causes -----------------------------------------------------------------------

    def _parent_of(self, names: frozenset[str]) -> Alarm | None:
        """The open alarm of a shared cause that covers one of `names` already."""
        for alarm in self.alarms.values():
            if alarm.cause and (alarm.subject in names or alarm.id in names):
                parent = self.alarms.get(alarm.cause)
                if parent is not None and parent.open:
                    return parent
        return None

    def _causes(self, touched: Iterable[Alarm], now_ms: int) -> list[Gathered]:
        """Groups of alarms that share a cause, and are not under it yet."""
        changed = list(touched)
        told = [a for a in changed if a.code == SHARED_CAUSE and a.open and listed(a.evidence)]
        found = [Gathered(a.id, "", [c for c in self.alarms.values() if self._is_child(c, a)]) for a in told]
        groups = {(a.group, a.code) for a in changed if a.group and a.code != SHARED_CAUSE}
        if not groups:
            return found
        sharing: dict[tuple[str, str], list[Alarm]] = {}
        for alarm in self.alarms.values():
            if (alarm.group, alarm.code) in groups and self._may_share(alarm, now_ms):
                sharing.setdefault((alarm.group, alarm.code), []).append(alarm)
        parents = [a for a in self.alarms.values() if a.code == SHARED_CAUSE and a.open]
        for (group, code), alarms in sharing.items():
            rest = alarms
            for parent in parents:
                if late := [c for c in rest if self._is_child(c, parent)]:
                    found.append(Gathered(parent.id, code, late))
                    rest = [c for c in rest if c not in late]
            gathered = gather(group, code, rest, self.policy.shared)
            if gathered is not None:
                found.append(gathered)
        return found

    def _may_share(self, alarm: Alarm, now_ms: int) -> bool:
        free = alarm.active and alarm.open and not alarm.suppressed and not self._covered(alarm)
        return free and self._due(alarm, self.policy.terms(alarm, now_ms), now_ms)

    def _is_child(self, alarm: Alarm, parent: Alarm) -> bool:
        if alarm.id == parent.id or not alarm.open or alarm.code == SHARED_CAUSE:
            return False
        code = str(parent.evidence.get("code", ""))
        if code and code != alarm.code:
            return False
        names = listed(parent.evidence)
        if names:
            return alarm.subject in names or alarm.id in names
        within = self.policy.shared.within_ms
        near = parent.first_ms - within <= alarm.first_ms <= parent.first_ms + within
        return near and alarm.group == parent.subject

    def _under(self, found: Gathered, now_ms: int) -> list[Alarm]:
        """Put alarms under the one of their cause; that one, and all of them."""
        children = [c for c in found.children if not self._covered(c)]
        parent = self.alarms.get(found.parent)
        if not children and parent is None:
            return []
        if parent is None:
            one = children[0]
            parent = Alarm(
                found.parent, one.group, SHARED_CAUSE, one.severity, now_ms, now_ms, one.unit, one.region,
                one.group, float(len(children)), {"code": found.code},
            )  # fmt: skip
            parent.members[parent.id] = Member(
                min(c.first_ms for c in children), max(c.until_ms for c in children), True, False,
                one.severity, 0,
            )  # fmt: skip
            self._keep(parent)
            self._note(parent, Note.PENDING, now_ms)
        for child in children:
            child.cause = parent.id
            self.changed.add(child.id)
        self._gauge(parent)
        return [parent, *children]

    def _gauge(self, parent: Alarm) -> None:
        """What an alarm of a shared cause rests on when no stream told of it: its children."""
        if f":{SHARED_CAUSE}." not in parent.id:
            return
        if listed(parent.evidence):  # a stream tells of it by now, and knows better
            parent.members[parent.id].active = False
            return
        children = [c for c in self.alarms.values() if c.cause == parent.id]
        if not children:
            return
        self.changed.add(parent.id)
        lasting = [c for c in children if not c.never_was]
        member = parent.members[parent.id]
        parent.members[parent.id] = Member(
            member.first_ms, max([c.until_ms for c in lasting], default=member.until_ms),
            any(c.active for c in lasting), not lasting, most_severe(c.severity for c in lasting), 0,
        )  # fmt: skip
        parent.score = float(len(lasting))
        subjects = sorted(c.subject for c in children)
        parent.evidence = {
            "rule": f"{len(subjects)} alarms of one code in {parent.subject} at once",
            "code": parent.evidence.get("code", ""), "count": len(subjects), "subjects": subjects[:20],
        }  # fmt: skip

    def _follow(self, changed: Iterable[Alarm], now_ms: int) -> None:
        """Go on with the causes of what changed, and then with what is under those that ended."""
        parents = {a.cause for a in changed if a.cause} | {a.id for a in changed if a.code == SHARED_CAUSE}
        for parent in (self.alarms[p] for p in sorted(parents) if p in self.alarms):
            self._gauge(parent)
            self._advance(parent, now_ms)
            for child in [c for c in self.alarms.values() if c.cause == parent.id]:
                self._advance(child, now_ms)

    def _covered(self, alarm: Alarm) -> bool:
        """Whether the alarm of its cause stands for it.

        One that was made of its children comes back when they do; one that a stream told of does not.
        """
        parent = self.alarms.get(alarm.cause)
        if parent is None or not parent.open:
            return False
        return parent.phase is not Phase.CLEARED or not listed(parent.evidence)

    # -- deeds -------------------------------------------------------------------------------

    def _maintain(self, action: Action, now_ms: int) -> None:
        if action.deed is Deed.MAINTAIN:
            self.maintenance.setdefault(action.id, action)
        else:
            self.maintenance.pop(action.alarm, None)
        for alarm in [a for a in self.alarms.values() if a.open]:
            self._advance(alarm, now_ms)

    def _do(self, alarm: Alarm, action: Action, now_ms: int) -> None:
        if any(e.action == action.id for e in alarm.events):
            return
        by = {"who": action.who, "detail": action.reason, "action": action.id}
        if action.deed is Deed.ACKNOWLEDGE:
            alarm.acknowledged_by = action.who
            if alarm.phase is Phase.RAISED:
                self._pass_to(alarm, Phase.ACKNOWLEDGED, Note.ACKNOWLEDGED, now_ms, **by)
            else:
                self._note(alarm, Note.ACKNOWLEDGED, now_ms, **by)
        elif action.deed is Deed.SHELVE:
            alarm.shelf = Shelf(action.until_ms or 0, action.reason, action.who)
            self._note(alarm, Note.SHELVED, now_ms, **by)
        elif action.deed is Deed.UNSHELVE:
            self._unshelve(alarm, now_ms, **by)
        elif action.deed is Deed.ASSIGN:
            alarm.owner = action.reason.strip()
            self._note(alarm, Note.ASSIGNED, now_ms, **by)
        else:
            self._note(alarm, Note.COMMENTED, now_ms, **by)
        self._advance(alarm, now_ms)

    def _unshelve(self, alarm: Alarm, now_ms: int, **by: str) -> None:
        alarm.shelf = None
        # Whoever put it aside wanted to hear of it again: it is as if it were new.
        alarm.told = alarm.told and alarm.phase is not Phase.RAISED
        self._note(alarm, Note.UNSHELVED, now_ms, **by)

    # -- time --------------------------------------------------------------------------------

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
            self._note(alarm, Note.REALARMED, now_ms, tell=True)
        while (
            terms.escalate_ms
            and alarm.level + 1 < terms.steps
            and now_ms - _or(alarm.raised_ms, now_ms) >= terms.escalate_ms * (alarm.level + 1)
        ):
            alarm.level += 1
            self._note(alarm, Note.ESCALATED, now_ms, detail=str(alarm.level), tell=True)

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
            self._note(alarm, Note.WORSENED, now_ms, tell=tell)

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
        return self._pass_to(alarm, Phase.RAISED, note, now_ms, tell=tell)

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
