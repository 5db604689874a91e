"""Answers as files and as text for people."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from store.params import time_text

__all__ = ["TIMES", "harmless", "printable", "text_lines", "write_csv", "write_jsonl", "write_parquet"]

TIMES: Final = frozenset({
    "window_start", "at", "received_ms", "until", "departed", "arrived", "eta", "eta_p10", "eta_p90",
})  # fmt: skip
"""Fields that are times in ms UTC."""
# What spreadsheets take for the start of a formula, the full-width forms of East Asian input included.
_FORMULA: Final = "^[=+\\-@\t\r\n＝＋－＠]"
_LEFT_OUT: Final = frozenset({"unit", "region", "stream", "window_ms"})


def harmless(table: pa.Table) -> pa.Table:
    """`table` for a spreadsheet: text that would be a formula begins with an apostrophe, bytes are text."""
    for place, field in enumerate(table.schema):
        column = table[place]
        if pa.types.is_binary(field.type):
            column = pa.chunked_array([pa.array([_decoded(v) for v in column.to_pylist()], pa.string())])
        if pa.types.is_string(column.type):
            risky = pc.match_substring_regex(column, _FORMULA)
            column = pc.if_else(risky, pc.binary_join_element_wise("'", column, ""), column)
        table = table.set_column(place, field.name, column)
    return table.rename_columns([f"'{n}" if n[:1] in "=+-@" and n else n for n in table.column_names])


def write_csv(table: pa.Table, out: IO[bytes]) -> None:
    """Comma-separated UTF-8 with a header; times in ms UTC, absent is empty, no cell is a formula."""
    import pyarrow.csv as pa_csv  # noqa: PLC0415  a board is asked for a file now and then

    pa_csv.write_csv(harmless(table), out)


def write_jsonl(table: pa.Table, out: IO[bytes]) -> None:
    """One JSON object a row; absent fields are left out."""
    for batch in table.to_batches(max_chunksize=10_000):
        for row in batch.to_pylist():
            given = {k: _decoded(v) if isinstance(v, bytes) else v for k, v in row.items() if v is not None}
            out.write(json.dumps(given, ensure_ascii=False).encode() + b"\n")


def write_parquet(table: pa.Table, out: IO[bytes]) -> None:
    """One flat column a field."""
    import pyarrow.parquet as pq  # noqa: PLC0415  it brings what talks to clouds, which no server needs

    pq.write_table(table, out)


def text_lines(table: pa.Table) -> Iterator[str]:
    """Aligned columns for people: times in ISO 8601 UTC, columns without a value left out."""
    shown = [
        (f.name, table[i]) for i, f in enumerate(table.schema) if f.name not in _LEFT_OUT and _said(table[i])
    ]
    cells = [[name, *(_cell(name, v) for v in column.to_pylist())] for name, column in shown]
    widths = [max(map(_width, column)) for column in cells]
    right = [pa.types.is_integer(c.type) or pa.types.is_floating(c.type) for n, c in shown if n not in TIMES]
    numbers = dict(zip([n for n, _ in shown if n not in TIMES], right, strict=True))
    for row in zip(*cells, strict=True):
        padded = [
            " " * (width - _width(text)) + text if numbers.get(name) else text + " " * (width - _width(text))
            for text, width, (name, _) in zip(row, widths, shown, strict=True)
        ]
        yield "  ".join(padded).rstrip()


def _said(column: pa.ChunkedArray) -> bool:
    return bool(column.null_count < len(column))


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in TIMES and isinstance(value, int | float):
        return time_text(int(value))
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.3f}".rstrip("0").rstrip(".")
    return printable(value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value))


def printable(text: str) -> str:
    """`text` with control characters escaped: telemetry must not drive a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _decoded(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")


def _width(text: str) -> int:
    """Columns that `text` takes on a terminal: East Asian characters take two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
