"""From a sample beyond a limit to the siren: ``python -m benchmarks alert_latency``.

Messages of 18 values are published at a steady rate. Beside them one device after the other reports a
pressure beyond a fast rule's limit, in a message of its own that bears the moment at which it is sent;
a subscriber to the siren's topic notes when it hears of it. With ``--distributed`` the way is that of the
distributed mode: Mosquitto, ingest, Kafka, worker, topic conditions, desk.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import numpy as np
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.figures import Figure
from benchmarks.load import Load, site_texts
from benchmarks.machine import machine
from benchmarks.running import mosquitto, running
from benchmarks.running_apart import running_apart
from tests.support.mosquitto import Mosquitto

__all__ = ["figures"]

GOAL_MS: Final = 3000.0
RATE: Final = 5_000.0
SECONDS: Final = 20.0
DEVICES: Final = 3_000
ALERTS: Final = 40
_RULES: Final = """
[alerts]
shared_cause_least = 0
[[channel]]
id = "hall"
kind = "mqtt"
url = "mqtt://127.0.0.1:{port}"
topic = "sirens/hall"
[[person]]
id = "nobody"
channels = ["hall"]
[[route]]
id = "siren"
steps = ["nobody"]
group_wait_s = 0
sirens = ["hall"]
[[fast]]
code = "pressure_high"
measurement = "supply_kpa"
above = 2000
severity = "critical"
[[rule]]
codes = ["pressure_high"]
route = "siren"
"""


class Hall(threading.Thread):
    """Sends what is beyond the limit, and hears the siren."""

    def __init__(self, port: int, first: int, alerts: int, seconds: float) -> None:
        super().__init__(daemon=True)
        self._first, self._alerts, self._pause_s = first, alerts, seconds / (alerts + 1)
        self.sent_ms: dict[str, float] = {}
        self.heard_ms: dict[str, float] = {}
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe("sirens/hall", qos=1)
        self._client.on_message = self._hear
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _hear(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        now_ms = time.time() * 1000
        for alarm in json.loads(message.payload)["alarms"]:
            if alarm["note"] == "raised":
                self.heard_ms.setdefault(alarm["subject"], now_ms)

    def run(self) -> None:
        for n in range(1, self._alerts + 1):
            time.sleep(self._pause_s)
            self._send(n)

    def _send(self, n: int) -> str:
        device, now = f"d{self._first + n:05}", time.time() * 1000
        body = {"boot": 1, "seq": 1, "samples": [{"t": int(now), "supply_kpa": 2500.0}]}
        self.sent_ms[device] = now
        self._client.publish(f"hearthline/v1/r/load/{device}/telemetry", json.dumps(body), qos=1)
        return device

    def first(self, wait_s: float) -> float:
        """How long one takes before there is a load, that all have begun; it is not counted. [s]"""
        device, began = self._send(0), time.monotonic()
        while device not in self.heard_ms:
            if time.monotonic() - began > wait_s:
                raise SystemExit(f"expected the siren to be heard within {wait_s:.0f} s of the start")
            time.sleep(0.05)
        del self.sent_ms[device], self.heard_ms[device]
        return time.monotonic() - began

    def latency_ms(self, wait_s: float) -> list[float]:
        """How long each took, once all were heard or the time is up. [ms]"""
        until = time.monotonic() + wait_s
        while len(self.heard_ms) < self._alerts and time.monotonic() < until:
            time.sleep(0.05)
        self._client.loop_stop()
        return [self.heard_ms[d] - at for d, at in self.sent_ms.items() if d in self.heard_ms]


@contextmanager
def _server(texts: Mapping[str, str], broker: Mosquitto) -> Iterator[dict[str, int]]:
    with running(texts, broker) as server:
        yield {"server": server.process.pid}


def measure(
    rate: float = RATE,
    seconds: float = SECONDS,
    devices: int = DEVICES,
    alerts: int = ALERTS,
    *,
    distributed: bool = False,
) -> np.ndarray:
    """Latencies under a load of `rate` messages a second. [ms]"""  # fmt: skip
    messages = int(rate * seconds)
    with mosquitto() as broker:
        # The alerts come from devices of their own, which the load leaves alone.
        texts = {**site_texts(devices + alerts + 1), "alerts.toml": _RULES.format(port=broker.port)}
        with (running_apart if distributed else _server)(texts, broker) as pids:
            assert broker.process is not None
            load = Load(broker.port, messages, devices, rate=rate, fresh=True)
            hall = Hall(broker.port, devices, alerts, seconds)
            print(f"  the first after a start: {hall.first(60):.1f} s")
            hall.start()
            loaded = load.run({"broker": broker.process.pid, **pids})
            hall.join(60)
            heard = hall.latency_ms(30)
    print(f"  load of {messages / loaded.seconds:,.0f} messages/s for {loaded.seconds:.0f} s")
    shares = ", ".join(f"{name} {spent / loaded.seconds:.2f}" for name, spent in loaded.cpu_s.items())
    print(f"  cores: {shares}; together {sum(loaded.cpu_s.values()) / loaded.seconds:.2f}")
    if len(heard) < alerts:
        raise SystemExit(f"expected {alerts} alerts, got {len(heard)}")
    return np.array(heard)


def figures() -> list[Figure]:
    """What the table shows."""
    found = float(np.percentile(measure(), 95))
    return [Figure(f"sample → siren, p95 at {RATE:,.0f} messages/s", found, "ms", GOAL_MS)]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--rate", type=float, default=RATE)
    arguments.add_argument("--seconds", type=float, default=SECONDS)
    arguments.add_argument("--distributed", action="store_true", help="through Kafka, worker and desk")
    given = arguments.parse_args()
    print(f"machine: {machine()}")
    ms = measure(given.rate, given.seconds, distributed=given.distributed)
    p50, p95, top = np.percentile(ms, [50, 95, 100])
    mode = "distributed" if given.distributed else "embedded"
    print(
        f"sample → siren, {mode}: {len(ms)} alerts at {given.rate:,.0f} messages/s, median {p50:.0f} ms, "
        f"p95 {p95:.0f} ms (goal {GOAL_MS:.0f}), highest {top:.0f} ms"
    )


if __name__ == "__main__":
    main()
