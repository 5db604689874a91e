"""The outbox: what a device took and the server has not yet said is safe.

One file serves every device of a collector process, so that samples due at the same
instant cost one transaction. Each device has its own outbox in it, with its own boot and
sequence: a number is given once, survives restarts and is never given again.
"""

from __future__ import annotations

import json
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from edge import ranges as intervals
from edge.ranges import Ranges
from models.wire import MAX_PAYLOAD_BYTES

__all__ = ["Message", "Outbox", "OutboxError", "OutboxFile", "Standing", "TooLargeError"]

MAX_SAMPLES: Final = 1000
MAX_RANGES: Final = 1000
OVERHEAD_BYTES: Final = 100  # what a row costs on disk beside its payload
_ENVELOPE_BYTES: Final = 96  # room for the longest boot and seq around the samples
_SEQ_BITS: Final = 40  # a row's key is the device's number and the sequence number side by side
_TEXT_CHARS: Final = 1024

_SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY, device TEXT NOT NULL UNIQUE, boot INTEGER NOT NULL, next_seq INTEGER NOT NULL,
    position TEXT, thinned TEXT NOT NULL DEFAULT '[]', thinned_acked TEXT NOT NULL DEFAULT '[]');
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY, outbox INTEGER NOT NULL, t_ms INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS message_age ON message (outbox, t_ms);
"""
_SIZE = "SELECT count(*), coalesce(sum(length(payload) + ?), 0) FROM message WHERE id BETWEEN ? AND ?"


class OutboxError(RuntimeError):
    """The outbox cannot be used; says which file, what was expected and what came."""


class TooLargeError(ValueError):
    """One sample alone passes the size of a message."""


class Message(NamedTuple):
    """One telemetry message as it goes on the wire, `t_ms` being its oldest sample."""

    seq: int
    t_ms: int
    payload: bytes


class Standing(NamedTuple):
    """What a `state` message reports of an outbox."""

    boot: int
    next_seq: int
    waiting: Ranges
    waiting_from: int | None
    thinned: Ranges


def encode_sample(t_ms: int, values: Mapping[str, float | str]) -> bytes:
    """Write one sample as JSON; ValueError names the measurement that the wire cannot carry."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            msg = f"{name}: expected a finite number or text, got {value!r}"
            raise ValueError(msg)  # noqa: TRY004  one kind of error for whatever the wire refuses
        if isinstance(value, str) and len(value) > _TEXT_CHARS:
            msg = f"{name}: expected at most {_TEXT_CHARS} characters, got {len(value)}"
            raise ValueError(msg)
    sample = {"t": t_ms, **values}
    return json.dumps(sample, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


class OutboxFile:
    """The SQLite file that holds the outboxes of one collector process.

    Parameters
    ----------
    path : Path
        The file; its directory is created.
    boot_ms : int
        Time now, ms UTC: the boot of outboxes that begin here.
    max_bytes : int
        Payload and row bytes that may wait, over all devices; beyond it the device that holds
        most is thinned.
    say : callable
        Told, in a line each, what a person has to know.

    Raises
    ------
    OutboxError
        If the file cannot be opened or another process holds it. A corrupt file is no error: it
        is moved aside and a new boot begins.
    """

    def __init__(self, path: Path, *, boot_ms: int, max_bytes: int, say: Callable[[str], None] = print):
        self.path = path
        self.max_bytes = max_bytes
        self.lock = threading.RLock()
        self._say = say
        self._depth = 0
        self._outboxes: dict[str, Outbox] = {}
        self._boot_ms = max(1, boot_ms, 1 + max(self._asides(), default=0))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = self._open()
        except sqlite3.OperationalError as error:
            raise OutboxError(_explain(path, error)) from error
        except sqlite3.DatabaseError as error:
            self._move_aside(error)
            self._db = self._open()
        except OSError as error:
            raise OutboxError(f"{path}: expected a writable directory, got: {error}") from error

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=1.0, isolation_level=None, check_same_thread=False)
        try:
            # A second process on this file would give the same numbers to other samples.
            db.execute("PRAGMA locking_mode=EXCLUSIVE")
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute("PRAGMA cache_size=-1024")
            db.execute("PRAGMA journal_size_limit=4194304")
            fault = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if fault != "ok":
                raise sqlite3.DatabaseError(fault)
            db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        except BaseException:
            db.close()
            raise
        return db

    def _asides(self) -> Iterator[int]:
        for other in self.path.parent.glob(f"{self.path.name}.corrupt-*"):
            if found := re.search(r"\.corrupt-(\d+)$", other.name):
                yield int(found[1])

    def _move_aside(self, error: sqlite3.DatabaseError) -> None:
        aside = self.path.with_name(f"{self.path.name}.corrupt-{self._boot_ms}")
        self.path.replace(aside)
        for suffix in ("-wal", "-shm"):
            part = self.path.with_name(self.path.name + suffix)
            if part.exists():
                part.replace(aside.with_name(aside.name + suffix))
        self._say(
            f"OUTBOX LOST: {self.path}: expected a sound SQLite file, got: {error}. "
            f"It is kept as {aside.name}; what waited in it is not sent; boot {self._boot_ms} begins"
        )

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
        return sum(outbox.bytes for outbox in self._outboxes.values())

    def make_room(self) -> None:
        """Thin the device that holds most until all fit again; one message is always kept."""
        while self.bytes > self.max_bytes:
            largest = max(self._outboxes.values(), key=lambda outbox: outbox.bytes)
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


