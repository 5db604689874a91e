"""The only Flux: a `Select` becomes query text for InfluxDB 2 in which every value is an escaped literal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from models.results import Status
from store.line_protocol import ABSENT
from store.protocol import Select, StoreError
from store.rows import READING_TRAILER
from store.sql import is_reading

__all__ = ["WINDOW_MS", "counts", "literal", "rows", "series", "within"]

_NS: Final = 1_000_000
_MIN_NS: Final = -(2**63) + 2
_MAX_NS: Final = 2**63 - 1
_OR_CHAIN: Final = 200
_ROW: Final = tuple(f.name for f in READING_TRAILER if f.name != "class")
WINDOW_MS: Final = "window_ms"
_RESULT: Final = (WINDOW_MS, "coverage", "status", "reason", "revision", "model", ABSENT)
_GONE: Final = "gone"
_PIVOT: Final = '|> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")'
_FUNCTIONS: Final = frozenset({"mean", "min", "max", "sum", "last"})


def literal(text: str) -> str:
    r"""`text` as a Flux string that is nothing but that text.

    Quotes, backslashes, control characters and the dollar sign, which begins an
    interpolation, become bytes in hexadecimal.

    Examples
    --------
    >>> print(literal('a"${b}'))
    "a\x22\x24{b}"
    """
    escaped = "".join(f"\\x{ord(c):02x}" if c in '"\\$' or ord(c) < 32 or ord(c) == 127 else c for c in text)
    return f'"{escaped}"'


def rows(query: Select, bucket: str) -> str:
    """Rows in one table, a column a field; down-sampling is the caller's business."""
    steps = [
        _from(query, bucket),
        f"|> filter(fn: (r) => {within(query)})",
        *_only_fields(query, query.fields),
        _PIVOT,
    ]
    if not is_reading(query.measurement) and not query.withdrawn:
        steps.append(f"|> filter(fn: (r) => r.status != {literal(Status.WITHDRAWN.value)})")
    steps.append('|> drop(columns: ["_start", "_stop", "_measurement"])')
    ties = ', "boot", "seq", "pos"' if is_reading(query.measurement) else ""
    if query.latest:
        steps.append('|> group(columns: ["key"])')
        steps.append(f'|> sort(columns: ["_time"{ties}], desc: true) |> limit(n: 1)')
    steps.append("|> group()")
    way = ", desc: true" if query.newest_first else ""
    steps.append(f'|> sort(columns: ["_time", "key"{ties}]{way})')
    if query.limit is not None:
        steps.append(f"|> limit(n: {int(query.limit)})")
    return "\n  ".join(steps)


def series(
    query: Select,
    bucket: str,
    *,
    start: str | None = None,
    stop: str | None = None,
    every: str | None = None,
    key_set: str | None = None,
) -> str:
    """One stream of (_time, _value) for each field and key, as a chart wants it.

    A step stands at its begin, and with the aggregate "last" where the row stands that it shows; its begin
    is in `_start` then, so that steps of several keys can be put together.

    Parameters
    ----------
    query : Select
        `fields` names at least one numeric field; `every_ms` and `aggregate` down-sample.
    bucket : str
    start, stop, every : str or None
        Flux expressions that stand for the range and the step, such as ``v.timeRangeStart``.
    key_set : str or None
        A Flux array expression of keys, such as Grafana's ``${device:json}``.
        These four are written by programs, never taken from input.
    """
    if not query.fields or query.aggregate not in _FUNCTIONS:
        got = f"{query.fields} and {query.aggregate!r}"
        msg = f"{query.measurement}: expected fields and an aggregate, got {got}"
        raise StoreError(msg)
    step = every or (f"{int(query.every_ms)}ms" if query.every_ms is not None else None)
    streams = [_field(query, bucket, name, start, stop, step, key_set) for name in query.fields]
    named = [f"f{n} = {text}\n" for n, text in enumerate(streams)]
    tables = ", ".join(f"f{n}" for n in range(len(streams)))
    whole = f"union(tables: [{tables}])" if len(streams) > 1 else "f0"
    return f'import "strings"\n{"".join(named)}{whole}'


def _field(
    query: Select,
    bucket: str,
    name: str,
    start: str | None,
    stop: str | None,
    step: str | None,
    key_set: str | None,
) -> str:
    column = f"r[{literal(name)}]"
    scope = within(query)
    if key_set is not None:
        scope += f" and contains(value: r.key, set: {key_set})"
    source = f"{_from(query, bucket, start, stop)}\n  |> filter(fn: (r) => {scope})"
    known = _known_reading if is_reading(query.measurement) else _known_result
    steps = known(query, source, name)
    lasts = step is not None and query.aggregate == "last"
    if lasts:
        steps.append(f"|> window(every: {step})\n  |> last(column: {literal(name)})")
    elif step is not None:
        steps.append(
            f"|> aggregateWindow(every: {step}, fn: {query.aggregate}, column: {literal(name)}, "
            'timeSrc: "_start", createEmpty: false)'
        )
    kept = "_time: r._time"
    if lasts:
        # A reading has no window, and is of its moment alone.
        length = "1" if is_reading(query.measurement) else f"r.{WINDOW_MS}"
        kept += f", _start: r._start, {WINDOW_MS}: {length}"
    steps.append(f"|> map(fn: (r) => ({{{kept}, key: r.key, _field: {literal(name)}, _value: {column}}}))")
    steps.append('|> group(columns: ["key", "_field"])')
    if lasts:
        steps.append('|> sort(columns: ["_time"])')
    return "\n  ".join(steps)


