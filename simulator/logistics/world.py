"""Coal on the road as it truly is: a discrete-event world of trucks, trains, bridges, papers and yards."""

from __future__ import annotations

import heapq
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Final
from zoneinfo import ZoneInfo

from models.site import Contract, Site
from simulator.logistics import earlier, labs, offices, phantoms, rounds, trains, yards
from simulator.logistics.books import Books
from simulator.logistics.bridges import Bridge, Queue
from simulator.logistics.bridges import ends as bridge_ends
from simulator.logistics.coal import Load, Seam
from simulator.logistics.plan import Plan
from simulator.logistics.post import Post
from simulator.logistics.roads import Road
from simulator.logistics.tracks import Spot, Tracks
from simulator.logistics.trips import Stop, Trip, TrueWeighing
from simulator.logistics.wrongs import Wrongs
from simulator.rng import generator

__all__ = ["Run", "World"]

_DAY_S: Final = 86_400.0
_RESERVE_KG: Final = 3_000  # beyond the usual load, so that no contract is loaded beyond its releases
_AT_ENDS_M: Final = 60_000.0  # of road that could be driven in the time spent at both ends
_VARY: Final = 0.25  # how much more or less a contract gets done than its plan is worth


@dataclass(slots=True)
class Run:
    """What a truck is told to do.

    Attributes
    ----------
    reserved_kg : int
        Of the contract's released coal. [kg]
    """

    contract: Contract
    road: Road
    reserved_kg: int


