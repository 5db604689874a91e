"""A damaged journal built anew from whatever its bytes still prove, the damaged file kept beside it.

Each row bears a checksum over its content and its place, so rows are taken from any page that
holds them, reachable or not, and from any page image of the log; a page that lies is not believed.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa

from journal.losses import Loss, after_losses, note_losses
from journal.protocol import JournalError
from journal.sqlite_format import (
    LOWEST_MS,
    OFFSET_BITS,
    OFFSET_MASK,
    DamageError,
    StreamRow,
    db_transaction,
    make_tables,
    record_crc,
    registry_crc,
)
from models.frame import FrameKind
from models.sqlite_pages import DamagedCellError, Value, leaf_rows, page_size_of
from models.sqlite_wal import Wal, committed, pages_of, read_wal

__all__ = ["Mended", "finish", "is_registry", "mend", "wal_of"]

_PAGE_BYTES: Final = 4096
_SCHEMA_WORDS: Final = b"CREATE TABLE loss"
_INSERT_ROW: Final = "INSERT OR IGNORE INTO {} VALUES (?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Mended:
    """What became of a damaged journal.

    Attributes
    ----------
    records : int
        How many were saved.
    losses : list of Loss
        What was not; the first says why the file was built anew.
    aside : Path
        Where the damaged file is kept.
    """

    records: int
    losses: list[Loss]
    aside: Path


def is_registry(frame: bytes) -> bool:
    """Whether a frame carries the site's files."""
    if b"registry" not in frame[:2048]:
        return False
    try:
        with pa.ipc.open_stream(pa.py_buffer(frame)) as reader:
            metadata = reader.schema.metadata or {}
    except (pa.ArrowException, OSError):
        return False
    return bool(metadata.get(b"kind") == FrameKind.REGISTRY.encode())


