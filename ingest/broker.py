"""A broker inside the process: amqtt in a thread of its own, on loopback, and a door for devices with TLS."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, Final, Self

from amqtt.errors import BrokerError

from ingest.door import Door
from ingest.guarded_broker import DOOR, INSIDE, GuardedBroker
from ingest.porter import Porter

try:
    import uvloop  # the board's server brings it where it exists
except ImportError:  # no wheel for this machine
    _NEW_LOOP: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
else:
    _NEW_LOOP = uvloop.new_event_loop

__all__ = ["EmbeddedBroker"]

_START_S: Final = 10.0
_STOP_S: Final = 5.0
_MOST_MESSAGES: Final = 10_000
_MOST_BYTES: Final = 64 * 1024 * 1024


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
        self._broker: GuardedBroker | None = None
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
            INSIDE: {
                "type": "tcp",
                "bind": _bind(self._host, self._port),
                "max_connections": self._max_connections,
            }
        }
        if self.door is not None:
            listeners[DOOR] = {
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
            with asyncio.Runner(loop_factory=_NEW_LOOP) as runner:
                runner.run(self._serve())
        except BaseException as error:  # noqa: BLE001  handed to the caller of start()
            self._error = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._broker = broker = GuardedBroker(
            self._config(), self.most_queued, self.most_queued_bytes, self.door, self._porter
        )
        try:
            await broker.start()
        except BrokerError as error:
            raise RuntimeError(str(error)) from error
        self._started.set()
        minding = asyncio.create_task(broker.mind_certificates())
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
