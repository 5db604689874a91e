"""What every request passes on its way in and every answer on its way out.

A plain ASGI layer, so that websockets pass it too: the host must be this
machine, a foreign origin is refused, and every page carries a content security
policy whose nonce only our own scripts know.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["LOOPBACK_NAMES", "Doors"]

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_SCRIPT: Final = re.compile(rb"<script(?=[\s>])")
_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}


class Doors:
    """ASGI layer around the board.

    Parameters
    ----------
    app : ASGI application
    state : mapping
        Put into every request's scope, so that pages find their board.
    """

    def __init__(self, app: ASGIApp, state: Mapping[str, Any]) -> None:
        self._app = app
        self._state = dict(state)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it with the reason why not."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = _refusal(Headers(scope=scope))
        if refusal is not None:
            await _refuse(scope, send, *refusal)
            return
        scope.update(self._state)
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
        else:
            await self._app(scope, receive, _Answer(send))


class _Answer:
    """Adds headers to an answer, and a nonce to the scripts of a page."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._body = bytearray()
        self._nonce = secrets.token_urlsafe(16)

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            headers["content-security-policy"] = _policy(self._nonce)
            if headers.get("content-type", "").startswith("text/html"):
                self._start = message
                return
        elif message["type"] == "http.response.body" and self._start is not None:
            self._body += message.get("body", b"")
            if message.get("more_body", False):
                return
            message = await self._page()
        await self._send(message)

    async def _page(self) -> Message:
        assert self._start is not None
        body = _SCRIPT.sub(b'<script nonce="' + self._nonce.encode() + b'"', bytes(self._body))
        headers = MutableHeaders(scope=self._start)
        headers["content-length"] = str(len(body))
        await self._send(self._start)
        # NiceGUI keeps the request, and it us, while the page is open.
        self._start, self._body = None, bytearray()
        return {"type": "http.response.body", "body": body}


def _policy(nonce: str) -> str:
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' 'nonce-{nonce}'",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self'",
            "connect-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )


def _refusal(headers: Headers) -> tuple[int, str] | None:
    host = headers.get("host", "")
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        name = ""
    if name not in LOOPBACK_NAMES:
        return (
            421,
            f"expected a request to this machine ({', '.join(sorted(LOOPBACK_NAMES))}), got host {host!r}",
        )
    origin = headers.get("origin")
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        return 403, f"expected origin http://{host}, got {origin!r}"
    return None


async def _refuse(scope: Scope, send: Send, status: int, reason: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": "origin"})
        return
    body = (reason + "\n").encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        *((k.encode(), v.encode()) for k, v in _HEADERS.items()),
        (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
