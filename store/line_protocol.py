"""InfluxDB line protocol built from columns: whole arrays at a time, never point by point.

Tags are `key`, `unit`, `region`, `stream`, for readings `class`, and `event_id` where several rows may share
key and time. Everything else is a field. `absent` names the columns of a row that are null: InfluxDB keeps
a field until it is overwritten, so a reader must be told which of them no longer hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["ABSENT", "EVENT", "TAGS", "batches", "lines", "misfits"]

TAGS: Final = ("class", "event_id", "key", "region", "stream", "unit")
"""In the order in which InfluxDB sorts them anyway."""
EVENT: Final = "event_id"
ABSENT: Final = "absent"
TIME: Final = "window_start"
# A line break would end the point; a backslash there would take part in the escape that follows it.
_NO_TAG: Final = r"[\x00-\x1f\x7f]|\\(?:[\\,= ]|$)"
_TIME_LIMIT: Final = 9_223_372_036_854
"""InfluxDB counts ns in 64 bits. [ms]"""


def misfits(table: pa.Table) -> pa.Array:
    """Rows that cannot be said: a control character or an ambiguous backslash in a tag, a time after 2262."""
    bad = pc.greater(pc.abs_checked(table[TIME]), _TIME_LIMIT)
    for name in TAGS:
        if name in table.column_names:
            bad = pc.or_(bad, pc.fill_null(pc.match_substring_regex(table[name], _NO_TAG), False))
    return pc.or_(bad, pc.equal(pc.fill_null(table["key"], ""), ""))


def lines(measurement: str, table: pa.Table, *, absent: bool) -> list[str]:
    """One line a row; times are in ms.

    Parameters
    ----------
    measurement : str
    table : pyarrow.Table
        Rows without misfits, as `store.rows.plain` gives them.
    absent : bool
        Whether to write which columns are null.
    """
    if not table.num_rows:
        return []
    table = table.combine_chunks()
    head = [pa.scalar(_escaped_name(measurement))]
    head += [_tag(name, _array(table[name])) for name in TAGS if name in table.column_names]
    names = [n for n in table.column_names if n not in TAGS and n != TIME]
    fields = [_field(name, _array(table[name])) for name in names]
    if absent:
        fields.append(_absent(table, names))
    time = _array(table[TIME]).cast(pa.string())
    joined = pc.binary_join_element_wise(
        pc.binary_join_element_wise(*head, ",", null_handling="skip"),
        pc.binary_join_element_wise(*fields, ",", null_handling="skip"),
        time,
        " ",
    )
    given: list[str] = joined.to_pylist()
    return given


def batches(given: list[str], most_lines: int, most_bytes: int) -> Iterator[tuple[int, int]]:
    """Ranges of lines that keep to both bounds; a single line may pass the second."""
    first, size = 0, 0
    for place, line in enumerate(given):
        length = len(line.encode()) + 1
        if place > first and (place - first >= most_lines or size + length > most_bytes):
            yield first, place
            first, size = place, 0
        size += length
    if first < len(given):
        yield first, len(given)


def _array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _escaped_name(name: str) -> str:
    return name.replace(",", "\\,").replace(" ", "\\ ")


def _tag(name: str, column: pa.Array) -> pa.Array:
    """`name=value`, escaped once for each distinct value; null where it is empty, which InfluxDB refuses."""
    encoded = column.dictionary_encode()
    texts = [
        None if not v else f"{name}=" + v.replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")
        for v in encoded.dictionary.to_pylist()
    ]
    return pa.array(texts, pa.string()).take(encoded.indices)


def _field(name: str, column: pa.Array) -> pa.Array:
    kind = column.type
    end = ""
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        text = column if pa.types.is_string(kind) else _text(column)
        text = pc.replace_substring(pc.replace_substring(text, "\\", "\\\\"), '"', '\\"')
        start, end = '"', '"'
    else:
        text, start = column.cast(pa.string()), ""
        end = "i" if pa.types.is_integer(kind) else ""
    left = _escaped_name(name).replace("=", "\\=") + "=" + start
    return pc.binary_join_element_wise(pa.scalar(left), text, pa.scalar(end), "")


def _text(column: pa.Array) -> pa.Array:
    values = column.to_pylist()
    return pa.array(
        [None if v is None else v.decode("utf-8", "backslashreplace") for v in values], pa.string()
    )


def _absent(table: pa.Table, names: list[str]) -> pa.Array:
    """`absent=",a,b,"`: the null columns of each row, built once for each distinct pattern of nulls."""
    nulls = np.column_stack([_array(table[n]).is_null().to_numpy(zero_copy_only=False) for n in names])
    patterns, which = np.unique(nulls, axis=0, return_inverse=True)
    texts = []
    for pattern in patterns:
        missing = [n for n, m in zip(names, pattern, strict=True) if m]
        text = f",{','.join(missing)}," if missing else ""
        texts.append(f'{ABSENT}="' + text.replace("\\", "\\\\").replace('"', '\\"') + '"')
    return pa.array(texts, pa.string()).take(pa.array(which.ravel()))
