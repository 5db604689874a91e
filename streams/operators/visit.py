"""Stays of trucks at places, and loaded trucks that are kept waiting there, as anomalies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import pyarrow as pa

from models.anomaly import ANOMALY, Anomaly, Severity, State
from models.queue import BACK_MS
from models.site import Site
from streams.core.containing import FAILED
from streams.core.entity_operator import (
    ANOMALY_FIELDS,
    Entity,
    EntityRow,
    Item,
    Stands,
    anomaly_row,
    by_plate,
    entity_operator,
)

__all__ = ["visit"]

CODE: Final = "detention"
FREE_MS: Final = 4 * 3_600_000
"""So long a truck may take to be unloaded before it is detained. [ms]"""
HORIZON_S: Final = 4 * 86_400
FIELDS: Final = {
    "plate": pa.string(), "device": pa.string(), "place": pa.string(), "until": pa.int64(),
    "dwell_s": pa.float64(),
}  # fmt: skip


@entity_operator(
    by=by_plate, events=("weighbridge",), marks=("visits",),
    writes={"visit": FIELDS, ANOMALY: ANOMALY_FIELDS}, horizon_s=HORIZON_S, reach_s=2 * 86_400, every_s=60,
)  # fmt: skip
def visit(entity: Entity) -> Iterable[EntityRow | Stands]:
    """Tell of each stay of a truck at a place: entered, left, how long; and of detention.

    A stay in progress has neither `until` nor `dwell_s`. A truck is detained when it entered with a load (its
    last ticket was a gross one of another place) and has neither its tare there nor left after the free time.

    Whether it left, or came, in positions that could not be marked is unknown: so is a stay that began before
    them, whether or not one ended after (it may have been two), and what was said of detention stands.
    """
    items = [i for i in entity.items if i.t <= entity.now_ms]
    lacks = [(i.t, i.values["to_ms"]) for i in entity.failed("visits")]
    for from_ms, to_ms in lacks:
        yield Stands("visit", "", from_ms, to_ms)
        yield Stands(ANOMALY, "", from_ms + FREE_MS, to_ms + FREE_MS)
    for entered, left in _stays(items, lacks):
        yield _stay(entity, entered, left, lacks)
        told = _detained(entity, items, entered, left)
        if told is not None:
            first_ms = told.start_ms
            until_ms = first_ms if told.fields["state"] == State.ENDED else entity.now_ms
            sure = not _lack(lacks, entered.t, until_ms)
            yield told if sure else Stands(ANOMALY, "", first_ms, first_ms + 1)


def _lack(lacks: Sequence[tuple[int, int]], from_ms: int, to_ms: int) -> bool:
    """Whether positions between two times could not be marked."""
    return any(a < to_ms and from_ms < b for a, b in lacks)


def _stay(entity: Entity, entered: Item, left: Item | None, lacks: Sequence[tuple[int, int]]) -> EntityRow:
    place, unit = entered.values["place"], _unit(entity.site, entered.values["place"])
    key, named = f"{entity.name}:{place}", {"plate": entity.name, "device": entered.device, "place": place}
    settles_ms, free_ms = entered.t + 1000 * HORIZON_S, entered.t + FREE_MS
    if _lack(lacks, entered.t, entity.now_ms if left is None else left.t):
        return EntityRow("visit", key, entered.t, 0, unit, named, settles_ms, reason=FAILED)
    if left is not None:
        named |= {"until": left.t, "dwell_s": (left.t - entered.t) / 1000.0}
        settles_ms = left.t + 1000 * entity.site.lateness_s
        return EntityRow("visit", key, entered.t, left.t - entered.t, unit, named, settles_ms)
    again_ms = free_ms + 1 if free_ms >= entity.now_ms else None
    return EntityRow("visit", key, entered.t, 0, unit, named, settles_ms, again_ms)


def _stays(items: Sequence[Item], lacks: Sequence[tuple[int, int]] = ()) -> list[tuple[Item, Item | None]]:
    """Stays by the marks of entering and of leaving, None while it is there; who stands at the edge stays.

    Who enters again after `lacks`, positions that could not be marked (ms UTC), left in them.
    """
    found: list[tuple[Item, Item | None]] = []
    open_: dict[str, int] = {}
    last: dict[str, int] = {}
    for item in items:
        if item.source != "visits":
            continue
        place = item.values["place"]
        if item.values["what"] == "enter":
            before = found[last[place]][1] if place in last else None
            if before is not None and item.t - before.t <= BACK_MS:
                open_[place] = last[place]
                found[last[place]] = (found[last[place]][0], None)
            elif place not in open_ or _lack(lacks, found[open_[place]][0].t, item.t):
                open_[place] = last[place] = len(found)
                found.append((item, None))
        elif place in open_:
            at = open_.pop(place)
            found[at] = (found[at][0], item)
    return found


def _detained(entity: Entity, items: Sequence[Item], entered: Item, left: Item | None) -> EntityRow | None:
    place = entered.values["place"]
    tickets = [i for i in items if i.source == "weighbridge"]
    before = [i for i in tickets if i.t <= entered.t]
    if not before or before[-1].values.get("step") != "gross" or _place(entity.site, before[-1]) == place:
        return None
    unloaded = next(
        (
            i
            for i in tickets
            if i.t > entered.t and i.values.get("step") == "tare" and _place(entity.site, i) == place
        ),
        None,
    )
    ends = [i.t for i in (unloaded, left) if i is not None]
    first_ms = entered.t + FREE_MS
    if min([*ends, entity.now_ms]) <= first_ms:
        return None
    # While it waits nothing hangs on now: the row is final as it is, and becomes another when it ends.
    until_ms = min(ends) if ends else first_ms
    evidence = {
        "rule": "in the destination's fence with a load and without its tare for over 4 h", "place": place,
        "plate": entity.name, "entered": entered.t, "until": until_ms if ends else None,
        "hours": round((until_ms - entered.t) / 3_600_000, 2),
    }  # fmt: skip
    ticket = before[-1].values.get("ticket")
    unit = _unit(entity.site, place)
    region = entity.site.units[unit].region if unit in entity.site.units else ""
    told = Anomaly(
        f"ticket:{ticket}" if ticket else f"plate:{entity.name}", CODE, Severity.MINOR,
        (until_ms - entered.t) / FREE_MS, evidence, first_ms, until_ms, until_ms - first_ms, unit, region,
        State.ENDED if ends else State.ACTIVE,
    )  # fmt: skip
    return anomaly_row(told)


def _place(site: Site, ticket: Item) -> str | None:
    device = site.devices.get(ticket.device)
    return None if device is None else device.place


def _unit(site: Site, place: str) -> str:
    known = site.places.get(place)
    return "" if known is None else known.unit or ""
