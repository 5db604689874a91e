"""A made-up unit: one plant, substations on a tree of pipes, a mine and trucks; labelled as simulated."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from models.site import Contract, Device, Network, Pipe, Place, Region, Site, Unit, Vehicle
from simulator.rng import generator
from simulator.substations import design_flow_kg_s

__all__ = ["HAULAGE", "NETWORK", "REGION", "UNIT", "demo_plan", "demo_site", "texts"]

REGION: Final = "sim-north"
UNIT: Final = "sim-unit-1"
NETWORK: Final = "sim-net-1"
HAULAGE: Final = "sim-haulage"
TIME_ZONE: Final = "Asia/Shanghai"

_PLANT: Final = (45.7512, 126.6421)  # degrees; nobody's real plant
_METRES_PER_DEGREE: Final = 111_320.0
_QP_M3_H: Final = (1.5, 2.5, 3.5, 6.0, 10.0, 15.0, 25.0, 40.0, 60.0, 100.0, 150.0, 250.0, 400.0, 600.0,
                   1000.0, 1500.0, 2500.0, 4000.0, 6500.0, 10000.0, 16000.0, 25000.0, 50000.0)  # fmt: skip
# Inner diameter and typical loss of pre-insulated steel pipe, EN 253 series 2 (one of the pair).
_SIZES: Final = (
    (0.0545, 0.18), (0.0703, 0.21), (0.0825, 0.22), (0.1071, 0.22), (0.1325, 0.26), (0.1603, 0.31),
    (0.2101, 0.34), (0.2630, 0.33), (0.3127, 0.39), (0.3444, 0.41), (0.3938, 0.43), (0.4446, 0.45),
    (0.4954, 0.48), (0.5958, 0.57), (0.6958, 0.66), (0.7938, 0.74), (0.8938, 0.84), (0.9938, 0.92),
    (1.1938, 1.05), (1.3938, 1.2),
)  # fmt: skip
_ESTATES: Final = ("阳光", "翠湖", "松江", "和平", "朝阳", "滨河", "锦绣", "学府", "龙江", "安居", "金桂",
                   "东城", "西苑", "南岗", "北辰")  # fmt: skip
_KINDS: Final = ("小区", "花园", "家园", "新村", "公馆")


@dataclass(slots=True)
class _Spot:
    node: str
    east_m: float
    north_m: float


def _degrees(spot: _Spot) -> tuple[float, float]:
    lat = _PLANT[0] + spot.north_m / _METRES_PER_DEGREE
    lon = _PLANT[1] + spot.east_m / (_METRES_PER_DEGREE * np.cos(np.radians(_PLANT[0])))
    return round(float(lat), 6), round(float(lon), 6)


def _qp(flow_m3_h: float) -> float:
    """The smallest nominal flow that a meter may have for `flow_m3_h`. [m³/h]."""
    return next((qp for qp in _QP_M3_H if qp >= flow_m3_h), _QP_M3_H[-1])


def _size(flow_kg_s: float) -> tuple[float, float]:
    """Inner diameter [m] and loss [W/(m K)] of the pipe that keeps under about 1.6 m/s."""
    wanted = float(np.sqrt(flow_kg_s / 950.0 / (1.6 if flow_kg_s > 20.0 else 1.1) * 4.0 / np.pi))
    return next((size for size in _SIZES if size[0] >= wanted), _SIZES[-1])


def _junctions(rng: np.random.Generator, count: int) -> tuple[list[_Spot], list[int]]:
    """Junctions of a tree that grows away from the plant, and the parent of each."""
    spots, parents = [_Spot("n-plant", 0.0, 0.0)], [-1]
    headings = [float(rng.uniform(0.0, 2.0 * np.pi))]
    for number in range(1, count + 1):
        parent = int(rng.integers(max(0, len(spots) - 4), len(spots)))
        heading = headings[parent] + float(rng.normal(0.0, 0.6))
        length = float(rng.uniform(250.0, 800.0)) if number > 1 else 2_500.0  # the plant lies out of town
        start = spots[parent]
        spots.append(
            _Spot(
                f"n-{number:02d}",
                start.east_m + length * float(np.cos(heading)),
                start.north_m + length * float(np.sin(heading)),
            )
        )
        parents.append(parent)
        headings.append(heading)
    return spots, parents


def _heat_side(seed: int, substations: int, interval_s: float) -> tuple[list[Device], list[Pipe]]:
    rng = generator(seed, "site")
    spots, parents = _junctions(rng, max(1, round(substations * 0.45)))
    areas = np.round(rng.lognormal(np.log(60_000.0), 0.45, substations), -2).clip(8_000.0, 220_000.0)
    flows = design_flow_kg_s(areas * 0.050)
    at = [1 + n % (len(spots) - 1) for n in range(substations)]
    through = np.zeros(len(spots))
    for number, junction in enumerate(at):
        node = junction
        while node > 0:
            through[node] += flows[number]
            node = parents[node]
    pipes = []
    for number in range(1, len(spots)):
        a, b = spots[parents[number]], spots[number]
        diameter, u = _size(float(through[number]))
        length = round(1.15 * float(np.hypot(a.east_m - b.east_m, a.north_m - b.north_m)), 1)
        pipes.append(Pipe(f"pipe-{number:02d}", NETWORK, a.node, b.node, length, diameter, u))
    devices = [_plant(float(flows.sum()), interval_s)]
    for number, junction in enumerate(at):
        length, heading = float(rng.uniform(30.0, 140.0)), float(rng.uniform(0.0, 2.0 * np.pi))
        near = spots[junction]
        spot = _Spot(
            f"n-sub-{number + 1:02d}",
            near.east_m + length * float(np.cos(heading)),
            near.north_m + length * float(np.sin(heading)),
        )
        diameter, u = _size(float(flows[number]))
        pipes.append(
            Pipe(f"service-{number + 1:02d}", NETWORK, near.node, spot.node, round(length, 1), diameter, u)
        )
        devices.append(_substation(number, spot, float(areas[number]), float(flows[number]), interval_s))
    return devices, pipes


def _plant(flow_kg_s: float, interval_s: float) -> Device:
    lat, lon = _degrees(_Spot("n-plant", 0.0, 0.0))
    return Device(
        "plant-1", "plant", UNIT, UNIT, NETWORK, "仿真热源厂 Simulated plant", lat, lon, "n-plant",
        qp_m3_h=_qp(flow_kg_s * 3.8), accuracy_class=2, dt_min_k=3.0, mounting="supply",
        interval_s=interval_s,
    )  # fmt: skip


def _substation(number: int, spot: _Spot, area_m2: float, flow_kg_s: float, interval_s: float) -> Device:
    lat, lon = _degrees(spot)
    estate = _ESTATES[number % len(_ESTATES)] + _KINDS[number // len(_ESTATES) % len(_KINDS)]
    again = number // (len(_ESTATES) * len(_KINDS))
    name = f"{estate}{again + 1 if again else ''}换热站（仿真） simulated"
    return Device(
        f"sub-{number + 1:02d}", "substation", UNIT, UNIT, NETWORK, name, lat, lon, spot.node, area_m2,
        _qp(flow_kg_s * 3.8), 2, 3.0, "return", interval_s,
    )  # fmt: skip


def _coal_side(
    seed: int, trucks: int, start_ms: int, interval_s: float
) -> tuple[list[Device], list[Place], list[Contract], list[Vehicle]]:
    if not trucks:
        return [], [], [], []
    rng = generator(seed, "coal")
    lat, lon = _PLANT
    mine = (round(lat + 0.36, 6), round(lon + 0.29, 6))
    places = [
        Place("mine-1", None, "mine", "仿真煤矿 Simulated mine", *mine, 600.0),
        Place("plant-yard-1", UNIT, "plant", "仿真热源厂煤场 Simulated plant yard", lat, lon, 400.0),
    ]
    devices = [
        Device("bridge-mine", "weighbridge", UNIT, HAULAGE, None, "矿发地磅（仿真）", *mine, place="mine-1"),
        Device(
            "bridge-plant", "weighbridge", UNIT, HAULAGE, None, "厂收地磅（仿真）", lat, lon,
            place="plant-yard-1",
        ),
    ]  # fmt: skip
    vehicles = []
    for number in range(1, trucks + 1):
        device = f"truck-{number}"
        devices.append(
            Device(
                device,
                "truck",
                UNIT,
                HAULAGE,
                None,
                f"运煤车{number}（仿真） simulated",
                interval_s=interval_s,
            )
        )
        plate = f"仿A{10_000 + int(rng.integers(0, 80_000)) // 100 * 100 + number:05d}"
        vehicles.append(
            Vehicle(
                plate,
                device,
                f"TAG{number:04d}",
                round(15_500.0 + float(rng.normal(0.0, 300.0)), -1),
                49_000.0,
            )
        )
    month = datetime.fromtimestamp(start_ms / 1000, tz=UTC).astimezone(ZoneInfo(TIME_ZONE)).strftime("%Y-%m")
    contract = Contract(
        f"SIM-{month}-01", "仿真矿业 Simulated Mining", "仿真热力 Simulated Heat", UNIT, "mine-1",
        "plant-yard-1", "动力煤5000", month, 20_000.0, 620.0, 20.9, HAULAGE,
    )  # fmt: skip
    return devices, places, [contract], vehicles


def demo_plan(
    seed: int,
    substations: int = 30,
    trucks: int = 5,
    start_ms: int = 1_768_000_000_000,
    *,
    interval_s: float = 10.0,
) -> Site:
    """The made-up unit as a registry: the same seed gives the same one."""
    heat, pipes = _heat_side(seed, substations, interval_s)
    coal, places, contracts, vehicles = _coal_side(seed, trucks, start_ms, interval_s)
    volume = sum(2.0 * np.pi / 4.0 * p.inner_diameter_m**2 * p.length_m for p in pipes)
    network = Network(
        NETWORK, UNIT, "仿真一次网 Simulated primary network", round(float(volume), 1), ground_c=4.0,
        return_ref_c=45.0, makeup_limit_pct=0.5, makeup_c=15.0, design_c=-17.0, season_c=-6.0,
        season_days=152.0,
    )  # fmt: skip
    return Site(
        id="",
        name="炉线仿真站点 Hearthline simulated site",
        timezone=TIME_ZONE,
        regions={REGION: Region(REGION, "仿真北区 Simulated north")},
        units={UNIT: Unit(UNIT, REGION, "仿真热力一厂 Simulated Heat No. 1", 3_000.0)},
        networks={NETWORK: network},
        devices={d.device: d for d in (*heat, *coal)},
        pipes={p.pipe: p for p in pipes},
        places={p.place: p for p in places},
        contracts={c.contract: c for c in contracts},
        vehicles={v.plate: v for v in vehicles},
    )


def demo_site(
    seed: int,
    substations: int = 30,
    trucks: int = 5,
    start_ms: int = 1_768_000_000_000,
    *,
    interval_s: float = 10.0,
) -> dict[str, str]:
    """Texts of the made-up unit's site directory, by file name."""
    return texts(demo_plan(seed, substations, trucks, start_ms, interval_s=interval_s))


