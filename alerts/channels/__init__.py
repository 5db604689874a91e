"""Ways to reach people and sirens: one file each, with `make(channel) -> Sender`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

__all__ = ["Fate", "Message", "Outcome", "Sender"]


class Fate(StrEnum):
    """What became of a message."""

    SENT = "sent"
    REFUSED = "refused"  # it did not arrive, for certain
    UNCONFIRMED = "unconfirmed"  # it was given away, and nobody said that it arrived


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a message, and why."""

    fate: Fate
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent.

    Attributes
    ----------
    id : str
        The same whenever it is sent again.
    subject, text : str
        In the recipient's language.
    made_ms : int
        [ms UTC]
    facts : mapping
        The same for machines.
    """

    id: str
    subject: str
    text: str
    made_ms: int
    facts: Mapping[str, Any] = field(default_factory=dict)


class Sender(Protocol):
    """One open way."""

    def send(self, message: Message) -> Outcome:
        """Send, within the channel's time; what goes wrong is an outcome, never an exception."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...
