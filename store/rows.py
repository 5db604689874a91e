"""Rows on their way into a store: plain columns, one row a key and window, values that fit their column."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.events import EVENT_NAMES
from models.results import RESULT_HEADER, RESULT_TRAILER, Status, result_schema

__all__ = [
    "CLASS", "INTERNAL", "KEY", "READING_TRAILER", "REFUSED", "REFUSED_SCHEMA", "Refusal", "boolean",
    "by_class", "combine", "dead_rows", "identity", "identity_columns", "joined", "keep_last", "plain",
    "separate", "with_header",
]  # fmt: skip

KEY: Final = ("key", "window_start")
CLASS: Final = "class"
INTERNAL: Final = ("replaces", "late")
"""Columns of readings that tell the store what to do and are not kept."""
READING_TRAILER: Final = (
    pa.field("class", pa.string()),
    pa.field("boot", pa.int64()),
    pa.field("seq", pa.int64()),
    pa.field("pos", pa.int32()),
    pa.field("offset", pa.int64()),
    pa.field("received_ms", pa.int64()),
    pa.field("quality", pa.string()),
    pa.field("extra", pa.string()),
)
"""What every reading carries besides its measurements."""
REFUSED: Final = "store_refused"
REFUSED_SCHEMA: Final = result_schema([pa.field("measurement", pa.string()), pa.field("row", pa.string())])
"""Rows that the store itself could not take: `row` is the row as JSON, `reason` says why."""

_MESSAGE: Final = ("boot", "seq", "pos")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Rows of one table that a store cannot take, and why.

    Attributes
    ----------
    measurement : str
    rows : pyarrow.Table
    reason : str
        What was expected and what came.
    """

    measurement: str
    rows: pa.Table
    reason: str


def plain(table: pa.Table) -> pa.Table:
    """`table` in the types that stores keep, NaN and infinities as null.

    Dictionaries are decoded; columns of Arrow's null type are left out, since
    they say nothing, not even a type.
    """
    columns: dict[str, pa.ChunkedArray] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type
        if pa.types.is_null(kind):
            continue
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        wanted = _stored_type(kind)
        plain_column = column if column.type == wanted else column.cast(wanted)
        if pa.types.is_floating(wanted):
            finite = pc.is_finite(plain_column)
            if not pc.all(finite, skip_nulls=True, min_count=0).as_py():
                plain_column = pc.if_else(finite, plain_column, pa.scalar(None, wanted))
        columns[name] = plain_column
    return pa.table(columns) if columns else table.select([])


def _stored_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_floating(kind):
        return pa.float64()
    return kind


def combine(tables: Sequence[pa.Table]) -> list[pa.Table]:
    """One table if the columns of all agree in type, else as they came, in order."""
    if len(tables) < 2:
        return list(tables)
    try:
        return [pa.concat_tables(tables, promote_options="default")]
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return list(tables)


def joined(tables: Sequence[pa.Table]) -> list[pa.Table]:
    """`tables`, neighbours of the same columns as one: after a pause there is a small one for each window."""
    return [pa.concat_tables(list(alike)) for _, alike in groupby(tables, key=lambda table: table.schema)]


def keep_last(table: pa.Table, columns: Sequence[str] = KEY) -> pa.Table:
    """Of rows that agree in `columns` the last; order is kept."""
    if table.num_rows < 2:
        return table
    place = pa.array(np.arange(table.num_rows, dtype=np.int64))
    names = pa.table({**{c: table[c] for c in columns}, "_place": place})
    last = names.group_by(list(columns)).aggregate([("_place", "max")])["_place_max"]
    if len(last) == table.num_rows:
        return table
    return table.take(pc.take(last, pc.sort_indices(last)))


def by_class(table: pa.Table) -> dict[str, pa.Table]:
    """Readings of each device class."""
    classes = pc.unique(table[CLASS]).to_pylist()
    if len(classes) == 1:
        return {str(classes[0]): table}
    return {str(c): table.filter(pc.equal(table[CLASS], c)) for c in classes}


def boolean(table: pa.Table, name: str) -> np.ndarray:
    """Column `name` as a numpy mask; absent and null are false."""
    if name not in table.column_names:
        return np.zeros(table.num_rows, dtype=bool)
    mask: np.ndarray = pc.fill_null(table[name], False).to_numpy().astype(bool)
    return mask


def identity_columns(device_class: str) -> tuple[str, ...]:
    """Columns that two readings of `device_class` share when they may be the same one."""
    return ("key", *EVENT_NAMES[device_class]) if device_class in EVENT_NAMES else KEY


def identity(table: pa.Table, device_class: str) -> list[tuple[object, ...]]:
    """What makes two readings the same one: (device, t), or an event's own name.

    A weighing is named by ticket and step, a sample by lot and end, an office
    event by its `ref`; events without a name by their message and position, so
    that fifty imported with one date stay fifty.
    """
    keys = table["key"].to_pylist()
    if device_class not in EVENT_NAMES:
        return list(zip(keys, table["window_start"].to_pylist(), strict=True))
    names = [
        table[c].to_pylist() if c in table.column_names else [None] * table.num_rows
        for c in EVENT_NAMES[device_class]
    ]
    messages = zip(*(table[c].to_pylist() for c in _MESSAGE), strict=True)
    return [
        (key, *name) if None not in name and "" not in name else (key, "", *message)
        for key, message, *name in zip(keys, messages, *names, strict=True)
    ]


