"""Loads and receipts of each truck, matched one to one, with what the fences saw of it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from models.site import Site
from models.trip import LONGEST_MS, lane_ms, match, too_fast
from models.weighing import Ticket, Weighing, tickets_of, truck_of
from streams.core.containing import FAILED
from streams.core.entity_operator import Entity, EntityRow, Item, by_plate, entity_operator
from streams.operators.weighing import WEIGHED

__all__ = ["HAUL", "by_truck", "haul", "weighing_of"]

HAUL: Final = "haul"
"""Measurement for other operators: a load with its receipt, before the laboratory's results."""
_DAY_S: Final = 86_400
_FENCE_MS: Final = 6 * 3_600_000
"""How long before a weighing its truck may have come into the fence, and after it have left. [ms]"""


def by_truck(item: Item, site: Site) -> Iterable[str]:
    """The truck that an item concerns: that of the tag on the bridge, if known."""
    if item.source != WEIGHED:
        return by_plate(item, site)
    truck = truck_of(item.values["plate"], item.values["tag"], site.tags)
    return (truck,) if truck else ()


def weighing_of(item: Item) -> Weighing:
    """A row of `WEIGHED` as a weighing; one that could not be computed is flagged so, and has no mass."""
    v = item.values
    flags = (FAILED,) if item.failed else tuple(v["flags"])
    return Weighing(
        item.t, v["bridge"], v["ticket"], v["step"], v.get("mass_kg"), v["plate"], v["tag"], v["contract"],
        flags,
    )  # fmt: skip


def _tickets(entity: Entity) -> list[Ticket]:
    weighed = (*entity.of(WEIGHED), *entity.failed(WEIGHED))
    return tickets_of((weighing_of(i) for i in weighed), entity.site)


def _unmatched(entity: Entity) -> Iterator[EntityRow]:
    """What names loads and receipts of a truck that cannot be matched; no sum may pass over them."""
    for ticket in _tickets(entity):
        if ticket.end == "origin" and ticket.gross:
            lane, weighing = _lane(ticket, None, entity.site), ticket.gross
            named = {"origin": lane.origin, "destination": lane.destination, "origin_ticket": ticket.ticket}
            at_ms, unit = weighing.t_ms, lane.unit
        elif ticket.end == "destination" and (known := ticket.gross or ticket.tare):
            weighing, at_ms = known, ticket.loaded_ms
            place, unit = _unloaded_at(ticket, known, entity.site)
            named = {"destination": place, "destination_ticket": ticket.ticket}
        else:
            continue
        named |= {"plate": weighing.plate, "truck": entity.name, "contract": weighing.contract}
        yield EntityRow(HAUL, ticket.ticket, at_ms, 0, unit, named, at_ms + LONGEST_MS)


@entity_operator(
    by=by_truck,
    reads=(WEIGHED,),
    marks=("visits",),
    optional=("visits",),
    writes={HAUL: {}},
    hidden=(HAUL,),
    horizon_s=51 * _DAY_S,  # a receipt may be corrected as long as its weighing, and its load lies before it
    reach_s=6 * _DAY_S,
    spares=True,
    instead=_unmatched,
)  # fmt: skip
def haul(entity: Entity) -> Iterator[EntityRow]:
    """Match what one truck brought to what it loaded.

    A ticket that could not be computed is matched, too, by when and where it was: its trip is unknown alone.
    """
    site, tickets = entity.site, _tickets(entity)
    loads = sorted(
        (t for t in tickets if t.end == "origin" and t.gross), key=lambda t: (t.loaded_ms, t.ticket)
    )
    receipts = sorted((t for t in tickets if t.end == "destination"), key=lambda t: (t.loaded_ms, t.ticket))
    matched = match(loads, receipts, lambda a, b: lane_ms(_place(a, site), _place(b, site)))
    fences = _Fences(entity)
    for at, load in enumerate(loads):
        receipt = receipts[matched[at]] if at in matched else None
        following = loads[at + 1] if at + 1 < len(loads) else None
        yield _known(_load_row(entity, load, receipt, following, fences))
    taken = set(matched.values())
    for at, receipt in enumerate(receipts):
        if at not in taken:
            yield _known(_orphan_row(entity, receipt))


