"""The board's web server: uvicorn in a thread of this process, on loopback only."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from typing import Any, Final

import uvicorn

__all__ = ["BindError", "BoardServer"]

_START_S: Final = 20.0
_STOP_S: Final = 5.0


class BindError(OSError):
    """The address cannot be served on; says which and why."""


class BoardServer:
    """Serves `app` on `host` and `port` from `start` until `stop`.

    The port is taken when this is made, so that a port in use is known before
    anything else starts.

    Parameters
    ----------
    app : ASGI application
    host : str
        A loopback address.
    port : int
        0 takes any free one; `port` tells which.
    option : str
        By which another port is chosen, for who finds this one taken.

    Raises
    ------
    BindError
        `host` is not loopback, or the port is taken or not allowed.
    """

    def __init__(self, app: Any, host: str = "127.0.0.1", port: int = 8080, option: str = "--port") -> None:
        self.host = host
        self._socket = _bind(host, port, option)
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            lifespan="on",
            ws="websockets-sansio",
            ws_per_message_deflate=False,  # its dictionaries would be 300 kB a page, its messages are small
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="board", daemon=True)
        self._error: BaseException | None = None

    @property
    def url(self) -> str:
        """Where a browser finds the board."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{name}:{self.port}"

    def start(self) -> None:
        """Serve; returns once requests are answered, RuntimeError if they are not within 20 s."""
        self._thread.start()
        deadline = time.monotonic() + _START_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                self._socket.close()
                msg = f"the board did not start on {self.url}: {self._error or 'see the log above'}"
                raise RuntimeError(msg)
            time.sleep(0.01)

    def stop(self) -> None:
        """Close every connection and end; stopping twice, or before the start, is allowed."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(_STOP_S)
            if self._thread.is_alive():
                self._server.force_exit = True
                self._thread.join(_STOP_S)
        self._socket.close()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except BaseException as error:  # noqa: BLE001  told to whoever waits in start()
            self._error = error


def _bind(host: str, port: int, option: str) -> socket.socket:
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        msg = f"board: expected a loopback address to bind to, got {host!r}"
        raise BindError(msg) from None
    if not address.is_loopback:
        msg = (
            f"board: expected a loopback address to bind to, got {host}: anything else needs TLS and a login"
        )
        raise BindError(msg)
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((str(address), port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        other = f"{option} takes another, 0 any free one"
        msg = f"board: expected a free port, got {port} on {host}: {error}; {other}"
        raise BindError(msg) from error
    return listener
