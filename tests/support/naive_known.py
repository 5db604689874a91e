"""What one stream knows of one device's messages, every number by itself."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Boot", "Known"]

Counts = tuple[int, ...]
_FATES = ("refused", "allowed", "taken")


@dataclass
class Boot:
    """Every number of one boot by itself."""

    stored: set[int] = field(default_factory=set)
    dead: set[int] = field(default_factory=set)
    waiting: set[int] = field(default_factory=set)
    thinned: set[int] = field(default_factory=set)
    seen: set[tuple[int, int]] = field(default_factory=set)  # (day, number)
    said_at: int = -(2**63)
    newest_t: int = -(2**63)
    fates: dict[tuple[int, int], str] = field(default_factory=dict)  # of messages under used numbers


@dataclass
class Known:
    """What one stream knows of one device; the lists hold a day for each message or sample."""

    boots: dict[int, Boot] = field(default_factory=dict)
    duplicate: list[int] = field(default_factory=list)
    repeat: list[int] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    retaken: list[int] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def boot(self, number: int) -> Boot:
        return self.boots.setdefault(number, Boot())

    def heard(self) -> list[int]:
        return [day for b in self.boots.values() for day, _ in b.seen] + self.retaken

    def heard_before(self, end: int) -> bool:
        return any(day < end for day in self.heard())

    def counts(self, end: int) -> Counts:
        of = [0, 0, 0, 0, 0]
        newest = max(self.boots, default=0)
        for number, b in self.boots.items():
            left = set(range(1, 1 + max((n for day, n in b.seen if day < end), default=0)))
            for at, fate in enumerate((b.stored, b.dead, b.waiting, b.thinned)):
                if fate is b.waiting:
                    continue
                of[at] += len(left & fate)
                left -= fate
            if number == newest:
                of[2] += len(left & b.waiting)
                left -= b.waiting
            of[4] += len(left)
        of[0] += max((n for n, day in enumerate(self.retaken, start=1) if day < end), default=0)
        beside = (sum(day < end for day in days) for days in (self.duplicate, self.repeat, self.late))
        return (sum(of), *of, *beside)

    def unite(self, other: Known, today: int) -> None:
        """Take in what another stream knew."""
        for number, theirs in other.boots.items():
            mine = self.boot(number)
            both = len(mine.stored & theirs.stored) + len(mine.dead & theirs.dead)
            self.duplicate += both * [today]
            mine.stored |= theirs.stored
            mine.dead |= theirs.dead
            mine.thinned |= theirs.thinned
            mine.seen |= theirs.seen
            if theirs.said_at > mine.said_at:
                mine.said_at, mine.waiting = theirs.said_at, set(theirs.waiting)
            mine.newest_t = max(mine.newest_t, theirs.newest_t)
            for name, fate in theirs.fates.items():
                mine.fates[name] = max(fate, mine.fates.get(name, fate), key=_FATES.index)
        self.repeat += len(self.names & other.names) * [today] + other.repeat
        self.names |= other.names
        self.duplicate += other.duplicate
        self.late += other.late
        # Number n of those is known to be there from the first day on which it or a later one was.
        self.retaken += [min(other.retaken[n:]) for n in range(len(other.retaken))]
