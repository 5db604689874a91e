"""The outbox's file: its tables, and a file of an older format brought up to date."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from edge.outbox_message import SEQ_BITS, SEQ_MASK, crc_of, message_crc, pack_crc

__all__ = [
    "FORMAT", "SIZE", "DamageError", "OutboxError", "device_crc", "faults", "prepare", "transaction",
    "try_to_write",
]  # fmt: skip

FORMAT: Final = 3
"""Of the file. 1 had no checksums, and did not say its number; 2 had no packed messages."""
SIZE: Final = "SELECT count(*), coalesce(sum(length(payload) + ?), 0) FROM message WHERE id BETWEEN ? AND ?"
_MARK: Final = 0x484F4200  # "HOB": of the application id, whose last byte says the format again
_SCHEMA: Final = """
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY, device TEXT NOT NULL UNIQUE, boot INTEGER NOT NULL, next_seq INTEGER NOT NULL,
    position TEXT, crc INTEGER NOT NULL, thinned TEXT NOT NULL, thinned_acked TEXT NOT NULL,
    thinned_crc INTEGER NOT NULL
);
CREATE TABLE message (
    id INTEGER PRIMARY KEY, outbox INTEGER NOT NULL, device TEXT NOT NULL, t_ms INTEGER NOT NULL,
    crc INTEGER NOT NULL, payload BLOB NOT NULL
);
CREATE INDEX message_age ON message (outbox, t_ms)
"""
_PACKED: Final = f"""
CREATE TABLE pack (
    id INTEGER PRIMARY KEY, outbox INTEGER NOT NULL, device TEXT NOT NULL, t_ms INTEGER NOT NULL,
    numbers TEXT NOT NULL, crc INTEGER NOT NULL, packed BLOB NOT NULL
);
CREATE TABLE partly (outbox INTEGER PRIMARY KEY, numbers TEXT NOT NULL, crc INTEGER NOT NULL);
PRAGMA user_version = {FORMAT};
PRAGMA application_id = {_MARK | FORMAT}
"""
"""Messages that were packed together, under the number of the first; and what of them is acknowledged."""


class OutboxError(RuntimeError):
    """The outbox cannot be used; says which file, what was expected and what came."""


class DamageError(OutboxError):
    """The file does not say what was written to it."""


def device_crc(number: int, device: str, boot: int, next_seq: int, position: str | None) -> int:
    """Checksum of where a device's outbox stands."""
    return crc_of(number, device, boot, next_seq, repr(position))


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All of a block in one transaction, or nothing of it."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def try_to_write(db: sqlite3.Connection) -> None:
    """See that the file takes writes: a flipped bit in its head lets SQLite read and never write."""
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute(f"PRAGMA user_version = {FORMAT}")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def prepare(db: sqlite3.Connection) -> None:
    """Make the tables of a new file, bring an older one up to date.

    Raises
    ------
    DamageError
        The file's head contradicts itself.
    OutboxError
        It was written by a newer program.
    """
    version = db.execute("PRAGMA user_version").fetchone()[0]
    mark = db.execute("PRAGMA application_id").fetchone()[0]
    if mark & ~0xFF == _MARK and mark & 0xFF != version:
        raise DamageError(f"its head says format {version} and {mark & 0xFF}")
    if version > FORMAT:
        raise OutboxError(
            f"expected format {FORMAT} or older, got {version}: it was written by a newer hearthline; "
            "install that version again, or move the file away: what waits in it is not sent then"
        )
    if version == FORMAT:
        return
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables - {"outbox", "message"} or (version == 2 and not tables):
        raise DamageError(f"expected the tables of an outbox, got {', '.join(sorted(tables))}")
    with transaction(db):
        if version == 2:
            _make(db, _PACKED)
        elif tables:
            _from_1(db)
        else:
            _make(db, _SCHEMA + ";" + _PACKED)


def _make(db: sqlite3.Connection, statements: str) -> None:
    for statement in statements.split(";"):
        db.execute(statement)


