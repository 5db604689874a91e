"""How far each trip has come, by the positions of its truck: for arrivals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from models.eta import progress
from streams.core.entity_operator import Entity, EntityRow, Item, Stands, entity_operator
from streams.operators.trip_match import HAUL, by_truck

__all__ = ["WAY", "way"]

WAY: Final = "way"
"""Measurement for other operators: a trip with when it had how much of its way behind it."""
_DAY_S: Final = 86_400
LONGEST_MS: Final = 4 * 86_400_000
"""Who is under way for longer is not foretold. [ms]"""


@entity_operator(
    by=by_truck,
    reads=(HAUL,),
    marks=("whereabouts",),
    writes={WAY: {}},
    hidden=(WAY,),
    horizon_s=4 * _DAY_S,
    reach_s=4 * _DAY_S,
    every_s=60,
    spares=True,
)
def way(entity: Entity) -> Iterable[EntityRow | Stands]:
    """Lay the positions of one truck on the trips that it has made and makes.

    Of two trips that are open at once the later is under way; the other has lost its receipt.
    """
    site, marks = entity.site, entity.of("whereabouts")
    unknown = entity.failed(HAUL)
    hauls = sorted([*(h for h in entity.of(HAUL) if _ends(h)), *unknown], key=lambda h: h.order)
    for at, haul in enumerate(hauls):
        if haul.failed:
            yield Stands(WAY, haul.device, haul.t, haul.t + 1)
            continue
        origin, destination = (site.places.get(haul.values[n]) for n in ("origin", "destination"))
        if origin is None or destination is None:
            continue
        departed, arrived = haul.values["departed"], haul.values.get("arrived")
        following = hauls[at + 1].t if at + 1 < len(hauls) else None
        if arrived is None and following is not None:
            continue
        until = entity.now_ms if arrived is None else arrived
        on = [m for m in marks if departed <= m.t <= until]
        share = progress(
            np.array([m.values["lat_deg"] for m in on]), np.array([m.values["lon_deg"] for m in on]),
            origin, destination,
        )  # fmt: skip
        fields: dict[str, Any] = {
            "lane": f"{origin.place}|{destination.place}", "contract": haul.values["contract"],
            "departed": departed, "arrived": arrived, "at_ms": [m.t for m in on],
            "share": share.round(4).tolist(),
        }  # fmt: skip
        settles_ms = departed + LONGEST_MS if arrived is None else arrived + 1000 * site.lateness_s
        yield EntityRow(WAY, haul.device, haul.t, 0, haul.values.get("unit", ""), fields, settles_ms)


def _ends(haul: Item) -> bool:
    """Whether a row of `HAUL` is a load of a known lane whose truck has departed."""
    v = haul.values
    return bool(v.get("origin") and v.get("destination") and v.get("departed") and v.get("origin_ticket"))
