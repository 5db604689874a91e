"""A broker inside the process: amqtt in a thread of its own, on loopback, and a door for devices with TLS."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import ssl
import threading
import time
from collections import deque
from ipaddress import ip_address
from itertools import islice
from typing import Any, Final, Self

from amqtt.adapters import StreamWriterAdapter
from amqtt.broker import Broker
from amqtt.contexts import Action
from amqtt.errors import BrokerError

from ingest.door import Allowance, Denied, Door
from ingest.porter import DEVICE_PREFIX, Porter
from models.wire import ACK, COMMAND, DEATH, TELEMETRY

__all__ = ["EmbeddedBroker"]

_START_S: Final = 10.0
_STOP_S: Final = 5.0
_MOST_MESSAGES: Final = 10_000
_MOST_BYTES: Final = 64 * 1024 * 1024
_FROM_SERVER: Final = (f"/{ACK}", f"/{COMMAND}")
_NEVER_RETAINED: Final = (*_FROM_SERVER, f"/{TELEMETRY}", f"/{DEATH}")
_INSIDE: Final = "default"
_DOOR: Final = "devices"
_REVOKED_S: Final = 5.0
_log = logging.getLogger(__name__)


class _BoundedBroker(Broker):  # type: ignore[misc]  # amqtt has no types
    """amqtt with a bound on what waits for its subscribers.

    Its own queues have none. What finds no room is dropped, as Mosquitto drops what its
    `max_queued_messages` does not allow: the sender's outbox keeps it until ingest has it.
    """

    def __init__(
        self, config: dict[str, Any], most_messages: int, most_bytes: int, door: Door | None, porter: Porter
    ) -> None:
        super().__init__(config)
        self._door = door
        self._porter = porter
        self._allowances: dict[str, Allowance] = {}
        self.throttled = 0
        self._most = (most_messages, most_bytes)
        self._sizes: deque[int] = deque()  # of what waits to be given out, in order
        self.waiting = self.waiting_bytes = self.dropped = 0

    # -- the door -------------------------------------------------------------------

    def _create_ssl_context(self, _listener: Any) -> ssl.SSLContext:
        assert self._door is not None
        return self._door.files.context()

    async def _create_server_instance(
        self,
        listener_name: str,
        _type: Any,
        address: str | None,
        port: int,
        ssl_context: ssl.SSLContext | None,
    ) -> asyncio.Server:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self.stream_connected(reader, writer, listener_name)

        patience: dict[str, Any] = (
            {} if ssl_context is None else {"ssl_handshake_timeout": self._porter.enter_s}
        )
        return await asyncio.start_server(
            connected, address, port, reuse_address=True, ssl=ssl_context, backlog=1024, **patience
        )

    async def stream_connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener_name: str
    ) -> None:
        stream = await self._porter.admit(reader, writer, outside=listener_name == _DOOR)
        if stream is not None:
            await self._client_connected(listener_name, stream, StreamWriterAdapter(writer))

    async def _topic_filtering(self, session: Any, topic: str, action: Action) -> bool:
        device = _device_of(session)
        if device is None or self._door is None:
            return True
        if action is Action.PUBLISH:
            why = self._door.rules.publishing(device, topic, retained=False)
        else:
            why = self._door.rules.subscribing(device, topic)
        if why and action is not Action.RECEIVE:
            self._door.denied(Denied(device, str(action.value), topic, why))
        return not why

    async def _handle_message_delivery(self, client_session: Any, handler: Any, wait_deliver: Any) -> bool:
        message, device = wait_deliver.result(), _device_of(client_session)
        if message is not None and message.topic:
            packet = message.publish_packet
            if packet is not None and packet.retain_flag and message.topic.endswith(_NEVER_RETAINED):
                if self._door is not None:
                    why = "expected it not to be retained"
                    self._door.denied(Denied(device or "", "publish", message.topic, why))
                return True
            if device is not None and not self._within_allowance(device, len(message.data or b"")):
                self.throttled += 1
                return True
        return bool(await super()._handle_message_delivery(client_session, handler, wait_deliver))

    def _within_allowance(self, device: str, size: int) -> bool:
        assert self._door is not None
        if device not in self._allowances:
            self._allowances[device] = self._door.allowance()
        return self._allowances[device].take(size, self._door.clock())

    async def mind_revocations(self) -> None:
        """Take a new list of what is revoked, and part from whoever is on it."""
        door = self._door
        if door is None:
            return
        read_ns = door.files.revoked.stat().st_mtime_ns
        while True:
            await asyncio.sleep(_REVOKED_S)
            with contextlib.suppress(OSError, ValueError):
                changed_ns = door.files.revoked.stat().st_mtime_ns
                if changed_ns != read_ns:
                    door.take_revocations()
                    await self._part_from(door)
                    read_ns = changed_ns

    async def _part_from(self, door: Door) -> None:
        for session, handler in list(self._sessions.values()):
            certificate = session.ssl_object.getpeercert() if session.ssl_object is not None else None
            if door.has_revoked(certificate) and handler.writer is not None:
                _log.warning("device %s: its certificate was revoked", _device_of(session))
                await handler.handle_connection_closed()
                await handler.stop()

    # -- the bound ------------------------------------------------------------------

    async def _broadcast_message(
        self, session: Any, topic: Any, data: Any, force_qos: int | None = None
    ) -> None:
        size = len(data or b"")
        # What the server says of what is safe makes room: it may take as much again.
        times = 2 if str(topic).endswith(_FROM_SERVER) else 1
        if self.waiting >= times * self._most[0] or self.waiting_bytes + size > times * self._most[1]:
            self.dropped += 1
            return
        self._sizes.append(size)
        self._take(size)
        await super()._broadcast_message(session, topic, data, force_qos)

    async def _run_broadcast(self, running_tasks: deque[Any]) -> None:
        before = len(running_tasks)
        await super()._run_broadcast(running_tasks)
        size = self._sizes.popleft()
        for task in islice(running_tasks, before, None):  # one for each subscriber, done at its PUBACK
            self._take(size)
            task.add_done_callback(lambda _task, size=size: self._give(size))
        self._give(size)

    def _take(self, size: int) -> None:
        self.waiting += 1
        self.waiting_bytes += size

    def _give(self, size: int) -> None:
        self.waiting -= 1
        self.waiting_bytes -= size


def _device_of(session: Any) -> str | None:
    """Name of the device that a session belongs to; None for one of this machine."""
    name = str(session.client_id or "")
    return name.removeprefix(DEVICE_PREFIX) if name.startswith(DEVICE_PREFIX) else None


class EmbeddedBroker:
    """MQTT 3.1.1 on a loopback port, without logins, because only this machine reaches it.

    With a door for devices, which others reach too, the loopback port lets nobody in but this process.

    All that it holds is in memory and gone when it stops; what matters is in
    the collectors' outboxes until the journal has it.

    Parameters
    ----------
    port : int
        0 takes a free one.
    host : str
        A loopback address.
    max_connections : int
        More clients than this wait to be let in.
    session_expiry_s : int
        How long a client's session outlives its connection. [s]
    most_messages, most_bytes : int
        What may wait for subscribers, all together; more is dropped, and sent again by the collectors.
    door : Door or None
        Where devices come in, by certificate.

    Raises
    ------
    ValueError
        `host` is not a loopback address, or the door's certificates cannot be used.
    """

    def __init__(
        self,
        port: int = 0,
        host: str = "127.0.0.1",
        max_connections: int = 2000,
        session_expiry_s: int = 3600,
        most_messages: int = _MOST_MESSAGES,
        most_bytes: int = _MOST_BYTES,
        door: Door | None = None,
    ) -> None:
        if not ip_address(host).is_loopback:
            msg = (
                f"embedded broker: expected a loopback address, got {host}; others come in by a door with TLS"
            )
            raise ValueError(msg)
        if door is not None:
            door.files.context()
        self.door = door
        self.login = ("ingest", secrets.token_urlsafe(32)) if door is not None else None
        """What this process logs in with; None where nobody has to."""
        self._porter = Porter(door, self.login, time.monotonic)
        self._host = host
        self._port = port
        self._max_connections = max_connections
        self._session_expiry_s = session_expiry_s
        self.most_queued = most_messages
        self.most_queued_bytes = most_bytes
        self._broker: _BoundedBroker | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._error: BaseException | None = None
        self._stop: asyncio.Event | None = None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._port

    @property
    def url(self) -> str:
        """Where clients on this machine find it."""
        return f"mqtt://{self._host}:{self._port}"

    @property
    def running(self) -> bool:
        """Whether it serves."""
        return self._thread is not None and self._thread.is_alive() and self._error is None

    @property
    def queued(self) -> int:
        """Messages that wait for a subscriber, or for its acknowledgement."""
        return self._broker.waiting if self._broker is not None else 0

    @property
    def queued_bytes(self) -> int:
        """Their payloads. [bytes]"""
        return self._broker.waiting_bytes if self._broker is not None else 0

    @property
    def dropped(self) -> int:
        """Messages since the start for which there was no room."""
        return self._broker.dropped if self._broker is not None else 0

    @property
    def throttled(self) -> int:
        """Messages since the start of devices that sent more than they may."""
        return self._broker.throttled if self._broker is not None else 0

    @property
    def turned_away(self) -> int:
        """Clients since the start that were not let in."""
        return self._porter.turned_away

    def start(self) -> None:
        """Listen; OSError if the port is taken, RuntimeError if the broker does not start."""
        self._claim()
        self._thread = threading.Thread(target=self._run, name="broker", daemon=True)
        self._thread.start()
        if not self._started.wait(_START_S):
            msg = f"embedded broker: expected it to listen on {self.url} within {_START_S:.0f} s"
            raise RuntimeError(msg)
        if self._error is not None:
            msg = f"embedded broker on {self.url}: {self._error}"
            raise RuntimeError(msg) from self._error

    def _claim(self) -> None:
        self._port = _free(self._host, self._port)
        if self.door is not None:
            self.door.port = _free(self.door.host, self.door.port)

    def _config(self) -> dict[str, Any]:
        listeners: dict[str, Any] = {
            _INSIDE: {
                "type": "tcp",
                "bind": _bind(self._host, self._port),
                "max_connections": self._max_connections,
            }
        }
        if self.door is not None:
            listeners[_DOOR] = {
                "type": "tcp",
                "bind": _bind(self.door.host, self.door.port),
                "max_connections": self.door.max_connections,
                "ssl": True,
                # amqtt wants to see them; the context is the door's own.
                "certfile": str(self.door.files.certificate),
                "keyfile": str(self.door.files.key),
            }
        return {
            "listeners": listeners,
            "session_expiry_interval": self._session_expiry_s,
            "timeout_disconnect_delay": 2,
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }

    def _run(self) -> None:
        for name in ("amqtt", "transitions"):  # a line for each packet and each client else
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001  handed to the caller of start()
            self._error = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._broker = broker = _BoundedBroker(
            self._config(), self.most_queued, self.most_queued_bytes, self.door, self._porter
        )
        try:
            await broker.start()
        except BrokerError as error:
            raise RuntimeError(str(error)) from error
        self._started.set()
        minding = asyncio.create_task(broker.mind_revocations())
        await self._stop.wait()
        minding.cancel()
        await asyncio.wait_for(broker.shutdown(), _STOP_S)

    def stop(self) -> None:
        """Drop all clients and close the port."""
        if self._thread is None or self._loop is None or self._stop is None:
            return
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(2 * _STOP_S)
        self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _bind(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _free(host: str, port: int) -> int:
    """Find a free port, or see that the wanted one is free: amqtt's own error is a trace in the log."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            msg = f"embedded broker: expected a free port, got {host}:{port}: {error.strerror}"
            raise OSError(error.errno, msg) from error
        return int(probe.getsockname()[1])
