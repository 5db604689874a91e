"""A made-up coal business as a registry, labelled as simulated: places, devices, vehicles, contracts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Literal
from zoneinfo import ZoneInfo

import numpy as np

from models.site import Contract, Device, Place, Region, Site, Unit, Vehicle
from simulator.logistics.plan import Coal, PlaceTerms, Train
from simulator.rng import generator
from simulator.unit import HAULAGE, REGION, TIME_ZONE

__all__ = ["Size", "made_up", "months"]

_CENTRE: Final = (45.7512, 126.6421)  # degrees; nobody's real plant
_KM_A_DEGREE: Final = 111.32
_WINDING: Final = 1.12  # length of a road over the straight line
_MEAN_KM_H: Final = 58.0
_AT_ENDS_H: Final = 2.4  # at bridges and in bays, a round
_TRUCK_T: Final = 31.0
_RATED_KG: Final = 49_000.0
_WAGON: Final = (23_800.0, 94_000.0)  # tare and largest gross of a C70. [kg]
_MONTH_H: Final = 720.0
_BUSY: Final = 0.6  # of a bay's time at most


@dataclass(frozen=True, slots=True)
class Size:
    """How large a made-up business is.

    Attributes
    ----------
    mines, plants, stations, trucks, contracts : int
        Each station has one contract, with trains.
    lane_km : (float, float)
        Shortest and longest road. [km]
    wagons, train_sets : int
        Wagons of a train; trains of a station.
    planned_share : float
        Coal planned over what the trucks can haul.
    """

    mines: int = 2
    plants: int = 1
    stations: int = 0
    trucks: int = 20
    contracts: int = 2
    lane_km: tuple[float, float] = (60.0, 180.0)
    wagons: int = 50
    train_sets: int = 1
    planned_share: float = 1.0


@dataclass(frozen=True, slots=True)
class _Plant:
    unit: str
    place: Place
    boiler: bool


def months(start_ms: int, end_ms: int, zone: str) -> list[str]:
    """The local months that a run touches, as YYYY-MM."""
    first, last = (
        datetime.fromtimestamp(t / 1000.0, tz=UTC).astimezone(ZoneInfo(zone)) for t in (start_ms, end_ms - 1)
    )
    found, year, month = [], first.year, first.month
    while (year, month) <= (last.year, last.month):
        found.append(f"{year:04d}-{month:02d}")
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
    return found


def made_up(
    seed: int,
    start_ms: int,
    end_ms: int,
    size: Size,
    *,
    base: Site | None = None,
    tracked_share: float = 1.0,
    interval_s: float = 10.0,
    off_duty_h: float = 0.0,
) -> tuple[Site, dict[str, PlaceTerms], dict[str, Train]]:
    """A registry with its terms of places and its trains.

    Parameters
    ----------
    base : Site, optional
        A heating company: its first unit is the first plant's, and its networks burn from that yard.
    tracked_share, interval_s
        Share of the trucks that have a box, and the interval of its fixes. [s]
    off_duty_h : float
        Rest of a driver between rounds, which decides how much can be planned. [h]

    Returns
    -------
    Site, dict of PlaceTerms by place, dict of Train by contract
    """
    rng = generator(seed, "coal business")
    site = base or _empty()
    site, plants = _plants(rng, site, size)
    unit = plants[0].unit
    mines = _far(rng, "mine", "仿真煤矿", size.mines, size.lane_km)
    stations = _far(rng, "station", "仿真车站", size.stations, (250.0, 500.0))
    coal = {p.place: _coal(rng) for p in (*mines, *stations)}
    zone = site.timezone
    contracts, trains = list[Contract](), dict[str, Train]()
    spans = months(start_ms, end_ms, zone)
    for month in spans:
        rows = _contracts(generator(seed, f"contracts {month}"), month, size, mines, plants, coal, off_duty_h)
        for n, station in enumerate(stations):
            row = _rail(len(rows) + 1, month, station, plants[n % len(plants)], size, coal)
            rows.append(row)
            trains[row.contract] = Train(wagons=size.wagons, sets=size.train_sets)
        contracts += rows
    railed = {c.destination for c in contracts if c.contract in trains}
    devices = [*_devices(unit, mines, plants, stations, railed)]
    trucks = _trucks(rng, size.trucks, tracked_share)
    devices += [
        Device(
            v.device,
            "truck",
            unit,
            HAULAGE,
            None,
            f"运煤车（仿真） simulated {v.plate}",
            interval_s=interval_s,
        )
        for v in trucks
        if v.device
    ]
    wagons = [
        Vehicle(f"仿C70-{n:05d}", None, f"WAG{n:05d}", _WAGON[0], _WAGON[1])
        for n in range(1, len(spans) * size.stations * size.wagons * size.train_sets + 1)
    ]
    terms = {p: PlaceTerms(bays=_bays(size, len(mines), 900.0), coal=c) for p, c in coal.items()}
    terms |= {p.place.place: PlaceTerms(bays=_bays(size, len(plants), 900.0)) for p in plants}
    return (
        replace(
            site,
            places={**site.places, **{p.place: p for p in (*mines, *stations, *(q.place for q in plants))}},
            devices={**site.devices, **{d.device: d for d in devices}},
            contracts={c.contract: c for c in contracts},
            vehicles={v.plate: v for v in (*trucks, *wagons)},
        ),
        terms,
        trains,
    )


def _empty() -> Site:
    return Site(
        id="", name="炉线仿真站点 Hearthline simulated site", timezone=TIME_ZONE,
        regions={REGION: Region(REGION, "仿真北区 Simulated north")},
    )  # fmt: skip


def _bays(size: Size, places: int, bay_s: float) -> int:
    """Bays enough for a place's share of the trucks."""
    mean_km = _WINDING * sum(size.lane_km) / 2.0
    a_day = size.trucks * 24.0 / (2.0 * mean_km / _MEAN_KM_H + _AT_ENDS_H)
    return max(1, int(np.ceil(a_day / max(places, 1) * bay_s / (86_400.0 * _BUSY))))


