"""A TCP server for devices that call in: one thread, bounded in connections, bytes and idleness."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from edge.driver import DriverError

__all__ = ["Connection", "Session", "TcpServer"]

MOST_CONNECTIONS: Final = 2000
MOST_UNSENT: Final = 1 << 18
GREETING_S: Final = 60.0
_CHUNK: Final = 4096


class Session(Protocol):
    """What one connection says; runs in the server's thread."""

    def feed(self, data: bytes) -> bytes | None:
        """What to answer to bytes that came; None to hang up."""
        ...


@dataclass(eq=False)
class Connection:
    """One device that has called in; one that its session does not trust in a minute is hung up on."""

    socket: socket.socket
    peer: str
    heard_s: float
    session: Session | None = None
    since_s: float = 0.0
    trusted: bool = False
    unsent: bytearray = field(default_factory=bytearray)
    open: bool = True


class TcpServer:
    """Listens on one address.

    Parameters
    ----------
    host, port : str, int
        Where; port 0 takes a free one.
    session : callable
        Given a connection, its side of the conversation.
    idle_s : float
        A connection that says nothing for so long is closed. [s]
    failed : callable
        Told of a fault in a session; its connection is closed, the others stand.

    Raises
    ------
    DriverError
        If the address cannot be had.
    """

    def __init__(
        self,
        host: str,
        port: int,
        session: Callable[[Connection], Session],
        *,
        idle_s: float,
        failed: Callable[[str], None],
    ):
        try:
            self._listener = socket.create_server((host, port), backlog=256)
        except OSError as error:
            raise DriverError(f"{host}:{port}: expected to listen, got: {error}") from error
        self.port: int = self._listener.getsockname()[1]
        self._listener.setblocking(False)
        self._session = session
        self._idle_s = idle_s
        self._failed = failed
        self._connections: set[Connection] = set()
        self._posted: deque[tuple[Connection, bytes]] = deque()
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="terminals", daemon=True)
        self._thread.start()

    def post(self, connection: Connection, data: bytes) -> None:
        """Send to a device, from any thread; nothing happens if it has gone."""
        self._posted.append((connection, data))
        with contextlib.suppress(OSError):
            self._woken.send(b"x")

    def close(self) -> None:
        """Hang up on everybody."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._woken.send(b"x")
        self._thread.join(5.0)
        for connection in tuple(self._connections):
            self._drop(connection)
        self._selector.close()
        for end in (self._listener, self._wake, self._woken):
            end.close()

    def _run(self) -> None:
        swept_s = time.monotonic()
        while not self._closing:
            for key, events in self._selector.select(1.0):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._wake:
                    with contextlib.suppress(BlockingIOError):
                        self._wake.recv(_CHUNK)
                else:
                    self._serve(key.data, events)
            while self._posted:
                self._queue(*self._posted.popleft())
            now_s = time.monotonic()
            if now_s - swept_s > 1.0:
                swept_s = now_s
                for connection in [c for c in self._connections if self._is_stale(c, now_s)]:
                    self._drop(connection)

    def _is_stale(self, connection: Connection, now_s: float) -> bool:
        stranger = not connection.trusted and now_s - connection.since_s > GREETING_S
        return stranger or now_s - connection.heard_s > self._idle_s

    def _accept(self) -> None:
        try:
            accepted, peer = self._listener.accept()
        except OSError:
            time.sleep(0.05)  # out of descriptors: who waits is let in when there is room
            return
        if len(self._connections) >= MOST_CONNECTIONS:
            accepted.close()
            return
        accepted.setblocking(False)
        now_s = time.monotonic()
        connection = Connection(accepted, f"{peer[0]}:{peer[1]}", now_s, since_s=now_s)
        connection.session = self._session(connection)
        self._connections.add(connection)
        self._selector.register(accepted, selectors.EVENT_READ, connection)

    def _serve(self, connection: Connection, events: int) -> None:
        if events & selectors.EVENT_READ and connection.session is not None:
            try:
                data = connection.socket.recv(_CHUNK)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            connection.heard_s = time.monotonic()
            try:
                answer = connection.session.feed(data) if data else None
            except Exception as error:  # noqa: BLE001  one caller may not end the server of all
                self._failed(f"{connection.peer}: session failed: {error!r}")
                answer = None
            if answer is None:
                self._drop(connection)
                return
            self._queue(connection, answer)
        if events & selectors.EVENT_WRITE:
            self._flush(connection)

    def _queue(self, connection: Connection, data: bytes) -> None:
        if connection.open and data:
            connection.unsent += data
            if len(connection.unsent) > MOST_UNSENT:
                self._drop(connection)  # it takes nothing: it calls again and gets it all
            else:
                self._flush(connection)

    def _flush(self, connection: Connection) -> None:
        try:
            sent = connection.socket.send(connection.unsent) if connection.unsent else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(connection)
            return
        del connection.unsent[:sent]
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.unsent else 0)
        self._selector.modify(connection.socket, wanted, connection)

    def _drop(self, connection: Connection) -> None:
        if connection.open:
            connection.open = False
            self._connections.discard(connection)
            self._selector.unregister(connection.socket)
            connection.socket.close()
