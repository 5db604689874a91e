"""Heat through each heat meter, per 15-minute window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.accuracy import heat_expanded_uncertainty, increase_expanded_uncertainty
from models.counter import Counted, Step
from models.heat import excess_volume_m3, heat_power_kw, most_flow_m3_h, most_heat_gj_h
from streams.core.operator import window_operator
from streams.core.samples import Samples
from streams.core.stream_site import Meters, StreamSite

__all__ = ["MIN_COVERAGE", "DeviceHeat", "device_heat"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

MIN_COVERAGE = 0.9
"""Share of the window that samples must cover for its row to become final."""
GAP_INTERVALS = 3
GJ_PER_KJ = 1e-6
TEMPERATURES = ("supply_c", "return_c")
COUNTER_REASONS = {
    Step.RESET: "counter_reset",
    Step.CORRUPT: "counter_corrupt",
    Step.SPIKE: "counter_spike",
    Step.EXCHANGE: "counter_exchange",
    Step.ZERO: "counter_zero",
}
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

    Heat and volume come from the meter's counters where it has them and they
    hold, else from flow and temperatures by trapezoid. Coverage is that of the
    readings which the heat rests on. A counter of heat is made by the meter of its
    own temperatures: while one of them stays out of its range, it does not hold.
    """
    meter = site.meters[samples.devices]
    gap_limit_ms = GAP_INTERVALS * meter.interval_ms
    flow_m3_h, supply_c, return_c = samples["flow_m3_h"], samples["supply_c"], samples["return_c"]
    power_kw = heat_power_kw(flow_m3_h, supply_c, return_c, meter.on_supply[samples.group])
    power_kw[~meter.mounting_known[samples.group]] = np.nan
    heat_kj, power_coverage = samples.integrate(power_kw, gap_limit_ms=gap_limit_ms, rests_on=TEMPERATURES)
    energy = samples.counter(
        "energy_gj",
        full_scale=meter.energy_full_scale_gj,
        max_rate_per_h=most_heat_gj_h(meter.qp_m3_h),
        rated=~np.isnan(meter.qp_m3_h),
        gap_limit_ms=gap_limit_ms,
    )
    broken = _broken_share(samples)
    distrusted = 1.0 - broken < MIN_COVERAGE
    counted = _holds(energy, power_coverage) & ~distrusted
    distrusted &= ~np.isnan(energy.increase) & (power_coverage < MIN_COVERAGE)
    coverage = np.where(counted, energy.covered, power_coverage)

    flow_m3_s, flow_coverage = samples.integrate(flow_m3_h / S_PER_H, gap_limit_ms=gap_limit_ms)
    volume = samples.counter(
        "volume_m3",
        full_scale=meter.volume_full_scale_m3,
        max_rate_per_h=most_flow_m3_h(meter.qp_m3_h),
        rated=~np.isnan(meter.qp_m3_h),
        gap_limit_ms=gap_limit_ms,
    )
    metered = _holds(volume, flow_coverage)
    supply_mean_c, return_mean_c = (
        _flow_weighted(samples, name, flow_m3_h, gap_limit_ms) for name in TEMPERATURES
    )
    covered_s = flow_coverage * (samples.end_ms - samples.start_ms) / 1000
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_flow_m3_h = np.where(flow_coverage > 0, flow_m3_s * S_PER_H / covered_s, np.nan)
    heat_gj = np.where(counted, energy.increase, np.where(power_coverage > 0, heat_kj * GJ_PER_KJ, np.nan))
    volume_m3 = np.where(metered, volume.increase, np.where(flow_coverage > 0, flow_m3_s, np.nan))
    integrated_partly = ~counted & (coverage < MIN_COVERAGE)
    heat_gj[integrated_partly] = np.nan
    return DeviceHeat(
        heat_gj=heat_gj,
        heat_u_gj=_uncertainty_gj(
            heat_gj,
            np.where(counted, np.maximum(1.0 - energy.lost - broken, 0.0), coverage),
            mean_flow_m3_h,
            supply_mean_c - return_mean_c,
            np.where(counted, increase_expanded_uncertainty(meter.energy_resolution_gj), 0.0),
            meter,
        ),
        volume_m3=volume_m3,
        supply_c=supply_mean_c,
        return_c=return_mean_c,
        flow_m3_h=mean_flow_m3_h,
        excess_m3=excess_volume_m3(volume_m3, heat_gj, supply_mean_c, meter.return_ref_c, meter.on_supply),
        coverage=coverage,
        reason=_reason(
            samples,
            coverage,
            counted,
            distrusted,
            (volume, energy),
            (flow_coverage >= MIN_COVERAGE, power_coverage >= MIN_COVERAGE),
            gap_limit_ms,
            meter,
        ),
    )


def _holds(counter: Counted, integrated_coverage: FloatArray) -> BoolArray:
    """Whether to take the counter: it counted, and if it lost part of the window nothing else knows more.

    What it counted while it showed zeros is known, when it did is not. What leads back from a garbled reading
    has what was counted before it, too: where that was integrated in its own window, it would count twice.
    """
    lost = counter.lost + counter.bridged + counter.led_back > 0
    lost &= counter.covered - counter.led_back < MIN_COVERAGE
    return ~np.isnan(counter.increase) & ~(lost & (integrated_coverage >= MIN_COVERAGE))


