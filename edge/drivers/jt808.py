"""JT/T 808 vehicle terminals: a server that they call; registration, authentication, positions, replies.

Terminals of one `listen` address share one server. A position is answered when the collector reads
again, for then the one before is in its outbox: a terminal keeps what was not answered and sends it
again, so a collector that dies in between loses nothing (`reply = "received"` answers at once instead).

The protocol neither encrypts nor proves who speaks. Beyond the loopback interface it belongs into a
private APN or a VPN, and the configuration has to say so (`private_network = true`).
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from edge.config import DeviceConfig
from edge.datum import wgs84_of
from edge.driver import DriverError, Reading, RecordError
from edge.jt808 import (
    BATCH,
    LOCATION,
    MOST_BYTES,
    Message,
    Position,
    batch,
    decode,
    encode,
    general_reply,
    location,
    split,
)
from edge.live import Live, Table, checked
from edge.say import Complaints
from edge.tcp_server import Connection, TcpServer

__all__ = ["JtDriver", "Options", "make"]

MOST_WAITING: Final = 10_000
MOST_PARTS: Final = 64
MOST_PARTED: Final = 8
DONE, FAILED, WRONG, UNSUPPORTED = range(4)
_NO_SUCH_TERMINAL: Final = 4


class Options(Table):
    """The table ``[device.jt808]``.

    Attributes
    ----------
    listen : str
        ``HOST:PORT`` to listen on; terminals with one address share one server.
    phone : str
        The number that the terminal signs with.
    datum : {"wgs84", "gcj02"}
        That of its positions: it has to be known, for they carry no word of it. GCJ-02 is converted.
    token : str or None
        What the terminal authenticates with; None: given at registration, the same after a restart.
    reply : {"kept", "received"}
        When a position is answered.
    idle_s : float
        A silent connection is closed. [s]
    timeout_s : float
        How long the first call waits for a position. [s]
    private_network : bool
        That `listen` can be reached by the terminals alone.
    """

    listen: Annotated[str, Field(pattern=r"^[^\s:]+:\d{1,5}$")]
    phone: Annotated[str, Field(pattern=r"^\d{1,20}$")]
    datum: Literal["wgs84", "gcj02"]
    token: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    reply: Literal["kept", "received"] = "kept"
    idle_s: Annotated[float, Field(ge=10, le=86_400)] = 600.0
    timeout_s: Annotated[float, Field(ge=0, le=60)] = 10.0
    private_network: bool = False

    @field_validator("phone")
    @classmethod
    def _padded(cls, phone: str) -> str:
        return phone.lstrip("0").rjust(12, "0")

    @model_validator(mode="after")
    def _closed(self) -> Options:
        if not self.private_network and not _is_loopback(self.where[0]):
            raise ValueError(
                f"expected listen on the loopback interface, got {self.listen}: JT/T 808 is not encrypted; "
                "in a private APN or VPN say private_network = true"
            )
        return self

    @property
    def where(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.listen.rpartition(":")
        return host, int(port)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class _Waiting(NamedTuple):
    positions: list[Position]
    connection: Connection
    reply: bytes


class _Server:
    """One listening address and the terminals that may call it."""

    _all: Final[dict[str, _Server]] = {}
    _guard = threading.Lock()

    def __init__(self, options: Options):
        self.drivers: dict[str, JtDriver] = {}
        self.tcp = TcpServer(*options.where, lambda c: _Terminal(self, c), idle_s=options.idle_s)

    @classmethod
    def join(cls, driver: JtDriver) -> _Server:
        options = driver.options
        with cls._guard:
            server = cls._all.get(options.listen)
            if server is None:
                server = cls._all[options.listen] = cls(options)
            before = server.drivers.get(options.phone)
            if before is not None and before.device != driver.device:
                raise DriverError(
                    f"phone: expected each terminal once on {options.listen}, got it for {before.device} too"
                )
            server.drivers[options.phone] = driver
            return server

    def leave(self, driver: JtDriver) -> None:
        with self._guard:
            if self.drivers.get(driver.options.phone) is not driver:
                return  # the same device by a newer configuration has taken its place
            del self.drivers[driver.options.phone]
            if not self.drivers:
                del self._all[driver.options.listen]
                self.tcp.close()

    def complain(self, kind: str, what: object) -> None:
        """Of no terminal that is known: the first device of the server says it."""
        driver = next(iter(self.drivers.values()), None)
        if driver is not None:
            driver.complain(kind, what)


class _Terminal:
    """One connection: what it said so far, and what it is answered. Runs in the server's thread."""

    def __init__(self, server: _Server, connection: Connection):
        self._server = server
        self._connection = connection
        self._buffer = b""
        self._serial = 0
        self._driver: JtDriver | None = None
        self._parts: OrderedDict[tuple[int, int], dict[int, bytes]] = OrderedDict()

    def feed(self, data: bytes) -> bytes | None:
        """Answer the whole messages among `data`; None to hang up on what is no terminal."""
        frames, self._buffer = split(self._buffer + data)
        if len(self._buffer) > MOST_BYTES:
            self._server.complain("flood", f"{self._connection.peer}: expected 0x7E, got {MOST_BYTES} bytes")
            return None
        answers = []
        for frame in frames:
            try:
                message = decode(frame)
            except RecordError as error:
                (self._driver or self._server).complain("record", f"{self._connection.peer}: {error}")
                continue
            driver = self._server.drivers.get(message.phone)
            try:
                answers.append(self._answer(message, driver))
            except RecordError as error:
                (driver or self._server).complain("record", f"message 0x{message.id:04X}: {error}")
                answers.append(self._reply(message, WRONG))
        return b"".join(answers)

    def _reply(self, message: Message, result: int) -> bytes:
        self._serial = (self._serial + 1) & 0xFFFF
        return general_reply(message, self._serial, result)

    def _answer(self, message: Message, driver: JtDriver | None) -> bytes:
        if message.id == 0x0100:
            return self._register(message, driver)
        if self._driver is not None and self._driver.replaced_by(driver):
            self._driver = driver  # the same terminal by a newer configuration
        if driver is None or (self._driver is not None and driver is not self._driver):
            (self._driver or self._server).complain(
                "unknown terminal", f"{self._connection.peer}: expected a known terminal, got {message.phone}"
            )
            return self._reply(message, FAILED)
        if message.id == 0x0102:
            return self._authenticate(message, driver)
        if self._driver is None:
            driver.complain(
                "not authenticated", f"expected 0x0102 first, got 0x{message.id:04X} of {message.phone}"
            )
            return self._reply(message, FAILED)
        return self._serve(message, driver)

    def _register(self, message: Message, driver: JtDriver | None) -> bytes:
        self._serial = (self._serial + 1) & 0xFFFF
        body = message.serial.to_bytes(2, "big")
        if driver is None:
            self._server.complain(
                "unknown terminal", f"{self._connection.peer}: expected a known terminal, got {message.phone}"
            )
            body += bytes((_NO_SUCH_TERMINAL,))
        else:
            body += bytes((DONE,)) + driver.token
        return encode(0x8100, message, self._serial, body)

    def _authenticate(self, message: Message, driver: JtDriver) -> bytes:
        came = message.body
        if message.edition == 2019:  # one byte of length, the token, then the terminal's number and version
            came = came[1 : 1 + came[0]] if came else b""
        if not hmac.compare_digest(came, driver.token):
            driver.complain("not authenticated", f"expected the token of {message.phone}, got another")
            return self._reply(message, FAILED)
        self._driver = driver
        return self._reply(message, DONE)

    def _serve(self, message: Message, driver: JtDriver) -> bytes:
        if message.id == 0x0001:
            return b""  # it answers what was sent to it
        if message.id == 0x0003:
            self._driver = None
            return self._reply(message, DONE)
        if message.id == 0x0002:
            return self._reply(message, DONE)
        if message.id not in (LOCATION, BATCH):
            driver.complain(
                f"unknown message 0x{message.id:04X}",
                f"expected a message that is known, got 0x{message.id:04X}",
            )
            return self._reply(message, UNSUPPORTED)
        body, offsets = message.body, message.offsets
        if message.part is not None:
            whole = self._joined(message)
            if whole is None:
                return self._reply(message, DONE)
            body, offsets = whole, tuple(range(len(whole) + 1))
        positions = [location(body, offsets)] if message.id == LOCATION else batch(body, offsets)
        return driver.take(positions, self._connection, self._reply(message, DONE))

    def _joined(self, message: Message) -> bytes | None:
        """Keep one package; the whole body once all have come."""
        number, count = message.part or (1, 1)
        if count > MOST_PARTS:
            raise RecordError(0, f"expected at most {MOST_PARTS} packages, got {count}")
        key = message.id, (message.serial - number + 1) & 0xFFFF
        parts = self._parts.setdefault(key, {})
        parts[number] = message.body
        if len(parts) < count:
            while len(self._parts) > MOST_PARTED:
                self._parts.popitem(last=False)
            return None
        del self._parts[key]
        return b"".join(parts[i] for i in range(1, count + 1))


