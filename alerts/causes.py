"""Alarms that stand for others: how those of a shared cause are found, joined and followed."""

from __future__ import annotations

from collections.abc import Iterable

from alerts.alarm import Alarm, Member, Note
from alerts.condition import most_severe
from alerts.life import Life
from alerts.shared_cause import SHARED_CAUSE, Gathered, gather, listed

__all__ = ["Causes"]


class Causes(Life):
    """Alarms that may share a cause."""

    def _keep(self, alarm: Alarm) -> None:
        raise NotImplementedError

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
