"""A stub that speaks so much of InfluxDB 2's interface as makes buckets, tasks and tokens.

The real influxd that tests can have is 1.8, which has none of them. Status codes and bodies are those that
the documentation of 2.7 gives; rights are looked up by token, as a server would.
"""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

ADMIN = "an-operator-token-of-the-stub"
WEAK = "a-token-that-may-only-look"
ORG = {"id": "0000000000000001", "name": "hearthline"}


class InfluxAdminStub(ThreadingHTTPServer):
    """One organization; the object shows what was made."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.buckets: dict[str, dict[str, Any]] = {}
        self.tasks: dict[str, dict[str, Any]] = {}
        self.authorizations: list[dict[str, Any]] = []
        self.writes: list[str] = []
        self.fail: int | None = None
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()

    def rights(self, token: str) -> list[tuple[str, str]]:
        """What a token that was made may do: (action, bucket)."""
        names = {b["id"]: b["name"] for b in self.buckets.values()}
        (found,) = [a for a in self.authorizations if a["token"] == token]
        return sorted((p["action"], names[p["resource"]["id"]]) for p in found["permissions"])


class _Handler(BaseHTTPRequestHandler):
    server: InfluxAdminStub
    protocol_version = "HTTP/1.1"

    def _handle(self) -> None:
        stub, parts = self.server, urlsplit(self.path)
        asked = {k: v[0] for k, v in parse_qs(parts.query).items()}
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        token = self.headers["Authorization"].removeprefix("Token ")
        if stub.fail is not None:
            self._answer(stub.fail, {"code": "unavailable", "message": "told to fail"})
        elif token not in (ADMIN, WEAK):
            self._answer(401, {"code": "unauthorized", "message": "unauthorized access"})
        elif asked.get("org", ORG["name"]) != ORG["name"]:
            self._answer(
                404, {"code": "not found", "message": f'organization name "{asked["org"]}" not found'}
            )
        elif self.command != "GET" and token == WEAK:
            self._answer(403, {"code": "forbidden", "message": "insufficient permissions for write"})
        else:
            if self.command != "GET":
                stub.writes.append(f"{self.command} {parts.path}")
            kind, _, name = parts.path.removeprefix("/api/v2/").partition("/")
            getattr(self, f"_{kind}")(name, asked, body)

    do_GET = do_POST = do_PATCH = _handle  # noqa: N815  the names that http.server looks for

    def _orgs(self, _name: str, _asked: dict[str, str], _body: Any) -> None:
        self._answer(200, {"orgs": [ORG]})

    def _buckets(self, name: str, asked: dict[str, str], body: Any) -> None:
        buckets = self.server.buckets
        if self.command == "GET":
            found = [b for b in buckets.values() if asked.get("name", b["name"]) == b["name"]]
            self._answer(200, {"buckets": found})
        elif self.command == "PATCH":
            bucket = next(b for b in buckets.values() if b["id"] == name)
            bucket["retentionRules"] = _rules(body)
            self._answer(200, bucket)
        elif body["name"] in buckets:
            self._answer(
                422, {"code": "conflict", "message": f"bucket with name {body['name']} already exists"}
            )
        else:
            made = {"id": f"{len(buckets) + 16:016x}", "name": body["name"], "orgID": body["orgID"]}
            buckets[body["name"]] = {**made, "type": "user", "retentionRules": _rules(body)}
            self._answer(201, buckets[body["name"]])

    def _tasks(self, name: str, asked: dict[str, str], body: Any) -> None:
        tasks = self.server.tasks
        if self.command == "GET":
            self._answer(
                200, {"tasks": [t for t in tasks.values() if asked.get("name", t["name"]) == t["name"]]}
            )
            return
        options = re.search(r'option task = \{name: "([^"]+)", every: (\w+), offset: (\w+)\}', body["flux"])
        if not options or "|> to(bucket:" not in body["flux"]:
            self._answer(400, {"code": "invalid", "message": "missing required option: task"})
            return
        identity = name or f"{len(tasks) + 256:016x}"
        tasks[identity] = {
            "id": identity, "orgID": ORG["id"], "name": options[1], "every": options[2], "offset": options[3],
            "flux": body["flux"], "status": body.get("status", "active"),
        }  # fmt: skip
        self._answer(200 if name else 201, tasks[identity])

    def _authorizations(self, _name: str, _asked: dict[str, str], body: Any) -> None:
        made = {**body, "id": f"{len(self.server.authorizations):016x}", "status": "active"}
        made["token"] = f"made-by-the-server-{len(self.server.authorizations)}"
        self.server.authorizations.append(made)
        self._answer(201, made)

    def _answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def _rules(body: Any) -> list[dict[str, Any]]:
    """As the server keeps them: no rule at all is for ever."""
    return [r for r in body.get("retentionRules", []) if r["everySeconds"]]
