"""The server's side of the wire, as far as a collector sees it: it journals in memory and acknowledges."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.waiting import PATIENCE_S

__all__ = ["FakeServer"]


class FakeServer:
    """Hears every device; with `acking` it acknowledges what it has stored."""

    def __init__(self, port: int, *, acking: bool = True):
        self.acking = acking
        self.lose: Callable[[int], bool] = lambda _seq: False
        self.stored: dict[str, dict[tuple[int, int], list[dict]]] = defaultdict(dict)
        self.order: list[tuple[str, int]] = []
        self.births: dict[str, list[dict]] = defaultdict(list)
        self.states: dict[str, list[dict]] = defaultdict(list)
        self.deaths: dict[str, list[dict]] = defaultdict(list)
        self.seen = 0
        self._subscribed = threading.Event()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="server", clean_session=False)
        self.client.on_connect = lambda c, *_: c.subscribe("hearthline/v1/#", qos=1)
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_message = self._heard
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self._subscribed.wait(PATIENCE_S)

    def _heard(self, _client, _data, message):
        *_, device, kind = message.topic.split("/")
        if kind in ("ack", "command"):
            return
        payload = json.loads(message.payload)
        if kind == "telemetry":
            assert not message.retain
            self.seen += 1
            boot, seq = payload["boot"], payload["seq"]
            self.order.append((device, seq))
            if self.lose(seq):
                return
            self.stored[device][boot, seq] = payload["samples"]
            if self.acking:
                self.ack(message.topic, boot, [[seq, seq]])
        else:
            {"birth": self.births, "state": self.states, "death": self.deaths}[kind][device].append(payload)

    def ack(self, topic: str, boot: int, ranges: list[list[int]]) -> None:
        """Say that numbers are safe."""
        ack = topic.rpartition("/")[0] + "/ack"
        self.client.publish(ack, json.dumps({"boot": boot, "ranges": ranges}), qos=1)

    def command(self, region: str, unit: str, device: str, ranges: list[list[int]]) -> None:
        """Ask for numbers again."""
        self.say(f"hearthline/v1/{region}/{unit}/{device}/command", do="resend", ranges=ranges)

    def say(self, topic: str, *, retain: bool = False, **command: object) -> dict[str, object]:
        """Publish a command, new and of now unless `command` says otherwise; returns it."""
        said = {"id": uuid.uuid4().hex, "at": time.time_ns() // 1_000_000, **command}
        self.client.publish(topic, json.dumps(said), qos=1, retain=retain)
        return said

    def samples(self, device: str) -> list[dict]:
        """What is stored of a device, in the order of its numbers."""
        return [s for _, samples in sorted(self.stored[device].items()) for s in samples]

    def close(self) -> None:
        """Go away."""
        self.client.loop_stop()
        self.client.disconnect()
