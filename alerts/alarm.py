"""An alarm: one thing that people are asked to do something about, with its whole history.

The states are those of ISA-18.2: an alarm waits for its on-delay, is raised, acknowledged by somebody,
cleared when what it tells of is gone, and closed. Shelving and suppression lie beside that: such an alarm
lives on and stays visible, but tells nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

from models.anomaly import Severity

__all__ = ["LEGAL", "Alarm", "Event", "Member", "Note", "Phase", "Shelf"]


class Phase(StrEnum):
    """Where an alarm is in its life."""

    PENDING = "pending"
    RAISED = "raised"
    ACKNOWLEDGED = "acknowledged"
    CLEARED = "cleared"
    CLOSED = "closed"


LEGAL: Final[Mapping[Phase | None, frozenset[Phase]]] = {
    None: frozenset({Phase.PENDING}),
    Phase.PENDING: frozenset({Phase.RAISED, Phase.CLOSED}),
    Phase.RAISED: frozenset({Phase.ACKNOWLEDGED, Phase.CLEARED, Phase.CLOSED}),
    Phase.ACKNOWLEDGED: frozenset({Phase.RAISED, Phase.CLEARED, Phase.CLOSED}),
    Phase.CLEARED: frozenset({Phase.RAISED, Phase.CLOSED}),
    Phase.CLOSED: frozenset({Phase.PENDING}),
}
"""Which phase may follow which. A closed alarm comes back only with its own episode, under its old id."""


class Note(StrEnum):
    """What happened to an alarm."""

    PENDING = "pending"
    RAISED = "raised"
    ACKNOWLEDGED = "acknowledged"
    CLEARED = "cleared"
    CLOSED = "closed"
    RECORDED = "recorded"  # found too late to tell anybody
    PASSED = "passed"  # gone before its on-delay was over
    WITHDRAWN = "withdrawn"
    REALARMED = "realarmed"
    REOPENED = "reopened"
    WORSENED = "worsened"
    ESCALATED = "escalated"
    SHELVED = "shelved"
    UNSHELVED = "unshelved"
    SUPPRESSED = "suppressed"
    UNSUPPRESSED = "unsuppressed"
    ASSIGNED = "assigned"
    COMMENTED = "commented"
    MERGED = "merged"


@dataclass(frozen=True, slots=True)
class Event:
    """One line of an alarm's history.

    Attributes
    ----------
    n : int
        0, 1, 2 … within the alarm.
    at_ms : int
        [ms UTC]
    note : Note
    phase : Phase
        The alarm's after it.
    who, detail, action : str
        Person, reason, and id of the action that did it, where a person did.
    tell : bool
        Whether people are to be told.
    route : str
        By which it was told, where it tells of a beginning.
    """

    n: int
    at_ms: int
    note: Note
    phase: Phase
    who: str = ""
    detail: str = ""
    action: str = ""
    tell: bool = False
    route: str = ""


@dataclass(slots=True)
class Member:
    """One condition of an alarm: an episode, or one of several that overlap."""

    first_ms: int
    until_ms: int
    active: bool
    withdrawn: bool
    severity: Severity
    order: int


@dataclass(frozen=True, slots=True)
class Shelf:
    """Why and until when an alarm is put aside, and by whom."""

    until_ms: int
    reason: str
    who: str


@dataclass(slots=True)
class Alarm:
    """All that is known of an alarm.

    Attributes
    ----------
    id : str
        Key of the condition that first raised it; never changes.
    subject, code, unit, region, group : str
        `group` is the branch or network that may share a cause.
    severity : Severity
        By condition and rules.
    phase : Phase
    since_ms : int
        When it came into this phase. [ms UTC]
    known_ms : int
        When it was first heard of. [ms UTC]
    gone_ms : int or None
        Since when none of its conditions is active. [ms UTC]
    acknowledged_by, owner : str
    shelf : Shelf or None
    suppressed : str
        Empty, ``maintenance:`` and an id, or ``cause:`` and the id of the alarm that covers it.
    cause : str
        Id of the alarm of the cause that it shares with others; covers it while that one is open.
    level : int
        Step of its route that it has been escalated to.
    told : bool
        Whether people were told of it since it was last raised.
    provisional : bool
        Rests on the word of a fast rule.
    members : dict of str to Member
        By key of the condition.
    events : list of Event
    """

    id: str
    subject: str
    code: str
    severity: Severity
    known_ms: int
    since_ms: int
    unit: str = ""
    region: str = ""
    group: str = ""
    score: float = 0.0
    evidence: Mapping[str, Any] = field(default_factory=dict)
    phase: Phase = Phase.PENDING
    raised_ms: int | None = None
    gone_ms: int | None = None
    acknowledged_by: str = ""
    owner: str = ""
    shelf: Shelf | None = None
    suppressed: str = ""
    cause: str = ""
    level: int = 0
    told: bool = False
    provisional: bool = False
    members: dict[str, Member] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    @property
    def active(self) -> bool:
        """Whether what it tells of still is."""
        return any(m.active for m in self.members.values())

    @property
    def never_was(self) -> bool:
        """Whether all that it rested on was taken back."""
        return all(m.withdrawn for m in self.members.values())

    @property
    def first_ms(self) -> int:
        """Start of its first episode. [ms UTC]"""
        return min(m.first_ms for m in self.members.values())

    @property
    def until_ms(self) -> int:
        """End of the last window that showed it. [ms UTC]"""
        return max(m.until_ms for m in self.members.values())

    @property
    def quiet(self) -> bool:
        """Whether people are not told of it."""
        return self.shelf is not None or bool(self.suppressed)

    @property
    def open(self) -> bool:
        """Whether it is not closed."""
        return self.phase is not Phase.CLOSED

    def overlaps(self, first_ms: int, until_ms: int, gap_ms: int) -> bool:
        """Whether an episode lies beside one of its own, or no further than `gap_ms` away."""
        return any(
            m.first_ms <= until_ms + gap_ms and (m.active or first_ms <= m.until_ms + gap_ms)
            for m in self.members.values()
            if not m.withdrawn
        )

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON holds it."""
        return asdict(self)

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Alarm:
        """Read what `to_json` gave."""
        return cls(
            **{
                **said,
                "severity": Severity(said["severity"]),
                "phase": Phase(said["phase"]),
                "shelf": None if said["shelf"] is None else Shelf(**said["shelf"]),
                "members": {
                    k: Member(**{**m, "severity": Severity(m["severity"])})
                    for k, m in said["members"].items()
                },
                "events": [
                    Event(**{**e, "note": Note(e["note"]), "phase": Phase(e["phase"])})
                    for e in said["events"]
                ],
            }
        )
