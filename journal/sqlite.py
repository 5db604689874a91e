"""The journal of an embedded server: one SQLite file, fsynced at each append."""

from __future__ import annotations

import heapq
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pyarrow as pa

from journal.protocol import Append, JournalError
from models.frame import FrameKind, Record

__all__ = ["FILE_NAME", "SqliteJournal"]

FILE_NAME: Final = "journal.sqlite3"
"""The journal's file in a data directory."""
_FORMAT: Final = 1
_BUSY_S: Final = 5.0
_READ_BYTES: Final = 8 * 1024 * 1024
"""A read ends with the record that passes this, so that many streams of large frames fit into memory."""
_SCAN_CHUNK: Final = 64  # frames are up to 512 KiB: a scan of many streams must stay small
_SCHEMA: Final = """
CREATE TABLE stream (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
    last_offset INTEGER NOT NULL, last_ms INTEGER NOT NULL
);
CREATE TABLE record (
    stream INTEGER NOT NULL REFERENCES stream (id), offset INTEGER NOT NULL,
    timestamp_ms INTEGER NOT NULL, frame BLOB NOT NULL
);
CREATE UNIQUE INDEX record_place ON record (stream, offset);
CREATE TABLE registry (
    stream INTEGER NOT NULL REFERENCES stream (id), offset INTEGER NOT NULL,
    timestamp_ms INTEGER NOT NULL, frame BLOB NOT NULL, PRIMARY KEY (stream, offset)
);
"""


def _is_registry(frame: bytes) -> bool:
    try:
        with pa.ipc.open_stream(pa.py_buffer(frame)) as reader:
            metadata = reader.schema.metadata or {}
    except (pa.ArrowException, OSError):
        return False
    return bool(metadata.get(b"kind") == FrameKind.REGISTRY.encode())


