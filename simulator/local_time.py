"""The hour of a site's day: habits follow the clock on the wall, the sun follows the standard time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

__all__ = ["local_hour", "standard_offset_h"]

_HOUR_MS = 3_600_000.0


def _at(zone: ZoneInfo, t_ms: int) -> datetime:
    return datetime.fromtimestamp(t_ms / 1000.0, tz=UTC).astimezone(zone)


def local_hour(zone: ZoneInfo, t_ms: float) -> float:
    """Hour of the local day at `t_ms` (ms UTC), 0 up to 24, by summer time where there is one. [h]

    Examples
    --------
    >>> [local_hour(ZoneInfo("Europe/Berlin"), 1_774_742_400_000 + n * 3_600_000) for n in range(4)]
    [1.0, 3.0, 4.0, 5.0]
    """
    offset = _at(zone, int(t_ms)).utcoffset() or timedelta()
    return (t_ms / _HOUR_MS + offset.total_seconds() / 3600.0) % 24.0


def standard_offset_h(zone: ZoneInfo, t_ms: int) -> float:
    """Standard time less UTC at `t_ms` (ms UTC), without summer time. [h]"""
    at = _at(zone, t_ms)
    return ((at.utcoffset() or timedelta()) - (at.dst() or timedelta())).total_seconds() / 3600.0