def _plants(rng: np.random.Generator, site: Site, size: Size) -> tuple[Site, list[_Plant]]:
    units, plants = dict(site.units), []
    heated = {n.unit for n in site.networks.values()}
    known = list(units)
    for n in range(size.plants):
        unit = known[n] if n < len(known) else f"sim-unit-{n + 1}"
        if unit not in units:
            region = next(iter(site.regions))
            units[unit] = Unit(unit, region, f"仿真热力{n + 1}厂 Simulated Heat No. {n + 1}", 3_000.0)
        own = [d for d in site.devices.values() if d.unit == unit and d.device_class == "plant" and d.lat_deg]
        north, east = rng.uniform(-0.35, 0.35, 2)
        lat, lon = round(_CENTRE[0] + float(north), 6), round(_CENTRE[1] + float(east), 6)
        if own and own[0].lat_deg is not None and own[0].lon_deg is not None:
            lat, lon = own[0].lat_deg, own[0].lon_deg
        name = f"仿真热源厂煤场{n + 1} Simulated plant yard {n + 1}"
        place = Place(f"plant-yard-{n + 1}", unit, "plant", name, lat, lon, 400.0)
        plants.append(_Plant(unit, place, boiler=unit not in heated))
    return replace(site, units=units), plants


def _far(
    rng: np.random.Generator, kind: Literal["mine", "station"], name: str, count: int, km: tuple[float, float]
) -> list[Place]:
    """Places around the plants, a road of `km` away."""
    places = []
    for n in range(count):
        apart = float(rng.uniform(*km)) / _WINDING / _KM_A_DEGREE
        bearing = float(rng.uniform(0.0, 2.0 * np.pi))
        lat = _CENTRE[0] + apart * np.cos(bearing)
        lon = _CENTRE[1] + apart * np.sin(bearing) / np.cos(np.radians(_CENTRE[0]))
        title = f"{name}{n + 1} Simulated {kind} {n + 1}"
        places.append(
            Place(f"{kind}-{n + 1}", None, kind, title, round(float(lat), 6), round(float(lon), 6), 600.0)
        )
    return places


def _coal(rng: np.random.Generator) -> Coal:
    return Coal(
        round(float(rng.uniform(9.0, 15.0)), 1), round(float(rng.uniform(14.0, 22.0)), 1),
        round(float(rng.uniform(0.3, 0.9)), 2), round(float(rng.uniform(19.3, 22.2)), 2),
    )  # fmt: skip


def _seller(place: Place, mines: int) -> str:
    if place.kind == "station":
        return "仿真铁路煤炭 Simulated Rail Coal"
    number = (int(place.place.rsplit("-", 1)[1]) - 1) % max(1, round(0.75 * mines)) + 1
    return f"仿真矿业{number} Simulated Mining {number}"


