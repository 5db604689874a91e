"""How many trucks wait at each weighbridge, and how long a visit takes, each quarter of an hour."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import fields
from typing import Final

import pyarrow as pa

from models.queue import Queued, queued
from models.queue_windows import MovingVisits
from models.site import Site
from streams.core.entity_operator import Entity, EntityRow, Item, entity_operator

__all__ = ["queue"]

EVERY_MS: Final = 900_000
DAY_MS: Final = 86_400_000
HORIZON_S: Final = 7 * 86_400
REACH_S: Final = 24 * 3_600
FIELDS: Final = {
    "waiting": pa.int64(), "turnaround_s": pa.float64(), "wait_s": pa.float64(), "waiting_mean": pa.float64(),
    "waiting_little": pa.float64(), "tickets": pa.int64(),
}  # fmt: skip
_COUNTED: Final = tuple(f.name for f in fields(Queued))


def by_place(item: Item, site: Site) -> Iterable[str]:
    """The place that a truck crossed the edge of, or at which a bridge stands."""
    if item.source == "weighbridge":
        device = site.devices.get(item.device)
        return (device.place,) if device is not None and device.place else ()
    place = item.values.get("place")
    return (place,) if place else ()


@entity_operator(
    by=by_place, events=("weighbridge",), marks=("visits",), writes={"queue": FIELDS}, horizon_s=HORIZON_S,
    reach_s=REACH_S, every_s=900,
)  # fmt: skip
def queue(entity: Entity) -> Iterable[EntityRow]:
    """Count the trucks inside a place's fence that are still to be weighed, at each of its bridges.

    The window that fills is counted up to now.
    """
    site, now_ms = entity.site, entity.now_ms
    bridges = sorted(
        d.device for d in site.devices.values() if d.device_class == "weighbridge" and d.place == entity.name
    )
    crossings = [(i.device, i.t, i.values["what"] == "enter") for i in entity.of("visits") if i.t <= now_ms]
    tickets = [i for i in entity.of("weighbridge") if i.t <= now_ms]
    if not bridges or not (crossings or tickets):
        return
    vehicles = site.vehicles
    weighings = [
        (vehicle.device, i.t, i.device)
        for i in tickets
        if (vehicle := vehicles.get(str(i.values.get("plate", "")))) is not None and vehicle.device
    ]
    written = {b: [i.t for i in tickets if i.device == b] for b in bridges}
    first_ms = min([t for _, t, _ in crossings[:1]] + [i.t for i in tickets[:1]])
    # Rows are sealed by whole days: all others are given again, after a leap of now some for the first time.
    open_ms = (now_ms - 1000 * HORIZON_S) // DAY_MS * DAY_MS
    begin_ms = max(first_ms, open_ms) // EVERY_MS * EVERY_MS
    moving = MovingVisits(crossings, weighings)
    told_ms = sorted([t for _, t, _ in crossings] + [i.t for i in tickets])
    for start_ms in range(begin_ms, now_ms, EVERY_MS):
        end_ms = min(start_ms + EVERY_MS, now_ms)
        # Only what was by the window's end: what comes after it does not change its row.
        low_ms = start_ms - 1000 * REACH_S
        if bisect_left(told_ms, low_ms) == bisect_left(told_ms, end_ms):
            continue  # nothing within the reach of this row tells of the place
        moving.move(low_ms, end_ms)
        visits = list(moving.since(start_ms))
        again_ms = start_ms + EVERY_MS + 1  # then the next window has begun
        for bridge in bridges:
            count = bisect_left(written[bridge], end_ms) - bisect_left(written[bridge], start_ms)
            found = queued(bridge, visits, count, start_ms, end_ms, moving.order_of(bridge))
            yield EntityRow(
                "queue", bridge, start_ms, EVERY_MS, site.devices[bridge].unit,
                {**{n: getattr(found, n) for n in _COUNTED}, "tickets": count},
                settles_ms=start_ms + EVERY_MS + 1000 * site.lateness_s,
                again_ms=again_ms if again_ms > now_ms else None,
            )  # fmt: skip
