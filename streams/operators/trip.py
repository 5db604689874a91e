"""Trips: each load from its origin's gross to its receipt, with what was lost on the way and how surely."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import pyarrow as pa

from models.lots import Assay, assay_of, day_of, lot_day
from models.site import Site
from models.trip import LONGEST_MS, transit_loss
from models.weighing import as_event
from streams.core.containing import FAILED
from streams.core.entity_operator import Entity, EntityRow, Item, entity_operator
from streams.operators.trip_match import HAUL

__all__ = ["assay", "trip"]

ETA: Final = "eta"
"""Measurement that foretells arrivals of open trips, by the load's ticket."""
_DAY_S: Final = 86_400
_LAB_MS: Final = 36 * 3_600_000
"""How long a trip waits for the laboratories before it is final. [ms]"""
_ON_THE_WAY: Final = LONGEST_MS // 86_400_000
"""Days of loading that a receipt of a day may belong to. [d]"""
_FIELDS: Final = {
    **dict.fromkeys(
        ("plate", "contract", "origin", "destination", "origin_ticket", "destination_ticket"), pa.string()
    ),
    "loaded_kg": pa.int64(), "received_kg": pa.int64(), "loss_pct": pa.float64(), "loss_u_pct": pa.float64(),
    **dict.fromkeys(("departed", "arrived", "eta", "eta_p10", "eta_p90"), pa.int64()),
    "state": pa.string(), "flags": pa.string(),
    **dict.fromkeys(
        ("loaded_moisture_pct", "received_moisture_pct", "loaded_q_mj_kg", "q_mj_kg"), pa.float64()
    ),
    "received_ms": pa.int64(),
}  # fmt: skip
_AS_IS: Final = (
    "plate", "contract", "origin", "destination", "origin_ticket", "destination_ticket", "loaded_kg",
    "received_kg", "departed", "arrived", "state", "received_ms",
)  # fmt: skip


def assay(item: Item) -> Assay:
    """A laboratory's event; what is implausible, such as a moisture of 130 %, is not known.

    Of coal that is all water nothing is left to compare with.
    """
    v = item.values
    moisture = v.get("moisture_pct")
    return Assay(
        item.t, as_event(v, "lot"), as_event(v, "contract"), as_event(v, "end"), as_event(v, "ticket"),
        moisture if moisture is None or moisture < 100.0 else None, v.get("q_net_ar_mj_kg"),
    )  # fmt: skip


def _by_lot(item: Item, site: Site) -> Iterable[str]:
    """A contract and a local day of loading; a result may stand for loads of the days before it."""
    contract = as_event(item.values, "contract")
    if item.source in {HAUL, ETA}:
        return (f"{contract}|{day_of(item.t, site.timezone)}",)
    last = lot_day(as_event(item.values, "lot")) or day_of(item.t, site.timezone)
    return tuple(f"{contract}|{last - timedelta(days=n)}" for n in range(_ON_THE_WAY + 2))


def _to_unit(row: Mapping[str, Any], site: Site) -> str:
    """The stream in which coal meets heat."""
    return site.stream_of_unit(str(row.get("unit") or ""))


def _incomplete(entity: Entity) -> Iterator[EntityRow]:
    """What names trips that cannot be completed."""
    for item in (*entity.of(HAUL), *entity.failed(HAUL)):
        named = {n: item.values.get(n) for n in _AS_IS if n != "state"}
        unit = item.values["unit"]
        yield EntityRow("trip", item.device, item.t, 0, unit, named, item.t + LONGEST_MS, reason=FAILED)


@entity_operator(
    by=_by_lot,
    reads=(HAUL, ETA),
    optional=(ETA,),
    events=("lab",),
    writes={"trip": _FIELDS},
    horizon_s=51 * _DAY_S,  # as long as what it is made of
    reach_s=2 * _DAY_S,
    forward=_to_unit,
    spares=True,
    instead=_incomplete,
)
def trip(entity: Entity) -> Iterator[EntityRow]:
    """Complete the trips of a contract's day of loading with the moisture at both ends.

    One that could not be matched is unknown; of one whose arrival could not be foretold that alone lacks.
    """
    assays = [assay(i) for i in entity.of("lab")]
    foretold = {i.device: i.values for i in entity.of(ETA)}
    for item in entity.of(HAUL):
        yield _row(entity, item, assays, foretold.get(item.device, {}))
    for item in entity.failed(HAUL):
        named = {n: item.values.get(n) for n in _AS_IS}
        yield EntityRow(
            "trip", item.device, item.t, 0, item.values["unit"], named, item.t + LONGEST_MS, reason=FAILED
        )


def _row(entity: Entity, item: Item, assays: Sequence[Assay], foretold: Mapping[str, Any]) -> EntityRow:
    v, zone = item.values, entity.site.timezone
    fields = {n: v.get(n) for n in _AS_IS}
    flags = list(v["flags"])
    contract = as_event(v, "contract")
    found: list[Assay | None] = [None, None]
    ends = (("origin", "origin_ticket", "gross_ms"), ("destination", "destination_ticket", "received_ms"))
    for at, (end, ticket, time) in enumerate(ends):
        if v.get(ticket) and v.get(time):
            found[at] = assay_of(v[ticket], contract, end, v[time], assays, zone)
    moistures = [a.moisture_pct if a else None for a in found]
    fields |= {
        "loaded_moisture_pct": moistures[0], "received_moisture_pct": moistures[1],
        "loaded_q_mj_kg": found[0].q_net_ar_mj_kg if found[0] else None,
        "q_mj_kg": found[1].q_net_ar_mj_kg if found[1] else None,
    }  # fmt: skip
    loaded_kg, received_kg = v.get("loaded_kg"), v.get("received_kg")
    if loaded_kg and received_kg is not None:
        if None in moistures:
            flags.append("no_moisture")
        loss = transit_loss(loaded_kg, received_kg, *moistures)
        fields |= {"loss_pct": 100.0 * loss.share, "loss_u_pct": 100.0 * loss.share_u}
    fields["flags"] = ";".join(flags) or None
    if v["state"] == "open" and v.get("arrived") is None:
        fields |= {name: foretold.get(name) for name in ("eta", "eta_p10", "eta_p90")}
    received_ms = v.get("received_ms")
    settles_ms = item.t + LONGEST_MS if received_ms is None else received_ms + _LAB_MS
    return EntityRow("trip", item.device, item.t, 0, v["unit"], fields, settles_ms)
