"""Who comes in at a broker's listener: the first packet is read, judged and passed on under the right name.

amqtt forgets a session, and throws out whoever has it, before it asks whether the newcomer may come in; it
takes a will for any topic, packets of 256 MB, and clients that never say anything. So a client meets
amqtt only after it was looked at here.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from collections.abc import Callable
from typing import Any, Final

from amqtt.adapters import ReaderAdapter, StreamReaderAdapter
from amqtt.errors import AMQTTError
from amqtt.mqtt.connect import ConnectPacket

from ingest.door import MAX_PACKET_BYTES, Denied, Door, peer_name

__all__ = ["DEVICE_PREFIX", "LimitedReader", "Porter", "RefusedError"]

DEVICE_PREFIX: Final = "device:"
"""Of the client ids that devices get; no client may call itself so."""
_PATIENCE: Final = 2.0


class RefusedError(Exception):
    """A client that may not come in, or has to go."""


class LimitedReader(ReaderAdapter):  # type: ignore[misc]  # amqtt has no types
    """A stream that first gives what was read already, and ends with a packet that is too large.

    It ends too when nothing came for twice the keep-alive: amqtt's own timer only begins anew.
    """

    def __init__(self, reader: ReaderAdapter, clock: Callable[[], float]):
        self._reader = reader
        self._clock = clock
        self._first = b""
        self._heard_s = clock()
        self.silence_s: float | None = None

    def give_first(self, data: bytes) -> None:
        """Give this before what the stream has."""
        self._first = data

    async def read(self, n: int = -1) -> bytes:
        """Up to `n` bytes; RefusedError for a packet that is too large or after too long a silence."""
        if n > MAX_PACKET_BYTES:
            raise RefusedError(f"expected packets of at most {MAX_PACKET_BYTES} bytes, got one of {n}")
        if self._first:
            data, self._first = self._first[:n], self._first[n:]
            return data
        if self.silence_s is not None and self._clock() - self._heard_s > self.silence_s:
            raise RefusedError("expected a sign of life, got none")
        data = bytes(await self._reader.read(n))
        self._heard_s = self._clock()
        return data

    def feed_eof(self) -> None:
        """The stream has ended."""
        self._reader.feed_eof()


class Porter:
    """Looks at the first packet of each client.

    Parameters
    ----------
    door : Door or None
        Of the devices; None where there is only this machine.
    login : (str, str) or None
        What a client of the inner listener has to log in with; None: anybody of this machine may.
    clock : callable
        Monotonic. [s]
    """

    def __init__(self, door: Door | None, login: tuple[str, str] | None, clock: Callable[[], float]):
        self._door = door
        self._login = login
        self._clock = clock
        self.enter_s = door.enter_s if door is not None else 10.0
        self.most_entering = door.most_entering if door is not None else 1_000
        self.entering = 0
        self.turned_away = 0

    async def admit(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, outside: bool
    ) -> LimitedReader | None:
        """The stream of a client that may come in; None, and it is closed, for one that may not."""
        stream = LimitedReader(StreamReaderAdapter(reader), self._clock)
        self.entering += 1
        try:
            if self.entering > self.most_entering:
                raise RefusedError("too many at once")
            async with asyncio.timeout(self.enter_s):
                connect = await ConnectPacket.from_stream(stream)
            if outside:
                self._judge_device(connect, writer)
            else:
                self._judge_inside(connect)
            stream.silence_s = _PATIENCE * connect.keep_alive if connect.keep_alive else None
            stream.give_first(connect.to_bytes())
        except (RefusedError, AMQTTError, OSError, EOFError, ValueError, TimeoutError):
            self.turned_away += 1
            with contextlib.suppress(OSError):
                writer.close()
            return None
        finally:
            self.entering -= 1
        return stream

    def _judge_device(self, connect: ConnectPacket, writer: asyncio.StreamWriter) -> None:
        door = self._door
        assert door is not None
        found: Any = writer.get_extra_info("ssl_object")
        certificate = found.getpeercert() if found is not None else None
        name = peer_name(certificate)
        if door.has_revoked(certificate):
            raise RefusedError("expected a certificate that is not revoked")
        if not name or not door.rules.knows(name):
            door.denied(Denied(name, "connect", "", "expected a device of the site"))
            raise RefusedError(name)
        if connect.will_flag:
            topic = str(connect.will_topic)
            if why := door.rules.publishing(name, topic, retained=bool(connect.will_retain_flag)):
                door.denied(Denied(name, "will", topic, why))
                raise RefusedError(why)
        # Its name is its identity: a client id of its choice could be somebody else's.
        connect.client_id = DEVICE_PREFIX + name
        connect.payload.client_id_is_random = False

    def _judge_inside(self, connect: ConnectPacket) -> None:
        if str(connect.client_id or "").startswith(DEVICE_PREFIX):
            raise RefusedError("expected a client id of its own")
        if self._login is None:
            return
        given = (str(connect.username or ""), str(connect.password or ""))
        if not all(
            hmac.compare_digest(a.encode(), b.encode()) for a, b in zip(given, self._login, strict=True)
        ):
            raise RefusedError("expected the login of this process")
