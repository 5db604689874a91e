"""Fixes per second through a stream with every operator: ``python -m benchmarks.logistics_speed [STEPS]``.

The fleet of `benchmarks.track_speed`, as a stream gets it: each truck sends a minute of fixes in one message,
a frame holds a sixth of the fleet every 10 s, and every load is weighed empty and full at both ends, by
contract. Registry, ledger, readings, marks, learners and entities (weighing, trip, eta, queue, fulfilment,
fuel_heat) are in it, with provisional rows every 10 s; payloads and the store are not. CPU seconds of this
process, over all steps of a quarter of an hour but the first.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.machine import machine
from benchmarks.track_speed import GOAL, INTERVAL_S, LANE_M, LANES, START_MS, STEP_S, TRUCKS, fixes
from models.frame import Frame, FrameKind, Record, telemetry_schema
from models.position_filter import EARTH_M
from streams.core.pipeline import Pipeline
from streams.core.rows import Rows, numeric_columns

FRAMES = 6
"""Frames in which the fleet's messages of a minute come."""
STAY_S, WAY_S = 1_200.0, LANE_M / 12.5
ROUND_S = 2 * (STAY_S + WAY_S)
STEPS = 3
STREAM = "haulage"


def texts() -> dict[str, str]:
    """The registry: trucks; of each lane a mine and a yard with their weighbridges, and a contract."""
    devices = [f"truck-{n:04d},truck,u,{STREAM},{INTERVAL_S}," for n in range(TRUCKS)]
    places, contracts = [], []
    for lane in range(LANES):
        for end, kind, unit in ((0.0, "mine", ""), (LANE_M, "yard", "u")):
            lat, name = 38.0 + np.degrees(end / EARTH_M), f"{kind}-{lane}"
            places.append(f"{name},{unit},{kind},{name},{lat:.6f},{110.0 + 0.2 * lane:.6f},500")
            devices.append(f"bridge-{name},weighbridge,u,{STREAM},,{name}")
        contracts.append(
            f"C{lane},Seller {lane},Buyer,u,mine-{lane},yard-{lane},5500,2026-01,90000,600,23,{STREAM}"
        )
    vehicles = [f"P{n:04d},truck-{n:04d},T{n:04d},15000,49000" for n in range(TRUCKS)]
    seller = (
        "contract,seller,buyer,unit,origin,destination,grade,month,planned_t,price_cny_t,q_ref_mj_kg,stream"
    )
    return {
        "site.toml": '[site]\nname = "s"\ntimezone = "UTC"\n[[region]]\nid = "r"\nname = "r"\n'
        '[[unit]]\nid = "u"\nregion = "r"\nname = "u"\n',
        "devices.csv": "\n".join(["device,class,unit,stream,interval_s,place", *devices]) + "\n",
        "places.csv": "\n".join(["place,unit,kind,name,lat_deg,lon_deg,radius_m", *places]) + "\n",
        "vehicles.csv": "\n".join(["plate,device,tag,tare_kg,rated_kg", *vehicles]) + "\n",
        "contracts.csv": "\n".join([seller, *contracts]) + "\n",
    }


