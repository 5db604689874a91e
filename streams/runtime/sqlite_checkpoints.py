"""Checkpoints in one SQLite file: all streams of a save, or none; what is not as it was written is none."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from streams.core.checkpoint import Checkpoint, CheckpointError

__all__ = ["SqliteCheckpoints"]

_VERSION: Final = 2
"""Of the file. 1 had no checksums."""
_MARK: Final = 0x48434B00  # "HCK": of the application id, whose last byte says the version again
_SCHEMA: Final = f"""
CREATE TABLE checkpoint (
    stream TEXT PRIMARY KEY, offset INTEGER NOT NULL, crc INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE part (
    stream TEXT NOT NULL, name TEXT NOT NULL, data BLOB NOT NULL, crc INTEGER NOT NULL,
    PRIMARY KEY (stream, name)
);
PRAGMA user_version = {_VERSION};
PRAGMA application_id = {_MARK | _VERSION}
"""
_PASSING: Final = (
    "SQLITE_BUSY",
    "SQLITE_LOCKED",
    "SQLITE_CANTOPEN",
    "SQLITE_FULL",
    "SQLITE_IOERR",
    "SQLITE_PERM",
)
_log = logging.getLogger(__name__)


def _part_crc(stream: str, name: str, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(f"{stream}\0{name}\0".encode()))


def _crc(stream: str, offset: int, parts: Mapping[str, int]) -> int:
    """Checksum over a whole checkpoint: a part that is missing shows, and one of another save.

    One flipped bit makes SQLite read bytes where text was written: that is another sum, no error.
    """
    told = [f"{name}\0{crc}" for name, crc in sorted(parts.items(), key=lambda part: str(part[0]))]
    return zlib.crc32("\0".join([str(stream), str(offset), *told]).encode())


class SqliteCheckpoints:
    """Keeps the last checkpoint of every stream.

    Only parts that changed are written again: segments never do.

    Parameters
    ----------
    path : pathlib.Path
        The file; made when there is none.

    Raises
    ------
    CheckpointError
        If the file cannot be opened, or was written by a newer version.
    """

    def __init__(self, path: Path):
        self._path = path
        self._lock = threading.Lock()
        if path.exists() and not os.access(path, os.R_OK | os.W_OK):
            # SQLite says the same of a damaged head, and what is damaged is put aside and computed anew.
            raise CheckpointError(
                f"{path}: expected a checkpoint file that this process may read and write, got one that it "
                "may not: see whose it is"
            )
        try:
            self._open()
        except sqlite3.Error as error:
            if (getattr(error, "sqlite_errorname", None) or "").startswith(_PASSING):
                raise CheckpointError(f"{path}: expected a checkpoint file, got: {error}") from error
            _log.warning("%s: %s: it is put aside, and every stream is computed anew", path, error)
            self._put_aside()

    def _open(self) -> None:
        self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            self._db.execute("PRAGMA synchronous = FULL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            mark = self._db.execute("PRAGMA application_id").fetchone()[0]
            if mark & ~0xFF == _MARK and mark & 0xFF != version:
                raise sqlite3.DatabaseError(f"its head says version {version} and {mark & 0xFF}")
            if version > _VERSION:
                raise CheckpointError(
                    f"{self._path}: expected version {_VERSION} or older, got {version}: it was written by a "
                    "newer hearthline; install that version again, or delete the file: it is made anew from "
                    "the journal"
                )
            self._db.execute("PRAGMA journal_mode = WAL")
            if version < _VERSION:
                self._make(version)
            # A flipped bit in its head lets SQLite read and never write.
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(f"PRAGMA user_version = {_VERSION}")
            self._db.execute("ROLLBACK")
            fault = self._db.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if fault != "ok":
                raise sqlite3.DatabaseError(fault)
        except UnicodeDecodeError as error:  # Python cannot say what SQLite says of a damaged schema
            self._db.close()
            raise sqlite3.DatabaseError(f"its tables are damaged: {error}") from error
        except BaseException:
            self._db.close()
            raise

    def _make(self, version: int) -> None:
        """Make the tables, with what an older file held, in one transaction."""
        with self._transaction():
            held: dict[str, Checkpoint] = {}
            if version == 1:
                for stream, offset in self._db.execute("SELECT stream, offset FROM checkpoint").fetchall():
                    rows = self._db.execute("SELECT name, data FROM part WHERE stream = ?", (stream,))
                    held[stream] = Checkpoint(stream, offset, dict(rows.fetchall()))
                self._db.execute("DROP TABLE checkpoint")
                self._db.execute("DROP TABLE part")
            for statement in _SCHEMA.split(";"):
                self._db.execute(statement)
            for checkpoint in held.values():
                self._save(checkpoint)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def load(self) -> dict[str, Checkpoint]:
        """The last checkpoint of each stream; CheckpointError if the file is damaged."""
        try:
            with self._lock:
                found = self._db.execute("SELECT stream, offset, crc FROM checkpoint").fetchall()
                return {stream: self._load(stream, offset, crc) for stream, offset, crc in found}
        except sqlite3.Error as error:
            raise CheckpointError(f"{self._path}: expected a checkpoint file, got: {error}") from error

    def _load(self, stream: str, offset: int, crc: int) -> Checkpoint:
        parts: dict[str, bytes] = {}
        sums: dict[str, int] = {}
        for name, data, said in self._db.execute(
            "SELECT name, data, crc FROM part WHERE stream = ?", (stream,)
        ):
            if not isinstance(data, bytes) or _part_crc(stream, name, data) != said:
                raise CheckpointError(f"{self._path}: {stream}: expected part {name!r:.80} as it was written")
            parts[name], sums[name] = data, said
        if _crc(stream, offset, sums) != crc:
            raise CheckpointError(
                f"{self._path}: {stream}: expected the parts of offset {offset}, got others"
            )
        return Checkpoint(stream, offset, parts)

    def save(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Keep all of `checkpoints` or none; CheckpointError if they cannot be kept."""
        with self._lock:
            try:
                with self._transaction():
                    for checkpoint in checkpoints:
                        self._save(checkpoint)
            except (sqlite3.Error, TypeError) as error:
                raise CheckpointError(f"{self._path}: {error}") from error

    def _save(self, checkpoint: Checkpoint) -> None:
        stream = checkpoint.stream
        kept = dict(self._db.execute("SELECT name, crc FROM part WHERE stream = ?", (stream,)).fetchall())
        gone = kept.keys() - checkpoint.parts.keys()
        self._db.executemany("DELETE FROM part WHERE stream = ? AND name = ?", [(stream, n) for n in gone])
        sums: dict[str, int] = {}
        for name, data in checkpoint.parts.items():
            sums[name] = _part_crc(stream, name, data)
            if kept.get(name) == sums[name]:
                continue  # a segment, mostly; one of a stream that was computed anew may differ
            self._db.execute(
                "INSERT OR REPLACE INTO part VALUES (?, ?, ?, ?)", (stream, name, data, sums[name])
            )
        self._db.execute(
            "INSERT OR REPLACE INTO checkpoint VALUES (?, ?, ?)",
            (stream, checkpoint.offset, _crc(stream, checkpoint.offset, sums)),
        )

    def offsets(self) -> dict[str, int]:
        """How far each stream had got, without reading its state; nothing where that is not as written."""
        with self._lock:
            try:
                found = self._db.execute("SELECT stream, offset, crc FROM checkpoint").fetchall()
                return {stream: offset for stream, offset, crc in found if self._told(stream, offset) == crc}
            except sqlite3.Error:
                return {}

    def _told(self, stream: str, offset: int) -> int:
        sums = self._db.execute("SELECT name, crc FROM part WHERE stream = ?", (stream,)).fetchall()
        return _crc(stream, offset, dict(sums))

    def clear(self) -> None:
        """Forget every checkpoint: begin a new file, and keep the damaged one beside it."""
        with self._lock:
            self._db.close()
            self._put_aside()

    def _put_aside(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            old = self._path.with_name(self._path.name + suffix)
            if old.exists():
                old.replace(old.with_name(f"{old.name}.damaged"))
        self._open()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()