class Outbox:
    """The messages of one device that wait for the server's `ack`."""

    def __init__(self, file: OutboxFile, device: str, boot_ms: int):
        self._file = file
        self.device = device
        self.boot = boot_ms
        self.next_seq = 1
        self.count = 0
        self.bytes = 0
        self.position: str | None = None
        self._thinned: Ranges = []
        self._thinned_acked: Ranges = []
        with file.group() as db:
            db.execute(
                "INSERT INTO outbox (device, boot, next_seq) VALUES (?, ?, 1) ON CONFLICT DO NOTHING",
                (device, boot_ms),
            )
            self._id: int = db.execute("SELECT id FROM outbox WHERE device = ?", (device,)).fetchone()[0]
            self.load()

    def load(self) -> None:
        """Read what the file holds; after a failed write memory follows the disk."""
        with self._file.lock:
            db = self._file._db  # noqa: SLF001  the two classes are one thing
            row = db.execute(
                "SELECT boot, next_seq, position, thinned, thinned_acked FROM outbox WHERE device = ?",
                (self.device,),
            ).fetchone()
            if row is None:
                return  # the insertion itself was rolled back
            self.boot, self.next_seq, self.position = row[:3]
            self._thinned, self._thinned_acked = ([(a, b) for a, b in json.loads(text)] for text in row[3:])
            self.count, self.bytes = db.execute(
                _SIZE,
                (OVERHEAD_BYTES, *self._keys(0, self.next_seq)),
            ).fetchone()

    def _keys(self, first: int, last: int) -> tuple[int, int]:
        base = self._id << _SEQ_BITS
        return base | max(0, first), base | min(last, (1 << _SEQ_BITS) - 1)

    def put(
        self, samples: Sequence[tuple[int, Mapping[str, float | str]]], *, position: str | None = None
    ) -> list[Message]:
        """Number samples and keep them: on disk when this returns, or when the group that it is in ends.

        Parameters
        ----------
        samples : sequence of (t_ms, values)
            In the order in which they are sent; split into several messages if they are many or large.
        position : str, optional
            Where the driver stands after them, kept in the same transaction.

        Raises
        ------
        TooLargeError
            If one sample alone passes the size of a message.
        ValueError
            If a value is none that the wire carries. Nothing is kept then.
        """
        encoded = [(t_ms, encode_sample(t_ms, values)) for t_ms, values in samples]
        messages: list[Message] = []
        with self._file.group() as db:
            for part in _split(encoded, self.device):
                seq = self.next_seq + len(messages)
                head = f'{{"boot":{self.boot},"seq":{seq},"samples":['.encode()
                payload = head + b",".join(text for _, text in part) + b"]}"
                messages.append(Message(seq, min(t_ms for t_ms, _ in part), payload))
            db.executemany(
                "INSERT INTO message (id, outbox, t_ms, payload) VALUES (?, ?, ?, ?)",
                [(self._id << _SEQ_BITS | m.seq, self._id, m.t_ms, m.payload) for m in messages],
            )
            self.next_seq += len(messages)
            self.count += len(messages)
            self.bytes += sum(len(m.payload) + OVERHEAD_BYTES for m in messages)
            self.position = self.position if position is None else position
            db.execute(
                "UPDATE outbox SET next_seq = ?, position = ? WHERE id = ?",
                (self.next_seq, self.position, self._id),
            )
            self._file.make_room()
        return messages

    def after(self, seq: int, most: int) -> list[Message]:
        """Up to `most` waiting messages with a number above `seq`, in order."""
        with self._file.lock:
            rows = self._file._db.execute(  # noqa: SLF001
                "SELECT id, t_ms, payload FROM message WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?",
                (*self._keys(seq + 1, self.next_seq), most),
            ).fetchall()
        return [Message(key & ((1 << _SEQ_BITS) - 1), t_ms, payload) for key, t_ms, payload in rows]

    def get(self, seq: int) -> Message | None:
        """Return one waiting message, None if it is acknowledged or thinned."""
        found = self.after(seq - 1, 1)
        return found[0] if found and found[0].seq == seq else None

    def ack(self, boot: int, ranges: Sequence[tuple[int, int]]) -> int:
        """Forget what the server has made safe; returns how many messages that were.

        Ranges may cover anything: numbers of another boot, long gone or not yet given are passed over.
        """
        if boot != self.boot:
            return 0
        gone = 0
        with self._file.group() as db:
            known = intervals.intersect(
                intervals.union(ranges), [(1, self.next_seq - 1)] if self.next_seq > 1 else []
            )
            for first, last in known:
                keys = self._keys(first, last)
                count, size = db.execute(
                    _SIZE,
                    (OVERHEAD_BYTES, *keys),
                ).fetchone()
                if count:
                    db.execute("DELETE FROM message WHERE id BETWEEN ? AND ?", keys)
                    gone += count
                    self.bytes -= size
            self.count -= gone
            heard = intervals.intersect(self._thinned, known)
            if heard:
                self._thinned = intervals.subtract(self._thinned, heard)
                # The newest are still reported while there is room: a server may look only at the last state.
                self._thinned_acked = intervals.union(self._thinned_acked, heard)[-MAX_RANGES:]
                self._write_thinned(db)
        return gone

    def thin(self) -> int:
        """Drop every second message of the older half; the numbers are remembered, never given again."""
        with self._file.group() as db:
            older = [
                key
                for (key,) in db.execute(
                    "SELECT id FROM message WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?",
                    (*self._keys(0, self.next_seq), self.count // 2),
                )
            ]
            victims = [(key,) for key in older[::2]]
            size = sum(
                db.execute(
                    "SELECT length(payload) + ? FROM message WHERE id = ?", (OVERHEAD_BYTES, *key)
                ).fetchone()[0]
                for key in victims
            )
            db.executemany("DELETE FROM message WHERE id = ?", victims)
            self.count -= len(victims)
            self.bytes -= size
            mask = (1 << _SEQ_BITS) - 1
            self._thinned = intervals.union(
                self._thinned, intervals.of_numbers(key & mask for (key,) in victims)
            )
            self._write_thinned(db)
        return len(victims)

    def _write_thinned(self, db: sqlite3.Connection) -> None:
        db.execute(
            "UPDATE outbox SET thinned = ?, thinned_acked = ? WHERE id = ?",
            (json.dumps(self._thinned), json.dumps(self._thinned_acked), self._id),
        )

    @property
    def thinned(self) -> Ranges:
        """Numbers that were thinned, as far as they are remembered."""
        return intervals.union(self._thinned, self._thinned_acked)

    def waiting(self) -> Ranges:
        """Numbers of the messages that wait, exactly."""
        with self._file.lock:
            rows = self._file._db.execute(  # noqa: SLF001
                "SELECT min(id), max(id) FROM (SELECT id, id - row_number() OVER (ORDER BY id) AS run"
                " FROM message WHERE id BETWEEN ? AND ?) GROUP BY run ORDER BY 1",
                self._keys(0, self.next_seq),
            ).fetchall()
        mask = (1 << _SEQ_BITS) - 1
        return [(first & mask, last & mask) for first, last in rows]

    def standing(self) -> Standing:
        """What `state` reports: at most 1,000 ranges each.

        Thinned numbers that do not fit are reported as waiting, which may over-cover, until the server
        has acknowledged those before them: so none is ever unaccounted.
        """
        with self._file.lock:
            oldest = self._file._db.execute(  # noqa: SLF001
                "SELECT min(t_ms) FROM message WHERE outbox = ?", (self._id,)
            ).fetchone()[0]
            told, untold = self._thinned[:MAX_RANGES], self._thinned[MAX_RANGES:]
            room = MAX_RANGES - len(told)
            thinned = intervals.union(told, self._thinned_acked[-room:] if room else [])
            waiting = intervals.limit(intervals.union(self.waiting(), untold), MAX_RANGES)
            return Standing(self.boot, self.next_seq, waiting, oldest, thinned)


def _split(encoded: Sequence[tuple[int, bytes]], device: str) -> Iterator[list[tuple[int, bytes]]]:
    part: list[tuple[int, bytes]] = []
    size = _ENVELOPE_BYTES
    for t_ms, text in encoded:
        if len(text) + _ENVELOPE_BYTES > MAX_PAYLOAD_BYTES:
            msg = f"{device}: expected a sample below {MAX_PAYLOAD_BYTES} bytes, got {len(text)} at t {t_ms}"
            raise TooLargeError(msg)
        if part and (size + len(text) + 1 > MAX_PAYLOAD_BYTES or len(part) == MAX_SAMPLES):
            yield part
            part, size = [], _ENVELOPE_BYTES
        part.append((t_ms, text))
        size += len(text) + 1
    if part:
        yield part


def _explain(path: Path, error: sqlite3.OperationalError) -> str:
    code: Any = getattr(error, "sqlite_errorname", "")
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return f"{path}: expected an outbox of this collector alone, got one that another process holds"
    return f"{path}: expected a writable outbox file, got: {error}"
