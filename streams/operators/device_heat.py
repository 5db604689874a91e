"""Heat through each heat meter, per 15-minute window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.accuracy import heat_expanded_uncertainty
from models.heat import excess_volume_m3, heat_power_kw
from streams.core.operator import window_operator
from streams.core.samples import Samples
from streams.core.stream_site import Meters, StreamSite

__all__ = ["MIN_COVERAGE", "DeviceHeat", "device_heat"]

FloatArray = NDArray[np.float64]

MIN_COVERAGE = 0.9
"""Share of the window that samples must cover for its row to become final."""
GAP_INTERVALS = 3
MAX_FLOW_QP = 2.0
"""Largest flow that a meter passes, in nominal flows: EN 1434 takes meters to q_s, at most 2 q_p."""
MAX_GJ_PER_M3 = 0.65
"""Most heat that a cubic metre can give up: from 160 to 0 °C."""
GJ_PER_KJ = 1e-6
S_PER_H = 3600.0


@dataclass(frozen=True, slots=True)
class DeviceHeat:
    """Rows of `device_heat`; NaN is absent."""

    heat_gj: FloatArray
    heat_u_gj: FloatArray
    volume_m3: FloatArray
    supply_c: FloatArray
    return_c: FloatArray
    flow_m3_h: FloatArray
    excess_m3: FloatArray
    coverage: FloatArray
    reason: NDArray[np.object_]


@window_operator(reads=("plant", "substation", "meter"), every_s=900, writes=DeviceHeat)
def device_heat(samples: Samples, site: StreamSite) -> DeviceHeat:
    """Integrate heat, volume and flow-weighted temperatures over one window.

    Heat and volume come from the meter's counters where it has them, else from
    flow and temperatures by trapezoid. Coverage is that of the readings which
    the heat rests on.
    """
    meter = site.meters[samples.devices]
    gap_limit_ms = GAP_INTERVALS * meter.interval_ms
    flow_m3_h, supply_c, return_c = samples["flow_m3_h"], samples["supply_c"], samples["return_c"]
    power_kw = heat_power_kw(flow_m3_h, supply_c, return_c, meter.on_supply[samples.group])
    power_kw[~meter.mounting_known[samples.group]] = np.nan
    heat_kj, power_coverage = samples.integrate(power_kw, gap_limit_ms=gap_limit_ms)
    counted_gj = samples.counter_increase(
        "energy_gj",
        full_scale=meter.energy_full_scale_gj,
        max_rate_per_h=MAX_FLOW_QP * meter.qp_m3_h * MAX_GJ_PER_M3,
    )
    counted = ~np.isnan(counted_gj)
    counter_coverage = samples.coverage(~np.isnan(samples["energy_gj"]), gap_limit_ms=gap_limit_ms)
    coverage = np.where(counted, counter_coverage, power_coverage)

    flow_m3_s, flow_coverage = samples.integrate(flow_m3_h / S_PER_H, gap_limit_ms=gap_limit_ms)
    counted_m3 = samples.counter_increase(
        "volume_m3", full_scale=meter.volume_full_scale_m3, max_rate_per_h=MAX_FLOW_QP * meter.qp_m3_h
    )
    supply_mean_c, return_mean_c = (
        _flow_weighted(samples, temperature_c, flow_m3_h, gap_limit_ms)
        for temperature_c in (supply_c, return_c)
    )
    covered_s = flow_coverage * (samples.end_ms - samples.start_ms) / 1000
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_flow_m3_h = np.where(flow_coverage > 0, flow_m3_s * S_PER_H / covered_s, np.nan)
    heat_gj = np.where(counted, counted_gj, np.where(power_coverage > 0, heat_kj * GJ_PER_KJ, np.nan))
    volume_m3 = np.where(~np.isnan(counted_m3), counted_m3, np.where(flow_coverage > 0, flow_m3_s, np.nan))
    integrated_partly = ~counted & (coverage < MIN_COVERAGE)
    heat_gj[integrated_partly] = np.nan
    return DeviceHeat(
        heat_gj=heat_gj,
        heat_u_gj=_uncertainty_gj(
            heat_gj, coverage, counted, mean_flow_m3_h, supply_mean_c - return_mean_c, meter
        ),
        volume_m3=volume_m3,
        supply_c=supply_mean_c,
        return_c=return_mean_c,
        flow_m3_h=mean_flow_m3_h,
        excess_m3=excess_volume_m3(volume_m3, heat_gj, supply_mean_c, meter.return_ref_c, meter.on_supply),
        coverage=coverage,
        reason=_reason(coverage, counted, meter),
    )


def _flow_weighted(
    samples: Samples, temperature_c: FloatArray, flow_m3_h: FloatArray, gap_limit_ms: FloatArray
) -> FloatArray:
    """Mean temperature weighted by flow; absent where nothing flowed."""
    weighted, _ = samples.integrate(temperature_c * flow_m3_h, gap_limit_ms=gap_limit_ms)
    weight, _ = samples.integrate(
        np.where(np.isnan(temperature_c), np.nan, flow_m3_h), gap_limit_ms=gap_limit_ms
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weight > 0, weighted / weight, np.nan)


def _uncertainty_gj(
    heat_gj: FloatArray,
    coverage: FloatArray,
    counted: NDArray[np.bool_],
    flow_m3_h: FloatArray,
    difference_k: FloatArray,
    meter: Meters,
) -> FloatArray:
    """Expanded uncertainty (k = 2): of the meter's class, and of what an integral did not cover."""
    relative = heat_expanded_uncertainty(
        flow_m3_h=flow_m3_h,
        qp_m3_h=meter.qp_m3_h,
        difference_k=difference_k,
        dt_min_k=meter.dt_min_k,
        accuracy_class=meter.accuracy_class,
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        missed_gj = np.where(counted, 0.0, np.abs(heat_gj) * (1 - coverage) / coverage)
        expanded_gj = np.hypot(relative * np.abs(heat_gj), missed_gj)
    # No heat and no flow: the formula has no value there, the meter's error is none.
    idle = (heat_gj == 0) & (flow_m3_h == 0) & ~np.isnan(meter.accuracy_class)
    return np.where(idle, 0.0, expanded_gj)


def _reason(coverage: FloatArray, counted: NDArray[np.bool_], meter: Meters) -> NDArray[np.object_]:
    """Why a row cannot become final; empty where it can."""
    reason = np.full(len(coverage), "", dtype=object)
    reason[coverage < MIN_COVERAGE] = "coverage"
    reason[coverage == 0] = "gap"
    reason[~counted & ~meter.mounting_known] = "no_mounting"
    reason[np.isnan(meter.interval_ms)] = "no_interval"
    return reason
