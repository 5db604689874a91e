"""What is wrong with the data of each heat meter, by 15-minute window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.counter import EVENTS, Step
from models.heat import most_flow_m3_h, most_heat_gj_h
from models.measurements import Kind, of_class
from models.quality import STALE_INTERVALS
from streams.core.operator import window_operator
from streams.core.samples import Samples
from streams.core.stream_site import Meters, StreamSite

__all__ = ["DataQuality", "data_quality"]

FloatArray = NDArray[np.float64]

CLASSES = ("plant", "substation", "meter")
COUNTERS = ("energy_gj", "volume_m3", "makeup_m3", "secondary_makeup_m3", "fuel_kg")
_GAUGES = tuple({m.name: m for c in CLASSES for m in of_class(c) if m.kind is not Kind.TEXT}.values())


@dataclass(frozen=True, slots=True)
class DataQuality:
    """Rows of `data_quality`; NaN is absent."""

    samples: FloatArray
    out_of_range: FloatArray
    fast_change: FloatArray
    stale_s: FloatArray
    counter_reset: FloatArray
    counter_rollover: FloatArray
    counter_exchange: FloatArray
    counter_spike: FloatArray
    counter_corrupt: FloatArray
    coverage: FloatArray
    reason: NDArray[np.object_]


@window_operator(reads=CLASSES, every_s=900, writes=DataQuality)
def data_quality(samples: Samples, site: StreamSite) -> DataQuality:
    """Count samples, values outside their range, steps that are too fast and events of counters.

    Each is counted in the window of the sample that shows it. Coverage is the
    share of the window between samples within the gap limit, whatever they hold.
    """
    meter = site.meters[samples.devices]
    every = np.ones(len(samples.t), dtype=np.bool_)
    measured = [m for m in _GAUGES if samples.has(m.name)]
    out_of_range, fast_change = np.zeros((2, len(samples.devices)))
    for m in measured:
        if m.low is not None or m.high is not None:
            masked = samples.masked(m.name)
            if masked.any():
                out_of_range += samples.count(masked)
        if m.most_per_min is not None:
            fast_change += samples.fast_steps(m.name)
    events = dict.fromkeys(EVENTS, np.zeros(len(samples.devices)))
    for name in COUNTERS:
        if samples.has(name):
            full_scale, most = _limits(name, meter)
            rated = ~np.isnan(meter.qp_m3_h)
            found = samples.counter_events(name, full_scale=full_scale, max_rate_per_h=most, rated=rated)
            events = {event: events[event] + found[at] for at, event in enumerate(EVENTS)}
    return DataQuality(
        samples=samples.count(every).astype(np.float64),
        out_of_range=out_of_range,
        fast_change=fast_change,
        stale_s=samples.stale_s(meter.interval_ms),
        counter_reset=events[Step.RESET],
        counter_rollover=events[Step.ROLLOVER],
        counter_exchange=events[Step.EXCHANGE],
        counter_spike=events[Step.SPIKE],
        counter_corrupt=events[Step.CORRUPT],
        coverage=samples.coverage(every, gap_limit_ms=STALE_INTERVALS * meter.interval_ms),
        reason=np.where(np.isnan(meter.interval_ms), "no_interval", "").astype(object),
    )


def _limits(counter: str, meter: Meters) -> tuple[ArrayLike, ArrayLike]:
    """Full scale and largest rate of a counter by device; NaN where not known."""
    if counter == "energy_gj":
        return meter.energy_full_scale_gj, most_heat_gj_h(meter.qp_m3_h)
    if counter == "volume_m3":
        return meter.volume_full_scale_m3, most_flow_m3_h(meter.qp_m3_h)
    return np.nan, np.nan
