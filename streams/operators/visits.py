"""Entering and leaving of places by trucks, as marks."""

from __future__ import annotations

import numpy as np

from models.places import crossings
from streams.core.entity_operator import Marks, mark_operator
from streams.core.samples import Samples
from streams.core.stream_site import StreamSite

__all__ = ["visits"]


@mark_operator(reads=("truck",), grows="more")
def visits(samples: Samples, site: StreamSite) -> Marks:
    """Mark where believed fixes cross the circle of a place.

    Values: `what` is `enter` or `leave`, of `place`, between the fixes at `from_ms` and `to_ms`. The first
    fix of all inside a place enters it. A mark rests on two fixes alone, or marks would not be the same
    however windows are cut: who stands at the very edge comes and goes, which readers pass over.
    """
    kept = samples.believed_fixes
    places = [site.site.places[name] for name in sorted(site.site.places)]
    names = np.array([p.place for p in places], dtype=object)
    crossed = crossings(places, kept, edge_m=0.0)
    # The neighbours before the window only say where a truck was: where they begin, nothing is entered.
    mine = crossed.to_ms >= samples.new_from_ms[crossed.truck]
    return Marks(
        samples.devices[crossed.truck[mine]],
        crossed.t_ms[mine],
        {
            "what": np.where(crossed.enters[mine], "enter", "leave"),
            "place": names[crossed.place[mine]],
            "from_ms": crossed.from_ms[mine],
            "to_ms": crossed.to_ms[mine],
        },
    )
