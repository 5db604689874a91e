"""Whether a journal's file says what was written to it: every row, every place, and the pages they lie in."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

from journal.losses import Loss, after_losses, read_losses
from journal.sqlite_format import (
    OFFSET_MASK,
    DamageError,
    StreamRow,
    is_damage,
    record_crc,
    registry_crc,
)
from models.frame import Record

__all__ = ["check", "read_streams", "verified"]


def verified(row: Sequence[object], crc_of: Callable[[str, int, int, bytes], int] = record_crc) -> Record:
    """The record of a row (id, stream, timestamp_ms, crc, frame); DamageError if it is not as written."""
    key, stream, timestamp_ms, crc, frame = row
    if isinstance(key, int) and isinstance(stream, str) and isinstance(timestamp_ms, int):
        offset = key & OFFSET_MASK
        if isinstance(frame, bytes) and crc_of(stream, offset, timestamp_ms, frame) == crc:
            return Record(stream, offset, timestamp_ms, frame)
        raise DamageError(f"record {offset} of stream {stream!r:.80}: expected its checksum, got another")
    raise DamageError(f"expected a record, got a row of other types under the key {key!r}")


def read_streams(db: sqlite3.Connection) -> dict[str, StreamRow]:
    """Where each stream stands, by name; DamageError if a row is not as it was written."""
    rows = [StreamRow.read(row) for row in db.execute("SELECT * FROM stream ORDER BY id")]
    found = {row.name: row for row in rows}
    if len(found) != len(rows):
        raise DamageError("expected one row a stream, got several")
    return found


def check(db: sqlite3.Connection) -> Iterator[str]:
    """Every fault of a journal of the present format, in words; one snapshot, however long it takes."""
    db.execute("BEGIN")
    try:
        for (said,) in db.execute("PRAGMA quick_check(3)"):
            if said != "ok":
                yield f"pages: {' '.join(str(said).split())}"
        streams = read_streams(db)
        losses = read_losses(db)
        for row in streams.values():
            yield from _gaps(db, row, [loss for loss in losses if loss.stream == row.name])
        yield from _strays(db, streams)
        yield from _registries(db)
    except (DamageError, UnicodeDecodeError) as error:
        yield str(error)
    except sqlite3.Error as error:
        if not is_damage(error):
            raise
        yield f"pages: {error}"
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _gaps(db: sqlite3.Connection, row: StreamRow, losses: Sequence[Loss]) -> Iterator[str]:
    expected = after_losses(row.first_offset, losses)
    records = db.execute(
        "SELECT * FROM record WHERE id BETWEEN ? AND ? ORDER BY id", (row.key(0), row.key(OFFSET_MASK))
    )
    for found in records:
        offset = found[0] & OFFSET_MASK
        if offset != expected:
            yield f"stream {row.name}: expected record {expected}, got {offset}"
        try:
            if verified(found).stream != row.name:
                yield f"stream {row.name}: record {offset} is of stream {found[1]!r:.80}"
        except DamageError as error:
            yield str(error)
        expected = after_losses(offset + 1, losses)
    if expected <= row.last_offset:
        yield f"stream {row.name}: expected records up to {row.last_offset}, got none from {expected} on"
    elif expected > row.last_offset + 1:
        yield f"stream {row.name}: expected records up to {row.last_offset}, got {expected - 1}"


def _strays(db: sqlite3.Connection, streams: Mapping[str, StreamRow]) -> Iterator[str]:
    """Records under a key that belongs to no stream."""
    edges = [-1, *sorted(row.id for row in streams.values()), (1 << 23) - 1]
    for below, above in pairwise(edges):
        low, high = StreamRow(below + 1, "", 0, 0, 0).key(0), StreamRow(above, "", 0, 0, 0).key(0)
        found = db.execute("SELECT id FROM record WHERE id >= ? AND id < ? LIMIT 1", (low, high)).fetchone()
        if found:
            yield f"expected records of known streams, got one under the key {found[0]}"


def _registries(db: sqlite3.Connection) -> Iterator[str]:
    for row in db.execute("SELECT * FROM registry ORDER BY id"):
        try:
            verified(row, registry_crc)
        except DamageError as error:
            yield f"registry: {error}"
