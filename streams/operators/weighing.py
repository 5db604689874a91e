"""Every weighing with what is wrong with it; the ticket stays as it was, corrections stand beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

import pyarrow as pa

from models.anomaly import ANOMALY, Anomaly, Severity, State
from models.weighing import Correction, Weighing, as_event, corrected, end_of, flags_of, signed, usable
from streams.core.entity_operator import (
    ANOMALY_FIELDS,
    Entity,
    EntityRow,
    Item,
    anomaly_row,
    by_ticket,
    entity_operator,
)

__all__ = ["CORRECT", "WEIGHED", "weighing"]

WEIGHED: Final = "weighed"
"""Measurement for other operators: a weighing as it stands, corrected, without what may enter no sum."""
CORRECT: Final = "correct"
_CODE: Final = "correction_unmatched"
_DAY_S: Final = 86_400
_HORIZON_S: Final = 45 * _DAY_S
_SOUGHT_S: Final = 75 * _DAY_S
"""How old the ticket of a correction may be, so that it is known to be one."""
_REACH_S: Final = _SOUGHT_S
"""While a row of a correction can change, the weighings that it may be of are at hand."""
_SHOWN_MS: Final = 7 * 86_400_000
_FIELDS: Final = {
    "ticket": pa.string(), "plate": pa.string(), "mass_kg": pa.float64(), "contract": pa.string(),
    "flags": pa.string(), "tag": pa.string(), "step": pa.string(), "grade": pa.string(), "place": pa.string(),
    "end": pa.string(), "corrected_kg": pa.float64(), "correction": pa.string(),
}  # fmt: skip


def _weighings(entity: Entity) -> Iterator[EntityRow]:
    """What names the weighings of a ticket."""
    for event in entity.of("weighbridge"):
        v, step = event.values, as_event(event.values, "step")
        device = entity.site.devices.get(event.device)
        unit, place = (device.unit, device.place or "") if device is not None else ("", "")
        named = {n: as_event(v, n) for n in ("plate", "tag", "contract")}
        named |= {"ticket": entity.name, "step": step, "place": place}
        for measurement, more in (("weighing", {}), (WEIGHED, {"bridge": event.device})):
            key = f"{event.device}:{entity.name}:{step}"
            yield EntityRow(measurement, key, event.t, 0, unit, named | more, event.t)


@entity_operator(
    by=by_ticket,
    events=("weighbridge", "office"),
    writes={"weighing": _FIELDS, WEIGHED: {}, ANOMALY: ANOMALY_FIELDS},
    hidden=(WEIGHED,),
    horizon_s=_HORIZON_S,
    reach_s=_REACH_S,
    instead=_weighings,
)
def weighing(entity: Entity) -> Iterator[EntityRow]:
    """Judge each weighing of a ticket by itself, and say what people corrected."""
    site = entity.site
    entered = [_correction(e) for e in entity.of("office") if e.values.get("event") == CORRECT]
    for event in entity.of("weighbridge"):
        v = event.values
        step = as_event(v, "step")
        as_said = Weighing(
            event.t, event.device, entity.name, step, v.get("mass_kg"), as_event(v, "plate"),
            as_event(v, "tag"), as_event(v, "contract"),
        )  # fmt: skip
        mine = [c for c in entered if c.step in {"", step}]
        flags = flags_of(as_said, event.flags, site, site.tags)
        unsigned = () if len(signed(mine)) == len(mine) else ("correction_unsigned",)
        stands = corrected(as_said, mine)
        device = site.devices.get(event.device)
        place = (device.place or "") if device is not None else ""
        key, settles_ms = f"{event.device}:{entity.name}:{step}", event.t + 1000 * site.lateness_s
        unit = device.unit if device is not None else ""
        changed = stands.mass_kg != as_said.mass_kg
        fields = {
            **{n: v.get(n) for n in ("ticket", "plate", "tag", "step", "contract", "grade")},
            "mass_kg": as_said.mass_kg, "place": place or None, "end": end_of(as_said, site) or None,
            "flags": ";".join((*flags, *unsigned, *stands.flags)) or None,
            "corrected_kg": stands.mass_kg if changed else None, "correction": _told(mine),
        }  # fmt: skip
        yield EntityRow("weighing", key, event.t, 0, unit, fields, settles_ms)
        yield EntityRow(
            WEIGHED, key, event.t, 0, unit, _standing(stands, event, place, site, flags), settles_ms
        )
    yield from _unmatched(entity)


def _unmatched(entity: Entity) -> Iterator[EntityRow]:
    """Corrections of what no bridge told of: nothing follows from them, unless it does later."""
    steps = {as_event(e.values, "step") for e in entity.of("weighbridge")}
    for event in entity.of("office"):
        v, step = event.values, as_event(event.values, "step")
        if v.get("event") != CORRECT or step in steps or (steps and not step):
            continue
        if entity.beginning.forgot(event.t - 1000 * _SOUGHT_S):
            continue
        device = entity.site.devices.get(event.device)
        unit = device.unit if device is not None else ""
        found = Anomaly(
            f"ticket:{entity.name}", _CODE, Severity.MINOR, 1.0,
            {n: as_event(v, n) for n in ("ref", "step", "person", "note") if v.get(n)}, event.t, event.t, 0,
            unit, entity.site.units[unit].region if unit in entity.site.units else "",
            State.ENDED if entity.now_ms >= event.t + _SHOWN_MS else State.ACTIVE,
        )  # fmt: skip
        yield anomaly_row(found, event.t + _SHOWN_MS)


def _standing(stands: Weighing, event: Item, place: str, site: Any, flags: Iterable[str]) -> dict[str, Any]:
    """What other operators go by."""
    again = flags_of(stands, event.flags, site, site.tags) if stands.flags else tuple(flags)
    return {
        "ticket": stands.ticket, "plate": stands.plate, "tag": stands.tag, "step": stands.step,
        "contract": stands.contract, "bridge": event.device, "place": place,
        "mass_kg": usable(stands.mass_kg, again), "flags": [*again, *stands.flags],
    }  # fmt: skip


def _correction(event: Item) -> Correction:
    v = event.values
    return Correction(
        event.t, as_event(v, "ref"), as_event(v, "note"), as_event(v, "person"), as_event(v, "step"),
        v.get("mass_kg"), as_event(v, "plate"), as_event(v, "contract"),
    )  # fmt: skip


def _told(corrections: Iterable[Correction]) -> str | None:
    """Corrections that count, as JSON: who said what, when and why."""
    told = [
        {"ref": c.ref, "at": c.t_ms, "person": c.person, "reason": c.reason}
        | {n: getattr(c, n) for n in ("mass_kg", "plate", "contract") if getattr(c, n)}
        for c in signed(corrections)
    ]
    return json.dumps(told, ensure_ascii=False) if told else None
