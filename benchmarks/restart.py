"""Seconds until a killed server is ready again with an hour of open work: ``python -m benchmarks restart``.

3,000 substations at 10 s and windows that stay open for an hour after their
end: 1.08 million samples that no final result holds yet. The server's stages
are fed with them, keep a checkpoint, take the 30 s that a checkpoint may be
old, and are killed. Then `hearthline up` starts on what they left: ready is
when the board answers, every part says that it is well, and the last reading is there.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.figures import Figure
from benchmarks.load import cpu_s, site_texts
from benchmarks.machine import machine
from benchmarks.running import mosquitto, started
from benchmarks.stages import INTERVAL_MS, Stages, messages

__all__ = ["figures"]

GOAL_S: Final = 10.0
DEVICES: Final = 3_000
STEPS: Final = 360
SINCE_CHECKPOINT: Final = 3
LATENESS_S: Final = 3_600


def feed_and_die(data_dir: Path, devices: int) -> None:
    """Leave an hour of open work behind, as a kill does."""
    start_ms = int(time.time() * 1000) - STEPS * INTERVAL_MS
    stages = Stages(data_dir, devices, LATENESS_S)
    for step, batch in enumerate(messages(devices, range(STEPS), start_ms)):
        if step == STEPS - SINCE_CHECKPOINT:
            while stages.runtime.pass_once(stages.stopping):
                pass
            stages.runtime.save()
        stages.ingest.submit(batch)
        if step % 10 == 9:
            stages.runtime.pass_once(stages.stopping)
    while stages.runtime.pass_once(stages.stopping):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


def measure(devices: int = DEVICES) -> tuple[float, float, float]:
    """Seconds until ready, of those until the board answered, and CPU seconds until ready."""
    with mosquitto() as broker, tempfile.TemporaryDirectory() as name:
        site, data_dir = Path(name) / "site", Path(name) / "data"
        for directory in (site, data_dir):
            directory.mkdir()
        for file, content in site_texts(devices, LATENESS_S).items():
            (site / file).write_text(content)
        words = ["-m", "benchmarks.restart", "--feed", str(data_dir), "--devices", str(devices)]
        died = subprocess.run([sys.executable, *words], check=False)
        if died.returncode != -signal.SIGKILL:
            raise SystemExit(f"expected the feeder to be killed, it ended with {died.returncode}")
        began = time.perf_counter()
        server = started(site, data_dir, "--mqtt", broker.url, "--clock", "data")
        answered_s = time.perf_counter() - began
        try:
            while True:
                status = server.get("/api/status")
                well = all(part["state"] == "ok" for part in status["components"])
                if well and status["rows"].get("reading", 0) == devices * STEPS:
                    return time.perf_counter() - began, answered_s, cpu_s(server.process.pid)
                if time.perf_counter() - began > 300:
                    raise SystemExit(f"expected a server that is well, got {json.dumps(status)[:2000]}")
                time.sleep(0.05)
        finally:
            server.process.terminate()
            server.process.wait(60)


def figures() -> list[Figure]:
    """What the table shows."""
    ready_s, _, cpu = measure()
    return [
        Figure("restart with an hour of open work", ready_s, "s", GOAL_S),
        Figure("CPU seconds of that", cpu, "s"),
    ]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--devices", type=int, default=DEVICES)
    arguments.add_argument("--feed", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.feed:
        feed_and_die(given.feed, given.devices)
    print(f"machine: {machine()}")
    ready_s, answered_s, cpu = measure(given.devices)
    print(
        f"restart: {given.devices * STEPS:,} open samples of {given.devices:,} devices: board answers after "
        f"{answered_s:.1f} s, ready after {ready_s:.1f} s (goal {GOAL_S:.0f}), of which {cpu:.1f} s of CPU"
    )


if __name__ == "__main__":
    main()
