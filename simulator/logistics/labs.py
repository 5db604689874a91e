"""Laboratories at both ends: noisy samples of lots or of tickets; the origin's are certificates."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from zlib import crc32

from simulator.rng import generator

if TYPE_CHECKING:
    from simulator.logistics.trips import Trip
    from simulator.logistics.world import World

__all__ = ["LabResult", "Lots", "lives", "lot", "morning", "sampled"]

_HOUR_S: Final = 3_600.0
_MOISTURE: Final = 0.3  # points, one sample: ISO 589 repeatability and sampling together
_HEAT: Final = 0.15  # MJ/kg
_ASH: Final = 0.25  # points
_INCREMENTS: Final = 8  # a lot's sample averages at most so many trucks' noise
_ANALYSIS_S: Final = 4.0 * _HOUR_S


@dataclass(frozen=True, slots=True)
class LabResult:
    """What a laboratory found, and what is true.

    Attributes
    ----------
    t_ms : int
        When the result was there. [ms UTC]
    lot, ticket : str
        The lot; for a sample of one ticket both are that ticket.
    vehicles : int
        Trucks or wagons sampled.
    mass_kg : int
        Of the coal that the sample stands for. [kg]
    moisture_pct, q_net_ar_mj_kg, ash_pct : float
        As shown.
    true_moisture_pct, true_q_net_ar_mj_kg : float
    """

    t_ms: int
    device: str
    lot: str
    contract: str
    ticket: str
    end: str
    vehicles: int
    mass_kg: int
    moisture_pct: float
    q_net_ar_mj_kg: float
    ash_pct: float
    sulphur_pct: float
    true_moisture_pct: float
    true_q_net_ar_mj_kg: float


@dataclass(slots=True)
class _Sample:
    """Sums over the vehicles of a lot, by mass."""

    contract: str
    place: str
    end: str
    day: int
    vehicles: int = 0
    kg: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0] * 5)

    def add(self, kg: int, *properties: float) -> None:
        self.vehicles += 1
        self.kg += kg
        for n, value in enumerate(properties):
            self.sums[n] += kg * value

    def means(self) -> list[float]:
        return [s / self.kg for s in self.sums]


@dataclass(slots=True)
class Lots:
    """Lots that wait to be analysed, and what was found.

    Attributes
    ----------
    results : list of LabResult
    """

    waiting: dict[tuple[str, str], _Sample] = field(default_factory=dict)
    results: list[LabResult] = field(default_factory=list)


def lot(world: World, contract: str, t_s: float) -> str:
    """The lot of a contract's trucks of one local day."""
    return f"{contract}-{world.date(world.day(t_s))}"


def lives(world: World) -> list[Generator[float, None, None]]:
    """The morning at which yesterday's lots are analysed."""
    return [_mornings(world)]


def sampled(world: World, trip: Trip, end: str) -> None:
    """Take a sample of a load: for its lot, for its ticket, or both."""
    load, contract = trip.load, trip.contract
    assert load is not None
    origin = end == "origin"
    t_ms = trip.gross_origin_ms if origin else trip.tare_destination_ms
    assert t_ms is not None
    kg = load.loaded_kg if origin else load.received_kg
    moisture = load.moisture_pct if origin else load.arrival_pct
    true_heat = load.origin_mj_kg if origin else load.arrival_mj_kg
    drier = (100.0 - moisture) / (100.0 - load.moisture_pct)
    properties = (
        moisture, load.certified_mj_kg if origin else true_heat, load.ash_pct * drier,
        load.sulphur_pct * drier, true_heat,
    )  # fmt: skip
    place = contract.origin if origin else contract.destination
    name = trip.lot if trip.road is None else lot(world, contract.contract, t_ms / 1000.0)
    day = world.day(t_ms / 1000.0)
    if world.plan.sampling in ("lot", "both"):
        sample = world.lots.waiting.setdefault((name, end), _Sample(contract.contract, place, end, day))
        sample.add(kg, *properties)
        sample.day = max(sample.day, day)
    if world.plan.sampling in ("ticket", "both"):
        single = _Sample(contract.contract, place, end, day)
        single.add(kg, *properties)
        ticket = trip.origin_ticket if origin else trip.destination_ticket
        # A lot of its own: a result is named by its lot and end.
        _analyse(world, ticket, single, t_ms / 1000.0 + _ANALYSIS_S, ticket)


def _mornings(world: World) -> Generator[float, None, None]:
    day = world.day(world.begin_s) + 1
    while True:
        yield world.midnight_s(day) + 9.0 * _HOUR_S
        morning(world, day)
        day += 1


def morning(world: World, day: int) -> None:
    """Analyse at nine o'clock of a local day the lots of the days before it."""
    due = [key for key, sample in world.lots.waiting.items() if sample.day < day]
    for n, key in enumerate(due):
        sample = world.lots.waiting.pop(key)
        _analyse(world, key[0], sample, world.midnight_s(day) + 9.0 * _HOUR_S + 60.0 * n)


def _analyse(world: World, name: str, sample: _Sample, at_s: float, ticket: str = "") -> None:
    devices = world.site.devices.values()
    device = next((d.device for d in devices if d.device_class == "lab" and d.place == sample.place), "")
    if not device:
        return
    moisture, heat, ash, sulphur, true_heat = sample.means()
    noise = generator(world.seed, f"lab {device}", crc32(f"{name} {ticket} {sample.end}".encode()))
    draws = noise.standard_normal(4) / min(sample.vehicles, _INCREMENTS) ** 0.5
    t_ms = world.post.free_ms(device, round(at_s * 1000.0))
    shown = {
        "q_net_ar_mj_kg": round(heat + _HEAT * float(draws[0]), 2),
        "moisture_pct": round(min(max(moisture + _MOISTURE * float(draws[1]), 0.0), 99.0), 2),
        "ash_pct": round(max(ash + _ASH * float(draws[2]), 0.0), 2),
        "sulphur_pct": round(max(sulphur * (1.0 + 0.03 * float(draws[3])), 0.0), 3),
    }
    text = {"lot": name, "contract": sample.contract, "end": sample.end}
    if ticket:
        text["ticket"] = ticket
    world.lots.results.append(
        LabResult(
            t_ms, device, name, sample.contract, ticket, sample.end, sample.vehicles, sample.kg,
            shown["moisture_pct"], shown["q_net_ar_mj_kg"], shown["ash_pct"], shown["sulphur_pct"],
            moisture, true_heat,
        )
    )  # fmt: skip
    world.post.result(device, t_ms, {**text, **shown})
