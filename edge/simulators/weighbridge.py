"""A weighbridge indicator: trucks roll on, stand, and leave; continuous output or answers on demand."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from edge.config import DeviceConfig
from edge.simulators.peer import Peer

__all__ = ["Indicator", "Shown", "sics", "start", "toledo", "traffic"]

_GRAMS = {"kg": 1000, "t": 1_000_000, "lb": 453.59237}


class Shown(NamedTuple):
    """What the display shows."""

    kg: float
    motion: bool = False
    over: bool = False
    tare_kg: float = 0.0
    net: bool = False


def toledo(shown: Shown, unit: str = "kg", *, checksum: bool = True) -> bytes:
    """Give one record of the continuous output; tonnes with two decimals, all else without."""
    scale = {"kg": 1, "lb": 1 / 0.45359237, "t": 0.1}[unit]
    weight, tare = round(shown.kg * scale), round(shown.tare_kg * scale)
    a = 0b0010_1000 | (4 if unit == "t" else 2)
    b = 0b0010_0000 | shown.net | (weight < 0) << 1 | shown.over << 2 | shown.motion << 3
    b |= 0 if unit == "lb" else 0x10
    c = 0b0010_0000 | (2 if unit == "t" else 0)
    record = f"\x02{a:c}{b:c}{c:c}{abs(weight):06d}{tare:06d}\r".encode("latin-1")
    total = 0
    for byte in record:
        total = (total + byte) & 0x7F
    return record + (bytes(((128 - total) & 0x7F,)) if checksum else b"")


def sics(shown: Shown, unit: str = "kg") -> bytes:
    """Give the answer to S."""
    if shown.over:
        return b"S +\r\n"
    number = f"{shown.kg * 1000 / _GRAMS[unit]:.{2 if unit == 't' else 0}f}"
    return f"S {'D' if shown.motion else 'S'} {number:>10} {unit}\r\n".encode()


def traffic(unix_s: float) -> Shown:
    """Trucks every 20 s: empty for 4, rolling on for 2, standing for 10, rolling off for 4.

    Examples
    --------
    >>> traffic(1.0).kg, traffic(10.0).motion
    (0.0, False)
    """
    second = unix_s % 20.0
    truck_kg = 15_000.0 + 20.0 * (int(unix_s // 20.0) % 1800)
    if second < 4.0:
        return Shown(0.0)
    if second < 6.0:
        return Shown(round(truck_kg * (second - 4.0) / 40.0) * 20.0, motion=True)
    if second < 16.0:
        return Shown(truck_kg)
    return Shown(round(truck_kg * (20.0 - second) / 80.0) * 20.0, motion=True)


class Indicator:
    """One indicator.

    Parameters
    ----------
    show : callable
        What it shows now.
    demand : bool
        Answers on demand, and no continuous output.
    unit : str
        What it shows in.
    checksum : bool
        Of the continuous output.
    """

    def __init__(
        self, show: Callable[[], Shown], *, demand: bool = False, unit: str = "kg", checksum: bool = True
    ):
        self._show = show
        self._demand = demand
        self._unit = unit
        self._checksum = checksum

    def heard(self, data: bytes) -> bytes:
        """Answer S."""
        return sics(self._show(), self._unit) if self._demand and data == b"S\r\n" else b""

    def tick(self) -> bytes:
        """One record of the continuous output."""
        return b"" if self._demand else toledo(self._show(), self._unit, checksum=self._checksum)


def start(devices: Sequence[DeviceConfig]) -> Peer:
    """Play the indicator of one address."""
    options = devices[0].options

    def talk() -> Indicator:
        return Indicator(
            lambda: traffic(time.time()),
            demand=options.get("format", "toledo") == "sics",
            unit=options.get("unit", "kg"),
            checksum=options.get("checksum", True),
        )

    return Peer(talk, serial=not str(options["address"]).startswith("tcp://"))
