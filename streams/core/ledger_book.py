"""Delivery sets of every device of a stream, and the rows that tell of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streams.core.deliveries import Deliveries, LedgerCounts
from streams.core.event_names import EventNames, names_of

__all__ = ["NOTHING_GIVEN", "LedgerBook", "day_bounds_ms"]

NOTHING_GIVEN: Final = json.dumps({"deliveries": Deliveries().to_json(), "names": ""})
"""What a stream tells of a device of which it had nothing."""


def day_bounds_ms(at_ms: int, timezone: str) -> tuple[int, int]:
    """Start and end of the local day that `at_ms` lies in; 23 or 25 hours where clocks change. [ms UTC]"""
    zone = ZoneInfo(timezone)
    local = datetime.fromtimestamp(at_ms / 1000, zone)
    midnight = datetime(local.year, local.month, local.day, tzinfo=zone)
    following = midnight.date() + timedelta(days=1)
    end = datetime(following.year, following.month, following.day, tzinfo=zone)
    return int(midnight.timestamp() * 1000), int(end.timestamp() * 1000)


class LedgerBook:
    """Ledger of one stream, by device index.

    Attributes
    ----------
    deliveries : dict of int to Deliveries
    touched : set of int
        Devices whose counts may have changed since they were said.
    awaited : set of int
        Devices of which another stream has still to tell what it knew.
    """

    def __init__(self) -> None:
        self.deliveries: dict[int, Deliveries] = {}
        self.touched: set[int] = set()
        self.awaited: set[int] = set()
        self._said: dict[int, tuple[int, LedgerCounts]] = {}
        self._names: dict[int, EventNames] = {}

    def of(self, device: int) -> Deliveries:
        """Deliveries of a device, about to change."""
        self.touched.add(device)
        found = self.deliveries.get(device)
        if found is None:
            found = self.deliveries[device] = Deliveries()
        return found

    def is_whole(self, device: int) -> bool:
        """Whether all that ever came of a device came in this stream."""
        deliveries = self.deliveries.get(device)
        return device not in self.awaited and (deliveries is None or not deliveries.taken_over)

    def arrive_runs(
        self,
        devices: Sequence[int],
        boots: Sequence[int],
        firsts: Sequence[int],
        lasts: Sequence[int],
        newest_t: Sequence[int],
        runs: Sequence[bool],
    ) -> list[int]:
        """Take in what came of each device and boot; of which, by position, each message is to be judged.

        Parameters
        ----------
        devices, boots : sequence of int
        firsts, lasts : sequence of int
            Lowest and highest number.
        newest_t : sequence of int
            Newest sample. [ms UTC]
        runs : sequence of bool
            Whether the numbers from `firsts` to `lasts` are all there.
        """
        self.touched.update(devices)
        get = self.deliveries.get
        others = []
        for at, (device, boot, first, last, newest, run) in enumerate(
            zip(devices, boots, firsts, lasts, newest_t, runs, strict=True)
        ):
            found = get(device)
            if found is None:
                found = self.deliveries[device] = Deliveries()
            # Nearly always the next numbers of a known boot: once a device in each batch of a large fleet.
            known = found.boots.get(boot)
            if known is None:
                known = found.boot(boot)
            if not run or not known.follow(first, last, newest):
                others.append(at)
        return others

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
        names: dict[int, list[int]] = {}
        for at, name in zip(device.tolist(), names_of(batch, device_class), strict=True):
            if name is not None:
                names.setdefault(at, []).append(name)
        for at, met in names.items():
            repeats = self._names.setdefault(at, EventNames()).meet(met)
            if repeats:
                self.of(at).repeat += repeats

    def give_away(self, device: int) -> str | None:
        """Forget a device that belongs to another stream now; what was known of it, for `take_over`."""
        self.touched.discard(device)
        self.awaited.discard(device)
        self._said.pop(device, None)
        deliveries, names = self.deliveries.pop(device, None), self._names.pop(device, None)
        if deliveries is None:
            return None
        return json.dumps(
            {"deliveries": deliveries.to_json(), "names": names.to_text() if names is not None else ""}
        )

    def take_over(self, device: int, text: str, stream: str, offset: int) -> bool:
        """Take in what `stream` gave away of a device at its record `offset`, once; whether there was any."""
        self.awaited.discard(device)
        given = json.loads(text)
        deliveries = self.of(device)
        taken = deliveries.take_over(Deliveries.from_json(given["deliveries"]), stream, offset)
        if taken:
            names = EventNames.from_text(given["names"])
            deliveries.repeat += names.unite(self._names.get(device, EventNames()))
            self._names[device] = names
        return taken and text != NOTHING_GIVEN

    def changed(self, day_ms: int) -> tuple[list[int], list[LedgerCounts]]:
        """Devices whose counts differ from what was said last for the day, with the counts."""
        devices, counts = [], []
        for device in sorted(self.touched):
            now = self.deliveries[device].counts()
            if self._said.get(device) != (day_ms, now):
                self._said[device] = (day_ms, now)
                devices.append(device)
                counts.append(now)
        self.touched.clear()
        return devices, counts

    def all(self) -> tuple[list[int], list[LedgerCounts]]:
        """Every device with its counts."""
        devices: Sequence[int] = sorted(self.deliveries)
        return list(devices), [self.deliveries[d].counts() for d in devices]

    def to_bytes(self) -> bytes:
        """State as JSON; `from_bytes` reads it."""
        state = {
            "version": 1,
            "deliveries": {str(d): x.to_json() for d, x in self.deliveries.items()},
            "touched": sorted(self.touched),
            "awaited": sorted(self.awaited),
            "said": {
                str(d): [day, [getattr(c, name) for name in LedgerCounts.__slots__]]
                for d, (day, c) in self._said.items()
            },
            "names": {str(d): names.to_text() for d, names in self._names.items()},
        }
        return json.dumps(state).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> LedgerBook:
        """Read what `to_bytes` wrote."""
        state = json.loads(data)
        self = cls()
        self.deliveries = {int(d): Deliveries.from_json(text) for d, text in state["deliveries"].items()}
        self.touched = set(state["touched"])
        self.awaited = set(state.get("awaited", ()))
        self._said = {int(d): (day, LedgerCounts(*counts)) for d, (day, counts) in state["said"].items()}
        self._names = {int(d): EventNames.from_text(text) for d, text in state.get("names", {}).items()}
        return self
