"""A small pipeline whose rows depend on every record and on their order, and a store of rows in a file."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from models.frame import FrameError, Record
from models.results import Outputs, result_schema
from streams.core.checkpoint import Checkpoint

__all__ = ["ChainPipeline", "FileSink", "SinkAwayError", "rows_of"]

_SCHEMA = result_schema(
    [pa.field("total", pa.int64()), pa.field("records", pa.int64()), pa.field("chain", pa.string())]
)
_WINDOW_MS = 10_000


class ChainPipeline:
    """Sums a window's numbers and chains a digest over all records of the stream."""

    request = None
    now_ms = None
    restating = 0
    leap = None
    anew_to: int | None = None
    failures = ()

    def __init__(self, stream: str):
        self.stream = stream
        self.offset = -1
        self.chain = ""
        self.windows: dict[int, list[int]] = {}

    def begin_anew(self, to_offset: int) -> None:
        self.anew_to = to_offset

    def step(self, record: Record) -> Outputs:
        outputs = Outputs(self.stream, record.offset)
        outputs.add("chain", pa.Table.from_pylist([self.row(record)], schema=_SCHEMA))
        return outputs

    def row(self, record: Record) -> dict[str, object]:
        """Take a record in; the row of its window."""
        assert record.offset > self.offset, "a record was given twice"
        try:
            value = int(record.frame)
        except ValueError as error:
            raise FrameError(f"expected a number, got {record.frame!r}") from error
        self.offset = record.offset
        start = record.timestamp_ms // _WINDOW_MS * _WINDOW_MS
        window = self.windows.setdefault(start, [0, 0])
        window[0] += value
        window[1] += 1
        self.chain = hashlib.sha256(f"{self.chain}{value}".encode()).hexdigest()
        row = {
            "key": self.stream, "unit": "u", "region": "r", "stream": self.stream, "window_start": start,
            "window_ms": _WINDOW_MS, "total": window[0], "records": window[1], "chain": self.chain,
            "coverage": 1.0, "status": "provisional", "revision": 0,
        }  # fmt: skip
        return {field.name: row.get(field.name) for field in _SCHEMA}

    def steps(self, record: Record) -> Iterator[Outputs]:
        yield self.step(record)

    def checkpoint(self) -> Checkpoint:
        state = json.dumps([self.chain, sorted(self.windows.items()), self.anew_to]).encode()
        segments = {f"segment/{start}": b"%d" % start * 2000 for start in sorted(self.windows)[-3:]}
        return Checkpoint(self.stream, self.offset, {"state": state, **segments})

    @classmethod
    def restore(cls, checkpoint: Checkpoint) -> ChainPipeline:
        pipeline = cls(checkpoint.stream)
        pipeline.offset = checkpoint.offset
        chain, windows, pipeline.anew_to = json.loads(checkpoint.parts["state"])
        pipeline.chain = chain
        pipeline.windows = {start: list(window) for start, window in windows}
        for name, data in checkpoint.parts.items():
            if name.startswith("segment/"):
                assert data == name.removeprefix("segment/").encode() * 2000
        return pipeline


class SinkAwayError(Exception):
    """The file named ``<path>.away`` exists."""


class FileSink:
    """Upserts rows into SQLite; may be slow, and is away while ``<path>.away`` exists."""

    def __init__(self, path: Path, delay_s: float = 0.0):
        self._away = Path(f"{path}.away")
        self._delay_s = delay_s
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS rows"
            " (measurement, key, start, row, writes INTEGER DEFAULT 1, PRIMARY KEY (measurement, key, start))"
        )

    def write(self, outputs: Sequence[Outputs]) -> None:
        if self._away.exists():
            raise SinkAwayError("the store is away")
        time.sleep(self._delay_s)
        rows = [
            (measurement, row["key"], row["window_start"], json.dumps(row, sort_keys=True))
            for each in outputs
            for measurement, tables in each.rows.items()
            for table in tables
            for row in table.to_pylist()
        ]
        with self._db:
            self._db.executemany(
                "INSERT INTO rows (measurement, key, start, row) VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET row = excluded.row, writes = writes + 1",
                rows,
            )


def rows_of(path: Path) -> dict[tuple[str, str, int], dict[str, object]]:
    if not path.exists():
        return {}
    with sqlite3.connect(path) as db:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'rows'").fetchall():
            return {}
        found = db.execute("SELECT measurement, key, start, row FROM rows").fetchall()
    return {(measurement, key, start): json.loads(row) for measurement, key, start, row in found}
