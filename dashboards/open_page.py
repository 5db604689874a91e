"""What is held for a page while it is open: no more than its socket and its address need."""

from __future__ import annotations

from typing import Final

from nicegui import Client
from nicegui.nicegui import sio_app
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["StraightSockets", "keep_address_only"]

_SOCKETS: Final = "/_nicegui_ws"
_ADDRESS: Final = (
    "type", "http_version", "method", "scheme", "path", "root_path", "query_string", "headers", "server",
    "client", "route", "nicegui_page_path",
)  # fmt: skip
"""Of a request: what NiceGUI may ask of one whose page is open."""


class StraightSockets:
    """ASGI layer that takes the sockets of pages to NiceGUI's server of sockets.

    On their way through NiceGUI's application every layer, made for requests, would hold a frame of its own
    for each page for as long as it is open.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a page's socket on straight, and everything else to the application."""
        mounted = scope.get("root_path", "") + _SOCKETS
        if scope["type"] == "websocket" and scope["path"].startswith(f"{mounted}/"):
            await sio_app({**scope, "root_path": mounted}, receive, send)
        else:
            await self._app(scope, receive, send)


def keep_address_only(client: Client) -> None:
    """Have a page that is connected keep what was asked for, and not the answer and all that made it."""
    asked = client.request.scope
    address = {name: asked[name] for name in _ADDRESS if name in asked}
    client._request = Request(address)  # noqa: SLF001  it can only be given when a client is made
