"""Delivery sets of every device of a stream, and the rows that tell of them."""

from __future__ import annotations

import json
from collections import Counter
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.wire import FUTURE_MS, Birth, State
from streams.core.deliveries import BootDeliveries, Deliveries
from streams.core.delivery_sets import DeliverySets, Runs
from streams.core.event_names import EventNames, names_of
from streams.core.ledger_days import LedgerDays, LedgerSaid
from streams.core.local_days import believable

__all__ = ["NOTHING_GIVEN", "LedgerBook"]

NOTHING_GIVEN: Final = json.dumps({"deliveries": Deliveries().to_json(), "names": ""})
"""What a stream tells of a device of which it had nothing."""


class LedgerBook:
    """Ledger of one stream, by device index.

    Attributes
    ----------
    deliveries : DeliverySets
    touched : set of int
        Devices whose counts may have changed since they were said, less those that `deliveries` knows of.
    awaited : set of int
        Devices of which another stream has still to tell what it knew.
    days : LedgerDays
        What was said of each local day.
    """

    def __init__(self) -> None:
        self.deliveries = DeliverySets()
        self.touched = self.deliveries.touched
        self.awaited: set[int] = set()
        self.days = LedgerDays(self.deliveries)
        self._names: dict[int, EventNames] = {}

    def of(self, device: int) -> Deliveries:
        """Deliveries of a device, about to change."""
        self.touched.add(device)
        self.days.remember(device)
        found = self.deliveries.get(device)
        if found is None:
            found = self.deliveries[device] = Deliveries()
        return found

    def is_whole(self, device: int) -> bool:
        """Whether all that ever came of a device came in this stream."""
        deliveries = self.deliveries.get(device)
        return device not in self.awaited and (deliveries is None or not deliveries.taken_over)

    def arrive_runs(self, runs: Runs) -> list[int]:
        """Take in what came of each device and boot; of which, by position, each message is to be judged."""
        followed = self.deliveries.follow(runs, self.days.closed_ms)
        if followed.all():
            return []
        at = np.flatnonzero(~followed)
        rest = runs.take(at)
        learnt, others = self._meet(rest)
        self.deliveries.learn(rest.take(np.array(learnt, dtype=np.int64)))
        return [int(n) for n in at[others]]

    def _meet(self, runs: Runs) -> tuple[list[int], list[int]]:
        """Take in runs one by one: where sets may be followed now, and which of `runs` are to be judged."""
        learnt, others = [], []
        left: set[tuple[int, int]] = set()  # to be judged: what follows of them in these runs is so too
        closed_ms = self.days.closed_ms
        names = ("device", "boot", "first", "last", "newest_t", "gapless", "day")
        columns = (getattr(runs, name).tolist() for name in names)
        self.touched.update(runs.device.tolist())
        rows = zip(self.deliveries.of(runs.device), *columns, strict=True)
        for at, (there, device, boot, first, last, newest, gapless, day) in enumerate(rows):
            found = there or self.of(device)
            known = found.boots.get(boot)
            if known is None:
                self.days.remember(device)
                known = found.boot(boot)
            elif day < closed_ms or known.claimed(first):
                self.days.remember(device)
            waits = not gapless or (device, boot) in left
            if waits or not known.follow(first, last, newest, max(day, found.floor_ms)):
                others.append(at)
                left.add((device, boot))
            elif not known.claimed(last + 1):
                learnt.append(at)
        return learnt, others

    def count_late(self, devices: NDArray[np.int64], now_ms: int) -> None:
        """Count samples of `devices`, one each, that came after their windows, at `now_ms`. [ms UTC]"""
        if not len(devices):
            return
        day = self.days.day(now_ms)
        for device, count in zip(*np.unique(devices, return_counts=True), strict=True):
            self.of(int(device)).lates.add(day, int(count))

    def reach(self, days: NDArray[np.int64]) -> None:
        """Keep the local days that messages of `days` are of, back to the oldest. [ms UTC]"""
        oldest = int(days.min(initial=believable(2**63 - 1)))
        if not self.days.kept or oldest < self.days.kept[0][0]:
            self._reach(oldest)

    def open(self, now_ms: int) -> None:
        """Keep the local day of now, in which every device is to have a row. [ms UTC]"""
        self._reach(now_ms)

    def set_timezone(self, timezone: str, now_ms: int) -> list[LedgerSaid]:
        """Have days of another time zone from that of now on, in which every device is to have a row.

        Gives what was said of a day that is cut off by it.
        """
        today = self.days.kept[-1:]
        withdrawn = self.days.set_timezone(timezone, now_ms)
        if self.days.kept[-1:] != today:
            self.touched.update(self.deliveries)
        return withdrawn

    def returns(self, device: int) -> None:
        """Tell of a device that the registry has again, though nothing changed."""
        if device in self.deliveries:
            self.touched.add(device)
            self.days.unsay(device)

    def _reach(self, at_ms: int) -> None:
        if self.days.reach(at_ms):
            self.touched.update(self.deliveries)

    def report(self, device: int, state: State, now_ms: int | None) -> None:
        """Take in what a collector says of its outbox.

        A report from more than ten minutes ahead of `now_ms` counts as from then,
        so that a clock that was wrong once does not silence the ones that follow.
        """
        at = _not_ahead(state.at, now_ms)
        day = self.days.day(at)
        if self._concerns_settled(self.deliveries.get(device), state, day):
            deliveries = self.of(device)
        else:
            self.touched.add(device)
            deliveries = self.deliveries[device]
        deliveries.report(state.boot, at, state.next_seq, state.waiting, state.thinned, day)

    def born(self, device: int, birth: Birth, now_ms: int | None) -> None:
        """Know a boot of a device, and that it is there, from its birth on."""
        day = self.days.day(_not_ahead(birth.at, now_ms))
        deliveries = self.of(device)
        deliveries.boot(birth.boot).tops.see(max(day, deliveries.floor_ms), 0)

    def _concerns_settled(self, deliveries: Deliveries | None, state: State, day: int) -> bool:
        """Whether a report may change what was said of settled days; nearly none does."""
        known: BootDeliveries | None = deliveries.boots.get(state.boot) if deliveries is not None else None
        if known is None or day < self.days.closed_ms or state.thinned:
            return True
        settled = known.tops.before(self.days.closed_ms)
        waited = next(iter(known.waiting), None)
        lowest = min([first for first, _ in state.waiting] + ([waited[0]] if waited else []), default=None)
        return lowest is not None and lowest <= settled

    def meet_events(self, batch: pa.RecordBatch, device_class: str, device: NDArray[np.int64]) -> None:
        """Count the events of a frame whose names were met before, as `repeat` of their devices.

        Parameters
        ----------
        batch : pyarrow.RecordBatch
            Telemetry of an event class.
        device_class : str
        device : ndarray, shape (n,)
            Index of each sample's device.
        """
        t = np.asarray(batch.column("t").to_numpy(zero_copy_only=False), dtype=np.int64)
        days = self.days.zones.days(t).tolist()
        repeats: Counter[tuple[int, int]] = Counter()
        # One by one: which of two samples of a name is the repeat must not hang on what else is in the frame.
        for at, day, name in zip(device.tolist(), days, names_of(batch, device_class), strict=True):
            if name is not None and self._names.setdefault(at, EventNames()).meet([name]):
                repeats[at, day] += 1
        for (at, day), count in repeats.items():
            self.of(at).repeats.add(day, count)

    def give_away(self, device: int, told_ms: int) -> str | None:
        """Forget a device that belongs to another stream now; what was known of it, for `take_over`.

        Its days were told of here up to that of `told_ms` (ms UTC), or not at all (0), as of one that was in
        no registry meanwhile.
        """
        self.awaited.discard(device)
        revisions = self.days.revisions(device)
        last_ms = min(self.days.today_ms, self.days.day(told_ms)) if told_ms else 0
        self.days.forget(device)
        deliveries, names = self.deliveries.pop(device, None), self._names.pop(device, None)
        self.touched.discard(device)
        if deliveries is None:
            return None
        return json.dumps(
            {
                "deliveries": deliveries.to_json(),
                "names": names.to_text() if names is not None else "",
                "revisions": revisions,
                "last_ms": last_ms,
                "from_ms": self.days.from_ms,
                "closed_ms": self.days.closed_ms,
                "timezone": self.days.zones.timezone,
            }
        )

    def take_over(self, device: int, text: str, stream: str, offset: int) -> bool:
        """Take in what `stream` gave away of a device at its record `offset`, once; whether there was any."""
        self.awaited.discard(device)
        given = json.loads(text)
        theirs, deliveries = Deliveries.from_json(given["deliveries"]), self.of(device)
        today = self.days.today_ms
        taken = deliveries.take_over(theirs, stream, offset, today)
        if taken:
            # Days of another zone are none of here; words of earlier releases do not say since when they are.
            if given.get("timezone") == self.days.zones.timezone:
                self.days.reach_back(theirs, given["from_ms"], given["closed_ms"])
            self.days.taken_over(device, theirs, given.get("revisions", {}), given.get("last_ms"))
            names = EventNames.from_text(given["names"])
            met = names.unite(self._names.get(device, EventNames()))
            if met:
                deliveries.repeats.add(today, met)
            self._names[device] = names
        return taken and text != NOTHING_GIVEN

    def changed(self, now_ms: int, *, whole: bool = False) -> list[LedgerSaid]:
        """What differs from what was said last; `whole` of settled days too, which else wait for a minute."""
        self.deliveries.fill()
        told = [*self.days.changed(self.touched), *self.days.restated(None if whole else now_ms)]
        self.touched.clear()
        return told

    def finish(self) -> list[LedgerSaid]:
        """What is left to say when nothing will ever come again: every day of which anything is known."""
        tops = [d.tops.last for each in self.deliveries.values() for d in each.boots.values()]
        self._reach(max((day for day in tops if day is not None), default=self.days.kept[-1][0]))
        return [*self.days.close(self.days.kept[-1][1]), *self.days.restated()]

    def to_bytes(self) -> bytes:
        """State as JSON; `from_bytes` reads it."""
        self.deliveries.complete()
        state = {
            "version": 2,
            "deliveries": {str(d): x.to_json() for d, x in self.deliveries.items()},
            "touched": sorted(self.touched),
            "awaited": sorted(self.awaited),
            "days": self.days.to_json(),
            "names": {str(d): names.to_text() for d, names in self._names.items()},
        }
        return json.dumps(state).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> LedgerBook:
        """Read what `to_bytes` wrote."""
        state = json.loads(data)
        self = cls()
        self.deliveries.update({int(d): Deliveries.from_json(t) for d, t in state["deliveries"].items()})
        self.touched.update(state["touched"])
        self.awaited = set(state.get("awaited", ()))
        if state["version"] > 1:  # before, a past day was said once for ever
            self.days.load(state["days"])
        self._names = {int(d): EventNames.from_text(text) for d, text in state.get("names", {}).items()}
        return self


def _not_ahead(at_ms: int, now_ms: int | None) -> int:
    """A time that a device said of itself, at most ten minutes ahead of now where there is one. [ms UTC]"""
    return min(at_ms, now_ms + FUTURE_MS) if now_ms else at_ms
