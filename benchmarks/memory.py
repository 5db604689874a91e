"""Memory after a million messages and after five: ``python -m benchmarks memory``.

A live load of five million messages takes minutes, so they are handed to the
server's own ingest, journal, runtime and store in one process, as fast as
those take them. Compared is the highest resident memory of the last half
million messages before each mark, looked at fifty times a second: that has
five window ends and some checkpoints in it, which take up to 200 MB for an
instant, so that a shorter look compares a peak with a valley. Beside it
stand the mean, and how much of it DuckDB keeps of its tables' blocks.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import fmean
from typing import Final, Self

from benchmarks.figures import Figure
from benchmarks.machine import machine
from benchmarks.stages import INTERVAL_MS, Stages, messages, resident_mb
from ingest.messages import Message

__all__ = ["figures"]

GOAL: Final = 1.2
MESSAGES: Final = 5_000_000
DEVICES: Final = 1_000
_WATCHED: Final = 500_000
_LOOK_S: Final = 0.02
_TOGETHER: Final = 10  # steps in a batch: as many messages as one of a busy server


class _Watch:
    """Resident memory of this process, looked at by a thread of its own."""

    def __init__(self) -> None:
        self.mark = ""
        self.seen: dict[str, list[float]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)

    def _look(self) -> None:
        while not self._stop.wait(_LOOK_S):
            if mark := self.mark:
                self.seen.setdefault(mark, []).append(resident_mb())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def feed(total: int, devices: int) -> dict[str, float]:
    """Resident memory at a fifth of `total` messages and at the end. [MB]"""
    steps = total // devices
    watched = min(_WATCHED, total // 10)
    start_ms = int(time.time() * 1000) - steps * INTERVAL_MS
    cache = {"fifth": 0.0, "whole": 0.0}
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name, Stages(Path(name), devices) as stages, _Watch() as watch:
        waiting: list[Message] = []
        for step, batch in enumerate(messages(devices, range(steps), start_ms), 1):
            waiting += batch
            if step % _TOGETHER and step < steps:
                continue
            stages.submit(waiting)
            waiting = []
            marks = {"fifth": total // 5, "whole": total}
            watch.mark = next((m for m, at in marks.items() if at - watched < step * devices <= at), "")
            if watch.mark:
                cache[watch.mark] = max(cache[watch.mark], stages.cache_mb())
        stages.catch_up()
        watch.mark = ""
        seconds = time.perf_counter() - began
    return {
        **{mark: max(seen) for mark, seen in watch.seen.items()},
        **{f"{mark}_mean": fmean(seen) for mark, seen in watch.seen.items()},
        **{f"{mark}_cache": most for mark, most in cache.items()},
        "seconds": seconds,
    }


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
        Figure("the same of the mean memory", _mean(found), "", GOAL),
    ]


def _mean(found: dict[str, float]) -> float:
    """How the mean memory has grown."""
    return found["whole_mean"] / found["fifth_mean"]


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
        f"{given.messages:,}: {found['whole'] / found['fifth']:.2f} times (goal {GOAL}); "
        f"mean {found['fifth_mean']:.0f} and {found['whole_mean']:.0f} MB, {_mean(found):.2f} times; "
        f"DuckDB's blocks {found['fifth_cache']:.0f} and {found['whole_cache']:.0f} MB; "
        f"{given.messages / found['seconds']:,.0f} messages/s in one process"
    )


if __name__ == "__main__":
    main()