def _known(row: EntityRow) -> EntityRow:
    """The row; its names alone where a ticket of it could not be computed."""
    if FAILED not in row.fields["flags"]:
        return row
    named = {n: v for n, v in row.fields.items() if isinstance(v, str) and n != "state"}
    return replace(row, fields=named, reason=FAILED)


class _Fences:
    """When the truck came into and left which place."""

    def __init__(self, entity: Entity):
        self._times: dict[tuple[str, str], list[int]] = {}
        for mark in entity.of("visits"):
            self._times.setdefault((mark.values["what"], mark.values["place"]), []).append(mark.t)
        self.tracked = bool(self._times)
        self._lacking = [(i.t, i.values["to_ms"]) for i in entity.failed("visits")]

    def lacks(self, from_ms: int, to_ms: int) -> bool:
        """Whether there are positions of that time of which nobody knows what they tell."""
        return any(a <= to_ms and from_ms < b for a, b in self._lacking)

    def left(self, place: str, about_ms: int) -> int | None:
        """When the truck left a place, soon after it was weighed there. [ms UTC]"""
        times = self._times.get(("leave", place), [])
        at = bisect_left(times, about_ms)
        return times[at] if at < len(times) and times[at] <= about_ms + _FENCE_MS else None

    def entered(self, place: str, after_ms: int, before_ms: int | None) -> int | None:
        """When the truck came into a place, between two times: the last before the end. [ms UTC]"""
        times = self._times.get(("enter", place), [])
        first = bisect_right(times, after_ms)
        end = bisect_right(times, after_ms + LONGEST_MS if before_ms is None else before_ms)
        if first >= end:
            return None
        return times[first] if before_ms is None else times[end - 1]


@dataclass(frozen=True, slots=True)
class _Lane:
    origin: str
    destination: str
    unit: str


def _lane(load: Ticket, receipt: Ticket | None, site: Site) -> _Lane:
    """From where to where: by the contract, else by the bridges."""
    assert load.gross is not None
    contract = site.contracts.get(load.gross.contract)
    origin, destination = _place_id(load, site), _place_id(receipt, site) if receipt else ""
    if contract is not None:
        return _Lane(origin or contract.origin, destination or contract.destination, contract.unit)
    place = site.places.get(destination)
    return _Lane(origin, destination, (place.unit or "") if place is not None else "")


def _load_row(
    entity: Entity, load: Ticket, receipt: Ticket | None, following: Ticket | None, fences: _Fences
) -> EntityRow:
    assert load.gross is not None
    site, gross_ms = entity.site, load.gross.t_ms
    lane = _lane(load, receipt, site)
    whole = receipt is not None and receipt.tare is not None and receipt.gross is not None
    flags = [*load.flags, *(receipt.flags if receipt else ())]
    left_ms = fences.left(lane.origin, gross_ms)
    until_ms = receipt.loaded_ms if receipt else (following.loaded_ms if following else None)
    entered_ms = fences.entered(lane.destination, gross_ms, until_ms)
    lost_ms = gross_ms + LONGEST_MS
    if receipt is not None:
        flags += _between(load, receipt, site)
    elif following is not None:
        flags.append("two_origins")
    if receipt is not None or entity.now_ms >= lost_ms:
        left_by, entered_by = gross_ms + _FENCE_MS, gross_ms + LONGEST_MS if until_ms is None else until_ms
        flags += _seen(
            fences,
            (left_ms is not None, fences.lacks(gross_ms, left_by)),
            (receipt is None or entered_ms is not None, fences.lacks(gross_ms, entered_by)),
        )
    known = load.net_kg is not None and receipt is not None and receipt.net_kg is not None
    if whole:
        sure = known and not {"no_positions", "not_seen_at_origin", "not_seen_at_destination"} & set(flags)
        state = "closed" if sure else "unverified"
    else:
        state = "lost" if entity.now_ms >= lost_ms else "open"
    arrived = entered_ms if entered_ms is not None else (receipt.loaded_ms if receipt else None)
    fields = {
        "plate": load.gross.plate, "truck": entity.name, "contract": load.gross.contract,
        "origin": lane.origin, "destination": lane.destination, "origin_ticket": load.ticket,
        "destination_ticket": receipt.ticket if receipt else None, "loaded_kg": load.net_kg,
        "received_kg": receipt.net_kg if receipt and whole else None,
        "departed": left_ms if left_ms is not None else gross_ms, "arrived": arrived, "state": state,
        "flags": list(dict.fromkeys(flags)), "gross_ms": gross_ms,
        "received_ms": _last_ms(receipt) if receipt and whole else None, **_masses(load, receipt),
    }  # fmt: skip
    settles_ms = lost_ms if receipt is None or not whole else _last_ms(receipt) + 1000 * site.lateness_s
    return EntityRow(HAUL, load.ticket, gross_ms, 0, lane.unit, fields, max(settles_ms, gross_ms))


