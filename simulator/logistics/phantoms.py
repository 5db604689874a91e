"""Tickets of trucks that were never there."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Final

from models.site import Contract
from simulator.logistics.bridges import Bridge
from simulator.logistics.kinds import Wrong
from simulator.logistics.trips import TrueWeighing
from simulator.rng import generator

if TYPE_CHECKING:
    from simulator.logistics.rounds import Truck
    from simulator.logistics.world import World

__all__ = ["lives"]

_LANE_S: Final = 6.0 * 3_600.0
_BAY_S: Final = 1_500.0
_PAPER_TRIP: Final = 0.5  # share that has an origin's ticket too


def lives(world: World) -> list[Generator[float, None, None]]:
    """One forger for each wrong of the kind."""
    return [_forger(world, number, wrong) for number, wrong in world.wrongs.of("phantom_ticket")]


def _forger(world: World, number: int, wrong: Wrong) -> Generator[float, None, None]:
    contract = world.site.contracts[wrong.place]
    now, forged = wrong.onset_ms / 1000.0, 0
    trucks = [t for t in world.trucks if t.vehicle.device] or world.trucks
    while trucks and now * 1000.0 < wrong.until_ms:
        chance = generator(world.seed, "phantom", number, forged)
        yield now
        a_day = wrong.at(now * 1000.0)
        if a_day <= 0.0:
            now += 3_600.0
            continue
        now += 86_400.0 / a_day * float(chance.uniform(0.5, 1.5))
        yield now
        if now * 1000.0 >= wrong.until_ms:
            return
        truck = trucks[int(chance.integers(len(trucks)))]
        coal, tare = float(chance.uniform(29_000.0, 32_500.0)), truck.tare_kg
        at_s = now
        if chance.random() < _PAPER_TRIP:
            ends = world.ends[contract.origin]
            masses = ((ends.tare, "tare", tare), (ends.gross, "gross", tare + coal))
            _forge(world, number, wrong, contract, contract.origin, truck, at_s, masses)
            at_s += _LANE_S * float(chance.uniform(0.8, 1.3))
        ends = world.ends[contract.destination]
        masses = ((ends.gross, "gross", tare + coal * 0.997), (ends.tare, "tare", tare - 40.0))
        _forge(world, number, wrong, contract, contract.destination, truck, at_s, masses)
        forged += 1


def _forge(
    world: World,
    number: int,
    wrong: Wrong,
    contract: Contract,
    place: str,
    truck: Truck,
    at_s: float,
    masses: tuple[tuple[Bridge, str, float], ...],
) -> None:
    """Both weighings of a ticket that nobody's truck stands behind."""
    ticket, vehicle = world.ticket(place, at_s), truck.vehicle
    for n, (bridge, step, kg) in enumerate(masses):
        t_ms = world.post.free_ms(bridge.device, round((at_s + n * _BAY_S) * 1000.0))
        shown = round(kg / world.plan.division_kg) * int(world.plan.division_kg)
        values: dict[str, float | str] = {
            "ticket": ticket, "plate": vehicle.plate, "tag": vehicle.tag or "", "step": step,
            "mass_kg": float(shown), "contract": contract.contract, "grade": contract.grade,
        }  # fmt: skip
        world.post.send(bridge.device, t_ms, values)
        world.weighings.append(
            TrueWeighing(
                t_ms, t_ms, bridge.device, ticket, vehicle.plate, vehicle.tag or "", step, shown,
                contract.contract, contract.grade, 0.0, 0.0, "", 0,
            )
        )  # fmt: skip
    size = wrong.at(at_s * 1000.0)
    world.wrongs.note(
        number, wrong, vehicle.plate, vehicle.device or "", ticket, 0, round(at_s * 1000.0), size
    )
