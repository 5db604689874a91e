"""The outbox of one device, among others in one file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from edge import ranges as intervals
from edge.outbox_format import SIZE, OutboxError, device_crc
from edge.outbox_message import (
    MAX_RANGES,
    MAX_SAMPLES,
    OVERHEAD_BYTES,
    SEQ_BITS,
    SEQ_MASK,
    Message,
    Standing,
    crc_of,
    encode_sample,
    message_crc,
    payload_of,
    split,
)
from edge.outbox_packs import MAX_PACKED, Packs
from edge.ranges import Ranges

if TYPE_CHECKING:
    from edge.outbox import OutboxFile

__all__ = ["OVERHEAD_BYTES", "PACK_BYTES", "Outbox"]

PACK_BYTES: Final = 96 * 1024
"""So much of the oldest that waits is packed together, once as much again waits behind it. [bytes]"""


_PACKS_A_PUT: Final = 4  # a file of an older format may hold much that is not packed: little by little
_ROWS: Final = "SELECT id & ?, t_ms, payload, crc FROM message WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?"


class Outbox:
    """The messages of one device that wait for the server's `ack`."""

    def __init__(self, file: OutboxFile, device: str, boot_ms: int):
        self._file = file
        self.device = device
        self.boot = boot_ms
        self.next_seq = 1
        self._loose = 0  # messages that are not packed
        self._loose_bytes = 0
        self.position: str | None = None
        self._thinned: Ranges = []
        self._thinned_acked: Ranges = []
        self._open: list[tuple[int, bytes]] = []
        with file.group() as db:
            found = db.execute("SELECT id FROM outbox WHERE device = ?", (device,)).fetchone()
            if found is None:
                found = db.execute("SELECT coalesce(max(id), 0) + 1 FROM outbox").fetchone()
                crc = device_crc(found[0], device, boot_ms, 1, None)
                values = (found[0], device, boot_ms, crc, crc_of("[]", "[]"))
                db.execute("INSERT INTO outbox VALUES (?, ?, ?, 1, NULL, ?, '[]', '[]', ?)", values)
            self._id: int = found[0]
            self._packs = Packs(file, device, self._id)
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
            self._open = []
            self.boot, self.next_seq, self.position = row[:3]
            self._thinned, self._thinned_acked = ([(a, b) for a, b in json.loads(text)] for text in row[3:])
            self._loose, self._loose_bytes = db.execute(
                SIZE,
                (OVERHEAD_BYTES, *self._keys(0, self.next_seq)),
            ).fetchone()
            self._packs.load()

    @property
    def count(self) -> int:
        """How many messages wait."""
        return self._loose + self._packs.count

    @property
    def size(self) -> int:
        """What they take on disk, with their rows."""
        return self._loose_bytes + self._packs.bytes

    def _keys(self, first: int, last: int) -> tuple[int, int]:
        base = self._id << SEQ_BITS
        return base | max(0, first), base | min(last, SEQ_MASK)

    def put(
        self,
        samples: Sequence[tuple[int, Mapping[str, float | str]]],
        *,
        position: str | None = None,
        open_until: int = 0,
    ) -> list[Message]:
        """Number samples and keep them: on disk when this returns, or when the group that it is in ends.

        Returns the messages that are complete and may be sent.

        Parameters
        ----------
        samples : sequence of (t_ms, values)
            In the order in which they are sent; split into several messages if they are many or large.
        position : str, optional
            Where the driver stands after them, kept in the same transaction.
        open_until : int
            Leave the last message open for more until it has so many samples, or until `seal`; it is not
            sent before. 0 leaves none open.

        Raises
        ------
        TooLargeError
            If one sample alone passes the size of a message.
        ValueError
            If a value is none that the wire carries. Nothing is kept then.
        """
        with self._file.lock:
            opened = list(self._open)
            encoded = opened + [(t_ms, encode_sample(t_ms, values)) for t_ms, values in samples]
            parts = list(split(encoded, self.device, open_until or MAX_SAMPLES))
            return self._keep(parts, position, opened, stay_open=open_until)

    def _keep(
        self,
        parts: list[list[tuple[int, bytes]]],
        position: str | None,
        opened: list[tuple[int, bytes]],
        *,
        stay_open: int,
    ) -> list[Message]:
        """Write parts as messages, the first over the one that is open."""
        first = self.next_seq - bool(opened)
        messages = [self._message(seq, part) for seq, part in enumerate(parts, first)]
        with self._file.group() as db:
            db.executemany(
                "INSERT OR REPLACE INTO message VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (self._id << SEQ_BITS | m.seq, self._id, self.device, m.t_ms, self._crc(*m), m.payload)
                    for m in messages
                ],
            )
            if opened:
                self._loose -= 1
                self._loose_bytes -= len(self._message(first, opened).payload) + OVERHEAD_BYTES
            self.next_seq = first + len(messages)
            self._loose += len(messages)
            self._loose_bytes += sum(len(m.payload) + OVERHEAD_BYTES for m in messages)
            self._open = parts[-1] if parts and len(parts[-1]) < stay_open else []
            self.position = self.position if position is None else position
            db.execute(
                "UPDATE outbox SET next_seq = ?, position = ?, crc = ? WHERE id = ?",
                (self.next_seq, self.position, self._row_crc(), self._id),
            )
            for _ in range(_PACKS_A_PUT):
                if not self.pack(behind=self._file.pack_bytes):
                    break
            self._file.make_room()
        return messages[:-1] if self._open else messages

    def _message(self, seq: int, part: Sequence[tuple[int, bytes]]) -> Message:
        payload = payload_of(self.boot, seq, (text for _, text in part))
        return Message(seq, min(t_ms for t_ms, _ in part), payload)

    def pack(self, behind: int = 0) -> bool:
        """Pack the oldest messages that are not, if enough wait and `behind` bytes more; whether it did."""
        if self._loose_bytes < self._file.pack_bytes + behind:
            return False
        with self._file.group() as db:
            taken, size = [], 0
            for row in db.execute(_ROWS, (SEQ_MASK, *self._keys(0, self.last_seq), MAX_PACKED)):
                taken.append(self._checked(*row))
                size += len(taken[-1].payload) + OVERHEAD_BYTES
                if size >= self._file.pack_bytes:
                    break
            if not taken:
                return False
            self._packs.add(db, taken)
            db.execute(
                "DELETE FROM message WHERE id BETWEEN ? AND ?", self._keys(taken[0].seq, taken[-1].seq)
            )
            self._loose -= len(taken)
            self._loose_bytes -= size
        return True

    @property
    def last_seq(self) -> int:
        """Number of the newest message that is complete."""
        return self.next_seq - 1 - bool(self._open)

    @property
    def gathering(self) -> bool:
        """Whether a message is open."""
        return bool(self._open)

    def seal(self) -> list[Message]:
        """Close the message that is open, if one is, and give it to be sent."""
        with self._file.lock:
            if not self._open:
                return []
            self._open = []
            return self.after(self.last_seq - 1, 1)

    def after(self, seq: int, most: int) -> list[Message]:
        """Up to `most` waiting messages with a number above `seq`, in order, but for one that is open."""
        with self._file.lock:
            found = self._packs.after(seq, most)
            rows = self._file._db.execute(  # noqa: SLF001
                _ROWS, (SEQ_MASK, *self._keys(seq + 1, self.last_seq), most - len(found))
            ).fetchall()
        return found + [self._checked(*row) for row in rows]

    def _checked(self, seq: int, t_ms: int, payload: bytes, crc: int) -> Message:
        if not isinstance(payload, bytes) or self._crc(seq, t_ms, payload) != crc:
            where = f"{self._file.path}: message {seq} of {self.device}"
            raise OutboxError(f"{where}: expected its checksum, got another; a new start saves the others")
        return Message(seq, t_ms, payload)

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
                intervals.union(ranges), [(1, self.last_seq)] if self.last_seq > 0 else []
            )
            for first, last in known:
                keys = self._keys(first, last)
                count, size = db.execute(
                    SIZE,
                    (OVERHEAD_BYTES, *keys),
                ).fetchone()
                if count:
                    db.execute("DELETE FROM message WHERE id BETWEEN ? AND ?", keys)
                    gone += count
                    self._loose_bytes -= size
            self._loose -= gone
            gone += self._packs.ack(db, known)
            heard = intervals.intersect(self._thinned, known)
            if heard:
                self._thinned = intervals.subtract(self._thinned, heard)
                # The newest are still reported while there is room: a server may look only at the last state.
                self._thinned_acked = intervals.union(self._thinned_acked, heard)[-MAX_RANGES:]
                self._write_thinned(db)
        return gone

    def thin(self) -> int:
        """Drop every second message of the older half; the numbers are remembered, never given again.

        Of a half that is packed some at a time, those that were thinned least.
        """
        half = self.count // 2
        with self._file.group() as db:
            if half and self._packs.count:
                victims = self._packs.thin(db, half, self._file.pack_bytes)
            else:
                victims = self._thin_loose(db, half)
            self._thinned = intervals.union(self._thinned, intervals.of_numbers(victims))
            self._write_thinned(db)
        return len(victims)

    def _thin_loose(self, db: sqlite3.Connection, half: int) -> list[int]:
        older = db.execute(
            "SELECT id, length(payload) FROM message WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?",
            (*self._keys(0, self.next_seq), half),
        ).fetchall()
        victims = older[::2]
        db.executemany("DELETE FROM message WHERE id = ?", [(key,) for key, _ in victims])
        self._loose -= len(victims)
        self._loose_bytes -= sum(size + OVERHEAD_BYTES for _, size in victims)
        return [key & SEQ_MASK for key, _ in victims]

    def _write_thinned(self, db: sqlite3.Connection) -> None:
        told = (json.dumps(self._thinned), json.dumps(self._thinned_acked))
        db.execute(
            "UPDATE outbox SET thinned = ?, thinned_acked = ?, thinned_crc = ? WHERE id = ?",
            (*told, crc_of(*told), self._id),
        )

    def _crc(self, seq: int, t_ms: int, payload: bytes) -> int:
        return message_crc(self.device, seq, t_ms, payload)

    def _row_crc(self) -> int:
        return device_crc(self._id, self.device, self.boot, self.next_seq, self.position)

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
            packed = self._packs.waiting()
        return intervals.union(packed, [(first & SEQ_MASK, last & SEQ_MASK) for first, last in rows])

    def standing(self) -> Standing:
        """What `state` reports: at most 1,000 ranges each.

        Thinned numbers that do not fit are reported as waiting, which may over-cover, until the server
        has acknowledged those before them: so none is ever unaccounted.
        """
        with self._file.lock:
            oldest = self._file._db.execute(  # noqa: SLF001
                "SELECT min(t_ms) FROM message WHERE outbox = ?", (self._id,)
            ).fetchone()[0]
            oldest = min((t for t in (oldest, self._packs.oldest_ms) if t is not None), default=None)
            told, untold = self._thinned[:MAX_RANGES], self._thinned[MAX_RANGES:]
            room = MAX_RANGES - len(told)
            thinned = intervals.union(told, self._thinned_acked[-room:] if room else [])
            waiting = intervals.limit(intervals.union(self.waiting(), untold), MAX_RANGES)
            return Standing(self.boot, self.next_seq, waiting, oldest, thinned)
