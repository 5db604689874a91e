"""The wall clock of a collector; whoever needs the time of day is given this."""

from __future__ import annotations

import time

__all__ = ["wall_ms"]


def wall_ms() -> int:
    """Time now. [ms UTC]"""
    return time.time_ns() // 1_000_000
