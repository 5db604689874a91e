"""Records of every driver's protocol with what they say, made by code that the drivers do not share."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edge.drivers import cjt188, mbus, modbus
from edge.simulators import cjt188 as cjt188_sim
from edge.simulators import mbus as mbus_sim
from edge.simulators import modbus as modbus_sim


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


KINDS: dict[str, Callable[[random.Random], Record]] = {
    "modbus": lambda rng: modbus_record(rng, "rtu"),
    "modbus over TCP": lambda rng: modbus_record(rng, "tcp"),
    "mbus": mbus_record,
    "cjt188": cjt188_record,
}
