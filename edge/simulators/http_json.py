"""A service that answers HTTP with the JSON document that a configuration points into."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from edge.config import DeviceConfig
from edge.simulators.peer import plausible
from edge.units import conversion

__all__ = ["Service", "document", "start"]


class Service:
    """Answers every request with a document.

    Parameters
    ----------
    answer : callable
        Status and body for a path.
    url : str
        The configured one: path and query stay.

    Attributes
    ----------
    short_by : int
        How many bytes of a body are announced and not sent. Tests put faults here.
    """

    def __init__(self, answer: Callable[[str], tuple[int, bytes]], url: str = "/"):
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service.asked.append((self.path, dict(self.headers)))
                status, body = answer(self.path)
                self.send_response(status)
                if status in (301, 302):
                    self.send_header("Location", body.decode())
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) - service.short_by])

            def log_message(self, *_: Any) -> None:
                pass

        self.short_by = 0
        self.asked: list[tuple[str, dict[str, str]]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        parts = urlsplit(url)
        rest = parts.path + (f"?{parts.query}" if parts.query else "")
        self.at: dict[str, Any] = {"url": f"http://127.0.0.1:{self._server.server_port}{rest or '/'}"}
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5.0)


def _put(document: Any, pointer: str, value: Any) -> Any:
    """Set what a pointer leads to, and make the way there."""
    keys = [key.replace("~1", "/").replace("~0", "~") for key in pointer.split("/")[1:]]
    if not keys:
        return value
    at = document
    for key, following in zip(keys, [*keys[1:], None], strict=True):
        empty: Any = [] if following is not None and following.isdecimal() else {}
        if isinstance(at, list):
            at.extend({} for _ in range(int(key) + 1 - len(at)))
            at[int(key)] = value if following is None else (at[int(key)] or empty)
            at = at[int(key)]
        else:
            at[key] = value if following is None else at.get(key, empty)
            at = at[key]
    return document


def _raw(measurement: str, spec: dict[str, Any], unix_s: float) -> float:
    into = conversion(measurement, spec.get("unit"))
    value = (plausible(measurement, unix_s) - into.addend) / into.factor
    return float((value - spec.get("offset", 0.0)) / spec.get("scale", 1.0))


def _time(spec: dict[str, Any], unix_s: float) -> Any:
    how = spec.get("format", "iso")
    if how == "iso":
        return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="seconds")
    return int(unix_s * (1000 if how == "unix_ms" else 1))


def document(options: dict[str, Any], unix_s: float) -> Any:
    """Make a document that holds what a configuration points to."""
    made: Any = {}
    values, when = options.get("values", {}), options.get("time")

    def row(into: Any, at_s: float) -> Any:
        for name, spec in values.items():
            shown = "simulated" if spec.get("text") else _raw(name, spec, at_s)
            into = _put(into, spec["pointer"], shown)
        return _put(into, when["pointer"], _time(when, at_s)) if when else into

    if options.get("rows") is not None:
        made = _put(made, options["rows"], [row({}, unix_s)])
    elif options.get("columns") and when:
        for name, spec in values.items():
            made = _put(made, spec["pointer"], [_raw(name, spec, unix_s)])
        made = _put(made, when["pointer"], [_time(when, unix_s)])
    else:
        made = row(made, unix_s)
    hour_s = unix_s // 3600 * 3600
    for name, spec in options.get("forecast", {}).items():
        hours = [hour_s + 3600 * h for h in range(1, spec.get("hours", 72) + 1)]
        base = "outdoor_c" if name.startswith("outdoor") else name
        made = _put(made, spec["pointer"], [_raw(base, spec, at_s) for at_s in hours])
        made = _put(made, spec["time"]["pointer"], [_time(spec["time"], at_s) for at_s in hours])
    return made


def start(devices: Sequence[DeviceConfig]) -> Service:
    """Play the service of one address, for all devices that read it."""

    def answer(_: str) -> tuple[int, bytes]:
        made: dict[str, Any] = {}
        for device in devices:
            made |= document(device.options, time.time())
        return 200, json.dumps(made).encode()

    return Service(answer, devices[0].options["url"])