def positions(step: int, seq: int) -> list[tuple[int, Frame]]:
    """Frames of one step with when they come; message numbers go on from `seq`. [ms UTC]"""
    rows, frames = fixes(step), []
    t_s = (rows.t - START_MS) // 1000
    for minute in range(step * STEP_S // 60, (step + 1) * STEP_S // 60):
        of_minute = rows.take(t_s // 60 == minute)
        for part in range(FRAMES):
            mine = of_minute.take(of_minute.device % FRAMES == part)
            at_ms = START_MS + 1000 * (60 * minute + 60 + part * 60 // FRAMES)
            frames.append((at_ms, _frame(mine, seq + minute)))
    return frames


def _frame(rows: Rows, seq: int) -> Frame:
    columns = numeric_columns("truck")
    values = dict(zip(columns, rows.values, strict=True))
    names = np.array([f"truck-{n:04d}" for n in range(TRUCKS)], dtype=object)
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array(names[rows.device], pa.string()).dictionary_encode().cast(pa.string()),
            pa.array(np.full(rows.n, START_MS - 1), pa.int64()),
            pa.array(np.full(rows.n, seq), pa.int64()),
            pa.array((rows.t - START_MS) // 1000 % 60 // INTERVAL_S, pa.int32()),
            pa.array(rows.t, pa.int64()),
            *(pa.array(values[n]) for n in ("lat_deg", "lon_deg")),
        ],
        names=["device", "boot", "seq", "pos", "t", "lat_deg", "lon_deg"],
    )
    schema = telemetry_schema("truck")
    kept = pa.schema([schema.field(n) for n in batch.schema.names])
    return Frame(FrameKind.TELEMETRY, "truck", batch.cast(kept))


def tickets(step: int) -> list[tuple[int, str, dict[str, Any]]]:
    """Weighings of one step: (time in ms UTC, bridge, values)."""
    found = []
    for truck in range(TRUCKS):
        lane = truck % LANES
        net = 30_000 + truck % 50 * 20
        for after_s, place, weighed, mass in (
            (300.0, "mine", "tare", 15_000), (900.0, "mine", "gross", 15_000 + net),
            (STAY_S + WAY_S + 300.0, "yard", "gross", 15_000 + net),
            (STAY_S + WAY_S + 900.0, "yard", "tare", 15_000),
        ):  # fmt: skip
            first = -(-(step * STEP_S + 1.9 * truck - after_s) // ROUND_S)
            at_s = first * ROUND_S + after_s - 1.9 * truck
            if at_s < (step + 1) * STEP_S:
                values = {
                    "ticket": f"{place}-{truck}-{int(first)}", "plate": f"P{truck:04d}",
                    "tag": f"T{truck:04d}", "step": weighed, "mass_kg": float(mass),
                    "contract": f"C{lane}", "grade": "5500",
                }  # fmt: skip
                found.append((START_MS + int(1000 * at_s), f"bridge-{place}-{lane}", values))
    return sorted(found, key=lambda x: (x[0], x[1]))


def weighings(step: int, seqs: dict[str, int]) -> list[tuple[int, Frame]]:
    """Frames of the weighings of one step, one a minute; `seqs` are the bridges' last message numbers."""
    frames: dict[int, list[dict[str, Any]]] = {}
    for t, bridge, values in tickets(step):
        seqs[bridge] = seqs.get(bridge, 0) + 1
        row = {"device": bridge, "boot": START_MS - 1, "seq": seqs[bridge], "pos": 0, "t": t, **values}
        frames.setdefault(t // 60_000 * 60_000 + 60_000, []).append(row)
    schema = telemetry_schema("weighbridge")
    return [
        (at, Frame(FrameKind.TELEMETRY, "weighbridge", pa.RecordBatch.from_pylist(rows, schema=schema)))
        for at, rows in sorted(frames.items())
    ]


def speed(steps: int) -> None:
    """Measure the stream over all steps but the first."""
    pipeline = Pipeline(STREAM)
    row = {"device": "", "kind": "registry", "payload": json.dumps(texts())}
    pipeline.step(Record(STREAM, 0, START_MS, Frame.events([row], FrameKind.REGISTRY).encode()))
    seqs: dict[str, int] = {}
    told: dict[str, int] = {}
    spent, taken = 0.0, 0
    for step in range(steps):
        frames = sorted([*positions(step, 1), *weighings(step, seqs)], key=lambda x: x[0])
        encoded = [(at, f.encode(), f.batch.num_rows * (f.device_class == "truck")) for at, f in frames]
        for at_ms, data, fixes_here in encoded:
            began = time.process_time()
            outputs = pipeline.step(Record(STREAM, pipeline.offset + 1, at_ms, data))
            if step:
                spent += time.process_time() - began
                taken += fixes_here
                for name, tables in outputs.rows.items():
                    told[name] = told.get(name, 0) + sum(t.num_rows for t in tables)
    rows = ", ".join(f"{name} {count:,}" for name, count in sorted(told.items()))
    print(
        f"every operator of a stream, {TRUCKS} trucks at {INTERVAL_S} s: {taken / spent:,.0f} fixes/s a core"
    )
    print(f"  (goal {GOAL:,}); {taken:,} fixes in {spent:.1f} s of CPU; rows said: {rows}")


if __name__ == "__main__":
    print(machine())
    speed(int(sys.argv[1]) if len(sys.argv) > 1 else STEPS)
