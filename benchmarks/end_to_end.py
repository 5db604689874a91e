"""Messages/s of the whole server: ``python -m benchmarks.end_to_end``.

Starts Mosquitto and `hearthline up` (journal, all operators, DuckDB, board) as
processes of their own and loads them as `benchmarks.ingest_load` does: from
the first packet to the last acknowledgement to a device. Then waits until the
last reading is in the store.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.ingest_load import measure, site_texts
from benchmarks.machine import machine
from tests.support.mosquitto import Mosquitto

GOAL = 10_000


def stored(data_dir: Path) -> int:
    """Messages that the running server counts as stored."""
    said = subprocess.run(
        [sys.executable, "-m", "hearthline", "status", "--data-dir", data_dir, "--json"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    return int(json.loads(said.stdout)["rows"].get("reading", 0)) if said.returncode == 0 else -1


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--messages", type=int, default=200_000)
    arguments.add_argument("--devices", type=int, default=3_000)
    given = arguments.parse_args()
    print(f"machine: {machine()}")
    extra = "max_inflight_messages 10000\nset_tcp_nodelay true"
    with Mosquitto(extra) as broker, tempfile.TemporaryDirectory() as name:
        site, data_dir = Path(name) / "site", Path(name) / "data"
        site.mkdir()
        for file, text in site_texts(given.devices).items():
            (site / file).write_text(text)
        server = subprocess.Popen(
            [
                sys.executable, "-m", "hearthline", "up", "--site", site, "--data-dir", data_dir,
                "--mqtt", broker.url, "--port", "0",
            ],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            while stored(data_dir) < 0:
                time.sleep(0.3)
            time.sleep(2)
            seconds = measure("127.0.0.1", broker.port, given.messages, given.devices, 0.0, 600)
            began = time.perf_counter()
            while stored(data_dir) < given.messages and time.perf_counter() - began < 300:
                time.sleep(0.3)
            behind = time.perf_counter() - began
        finally:
            server.terminate()
            server.wait(60)
    rate = given.messages / seconds
    print(
        f"end to end: {given.messages:,} messages of 18 values, {given.devices} devices, acknowledged in "
        f"{seconds:.1f} s = {rate:,.0f} messages/s (goal {GOAL:,}); readable {behind:.1f} s later"
    )


if __name__ == "__main__":
    main()