class World:
    """Everything on the road.

    Parameters
    ----------
    site : Site
        Its places with a bridge, its contracts between them, its vehicles.
    seed, start_ms, end_ms : int
        The end bounds what offices plan; None runs on without one.
    warm_up_s : float
        How long the trucks have been at work when the run begins. [s]

    Attributes
    ----------
    now_s : float
        Up to where it has been played. [s]
    trips : list of Trip
    weighings : list of TrueWeighing
    stops : list of Stop
        The last two since they were last taken.
    """

    def __init__(
        self,
        site: Site,
        plan: Plan,
        seed: int,
        start_ms: int,
        end_ms: int | None = None,
        warm_up_s: float = 0.0,
    ) -> None:
        self.site, self.plan, self.seed = site, plan, seed
        self.start_ms, self.end_ms = start_ms, end_ms
        self.zone = ZoneInfo(site.timezone)
        self.now_s = self.begin_s = start_ms / 1000.0 - warm_up_s
        offset = datetime.fromtimestamp(start_ms / 1000.0, tz=UTC).astimezone(self.zone).utcoffset()
        self.offset_s = offset.total_seconds() if offset else 0.0
        self.ends = bridge_ends(site, seed, start_ms / 1000.0, plan, self.offset_s)
        self.bays = {place: self._bays(place) for place in self.ends}
        self.seams = {place: Seam(seed, place, plan.terms(place).coal) for place in self.ends}
        self.roads = self._roads()
        self._work = self._work_by_place()
        self.wrongs = Wrongs(seed, plan.wrongs)
        self.post = Post(seed, start_ms, plan.disorder, plan.wrongs, set(site.devices), earlier=plan.earlier)
        self.books = Books()
        self.trips: list[Trip] = []
        self.weighings: list[TrueWeighing] = []
        self.stops: list[Stop] = []
        self._numbers = count(1)
        self._tickets: dict[str, int] = {}
        self._reserved: dict[str, int] = dict.fromkeys(site.contracts, 0)
        self._weights = {c: self._weight(c) for c in site.contracts}
        self.lots, self.papers = labs.Lots(), offices.Papers()
        self.yards = yards.Yards(self)
        for contract in site.contracts.values():
            self.books.open(contract)
        self.tracks = Tracks(self.roads or [], self.begin_s - 10.0 * _DAY_S)
        self.trucks = self._trucks()
        self._agenda: list[tuple[float, int, Iterator[float]]] = []
        if plan.earlier:
            earlier.bring_in(self)
        self._start()

    def _bays(self, place: str) -> Queue:
        terms = self.plan.terms(place)
        return Queue(terms.bays, terms.opens_h, terms.closes_h, self.offset_s)

    def road_of(self, contract: Contract) -> Road | None:
        """The road that a contract's trucks take; None where it has none."""
        for known, road in self._work.get(contract.destination, ()):
            if known is contract:
                return road
        return None

    def _roads(self) -> list[Road]:
        """One road for each pair of places that a contract without trains joins."""
        pairs = dict.fromkeys(
            (c.origin, c.destination)
            for c in self.site.contracts.values()
            if c.contract not in self.plan.trains and c.origin in self.ends and c.destination in self.ends
        )
        places = self.site.places
        return [
            Road(self.seed, n, places[a], places[b], self.plan.lane(a, b), self.plan.jam_share)
            for n, (a, b) in enumerate(pairs)
        ]

    def _work_by_place(self) -> dict[str, list[tuple[Contract, Road]]]:
        """What trucks that wait at a destination may be sent for."""
        work: dict[str, list[tuple[Contract, Road]]] = {}
        for contract in self.site.contracts.values():
            for road in self.roads:
                ends = road.origin.place, road.destination.place
                if (
                    contract.origin,
                    contract.destination,
                ) == ends and contract.contract not in self.plan.trains:
                    work.setdefault(contract.destination, []).append((contract, road))
        return work

    def _weight(self, contract: str) -> float:
        """How a contract fares beside others of the same trucks."""
        vary = generator(self.seed, f"contract {contract}").normal(0.0, _VARY)
        return self.site.contracts[contract].planned_t * float(2.718281828459045**vary)

    def _trucks(self) -> list[rounds.Truck]:
        """Trucks, shared out among the destinations as their contracts are worth."""
        worth = {
            place: sum(self._weights[c.contract] * (road.length_m + _AT_ENDS_M) for c, road in work)
            for place, work in self._work.items()
        }
        total, served = sum(worth.values()) or 1.0, dict.fromkeys(worth, 0)
        at_end = {road.destination.place: road for road in self.roads}
        trucks = []
        wagons = {plate for fleet in trains.wagons(self.site, self.plan).values() for plate in fleet}
        vehicles = [v for v in self.site.vehicles.values() if v.plate not in wagons] if worth else []
        for n, vehicle in enumerate(vehicles):
            # The place that is furthest behind its share gets the next truck.
            place = max(worth, key=lambda p: worth[p] / total * (n + 1) - served[p])
            served[place] += 1
            chance = generator(self.seed, "truck", n)
            road = at_end[place]
            self.tracks.add(self.begin_s - _DAY_S, Spot(road.number, road.length_m))
            tare_kg = (vehicle.tare_kg or 15_500.0) + float(chance.normal(0.0, 40.0))
            pace = float(min(max(chance.normal(1.0, 0.04), 0.85), 1.15))
            trucks.append(rounds.Truck(n, vehicle, tare_kg, pace, place))
        return trucks

    def _start(self) -> None:
        """Put everybody on the agenda."""
        spread_s = self.plan.spread_h * 3_600.0
        for truck in self.trucks:
            begin = self.begin_s + spread_s * (truck.number + 0.5) / len(self.trucks)
            self._enter(begin, rounds.life(self, truck, begin))
        for room in (offices, trains, yards, labs, phantoms):
            for life in room.lives(self):
                self._enter(self.begin_s, life)

    def _enter(self, at_s: float, life: Generator[float, None, None]) -> None:
        heapq.heappush(self._agenda, (at_s, len(self._agenda), life))

    def advance(self, t_ms: int) -> None:
        """Let everything happen that begins up to `t_ms`."""
        until_s = t_ms / 1000.0
        while self._agenda and self._agenda[0][0] <= until_s:
            at_s, order, life = self._agenda[0]
            self.now_s = max(self.now_s, at_s)
            following = next(life, None)
            if following is None:
                heapq.heappop(self._agenda)
            else:
                heapq.heapreplace(self._agenda, (max(following, at_s), order, life))
        self.now_s = max(self.now_s, until_s)

    @property
    def tickets(self) -> int:
        """Tickets written so far, forged ones too."""
        return sum(self._tickets.values())

    # What trucks and trains ask of the world.

    def number(self) -> int:
        """Number of a new trip."""
        return next(self._numbers)

    def day(self, t_s: float) -> int:
        """The local day of an instant, counted from 1970."""
        return int((t_s + self.offset_s) // _DAY_S)

    def midnight_s(self, day: int) -> float:
        """When a local day begins. [s]."""
        return day * _DAY_S - self.offset_s

    def date(self, day: int) -> str:
        """A local day as YYMMDD."""
        return datetime.fromtimestamp(day * _DAY_S, tz=UTC).strftime("%y%m%d")

    def ticket(self, place: str, now_s: float) -> str:
        """Number of a new ticket of a place."""
        name = f"{place}-{self.date(self.day(now_s))}"
        self._tickets[name] = self._tickets.get(name, 0) + 1
        return f"{name}-{self._tickets[name]:04d}"

    def closed(self, place: str, day: int) -> bool:
        """Whether a place loads nothing on a day."""
        share = self.plan.closed_day_share
        return bool(share) and generator(self.seed, f"closed {place}", day).random() < share

    def next_run(self, truck: rounds.Truck, now_s: float) -> Run | None:
        """Work for a truck at its place: a contract with released coal, drawn by weight."""
        capacity = int(self.plan.load_kg + 3.0 * self.plan.load_sd_kg) + _RESERVE_KG
        day = self.day(now_s)
        open_ = [
            (contract, road)
            for contract, road in self._work.get(truck.place, ())
            if self.available_kg(contract.contract) >= capacity and not self.closed(road.origin.place, day)
        ]
        if not open_:
            return None
        draw = generator(self.seed, "work", truck.number, int(now_s)).random()
        left = draw * sum(self._weights[c.contract] for c, _ in open_)
        chosen, road = open_[-1]
        for contract, its_road in open_:
            left -= self._weights[contract.contract]
            if left < 0.0:
                chosen, road = contract, its_road
                break
        self.reserve(chosen.contract, capacity)
        return Run(chosen, road, capacity)

    def available_kg(self, contract: str) -> int:
        """Released coal that nobody has been sent for. [kg]."""
        return self.books.balance(contract, "unloaded") - self._reserved[contract]

    def reserve(self, contract: str, kg: int) -> None:
        """Keep released coal for a vehicle that is sent for it."""
        self._reserved[contract] += kg

    def weigh(
        self,
        trip: Trip,
        bridge: Bridge,
        step: str,
        at_s: float,
        mass_kg: float,
        coal_kg: float,
        noise: float,
        *,
        paper_s: float | None = None,
        shown_kg: int | None = None,
    ) -> int:
        """Weigh a vehicle; gives what the ticket shows. [kg].

        Parameters
        ----------
        mass_kg, coal_kg : float
            What stands on the bridge, and the coal in it. [kg]
        noise : float
            A standard normal draw.
        paper_s, shown_kg
            The time and mass that the ticket shows where they are made up.
        """
        shown = bridge.shows(mass_kg, at_s, noise) if shown_kg is None else shown_kg
        t_ms = round(at_s * 1000.0)
        wanted_ms = t_ms if paper_s is None else round(paper_s * 1000.0)
        paper_ms = self.post.free_ms(bridge.device, wanted_ms)
        ticket = trip.destination_ticket or trip.origin_ticket
        plate = trip.shown_plate or trip.plate
        vehicle = self.site.vehicles[trip.plate]
        values: dict[str, float | str] = {
            "ticket": ticket, "plate": plate, "tag": vehicle.tag or "", "step": step, "mass_kg": float(shown),
            "contract": trip.contract.contract, "grade": trip.contract.grade,
        }  # fmt: skip
        self.post.weighing(bridge.device, paper_ms, values, t_ms)
        self.weighings.append(
            TrueWeighing(
                t_ms, paper_ms, bridge.device, ticket, plate, vehicle.tag or "", step, shown,
                trip.contract.contract, trip.contract.grade, mass_kg, coal_kg, trip.plate, trip.number,
            )
        )  # fmt: skip
        return shown

    def load(self, trip: Trip, kg: int, noise: list[float], taken_kg: int = 0) -> Load:
        """What is loaded on a trip, and what will become of it on the way."""
        plan, t_ms, contract = self.plan, self.now_s * 1000.0, trip.contract
        spilt = max(0.0, plan.loss_share * (1.0 + 0.5 * noise[0]))
        spilt += self.wrongs.size("real_loss", contract.contract, t_ms, trip)
        poured = round(self.wrongs.size("watered", contract.contract, t_ms, trip))
        short = self.wrongs.size("short_quality", contract.seller, t_ms, trip)
        return self.seams[contract.origin].load(
            self.day(self.now_s), kg, noise[1:6], spilt_share=min(spilt, 0.95), taken_kg=taken_kg + poured,
            poured_kg=poured, change_pct=plan.moisture_change_pct, short_share=short,
        )  # fmt: skip

    def loaded(self, trip: Trip, reserved_kg: int) -> None:
        """Enter a loaded trip, and let go of what was reserved for it."""
        assert trip.load is not None
        assert trip.gross_origin_ms is not None
        contract = trip.contract.contract
        self.reserve(contract, -reserved_kg)
        trip.lot = trip.lot or labs.lot(self, contract, trip.gross_origin_ms / 1000.0)
        self.books.move(
            "load", trip.gross_origin_ms, contract, trip.load.loaded_kg, trip.loaded_kg, trip.origin_ticket
        )
        self.trips.append(trip)
        labs.sampled(self, trip, "origin")

    def received(self, trip: Trip) -> None:
        """Enter a trip that has been delivered."""
        load, t_ms, contract = trip.load, trip.tare_destination_ms, trip.contract
        assert load is not None
        assert t_ms is not None
        paper_ms, ref = trip.shown_tare_ms or t_ms, trip.destination_ticket
        true_kg = load.received_kg
        self.books.move("receive", t_ms, contract.contract, true_kg, trip.received_kg, ref, paper_ms)
        lost = load.loaded_kg - true_kg, trip.loaded_kg - trip.received_kg
        self.books.move("lose", t_ms, contract.contract, *lost, ref, paper_ms)
        self.yards.receive(contract.unit, t_ms, true_kg, trip.received_kg, load.arrival_mj_kg, ref)
        offices.received(self, trip)
        labs.sampled(self, trip, "destination")
