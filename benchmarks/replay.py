"""Messages/s of `hearthline replay` with every operator: ``python -m benchmarks.replay``.

A million messages of 18 values of 1,000 substations at 10 s, from Parquet to
Parquet, through the command itself. CPU seconds stand beside wall seconds,
because they do not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import machine
from simulator.bulk import bulk_parquet

GOAL = 100_000


@dataclass(frozen=True)
class Run:
    """One replay. Seconds of the whole command, starting included."""

    messages: int
    wall_s: float
    cpu_s: float
    rows: dict[str, int]


def measure(messages: int, devices: int) -> Run:
    """Replay `messages` generated messages of `devices` substations."""
    with tempfile.TemporaryDirectory() as name:
        recording = Path(name) / "bulk.parquet"
        site = bulk_parquet(recording, devices, messages, 10.0, 1)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        done = subprocess.run(
            [
                sys.executable, "-m", "hearthline", "replay", recording, "--site", site,
                "--out", Path(name) / "out", "--json",
            ],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        wall_s = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        said = json.loads(done.stdout)
        return Run(said["messages"], wall_s, cpu_s, said["rows"])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--messages", type=int, default=1_000_000)
    arguments.add_argument("--devices", type=int, default=1_000)
    given = arguments.parse_args()
    print(f"machine: {machine()}")
    run = measure(given.messages, given.devices)
    print(
        f"replay: {run.messages:,} messages in {run.wall_s:.1f} s = "
        f"{run.messages / run.wall_s:,.0f} messages/s "
        f"(goal {GOAL:,}); {run.cpu_s:.1f} s of CPU; rows {run.rows}"
    )


if __name__ == "__main__":
    main()
