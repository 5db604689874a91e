"""A Modbus device: answers reads of the registers that its configuration maps, and of no others."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from edge.config import DeviceConfig
from edge.simulators.peer import Peer, plausible
from edge.units import conversion

__all__ = ["Device", "start"]

_FORMAT: Final = {"int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "float32": ">f",
                  "int64": ">q", "uint64": ">Q", "float64": ">d"}  # fmt: skip


def crc16(data: bytes) -> int:
    """Cyclic redundancy check of RTU, by its definition: polynomial 0xA001, bit by bit, from 0xFFFF."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


def raw_of(measurement: str, spec: dict[str, Any], value: float) -> bytes:
    """Registers that hold `value` of a measurement, as bytes in the order of the wire."""
    into = conversion(measurement, spec.get("unit"))
    number = ((value - into.addend) / into.factor - spec.get("offset", 0.0)) / spec.get("scale", 1.0)
    kind = _FORMAT[spec.get("type", "uint16")]
    data = struct.pack(kind, number if kind[1] in "fd" else round(number))
    if spec.get("word_order") == "little":
        data = b"".join(data[i : i + 2] for i in range(len(data) - 2, -1, -2))
    return data


class Device:
    """Registers behind one or more unit numbers.

    Parameters
    ----------
    units : dict of int to callable
        For each unit: given the function code, its registers as {number: two bytes}.
    rtu : bool
        Whether frames are RTU.
    """

    def __init__(self, units: dict[int, Callable[[int], dict[int, bytes]]], *, rtu: bool):
        self._units = units
        self._rtu = rtu

    def heard(self, data: bytes) -> bytes:
        """Answer one request; a unit that is not here stays silent."""
        if self._rtu:
            if len(data) != 8 or crc16(data[:6]) != int.from_bytes(data[6:], "little"):
                return b""
            answer = self._answer(data[0], data[1:6])
            return answer and (answer + crc16(answer).to_bytes(2, "little"))
        answer = self._answer(data[6], data[7:12])
        return answer and (data[:4] + len(answer).to_bytes(2, "big") + answer)

    def _answer(self, unit: int, pdu: bytes) -> bytes:
        if unit not in self._units:
            return b""
        function, first, count = struct.unpack(">BHH", pdu)
        if function not in (3, 4):
            return bytes((unit, function | 0x80, 1))
        held = self._units[unit](function)
        if any(first + i not in held for i in range(count)):
            return bytes((unit, function | 0x80, 2))
        words = b"".join(held[first + i] for i in range(count))
        return bytes((unit, function, len(words))) + words

    def tick(self) -> bytes:
        """It speaks only when asked."""
        return b""


def _registers(device: DeviceConfig) -> Callable[[int], dict[int, bytes]]:
    def held(function: int) -> dict[int, bytes]:
        words: dict[int, bytes] = {}
        for name, spec in device.options["registers"].items():
            if (spec.get("table", "holding") == "holding") == (function == 3):
                data = raw_of(name, spec, plausible(name, time.time()))
                words |= {spec["register"] + i // 2: data[i : i + 2] for i in range(0, len(data), 2)}
        return words

    return held


def start(devices: Sequence[DeviceConfig]) -> Peer:
    """Play all devices of one address."""
    options = devices[0].options
    serial = not str(options["address"]).startswith("tcp://")
    rtu = options.get("framing", "rtu" if serial else "tcp") == "rtu"
    units = {device.options.get("meter", 1): _registers(device) for device in devices}
    return Peer(lambda: Device(units, rtu=rtu), serial=serial)
