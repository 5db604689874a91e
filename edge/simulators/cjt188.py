"""A heat meter that speaks CJ/T 188: answers the request for current data to its own address."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edge.config import DeviceConfig
from edge.simulators.peer import Peer, plausible

__all__ = ["Meter", "answer", "start"]


def _number(value: float, decimals: int, size: int) -> bytes:
    text = f"{round(value * 10**decimals):0{2 * size}d}"
    return bytes(int(text[i : i + 2], 16) for i in range(2 * size - 2, -1, -2))


def answer(options: Mapping[str, Any], serial: int, values: Mapping[str, float], *, status: int = 0) -> bytes:
    """Give the answer of a meter that shows `values`, in the units of their names."""
    meter, first = options["meter"], options.get("unit_first", False)

    def coded(value: float, decimals: int, code: int) -> bytes:
        number = _number(value, decimals, 4)
        return bytes((code,)) + number if first else number + bytes((code,))

    data = b"".join((
        b"\x1f\x90" if options.get("edition", "2004") == "2018" else b"\x90\x1f",
        bytes((serial,)),
        coded(0.0, 2, 0x08),
        coded(values["energy_gj"] / 3.6, 2, 0x08),
        coded(values["heat_kw"], 2, 0x17),
        coded(values["flow_m3_h"], 4, 0x35),
        coded(values["volume_m3"], 2, 0x2C),
        _number(values["supply_c"], 2, 3),
        _number(values["return_c"], 2, 3),
        _number(values["operating_h"], 0, 3),
        bytes.fromhex("00301209012620"),
        status.to_bytes(2, "little"),
    ))  # fmt: skip
    address = bytes(int(meter[i : i + 2], 16) for i in range(12, -1, -2))
    frame = b"\x68" + bytes((options.get("type", 0x20),)) + address + bytes((0x81, len(data))) + data
    check = 0
    for byte in frame:
        check = (check + byte) % 256
    return b"\xfe\xfe\xfe" + frame + bytes((check, 0x16))


class Meter:
    """The meters of one line.

    Parameters
    ----------
    meters : sequence of mapping
        Options of each, `meter` its 14 digits.
    show : callable
        What they show.
    """

    def __init__(self, meters: Sequence[Mapping[str, Any]], show: Callable[[], Mapping[str, float]]):
        self._meters = meters
        self._show = show

    def heard(self, data: bytes) -> bytes:
        """Answer a request for current data."""
        request = data.lstrip(b"\xfe")
        if len(request) != 16 or request[9] != 0x01:
            return b""
        asked = request[2:9][::-1].hex()
        return b"".join(answer(m, request[13], self._show()) for m in self._meters if m["meter"] == asked)

    def tick(self) -> bytes:
        """It speaks only when asked."""
        return b""


def start(devices: Sequence[DeviceConfig]) -> Peer:
    """Play all meters of one line."""
    names = ["energy_gj", "heat_kw", "flow_m3_h", "volume_m3", "supply_c", "return_c", "operating_h"]

    def show() -> dict[str, float]:
        return {name: plausible(name, time.time()) for name in names}

    serial = not str(devices[0].options["address"]).startswith("tcp://")
    return Peer(lambda: Meter([device.options for device in devices], show), serial=serial)
