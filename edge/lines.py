"""Serial and TCP lines to devices: bounded in time, shared where several devices hang on one.

A serial bus, or a gateway in front of one, carries one question at a time. Devices with one address in
their configuration share one line and take turns; one that stays silent costs each of its neighbours
one time-out, and after three failures in a row it is asked less and less often.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, Final, Generic, Literal, Protocol, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from edge.driver import DriverError, RecordError
from edge.live import Live, Table, need
from edge.say import Complaints

__all__ = ["Asker", "Line", "LineOptions", "Polled", "Streamed", "drain", "open_line"]

BUSY_S: Final = 30.0
PATIENCE: Final = 3
LONGEST_PAUSE_S: Final = 60.0
MAX_DRAIN: Final = 1 << 16
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


T = TypeVar("T", bound=LineOptions)


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


class _Shared:
    """One line and the devices that take turns on it."""

    _all: Final[dict[str, _Shared]] = {}
    _guard = threading.Lock()

    def __init__(self, options: LineOptions):
        self.options = options
        self.line = open_line(options)
        self.turn = threading.Lock()
        self.users = 0

    @classmethod
    def take(cls, options: LineOptions) -> _Shared:
        with cls._guard:
            shared = cls._all.get(options.address)
            if shared is None:
                shared = cls._all[options.address] = cls(options)
            elif not options.tcp and shared.serial != cls.serial_of(options):
                raise DriverError(
                    f"{options.address}: expected one setting for all devices of the line "
                    f"{shared.serial}, got {cls.serial_of(options)}"
                )
            shared.users += 1
            return shared

    @staticmethod
    def serial_of(options: LineOptions) -> tuple[int, int, str, int]:
        return options.baud, options.bits, options.parity, options.stop

    @property
    def serial(self) -> tuple[int, int, str, int]:
        return self.serial_of(self.options)

    def leave(self) -> None:
        with self._guard:
            self.users -= 1
            if self.users == 0:
                del self._all[self.options.address]
                self.line.close()


class Asker:
    """Asks one device on a line that it may share with others.

    Parameters
    ----------
    options : LineOptions
        The line.

    Raises
    ------
    DriverError
        If another device has the same port with other settings.
    """

    def __init__(self, options: LineOptions):
        self._timeout_s = options.timeout_s
        self._shared = _Shared.take(options)
        self._failures = 0
        self._not_before_s = 0.0
        self._closed = False

    def ask(self, request: bytes, whole: Callable[[bytes], int | None]) -> bytes:
        """Send a request and wait for its whole answer.

        Parameters
        ----------
        request : bytes
            What to send.
        whole : callable
            Given what came so far, how long the answer is; None while that cannot be told.

        Raises
        ------
        RecordError
            If the answer breaks off.
        DriverError
            If none comes, or the line is gone.
        """
        if self._shared.users > 1 and time.monotonic() < self._not_before_s:
            raise DriverError(f"failed {self._failures} times: its neighbours go first for a while")
        if not self._shared.turn.acquire(timeout=BUSY_S):
            raise DriverError(f"{self._shared.options.address}: expected a turn, got none in {BUSY_S:g} s")
        try:
            answer = self._exchange(request, whole)
        except DriverError:
            self.failed()
            raise
        finally:
            self._shared.turn.release()
        self._failures = 0
        return answer

    def failed(self) -> None:
        """Note that the device did not answer, or not as it should."""
        self._failures += 1
        if self._failures >= PATIENCE:
            pause_s = min(2.0 ** (self._failures - PATIENCE), LONGEST_PAUSE_S)
            self._not_before_s = time.monotonic() + pause_s

    def _exchange(self, request: bytes, whole: Callable[[bytes], int | None]) -> bytes:
        line = self._shared.line
        with suppress(DriverError):  # a peer that closed an idle connection: sending opens it again
            drain(line, 0.0)  # an answer that came too late is none to this question
        line.send(request)
        until_s = time.monotonic() + self._timeout_s
        answer = b""
        length: int | None = None
        while length is None or len(answer) < length:
            left_s = until_s - time.monotonic()
            part = line.receive(left_s) if left_s > 0 else b""
            if not part:
                if not answer:
                    raise DriverError(
                        f"{self._shared.options.address}: expected an answer, "
                        f"got none within {self._timeout_s:g} s"
                    )
                raise RecordError(
                    len(answer), f"expected {length or 'more'} bytes, got {len(answer)} before the time-out"
                )
            answer += part
            if len(answer) > MAX_DRAIN:
                raise RecordError(MAX_DRAIN, "expected an answer, got bytes without end")
            length = whole(answer)
        return answer

    def close(self) -> None:
        """Leave the line; the last to leave closes it."""
        if not self._closed:
            self._closed = True
            self._shared.leave()


class Polled(Live, Generic[T]):
    """A device that answers when it is asked, on a line that it may share.

    Parameters
    ----------
    device : str
        Name for messages.
    options : LineOptions
        Its line, and what else its driver needs to know.
    complaints : Complaints, optional
        Told of single values that are missing or cannot be.
    """

    def __init__(self, device: str, options: T, complaints: Complaints | None = None):
        super().__init__(device, complaints)
        self.options = options
        self._asker = Asker(options)

    def close(self) -> None:
        """Leave the line."""
        self._asker.close()


class Streamed(Live, Generic[T]):
    """A device that speaks by itself, on a line of its own.

    Parameters
    ----------
    device : str
        Name for messages.
    options : LineOptions
        Its line, and what else its driver needs to know.
    complaints : Complaints, optional
        Told of records that are damaged.
    """

    def __init__(self, device: str, options: T, complaints: Complaints | None = None):
        super().__init__(device, complaints)
        self.options = options
        self._line = open_line(options)
        self._rest = b""

    def _pull(self, split: Callable[[bytes], tuple[list[bytes], bytes]]) -> list[bytes]:
        """Take the records since the last call as `split` finds them; it leaves what is not whole."""
        came = drain(self._line, self.options.timeout_s)
        if not came:
            raise DriverError(
                f"{self.options.address}: expected the device to speak, "
                f"got nothing within {self.options.timeout_s:g} s"
            )
        records, self._rest = split(self._rest + came)
        return records

    def close(self) -> None:
        """Release the line."""
        self._line.close()
