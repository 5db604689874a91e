"""Acknowledgements to collectors: gathered, so that one message tells of many."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import orjson

from ingest.messages import Acks, Address
from ingest.ranges import union

__all__ = ["MOST_RANGES", "AckOutbox"]

_AT_ONCE: Final = 200
_EVERY_S: Final = 1.0
_BUSY_PER_S: Final = 3000
_LOOKS: Final = 8
_RANGES: Final = 5000
_SENDERS: Final = 500_000
MOST_RANGES: Final = 1_000_000


class AckOutbox:
    """Numbers that are safe and of which their senders have not been told yet.

    While few senders wait, or little else is to be done, they are told at
    once. Else each is told at most once a second, and a large fleet less
    often, some 3,000 senders a second: so that neither a device that sends ten
    messages a second nor the number of devices makes a message dearer. Whose
    turn it is, is looked up eight times in that while, not at every batch.

    Parameters
    ----------
    publish : callable
        Takes (topic, payload) of several; how many of them, from the first, can be sent now.
    """

    def __init__(self, publish: Callable[[Sequence[tuple[str, bytes]]], int]) -> None:
        self._publish = publish
        self._lock = threading.Lock()
        self._waiting: Acks = {}
        self._told: dict[Address, float] = {}
        self._ranges = 0  # at most so many wait; counted down when a sender's turn comes
        self._looked = float("-inf")

    def __len__(self) -> int:
        """Ranges of numbers that wait, at most."""
        return self._ranges

    def add(self, acks: Acks) -> None:
        """Remember to tell the senders of `acks`, which are taken over."""
        with self._lock:
            if len(self._waiting) > _SENDERS or self._ranges > MOST_RANGES:
                # Nobody hears us; they will send again, and be told then.
                self._waiting.clear()
                self._ranges = 0
            union(self._waiting, acks)
            self._ranges += _count(acks)

    def flush(self, *, everything: bool = False) -> int:
        """Tell whose turn it is, or all; how many messages went out."""
        now = time.monotonic()
        with self._lock:
            at_once = everything or len(self._waiting) <= _AT_ONCE
            every_s = max(_EVERY_S, len(self._waiting) / _BUSY_PER_S)
            if not at_once and now - self._looked < every_s / _LOOKS:
                return 0
            self._looked = now
            due = [a for a in self._waiting if at_once or now - self._told.get(a, now - every_s) >= every_s]
            taken = [(address, self._waiting.pop(address)) for address in due]
            self._ranges = 0 if not self._waiting else max(0, self._ranges - _count(dict(taken)))
        messages, of = [], []
        for place, (address, boots) in enumerate(taken):
            for boot, ranges in boots.items():
                for start in range(0, len(ranges), _RANGES):
                    payload = orjson.dumps({"boot": boot, "ranges": ranges[start : start + _RANGES]})
                    messages.append((address.ack_topic, payload))
                    of.append(place)
        sent = self._publish(messages) if messages else 0
        told = len(taken) if sent == len(messages) else of[sent]
        with self._lock:
            if len(self._told) > _SENDERS:
                self._told.clear()
            self._told.update(dict.fromkeys(due[:told], now))
        if told < len(taken):
            self.add(dict(taken[told:]))
        return sent


def _count(acks: Acks) -> int:
    return sum([len(ranges) for boots in acks.values() for ranges in boots.values()])
