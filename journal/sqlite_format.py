"""The format of the embedded journal's file: its tables and checksums.

SQLite guards its log with checksums, but not its pages. So each row bears one of its own, over
all that it says and over its place; whatever the disk does to it, it is never read as another.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from journal.protocol import JournalError

__all__ = [
    "DAMAGE", "FORMAT", "LOWEST_MS", "OFFSET_BITS", "OFFSET_MASK", "DamageError", "StreamRow",
    "about_is_ours", "connect", "crc_of", "db_transaction", "is_damage", "make_tables", "record_crc",
    "registry_crc", "try_to_write",
]  # fmt: skip

FORMAT: Final = 2
"""Of the file. 1 had no checksums, and an index beside the table of records."""
OFFSET_BITS: Final = 40  # a row's key is the stream's number and the offset side by side
OFFSET_MASK: Final = (1 << OFFSET_BITS) - 1
LOWEST_MS: Final = -(2**63)
_BUSY_S: Final = 5.0
_ABOUT: Final = 0x4A524E4C
_DAMAGE: Final = frozenset({
    "SQLITE_NOTADB", "SQLITE_FORMAT", "SQLITE_ERROR", "SQLITE_SCHEMA", "SQLITE_MISMATCH", "SQLITE_TOOBIG",
    "SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_ROWID", "SQLITE_IOERR_READ",
    "SQLITE_IOERR_SHORT_READ", "SQLITE_IOERR_CORRUPTFS", "SQLITE_READONLY",
})  # fmt: skip
_TABLES: Final = """
CREATE TABLE record (
    id INTEGER PRIMARY KEY, stream TEXT NOT NULL, timestamp_ms INTEGER NOT NULL,
    crc INTEGER NOT NULL, frame BLOB NOT NULL
);
CREATE TABLE registry (
    id INTEGER PRIMARY KEY, stream TEXT NOT NULL, timestamp_ms INTEGER NOT NULL,
    crc INTEGER NOT NULL, frame BLOB NOT NULL
);
CREATE TABLE stream (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, first_offset INTEGER NOT NULL,
    last_offset INTEGER NOT NULL, last_ms INTEGER NOT NULL, crc INTEGER NOT NULL
);
CREATE TABLE loss (
    id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, stream TEXT NOT NULL, first_offset INTEGER NOT NULL,
    last_offset INTEGER NOT NULL, bytes INTEGER NOT NULL, reason TEXT NOT NULL,
    accepted INTEGER NOT NULL, crc INTEGER NOT NULL
);
CREATE TABLE about (id INTEGER PRIMARY KEY, format INTEGER NOT NULL, crc INTEGER NOT NULL);
"""


class DamageError(JournalError):
    """The file does not say what was written to it."""


DAMAGE: Final = (DamageError, sqlite3.Error, UnicodeDecodeError)
"""What a damaged file raises; the last where Python cannot say what SQLite says of a damaged schema."""


def crc_of(*words: object) -> int:
    """Checksum of some words."""
    return zlib.crc32("\0".join(map(str, words)).encode())


def record_crc(stream: str, offset: int, timestamp_ms: int, frame: bytes) -> int:
    """Checksum of a record and its place."""
    return zlib.crc32(frame, crc_of(stream, offset, timestamp_ms))


def registry_crc(stream: str, offset: int, timestamp_ms: int, frame: bytes) -> int:
    """Checksum of the copy of a registry record, which is kept when its record is not."""
    return zlib.crc32(frame, crc_of("registry", stream, offset, timestamp_ms))


@dataclass(frozen=True, slots=True)
class StreamRow:
    """Where a stream stands.

    Attributes
    ----------
    id : int
        The upper part of its records' keys.
    name : str
    first_offset : int
        Of the oldest record that was not pruned.
    last_offset : int
    last_ms : int
        Time of the last record. [ms UTC]
    """

    id: int
    name: str
    first_offset: int
    last_offset: int
    last_ms: int

    @property
    def values(self) -> tuple[object, ...]:
        """Its row."""
        told = (self.id, self.name, self.first_offset, self.last_offset, self.last_ms)
        return (*told, crc_of("stream", *told))

    def key(self, offset: int) -> int:
        """Key of the record at `offset`."""
        return self.id << OFFSET_BITS | offset

    @classmethod
    def read(cls, row: Sequence[object]) -> StreamRow:
        """Take a row; DamageError if it is not as it was written."""
        found = cls(*row[:5])  # type: ignore[arg-type]
        if found.values != tuple(row):
            raise DamageError(f"expected the row of a stream, got {row[1]!r:.80} with a wrong checksum")
        return found


def connect(path: Path) -> sqlite3.Connection:
    """Open a connection: each commit is on disk when it returns."""
    connection = sqlite3.connect(
        path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False, cached_statements=64
    )
    try:
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def is_damage(error: sqlite3.Error) -> bool:
    """Whether `error` speaks of the file's content, rather than of its place, its room or its locks."""
    name = getattr(error, "sqlite_errorname", None) or ""
    if not name:  # the module's own: text that is none
        return isinstance(error, sqlite3.OperationalError)
    return name in _DAMAGE or name.startswith("SQLITE_CORRUPT")


def try_to_write(db: sqlite3.Connection) -> None:
    """See that the file takes writes: a flipped bit in its head lets SQLite read and never write."""
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute(f"PRAGMA user_version = {FORMAT}")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def about_row() -> tuple[int, int, int]:
    """The row that says again what the file's head says."""
    return 1, FORMAT, crc_of(_ABOUT, FORMAT)


def about_is_ours(rows: Sequence[Sequence[object]]) -> bool:
    """Whether a file is of this format, whatever its head says."""
    return [tuple(row) for row in rows] == [about_row()]


def make_tables(db: sqlite3.Connection) -> None:
    """Make all tables, in the running transaction."""
    for statement in filter(str.strip, _TABLES.split(";")):
        db.execute(statement)
    db.execute("INSERT INTO about VALUES (?, ?, ?)", about_row())
    db.execute(f"PRAGMA user_version = {FORMAT}")


class db_transaction:  # noqa: N801  reads as a statement
    """All of a block in one transaction, or nothing of it."""

    def __init__(self, db: sqlite3.Connection):
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            try:
                self._db.execute("COMMIT")
            except BaseException:
                self._undo()
                raise
        else:
            self._undo()

    def _undo(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
