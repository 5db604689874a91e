"""Coal of the board's small unit: a mine, trucks under way, tickets, queues, a yard and contracts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from models.results import Outputs, result_schema
from models.site import Contract, Place, Site, Vehicle
from streams.operators.contract_quality import contract_quality
from streams.operators.eta import eta
from streams.operators.fuel_heat import fuel_heat
from streams.operators.fulfilment import fulfilment
from streams.operators.fulfilment_period import fulfilment_period
from streams.operators.queue import queue
from streams.operators.track import TRACK_SCHEMA
from streams.operators.trip import trip
from streams.operators.weighing import weighing
from tests.support.board_data import DAY_MS, Day

PLACES = (
    Place("mine", None, "mine", "黑山煤矿", 38.06, 114.1, 600.0),
    Place("yard", "donghe", "yard", "东河煤场", 37.95, 113.9, 400.0),
)
CONTRACT = Contract(
    "C01",
    "黑山煤业",
    "东河热力",
    "donghe",
    "mine",
    "yard",
    "5000",
    "2026-01",
    10_000.0,
    600.0,
    20.9,
    "haulage",
)
HOUR_MS = 3_600_000


def with_coal(site: dict[str, Any]) -> dict[str, Any]:
    """What a site with coal has besides."""
    trucks = [d for d in site["devices"].values() if d.device_class == "truck"]
    return {
        **site, "places": {p.place: p for p in PLACES}, "contracts": {"C01": CONTRACT},
        "vehicles": {d.name: Vehicle(d.name, d.device, f"T{d.device}", 15_000.0, 49_000.0) for d in trucks},
    }  # fmt: skip


def site_with_coal(site: Site) -> Site:
    """The site with a mine, a yard, a contract and plates."""
    fields = {
        n: getattr(site, n) for n in ("id", "name", "timezone", "regions", "units", "networks", "devices")
    }
    return Site(**with_coal(fields))


def write_coal(day: Day) -> None:
    """Rows of every measurement that the pages of coal show, of the last day."""
    now = day.now_ms
    out = Outputs("haulage", day._next())

    def add(measurement: str, fields: Mapping[str, pa.DataType], *rows: dict[str, Any]) -> None:
        schema = result_schema([pa.field(n, kind) for n, kind in fields.items()])
        around = {
            "unit": "donghe", "region": "north", "stream": "haulage", "window_ms": 0, "coverage": 1.0,
            "status": "final", "reason": None, "revision": 0, "model": None,
        }  # fmt: skip
        out.add(measurement, pa.Table.from_pylist([around | r for r in rows], schema=schema))

    plates = [d.name for d in day.site.devices.values() if d.device_class == "truck"]
    common = {
        "contract": "C01",
        "origin": "mine",
        "destination": "yard",
        "state": "open",
        "loaded_kg": 31_000,
    }
    trips = [
        {"key": f"T{n}", "plate": plate, "window_start": now - (n + 1) * HOUR_MS, "origin_ticket": f"T{n}",
         "departed": now - (n + 1) * HOUR_MS, "eta": now + HOUR_MS, "eta_p10": now + HOUR_MS // 2,
         "eta_p90": now + 2 * HOUR_MS, "flags": "no_moisture" if n else None, **common}
        for n, plate in enumerate(plates[:3])
    ]  # fmt: skip
    add("trip", trip.writes["trip"], *trips,
        {**trips[0], "key": "T9", "state": "closed", "received_kg": 30_950, "window_start": now - 9 * HOUR_MS})  # fmt: skip
    add("eta", eta.writes["eta"], *(
        {"key": t["key"], "window_start": t["window_start"], "late_p": late, "trips": 40, "contract": "C01"}
        for t, late in zip(trips, (0.1, 0.9, 0.2), strict=True)
    ))  # fmt: skip
    add("queue", queue.writes["queue"], *(
        {"key": f"bridge-{n}", "window_start": now - 900_000, "waiting": 3 * n, "wait_s": 600.0,
         "turnaround_s": 2_400.0, "tickets": 4, "waiting_little": 2.7}
        for n in range(2)
    ))  # fmt: skip
    add("weighing", weighing.writes["weighing"], *(
        {"key": f"bridge-0:T{n}:gross", "window_start": t["window_start"], "ticket": t["key"], "step": "gross",
         "plate": t["plate"], "mass_kg": 46_300.0, "contract": "C01", "place": "mine", "flags": "overload"}
        for n, t in enumerate(trips)
    ))  # fmt: skip
    months = [{"key": "C01:2026-01", "contract": "C01", "month": "2026-01", "seller": "黑山煤业"}]
    add("contract_quality", contract_quality.writes["contract_quality"], {
        **months[0], "window_start": now - 7 * DAY_MS, "trucks": 64, "trucks_needed": 40, "loss_pct": 0.41,
        "loss_u_pct": 0.22, "q_mj_kg": 20.1, "q_ref_mj_kg": 20.9, "paper_pct": -3.8, "heat_short_pct": 3.9,
        "heat_short_u_pct": 0.8, "lots": 7, "lots_needed": 5, "doubtful": 2,
    })  # fmt: skip
    add("fulfilment_period", fulfilment_period.writes["fulfilment_period"], *(
        {"key": f"haulage:{period}", "window_start": now - 19 * DAY_MS, "period": period, "name": name,
         "contracts": 1, "first_month": "2026-01", "last_month": "2026-01", "planned_kg": 10_000_000,
         "received_kg": 1_800_000, "expected_kg": 7_100_000, "rate_pct": 18.0, "forecast_pct": 71.0,
         "least_pct": 90.0, "shortfall_p": p, "warned": 1}
        for period, name, p in (("quarter", "2026-Q1", 0.83), ("year", "2026", 0.79))
    ))  # fmt: skip
    yards = fuel_heat.writes
    for back in range(8):
        start = now - (now % DAY_MS) - back * DAY_MS - 8 * HOUR_MS
        add("fulfilment", fulfilment.writes["fulfilment"], {
            **months[0], "window_start": start, "planned_kg": 10_000_000, "released_kg": 5_000_000,
            "loaded_kg": 1_900_000 - back * 200_000, "in_transit_kg": 93_000, "lost_kg": 7_000,
            "received_kg": 1_800_000 - back * 200_000, "settled_kg": 900_000, "transit_residual_kg": 0,
            "planned_to_date_kg": 2_500_000 - back * 300_000, "rate_pct": 18.0 - 2 * back, "refused": 0,
            "forecast_pct": 71.0, "reported_pct": 18.0 - 2 * back, "shortfall_p": 0.64, "expected_kg": 7.1e6,
        })  # fmt: skip
        add("fuel_heat", yards["fuel_heat"], {
            "key": "donghe", "window_start": start, "window_ms": DAY_MS, "stock_t": 4_200.0 - 90 * back,
            "received_t": 240.0, "burnt_t": 310.0, "heat_days": 9.4 + back, "heat_days_p10": 7.9 + back,
            "heat_days_p90": 11.6 + back, "method": "signature", "road_t": 93.0, "reach_days": 9.7 + back,
            "below_min_p": 0.23, "latest_departure": now + 5 * DAY_MS, "kg_per_gj": 58.1, "efficiency_pct": 79.6,
            "cost_cny_gj": 37.4, "stock_residual_t": -11.0 - back, "stock_residual_u_t": 84.0, "as_of": now,
            "missing": None,
        })  # fmt: skip
    add("supplier_fuel", yards["supplier_fuel"], *(
        {"key": f"donghe:{name}", "window_start": start, "supplier": name, "residual_pct": residual,
         "residual_u_pct": 0.9, "days": 21, "share_pct": 50.0, "burnt_t": 155.0, "cost_cny_gj": cost}
        for name, residual, cost in (("黑山煤业", -5.6, 39.2), ("白河矿业", 0.0, 36.1))
    ))  # fmt: skip
    states = [{"key": d.device, "window_start": now - HOUR_MS, "state": "driving"} for d in
              day.site.devices.values() if d.device_class == "truck"]  # fmt: skip
    out.add("track", pa.Table.from_pylist(
        [{**s, "unit": "donghe", "region": "north", "stream": "haulage", "window_ms": 0, "coverage": 1.0,
          "status": "provisional", "revision": 0, "distance_m": 5_000.0} for s in states],
        schema=TRACK_SCHEMA,
    ))  # fmt: skip
    day.store.write([out])
