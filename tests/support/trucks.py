"""Small generated histories of trucks between two places, and the journals that carry them."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from models.frame import Frame, FrameKind, Record, telemetry_schema
from models.position_filter import EARTH_M
from tests.support.telemetry import SITE_TEXTS, T0, Log, Message, registry_frame

TRUCK_STREAM = "h1"
STEP_MS = 900_000
DEGREE_M = math.radians(1.0) * EARTH_M
ROAD_M = 12_000.0
FAR_DEG = 39.0 + ROAD_M / DEGREE_M
TRUCK_TEXTS = {
    "site.toml": SITE_TEXTS["site.toml"] + '[[unit]]\nid = "h1"\nregion = "r1"\nname = "haulage"\n',
    "devices.csv": (
        "device,class,unit,stream,network,interval_s,place\n"
        "truck-1,truck,h1,h1,,30,\ntruck-2,truck,h1,h1,,30,\ntruck-3,truck,h1,h1,,30,\n"
        "bridge-m,weighbridge,h1,h1,,,mine\nbridge-p,weighbridge,u1,h1,,,plant-yard\n"
    ),
    "places.csv": (
        "place,unit,kind,name,lat_deg,lon_deg,radius_m\n"
        "mine,,mine,Mine,39.0,110.0,500\n"
        f"plant-yard,u1,yard,Yard,{39.0 + ROAD_M / DEGREE_M:.6f},110.0,500\n"
    ),
    "vehicles.csv": (
        "plate,device,tag,tare_kg,rated_kg\n"
        "P1,truck-1,T1,15000,49000\nP2,truck-2,T2,15000,49000\nP3,truck-3,T3,15000,49000\n"
    ),
}


def truck_history(seed: int, hours: float = 4.0, trucks: int = 3, *, bad: bool = True) -> list[Message]:
    """Trucks that stand at one end of a road and drive to the other in turn, at 30 s, with gaps.

    A few fixes are at (0, 0), 500 km away or beyond the pole; a few come twice.
    """
    rng = np.random.default_rng(seed)
    messages = []
    for truck in range(1, trucks + 1):
        ends, where, at = [0.0], [0.0], 0.0
        while ends[-1] < hours * 3_600:
            ends.append(ends[-1] + float(rng.uniform(300, 1_800)))  # stands
            where.append(at)
            at = ROAD_M - at
            ends.append(ends[-1] + ROAD_M / float(rng.uniform(10, 20)))
            where.append(at)
        t = np.arange(int(rng.integers(0, 30)), int(hours * 3_600), 30)
        gap = float(rng.uniform(0, hours * 3_000))
        t = t[(t < gap) | (t > gap + float(rng.uniform(100, 800)))]
        north = np.interp(t, ends, where) + 4.0 * rng.standard_normal(len(t))
        lat, lon = 39.0 + north / DEGREE_M, 110.0 + 5e-5 * rng.standard_normal(len(t))
        kind = rng.random(len(t)) if bad else np.ones(len(t))
        lat = np.where(kind < 0.01, 0.0, np.where(kind < 0.02, lat + 4.5, np.where(kind < 0.03, 95.0, lat)))
        lon = np.where(kind < 0.01, 0.0, lon)
        for n, (second, a, b) in enumerate(zip(t.tolist(), lat.round(6), lon.round(6), strict=True)):
            sample = (T0 + 1_000 * second, {"lat_deg": float(a), "lon_deg": float(b)})
            messages.append(Message(f"truck-{truck}", T0 - 5, n + 1, (sample,)))
    return messages


def weighings(messages: Sequence[Message]) -> list[Message]:
    """Tickets of those trucks: at each end of the road two, a minute apart, in the middle of each stand."""
    tickets: list[tuple[int, str, dict[str, Any]]] = []
    for device in sorted({m.device for m in messages}):
        fixes = [(t, v["lat_deg"]) for m in messages if m.device == device for t, v in m.samples]
        for bridge, lat, steps in (
            ("bridge-m", 39.0, ("tare", "gross")),
            ("bridge-p", FAR_DEG, ("gross", "tare")),
        ):
            near = np.array([t for t, at in fixes if abs(at - lat) * DEGREE_M < 50.0])
            for stand in np.split(near, np.flatnonzero(np.diff(near) > 300_000) + 1):
                if len(stand) < 8:
                    continue
                middle = int(stand[len(stand) // 2])
                for k, step in enumerate(steps):
                    names = {"ticket": f"{bridge}-{device}-{middle}", "plate": f"P{device[-1]}", "step": step}
                    mass = 15_000.0 if step == "tare" else 46_000.0
                    tickets.append((middle + 60_000 * k, bridge, {**names, "mass_kg": mass}))
    tickets.sort(key=lambda x: (x[1], x[0], x[2]["plate"]))
    seqs: dict[str, int] = {}
    found = []
    for t, bridge, values in tickets:
        seqs[bridge] = seqs.get(bridge, 0) + 1
        found.append(Message(bridge, T0 - 5, seqs[bridge], ((t, values),)))
    return found


def truck_frames(messages: Sequence[Message]) -> list[Frame]:
    """Fixes and tickets as frames, one a class."""
    frames = []
    for device_class in ("truck", "weighbridge"):
        rows = [
            {"device": m.device, "boot": m.boot, "seq": m.seq, "pos": pos, "t": t, **values}
            for m in messages
            if m.device.startswith("truck") == (device_class == "truck")
            for pos, (t, values) in enumerate(m.samples)
        ]
        if rows:
            batch = pa.RecordBatch.from_pylist(rows, schema=telemetry_schema(device_class))
            frames.append(Frame(FrameKind.TELEMETRY, device_class, batch))
    return frames


def truck_journal(batches: Sequence[Sequence[Message]], arrivals: Sequence[int]) -> list[Record]:
    """Records of a haulage stream, the registry first, a frame a batch and class."""
    log = Log(TRUCK_STREAM)
    log.append(registry_frame(TRUCK_TEXTS), T0)
    before = T0
    for batch, arrival in zip(batches, arrivals, strict=True):
        *others, last = truck_frames(batch)
        for frame in others:  # only the last frame of a flush moves now
            log.append(frame, before)
        log.append(last, arrival)
        before = arrival
    return log.records


def disordered(
    messages: Sequence[Message], rng: random.Random, held_ms: int = STEP_MS - 1_000
) -> tuple[list[list[Message]], list[int]]:
    """Batches of the messages in another order, a tenth of them twice, none held back longer than `held_ms`."""
    arrivals = [(m.newest_t + rng.randint(0, held_ms), m) for m in messages]
    arrivals += [(at + rng.randint(0, 3_600_000), m) for at, m in arrivals if rng.random() < 0.1]
    arrivals.sort(key=lambda a: (a[0], a[1].device, a[1].seq))
    batches, times = [], []
    while arrivals:
        size = rng.randint(1, 25)
        taken, arrivals = arrivals[:size], arrivals[size:]
        batches.append([m for _, m in taken])
        times.append(taken[0][0])
    return batches, times


def minutes(messages: Sequence[Message]) -> tuple[list[list[Message]], list[int]]:
    """The messages in order of time, a batch each minute, with when each arrives."""
    ordered = sorted(messages, key=lambda m: (m.newest_t, m.device))
    batches: dict[int, list[Message]] = {}
    for m in ordered:
        batches.setdefault(m.newest_t // 60_000, []).append(m)
    return list(batches.values()), [60_000 * (k + 1) + 500 for k in batches]
