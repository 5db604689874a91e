"""The book of alarms: conditions, deeds of people and time in, what happened to which alarm out.

Pure: time is an argument, what it knows can be written down at any moment and taken up again, and a word
that is said twice, or said again of old, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from alerts.action import Action, ActionError, Deed, action_of
from alerts.alarm import Alarm, Member, Note, Phase, Shelf
from alerts.causes import Causes
from alerts.condition import Condition
from alerts.life import FOUND_LATE_MS, Happened
from alerts.shared_cause import SHARED_CAUSE, listed
from alerts.terms import Policy
from models.wording import Worded, worded

__all__ = ["FOUND_LATE_MS", "Book", "Happened"]

KEEP_MS: Final = 7 * 86_400_000


class Book(Causes):
    """All alarms that are open, and those closed of late.

    Parameters
    ----------
    policy : Policy
        The rules.
    recall : callable
        Gives an alarm that was closed long ago by the key of one of its conditions; None if there is none.
    """

    def __init__(self, policy: Policy, recall: Callable[[str], Alarm | None] = lambda _key: None):
        super().__init__(policy)
        self._recall = recall
        self._of_key: dict[str, str] = {}
        self._of_what: dict[tuple[str, str], list[str]] = {}

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
        old = [a for a in self.alarms.values() if not a.open and a.since_ms < now_ms - KEEP_MS]
        for alarm in old:
            if alarm.id not in self.changed:  # what changed is to be written down first
                self._forget(alarm)
        return self._said()

    def check(self, action: Action) -> None:
        """Say by an ActionError why `action` cannot be done now."""
        action.check()
        if action.deed is Deed.MAINTAIN:
            return
        if action.deed is Deed.END_MAINTENANCE:
            if not self._maintained(action.alarm):
                raise ActionError(
                    worded("expected what is being maintained, got {got}", got=repr(action.alarm[:80]))
                )
            return
        alarm = self.alarms.get(action.alarm)
        if alarm is None:
            raise ActionError(worded("expected the id of an alarm, got {got}", got=repr(action.alarm[:120])))
        if any(e.action == action.id for e in alarm.events):
            return
        if action.deed is Deed.ACKNOWLEDGE and (
            alarm.phase not in {Phase.RAISED, Phase.CLEARED} or alarm.acknowledged_by
        ):
            raise ActionError(_not_waiting(alarm))
        if action.deed in {Deed.SHELVE, Deed.ASSIGN} and not alarm.open:
            raise ActionError(worded("expected an open alarm, got a closed one"))
        if action.deed is Deed.UNSHELVE and alarm.shelf is None:
            raise ActionError(worded("expected a shelved alarm, got one that is not"))

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

    # -- deeds -------------------------------------------------------------------------------

    def _maintain(self, action: Action, now_ms: int) -> None:
        if action.deed is Deed.MAINTAIN:
            self.maintenance.setdefault(action.id, action)
        else:
            for name in self._maintained(action.alarm):
                del self.maintenance[name]
        for alarm in [a for a in self.alarms.values() if a.open]:
            self._advance(alarm, now_ms)

    def _maintained(self, name: str) -> list[str]:
        """Ids of the maintenance of that id or scope."""
        return [i for i, m in self.maintenance.items() if name in {i, m.alarm}]

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


def _not_waiting(alarm: Alarm) -> Worded:
    phase = worded(str(alarm.phase))
    if not alarm.acknowledged_by:
        return worded("expected an alarm that waits to be acknowledged, got one {phase}", phase=phase)
    return worded(
        "expected an alarm that waits to be acknowledged, got one acknowledged by {who}",
        who=alarm.acknowledged_by,
    )
