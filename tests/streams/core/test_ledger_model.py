"""Any history of one device's messages: the ledger of each day equals a naive one that keeps every number."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, rule

from streams.core.deliveries import Arrival, Deliveries, LedgerCounts
from streams.core.delivery_sets import Runs
from streams.core.ledger_book import LedgerBook

NUMBERS = st.integers(1, 25)
BOOTS = st.integers(1, 4)
RANGES = st.lists(st.tuples(NUMBERS, NUMBERS).map(lambda ab: (min(ab), max(ab))), max_size=4)
FATES = ("stored", "dead", "thinned", "waiting")
DEVICE = 3
DAY = 86_400_000
TIMES = st.integers(0, 60)


def day_of(t: int) -> int:
    """Three days of 25 moments, begun at a day that is none of the first."""
    return DAY * (1 + t // 25)


@dataclass
class NaiveBoot:
    """Every number by itself."""

    stored: set[int] = field(default_factory=set)
    dead: set[int] = field(default_factory=set)
    thinned: set[int] = field(default_factory=set)
    waiting: set[int] = field(default_factory=set)
    next_seq: int = 1
    said_at: int = -1
    newest_t: int = -1
    letters: set[tuple[int, int]] = field(default_factory=set)  # (number, oldest t) refused as reused
    allowed: set[tuple[int, int]] = field(default_factory=set)
    taken: set[tuple[int, int]] = field(default_factory=set)
    seen: set[tuple[int, int]] = field(default_factory=set)  # (day, number) of what has a day of its own


@dataclass
class Naive:
    """The ledger as its definition reads, without a thought of size."""

    boots: dict[int, NaiveBoot] = field(default_factory=dict)
    duplicates: list[int] = field(default_factory=list)  # their days
    retaken: list[int] = field(default_factory=list)
    late: list[int] = field(default_factory=list)

    def boot(self, number: int) -> NaiveBoot:
        return self.boots.setdefault(number, NaiveBoot())

    def arrive(self, boot: int, seq: int, oldest_t: int, newest_t: int) -> Arrival:
        b = self.boot(boot)
        if seq not in b.stored:
            b.stored.add(seq)
            b.seen.add((day_of(newest_t), seq))
            b.newest_t = max(b.newest_t, newest_t)
            return Arrival.NEW
        name = (seq, oldest_t)
        if name in b.allowed - b.taken:
            b.taken.add(name)
            self.retaken.append(day_of(newest_t))
            return Arrival.RETAKEN
        if name not in b.letters | b.taken and oldest_t > b.newest_t:
            b.letters.add(name)
            b.dead.add(seq)
            return Arrival.REUSED
        self.duplicates.append(day_of(newest_t))
        return Arrival.DUPLICATE

    def refuse(self, boot: int, seq: int, t: int, *, altered: bool) -> bool:
        b = self.boot(boot)
        if seq in b.dead or (seq in b.stored and not altered):
            self.duplicates.append(day_of(t))
            return False
        b.dead.add(seq)
        b.seen.add((day_of(t), seq))
        return True

    def counts(self, before: int) -> LedgerCounts:
        of = dict.fromkeys((*FATES, "unaccounted"), 0)
        newest = max(self.boots, default=0)
        for number, b in self.boots.items():
            for seq in range(1, 1 + max((n for day, n in b.seen if day < before), default=0)):
                fates = [f for f in FATES if seq in getattr(b, f) and (f != "waiting" or number == newest)]
                of[fates[0] if fates else "unaccounted"] += 1
        retaken = max((n for n, day in enumerate(self.retaken, start=1) if day < before), default=0)
        duplicate = sum(day < before for day in self.duplicates)
        sent = sum(of.values()) + retaken
        return LedgerCounts(
            sent, of["stored"] + retaken, of["dead"], of["waiting"], of["thinned"], of["unaccounted"],
            duplicate, 0, sum(day < before for day in self.late),
        )  # fmt: skip


class AnyHistory(RuleBasedStateMachine):
    """Messages, duplicates, refusals, reports, retries, checkpoints and moves in any order."""

    messages = Bundle("messages")

    @initialize()
    def begin(self) -> None:
        self.book = LedgerBook()
        self.naive = Naive()
        self.streams = 0

    @property
    def device(self) -> Deliveries:
        return self.book.of(DEVICE)

    @rule(target=messages, boot=BOOTS, seq=NUMBERS, t=st.integers(0, 60), span=st.integers(0, 5))
    def arrives(self, boot: int, seq: int, t: int, span: int) -> tuple[int, int, int, int]:
        message = (boot, seq, t, t + span)
        assert self.arrive(message) is self.naive_arrive(message)
        return message

    def arrive(self, message: tuple[int, int, int, int]) -> Arrival:
        return self.device.arrive(*message, day_of(message[-1]))

    def naive_arrive(self, message: tuple[int, int, int, int]) -> Arrival:
        verdict = self.naive.arrive(*message)
        if verdict is Arrival.RETAKEN:
            self.device.retake(day_of(message[-1]))
        return verdict

    @rule(message=messages)
    def comes_again(self, message: tuple[int, int, int, int]) -> None:
        assert self.arrive(message) is self.naive_arrive(message)

    @rule(boot=BOOTS, first=NUMBERS, length=st.integers(1, 8), t=st.integers(0, 60))
    def run_arrives(self, boot: int, first: int, length: int, t: int) -> None:
        new = not any(n >= first for n in self.naive.boot(boot).stored)
        columns = (DEVICE, boot, first, first + length - 1, t, True, day_of(t))
        others = self.book.arrive_runs(Runs(*(np.array([value]) for value in columns)))
        assert others == ([] if new else [0])
        if new:
            for seq in range(first, first + length):
                assert self.naive.arrive(boot, seq, t, t) is Arrival.NEW

    @rule(boot=BOOTS, seq=NUMBERS, t=TIMES, altered=st.booleans())
    def is_refused(self, boot: int, seq: int, t: int, altered: bool) -> None:
        told = self.device.refuse(boot, seq, day_of(t), altered=altered)
        assert told is self.naive.refuse(boot, seq, t, altered=altered)

    @rule(t=TIMES, many=st.integers(1, 4))
    def samples_come_late(self, t: int, many: int) -> None:
        self.device.lates.add(day_of(t), many)
        self.naive.late += many * [day_of(t)]

    @rule(message=messages)
    def person_allows(self, message: tuple[int, int, int, int]) -> None:
        boot, seq, oldest_t, _ = message
        self.device.allow(boot, seq, oldest_t)
        self.naive.boot(boot).allowed.add((seq, oldest_t))

    @rule(boot=BOOTS, at=TIMES, next_seq=NUMBERS, waiting=RANGES, thinned=RANGES)
    def reports(
        self,
        boot: int,
        at: int,
        next_seq: int,
        waiting: list[tuple[int, int]],
        thinned: list[tuple[int, int]],
    ) -> None:
        self.device.report(boot, at, next_seq, waiting, thinned, day_of(at))
        b = self.naive.boot(boot)
        b.seen.add((day_of(at), next_seq - 1))
        b.next_seq = max(b.next_seq, next_seq)
        b.thinned |= {n for first, last in thinned for n in range(first, last + 1)}
        if at >= b.said_at:
            b.said_at = at
            b.waiting = {n for first, last in waiting for n in range(first, last + 1)}

    @rule(boot=BOOTS)
    def is_born(self, boot: int) -> None:
        self.device.boot(boot)
        self.naive.boot(boot)

    @rule()
    def restarts_from_a_checkpoint(self) -> None:
        again = LedgerBook.from_bytes(self.book.to_bytes())
        assert again.to_bytes() == self.book.to_bytes()
        self.book = again

    @rule(twice=st.booleans())
    def moves_to_another_stream(self, twice: bool) -> None:
        given = self.book.give_away(DEVICE, 5 * DAY)
        assert DEVICE not in self.book.deliveries
        if given is None:
            return
        self.book = LedgerBook()
        self.streams += 1
        for _ in range(1 + twice):  # what streams tell each other comes at least once
            self.book.take_over(DEVICE, given, f"stream-{self.streams}", 7)

    @rule(boot=BOOTS, t=TIMES, lengths=st.lists(st.integers(1, 3), min_size=2, max_size=4))
    def runs_follow_each_other(self, boot: int, t: int, lengths: list[int]) -> None:
        for later, length in enumerate(lengths):
            self.run_arrives(boot, max(self.naive.boot(boot).stored, default=0) + 1, length, t + later)

    @rule()
    def somebody_counts(self) -> None:
        days = [self.device.counts(DAY * day) for day in range(1, 6)]
        assert days == [self.naive.counts(DAY * day) for day in range(1, 6)]
        counts = self.device.counts()
        assert counts == days[-1]
        fates = counts.stored + counts.dead_lettered + counts.waiting + counts.thinned + counts.unaccounted
        assert counts.sent == fates

    def teardown(self) -> None:
        self.somebody_counts()


AnyHistory.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAnyHistory = AnyHistory.TestCase
