"""Small generated histories of weighings and office events, and the frames that carry them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from models.frame import Frame, FrameKind, Record, telemetry_schema
from streams.core.pipeline import Pipeline
from tests.support.telemetry import SITE_TEXTS, T0, Log, registry_frame

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
STREAM = "h1"
ROAD_TEXTS = {
    "site.toml": SITE_TEXTS["site.toml"] + '[[unit]]\nid = "h1"\nregion = "r1"\nname = "haulage"\n',
    "devices.csv": (
        "device,class,unit,stream,network,interval_s,place\n"
        "plant,plant,u1,,n1,60,\n"
        "truck-1,truck,h1,h1,,60,\n"
        "truck-2,truck,h1,h1,,60,\n"
        "bridge-m,weighbridge,h1,h1,,,mine\n"
        "bridge-p,weighbridge,u1,h1,,,plant-yard\n"
        "lab-m,lab,h1,h1,,,mine\n"
        "lab-p,lab,u1,h1,,,plant-yard\n"
        "desk,office,h1,h1,,,\n"
    ),
    "places.csv": (
        "place,unit,kind,name,lat_deg,lon_deg,radius_m\n"
        "mine,,mine,Mine,39.0,110.0,500\n"
        "plant-yard,u1,yard,Yard,39.5,111.0,500\n"
    ),
    "contracts.csv": (
        "contract,seller,buyer,unit,origin,destination,grade,month,planned_t,price_cny_t,q_ref_mj_kg,stream\n"
        "C1,Seller A,Buyer,u1,mine,plant-yard,5500,2026-01,1000,600,23,h1\n"
        "C2,Seller B,Buyer,u1,mine,plant-yard,5500,2026-01,1000,600,23,h1\n"
    ),
    "vehicles.csv": (
        "plate,device,tag,tare_kg,rated_kg\n"
        "P1,truck-1,T1,15000,49000\nP2,truck-2,T2,15000,49000\nP3,,T3,15000,49000\n"
    ),
}
CLASS_OF = {
    "bridge-m": "weighbridge", "bridge-p": "weighbridge", "lab-m": "lab", "lab-p": "lab", "desk": "office",
    "truck-1": "truck", "truck-2": "truck",
}  # fmt: skip


@dataclass(frozen=True)
class Event:
    """One message of one sample."""

    device: str
    seq: int
    t: int
    values: dict[str, Any]


def weighing(seq: int, t: int, ticket: str, step: str, mass_kg: float, **more: Any) -> Event:
    """A weighing at the mine, unless `device` says otherwise."""
    device = more.pop("device", "bridge-m")
    values = {
        "ticket": ticket,
        "step": step,
        "mass_kg": mass_kg,
        "plate": "P1",
        "tag": "T1",
        "contract": "C1",
    }
    return Event(device, seq, t, {k: v for k, v in (values | more).items() if v is not None})


def trips(seed: int, days: float = 2.0, plates: Sequence[str] = ("P1", "P2", "P3")) -> list[Event]:
    """Weighings of trucks that go back and forth, by device in order of seq, a few of them again otherwise."""
    rng = np.random.default_rng(seed)
    raw: list[tuple[int, str, dict[str, Any]]] = []
    for truck, plate in enumerate(plates):
        t = T0 + int(rng.integers(0, 6 * HOUR_MS))
        n = 0
        while t < T0 + days * 24 * HOUR_MS:
            n += 1
            contract = ("C1", "C2")[int(rng.integers(0, 2))]
            tare, net = 15_000 + int(rng.integers(-5, 5)) * 20, int(rng.integers(1_400, 1_600)) * 20
            names = {"plate": plate, "tag": f"T{truck + 1}", "contract": contract, "grade": "5500"}
            at_mine, at_plant = f"M{plate}-{n}", f"Y{plate}-{n}"
            way = int(rng.integers(5 * HOUR_MS, 7 * HOUR_MS))
            legs = [
                (t, "bridge-m", at_mine, "tare", tare),
                (t + 40 * MINUTE_MS, "bridge-m", at_mine, "gross", tare + net),
                (t + 40 * MINUTE_MS + way, "bridge-p", at_plant, "gross", tare + net - 100),
                (t + 70 * MINUTE_MS + way, "bridge-p", at_plant, "tare", tare),
            ]
            for at, device, ticket, step, mass in legs:
                raw.append((at, device, names | {"ticket": ticket, "step": step, "mass_kg": float(mass)}))
                if rng.random() < 0.1:  # the same event once more, sometimes with another mass
                    other = mass + (20 if rng.random() < 0.5 else 0)
                    raw.append(
                        (at, device, names | {"ticket": ticket, "step": step, "mass_kg": float(other)})
                    )
            t += int(2.2 * way) + int(rng.integers(0, HOUR_MS))
    for n in range(6):
        values = {"ref": f"R{n % 5}", "event": "release", "contract": "C1", "mass_kg": 1000.0 * (n + 1)}
        raw.append((T0 + n * 5 * HOUR_MS, "desk", values))
    raw.sort(key=lambda r: (r[1], r[0]))
    seqs: dict[str, int] = {}
    events = []
    for t, device, values in raw:
        seqs[device] = seqs.get(device, 0) + 1
        events.append(Event(device, seqs[device], t, values))
    return events


def road_frame(device_class: str, events: Iterable[Event]) -> Frame:
    """Events of one class as a frame."""
    rows = [
        {"device": e.device, "boot": T0 - 5, "seq": e.seq, "pos": 0, "t": e.t, **e.values} for e in events
    ]
    batch = pa.RecordBatch.from_pylist(rows, schema=telemetry_schema(device_class))
    return Frame(FrameKind.TELEMETRY, device_class, batch)


def road_journal(
    batches: Sequence[Sequence[Event]], arrivals: Sequence[int], texts: dict[str, str] | None = None
) -> list[Record]:
    """Records of a haulage stream, the registry first, a frame a batch and class."""
    log = Log(STREAM)
    log.append(registry_frame(texts or ROAD_TEXTS), T0)
    for batch, arrival in zip(batches, arrivals, strict=True):
        for device_class in dict.fromkeys(CLASS_OF[e.device] for e in batch):
            mine = [e for e in batch if CLASS_OF[e.device] == device_class]
            log.append(road_frame(device_class, mine), arrival)
    return log.records


class Told:
    """Rows by measurement, key and start, as a store has them."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[tuple[str, int], dict[str, Any]]] = {}
        self.forwards: list[tuple[str, bytes]] = []

    def take(self, outputs: Any) -> None:
        for measurement, tables in outputs.rows.items():
            for table in tables:
                for row in table.to_pylist():
                    self.rows.setdefault(measurement, {})[row["key"], row["window_start"]] = row
        self.forwards += outputs.forwards

    def of(self, measurement: str, *without: str) -> dict[tuple[str, int], dict[str, Any]]:
        """Rows that are not withdrawn."""
        rows = self.rows.get(measurement, {})
        return {
            k: {n: v for n, v in r.items() if n not in without}
            for k, r in rows.items()
            if r["status"] != "withdrawn"
        }


def run_road(
    records: Sequence[Record],
    operators: Sequence[Any],
    *,
    until_ms: int,
    every_ms: int | None = 600_000,
    crash_at: Iterable[int] = (),
) -> Told:
    """Step all records and then a heartbeat at `until_ms`; at each `crash_at` go back to the checkpoint before."""
    pipeline = Pipeline(STREAM, operators, provisional_every_ms=every_ms)
    told = Told()
    crashes = set(crash_at)
    kept, at_kept = pipeline.checkpoint(), -1
    at = 0
    last = Record(STREAM, records[-1].offset + 1, until_ms, Frame.heartbeat().encode())
    everything = [*records, last]
    while at < len(everything):
        told.take(pipeline.step(everything[at]))
        if at in crashes:
            crashes.discard(at)
            pipeline = Pipeline.restore(kept, operators, provisional_every_ms=every_ms)
            at = at_kept
        elif at % 7 == 3:
            kept, at_kept = pipeline.checkpoint(), at
        at += 1
    told.take(pipeline.finish())
    return told
