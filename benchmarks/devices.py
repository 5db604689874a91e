"""What a message costs with few and many devices: ``python -m benchmarks devices``.

The same load from 100, 1,000 and 10,000 devices, until acknowledged; compared are the CPU seconds
of the server for each message, because wall time depends on what else the machine does. A fleet is
met in it, which of 10,000 devices is every twentieth message; and once it is met: two messages of
each device go before, and are not counted.

``--inside`` hands the messages to the server's own stages in one process, without a broker, and on a
clock of its own that moves 100 ms with each 2,000 of them: so the work that goes by the clock (rows of
windows that fill, checkpoints) is the same for every fleet, however slow the machine is just then.

``--pace`` is what an owner of a fleet pays: each device sends a sample every 10 s, for a minute, into
windows that are half full by then. All that goes by timers is in it: rows of windows that fill, checkpoints,
the board that nobody looks at; with few devices that is nearly all of it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.figures import Figure
from benchmarks.load import SPAN_MS, Load, Loaded, site_texts, values
from benchmarks.machine import machine
from benchmarks.running import mosquitto, running
from benchmarks.stages import Stages
from ingest.messages import Message

__all__ = ["figures"]

FLEETS: Final = (100, 1_000, 10_000)
MESSAGES: Final = 200_000
GOAL: Final = 1.0
_BATCH: Final = 2_000
_BATCH_MS: Final = 100
_BEFORE: Final = 2
INTERVAL_S: Final = 10.0
HALF_A_WINDOW_S: Final = 450.0


def measure(messages: int = MESSAGES, rounds: int = 2) -> dict[tuple[int, bool], list[Loaded]]:
    """Loads by number of devices and whether they were met before, round by round."""
    found: dict[tuple[int, bool], list[Loaded]] = {(n, met): [] for met in (False, True) for n in FLEETS}
    for _ in range(rounds):
        for (devices, met), loads in found.items():
            with mosquitto() as broker, running(site_texts(devices), broker) as server:
                assert broker.process is not None
                pids = {"broker": broker.process.pid, "server": server.process.pid}
                load = Load(broker.port, messages, devices, before=_BEFORE if met else 0)
                loads.append(load.run(pids))
    return found


def cost_us(loads: list[Loaded]) -> float:
    """CPU of the server for each message. [µs]"""
    return median(loaded.cpu_us("server") for loaded in loads)


def inside_us(messages: int, devices: int) -> float:
    """CPU of ingest, streams and store in this process for each message. [µs]"""
    bodies, boot, each = values(), 1_767_225_600_000, max(1, messages // devices)
    step, now_ms = min(10_000, SPAN_MS // each), boot + SPAN_MS
    built = [
        Message(
            f"hearthline/v1/r/load/d{n % devices:05}/telemetry",
            b'{"boot":%d,"seq":%d,"samples":[{"t":%d,%s}]}'
            % (boot, n // devices + 1, boot + step * (n // devices), bodies[n % 997].encode()),
        )
        for n in range(messages)
    ]
    with tempfile.TemporaryDirectory() as home, Stages(Path(home), devices, clock=lambda: now_ms) as stages:
        began = time.process_time()
        for start in range(0, messages, _BATCH):
            stages.submit(built[start : start + _BATCH])
            now_ms += _BATCH_MS
        stages.catch_up()
        return 1e6 * (time.process_time() - began) / messages


def at_its_pace(devices: int, seconds: float) -> Loaded:
    """A fleet whose devices send a sample every `INTERVAL_S`, for so long. [s]"""
    with mosquitto() as broker, running(site_texts(devices), broker) as server:
        assert broker.process is not None
        rate = devices / INTERVAL_S
        before = int(HALF_A_WINDOW_S / INTERVAL_S)
        load = Load(broker.port, int(rate * seconds), devices, rate=rate, fresh=True, before=before)
        return load.run({"broker": broker.process.pid, "server": server.process.pid}, 600.0 + seconds)


def figures() -> list[Figure]:
    """What the table shows."""
    costs = {which: cost_us(loads) for which, loads in measure().items()}
    return [
        Figure(
            f"server CPU a message, {devices:,} devices{', all met before' if met else ''}", cost, "µs",
            *(() if devices == FLEETS[0] else (GOAL * costs[FLEETS[0], met],)),
        )
        for (devices, met), cost in costs.items()
    ]  # fmt: skip


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--messages", type=int, default=MESSAGES)
    arguments.add_argument("--rounds", type=int, default=2)
    arguments.add_argument("--inside", action="store_true", help="in one process, without a broker")
    arguments.add_argument("--pace", action="store_true", help="each device at its own pace")
    arguments.add_argument("--seconds", type=float, default=60.0, help="how long at its own pace")
    given = arguments.parse_args()
    print(f"machine: {machine()}")
    if given.pace:
        for devices in FLEETS * given.rounds:
            paid = at_its_pace(devices, given.seconds)
            core_pct = 100 * paid.cpu_s["server"] / given.seconds
            cost = f"{paid.cpu_us('server'):,.1f} µs of CPU a message, {core_pct:.1f} % of a core"
            told = f"told after {1000 * median(paid.latency_s):.0f} ms, load {os.getloadavg()[0]:.1f}"
            print(f"{devices:6,} devices, each every {INTERVAL_S:.0f} s: server {cost}, {told}", flush=True)
        return
    if given.inside:
        inside_us(_BATCH, FLEETS[0])  # what a process loads once is no fleet's
        for _ in range(given.rounds):
            costs = [f"{devices:,} {inside_us(given.messages, devices):.1f}" for devices in FLEETS]
            print(f"µs of CPU a message by devices: {', '.join(costs)}", flush=True)
        return
    for (devices, met), loads in measure(given.messages, given.rounds).items():
        spent = ", ".join(f"{x.rate:,.0f}/s at {x.cpu_us('server'):.1f} µs" for x in loads)
        known = "met before" if met else "met in it"
        print(f"{devices:6,} devices, {known}: server {cost_us(loads):.1f} µs of CPU a message ({spent})")


if __name__ == "__main__":
    main()
