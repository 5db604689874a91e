"""Readings of a counter that are out of line: garbled ones, and old ones that were sent again as new.

A register never counts back. Where it falls, either what it fell from or what it fell to was not its own; the
readings beside the two say which. Each rule looks at no more than four readings before a step and three from
its end on, and at what every step is by its own two: so all windows that share a step see it alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.counter_judge import ABOUT_ZERO, Readings, Step, is_lost, judge

__all__ = ["READINGS_AFTER", "READINGS_BEFORE", "back_in_line"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
KindArray = NDArray[np.int8]

READINGS_BEFORE: Final = 4
READINGS_AFTER: Final = 3
"""How many readings before a step, and from its end on, say whether it is out of line."""
_MOST: Final = 3
"""So many equal readings may be out of line together; what stands for longer is what the register says."""


def back_in_line(readings: Readings, increase: FloatArray, kind: KindArray) -> None:
    """Count from the reading before those that are out of line to the one after them, in place.

    What was counted meanwhile belongs to the step that leads back; the steps before it are lost.

    Parameters
    ----------
    readings : Readings
    increase : ndarray, shape (n,)
    kind : ndarray of int8, shape (n,)
        Of each step by its two readings alone.
    """
    alone = _Alone(readings, kind.copy())
    odd = np.flatnonzero(is_lost(kind) | (kind == Step.ROLLOVER))
    _resume(alone, np.flatnonzero(is_lost(kind)) + 1, increase, kind)
    for length in range(2, _MOST + 1):
        _leave_out_low(alone, odd, length, increase, kind)
        _doubt_jump(alone, odd, length, kind)
    for length in range(1, _MOST + 1):
        _leave_out_high(alone, odd, length, increase, kind)


@dataclass(frozen=True, slots=True)
class _Alone:
    """Readings, and what each step between two of them is by these alone."""

    readings: Readings
    kind: KindArray

    @property
    def value(self) -> FloatArray:
        return self.readings.value

    def joined(self, first: IntArray, last: IntArray) -> BoolArray:
        """Whether both readings are there, of one group."""
        n = len(self.kind)
        there = (first >= 0) & (last < n)
        group = self.readings.group
        same: BoolArray = group[np.maximum(first, 0)] == group[np.minimum(last, n - 1)]
        return there & same

    def followed_by_other_than_zero(self, first: IntArray, after: IntArray) -> BoolArray:
        """Whether a reading that is not zero comes in `after` or later, of the group of `first`."""
        places = np.flatnonzero(self.value != 0.0)
        at = np.searchsorted(places, after)
        return self.joined(first, np.append(places, len(self.kind))[at])

    def rated(self, at: IntArray) -> BoolArray:
        return self.readings.per_reading(self.readings.rated, at)

    def equal(self, first: IntArray, count: int) -> BoolArray:
        """Whether the `count` readings from each of `first` on are equal; they are of one group."""
        equal = np.ones(len(first), dtype=bool)
        for more in range(1, count):
            equal &= self.value[first + more] == self.value[first]
        return equal

    def goes_on(self, before: IntArray, last: IntArray, after: IntArray) -> tuple[FloatArray, BoolArray]:
        """What was counted from `before` on, and whether that can be, all of it after `last` at most."""
        since, how = judge(self.readings, before, after)
        return since, (how == Step.COUNTED) & ~(since > self.readings.most(last, after))


def _resume(alone: _Alone, after: IntArray, increase: FloatArray, kind: KindArray) -> None:
    """One reading after a lost step: the next one goes on from the one before that step."""
    after = after[alone.joined(after - 2, after)]
    out, before = after - 1, after - 2
    value = alone.value
    fell = value[out] < value[before]
    came_back = (alone.kind[out] == Step.SPIKE) & (value[after] < value[out])
    since, can_be = alone.goes_on(before, out, after)
    resumed = (fell | came_back) & can_be
    increase[after[resumed]] = since[resumed]
    kind[after[resumed]] = Step.RESUMED


def _leave_out_low(alone: _Alone, odd: IntArray, length: int, increase: FloatArray, kind: KindArray) -> None:
    """Several equal readings after a fall: they are old ones where the next reading is above that again.

    So they may be as long as none follows. A register that was set back, or restored, counts on from there.
    """
    value = alone.value
    first = odd[alone.joined(odd - 1, odd + length - 1)]
    fell = (value[first] < value[first - 1]) & (value[first] > 0.0)
    fell &= is_lost(alone.kind[first]) & (alone.kind[first] != Step.EXCHANGE)
    first = first[fell & alone.equal(first, length)]
    after = first + length
    counts_on = alone.followed_by_other_than_zero(first, after)
    for step in range(1, length):
        kind[first[~counts_on] + step] = Step.AGAIN
    followed = counts_on & alone.joined(first, after)
    first, after = first[followed], after[followed]
    since, can_be = alone.goes_on(first - 1, first, after)
    back = (value[after] >= value[first - 1]) & can_be
    first, after, since = first[back], after[back], since[back]
    # A register that by chance grew to just above where it was is not worth a doubt.
    either = alone.rated(after) & (value[after] - value[first] <= alone.readings.most(after - 1, after))
    either &= since > ABOUT_ZERO * value[after]
    for step in range(1, length):
        kind[first + step] = Step.AGAIN
    increase[after] = np.where(either, 0.0, since)
    kind[after] = np.where(either, Step.CORRUPT, Step.RESUMED)


def _doubt_jump(alone: _Alone, odd: IntArray, length: int, kind: KindArray) -> None:
    """Several equal readings after a jump and before a fall: nothing is known of them."""
    value = alone.value
    first = odd[alone.joined(odd - 1, odd + length)]
    first = first[(alone.kind[first] == Step.SPIKE) & alone.equal(first, length)]
    first = first[value[first + length] < value[first]]
    for step in range(1, length):
        kind[first + step] = Step.AGAIN


def _leave_out_high(alone: _Alone, odd: IntArray, length: int, increase: FloatArray, kind: KindArray) -> None:
    """A reading, or equal ones, above the next, which goes on from the one before them: they are garbled.

    A meter's own rate tells what it cannot have counted. Within it, a reading that is as low as the one
    before is an old one that came again. Without it, three readings from the step's end on tell of two.
    """
    value = alone.value
    after = odd[alone.joined(odd - length - 1, odd)]
    first, before = after - length, after - length - 1
    between = (value[before] <= value[after]) & (value[after] < value[first])
    after = after[between & alone.equal(first, length)]
    first, before = after - length, after - length - 1
    rose = alone.kind[first] == Step.COUNTED
    rose &= ((value[after] > value[before]) | ~alone.rated(after)) & (length < _MOST)
    garbled = rose | ((alone.kind[first] == Step.SPIKE) & (length > 1))
    since, can_be = alone.goes_on(before, after - 1, after)
    garbled &= can_be
    first, before, after, since = first[garbled], before[garbled], after[garbled], since[garbled]
    if length < _MOST:  # of three nobody at the step's end knows yet
        kind[first], increase[first] = Step.SPIKE, 0.0
    for step in range(1, length):
        kind[first + step] = Step.AGAIN
    low = (length < _MOST) & alone.joined(before - 1, before) & (alone.kind[before] == Step.CORRUPT)
    low &= alone.value[before] < alone.value[before - 1]  # what it rose from was out of line, too
    since = np.where(low, value[after] - value[before - 1], since)
    increase[after] = np.maximum(since, 0.0)
    kind[after] = np.where(since >= 0.0, Step.RESUMED, Step.CORRUPT)
