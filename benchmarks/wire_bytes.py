"""Bytes a sample on the wire: ``python -m benchmarks.wire_bytes``.

One device of 18 values every 10 s for an hour, said in different ways: one value a message, as many gateways
do; a message a sample; samples gathered for a minute and for ten; the same with samples by exception; and
Sparkplug B. Counted are the packets themselves (PUBLISH, PUBACK, and for our own the server's `ack` and its
PUBACK), what TLS 1.3 adds to each write (22 bytes) and TCP and IPv4 to each segment of at most 1,448
(52 bytes, and as much for the bare acknowledgement of each write). Keep-alive, births and states, the same
for all, are left out.

Two series: values that all change at each sample, and a simulated heating station (a daily cycle, valve
steps, sensor noise of a quarter of the dead band). A dead band is a resolution that an operator would ask
for, not one chosen for the figure.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.usage import without_options
from edge.config import ReportConfig
from edge.driver import Reading
from edge.exceptions import Exceptions
from edge.outbox_message import encode_sample
from edge.sparkplug import _schema
from ingest.packets import publish

HOURS, EVERY_S, START_MS = 1.0, 10, 1_767_225_600_000
TOPIC = "hearthline/v1/north/u1/sub-0001"
BANDS = {
    "supply_c": 0.2, "return_c": 0.2, "flow_m3_h": 0.2, "heat_kw": 10.0, "supply_kpa": 3.0, "return_kpa": 3.0,
    "valve_pct": 1.0, "secondary_supply_c": 0.2, "secondary_return_c": 0.2, "secondary_flow_m3_h": 0.3,
    "secondary_supply_kpa": 3.0, "secondary_return_kpa": 3.0, "secondary_setpoint_c": 0.1, "pump_hz": 0.2,
    "outdoor_c": 0.2, "energy_gj": math.inf, "volume_m3": math.inf, "secondary_makeup_m3": 0.1,
}  # fmt: skip
HEARTBEAT_S = 300.0
TLS, TCP, SEGMENT = 22, 52, 1448


def restless(rng: np.random.Generator, count: int) -> list[Reading]:
    """Every value changes at every sample."""
    table = rng.uniform(1, 100, (count, len(BANDS))).round(2)
    return [
        Reading(START_MS + 1000 * EVERY_S * n, dict(zip(BANDS, row, strict=True)))
        for n, row in enumerate(table.tolist())
    ]


def station(rng: np.random.Generator, count: int) -> list[Reading]:
    """A heating station: a slow cycle, a step every quarter of an hour or so, noise, counters."""
    names = list(BANDS)
    bands = np.array([1.0 if math.isinf(band) else band for band in BANDS.values()])
    step = np.arange(count)
    table = (
        rng.uniform(40, 80, len(names)) + 10 * bands * np.sin(2 * np.pi * step * EVERY_S / 86_400)[:, None]
    )
    table += rng.normal(0, bands / 4, table.shape)
    for name in ("valve_pct", "secondary_setpoint_c", "pump_hz"):
        moves = rng.choice([-4, -2, 2, 4], count) * (rng.random(count) < EVERY_S / 2700)
        table[:, names.index(name)] += BANDS[name] * np.cumsum(moves)
    for name, rate in (("energy_gj", 0.01), ("volume_m3", 0.01), ("secondary_makeup_m3", 0.0005)):
        table[:, names.index(name)] = rng.uniform(40, 80) + rate * step
    return [
        Reading(START_MS + 1000 * EVERY_S * n, dict(zip(names, row, strict=True)))
        for n, row in enumerate(table.round(2).tolist())
    ]


def carried(packets: Sequence[bytes]) -> int:
    """What writes cost below MQTT too, each with its bare acknowledgement. [bytes]"""
    total = 0
    for packet in packets:
        size = len(packet) + TLS
        total += size + TCP * math.ceil(size / SEGMENT) + TCP
    return total


PUBACK = bytes(4)


def one_value_each(readings: Sequence[Reading]) -> Iterator[bytes]:
    for reading in readings:
        for name, value in reading.values.items():
            payload = json.dumps({"t": reading.t_ms, "v": value}, separators=(",", ":")).encode()
            yield publish(f"{TOPIC}/{name}", payload, 1, again=False)
            yield PUBACK


def ours(readings: Sequence[Reading], each: int) -> Iterator[bytes]:
    for seq, start in enumerate(range(0, len(readings), each), 1):
        samples = b",".join(encode_sample(r.t_ms, r.values) for r in readings[start : start + each])
        head = f'{{"boot":{START_MS},"seq":{seq},"samples":['.encode()
        yield publish(f"{TOPIC}/telemetry", head + samples + b"]}", 1, again=False)
        yield PUBACK
        ack = json.dumps({"boot": START_MS, "ranges": [[seq, seq]]}, separators=(",", ":")).encode()
        yield publish(f"{TOPIC}/ack", ack, 1, again=False)
        yield PUBACK


def sparkplug(readings: Sequence[Reading], *, changed: bool) -> Iterator[bytes]:
    """NDATA at QoS 0, aliases for names, floats; with `changed` only metrics that are another value."""
    payload_class, _ = _schema()
    before: dict[str, float | str] = {}
    for seq, reading in enumerate(readings):
        payload = payload_class(timestamp=reading.t_ms, seq=seq % 256)
        for alias, (name, value) in enumerate(reading.values.items(), 1):
            if changed and before.get(name) == value:
                continue
            payload.metrics.add(alias=alias, timestamp=reading.t_ms, datatype=9, float_value=float(value))
        before = dict(reading.values)
        body = b"spBv1.0/north/NDATA/sub-0001"
        packet = struct.pack("!H", len(body)) + body + payload.SerializeToString()
        yield bytes(2 if len(packet) < 128 else 3) + packet


def by_exception(readings: Sequence[Reading]) -> list[Reading]:
    return Exceptions(ReportConfig(heartbeat_s=HEARTBEAT_S, dead_band=BANDS)).select(readings)


def main() -> None:
    without_options("wire_bytes", __doc__)
    count = int(HOURS * 3600 / EVERY_S)
    for title, make in (("values that all change", restless), ("a heating station", station)):
        readings = make(np.random.default_rng(1), count)
        few = by_exception(readings)
        ways = {
            "one value a message": one_value_each(readings),
            "a message a sample": ours(readings, 1),
            "gathered for a minute": ours(readings, 6),
            "gathered for ten minutes": ours(readings, 60),
            "by exception, a message a sample": ours(few, 1),
            "by exception, gathered for ten minutes": ours(few, max(1, round(60 * len(few) / count))),
            "Sparkplug B, QoS 0": sparkplug(readings, changed=False),
            "Sparkplug B, QoS 0, changed metrics": sparkplug(readings, changed=True),
        }
        print(f"{title}: {count} samples of {len(BANDS)} values, {len(few)} of them by exception")
        print(f"  {'':40} {'MQTT':>10} {'with TLS, TCP':>14}   bytes a sample taken")
        for name, way in ways.items():
            packets = list(way)
            print(f"  {name:40} {sum(map(len, packets)) / count:10.0f} {carried(packets) / count:14.0f}")


if __name__ == "__main__":
    main()
