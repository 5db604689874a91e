"""A vehicle terminal that calls a JT/T 808 platform: registers, authenticates, reports positions."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from edge.config import DeviceConfig
from edge.datum import gcj02_of
from edge.simulators.nmea import rounds

__all__ = ["Caller", "Terminal", "escape", "location", "start"]


def escape(payload: bytes) -> bytes:
    """Frame a payload with its checksum."""
    check = 0
    for byte in payload:
        check ^= byte
    out = bytearray(b"~")
    for byte in payload + bytes((check,)):
        out += {0x7E: b"\x7d\x02", 0x7D: b"\x7d\x01"}.get(byte, bytes((byte,)))
    return bytes(out + b"~")


def location(
    t_ms: int,
    lat: float,
    lon: float,
    speed_m_s: float,
    heading: float,
    *,
    fix: bool = True,
    items: bytes = b"",
) -> bytes:
    """Give the body of a position report."""
    status = 1 | fix << 1 | (lat < 0) << 2 | (lon < 0) << 3
    at = datetime.fromtimestamp(t_ms // 1000, UTC) + timedelta(hours=8)
    words = [0, status, round(abs(lat) * 1e6), round(abs(lon) * 1e6)]
    shorts = [36, round(speed_m_s * 36), round(heading) % 360]
    body = b"".join(word.to_bytes(4, "big") for word in words)
    return body + b"".join(s.to_bytes(2, "big") for s in shorts) + bytes.fromhex(f"{at:%y%m%d%H%M%S}") + items


class Terminal:
    """Writes messages and remembers its serial number.

    Parameters
    ----------
    phone : str
        Its number.
    edition : int
        2013 or 2019.
    """

    def __init__(self, phone: str, edition: int = 2013):
        self._edition = edition
        self._phone = bytes.fromhex(phone.rjust(20 if edition == 2019 else 12, "0"))
        self.serial = 0

    def message(self, kind: int, body: bytes, part: tuple[int, int] | None = None) -> bytes:
        """Frame one message."""
        self.serial = (self.serial + 1) % 65_536
        flags = len(body) + (0x4000 if self._edition == 2019 else 0) + (0x2000 if part else 0)
        head = (
            kind.to_bytes(2, "big") + flags.to_bytes(2, "big") + (b"\x01" if self._edition == 2019 else b"")
        )
        head += self._phone + self.serial.to_bytes(2, "big")
        if part:
            head += part[1].to_bytes(2, "big") + part[0].to_bytes(2, "big")
        return escape(head + body)

    def register(self) -> bytes:
        """Ask to be registered: province, city, maker, model, number, colour of the plate, plate."""
        long = self._edition == 2019
        maker, model, number = (11, 30, 30) if long else (5, 20, 7)
        body = bytes(4) + b"SIMUL".ljust(maker, b"\0") + b"T1".ljust(model, b"\0") + b"1".ljust(number, b"\0")
        return self.message(0x0100, body + b"\x01" + "冀A12345".encode("gbk"))

    def authenticate(self, token: bytes) -> bytes:
        """Prove to be registered."""
        if self._edition == 2019:
            token = (
                bytes((len(token),)) + token + b"123456789012345".ljust(15, b"\0") + b"v1".ljust(20, b"\0")
            )
        return self.message(0x0102, token)

    @staticmethod
    def heard(frame: bytes) -> tuple[int, bytes]:
        """Identifier and body of a message of the platform."""
        data = frame.strip(b"~").replace(b"\x7d\x02", b"~").replace(b"\x7d\x01", b"\x7d")
        start = 17 if data[2] & 0x40 else 12
        return int.from_bytes(data[:2], "big"), data[start:-1]


class Caller:
    """Terminals that call a platform as soon as it listens, and report each period.

    Parameters
    ----------
    devices : sequence of DeviceConfig
        Terminals of one platform.
    port : int
        Where the platform will listen, on loopback.
    period_s : float
        How often they report. [s]
    """

    def __init__(self, devices: Sequence[DeviceConfig], port: int, period_s: float = 2.0):
        self.at: dict[str, Any] = {"listen": f"127.0.0.1:{port}"}
        self._port = port
        self._period_s = period_s
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(d.options,), daemon=True) for d in devices]
        for thread in self._threads:
            thread.start()

    def _call(self, options: dict[str, Any]) -> None:
        while not self._stop.wait(0.1):
            try:
                with socket.create_connection(("127.0.0.1", self._port), 5.0) as line:
                    self._talk(line, Terminal(options["phone"]), options)
            except OSError:
                continue

    def _talk(self, line: socket.socket, terminal: Terminal, options: dict[str, Any]) -> None:
        line.sendall(terminal.register())
        kind, body = terminal.heard(self._frame(line))
        if kind != 0x8100 or body[2] != 0:
            return
        line.sendall(terminal.authenticate(options.get("token", "").encode() or body[3:]))
        self._frame(line)
        shift = gcj02_of if options["datum"] == "gcj02" else lambda *at: at
        while not self._stop.is_set():
            now_s = time.time()
            lat, lon, speed, heading = rounds(now_s)
            lat, lon = shift(lat, lon)
            line.sendall(terminal.message(0x0200, location(int(now_s * 1000), lat, lon, speed, heading)))
            self._stop.wait(self._period_s)

    @staticmethod
    def _frame(line: socket.socket) -> bytes:
        frame = b""
        while len(frame) < 2 or not frame.endswith(b"~"):
            byte = line.recv(1)
            if not byte:
                raise ConnectionResetError
            frame += byte
        return frame

    def close(self) -> None:
        """Hang up."""
        self._stop.set()
        for thread in self._threads:
            thread.join(5.0)


def start(devices: Sequence[DeviceConfig]) -> Caller:
    """Play all terminals of one platform."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return Caller(devices, port)
