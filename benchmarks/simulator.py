"""Simulated seconds a second of the simulator: ``python -m benchmarks.simulator``.

Networks of 10 to 6,000 substations at 60 s on one core: the truth alone, the
truth with every device's readings, and the whole command with its files.
CPU seconds are what counts, because they do not depend on what else the
machine does; the start (with its four hours of warming up) is left out of the
first two and in the last, a day of up to 1,000 substations.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.machine import machine
from models.site import Site
from simulator.case import parse
from simulator.fleet import UnitReadings
from simulator.simulate import run
from simulator.unit import NETWORK, demo_plan

GOAL = 1_000
GOAL_SUBSTATIONS = 1_000
INTERVAL_S = 60.0
START_MS = 1_768_003_200_000


def stepping(substations: int, steps: int) -> tuple[float, float]:
    """Simulated seconds a CPU second: of the truth alone, and with readings."""
    readings = UnitReadings(
        demo_plan(1, substations, 0, START_MS, interval_s=INTERVAL_S), 1, START_MS, interval_s=INTERVAL_S
    )
    truth = readings.heat[0].truth
    assert truth.network.id == NETWORK
    speeds = []
    for step in (lambda: truth.step(INTERVAL_S), readings.step):
        step()
        began = time.process_time()
        for _ in range(steps):
            step()
        speeds.append(steps * INTERVAL_S / (time.process_time() - began))
    return speeds[0], speeds[1]


def whole(substations: int, hours: float) -> float:
    """Simulated seconds a CPU second of a whole run into files, its start included."""
    text = f"hours = {hours}\ninterval_s = {INTERVAL_S}\n[unit]\nsubstations = {substations}\ntrucks = 0\n"
    with tempfile.TemporaryDirectory() as name:
        began = time.process_time()
        done = run(parse("benchmark", text, _no_site), Path(name))
        seconds = time.process_time() - began
    assert done.closes
    return hours * 3600.0 / seconds


def _no_site(name: str) -> Site:
    raise FileNotFoundError(name)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--substations", type=int, nargs="+", default=[10, 100, 1_000, 6_000])
    given = arguments.parse_args()
    print(f"machine: {machine()}")
    print("times real time, by CPU seconds of one core, 60 s a step")
    print(f"{'substations':>12} {'truth':>10} {'readings':>10} {'whole run':>10}")
    for count in given.substations:
        steps = max(10, min(200, 60_000 // count))
        truth, readings = stepping(count, steps)
        files = whole(count, max(4.0, min(24.0, 24_000 / count)))
        print(f"{count:>12,} {truth:>10,.0f} {readings:>10,.0f} {files:>10,.0f}", flush=True)
    print(f"goal: {GOAL:,} at {GOAL_SUBSTATIONS:,} substations")


if __name__ == "__main__":
    main()