def _from_1(db: sqlite3.Connection) -> None:
    """Write everything again with its checksum; stopped, the file is as it was."""
    for name, count, function in (
        ("device_crc", 5, device_crc),
        ("crc_of", 2, crc_of),
        ("message_crc", 4, message_crc),
    ):
        db.create_function(name, count, function, deterministic=True)
    db.execute("ALTER TABLE outbox RENAME TO outbox_1")
    db.execute("ALTER TABLE message RENAME TO message_1")
    db.execute("DROP INDEX message_age")
    _make(db, _SCHEMA + ";" + _PACKED)
    db.execute(
        "INSERT INTO outbox SELECT id, device, boot, next_seq, position,"
        " device_crc(id, device, boot, next_seq, position), thinned, thinned_acked,"
        " crc_of(thinned, thinned_acked) FROM outbox_1"
    )
    db.execute(
        f"INSERT INTO message SELECT m.id, m.outbox, o.device, m.t_ms,"  # noqa: S608
        f" message_crc(o.device, m.id & {SEQ_MASK}, m.t_ms, m.payload), m.payload"
        " FROM message_1 AS m JOIN outbox_1 AS o ON o.id = m.outbox ORDER BY m.id"
    )
    db.execute("DROP TABLE message_1")
    db.execute("DROP TABLE outbox_1")


def faults(db: sqlite3.Connection) -> Iterator[str]:
    """Whatever in a file is not as it was written."""
    for (said,) in db.execute("PRAGMA integrity_check(1)"):
        if said != "ok":
            yield " ".join(str(said).split())
    owners: dict[object, str] = {}
    for number, device, boot, next_seq, position, crc, *thinned, thinned_crc in db.execute(
        "SELECT id, device, boot, next_seq, position, crc, thinned, thinned_acked, thinned_crc FROM outbox"
    ):
        if device_crc(number, device, boot, next_seq, position) != crc or crc_of(*thinned) != thinned_crc:
            yield f"the outbox of {device!r:.80} has a wrong checksum"
        owners[number] = device
    yield from _faulty_messages(db, owners)
    yield from _faulty_packs(db, owners)


def _astray(key: int, outbox: object, device: object, owners: Mapping[object, str]) -> bool:
    """Whether a row lies where nobody looks for it: checksums have the number in its key, not the outbox."""
    return key >> SEQ_BITS != outbox or owners.get(outbox) != device


def _faulty_messages(db: sqlite3.Connection, owners: Mapping[object, str]) -> Iterator[str]:
    for key, outbox, device, t_ms, crc, payload in db.execute(
        "SELECT id, outbox, device, t_ms, crc, payload FROM message ORDER BY id"
    ):
        if not (isinstance(key, int) and isinstance(payload, bytes)):
            yield f"expected a message, got a row of other types under the key {key!r}"
        elif _astray(key, outbox, device, owners):
            yield f"message {key & SEQ_MASK} of {device!r:.80} lies under the key {key} of {outbox!r:.80}"
        elif message_crc(device, key & SEQ_MASK, t_ms, payload) != crc:
            yield f"message {key & SEQ_MASK} of {device!r:.80} has a wrong checksum"


def _faulty_packs(db: sqlite3.Connection, owners: Mapping[object, str]) -> Iterator[str]:
    for key, outbox, device, t_ms, numbers, crc, packed in db.execute(
        "SELECT id, outbox, device, t_ms, numbers, crc, packed FROM pack ORDER BY id"
    ):
        if not (isinstance(key, int) and isinstance(numbers, str) and isinstance(packed, bytes)):
            yield f"expected packed messages, got a row of other types under the key {key!r}"
        elif _astray(key, outbox, device, owners):
            yield f"messages from {key & SEQ_MASK} on of {device!r:.80} lie under {key} of {outbox!r:.80}"
        elif pack_crc(device, key & SEQ_MASK, t_ms, numbers, packed) != crc:
            yield f"messages from {key & SEQ_MASK} on of {device!r:.80} have a wrong checksum"
    for number, numbers, crc in db.execute("SELECT outbox, numbers, crc FROM partly"):
        if crc_of(number, numbers) != crc:
            yield f"what is acknowledged of packed messages of outbox {number!r} has a wrong checksum"
