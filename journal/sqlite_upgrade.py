"""A journal's file made, or brought up from an older format; one of a newer is refused."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from journal.protocol import JournalError
from journal.sqlite_format import (
    FORMAT,
    OFFSET_BITS,
    DamageError,
    StreamRow,
    about_is_ours,
    db_transaction,
    make_tables,
    record_crc,
    registry_crc,
)

__all__ = ["prepare"]


def prepare(path: Path, db: sqlite3.Connection, file_bytes: int) -> None:
    """Make the tables of a new file, bring an older one up to date; JournalError if it is neither.

    Raises
    ------
    DamageError
        The file's head does not say what was written to it.
    """
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version != FORMAT:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
        if "about" in tables and about_is_ours(db.execute("SELECT * FROM about").fetchall()):
            raise DamageError(f"expected format {FORMAT} in the file's head, got {version}")
        if version > FORMAT:
            msg = (
                f"journal {path}: expected format {FORMAT} or older, got {version}: it was written by a "
                "newer hearthline; install that version again, or start on a copy of the data directory "
                "that was made before it"
            )
            raise JournalError(msg)
        if version == 0 and tables:
            msg = f"journal {path}: expected a journal, got another program's SQLite file"
            raise JournalError(msg)
        if (
            version == 0
            and file_bytes
            and not tables
            and file_bytes > db.execute("PRAGMA page_size").fetchone()[0]
        ):
            raise DamageError(f"expected the tables of a journal, got none in {file_bytes} bytes")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA journal_size_limit = 67108864")
    db.execute("PRAGMA wal_autocheckpoint = 4000")
    if version == 0:
        with db_transaction(db):
            make_tables(db)
    elif version == 1:
        _from_1(db)


def _from_1(db: sqlite3.Connection) -> None:
    """Write every record again with its checksum, in one transaction: killed, the file is as it was."""
    db.create_function("record_crc", 4, record_crc, deterministic=True)
    db.create_function("registry_crc", 4, registry_crc, deterministic=True)
    with db_transaction(db):
        for table in ("stream", "record", "registry"):
            db.execute(f"ALTER TABLE {table} RENAME TO {table}_1")
        db.execute("DROP INDEX record_place")
        make_tables(db)
        for table in ("record", "registry"):
            db.execute(
                f"INSERT INTO {table} SELECT s.id << {OFFSET_BITS} | r.offset, s.name, r.timestamp_ms,"  # noqa: S608
                f" {table}_crc(s.name, r.offset, r.timestamp_ms, r.frame), r.frame"
                f" FROM {table}_1 AS r JOIN stream_1 AS s ON s.id = r.stream ORDER BY 1"
            )
        rows = db.execute(
            "SELECT s.id, s.name, coalesce((SELECT min(offset) FROM record_1 WHERE stream = s.id),"
            " s.last_offset + 1), s.last_offset, s.last_ms FROM stream_1 AS s"
        ).fetchall()
        db.executemany("INSERT INTO stream VALUES (?, ?, ?, ?, ?, ?)", [StreamRow(*r).values for r in rows])
        for table in ("record", "registry", "stream"):
            db.execute(f"DROP TABLE {table}_1")
