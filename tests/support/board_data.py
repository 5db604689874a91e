"""A seeded day of a small unit for the board's tests: a plant, substations, trucks, in a real store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from models.results import Outputs, result_schema
from models.site import Device, Network, Region, Site, Unit
from store.duckdb_series import DuckdbSeries
from streams.core.deliveries import LedgerCounts

NOW_MS = 1_767_862_813_000  # 2026-01-08 17:00:13 in Asia/Shanghai
DAY_MS = 86_400_000
WINDOW_MS = 900_000
NAMES = (
    "东风里",
    "和平路",
    "建设街",
    "光明小区",
    "北苑",
    "南湖",
    "西城花园",
    "铁西一站",
    "铁西二站",
    "市医院",
    "第三中学",
    "河畔家园",
    "新华里",
    "工人村",
    "文化宫",
    "解放路",
    "友谊小区",
    "火车站",
    "体育馆",
    "春晖园",
    "兴隆街",
    "金桥",
    "碧水湾",
    "锦绣园",
    "丰收路",
    "长青",
    "向阳里",
    "安居苑",
    "开发区",
    "大学城",
)


def make_site(substations: int = 30, name: str = "Donghe District Heating") -> Site:
    devices = {
        "plant-1": Device(
            "plant-1", "plant", "donghe", "donghe", "net-1", "东河热电厂", interval_s=10, accuracy_class=2
        ),
        **{
            f"sub-{i:02d}": Device(
                f"sub-{i:02d}",
                "substation",
                "donghe",
                "donghe",
                "net-1",
                f"{NAMES[i % len(NAMES)]}站",
                interval_s=10,
                accuracy_class=2,
                qp_m3_h=25.0,
                mounting="return",
                area_m2=40_000.0,
            )
            for i in range(substations)
        },
        **{
            f"truck-{i}": Device(
                f"truck-{i}", "truck", "donghe", "haulage", name=f"冀A{5130 + i}", interval_s=10
            )
            for i in range(5)
        },
        **{
            f"bridge-{i}": Device(
                f"bridge-{i}", "weighbridge", "donghe", "haulage", name=f"{i + 1} 号地磅", interval_s=600
            )
            for i in range(2)
        },
    }
    return Site(
        id="donghe",
        name=name,
        timezone="Asia/Shanghai",
        regions={"north": Region("north", "华北区")},
        units={"donghe": Unit("donghe", "north", "东河热力")},
        networks={"net-1": Network("net-1", "donghe", "东河一网")},
        devices=devices,
    )


class Day:
    """Writes a day up to `now` into `store`, and more as time goes on."""

    def __init__(self, store: DuckdbSeries, site: Site, now_ms: int = NOW_MS) -> None:
        self.store = store
        self.site = site
        self.now_ms = now_ms
        self.offset = 0
        self.random = np.random.default_rng(7)

    def outdoor(self, t: np.ndarray) -> np.ndarray:
        return -8 + 5 * np.sin(2 * np.pi * (t / DAY_MS - 0.08)) + 0.4 * np.sin(t / 1.7e6)

    def readings(self, device: Device, t: np.ndarray) -> dict[str, np.ndarray]:
        """Plausible values of one device at times `t` [ms UTC]."""
        rank = int(device.device.split("-")[1]) if "-" in device.device else 0
        noise = self.random.normal(0, 1, len(t))
        outdoor = self.outdoor(t)
        supply = 78 - 1.35 * outdoor + 0.15 * noise
        if device.device_class == "plant":
            back = 46 - 0.25 * outdoor
            flow = 920 + 6 * noise
            heat = flow * 983 * 4.18 * (supply + 1.2 - back) / 3600
            return {
                "supply_c": supply + 1.2,
                "return_c": back,
                "flow_m3_h": flow,
                "heat_kw": heat,
                "outdoor_c": outdoor,
                "supply_kpa": 780 + noise * 3,
                "return_kpa": 310 + noise * 2,
            }
        if device.device_class == "weighbridge":
            return {"mass_kg": 47_300 + 100 * noise}
        if device.device_class == "truck":
            return {"speed_m_s": np.abs(14 + noise), "lat_deg": 38 + noise / 50, "lon_deg": 114 + noise / 50}
        back = 44 + 0.18 * rank - 0.2 * outdoor + 0.2 * noise
        flow = 27 + 0.3 * rank + 0.15 * noise
        set_point = 44 - 0.65 * outdoor
        return {
            "supply_c": supply,
            "return_c": back,
            "flow_m3_h": flow,
            "heat_kw": flow * 983 * 4.18 * (supply - back) / 3600,
            "supply_kpa": 640 + noise,
            "return_kpa": 420 + noise,
            "valve_pct": 52 + noise,
            "secondary_supply_c": set_point + 0.4 * noise,
            "secondary_return_c": set_point - 9 + 0.2 * noise,
            "secondary_setpoint_c": set_point,
            "secondary_flow_m3_h": 150 + noise,
            "secondary_supply_kpa": 410 + noise,
            "secondary_return_kpa": 290 + noise,
            "pump_hz": 41 + 0.2 * noise,
            "outdoor_c": outdoor,
            "energy_gj": 18_000 + rank * 900 + (t - self.now_ms) / 3.6e6 * 4.6,
            "volume_m3": 91_000 + rank * 4000 + (t - self.now_ms) / 3.6e6 * flow.mean(),
        }

    def write_readings(
        self, step_ms: int = 60_000, silent: tuple[str, ...] = (), stale: tuple[str, ...] = ()
    ) -> None:
        """A day of readings of every device, but the newest hours of those that are to be silent or stale."""
        out = Outputs("donghe", self._next())
        for device in self.site.devices.values():
            end = self.now_ms
            end -= 5_400_000 if device.device in silent else 0
            end -= 130_000 if device.device in stale else 0
            t = np.arange(end - DAY_MS, end + 1, step_ms, dtype=np.int64)
            out.readings.append(self.table(device, t, self.readings(device, t)))
        self.store.write([out])

    def write_now(self, device: str, at_ms: int | None = None, **values: float) -> None:
        """One newest reading of `device` with `values` over the plausible ones."""
        d = self.site.devices[device]
        t = np.array([self.now_ms if at_ms is None else at_ms], dtype=np.int64)
        out = Outputs("donghe", self._next())
        columns = self.readings(d, t) | {k: np.array([v], dtype=float) for k, v in values.items()}
        out.readings.append(self.table(d, t, columns))
        self.store.write([out])

    def table(self, device: Device, t: np.ndarray, values: dict[str, np.ndarray]) -> pa.Table:
        n = len(t)
        return pa.table(
            {
                "key": pa.array([device.device] * n),
                "unit": pa.array([device.unit] * n),
                "region": pa.array(["north"] * n),
                "stream": pa.array([device.stream] * n),
                "window_start": pa.array(t),
                "window_ms": pa.array([0] * n, pa.int64()),
                "class": pa.array([device.device_class] * n),
                "boot": pa.array([1] * n, pa.int64()),
                "seq": pa.array(np.arange(n) + self.offset * 100_000),
                "pos": pa.array([0] * n, pa.int32()),
                "offset": pa.array([self.offset] * n, pa.int64()),
                "received_ms": pa.array(t),
                **{k: pa.array(v) for k, v in values.items()},
            }
        )

    def write_heat(self, unknown: tuple[str, ...] = ()) -> None:
        """`device_heat` of the last day; the newest window is provisional."""
        last = self.now_ms // WINDOW_MS * WINDOW_MS
        starts = np.arange(last - 95 * WINDOW_MS, last + 1, WINDOW_MS, dtype=np.int64)
        metered = [d for d in self.site.devices.values() if d.device_class in ("plant", "substation")]
        tables = [self.heat_table(d, starts, d.device in unknown) for d in metered]
        out = Outputs("donghe", self._next())
        for table in tables:
            out.add("device_heat", table)
        self.store.write([out])

    def heat_table(self, d: Device, starts: np.ndarray, unknown: bool) -> pa.Table:
        r = self.readings(d, starts)
        n = len(starts)
        heat = r["heat_kw"] * 900 / 1e6
        status = ["final"] * (n - 1) + ["provisional"]
        coverage = np.ones(n)
        reason: list[str | None] = [None] * n
        values: list[float | None] = heat.tolist()
        if unknown:
            for i in range(n - 6, n):
                status[i], coverage[i], reason[i], values[i] = "unknown", 0.31, "coverage", None
        values[-1] = None if unknown else values[-1] * 0.25
        coverage[-1] = 0.25
        fields = ["heat_gj", "heat_u_gj", "volume_m3", "supply_c", "return_c", "flow_m3_h"]
        return pa.table(
            {
                "key": pa.array([d.device] * n),
                "unit": pa.array([d.unit] * n),
                "region": pa.array(["north"] * n),
                "stream": pa.array([d.stream] * n),
                "window_start": pa.array(starts),
                "window_ms": pa.array([WINDOW_MS] * n, pa.int64()),
                "heat_gj": pa.array(values, pa.float64()),
                "heat_u_gj": pa.array([None if v is None else 0.032 * v for v in values], pa.float64()),
                "volume_m3": pa.array(r["flow_m3_h"] / 4),
                "supply_c": pa.array(r["supply_c"]),
                "return_c": pa.array(r["return_c"]),
                "flow_m3_h": pa.array(r["flow_m3_h"]),
                "coverage": pa.array(coverage),
                "status": pa.array(status),
                "reason": pa.array(reason, pa.string()),
                "revision": pa.array([0] * n, pa.int32()),
                "model": pa.nulls(n, pa.string()),
            }
        ).cast(result_schema([pa.field(f, pa.float64()) for f in fields]))

    def write_ledger(self, unaccounted: int = 0, dead_lettered: int = 0) -> None:
        """Today's ledger; the first substation carries what is wrong."""
        names = LedgerCounts._fields
        start = (self.now_ms + 28_800_000) // DAY_MS * DAY_MS - 28_800_000
        rows = []
        for i, d in enumerate(self.site.devices.values()):
            lost, dead = (unaccounted, dead_lettered) if d.device == "sub-00" else (0, 0)
            sent = 6127 - 3 * i
            counts = dict(
                zip(names, (sent, sent - lost - dead - 1, dead, 1, 0, lost, i % 3, 0, 4 * i), strict=True)
            )
            rows.append(
                {
                    "key": d.device,
                    "unit": d.unit,
                    "region": "north",
                    "stream": d.stream,
                    "window_start": start,
                    "window_ms": DAY_MS,
                    **counts,
                    "coverage": 1.0,
                    "status": "provisional",
                    "reason": None,
                    "revision": 0,
                    "model": None,
                }
            )
        out = Outputs("donghe", self._next())
        out.add(
            "ledger",
            pa.Table.from_pylist(rows, schema=result_schema([pa.field(n, pa.int64()) for n in names])),
        )
        self.store.write([out])

    def write_dead_letter(self, key: str, device: str, reason: str, detail: str, state: str = "open") -> None:
        text = ("device", "topic", "detail", "payload", "state")
        schema = result_schema([pa.field(n, pa.string()) for n in text])
        d = self.site.devices.get(device)
        row = {
            "key": key,
            "unit": d.unit if d else "",
            "region": "north" if d else "",
            "stream": "donghe",
            "window_start": self.now_ms - 60_000,
            "window_ms": 0,
            "device": device,
            "topic": f"hearthline/v1/north/donghe/{device}/telemetry",
            "detail": detail,
            "payload": "{}",
            "state": state,
            "coverage": None,
            "status": "final",
            "reason": reason,
            "revision": 0,
            "model": None,
        }
        out = Outputs("donghe", self._next())
        out.add("dead_letter", pa.Table.from_pylist([row], schema=schema))
        self.store.write([out])

    def write_results(self, measurement: str, rows: list[dict[str, object]], window_ms: int = DAY_MS) -> None:
        """Rows of numbers and texts: each has its ``key``, ``window_start``, ``status`` and fields."""
        names = {"key", "window_start", "status", "reason", "coverage"}
        kinds = {f: type(v) for row in rows for f, v in row.items() if f not in names}
        schema = result_schema(
            [pa.field(f, pa.string() if kind is str else pa.float64()) for f, kind in sorted(kinds.items())]
        )
        whole = {"unit": "donghe", "region": "north", "stream": "donghe", "window_ms": window_ms, "coverage": 1.0,
                 "reason": None, "revision": 0, "model": None}  # fmt: skip
        out = Outputs("donghe", self._next())
        out.add(measurement, pa.Table.from_pylist([whole | row for row in rows], schema=schema))
        self.store.write([out])

    def _next(self) -> int:
        self.offset += 1
        return self.offset


