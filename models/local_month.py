"""Local months, quarters and years: where their days begin and end."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

__all__ = ["day_ms", "days_ms", "local_days", "months_of", "period_of"]


def day_ms(day: date, timezone: str) -> int:
    """When a local day begins. [ms UTC]

    Examples
    --------
    >>> day_ms(date(2026, 1, 1), "Asia/Shanghai")
    1767196800000
    """
    return round(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(timezone)).timestamp() * 1000)


@lru_cache(maxsize=4096)
def days_ms(month: str, timezone: str, more: int = 0) -> tuple[int, ...]:
    """When each day of a month ``YYYY-MM`` begins, `more` days after it too, and when the last ends. [ms UTC]

    Examples
    --------
    >>> days = days_ms("2026-02", "Asia/Shanghai")
    >>> len(days) - 1, (days[-1] - days[0]) // 3_600_000
    (28, 672)
    """
    first = date(int(month[:4]), int(month[5:7]), 1)
    after = date(first.year + first.month // 12, first.month % 12 + 1, 1)
    count = (after - first).days + more
    return tuple(day_ms(first + timedelta(days=n), timezone) for n in range(count + 1))


def local_days(from_ms: int, to_ms: int, timezone: str) -> list[tuple[int, int]]:
    """Local days that begin within [from_ms, to_ms]: when each begins and ends. [ms UTC]

    Examples
    --------
    >>> local_days(1767196800000, 1767196800000, "Asia/Shanghai")
    [(1767196800000, 1767283200000)]
    """
    first = datetime.fromtimestamp(from_ms / 1000, ZoneInfo(timezone)).date()
    days = []
    begin = day_ms(first, timezone)
    while begin <= to_ms:
        first += timedelta(days=1)
        end = day_ms(first, timezone)
        if begin >= from_ms:
            days.append((begin, end))
        begin = end
    return days


def period_of(month: str, period: str) -> str:
    """Name of the month, quarter or year that a month belongs to.

    Examples
    --------
    >>> [period_of("2026-05", period) for period in ("month", "quarter", "year")]
    ['2026-05', '2026-Q2', '2026']
    """
    if period == "month":
        return month
    return month[:4] if period == "year" else f"{month[:4]}-Q{(int(month[5:7]) + 2) // 3}"


def months_of(name: str) -> tuple[str, ...]:
    """The months of a period by its name.

    Examples
    --------
    >>> months_of("2026-Q2"), len(months_of("2026")), months_of("2026-05")
    (('2026-04', '2026-05', '2026-06'), 12, ('2026-05',))
    """
    year = name[:4]
    if len(name) == 4:
        numbers = range(1, 13)
    elif name[5] == "Q":
        numbers = range(3 * int(name[6]) - 2, 3 * int(name[6]) + 1)
    else:
        return (name,)
    return tuple(f"{year}-{number:02d}" for number in numbers)
