"""One HTTP call that ends in time and in size, whatever the other side does."""

from __future__ import annotations

import io
import time
import urllib.error
import urllib.request
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any

from edge.driver import DriverError, RecordError

__all__ = ["Caller"]


class _InTime(io.RawIOBase):
    """Bytes of a socket up to its time-out from now: urllib allows as much for each single read."""

    def __init__(self, raw: Any, sock: Any):
        self._raw, self._socket = raw, sock
        self._until_s = time.monotonic() + sock.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> Any:
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(left_s)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **more: Any):
        super().__init__(sock, *args, **more)
        self.fp: Any = io.BufferedReader(_InTime(self.fp.detach(), sock))


class _Plain(HTTPConnection):
    response_class = _Response


class _Secure(HTTPSConnection):
    response_class = _Response


class _PlainHandler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> HTTPResponse:
        return self.do_open(_Plain, req)


class _SecureHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> HTTPResponse:
        return self.do_open(_Secure, req)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow none: a device answers itself, and a token is for it alone."""


class Caller:
    """Gets one address.

    Parameters
    ----------
    url : str
        ``http://`` or ``https://``.
    headers : dict
        Sent along.
    timeout_s : float
        How long the connection may take, and then the whole answer. [s]
    max_bytes : int
        How long the answer may be.
    """

    def __init__(self, url: str, headers: dict[str, str], timeout_s: float, max_bytes: int):
        self._request = urllib.request.Request(url, headers=headers)  # noqa: S310  checked: http or https
        self._where = url.partition("?")[0]  # a query may hold a key
        self._timeout_s, self._max_bytes = timeout_s, max_bytes
        self._opener = urllib.request.build_opener(_PlainHandler, _SecureHandler, _NoRedirect)

    def get(self) -> bytes:
        """Body of the answer; DriverError if there is none, RecordError if it breaks off."""
        try:
            with self._opener.open(self._request, timeout=self._timeout_s) as answer:
                body = b""
                while part := answer.read1(65_536):
                    body += part
                    if len(body) > self._max_bytes:
                        raise DriverError(
                            f"{self._where}: expected at most {self._max_bytes} bytes, got more"
                        )
                length = answer.headers.get("Content-Length")
        except urllib.error.HTTPError as error:
            error.close()
            raise DriverError(
                f"{self._where}: expected status 200, got {error.code} {error.reason}"
            ) from error
        except TimeoutError as error:
            raise DriverError(
                f"{self._where}: expected the whole answer within {self._timeout_s:g} s"
            ) from error
        except (OSError, HTTPException) as error:
            raise DriverError(f"{self._where}: expected an answer, got: {error}") from error
        if length is not None and length.isdecimal() and int(length) != len(body):
            raise RecordError(len(body), f"expected {length} bytes, got {len(body)}")
        return body