def _known_result(query: Select, source: str, name: str) -> list[str]:
    """Rows that have the field; every result says which ones it has not."""
    asked = (name, "status", ABSENT, *([WINDOW_MS] if query.aggregate == "last" else []))
    wanted = " or ".join(f"r._field == {literal(f)}" for f in asked)
    known = f"exists r[{literal(name)}]"
    if not query.withdrawn:
        known += f" and r.status != {literal(Status.WITHDRAWN.value)}"
    mask = f"strings.containsStr(v: r.{ABSENT}, substr: {literal(f',{name},')})"
    return [
        source,
        f"|> filter(fn: (r) => {wanted})",
        _PIVOT,
        f"|> filter(fn: (r) => {known} and (not exists r.{ABSENT} or not {mask}))",
    ]


def _known_reading(_query: Select, source: str, name: str) -> list[str]:
    """Readings that have the field; the few that were written anew say what they have no longer.

    A condition on a column that no row of a table has is an error to some servers: those few are looked
    up before rows are made.
    """
    mask = f"strings.containsStr(v: r._value, substr: {literal(f',{name},')})"
    gone = "\n  ".join([
        source,
        f"|> filter(fn: (r) => r._field == {literal(ABSENT)})",
        f"|> filter(fn: (r) => {mask})",
        f'|> set(key: "_field", value: {literal(_GONE)})',
    ])  # fmt: skip
    there = f"{source}\n  |> filter(fn: (r) => r._field == {literal(name)})"
    return [
        f"union(tables: [{there},\n  {gone}])",
        _PIVOT,
        f"|> filter(fn: (r) => exists r[{literal(name)}] and not exists r.{_GONE})",
    ]


def counts(bucket: str) -> str:
    """How many rows each measurement has: readings have an offset, results a revision."""
    return "\n  ".join([
        f"from(bucket: {literal(bucket)})",
        f"|> range(start: time(v: {_MIN_NS}), stop: time(v: {_MAX_NS - 1}))",
        '|> filter(fn: (r) => r._field == "offset" or r._field == "revision")',
        '|> group(columns: ["_measurement", "_field"])',
        "|> count()",
        "|> group()",
    ])  # fmt: skip


def _from(query: Select, bucket: str, start: str | None = None, stop: str | None = None) -> str:
    first = start or f"time(v: {_ns(query.from_ms, _MIN_NS)})"
    # InfluxDB 1.8 takes the end of a range in, 2 leaves it out; times are whole ms, so 1 ns less suits both.
    last = stop or f"time(v: {_ns(query.to_ms, _MAX_NS) - 1})"
    return f"from(bucket: {literal(bucket)})\n  |> range(start: {first}, stop: {last})"


def _ns(time_ms: int | None, default: int) -> int:
    return default if time_ms is None else min(max(int(time_ms) * _NS, _MIN_NS), _MAX_NS)


def within(query: Select) -> str:
    """The condition that a row is of `query`: its measurement, keys, units, regions and device class."""
    conditions = [f"r._measurement == {literal(query.measurement)}"]
    for tag, wanted in (("key", query.keys), ("unit", query.units), ("region", query.regions)):
        if wanted:
            conditions.append(_one_of(tag, wanted))
    if query.key_prefix:
        conditions.append(f"r.key =~ {_begins(query.key_prefix)}")
    if is_reading(query.measurement) and query.device_class:
        conditions.append(_one_of("class", (query.device_class,)))
    return " and ".join(conditions)


def _begins(text: str) -> str:
    """Pattern of whatever begins with `text`: unlike a comparison of strings it is looked up in the index."""
    signs = "\\/.+*?()|[]{}^$"
    spelt = (
        f"\\x{ord(c):02x}" if ord(c) < 32 or ord(c) == 127 else f"\\{c}" if c in signs else c for c in text
    )
    return f"/^{''.join(spelt)}/"


def _one_of(tag: str, wanted: Iterable[str]) -> str:
    values = [literal(v) for v in dict.fromkeys(wanted)]
    if len(values) > _OR_CHAIN:  # comparisons are looked up in the index, but only so many are parsed gladly
        return f"contains(value: r.{tag}, set: [{', '.join(values)}])"
    return "(" + " or ".join(f"r.{tag} == {v}" for v in values) + ")"


def _only_fields(query: Select, fields: tuple[str, ...]) -> list[str]:
    if not fields:
        return []
    around = (*_ROW, WINDOW_MS, ABSENT) if is_reading(query.measurement) else _RESULT
    wanted = " or ".join(f"r._field == {literal(f)}" for f in dict.fromkeys((*fields, *around)))
    return [f"|> filter(fn: (r) => {wanted})"]
