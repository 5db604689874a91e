"""A journal's file that is never believed: each row is proved as it is read, damage is mended and noted."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from journal.checking import check, read_streams, verified
from journal.losses import Loss, after_losses, note_losses, read_losses
from journal.mending import finish, mend, wal_of
from journal.protocol import JournalError
from journal.sqlite_format import (
    DAMAGE,
    OFFSET_MASK,
    DamageError,
    StreamRow,
    connect,
    db_transaction,
    is_damage,
    try_to_write,
)
from journal.sqlite_upgrade import prepare
from models.frame import Record
from models.wording import worded

__all__ = ["SoundFile"]

_CANNOT: Final = {
    "open": worded("cannot open"),
    "append": worded("cannot append"),
    "read": worded("cannot read"),
    "prune": worded("cannot prune"),
}
_CHECKED_WHOLE: Final = 64 * 1024 * 1024
"""Read through at each start; a larger file once a day, and as it is read. [bytes]"""
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class SoundFile:
    """The connections of a journal's file, one to write and one to read, and what mends it.

    Parameters
    ----------
    path : Path
    clock : callable
        When a loss was found. [ms UTC]
    mends : bool
        Whether this process owns the file and may build it anew; without, damage is an error.

    Raises
    ------
    JournalError
    """

    def __init__(self, path: Path, clock: Callable[[], int], *, mends: bool = True) -> None:
        self._path = path
        self._clock = clock
        self._mends = mends
        self._write_lock = threading.RLock()
        self._read_lock = threading.RLock()
        self._released = False
        self._opened = 0
        self._losses: list[Loss] = []
        with self._refusing("open"):
            try:
                self._open()
            except DAMAGE as error:
                self._mend(error)

    def _open(self) -> None:
        torn = self._look_at_log()
        self._writer = connect(self._path)
        try:
            size = self._path.stat().st_size
            prepare(self._path, self._writer, size)
            if self._mends:
                try_to_write(self._writer)
            rows = read_streams(self._writer)
            self._losses = read_losses(self._writer)
            if self._mends and (fault := self._first_fault(size, rows)):
                raise DamageError(fault)
            if torn:
                # Begin a new log: what is torn may never be taken for a part of what follows it.
                self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                reason = "the torn end of the log was cut; whoever wrote it was never told that it was safe"
                self._note([Loss(self._clock(), "", 0, -1, torn, reason, accepted=True)])
            self._reader = connect(self._path)
        except BaseException:
            self._writer.close()
            raise
        self._opened += 1
        self._opened_with(rows)

    def _look_at_log(self) -> int:
        """How many bytes of the log SQLite is going to drop; DamageError if they had been promised."""
        if not self._mends:
            return 0
        finish(self._path)
        wal, _ = wal_of(self._path)
        if wal.damaged:
            raise DamageError(
                f"the log holds transactions that do not follow from those before them, "
                f"{wal.dropped_bytes} bytes"
            )
        return wal.dropped_bytes

    def _first_fault(self, size: int, rows: Mapping[str, StreamRow]) -> str:
        if size <= _CHECKED_WHOLE:
            return next(check(self._writer), "")
        for row in rows.values():
            self._take(self._writer, row, row.last_offset - 1, 1)
        return ""

    @contextmanager
    def _refusing(self, what: str) -> Iterator[None]:
        """Turn SQLite's errors into one that says where and what."""
        try:
            yield
        except (DamageError, UnicodeDecodeError) as error:
            remedy = worded("stop its server, then: hearthline journal recover --data-dir DIR")
            msg = worded(
                "journal {where}: {what}: {why}; {remedy}",
                where=str(self._path), what=_CANNOT[what], why=str(error), remedy=remedy,
            )  # fmt: skip
            raise JournalError(msg) from error
        except sqlite3.Error as error:
            at = {"where": str(self._path), "what": _CANNOT[what], "why": str(error)}
            raise JournalError(worded("journal {where}: {what}: {why}", **at)) from error

    def _mend(self, error: Exception) -> None:
        """Build the file anew; whoever calls has closed both connections or holds both locks."""
        if not self._mends or (isinstance(error, sqlite3.Error) and not is_damage(error)):
            raise error
        for connection in (getattr(self, "_writer", None), getattr(self, "_reader", None)):
            if connection is not None:
                connection.close()
        mended = mend(self._path, str(error), self._clock())
        lost = sum(loss.records for loss in mended.losses)
        _log.error(
            "journal %s was damaged: %s; %d records were saved, %d are lost; the damaged file is kept as %s",
            self._path, error, mended.records, lost, mended.aside.name,
        )  # fmt: skip
        self._open()

    def _sound(self, work: Callable[[], _T], lock: threading.RLock) -> _T:
        """What `work` gives under `lock`; where it meets damage, once more after mending."""
        try:
            with lock:
                opened = self._opened
                return work()
        except DAMAGE as error:
            if not self._mends or (isinstance(error, sqlite3.Error) and not is_damage(error)):
                raise
            with self._write_lock, self._read_lock:
                if self._opened == opened and not self._released:
                    self._mend(error)
        with lock:
            return work()

    def _take(self, db: sqlite3.Connection, row: StreamRow, after: int, limit: int) -> list[Record]:
        """Records after `after`, each proved, and none missing."""
        lost = [loss for loss in self._losses if loss.stream == row.name]
        expected = after_losses(max(after + 1, row.first_offset), lost)
        records = []
        for found in db.execute(
            "SELECT * FROM record WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?",
            (row.key(expected), row.key(OFFSET_MASK), limit),
        ):
            record = verified(found)
            if (record.stream, record.offset) != (row.name, expected):
                raise DamageError(
                    f"stream {row.name}: expected record {expected}, got {record.offset} of {record.stream}"
                )
            records.append(record)
            expected = after_losses(expected + 1, lost)
        if len(records) < limit and expected <= row.last_offset:
            raise DamageError(f"stream {row.name}: expected record {expected}, got none")
        return records

    def _note(self, losses: Sequence[Loss]) -> None:
        with db_transaction(self._writer):
            note_losses(self._writer, losses)
        self._losses = read_losses(self._writer)

    def _opened_with(self, rows: Mapping[str, StreamRow]) -> None:
        """Take note of where streams stand: at the start, and after each mending."""
        raise NotImplementedError

    def _release(self) -> None:
        with self._write_lock, self._read_lock:
            self._released = True
            self._reader.close()
            self._writer.close()
