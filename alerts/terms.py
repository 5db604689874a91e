"""On what terms an alarm lives: delays, severity, whom it goes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from alerts.alarm import Alarm
from models.anomaly import Severity

__all__ = ["Policy", "Shared", "Terms"]


@dataclass(frozen=True, slots=True)
class Terms:
    """What the rules say of one alarm at one time.

    Attributes
    ----------
    on_delay_ms, off_delay_ms : int
        For how long a condition must be, or be gone, before the alarm is raised, or cleared. [ms]
    rearm_ms : int
        For how long after it was cleared the same alarm comes back instead of a new one. [ms]
    forget_ms : int
        After how long a cleared alarm that nobody acknowledged is closed. [ms]
    escalate_ms : int
        After how long an alarm that nobody acknowledged goes to the next step of its route; 0 never. [ms]
    steps : int
        How many steps its route has.
    severity : Severity or None
        In place of the condition's.
    notify : bool
        Whether people are told at all, or see it on the board only.
    route : str
    """

    on_delay_ms: int = 0
    off_delay_ms: int = 0
    rearm_ms: int = 1_800_000
    forget_ms: int = 86_400_000
    escalate_ms: int = 900_000
    steps: int = 1
    severity: Severity | None = None
    notify: bool = True
    route: str = ""


@dataclass(frozen=True, slots=True)
class Shared:
    """When alarms have one cause: at least `least` of one code and group within `within_ms`; 0 never."""

    least: int = 5
    within_ms: int = 900_000


class Policy(Protocol):
    """The rules, as the machine asks them."""

    @property
    def shared(self) -> Shared:
        """When alarms have one cause."""
        ...

    def terms(self, alarm: Alarm, now_ms: int) -> Terms:
        """What holds for `alarm` now."""
        ...

    def group(self, subject: str, unit: str) -> str:
        """Branch or network of a subject, as ``branch:`` or ``network:`` and an id; empty if unknown."""
        ...

    def covers(self, scope: str, alarm: Alarm) -> bool:
        """Whether ``*``, ``region:``, ``unit:``, ``network:`` and an id, or a subject, is about `alarm`."""
        ...
