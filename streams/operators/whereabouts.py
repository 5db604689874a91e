"""Where trucks on the way are at the end of each quarter of an hour, as marks."""

from __future__ import annotations

from typing import Final

import numpy as np

from models.places import place_at
from models.position_filter import metres
from streams.core.entity_operator import Marks, mark_operator
from streams.core.samples import Samples
from streams.core.stream_site import StreamSite

__all__ = ["whereabouts"]

MOVED_M: Final = 500.0
"""Who has moved by less since the window before gets no mark. [m]"""


@mark_operator(reads=("truck",), grows="instead")
def whereabouts(samples: Samples, site: StreamSite) -> Marks:
    """Mark the last believed fix of each truck that is outside all places and moves: `lat_deg`, `lon_deg`."""
    kept = samples.believed_fixes
    last = np.flatnonzero(np.append(kept.truck[1:] != kept.truck[:-1], True)[: len(kept.truck)])
    first = np.append(0, last + 1)[: len(last)]
    lat, lon = kept.lat_deg, kept.lon_deg
    places = [site.site.places[name] for name in sorted(site.site.places)]
    moves = metres(lat[first], lon[first], lat[last], lon[last]) > MOVED_M
    mine = last[moves & (place_at(places, lat[last], lon[last]) < 0) & (kept.t_ms[last] >= samples.start_ms)]
    return Marks(
        samples.devices[kept.truck[mine]],
        kept.t_ms[mine],
        {"lat_deg": lat[mine].round(6), "lon_deg": lon[mine].round(6)},
    )
