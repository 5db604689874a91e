"""Checkpoints of a partition as keyed values: two slots, a marker each, and shared segments.

A changelog keeps values one by one, so a crash can leave any prefix of a
checkpoint's writes behind. A checkpoint therefore goes into the slot of two
that the last complete one does not use, and counts only once its marker, the
last value to be written, names the digest of the whole. Segments never change:
they are written once, under their own digest, and both slots may refer to them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import zstandard

from streams.core.checkpoint import Checkpoint, CheckpointError

__all__ = ["CHUNK_BYTES", "CheckpointSlots", "Marker", "Plan", "marker_keys"]

CHUNK_BYTES: Final = 512 * 1024
"""Largest value written; below Kafka's default limit of 1 MiB a message."""
_VERSION: Final = 1
_SEGMENT: Final = "segment/"
_SLOTS: Final = (0, 1)


@dataclass(frozen=True, slots=True)
class Marker:
    """What makes a slot count.

    Attributes
    ----------
    epoch : int
        The owner's; it grows with every change of ownership.
    number : int
        Of the checkpoint within its epoch.
    offset : int
        Last record of the partition that is part of the state.
    parts : int
        How many values the slot holds.
    sha256 : str
        Digest of these values, joined. [hex]
    """

    epoch: int
    number: int
    offset: int
    parts: int
    sha256: str

    def encode(self) -> bytes:
        """JSON bytes with the version."""
        body = {"version": _VERSION, "epoch": self.epoch, "number": self.number, "offset": self.offset}
        return json.dumps(body | {"parts": self.parts, "sha256": self.sha256}).encode()

    @classmethod
    def decode(cls, data: bytes) -> Marker:
        """Read what `encode` wrote; CheckpointError if it is none or of another version."""
        try:
            body = json.loads(data)
            version = body.pop("version")
            if version != _VERSION:
                msg = (
                    f"expected a marker of version {_VERSION}, got {version!r}; run the release that wrote it"
                )
                raise CheckpointError(msg)
            return cls(**body)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            msg = f"expected a checkpoint marker, got {data[:80]!r}: {error}"
            raise CheckpointError(msg) from error


@dataclass(frozen=True, slots=True)
class Plan:
    """Writes of one checkpoint, in order: `parts` in any order among themselves, then `marker`."""

    slot: int
    parts: list[tuple[bytes, bytes]]
    marker: tuple[bytes, bytes]
    segments: Mapping[str, int]
    head: Marker


@dataclass(slots=True)
class _Slot:
    marker: Marker
    checkpoints: dict[str, Checkpoint]
    segments: dict[str, int]  # digest: number of chunks


def _key(partition: int, *path: object) -> bytes:
    return "/".join(str(step) for step in (_VERSION, partition, *path)).encode()


def marker_keys(partition: int) -> list[bytes]:
    """Keys without which a partition has no checkpoint."""
    return [_key(partition, "marker", slot) for slot in _SLOTS]


def _chunks(data: bytes) -> list[bytes]:
    return [data[i : i + CHUNK_BYTES] for i in range(0, len(data), CHUNK_BYTES)] or [b""]


def _pack(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=1).compress(data)


