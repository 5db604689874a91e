"""What a message costs with few and many devices: ``python -m benchmarks devices``.

The same load from 100, 1,000 and 10,000 devices, until acknowledged; compared are the CPU seconds
of the server for each message, because wall time depends on what else the machine does.
"""

from __future__ import annotations

import argparse
from statistics import median
from typing import Final

from benchmarks.figures import Figure
from benchmarks.load import Load, Loaded, site_texts
from benchmarks.machine import machine
from benchmarks.running import mosquitto, running

__all__ = ["figures"]

FLEETS: Final = (100, 1_000, 10_000)
MESSAGES: Final = 200_000
GOAL: Final = 1.0


def measure(messages: int = MESSAGES, rounds: int = 2) -> dict[int, list[Loaded]]:
    """Loads by number of devices, round by round."""
    found: dict[int, list[Loaded]] = {devices: [] for devices in FLEETS}
    for _ in range(rounds):
        for devices in FLEETS:
            with mosquitto() as broker, running(site_texts(devices), broker) as server:
                assert broker.process is not None
                pids = {"broker": broker.process.pid, "server": server.process.pid}
                found[devices].append(Load(broker.port, messages, devices).run(pids))
    return found


def cost_us(loads: list[Loaded]) -> float:
    """CPU of the server for each message. [µs]"""
    return median(loaded.cpu_us("server") for loaded in loads)


def figures() -> list[Figure]:
    """What the table shows."""
    found = measure()
    costs = {devices: cost_us(loads) for devices, loads in found.items()}
    first = costs[FLEETS[0]]
    return [
        Figure(f"server CPU a message, {FLEETS[0]:,} devices", first, "µs"),
        *(
            Figure(f"server CPU a message, {devices:,} devices", costs[devices], "µs", GOAL * first)
            for devices in FLEETS[1:]
        ),
    ]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--messages", type=int, default=MESSAGES)
    arguments.add_argument("--rounds", type=int, default=2)
    given = arguments.parse_args()
    print(f"machine: {machine()}")
    for devices, loads in measure(given.messages, given.rounds).items():
        spent = ", ".join(f"{x.rate:,.0f}/s at {x.cpu_us('server'):.1f} µs" for x in loads)
        print(f"{devices:6,} devices: server {cost_us(loads):.1f} µs of CPU a message ({spent})")


if __name__ == "__main__":
    main()
