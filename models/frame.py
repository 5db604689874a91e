"""Frames: columnar batches that travel through the journal.

A frame holds messages of one kind and, for telemetry, one device class, all of
one stream. Everything that an operator reads is a frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import pyarrow as pa

from models.measurements import Kind, of_class

__all__ = [
    "DELIVERIES", "EMPTIED_STREAMS", "EVENT_SCHEMA", "HEADER_FIELDS", "LETTER_ALLOWED", "LETTER_RETRIED",
    "MAX_FRAME_BYTES", "MAX_FRAME_SAMPLES", "REFUSAL_SCHEMA", "REFUSED_STREAM", "ROW_OF_ANOTHER_STREAM",
    "Frame", "FrameError", "FrameKind", "Record", "telemetry_schema",
]  # fmt: skip

MAX_FRAME_SAMPLES: Final = 10_000
MAX_FRAME_BYTES: Final = 512 * 1024
REFUSED_STREAM: Final = "_refused"
"""Stream of the refusals that belong to no known device."""
EMPTIED_STREAMS: Final = "*"
"""In a stream's place, of a registry: for the streams that have no device in it. No stream is called so."""
SEQ_REUSED: Final = "seq_reused"
"""Reason for which a stream refuses a message: its number is known, and its samples are newer."""
DELIVERIES: Final = "deliveries"
"""Kind of an action: what a stream knew of the messages of a device that belongs to another one now."""
LETTER_ALLOWED: Final = "dead_letter_allowed"
"""Kind of an action: the message that comes next may be taken in although its number was used."""
LETTER_RETRIED: Final = "dead_letter_retried"
"""Kind of an action: a dead letter was given in again."""
ROW_OF_ANOTHER_STREAM: Final = "row"
"""Kind of an action: a result row that another stream said, for those here who read such rows."""
_VERSION: Final = b"1"


class FrameError(ValueError):
    """Bytes that are no frame of a known version."""


class FrameKind(StrEnum):
    """What the rows of a frame are."""

    TELEMETRY = "telemetry"
    EVENT = "event"  # birth, state, death: presence of devices
    REFUSAL = "refusal"
    REGISTRY = "registry"
    ACTION = "action"
    RESTATE = "restate"
    HEARTBEAT = "heartbeat"


HEADER_FIELDS: Final = (
    pa.field("device", pa.string(), nullable=False),
    pa.field("boot", pa.int64(), nullable=False),
    pa.field("seq", pa.int64(), nullable=False),
    pa.field("pos", pa.int32(), nullable=False),  # position of the sample in its message
    pa.field("t", pa.int64(), nullable=False),  # when the sample was taken, ms UTC
)
EVENT_SCHEMA: Final = pa.schema([
    pa.field("device", pa.string(), nullable=False),
    pa.field("kind", pa.string(), nullable=False),  # birth, state, death
    pa.field("payload", pa.string(), nullable=False),  # the payload as JSON text
])  # fmt: skip
"""Also the schema of registry and action frames (`device` empty, `kind` what it is)."""
REFUSAL_SCHEMA: Final = pa.schema([
    pa.field("topic", pa.string(), nullable=False),
    pa.field("device", pa.string(), nullable=False),  # as the topic says; empty when it has none
    pa.field("boot", pa.int64()),  # absent when not readable
    pa.field("seq", pa.int64()),
    pa.field("reason", pa.string(), nullable=False),
    pa.field("detail", pa.string(), nullable=False),  # what was expected and what came
    pa.field("payload", pa.binary(), nullable=False),
    pa.field("retained", pa.bool_(), nullable=False),
])  # fmt: skip


def telemetry_schema(device_class: str) -> pa.Schema:
    """Columns of a telemetry frame of `device_class`.

    After the header stand the class's measurements (float64, or string for
    text; null when absent) and `extra`, JSON text of measurements that the
    table does not know. A frame may omit columns that are null throughout.
    """
    columns = [
        pa.field(m.name, pa.string() if m.kind is Kind.TEXT else pa.float64()) for m in of_class(device_class)
    ]
    return pa.schema([*HEADER_FIELDS, *columns, pa.field("extra", pa.string())])


