"""A TCP proxy with the faults of real networks, switched while connections run.

It forwards bytes, knows no protocol, and runs on an event loop in a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, Literal, Self, TypeVar

from tests.support.waiting import PATIENCE_S

__all__ = ["CLEAR", "FaultProxy", "Faults"]

_T = TypeVar("_T")
_CHUNK: Final = 65_536
_QUEUED: Final = 64  # chunks that may wait for their latency, of each direction of each connection
_RST: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on, 0 s: closing sends a reset instead of the rest."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What happens to bytes on their way, of every connection there is and comes.

    Attributes
    ----------
    latency_s : float
        Each byte comes so much later, in each direction. [s]
    bytes_per_s : float or None
        How fast bytes are passed on, in each direction of each connection. [1/s]
    slice_bytes : int or None
        The most that one write passes on; each is a segment of its own.
    blackhole : bool
        Nothing passes, and nobody is told: connections stand, new ones are taken and hear nothing. What was
        sent meanwhile waits and passes afterwards, as TCP would send it again.
    drop_replies : bool
        What the server answers is lost, what the client sends arrives. A connection that lost something is
        reset when this ends: no TCP connection goes on with a hole in it.
    refuse : bool
        New connections are reset at once.
    """

    latency_s: float = 0.0
    bytes_per_s: float | None = None
    slice_bytes: int | None = None
    blackhole: bool = False
    drop_replies: bool = False
    refuse: bool = False


CLEAR: Final = Faults()


