"""A stub that speaks so much of Grafana's interface as folders and dashboards need; no registry has Grafana.

Status codes and bodies are those of Grafana 11's documentation of its HTTP interface.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "a-token-of-an-editor"
VIEWER = "a-token-of-a-viewer"


class GrafanaStub(ThreadingHTTPServer):
    """One organization under a sub-path; the object shows what was kept and every write."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/grafana"
        self.folders: dict[str, dict[str, Any]] = {}
        self.dashboards: dict[str, dict[str, Any]] = {}
        self.writes: list[str] = []
        self.refuse_after: tuple[int, int, Any] | None = None
        """Writes that are taken, then the status and body of those that are not."""
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: GrafanaStub
    protocol_version = "HTTP/1.1"

    def _handle(self) -> None:
        stub = self.server
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        path = self.path.removeprefix("/grafana/api/")
        writing = self.command != "GET"
        if path == self.path:
            self._answer(404, "404 page not found")
        elif token not in (TOKEN, VIEWER):
            self._answer(401, {"message": "Invalid API key", "messageId": "api-key.invalid"})
        elif writing and token == VIEWER:
            self._answer(403, {"message": "You'll need additional permissions to perform this action."})
        elif writing and stub.refuse_after is not None and len(stub.writes) >= stub.refuse_after[0]:
            self._answer(*stub.refuse_after[1:])
        else:
            if writing:
                stub.writes.append(f"{self.command} {path}")
            kind, _, rest = path.partition("/")
            getattr(self, f"_{kind}")(rest, body)

    do_GET = do_POST = do_PUT = _handle  # noqa: N815  the names that http.server looks for

    def _folders(self, uid: str, body: Any) -> None:
        folders = self.server.folders
        if self.command == "POST":
            if body["title"] in {f["title"] for f in folders.values()}:
                self._answer(
                    409, {"message": "a folder with the same name already exists in the current location"}
                )
                return
            folders[body["uid"]] = {"uid": body["uid"], "title": body["title"], "version": 1}
            self._answer(200, folders[body["uid"]])
        elif uid not in folders:
            self._answer(404, {"message": "folder not found", "status": "not-found"})
        elif self.command == "PUT" and body.get("version") != folders[uid]["version"]:
            self._answer(412, {"message": "the folder has been changed by someone else"})
        else:
            if self.command == "PUT":
                folders[uid] |= {"title": body["title"], "version": body["version"] + 1}
            self._answer(200, folders[uid])

    def _dashboards(self, rest: str, body: Any) -> None:
        kept = self.server.dashboards
        if self.command == "GET":
            uid = rest.removeprefix("uid/")
            if uid in kept:
                self._answer(200, kept[uid])
            else:
                self._answer(404, {"message": "Dashboard not found"})
            return
        given = body["dashboard"]
        before = kept.get(given["uid"])
        version = before["dashboard"]["version"] if before else 0
        if len(given["uid"]) > 40:
            self._answer(400, {"message": "uid too long, max 40 characters"})
        elif body["folderUid"] not in self.server.folders:
            self._answer(400, {"message": "folder not found"})
        elif before and given.get("version") != version and not body.get("overwrite"):
            message = "The dashboard has been changed by someone else"
            self._answer(412, {"message": message, "status": "version-mismatch"})
        else:
            own = {"id": before["dashboard"]["id"] if before else len(kept) + 1, "version": version + 1}
            kept[given["uid"]] = {"dashboard": {**given, **own}, "meta": {"folderUid": body["folderUid"]}}
            self._answer(200, {"status": "success", "uid": given["uid"], **own})

    def _answer(self, status: int, body: Any) -> None:
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass
