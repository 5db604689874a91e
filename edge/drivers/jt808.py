"""JT/T 808 vehicle terminals: a server that they call; registration, authentication, positions, replies.

Terminals of one `listen` address share one server. A position is answered when the collector reads
again, for then the one before is in its outbox: a terminal keeps what was not answered and sends it
again, so a collector that dies in between loses nothing (`reply = "received"` answers at once instead).

The protocol neither encrypts nor proves who speaks. Beyond the loopback interface it belongs into a
private APN or a VPN, and the configuration has to say so (`private_network = true`).
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from edge.config import DeviceConfig, is_loopback
from edge.datum import wgs84_of
from edge.driver import Reading
from edge.jt808 import Position
from edge.jt808_platform import Platform
from edge.live import Live, Table, checked
from edge.say import Complaints
from edge.tcp_server import Connection

__all__ = ["JtDriver", "Options", "make"]

MOST_WAITING: Final = 10_000
MOST_PORT: Final = 65_535


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

    @field_validator("listen")
    @classmethod
    def _has_port(cls, listen: str) -> str:
        if int(listen.rpartition(":")[2]) > MOST_PORT:
            raise ValueError(f"expected a port of at most {MOST_PORT}")
        return listen

    @model_validator(mode="after")
    def _closed(self) -> Options:
        if not self.private_network and not is_loopback(self.where[0]):
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


class _Waiting(NamedTuple):
    positions: list[Position]
    connection: Connection
    reply: bytes


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
        self.phone = options.phone
        self._platform = Platform.join(self, options.where, options.idle_s)

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
            self._platform.tcp.post(done.connection, done.reply)
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
        self._platform.leave(self)


def make(device: DeviceConfig, options: dict[str, Any]) -> JtDriver:
    """Make the driver from the table ``[device.jt808]``."""
    return JtDriver(device.id, checked(Options, options, "jt808"))
