"""The packed part of one device's outbox: its oldest messages, many in a row of the file."""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from edge import ranges as intervals
from edge.outbox_format import OutboxError
from edge.outbox_message import OVERHEAD_BYTES, SEQ_BITS, SEQ_MASK, Message, crc_of, pack_crc
from edge.packing import pack, read_numbers, unpack, write_numbers
from edge.ranges import Ranges

if TYPE_CHECKING:
    from edge.outbox import OutboxFile

__all__ = ["MAX_PACKED", "Packs"]

MAX_PACKED: Final = 1024  # messages in one row
_IN_MEMORY: Final = 2  # rows of each device, unpacked: what is sent next
_AT_ONCE: Final = 32  # rows thinned in one transaction: a second or two on a small machine


class _Row(NamedTuple):
    numbers: Ranges
    size: int
    t_ms: int

    @property
    def first(self) -> int:
        return self.numbers[0][0]

    @property
    def last(self) -> int:
        return self.numbers[-1][1]

    @property
    def density(self) -> float:
        return intervals.count(self.numbers) / (self.last - self.first + 1)


class Packs:
    """Messages that were packed, in the order of their numbers; all are older than those that were not.

    A row is read-only: what of it is acknowledged is noted beside it, until all of it is and it goes.

    Parameters
    ----------
    file : OutboxFile
    device : str
    key : int
        Number of the device's outbox in the file.
    """

    def __init__(self, file: OutboxFile, device: str, key: int):
        self._file = file
        self._device = device
        self._key = key
        self._rows: list[_Row] = []
        self._gone: Ranges = []
        self._read: OrderedDict[int, list[Message]] = OrderedDict()
        self.count = self.bytes = 0

    def load(self) -> None:
        """Read what the file holds."""
        db = self._file._db  # noqa: SLF001  parts of one thing
        base = self._key << SEQ_BITS
        self._rows = [
            _Row(read_numbers(numbers), size + OVERHEAD_BYTES, t_ms)
            for numbers, size, t_ms in db.execute(
                "SELECT numbers, length(packed) + length(numbers), t_ms FROM pack"
                " WHERE id BETWEEN ? AND ? ORDER BY id",
                (base, base | SEQ_MASK),
            )
        ]
        row = db.execute("SELECT numbers FROM partly WHERE outbox = ?", (self._key,)).fetchone()
        self._gone = read_numbers(row[0]) if row is not None else []
        self._read.clear()
        self.bytes = sum(row.size for row in self._rows)
        self.count = intervals.count(self.waiting())

    def waiting(self) -> Ranges:
        """Numbers that wait."""
        return intervals.subtract([ends for row in self._rows for ends in row.numbers], self._gone)

    @property
    def oldest_ms(self) -> int | None:
        """Time of the oldest sample that waits; None without any. [ms UTC]"""
        partly = [row for row in self._rows if intervals.intersect(row.numbers, self._gone)]
        times = [row.t_ms for row in self._rows if row not in partly]
        return min([*times, *(m.t_ms for row in partly for m in self._messages(row))], default=None)

    def after(self, seq: int, most: int) -> list[Message]:
        """Up to `most` messages with a number above `seq`, in order."""
        found: list[Message] = []
        for row in self._rows[bisect_left(self._rows, seq + 1, key=lambda row: row.last) :]:
            if len(found) >= most:
                break
            found += [m for m in self._messages(row) if m.seq > seq]
        return found[:most]

    def _messages(self, row: _Row) -> list[Message]:
        """What of a row still waits."""
        if row.first not in self._read:
            self._read[row.first] = self._unpacked(row)
            if len(self._read) > _IN_MEMORY:
                self._read.popitem(last=False)
        messages = self._read[row.first]
        if not intervals.intersect(row.numbers, self._gone):
            return messages
        left = intervals.subtract(row.numbers, self._gone)
        waits = {n for first, last in left for n in range(first, last + 1)}
        return [m for m in messages if m.seq in waits]

    def _unpacked(self, row: _Row) -> list[Message]:
        t_ms, numbers, packed, crc = self._file._db.execute(  # noqa: SLF001
            "SELECT t_ms, numbers, packed, crc FROM pack WHERE id = ?", (self._id(row),)
        ).fetchone()
        if pack_crc(self._device, row.first, t_ms, numbers, packed) != crc:
            where = f"{self._file.path}: messages {row.first} to {row.last} of {self._device}"
            raise OutboxError(f"{where}: expected their checksum, got another; a new start saves the others")
        return unpack(packed)

    def _id(self, row: _Row) -> int:
        return self._key << SEQ_BITS | row.first

    def add(self, db: sqlite3.Connection, messages: Sequence[Message]) -> None:
        """Keep messages as one row; none of another row lies between them."""
        first, t_ms = messages[0].seq, min(m.t_ms for m in messages)
        numbers = intervals.of_numbers(m.seq for m in messages)
        told, packed = write_numbers(numbers), pack(messages)
        crc = pack_crc(self._device, first, t_ms, told, packed)
        row = _Row(numbers, len(packed) + len(told) + OVERHEAD_BYTES, t_ms)
        db.execute(
            "INSERT INTO pack VALUES (?, ?, ?, ?, ?, ?, ?)",
            (self._id(row), self._key, self._device, t_ms, told, crc, packed),
        )
        self._rows.insert(bisect_left(self._rows, first, key=lambda row: row.first), row)
        self.count += len(messages)
        self.bytes += row.size

    def _drop(self, db: sqlite3.Connection, row: _Row) -> None:
        db.execute("DELETE FROM pack WHERE id = ?", (self._id(row),))
        self.count -= intervals.count(intervals.subtract(row.numbers, self._gone))
        self.bytes -= row.size
        self._rows.remove(row)
        self._gone = intervals.subtract(self._gone, [(row.first, row.last)])
        self._read.pop(row.first, None)

    def ack(self, db: sqlite3.Connection, known: Ranges) -> int:
        """Forget numbers; how many of them waited here."""
        before, count = list(self._gone), self.count
        start = bisect_left(self._rows, known[0][0], key=lambda row: row.last) if known else len(self._rows)
        for row in self._rows[start:]:
            if row.first > known[-1][1]:
                break
            heard = intervals.intersect(row.numbers, known)
            if not intervals.subtract(intervals.subtract(row.numbers, self._gone), heard):
                self._drop(db, row)
            elif heard:
                fresh = intervals.subtract(heard, self._gone)
                self._gone = intervals.union(self._gone, fresh)
                self.count -= intervals.count(fresh)
        self._note(db, before)
        return count - self.count

    def _note(self, db: sqlite3.Connection, before: Ranges) -> None:
        if self._gone == before:
            return
        told = write_numbers(self._gone)
        db.execute(
            "INSERT OR REPLACE INTO partly VALUES (?, ?, ?)", (self._key, told, crc_of(self._key, told))
        )

    def thin(self, db: sqlite3.Connection, half: int, pack_bytes: int) -> list[int]:
        """Drop every second of the `half` oldest messages, of some rows at a time; which ones.

        Those rows come first that were thinned least, so that all become coarser in step.
        """
        before, up_to = list(self._gone), self._number_at(half)
        older = [row for row in self._rows if row.first <= up_to]
        chosen = sorted(sorted(older, key=lambda row: -row.density)[:_AT_ONCE], key=lambda row: row.first)
        dropped: list[int] = []
        kept: list[Message] = []
        for row in chosen:
            if kept and any(kept[-1].seq < other.first < row.first for other in self._rows):
                self.add(db, kept)
                kept = []
            messages = self._messages(row)
            victims = {m.seq for m in [m for m in messages if m.seq <= up_to][::2]}
            dropped += sorted(victims)
            kept += [m for m in messages if m.seq not in victims]
            self._drop(db, row)
            if sum(len(m.payload) for m in kept) >= pack_bytes or len(kept) >= MAX_PACKED // 2:
                self.add(db, kept)
                kept = []
        if kept:
            self.add(db, kept)
        self._note(db, before)
        return dropped

    def _number_at(self, place: int) -> int:
        """Number of the message at a place among those that wait, from 1; the last one's beyond them."""
        for first, last in self.waiting():
            if place <= last - first + 1:
                return first + place - 1
            place -= last - first + 1
        return self._rows[-1].last
