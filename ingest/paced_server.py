"""A listener that lets newcomers in only as fast as those who are in are still served.

asyncio accepts whoever waits and begins all handshakes at once. When a whole fleet comes back, each sample
then waits behind all of them, though whoever is still outside could as well wait there.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

__all__ = ["PacedServer"]

_GAP_S: Final = 0.001
_MOST_S: Final = 0.1
_TIRED_S: Final = 0.1  # out of descriptors: who waits is let in when there is room
_BACKLOG: Final = 1024

Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class PacedServer:
    """Accepts connections with TLS; made within a running loop, it works at once.

    After each newcomer it waits as long as the loop is behind with what it has to do.

    Parameters
    ----------
    host : str
    port : int
    connected : callable
        Takes reader and writer of a client whose handshake succeeded.
    context : ssl.SSLContext
    handshake_s : float
        How long a handshake may take. [s]
    most : int
        Handshakes at a time; whoever comes on top of them is turned away.
    """

    def __init__(
        self,
        host: str,
        port: int,
        connected: Connected,
        context: ssl.SSLContext,
        handshake_s: float,
        most: int,
    ):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        self._socket.setblocking(False)
        self._connected = connected
        self._context = context
        self._handshake_s = handshake_s
        self._most = most
        self._entering: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run())

    async def _run(self) -> None:
        while True:
            try:
                accepted, _ = await self._loop.sock_accept(self._socket)
            except OSError:
                await asyncio.sleep(_TIRED_S)
                continue
            if len(self._entering) >= self._most:
                accepted.close()
                continue
            task = self._loop.create_task(self._enter(accepted))
            self._entering.add(task)
            task.add_done_callback(self._entering.discard)
            await self._serve_others()

    async def _serve_others(self) -> None:
        began_s = self._loop.time()
        await asyncio.sleep(_GAP_S)
        behind_s = self._loop.time() - began_s - _GAP_S
        await asyncio.sleep(min(behind_s, _MOST_S))

    async def _enter(self, accepted: socket.socket) -> None:
        reader = asyncio.StreamReader(loop=self._loop)
        protocol = asyncio.StreamReaderProtocol(reader, self._connected, loop=self._loop)
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol, accepted, ssl=self._context, ssl_handshake_timeout=self._handshake_s
            )
        except OSError:  # of TLS too: no certificate, a wrong one, no answer in time
            accepted.close()

    def close(self) -> None:
        """Let nobody in any more."""
        self._task.cancel()
        for task in self._entering:
            task.cancel()
        self._socket.close()

    async def wait_closed(self) -> None:
        """Until nobody is entering."""
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(self._task, *self._entering, return_exceptions=True)
