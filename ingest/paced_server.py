"""A listener that lets newcomers in only as fast as those who are in are still served.

asyncio accepts whoever waits and begins all handshakes at once. When a whole fleet comes back, each sample
then waits behind all of them, though whoever is still outside could as well wait there.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

__all__ = ["PacedServer", "Strangers"]

_GAP_S: Final = 0.001
_MOST_S: Final = 0.1
_TIRED_S: Final = 0.1  # out of descriptors: who waits is let in when there is room
_BACKLOG: Final = 1024
_SAY_EVERY_S: Final = 60.0

Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Strangers:
    """Says whose certificate was not taken, for each reason at most once a minute.

    Parameters
    ----------
    say : callable
        Takes a pattern and what stands in it, as a logger does.
    clock : callable
        Monotonic. [s]
    """

    def __init__(self, say: Callable[..., None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._said_s: dict[str, float] = {}
        self._since: Counter[str] = Counter()

    def add(self, address: str, why: str) -> None:
        """Note one from `address`; `why` in OpenSSL's words, which are few."""
        self._since[why] += 1
        now_s = self._clock()
        if why in self._said_s and now_s - self._said_s[why] < _SAY_EVERY_S:
            return
        self._said_s[why] = now_s
        self._say(
            "a device from %s was not let in: %s (%d since last said)", address, why, self._since.pop(why)
        )


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
        By which newcomers are taken; may be replaced.
    handshake_s : float
        How long a handshake may take. [s]
    most : int
        Handshakes at a time; whoever comes on top of them is turned away.
    refused : callable
        Told the address of whose certificate is not taken, and why: asyncio does not tell the client.
    """

    def __init__(
        self,
        host: str,
        port: int,
        connected: Connected,
        context: ssl.SSLContext,
        handshake_s: float,
        most: int,
        refused: Callable[[str, str], None],
    ):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        self._socket.setblocking(False)
        self._connected = connected
        self.context = context
        self._handshake_s = handshake_s
        self._most = most
        self._refused = refused
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
        address = _address(accepted)
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol, accepted, ssl=self.context, ssl_handshake_timeout=self._handshake_s
            )
        except OSError as error:  # of TLS too: no certificate, a wrong one, no answer in time
            accepted.close()
            if isinstance(error, ssl.SSLCertVerificationError):
                self._refused(address, error.verify_message)

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


def _address(client: socket.socket) -> str:
    try:
        return str(client.getpeername()[0])
    except OSError:  # gone already
        return "?"