_CSV: Final = {
    "devices.csv": (
        "device,class,unit,stream,network,name,lat_deg,lon_deg,node,area_m2,qp_m3_h,accuracy_class,dt_min_k,mounting,"
        "interval_s,energy_full_scale_gj,volume_full_scale_m3,place"
    ),
    "pipes.csv": "pipe,network,from_node,to_node,length_m,inner_diameter_m,u_w_m_k",
    "places.csv": "place,unit,kind,name,lat_deg,lon_deg,radius_m",
    "contracts.csv": (
        "contract,seller,buyer,unit,origin,destination,grade,month,planned_t,price_cny_t,q_ref_mj_kg,stream"
    ),
    "vehicles.csv": "plate,device,tag,tare_kg,rated_kg",
}


def texts(site: Site) -> dict[str, str]:
    """The site directory of a registry, by file name: what a loader reads back as the same registry."""
    tables: dict[str, Iterable[object]] = {
        "devices.csv": site.devices.values(), "pipes.csv": site.pipes.values(),
        "places.csv": site.places.values(), "contracts.csv": site.contracts.values(),
        "vehicles.csv": site.vehicles.values(),
    }  # fmt: skip
    result = {"site.toml": _toml(site)}
    for name, rows in tables.items():
        result[name] = _table(_CSV[name].split(","), rows)
    return result


