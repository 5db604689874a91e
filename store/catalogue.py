"""What tables a DuckDB file has, and the statements that make and grow them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa

from models.results import READING_REPEAT
from store.protocol import StoreError

__all__ = [
    "LAYOUT", "META", "PROGRESS", "READING_PREFIX", "Catalogue", "check_name", "growth", "load", "quoted",
    "reading_table",
]  # fmt: skip

LAYOUT: Final = 1
"""Version of the tables' layout; a file of a higher one is refused."""
PROGRESS: Final = "store_progress"
META: Final = "store_meta"
READING_PREFIX: Final = "reading_"

Catalogue = Mapping[str, Mapping[str, pa.DataType]]
"""Columns with their types by table."""

_TYPES: Final = {
    "VARCHAR": pa.string(),
    "BLOB": pa.binary(),
    "BOOLEAN": pa.bool_(),
    "DOUBLE": pa.float64(),
    "TINYINT": pa.int8(),
    "SMALLINT": pa.int16(),
    "INTEGER": pa.int32(),
    "BIGINT": pa.int64(),
    "UTINYINT": pa.uint8(),
    "USMALLINT": pa.uint16(),
    "UINTEGER": pa.uint32(),
}
_NAMES: Final = {kind: name for name, kind in _TYPES.items()}
_OWN: Final = (READING_PREFIX, "sqlite_", "duckdb_", "pragma_")
_REQUIRED: Final = frozenset({"key", "window_start"})


def quoted(identifier: str) -> str:
    """`identifier` as SQL writes it when it may be anything."""
    return '"' + identifier.replace('"', '""') + '"'


def reading_table(device_class: str) -> str:
    """The table that holds readings of `device_class`."""
    return f"{READING_PREFIX}{device_class}"


def check_name(measurement: str) -> None:
    """Refuse a measurement that would be mistaken for one of the store's own tables."""
    if measurement in ("", "reading", PROGRESS, META) or measurement.startswith(_OWN):
        msg = f"expected the name of a result measurement, got {measurement!r}, which is the store's own"
        raise StoreError(msg)


def duck_type(table: str, column: str, kind: pa.DataType) -> str:
    """DuckDB's type for an Arrow type."""
    try:
        return _NAMES[kind]
    except KeyError:
        expected = ", ".join(sorted(map(str, _NAMES)))
        msg = f"{table}.{column}: expected a column of one of {expected}, got {kind}"
        raise StoreError(msg) from None


def load(connection: Any) -> dict[str, dict[str, pa.DataType]]:
    """Read the catalogue of an open file."""
    tables: dict[str, dict[str, pa.DataType]] = {}
    rows = connection.execute(
        "SELECT c.table_name, c.column_name, c.data_type FROM duckdb_columns() c JOIN duckdb_tables() t "
        "USING (table_oid, database_name) WHERE NOT t.internal AND NOT t.temporary "
        "AND c.database_name = current_database() ORDER BY c.table_name, c.column_index"
    ).fetchall()
    for table, column, kind in rows:
        if table not in (PROGRESS, META):
            tables.setdefault(table, {})[column] = _TYPES.get(kind, pa.string())
    return tables


def growth(table: str, schema: pa.Schema, catalogue: Catalogue) -> list[str]:
    """Statements after which `table` has every column of `schema`."""
    stored = catalogue.get(table)
    if stored is None:
        columns = [
            f"{quoted(f.name)} {duck_type(table, f.name, f.type)}{' NOT NULL' if f.name in _REQUIRED else ''}"
            for f in schema
        ]
        if not (table.startswith(READING_PREFIX) or table == READING_REPEAT):
            columns.append("PRIMARY KEY (key, window_start)")
        return [f"CREATE TABLE {quoted(table)} ({', '.join(columns)})"]
    lower = {name.lower() for name in stored}
    return [
        f"ALTER TABLE {quoted(table)} ADD COLUMN {quoted(f.name)} {duck_type(table, f.name, f.type)}"
        for f in schema
        if f.name.lower() not in lower
    ]
