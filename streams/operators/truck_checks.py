"""What is wrong with a truck's weighings: tare, repeats, overload, plate, time, tickets without it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from models.anomaly import ANOMALY, Anomaly, Severity, State
from models.site import Site
from models.trip import distance_m
from models.truck_checks import Finding, Receipt, TareSeries, inflated_tares, repeated_weights, tare_drift
from models.weighing import GROSS, overload_kg
from streams.core.entity_operator import (
    ANOMALY_FIELDS,
    Entity,
    EntityRow,
    Item,
    Stands,
    anomaly_row,
    entity_operator,
)
from streams.operators.trip_match import HAUL, by_truck
from streams.operators.weighing import WEIGHED

__all__ = ["truck_checks"]

_DAY_S: Final = 86_400
_WINDOW_MS: Final = 900_000
_AGAIN_MS: Final = 7 * 86_400_000
"""An anomaly of a truck that does not show for so long has ended. [ms]"""
_FENCE_MS: Final = 1_800_000
"""A clock of a bridge and one of a truck may differ by so much. [ms]"""
_JUDGED_MS: Final = 2 * 3_600_000
"""Positions of a truck may come so late. [ms]"""
_MOST_M_S: Final = 33.3
"""120 km/h as the crow flies: no truck was at both places. [m/s]"""
_DOUBTFUL: Final = frozenset(
    {"repeat", "gross_under_tare", "implausible_mass", "weighed_twice", "tag_mismatch"}
)


def _by_truck_or_tickets(item: Item, site: Site) -> Iterable[str]:
    return (item.values["truck"],) if item.source == HAUL else by_truck(item, site)


@entity_operator(
    by=_by_truck_or_tickets,
    reads=(HAUL, WEIGHED),
    marks=("visits",),
    optional=("visits",),
    writes={ANOMALY: ANOMALY_FIELDS},
    horizon_s=30 * _DAY_S,
    reach_s=15 * _DAY_S,
    every_s=60,
    spares=True,
)
def truck_checks(entity: Entity) -> Iterator[EntityRow | Stands]:
    """Hold a truck's weighings against each other, its registration and its positions.

    Of a ticket that could not be computed nothing new is said, and nothing is taken back that rests on it.
    """
    truck = _Truck(entity)
    yield from _lacking(truck)
    for check in (_tares, _repeated, _overloaded, _swapped, _impossible, _phantoms):
        yield from check(truck)


class _Truck:
    """One truck's trips and weighings."""

    def __init__(self, entity: Entity):
        self.entity = entity
        self.hauls = entity.of(HAUL)
        self.weighed = entity.of(WEIGHED)
        self.lacks = entity.failed(HAUL)
        self.unknown = entity.failed(WEIGHED)
        self.unit = next((h.values["unit"] for h in reversed(self.hauls) if h.values.get("unit")), "")

    def say(
        self,
        subject: str,
        code: str,
        severity: Severity,
        finding: Finding,
        evidence: dict[str, Any],
        unit: str | None = None,
    ) -> EntityRow:
        """An anomaly; one of a truck ends when it does not show for a week, one of a ticket at once."""
        entity, site = self.entity, self.entity.site
        ends_ms = finding.until_ms + (_AGAIN_MS if subject.startswith("plate:") else 0)
        unit = self.unit if unit is None else unit
        region = site.units[unit].region if unit in site.units else ""
        found = Anomaly(
            subject, code, severity, finding.score, {"count": finding.count, **evidence}, finding.first_ms,
            finding.until_ms, _WINDOW_MS, unit, region,
            State.ENDED if entity.now_ms >= ends_ms else State.ACTIVE,
        )  # fmt: skip
        return anomaly_row(found, ends_ms)


def _lacking(truck: _Truck) -> Iterator[Stands]:
    """What rests on tickets that could not be computed."""
    of_plate = set[str]()
    if truck.lacks:
        of_plate |= {"tare_inflated", "tare_drift", "repeated_weight"}
    if truck.unknown:
        of_plate |= {"overload", "plate_swapped"}
    for code in sorted(of_plate):
        yield Stands(ANOMALY, f"plate:{truck.entity.name}:{code}:")
    for haul in truck.lacks:
        yield Stands(ANOMALY, f"ticket:{haul.values.get('origin_ticket', '')}:impossible_time:")