def _unpack(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(data)


@dataclass(slots=True)
class CheckpointSlots:
    """The two slots of one partition: what is complete, where the next one goes, what may be deleted.

    Attributes
    ----------
    partition : int
    epoch : int
        Of the present owner; 0 until `own`.
    """

    partition: int
    epoch: int = 0
    _number: int = 0
    _seen_epoch: int = 0
    _slots: list[_Slot | None] = field(default_factory=lambda: [None, None])
    _current: int | None = None
    _orphans: dict[str, int] = field(default_factory=dict)

    @classmethod
    def load(cls, partition: int, entries: Mapping[bytes, bytes]) -> CheckpointSlots:
        """Find the complete slots among `entries`; an incomplete slot is no error, an unknown version is."""
        slots = cls(partition)
        for slot in _SLOTS:
            data = entries.get(_key(partition, "marker", slot))
            if not data:
                continue
            marker = Marker.decode(data)
            slots._seen_epoch = max(slots._seen_epoch, marker.epoch)
            slots._slots[slot] = _read(partition, slot, marker, entries)
        complete = [
            (s.marker.offset, s.marker.epoch, s.marker.number, i) for i, s in enumerate(slots._slots) if s
        ]
        if complete:
            slots._current = max(complete)[-1]
        used = {digest for slot_ in slots._slots if slot_ for digest in slot_.segments}
        slots._orphans = {d: n for d, n in _segments(partition, entries).items() if d not in used}
        return slots

    @property
    def offset(self) -> int:
        """Last record that is part of the newest complete checkpoint; -1 when there is none."""
        slot = self._newest()
        return slot.marker.offset if slot else -1

    def take(self) -> dict[str, Checkpoint]:
        """The newest complete checkpoint of each stream, once: what was loaded is then let go."""
        slot = self._newest()
        taken = slot.checkpoints if slot else {}
        for held in self._slots:
            if held:
                held.checkpoints = {}
        return taken

    @property
    def marker(self) -> Marker | None:
        """Marker of the newest complete checkpoint."""
        slot = self._newest()
        return slot.marker if slot else None

    def own(self, generation: int) -> None:
        """Begin an epoch: above every one seen, and at least the group's `generation`.

        Generations alone will not do: they start again when a group expires.
        """
        self.epoch = max(self._seen_epoch + 1, generation)
        self._number = 0

    def prepare(self, offset: int, checkpoints: Iterable[Checkpoint]) -> Plan:
        """Plan the writes of a checkpoint of the whole partition up to `offset`."""
        slot = 0 if self._current is None else 1 - self._current
        known = {d: n for held in self._slots if held for d, n in held.segments.items()}
        body, segments, values = _encode(checkpoints, known)
        pieces = _chunks(body)
        self._number += 1
        # Until the plan is confirmed nothing refers to what it wrote: should it fail, the next one sweeps.
        self._orphans |= {name: len(_chunks(value)) for name, value in values.items()}
        digest = hashlib.sha256(body).hexdigest()
        head = Marker(self.epoch, self._number, offset, len(pieces), digest)
        parts = [
            (_key(self.partition, "segment", name, i), piece)
            for name, value in values.items()
            for i, piece in enumerate(_chunks(value))
        ]
        parts += [(_key(self.partition, "slot", slot, i), piece) for i, piece in enumerate(pieces)]
        return Plan(slot, parts, (_key(self.partition, "marker", slot), head.encode()), segments, head)

    def confirm(self, plan: Plan) -> list[bytes]:
        """Take `plan` as complete, now that its marker is durable; gives the keys that may be deleted."""
        before = dict(self._orphans)
        for held in self._slots:
            before |= held.segments if held else {}
        self._slots[plan.slot] = _Slot(plan.head, {}, dict(plan.segments))
        self._current = plan.slot
        self._seen_epoch = max(self._seen_epoch, plan.head.epoch)
        self._orphans = {}
        used = {digest for held in self._slots if held for digest in held.segments}
        return [
            _key(self.partition, "segment", digest, i)
            for digest, count in before.items()
            if digest not in used
            for i in range(count)
        ]

    def _newest(self) -> _Slot | None:
        return None if self._current is None else self._slots[self._current]


def _encode(
    checkpoints: Iterable[Checkpoint], known: Mapping[str, int]
) -> tuple[bytes, dict[str, int], dict[str, bytes]]:
    """Body of a slot, the segments that it refers to, and those of them that are not yet `known`."""
    head: dict[str, Any] = {}
    bodies: list[bytes] = []
    segments: dict[str, int] = {}
    values: dict[str, bytes] = {}
    for checkpoint in checkpoints:
        sizes: list[tuple[str, int]] = []
        refers: list[tuple[str, str, int]] = []
        for name, data in checkpoint.parts.items():
            if not name.startswith(_SEGMENT):
                sizes.append((name, len(data)))
                bodies.append(data)
                continue
            digest = hashlib.sha256(data).hexdigest()
            count = known.get(digest)
            if count is None:
                values[digest] = _pack(data)
                count = len(_chunks(values[digest]))
            segments[digest] = count
            refers.append((name, digest, count))
        head[checkpoint.stream] = {"offset": checkpoint.offset, "parts": sizes, "segments": refers}
    table = json.dumps(head).encode()
    return _pack(len(table).to_bytes(8) + table + b"".join(bodies)), segments, values


def _read(partition: int, slot: int, marker: Marker, entries: Mapping[bytes, bytes]) -> _Slot | None:
    """Give what a slot holds, or None where a value is missing or is not what the marker says."""
    pieces = [entries.get(_key(partition, "slot", slot, i)) for i in range(marker.parts)]
    if any(piece is None for piece in pieces):
        return None
    body = b"".join(piece for piece in pieces if piece)
    if hashlib.sha256(body).hexdigest() != marker.sha256:
        return None
    data = _unpack(body)
    start = 8 + int.from_bytes(data[:8])
    checkpoints: dict[str, Checkpoint] = {}
    segments: dict[str, int] = {}
    for stream, entry in json.loads(data[8:start]).items():
        parts: dict[str, bytes] = {}
        for name, size in entry["parts"]:
            parts[name] = data[start : start + size]
            start += size
        for name, digest, count in entry["segments"]:
            value = _read_segment(partition, digest, count, entries)
            if value is None:
                return None
            parts[name] = value
            segments[digest] = count
        checkpoints[stream] = Checkpoint(stream, entry["offset"], parts)
    return _Slot(marker, checkpoints, segments)


def _read_segment(partition: int, digest: str, count: int, entries: Mapping[bytes, bytes]) -> bytes | None:
    pieces = [entries.get(_key(partition, "segment", digest, i)) for i in range(count)]
    if any(piece is None for piece in pieces):
        return None
    try:
        data = _unpack(b"".join(piece for piece in pieces if piece))
    except zstandard.ZstdError:
        return None
    return data if hashlib.sha256(data).hexdigest() == digest else None


def _segments(partition: int, entries: Mapping[bytes, bytes]) -> dict[str, int]:
    """Digest and number of chunks of every segment among `entries`, referred to or not."""
    prefix = _key(partition, "segment", "")
    found: dict[str, int] = {}
    for key in entries:
        if key.startswith(prefix):
            digest, index = key[len(prefix) :].decode().rsplit("/", 1)
            found[digest] = max(found.get(digest, 0), int(index) + 1)
    return found
