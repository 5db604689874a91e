"""Acknowledgements to collectors: gathered, so that one message tells of many."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import orjson
from numpy.typing import NDArray

from ingest.messages import Address, SafeNumbers
from ingest.ranges import fewest, joined, run_starts

__all__ = ["MOST_RANGES", "AckOutbox"]

_AT_ONCE: Final = 200
_EVERY_S: Final = 1.0
_BUSY_PER_S: Final = 3000
_LOOKS: Final = 8
_RANGES: Final = 5000
_GIVEN: Final = 500  # messages made before it is known whether they can be sent
_SENDERS: Final = 500_000
MOST_RANGES: Final = 1_000_000


@dataclass(slots=True)
class _Fleet:
    """Senders that were numbered together.

    Attributes
    ----------
    addresses : list of Address
        By number; it grows.
    waiting : list of SafeNumbers
        What they have not been told.
    told_s : ndarray
        When each was told last, by number. [s]
    """

    addresses: list[Address]
    waiting: list[SafeNumbers] = field(default_factory=list)
    told_s: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def know(self) -> None:
        """Have a place for all who are there now."""
        lacking = len(self.addresses) - len(self.told_s)
        if lacking > 0:
            self.told_s = np.append(self.told_s, np.full(lacking, -np.inf))


class AckOutbox:
    """Numbers that are safe and of which their senders have not been told yet.

    While few numbers wait, or little else is to be done, their senders are told at
    once. Else each is told at most once a second, and a large fleet less
    often, some 3,000 senders a second: so that neither a device that sends ten
    messages a second nor the number of devices makes a message dearer. Whose
    turn it is, is looked up eight times in that while, not at every batch; until
    then what is added lies as it came.

    Parameters
    ----------
    publish : callable
        Takes (topic, payload) of several; how many of them, from the first, can be sent now.
    """

    def __init__(self, publish: Callable[[Sequence[tuple[str, bytes]]], int]) -> None:
        self._publish = publish
        self._lock = threading.Lock()
        self._fleets: list[_Fleet] = []
        self._ranges = 0
        self._every_s = _EVERY_S
        self._looked = float("-inf")

    def __len__(self) -> int:
        """Ranges of numbers that wait, at most."""
        return self._ranges

    def add(self, numbers: Iterable[SafeNumbers]) -> None:
        """Remember to tell the senders of `numbers`."""
        with self._lock:
            if self._ranges > _SENDERS:
                self._gather()
                if self._ranges > MOST_RANGES or self._senders() > _SENDERS:
                    self._fleets.clear()  # nobody hears us; they will send again, and be told then
            for part in numbers:
                self._keep(part)
            self._ranges = self._count()

    def _keep(self, part: SafeNumbers) -> None:
        for fleet in self._fleets:
            if fleet.addresses is part.addresses:
                fleet.waiting.append(part)
                return
        self._fleets = [fleet for fleet in self._fleets if fleet.waiting]
        self._fleets.append(_Fleet(part.addresses, [part]))

    def _count(self) -> int:
        return sum(len(part) for fleet in self._fleets for part in fleet.waiting)

    def _gather(self) -> None:
        """Say what waits in the fewest ranges."""
        for fleet in self._fleets:
            fleet.know()
            if fleet.waiting:
                fleet.waiting = [fewest(joined(fleet.waiting))]
        self._ranges = self._count()

    def _senders(self) -> int:
        """How many senders wait, once gathered."""
        return sum(int(np.count_nonzero(run_starts(p.sender))) for f in self._fleets for p in f.waiting)

    def flush(self, *, everything: bool = False) -> int:
        """Tell whose turn it is, or all; how many messages went out."""
        now = time.monotonic()
        with self._lock:
            at_once = everything or self._ranges <= _AT_ONCE
            if not self._ranges or (not at_once and now - self._looked < self._every_s / _LOOKS):
                return 0
            self._looked = now
            self._gather()
            senders = self._senders()
            at_once |= senders <= _AT_ONCE
            self._every_s = max(_EVERY_S, senders / _BUSY_PER_S)
            since = np.inf if at_once else now - self._every_s
            turns = [(fleet, self._take(fleet, since)) for fleet in self._fleets if fleet.waiting]
        sent, left = 0, []
        for fleet, numbers in turns:
            went, untold = self._tell(fleet, numbers, now)
            sent += went
            left.append(untold)
        self.add(part for part in left if len(part))
        return sent

    @staticmethod
    def _take(fleet: _Fleet, since: float) -> SafeNumbers:
        """Take out what waits for those who were not told after `since`."""
        (numbers,) = fleet.waiting
        due = fleet.told_s[numbers.sender] <= since
        fleet.waiting = [] if due.all() else [numbers.take(~due)]
        return numbers.take(due)

    def _tell(self, fleet: _Fleet, numbers: SafeNumbers, now: float) -> tuple[int, SafeNumbers]:
        """Tell senders, first who waits longest, while there is room: messages sent, and what is left."""
        new = run_starts(numbers.sender, numbers.boot)
        rows = np.arange(len(numbers))
        new |= (rows - np.flatnonzero(new)[np.cumsum(new) - 1]) % _RANGES == 0
        starts = np.flatnonzero(new)
        stops = np.append(starts[1:], len(numbers))
        order = np.argsort(fleet.told_s[numbers.sender[starts]], kind="stable")
        ranges = list(zip(numbers.first.tolist(), numbers.last.tolist(), strict=True))
        sent = 0
        while sent < len(order):
            given = order[sent : sent + _GIVEN]
            who, boot = numbers.sender[starts[given]], numbers.boot[starts[given]]
            columns = (who.tolist(), boot.tolist(), starts[given].tolist(), stops[given].tolist())
            messages = [
                (
                    fleet.addresses[sender].ack_topic,
                    orjson.dumps({"boot": of, "ranges": ranges[start:stop]}),
                )
                for sender, of, start, stop in zip(*columns, strict=True)
            ]
            went = self._publish(messages)
            sent += went
            fleet.told_s[who[:went]] = now
            if went < len(messages):
                break
        untold = np.ones(len(starts), dtype=bool)
        untold[order[:sent]] = False
        return sent, numbers.take(untold[np.cumsum(new) - 1])
