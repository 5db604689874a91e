"""What people do about alarms: frames of the journal, so that a replay does it again at the same place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from models.frame import Frame, FrameKind
from models.wording import Worded, worded

__all__ = ["ALARM_STREAM", "Action", "ActionError", "Deed", "actions_of", "encode"]

ALARM_STREAM: Final = "_alarms"
"""Stream of the journal that holds what people do about alarms."""
MAX_SHELF_MS: Final = 30 * 86_400_000
MAX_TEXT: Final = 2_000
_PREFIX: Final = "alarm_"


class ActionError(ValueError):
    """What a person asks for cannot be done so; says what was expected."""

    def __init__(self, why: Worded):
        super().__init__(why)


class Deed(StrEnum):
    """What can be done."""

    ACKNOWLEDGE = "acknowledge"
    SHELVE = "shelve"
    UNSHELVE = "unshelve"
    ASSIGN = "assign"
    COMMENT = "comment"
    MAINTAIN = "maintain"
    END_MAINTENANCE = "end_maintenance"


_MISSING: Final = {
    Deed.COMMENT: worded("reason: expected a text, got none"),
    Deed.ASSIGN: worded("reason: expected the name of the owner, got none"),
}


@dataclass(frozen=True, slots=True)
class Action:
    """One deed of one person.

    Attributes
    ----------
    id : str
        Unique; the same deed given twice is done once.
    deed : Deed
    alarm : str
        Id of the alarm; for maintenance and its end what is maintained: ``*``, ``region:``, ``unit:``,
        ``network:`` and an id, or a subject.
    who : str
        Name of the person.
    at_ms : int
        When it was done. [ms UTC]
    reason : str
        Why it is shelved or maintained; the text of a comment; the name of the new owner.
    until_ms : int or None
        End of the shelving or of the maintenance. [ms UTC]
    code : str
        For maintenance: only this code; empty means all.
    """

    id: str
    deed: Deed
    alarm: str
    who: str
    at_ms: int
    reason: str = ""
    until_ms: int | None = None
    code: str = ""

    def check(self) -> None:
        """Refuse what is incomplete, with an ActionError that says what is missing."""
        if not self.who.strip():
            raise ActionError(worded("who: expected the name of a person, got none"))
        if not self.alarm.strip():
            raise ActionError(worded("alarm: expected the id of an alarm, got none"))
        if len(self.reason) > MAX_TEXT or len(self.who) > MAX_TEXT:
            long = worded(
                "reason: expected at most {most} characters, got {n}",
                most=str(MAX_TEXT),
                n=str(max(len(self.reason), len(self.who))),
            )
            raise ActionError(long)
        timed = self.deed in {Deed.SHELVE, Deed.MAINTAIN}
        if (timed or self.deed in _MISSING) and not self.reason.strip():
            raise ActionError(_MISSING.get(self.deed, worded("reason: expected a reason, got none")))
        if timed and (self.until_ms is None or not 0 < self.until_ms - self.at_ms <= MAX_SHELF_MS):
            if self.until_ms is None:
                raise ActionError(worded("until: expected an end within the next 30 days, got none"))
            hours = f"{(self.until_ms - self.at_ms) / 3_600_000:.1f}"
            raise ActionError(
                worded("until: expected an end within the next 30 days, got {n} hours", n=hours)
            )

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON holds it."""
        return {name: getattr(self, name) for name in self.__slots__}


def encode(action: Action) -> bytes:
    """The action as a frame for the journal."""
    row = {"device": "", "kind": _PREFIX + action.deed, "payload": json.dumps(action.to_json())}
    return Frame.events([row], FrameKind.ACTION).encode()


def actions_of(frame: Frame) -> list[Action]:
    """Actions about alarms in a frame; none when it holds others."""
    if frame.kind is not FrameKind.ACTION:
        return []
    rows = (r for r in frame.batch.to_pylist() if r["kind"].startswith(_PREFIX))
    return [action_of(json.loads(row["payload"])) for row in rows]


def action_of(said: Mapping[str, Any]) -> Action:
    """Read what `Action.to_json` gave."""
    known = {name: said[name] for name in Action.__slots__ if name in said}
    return Action(**{**known, "deed": Deed(said["deed"])})
