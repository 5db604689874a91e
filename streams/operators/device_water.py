"""Water made up at each plant and in its tank, per 15-minute window."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.counter import Counted, Step, window_increase
from models.level import level_at
from streams.core.operator import window_operator
from streams.core.samples import Samples
from streams.core.stream_site import StreamSite

__all__ = ["DeviceWater", "device_water"]

FloatArray = NDArray[np.float64]

MIN_COVERAGE: Final = 0.9
"""Share of the window that readings of the counter must cover for its row to become final."""
_GAP_INTERVALS: Final = 3
_PARTS: Final = 3
"""Of a window, in which the least loss is looked for: a draw-off of minutes leaves one of them out."""
_TANK_SHARE: Final = 0.996
"""Make-up water at 10 to 20 °C that fills the room of tank water at 30 to 45 °C; for `least_m3_h` alone."""


@dataclass(frozen=True, slots=True)
class DeviceWater:
    """Rows of `device_water`; NaN is absent.

    `tank_m3` is by how much the tank's content rose, `level_m3` what it held at the end, and `least_m3_h` the
    least rate over any 5 minutes at which water was made up and did not stay in the tank; `metered` is 1 of a
    plant that has a counter for it, 0 of one that has not shown any yet.
    """

    makeup_m3: FloatArray
    makeup_c: FloatArray
    tank_m3: FloatArray
    level_m3: FloatArray
    least_m3_h: FloatArray
    metered: FloatArray
    coverage: FloatArray
    reason: NDArray[np.object_]


@window_operator(reads=("plant",), every_s=900, writes=DeviceWater)
def device_water(samples: Samples, site: StreamSite) -> DeviceWater:
    """Count the water made up and follow the level of the tank.

    Coverage is that of the counter's readings; a plant without one, or without a level, says so.
    """
    devices = len(samples.devices)
    gap_limit_ms = _GAP_INTERVALS * site.meters.interval_ms[samples.devices]
    counted = _counted(samples, samples.start_ms, samples.end_ms, gap_limit_ms)
    edges = np.linspace(samples.start_ms, samples.end_ms, _PARTS + 1).astype(np.int64).tolist()
    levels = [
        level_at(samples.group, samples.t, samples["tank_m3"], edge, devices, gap_limit_ms) for edge in edges
    ]
    warmth, covered = samples.integrate(
        samples["makeup_c"], gap_limit_ms=gap_limit_ms, rests_on=("makeup_c",)
    )
    seconds = covered * (samples.end_ms - samples.start_ms) / 1000.0
    makeup_c = np.where(covered > 0.0, warmth / np.where(covered > 0.0, seconds, 1.0), np.nan)
    hours = (samples.end_ms - samples.start_ms) / 3_600_000.0 / _PARTS
    rates = []
    for n, (low, high) in enumerate(pairwise(edges)):
        part = _counted(samples, low, high, gap_limit_ms)
        made_up = np.where(part.lost > 0.0, np.nan, part.increase)
        rates.append((made_up - _TANK_SHARE * (levels[n + 1] - levels[n])) / hours)
    return DeviceWater(
        makeup_m3=counted.increase,
        makeup_c=makeup_c,
        tank_m3=levels[-1] - levels[0],
        level_m3=levels[-1],
        least_m3_h=np.min(rates, axis=0),
        metered=np.where(_never(samples, "makeup_m3", np.ones(len(samples.t), dtype=bool)), 0.0, 1.0),
        coverage=counted.covered,
        reason=_reason(samples, counted, levels, gap_limit_ms),
    )


def _counted(samples: Samples, start_ms: int, end_ms: int, gap_limit_ms: FloatArray) -> Counted:
    return window_increase(
        samples.group, samples.t, samples["makeup_m3"], start_ms, end_ms, len(samples.devices),
        gap_limit_ms=gap_limit_ms,
    )  # fmt: skip


def _reason(
    samples: Samples, counted: Counted, levels: list[FloatArray], gap_limit_ms: FloatArray
) -> NDArray[np.object_]:
    """Why a row cannot become final; empty where it can."""
    devices = len(samples.devices)
    reason = np.full(devices, "", dtype=object)
    reason[np.isnan(levels[0]) | np.isnan(levels[-1])] = "tank_gap"
    near_ms = np.where(np.isnan(gap_limit_ms), 0.0, gap_limit_ms)[samples.group]
    near = (samples.t >= samples.start_ms - near_ms) & (samples.t <= samples.end_ms + near_ms)
    reason[_never(samples, "tank_m3", near)] = "no_tank"
    reason[counted.covered < MIN_COVERAGE] = "coverage"
    reason[counted.covered == 0.0] = "gap"
    lost = (counted.lost + counted.bridged > 0.0) & (counted.covered < MIN_COVERAGE)
    for kind in np.unique(counted.why[lost]):
        reason[lost & (counted.why == kind)] = f"counter_{Step(kind).name.lower()}"
    reason[_never(samples, "makeup_m3", np.ones(len(samples.t), dtype=bool))] = "no_makeup"
    reason[np.isnan(gap_limit_ms)] = "no_interval"
    return reason


def _never(samples: Samples, measurement: str, among: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which devices have no value of a measurement `among` their samples."""
    never = np.ones(len(samples.devices), dtype=bool)
    never[samples.group[among & ~np.isnan(samples[measurement])]] = False
    return never
