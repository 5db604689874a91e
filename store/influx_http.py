"""Requests to InfluxDB 2: bounded patience with a server that is busy, none with one that refuses."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import urllib3
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.domain.dialect import Dialect
from influxdb_client.rest import ApiException

from models.wording import worded
from store.protocol import StoreError, StoreUnavailableError

__all__ = ["InfluxHttp", "RefusedLinesError", "refusal_of"]

_REFUSED: Final = frozenset({400, 413, 422})
_FIRST_WAIT_S: Final = 0.5
_LONGEST_WAIT_S: Final = 8.0


class RefusedLinesError(Exception):
    """InfluxDB refuses what it was sent: sending it again would not help."""


class InfluxHttp:
    """Writes lines and asks Flux of one organization.

    Parameters
    ----------
    url, org, token : str
    shown : str
        What messages call the buckets in question.
    timeout_s : float
        Of one request.
    patience_s : float
        How long one call goes on trying a server that is busy or away, waits included.
    """

    def __init__(
        self, url: str, org: str, shown: str, token: str, timeout_s: float, patience_s: float
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            msg = f"expected the URL of an InfluxDB 2, such as http://127.0.0.1:8086, got {url!r}"
            raise StoreError(msg)
        self.where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]} bucket {shown}"
        self._org, self._patience_s = org, patience_s
        # The client is only half typed, and its types are not all true.
        self._client: Any = InfluxDBClient(url, token, org=org, timeout=int(timeout_s * 1000), retries=False)
        self._write_api: Any = self._client.write_api(write_options=SYNCHRONOUS)
        self._query_api: Any = self._client.query_api()
        make: Any = Dialect
        self._dialect = make(annotations=["datatype"], header=True, delimiter=",", date_time_format="RFC3339")
        self._not_before = 0.0
        self._closing = threading.Event()

    def write(self, bucket: str, body: bytes) -> None:
        """Have lines stored in a bucket, RefusedLinesError if they never will be."""
        self._patiently(
            lambda: self._write_api.write(bucket, self._org, record=body, write_precision="ms"),
            lines=True,
        )

    def ask(self, text: str) -> str:
        """The answer to Flux text as annotated CSV."""
        reply = self._patiently(lambda: self._query_api.query_raw(text, org=self._org, dialect=self._dialect))
        body = reply.data if hasattr(reply, "data") else reply
        return body.decode() if isinstance(body, bytes) else str(body)

    def close(self) -> None:
        """End waits and release connections."""
        self._closing.set()
        self._client.close()

    def _patiently(self, call: Callable[[], Any], *, lines: bool = False) -> Any:
        end, wait, reason = time.monotonic() + self._patience_s, _FIRST_WAIT_S, "it asked for time"
        while True:
            pause = self._not_before - time.monotonic()  # what the server asked for holds for later calls too
            if pause > 0:
                if time.monotonic() + pause > end:
                    msg = worded("{where}: not available: {why}", where=self.where, why=reason)
                    raise StoreUnavailableError(msg)
                self._closing.wait(pause)
            if self._closing.is_set():
                msg = worded("{where}: the store is closed", where=self.where)
                raise StoreError(msg)
            asked = None
            try:
                return call()
            except ApiException as error:
                asked = self._judge(error, lines=lines)
                reason = f"HTTP {error.status} {_line(error)}"
            except (urllib3.exceptions.HTTPError, OSError, UnicodeDecodeError) as error:
                reason = f"{type(error).__name__}: {error}"
            self._not_before = time.monotonic() + (wait if asked is None else asked)
            wait = min(2 * wait, _LONGEST_WAIT_S)

    def _judge(self, error: ApiException, *, lines: bool) -> float | None:
        """How long a busy server asks to be left alone; raises when waiting is no use."""
        status = error.status or 0
        if status in _REFUSED:
            if lines:
                raise RefusedLinesError(_line(error)) from error
            msg = worded("{where}: the query was refused: {why}", where=self.where, why=_line(error))
            raise StoreError(msg) from error
        if status == 429 or status >= 500 or status == 0:
            return _retry_after(error)
        raise StoreError(worded("{where}: {why}", where=self.where, why=refusal_of(error))) from error


_ADVICE: Final = {
    401: "is the token in influx_token_file one that this InfluxDB made? `hearthline store prepare --tokens` "
    "writes new ones",
    403: "the token lacks rights here: `hearthline store prepare --tokens` writes ones that have them",
    404: "does influx_org name the organization, and may the token see it? `hearthline store prepare` makes"
    " the buckets",
}


def refusal_of(error: ApiException) -> str:
    """What a server that let nobody in said, and what to do about it; holds no secret."""
    advice = _ADVICE.get(error.status or 0, "the request was not expected")
    return f"expected to be let in, got HTTP {error.status} {_line(error)}: {advice}"


def _retry_after(error: ApiException) -> float | None:
    headers: Any = error.headers or {}
    try:
        seconds = float(headers.get("Retry-After") or headers.get("retry-after") or "")
    except ValueError:
        return None
    return max(seconds, 0.0) if seconds == seconds else None  # noqa: PLR0124  a NaN is no time


def _line(error: ApiException) -> str:
    """What the server said, on one line; its body is bytes where the client did not read it itself."""
    body: Any = error.body or b""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body)
    return " ".join((text.strip() or str(error.reason)).split())[:300]
