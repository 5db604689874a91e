"""What offices enter: releases, cancellations, settlements and rejections, contract by contract."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from models.site import Contract
from simulator.rng import generator

if TYPE_CHECKING:
    from simulator.logistics.trips import Trip
    from simulator.logistics.world import World

__all__ = ["Papers", "agreed", "enter", "lives", "month_s", "office_of", "received"]

_HOUR_S: Final = 3_600.0
_DAY_S: Final = 86_400.0
_HELD: Final = 0.04  # at most so much of a plan is never released
_LAST_S: Final = 8 * _DAY_S  # after the month's end the last settlement is done


@dataclass(slots=True)
class Papers:
    """What waits on desks.

    Attributes
    ----------
    unsettled : dict
        Received trips of a contract that are neither settled nor rejected.
    """

    unsettled: dict[str, list[Trip]] = field(default_factory=dict)


def office_of(world: World, stream: str, unit: str) -> str:
    """The office that enters things of a stream: one in it, one of the unit, any; empty without one."""
    offices = [d for d in world.site.devices.values() if d.device_class == "office"]
    for fits in (lambda d: d.stream == stream, lambda d: d.unit == unit, lambda _: True):
        for device in offices:
            if fits(device):
                return device.device
    return ""


def month_s(world: World, month: str) -> tuple[float, float]:
    """When a local month begins and ends. [s UTC]."""
    year, number = (int(part) for part in month.split("-"))
    first = datetime(year, number, 1, tzinfo=world.zone)
    after = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=world.zone)
    return first.timestamp(), after.timestamp()


def received(world: World, trip: Trip) -> None:
    """Put a delivered trip on the desk of those who settle."""
    world.papers.unsettled.setdefault(trip.contract.contract, []).append(trip)


def lives(world: World) -> list[Generator[float, None, None]]:
    """The paperwork of each contract."""
    return [_contract(world, contract) for contract in world.site.contracts.values()]


def _contract(world: World, contract: Contract) -> Generator[float, None, None]:
    office = office_of(world, contract.stream, contract.unit)
    planned = round(contract.planned_t * 1000.0)
    if not office:  # nobody releases: all of it may be hauled
        world.books.move("release", round(world.begin_s * 1000.0), contract.contract, planned, planned, "")
        return
    if month_s(world, contract.month)[1] <= world.begin_s:
        return
    done: dict[str, int] = {}
    for at_s, event, kg in sorted(agreed(world, contract)):
        if at_s < world.begin_s:
            if world.plan.earlier:  # it was entered then
                done[event] = done.get(event, 0) + 1
            continue
        yield at_s
        done[event] = done.get(event, 0) + 1
        enter(world, contract, at_s, event, kg, done[event])


def agreed(world: World, contract: Contract) -> list[tuple[float, str, int]]:
    """What a contract's office enters: when, "release", "settle" or "cancel", and how much. [s UTC], [kg]

    What was released before the run began is released as it begins, where earlier papers are not told.
    """
    begin_s, end_s = month_s(world, contract.month)
    planned = round(contract.planned_t * 1000.0)
    first_s = 0.0 if world.plan.earlier else world.begin_s
    chance = generator(world.seed, f"office {contract.contract}")
    steps: list[tuple[float, str, int]] = []
    held, count = round(planned * float(chance.uniform(0.0, _HELD))), world.plan.releases
    for n in range(count):
        kg = planned // count if n < count - 1 else planned - planned // count * (count - 1) - held
        at_s = begin_s + n * (end_s - begin_s) / count + 30.0 + float(chance.uniform(0.0, 900.0)) * (n > 0)
        steps.append((max(at_s, first_s + 30.0 + n), "release", max(kg, 0)))
    every_s = world.plan.settle_days * _DAY_S
    settled_s = begin_s + every_s + 15.0 * _HOUR_S
    while settled_s < end_s + _LAST_S + every_s:
        steps.append((settled_s + float(chance.uniform(0.0, 1.0)) * _HOUR_S, "settle", 0))
        settled_s += every_s
    if chance.random() < world.plan.cancel_share:
        steps.append((end_s + float(chance.uniform(60.0, _HOUR_S)), "cancel", 0))
    return steps


def enter(world: World, contract: Contract, at_s: float, event: str, kg: int, number: int) -> None:
    """Enter one of what was agreed, the `number`-th of its kind."""
    office = office_of(world, contract.stream, contract.unit)
    ref = f"{contract.contract}-{event[0].upper()}{number:02d}"
    if event == "settle":
        _settle(world, contract, office, at_s, ref)
    else:
        amount = max(world.available_kg(contract.contract), 0) if event == "cancel" else kg
        _enter(world, contract, office, at_s, event, amount, amount, ref)


def _settle(world: World, contract: Contract, office: str, at_s: float, ref: str) -> None:
    """Settle everything delivered until the last midnight, less what is rejected."""
    until_ms = world.midnight_s(world.day(at_s)) * 1000.0
    waiting = world.papers.unsettled.get(contract.contract, [])
    due = [t for t in waiting if max(t.tare_destination_ms or 0, t.shown_tare_ms or 0) < until_ms]
    world.papers.unsettled[contract.contract] = [t for t in waiting if t not in due]
    paper_kg = true_kg = rejected = 0
    for trip in due:
        assert trip.load is not None
        draw = generator(world.seed, "reject", trip.number).random() if world.plan.reject_share else 1.0
        if draw < world.plan.reject_share:
            rejected += 1
            name = f"{ref}-J{rejected:02d}"
            _enter(
                world, contract, office, at_s + rejected, "reject", trip.load.received_kg, trip.received_kg,
                name, note=trip.destination_ticket,
            )  # fmt: skip
        else:
            true_kg += trip.load.received_kg
            paper_kg += trip.received_kg
    _enter(world, contract, office, at_s, "settle", true_kg, paper_kg, ref)


def _enter(
    world: World,
    contract: Contract,
    office: str,
    at_s: float,
    event: str,
    true_kg: int,
    paper_kg: int,
    ref: str,
    note: str = "",
) -> None:
    """Enter an event in the books and in the office's computer."""
    if not paper_kg:
        return
    # What was agreed before the run began is entered as it begins, unless earlier papers are told.
    first_ms = 0 if world.plan.earlier else world.start_ms + 1_000
    t_ms = world.post.free_ms(office, max(round(at_s * 1000.0), first_ms))
    world.books.move(event, t_ms, contract.contract, true_kg, paper_kg, ref)
    values: dict[str, float | str] = {
        "ref": ref, "event": event, "contract": contract.contract, "mass_kg": float(paper_kg),
    }  # fmt: skip
    world.post.send(office, t_ms, {**values, "note": note} if note else values)