def _table(columns: Sequence[str], rows: Iterable[object]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        cells = [getattr(row, "device_class" if c == "class" else c) for c in columns]
        writer.writerow(["" if cell is None else _plain(cell) for cell in cells])
    return out.getvalue()


def _plain(cell: object) -> str:
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _toml(site: Site) -> str:
    def lines(head: str, values: dict[str, Any]) -> str:
        body = "".join(
            f"{k} = {json.dumps(v, ensure_ascii=False) if isinstance(v, str) else v}\n"
            for k, v in values.items()
            if v is not None
        )
        return f"{head}\n{body}\n"

    text = lines(
        "[site]",
        {
            "name": site.name, "timezone": site.timezone, "lateness_s": site.lateness_s,
            "retention_days": site.retention_days,
        },
    )  # fmt: skip
    for region in site.regions.values():
        text += lines("[[region]]", {"id": region.id, "name": region.name})
    for unit in site.units.values():
        values = {"id": unit.id, "region": unit.region, "name": unit.name, "min_stock_t": unit.min_stock_t}
        text += lines("[[unit]]", values)
    for n in site.networks.values():
        values = {
            "id": n.id, "unit": n.unit, "name": n.name, "volume_m3": n.volume_m3, "window_s": n.window_s,
            "lateness_s": n.lateness_s, "ground_c": n.ground_c, "return_ref_c": n.return_ref_c,
            "makeup_limit_pct": n.makeup_limit_pct, "makeup_c": n.makeup_c, "design_c": n.design_c,
            "season_c": n.season_c, "season_days": n.season_days,
        }  # fmt: skip
        text += lines("[[network]]", values)
    return text
