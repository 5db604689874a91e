"""JT/T 808 messages: escaping, header, checksum, positions. Pure.

After JT/T 808-2013 and -2019. Between two 0x7E stand, escaped: identifier, properties, phone number
(packed decimal, 6 bytes, in the edition of 2019 a version and 10), serial number, the package's place
where there are several, body, and the exclusive or of all before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Final, NamedTuple

from edge.driver import RecordError

__all__ = [
    "BATCH",
    "LOCATION",
    "MOST_BYTES",
    "Message",
    "Position",
    "batch",
    "decode",
    "encode",
    "general_reply",
    "location",
    "split",
]

DELIMITER: Final = 0x7E
LOCATION: Final = 0x0200
BATCH: Final = 0x0704
MOST_BYTES: Final = 4096  # escaped: a body has at most 1,023 bytes
_ESCAPED: Final = {0x01: 0x7D, 0x02: 0x7E}
_BEIJING: Final = timezone(timedelta(hours=8))
_EARLIEST: Final = datetime(2020, 1, 1, tzinfo=UTC)


class Position(NamedTuple):
    """What a terminal reports of one instant, on its own datum."""

    t_ms: int
    located: bool
    lat_deg: float
    lon_deg: float
    speed_m_s: float
    heading_deg: float


@dataclass(frozen=True)
class Message:
    """One sound message.

    Attributes
    ----------
    offsets : tuple of int
        Where each byte of the body lies in the frame, and the byte behind it.
    part : (int, int) or None
        Number and count of packages, from 1.
    """

    id: int
    phone: str
    serial: int
    body: bytes
    offsets: tuple[int, ...]
    edition: int
    part: tuple[int, int] | None = None


def split(buffer: bytes) -> tuple[list[bytes], bytes]:
    r"""Cut a stream into frames, delimiters included; what is before the first is noise and a frame too.

    Examples
    --------
    >>> split(bytes.fromhex("7e01027e7e03"))
    ([b'~\x01\x02~'], b'~\x03')
    """
    frames: list[bytes] = []
    while True:
        start = buffer.find(b"~")
        if start != 0:
            noise = buffer if start < 0 else buffer[:start]
            if noise:
                frames.append(noise)
            buffer = b"" if start < 0 else buffer[start:]
        end = buffer.find(b"~", 1)
        if end < 0:
            return frames, buffer
        if end == 1:  # one delimiter may end a frame and another begin the next
            buffer = buffer[1:]
            continue
        frames.append(buffer[: end + 1])
        buffer = buffer[end + 1 :]


def _unescape(frame: bytes) -> tuple[bytes, list[int]]:
    """Bytes between the delimiters, and where each lies."""
    if not frame or frame[0] != DELIMITER:
        raise RecordError(0, f"expected 0x7E, got {frame[:1].hex() or 'nothing'}")
    if len(frame) < 2 or frame[-1] != DELIMITER:
        raise RecordError(len(frame), f"expected 0x7E at the end, got {frame[-1:].hex()}")
    data, offsets = bytearray(), []
    at, end = 1, len(frame) - 1
    while at < end:
        byte = frame[at]
        offsets.append(at)
        if byte == DELIMITER:
            raise RecordError(at, "expected a message without 0x7E inside, got one")
        if byte == 0x7D:
            at += 1
            if at >= end or frame[at] not in _ESCAPED:
                raise RecordError(at, f"expected 01 or 02 behind 0x7D, got {frame[at : at + 1].hex()}")
            byte = _ESCAPED[frame[at]]
        data.append(byte)
        at += 1
    return bytes(data), [*offsets, end]


def decode(frame: bytes) -> Message:
    """Judge and read one frame, delimiters included.

    Raises
    ------
    RecordError
        If it is cut off or damaged, or encrypted.
    """
    data, offsets = _unescape(frame)
    if len(data) < 13:
        raise RecordError(len(frame) - 1, f"expected at least 13 bytes, got {len(data)}")
    checksum = 0
    for byte in data[:-1]:
        checksum ^= byte
    if checksum != data[-1]:
        raise RecordError(offsets[len(data) - 1], f"expected checksum 0x{checksum:02X}, got 0x{data[-1]:02X}")
    properties = int.from_bytes(data[2:4], "big")
    if properties & 0x1C00:
        raise RecordError(offsets[2], f"expected no encryption, got properties 0x{properties:04X}")
    newer, parted = bool(properties & 0x4000), bool(properties & 0x2000)
    phone_at, phone_size = (5, 10) if newer else (4, 6)
    body_at = phone_at + phone_size + 2 + (4 if parted else 0)
    expected = body_at + (properties & 0x3FF) + 1
    if len(data) != expected:
        raise RecordError(
            offsets[min(len(data), expected) - 1], f"expected {expected} bytes, got {len(data)}"
        )
    phone = data[phone_at : phone_at + phone_size].hex()
    if not phone.isdigit():
        raise RecordError(offsets[phone_at], f"expected a phone number, got {phone}")
    serial_at = phone_at + phone_size
    part = None
    if parted:
        count, number = (int.from_bytes(data[serial_at + i : serial_at + i + 2], "big") for i in (2, 4))
        if not 1 <= number <= count:
            raise RecordError(offsets[serial_at + 2], f"expected package 1 to {count}, got {number}")
        part = number, count
    return Message(
        int.from_bytes(data[:2], "big"),
        phone.lstrip("0").rjust(12, "0"),
        int.from_bytes(data[serial_at : serial_at + 2], "big"),
        data[body_at:-1],
        tuple(offsets[body_at : len(data)]),
        2019 if newer else 2013,
        part,
    )


def _time_ms(body: bytes, at: int, offset: int) -> int:
    digits = body[at : at + 6].hex()
    try:
        when = datetime.strptime(digits, "%y%m%d%H%M%S").replace(tzinfo=_BEIJING)
    except ValueError as error:
        raise RecordError(offset, f"expected a time YYMMDDhhmmss, got {digits}") from error
    if when < _EARLIEST:
        raise RecordError(offset, f"expected a time since {_EARLIEST:%Y}, got {digits}")
    return int(when.timestamp()) * 1000


def location(body: bytes, offsets: tuple[int, ...]) -> Position:
    """Read the body of one position report.

    Parameters
    ----------
    body : bytes
        Alarm and status words, position, additional items.
    offsets : tuple of int
        Where its bytes lie, for errors.

    Raises
    ------
    RecordError
        If it is cut off or says what cannot be.
    """
    if len(body) < 28:
        raise RecordError(offsets[len(body)], f"expected a position of at least 28 bytes, got {len(body)}")
    status, lat, lon = (int.from_bytes(body[i : i + 4], "big") for i in (4, 8, 12))
    speed, heading = (int.from_bytes(body[i : i + 2], "big") for i in (18, 20))
    for at, what, value, most in (
        (8, "latitude", lat, 90_000_000),
        (12, "longitude", lon, 180_000_000),
        (20, "direction", heading, 360),
    ):
        if value > most:
            raise RecordError(offsets[at], f"expected a {what} of at most {most}, got {value}")
    t_ms = _time_ms(body, 22, offsets[22])
    at = 28
    while at < len(body):
        end = at + 2 + body[at + 1] if at + 1 < len(body) else len(body) + 1
        if end > len(body):
            raise RecordError(offsets[len(body)], f"expected the additional item at {offsets[at]} to go on")
        at = end
    return Position(
        t_ms,
        bool(status & 2),
        (-lat if status & 4 else lat) / 1e6,
        (-lon if status & 8 else lon) / 1e6,
        speed / 36,
        float(heading % 360),
    )


def batch(body: bytes, offsets: tuple[int, ...]) -> list[Position]:
    """Read the body of a batch of positions; RecordError if it does not hold what it announces."""
    if len(body) < 3:
        raise RecordError(offsets[len(body)], f"expected a batch of at least 3 bytes, got {len(body)}")
    count = int.from_bytes(body[:2], "big")
    positions: list[Position] = []
    at = 3
    for number in range(1, count + 1):
        size = int.from_bytes(body[at : at + 2], "big")
        end = at + 2 + size
        if at + 2 > len(body) or end > len(body):
            raise RecordError(offsets[len(body)], f"expected position {number} of {count}, got the end")
        positions.append(location(body[at + 2 : end], offsets[at + 2 : end + 1]))
        at = end
    if at != len(body):
        raise RecordError(offsets[at], f"expected the end behind {count} positions, got more")
    return positions


def encode(id_: int, message: Message, serial: int, body: bytes) -> bytes:
    """Give a message to the terminal that sent `message`, in its edition."""
    properties = len(body) | (0x4000 if message.edition == 2019 else 0)
    phone = message.phone.rjust(20, "0") if message.edition == 2019 else message.phone
    head = id_.to_bytes(2, "big") + properties.to_bytes(2, "big")
    head += b"\x01" if message.edition == 2019 else b""
    data = head + bytes.fromhex(phone) + serial.to_bytes(2, "big") + body
    checksum = 0
    for byte in data:
        checksum ^= byte
    escaped = (data + bytes((checksum,))).replace(b"\x7d", b"\x7d\x01").replace(b"\x7e", b"\x7d\x02")
    return b"~" + escaped + b"~"


def general_reply(message: Message, serial: int, result: int) -> bytes:
    """Give the platform's general reply: 0 done, 1 failed, 2 wrong, 3 not supported."""
    body = message.serial.to_bytes(2, "big") + message.id.to_bytes(2, "big") + bytes((result,))
    return encode(0x8001, message, serial, body)
