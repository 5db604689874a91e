"""From a sample to its acknowledgement and to a query: ``python -m benchmarks latency``.

Messages of 18 values are published at a steady rate, each with a sample of the
moment at which it is due. Measured are, for each message, the time until its
device is told that it is safe, and, for the devices of a probe, the time from
the sample until the board's interface gives the reading.
"""

from __future__ import annotations

import argparse
import threading
import time
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.figures import Figure
from benchmarks.load import Load, Loaded, site_texts
from benchmarks.machine import machine
from benchmarks.running import Server, mosquitto, running

__all__ = ["figures"]

GOAL_ACK_MS: Final = 500.0
GOAL_READABLE_MS: Final = 1500.0
RATE: Final = 5_000.0
SECONDS: Final = 20.0
DEVICES: Final = 3_000
PROBES: Final = 40
_POLL_S: Final = 0.05


class Probe(threading.Thread):
    """Asks for the readings of a few devices, again and again, and notes when each is first given."""

    def __init__(self, server: Server, since_ms: int) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._since_ms = since_ms
        self._ended = threading.Event()
        self.latency_ms: list[float] = []

    def run(self) -> None:
        seen: set[tuple[str, int]] = set()
        keys = [f"d{n * DEVICES // PROBES:05}" for n in range(PROBES)]
        while not self._ended.wait(_POLL_S):
            asked: dict[str, str | list[str]] = {
                "class": "substation", "from": str(self._since_ms), "key": keys, "field": "supply_c",
            }  # fmt: skip
            rows = self._server.get("/api/query", measurement="reading", **asked)
            now_ms = time.time() * 1000
            for row in rows:
                name = row["key"], row["window_start"]
                if name not in seen:
                    seen.add(name)
                    self.latency_ms.append(now_ms - row["window_start"])
            # What is older than ten seconds and not given yet would be missed: it is counted at the end.
            self._since_ms = max(self._since_ms, int(now_ms) - 10_000)

    def stop(self) -> None:
        """Ask no more."""
        self._ended.set()
        self.join(30)


@dataclass(frozen=True, slots=True)
class Measured:
    """Latencies of a run. [ms]"""

    loaded: Loaded
    ack_ms: np.ndarray
    readable_ms: np.ndarray


def measure(rate: float = RATE, seconds: float = SECONDS, devices: int = DEVICES) -> Measured:
    """Publish at `rate` for `seconds`."""
    messages = int(rate * seconds)
    with mosquitto() as broker, running(site_texts(devices), broker) as server:
        assert broker.process is not None
        load = Load(broker.port, messages, devices, rate=rate, fresh=True)
        probe = Probe(server, int(time.time() * 1000))
        probe.start()
        loaded = load.run({"broker": broker.process.pid, "server": server.process.pid})
        server.wait_for_readings(messages)
        time.sleep(1.0)
        probe.stop()
    expected = sum(1 for n in range(messages) if (n % devices) % (devices // PROBES) == 0)
    if len(probe.latency_ms) < expected:
        raise SystemExit(f"expected {expected} readings of the probe, got {len(probe.latency_ms)}")
    return Measured(loaded, 1000 * np.array(loaded.latency_s), np.array(probe.latency_ms))


def figures() -> list[Figure]:
    """What the table shows."""
    measured = measure()
    return [
        Figure(
            f"publish → told, p99 at {RATE:,.0f} messages/s", float(np.percentile(measured.ack_ms, 99)), "ms",
            GOAL_ACK_MS,
        ),
        Figure(
            f"sample → query, p99 at {RATE:,.0f} messages/s", float(np.percentile(measured.readable_ms, 99)),
            "ms", GOAL_READABLE_MS,
        ),
    ]  # fmt: skip


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--rate", type=float, default=RATE)
    arguments.add_argument("--seconds", type=float, default=SECONDS)
    given = arguments.parse_args()
    print(f"machine: {machine()}")
    measured = measure(given.rate, given.seconds)
    spent = ", ".join(f"{name} {measured.loaded.cpu_us(name):.1f}" for name in measured.loaded.cpu_s)
    print(f"  {given.rate:,.0f} messages/s for {given.seconds:.0f} s; µs of CPU a message: {spent}")
    for what, ms, goal in (
        ("publish → told", measured.ack_ms, GOAL_ACK_MS),
        ("sample → query", measured.readable_ms, GOAL_READABLE_MS),
    ):
        p50, p99, top = np.percentile(ms, [50, 99, 100])
        print(f"{what}: median {p50:.0f} ms, p99 {p99:.0f} ms (goal {goal:.0f}), highest {top:.0f} ms")


if __name__ == "__main__":
    main()