class JtDriver(Live):
    """One terminal.

    Parameters
    ----------
    device : str
        Name for messages.
    options : Options
        Its number, and the server that it calls.
    complaints : Complaints, optional
        Told of messages that are damaged, unknown, or of another terminal.
    """

    def __init__(self, device: str, options: Options, complaints: Complaints | None = None):
        super().__init__(device, complaints)
        self.options = options
        given = options.token or hashlib.sha256(f"{options.phone} {device}".encode()).hexdigest()[:16]
        self.token = given.encode()
        self._lock = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._count = 0
        self._read: list[_Waiting] = []
        self._something = threading.Event()
        self._first_s = options.timeout_s
        self._server = _Server.join(self)

    def replaced_by(self, other: JtDriver | None) -> bool:
        """Whether a terminal that has authenticated here need not do so again with `other`."""
        return (
            other is not None
            and other is not self
            and other.options.phone == self.options.phone
            and hmac.compare_digest(other.token, self.token)
        )

    def take(self, positions: list[Position], connection: Connection, reply: bytes) -> bytes:
        """Keep positions for the next `read`; what to answer now."""
        located = [position for position in positions if position.located]
        if len(located) < len(positions):
            self.complain("no fix", f"expected a fix, got {len(positions) - len(located)} positions without")
        if not located:
            return reply
        with self._lock:
            if self._count + len(located) > MOST_WAITING:
                self.complain("full", f"expected to be read, got {self._count} positions that wait")
                return b""  # unanswered: the terminal keeps it and sends it again
            self._count += len(located)
            late = self.options.reply == "kept"
            self._waiting.append(_Waiting(located, connection, reply if late else b""))
        self._something.set()
        return b"" if late else reply

    def read(self, now_ms: int) -> Sequence[Reading]:  # noqa: ARG002  a position carries its own time
        """Positions since the last call; those of the last call are safe by now and are answered."""
        self._something.wait(self._first_s)
        self._first_s = 0.0
        for done in self._read:
            self._server.tcp.post(done.connection, done.reply)
        with self._lock:
            self._read = list(self._waiting)
            self._waiting.clear()
            self._count = 0
        return [self._reading(position) for waiting in self._read for position in waiting.positions]

    def _reading(self, position: Position) -> Reading:
        lat, lon = position.lat_deg, position.lon_deg
        if self.options.datum == "gcj02":
            lat, lon = wgs84_of(lat, lon)
        return Reading(
            position.t_ms,
            {
                "lat_deg": lat,
                "lon_deg": lon,
                "speed_m_s": position.speed_m_s,
                "heading_deg": position.heading_deg,
            },
        )

    def glance(self) -> str:
        """Where it is listened for."""
        return f"listens on {self.options.listen} for {self.options.phone}"

    def close(self) -> None:
        """Stop listening, if no other terminal calls here. What was not answered comes again."""
        self._server.leave(self)


def make(device: DeviceConfig, options: dict[str, Any]) -> JtDriver:
    """Make the driver from the table ``[device.jt808]``."""
    return JtDriver(device.id, checked(Options, options, "jt808"))
