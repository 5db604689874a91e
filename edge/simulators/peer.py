"""Sockets and pseudo-terminals on which simulated devices speak."""

from __future__ import annotations

import math
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

__all__ = ["Peer", "Talker", "plausible"]

# What devices show where nobody says what: a mean, a swing, and what a counter gains in an hour.
_SHOWN: Final = {
    "supply_c": (92.0, 3.0, 0.0), "return_c": (51.0, 2.0, 0.0), "flow_m3_h": (12.5, 1.5, 0.0),
    "heat_kw": (590.0, 60.0, 0.0), "energy_gj": (4_218.0, 0.0, 2.1), "volume_m3": (31_240.0, 0.0, 12.5),
    "operating_h": (7_312.0, 0.0, 1.0), "supply_kpa": (780.0, 15.0, 0.0), "return_kpa": (310.0, 10.0, 0.0),
    "outdoor_c": (-8.0, 4.0, 0.0), "secondary_supply_c": (48.0, 1.5, 0.0), "valve_pct": (46.0, 5.0, 0.0),
    "secondary_return_c": (39.0, 1.0, 0.0), "pump_hz": (42.0, 2.0, 0.0), "indoor_c": (20.5, 0.5, 0.0),
    "wind_m_s": (3.0, 2.0, 0.0), "irradiance_w_m2": (180.0, 150.0, 0.0),
}  # fmt: skip
_DAY_S: Final = 86_400.0


def plausible(measurement: str, unix_s: float) -> float:
    """What a simulated device shows of a measurement at a time, in the unit of its name.

    Examples
    --------
    >>> plausible("supply_c", 0.0)
    92.0
    """
    mean, swing, hourly = _SHOWN.get(measurement, (20.0, 1.0, 0.0))
    return mean + swing * math.sin(2 * math.pi * unix_s / _DAY_S) + hourly * (unix_s % _DAY_S) / 3600.0


class Talker(Protocol):
    """The device's side of one connection."""

    def heard(self, data: bytes) -> bytes:
        """What it answers to the bytes that came."""
        ...

    def tick(self) -> bytes:
        """What it says by itself, each period."""
        ...


class Peer:
    """Serves a device on a loopback socket or a pseudo-terminal.

    Parameters
    ----------
    talk : callable
        Gives the device's side of a new connection.
    serial : bool
        A pseudo-terminal instead of a socket.
    period_s : float
        How often it speaks by itself. [s]

    Attributes
    ----------
    at : dict
        Options under which it is found: its address, and what a pseudo-terminal cannot do.
    mangle : callable
        Given each answer before it is sent; what it returns goes out instead. Tests put faults here.
    """

    def __init__(self, talk: Callable[[], Talker], *, serial: bool = False, period_s: float = 0.1):
        self._talk = talk
        self._period_s = period_s
        self.mangle: Callable[[bytes], bytes] = lambda data: data
        self._talkers: dict[int, tuple[Any, Talker]] = {}
        self.at: dict[str, Any]
        self._listener: socket.socket | None = None
        self._open_fds: list[int] = []
        self._wake, self._woken = os.pipe()
        if serial:
            import tty  # noqa: PLC0415  there is none on Windows, where sockets do

            device, terminal = os.openpty()
            tty.setraw(terminal)
            self._open_fds = [device, terminal]
            self._talkers[device] = (None, talk())
            self.at = {"address": os.ttyname(terminal), "parity": "N", "bits": 8}  # it has no others
        else:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.at = {"address": f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"}
        self._thread = threading.Thread(target=self._run, name="simulated device", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        next_s = time.monotonic()
        while True:
            listener = self._listener.fileno() if self._listener else -1
            readers = [self._wake, *self._talkers, *([listener] if self._listener else [])]
            ready = select.select(readers, [], [], max(0.0, next_s - time.monotonic()))[0]
            for reader in ready:
                if reader == self._wake:
                    return
                if reader == listener and self._listener is not None:
                    connection = self._listener.accept()[0]
                    self._talkers[connection.fileno()] = (connection, self._talk())
                else:
                    self._hear(reader)
            if time.monotonic() >= next_s:
                next_s = time.monotonic() + self._period_s
                for fd, (_, talker) in list(self._talkers.items()):
                    self._say(fd, talker.tick())

    def _hear(self, fd: int) -> None:
        connection, talker = self._talkers[fd]
        try:
            data = os.read(fd, 4096)
        except OSError:
            data = b""
        if data:
            self._say(fd, talker.heard(data))
        elif connection is not None:
            del self._talkers[fd]
            connection.close()

    def _say(self, fd: int, data: bytes) -> None:
        if data and (data := self.mangle(data)):
            try:
                # A terminal that nobody reads fills up: what it does not take is lost, as on a wire.
                if select.select([], [fd], [], 0)[1]:
                    os.write(fd, data)
            except OSError:
                pass  # the other side is gone: reading says so next

    def close(self) -> None:
        """Hang up."""
        os.write(self._woken, b"x")
        self._thread.join(5.0)
        for connection, _ in self._talkers.values():
            if connection is not None:
                connection.close()
        if self._listener is not None:
            self._listener.close()
        for fd in (*self._open_fds, self._wake, self._woken):
            os.close(fd)
