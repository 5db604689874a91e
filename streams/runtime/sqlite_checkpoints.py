"""Checkpoints in one SQLite file: all streams of a save, or none."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

from streams.core.checkpoint import Checkpoint, CheckpointError

__all__ = ["SqliteCheckpoints"]

_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS checkpoint (stream TEXT PRIMARY KEY, offset INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS part (
    stream TEXT NOT NULL, name TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (stream, name)
);
"""


class SqliteCheckpoints:
    """Keeps the last checkpoint of every stream.

    Segments never change once written, so only new ones are written again.

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
        self._open()

    def _open(self) -> None:
        path = self._path
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version > _VERSION:
                raise CheckpointError(
                    f"{path}: expected version {_VERSION} or older, got {version}: update Hearthline"
                )
            self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;" + _SCHEMA)
            self._db.execute(f"PRAGMA user_version={_VERSION}")
        except sqlite3.Error as error:
            raise CheckpointError(f"{path}: expected a checkpoint file, got: {error}") from error

    def load(self) -> dict[str, Checkpoint]:
        """The last checkpoint of each stream; CheckpointError if the file is damaged."""
        try:
            return self._load()
        except sqlite3.Error as error:
            raise CheckpointError(f"{self._path}: expected a checkpoint file, got: {error}") from error

    def _load(self) -> dict[str, Checkpoint]:
        with self._lock:
            found = self._db.execute("SELECT stream, offset FROM checkpoint").fetchall()
            return {
                stream: Checkpoint(
                    stream,
                    offset,
                    dict(self._db.execute("SELECT name, data FROM part WHERE stream = ?", (stream,))),
                )
                for stream, offset in found
            }

    def save(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Keep all of `checkpoints` or none; CheckpointError if they cannot be kept."""
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                for checkpoint in checkpoints:
                    self._save(checkpoint)
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise CheckpointError(f"{self._path}: {error}") from error

    def _save(self, checkpoint: Checkpoint) -> None:
        stream = checkpoint.stream
        kept = {n for (n,) in self._db.execute("SELECT name FROM part WHERE stream = ?", (stream,))}
        gone = kept - set(checkpoint.parts)
        self._db.executemany("DELETE FROM part WHERE stream = ? AND name = ?", [(stream, n) for n in gone])
        changed = [
            (stream, name, data)
            for name, data in checkpoint.parts.items()
            if not (name.startswith("segment/") and name in kept)
        ]
        self._db.executemany("INSERT OR REPLACE INTO part VALUES (?, ?, ?)", changed)
        self._db.execute("INSERT OR REPLACE INTO checkpoint VALUES (?, ?)", (stream, checkpoint.offset))

    def clear(self) -> None:
        """Forget every checkpoint: begin a new file, and keep the damaged one beside it."""
        with self._lock:
            self._db.close()
            for suffix in ("", "-wal", "-shm"):
                old = self._path.with_name(self._path.name + suffix)
                if old.exists():
                    old.replace(old.with_name(f"{old.name}.damaged"))
            self._open()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()
