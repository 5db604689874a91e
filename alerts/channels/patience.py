"""How long a channel is borne with: a connection is cut when its time is over, however it trickles.

A socket's own timeout begins anew with every byte, so a server that sends one now and then would hold a
channel, and all that waits behind it, for ever.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

__all__ = ["cut_after"]


@contextlib.contextmanager
def cut_after(seconds: float, socket_of: Callable[[], socket.socket | None]) -> Iterator[None]:
    """Cut what `socket_of` gives after `seconds`; whoever reads from it then sees its end."""

    def cut() -> None:
        found = socket_of()
        if found is not None:
            with contextlib.suppress(OSError):
                # Of the plain socket: TLS would forget its state under the reader.
                socket.socket.shutdown(found, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
