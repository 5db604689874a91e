"""The outbox: what a device took and the server has not yet said is safe.

One file serves every device of a collector process, so that samples due at the same
instant cost one transaction. Each device has its own outbox in it, with its own boot and
sequence: a number is given once, survives restarts and is never given again. What waits for
long is packed, many messages in a row.

Each row bears a checksum. A damaged file is built anew: what can be proved of it waits
again, under a new boot, because the numbers that were given last may be among what is lost.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from edge.outbox_device import OVERHEAD_BYTES, PACK_BYTES, Outbox
from edge.outbox_format import DamageError, OutboxError, faults, prepare, try_to_write
from edge.outbox_message import Message, Standing, TooLargeError
from edge.outbox_salvage import salvage
from edge.whose import whose
from models.sqlite_wal import read_wal

try:
    import fcntl
except ImportError:  # Windows: there SQLite's own lock has to do
    fcntl = None  # type: ignore[assignment]

__all__ = ["OVERHEAD_BYTES", "Message", "Outbox", "OutboxError", "OutboxFile", "Standing", "TooLargeError"]

_HELD = ("SQLITE_BUSY", "SQLITE_LOCKED")
_PLACE = (*_HELD, "SQLITE_CANTOPEN", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_PERM")


class OutboxFile:
    """The SQLite file that holds the outboxes of one collector process.

    Parameters
    ----------
    path : Path
        The file; its directory is created.
    boot_ms : int
        Time now, ms UTC: the boot of outboxes that begin here.
    max_bytes : int
        Payload (packed, where it is) and row bytes that may wait, over all devices; beyond it the device
        that holds most is thinned.
    say : callable
        Told, in a line each, what a person has to know.
    pack_bytes : int
        How much of one device's oldest messages is packed together.

    Raises
    ------
    OutboxError
        If the file cannot be opened, another process holds it, or a newer program wrote it. A
        damaged file is no error: it is moved aside, and what can be saved of it waits again.
    """

    def __init__(
        self,
        path: Path,
        *,
        boot_ms: int,
        max_bytes: int,
        say: Callable[[str], None] = print,
        pack_bytes: int = PACK_BYTES,
    ):
        self.path = path
        self.max_bytes = max_bytes
        self.pack_bytes = pack_bytes
        self.lock = threading.RLock()
        self._say = say
        self._depth = 0
        self._outboxes: dict[str, Outbox] = {}
        self._boot_ms = max(1, boot_ms, 1 + max(self._asides(), default=0))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._owner = self._own()
        except OSError as error:
            told = f"{path}: expected a writable directory, got: {error}"
            held = [
                p for p in (self._beside(".lock"), path.parent) if p.exists() and not os.access(p, os.W_OK)
            ]
            raise OutboxError(f"{told}: {whose(held[0])}" if held else told) from error
        try:
            self._see_that_all_is_ours()
            self._db = self._open_sound()
        except BaseException:
            self._owner.close()
            raise

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def _own(self) -> IO[bytes]:
        """Take the file for this process: a second one would give the same numbers to other samples."""
        owner = self._beside(".lock").open("ab")
        try:
            if fcntl is not None:
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner.close()
            raise OutboxError(_held(self.path)) from error
        return owner

    def _see_that_all_is_ours(self) -> None:
        """SQLite says of another user's file what it says of a damaged one, which is moved aside."""
        ours = (self.path, self._beside("-wal"), self._beside("-shm"))
        others = [path for path in ours if path.exists() and not os.access(path, os.R_OK | os.W_OK)]
        if others:
            told = "; ".join(map(whose, others))
            raise OutboxError(
                f"outbox: expected files that this process may read and write, got others: {told}"
            )

    def _open_sound(self) -> sqlite3.Connection:
        try:
            self._finish()
            try:
                torn = self._look_at_log()
                db = self._open()
                if torn:
                    # Begin a new log: what is torn may never be taken for a part of what follows it.
                    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                    self._say(f"{self.path}: a torn end of {torn} bytes was cut: nobody was told of it")
                return db  # noqa: TRY300  the handlers below end in another way
            except DamageError as error:
                self._mend(error)
            except sqlite3.Error as error:
                if (getattr(error, "sqlite_errorname", None) or "").startswith(_PLACE):
                    raise
                self._mend(error)
            return self._open()
        except (sqlite3.Error, OSError) as error:
            raise OutboxError(_explain(self.path, error)) from error

    def _look_at_log(self) -> int:
        """How many bytes SQLite is going to drop; DamageError if they are whole transactions."""
        try:
            wal = read_wal(memoryview(self._beside("-wal").read_bytes()))
        except FileNotFoundError:
            return 0
        if wal.damaged:
            raise DamageError(f"its log holds {wal.dropped_bytes} bytes that do not follow from the rest")
        return wal.dropped_bytes

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=1.0, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA locking_mode=EXCLUSIVE")
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute("PRAGMA cache_size=-1024")
            db.execute("PRAGMA journal_size_limit=4194304")
            prepare(db)
            try_to_write(db)
            if fault := next(faults(db), ""):
                raise DamageError(fault)
        except UnicodeDecodeError as error:  # Python cannot say what SQLite says of a damaged schema
            db.close()
            raise DamageError(f"{self.path}: expected the tables of an outbox, got: {error}") from error
        except OutboxError as error:
            db.close()
            raise type(error)(f"{self.path}: {error}") from error
        except BaseException:
            db.close()
            raise
        return db

    def _asides(self) -> Iterator[int]:
        for other in self.path.parent.glob(f"{self.path.name}.corrupt-*"):
            if found := re.search(r"\.corrupt-(\d+)$", other.name):
                yield int(found[1])

    def _mend(self, error: Exception) -> None:
        """Build the file anew from what can be proved; stopped at any point, the next start goes on."""
        log = self._beside("-wal")
        saved = salvage(self.path.read_bytes(), log.read_bytes() if log.exists() else b"")
        self._boot_ms = max(self._boot_ms, saved.boot + 1)
        new = self._beside(".mending")
        for suffix in ("", "-wal", "-shm", ".lock"):
            self._beside(f".mending{suffix}").unlink(missing_ok=True)
        building = OutboxFile(new, boot_ms=self._boot_ms, max_bytes=self.max_bytes, say=self._say)
        try:
            with building.group():
                for device in sorted({device for device, _ in saved.messages} | saved.positions.keys()):
                    building.outbox(device).put([], position=saved.positions.get(device))
                for (device, _), samples in saved.messages.items():
                    building.outbox(device).put(samples)
        finally:
            building.close()
        self._beside(".mending.lock").unlink(missing_ok=True)
        aside = self._beside(f".corrupt-{self._boot_ms}")
        for suffix in ("", "-wal"):
            if self._beside(suffix).exists():
                _keep(self._beside(suffix), aside.with_name(aside.name + suffix))
        new.replace(self._beside(".mended"))
        _sync(self.path.parent)
        self._finish()
        self._say(
            f"OUTBOX DAMAGED: {self.path}: expected a sound outbox, got: {error}. "
            f"It is kept as {aside.name}; {len(saved.messages)} messages of it are sent again as boot "
            f"{self._boot_ms}, at least {saved.damaged} could not be read: the server's ledger shows what "
            "it never received"
        )

    def _finish(self) -> None:
        """Put a file that was built anew in its place; the log beside it belongs to the damaged one."""
        if self._beside(".mended").exists():
            for suffix in ("-wal", "-shm"):
                self._beside(suffix).unlink(missing_ok=True)
            self._beside(".mended").replace(self.path)
            _sync(self.path.parent)

    def outbox(self, device: str) -> Outbox:
        """Return the outbox of one device, begun if there is none."""
        with self.lock:
            if device not in self._outboxes:
                self._outboxes[device] = Outbox(self, device, self._boot_ms)
            return self._outboxes[device]

    @contextmanager
    def group(self) -> Iterator[sqlite3.Connection]:
        """Write several things in one transaction: all of them are on disk afterwards, or none."""
        with self.lock:
            if self._depth:
                yield self._db
                return
            self._depth = 1
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                for outbox in self._outboxes.values():
                    outbox.load()
                raise
            finally:
                self._depth = 0

    @property
    def bytes(self) -> int:
        """What waits, in bytes of payload and row, over all devices."""
        return sum(outbox.size for outbox in self._outboxes.values())

    def make_room(self) -> None:
        """Pack or thin what the device that holds most has until all fit; one message is always kept."""
        while self.bytes > self.max_bytes:
            largest = max(self._outboxes.values(), key=lambda outbox: outbox.size)
            if largest.pack():
                continue
            dropped = largest.thin()
            if not dropped:
                return
            self._say(
                f"outbox full: {self.path} passed {self.max_bytes} bytes; "
                f"{dropped} of the oldest messages of {largest.device} were thinned out"
            )

    def close(self) -> None:
        """Close the file."""
        with self.lock:
            self._db.close()
            self._owner.close()


def _keep(old: Path, aside: Path) -> None:
    try:
        os.link(old, aside)
    except OSError:  # a file system without links
        shutil.copy2(old, aside)


def _sync(directory: Path) -> None:
    with suppress(OSError):  # a system that cannot open directories
        place = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)


def _held(path: Path) -> str:
    return f"{path}: expected an outbox of this collector alone, got one that another process holds"


def _explain(path: Path, error: Exception) -> str:
    code: Any = getattr(error, "sqlite_errorname", None) or ""
    return _held(path) if code.startswith(_HELD) else f"{path}: expected a writable outbox file, got: {error}"
