"""Coal burnt by each plant, per quarter of an hour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.operator import window_operator
from streams.core.samples import Samples
from streams.core.stream_site import StreamSite

__all__ = ["FuelBurnt", "fuel_burnt"]

FloatArray = NDArray[np.float64]

_GAP_INTERVALS: Final = 3.0
_MIN_COVERAGE: Final = 0.9


@dataclass(frozen=True, slots=True)
class FuelBurnt:
    """Rows of `fuel_burnt`; NaN is absent. Coal is the difference of its counter, across gaps too."""

    burnt_kg: FloatArray
    coverage: FloatArray
    reason: NDArray[np.object_]


@window_operator(reads=("plant",), every_s=900, writes=FuelBurnt)
def fuel_burnt(samples: Samples, site: StreamSite) -> FuelBurnt:
    """Count coal; a plant that counts none says so."""
    gap_limit_ms = _GAP_INTERVALS * site.meters.interval_ms[samples.devices]
    coal = samples.counter("fuel_kg", gap_limit_ms=gap_limit_ms)
    reason = np.full(len(samples.devices), "", dtype=object)
    reason[coal.covered < _MIN_COVERAGE] = "coverage"
    reason[coal.covered == 0.0] = "gap"
    never = np.ones(len(samples.devices), dtype=bool)
    never[samples.group[~np.isnan(samples["fuel_kg"])]] = False
    reason[never] = "no_fuel"
    reason[np.isnan(gap_limit_ms)] = "no_interval"
    return FuelBurnt(coal.increase, coal.covered, reason)
