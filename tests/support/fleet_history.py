"""Random histories of a fleet: what its collectors send, and registries that come again and change."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from tests.support.fleet import (
    INTERVAL_S,
    Allowed,
    Birth,
    Fleet,
    History,
    Moment,
    Report,
    Sent,
    Traits,
)

__all__ = ["fleet_history"]

SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000
STARTS = (
    # A day before the clocks change, a year's end, and a zone whose midnight is a quarter of an hour's own.
    ("Europe/Vienna", (2026, 3, 28)), ("Europe/Vienna", (2026, 10, 24)), ("America/New_York", (2026, 10, 31)),
    ("Asia/Shanghai", (2025, 12, 31)), ("Asia/Kathmandu", (2026, 6, 1)), ("UTC", (2026, 2, 28)),
)  # fmt: skip
STEPS_MS = (SECOND, 20 * SECOND, 5 * MINUTE, 40 * MINUTE, 3 * HOUR, 11 * HOUR)
STEP_ODDS = (0.2, 0.3, 0.25, 0.15, 0.07, 0.03)


@dataclass
class Collector:
    """What sends one device's messages; a steady one loses, repeats and says little."""

    device: str
    of_class: str
    boot: int
    ahead_ms: int
    steady: bool
    seq: int = 0
    outbox: list[Sent] = field(default_factory=list)
    gone: list[Sent] = field(default_factory=list)
    thinned: list[tuple[int, int]] = field(default_factory=list)
    weighed: list[tuple[int, str]] = field(default_factory=list)
    reused: list[Sent] = field(default_factory=list)
    cut_off: bool = False


def midnight_after(at_ms: int, timezone: str) -> int:
    """The next local midnight. [ms UTC]"""
    zone = ZoneInfo(timezone)
    day = datetime.fromtimestamp(at_ms / 1000, zone).date() + timedelta(days=1)
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)


