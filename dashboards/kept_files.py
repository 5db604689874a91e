"""Files that never change: read and packed once, then given from memory."""

from __future__ import annotations

import re
import zlib
from functools import cache
from pathlib import Path
from typing import Final

import anyio.to_thread
from nicegui.dependencies import esm_modules
from nicegui.version import __version__ as nicegui_version
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["KeptFiles", "LastingFiles", "chart_modules"]

_LASTING: Final = "public, max-age=31536000, immutable"
_MOST_BYTES: Final = 4 * 2**20
"""Of what is kept. The scripts and style sheets of all pages are 0.7 MB packed."""
_CONDITIONS: Final = ("range", "if-none-match", "if-modified-since")
_GZIP: Final = 16 + zlib.MAX_WBITS


class LastingFiles(StaticFiles):
    """Files whose address changes with their content."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        """The file, to be kept by the browser for good."""
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["cache-control"] = _LASTING
        return response


class KeptFiles:
    """ASGI layer that packs an answer that is immutable, and gives it again without asking further in.

    A library of charts takes 60 ms to pack: more than all that a page then asks of the store.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._kept: dict[str, tuple[Message, bytes]] = {}
        self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer from memory where that can be."""
        if scope["type"] != "http" or not _whole(scope):
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if path not in self._kept:
            answer = _Answer(send)
            await self._app(scope, receive, answer)
            if answer.start is None:
                return
            start, body = await anyio.to_thread.run_sync(_packed, answer.start, bytes(answer.body))
            if path not in self._kept and self._bytes + len(body) <= _MOST_BYTES:
                self._bytes += len(body)
                self._kept[path] = start, body
        else:
            start, body = self._kept[path]
        await send({**start, "headers": list(start["headers"])})  # whoever is further out adds its own
        await send({"type": "http.response.body", "body": body})


class _Answer:
    """Holds an answer back that is immutable; any other goes on its way."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.start: Message | None = None
        self.body = bytearray()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _lasting(message):
            self.start = message
        elif message["type"] == "http.response.body" and self.start is not None:
            self.body += message.get("body", b"")
        else:
            await self._send(message)


def _whole(scope: Scope) -> bool:
    """Whether all of a file is asked for, by somebody who can unpack."""
    headers = Headers(scope=scope)
    plain = scope["method"] == "GET" and not scope["query_string"]
    return (
        plain and "gzip" in headers.get("accept-encoding", "") and not any(c in headers for c in _CONDITIONS)
    )


def _lasting(start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    fresh = start["status"] == 200 and "content-encoding" not in headers
    return fresh and "immutable" in headers.get("cache-control", "")


def _packed(start: Message, body: bytes) -> tuple[Message, bytes]:
    packer = zlib.compressobj(6, wbits=_GZIP)
    small = packer.compress(body) + packer.flush()
    message = {**start, "headers": list(start["headers"])}
    headers = MutableHeaders(scope=message)
    if len(small) < len(body):
        headers["content-encoding"] = "gzip"
        body = small
    headers.add_vary_header("accept-encoding")
    headers["content-length"] = str(len(body))
    return message, body


@cache
def chart_modules() -> tuple[str, ...]:
    """Addresses of the library of charts: its module, and what that needs at once."""
    key, module = next((k, m) for k, m in esm_modules.items() if m.name == "nicegui-echart")
    text = (Path(module.path) / "index.js").read_text(encoding="utf-8")
    names = ("index.js", *re.findall(r'from\s*"\./([^"]+)"', text))
    return tuple(f"/_nicegui/{nicegui_version}/esm/{key}/{name}" for name in names)
