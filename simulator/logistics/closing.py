"""Whether the books close: trips and offices' papers, added up apart, against the accounts."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.logistics.world import World

__all__ = ["residual_kg"]


def residual_kg(world: World, t_ms: int) -> int:
    """The most that an identity of a contract or a yard misses at `t_ms`, by true masses or by papers. [kg].

    Released, cancelled, settled and rejected coal is what offices entered;
    loaded, received and lost coal is added up from the trips. Both must give
    the accounts: planned = released + unreleased; released = loaded + unloaded
    + cancelled; loaded = received + lost + in transit; received = settled +
    unsettled + rejected; stock = opening + received − burnt ± survey.
    """
    worst = 0
    for paper in (False, True):
        accounts, offices = _accounts(world, t_ms, paper=paper)
        trips = _trips(world, t_ms, paper=paper)
        for contract in world.site.contracts.values():
            name = contract.contract
            unreleased = round(contract.planned_t * 1000.0) + accounts[name, "unreleased"]
            loaded, received, lost, under_way = (
                trips[name, k] for k in ("load", "receive", "lose", "transit")
            )
            released = offices[name, "release"]
            gone = accounts[name, "settled"] + accounts[name, "unsettled"] + accounts[name, "rejected"]
            misses = (
                round(contract.planned_t * 1000.0) - released - unreleased,
                released - loaded - accounts[name, "unloaded"] - offices[name, "cancel"],
                loaded - received - lost - under_way,
                under_way - accounts[name, "in_transit"],
                received - gone,
                accounts[name, "settled"] - offices[name, "settle"],
                accounts[name, "rejected"] - offices[name, "reject"],
            )
            worst = max(worst, *(abs(miss) for miss in misses))
    return max(worst, _yards(world, t_ms))


def _accounts(
    world: World, t_ms: int, *, paper: bool
) -> tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]:
    """Balances by contract and account, and what offices entered by contract and event."""
    balances, entered = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for flow in world.books.flows:
        if (flow.paper_ms if paper else flow.t_ms) <= t_ms:
            kg = flow.paper_kg if paper else flow.true_kg
            balances[flow.contract, flow.source] -= kg
            balances[flow.contract, flow.target] += kg
            entered[flow.contract, flow.event] += kg
    return balances, entered


def _trips(world: World, t_ms: int, *, paper: bool) -> Counter[tuple[str, str]]:
    """What trips loaded, delivered, lost and still carry, by contract."""
    sums = Counter[tuple[str, str]]()
    for trip in world.trips:
        name, load = trip.contract.contract, trip.load
        if load is None or trip.gross_origin_ms is None or trip.gross_origin_ms > t_ms:
            continue
        loaded = trip.loaded_kg if paper else load.loaded_kg
        received = trip.received_kg if paper else load.received_kg
        sums[name, "load"] += loaded
        done_ms = trip.shown_tare_ms if paper else trip.tare_destination_ms
        if done_ms is not None and done_ms <= t_ms and trip.tare_destination_ms is not None:
            sums[name, "receive"] += received
            sums[name, "lose"] += loaded - received
        else:
            sums[name, "transit"] += loaded
    return sums


def _yards(world: World, t_ms: int) -> int:
    worst = 0
    for unit, yard in world.yards.by_unit.items():
        burnt = -sum(row.true_kg for row in world.books.yards if row.unit == unit and row.event == "burn")
        worst = max(worst, abs(int(yard.burnt_kg) - burnt))
        rows = [row for row in world.books.yards if row.unit == unit and row.t_ms <= t_ms]
        receipts = [
            trip
            for trip in world.trips
            if trip.contract.unit == unit
            and trip.tare_destination_ms is not None
            and trip.tare_destination_ms <= t_ms
        ]
        true = sum(trip.load.received_kg for trip in receipts if trip.load)
        booked = sum(trip.received_kg for trip in receipts)
        worst = max(
            worst,
            abs(true - sum(row.true_kg for row in rows if row.event == "receipt")),
            abs(booked - sum(row.paper_kg for row in rows if row.event == "receipt")),
        )
    return worst
