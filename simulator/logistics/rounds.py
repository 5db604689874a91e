"""The life of one truck: empty to the mine, weighed, loaded, weighed, to the plant, weighed, unloaded."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from models.site import Vehicle
from simulator.logistics.bridges import Bridge, Queue
from simulator.logistics.journeys import Journey, deviate, drive, steal
from simulator.logistics.roads import Road
from simulator.logistics.tracks import Spot
from simulator.logistics.trips import Stop, Trip
from simulator.rng import generator

if TYPE_CHECKING:
    from simulator.logistics.world import Run, World

__all__ = ["Truck", "life"]

_MOVE_S: Final = 45.0  # from one spot of a place to the next
_ON_S: Final = 30.0  # onto a bridge or into a bay
_WEIGHED_S: Final = 60.0  # after the truck's turn began
_IDLE_S: Final = 1_800.0  # a truck without work asks again
_DIESEL_KG: Final = 45.0
_REST_SPREAD_S: Final = 1_200.0
# Spots of a place, as shares of its radius: east, north.
_QUEUE, _TARE, _BAY, _GROSS, _PARK = (0.12, 0.08), (0.05, -0.1), (0.25, 0.18), (-0.05, -0.1), (-0.2, 0.22)

Life = Generator[float, None, float]


@dataclass(slots=True)
class Truck:
    """A truck, and what it is up to.

    Attributes
    ----------
    number : int
        Its number among the tracks.
    tare_kg, pace : float
        True mass when empty [kg]; its driver's speed over that of the traffic.
    place : str
        Where it waits for work.
    shown : (int, int) or None
        Gross and tare of its last delivery, as shown. [kg]
    """

    number: int
    vehicle: Vehicle
    tare_kg: float
    pace: float
    place: str
    rounds: int = 0
    shown: tuple[int, int] | None = None

    @property
    def device(self) -> str:
        """Its box, or nothing."""
        return self.vehicle.device or ""


class _Round:
    """One round of a truck."""

    def __init__(self, world: World, truck: Truck, run: Run) -> None:
        self.world, self.truck, self.run, self.road = world, truck, run, run.road
        chance = generator(world.seed, "round", truck.number, truck.rounds)
        self.normal: list[float] = chance.standard_normal(24).tolist()
        self.uniform: list[float] = chance.random(16).tolist()
        self.trip = Trip(world.number(), truck.vehicle.plate, truck.device, run.contract, run.road, "")
        self.carried_kg = self.queued_s = 0.0

    def go(self, now: float) -> Life:
        """From the place where the truck waits and back to one; gives when it is done."""
        now = self._drive(now, back=True)[0]
        yield now
        world, trip, origin = self.world, self.trip, self.road.origin.place
        trip.origin_ticket = world.ticket(origin, now)
        swap = world.wrongs.done("plate_swapped", trip.plate, now * 1000.0, trip)
        trip.shown_plate = swap[0].other if swap else trip.plate
        empty_kg = self.truck.tare_kg + 25.0 * self.normal[0] + self._added_kg(now)
        water_kg = round(world.wrongs.size("tare_inflated", trip.plate, now * 1000.0, trip))
        ends = world.ends[origin]
        at_s, now = yield from self._weighed(now, ends.tare, origin, _TARE, 0.0)
        tare = world.weigh(trip, ends.tare, "tare", at_s, empty_kg + water_kg, 0.0, self.normal[1])
        trip.tare_origin_ms = round(at_s * 1000.0)
        yield now
        coal_kg = self.carried_kg = self._coal_kg(now, empty_kg)
        now = self._turn(now, world.bays[origin], self._bay_s(), origin, _BAY, 0.0, "load")[1]
        yield now
        at_s, now = yield from self._weighed(now, ends.gross, origin, _GROSS, coal_kg)
        gross = world.weigh(trip, ends.gross, "gross", at_s, empty_kg + coal_kg, coal_kg, self.normal[2])
        trip.gross_origin_ms, trip.loaded_kg = round(at_s * 1000.0), gross - tare
        trip.queue_origin_s, self.queued_s = self.queued_s, 0.0
        trip.load = world.load(trip, int(coal_kg), self.normal[3:9], water_kg + self._taken_kg(now))
        world.loaded(trip, self.run.reserved_kg)
        yield now
        now, *passed_s = self._drive(now, back=False)
        trip.departed_ms, trip.half_way_ms, trip.arrived_ms = (round(s * 1000.0) for s in passed_s)
        yield now
        return (yield from self._deliver(now, empty_kg - _DIESEL_KG))

    def _deliver(self, now: float, empty_kg: float) -> Life:
        """Weighed, unloaded, weighed; gives when the truck is free."""
        world, trip, place, truck = self.world, self.trip, self.road.destination.place, self.truck
        assert trip.load is not None
        left_kg = self.carried_kg = float(trip.load.received_kg)
        trip.destination_ticket = world.ticket(place, now)
        repeated = truck.shown if "repeated_weight" in trip.wrongs else None
        hurry = world.wrongs.size("impossible_time", trip.plate, now * 1000.0, trip) or 1.0
        ends = world.ends[place]
        at_s, now = yield from self._weighed(now, ends.gross, place, _GROSS, left_kg)
        gross = world.weigh(
            trip, ends.gross, "gross", at_s, empty_kg + left_kg, left_kg, self.normal[10],
            paper_s=self._paper_s(at_s, hurry), shown_kg=repeated and repeated[0],
        )  # fmt: skip
        trip.gross_destination_ms = round(at_s * 1000.0)
        trip.shown_gross_ms = round(self._paper_s(at_s, hurry) * 1000.0)
        trip.queue_destination_s = self.queued_s
        yield now
        held_s = 3_600.0 * world.wrongs.size("detention", place, now * 1000.0, trip)
        if held_s:
            now = self._stand(now, now + held_s, place, _QUEUE, left_kg, "detention")
            yield now
        self.carried_kg = 0.0
        now = self._turn(now, world.bays[place], self._bay_s(), place, _BAY, left_kg, "unload")[1]
        yield now
        at_s, now = yield from self._weighed(now, ends.tare, place, _TARE, 0.0)
        tare = world.weigh(
            trip, ends.tare, "tare", at_s, empty_kg, 0.0, self.normal[11],
            paper_s=self._paper_s(at_s, hurry), shown_kg=repeated and repeated[1],
        )  # fmt: skip
        trip.tare_destination_ms, trip.received_kg = round(at_s * 1000.0), gross - tare
        trip.shown_tare_ms = round(self._paper_s(at_s, hurry) * 1000.0)
        truck.shown, truck.place = (gross, tare), place
        world.received(trip)
        yield now
        off_s = world.plan.off_duty_h * 3_600.0 * (0.5 + self.uniform[8])
        return self._stand(now, now + off_s, place, _PARK, 0.0, "off_duty") if off_s else now

    def _paper_s(self, at_s: float, hurry: float) -> float:
        """The time that a ticket of the destination shows. [s]."""
        loaded_s = (self.trip.gross_origin_ms or 0) / 1000.0
        return loaded_s + (at_s - loaded_s) * hurry

    def _taken_kg(self, now: float) -> int:
        """Coal that will be missing from this truck, beside what an inflated tare hides. [kg]."""
        wrongs, trip = self.world.wrongs, self.trip
        taken = wrongs.size("theft", trip.plate, now * 1000.0, trip)
        if self.truck.shown is not None:  # nothing to repeat on the first delivery
            taken += wrongs.size("repeated_weight", trip.plate, now * 1000.0, trip)
        return round(taken)

    def _weighed(
        self, now: float, bridge: Bridge, place: str, at: tuple[float, float], load_kg: float
    ) -> Generator[float, None, tuple[float, float]]:
        """A turn on a bridge, up to the weighing; gives its time, and when the bridge is left. [s]."""
        begin, end = self._turn(now, bridge.queue, self.world.plan.bridge_s, place, at, load_kg, "weigh")
        at_s = begin + min(_WEIGHED_S, 0.7 * self.world.plan.bridge_s)
        yield at_s
        return at_s, end

    def _added_kg(self, now: float) -> float:
        """What a drifting tare has gained. [kg]."""
        found = self.world.wrongs.active("tare_drift", self.trip.plate, now * 1000.0, self.trip.number)
        if found is None:
            return 0.0
        size = self.world.wrongs.size("tare_drift", self.trip.plate, now * 1000.0, self.trip)
        return size * (now - found[1].onset_ms / 1000.0) / 86_400.0

    def _coal_kg(self, now: float, empty_kg: float) -> float:
        plan, rated = self.world.plan, self.truck.vehicle.rated_kg or 49_000.0
        over = self.world.wrongs.size("overload", self.trip.plate, now * 1000.0, self.trip)
        if over:
            return float(round(rated + over - empty_kg))
        wanted = plan.load_kg + plan.load_sd_kg * min(max(self.normal[9], -2.5), 2.5)
        return float(round(max(1_000.0, min(wanted, rated - empty_kg - 150.0))))

    def _bay_s(self) -> float:
        place = self.road.origin.place if self.carried_kg else self.road.destination.place
        return self.world.plan.terms(place).bay_s * (0.75 + 0.5 * self.uniform[9 if self.carried_kg else 10])

    def _spot(self, place: str, share: tuple[float, float]) -> Spot:
        there = self.world.site.places[place]
        at_end = place == self.road.destination.place
        east, north = share[0] * there.radius_m, share[1] * there.radius_m
        return Spot(self.road.number, self.road.length_m if at_end else 0.0, east, north)

    def _turn(
        self,
        now: float,
        queue: Queue,
        service_s: float,
        place: str,
        at: tuple[float, float],
        load_kg: float,
        kind: str,
    ) -> tuple[float, float]:
        """Wait for one's turn and be served; gives when it began and ended."""
        world, n = self.world, self.truck.number
        ready = now + _MOVE_S
        begin = queue.take(ready, service_s)
        waiting, spot = self._spot(place, _QUEUE), self._spot(place, at)
        for t, where, load in (
            (ready, waiting, load_kg), (begin, waiting, load_kg), (begin + _ON_S, spot, load_kg),
            (begin + service_s, spot, self.carried_kg),
        ):  # fmt: skip
            world.tracks.go(n, t, where, load)
        self.queued_s += begin - ready
        if begin > ready:
            self._stopped(ready, begin, "queue", place)
        self._stopped(begin + _ON_S, begin + service_s, kind, place)
        return begin, begin + service_s

    def _stand(
        self, now: float, until: float, place: str, at: tuple[float, float], load_kg: float, kind: str
    ) -> float:
        spot = self._spot(place, at)
        self.world.tracks.go(self.truck.number, now + _MOVE_S, spot, load_kg)
        self.world.tracks.go(self.truck.number, max(until, now + _MOVE_S), spot, load_kg)
        self._stopped(now + _MOVE_S, until, kind, place)
        return until

    def _stopped(self, start: float, until: float, kind: str, place: str) -> None:
        truck = self.truck
        self.world.stops.append(
            Stop(
                truck.vehicle.plate, truck.device, round(start * 1000.0), round(until * 1000.0), kind, place,
                self.trip.number,
            )
        )  # fmt: skip

    def _drive(self, now: float, *, back: bool) -> tuple[float, float, float, float]:
        """Drive the road; gives the end, leaving one fence, half-way, entering the other. [s]."""
        world, trip = self.world, self.trip
        pace = self.truck.pace * (1.0 + 0.03 * self.normal[12 if back else 13])
        rests = [60.0 * world.plan.rest_min + _REST_SPREAD_S * u for u in self.uniform[:5]]
        journey = drive(
            self.road, now, world.offset_s, pace * (1.06 if back else 1.0), self.carried_kg, back=back,
            rest_after_s=world.plan.rest_after_h * 3_600.0, rests_s=rests,
        )  # fmt: skip
        if not back:
            trip.rest_s = sum(until - begin for begin, until, _ in journey.stands)
            self._misbehave(journey, now)
        for t, spot, load in journey.spots():
            world.tracks.go(self.truck.number, t, spot, load)
        for begin, until, why in journey.stands:
            self._stopped(begin, until, why, "")
        road: Road = self.road
        if back:
            return journey.end_s, 0.0, 0.0, 0.0
        return (
            journey.end_s, journey.passes_s(road.leaves_m), journey.passes_s(road.length_m / 2.0),
            journey.passes_s(road.enters_m),
        )  # fmt: skip

    def _misbehave(self, journey: Journey, now: float) -> None:
        """Thefts and detours on the loaded way."""
        trip = self.trip
        assert trip.load is not None
        if trip.load.taken_kg:
            steal(journey, 0.3 + 0.4 * self.uniform[5], 900.0 + 1_200.0 * self.uniform[6], trip.load.taken_kg)
        off_m = self.world.wrongs.size("route_deviation", trip.plate, now * 1000.0, trip)
        if off_m:
            deviate(journey, off_m, self.uniform[7])


def life(world: World, truck: Truck, now: float) -> Generator[float, None, None]:
    """A truck's life: each value is when it next has something to decide. [s]."""
    while True:
        yield now
        run = world.next_run(truck, now)
        if run is None:
            now += _IDLE_S
            continue
        now = yield from _Round(world, truck, run).go(now)
        truck.rounds += 1
