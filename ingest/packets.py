"""The bytes of an MQTT 3.1.1 connection cut into packets, many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

__all__ = ["MalformedError", "PacketCutter", "Publishes", "pubacks", "publish"]

_PUBLISH: Final = 0x30
_QOS_2: Final = 0x04  # bit of QoS 2, and of 3, which is none
_QOS_1: Final = 0x02
_RETAIN: Final = 0x01
_DUP: Final = 0x08
_MAX_LENGTH_BYTES: Final = 4
_PUBACK: Final = 0x4002


class MalformedError(ValueError):
    """Bytes that are no MQTT: the connection cannot be read any further."""


@dataclass(slots=True)
class Publishes:
    """PUBLISH packets of QoS 0 and 1 that came one after the other, as columns.

    Attributes
    ----------
    topics : list of str
        A replacement character where a topic is no UTF-8.
    payloads : list of bytes
    mids : list of int
        Packet identifiers; 0 where there is nothing to acknowledge (QoS 0).
    retained : list of bool
    """

    topics: list[str] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    mids: list[int] = field(default_factory=list)
    retained: list[bool] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.topics)


class PacketCutter:
    """Cuts what a connection gives, in whatever pieces it comes."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._need = 2  # bytes until another packet may be whole

    def feed(self, data: bytes) -> tuple[list[Publishes | bytes], list[int]]:
        """The packets that are whole now.

        Returns
        -------
        parts : list
            PUBLISH as columns, others as they are, in order.
        confirmed : list of int
            Packet identifiers of PUBACKs, which may stand among the others: their order says nothing.

        Raises
        ------
        MalformedError
            What came is no MQTT 3.1.1.
        """
        if self._rest:
            self._rest += data  # a large packet comes in many pieces: they are joined once
            if len(self._rest) < self._need:
                return [], []
            data = bytes(self._rest)
        parts: list[Publishes | bytes] = []
        confirmed: list[int] = []
        at = self._cut(data, parts, confirmed)
        self._rest = bytearray(data[at:])
        return parts, confirmed

    def _cut(self, data: bytes, parts: list[Publishes | bytes], confirmed: list[int]) -> int:
        """Sort the whole packets of `data` into the lists; where the first one that is not whole begins."""
        run = Publishes()
        at, end = 0, len(data)
        self._need = 2
        while end - at >= 2:
            first, size, body = data[at], data[at + 1], at + 2
            if size & 0x80:
                size, body = _length(data, at + 1)
                if not body:
                    self._need = end - at + 1
                    break
            stop = body + size
            if stop > end:
                self._need = stop - at
                break
            if first & 0xF0 == _PUBLISH and not first & _QOS_2:
                _take(run, data, first, body, stop)
            elif first == _PUBACK >> 8 and size == 2:
                confirmed.append(data[body] << 8 | data[body + 1])
            else:
                if run.topics:
                    parts.append(run)
                    run = Publishes()
                parts.append(data[at:stop])
            at = stop
        if run.topics:
            parts.append(run)
        return at


def _length(data: bytes, at: int) -> tuple[int, int]:
    """The remaining length that begins at `at` and where the body begins; (0, 0) while it is not whole."""
    size = 0
    for place, digit in enumerate(data[at : at + _MAX_LENGTH_BYTES]):
        size |= (digit & 0x7F) << 7 * place
        if not digit & 0x80:
            return size, at + place + 1
    if len(data) - at >= _MAX_LENGTH_BYTES:
        msg = f"expected a remaining length of at most {_MAX_LENGTH_BYTES} bytes"
        raise MalformedError(msg)
    return 0, 0


def _take(run: Publishes, data: bytes, first: int, body: int, stop: int) -> None:
    """Append the PUBLISH packet of `data` whose body is [body, stop) to `run`."""
    topic = body + 2
    after = topic + (data[body] << 8 | data[body + 1]) if topic < stop else topic
    payload = after + 2 if first & _QOS_1 else after
    if after == topic or payload > stop:
        msg = "expected a PUBLISH with a topic and its identifier"
        raise MalformedError(msg)
    try:
        name = data[topic:after].decode()
    except UnicodeDecodeError:
        name = "\N{REPLACEMENT CHARACTER}"
    run.topics.append(name)
    run.payloads.append(data[payload:stop])
    run.mids.append(data[after] << 8 | data[after + 1] if first & _QOS_1 else 0)
    run.retained.append(bool(first & _RETAIN))


def publish(topic: str, payload: bytes, mid: int, *, again: bool) -> bytes:
    """A PUBLISH packet at QoS 1, not retained; `again` marks one that was sent before."""
    name = topic.encode()
    body = len(name).to_bytes(2) + name + mid.to_bytes(2) + payload
    size, length = len(body), bytearray()
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return bytes((_PUBLISH | _QOS_1 | (_DUP if again else 0),)) + length + body


def pubacks(mids: Sequence[int]) -> bytes:
    """PUBACK packets of `mids`, in the order given; 0 stands for none."""
    numbers = np.array(mids, dtype=np.uint16)
    numbers = numbers[numbers != 0]
    packets = np.empty((len(numbers), 2), dtype=">u2")
    packets[:, 0] = _PUBACK
    packets[:, 1] = numbers
    return packets.tobytes()
