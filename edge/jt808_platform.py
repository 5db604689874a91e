"""The platform that JT/T 808 terminals call: who may, what they are answered, what is passed on.

One server for all terminals of an address. Its thread judges every message; positions go to the
subscriber of the terminal that has authenticated, and to no other.
"""

from __future__ import annotations

import hmac
import threading
from collections import OrderedDict
from typing import Final, Protocol

from edge.driver import DriverError, RecordError
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
from edge.tcp_server import Connection, TcpServer

__all__ = ["Platform", "Subscriber"]

MOST_PARTS: Final = 64
MOST_PARTED: Final = 8
DONE, FAILED, WRONG, UNSUPPORTED = range(4)
_NO_SUCH_TERMINAL: Final = 4


class Subscriber(Protocol):
    """Who takes the positions of one terminal.

    Attributes
    ----------
    device, phone : str
        Its name here, and the number that it signs with.
    token : bytes
        What it authenticates with.
    """

    device: str
    phone: str
    token: bytes

    def complain(self, kind: str, what: object) -> None:
        """Count what is wrong with the terminal."""
        ...

    def take(self, positions: list[Position], connection: Connection, reply: bytes) -> bytes:
        """Take positions; what of the reply to send now."""
        ...


class Platform:
    """One listening address and the terminals that may call it.

    Parameters
    ----------
    where : (str, int)
        Host and port.
    idle_s : float
        A silent connection is closed. [s]
    """

    _all: Final[dict[tuple[str, int], Platform]] = {}
    _guard = threading.Lock()

    def __init__(self, where: tuple[str, int], idle_s: float):
        self.drivers: dict[str, Subscriber] = {}
        self._former: dict[str, list[Subscriber]] = {}  # of the same device, by an older configuration
        self.speaking: dict[str, _Terminal] = {}  # by number, who has authenticated last
        self.tcp = TcpServer(
            *where,
            lambda connection: _Terminal(self, connection),
            idle_s=idle_s,
            failed=lambda what: self.complain("failed", what),
        )

    @classmethod
    def join(cls, subscriber: Subscriber, where: tuple[str, int], idle_s: float) -> Platform:
        """Give the platform of an address, listening, with one more terminal."""
        with cls._guard:
            platform = cls._all.get(where)
            if platform is None:
                platform = cls._all[where] = cls(where, idle_s)
            before = platform.drivers.get(subscriber.phone)
            if before is not None and before.device != subscriber.device:
                raise DriverError(
                    f"phone: expected each terminal once on {where[0]}:{where[1]}, "
                    f"got it for {before.device} too"
                )
            if before is not None:
                platform._former.setdefault(subscriber.phone, []).append(before)
            platform.drivers[subscriber.phone] = subscriber
            return platform

    def leave(self, subscriber: Subscriber) -> None:
        """Forget a terminal; without any the address is given up."""
        with self._guard:
            former = self._former.get(subscriber.phone, [])
            if subscriber in former:
                former.remove(subscriber)  # a newer configuration has taken its place
            if self.drivers.get(subscriber.phone) is not subscriber:
                return
            if former:
                self.drivers[subscriber.phone] = former.pop()  # the newer one was not taken after all
                return
            del self.drivers[subscriber.phone]
            self.speaking.pop(subscriber.phone, None)
            if not self.drivers:
                del self._all[next(where for where, platform in self._all.items() if platform is self)]
                self.tcp.close()

    def complain(self, kind: str, what: object) -> None:
        """Say what is of no terminal that is known, through the first device of the platform."""
        driver = next(iter(self.drivers.values()), None)
        if driver is not None:
            driver.complain(kind, what)


class _Terminal:
    """One connection: what it said so far, and what it is answered. Runs in the server's thread."""

    def __init__(self, server: Platform, connection: Connection):
        self._server = server
        self.connection = connection
        self._buffer = b""
        self._serial = 0
        self._driver: Subscriber | None = None
        self._parts: OrderedDict[tuple[int, int], dict[int, bytes]] = OrderedDict()

    def feed(self, data: bytes) -> bytes | None:
        """Answer the whole messages among `data`; None to hang up on what is no terminal."""
        frames, self._buffer = split(self._buffer + data)
        if len(self._buffer) > MOST_BYTES:
            self._server.complain("flood", f"{self.connection.peer}: expected 0x7E, got {MOST_BYTES} bytes")
            return None
        answers = []
        for frame in frames:
            try:
                message = decode(frame)
            except RecordError as error:
                (self._driver or self._server).complain("record", f"{self.connection.peer}: {error}")
                continue
            driver = self._server.drivers.get(message.phone)
            if self._is_replaced():
                return None
            try:
                answers.append(self._answer(message, driver))
            except RecordError as error:
                (driver or self._server).complain("record", f"message 0x{message.id:04X}: {error}")
                answers.append(self._reply(message, WRONG))
        return b"".join(answers)

    def _is_replaced(self) -> bool:
        """Whether the terminal speaks elsewhere by now; where this goes on, two have one number."""
        newer = self._server.speaking.get(self._driver.phone) if self._driver is not None else None
        if self._driver is None or newer is None or newer is self:
            return False
        self._driver.complain(
            "two terminals",
            f"expected one connection of {self._driver.phone}, got {self.connection.peer} and since then "
            f"{newer.connection.peer}: the older is hung up on",
        )
        return True

    def _reply(self, message: Message, result: int) -> bytes:
        self._serial = (self._serial + 1) & 0xFFFF
        return general_reply(message, self._serial, result)

    def _answer(self, message: Message, driver: Subscriber | None) -> bytes:
        if message.id == 0x0100:
            return self._register(message, driver)
        if self._driver is not None and _is_heir(driver, self._driver):
            self._driver = driver  # the same terminal by a newer configuration
        if driver is None or (self._driver is not None and driver is not self._driver):
            (self._driver or self._server).complain(
                "unknown terminal", f"{self.connection.peer}: expected a known terminal, got {message.phone}"
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

    def _register(self, message: Message, driver: Subscriber | None) -> bytes:
        self._serial = (self._serial + 1) & 0xFFFF
        body = message.serial.to_bytes(2, "big")
        if driver is None:
            self._server.complain(
                "unknown terminal", f"{self.connection.peer}: expected a known terminal, got {message.phone}"
            )
            body += bytes((_NO_SUCH_TERMINAL,))
        else:
            body += bytes((DONE,)) + driver.token
        return encode(0x8100, message, self._serial, body)

    def _authenticate(self, message: Message, driver: Subscriber) -> bytes:
        came = message.body
        if message.edition == 2019:  # one byte of length, the token, then the terminal's number and version
            came = came[1 : 1 + came[0]] if came else b""
        if not hmac.compare_digest(came, driver.token):
            driver.complain("not authenticated", f"expected the token of {message.phone}, got another")
            return self._reply(message, FAILED)
        self._driver = driver
        self._server.speaking[driver.phone] = self
        self.connection.trusted = True
        return self._reply(message, DONE)

    def _serve(self, message: Message, driver: Subscriber) -> bytes:
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
        return driver.take(positions, self.connection, self._reply(message, DONE))

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


def _is_heir(new: Subscriber | None, old: Subscriber) -> bool:
    """Whether a terminal that has authenticated with `old` need not do so again with `new`."""
    return (
        new is not None
        and new is not old
        and new.phone == old.phone
        and hmac.compare_digest(new.token, old.token)
    )
