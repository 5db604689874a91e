"""The journal of an embedded server: one SQLite file, fsynced at each append, every row with a checksum."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from journal.checking import read_streams, verified
from journal.losses import Loss, note_losses, read_losses, told
from journal.mending import is_registry
from journal.protocol import Append
from journal.sound_file import SoundFile
from journal.sqlite_format import (
    LOWEST_MS,
    OFFSET_MASK,
    StreamRow,
    db_transaction,
    record_crc,
    registry_crc,
)
from models.frame import Record

__all__ = ["FILE_NAME", "SqliteJournal"]

FILE_NAME: Final = "journal.sqlite3"
"""The journal's file in a data directory."""
_SCAN_CHUNK: Final = 64  # frames are up to 512 KiB: a scan of many streams must stay small


class SqliteJournal(SoundFile):
    """Ordered, durable sequences of frames in one file (WAL, synchronous FULL).

    One process writes; others may read the same file meanwhile. Threads of
    the process share one instance: writes go through one connection under a
    lock, reads through another, so that a reader never waits for a commit.

    A damaged file is never believed: where a row, a place or a page is not
    as it was written, the file is built anew from what can be proved, the
    damaged one is kept beside it, and `condition` says what is lost.

    Parameters
    ----------
    path : Path
        The file; made when absent, but not its directory.
    clock : callable
        Gives the time of records that come without one. [ms UTC]
    mends : bool
        Whether this process owns the file and may build it anew; without, damage is a JournalError.

    Raises
    ------
    JournalError
        The file cannot be opened, is no journal, or was written by a newer program.
    """

    def __init__(self, path: Path, clock: Callable[[], int], *, mends: bool = True) -> None:
        self._changed = threading.Condition()
        self._closed = False
        self._tails: dict[str, tuple[int, int]] = {}
        self._ids: dict[str, int] = {}
        super().__init__(path, clock, mends=mends)

    def _opened_with(self, rows: Mapping[str, StreamRow]) -> None:
        self._ids = {name: row.id for name, row in rows.items()}
        self._tails = {name: (row.last_offset, row.last_ms) for name, row in rows.items()}

    def append(self, items: Sequence[Append]) -> list[Record]:
        """Keep all of `items` in one transaction, or none; on disk when this returns."""
        if not items:
            return []
        now_ms = self._clock()
        with self._write_lock:
            with self._refusing("append"):
                records, tails = self._sound(lambda: self._append(items, now_ms), self._write_lock)
            with self._changed:
                self._tails = self._tails | tails
                self._changed.notify_all()
        return records

    def _append(
        self, items: Sequence[Append], now_ms: int
    ) -> tuple[list[Record], dict[str, tuple[int, int]]]:
        with db_transaction(self._writer):
            return self._insert(items, now_ms)

    def _insert(
        self, items: Sequence[Append], now_ms: int
    ) -> tuple[list[Record], dict[str, tuple[int, int]]]:
        rows: dict[str, StreamRow] = {}
        records = []
        for item in items:
            row = rows.get(item.stream) or self._row(item.stream)
            given_ms = now_ms if item.timestamp_ms is None else item.timestamp_ms
            record = Record(item.stream, row.last_offset + 1, max(given_ms, row.last_ms), item.frame)
            place = (record.stream, record.offset, record.timestamp_ms, record.frame)
            key = row.key(record.offset)
            told = (record.stream, record.timestamp_ms)
            self._writer.execute(
                "INSERT INTO record VALUES (?, ?, ?, ?, ?)", (key, *told, record_crc(*place), record.frame)
            )
            if is_registry(item.frame):
                values = (key, *told, registry_crc(*place), record.frame)
                self._writer.execute("INSERT INTO registry VALUES (?, ?, ?, ?, ?)", values)
            rows[item.stream] = StreamRow(
                row.id, row.name, row.first_offset, record.offset, record.timestamp_ms
            )
            records.append(record)
        self._put_rows(rows.values())
        return records, {name: (row.last_offset, row.last_ms) for name, row in rows.items()}

    def _row(self, stream: str) -> StreamRow:
        """Where a stream stands, made where there is none; of the running transaction."""
        number = self._ids.setdefault(stream, 1 + max(self._ids.values(), default=0))
        found = self._writer.execute("SELECT * FROM stream WHERE id = ?", (number,)).fetchone()
        return StreamRow.read(found) if found else StreamRow(number, stream, 0, -1, LOWEST_MS)

    def _put_rows(self, rows: Iterable[StreamRow]) -> None:
        values = [row.values for row in rows]
        self._writer.executemany("INSERT OR REPLACE INTO stream VALUES (?, ?, ?, ?, ?, ?)", values)

    def read(self, stream: str, after: int, limit: int = 1000) -> list[Record]:
        """Up to `limit` records of `stream` with an offset above `after`, in order.

        Offsets are passed over only where `losses` has them, or at the start of a pruned stream.
        """

        def work() -> list[Record]:
            db = self._reader
            db.execute("BEGIN")
            try:
                row = read_streams(db).get(stream)
                return [] if row is None else self._take(db, row, after, limit)
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

        with self._refusing("read"):
            return self._sound(work, self._read_lock)

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
        tails = self.streams()
        merged = heapq.merge(*(self._one(stream, offset) for stream, (offset, _) in sorted(tails.items())))
        return (record for _, _, _, record in merged)

    def scrub(self) -> int:
        """Read everything once, so that damage is found while its neighbours are whole; how many records."""
        return sum(1 for _ in self.scan())

    def streams(self) -> dict[str, tuple[int, int]]:
        """Each stream's last offset and its timestamp in ms UTC."""
        with self._refusing("read"):
            rows = self._sound(lambda: read_streams(self._reader), self._read_lock)
        return {name: (row.last_offset, row.last_ms) for name, row in rows.items() if row.last_offset >= 0}

    def registries(self) -> list[Record]:
        """Every registry record ever appended, pruned ones too, oldest first."""

        def work() -> list[Record]:
            rows = self._reader.execute("SELECT * FROM registry").fetchall()
            return [verified(row, registry_crc) for row in rows]

        with self._refusing("read"):
            records = self._sound(work, self._read_lock)
        return sorted(records, key=lambda r: (r.timestamp_ms, r.stream, r.offset))

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
            return self._sound(lambda: self._prune(before_ms), self._write_lock)

    def _prune(self, before_ms: int) -> int:
        gone = 0
        with db_transaction(self._writer):
            for row in read_streams(self._writer).values():
                first = self._first_from(row, before_ms)
                done = self._writer.execute(
                    "DELETE FROM record WHERE id BETWEEN ? AND ?", (row.key(0), row.key(first) - 1)
                )
                gone += done.rowcount
                if first > row.first_offset:
                    self._put_rows([replace(row, first_offset=first)])
        return gone

    def _first_from(self, row: StreamRow, before_ms: int) -> int:
        """The first offset of `row` that is kept: times never go back within a stream."""
        low, high = row.first_offset, row.last_offset
        while low < high:
            middle = (low + high) // 2
            found = self._writer.execute(
                "SELECT id, timestamp_ms FROM record WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 1",
                (row.key(middle), row.key(high)),
            ).fetchone()
            if found is None or found[1] >= before_ms:
                high = middle
            else:
                low = (found[0] & OFFSET_MASK) + 1
        return max(row.first_offset, min(low, row.last_offset))

    @property
    def losses(self) -> list[Loss]:
        """What is known to be lost, and torn ends that were cut, oldest first."""
        with self._read_lock, self._refusing("read"):
            return read_losses(self._reader)

    def cover(self, seen: Mapping[str, int], who: str) -> list[Loss]:
        """Go on after the offsets that `who` has seen, and note those that this file does not have.

        An offset that a reader has passed is never given to another record: the reader would take
        it for one that it knows. After a loss at a stream's end, or with an older copy of the file,
        it would be.
        """
        reason = f"{who} had seen them, and the journal ends before"
        with self._write_lock, self._refusing("append"):
            rows = {name: self._row(name) for name in seen}
            behind = {name: row for name, row in rows.items() if row.last_offset < seen[name]}
            noted = [
                Loss(self._clock(), name, row.last_offset + 1, seen[name], 0, reason)
                for name, row in behind.items()
            ]
            if noted:
                with db_transaction(self._writer):
                    self._put_rows(replace(row, last_offset=seen[name]) for name, row in behind.items())
                    note_losses(self._writer, noted)
                self._losses = read_losses(self._writer)
                self._tails = self._tails | {n: (seen[n], row.last_ms) for n, row in behind.items()}
        return noted

    def accept_losses(self) -> int:
        """Take note that a person knows what is lost; how many notes that were."""
        with self._write_lock, self._refusing("append"), db_transaction(self._writer):
            losses = read_losses(self._writer)
            self._writer.execute("DELETE FROM loss")
            note_losses(self._writer, [replace(loss, accepted=True) for loss in losses])
        return sum(not loss.accepted for loss in losses)

    @property
    def condition(self) -> tuple[bool, str]:
        """Whether all is well, and what is to be said of it: losses until a person has accepted them."""
        return told(self.losses)

    def close(self) -> None:
        """Wake waiters and release the file."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._release()
