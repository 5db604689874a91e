"""`hearthline up` on a site of many devices, as a process of its own, with a broker beside it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

from benchmarks.load import MOSQUITTO
from tests.support.mosquitto import Mosquitto

__all__ = ["Server", "mosquitto", "running", "started"]

_READY_S = 120.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs.

    Attributes
    ----------
    process : subprocess.Popen
    data_dir : Path
    url : str
        Of its board.
    """

    process: subprocess.Popen[bytes]
    data_dir: Path
    url: str

    def get(self, path: str, **query: str | list[str]) -> Any:
        """JSON that the board answers."""
        with urlopen(f"{self.url}{path}?{urlencode(query, doseq=True)}", timeout=30) as answer:
            return json.loads(answer.read())

    def readings(self) -> int:
        """How many readings can be queried."""
        return int(self.get("/api/status")["rows"].get("reading", 0))

    def wait_for_readings(self, count: int, timeout_s: float = 300.0) -> float:
        """Seconds until `count` readings can be queried."""
        began = time.perf_counter()
        while self.readings() < count:
            if time.perf_counter() - began > timeout_s:
                raise SystemExit(f"expected {count:,} readings, got {self.readings():,}")
            time.sleep(0.2)
        return time.perf_counter() - began


def started(site: Path, data_dir: Path, *flags: str) -> Server:
    """Start the command and wait until its board answers."""
    process = subprocess.Popen(
        [
            sys.executable, "-m", "hearthline", "up", "--site", site, "--data-dir", data_dir, "--port", "0",
            *flags,
        ],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    announced = data_dir / "server.json"
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            said = json.loads(announced.read_text())
            if said["pid"] == process.pid:
                server = Server(process, data_dir, said["url"])
                server.get("/api/status")
                return server
        except (OSError, ValueError, URLError):
            pass
        time.sleep(0.02)
    process.kill()
    raise SystemExit(f"expected a server that answers within {_READY_S:.0f} s")


def mosquitto() -> Mosquitto:
    """A broker that gives a subscriber as many messages as it takes."""
    return Mosquitto(MOSQUITTO)


@contextmanager
def running(texts: Mapping[str, str], broker: Mosquitto) -> Iterator[Server]:
    """A server on a site of `texts`, connected to `broker`; everything it kept is gone afterwards."""
    with tempfile.TemporaryDirectory() as name:
        site, data_dir = Path(name) / "site", Path(name) / "data"
        site.mkdir()
        for file, content in texts.items():
            (site / file).write_text(content)
        server = started(site, data_dir, "--mqtt", broker.url)
        try:
            time.sleep(2.0)  # what a start still does
            yield server
        finally:
            server.process.terminate()
            server.process.wait(60)
