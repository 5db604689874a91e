"""Outputs as a pipeline would give them, and what a store holds as plain rows."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from models.results import RESULT_HEADER, Outputs, result_schema
from store.protocol import Select, SeriesStore

HEAT = result_schema([pa.field("heat_gj", pa.float64()), pa.field("supply_c", pa.float64())])
_READING = pa.schema([
    *RESULT_HEADER,
    pa.field("class", pa.string()), pa.field("boot", pa.int64()), pa.field("seq", pa.int64()),
    pa.field("pos", pa.int32()), pa.field("offset", pa.int64()), pa.field("received_ms", pa.int64()),
    pa.field("quality", pa.string()), pa.field("extra", pa.string()),
])  # fmt: skip
_TYPES = {str: pa.string(), float: pa.float64(), bool: pa.bool_(), int: pa.int64()}


def heat(key: str, start: int, heat_gj: float | None = None, **more: Any) -> dict[str, Any]:
    return {
        "key": key, "unit": "u1", "region": "r1", "stream": "s1", "window_start": start, "window_ms": 900_000,
        "heat_gj": heat_gj, "supply_c": None, "coverage": 1.0, "status": "final", "reason": None,
        "revision": 0, "model": None, **more,
    }  # fmt: skip


def heats(*rows: dict[str, Any], schema: pa.Schema = HEAT) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=schema)


def sample(key: str, t: int, seq: int = 1, offset: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "key": key, "unit": "u1", "region": "r1", "stream": "s1", "window_start": t, "window_ms": 0,
        "class": "meter", "boot": 1, "seq": seq, "pos": 0, "offset": offset, "received_ms": t, "quality": "",
        "extra": None, **more,
    }  # fmt: skip


def readings(*rows: dict[str, Any]) -> pa.Table:
    names = dict.fromkeys(name for row in rows for name in row)
    fields = []
    for name in names:
        if name in _READING.names:
            fields.append(_READING.field(name))
            continue
        values = [row[name] for row in rows if row.get(name) is not None]
        fields.append(pa.field(name, _TYPES[type(values[0])] if values else pa.null()))
    return pa.Table.from_pylist(list(rows), schema=pa.schema(fields))


def output(offset: int, *, stream: str = "s1", **given: Any) -> Outputs:
    return Outputs(stream=stream, offset=offset, **given)


def rows(store: SeriesStore, measurement: str, **more: Any) -> list[dict[str, Any]]:
    """What `store` has of `measurement`; nulls are left out, since absent and null are the same."""
    table = store.select(Select(measurement, **more))
    return [{k: v for k, v in row.items() if v is not None} for row in table.to_pylist()]


def column(store: SeriesStore, measurement: str, name: str, **more: Any) -> list[Any]:
    return store.select(Select(measurement, **more))[name].to_pylist()
