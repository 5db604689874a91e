"""What goes from the streams to a desk in another process: conditions, and readings that fast rules look at.

One record of the topic `conditions` is one `Said`, as JSON, keyed by its stream. Records are given at least
once and in order; the desk takes each word once, by its order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson
import pyarrow as pa

from alerts.condition import Condition, conditions_of
from alerts.fast import FastFilter
from models.anomaly import ANOMALY
from models.results import Outputs

__all__ = ["FeedError", "Said", "decode", "encode", "said_of"]

VERSION: Final = 1
_MOST_CONDITIONS: Final = 200
_MOST_READINGS: Final = 2_000
_TEXTS: Final = ("key", "class", "unit", "region")
_NUMBERS: Final = ("window_start", "offset")


class FeedError(ValueError):
    """A record that is none of ours; says what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a stream says up to one record of its journal.

    Attributes
    ----------
    stream : str
    offset : int
        Journal offset that it covers.
    now_ms : int
        The newest now of any stream that the worker knows. [ms UTC]
    conditions : list of Condition
        The last word about each.
    readings : list of pyarrow.Table
        One table a device class: ``key``, ``class``, ``unit``, ``region``, ``window_start``, ``offset`` and
        the measurements that fast rules watch.
    fast : tuple of str
        Codes of the fast rules for which readings are given.
    more : bool
        Whether more of the same batch follows.
    """

    stream: str
    offset: int
    now_ms: int = 0
    conditions: list[Condition] = field(default_factory=list)
    readings: list[pa.Table] = field(default_factory=list)
    fast: tuple[str, ...] = ()
    more: bool = False


def said_of(output: Outputs, fast: FastFilter, now_ms: int = 0) -> list[Said]:
    """What one batch of a stream has for a desk, in records of a bounded size; none when it has nothing.

    Parameters
    ----------
    fast : FastFilter
        Chooses readings.
    """
    conditions = conditions_of(output.rows.get(ANOMALY, ()), output.offset)
    plain = Said(output.stream, output.offset, now_ms, fast=fast.codes)
    pieces = [
        replace(plain, conditions=conditions[start : start + _MOST_CONDITIONS])
        for start in range(0, len(conditions), _MOST_CONDITIONS)
    ]
    pieces += [
        replace(plain, readings=[table.slice(start, _MOST_READINGS)])
        for table in fast.take(output.readings)
        for start in range(0, table.num_rows, _MOST_READINGS)
    ]
    return [replace(piece, more=True) for piece in pieces[:-1]] + pieces[-1:]


def encode(said: Said) -> bytes:
    """A record of the topic."""
    return orjson.dumps({
        "v": VERSION, "stream": said.stream, "offset": said.offset, "now_ms": said.now_ms,
        "conditions": [condition.to_json() for condition in said.conditions],
        "readings": [_rows(table) for table in said.readings], "fast": said.fast,
        "more": said.more,
    })  # fmt: skip


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    return [{n: v for n, v in row.items() if v is not None} for row in table.to_pylist()]


def decode(record: bytes) -> Said:
    """What a record says; FeedError when it is none."""
    try:
        said = orjson.loads(record)
    except orjson.JSONDecodeError as error:
        msg = f"expected JSON, got {record[:80]!r}: {error}"
        raise FeedError(msg) from error
    if not isinstance(said, Mapping) or said.get("v") != VERSION:
        got = said.get("v") if isinstance(said, Mapping) else type(said).__name__
        msg = f"expected an object of version {VERSION}, got {str(got)[:80]}"
        raise FeedError(msg)
    try:
        return Said(
            str(said["stream"]), int(said["offset"]), int(said["now_ms"]),
            [Condition.from_json(one) for one in said["conditions"]],
            [_table(rows) for rows in said["readings"] if rows], tuple(map(str, said["fast"])),
            bool(said["more"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError, pa.ArrowException) as error:
        msg = f"expected what a worker says, got {record[:80]!r}: {type(error).__name__}: {error}"
        raise FeedError(msg) from error


def _table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    measured = sorted(set().union(*rows) - {*_TEXTS, *_NUMBERS})
    schema = pa.schema([
        *(pa.field(n, pa.string(), nullable=False) for n in _TEXTS),
        *(pa.field(n, pa.int64(), nullable=False) for n in _NUMBERS),
        *(pa.field(n, pa.float64()) for n in measured),
    ])  # fmt: skip
    return pa.Table.from_pylist(list(rows), schema=schema)
