"""A broker inside the process, for one machine: amqtt in a thread of its own, on loopback."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections import deque
from ipaddress import ip_address
from itertools import islice
from typing import Any, Final, Self

from amqtt.broker import Broker
from amqtt.errors import BrokerError

from models.wire import ACK, COMMAND

__all__ = ["EmbeddedBroker"]

_START_S: Final = 10.0
_STOP_S: Final = 5.0
_MOST_MESSAGES: Final = 10_000
_MOST_BYTES: Final = 64 * 1024 * 1024
_FROM_SERVER: Final = (f"/{ACK}", f"/{COMMAND}")


class _BoundedBroker(Broker):  # type: ignore[misc]  # amqtt has no types
    """amqtt with a bound on what waits for its subscribers.

    Its own queues have none. What finds no room is dropped, as Mosquitto drops what its
    `max_queued_messages` does not allow: the sender's outbox keeps it until ingest has it.
    """

    def __init__(self, config: dict[str, Any], most_messages: int, most_bytes: int) -> None:
        super().__init__(config)
        self._most = (most_messages, most_bytes)
        self._sizes: deque[int] = deque()  # of what waits to be given out, in order
        self.waiting = self.waiting_bytes = self.dropped = 0

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


class EmbeddedBroker:
    """MQTT 3.1.1 on a loopback port, without logins, because only this machine reaches it.

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

    Raises
    ------
    ValueError
        `host` is not a loopback address.
    """

    def __init__(
        self,
        port: int = 0,
        host: str = "127.0.0.1",
        max_connections: int = 2000,
        session_expiry_s: int = 3600,
        most_messages: int = _MOST_MESSAGES,
        most_bytes: int = _MOST_BYTES,
    ) -> None:
        if not ip_address(host).is_loopback:
            msg = (
                f"embedded broker: expected a loopback address, got {host}; use a broker with logins and TLS"
            )
            raise ValueError(msg)
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
        """Find a free port, or see that the wanted one is free: amqtt's own error is a trace in the log."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self._host, self._port))
            except OSError as error:
                msg = (
                    f"embedded broker: expected a free port, got {self._host}:{self._port}: {error.strerror}"
                )
                raise OSError(error.errno, msg) from error
            self._port = probe.getsockname()[1]

    def _config(self) -> dict[str, Any]:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return {
            "listeners": {
                "default": {
                    "type": "tcp",
                    "bind": f"{host}:{self._port}",
                    "max_connections": self._max_connections,
                }
            },
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
        self._broker = broker = _BoundedBroker(self._config(), self.most_queued, self.most_queued_bytes)
        try:
            await broker.start()
        except BrokerError as error:
            raise RuntimeError(str(error)) from error
        self._started.set()
        await self._stop.wait()
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
