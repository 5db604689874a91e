"""Memory after a million messages and after five: ``python -m benchmarks memory``.

A live load of five million messages takes minutes, so they are handed to the
server's own ingest, journal, runtime and store in one process, as fast as
those take them. Compared is the highest resident memory of the last hundred
thousand messages before each mark; beside it stands how much of it DuckDB
keeps of its tables' blocks, which grows with them until DuckDB's limit.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.figures import Figure
from benchmarks.machine import machine
from benchmarks.stages import INTERVAL_MS, Stages, messages, resident_mb
from ingest.messages import Message

__all__ = ["figures"]

GOAL: Final = 1.2
MESSAGES: Final = 5_000_000
DEVICES: Final = 1_000
_WATCHED: Final = 100_000
_TOGETHER: Final = 10  # steps in a batch: as many messages as one of a busy server


def feed(total: int, devices: int) -> dict[str, float]:
    """Resident memory at a fifth of `total` messages and at the end. [MB]"""
    steps = total // devices
    start_ms = int(time.time() * 1000) - steps * INTERVAL_MS
    found = {"fifth": 0.0, "whole": 0.0, "fifth_cache": 0.0, "whole_cache": 0.0}
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name, Stages(Path(name), devices) as stages:
        waiting: list[Message] = []
        for step, batch in enumerate(messages(devices, range(steps), start_ms), 1):
            waiting += batch
            if step % _TOGETHER and step < steps:
                continue
            stages.submit(waiting)
            waiting = []
            for mark, at in (("fifth", total // 5), ("whole", total)):
                if at - _WATCHED < step * devices <= at:
                    found[mark] = max(found[mark], resident_mb())
                    found[f"{mark}_cache"] = max(found[f"{mark}_cache"], stages.cache_mb())
        stages.catch_up()
        seconds = time.perf_counter() - began
    return {**found, "seconds": seconds}


def measure(total: int = MESSAGES, devices: int = DEVICES) -> dict[str, float]:
    """`feed` in a fresh process."""
    words = ["-m", "benchmarks.memory", "--feed", "--messages", str(total), "--devices", str(devices)]
    done = subprocess.run([sys.executable, *words], check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def figures() -> list[Figure]:
    """What the table shows."""
    found = measure()
    return [
        Figure(f"memory at {MESSAGES // 5:,} messages", found["fifth"], "MB"),
        Figure(f"memory at {MESSAGES:,} messages", found["whole"], "MB"),
        Figure(f"memory at {MESSAGES:,} / at {MESSAGES // 5:,}", found["whole"] / found["fifth"], "", GOAL),
        Figure("the same without DuckDB's blocks", _own(found), "", GOAL),
    ]


def _own(found: dict[str, float]) -> float:
    """How the memory that is not DuckDB's cache has grown."""
    return (found["whole"] - found["whole_cache"]) / (found["fifth"] - found["fifth_cache"])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--messages", type=int, default=MESSAGES)
    arguments.add_argument("--devices", type=int, default=DEVICES)
    arguments.add_argument("--feed", action="store_true", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.feed:
        print(json.dumps(feed(given.messages, given.devices)))
        return
    print(f"machine: {machine()}")
    found = measure(given.messages, given.devices)
    print(
        f"memory: {found['fifth']:.0f} MB at {given.messages // 5:,} messages, {found['whole']:.0f} MB at "
        f"{given.messages:,}: {found['whole'] / found['fifth']:.2f} times (goal {GOAL}); of these DuckDB's "
        f"blocks {found['fifth_cache']:.0f} and {found['whole_cache']:.0f} MB, "
        f"the rest {_own(found):.2f} times; "
        f"{given.messages / found['seconds']:,.0f} messages/s in one process"
    )


if __name__ == "__main__":
    main()
