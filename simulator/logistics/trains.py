"""Trains between a station and a plant: many wagons, weighed one by one, one lot a train."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Final

from models.site import Contract, Site, Vehicle
from simulator.logistics.plan import Plan, Train
from simulator.logistics.trips import Trip
from simulator.rng import generator

if TYPE_CHECKING:
    from simulator.logistics.bridges import Bridge
    from simulator.logistics.world import World

__all__ = ["lives", "wagons"]

_WAGON_KG: Final = 80_000.0  # a vehicle that may weigh more and has no box is a wagon
_WEIGHING_S: Final = 25.0
_LOADING_S: Final = 4.0 * 3_600.0
_WAIT_S: Final = 3.0 * 3_600.0
_SHUNT_S: Final = 900.0
_MARGIN: Final = 1.03  # of what is reserved over what is loaded
_TARE_KG: Final = 23_800.0


def wagons(site: Site, plan: Plan) -> dict[str, list[str]]:
    """Plates of the wagons of each contract's trains, in the order of the registry."""
    free = [v.plate for v in site.vehicles.values() if not v.device and (v.rated_kg or 0.0) >= _WAGON_KG]
    result = {}
    for contract, train in plan.trains.items():
        count = train.wagons * train.sets
        result[contract], free = free[:count], free[count:]
    return result


def lives(world: World) -> list[Generator[float, None, None]]:
    """Each train to and fro."""
    found = []
    for name, plates in wagons(world.site, world.plan).items():
        train, contract = world.plan.trains[name], world.site.contracts[name]
        for n in range(train.sets):
            own = [world.site.vehicles[p] for p in plates[n * train.wagons : (n + 1) * train.wagons]]
            if own:
                found.append(_train(world, contract, train, own, n))
    return found


def _train(
    world: World, contract: Contract, train: Train, fleet: list[Vehicle], number: int
) -> Generator[float, None, None]:
    each_kg = round(train.wagon_kg * _MARGIN)
    now = world.begin_s + 3_600.0 * (1.0 + train.hours * number / max(train.sets, 1))
    journey = 0
    while True:
        yield now
        if world.available_kg(contract.contract) < each_kg * len(fleet):
            now += _WAIT_S
            continue
        world.reserve(contract.contract, each_kg * len(fleet))
        chance = generator(world.seed, f"train {contract.contract}", number, journey)
        draws = chance.standard_normal((len(fleet), 12)).tolist()
        slow = 1.0 + 0.08 * float(chance.standard_normal())
        journey += 1
        lot = f"{contract.contract}-T{number + 1}{journey:03d}"
        trips = [Trip(world.number(), v.plate, "", contract, None, lot) for v in fleet]
        now = yield from _load(world, trips, fleet, train, draws, each_kg, now)
        departed, now = now + _SHUNT_S, now + 2.0 * _SHUNT_S + train.hours * 3_600.0 * slow
        for trip in trips:
            trip.departed_ms, trip.arrived_ms = round(departed * 1000.0), round((now - _SHUNT_S) * 1000.0)
        yield now
        now = yield from _unload(world, trips, fleet, draws, now)
        now += train.hours * 3_600.0 * slow


def _tare_kg(vehicle: Vehicle, draws: list[float]) -> float:
    return (vehicle.tare_kg or _TARE_KG) + 15.0 * draws[0]


def _load(
    world: World,
    trips: list[Trip],
    fleet: list[Vehicle],
    train: Train,
    draws: list[list[float]],
    each_kg: int,
    now: float,
) -> Generator[float, None, float]:
    """Weighed empty, loaded, weighed full; gives when the last wagon is weighed."""
    bridge = world.ends[trips[0].contract.origin].rail
    begin = bridge.queue.take(now, _WEIGHING_S * len(trips))
    tares = []
    for n, (trip, wagon) in enumerate(zip(trips, fleet, strict=True)):
        trip.origin_ticket = world.ticket(trip.contract.origin, now)
        at_s = begin + _WEIGHING_S * n
        yield at_s
        trip.tare_origin_ms = round(at_s * 1000.0)
        tares.append(world.weigh(trip, bridge, "tare", at_s, _tare_kg(wagon, draws[n]), 0.0, draws[n][1]))
    now = begin + _WEIGHING_S * len(trips) + _LOADING_S
    yield now
    begin = bridge.queue.take(now, _WEIGHING_S * len(trips))
    for n, (trip, wagon) in enumerate(zip(trips, fleet, strict=True)):
        at_s = begin + _WEIGHING_S * n
        yield at_s
        coal = round(train.wagon_kg * (1.0 + 0.008 * min(max(draws[n][2], -2.5), 2.5)))
        mass = _tare_kg(wagon, draws[n]) + coal
        gross = world.weigh(trip, bridge, "gross", at_s, mass, float(coal), draws[n][3])
        trip.gross_origin_ms, trip.loaded_kg = round(at_s * 1000.0), gross - tares[n]
        trip.load = world.load(trip, coal, draws[n][4:10])
        world.loaded(trip, each_kg)
    end = begin + _WEIGHING_S * len(trips)
    yield end
    return end


def _unload(
    world: World, trips: list[Trip], fleet: list[Vehicle], draws: list[list[float]], now: float
) -> Generator[float, None, float]:
    """Weighed full, unloaded, weighed empty; gives when the train is free."""
    bridge: Bridge = world.ends[trips[0].contract.destination].rail
    begin = bridge.queue.take(now, _WEIGHING_S * len(trips))
    grosses = []
    for n, (trip, wagon) in enumerate(zip(trips, fleet, strict=True)):
        assert trip.load is not None
        trip.destination_ticket = world.ticket(trip.contract.destination, now)
        at_s, coal = begin + _WEIGHING_S * n, float(trip.load.received_kg)
        yield at_s
        mass = _tare_kg(wagon, draws[n]) + coal
        trip.gross_destination_ms = trip.shown_gross_ms = round(at_s * 1000.0)
        grosses.append(world.weigh(trip, bridge, "gross", at_s, mass, coal, draws[n][10]))
    now = begin + _WEIGHING_S * len(trips) + _LOADING_S
    yield now
    begin = bridge.queue.take(now, _WEIGHING_S * len(trips))
    for n, (trip, wagon) in enumerate(zip(trips, fleet, strict=True)):
        at_s = begin + _WEIGHING_S * n
        yield at_s
        tare = world.weigh(trip, bridge, "tare", at_s, _tare_kg(wagon, draws[n]), 0.0, draws[n][11])
        trip.tare_destination_ms = trip.shown_tare_ms = round(at_s * 1000.0)
        trip.received_kg = grosses[n] - tare
        world.received(trip)
    end = begin + _WEIGHING_S * len(trips)
    yield end
    return end
