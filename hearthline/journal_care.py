"""Looking after the embedded journal's file: is it sound, what is lost, mend it, note that a person knows."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final

from hearthline.cli import UsageError
from hearthline.client import owner
from ingest.clock import wall_clock
from journal.checking import check
from journal.losses import Loss
from journal.mending import wal_of
from journal.protocol import JournalError
from journal.sqlite import FILE_NAME, SqliteJournal
from journal.sqlite_format import FORMAT, connect, is_damage

__all__ = ["accept", "checked", "recovered"]

_MOST_FAULTS: Final = 100


def _journal(data_dir: Path) -> Path:
    path = data_dir / FILE_NAME
    if not path.is_file():
        raise UsageError(f"--data-dir: expected a directory with {FILE_NAME}, got {data_dir}")
    return path


@contextmanager
def _owned(data_dir: Path) -> Iterator[None]:
    """Keep servers away."""
    with (data_dir / "owner.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(
                f"--data-dir: expected a directory that no server uses, got {data_dir}: stop that server "
                "first; it mends its journal by itself at each start"
            ) from error
        yield


def _told(losses: list[Loss]) -> list[Mapping[str, Any]]:
    return [
        {
            "found_ms": loss.at_ms,
            "stream": loss.stream,
            "first_offset": loss.first_offset if loss.stream else None,
            "last_offset": loss.last_offset if loss.stream else None,
            "records": loss.records,
            "bytes": loss.bytes,
            "reason": loss.reason,
            "accepted": loss.accepted,
        }
        for loss in losses
    ]


def checked(data_dir: Path) -> dict[str, Any]:
    """Read a whole journal and change nothing: ``sound``, its ``faults`` and the ``losses`` it notes.

    A server may go on meanwhile. Its log is looked at only where none runs, for there it stands still.
    """
    path = _journal(data_dir)
    faults: list[str] = []
    torn = 0
    if owner(data_dir) is None:
        wal, _ = wal_of(path)
        torn = wal.dropped_bytes
        if wal.damaged:
            faults.append(f"log: {torn} bytes of whole transactions do not follow from those before them")
    said: dict[str, Any] = {"records": None, "losses": []}
    if not faults:  # opening a damaged log would let SQLite drop what can still be saved
        try:
            with closing(connect(path)) as db:
                version = db.execute("PRAGMA user_version").fetchone()[0]
                if version == FORMAT:
                    faults += islice(check(db), _MOST_FAULTS)
                else:
                    faults.append(
                        f"expected format {FORMAT}, got {version}: a server's start brings it up to date"
                    )
            if not faults:
                said = _contents(path)
        except sqlite3.Error as error:
            if not is_damage(error):  # it says nothing of what is in it
                raise JournalError(
                    f"{path}: expected a file that can be opened here, got: {error}; where its directory is "
                    f"read-only, as that of a backup may be, check a copy"
                ) from error
            faults.append(str(error))
        except (JournalError, UnicodeDecodeError) as error:
            faults.append(str(error))
    return {"sound": not faults, "faults": faults, "bytes": path.stat().st_size, "torn_bytes": torn, **said}


def _contents(path: Path) -> dict[str, Any]:
    journal = SqliteJournal(path, wall_clock, mends=False)
    try:
        return {"records": journal.count(), "losses": _told(journal.losses)}
    finally:
        journal.close()


def recovered(data_dir: Path) -> dict[str, Any]:
    """Mend a journal that no server uses; ``records`` that it holds and every loss that it notes."""
    path = _journal(data_dir)
    with _owned(data_dir):
        journal = SqliteJournal(path, wall_clock)
        try:
            journal.scrub()
            return {"records": journal.count(), "losses": _told(journal.losses)}
        finally:
            journal.close()


def accept(data_dir: Path) -> int:
    """Note in the journal that a person knows of its losses; how many were new. A server may go on."""
    journal = SqliteJournal(_journal(data_dir), wall_clock, mends=False)
    try:
        return journal.accept_losses()
    finally:
        journal.close()