class SqliteJournal:
    """Ordered, durable sequences of frames in one file (WAL, synchronous FULL).

    One process writes; others may read the same file meanwhile. Threads of
    the process share one instance: writes go through one connection under a
    lock, reads through another, so that a reader never waits for a commit.

    Parameters
    ----------
    path : Path
        The file; made when absent, but not its directory.
    clock : callable
        Gives the time of records that come without one. [ms UTC]

    Raises
    ------
    JournalError
        The file cannot be opened, is no journal, or was written by a newer program.
    """

    def __init__(self, path: Path, clock: Callable[[], int]) -> None:
        self._path = path
        self._clock = clock
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._changed = threading.Condition()
        self._closed = False
        with self._refusing("open"):
            self._writer = self._connect()
            try:
                self._prepare()
                self._reader = self._connect()
            except BaseException:
                self._writer.close()
                raise
        self._tails = self._read_tails()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def _prepare(self) -> None:
        version = self._writer.execute("PRAGMA user_version").fetchone()[0]
        if version > _FORMAT:
            msg = (
                f"journal {self._path}: expected format {_FORMAT} or older, got {version}: "
                "it was written by a newer hearthline"
            )
            raise JournalError(msg)
        self._writer.execute("PRAGMA journal_mode = WAL")
        self._writer.execute("PRAGMA journal_size_limit = 67108864")
        self._writer.execute("PRAGMA wal_autocheckpoint = 4000")
        if version == 0:
            tables = self._writer.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if tables:
                msg = f"journal {self._path}: expected a journal, got another program's SQLite file"
                raise JournalError(msg)
            self._writer.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA user_version = {_FORMAT};COMMIT;")

    @contextmanager
    def _refusing(self, what: str) -> Iterator[None]:
        """Turn SQLite's errors into one that says where and what."""
        try:
            yield
        except sqlite3.Error as error:
            msg = f"journal {self._path}: cannot {what}: {error}"
            raise JournalError(msg) from error

    def _read_tails(self) -> dict[str, tuple[int, int]]:
        with self._read_lock, self._refusing("read"):
            rows = self._reader.execute("SELECT name, last_offset, last_ms FROM stream").fetchall()
        return {name: (offset, ms) for name, offset, ms in rows}

    def append(self, items: Sequence[Append]) -> list[Record]:
        """Keep all of `items` in one transaction, or none; on disk when this returns."""
        if not items:
            return []
        now_ms = self._clock()
        with self._write_lock:
            with self._refusing("append"):
                self._writer.execute("BEGIN IMMEDIATE")
                try:
                    records, tails = self._insert(items, now_ms)
                    self._writer.execute("COMMIT")
                except BaseException:
                    if self._writer.in_transaction:
                        self._writer.execute("ROLLBACK")
                    raise
            with self._changed:
                self._tails = self._tails | tails
                self._changed.notify_all()
        return records

    def _insert(
        self, items: Sequence[Append], now_ms: int
    ) -> tuple[list[Record], dict[str, tuple[int, int]]]:
        tails: dict[str, tuple[int, int, int]] = {}
        records = []
        for item in items:
            row, offset, last_ms = tails.get(item.stream) or self._tail(item.stream)
            given_ms = now_ms if item.timestamp_ms is None else item.timestamp_ms
            record = Record(item.stream, offset + 1, max(given_ms, last_ms), item.frame)
            values = (row, record.offset, record.timestamp_ms, record.frame)
            self._writer.execute("INSERT INTO record VALUES (?, ?, ?, ?)", values)
            if _is_registry(item.frame):
                self._writer.execute("INSERT INTO registry VALUES (?, ?, ?, ?)", values)
            tails[item.stream] = (row, record.offset, record.timestamp_ms)
            records.append(record)
        self._writer.executemany(
            "UPDATE stream SET last_offset = ?, last_ms = ? WHERE id = ?",
            [(offset, ms, row) for row, offset, ms in tails.values()],
        )
        return records, {name: (offset, ms) for name, (_, offset, ms) in tails.items()}

    def _tail(self, stream: str) -> tuple[int, int, int]:
        found = self._writer.execute(
            "SELECT id, last_offset, last_ms FROM stream WHERE name = ?", (stream,)
        ).fetchone()
        if found:
            return int(found[0]), int(found[1]), int(found[2])
        lowest = -(2**63)
        made = self._writer.execute(
            "INSERT INTO stream (name, last_offset, last_ms) VALUES (?, -1, ?)", (stream, lowest)
        )
        assert made.lastrowid is not None
        return made.lastrowid, -1, lowest

    def read(self, stream: str, after: int, limit: int = 1000) -> list[Record]:
        """Up to `limit` records of `stream` with an offset above `after`, in order; fewer of large ones."""
        records: list[Record] = []
        room = _READ_BYTES
        with self._read_lock, self._refusing("read"):
            rows = self._reader.execute(
                "SELECT offset, timestamp_ms, frame FROM record"
                " WHERE stream = (SELECT id FROM stream WHERE name = ?) AND offset > ?"
                " ORDER BY offset LIMIT ?",
                (stream, after, limit),
            )
            for offset, ms, frame in rows:
                records.append(Record(stream, offset, ms, frame))
                room -= len(frame)
                if room <= 0:
                    break
            rows.close()
        return records

    def _one(self, stream: str, up_to: int) -> Iterator[tuple[int, str, int, Record]]:
        after = -1
        while records := self.read(stream, after, _SCAN_CHUNK):
            for record in records:
                if record.offset > up_to:
                    return
                yield record.timestamp_ms, stream, record.offset, record
            after = records[-1].offset

    def scan(self) -> Iterator[Record]:
        """Every record that was there at the call, ordered by (timestamp, stream, offset)."""
        tails = self._read_tails()
        merged = heapq.merge(*(self._one(stream, offset) for stream, (offset, _) in sorted(tails.items())))
        return (record for _, _, _, record in merged)

    def streams(self) -> dict[str, tuple[int, int]]:
        """Each stream's last offset and its timestamp in ms UTC."""
        return dict(self._read_tails())

    @property
    def tails(self) -> dict[str, tuple[int, int]]:
        """The same as `streams` gave last or an append made of it, without a look at the file."""
        return self._tails

    def registries(self) -> list[Record]:
        """Every registry record ever appended, pruned ones too, oldest first."""
        with self._read_lock, self._refusing("read"):
            rows = self._reader.execute(
                "SELECT name, offset, timestamp_ms, frame FROM registry"
                " JOIN stream ON stream.id = registry.stream ORDER BY timestamp_ms, name, offset"
            ).fetchall()
        return [Record(*row) for row in rows]

    def count(self) -> int:
        """How many records are kept."""
        with self._read_lock, self._refusing("read"):
            return int(self._reader.execute("SELECT count(*) FROM record").fetchone()[0])

    def wait(self, after: Mapping[str, int], timeout_s: float) -> bool:
        """Wait until this instance has a record that `after` (last offset by stream) does not cover.

        Returns
        -------
        bool
            Whether there is one; False when the time is up or the journal closed.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self._closed:
                if any(offset > after.get(stream, -1) for stream, (offset, _) in self._tails.items()):
                    return True
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
        return False

    def prune(self, before_ms: int) -> int:
        """Forget records older than `before_ms`, each stream's last one excepted; how many were forgotten.

        Offsets go on where they were, so that only the start of a stream is missing afterwards.
        """
        with self._write_lock, self._refusing("prune"):
            done = self._writer.execute(
                "DELETE FROM record WHERE timestamp_ms < ? AND EXISTS"
                " (SELECT 1 FROM stream WHERE id = record.stream AND record.offset < last_offset)",
                (before_ms,),
            )
            return done.rowcount

    def close(self) -> None:
        """Wake waiters and release the file."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        with self._write_lock, self._read_lock:
            self._reader.close()
            self._writer.close()
