"""The board under load: first paint, history, and many open pages: ``python -m benchmarks.board``.

Pages are opened as browsers open them: the page is fetched, its socket connected and its live element made
ready. The server is a process of its own with a seeded day in DuckDB, to which a reading a second is added.
What it holds in memory is told beside a control: a server with the same past, at which nobody looks.
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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import aiohttp
import numpy as np
import psutil
import socketio

from benchmarks.machine import machine

SERIES = "series.duckdb"
MARK = "#panel-heat_output .hl-value b"
DAY_MS = 86_400_000
LEFT_S = 60.0
"""From the last page's leaving until memory is read: a page that does not come back is forgotten after 30 s,
what it took is let go of after 40."""
SETTLED_MS = 1500
"""From a new window until Chromium has done its own share of it: its address bar is a page that takes as much
of the processor as one of the board, and nobody opens a window for every page."""


class Drawn(NamedTuple):
    """A panel that is drawn, on a page of its own kind, over some days, and the goal. [ms]"""

    panel: str
    days: int
    goal: int
    page: str = "/"
    device: str = ""


PANELS = {
    "a week of 15-minute values": Drawn("heat_windows", 7, 300),
    "a day of raw readings": Drawn("plant_temperatures", 1, 300),
    "a day of raw readings of a substation": Drawn("primary", 1, 300, "/substation/{}", "sub-{:02d}"),
    "a year": Drawn("heat_windows", 366, 1000),
}


def seed(folder: Path, days: int) -> None:
    """Some days of windows of a plant and thirty substations, and a day of their readings."""
    from models.results import Outputs
    from store.duckdb_series import DuckdbSeries
    from tests.support.board_data import NOW_MS, WINDOW_MS, Day, make_site

    day = Day(DuckdbSeries(folder / SERIES), make_site())
    day.write_readings(step_ms=60_000 if days == 1 else 10_000)
    day.write_ledger()
    last = NOW_MS // WINDOW_MS * WINDOW_MS
    starts = np.arange(last - days * DAY_MS, last + 1, WINDOW_MS, dtype=np.int64)
    for number, device in enumerate(
        d for d in day.site.devices.values() if d.qp_m3_h or d.device == "plant-1"
    ):
        out = Outputs("donghe", 1_000 + number)
        out.add("device_heat", day.heat_table(device, starts, unknown=False))
        day.store.write([out])
    day.store.close()


def _said(pattern: str, page: str) -> str:
    """What a page's script has at a place."""
    found = re.search(pattern, page, re.DOTALL)
    assert found is not None, f"expected {pattern} in the page"
    return found[1]


class _AsDelivered:
    """Finds no pandas: only tests' networks come with it, and pyarrow loads it where it can (30 MB)."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "pandas":
            raise ImportError(name)


def serve(folder: Path) -> None:
    """Serve what was seeded until killed; the plant's newest heat tells when it was written."""
    sys.meta_path.insert(0, _AsDelivered())
    from dashboards.board import create_app
    from dashboards.serve import BoardServer
    from store.duckdb_series import DuckdbSeries
    from tests.support.board_data import NOW_MS, Day, make_site, status

    day = Day(DuckdbSeries(folder / SERIES), make_site())
    day.offset = 10_000
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
        query = ast.literal_eval(_said(r"query:\s*(\{[^}]*\})", text))  # written as Python writes it
        elements = json.loads(_said(r"parseElements\(String\.raw`(.*?)`\)", text))
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