def _with(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def wal_of(path: Path) -> tuple[Wal, bytes]:
    """The write-ahead log beside a journal, judged, and its bytes."""
    try:
        data = _with(path, "-wal").read_bytes()
    except FileNotFoundError:
        data = b""
    return read_wal(memoryview(data)), data


def _sync(path: Path) -> None:
    place = os.open(path, os.O_RDONLY)
    try:
        os.fsync(place)
    finally:
        os.close(place)


def finish(path: Path) -> None:
    """Put a file that was built anew in its place: again, where a stop came between."""
    mended = _with(path, ".mended")
    if not mended.exists():
        return
    # It is whole and holds all that the log had, and the log belongs to the file before it.
    for suffix in ("-wal", "-shm"):
        _with(path, suffix).unlink(missing_ok=True)
    mended.replace(path)
    _sync(path.parent)


def mend(path: Path, reason: str, now_ms: int) -> Mended:
    """Build `path` anew from what can be proved; nobody may have it open.

    Killed at any point, the damaged file or the whole new one is found by the next start.

    Raises
    ------
    JournalError
        Nothing in it is of a journal, or there is no room for a second file.
    """
    building = _with(path, ".mending")
    try:
        for suffix in ("", "-wal", "-shm", "-journal"):
            _with(building, suffix).unlink(missing_ok=True)
        with closing(sqlite3.connect(building, isolation_level=None)) as db:
            db.execute("PRAGMA synchronous = OFF")
            db.execute("PRAGMA journal_mode = MEMORY")
            with db_transaction(db):
                make_tables(db)
                salvage = _Salvage(db, path)
                salvage.take_all()
                aside = _aside(path, now_ms)
                losses = salvage.settle(now_ms, f"{reason}; the damaged file is kept as {aside.name}")
                records = int(db.execute("SELECT count(*) FROM record").fetchone()[0])
        _sync(building)
        _keep(path, aside)
        building.replace(_with(path, ".mended"))
        _sync(path.parent)
        finish(path)
    except (OSError, sqlite3.Error, _NothingError) as error:
        with suppress(OSError):
            building.unlink(missing_ok=True)
        if isinstance(error, _NothingError):
            msg = f"journal {path}: cannot open: expected a journal, got a file with nothing of one: {reason}"
            raise JournalError(msg) from error
        size = path.stat().st_size if path.exists() else 0
        msg = f"journal {path}: {reason}; expected room to build it anew ({size} bytes), got: {error}"
        raise JournalError(msg) from error
    return Mended(records, losses, aside)


def _aside(path: Path, now_ms: int) -> Path:
    """A name that is free."""
    number = now_ms // 1000
    while (aside := _with(path, f".damaged-{number}")).exists():
        number += 1
    return aside


def _keep(path: Path, aside: Path) -> None:
    for suffix in ("", "-wal"):
        old = _with(path, suffix)
        if old.exists():
            try:
                os.link(old, _with(aside, suffix))
            except OSError:  # a file system without links
                shutil.copy2(old, _with(aside, suffix))


def _cut_bytes(head: bytes, page_size: int, length: int) -> int:
    """How much of its end a file has lost, as its head says. [bytes]"""
    if page_size_of(head) != page_size:
        return 0
    said = int.from_bytes(head[28:32], "big") * page_size
    return max(0, min(said - length, 1 << 40))


class _NothingError(Exception):
    """Nothing in a file is of a journal."""


class _Salvage:
    """Rows of a damaged file on their way into a new one."""

    def __init__(self, db: sqlite3.Connection, path: Path):
        self._db = db
        self._wal, self._log = wal_of(path)
        self._file = path.open("rb")
        head = self._file.read(_PAGE_BYTES)
        self._size = page_size_of(head) or self._wal.page_size or _PAGE_BYTES
        self._ours = _SCHEMA_WORDS in head
        self._cut_bytes = _cut_bytes(head, self._size, os.fstat(self._file.fileno()).st_size)
        self._streams: dict[str, StreamRow] = {}
        self._numbers: dict[str, int] = {}
        self._losses: dict[tuple[object, ...], Loss] = {}
        self._damaged_bytes = 0
        self._newest = {f.page: f.at for f in committed(self._wal) if f.whole or self._wal.headless}

    def _page(self, number: int) -> bytes | None:
        if (at := self._newest.get(number)) is not None:
            return self._log[at : at + self._wal.page_size]
        return self._from_file(number)

    def _from_file(self, number: int) -> bytes | None:
        try:
            return os.pread(self._file.fileno(), self._size, (number - 1) * self._size) or None
        except OSError:  # a sector that the disk cannot read
            return None

    def _pages(self) -> Iterator[tuple[int, bytes]]:
        """Every page image there is, the newest of each first."""
        yield from pages_of(self._wal, self._log)
        length = os.fstat(self._file.fileno()).st_size
        for number in range(1, -(-length // self._size) + 1):
            page = self._from_file(number)
            if page is not None:
                yield number, page.ljust(self._size, b"\0")

    def _number(self, stream: str) -> int:
        """Of a stream in the new file: a record proves its name and offset, not the number in its key."""
        return self._numbers.setdefault(stream, len(self._numbers) + 1)

    def take_all(self) -> None:
        """Take every row that proves itself."""
        with self._file:
            for number, page in self._pages():
                for found in leaf_rows(page, number, self._page):
                    if not isinstance(found, DamagedCellError):
                        self._take(*found)

    def _take(self, rowid: int, values: list[Value]) -> None:
        if len(values) == 5:
            self._take_record(rowid, values)
            return
        with suppress(DamageError, TypeError):
            if len(values) == 6:
                row = StreamRow.read((rowid, *values[1:]))
                kept = self._streams.get(row.name, row)
                self._streams[row.name] = max(row, kept, key=lambda r: (r.last_offset, r.first_offset))
            elif len(values) == 9:
                loss = Loss.read(values[1:])
                self._losses.setdefault(loss.values[:-2], loss)

    def _take_record(self, rowid: int, values: list[Value]) -> None:
        _, stream, timestamp_ms, crc, frame = values
        if not (isinstance(stream, str) and isinstance(timestamp_ms, int) and isinstance(frame, bytes)):
            return
        offset = rowid & OFFSET_MASK
        place = (stream, offset, timestamp_ms, frame)
        as_record, as_registry = record_crc(*place), registry_crc(*place)
        if crc not in {as_record, as_registry}:
            self._damaged_bytes += len(frame)
            return
        key = self._number(stream) << OFFSET_BITS | offset
        if crc == as_record:
            self._db.execute(_INSERT_ROW.format("record"), (key, stream, timestamp_ms, crc, frame))
        if crc == as_registry or is_registry(frame):
            row = (key, stream, timestamp_ms, as_registry, frame)
            self._db.execute(_INSERT_ROW.format("registry"), row)

    def settle(self, now_ms: int, reason: str) -> list[Loss]:
        """Say where each stream stands and what it misses."""
        held = {
            name: (key & OFFSET_MASK, last_ms)
            for name, key, last_ms in self._db.execute(
                "SELECT stream, max(id), max(timestamp_ms) FROM record GROUP BY stream"
            )
        }
        if not held and not self._streams and not self._ours:
            raise _NothingError
        new = [Loss(now_ms, "", 0, -1, self._damaged_bytes + self._cut_bytes, reason)]
        for name in sorted(held.keys() | self._streams.keys()):
            row = self._stand(name, held.get(name))
            self._db.execute(
                "DELETE FROM record WHERE id BETWEEN ? AND ?", (row.key(0), row.key(row.first_offset) - 1)
            )
            self._db.execute("INSERT INTO stream VALUES (?, ?, ?, ?, ?, ?)", row.values)
            new += self._missing(row, now_ms)
        note_losses(self._db, (*self._losses.values(), *new))
        return new

    def _stand(self, name: str, held: tuple[int, int] | None) -> StreamRow:
        # Without its row nobody knows what was before the oldest record: pruned, or lost.
        said = self._streams.get(name) or StreamRow(0, name, 0, -1, LOWEST_MS)
        last, last_ms = held or (-1, LOWEST_MS)
        return StreamRow(
            self._number(name),
            name,
            said.first_offset,
            max(last, said.last_offset),
            max(last_ms, said.last_ms),
        )

    def _missing(self, row: StreamRow, now_ms: int) -> list[Loss]:
        known = [loss for loss in self._losses.values() if loss.stream == row.name]
        keys = self._db.execute(
            "SELECT id FROM record WHERE id BETWEEN ? AND ? ORDER BY id", (row.key(0), row.key(OFFSET_MASK))
        ).fetchall()
        gaps = []
        expected = after_losses(row.first_offset, known)
        for (key,) in [*keys, (row.key(row.last_offset + 1),)]:
            offset = key & OFFSET_MASK
            if offset > expected:
                gaps.append(Loss(now_ms, row.name, expected, offset - 1, 0, "they could not be read"))
            expected = max(expected, after_losses(offset + 1, known))
        return gaps