def _orphan_row(entity: Entity, receipt: Ticket) -> EntityRow:
    """A receipt without a load: it is in the yard, so it may not be missing in the sums."""
    site, weighing = entity.site, receipt.gross or receipt.tare
    assert weighing is not None
    place, unit = _unloaded_at(receipt, weighing, site)
    whole = receipt.tare is not None and receipt.gross is not None
    fields = {
        "plate": weighing.plate, "truck": entity.name, "contract": weighing.contract, "destination": place,
        "destination_ticket": receipt.ticket, "received_kg": receipt.net_kg, "arrived": receipt.loaded_ms,
        "state": "unverified", "flags": list(dict.fromkeys([*receipt.flags, "orphan_receipt"])),
        "gross_ms": receipt.loaded_ms, "received_ms": _last_ms(receipt) if whole else None,
        **_masses(None, receipt),
    }  # fmt: skip
    return EntityRow(HAUL, receipt.ticket, receipt.loaded_ms, 0, unit, fields, receipt.loaded_ms + LONGEST_MS)


def _unloaded_at(receipt: Ticket, weighing: Weighing, site: Site) -> tuple[str, str]:
    """Where a receipt was weighed, and for which unit."""
    contract, place = site.contracts.get(weighing.contract), _place_id(receipt, site)
    known = site.places.get(place)
    return place, contract.unit if contract is not None else (known.unit or "" if known is not None else "")


def _masses(load: Ticket | None, receipt: Ticket | None) -> dict[str, Any]:
    """What was weighed where, origin first, for those who judge bridges and trucks."""
    pairs = (load, receipt)
    return {
        "tares_kg": [t.tare.mass_kg if t and t.tare else None for t in pairs],
        "grosses_kg": [t.gross.mass_kg if t and t.gross else None for t in pairs],
        "bridges": [
            w.bridge if w else None for t in pairs for w in ((t.tare, t.gross) if t else (None, None))
        ],
    }


def _between(load: Ticket, receipt: Ticket, site: Site) -> list[str]:
    assert load.gross is not None
    flags = []
    other = receipt.gross or receipt.tare
    if other is not None and other.contract != load.gross.contract:
        flags.append("contracts_differ")
    if too_fast(_place(load, site), _place(receipt, site), receipt.loaded_ms - load.loaded_ms):
        flags.append("too_fast")
    return flags


def _seen(fences: _Fences, left: tuple[bool, bool], entered: tuple[bool, bool]) -> Sequence[str]:
    """Flags of what was not seen: of leaving and entering each whether it was, and whether positions lack."""
    if not fences.tracked:
        return ("no_positions",)
    ends = ((*left, "not_seen_at_origin"), (*entered, "not_seen_at_destination"))
    return ["no_positions" if lacks else flag for seen, lacks, flag in ends if not seen]


def _last_ms(ticket: Ticket) -> int:
    return max(w.t_ms for w in (ticket.tare, ticket.gross) if w is not None)


def _place_id(ticket: Ticket, site: Site) -> str:
    weighing = ticket.gross or ticket.tare
    device = site.devices.get(weighing.bridge) if weighing is not None else None
    return (device.place or "") if device is not None else ""


def _place(ticket: Ticket, site: Site) -> Any:
    return site.places.get(_place_id(ticket, site))
