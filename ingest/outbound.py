"""Acknowledgements to collectors: gathered, so that one message tells of many."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

import orjson

from ingest.messages import Acks, Address
from ingest.ranges import union

__all__ = ["AckOutbox"]

_AT_ONCE: Final = 200
_EVERY_S: Final = 1.0
_RANGES: Final = 5000
_SENDERS: Final = 500_000


class AckOutbox:
    """Numbers that are safe and of which their senders have not been told yet.

    While few senders wait they are told at once; else each at most once a
    second, so that a fleet that sends ten messages a second and device does
    not cost ten acknowledgements.

    Parameters
    ----------
    publish : callable
        Takes topic and payload; False when it cannot be sent now.
    """

    def __init__(self, publish: Callable[[str, bytes], bool]) -> None:
        self._publish = publish
        self._lock = threading.Lock()
        self._waiting: Acks = {}
        self._told: dict[Address, float] = {}

    def add(self, acks: Acks) -> None:
        """Remember to tell the senders of `acks`."""
        with self._lock:
            if len(self._waiting) > _SENDERS:  # nobody hears us; they will send again, and be told then
                self._waiting.clear()
            union(self._waiting, acks)

    def flush(self, *, everything: bool = False) -> int:
        """Tell whose turn it is; how many messages went out."""
        now = time.monotonic()
        with self._lock:
            at_once = everything or len(self._waiting) <= _AT_ONCE
            due = [a for a in self._waiting if at_once or now - self._told.get(a, now - _EVERY_S) >= _EVERY_S]
            taken = [(address, self._waiting.pop(address)) for address in due]
            if len(self._told) > _SENDERS:
                self._told.clear()
            self._told.update(dict.fromkeys(due, now))
        sent = 0
        for place, (address, boots) in enumerate(taken):
            for boot, ranges in boots.items():
                for start in range(0, len(ranges), _RANGES):
                    payload = orjson.dumps({"boot": boot, "ranges": ranges[start : start + _RANGES]})
                    if not self._publish(address.ack_topic, payload):
                        self.add(dict(taken[place:]))
                        return sent
                    sent += 1
        return sent
