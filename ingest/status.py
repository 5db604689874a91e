"""How ingest fares, for `status` and the board."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final

from ingest.messages import Decoded, Reason

__all__ = ["IngestStatus", "Meter"]

_RATE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class IngestStatus:
    """A snapshot.

    Attributes
    ----------
    state : {"ok", "degraded"}
    detail : str
        What is wrong, what was expected and what came; empty when all is well.
    received : int
        Messages from the broker.
    journalled : int
        Messages durable in the journal, refused ones among them.
    samples, events : int
        Accepted and durable.
    refused : dict of str to int
        Messages in dead letters, by reason.
    rate_per_s : float
        Journalled messages over the last 10 s. [1/s]
    queued : int
        Messages that wait to be journalled.
    """

    state: str
    detail: str
    received: int
    journalled: int
    samples: int
    events: int
    refused: dict[str, int] = field(default_factory=dict)
    rate_per_s: float = 0.0
    queued: int = 0


class Meter:
    """Counts what passes; any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.received = 0
        self._journalled = self._samples = self._events = 0
        self._refused: Counter[Reason] = Counter()
        self._recent: deque[tuple[float, int]] = deque()
        self._troubles: dict[str, str] = {}

    def count(self, decoded: Decoded, messages: int) -> None:
        """Take note that `messages` are durable."""
        now = time.monotonic()
        with self._lock:
            self._journalled += messages
            self._samples += decoded.accepted.samples
            self._events += decoded.accepted.events
            self._refused.update(decoded.refused)
            self._recent.append((now, messages))
            self._forget(now)

    def _forget(self, now: float) -> None:
        while self._recent and self._recent[0][0] < now - _RATE_S:
            self._recent.popleft()

    def trouble(self, where: str, what: str) -> None:
        """Say what is wrong `where`; empty when it is over."""
        with self._lock:
            if what:
                self._troubles[where] = what
            else:
                self._troubles.pop(where, None)

    def snapshot(self, queued: int, broker: str) -> IngestStatus:
        """The state now."""
        now = time.monotonic()
        with self._lock:
            self._forget(now)
            troubles = [t for t in (broker, *self._troubles.values()) if t]
            return IngestStatus(
                "degraded" if troubles else "ok",
                "; ".join(troubles),
                self.received,
                self._journalled,
                self._samples,
                self._events,
                {reason.value: n for reason, n in sorted(self._refused.items())},
                round(sum(n for _, n in self._recent) / _RATE_S, 1),
                queued,
            )
