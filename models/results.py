"""Result rows: what operators compute and stores keep, as Arrow tables of one shape."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import pyarrow as pa

__all__ = [
    "READING",
    "READING_REPEAT",
    "RESULT_HEADER",
    "RESULT_TRAILER",
    "Outputs",
    "Status",
    "result_schema",
]

READING: Final = "reading"
READING_REPEAT: Final = "reading_repeat"


class SinkError(RuntimeError):
    """What keeps results refused something; says what and why."""


class SinkUnavailableError(SinkError):
    """What keeps results cannot be reached now; the same call may succeed later."""


class Status(StrEnum):
    """What a result row is worth."""

    PROVISIONAL = "provisional"
    FINAL = "final"
    UNKNOWN = "unknown"
    WITHDRAWN = "withdrawn"


RESULT_HEADER: Final = (
    pa.field("key", pa.string(), nullable=False),
    pa.field("unit", pa.string(), nullable=False),
    pa.field("region", pa.string(), nullable=False),
    pa.field("stream", pa.string(), nullable=False),
    pa.field("window_start", pa.int64(), nullable=False),  # ms UTC; for a reading its t
    pa.field("window_ms", pa.int64(), nullable=False),  # 0 for a reading
)
RESULT_TRAILER: Final = (
    pa.field("coverage", pa.float64()),
    pa.field("status", pa.string(), nullable=False),
    pa.field("reason", pa.string()),
    pa.field("revision", pa.int32(), nullable=False),
    pa.field("model", pa.string()),
)


def result_schema(fields: list[pa.Field]) -> pa.Schema:
    """Columns of a result table: header, the measurement's own `fields`, trailer."""
    return pa.schema([*RESULT_HEADER, *fields, *RESULT_TRAILER])


@dataclass(slots=True)
class Outputs:
    """What a pipeline gives for the records up to `offset`.

    Attributes
    ----------
    stream : str
    offset : int
        Journal offset of the last record that these outputs cover.
    rows : dict of str to list of pyarrow.Table
        Result rows by measurement (`device_heat`, `ledger`, `dead_letter` …) in
        the order in which they were computed; a later row of the same (key,
        window_start) replaces an earlier one. Null means absent.
    readings : list of pyarrow.Table
        Readings to append, one table a device class. Columns: key (device),
        unit, region, stream, window_start (t), window_ms (0), class, boot, seq,
        pos, offset, received_ms, quality, extra, then measurements; `replaces`
        (bool) when the row wins over one that was given before, which is then
        deleted; `late` (bool) when the pipeline could not see whether another
        reading of the same device and t exists, so the store must.
    repeats : list of pyarrow.Table
        Readings that lost to another of the same device and t, same columns.
    forwards : list of (str, bytes)
        Streams and encoded frames to append to them, at least once: what they must know of this one.
    """

    stream: str
    offset: int = -1
    rows: dict[str, list[pa.Table]] = field(default_factory=dict)
    readings: list[pa.Table] = field(default_factory=list)
    repeats: list[pa.Table] = field(default_factory=list)
    forwards: list[tuple[str, bytes]] = field(default_factory=list)

    def add(self, measurement: str, table: pa.Table) -> None:
        """Add result rows of one measurement."""
        if table.num_rows:
            self.rows.setdefault(measurement, []).append(table)

    def merge(self, later: Outputs) -> None:
        """Take in what came after, of the same stream."""
        self.offset = max(self.offset, later.offset)
        for measurement, tables in later.rows.items():
            self.rows.setdefault(measurement, []).extend(tables)
        self.readings.extend(later.readings)
        self.repeats.extend(later.repeats)
        self.forwards.extend(later.forwards)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to store or to forward."""
        return not (self.rows or self.readings or self.repeats or self.forwards)
