"""Serial and TCP lines to devices, every call of them bounded in time."""

from __future__ import annotations

import select
import socket
from typing import Annotated, Any, Final, Literal, Protocol
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from edge.driver import DriverError
from edge.live import Table, need

__all__ = ["MAX_DRAIN", "Line", "LineOptions", "drain", "open_line"]

MAX_DRAIN: Final = 1 << 16
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 30_000}
_CHUNK: Final = 4096
try:
    import termios
except ImportError:  # there is none on Windows
    _PORT_ERRORS: tuple[type[Exception], ...] = (OSError, ValueError)
else:
    _PORT_ERRORS = (OSError, ValueError, termios.error)  # the last: a port cannot do what is asked of it


class LineOptions(Table):
    """How a device is reached.

    Attributes
    ----------
    address : str
        ``tcp://HOST:PORT``, or a serial port such as ``/dev/ttyUSB0`` or ``COM3``.
    baud, bits, parity, stop
        Of a serial port.
    timeout_s : float
        How long an answer may take. [s]
    """

    address: Annotated[str, Field(min_length=1)]
    baud: Annotated[int, Field(ge=50, le=4_000_000)] = 9600
    bits: Literal[7, 8] = 8
    parity: Literal["N", "E", "O"] = "N"
    stop: Literal[1, 2] = 1
    timeout_s: Annotated[float, Field(gt=0, le=60, allow_inf_nan=False)] = 2.0

    @field_validator("address")
    @classmethod
    def _is_address(cls, address: str) -> str:
        if "://" in address:
            parts = urlsplit(address)
            if parts.scheme != "tcp" or not parts.hostname or not parts.port:
                raise ValueError("expected tcp://HOST:PORT or the name of a serial port")
        return address

    @property
    def tcp(self) -> bool:
        """Whether it is a TCP connection."""
        return self.address.startswith("tcp://")


class Line(Protocol):
    """Bytes to and from a device. DriverError on what breaks it; the next call opens it again."""

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        ...

    def receive(self, wait_s: float) -> bytes:
        """What is there, at most 4 KiB; empty if nothing came within `wait_s`."""
        ...

    def close(self) -> None:
        """Release the port."""
        ...


def _watch_over(connection: socket.socket) -> None:
    """Have the system notice within half a minute that the other end is gone without a word."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):  # not every system has each
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class _Tcp:
    def __init__(self, options: LineOptions):
        parts = urlsplit(options.address)
        self._where = (parts.hostname or "", parts.port or 0)
        self._name = options.address
        self._timeout_s = options.timeout_s
        self._socket: socket.socket | None = None

    def _open(self) -> socket.socket:
        if self._socket is None:
            try:
                self._socket = socket.create_connection(self._where, self._timeout_s)
            except OSError as error:
                raise DriverError(f"{self._name}: expected a connection, got: {error}") from error
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _watch_over(self._socket)
        return self._socket

    def send(self, data: bytes) -> None:
        line = self._open()
        try:
            line.settimeout(self._timeout_s)
            line.sendall(data)
        except OSError as error:
            self.close()
            raise DriverError(f"{self._name}: expected to send {len(data)} bytes, got: {error}") from error

    def receive(self, wait_s: float) -> bytes:
        line = self._open()
        try:
            if not select.select([line], [], [], max(0.0, wait_s))[0]:
                return b""
            data = line.recv(_CHUNK)
        except (OSError, ValueError) as error:
            self.close()
            raise DriverError(f"{self._name}: expected bytes, got: {error}") from error
        if not data:
            self.close()
            raise DriverError(f"{self._name}: expected bytes, got the end of the connection")
        return data

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class _Serial:
    def __init__(self, options: LineOptions):
        self._serial = need("serial", "pyserial", "serial")
        self._options = options
        self._port: Any = None

    def _open(self) -> Any:
        if self._port is None:
            o = self._options
            try:
                self._port = self._serial.Serial(
                    o.address, o.baud, o.bits, o.parity, o.stop, timeout=0, write_timeout=o.timeout_s
                )
            except _PORT_ERRORS as error:  # its own error is an OSError
                raise DriverError(f"{o.address}: expected a serial port, got: {error}") from error
        return self._port

    def send(self, data: bytes) -> None:
        port = self._open()
        try:
            port.write(data)
        except _PORT_ERRORS as error:
            self.close()
            raise DriverError(
                f"{self._options.address}: expected to send {len(data)} bytes, got: {error}"
            ) from error

    def receive(self, wait_s: float) -> bytes:
        port = self._open()
        try:
            port.timeout = max(0.0, wait_s)
            first: bytes = port.read(1)
            return first + port.read(min(port.in_waiting, _CHUNK - 1)) if first else first
        except _PORT_ERRORS as error:
            self.close()
            raise DriverError(f"{self._options.address}: expected bytes, got: {error}") from error

    def close(self) -> None:
        if self._port is not None:
            self._port.close()
            self._port = None


def open_line(options: LineOptions) -> Line:
    """Make the line of a device; it is opened when it is first used."""
    return _Tcp(options) if options.tcp else _Serial(options)


def drain(line: Line, wait_s: float) -> bytes:
    """All that came since the last call, up to 64 KiB; waits `wait_s` for the first of it."""
    parts = [line.receive(wait_s)]
    total = len(parts[0])
    while parts[-1] and total < MAX_DRAIN:
        try:
            parts.append(line.receive(0.0))
        except DriverError:
            break  # what came before the line broke is whole; the next call tells of the break
        total += len(parts[-1])
    return b"".join(parts)