class FaultProxy:
    """Listens on a free port of 127.0.0.1 and forwards to another; use as a context manager.

    Parameters
    ----------
    upstream : int
        Port of 127.0.0.1 that is forwarded to. It may come and go: where it does not answer, the client's
        connection is reset.

    Attributes
    ----------
    port : int
    connections : int
        How many were taken, refused ones included.
    up_bytes, down_bytes : int
        Passed on to the server and to the client.
    lost_bytes : int
        Swallowed by `drop_replies` and `half_open`.
    """

    def __init__(self, upstream: int):
        self.upstream = upstream
        self.connections = self.up_bytes = self.down_bytes = self.lost_bytes = 0
        self._faults = CLEAR
        self._cut_after: int | None = None
        self._legs: set[_Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()  # set unless nothing may pass
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy", daemon=True)

    @property
    def url(self) -> str:
        """Where MQTT clients find it."""
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def standing(self) -> int:
        """How many connections a client has open."""
        return len(self._legs)

    @property
    def faults(self) -> Faults:
        """What happens to bytes now."""
        return self._faults

    def switch(self, faults: Faults = CLEAR) -> None:
        """From now on let `faults` happen, and nothing else."""
        self._call(self._switch(faults))

    def reset(self) -> int:
        """Reset every connection at both ends; how many there were."""
        return self._call(self._reset())

    def half_open(self, gone: Literal["client", "server"]) -> int:
        """Let one end of every connection vanish without the other being told; how many there were.

        With the server gone, the client may send on and is never answered; with the client gone, the
        server keeps a connection that nobody uses. The end that vanished sees a reset.
        """
        return self._call(self._half_open(gone))

    def cut_after(self, count: int | None) -> None:
        """Reset each connection, new ones too, in the midst of what the client sends, after `count` more bytes.

        None ends it.
        """
        self._call(self._cut(count))

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._begin())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, _T]) -> _T:
        asked: Future[_T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return asked.result(PATIENCE_S)

    async def _begin(self) -> None:
        self._open.set()
        self._accepting = asyncio.create_task(self._accept())

    async def _end(self) -> None:
        await self._reset()
        mine = asyncio.all_tasks() - {asyncio.current_task()}
        for task in mine:
            task.cancel()
        await asyncio.gather(*mine, return_exceptions=True)
        self._listener.close()

    async def _accept(self) -> None:
        while True:
            try:
                client, _ = await self._loop.sock_accept(self._listener)
            except OSError:  # it went away before it was taken
                continue
            self.connections += 1
            if self._faults.refuse:
                _abort(client)
                continue
            self._legs.add(_Connection(self, client))

    async def _switch(self, faults: Faults) -> None:
        self._faults = faults
        if faults.blackhole:
            self._open.clear()
        else:
            self._open.set()
        if not faults.drop_replies:
            for connection in [c for c in self._legs if c.has_hole]:
                connection.reset()

    async def _reset(self) -> int:
        count = len(self._legs)
        for connection in [*self._legs]:
            connection.reset()
        return count

    async def _half_open(self, gone: str) -> int:
        count = len(self._legs)
        for connection in [*self._legs]:
            connection.vanish(gone)
        return count

    async def _cut(self, count: int | None) -> None:
        self._cut_after = count
        for connection in self._legs:
            connection.left = count


def _abort(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    if sock.fileno() >= 0:  # a number that is used again must not meet what waited for the old one
        loop.remove_reader(sock)
        loop.remove_writer(sock)
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
    sock.close()


class _Connection:
    """A client's connection and the one made for it, in the loop's thread alone."""

    def __init__(self, proxy: FaultProxy, client: socket.socket):
        self._proxy = proxy
        self._loop = proxy._loop
        self._client = client
        self._server: socket.socket | None = None
        self._vanished = ""
        self.has_hole = False
        self.left = proxy._cut_after
        self._tasks = {asyncio.create_task(self._run())}

    async def _run(self) -> None:
        client, server = self._client, socket.socket()
        self._server = server
        for sock in (client, server):
            sock.setblocking(False)
            with contextlib.suppress(OSError):  # the client is gone already
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await self._proxy._open.wait()  # nobody is reached through a blackhole
        try:
            await self._loop.sock_connect(server, ("127.0.0.1", self._proxy.upstream))
        except OSError:
            self.reset()
            return
        for source, target, upward in ((client, server, True), (server, client, False)):
            due: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_QUEUED)
            self._tasks.add(asyncio.create_task(self._read(source, due)))
            self._tasks.add(asyncio.create_task(self._write(target, due, upward=upward)))

    async def _read(self, source: socket.socket, due: asyncio.Queue[tuple[float, bytes]]) -> None:
        """Take bytes, and say when each may arrive; none is the end."""
        while True:
            try:
                data = await self._loop.sock_recv(source, _CHUNK)
            except OSError:
                self.reset()
                return
            await due.put((self._loop.time() + self._proxy.faults.latency_s, data))
            if not data:
                return

    async def _write(
        self, target: socket.socket, due: asyncio.Queue[tuple[float, bytes]], *, upward: bool
    ) -> None:
        while True:
            at, data = await due.get()
            await asyncio.sleep(at - self._loop.time())
            await self._proxy._open.wait()
            if not data:
                await self._ended(target)
                return
            if self._swallowed(upward=upward):
                self._proxy.lost_bytes += len(data)
                continue
            try:
                await self._send(target, data, upward=upward)
            except OSError:
                self.reset()
                return

    def _swallowed(self, *, upward: bool) -> bool:
        if self._vanished:
            return True
        dropped = self._proxy.faults.drop_replies and not upward
        self.has_hole = self.has_hole or dropped
        return dropped

    async def _ended(self, target: socket.socket) -> None:
        """One end has said all: tell the other, unless it is not to know."""
        if self._vanished:
            return
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
        self._tasks = {task for task in self._tasks if not task.done()}
        if len(self._tasks) <= 1:  # this one: the other direction has ended before
            self._forget()
            self._client.close()
            assert self._server is not None
            self._server.close()

    async def _send(self, target: socket.socket, data: bytes, *, upward: bool) -> None:
        while data:
            faults = self._proxy.faults
            step = min(len(data), faults.slice_bytes or len(data))
            if faults.bytes_per_s:
                step = min(step, max(1, int(faults.bytes_per_s / 20)))
            cut = upward and self.left is not None and self.left <= step
            piece = data[: self.left if cut else step]
            await self._loop.sock_sendall(target, piece)
            self._count(len(piece), upward=upward)
            if cut:
                await asyncio.sleep(0)  # what was sent before the cut is to arrive
                self.reset()
                return
            data = data[step:]
            if faults.bytes_per_s:
                await asyncio.sleep(step / faults.bytes_per_s)
            elif faults.slice_bytes:
                await asyncio.sleep(0)
            await self._proxy._open.wait()

    def _count(self, size: int, *, upward: bool) -> None:
        if upward:
            self._proxy.up_bytes += size
            self.left = None if self.left is None else self.left - size
        else:
            self._proxy.down_bytes += size

    def vanish(self, gone: str) -> None:
        """Reset the end that is `gone`, and let the other talk to nobody; once both are gone, that is all."""
        if self._vanished:
            if self._vanished != gone:
                self.reset()
            return
        self._vanished = gone
        for task in self._tasks:
            task.cancel()
        lost, kept = (self._client, self._server) if gone == "client" else (self._server, self._client)
        if lost is not None:
            _abort(lost)
        if kept is None:  # it vanished before there was anybody to reach
            self.reset()
            return
        self._loop.remove_reader(kept)
        self._loop.remove_writer(kept)
        self._tasks = {asyncio.create_task(self._swallow(kept))}

    async def _swallow(self, kept: socket.socket) -> None:
        while True:
            try:
                data = await self._loop.sock_recv(kept, _CHUNK)
            except OSError:
                data = b""
            if not data:
                self._forget()
                kept.close()
                return
            self._proxy.lost_bytes += len(data)

    def _forget(self) -> None:
        self._proxy._legs.discard(self)

    def reset(self) -> None:
        """End both connections with a reset."""
        self._forget()
        current = asyncio.current_task()
        for task in self._tasks:
            if task is not current:
                task.cancel()
        for sock in (self._client, self._server):
            if sock is not None:
                _abort(sock)