class _Making:
    def __init__(self, seed: int, traits: Traits, moments: int) -> None:
        self.rng, self.traits = np.random.default_rng(seed), traits
        rng = self.rng
        self.home, day = STARTS[int(rng.integers(len(STARTS)))]
        self.now = int(datetime(*day, 15, tzinfo=ZoneInfo(self.home)).timestamp() * 1000)
        self.now += int(rng.integers(0, 5 * HOUR))
        devices = [f"d-{n}" for n in range(1, 1 + int(rng.integers(1, 13)))]
        self.streams = 1 + int(rng.integers(1, 4)) if traits.moves else int(rng.integers(1, 5))
        classes = rng.choice(list(INTERVAL_S), size=len(devices), p=(0.65, 0.15, 0.2))
        self.class_of = dict(zip(devices, map(str, classes), strict=True))
        self.fleet = Fleet(self.home, {d: int(rng.integers(self.streams)) for d in devices}, self.class_of)
        if traits.leaves and len(devices) > 2:  # one that speaks before the registry knows it
            del self.fleet.stream_of[devices[-1]]
        self.collectors = {
            d: Collector(
                d,
                c,
                self.now - HOUR - n,
                int(rng.choice((0, 0, 0, -40 * MINUTE, 5 * MINUTE))),
                self.chance(0.5),
            )
            for n, (d, c) in enumerate(self.class_of.items())
        }
        self.first_ms = self.now
        self.moments = [Moment(self.now, self.fleet)]
        self.words = True
        for n in range(moments):
            self.go_on()
            if n and rng.random() < 0.12:
                self.register()
            else:
                self.arrive()

    def chance(self, odds: float) -> bool:
        return bool(self.rng.random() < odds)

    def go_on(self) -> None:
        """Let time pass, often to a midnight."""
        step = int(self.rng.choice(STEPS_MS, p=STEP_ODDS))
        if self.traits.long and self.chance(0.3):
            step = int(self.rng.integers(10, 40)) * HOUR
        following = midnight_after(self.now, self.fleet.timezone)
        if self.chance(0.08):
            step = following - self.now + int(self.rng.integers(-20, 20)) * SECOND
        self.now += max(step, SECOND)

    def register(self) -> None:
        """Have the registry come again, the same or changed."""
        rng, fleet = self.rng, self.fleet
        stream_of, timezone = dict(fleet.stream_of), fleet.timezone
        known = list(stream_of)
        for _ in range(int(rng.integers(0, 4))):
            what = str(rng.choice(("moves", "moves", "leaves", "comes", "comes", "swaps", "zones")))
            gone = [d for d in self.class_of if d not in stream_of]
            device = str(rng.choice(gone if what == "comes" and gone else list(self.class_of)))
            if what == "moves" and self.traits.moves and device in stream_of:
                stream_of[device] = int(rng.integers(self.streams))
            elif what == "leaves" and self.traits.leaves and len(stream_of) > 1:
                stream_of.pop(device, None)
            elif what == "comes" and device not in stream_of:
                stream_of[device] = fleet.stream_of.get(device, int(rng.integers(self.streams)))
            elif what == "swaps" and self.traits.moves and len(known) > 1:
                a, b = (str(d) for d in rng.choice(known, size=2, replace=False))
                if a in stream_of and b in stream_of:
                    stream_of[a], stream_of[b] = stream_of[b], stream_of[a]
            elif what == "zones" and self.traits.zones:
                others = ("UTC", "Asia/Shanghai", "America/New_York")
                timezone = self.home if timezone != self.home else str(rng.choice(others))
        self.fleet = Fleet(timezone, stream_of, self.class_of)
        self.moments.append(Moment(self.now, self.fleet, words=False))
        self.words = self.chance(0.4)  # else what streams tell each other is under way for a while

    def arrive(self) -> None:
        """Have collectors measure, and send what they will."""
        refused = self.chance(0.08)
        messages: list[Sent] = []
        told: list[Report | Birth] = []
        allowed: list[Allowed] = []
        if not self.chance(0.12):  # a silence
            for collector in self.collectors.values():
                if self.chance(0.5):
                    sent, said = self.speak(collector, refused=refused)
                    messages += sent
                    told += said
                if collector.reused and self.chance(0.3):
                    m = collector.reused[int(self.rng.integers(len(collector.reused)))]
                    allowed.append(Allowed(m.device, m.boot, m.seq, m.oldest_t))
        if self.chance(0.2):
            messages = [messages[n] for n in self.rng.permutation(len(messages))]
        self.words = self.words or self.chance(0.3)
        self.moments.append(
            Moment(self.now, None, tuple(messages), tuple(told), tuple(allowed), self.chance(0.1), self.words)
        )

    def speak(self, c: Collector, *, refused: bool) -> tuple[list[Sent], list[Report | Birth]]:
        """What a collector sends now: new messages or refused ones, and what it says of its outbox."""
        said: list[Report | Birth] = []
        if self.chance(0.0 if c.steady else 0.04):
            self.restart(c)
            if self.chance(0.7):
                said.append(Birth(c.device, c.boot, self.now))
        if self.chance(0.05):
            c.cut_off = not c.cut_off
        sent: list[Sent] = []
        if refused:
            sent = self.refuse(c)
        else:
            for _ in range(int(self.rng.integers(0, 4))):
                c.outbox.append(self.measure(c))
            if not c.cut_off:
                sent = self.send(c)
        if not c.cut_off and self.chance(0.03 if c.steady else 0.4):
            said.append(self.report(c))
        return sent, said

    def restart(self, c: Collector) -> None:
        """A new outbox, of the same or another collector, or in a device without one its numbers again."""
        if self.traits.reuse and self.chance(0.3):
            c.seq = 0
            return
        c.boot, c.seq, c.thinned = max(self.now, c.boot + 1), 0, []
        if self.chance(0.5):  # with the old one's messages lost
            c.outbox = []

    def measure(self, c: Collector) -> Sent:
        rng = self.rng
        c.seq += 1
        before = self.traits.before and not c.steady and self.chance(0.02)
        at = self.now + c.ahead_ms if not before else self.first_ms - int(rng.integers(HOUR, 50 * HOUR))
        times = [at - int(rng.integers(0, 30)) * SECOND for _ in range(int(rng.integers(1, 3)))]
        if c.gone and self.chance(0.1):  # the same reading in two messages
            times[0] = c.gone[-1].newest_t
        if c.of_class != "weighbridge":
            return Sent(c.device, c.boot, c.seq, tuple((t, "") for t in times), c.of_class)
        weighed = []
        for t in times:
            again = bool(c.weighed) and self.chance(0.25)
            if again:
                then, ticket = c.weighed[int(rng.integers(len(c.weighed)))]
                weighed.append((t if self.traits.renamed and self.chance(0.5) else then, ticket))
            else:
                weighed.append((t, f"{c.boot}-{c.seq}-{len(c.weighed)}" if self.chance(0.9) else ""))
            if weighed[-1][1]:
                c.weighed.append(weighed[-1])
        return Sent(c.device, c.boot, c.seq, tuple(weighed), c.of_class)

    def send(self, c: Collector) -> list[Sent]:
        rng, sent = self.rng, []
        for message in c.outbox:
            fate = rng.random() + 0.055 * c.steady
            if fate < 0.03:
                continue  # lost for ever
            if fate < 0.06:
                c.thinned.append((message.seq, message.seq))
                continue
            sent.append(message)
            if message.boot == c.boot and any(
                m.seq == message.seq and m.boot == message.boot and m != message for m in c.gone
            ):
                c.reused.append(message)
        held = sent[:0]
        if self.chance(0.2) and len(sent) > 1:
            cut = int(rng.integers(len(sent)))
            sent, held = sent[:cut], sent[cut:]
        c.outbox, c.gone = held, c.gone + sent
        sent = [m for m in sent for _ in range(1 + self.chance(0.0 if c.steady else 0.1))]
        for _ in range(int(rng.integers(0, 3)) * (not c.steady or self.chance(0.1))):
            if c.gone and self.chance(0.3):  # again, at once or days later
                last = len(c.gone) if self.chance(0.5) else max(1, len(c.gone) // 4)
                sent.append(c.gone[int(rng.integers(last))])
        return sent

    def refuse(self, c: Collector) -> list[Sent]:
        """Messages that are refused; some come whole at another time."""
        if c.steady and self.chance(0.9):
            return []
        flaw = str(self.rng.choice(("schema", "wrong_class")))
        if c.gone and self.chance(0.3):
            known = c.gone[int(self.rng.integers(len(c.gone)))]
            return [dataclasses.replace(known, flaw=flaw)]
        message = self.measure(c)
        if self.chance(0.5):
            c.outbox.append(message)
        return [dataclasses.replace(message, flaw=flaw)] * (1 + self.chance(0.3))

    def report(self, c: Collector) -> Report:
        waiting = tuple((m.seq, m.seq) for m in c.outbox if m.boot == c.boot)
        at = self.now - int(self.rng.integers(0, 30)) * SECOND
        if self.chance(0.05):
            at -= 3 * HOUR  # one that comes late
        if self.chance(0.02):
            at += 40 * 24 * HOUR  # a clock that is wrong
        return Report(c.device, c.boot, at, c.seq + 1, waiting, tuple(c.thinned))


def fleet_history(seed: int, traits: Traits | None = None, moments: int = 60) -> History:
    """A history of 1 to 12 devices in one to four streams, over some days."""
    traits = Traits() if traits is None else traits
    return History(tuple(_Making(seed, traits, moments).moments), traits)
