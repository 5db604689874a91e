"""Papers of the running month from before the run begins, as whoever sets up a server brings them in."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from models.site import Contract
from simulator.logistics import labs, offices
from simulator.logistics.trips import Trip
from simulator.rng import generator

if TYPE_CHECKING:
    from simulator.logistics.roads import Road
    from simulator.logistics.rounds import Truck
    from simulator.logistics.world import World

__all__ = ["bring_in"]

_HOUR_S: Final = 3_600.0
_QUIET_S: Final = 3.0 * _HOUR_S  # before the run begins the last load is delivered
_AT_AN_END_S: Final = 1_500.0  # between the two weighings at either end
_MEAN_M_S: Final = 12.5
_PACE: Final = (0.95, 1.0)  # of what the plan asks for by then

Step = tuple[float, int, str, Contract, int]


def bring_in(world: World) -> None:
    """Play the month up to the begin in papers alone: releases, loads, results, settlements.

    Nobody saw the trucks. What a yard holds when the run begins is what its case says, so that what came
    before lies in its opening no more.
    """
    contracts = [c for c in world.site.contracts.values() if _begun(world, c)]
    loads = heapq.merge(*(_loads(world, c, n) for n, c in enumerate(contracts)))
    offered = [step for n, c in enumerate(contracts) for step in _agreed(world, c, n)]
    done: dict[tuple[str, str], int] = {}
    hauled, day = 0, 0
    for at_s, _, event, contract, kg in heapq.merge(sorted(offered, key=_when), loads, key=_when):
        if world.day(at_s) > day:
            day = world.day(at_s)
            labs.morning(world, day)
        if event == "load":
            hauled += _haul(world, world.trucks[hauled % len(world.trucks)], contract, at_s)
        else:
            number = done[contract.contract, event] = done.get((contract.contract, event), 0) + 1
            offices.enter(world, contract, at_s, event, kg, number)
    # Nobody may have come since midnight; lots of yesterday are not to wait for tomorrow's morning.
    labs.morning(world, world.day(world.begin_s))
    world.now_s = world.begin_s


def _when(step: Step) -> tuple[float, int]:
    return step[:2]


def _begun(world: World, contract: Contract) -> bool:
    begin_s, end_s = offices.month_s(world, contract.month)
    return begin_s < world.begin_s < end_s and world.road_of(contract) is not None and bool(world.trucks)


def _agreed(world: World, contract: Contract, n: int) -> Iterator[Step]:
    for at_s, event, kg in offices.agreed(world, contract):
        if at_s < world.begin_s:
            yield at_s, n, event, contract, kg


def _loads(world: World, contract: Contract, n: int) -> Iterator[Step]:
    """When trucks come to be loaded, at an even pace somewhat behind the plan."""
    begin_s, end_s = offices.month_s(world, contract.month)
    first_s, last_s = begin_s + _HOUR_S, world.begin_s - _QUIET_S
    if last_s <= first_s:
        return
    chance = generator(world.seed, f"earlier {contract.contract}")
    kg = 1000.0 * contract.planned_t * float(chance.uniform(*_PACE)) * (last_s - first_s) / (end_s - begin_s)
    count = round(kg / world.plan.load_kg)
    for k, late in enumerate(chance.random(count).tolist()):
        yield first_s + (k + late) / count * (last_s - first_s), n, "load", contract, 0


def _haul(world: World, truck: Truck, contract: Contract, at_s: float) -> bool:
    """One load from bridge to bridge; False where nothing is released for it."""
    road = world.road_of(contract)
    assert road is not None
    trip = Trip(world.number(), truck.vehicle.plate, truck.device, contract, road, "")
    chance = generator(world.seed, "earlier load", trip.number)
    normal: list[float] = chance.standard_normal(12).tolist()
    coal_kg = round(world.plan.load_kg + world.plan.load_sd_kg * normal[0])
    if world.available_kg(contract.contract) < coal_kg:
        return False
    world.now_s = at_s
    trip.shown_plate = trip.plate
    empty_kg = truck.tare_kg + 25.0 * normal[1]
    _load(world, trip, empty_kg, coal_kg, normal)
    _deliver(world, trip, road, empty_kg, normal, 1.0 + 0.2 * float(chance.random()))
    return True


def _load(world: World, trip: Trip, empty_kg: float, coal_kg: int, normal: list[float]) -> None:
    place, contract, at_s = trip.contract.origin, trip.contract.contract, world.now_s
    ends, loaded_s = world.ends[place], at_s + _AT_AN_END_S
    world.reserve(contract, coal_kg)
    trip.origin_ticket = world.ticket(place, at_s)
    tare = world.weigh(trip, ends.tare, "tare", at_s, empty_kg, 0.0, normal[2])
    gross = world.weigh(trip, ends.gross, "gross", loaded_s, empty_kg + coal_kg, coal_kg, normal[3])
    trip.tare_origin_ms, trip.gross_origin_ms = round(at_s * 1000.0), round(loaded_s * 1000.0)
    trip.loaded_kg = gross - tare
    trip.load = world.load(trip, coal_kg, normal[4:10])
    world.loaded(trip, coal_kg)


def _deliver(
    world: World, trip: Trip, road: Road, empty_kg: float, normal: list[float], slowness: float
) -> None:
    assert trip.load is not None
    assert trip.gross_origin_ms is not None
    place, contract, load = trip.contract.destination, trip.contract, trip.load
    arrived_s = trip.gross_origin_ms / 1000.0 + slowness * road.length_m / _MEAN_M_S
    left_s, ends = arrived_s + _AT_AN_END_S, world.ends[place]
    trip.destination_ticket = world.ticket(place, arrived_s)
    kg = load.received_kg
    gross = world.weigh(trip, ends.gross, "gross", arrived_s, empty_kg + kg, kg, normal[10])
    tare = world.weigh(trip, ends.tare, "tare", left_s, empty_kg, 0.0, normal[11])
    t_ms, trip.gross_destination_ms = round(left_s * 1000.0), round(arrived_s * 1000.0)
    trip.tare_destination_ms = trip.shown_tare_ms = t_ms
    trip.shown_gross_ms, trip.received_kg = trip.gross_destination_ms, gross - tare
    world.books.move("receive", t_ms, contract.contract, kg, trip.received_kg, trip.destination_ticket)
    lost = load.loaded_kg - kg, trip.loaded_kg - trip.received_kg
    world.books.move("lose", t_ms, contract.contract, *lost, trip.destination_ticket)
    world.books.yard("receipt", t_ms, contract.unit, kg, trip.received_kg, trip.destination_ticket)
    world.books.yard("opening", t_ms, contract.unit, -kg, -trip.received_kg)
    offices.received(world, trip)
    labs.sampled(world, trip, "destination")
