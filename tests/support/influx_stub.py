"""A stub of InfluxDB 2: keeps points, fails as told, answers any query with all rows of its measurement."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "canary-token"


def split(text: str, mark: str, *, quotes: bool = True) -> list[str]:
    """Split at `mark` where it is neither escaped nor inside a string; tags know no strings."""
    parts, part, quoted, place = [], "", False, 0
    while place < len(text):
        c = text[place]
        if c == "\\" and place + 1 < len(text):
            part += text[place : place + 2]
            place += 2
            continue
        if quotes and c == '"':
            quoted = not quoted
        if c == mark and not quoted:
            parts.append(part)
            part = ""
        else:
            part += c
        place += 1
    return [*parts, part]


def untagged(text: str) -> str:
    for mark in ", =":
        text = text.replace("\\" + mark, mark)
    return text


def parse(line: str) -> tuple[str, dict[str, str], dict[str, Any], int]:
    """Measurement, tags, fields and time of a line."""
    head = split(line, " ", quotes=False)[0]
    fields, time = split(line[len(head) + 1 :], " ")
    measurement, *tags = split(head, ",", quotes=False)
    values: dict[str, Any] = {}
    for pair in split(fields, ","):
        name = split(pair, "=")[0]
        values[untagged(name)] = _value(pair[len(name) + 1 :])
    said = {t.split("=")[0]: untagged("=".join(split(t, "=", quotes=False)[1:])) for t in tags}
    return untagged(measurement), said, values, int(time)


def _value(text: str) -> Any:
    if text.startswith('"'):
        return re.sub(r"\\([\\\"])", r"\1", text[1:-1])
    if text in ("true", "false"):
        return text == "true"
    return int(text[:-1]) if text.endswith("i") else float(text)


class InfluxStub(ThreadingHTTPServer):
    """Behaves as `script` says, one entry a write: a status with headers, "drop" or "hang"."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.points: dict[tuple[str, frozenset[tuple[str, str]], int], dict[str, Any]] = {}
        self.script: list[Any] = []
        self.poison = ""  # a body with it is refused whole with `poison_status`
        self.poison_status = 400
        self.most_lines = 10**9
        self.requests: list[int] = []  # lines of each write that was answered well
        self.tries = 0
        self.queries: list[str] = []
        self.query_status = 200
        self.may_write = True  # whether the token has that right
        self.hanging = threading.Event()
        self.mutex = threading.Lock()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def take(self, body: str) -> None:
        lines = _lines(body)
        with self.mutex:
            self.requests.append(len(lines))
            for line in lines:
                measurement, tags, fields, time = parse(line)
                self.points.setdefault((measurement, frozenset(tags.items()), time), {}).update(fields)

    def contents(self) -> dict[Any, dict[str, Any]]:
        """Points as a reader sees them: without the fields that `absent` names."""
        seen = {}
        for name, fields in self.points.items():
            gone = {*str(fields.get("absent", "")).strip(",").split(","), "absent"}
            seen[name] = {k: v for k, v in fields.items() if k not in gone}
        return seen

    def close(self) -> None:
        self.hanging.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: Any) -> None:
        """A client that went away is what some tests want."""


def _lines(body: str) -> list[str]:
    return [line for line in split(body, "\n") if line]


class _Handler(BaseHTTPRequestHandler):
    server: InfluxStub
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        stub, parts = self.server, urlsplit(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.headers["Authorization"] != f"Token {TOKEN}":
            self.answer(401, '{"code":"unauthorized","message":"unauthorized access"}')
        elif parts.path == "/api/v2/query":
            self.query(body)
        elif not stub.may_write:
            self.answer(403, '{"code":"forbidden","message":"insufficient permissions for write"}')
        elif parse_qs(parts.query) != {"org": ["o"], "bucket": ["b"], "precision": ["ms"]}:
            self.answer(404, '{"code":"not found","message":"bucket not found"}')
        else:
            stub.tries += 1
            self.write(body)

    def write(self, body: str) -> None:
        stub = self.server
        todo = stub.script.pop(0) if stub.script else None
        if todo == "drop":  # stored, but the reply is lost
            stub.take(body)
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(2)
        elif todo == "hang":
            stub.hanging.wait(30)
            self.close_connection = True
        elif todo is not None:
            self.answer(todo[0], '{"code":"busy","message":"told to fail"}', todo[1])
        elif stub.poison and stub.poison in body:
            self.answer(stub.poison_status, '{"code":"invalid","message":"unable to parse: poison"}')
        elif len(_lines(body)) > stub.most_lines:
            self.answer(413, '{"code":"request too large","message":"too many lines"}')
        else:
            stub.take(body)
            self.answer(204, "")

    def query(self, body: str) -> None:
        import json

        stub, text = self.server, json.loads(body)["query"]
        stub.queries.append(text)
        if stub.query_status != 200:
            self.answer(stub.query_status, '{"code":"invalid","message":"no such thing"}')
            return
        found = re.search(r'r\._measurement == "([^"]*)"', text)
        rows = []
        for (measurement, tags, time), fields in stub.points.items():
            if found and measurement == found.group(1):
                rows.append({"_time": _rfc3339(time), **dict(tags), **fields})
        self.answer(200, _annotated(rows), {"Content-Type": "text/csv"})

    def answer(self, status: int, body: str, headers: dict[str, str] | None = None) -> None:
        data = body.encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if status != 204:
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def _rfc3339(time_ms: int) -> str:
    from store.params import time_text

    return time_text(time_ms)


def _annotated(rows: list[dict[str, Any]]) -> str:
    names = dict.fromkeys(name for row in rows for name in row)
    kinds = {str: "string", float: "double", int: "long", bool: "boolean"}
    first = {n: next(kinds[type(r[n])] for r in rows if n in r) for n in names}
    first = {n: "dateTime:RFC3339" if n == "_time" else k for n, k in first.items()}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(["#datatype", "string", "long", *first.values()])
    writer.writerow(["", "result", "table", *names])
    for row in rows:
        values = [_cell(row.get(n, "")) for n in names]
        writer.writerow(["", "_result", 0, *values])
    return out.getvalue() + "\r\n"


def _cell(value: Any) -> Any:
    """As Go's CSV writer puts it: no CR of the text's own, every line break as CR LF."""
    if isinstance(value, str):
        return value.replace("\r", "").replace("\n", "\r\n")
    return str(value).lower() if isinstance(value, bool) else value
