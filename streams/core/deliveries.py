"""What of each device's messages has arrived: duplicate recognition and the ledger's counts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, NamedTuple

from streams.core.day_marks import DaySums, DayTops
from streams.core.intervals import IntervalSet

__all__ = ["RETAKEN_BOOT", "Arrival", "BootDeliveries", "Deliveries", "LedgerCounts"]

RETAKEN_BOOT: Final = 0
"""Boot of messages that a person took in although their number was used; no device can send it."""
_MOST_REUSED: Final = 1000
"""Reused numbers remembered for each boot; a message beyond them that comes twice has two dead letters."""
_MOST_THINNED: Final = 250_000
"""Separate ranges of thinned numbers kept of each boot, as of an outbox of 200 MB; more stay unaccounted."""
_REFUSED, _ALLOWED, _TAKEN = range(3)


class Arrival(Enum):
    """What an arriving message is, by its name (device, boot, seq)."""

    NEW = "new"
    DUPLICATE = "duplicate"
    REUSED = "reused"
    RETAKEN = "retaken"
    """A reused number's message that a person takes in: stored under a name of `RETAKEN_BOOT`."""


@dataclass(slots=True)
class BootDeliveries:
    """Numbers of one boot of one device.

    Attributes
    ----------
    stored, dead, waiting, thinned : IntervalSet
    next_seq : int
        The largest that a collector said.
    state_at : int
        When the newest report was made. [ms UTC]
    newest_t : int
        Newest sample of the stored messages. [ms UTC]
    reused : dict of (int, int) to int
        By number and oldest sample time the messages that came under a used number, and what became of them.
    tops : DayTops
        Highest number that is known of each local day: of a sample, a report or a refusal of that day.
    """

    stored: IntervalSet = field(default_factory=IntervalSet)
    dead: IntervalSet = field(default_factory=IntervalSet)
    waiting: IntervalSet = field(default_factory=IntervalSet)
    thinned: IntervalSet = field(default_factory=IntervalSet)
    next_seq: int = 1
    state_at: int = -(2**63)
    newest_t: int = -(2**63)
    reused: dict[tuple[int, int], int] = field(default_factory=dict)
    tops: DayTops = field(default_factory=DayTops)

    def mark(self, name: tuple[int, int], fate: int) -> None:
        """Note what became of a message under a used number; the oldest note goes when there are too many."""
        self.reused[name] = fate
        if len(self.reused) > _MOST_REUSED:
            del self.reused[next(iter(self.reused))]

    def follow(self, first: int, last: int, newest_t: int, day_ms: int = 0) -> bool:
        """Take in the gapless new messages `first` to `last`; False, nothing done, if they are not new."""
        if not self.stored.append(first, last):
            return False
        self.newest_t = max(self.newest_t, newest_t)
        self.tops.see(day_ms, last)
        return True

    def claimed(self, number: int) -> bool:
        """Whether a report or a refusal may have told of `number` before it came."""
        return number < self.next_seq or number <= self.dead.highest

    def unite(self, other: BootDeliveries) -> int:
        """Take in what is known of the same boot elsewhere; how many messages both had."""
        both = len(self.stored) + len(other.stored) + len(self.dead) + len(other.dead)
        self.stored, self.dead = self.stored.union(other.stored), self.dead.union(other.dead)
        both -= len(self.stored) + len(self.dead)
        self.thinned = self.thinned.union(other.thinned)
        if other.state_at > self.state_at:
            self.state_at, self.waiting = other.state_at, other.waiting
        self.next_seq = max(self.next_seq, other.next_seq)
        self.newest_t = max(self.newest_t, other.newest_t)
        for name, fate in other.reused.items():
            self.mark(name, max(fate, self.reused.get(name, fate)))
        self.tops.unite(other.tops)
        return both

    def counts(self, bound: int, *, newest: bool) -> tuple[int, int, int, int]:
        """How many numbers below `bound` are stored, dead-lettered, thinned and waiting, each once."""
        if not (self.dead or self.thinned or self.waiting):  # nearly always
            return self.stored.count_below(bound), 0, 0, 0
        stored, dead_lettered, thinned, waiting = self.stored.count_below(bound), 0, 0, 0
        seen = self.stored
        if self.dead.highest:
            dead_lettered = len(self.dead.below(bound).minus(seen))
        if self.thinned.highest or (newest and self.waiting.highest):
            seen = seen.union(self.dead) if self.dead.highest else seen
            if self.thinned.highest:
                thinned = len(self.thinned.below(bound).minus(seen))
            if newest and self.waiting.highest:
                seen = seen.union(self.thinned) if self.thinned.highest else seen
                waiting = len(self.waiting.below(bound).minus(seen))
        return stored, dead_lettered, thinned, waiting