class Memory:
    """What processes hold, by name: at the beginning, at most so far, now; and what of it is their own. [MB]

    The rest are pages of libraries' files that the system has mapped, for the same server 50 MB more or fewer
    of them, as these files happen to lie in its cache.
    """

    def __init__(self, **processes: psutil.Process) -> None:
        self._processes = processes
        self._before = self._now()
        self._most = dict(self._before)

    def look(self) -> None:
        """Look at them now."""
        self._most = {
            name: (max(now[0], self._most[name][0]), max(now[1], self._most[name][1]))
            for name, now in self._now().items()
        }

    def told(self) -> dict[str, dict[str, int]]:
        """Before, at most and after, which is now, for each."""
        seen = {"before": self._before, "most": self._most, "after": self._now()}
        return {
            name: {
                f"{when}{part}_mb": found[name][at]
                for at, part in enumerate(("", "_own"))
                for when, found in seen.items()
            }
            for name in self._processes
        }

    def _now(self) -> dict[str, tuple[int, int]]:
        found = {}
        for name, process in self._processes.items():
            info = process.memory_info()
            found[name] = round(info.rss / 1e6), round((info.rss - info.shared) / 1e6)
        return found


async def crowd(
    url: str, began: float, process: psutil.Process, control: psutil.Process, count: int, seconds: float
) -> dict[str, Any]:
    """Open `count` pages for `seconds`; nobody looks at `control`."""
    late: list[float] = []
    await asyncio.sleep(LEFT_S)  # the pages that were painted have left both
    memory = Memory(server=process, control=control)
    async with aiohttp.ClientSession() as session:
        viewers = [Viewer(url, began, late) for _ in range(count)]
        for viewer in viewers:
            await viewer.open(session)
        await asyncio.sleep(5)
        for viewer in viewers:
            viewer.counting = True
        cpu, at = sum(process.cpu_times()[:2]), time.monotonic()
        while time.monotonic() - at < seconds:
            await asyncio.sleep(1)
            memory.look()
        used = (sum(process.cpu_times()[:2]) - cpu) / (time.monotonic() - at)
        silent = sum(1 for v in viewers if not v.messages)
        await asyncio.gather(*(v.sio.disconnect() for v in viewers))
    await asyncio.sleep(LEFT_S)
    late.sort()
    return {
        "pages": count, "seconds": seconds, "silent_pages": silent, "updates": len(late),
        "cores": round(used, 3),
        "p50_s": round(statistics.median(late), 2), "p95_s": round(late[int(0.95 * len(late))], 2),
        **memory.told(),
    }  # fmt: skip


def paints(url: str, times: int = 5) -> list[float]:
    """Seconds from asking for Overview until it shows a figure, in a new browser context each time."""
    from tests.support.chromium import chromium

    found = []
    with chromium() as browser:
        for _ in range(times):
            context = browser.new_context(viewport={"width": 1920, "height": 1080})
            page = context.new_page()
            page.wait_for_timeout(SETTLED_MS)
            page.goto(url + "/?lang=en", wait_until="commit")
            page.wait_for_selector(MARK)
            found.append(page.evaluate("performance.now()") / 1000)
            context.close()
    return sorted(found)


def drawings(url: str, times: int = 3) -> dict[str, list[tuple[int, int, int]]]:
    """Milliseconds until history stands, of a range that somebody chooses on a page, and of an opened page.

    A page is opened with the range, which is told from the page's beginning and from asking; then one with
    six hours, on which the range is chosen.
    """
    from tests.support.chromium import chromium

    found: dict[str, list[tuple[int, int, int]]] = {}
    with chromium() as browser:
        for what, (panel, days, _, path, device) in PANELS.items():
            for i in range(times):
                address = f"{url}{path.format(device.format(i))}?lang=en&hours="
                page = browser.new_page(viewport={"width": 1920, "height": 1080})
                page.wait_for_timeout(SETTLED_MS)
                page.goto(f"{address}{24 * days}")
                began, took = _drawn(page, panel, 0.0)
                page.goto(f"{address}6")
                _drawn(page, panel, 0.0)
                page.wait_for_timeout(SETTLED_MS)
                at = page.evaluate(CHOOSE, str(24 * days))
                since, chosen = _drawn(page, panel, at)
                found.setdefault(what, []).append(
                    (round(since + chosen - at), round(began + took), round(took))
                )
                page.close()
    return found


