"""What the ledger of a fleet has to say, by sets of numbers and plain arithmetic alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from tests.support.fleet import Allowed, Birth, Fleet, Moment, Report, Sent
from tests.support.naive_known import Known

__all__ = ["COLUMNS", "Expected", "NaiveFleet"]

COLUMNS = (
    "sent", "stored", "dead_lettered", "waiting", "thinned", "unaccounted", "duplicate", "repeat", "late",
)  # fmt: skip
QUARTER = 900_000
AHEAD = 600_000
KEPT = 10 * 86_400_000
LATENESS = {"substation": 900_000, "meter": 5_400_000, "weighbridge": 900_000}

Counts = tuple[int, ...]


@dataclass(frozen=True)
class Expected:
    """A row that has to be there."""

    counts: Counts
    stream: int
    length_ms: int
    final: bool


@cache
def local_day(at_ms: int, timezone: str) -> tuple[int, int]:
    """Start and end of the local day of a time. [ms UTC]"""
    zone = ZoneInfo(timezone)
    day = datetime.fromtimestamp(at_ms / 1000, zone).date()
    ends = (datetime(d.year, d.month, d.day, tzinfo=zone) for d in (day, day + timedelta(days=1)))
    start, end = (int(x.timestamp()) * 1000 for x in ends)
    return start, end


@dataclass
class Word:
    """What a stream tells another one of a device."""

    to: int
    device: str
    known: Known
    from_day: int
    settled_to: int


class NaiveStream:
    """The ledger of one stream."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.fleet: Fleet | None = None
        self.zones = [(0, "UTC")]  # each with when it began to hold
        self.now = 0
        self.days: list[tuple[int, int]] = []
        self.settled_to = 0
        self.known: dict[str, Known] = {}
        self.met: set[tuple[str, int]] = set()  # (device, sample's time)

    def of(self, device: str) -> Known:
        return self.known.setdefault(device, Known())

    def bounds(self, at_ms: int) -> tuple[int, int]:
        return local_day(at_ms, max(zone for zone in self.zones if zone[0] <= max(at_ms, 0))[1])

    def day(self, at_ms: int) -> int:
        """What is of a time counts from here on: not on days that were over when a zone began."""
        since = max(since for since, _ in self.zones if since <= max(at_ms, 0))
        return max(self.bounds(at_ms)[0], since)

    def go_back(self, to_ms: int) -> None:
        """Have days from that of `to_ms` on; a zone's first may have begun before it held."""
        before = []
        while to_ms < self.days[0][0]:
            day = self.bounds(to_ms)
            before += [day] * (self.day(to_ms) == day[0])
            to_ms = day[1]
        self.days[:0] = before

    @property
    def today(self) -> int:
        return max(self.days[-1][0], self.zones[-1][0])

    def owns(self, device: str) -> bool:
        return self.fleet is not None and self.fleet.stream_of.get(device) == self.number

    def move_now(self, at_ms: int) -> None:
        """A record comes at `at_ms`."""
        self.now = max(self.now, at_ms)
        if not self.days:
            self.days = [self.bounds(self.now)]
        while self.days[-1][1] <= self.now:
            self.days.append(self.bounds(self.days[-1][1]))

    def settle(self) -> None:
        """What ended longer ago than the longest lateness is settled."""
        assert self.fleet is not None
        mine = [LATENESS[self.fleet.class_of[d]] for d, s in self.fleet.stream_of.items() if s == self.number]
        until = self.now - max([900_000, *mine])
        self.settled_to = max([self.settled_to, *(end for _, end in self.days if end <= until)])

    def register(self, fleet: Fleet) -> list[Word]:
        """Take a registry; what is told to other streams of devices that are theirs now."""
        words = []
        for device, stream in fleet.stream_of.items():
            was_mine = self.owns(device)
            if stream != self.number and (device in self.known or was_mine):
                known = self.known.pop(device, Known())
                words.append(
                    Word(stream, device, known, max(self.days[0][0], self.zones[-1][0]), self.settled_to)
                )
        today = local_day(self.now, fleet.timezone)
        over = [day for day in self.days if day[1] <= self.now and day[0] < today[0]]
        if fleet.timezone != self.zones[-1][1]:
            since = (over or [(0, self.days[0][0])])[-1][1] if self.fleet else 0
            self.zones = [zone for zone in self.zones if zone[0] < since] + [(since, fleet.timezone)]
        self.fleet, self.days = fleet, [today]
        if over:  # where a zone came for a while a day may lie between, which is whole again
            self.go_back(over[-1][1])
        self.days[:0] = over
        return words

    def answer_for(self, word: Word) -> None:
        """Tell of the days, too, that another stream told of a device."""
        heard = word.known.heard()
        began = self.days[0][0]
        if heard:
            self.go_back(max(min(heard), word.from_day))
        if began > self.days[0][0]:
            self.settled_to = max(self.settled_to, min(word.settled_to, began))

    def take(self, each: Sent | Report | Birth | Allowed) -> None:
        """Take in what comes of a device that is this stream's."""
        if isinstance(each, Allowed):
            self.allow(each)
        elif not isinstance(each, Sent):
            self.hear(each)
        elif each.flaw:
            self.refuse(each)
        else:
            self.arrive(each)

    def arrive(self, m: Sent) -> None:
        of = self.of(m.device)
        day = self.day(m.newest_t)
        self.go_back(day)
        b = of.boot(m.boot)
        if m.seq not in b.stored:
            b.stored.add(m.seq)
            b.seen.add((day, m.seq))
            b.newest_t = max(b.newest_t, m.newest_t)
        else:
            name = (m.seq, m.oldest_t)
            fate = b.fates.get(name)
            if fate is None and m.oldest_t > b.newest_t:
                b.fates[name] = "refused"
                b.dead.add(m.seq)
                return
            if fate != "allowed":
                of.duplicate.append(day)
                return
            b.fates[name] = "taken"
            of.retaken.append(day)
        self.measured(m, of)

    def measured(self, m: Sent, of: Known) -> None:
        """Count readings that come again, and those that come late."""
        if m.of_class == "weighbridge":
            for t, ticket in m.samples:
                if ticket and ticket in of.names:
                    of.repeat.append(self.day(t))
                if ticket:
                    of.names.add(ticket)
            return
        open_from = (self.now - LATENESS[m.of_class]) // QUARTER * QUARTER
        here: set[int] = set()
        for t, _ in m.samples:
            if t in here or ((m.device, t) in self.met and t >= open_from):
                of.repeat.append(self.day(t))
            if t < open_from:
                of.late.append(self.day(self.now))
            here.add(t)
        self.met |= {(m.device, t) for t in here}

    def refuse(self, m: Sent) -> None:
        of, today = self.of(m.device), self.today
        b = of.boot(m.boot)
        if m.seq in b.dead or (m.seq in b.stored and m.flaw != "schema"):
            of.duplicate.append(today)
            return
        b.dead.add(m.seq)
        b.seen.add((today, m.seq))

    def hear(self, told: Report | Birth) -> None:
        b = self.of(told.device).boot(told.boot)
        at = min(told.at, self.now + AHEAD)
        if isinstance(told, Birth):
            b.seen.add((self.day(at), 0))
            return
        b.seen.add((self.day(at), told.next_seq - 1))
        b.thinned |= {n for first, last in told.thinned for n in range(first, last + 1)}
        if at >= b.said_at:
            b.said_at = at
            b.waiting = {n for first, last in told.waiting for n in range(first, last + 1)}

    def allow(self, a: Allowed) -> None:
        b = self.of(a.device).boot(a.boot)
        if b.fates.get((a.seq, a.oldest_t)) != "taken":
            b.fates[a.seq, a.oldest_t] = "allowed"


