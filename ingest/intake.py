"""Messages between the broker's connection and the journal: bounded, given out in batches."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Final

from ingest.subscriber import Delivered

__all__ = ["MAX_BYTES", "MAX_MESSAGES", "Intake"]

MAX_MESSAGES: Final = 20_000
MAX_BYTES: Final = 64 * 1024 * 1024
_BATCH_MESSAGES: Final = 10_000
_EARLY_MESSAGES: Final = 5_000
_EARLY_BYTES: Final = 4 * 1024 * 1024
_STALL_MESSAGES: Final = 20
_STALL_S: Final = 0.01


class Intake:
    """A queue that waits for a batch worth an fsync, but not longer than `flush_s`.

    A broker that allows only so many unacknowledged messages (Mosquitto's
    default is 20) falls silent until they are acknowledged: when that many
    wait and nothing more comes, the batch is given out at once.
    """

    def __init__(self, flush_s: float) -> None:
        self._flush_s = flush_s
        self._changed = threading.Condition()
        self._waiting: deque[Delivered] = deque()
        self._messages = self._bytes = 0
        self._first = self._last = 0.0
        self._taken: tuple[int, int, float] = (
            0,
            0,
            0.0,
        )  # of the batch given out last: messages, bytes, since
        self._closed = False

    def __len__(self) -> int:
        return self._messages

    def standing(self) -> tuple[int, int, float]:
        """Messages that wait or are in the taker's hand, their bytes, how long the oldest waits. [s]"""
        with self._changed:
            messages, size, since = self._taken
            oldest = since if messages else self._first
            messages, size = messages + self._messages, size + self._bytes
        return messages, size, time.monotonic() - oldest if messages else 0.0

    def put(self, delivered: Delivered) -> None:
        """Add messages; blocks while the queue is full, which holds back the broker."""
        with self._changed:
            while not self._closed and self._full():
                self._changed.wait(1.0)
            if self._closed:  # not acknowledged: the broker gives it again
                return
            self._last = time.monotonic()
            first = not self._waiting
            if first:
                self._first = self._last
            self._waiting.append(delivered)
            self._messages += len(delivered)
            self._bytes += delivered.size
            if first or self._early():
                self._changed.notify_all()

    def _full(self) -> bool:
        return self._messages >= MAX_MESSAGES or self._bytes >= MAX_BYTES

    def _early(self) -> bool:
        return self._messages >= _EARLY_MESSAGES or self._bytes >= _EARLY_BYTES

    def _ripe(self, now: float) -> bool:
        stalled = self._messages >= _STALL_MESSAGES and now - self._last >= _STALL_S
        return self._early() or stalled or now - self._first >= self._flush_s

    def take(self, timeout_s: float) -> list[Delivered]:
        """The next batch; empty when none came in `timeout_s`. The one before is done with."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            self._taken = (0, 0, 0.0)
            while not self._closed and not self._waiting:
                left = deadline - time.monotonic()
                if left <= 0:
                    return []
                self._changed.wait(left)
            while not self._closed and not self._ripe(time.monotonic()):
                self._changed.wait(_STALL_S)
            batch, messages, size = [], 0, 0
            while self._waiting and messages < _BATCH_MESSAGES:
                batch.append(self._waiting.popleft())
                messages += len(batch[-1])
                size += batch[-1].size
            self._messages -= messages
            self._bytes -= size
            self._taken = (messages, size, self._first)
            self._first = time.monotonic()
            self._changed.notify_all()
        return batch

    def close(self) -> None:
        """Take no more and let nobody wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