@dataclass(frozen=True, slots=True)
class Frame:
    """One batch of one kind.

    Attributes
    ----------
    kind : FrameKind
    device_class : str
        For telemetry the class of its devices, else empty.
    batch : pyarrow.RecordBatch
        `telemetry_schema` (or a subset of its measurements), `EVENT_SCHEMA` or
        `REFUSAL_SCHEMA`; without rows for a heartbeat.
    """

    kind: FrameKind
    device_class: str
    batch: pa.RecordBatch

    def encode(self) -> bytes:
        """Arrow IPC stream bytes, with kind, class and version in the schema's metadata."""
        metadata = {
            b"hearthline": _VERSION,
            b"kind": self.kind.encode(),
            b"class": self.device_class.encode(),
        }
        batch = self.batch.replace_schema_metadata(metadata)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        return bytes(sink.getvalue())

    @classmethod
    def decode(cls, data: bytes) -> Frame:
        """Read what `encode` wrote; FrameError if it is no frame of a known version, or of other columns."""
        try:
            with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
                metadata = reader.schema.metadata or {}
                if metadata.get(b"hearthline") != _VERSION:
                    got = metadata.get(b"hearthline")
                    msg = f"expected a frame of version {_VERSION.decode()}, got {got!r}"
                    raise FrameError(msg)
                batch = reader.read_next_batch()
                batch.validate(full=True)
                kind, device_class = FrameKind(metadata[b"kind"].decode()), metadata[b"class"].decode()
                _expect_columns(batch, kind, device_class)
                return cls(kind, device_class, batch)
        except FrameError:
            raise
        except (pa.ArrowException, OSError, KeyError, ValueError, StopIteration) as error:
            msg = f"expected a frame of {len(data)} bytes in Arrow's IPC format: {error}"
            raise FrameError(msg) from error

    @classmethod
    def heartbeat(cls) -> Frame:
        """An empty frame that only moves a stream's now."""
        return cls(FrameKind.HEARTBEAT, "", pa.RecordBatch.from_pylist([], schema=EVENT_SCHEMA))

    @classmethod
    def events(cls, rows: list[dict[str, str]], kind: FrameKind = FrameKind.EVENT) -> Frame:
        """A frame of births, states, deaths, registry versions or actions."""
        return cls(kind, "", pa.RecordBatch.from_pylist(rows, schema=EVENT_SCHEMA))


_SOUND: Final[dict[tuple[FrameKind, str], list[pa.Schema]]] = {}
"""By kind and class columns that were looked at: nearly all frames of a class have the same."""
_MOST_SOUND: Final = 8


def _schema(kind: FrameKind, device_class: str) -> pa.Schema | None:
    """What the columns of a frame are to be, where that is known."""
    if kind is FrameKind.TELEMETRY:
        return telemetry_schema(device_class)
    if kind in {FrameKind.EVENT, FrameKind.ACTION, FrameKind.REGISTRY}:
        return EVENT_SCHEMA
    return REFUSAL_SCHEMA if kind is FrameKind.REFUSAL else None


def _expect_columns(batch: pa.RecordBatch, kind: FrameKind, device_class: str) -> None:
    """FrameError where a column is of another type, or one that every row has is not whole.

    What does not know better than to write 3 for 3.0 is no reason to refuse a number.
    """
    if batch.num_rows == 0:
        return
    of = (kind, device_class if kind is FrameKind.TELEMETRY else "")
    sound = _SOUND.get(of, [])
    if not any(batch.schema.equals(known) for known in sound):
        expected = _schema(*of)
        if expected is not None:
            _expect_types(batch.schema, expected)
        _SOUND[of] = [batch.schema, *sound][:_MOST_SOUND]
    for name in _WHOLE.get(kind, ()):
        column = batch.column(name)
        lacking = column.null_count
        if pa.types.is_dictionary(column.type) and column.dictionary.null_count:
            lacking = column.dictionary_decode().null_count
        if lacking:
            raise FrameError(f"expected {name} in every row, got {lacking} without")


def _expect_types(schema: pa.Schema, expected: pa.Schema) -> None:
    found = dict(zip(schema.names, schema.types, strict=True))
    if len(found) < len(schema.names):
        raise FrameError(f"expected each column once, got {schema.names}")
    for field in expected:
        kind = found.get(field.name)
        if kind is None:
            if not field.nullable:
                raise FrameError(f"expected a column {field.name}, got {schema.names}")
        elif not _same_type(kind, field.type) and not (field.nullable and pa.types.is_null(kind)):
            raise FrameError(f"expected {field.name} as {field.type}, got {kind}")


def _same_type(found: pa.DataType, expected: pa.DataType) -> bool:
    if pa.types.is_dictionary(found):
        found = found.value_type
    if pa.types.is_floating(expected):
        return bool(pa.types.is_floating(found) or pa.types.is_integer(found))
    if pa.types.is_integer(expected):  # an unsigned one of 64 bits may be larger than ours
        return bool(pa.types.is_integer(found) and found != pa.uint64())
    return bool(found == expected)


_WHOLE: Final = {
    FrameKind.TELEMETRY: tuple(f.name for f in HEADER_FIELDS),
    FrameKind.REFUSAL: tuple(f.name for f in REFUSAL_SCHEMA if not f.nullable),
    **dict.fromkeys(
        (FrameKind.EVENT, FrameKind.ACTION, FrameKind.REGISTRY), tuple(f.name for f in EVENT_SCHEMA)
    ),
}
"""By kind the columns that every row has."""


@dataclass(frozen=True, slots=True)
class Record:
    """A frame at its place in the journal.

    Attributes
    ----------
    stream : str
    offset : int
        0, 1, 2 … without a gap within a stream.
    timestamp_ms : int
        Append time (or, on the data clock, the largest accepted sample time), ms UTC.
    frame : bytes
        Encoded frame.
    """

    stream: str
    offset: int
    timestamp_ms: int
    frame: bytes
