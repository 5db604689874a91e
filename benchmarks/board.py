"""The board under load: first paint, history, and many open pages: ``python -m benchmarks.board``.

Pages are opened as browsers open them: the page is fetched, its socket connected and its live element made
ready. The server is a process of its own with a seeded day in DuckDB, to which a reading a second is added.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import json
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import aiohttp
import psutil
import socketio

from benchmarks.machine import machine

MARK = "#panel-heat_output .hl-value b"
PANELS = {
    "a week of 15-minute values": ("heat_windows", 7),
    "a day of raw readings": ("plant_temperatures", 1),
    "a year": ("heat_windows", 365),
}


def serve(folder: Path) -> None:
    """Serve a seeded day until killed; the plant's newest heat tells when it was written."""
    from dashboards.board import create_app
    from dashboards.serve import BoardServer
    from tests.support.board_data import NOW_MS, seeded, status

    day = seeded(folder)
    began = time.time()

    def now_ms() -> int:
        return NOW_MS + round(1000 * (time.time() - began))

    def write() -> None:
        while True:
            day.write_now("plant-1", now_ms(), heat_kw=time.time() - began)
            time.sleep(1.0)

    server = BoardServer(create_app(day.store, day.site, now_ms, status), port=0)
    server.start()
    threading.Thread(target=write, daemon=True).start()
    print(server.url, began, flush=True)
    signal.pause()


class Viewer:
    """One open Overview, without the drawing."""

    def __init__(self, url: str, began: float, late: list[float]) -> None:
        self.url, self.began, self.late = url, began, late
        self.sio = socketio.AsyncClient(reconnection=False)
        self.counting = False
        self.messages = 0

    async def open(self, session: aiohttp.ClientSession) -> None:
        """Fetch the page, connect its socket and say that it is ready."""
        async with session.get(self.url + "/?lang=en") as answer:
            text = await answer.text()
        query = ast.literal_eval(re.search(r"query:\s*(\{[^}]*\})", text)[1])  # written as Python writes it
        elements = json.loads(re.search(r"parseElements\(String\.raw`(.*?)`\)", text, re.DOTALL)[1])
        number, element = next((i, e) for i, e in elements.items() if "config" in e.get("props", {}))
        ready = next(e["listener_id"] for e in element["events"] if e["type"] == "ready")
        self.sio.on("hearthline", self._take)
        params = "&".join(f"{k}={v}" for k, v in query.items())
        await self.sio.connect(
            f"{self.url}?{params}", socketio_path="/_nicegui_ws/socket.io", transports=["websocket"]
        )
        told = {**query, "tab_id": "t", "old_tab_id": None, "document_id": "d"}
        await self.sio.call("handshake", told, timeout=30)
        await self.sio.emit(
            "event",
            {"id": int(number), "client_id": query["client_id"], "listener_id": ready, "args": ["true"]},
        )

    def _take(self, message: dict[str, Any]) -> None:
        self.messages += 1
        rows = message.get("set", {}).get("plant", {})
        written = rows.get("plant-1", {}).get("heat_kw")
        if self.counting and written is not None:
            self.late.append(time.time() - self.began - written)


async def crowd(
    url: str, began: float, process: psutil.Process, count: int, seconds: float
) -> dict[str, Any]:
    """Open `count` pages for `seconds`."""
    late: list[float] = []
    before_mb = process.memory_info().rss / 1e6
    async with aiohttp.ClientSession() as session:
        viewers = [Viewer(url, began, late) for _ in range(count)]
        for viewer in viewers:
            await viewer.open(session)
        await asyncio.sleep(5)
        for viewer in viewers:
            viewer.counting = True
        cpu, at, peak = sum(process.cpu_times()[:2]), time.monotonic(), 0.0
        while time.monotonic() - at < seconds:
            await asyncio.sleep(1)
            peak = max(peak, process.memory_info().rss / 1e6)
        used = (sum(process.cpu_times()[:2]) - cpu) / (time.monotonic() - at)
        silent = sum(1 for v in viewers if not v.messages)
        await asyncio.gather(*(v.sio.disconnect() for v in viewers))
    await asyncio.sleep(45)  # a page that does not come back is forgotten after 30 s
    late.sort()
    return {
        "pages": count, "seconds": seconds, "silent_pages": silent, "updates": len(late),
        "cores": round(used, 3),
        "p50_s": round(statistics.median(late), 2), "p95_s": round(late[int(0.95 * len(late))], 2),
        "before_mb": round(before_mb), "peak_mb": round(peak),
        "after_mb": round(process.memory_info().rss / 1e6),
    }  # fmt: skip


def paints(url: str, times: int = 5) -> list[float]:
    """Seconds from asking for Overview until it shows a figure, in a new browser context each time."""
    from tests.support.chromium import chromium

    found = []
    with chromium() as browser:
        for _ in range(times):
            context = browser.new_context(viewport={"width": 1920, "height": 1080})
            page = context.new_page()
            page.goto(url + "/?lang=en", wait_until="commit")
            page.wait_for_selector(MARK)
            found.append(page.evaluate("performance.now()") / 1000)
            context.close()
    return sorted(found)


def histories(url: str) -> dict[str, list[float]]:
    """Milliseconds of three first answers each, no two for the same question."""
    found: dict[str, list[float]] = {}
    now_ms = json.loads(
        urlopen(url + "/api/query?measurement=reading&key=plant-1&newest_first=1&limit=1").read()
    )
    end = now_ms[0]["window_start"]
    for what, (panel, days) in PANELS.items():
        for i in range(3):
            path = f"/api/panels/{panel}/history?from={end - days * 86_400_000 + i}&to={end + i}&points=360"
            at = time.perf_counter()
            urlopen(url + path).read()
            found.setdefault(what, []).append(round(1000 * (time.perf_counter() - at)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.board")
    parser.add_argument("--serve", type=Path)
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=300.0)
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.serve)
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.board", "--serve", folder]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            url, began = child.stdout.readline().split()
            print(machine(), flush=True)
            print("first paint of Overview [s]:", [round(x, 2) for x in paints(url)], flush=True)
            print("history [ms]:", histories(url), flush=True)
            told = asyncio.run(
                crowd(url, float(began), psutil.Process(child.pid), asked.pages, asked.seconds)
            )
            print(json.dumps(told), flush=True)
            print(machine())
        finally:
            child.kill()
            child.wait(10)


if __name__ == "__main__":
    main()