def _broken_share(samples: Samples) -> FloatArray:
    """Share of the window that lies beside readings with a temperature out of its range, shape (devices,).

    Of two or more after one another: a value that was garbled once on its way says nothing about the meter.
    """
    out = np.asarray(np.logical_or.reduce([samples.masked(name) for name in TEMPERATURES]))
    share = np.zeros(len(samples.devices))
    if not out.any():
        return share
    group, t = samples.group, np.clip(samples.t, samples.start_ms, samples.end_ms)
    same = group[1:] == group[:-1]
    both = same & out[1:] & out[:-1]
    stays = np.r_[False, both] | np.r_[both, False]
    beside = same & (stays[1:] | stays[:-1])
    spoilt_ms = np.bincount(group[1:][beside], (t[1:] - t[:-1])[beside], minlength=len(share))
    return np.asarray(spoilt_ms / (samples.end_ms - samples.start_ms))


def _flow_weighted(
    samples: Samples, temperature: str, flow_m3_h: FloatArray, gap_limit_ms: FloatArray
) -> FloatArray:
    """Mean temperature weighted by flow; absent where nothing flowed."""
    temperature_c, rests_on = samples[temperature], (temperature,)
    weighted, _ = samples.integrate(temperature_c * flow_m3_h, gap_limit_ms=gap_limit_ms, rests_on=rests_on)
    weight, _ = samples.integrate(
        np.where(np.isnan(temperature_c), np.nan, flow_m3_h), gap_limit_ms=gap_limit_ms, rests_on=rests_on
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weight > 0, weighted / weight, np.nan)


def _uncertainty_gj(
    heat_gj: FloatArray,
    known: FloatArray,
    flow_m3_h: FloatArray,
    difference_k: FloatArray,
    step_gj: FloatArray,
    meter: Meters,
) -> FloatArray:
    """Uncertainty (k = 2): of the meter's class, its counter's least step, and what is not `known`."""
    relative = heat_expanded_uncertainty(
        flow_m3_h=flow_m3_h,
        qp_m3_h=meter.qp_m3_h,
        difference_k=difference_k,
        dt_min_k=meter.dt_min_k,
        accuracy_class=meter.accuracy_class,
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        missed_gj = np.abs(heat_gj) * (1 - known) / known
        expanded_gj = np.hypot(np.hypot(relative * np.abs(heat_gj), missed_gj), step_gj)
    # No heat and no flow: the formula has no value there, the meter's error is none.
    idle = (heat_gj == 0) & (flow_m3_h == 0) & ~np.isnan(meter.accuracy_class)
    return np.where(idle, 0.0, expanded_gj)


def _reason(
    samples: Samples,
    coverage: FloatArray,
    counted: BoolArray,
    distrusted: BoolArray,
    counters: Sequence[Counted],
    replaced: Sequence[BoolArray],
    gap_limit_ms: FloatArray,
    meter: Meters,
) -> NDArray[np.object_]:
    """Why a row cannot become final; empty where it can."""
    reason = np.full(len(coverage), "", dtype=object)
    short = coverage < MIN_COVERAGE
    reason[short] = "coverage"
    reason[coverage == 0] = "gap"
    if short.any():
        _blame_values(reason, short, samples, counted, gap_limit_ms)
    reason[~counted & ~meter.mounting_known] = "no_mounting"
    for counter, integrated in zip(counters, replaced, strict=True):
        lost_share = counter.lost + counter.bridged
        lost = ~integrated & (counter.covered < MIN_COVERAGE) & (lost_share > 0)
        lost &= counter.covered + lost_share >= MIN_COVERAGE
        for kind in np.unique(counter.why[lost]):
            reason[lost & (counter.why == kind)] = COUNTER_REASONS[Step(kind)]
    reason[distrusted] = "out_of_range"
    reason[np.isnan(meter.interval_ms)] = "no_interval"
    return reason


def _blame_values(
    reason: NDArray[np.object_],
    short: BoolArray,
    samples: Samples,
    counted: BoolArray,
    gap_limit_ms: FloatArray,
) -> None:
    """Say, in place, where values that were taken and do not count are why the coverage is short."""
    for names, mine in ((("energy_gj",), short), (("flow_m3_h", *TEMPERATURES), short & ~counted)):
        masked = np.array([samples.masked(name) for name in names])
        if masked.any():
            values = np.array([samples[name] for name in names])
            taken = np.asarray((masked | ~np.isnan(values)).all(axis=0))
            there = samples.coverage(taken, gap_limit_ms=gap_limit_ms) >= MIN_COVERAGE
            bad = np.zeros(len(short), dtype=np.bool_)
            bad[samples.group[masked.any(axis=0)]] = True
            reason[mine & bad & there] = "out_of_range"
    if any(samples.moves(name) for name in TEMPERATURES):
        values = np.array([samples[name] for name in ("flow_m3_h", *TEMPERATURES)])
        taken = np.asarray(~np.isnan(values).any(axis=0))
        joined = samples.coverage(taken, gap_limit_ms=gap_limit_ms)
        reason[short & ~counted & (joined >= MIN_COVERAGE)] = "fast_change"