def with_header(table: pa.Table) -> pa.Table:
    """Add the columns that every result row has and this table lacks, as nulls."""
    for field in (*RESULT_HEADER, *RESULT_TRAILER):
        if field.name not in table.column_names:
            table = table.append_column(field.name, pa.nulls(table.num_rows, field.type))
    return table


def separate(
    table: pa.Table, stored: Mapping[str, pa.DataType]
) -> tuple[pa.Table, list[tuple[pa.Table, str]]]:
    """Cast `table` to the `stored` types; rows with a value that would change are set apart with the reason.

    A number may become a wider one, and a float a whole number when it is one;
    text never becomes a number and no number becomes text.
    """
    refused: list[tuple[pa.Table, str]] = []
    for name in KEY:
        table = _set_apart(table, pc.is_valid(table[name]), f"{name}: expected a value, got none", refused)
    for name in table.column_names:
        table = _set_apart_broken(table, name, refused)
    for name, wanted in stored.items():
        if name not in table.column_names or table.schema.field(name).type == wanted:
            continue
        kind = table.schema.field(name).type
        reason = f"{name}: expected {wanted} as in the rows stored before, got {kind}"
        table = _set_apart(table, _fits(table[name], wanted), reason, refused)
        at = table.column_names.index(name)
        column = table[name]
        if column.null_count == len(column):
            column = pa.chunked_array([pa.nulls(len(column), wanted)])
        else:
            column = column.cast(wanted, safe=False)
        table = table.set_column(at, name, column)
    return table, refused


def _set_apart(table: pa.Table, good: pa.Array, reason: str, refused: list[tuple[pa.Table, str]]) -> pa.Table:
    if pc.all(good, min_count=0).as_py():
        return table
    refused.append((table.filter(pc.invert(good)), reason))
    return table.filter(good)


def _set_apart_broken(table: pa.Table, name: str, refused: list[tuple[pa.Table, str]]) -> pa.Table:
    """Set apart rows whose text is not UTF-8: Arrow carries it, no store keeps it."""
    if not pa.types.is_string(table.schema.field(name).type):
        return table
    try:
        table[name].validate(full=True)
    except pa.ArrowInvalid:
        raw = table[name].cast(pa.binary(), safe=False).to_pylist()
        good = pa.array([value is None or _is_text(value) for value in raw])
        return _set_apart(table, good, f"{name}: expected text in UTF-8", refused)
    return table


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _fits(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    """Whether each value can be kept as `wanted` without becoming another value."""
    absent = pc.is_null(column)
    numeric = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    if numeric and pa.types.is_floating(wanted):
        return pc.or_(absent, True)
    if numeric and pa.types.is_integer(wanted):
        low, high = (float(-(2 ** (wanted.bit_width - 1))), float(2 ** (wanted.bit_width - 1)))
        values = column.cast(pa.float64(), safe=False)
        whole = pc.equal(pc.floor(values), values)
        inside = pc.and_(pc.greater_equal(values, low), pc.less(values, high))
        return pc.or_(absent, pc.fill_null(pc.and_(whole, inside), False))
    return absent


def dead_rows(refusal: Refusal) -> pa.Table:
    """A refusal as rows of `store_refused`, named so that refusing twice gives the same rows."""
    rows = []
    for row in _readable(refusal.rows):
        named = [row.get("key"), *(row[c] for c in _MESSAGE if row.get(c) is not None)]
        rows.append({
            "key": ":".join([refusal.measurement, *map(str, named)]),
            "unit": str(row.get("unit") or ""),
            "region": str(row.get("region") or ""),
            "stream": str(row.get("stream") or ""),
            "window_start": row["window_start"] if isinstance(row.get("window_start"), int) else 0,
            "window_ms": 0,
            "measurement": refusal.measurement,
            "row": json.dumps(row, ensure_ascii=False, default=str),
            "status": Status.UNKNOWN.value,
            "reason": refusal.reason,
            "revision": 0,
        })  # fmt: skip
    return pa.Table.from_pylist(rows, schema=REFUSED_SCHEMA)


def _readable(table: pa.Table) -> list[dict[str, object]]:
    """Rows as Python values; text that is no UTF-8 with its bad bytes replaced."""
    columns = []
    for column in table.columns:
        try:
            columns.append(column.to_pylist())
        except UnicodeDecodeError:
            raw = column.cast(pa.binary(), safe=False).to_pylist()
            columns.append([v if v is None else v.decode("utf-8", "backslashreplace") for v in raw])
    return [dict(zip(table.column_names, values, strict=True)) for values in zip(*columns, strict=True)]
