"""A `Select` as the parameters of a URL, and back: one mapping for the server and its clients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, get_args

from store.protocol import Aggregate, Select

__all__ = ["ParameterError", "from_params", "parse_time_ms", "time_text", "to_params"]

_LISTS: Final = {"field": "fields", "key": "keys", "unit": "units", "region": "regions"}
_TEXTS: Final = {"class": "device_class", "key_prefix": "key_prefix"}
_FLAGS: Final = ("latest", "withdrawn", "newest_first", "narrow", "extremes")
_YES: Final = ("1", "true", "yes")
_NO: Final = ("0", "false", "no", "")
_MAX_INT: Final = 2**63 - 1
_MAX_LIMIT: Final = 100_000_000


class ParameterError(ValueError):
    """A parameter that says no question; names it, what was expected and what came."""


def parse_time_ms(text: str) -> int:
    """Read a time: ms UTC, or ISO 8601, which is UTC where it names no offset.

    Returns
    -------
    int
        ms UTC.

    Raises
    ------
    ParameterError

    Examples
    --------
    >>> parse_time_ms("2026-01-01T08:00:00+08:00") == parse_time_ms("2026-01-01") == 1767225600000
    True
    >>> parse_time_ms("1767225600000")
    1767225600000
    """
    stripped = text.strip()
    if stripped.removeprefix("-").isdecimal():
        number = int(stripped) if len(stripped) <= 20 else _MAX_INT + 1
        if abs(number) <= _MAX_INT:
            return number
    try:
        time = datetime.fromisoformat(stripped)
    except ValueError:
        msg = f"expected a time in ISO 8601 or ms UTC, got {text[:80]!r}"
        raise ParameterError(msg) from None
    aware = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


def time_text(time_ms: int) -> str:
    """`time_ms` as ISO 8601 in UTC; a number where no calendar reaches.

    Examples
    --------
    >>> time_text(1767225600000), time_text(1767225600123)
    ('2026-01-01T00:00:00Z', '2026-01-01T00:00:00.123Z')
    """
    try:
        time = datetime.fromtimestamp(time_ms // 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return str(time_ms)
    part = f".{time_ms % 1000:03d}" if time_ms % 1000 else ""
    return f"{time.replace(tzinfo=None).isoformat(timespec='seconds')}{part}Z"


def to_params(query: Select) -> list[tuple[str, str]]:
    """Parameters that say `query`; what is at its default is left out."""
    pairs = [("measurement", query.measurement)]
    for name, attribute in _LISTS.items():
        pairs += [(name, value) for value in getattr(query, attribute)]
    pairs += [(name, text) for name, attribute in _TEXTS.items() if (text := getattr(query, attribute))]
    for name, number in (("from", query.from_ms), ("to", query.to_ms), ("every_ms", query.every_ms)):
        if number is not None:
            pairs.append((name, str(number)))
    if query.every_ms is not None:
        pairs.append(("aggregate", query.aggregate))
    pairs += [(name, "1") for name in _FLAGS if getattr(query, name)]
    if query.limit is not None:
        pairs.append(("limit", str(query.limit)))
    return pairs


def from_params(
    given: Mapping[str, str | Iterable[str]] | Iterable[tuple[str, str]], ignore: Iterable[str] = ("format",)
) -> Select:
    """Read what `to_params` wrote.

    Parameters
    ----------
    given : mapping or iterable of pairs
        Values by name (one or several), or pairs as they stand in a URL. `field`, `key`, `unit` and
        `region` may come several times.
    ignore : iterable of str
        Names that mean something to the caller.

    Raises
    ------
    ParameterError
        A parameter is unknown, given twice, or no value of its kind.
    """
    values = _values(given)
    for name in ignore:
        values.pop(name, None)
    measurement = _one(values, "measurement", str, "")
    if not measurement:
        msg = "measurement: expected the name of a measurement, got none"
        raise ParameterError(msg)
    options: dict[str, Any] = {attribute: tuple(values.pop(name, ())) for name, attribute in _LISTS.items()}
    options |= {attribute: _one(values, name, str, "") for name, attribute in _TEXTS.items()}
    options["from_ms"] = _one(values, "from", parse_time_ms, None)
    options["to_ms"] = _one(values, "to", parse_time_ms, None)
    options["every_ms"] = _one(values, "every_ms", _whole(1, _MAX_INT), None)
    options["limit"] = _one(values, "limit", _whole(0, _MAX_LIMIT), None)
    options["aggregate"] = _one(values, "aggregate", _aggregate, "mean")
    options |= {name: _one(values, name, _flag, False) for name in _FLAGS}
    if values:
        expected = ", ".join(
            ["measurement", *_LISTS, *_TEXTS, "from", "to", "every_ms", "aggregate", *_FLAGS, "limit"]
        )
        msg = f"{min(values)}: expected one of {expected}"
        raise ParameterError(msg)
    return Select(measurement, **options)


def _values(given: Mapping[str, str | Iterable[str]] | Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    pairs: Iterable[tuple[str, str | Iterable[str]]] = given.items() if isinstance(given, Mapping) else given
    for name, value in pairs:
        values.setdefault(name, []).extend([value] if isinstance(value, str) else value)
    return values


def _one(values: dict[str, list[str]], name: str, read: Callable[[str], Any], default: Any) -> Any:
    given = values.pop(name, [])
    if len(given) > 1:
        msg = f"{name}: expected one value, got {len(given)}"
        raise ParameterError(msg)
    if not given:
        return default
    try:
        return read(given[0])
    except ParameterError as error:
        msg = f"{name}: {error}"
        raise ParameterError(msg) from None


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 20 else -1
        if not low <= number <= high:
            msg = f"expected a whole number of {low} to {high}, got {text[:80]!r}"
            raise ParameterError(msg)
        return number

    return read


def _aggregate(text: str) -> str:
    if text not in get_args(Aggregate):
        msg = f"expected one of {', '.join(get_args(Aggregate))}, got {text[:80]!r}"
        raise ParameterError(msg)
    return text


def _flag(text: str) -> bool:
    if text.lower() not in (*_YES, *_NO):
        msg = f"expected 1 or 0, got {text[:80]!r}"
        raise ParameterError(msg)
    return text.lower() in _YES
