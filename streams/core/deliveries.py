"""What of each device's messages has arrived: duplicate recognition and the ledger's counts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from streams.core.intervals import IntervalSet

__all__ = ["Arrival", "BootDeliveries", "Deliveries", "LedgerCounts"]


class Arrival(Enum):
    """What an arriving message is, by its name (device, boot, seq)."""

    NEW = "new"
    DUPLICATE = "duplicate"
    REUSED = "reused"


@dataclass(slots=True)
class BootDeliveries:
    """Numbers of one boot of one device."""

    stored: IntervalSet = field(default_factory=IntervalSet)
    dead: IntervalSet = field(default_factory=IntervalSet)
    waiting: IntervalSet = field(default_factory=IntervalSet)
    thinned: IntervalSet = field(default_factory=IntervalSet)
    next_seq: int = 1
    state_at: int = -(2**63)
    newest_t: int = -(2**63)


@dataclass(frozen=True, slots=True)
class LedgerCounts:
    """The ledger of one device, counted in messages (`repeat` in samples).

    `sent` = stored + dead_lettered + thinned + waiting + unaccounted; duplicates
    and repeats stand outside.
    """

    sent: int
    stored: int
    dead_lettered: int
    waiting: int
    thinned: int
    unaccounted: int
    duplicate: int
    repeat: int


class Deliveries:
    """Delivery sets of one device, over all its boots."""

    __slots__ = ("boots", "duplicate", "repeat")

    def __init__(self) -> None:
        self.boots: dict[int, BootDeliveries] = {}
        self.duplicate = 0
        self.repeat = 0

    def boot(self, boot: int) -> BootDeliveries:
        """Deliveries of one boot, made at first sight."""
        found = self.boots.get(boot)
        if found is None:
            found = self.boots[boot] = BootDeliveries()
        return found

    def arrive(self, boot: int, seq: int, oldest_t: int, newest_t: int) -> Arrival:
        """Take in one accepted message and say what it is.

        A known number whose samples are all newer than any of its boot is no
        duplicate: a device without an outbox restarted and used the number again.
        """
        deliveries = self.boot(boot)
        if seq in deliveries.stored:
            if oldest_t > deliveries.newest_t:
                return Arrival.REUSED
            self.duplicate += 1
            return Arrival.DUPLICATE
        deliveries.stored.add(seq, seq)
        deliveries.newest_t = max(deliveries.newest_t, newest_t)
        return Arrival.NEW

    def arrive_run(self, boot: int, first: int, last: int, newest_t: int) -> bool:
        """Take in the gapless new messages `first` to `last`; False, nothing done, if they are not new."""
        deliveries = self.boot(boot)
        if first <= deliveries.stored.highest:
            return False
        deliveries.stored.add(first, last)
        deliveries.newest_t = max(deliveries.newest_t, newest_t)
        return True

    def report(self, boot: int, at: int, next_seq: int, waiting: Any, thinned: Any) -> None:
        """Take in what a collector says of its outbox; older reports than the last add nothing."""
        deliveries = self.boot(boot)
        deliveries.next_seq = max(deliveries.next_seq, next_seq)
        for first, last in thinned:
            deliveries.thinned.add(first, last)
        if at >= deliveries.state_at:
            deliveries.state_at = at
            deliveries.waiting = IntervalSet((a, b) for a, b in waiting)

    def refuse(self, boot: int, seq: int, *, altered: bool) -> bool:
        """Take in one refused message; False, and a duplicate, for one that came before.

        Parameters
        ----------
        boot, seq : int
        altered : bool
            Whether it cannot be the message of that number that is stored.
        """
        deliveries = self.boot(boot)
        if seq in deliveries.dead or (seq in deliveries.stored and not altered):
            self.duplicate += 1
            return False
        deliveries.dead.add(seq, seq)
        return True

    def counts(self) -> LedgerCounts:
        """Count every number below `next_seq` once: as stored, dead-lettered, thinned or waiting.

        The first of these that applies counts. What an older boot still reported as
        waiting counts as unaccounted: its outbox is gone.
        """
        sent = stored = dead = thinned = waiting = 0
        newest = max(self.boots, default=0)
        for boot, d in self.boots.items():
            bound = max(d.next_seq, d.stored.highest + 1, d.dead.highest + 1)
            sent += bound - 1
            stored += len(d.stored)
            seen = d.stored
            dead += len(d.dead.minus(seen))
            if d.thinned.highest or (boot == newest and d.waiting.highest):
                seen = seen.union(d.dead)
                thinned += len(d.thinned.below(bound).minus(seen))
                if boot == newest:
                    waiting += len(d.waiting.below(bound).minus(seen.union(d.thinned)))
        unaccounted = sent - stored - dead - thinned - waiting
        return LedgerCounts(sent, stored, dead, waiting, thinned, unaccounted, self.duplicate, self.repeat)

    def to_json(self) -> str:
        """State as JSON text; `from_json` reads it."""
        boots = {
            str(boot): [
                list(d.stored), list(d.dead), list(d.waiting), list(d.thinned),
                d.next_seq, d.state_at, d.newest_t,
            ]
            for boot, d in self.boots.items()
        }  # fmt: skip
        return json.dumps({"boots": boots, "duplicate": self.duplicate, "repeat": self.repeat})

    @classmethod
    def from_json(cls, text: str) -> Deliveries:
        """Read what `to_json` wrote."""
        data = json.loads(text)
        self = cls()
        self.duplicate, self.repeat = data["duplicate"], data["repeat"]
        for boot, (stored, dead, waiting, thinned, next_seq, state_at, newest_t) in data["boots"].items():
            self.boots[int(boot)] = BootDeliveries(
                IntervalSet(stored), IntervalSet(dead), IntervalSet(waiting), IntervalSet(thinned),
                next_seq, state_at, newest_t,
            )  # fmt: skip
        return self
