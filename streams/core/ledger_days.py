"""What was said of each local day's ledger: while it is open, settled after it, restated when more comes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final

from streams.core.deliveries import Deliveries, LedgerCounts
from streams.core.delivery_sets import DeliverySets
from streams.core.local_days import believable, day_of
from streams.core.zones import Zones

__all__ = ["LedgerDays", "LedgerSaid"]

_DAY_MS: Final = 86_400_000
_KEPT_MS: Final = 10 * _DAY_MS
"""How long a day in which nothing lacks is still restated. [ms]"""
_MOST_MS: Final = 400 * _DAY_MS
"""How long any is. [ms]"""
_RESTATED_EVERY_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class LedgerSaid:
    """Rows to say of one local day.

    Attributes
    ----------
    day_ms, end_ms : int
        Its bounds. [ms UTC]
    devices : list of int
        By index.
    counts : list of LedgerCounts
    final : bool
    revisions : list of int
    was : list of LedgerCounts or None
        What was said of a day that had been settled; None where it had not.
    withdrawn : bool
        Whether the rows are taken back: the day is not over and is none in the new time zone.
    """

    day_ms: int
    end_ms: int
    devices: list[int]
    counts: list[LedgerCounts]
    final: bool
    revisions: list[int]
    was: list[LedgerCounts | None]
    withdrawn: bool = False


class LedgerDays:
    """Local days of one stream and what was said of them.

    What a day comes to is never kept, but counted from all that is known of the numbers up to its end: so
    it does not hang on when or in which frames they came. Kept is what was said and may be outdated.

    Parameters
    ----------
    deliveries : DeliverySets
        By device index.

    Attributes
    ----------
    zones : Zones
        Local days by the time zone that holds, or held.
    kept : list of (int, int)
        Bounds of the days that may still be told of, in order; the last is that of now. [ms UTC]
    closed_ms : int
        End of the last day that was settled. [ms UTC]
    """

    def __init__(self, deliveries: DeliverySets) -> None:
        self._deliveries = deliveries
        self.zones = Zones()
        self.kept: list[tuple[int, int]] = []
        self.closed_ms = 0
        self._said: dict[int, dict[int, LedgerCounts]] = {}  # by day, of those not settled
        self._before: dict[int, dict[int, LedgerCounts]] = {}  # by device, of settled days
        self._revisions: dict[int, dict[int, int]] = {}  # by device and settled day, above 0
        self._restated_ms = 0

    def day(self, at_ms: int) -> int:
        """Start of the local day that what is of a time counts on. [ms UTC]"""
        return self.zones.day(at_ms)

    def reach(self, at_ms: int) -> bool:
        """Keep the days up to that of `at_ms` too; whether it came after the last."""
        at_ms = believable(at_ms)
        if not self.kept:
            self.kept = [self.zones.bounds(at_ms)]
            return True
        (first, _), (_, last) = self.kept[0], self.kept[-1]
        if at_ms < first and at_ms >= last - _MOST_MS:
            self.kept[:0] = self._days(at_ms, first)
        elif at_ms >= last:
            self.kept += self._days(max(last, at_ms - _MOST_MS), at_ms + 1)
            return True
        return False

    def set_timezone(self, timezone: str, now_ms: int) -> list[LedgerSaid]:
        """Have days of another time zone from that of now on; what was said of one that is cut off by it.

        Days that are over stay what they were, though that of now may begin before their end: what is of
        their time goes on to count on them.
        """
        today = day_of(now_ms, timezone)
        ended = [day for day in self.kept if day[1] <= now_ms and day[0] < today[0]]
        self.zones.change(timezone, max((end for _, end in ended), default=self.from_ms))
        if not self.kept:
            return []
        back = self._days(ended[-1][1], today[0]) if ended else []  # whole again, once a zone is put right
        stay = [*ended, *back, today]
        left, self.kept = [day for day in self.kept if day not in stay], stay
        said = [(start, end, self._said.pop(start, {})) for start, end in left]
        return [_fresh(a, b, counts, withdrawn=True) for a, b, counts in said if a != today[0]]

    def _days(self, from_ms: int, to_ms: int) -> list[tuple[int, int]]:
        days: list[tuple[int, int]] = []
        while from_ms < to_ms:
            start, end = self.zones.bounds(from_ms)
            if start >= self.zones.since(from_ms):  # else it is the rest of one of the zone before
                days.append((start, end))
            from_ms = end
        return days

    # -- what may be outdated ---------------------------------------------------------

    def remember(self, device: int) -> None:
        """Keep what was said of settled days of a device, which are about to change."""
        if device not in self._before:
            self._before[device] = dict(self._settled(self._deliveries.get(device)))

    @property
    def from_ms(self) -> int:
        """Since when days of the present time zone are kept. [ms UTC]"""
        return max(self.kept[0][0], self.zones.since()) if self.kept else 0

    @property
    def today_ms(self) -> int:
        """Start of the day of now, as `day` gives it. [ms UTC]"""
        return max(self.kept[-1][0], self.zones.since()) if self.kept else 0

    def reach_back(self, given: Deliveries, from_ms: int, closed_ms: int) -> None:
        """Keep the days too that another stream told of a device, which is told of here from now on.

        Else a report that comes later would change nothing of them. What that stream settled is settled.

        Parameters
        ----------
        given : Deliveries
            What it knew.
        from_ms, closed_ms : int
            Since when it kept days, and up to when they were settled. [ms UTC]
        """
        first = given.first_day_ms()
        if first is None or not self.kept:
            return
        began, last = self.kept[0][0], self.kept[-1][0]
        days = self._days(max(first, from_ms, last - _MOST_MS), began)
        if not days:
            return
        for device, deliveries in self._deliveries.items():
            known = deliveries.first_day_ms()
            if known is not None and known < began:
                self.remember(device)  # as not told of in those days
        self.kept[:0] = days
        self.closed_ms = max(self.closed_ms, min(closed_ms, began))

    def taken_over(
        self, device: int, given: Deliveries, revisions: Mapping[str, int], last_ms: int | None
    ) -> None:
        """Take for said what another stream said of a device, but where something was said here since.

        It told of the days up to the one that began at `last_ms` (ms UTC), or of all.
        """
        theirs = {day: counts for day, counts in self._settled(given) if last_ms is None or day <= last_ms}
        self._before[device] = theirs | self._before.get(device, {})
        for day, n in revisions.items():
            of = self._revisions.setdefault(device, {})
            of[int(day)] = max(n, of.get(int(day), 0))

    def revisions(self, device: int) -> dict[int, int]:
        """How often settled days of a device were restated, by start (ms UTC)."""
        return self._revisions.get(device, {})

    def forget(self, device: int) -> None:
        """Forget a device."""
        self._before.pop(device, None)
        self._revisions.pop(device, None)
        self.unsay(device)

    def unsay(self, device: int) -> None:
        """Have open days of a device told again."""
        for said in self._said.values():
            said.pop(device, None)

    def _settled(self, deliveries: Deliveries | None) -> Iterator[tuple[int, LedgerCounts]]:
        first = None if deliveries is None else deliveries.first_day_ms()
        if deliveries is None or first is None:
            return
        for start, end in reversed(self.kept):
            if end <= first:
                return
            if end <= self.closed_ms:
                yield start, deliveries.counts(end)

    # -- what is to be said -----------------------------------------------------------

    def changed(self, touched: Iterable[int]) -> list[LedgerSaid]:
        """Rows of open days that differ from what was said last."""
        told = []
        ordered = sorted(touched)
        for start, end in self._open():
            said = self._said.setdefault(start, {})
            devices = []
            for device, now in self._counted(ordered, end):
                if said.get(device) != now:
                    said[device] = now
                    devices.append(device)
            told.append(_fresh(start, end, {d: said[d] for d in devices}, final=False))
        return told

    def restated(self, now_ms: int | None = None) -> list[LedgerSaid]:
        """Rows of settled days that are others now; at `now_ms` not more often than once a minute."""
        if now_ms is not None and now_ms - self._restated_ms < _RESTATED_EVERY_MS:
            return []
        self._restated_ms = now_ms or self._restated_ms
        told: dict[int, LedgerSaid] = {}
        ends = dict(self.kept)
        for device, before in sorted(self._before.items()):
            for start, now in self._settled(self._deliveries.get(device)):
                was = before.get(start)
                if was == now:
                    continue
                if was is not None:
                    revisions = self._revisions.setdefault(device, {})
                    revisions[start] = revisions.get(start, 0) + 1
                row = told.setdefault(start, LedgerSaid(start, ends[start], [], [], True, [], []))
                row.devices.append(device)
                row.counts.append(now)
                row.revisions.append(self.revisions(device).get(start, 0))
                row.was.append(was)
        self._before.clear()
        return list(told.values())

    def close(self, until_ms: int) -> list[LedgerSaid]:
        """Settle the days that ended by `until_ms`."""
        told = []
        for start, end in [day for day in self._open() if day[1] <= until_ms]:
            counts = dict(self._counted(sorted(self._deliveries), end))
            told.append(_fresh(start, end, counts, final=True))
            self._said.pop(start, None)
            self.closed_ms = end
            for device, before in self._before.items():
                if device in counts:
                    before[start] = counts[device]
        if told:
            self._drop()
        return told

    def last(self, devices: Iterable[int], heard_ms: int) -> list[LedgerSaid]:
        """What is left to say of devices that go: their open days.

        Up to that of `heard_ms` (ms UTC), when this stream heard last before: one that was passed over when
        they went knows nothing of the days since, and others have told of them.
        """
        ordered, open_days = sorted(devices), [day for day in self._open() if day[0] <= heard_ms]
        return [_fresh(a, b, dict(self._counted(ordered, b)), final=True) for a, b in open_days]

    def _open(self) -> list[tuple[int, int]]:
        """The days that are not settled, in order."""
        return list(takewhile(lambda day: day[1] > self.closed_ms, reversed(self.kept)))[::-1]

    def _counted(self, devices: Iterable[int], end_ms: int) -> Iterator[tuple[int, LedgerCounts]]:
        """Counts of the devices that were known by the end of a day."""
        for device in devices:
            deliveries = self._deliveries.seen(device)
            if deliveries.known_before(end_ms):
                yield device, deliveries.counts(end_ms)

    def _drop(self) -> None:
        """Let go of days that are long over and lack nothing."""
        self.kept = [day for day in self.kept if day[0] >= self.closed_ms - _MOST_MS]
        self.zones.forget_before(self.closed_ms - _MOST_MS)
        old = [day for day in self.kept if day[1] <= self.closed_ms - _KEPT_MS]
        if not old:
            return
        start, end = old[-1]
        ends = dict(self.kept)
        for device, deliveries in self._deliveries.items():
            if device in self._before:
                continue  # what changed is yet to be said
            counts = deliveries.counts(end)
            whole = counts.unaccounted == 0 and counts.waiting == 0
            deliveries.forget_before(start if whole else self.kept[0][0])
            floor_ms = deliveries.floor_ms  # a day of another zone may begin before it and end after it
            for day in [d for d in self._revisions.get(device, ()) if ends.get(d, d + 1) <= floor_ms]:
                del self._revisions[device][day]

    # -- checkpoints ------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """State; `load` reads it."""
        outdated = {
            str(device): {str(day): list(counts) for day, counts in before.items()}
            for device, before in self._before.items()
            if before != dict(self._settled(self._deliveries.get(device)))
        }
        return {
            **self.zones.to_json(),
            "kept": self.kept,
            "closed_ms": self.closed_ms,
            "restated_ms": self._restated_ms,
            "said": {str(a): {str(d): list(c) for d, c in of.items()} for a, of in self._said.items()},
            "before": outdated,
            "revisions": {str(d): {str(a): n for a, n in of.items()} for d, of in self._revisions.items()},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Read what `to_json` wrote."""
        self.zones, self.closed_ms = Zones.from_json(state), state["closed_ms"]
        self.kept = [(start, end) for start, end in state["kept"]]
        self._restated_ms = state["restated_ms"]
        self._said, self._before = (_unflat(state[name]) for name in ("said", "before"))
        self._revisions = {int(d): {int(a): n for a, n in of.items()} for d, of in state["revisions"].items()}


def _fresh(
    start: int, end: int, counts: Mapping[int, LedgerCounts], *, final: bool = False, withdrawn: bool = False
) -> LedgerSaid:
    n = len(counts)
    return LedgerSaid(start, end, list(counts), list(counts.values()), final, [0] * n, [None] * n, withdrawn)


def _unflat(state: Mapping[str, Mapping[str, list[int]]]) -> dict[int, dict[int, LedgerCounts]]:
    return {int(a): {int(b): LedgerCounts(*flat) for b, flat in of.items()} for a, of in state.items()}
