"""Messages as they wait in an outbox: encoded, split to the wire's size, each with a checksum."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from edge.ranges import Ranges
from models.wire import MAX_PAYLOAD_BYTES

__all__ = [
    "ENVELOPE_BYTES", "MAX_RANGES", "MAX_SAMPLES", "OVERHEAD_BYTES", "SEQ_BITS", "SEQ_MASK", "TEXT_CHARS",
    "Message", "Standing", "TooLargeError", "crc_of", "encode_sample", "message_crc", "pack_crc",
    "payload_of", "sample_text", "split",
]  # fmt: skip

MAX_SAMPLES: Final = 1000
MAX_RANGES: Final = 1000
ENVELOPE_BYTES: Final = 96  # room for the longest boot and seq around the samples
OVERHEAD_BYTES: Final = 100
"""What a row costs on disk beside its payload. [bytes]"""
SEQ_BITS: Final = 40  # a row's key is the device's number and the sequence number side by side
SEQ_MASK: Final = (1 << SEQ_BITS) - 1
TEXT_CHARS: Final = 1024


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


def crc_of(*words: object) -> int:
    """Checksum of some words."""
    return zlib.crc32("\0".join(map(str, words)).encode())


def message_crc(device: str, seq: int, t_ms: int, payload: bytes) -> int:
    """Checksum of a message and its place."""
    return zlib.crc32(payload, crc_of(device, seq, t_ms))


def pack_crc(device: str, first: int, t_ms: int, numbers: str, packed: bytes) -> int:
    """Checksum of packed messages and their place."""
    return zlib.crc32(packed, crc_of("pack", device, first, t_ms, numbers))


def payload_of(boot: int, seq: int, samples: Iterable[bytes]) -> bytes:
    """A message as it goes on the wire."""
    return f'{{"boot":{boot},"seq":{seq},"samples":['.encode() + b",".join(samples) + b"]}"


def sample_text(sample: Mapping[str, float | str]) -> bytes:
    """One sample, its time first, as JSON; ValueError for a number that is none."""
    return json.dumps(sample, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def encode_sample(t_ms: int, values: Mapping[str, float | str]) -> bytes:
    """Write one sample as JSON; ValueError names the measurement that the wire cannot carry."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            msg = f"{name}: expected a finite number or text, got {value!r}"
            raise ValueError(msg)  # noqa: TRY004  one kind of error for whatever the wire refuses
        if isinstance(value, str) and len(value) > TEXT_CHARS:
            msg = f"{name}: expected at most {TEXT_CHARS} characters, got {len(value)}"
            raise ValueError(msg)
    return sample_text({"t": t_ms, **values})


def split(
    encoded: Sequence[tuple[int, bytes]], device: str, most: int = MAX_SAMPLES
) -> Iterator[list[tuple[int, bytes]]]:
    """Samples of one device in parts that each fit in a message; TooLargeError if one alone does not."""
    part: list[tuple[int, bytes]] = []
    size = ENVELOPE_BYTES
    for t_ms, text in encoded:
        if len(text) + ENVELOPE_BYTES > MAX_PAYLOAD_BYTES:
            msg = f"{device}: expected a sample below {MAX_PAYLOAD_BYTES} bytes, got {len(text)} at t {t_ms}"
            raise TooLargeError(msg)
        if part and (size + len(text) + 1 > MAX_PAYLOAD_BYTES or len(part) >= most):
            yield part
            part, size = [], ENVELOPE_BYTES
        part.append((t_ms, text))
        size += len(text) + 1
    if part:
        yield part
