"""Events that came later than a horizon: counted by device and day, as nothing else is said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from models.results import Outputs, Status, result_schema
from models.site import Site
from streams.core.entity_items import DAY_MS

__all__ = ["BEYOND_HORIZON", "Beyond"]

BEYOND_HORIZON: Final = "beyond_horizon"
"""Measurement that counts events which came too late to be used, and the flag of their readings."""
_BEYOND: Final = result_schema([pa.field("events", pa.int64())])


class Beyond:
    """How many there were today (UTC), and what was said of that."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._day_ms = 0
        self._told: dict[str, int] = {}

    def count(self, device: str, now_ms: int) -> None:
        """Note an event of a device."""
        day_ms = now_ms // DAY_MS * DAY_MS
        if day_ms != self._day_ms:
            self._counts, self._told, self._day_ms = {}, {}, day_ms
        self._counts[device] = self._counts.get(device, 0) + 1

    def tell(self, outputs: Outputs, site: Site, stream: str) -> None:
        """Say how many events came later than a horizon that day (UTC), by device."""
        changed = {d: n for d, n in self._counts.items() if self._told.get(d) != n}
        self._told.update(changed)
        if changed:
            outputs.add(BEYOND_HORIZON, _beyond_rows(changed, self._day_ms, site, stream))

    def to_json(self) -> list[Any]:
        """All of it; `load` reads it."""
        return [self._day_ms, self._counts, self._told]

    def load(self, kept: Sequence[Any]) -> None:
        """Read what `to_json` gave."""
        self._day_ms, self._counts, self._told = kept


def _beyond_rows(counts: Mapping[str, int], day_ms: int, site: Site, stream: str) -> pa.Table:
    rows = []
    for name, count in sorted(counts.items()):
        device = site.devices.get(name)
        rows.append({
            "key": name, "unit": device.unit if device else "",
            "region": site.region_of(device) if device else "", "stream": stream, "window_start": day_ms,
            "window_ms": DAY_MS, "events": count, "status": str(Status.FINAL), "revision": 0,
        })  # fmt: skip
    return pa.Table.from_pylist(rows, schema=_BEYOND)
