"""How ingest fares, for `status` and the board."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from ingest.messages import Decoded, Reason
from ingest.stages import StageLog
from models.frame import Record

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
    queued_bytes : int
        Their payloads. [bytes]
    waiting_s : float
        How long the oldest of them has waited. [s]
    appending_s : float
        How long the append under way has taken, 0 when there is none. [s]
    troubles : dict of str to str
        What is wrong, by where: `broker`, `journal` or `streams`.
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
    queued_bytes: int = 0
    waiting_s: float = 0.0
    appending_s: float = 0.0
    troubles: dict[str, str] = field(default_factory=dict)


class Meter:
    """Counts what passes; any thread may ask.

    Parameters
    ----------
    stages : StageLog or None
        Told of every batch, so that somebody can say what waits behind the journal.
    took : callable
        Told how long each append took. [s]
    """

    def __init__(
        self, stages: StageLog | None = None, took: Callable[[float], None] = lambda _s: None
    ) -> None:
        self._stages = stages
        self._took = took
        self._appending: float | None = None
        self._lock = threading.Lock()
        self.received = 0
        self._journalled = self._samples = self._events = 0
        self._refused: Counter[Reason] = Counter()
        self._recent: deque[tuple[float, int]] = deque()
        self._troubles: dict[str, str] = {}

    def count(self, decoded: Decoded, messages: int) -> None:
        """Take note that `messages` are durable."""
        now = time.monotonic()
        if self._stages is not None:
            self._stages.counted(messages)
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

    @contextmanager
    def appending(self) -> Iterator[None]:
        """Around an append to the journal: how long it takes, also while it does."""
        self._appending = began = time.monotonic()
        try:
            yield
        finally:
            self._appending = None
            self._took(time.monotonic() - began)

    def appended(self, records: Sequence[Record]) -> None:
        """Take note of where a batch stands in the journal; `count` follows."""
        if self._stages is not None and records:
            self._stages.appended({record.stream: record.offset for record in records})

    def trouble(self, where: str, what: str) -> None:
        """Say what is wrong `where`; empty when it is over."""
        with self._lock:
            if what:
                self._troubles[where] = what
            else:
                self._troubles.pop(where, None)

    def snapshot(
        self, queued: int, broker: str, *, queued_bytes: int = 0, waiting_s: float = 0.0
    ) -> IngestStatus:
        """The state now."""
        now = time.monotonic()
        began = self._appending
        with self._lock:
            self._forget(now)
            troubles = {**({"broker": broker} if broker else {}), **self._troubles}
            return IngestStatus(
                "degraded" if troubles else "ok",
                "; ".join(troubles.values()),
                self.received,
                self._journalled,
                self._samples,
                self._events,
                {reason.value: n for reason, n in sorted(self._refused.items())},
                round(sum(n for _, n in self._recent) / _RATE_S, 1),
                queued,
                queued_bytes,
                round(waiting_s, 3),
                0.0 if began is None else round(now - began, 3),
                troubles,
            )
