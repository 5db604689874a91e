"""When each open trip arrives, with P10 and P90, and whether it will be late, from the trips of its lane."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from models.eta import LaneTimes, PastTrip, arrival, late_risk
from models.site import Site
from streams.core.entity_operator import Entity, EntityRow, Item, Stands, entity_operator
from streams.operators.way import LONGEST_MS, WAY

__all__ = ["ETA", "eta"]

ETA: Final = "eta"
EVERY_MS: Final = 300_000
"""An arrival is foretold again so often. [ms]"""
LATE: Final = 0.9
"""A trip is late when it takes longer than this share of the lane's trips did."""
_DAY_S: Final = 86_400
_TIMES: Final = ("eta", "eta_p10", "eta_p90")
FIELDS: Final = {
    "contract": pa.string(), "lane": pa.string(), "eta": pa.int64(), "eta_p10": pa.int64(),
    "eta_p90": pa.int64(), "late_p": pa.float64(), "trips": pa.int64(),
}  # fmt: skip


def by_lane(item: Item, _site: Site) -> Iterable[str]:
    """The lane of a trip."""
    return (item.values["lane"],)


@entity_operator(
    by=by_lane,
    reads=(WAY,),
    writes={ETA: FIELDS},
    horizon_s=4 * _DAY_S,
    reach_s=30 * _DAY_S,
    every_s=EVERY_MS // 1000,
    spares=True,
)
def eta(entity: Entity) -> Iterable[EntityRow | Stands]:
    """Foretell the arrival of each trip of a lane that is open, from those that have arrived.

    Where it was last seen counts as of then. A row is of now, and is withdrawn when the trip has arrived.
    """
    now_ms = entity.now_ms
    for item in entity.failed(WAY):
        yield Stands(ETA, item.device, item.t, item.t + 1)
    trips = [i for i in entity.of(WAY) if i.values["departed"] <= now_ms]
    open_ = [
        i for i in trips if i.values.get("arrived") is None and now_ms < i.values["departed"] + LONGEST_MS
    ]
    if not open_:
        return
    offset_ms = _offset_ms(entity.site.timezone, now_ms)
    lane = LaneTimes.of(
        [
            PastTrip(v["departed"], v["arrived"], np.array(v["at_ms"], np.int64), np.array(v["share"], float))
            for v in (i.values for i in trips)
            if v.get("arrived") is not None and v["arrived"] <= now_ms
        ],
        offset_ms,
    )
    usual_s = float(np.quantile(lane.total_s, LATE)) if lane.trips else np.nan
    for item in open_:
        v = item.values
        seen_ms, share = (v["at_ms"][-1], v["share"][-1]) if v["share"] else (now_ms, np.nan)
        found = arrival(lane, v["departed"], int(seen_ms), share)
        # Whom nothing was heard of since has not arrived by now.
        times = [max(t, float(now_ms)) for t in (found.p50_ms, found.p10_ms, found.p90_ms)]
        known = not np.isnan(found.p50_ms)
        late = late_risk(found, v["departed"] + 1000.0 * usual_s)
        yield EntityRow(
            ETA, item.device, item.t, 0, v.get("unit", ""),
            {
                "contract": v["contract"], "lane": v["lane"], "trips": lane.trips, "late_p": late,
                **{n: int(t) if known else None for n, t in zip(_TIMES, times, strict=True)},
            },
            settles_ms=v["departed"] + LONGEST_MS, again_ms=now_ms + EVERY_MS, coverage=None,
        )  # fmt: skip


def _offset_ms(timezone: str, now_ms: int) -> int:
    """Local less UTC time. [ms]"""
    offset = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(ZoneInfo(timezone)).utcoffset()
    return 0 if offset is None else int(offset.total_seconds() * 1000)