def _series(hauls: Sequence[Item], end: int) -> TareSeries:
    times = ("gross_ms", "received_ms")
    pairs = [
        (h.values[times[end]], h.values["tares_kg"][end])
        for h in hauls
        if h.values["tares_kg"][end] is not None and h.values.get(times[end])
        and not _DOUBTFUL & set(h.values["flags"])
    ]  # fmt: skip
    pairs.sort()
    return TareSeries(
        np.array([t for t, _ in pairs], np.int64), np.array([kg for _, kg in pairs], np.float64)
    )


def _tares(truck: _Truck) -> Iterator[EntityRow]:
    ends = _series(truck.hauls, 0), _series(truck.hauls, 1)
    subject = f"plate:{truck.entity.name}"
    inflated = inflated_tares(*ends)
    if inflated is not None:
        evidence = {
            "rule": "the origin's tare over 250 kg above the destination's about that time, more than once",
            "excess_kg": round(inflated.size_kg),
        }
        yield truck.say(subject, "tare_inflated", Severity.MAJOR, inflated, evidence)
    drift = tare_drift(*ends)
    if drift is not None and inflated is None:
        evidence = {
            "rule": "CUSUM of tares against the plate's robust mean over 8 standard deviations at both ends",
            "change_kg": round(drift.size_kg),
        }
        yield truck.say(subject, "tare_drift", Severity.MINOR, drift, evidence)


def _repeated(truck: _Truck) -> Iterator[EntityRow]:
    rows = list[list[Receipt]]([[]])
    lacking_ms = sorted(h.t for h in truck.lacks)
    for haul in sorted(truck.hauls, key=lambda h: h.values.get("received_ms") or 0):
        gross, tare, at_ms = (
            haul.values["grosses_kg"][1],
            haul.values["tares_kg"][1],
            haul.values.get("received_ms"),
        )
        if gross is not None and tare is not None and at_ms:
            if lacking_ms and haul.t > lacking_ms[0]:  # nobody knows what was delivered between
                del lacking_ms[: bisect_left(lacking_ms, haul.t)]
                rows.append([])
            rows[-1].append(Receipt(at_ms, gross, tare))
    for found in [found for row in rows for found in repeated_weights(row)]:
        evidence = {"rule": "the same gross and tare in three deliveries in a row", "net_kg": found.size_kg}
        yield truck.say(f"plate:{truck.entity.name}", "repeated_weight", Severity.MAJOR, found, evidence)


