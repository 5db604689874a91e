"""A stream's life with all that a checkpoint is there for: what comes late, twice, never, wrong or from elsewhere."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from models.frame import (
    DELIVERIES,
    LETTER_ALLOWED,
    REFUSAL_SCHEMA,
    ROW_OF_ANOTHER_STREAM,
    Frame,
    FrameKind,
    telemetry_schema,
)
from streams.core.deliveries import Deliveries
from tests.support.telemetry import T0, Message, registry_frame

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
BOOT = T0 - 5
BEGIN_MS = T0 + 11 * HOUR_MS
"""Five hours before a local midnight, so that a day of the ledger is settled, and restated."""
CLASS_OF = {
    "plant": "plant", "sub-1": "substation", "sub-2": "substation", "sub-3": "substation", "hour-1": "meter",
    "yard-1": "yard", "desk": "office", "met": "weather",
}  # fmt: skip
INTERVAL_MIN = {"plant": 4, "sub-1": 4, "sub-2": 4, "sub-3": 6, "hour-1": 60, "yard-1": 30, "met": 15}
_SITE = (
    '[site]\nid = "s"\nname = "test"\ntimezone = "Asia/Shanghai"\nlateness_s = {lateness_s}\n'
    '[[region]]\nid = "r1"\nname = "north"\n'
    '[[unit]]\nid = "u1"\nregion = "r1"\nname = "unit one"\nmin_stock_t = 100\n'
    '[[network]]\nid = "n1"\nunit = "u1"\nname = "net"\nvolume_m3 = 300\nreturn_ref_c = 45\nwindow_s = 3600\n'
    "ground_c = 4\nmakeup_limit_pct = 1\nmakeup_c = 12\n"
    '[[network]]\nid = "a2"\nunit = "u1"\nname = "a net without a plant"\nreturn_ref_c = 45\nwindow_s = 7200\n'
)
_DEVICES = (
    "device,class,unit,stream,network,qp_m3_h,accuracy_class,dt_min_k,mounting,interval_s,node\n"
    "plant,plant,u1,,n1,400,2,3,supply,240,A\nsub-1,substation,u1,{of_sub_1},,20,2,3,return,,\n"
    "sub-2,substation,u1,,n1,20,2,3,return,240,C\nsub-3,substation,u1,{of_sub_3},,20,2,3,return,360,\n"
    "hour-1,meter,u1,,a2,3,3,3,return,{hour_s},\nyard-1,yard,u1,,,,,,,,\ndesk,office,u1,,,,,,,,\n"
    "met,weather,u1,,,,,,,900,\n"
)
_PIPES = (
    "pipe,network,from_node,to_node,length_m,inner_diameter_m,u_w_m_k\n"
    "p1,n1,A,B,800,0.1,0.4\np2,n1,B,C,400,0.08,0.4\n"
)
_CONTRACTS = (
    "contract,seller,buyer,unit,origin,destination,grade,month,planned_t,price_cny_t,q_ref_mj_kg,stream\n"
    "C1,Seller A,Buyer,u1,mine,plant-yard,5500,2026-01,1000,600,23,h1\n"
)


_PLACES = (
    "place,unit,kind,name,lat_deg,lon_deg,radius_m\n"
    "mine,,mine,Mine,39.0,110.0,500\nplant-yard,u1,yard,Yard,39.5,111.0,500\n"
)


def texts(
    lateness_s: int = 900, of_sub_1: str = "", of_sub_3: str = "u2", hour_s: int = 3600
) -> dict[str, str]:
    """The registry: later versions move devices and change how late what comes may be."""
    devices = _DEVICES.format(of_sub_1=of_sub_1, of_sub_3=of_sub_3, hour_s=hour_s)
    return {
        "site.toml": _SITE.format(lateness_s=lateness_s), "devices.csv": devices, "pipes.csv": _PIPES,
        "contracts.csv": _CONTRACTS, "places.csv": _PLACES,
    }  # fmt: skip


def _measured(
    device: str, t: int, at: int, sums: dict[str, float], rng: np.random.Generator
) -> dict[str, float]:
    """What a device measures; `sums` are its counters."""
    name = CLASS_OF[device]
    outdoor = -6.0 + 5.0 * math.sin(2 * math.pi * (t - T0) / DAY_MS)
    if name == "weather":
        more = {f"outdoor_{h}h_c": outdoor + 0.1 * h for h in (1, 2, 3, 6, 12, 24, 48, 72)}
        return {"outdoor_c": outdoor, "wind_m_s": 3.0, **more}
    if name == "yard":
        return {"stock_t": 900.0 - (t - T0) / HOUR_MS}
    share = {"plant": 1.0, "sub-1": 0.5, "sub-2": 0.3, "sub-3": 0.15, "hour-1": 0.05}[device]
    flow = share * 20.0 * float(rng.uniform(0.9, 1.1))
    supply, back = 85.0 + float(rng.normal(0, 0.2)), 45.0 + float(rng.normal(0, 0.2))
    hours = INTERVAL_MIN[device] * MINUTE_MS / HOUR_MS
    sums["energy_gj"] = sums.get("energy_gj", 100.0) + flow * hours * 40 * 0.0041
    sums["volume_m3"] = sums.get("volume_m3", 1000.0) + flow * hours
    values = {
        "flow_m3_h": flow,
        "supply_c": supply,
        "return_c": back,
        "energy_gj": round(sums["energy_gj"], 3),
    }
    if device != "sub-2":
        values["volume_m3"] = round(sums["volume_m3"], 2)
    if name == "plant":
        sums["makeup_m3"] = sums.get("makeup_m3", 50.0) + 0.02
        sums["fuel_kg"] = sums.get("fuel_kg", 9000.0) + flow * hours * 9
        values |= {
            "makeup_m3": round(sums["makeup_m3"], 2), "makeup_c": 12.0, "tank_m3": 20.0 - 0.01 * (at % 50),
            "supply_kpa": 800.0 + float(rng.normal(0, 2)), "return_kpa": 300.0, "outdoor_c": outdoor,
            "fuel_kg": round(sums["fuel_kg"], 1),
        }  # fmt: skip
    if name == "substation":
        values |= {
            "secondary_supply_c": 55.0, "secondary_return_c": 40.0, "secondary_flow_m3_h": 2.5 * flow,
            "secondary_setpoint_c": 55.0, "valve_pct": 40.0 + float(rng.normal(0, 3)), "supply_kpa": 700.0,
            "return_kpa": 350.0, "secondary_supply_kpa": 400.0, "secondary_return_kpa": 250.0,
        }  # fmt: skip
    if device == "sub-2" and at % 45 > 30:  # a stuck sensor, and later a leaking valve
        values["supply_c"] = 85.0
    if device == "sub-1" and at % 60 > 50:
        values["supply_c"] = 300.0
    if rng.random() < 0.04:
        del values["supply_c"]
    return values


def measured(seed: int, hours: float) -> list[Message]:
    """Messages of all devices that measure, by time, in each one to three samples."""
    rng = np.random.default_rng(seed)
    messages: list[Message] = []
    for device, minutes in INTERVAL_MIN.items():
        sums: dict[str, float] = {}
        waits: list[tuple[int, dict[str, float]]] = []
        seq, many = 0, int(rng.integers(1, 4))
        first = BEGIN_MS + int(rng.integers(0, minutes * MINUTE_MS))
        for at, t in enumerate(range(first, BEGIN_MS + int(hours * HOUR_MS), minutes * MINUTE_MS)):
            values = _measured(device, t, at, sums, rng)
            if rng.random() > 0.02:
                waits.append((t, values))
            if len(waits) >= many or (waits and minutes > 10):
                seq += 1 if rng.random() < 0.98 else 2  # one is lost for ever
                messages.append(Message(device, BOOT, seq, tuple(waits)))
                waits, many = [], int(rng.integers(1, 4))
    return sorted(messages, key=lambda m: (m.newest_t, m.device))


def telemetry(messages: list[Message]) -> list[Frame]:
    """Frames of messages, one a class."""
    frames = []
    for name in dict.fromkeys(CLASS_OF[m.device] for m in messages):
        rows = [
            {"device": m.device, "boot": m.boot, "seq": m.seq, "pos": pos, "t": t, **values}
            for m in messages
            if CLASS_OF[m.device] == name
            for pos, (t, values) in enumerate(m.samples)
        ]
        frames.append(
            Frame(FrameKind.TELEMETRY, name, pa.RecordBatch.from_pylist(rows, schema=telemetry_schema(name)))
        )
    return frames


def office(seq: int, t: int, boot: int = BOOT, **values: Any) -> Frame:
    """An entry of an office."""
    rows = [{"device": "desk", "boot": boot, "seq": seq, "pos": 0, "t": t, **values}]
    return Frame(
        FrameKind.TELEMETRY, "office", pa.RecordBatch.from_pylist(rows, schema=telemetry_schema("office"))
    )


def said_of(device: str, kind: str, **payload: Any) -> Frame:
    """A birth or a state."""
    return Frame.events([{"device": device, "kind": kind, "payload": json.dumps({"boot": BOOT, **payload})}])


def refused(device: str, seq: int, reason: str = "schema") -> Frame:
    """A message that was refused at the door."""
    row = {
        "topic": f"hearthline/v1/r1/u1/{device}/telemetry", "device": device, "boot": BOOT, "seq": seq,
        "reason": reason, "detail": "", "payload": b"{}", "retained": False,
    }  # fmt: skip
    return Frame(FrameKind.REFUSAL, "", pa.RecordBatch.from_pylist([row], schema=REFUSAL_SCHEMA))


def action(device: str, kind: str, **about: Any) -> Frame:
    """What a person, or another stream, did."""
    return Frame.events([{"device": device, "kind": kind, "payload": json.dumps(about)}], FrameKind.ACTION)


def trip(n: int, told: int, start_ms: int) -> Frame:
    """A trip that the haulage group tells the unit of."""
    values = {
        "unit": "u1", "window_ms": 0, "status": "final", "reason": "", "revision": told - 1, "plate": "P1",
        "contract": "C1", "origin": "mine", "destination": "plant-yard", "origin_ticket": f"M{n}", "state": "closed",
        "loaded_kg": 30_000.0 + told, "received_kg": 29_900.0, "arrived": start_ms + 5 * HOUR_MS,
    }  # fmt: skip
    about = {
        "measurement": "trip",
        "key": f"M{n}",
        "start_ms": start_ms,
        "stream": "h1",
        "told": told,
        "values": values,
    }
    return action("", ROW_OF_ANOTHER_STREAM, **about)


def _given(stream: str, offset: int) -> dict[str, Any]:
    """What another stream knew of a device that comes from it."""
    known = Deliveries()
    known.boot(BOOT).stored.add(1, 2)
    return {
        "given": json.dumps({"deliveries": known.to_json(), "names": "", "revisions": {}}), "stream": stream,
        "offset": offset, "waits": [["late", BEGIN_MS - HOUR_MS, BEGIN_MS - HOUR_MS // 2]],
    }  # fmt: skip


def _registered(begin: int) -> list[tuple[int, Frame]]:
    """Versions of the registry: lateness grows and shrinks, devices come from other streams, go and come back."""
    h = HOUR_MS
    return [
        (begin + 2 * h, registry_frame(texts(lateness_s=1200, of_sub_3=""))),
        (begin + 2 * h + 9 * MINUTE_MS, action("sub-3", DELIVERIES, **_given("u2", 77))),
        (begin + 2 * h + 20 * MINUTE_MS, action("sub-3", DELIVERIES, **_given("u2", 77))),  # at least once
        (begin + 3 * h + h // 2, registry_frame(texts(lateness_s=600, of_sub_3="", hour_s=7200))),
        (begin + 4 * h, registry_frame(texts(lateness_s=600, of_sub_1="u2", of_sub_3="", hour_s=7200))),
        (begin + 4 * h + 40 * MINUTE_MS, registry_frame(texts(of_sub_3=""))),
        (begin + 4 * h + 41 * MINUTE_MS, action("sub-1", DELIVERIES, **_given("u2", 99))),
    ]


def _reported(begin: int) -> list[tuple[int, Frame]]:
    """What devices say of themselves: one has a backlog, says since when, and in the end that it has none."""
    h = HOUR_MS
    birth = {"at": begin, "interval_s": 240, "collector": "c", "class": "substation"}
    backlog = {"next_seq": 40, "waiting": [[30, 33]], "waiting_from": begin + h, "thinned": []}
    return [
        (begin + 1000, said_of("sub-1", "birth", **birth)),
        (begin + h, said_of("sub-2", "state", at=begin + h, next_seq=21, waiting=[], thinned=[])),
        (begin + h + h // 3, said_of("sub-2", "state", at=begin + h + h // 3, **backlog)),
        (
            begin + 3 * h,
            said_of("sub-2", "state", at=begin + 3 * h, next_seq=60, waiting=[], thinned=[[1, 20]]),
        ),
        (begin + h + 7 * MINUTE_MS, refused("sub-1", 5_001)),
        (begin + 3 * h + 2 * MINUTE_MS, refused("sub-1", 5_001)),
    ]


def _entered(begin: int) -> list[tuple[int, Frame]]:
    """What people enter, an entry again with another volume, older words on it after that; trips of the coal."""
    h = HOUR_MS
    flush = {"ref": "F1", "event": "flush", "network": "n1"}
    draw = {"ref": "D1", "event": "draw", "network": "n1", "volume_m3": 1.0}
    return [
        (begin + 5 * MINUTE_MS, office(1, begin + 4 * MINUTE_MS, **flush, volume_m3=3.0)),
        (begin + 12 * MINUTE_MS, office(6, begin + 10 * MINUTE_MS, **draw)),
        (begin + 2 * h, office(5, begin + h, **flush, volume_m3=5.0)),
        (begin + 4 * h + 9 * MINUTE_MS, office(4, begin + 2 * h, **flush, volume_m3=9.0)),
        (begin + 4 * h + 12 * MINUTE_MS, office(9, begin + 3 * h, BOOT - 10, **flush, volume_m3=7.0)),
        (begin + 3 * h + 5 * MINUTE_MS, office(2, begin + 3 * h, ref="S1", event="survey", stock_t=880.0)),
        (begin + h, trip(1, 1, begin - 4 * h)),
        (begin + 2 * h, trip(1, 3, begin - 4 * h)),
        (begin + 3 * h, trip(1, 2, begin - 4 * h)),
        (begin + 4 * h, trip(2, 1, begin - 2 * h)),
        (
            begin + 2 * h + MINUTE_MS,
            action("sub-2", LETTER_ALLOWED, boot=BOOT, seq=3, oldest_t=begin + 4 * h),
        ),
    ]


def _arrivals(seed: int, hours: float, rng: random.Random) -> list[tuple[int, list[Frame]]]:
    """What devices send, and when it comes (ms UTC): most at once, some late, twice, altered or never."""
    coming: list[tuple[int, list[Frame]]] = []
    batch: list[Message] = []
    for m in measured(seed, hours):
        silent = BEGIN_MS + 2.4 * HOUR_MS < m.newest_t < BEGIN_MS + 2.9 * HOUR_MS
        draw = rng.random()
        if silent or draw < 0.12:
            hours_late = rng.randint(20 * MINUTE_MS, 3 * HOUR_MS)
            late = hours_late if silent or draw < 0.04 else rng.randint(1, 14) * MINUTE_MS
            coming.append((m.newest_t + late, telemetry([m])))
            continue
        batch.append(m)
        if rng.random() < 0.6:
            coming.append((m.newest_t + 500, telemetry(batch)))
            batch = []
        if draw > 0.92:
            coming += [(m.newest_t + late, telemetry([other])) for late, other in _once_more(m, draw, rng)]
    return coming


def _once_more(m: Message, draw: float, rng: random.Random) -> list[tuple[int, Message]]:
    """A message again: as it was, otherwise under another name, or another that has used its number."""
    if draw > 0.96:
        return [(rng.randint(0, HOUR_MS), m)]
    if draw > 0.94:
        other = tuple((t, {n: v + 0.5 for n, v in values.items()}) for t, values in m.samples)
        return [(rng.randint(0, 40) * MINUTE_MS, Message(m.device, BOOT + 1, m.seq, other))]
    reused = replace(m, seq=3)
    return [(700, reused), (50 * MINUTE_MS, reused)]


def unit_stream(seed: int, hours: float = 6.0) -> Iterator[tuple[int, Frame]]:
    """Frames of a unit's stream and when each is appended (ms UTC): over a local midnight, with silences.

    Devices come and go, wait with a backlog, and send late; the registry changes; now goes back at times, and
    at times stands still.
    """
    rng = random.Random(seed)
    yield BEGIN_MS - 1000, registry_frame(texts())
    events = [*_registered(BEGIN_MS), *_reported(BEGIN_MS), *_entered(BEGIN_MS)]
    coming = [(at, [frame]) for at, frame in events] + _arrivals(seed, hours, rng)
    for at, frames in sorted(coming, key=lambda each: each[0]):
        for frame in frames:
            yield at - (90_000 if rng.random() < 0.02 else 0), frame
        if rng.random() < 0.03:
            yield at, Frame.heartbeat()
