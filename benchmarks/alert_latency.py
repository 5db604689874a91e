"""From a sample beyond a limit to the siren: ``python -m benchmarks alert_latency``.

Messages of 18 values are published at a steady rate. Beside them one device after the other reports a
pressure beyond a fast rule's limit, in a message of its own that bears the moment at which it is sent;
a subscriber to the siren's topic notes when it hears of it.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from typing import Final

import numpy as np
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.figures import Figure
from benchmarks.load import Load, site_texts
from benchmarks.machine import machine
from benchmarks.running import mosquitto, running

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
        for n in range(self._alerts):
            time.sleep(self._pause_s)
            device, now = f"d{self._first + n:05}", time.time() * 1000
            body = {"boot": 1, "seq": 1, "samples": [{"t": int(now), "supply_kpa": 2500.0}]}
            self.sent_ms[device] = now
            self._client.publish(f"hearthline/v1/r/load/{device}/telemetry", json.dumps(body), qos=1)

    def latency_ms(self, wait_s: float) -> list[float]:
        """How long each took, once all were heard or the time is up. [ms]"""
        until = time.monotonic() + wait_s
        while len(self.heard_ms) < self._alerts and time.monotonic() < until:
            time.sleep(0.05)
        self._client.loop_stop()
        return [self.heard_ms[d] - at for d, at in self.sent_ms.items() if d in self.heard_ms]


def measure(
    rate: float = RATE, seconds: float = SECONDS, devices: int = DEVICES, alerts: int = ALERTS
) -> np.ndarray:
    """Latencies under a load of `rate` messages a second. [ms]"""
    messages = int(rate * seconds)
    with mosquitto() as broker:
        # The alerts come from devices of their own, which the load leaves alone.
        texts = {**site_texts(devices + alerts), "alerts.toml": _RULES.format(port=broker.port)}
        with running(texts, broker) as server:
            assert broker.process is not None
            load = Load(broker.port, messages, devices, rate=rate, fresh=True)
            hall = Hall(broker.port, devices, alerts, seconds)
            hall.start()
            loaded = load.run({"broker": broker.process.pid, "server": server.process.pid})
            hall.join(60)
            heard = hall.latency_ms(30)
    print(f"  load of {messages / loaded.seconds:,.0f} messages/s for {loaded.seconds:.0f} s")
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
    given = arguments.parse_args()
    print(f"machine: {machine()}")
    ms = measure(given.rate, given.seconds)
    p50, p95, top = np.percentile(ms, [50, 95, 100])
    print(
        f"sample → siren: {len(ms)} alerts at {given.rate:,.0f} messages/s, median {p50:.0f} ms, "
        f"p95 {p95:.0f} ms (goal {GOAL_MS:.0f}), highest {top:.0f} ms"
    )


if __name__ == "__main__":
    main()
