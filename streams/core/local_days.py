"""Days of a time zone: 23 or 25 hours where clocks change."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

__all__ = ["QUARTER_MS", "believable", "day_bounds_ms", "day_of", "day_starts"]

QUARTER_MS: Final = 900_000
_LATEST_MS: Final = 253_370_764_800_000  # of the year 9999: what is told of later is told of then


def day_bounds_ms(at_ms: int, timezone: str) -> tuple[int, int]:
    """Start and end of the local day that `at_ms` lies in; 23 or 25 hours where clocks change. [ms UTC]"""
    zone = ZoneInfo(timezone)
    local = datetime.fromtimestamp(at_ms / 1000, zone)
    midnight = datetime(local.year, local.month, local.day, tzinfo=zone)
    following = midnight.date() + timedelta(days=1)
    end = datetime(following.year, following.month, following.day, tzinfo=zone)
    return int(midnight.timestamp() * 1000), int(end.timestamp() * 1000)


def day_of(at_ms: int, timezone: str) -> tuple[int, int]:
    """`day_bounds_ms` for times that devices say, however wild, and often. [ms UTC]"""
    return _of_quarter(believable(at_ms) // QUARTER_MS, timezone)


def believable(at_ms: int) -> int:
    """The time nearest to `at_ms` that calendars have. [ms UTC]"""
    return min(max(at_ms, 0), _LATEST_MS)


@lru_cache(maxsize=4096)
def _of_quarter(quarter: int, timezone: str) -> tuple[int, int]:
    # Offsets of time zones are whole quarters of an hour, so that no day begins within one.
    return day_bounds_ms(quarter * QUARTER_MS, timezone)


def day_starts(times_ms: NDArray[np.int64], timezone: str) -> NDArray[np.int64]:
    """Start of the local day of each time, shape (n,). [ms UTC]"""
    if len(times_ms) == 0:
        return np.zeros(0, dtype=np.int64)
    start, end = day_of(int(times_ms.min()), timezone)
    if int(times_ms.max()) < end:  # nearly always all are of one day
        return np.full(len(times_ms), start, dtype=np.int64)
    quarters, of = np.unique(np.clip(times_ms, 0, _LATEST_MS) // QUARTER_MS, return_inverse=True)
    starts = [_of_quarter(quarter, timezone)[0] for quarter in quarters.tolist()]
    return np.asarray(np.array(starts, dtype=np.int64)[of.reshape(-1)])
