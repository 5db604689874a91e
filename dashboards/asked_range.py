"""The range that a page's address asks for: refused where it is none, led to ms UTC where it is in dates.

A page's scripts read the address themselves, and know ms UTC alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import Request
from fastapi.responses import RedirectResponse

from models.site import Site
from models.wording import worded

__all__ = ["check_range", "plainly"]

_ENDS: Final = ("from", "to")
_FARTHEST_MS: Final = 8_640_000_000_000_000 - 2 * 86_400_000
"""Scripts know no later time, nor an earlier one below zero; less what zones are apart."""
_DIGITS: Final = 20
"""A time has fewer; Python refuses to read thousands."""
_LONGEST: Final = 40
_MOST_H: Final = 24 * 366
"""What a range up to now holds at most; the scripts of the page have the same. [h]"""


def plainly(request: Request, site: Site) -> RedirectResponse | None:
    """Lead an address with times in ISO 8601 to the one with ms UTC; None where it has none.

    A time without an offset is the site's, as on every page.
    """
    found = {name: _iso_ms(request.query_params.get(name, ""), site.timezone) for name in _ENDS}
    if all(ms is None for ms in found.values()):
        return None
    pairs = [
        (name, text if (ms := found.get(name)) is None else str(ms))
        for name, text in request.query_params.multi_items()
    ]
    return RedirectResponse(f"{request.url.path}?{urlencode(pairs)}", 307)


def _iso_ms(text: str, timezone: str) -> int | None:
    if len(text) > _LONGEST or not text.isascii() or "-" not in text[1:]:
        return None
    try:
        time = datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text.strip())
        aware = time if time.tzinfo is not None else time.replace(tzinfo=ZoneInfo(timezone))
        since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


def check_range(asked: Mapping[str, str]) -> None:
    """Refuse what is no range, or would be another than was asked for; ValueError says why."""
    for name in _ENDS:
        _check_time(asked.get(name), name)
    _check_hours(asked.get("hours"))


def _check_time(text: str | None, name: str) -> None:
    if not text:
        return
    digits = text.removeprefix("-")
    plain = digits.isascii() and digits.isdecimal() and len(digits) < _DIGITS
    if not plain or abs(int(text)) > _FARTHEST_MS:
        msg = worded(
            "{name}: expected a time such as 2026-01-31 or 2026-01-31T08:00, or ms UTC, got {got}",
            name=name,
            got=repr(text[:40]),
        )
        raise ValueError(msg)


def _check_hours(text: str | None) -> None:
    if not text:
        return
    plain = text.isascii() and text.replace(".", "", 1).isdecimal() and len(text) < _DIGITS
    if not plain or not 0 < float(text) <= _MOST_H:
        msg = worded(
            "hours: expected more than 0 and at most {most}, got {got}",
            most=str(_MOST_H),
            got=repr(text[:40]),
        )
        raise ValueError(msg)
