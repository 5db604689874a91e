"""Flux that only Grafana needs: the choices of a variable, and a line for many keys."""

from __future__ import annotations

from store.flux import WINDOW_MS, literal, within
from store.protocol import Select, StoreError

__all__ = ["across", "keys", "marks", "scaled"]

_FUNCTIONS = frozenset({"sum", "mean", "min", "max"})


def keys(query: Select, bucket: str, *, start: str = "-7d") -> str:
    """Keys that had `query.fields[0]` since `start`, one a row in `_value`, as a Grafana variable wants them.

    Parameters
    ----------
    query : Select
        Its measurement, first field, units and regions and, for readings, device class count.
    bucket : str
    start : str
        A Flux expression, written by programs, never taken from input.
    """
    if not query.fields:
        msg = f"{query.measurement}: expected a field to look for, got none"
        raise StoreError(msg)
    return "\n  ".join([
        f"from(bucket: {literal(bucket)})",
        f"|> range(start: {start})",
        f"|> filter(fn: (r) => {within(query)} and r._field == {literal(query.fields[0])})",
        "|> last()",
        '|> keep(columns: ["key"])',
        "|> group()",
        '|> distinct(column: "key")',
        '|> sort(columns: ["_value"])',
    ])  # fmt: skip


def marks(query: Select, bucket: str, *, at: str = "") -> str:
    """One row a moment with its `text`, the query's fields in their order, as a Grafana annotation wants it.

    Parameters
    ----------
    query : Select
        Its measurement, units, regions and fields, which hold text.
    bucket : str
    at : str
        The field that holds the moment [ms UTC]; empty takes the row's own time.
    """
    if not query.fields:
        msg = f"{query.measurement}: expected fields to tell, got none"
        raise StoreError(msg)
    wanted = " or ".join(f"r._field == {literal(f)}" for f in (*query.fields, *([at] if at else [])))
    words = ' + " " + '.join(
        f'(if exists r[{literal(f)}] then r[{literal(f)}] else "")' for f in query.fields
    )
    time = f"time(v: int(v: r[{literal(at)}]) * 1000000)" if at else "r._time"
    return "\n  ".join([
        f"from(bucket: {literal(bucket)})",
        "|> range(start: v.timeRangeStart, stop: v.timeRangeStop)",
        f"|> filter(fn: (r) => {within(query)} and ({wanted}))",
        # As text and in one table, so that a row has every column: some servers refuse one that lacks any.
        "|> map(fn: (r) => ({_time: r._time, key: r.key, _field: r._field, _value: string(v: r._value)}))",
        "|> group()",
        '|> pivot(rowKey: ["_time", "key"], columnKey: ["_field"], valueColumn: "_value")',
        f"|> filter(fn: (r) => exists r[{literal(at or query.fields[0])}])",
        f"|> map(fn: (r) => ({{_time: {time}, text: {words}}}))",
        '|> sort(columns: ["_time"])',
    ])  # fmt: skip


def across(series: str, function: str, *, lasts: bool = False) -> str:
    """The streams of `flux.series` put together: their sum, mean, least or greatest at each time.

    Of steps that show their last rows (`lasts`) those of one step, at the time of the newest of these; one
    that ended before is not of them: a contract's month may be over amid a week.
    """
    if function not in _FUNCTIONS:
        msg = f"expected sum, mean, min or max across keys, got {function!r}"
        raise StoreError(msg)
    if lasts:
        return _lasts(series, function)
    return "\n  ".join([
        series,
        '|> group(columns: ["_time", "_field"])',
        f"|> {function}()",
        '|> group(columns: ["_field"])',
        '|> sort(columns: ["_time"])',
    ])  # fmt: skip


def _lasts(series: str, function: str) -> str:
    """A step's last rows put together in one pass from the newest on: of keys that go on at its time."""
    mine, first = "float(v: r._value)", "accumulator.n == 0.0"
    goes_on = f"{first} or int(v: r._time) + int(v: r.{WINDOW_MS}) * 1000000 > int(v: accumulator._time)"
    further = {
        "sum": f"accumulator._value + {mine}",
        "mean": f"accumulator._value + {mine}",
        "min": f"if {first} or {mine} < accumulator._value then {mine} else accumulator._value",
        "max": f"if {first} or {mine} > accumulator._value then {mine} else accumulator._value",
    }[function]
    more = (
        f"_time: if {first} then r._time else accumulator._time, "
        f"n: if {goes_on} then accumulator.n + 1.0 else accumulator.n, "
        f"_value: if {goes_on} then ({further}) else accumulator._value"
    )
    value = "r._value / r.n" if function == "mean" else "r._value"
    none = "_time: time(v: 0), n: 0.0, _value: 0.0"
    return "\n  ".join([
        series,
        '|> group(columns: ["_start", "_field"])',
        '|> sort(columns: ["_time"], desc: true)',
        f"|> reduce(identity: {{{none}}}, fn: (r, accumulator) => ({{{more}}}))",
        f"|> map(fn: (r) => ({{_time: r._time, _field: r._field, _value: {value}}}))",
        '|> group(columns: ["_field"])',
        '|> sort(columns: ["_time"])',
    ])  # fmt: skip


def scaled(series: str, factor: float) -> str:
    """The streams of `flux.series` in another unit; as they are where `factor` is one."""
    if factor == 1:
        return series
    # Flux multiplies no whole number by a fraction, and reads no exponent.
    return f"{series}\n  |> map(fn: (r) => ({{r with _value: float(v: r._value) * {factor:.17f}}}))"