class LedgerCounts(NamedTuple):
    """The ledger of one device, counted in messages (`repeat` and `late` in samples).

    `sent` = stored + dead_lettered + thinned + waiting + unaccounted; duplicates,
    repeats and what came late stand outside.
    """

    sent: int
    stored: int
    dead_lettered: int
    waiting: int
    thinned: int
    unaccounted: int
    duplicate: int
    repeat: int
    late: int = 0  # checkpoints that were written before it was counted have none


class Deliveries:
    """Delivery sets of one device, over all its boots.

    Attributes
    ----------
    boots : dict of int to BootDeliveries
    duplicates, repeats : DaySums
        Duplicate messages and repeated samples of each local day.
    lates : DaySums
        Samples that came after their windows had ended, by the local day on which they came.
    floor_ms : int
        Of days that began before it nothing is told any more; what is of them counts from there on. [ms UTC]
    taken_over : set of (str, int)
        Streams and their records at which they gave away sets of this device that are part of these.
    """

    __slots__ = ("boots", "duplicates", "floor_ms", "lates", "repeats", "taken_over")

    def __init__(self) -> None:
        self.boots: dict[int, BootDeliveries] = {}
        self.duplicates = DaySums()
        self.repeats = DaySums()
        self.lates = DaySums()
        self.floor_ms = 0
        self.taken_over: set[tuple[str, int]] = set()

    def boot(self, boot: int) -> BootDeliveries:
        """Deliveries of one boot, made at first sight."""
        found = self.boots.get(boot)
        if found is None:
            found = self.boots[boot] = BootDeliveries()
        return found

    def arrive(self, boot: int, seq: int, oldest_t: int, newest_t: int, day_ms: int = 0) -> Arrival:
        """Take in one accepted message, of the local day `day_ms`, and say what it is.

        A known number whose samples are all newer than any of its boot is no
        duplicate: a device without an outbox restarted and used the number again.
        It is refused, once, and taken in when it comes again after `allow`.
        """
        deliveries = self.boot(boot)
        if seq not in deliveries.stored:
            deliveries.stored.add(seq, seq)
            deliveries.newest_t = max(deliveries.newest_t, newest_t)
            deliveries.tops.see(max(day_ms, self.floor_ms), seq)
            return Arrival.NEW
        name = (seq, oldest_t)
        fate = deliveries.reused.get(name)
        if fate == _ALLOWED:
            deliveries.mark(name, _TAKEN)
            return Arrival.RETAKEN
        if fate is None and oldest_t > deliveries.newest_t:
            deliveries.mark(name, _REFUSED)
            deliveries.dead.add(seq, seq)
            return Arrival.REUSED
        self.duplicates.add(day_ms, 1)
        return Arrival.DUPLICATE

    def allow(self, boot: int, seq: int, oldest_t: int) -> None:
        """Let the message that was refused for its used number be taken in when it comes again, once."""
        deliveries = self.boot(boot)
        if deliveries.reused.get((seq, oldest_t)) != _TAKEN:
            deliveries.mark((seq, oldest_t), _ALLOWED)

    def retake(self, day_ms: int = 0) -> int:
        """Count one more message of `RETAKEN_BOOT`, of the local day `day_ms`; its number there."""
        deliveries = self.boot(RETAKEN_BOOT)
        seq = deliveries.stored.highest + 1
        deliveries.stored.add(seq, seq)
        deliveries.tops.see(max(day_ms, self.floor_ms), seq)
        return seq

    def report(self, boot: int, at: int, next_seq: int, waiting: Any, thinned: Any, day_ms: int = 0) -> None:
        """Take in what a collector said of its outbox at `at`, on the local day `day_ms`.

        Older reports than the last add nothing but what they tell of their day.
        """
        deliveries = self.boot(boot)
        deliveries.tops.see(max(day_ms, self.floor_ms), next_seq - 1)
        deliveries.next_seq = max(deliveries.next_seq, next_seq)
        for first, last in thinned:
            if deliveries.thinned.parts < _MOST_THINNED or first in deliveries.thinned:
                deliveries.thinned.add(first, last)
        if at >= deliveries.state_at:
            deliveries.state_at = at
            deliveries.waiting = IntervalSet((a, b) for a, b in waiting)

    def refuse(self, boot: int, seq: int, day_ms: int = 0, *, altered: bool) -> bool:
        """Take in one refused message; False, and a duplicate, for one that came before.

        Parameters
        ----------
        boot, seq : int
        day_ms : int
            The local day on which it came. [ms UTC]
        altered : bool
            Whether it cannot be the message of that number that is stored.
        """
        deliveries = self.boot(boot)
        if seq in deliveries.dead or (seq in deliveries.stored and not altered):
            self.duplicates.add(day_ms, 1)
            return False
        deliveries.dead.add(seq, seq)
        deliveries.tops.see(max(day_ms, self.floor_ms), seq)
        return True

    def first_day_ms(self) -> int | None:
        """The first local day of which anything is known. [ms UTC]"""
        return min((d.tops.first for d in self.boots.values() if d.tops.first is not None), default=None)

    def known_before(self, day_ms: int) -> bool:
        """Whether anything is known of a local day that began before `day_ms`."""
        return any(d.tops.reaches_before(day_ms) for d in self.boots.values())

    def counts(self, before_ms: int | None = None) -> LedgerCounts:
        """Count every number below `next_seq` once: as stored, dead-lettered, thinned or waiting.

        The first of these that applies counts. What an older boot still reported as
        waiting counts as unaccounted: its outbox is gone.

        Parameters
        ----------
        before_ms : int, optional
            Count only the numbers of local days that began before it, by all that is known
            of them today. [ms UTC]
        """
        sent = stored = dead = thinned = waiting = 0
        newest = max(self.boots, default=0)
        for boot, d in self.boots.items():
            if before_ms is None:
                bound = max(d.next_seq, d.stored.highest + 1, d.dead.highest + 1)
            else:
                bound = d.tops.before(before_ms) + 1
            of = d.counts(bound, newest=boot == newest)
            sent += bound - 1
            stored += of[0]
            dead += of[1]
            thinned += of[2]
            waiting += of[3]
        unaccounted = sent - stored - dead - thinned - waiting
        beside = (part.before(before_ms) for part in (self.duplicates, self.repeats, self.lates))
        return LedgerCounts(sent, stored, dead, waiting, thinned, unaccounted, *beside)

    def forget_before(self, day_ms: int) -> None:
        """Let days that began before `day_ms` be one with it: nothing is told of them any more."""
        self.floor_ms = max(self.floor_ms, day_ms)
        for part in (self.duplicates, self.repeats, self.lates, *(d.tops for d in self.boots.values())):
            part.forget_before(day_ms)

    def take_over(self, other: Deliveries, stream: str, offset: int, day_ms: int = 0) -> bool:
        """Take in the sets that `stream` gave away at its record `offset`; False if they were taken before.

        A message that both streams had is a duplicate, of the local day `day_ms`.
        """
        if (stream, offset) in self.taken_over:
            return False
        for boot, deliveries in other.boots.items():
            if boot == RETAKEN_BOOT:  # numbers that each stream gave by itself
                for day, many in deliveries.tops.steps():
                    for _ in range(many):
                        self.retake(day)
            elif both := self.boot(boot).unite(deliveries):
                self.duplicates.add(day_ms, both)
        self.duplicates.unite(other.duplicates)
        self.repeats.unite(other.repeats)
        self.lates.unite(other.lates)
        # What either let go of is told of no more: with the other's part alone a day would be another.
        self.forget_before(max(self.floor_ms, other.floor_ms))
        # Words go round by other streams: one may come after a later one, or again after its device moved on.
        self.taken_over |= other.taken_over | {(stream, offset)}
        return True

    def to_json(self) -> str:
        """State as JSON text; `from_json` reads it."""
        boots = {
            str(boot): [
                list(d.stored), list(d.dead), list(d.waiting), list(d.thinned),
                d.next_seq, d.state_at, d.newest_t, [[*name, fate] for name, fate in d.reused.items()],
                d.tops.to_list(),
            ]
            for boot, d in self.boots.items()
        }  # fmt: skip
        taken_over: dict[str, list[int]] = {}
        for stream, at in sorted(self.taken_over):
            taken_over.setdefault(stream, []).append(at)
        state = {
            "boots": boots, "duplicate": self.duplicates.to_list(), "repeat": self.repeats.to_list(),
            "late": self.lates.to_list(), "floor_ms": self.floor_ms, "taken_over": taken_over,
        }  # fmt: skip
        return json.dumps(state)

    @classmethod
    def from_json(cls, text: str) -> Deliveries:
        """Read what `to_json` wrote, and what it wrote before it knew of used numbers, days or lateness."""
        data = json.loads(text)
        self = cls()
        self.duplicates, self.repeats = (DaySums.from_list(data[n]) for n in ("duplicate", "repeat"))
        self.lates = DaySums.from_list(data.get("late", []))
        self.floor_ms = data.get("floor_ms", 0)
        for stream, at in data.get("taken_over", {}).items():
            # Of each stream the last alone, where it was written before all were kept.
            self.taken_over |= {(stream, n) for n in (at if isinstance(at, list) else [at])}
        for boot, (stored, dead, waiting, thinned, next_seq, state_at, newest_t, *more) in data[
            "boots"
        ].items():
            found = self.boots[int(boot)] = BootDeliveries(
                IntervalSet(stored), IntervalSet(dead), IntervalSet(waiting), IntervalSet(thinned),
                next_seq, state_at, newest_t,
                {(seq, t): fate for seq, t, fate in (more[0] if more else ())},
            )  # fmt: skip
            if len(more) > 1:
                found.tops = DayTops.from_list(more[1])
            else:
                found.tops.see(0, max(next_seq - 1, found.stored.highest, found.dead.highest))
        return self
