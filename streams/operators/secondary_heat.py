"""Heat that each substation passes on to its secondary loop, per 15-minute window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.accuracy import COVERAGE_FACTOR
from models.heat import heat_power_kw
from models.heat_transfer import ua_kw_k
from models.secondary_heat import secondary_heat_u
from streams.core.operator import window_operator
from streams.core.samples import Samples
from streams.core.stream_site import StreamSite

__all__ = ["SecondaryHeat", "secondary_heat"]

FloatArray = NDArray[np.float64]

_MIN_COVERAGE: Final = 0.9
_GAP_INTERVALS: Final = 3
_GJ_PER_KJ: Final = 1e-6
_TEMPERATURES: Final = ("secondary_supply_c", "secondary_return_c")
_PRIMARY: Final = ("supply_c", "return_c")


@dataclass(frozen=True, slots=True)
class SecondaryHeat:
    """Rows of `secondary_heat`; NaN is absent."""

    heat_gj: FloatArray
    heat_u_gj: FloatArray
    spread_k: FloatArray
    ua_kw_k: FloatArray
    coverage: FloatArray
    reason: NDArray[np.object_]


@window_operator(reads=("substation",), every_s=900, writes=SecondaryHeat)
def secondary_heat(samples: Samples, site: StreamSite) -> SecondaryHeat:
    """Integrate flow times the spread of the secondary loop; the water is counted at its return.

    Heat transfer is of the window's means, while heat and both ends of the primary side are known.
    Water that the loop lost or took up is not counted: it is under 0.5 % of what circulates.
    """
    gap_limit_ms = _GAP_INTERVALS * site.meters[samples.devices].interval_ms
    flow, hot, cold = (samples[n] for n in ("secondary_flow_m3_h", *_TEMPERATURES))
    on_return = np.zeros(len(flow), dtype=bool)
    power_kw = heat_power_kw(flow, hot, cold, on_return)
    heat_kj, coverage = samples.integrate(power_kw, gap_limit_ms=gap_limit_ms, rests_on=_TEMPERATURES)

    def mean(total: FloatArray, share: FloatArray) -> FloatArray:
        seconds = share * (samples.end_ms - samples.start_ms) / 1000.0
        return np.where(seconds > 0.0, total / np.where(seconds > 0.0, seconds, 1.0), np.nan)

    def while_known(name: str) -> tuple[FloatArray, FloatArray]:
        """Mean of a temperature while heat is known, and the share of the window that it covers."""
        values = np.where(np.isnan(power_kw), np.nan, samples[name])
        rests_on = tuple(dict.fromkeys((*_TEMPERATURES, name)))
        total, share = samples.integrate(values, gap_limit_ms=gap_limit_ms, rests_on=rests_on)
        return mean(total, share), share

    means = [while_known(name)[0] for name in _TEMPERATURES]
    primary = [while_known(name) for name in _PRIMARY]
    known = coverage >= _MIN_COVERAGE
    whole = (primary[0][1] >= _MIN_COVERAGE) & (primary[1][1] >= _MIN_COVERAGE)
    heat_gj = np.where(known, heat_kj * _GJ_PER_KJ, np.nan)
    reason = np.where(known, "", np.where(coverage > 0.0, "coverage", "gap")).astype(object)
    # Of the window's own samples: which neighbours there are depends on what has come.
    reason[(coverage == 0.0) & (samples.count(~np.isnan(flow)) == 0)] = "no_secondary_flow"
    return SecondaryHeat(
        heat_gj,
        np.abs(heat_gj) * COVERAGE_FACTOR * secondary_heat_u(*means),
        np.where(known, means[0] - means[1], np.nan),
        np.where(known & whole, ua_kw_k(mean(heat_kj, coverage), *(m for m, _ in primary), *means), np.nan),
        coverage,
        reason,
    )
