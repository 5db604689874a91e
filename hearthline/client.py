"""Asks a running server what only it can answer: it owns the data directory."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

if TYPE_CHECKING:
    import pyarrow as pa

    from ingest.endpoint import Endpoint
    from store.protocol import Select

__all__ = [
    "SERVER_FILE", "TOKEN_HEADER", "ServerClient", "ServerError", "ServerUnreachableError", "broker_inside",
    "owner",
]  # fmt: skip

SERVER_FILE: Final = "server.json"
"""In a data directory: ``{"url", "pid", "token"}`` of the server that owns it, and ``"mqtt"`` where its
broker is the one inside: ``{"url", "username", "password"}``."""
TOKEN_HEADER: Final = "X-Hearthline-Token"  # noqa: S105  a name, no secret
_MAX_REPLY: Final = 1 << 31


class ServerError(RuntimeError):
    """The server refused, or answered something else than expected; says what."""


class ServerUnreachableError(ServerError):
    """Nothing answers at the server's address."""


class _NoRedirect(HTTPRedirectHandler):
    """A redirect would carry the token elsewhere."""

    def redirect_request(self, *_args: Any, **_more: Any) -> None:
        return None


@dataclass(frozen=True, slots=True, repr=False)
class ServerClient:
    """A server's HTTP interface.

    Attributes
    ----------
    url : str
        ``http://host:port`` of the board.
    token : str
        For what changes something; empty is enough to read.
    timeout_s : float
    """

    url: str
    token: str = ""
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            msg = f"expected a URL such as http://127.0.0.1:8080, got {self.url!r}"
            raise ValueError(msg)

    def query(self, query: Select) -> pa.Table:
        """Rows that answer `query`."""
        import pyarrow as pa

        from store.params import to_params

        body = self._get("/api/query", [*to_params(query), ("format", "arrow")])
        try:
            with pa.ipc.open_stream(pa.py_buffer(body)) as reader:
                return reader.read_all()
        except (pa.ArrowException, OSError) as error:
            msg = f"{self.url}: expected rows as an Arrow stream, got {len(body)} other bytes: {error}"
            raise ServerError(msg) from error

    def status(self) -> dict[str, Any]:
        """Health, ledger and counts of rows."""
        answer: dict[str, Any] = self._object("/api/status", dict)
        return answer

    def site(self) -> dict[str, Any]:
        """What the registry has: devices, networks, places and plates."""
        answer: dict[str, Any] = self._object("/api/site", dict)
        return answer

    def dead_letters(self, limit: int = 200) -> list[dict[str, Any]]:
        """Dead letters, newest first."""
        answer: list[dict[str, Any]] = self._object("/api/dead-letters", list, [("limit", str(limit))])
        return answer

    def retry(self, dead_letter: str) -> None:
        """Have the dead letter with this id taken in again; ServerError says why if it cannot be."""
        self._send(Request(f"{self._base}/api/dead-letters/{quote(dead_letter, safe='')}/retry", data=b""))  # noqa: S310  the scheme is checked above

    def act(self, asked: Mapping[str, Any]) -> None:
        """Do something about an alarm; ServerError says why if it cannot be done."""
        body = json.dumps(asked).encode()
        headers = {"Content-Type": "application/json"}
        self._send(Request(f"{self._base}/api/alarms/act", data=body, headers=headers))  # noqa: S310  the scheme is checked above

    def unsent(self) -> list[dict[str, Any]]:
        """Messages about alarms that did not arrive for certain."""
        answer: list[dict[str, Any]] = self._object("/api/alarms/unsent", list)
        return answer

    def channels(self) -> list[dict[str, str]]:
        """Ways by which that server tells people of alarms: ``id`` and ``kind`` of each."""
        answer: list[dict[str, str]] = self._object("/api/alarms/channels", list)
        return answer

    @property
    def _base(self) -> str:
        return self.url.rstrip("/")

    def _object(self, path: str, kind: type[Any], params: list[tuple[str, str]] | None = None) -> Any:
        body = self._get(path, params or [])
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        if not isinstance(answer, kind):
            msg = f"{self.url}{path}: expected JSON of a {kind.__name__}, got {body[:80]!r}"
            raise ServerError(msg)
        return answer

    def _get(self, path: str, params: list[tuple[str, str]]) -> bytes:
        text = f"{self._base}{path}" + (f"?{urlencode(params)}" if params else "")
        return self._send(Request(text))  # noqa: S310  the scheme is checked above

    def _send(self, request: Request) -> bytes:
        if self.token:
            request.add_unredirected_header(TOKEN_HEADER, self.token)
        try:
            with build_opener(_NoRedirect, ProxyHandler({})).open(request, timeout=self.timeout_s) as reply:
                body: bytes = reply.read(_MAX_REPLY)
                return body
        except HTTPError as error:
            msg = f"{self.url}: {_detail(error)}"
            raise ServerError(msg) from error
        except (URLError, HTTPException, OSError) as error:
            reason = getattr(error, "reason", error)
            msg = f"expected a Hearthline server at {self.url}, got no answer: {reason}"
            raise ServerUnreachableError(msg) from error


def _detail(error: HTTPError) -> str:
    """What the server says of its refusal."""
    with error:
        body = error.read(100_000)
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    detail = answer.get("detail") if isinstance(answer, dict) else None
    return detail if isinstance(detail, str) else f"HTTP {error.code} {error.reason}"


def owner(data_dir: Path) -> ServerClient | None:
    """The server that owns `data_dir`, if one runs.

    A file that a killed server left behind, or that is torn, names none: the
    lock of the series file still protects what is in the directory.
    """
    said = _announced(data_dir)
    try:
        return ServerClient(str(said.get("url", "")), str(said.get("token") or "")) if said else None
    except ValueError:
        return None


def broker_inside(data_dir: Path) -> Endpoint | None:
    """The broker of the server that owns `data_dir`, with its login; None without, or if none runs."""
    from ingest.endpoint import Endpoint

    told = _announced(data_dir).get("mqtt")
    if not isinstance(told, Mapping):
        return None
    try:
        return Endpoint.parse(str(told.get("url")), told.get("username"), told.get("password"))
    except ValueError:
        return None


def _announced(data_dir: Path) -> Mapping[str, Any]:
    """What a server that runs said of itself in its data directory; empty if there is none."""
    try:
        said = json.loads((data_dir / SERVER_FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    known = isinstance(said, Mapping) and isinstance(said.get("pid"), int) and _runs(said["pid"])
    return said if known else {}


def _runs(pid: int) -> bool:
    if pid <= 0:
        return False
    if sys.platform == "win32":  # signal 0 would end the process there; the lock decides instead
        return True
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True