CHOOSE = """hours => {
  const choice = document.querySelector("select[data-range=choose]");
  const at = performance.now();
  choice.value = hours;
  choice.dispatchEvent(new Event("change"));
  return at;
}"""
DRAWN = """([n, at]) => performance.getEntriesByName(n).filter(e => e.startTime >= at)
  .map(e => [e.startTime, e.duration])[0]"""


def _drawn(page: Any, panel: str, since: float) -> tuple[float, float]:
    """When a panel's history was asked for, and how long it took until it stood. [ms]"""
    end = time.monotonic() + 120
    while (found := page.evaluate(DRAWN, [f"hl-drawn-{panel}", since])) is None:
        assert time.monotonic() < end, f"{panel} was not drawn"
        page.wait_for_timeout(20)
    began, took = found
    return began, took


def histories(url: str, times: int = 3) -> dict[str, list[float]]:
    """Milliseconds of `times` first answers each, no two for the same question."""
    found: dict[str, list[float]] = {}
    now_ms = json.loads(
        urlopen(url + "/api/query?measurement=reading&key=plant-1&newest_first=1&limit=1").read()
    )
    end = now_ms[0]["window_start"]
    for what, (panel, days, _, _, device) in PANELS.items():
        for i in range(times):
            asked = f"device={device.format(i)}&from={end - days * 86_400_000 + i}&to={end + i}&points=360"
            path = f"/api/panels/{panel}/history?{asked}"
            at = time.perf_counter()
            urlopen(url + path).read()
            found.setdefault(what, []).append(round(1000 * (time.perf_counter() - at)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.board", description=__doc__)
    parser.add_argument("--seed", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--days", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--pages", type=int, default=200, help="open pages; 0 leaves them out")
    parser.add_argument("--times", type=int, default=5, help="paints and drawings of each kind")
    parser.add_argument("--seconds", type=float, default=300.0, help="for how long they stay open")
    parser.add_argument(
        "--crowds", type=int, default=1, help="how often so many come, one crowd after another"
    )
    asked = parser.parse_args()
    if asked.seed or asked.serve:
        seed(asked.seed, asked.days) if asked.seed else serve(asked.serve)
        return
    with served(days=1) as (url, began, process):
        print(machine(), flush=True)
        print("first paint of Overview [s]:", [round(x, 2) for x in paints(url, asked.times)], flush=True)
        if asked.pages:
            with served(days=1) as (control_url, _, control):
                paints(control_url, asked.times)
                for _ in range(asked.crowds):
                    told = asyncio.run(crowd(url, began, process, control, asked.pages, asked.seconds))
                    print(json.dumps(told), flush=True)
    with served(days=366) as (url, _, process):
        print(machine(), flush=True)
        print("history [ms]:", histories(url), flush=True)
        for what, took in drawings(url, asked.times).items():
            chosen, opened, asked_for = (sorted(each) for each in zip(*took, strict=True))
            print(
                f"{what} drawn [ms]: chosen {chosen}, median {statistics.median(chosen):.0f}, goal"
                f" {PANELS[what].goal}; opened {opened}, of which from asking {asked_for}",
                flush=True,
            )
        print(f"server with a year: {process.memory_info().rss / 1e6:.0f} MB", flush=True)
        print(machine())


@contextmanager
def served(days: int) -> Iterator[tuple[str, float, psutil.Process]]:
    """URL, start and process of a server of its own with `days` of windows."""
    command = [sys.executable, "-m", "benchmarks.board"]
    with tempfile.TemporaryDirectory() as folder:
        # In another process, so that what seeding takes is not the server's memory.
        subprocess.run([*command, "--seed", folder, "--days", str(days)], check=True)
        child = subprocess.Popen([*command, "--serve", folder], stdout=subprocess.PIPE, text=True)
        try:
            assert child.stdout is not None
            url, began = child.stdout.readline().split()
            yield url, float(began), psutil.Process(child.pid)
        finally:
            child.kill()
            child.wait(10)


if __name__ == "__main__":
    main()
