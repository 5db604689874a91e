"""Records of every driver's protocol with what they say, made by code that the drivers do not share."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from edge import jt808, sparkplug
from edge.drivers import cjt188, http_json, mbus, modbus, nmea, weighbridge
from edge.simulators import cjt188 as cjt188_sim
from edge.simulators import jt808 as jt808_sim
from edge.simulators import mbus as mbus_sim
from edge.simulators import modbus as modbus_sim
from edge.simulators import nmea as nmea_sim
from edge.simulators import sparkplug as sparkplug_sim
from edge.simulators import weighbridge as weighbridge_sim


@dataclass
class Record:
    """One record: its bytes, how it is read, and what it says.

    `unguarded` are the bytes that the protocol protects by nothing: a change there gives other data
    that are as sound, and no reader can tell. A truncation is an error at every byte all the same.
    """

    data: bytes
    decode: Callable[[bytes], Any]
    truth: Any
    unguarded: frozenset[int] = frozenset()
    blank: bytes = b""


def modbus_record(rng: random.Random, framing: str) -> Record:
    count, first, unit = rng.randint(1, 20), rng.randrange(60_000), rng.randint(1, 247)
    words = [rng.randrange(65_536) for _ in range(count)]
    held = {first + i: word.to_bytes(2, "big") for i, word in enumerate(words)}
    device = modbus_sim.Device({unit: lambda _: held}, rtu=framing == "rtu")
    table = rng.choice(["holding", "input"])
    request = modbus.Request(unit, table, first, count, rng.randint(1, 65_535), framing)
    data = device.heard(modbus.encode(request))
    unguarded = frozenset(range(9, len(data))) if framing == "tcp" else frozenset()
    return Record(data, lambda raw: modbus.decode(raw, request), words, unguarded)


def heat_values(rng: random.Random) -> dict[str, float]:
    """Values that all heat meters can show to the digit."""
    return {
        "energy_gj": rng.randrange(1_000_000) * 0.036,
        "volume_m3": rng.randrange(10_000_000) / 100,
        "heat_kw": rng.randrange(100_000) / 10,
        "flow_m3_h": rng.randrange(1_000_000) / 1000,
        "supply_c": rng.randrange(1800) / 10,
        "return_c": rng.randrange(1800) / 10,
        "operating_h": float(rng.randrange(900_000)),
    }


def mbus_record(rng: random.Random) -> Record:
    values, address = heat_values(rng), rng.randint(1, 250)
    ident = f"{rng.randrange(10**8):08d}"
    data = mbus_sim.telegram(address, ident, values)
    return Record(data, lambda raw: mbus.decode(raw, address, ident).values, values)


def cjt188_record(rng: random.Random) -> Record:
    values, serial = heat_values(rng), rng.randrange(256)
    given = {
        "address": "/dev/null",
        "meter": f"{rng.randrange(10**14):014d}",
        "type": rng.randint(0x20, 0x29),
        "edition": rng.choice(["2004", "2018"]),
        "unit_first": rng.random() < 0.5,
    }
    options = cjt188.Options.model_validate(given)
    data = cjt188_sim.answer(given, serial, values)
    # A preamble is as long as the line needs: what is lost or damaged of it changes nothing behind it.
    return Record(data[3:], lambda raw: cjt188.decode(raw, options, serial).values, values)


def weighbridge_record(rng: random.Random, kind: str) -> Record:
    kg = float(rng.randrange(-200, 49_999) * 20)
    tare = float(rng.randrange(10_000))
    net, motion, over = (rng.random() < 0.3 for _ in range(3))
    options = weighbridge.Options.model_validate({"address": "/dev/x", "format": kind})
    if kind == "sics":
        data = weighbridge_sim.sics(weighbridge_sim.Shown(kg, motion=motion))
        truth = weighbridge.Weight(kg, stable=not motion)
        # Its status and its ten characters of a number are all that another answer may have otherwise.
        return Record(
            data, lambda raw: weighbridge.decode_sics(raw, options), truth, frozenset({2, *range(4, 14)})
        )
    data = weighbridge_sim.toledo(weighbridge_sim.Shown(kg, motion, over, tare, net))
    truth = weighbridge.Weight(kg + (tare if net else 0.0), stable=not motion, in_range=not over)
    return Record(data, lambda raw: weighbridge.decode(raw, options), truth)


def nmea_record(rng: random.Random) -> Record:
    t_ms = rng.randrange(1_600_000_000, 1_900_000_000) * 1000 + rng.randrange(100) * 10
    minutes = rng.randrange(-53_999_999, 54_000_000), rng.randrange(-107_999_999, 108_000_000)
    lat, lon = (m / 600_000 for m in minutes)
    knots, heading = rng.randrange(100_000) / 1000, rng.randrange(3600) / 10
    data = nmea_sim.rmc(t_ms, lat, lon, knots * 1852 / 3600, heading)
    truth = (
        t_ms,
        *(pytest.approx(v, rel=1e-12, abs=1e-12) for v in (lat, lon, knots * 1852 / 3600, heading)),
    )
    return Record(data, nmea.decode, truth)


def jt808_record(rng: random.Random) -> Record:
    edition, phone = rng.choice([2013, 2019]), f"{rng.randrange(10**12):012d}"
    terminal = jt808_sim.Terminal(phone, edition)
    terminal.serial = rng.randrange(65_535)
    positions, bodies = [], []
    for _ in range(rng.randint(1, 4)):
        t_ms = rng.randrange(1_600_000_000, 1_900_000_000) * 1000
        lat, lon = (
            rng.randrange(-90_000_000, 90_000_001) / 1e6,
            rng.randrange(-180_000_000, 180_000_001) / 1e6,
        )
        fix, speed, heading = rng.random() < 0.8, rng.randrange(1500) / 36, float(rng.randrange(360))
        items = b"".join(
            bytes((i, 4)) + rng.randbytes(4) for i in rng.sample(range(1, 100), rng.randrange(4))
        )
        bodies.append(jt808_sim.location(t_ms, lat, lon, speed, heading, fix=fix, items=items))
        positions.append((t_ms, fix, lat, lon, pytest.approx(speed), heading))
    if len(bodies) == 1:
        data = terminal.message(0x0200, bodies[0])
    else:
        parts = b"".join(len(body).to_bytes(2, "big") + body for body in bodies)
        data = terminal.message(0x0704, len(bodies).to_bytes(2, "big") + b"\x00" + parts)

    def decode(raw: bytes) -> Any:
        message = jt808.decode(raw)
        read = jt808.batch if message.id == jt808.BATCH else lambda *body: [jt808.location(*body)]
        return message.phone, message.serial, read(message.body, message.offsets)

    return Record(data, decode, (phone, terminal.serial, positions))


def sparkplug_record(rng: random.Random) -> Record:
    t_ms, seq = rng.randrange(10**12, 2 * 10**12), rng.randrange(256)
    metrics, said = [], []
    for _ in range(rng.randint(1, 5)):
        name = rng.choice([None, "Supply/Temperature", "温度"])
        alias, at = rng.randrange(2**20), rng.randrange(10**12, 2 * 10**12)
        value = rng.choice([None, rng.random() * 100, rng.randrange(2**62)])
        historical = rng.random() < 0.3
        said.append(sparkplug_sim.metric(name, alias, at, 10, value, historical=historical))
        raw = value if isinstance(value, int) else None
        metrics.append((name, alias, at, 10, historical, None if value is None else float(value), raw))
    data = sparkplug_sim.payload(t_ms, seq, *said)
    return Record(data, sparkplug.decode, (t_ms, seq, tuple(metrics)), frozenset(range(len(data))))


def http_json_record(rng: random.Random) -> Record:
    values = heat_values(rng)
    given = {
        "url": "http://h/",
        "time": {"pointer": "/at", "format": "unix_s"},
        "values": {name: {"pointer": f"/data/{i}/值"} for i, name in enumerate(values)},
    }
    options = http_json.Options.model_validate(given)
    at = rng.randrange(1_600_000_000, 1_900_000_000)
    document = {"at": at, "data": [{"值": value} for value in values.values()]}
    data = json.dumps(document, ensure_ascii=rng.random() < 0.5).encode()
    truth = [http_json.Row(at * 1000, values, [])]
    unguarded = frozenset(range(len(data)))
    return Record(data, lambda raw: http_json.decode(raw, options), truth, unguarded, blank=b" \t\r\n")


KINDS: dict[str, Callable[[random.Random], Record]] = {
    "modbus": lambda rng: modbus_record(rng, "rtu"),
    "modbus over TCP": lambda rng: modbus_record(rng, "tcp"),
    "mbus": mbus_record,
    "cjt188": cjt188_record,
    "weighbridge": lambda rng: weighbridge_record(rng, "toledo"),
    "weighbridge on demand": lambda rng: weighbridge_record(rng, "sics"),
    "nmea": nmea_record,
    "jt808": jt808_record,
    "sparkplug": sparkplug_record,
    "http_json": http_json_record,
}
