"""What two readings of a counter say of what lies between them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["ABOUT_ZERO", "MS_PER_H", "RATE_MARGIN", "SHORTEST_H", "Readings", "Step", "is_lost", "judge"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
KindArray = NDArray[np.int8]

RATE_MARGIN: Final = 1.2
"""A step beyond this multiple of what the largest rate allows is a spike."""

MS_PER_H: Final = 3_600_000.0
# Meters refresh their registers now and then, and these have a resolution: over
# less than an hour a step says little about the rate.
SHORTEST_H: Final = 1.0
_NEAR_FULL: Final = 0.1  # share of the full scale that a rollover may span
_NEAR_FULL_UNRATED: Final = 0.01  # where no rate of the meter's own tells a reset from it
ABOUT_ZERO: Final = 0.05  # share of the reading before


class Step(IntEnum):
    """What lies between two consecutive readings of a counter."""

    FIRST = 0
    """The first reading of its group: nothing lies before it."""
    COUNTED = 1
    ROLLOVER = 2
    """Passed its full scale and went on from zero; the increase is known."""
    RESET = 3
    """Fell to about zero; what was counted in between is not known."""
    CORRUPT = 4
    """Fell to some other value, or a reading is negative."""
    SPIKE = 5
    """Grew faster than the device can."""
    EXCHANGE = 6
    """Another meter: its operating hours started anew, or all its counters fell to about zero."""
    RESUMED = 7
    """Goes on from the reading before one that was out of line; the increase since then is known."""
    ZERO = 8
    """Shows zero though it had counted: whether it is off or was set back is not known until it goes on."""
    BRIDGED = 9
    """Goes on from the reading before zeros; the increase since then is known."""
    AGAIN = 10
    """Shows once more what was out of line, or may have been."""


@dataclass(frozen=True, slots=True)
class Readings:
    """Readings of counters, of parameters as in `models.counter.counter_steps`."""

    group: IntArray
    t_ms: IntArray
    value: FloatArray
    full_scale: FloatArray
    max_rate_per_h: FloatArray
    rated: BoolArray
    operating_h: FloatArray | None
    companion: FloatArray | None

    def take(self, which: BoolArray) -> Readings:
        """Those where `which` is true."""
        hours, other = (None if x is None else x[which] for x in (self.operating_h, self.companion))
        return replace(
            self,
            group=self.group[which],
            t_ms=self.t_ms[which],
            value=self.value[which],
            operating_h=hours,
            companion=other,
        )

    def per_reading(self, of_group: NDArray[Any], at: IntArray) -> NDArray[Any]:
        """Values of the groups of the readings `at`."""
        return np.broadcast_to(of_group, at.shape) if of_group.ndim == 0 else of_group[self.group[at]]

    def most(self, earlier: IntArray, later: IntArray) -> FloatArray:
        """The most that can have been counted between two readings; NaN where not known."""
        span_h = (self.t_ms[later] - self.t_ms[earlier]) / MS_PER_H
        rate = self.per_reading(self.max_rate_per_h, later)
        return np.asarray(RATE_MARGIN * rate * np.maximum(span_h, SHORTEST_H))


def is_lost(kind: KindArray) -> BoolArray:
    """Whether what was counted during steps of these kinds is not known."""
    return np.asarray(
        ((kind >= Step.RESET) & (kind <= Step.EXCHANGE)) | (kind == Step.ZERO) | (kind == Step.AGAIN)
    )


def judge(readings: Readings, earlier: IntArray, later: IntArray) -> tuple[FloatArray, KindArray]:
    """Increase and kind of the steps between pairs of readings of one group, by these two alone."""
    before, after = readings.value[earlier], readings.value[later]
    span_h = (readings.t_ms[later] - readings.t_ms[earlier]) / MS_PER_H
    most = readings.most(earlier, later)
    most = np.where(np.isnan(most), np.inf, most)
    full = readings.per_reading(readings.full_scale, later)

    difference = after - before
    fell = difference < 0.0
    wrapped = full - before + after
    hours_fell = np.zeros(len(later), dtype=np.bool_)
    anew = hours_fell
    if readings.operating_h is not None:
        hours, hours_before = readings.operating_h[later], readings.operating_h[earlier]
        hours_fell = hours < hours_before
        anew = hours_fell & (hours <= span_h + 1.0)

    jumped = difference > most
    near = np.where(readings.per_reading(readings.rated, later), _NEAR_FULL, _NEAR_FULL_UNRATED)
    rolled = fell & (before <= full) & (wrapped <= near * full) & (wrapped <= most) & ~hours_fell
    about_zero = fell & ((after <= ABOUT_ZERO * before) | (np.isfinite(most) & (after <= most)))
    kind = np.full(len(later), Step.COUNTED, dtype=np.int8)
    kind[jumped] = Step.SPIKE
    kind[fell] = Step.CORRUPT
    kind[about_zero] = Step.RESET
    if readings.companion is not None:
        other, other_before = readings.companion[later], readings.companion[earlier]
        kind[about_zero & (other < other_before) & (other <= ABOUT_ZERO * other_before)] = Step.EXCHANGE
    kind[(hours_fell & (fell | jumped)) | anew] = Step.EXCHANGE
    kind[rolled] = Step.ROLLOVER
    kind[(before < 0.0) | (after < 0.0)] = Step.CORRUPT
    increase = np.where(kind == Step.COUNTED, difference, 0.0)
    return np.where(kind == Step.ROLLOVER, wrapped, increase), kind
