"""Delivery sets of every device of a stream, and the rows that tell of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from streams.core.deliveries import Deliveries, LedgerCounts

__all__ = ["LedgerBook", "day_bounds_ms"]


def day_bounds_ms(at_ms: int, timezone: str) -> tuple[int, int]:
    """Start and end of the local day that `at_ms` lies in; 23 or 25 hours where clocks change. [ms UTC]"""
    zone = ZoneInfo(timezone)
    local = datetime.fromtimestamp(at_ms / 1000, zone)
    midnight = datetime(local.year, local.month, local.day, tzinfo=zone)
    following = midnight.date() + timedelta(days=1)
    end = datetime(following.year, following.month, following.day, tzinfo=zone)
    return int(midnight.timestamp() * 1000), int(end.timestamp() * 1000)


class LedgerBook:
    """Ledger of one stream, by device index."""

    def __init__(self) -> None:
        self.deliveries: dict[int, Deliveries] = {}
        self.touched: set[int] = set()
        self._said: dict[int, tuple[int, LedgerCounts]] = {}

    def of(self, device: int) -> Deliveries:
        """Deliveries of a device, about to change."""
        self.touched.add(device)
        found = self.deliveries.get(device)
        if found is None:
            found = self.deliveries[device] = Deliveries()
        return found

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
            "said": {
                str(d): [day, [getattr(c, name) for name in LedgerCounts.__slots__]]
                for d, (day, c) in self._said.items()
            },
        }
        return json.dumps(state).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> LedgerBook:
        """Read what `to_bytes` wrote."""
        state = json.loads(data)
        self = cls()
        self.deliveries = {int(d): Deliveries.from_json(text) for d, text in state["deliveries"].items()}
        self.touched = set(state["touched"])
        self._said = {int(d): (day, LedgerCounts(*counts)) for d, (day, counts) in state["said"].items()}
        return self
