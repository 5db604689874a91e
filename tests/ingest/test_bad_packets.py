"""Malformed MQTT and bad payloads through real brokers: the door stays open, and everybody else is heard at once."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion

from ingest.broker import EmbeddedBroker
from ingest.endpoint import Endpoint
from ingest.service import Ingest
from journal.sqlite import SqliteJournal
from models.frame import Frame, FrameKind
from tests.support.bad_input import CLASSES, IGNORED, Bad
from tests.support.mosquitto import Mosquitto
from tests.support.payloads import BOOT, NOW, site, telemetry, topic
from tests.support.waiting import PATIENCE_S, until

BOMBS = ("bombs", "deep", "huge", "long_integers")
OVER_BROKERS = tuple(name for name in CLASSES if name not in {"retained", "seq_reused"})
"""Classes that mean something over a broker by themselves: the two left out need what came before them."""


class Journalled:
    """An ingest on a real broker, and what it has journalled."""

    def __init__(self, journal: SqliteJournal, port: int) -> None:
        self.journal, self.port = journal, port
        self.ingest = Ingest(journal, site(), Endpoint("127.0.0.1", port), lambda: NOW)
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="device")
        self.client.max_inflight_messages_set(1000)
        self._after: dict[str, int] = {}
        self.numbers: set[tuple[str, int, int]] = set()
        self.reasons: Counter[str] = Counter()
        self.events = 0
        self.seq = 0

    def read(self) -> None:
        for stream in self.journal.streams():
            while records := self.journal.read(stream, self._after.get(stream, -1)):
                self._after[stream] = records[-1].offset
                for record in records:
                    self._see(Frame.decode(record.frame))

    def _see(self, frame: Frame) -> None:
        if frame.kind is FrameKind.TELEMETRY:
            names = (frame.batch.column(n).to_pylist() for n in ("device", "boot", "seq"))
            self.numbers.update(zip(*names, strict=True))
        elif frame.kind is FrameKind.REFUSAL:
            self.reasons.update(frame.batch.column("reason").to_pylist())
        elif frame.kind is FrameKind.EVENT:
            self.events += frame.batch.num_rows

    def good_is_heard(self, seconds: float = PATIENCE_S) -> float:
        """How long a good message takes into the journal, which it does in `seconds`. [s]"""
        self.seq += 1
        message = telemetry("sub-2", self.seq, supply_c=1.0)
        began = time.perf_counter()
        self.client.publish(message.topic, message.payload, 1)
        while ("sub-2", BOOT, self.seq) not in self.numbers:
            took = time.perf_counter() - began
            assert took < seconds, f"a good message was not journalled within {seconds} s"
            time.sleep(0.01)
            self.read()
        return time.perf_counter() - began


@pytest.fixture(params=["mosquitto", "embedded"])
def door(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journalled]:
    broker: Any = Mosquitto() if request.param == "mosquitto" else EmbeddedBroker()
    with broker as started, contextlib.ExitStack() as stack:
        journal = SqliteJournal(tmp_path / "journal.sqlite3", lambda: NOW)
        stack.callback(journal.close)
        door = Journalled(journal, started.port)
        door.ingest.start()
        stack.callback(door.ingest.stop)
        door.client.connect("127.0.0.1", started.port)
        door.client.loop_start()
        stack.callback(door.client.loop_stop)
        stack.callback(door.client.disconnect)
        until(lambda: door.ingest.status.state == "ok", "ingest has subscribed")
        door.good_is_heard()
        yield door


def text(value: bytes) -> bytes:
    return struct.pack(">H", len(value)) + value


def packet(first: int, body: bytes) -> bytes:
    length, rest = b"", len(body)
    while True:
        rest, digit = divmod(rest, 128) if rest >= 128 else (0, rest)
        length += bytes([digit | (128 if rest else 0)])
        if not rest:
            return bytes([first]) + length + body


def connect(name: bytes = b"bad", protocol: bytes = b"MQTT", level: int = 4, flags: int = 2) -> bytes:
    return packet(0x10, text(protocol) + bytes([level, flags, 0, 60]) + text(name))


def publish(to: bytes, payload: bytes = b"{}", first: int = 0x32, mid: int = 7) -> bytes:
    return packet(first, text(to) + struct.pack(">H", mid) + payload)


TOPIC = topic("sub-1").encode()
RAW: dict[str, list[bytes]] = {
    "nothing": [],
    "no MQTT at all": [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"],
    "a TLS hello": [bytes.fromhex("16030100a5010000a10303") + bytes(160)],
    "publish before connect": [publish(TOPIC)],
    "connect twice": [connect(), connect()],
    "another protocol": [connect(protocol=b"MQIsdp", level=9)],
    "a level that is none": [connect(level=200)],
    "reserved flag of connect": [connect(flags=3)],
    "client id that is no UTF-8": [connect(name=b"\xff\xfe")],
    "empty client id that wants to be kept": [connect(name=b"", flags=0)],
    "length of five bytes": [connect(), b"\x32\xff\xff\xff\xff\x7f"],
    "256 MB announced, none sent": [connect(), b"\x32\xff\xff\xff\x7f" + text(TOPIC)],
    "cut in the middle": [connect(), publish(TOPIC, b"x" * 5000)[:2000]],
    "one byte at a time": [bytes([b]) for b in connect() + publish(TOPIC)],
    "QoS 3": [connect(), publish(TOPIC, first=0x36)],
    "QoS 2 never released": [connect(), publish(TOPIC, first=0x34)],
    "packet id 0": [connect(), publish(TOPIC, mid=0)],
    "topic longer than the packet": [connect(), packet(0x32, struct.pack(">H", 60_000) + b"x")],
    "topic that is no UTF-8": [connect(), publish(b"hearthline/v1/r1/u1/\xff\xfe/telemetry")],
    "topic with NUL": [connect(), publish(b"hearthline/v1/r1/u1/sub\x00-1/telemetry")],
    "topic with wildcards": [connect(), publish(b"hearthline/v1/+/#")],
    "topic of 65,535 bytes": [connect(), publish(b"a/" * 32_767 + b"a")],
    "empty topic": [connect(), publish(b"")],
    "a thousand levels": [connect(), publish(b"/".join([b"hearthline"] * 1000))],
    "subscribe to nothing": [connect(), packet(0x82, struct.pack(">H", 1))],
    "subscribe with flags that are none": [connect(), packet(0x80, struct.pack(">H", 1) + text(b"#") + b"\x01")],
    "subscribe at QoS 9": [connect(), packet(0x82, struct.pack(">H", 1) + text(b"x") + b"\x09")],
    "acknowledging what nobody sent": [connect(), packet(0x40, struct.pack(">H", 99)), packet(0x62, struct.pack(">H", 98))],
    "kinds of packet that are none": [connect(), packet(0x00, b""), packet(0xF0, b"x")],
    "what only a broker says": [connect(), packet(0x20, b"\x00\x00"), packet(0x90, b"\x00\x01\x00"), packet(0xD0, b"")],
    "a will on everybody's topic": [packet(0x10, text(b"MQTT") + b"\x04\x06\x00\x3c" + text(b"w") + text(TOPIC) + text(b"x"))],
}  # fmt: skip


def test_malformed_packets_hold_up_nobody(door: Journalled) -> None:
    slowest, held = 0.0, []
    for name, pieces in RAW.items():
        raw = socket.create_connection(("127.0.0.1", door.port), PATIENCE_S)
        held.append(raw)  # left open: whoever sends such things does not hang up politely
        with contextlib.suppress(OSError):
            for piece in pieces:
                raw.sendall(piece)
        try:
            slowest = max(slowest, door.good_is_heard())
        except AssertionError as error:
            raise AssertionError(f"after {name}: {error}") from error
    for raw in held:
        raw.close()
    door.good_is_heard()
    print(f"{len(RAW)} kinds of raw packets; a good message took at most {slowest:.3f} s")


def test_any_bytes_after_a_connect_hold_up_nobody(door: Journalled) -> None:
    @settings(
        max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
    )
    @given(
        st.booleans(),
        st.one_of(st.binary(max_size=64), st.builds(packet, st.integers(0, 255), st.binary(max_size=64))),
    )
    def each(connected: bool, data: bytes) -> None:
        with (
            socket.create_connection(("127.0.0.1", door.port), PATIENCE_S) as raw,
            contextlib.suppress(OSError),
        ):
            raw.sendall((connect() if connected else b"") + data)

    each()
    door.good_is_heard()


def test_generated_messages_over_a_broker_are_all_accounted_for(door: Journalled) -> None:
    sent: Counter[str] = Counter()
    stored: set[tuple[str, int, int]] = set()

    @settings(
        max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
    )
    @given(st.sampled_from(OVER_BROKERS).flatmap(lambda name: CLASSES[name]()))
    def each(case: Bad) -> None:
        if not heard(case) or case.retained:
            return
        message = case.message(BOOT + sent.total() + 1, 1_000_000)
        until(door.client.is_connected)  # a broker that is short of time may have taken it for dead
        info = door.client.publish(message.topic, message.payload, 1)
        if (
            case.kind in {"duplicate_keys", "unicode_tricks", "strange_names", "extreme_numbers"}
            and "stored" in case.right
        ):
            stored.add((case.topic.split("/")[4], BOOT + sent.total() + 1, 1_000_000))
        sent["ignored" if IGNORED in case.right else "heard"] += 1
        with contextlib.suppress(RuntimeError):  # taken for dead just now: paho keeps it and sends it again
            info.wait_for_publish(PATIENCE_S)

    each()
    refused = sent["heard"] - len(stored)

    def all_came() -> bool:
        door.read()
        return stored <= door.numbers and door.reasons.total() >= refused

    until(all_came, lambda: (refused, door.reasons, stored - door.numbers))
    took = door.good_is_heard()
    door.read()
    assert door.reasons.total() == refused
    assert {n for n in door.numbers if n[1] != BOOT} == stored
    print(
        f"{sent['heard']} messages: {len(stored)} stored, {dict(door.reasons)}; then a good one in {took:.3f} s"
    )


def heard(case: Bad) -> bool:
    """Whether the topic can be published and lies under what ingest subscribes to."""
    levels = case.topic.split("/")
    sendable = case.topic.isprintable() and not set(case.topic) & set("+#\x00") and len(levels) == 6
    return (
        sendable
        and levels[:2] == ["hearthline", "v1"]
        and levels[5] in {"telemetry", "birth", "state", "death"}
    )