def seeded(directory: Path, site: Site | None = None, *, trouble: bool = False, made: type[Day] = Day) -> Day:
    """A store with a day in it; with `trouble` also devices that are silent, stale or unknown."""
    day = made(DuckdbSeries(directory / "series.duckdb"), site or make_site())
    day.write_readings(silent=("sub-07",) if trouble else (), stale=("sub-12", "truck-3") if trouble else ())
    day.write_heat(unknown=("sub-21",) if trouble else ())
    day.write_ledger(unaccounted=0, dead_lettered=1 if trouble else 0)
    if trouble:
        day.write_dead_letter(
            "donghe:41:0", "sub-00", "future", "t: expected at most 10 minutes ahead, got 2 h ahead"
        )
        day.write_dead_letter(
            "_refused:7:0", "meter-99", "unknown_device", "expected a device of the registry, got meter-99"
        )
    return day


def status(*, broker: str = "ok") -> dict[str, object]:
    return {
        "components": [
            {"name": "broker", "state": broker, "detail": "mqtt://127.0.0.1:1883, 38 connections"},
            {"name": "ingest", "state": "ok", "detail": "4.1 messages/s, 0 waiting"},
            {"name": "journal", "state": "ok", "detail": "2 streams, newest record 0.4 s old"},
            {"name": "streams", "state": "ok", "detail": "lag 0 records"},
            {"name": "store", "state": "ok", "detail": "series.duckdb, 41 MB"},
        ],
        "lag": {
            "journalled": {"messages": 12, "seconds": 0.25},
            "stepped": {"messages": 3400, "records": 40, "seconds": 31.5},
            "stored": {"messages": 0, "records": 0, "seconds": 0.0},
        },
    }
