"""Weather at each station and plant, per 15-minute window, and the newest forecast that a station gave."""

from __future__ import annotations

from dataclasses import dataclass, make_dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.forecast_weather import HOURS
from streams.core.operator import window_operator
from streams.core.samples import Samples
from streams.core.stream_site import StreamSite

__all__ = ["AHEAD", "MIN_COVERAGE", "weather"]

FloatArray = NDArray[np.float64]

MIN_COVERAGE: Final = 0.5
"""Share of the window in which the temperature has to be known: air changes slowly."""
GAP_INTERVALS: Final = 3
AHEAD: Final = tuple(f"outdoor_{h}h_c" for h in range(1, HOURS + 1))
"""Names of the forecasts, by hours ahead."""


@dataclass(frozen=True, slots=True)
class _Measured:
    """What was measured, and how old the newest forecast of the window was at its end."""

    outdoor_c: FloatArray
    wind_m_s: FloatArray
    irradiance_w_m2: FloatArray
    forecast_age_s: FloatArray


Weather: Final[Any] = make_dataclass(
    "Weather",
    [*((name, FloatArray) for name in AHEAD), ("coverage", FloatArray), ("reason", NDArray[np.object_])],
    bases=(_Measured,), frozen=True, slots=True,
)  # fmt: skip


@window_operator(reads=("plant", "weather"), every_s=900, writes=Weather)
def weather(samples: Samples, site: StreamSite) -> Any:
    """Mean temperature, wind and sun, and of the window's forecasts the last, as it was issued.

    Coverage is that of the temperature.
    """
    gap_limit_ms = GAP_INTERVALS * site.meters[samples.devices].interval_ms
    length_s = (samples.end_ms - samples.start_ms) / 1000
    means = []
    for name in ("outdoor_c", "wind_m_s", "irradiance_w_m2"):
        whole, share = samples.integrate(samples[name], gap_limit_ms=gap_limit_ms, rests_on=(name,))
        with np.errstate(invalid="ignore", divide="ignore"):
            means.append((np.where(share > 0.0, whole / (share * length_s), np.nan), share))
    age_s, ahead = _newest_forecast(samples)
    coverage = means[0][1]
    outdoor = np.where(coverage >= MIN_COVERAGE, means[0][0], np.nan)
    reason = np.where(coverage >= MIN_COVERAGE, "", np.where(coverage > 0.0, "coverage", "gap")).astype(
        object
    )
    reason[np.isnan(site.meters[samples.devices].interval_ms)] = "no_interval"
    return Weather(outdoor, means[1][0], means[2][0], age_s, *ahead, coverage, reason)


def _newest_forecast(samples: Samples) -> tuple[FloatArray, FloatArray]:
    """Age at the window's end of each device's newest forecast in it, and what it says: (72, devices)."""
    devices = len(samples.devices)
    age_s, ahead = np.full(devices, np.nan), np.full((HOURS, devices), np.nan)
    inside = (samples.t >= samples.start_ms) & (samples.t < samples.end_ms)
    if not samples.has(AHEAD[0]) or not inside.any():
        return age_s, ahead
    values = np.array([samples[name] for name in AHEAD])
    mine = np.flatnonzero(inside & ~np.isnan(values).all(axis=0))
    last = np.append(samples.group[mine][1:] != samples.group[mine][:-1], True)[: len(mine)]
    newest = mine[last]
    age_s[samples.group[newest]] = (samples.end_ms - samples.t[newest]) / 1000
    ahead[:, samples.group[newest]] = values[:, newest]
    return age_s, ahead