class NaiveFleet:
    """The ledgers of all streams, told what happens as the streams are."""

    def __init__(self) -> None:
        self.streams: dict[int, NaiveStream] = {}
        self.fleet: Fleet | None = None
        self.under_way: list[Word] = []
        self.zone_from = 0  # since when the time zone is what it is; 0 where it always was
        self.mixed: set[str] = set()  # devices that moved since: the same of their days before
        self.gone: dict[str, int] = {}  # since when a device is in no registry
        self.away: dict[str, list[tuple[int, int]]] = {}  # from when to when it was in none

    def take(self, moment: Moment) -> None:
        """Let a moment happen."""
        if moment.fleet is not None:
            self._register(moment.at_ms, moment.fleet)
        for stream in self.streams.values():
            stream.move_now(moment.at_ms)
        if moment.words:
            while self.under_way:
                self._hand_over(self.under_way.pop(0))
        assert self.fleet is not None
        for each in (*moment.allowed, *moment.messages, *moment.told):
            number = self.fleet.stream_of.get(each.device)
            if number is not None:
                self.streams[number].take(each)
        for stream in self.streams.values():
            stream.settle()

    def _register(self, at_ms: int, fleet: Fleet) -> None:
        before = set(self.fleet.stream_of) if self.fleet else set()
        self.gone |= dict.fromkeys(before - set(fleet.stream_of), at_ms)
        for device in [d for d in self.gone if d in fleet.stream_of]:
            self.away.setdefault(device, []).append((self.gone.pop(device), at_ms))
        if self.fleet is not None and self.fleet.timezone != fleet.timezone:
            self.zone_from = at_ms
        self.fleet = fleet
        for number in sorted({*self.streams, *fleet.stream_of.values()}):
            stream = self.streams.setdefault(number, NaiveStream(number))
            stream.move_now(at_ms)
            self.under_way += stream.register(fleet)

    def _hand_over(self, word: Word) -> None:
        """A word goes to where its device is by now."""
        assert self.fleet is not None
        owner = self.fleet.stream_of.get(word.device, word.to)
        stream = self.streams[owner]
        if self.zone_from:
            self.mixed.add(word.device)
        stream.answer_for(word)
        stream.of(word.device).unite(word.known, stream.today)

    def rows(self) -> dict[tuple[str, int], Expected]:
        """Rows of every device of the registry of which nothing is under way, by device and day.

        Less those of days that ended while it was in no registry, or that nobody tells of any more.
        """
        unsure = {word.device for word in self.under_way}
        return {
            (device, start): Expected(
                known.counts(end),
                stream.number,
                end - start,
                end <= stream.settled_to,
            )
            for stream in self.streams.values()
            for device, known in stream.known.items()
            if stream.owns(device) and device not in unsure
            for start, end in stream.days
            if known.heard_before(end) and end > stream.settled_to - KEPT
            if not (device in self.mixed and start < self.zone_from)
            if not any(since < end <= until for since, until in self.away.get(device, ()))
        }