def _contracts(
    rng: np.random.Generator,
    month: str,
    size: Size,
    mines: list[Place],
    plants: list[_Plant],
    coal: dict[str, Coal],
    off_duty_h: float,
) -> list[Contract]:
    """Contracts between mines and plants that the trucks can about fulfil."""
    rows = []
    count = max(0, size.contracts - size.stations)
    orders = [rng.permutation(len(mines)) for _ in plants]
    for n in range(count if mines else 0):
        plant = plants[n % len(plants)]
        mine = mines[int(orders[n % len(plants)][n // len(plants) % len(mines)])]
        squeeze = np.cos(np.radians(_CENTRE[0]))
        apart_km = _KM_A_DEGREE * float(
            np.hypot(mine.lat_deg - plant.place.lat_deg, (mine.lon_deg - plant.place.lon_deg) * squeeze)
        )
        round_h = 2.0 * _WINDING * apart_km / _MEAN_KM_H + _AT_ENDS_H + off_duty_h
        trips = size.trucks / count * _MONTH_H / round_h
        planned_t = round(trips * _TRUCK_T * size.planned_share * float(rng.uniform(0.85, 1.15)), -1)
        rows.append(_contract(n + 1, month, mine, plant, planned_t, coal, len(mines)))
    return rows


def _contract(
    number: int, month: str, origin: Place, plant: _Plant, planned_t: float, coal: dict[str, Coal], mines: int
) -> Contract:
    heat = coal[origin.place].q_net_ar_mj_kg
    return Contract(
        f"C{number:02d}-{month}", _seller(origin, mines), "仿真热力 Simulated Heat", plant.unit, origin.place,
        plant.place.place, f"动力煤{round(heat / 0.0041868, -2):.0f}", month, planned_t, round(29.5 * heat),
        round(heat, 1), HAULAGE,
    )  # fmt: skip


def _rail(
    number: int, month: str, station: Place, plant: _Plant, size: Size, coal: dict[str, Coal]
) -> Contract:
    trains = 12.0 * size.train_sets
    planned_t = round(trains * size.wagons * 64.0 * size.planned_share, -1)
    return _contract(number, month, station, plant, planned_t, coal, size.mines)


def _devices(
    unit: str, mines: list[Place], plants: list[_Plant], stations: list[Place], railed: set[str]
) -> list[Device]:
    devices = [Device("office-coal", "office", unit, HAULAGE, None, "煤炭业务（仿真） simulated")]

    def bridge(place: Place, step: str) -> None:
        devices.append(
            Device(
                f"bridge-{place.place}-{step}", "weighbridge", unit, HAULAGE, None,
                f"地磅 {place.name} {step}", place.lat_deg, place.lon_deg, place=place.place,
            )
        )  # fmt: skip

    def lab(place: Place) -> None:
        devices.append(
            Device(
                f"lab-{place.place}", "lab", unit, HAULAGE, None, f"化验室 {place.name}", place=place.place
            )
        )

    for place in (*mines, *stations, *(p.place for p in plants)):
        if place.kind != "station":
            bridge(place, "tare")
            bridge(place, "gross")
        if place.kind == "station" or place.place in railed:
            bridge(place, "rail")
        lab(place)
    for n, plant in enumerate(plants, 1):
        own, where = plant.unit, plant.place
        devices.append(
            Device(
                f"yard-{n}", "yard", own, own, None, f"煤场{n}（仿真） simulated", where.lat_deg,
                where.lon_deg, interval_s=3_600.0, place=where.place,
            )
        )  # fmt: skip
        devices.append(Device(f"office-{n}", "office", own, own, None, f"办公室{n}（仿真） simulated"))
        if plant.boiler:
            devices.append(
                Device(
                    f"boiler-{n}", "plant", own, own, None, f"锅炉房{n}（仿真） simulated", where.lat_deg,
                    where.lon_deg, interval_s=900.0,
                )
            )  # fmt: skip
    return devices


def _trucks(rng: np.random.Generator, count: int, tracked_share: float) -> list[Vehicle]:
    trucks = []
    draws, tares = rng.random(count), rng.normal(15_500.0, 350.0, count)
    for n in range(1, count + 1):
        device = f"truck-{n:04d}" if draws[n - 1] < tracked_share else None
        tare = round(float(np.clip(tares[n - 1], 14_200.0, 16_800.0)), -1)
        trucks.append(Vehicle(f"仿A{10_000 + n * 17:05d}", device, f"TAG{n:05d}", tare, _RATED_KG))
    return trucks
