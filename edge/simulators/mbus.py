"""An M-Bus heat meter: answers to its primary address, and to its secondary one once selected."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from edge.config import DeviceConfig
from edge.simulators.peer import Peer, plausible

__all__ = ["Meter", "start", "telegram"]

# Records of a heat meter: data and value information, bytes of packed decimals, one digit's worth in the
# unit of the measurement's name (kWh, 10 l, 100 W, l/h, 0.1 °C, h).
_RECORDS: Final = {
    "energy_gj": (b"\x0c\x06", 4, 0.0036), "volume_m3": (b"\x0c\x14", 4, 0.01),
    "heat_kw": (b"\x0c\x2d", 4, 0.1), "flow_m3_h": (b"\x0c\x3b", 4, 0.001),
    "supply_c": (b"\x0a\x5a", 2, 0.1), "return_c": (b"\x0a\x5e", 2, 0.1),
    "operating_h": (b"\x0b\x26", 3, 1.0),
}  # fmt: skip
LAST_YEAR: Final = b"\x4c\x06\x21\x43\x65\x00"  # energy at the day of settlement: no current value
HIGHEST: Final = b"\x1a\x5a\x99\x09"  # the highest supply temperature: no current value


def packed(number: int, size: int) -> bytes:
    """Packed decimal, lowest digits first."""
    return bytes.fromhex(f"{number:0{2 * size}d}")[::-1]


def telegram(address: int, ident: str, values: Mapping[str, float], *, status: int = 0) -> bytes:
    """Give the answer of a heat meter that shows `values`, in the units of their names."""
    records = b"".join(
        head + packed(round(values[name] / worth), size)
        for name, (head, size, worth) in _RECORDS.items()
        if name in values
    )
    header = packed(int(ident), 4) + b"\x24\x23\x01\x04\x5e" + bytes((status, 0, 0))
    data = bytes((0x08, address, 0x72)) + header + LAST_YEAR + HIGHEST + records
    total = 0
    for byte in data:
        total += byte
    return b"\x68%c%c\x68" % (len(data), len(data)) + data + b"%c\x16" % (total % 256)


class Meter:
    """The meters of one bus.

    Parameters
    ----------
    meters : sequence of (int, str)
        Primary address and number of each.
    show : callable
        What they show.
    """

    def __init__(self, meters: Sequence[tuple[int, str]], show: Callable[[], Mapping[str, float]]):
        self._meters = meters
        self._show = show
        self._selected: tuple[int, str] | None = None
        self._last: dict[tuple[int, str], tuple[int, bytes]] = {}

    def _told(self, meter: tuple[int, str], count: int) -> bytes:
        """Its telegram; for the frame count of the last request the last one once more."""
        before = self._last.get(meter)
        if before is None or before[0] != count:
            self._last[meter] = count, telegram(*meter, self._show())
        return self._last[meter][1]

    def heard(self, data: bytes) -> bytes:
        """Answer a request for data, or to a selection."""
        if len(data) == 17 and data[:1] == b"\x68" and data[6] == 0x52:
            wanted = data[7:11][::-1].hex()
            self._selected = next((meter for meter in self._meters if meter[1] == wanted), None)
            return b"\xe5" if self._selected else b""
        if len(data) == 5 and data[0] == 0x10 and data[1] == 0x40:
            reset = [meter for meter in self._meters if meter[0] == data[2]]
            self._last |= dict.fromkeys(reset, (0, b""))
            return b"\xe5" if reset else b""
        if len(data) == 5 and data[0] == 0x10 and data[1] & 0x4F == 0x4B:
            if data[2] == 0xFD:
                asked = [self._selected] if self._selected else []
            else:
                asked = [meter for meter in self._meters if meter[0] == data[2]]
            return b"".join(self._told(meter, data[1] & 0x20) for meter in asked)
        return b""

    def tick(self) -> bytes:
        """It speaks only when asked."""
        return b""


def start(devices: Sequence[DeviceConfig]) -> Peer:
    """Play all meters of one bus."""
    meters = [
        (device.options.get("meter", 0), device.options.get("secondary", f"{10_000_000 + number}"))
        for number, device in enumerate(devices)
    ]

    def show() -> dict[str, float]:
        return {name: plausible(name, time.time()) for name in _RECORDS}

    serial = not str(devices[0].options["address"]).startswith("tcp://")
    return Peer(lambda: Meter(meters, show), serial=serial)