def _episodes(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Items that follow each other within a week."""
    held: list[Item] = []
    for item in items:
        if held and item.t - held[-1].t > _AGAIN_MS:
            yield held
            held = []
        held.append(item)
    if held:
        yield held


def _each_episode(
    truck: _Truck, which: Callable[[Item], float], code: str, severity: Severity, rule: str, least: int = 1
) -> Iterator[EntityRow]:
    for items in _episodes([w for w in truck.weighed if w.values["flags"] and which(w) > 0.0]):
        if len(items) < least:
            continue
        most = max(which(w) for w in items)
        found = Finding(items[0].t, items[-1].t, max(1.0, most), most, len(items))
        evidence = {
            "rule": rule,
            "tickets": [w.values["ticket"] for w in items[-10:]],
            "most": round(most, 3),
        }
        yield truck.say(f"plate:{truck.entity.name}", code, severity, found, evidence)


def _overloaded(truck: _Truck) -> Iterator[EntityRow]:
    vehicle = truck.entity.site.vehicles.get(truck.entity.name)
    rated = vehicle.rated_kg if vehicle is not None else None

    if not rated:
        return

    def over(item: Item) -> float:
        if item.values["step"] != GROSS or _DOUBTFUL.intersection(item.values["flags"]):
            return 0.0
        return overload_kg(item.values.get("mass_kg"), rated) / (0.01 * rated)

    yield from _each_episode(truck, over, "overload", Severity.MAJOR, "gross over the rated mass by over 1 %")


def _swapped(truck: _Truck) -> Iterator[EntityRow]:
    def swapped(item: Item) -> float:
        known = item.values["tag"] in truck.entity.site.tags
        return float(known and "tag_mismatch" in item.values["flags"])

    rule = "the tag on the bridge is registered for another plate than the ticket's"
    yield from _each_episode(truck, swapped, "plate_swapped", Severity.MAJOR, rule)


def _impossible(truck: _Truck) -> Iterator[EntityRow]:
    for haul in truck.hauls:
        if "too_fast" not in haul.values["flags"]:
            continue
        v, site = haul.values, truck.entity.site
        took_h = (v["arrived"] - v["gross_ms"]) / 3_600_000
        a, b = site.places.get(v["origin"]), site.places.get(v["destination"])
        way_km = distance_m(a, b) / 1000.0 if a is not None and b is not None else float("nan")
        found = Finding(v["gross_ms"], v["gross_ms"], 1.0, 0.0, 1)
        evidence = {
            "rule": "faster than 90 km/h in a straight line from gross to gross",
            "straight_km": round(way_km), "hours": round(took_h, 2), "receipt": v.get("destination_ticket"),
        }  # fmt: skip
        yield truck.say(f"ticket:{v['origin_ticket']}", "impossible_time", Severity.MAJOR, found, evidence)


def _phantoms(truck: _Truck) -> Iterator[EntityRow | Stands]:
    """Tickets of a truck that was not there: by its positions, else by its other tickets."""
    by_ticket: dict[tuple[str, str], list[Item]] = {}
    for item in sorted([*truck.weighed, *truck.unknown], key=lambda i: i.order):
        if item.values["place"]:
            by_ticket.setdefault((item.values["place"], item.values["ticket"]), []).append(item)
    ordered = sorted(by_ticket.items(), key=lambda x: (x[1][0].t, x[0]))
    for at, ((place, ticket), items) in enumerate(ordered):
        seen, sure = _seen(truck, place, items[0].t)
        if not sure or any(i.failed for i in items):
            yield Stands(ANOMALY, f"ticket:{ticket}:phantom_ticket:")
            continue
        why = ""
        if seen is False and truck.entity.now_ms >= items[-1].t + _JUDGED_MS:
            why = "the truck was not inside of the fence within half an hour"
        elif seen is None and 0 < at < len(ordered) - 1 and _elsewhere(truck, ordered, at):
            why = "no truck can come from the ticket before it and go on to the one after it in that time"
        if why:
            found = Finding(items[0].t, items[-1].t, 1.0, 0.0, len(items))
            evidence = {"rule": why, "place": place, "plate": truck.entity.name}
            yield truck.say(f"ticket:{ticket}", "phantom_ticket", Severity.MAJOR, found, evidence)


def _seen(truck: _Truck, place: str, t_ms: int) -> tuple[bool | None, bool]:
    """Whether a truck was inside of a place about a time, and whether that is sure.

    It is not where positions of before could not be marked, unless the truck was seen since at the edge of
    this place or of one apart from it.
    """
    marks = truck.entity.of("visits")
    lacks = [i.values["to_ms"] for i in truck.entity.failed("visits") if i.t <= t_ms + _FENCE_MS]
    if not lacks:
        return (_inside(marks, place, t_ms) if marks else None), True
    telling = [m for m in marks if m.t <= t_ms + _FENCE_MS and _tells(truck, m, place)]
    if any(m.values["place"] == place and m.t >= t_ms - _FENCE_MS for m in telling):
        return True, True
    if not telling or telling[-1].t < max(lacks):
        return None, False
    last = telling[-1].values
    return (last["place"], last["what"]) == (place, "enter"), True


def _tells(truck: _Truck, mark: Item, place: str) -> bool:
    """Whether a mark tells if the truck is inside of a place: one of it, or of a place apart from it."""
    here, there = (truck.entity.site.places.get(p) for p in (place, mark.values["place"]))
    if here is None or there is None or here is there:
        return here is there and here is not None
    return distance_m(here, there) > here.radius_m + there.radius_m


def _inside(marks: Sequence[Item], place: str, t_ms: int) -> bool | None:
    """Whether a truck was inside of a place about a time; None before its first mark is known."""
    if t_ms < marks[0].t - _FENCE_MS:
        return None
    inside = False
    for mark in marks:
        if mark.values.get("place") != place:
            continue
        if mark.t > t_ms + _FENCE_MS:
            break
        inside = mark.values.get("what") == "enter" or mark.t >= t_ms - _FENCE_MS
    return inside


def _elsewhere(truck: _Truck, ordered: Sequence[tuple[tuple[str, str], list[Item]]], at: int) -> bool:
    places = truck.entity.site.places
    here = places.get(ordered[at][0][0])
    for other, sign in ((at - 1, 1), (at + 1, -1)):
        there = places.get(ordered[other][0][0])
        if here is None or there is None or here.place == there.place:
            return False
        if sign > 0:
            took_ms = ordered[at][1][0].t - ordered[other][1][-1].t
        else:
            took_ms = ordered[other][1][0].t - ordered[at][1][-1].t
        if distance_m(here, there) <= _MOST_M_S * max(took_ms, 0) / 1000.0:
            return False
    return True
