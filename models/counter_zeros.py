"""Zeros of counters that had counted before: a display that was off, or a register that was set back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.counter_judge import ABOUT_ZERO, Readings, Step, judge

__all__ = ["Zeros", "zeros_of"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
KindArray = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Zeros:
    """What runs of zeros say of the steps beside them.

    Attributes
    ----------
    left_out : ndarray of bool, shape (n,)
        Zeros that say nothing: the step that counts leads across them.
    settled : ndarray of bool, shape (n,)
        Steps of which more than their two readings decides; of the others nothing is said here.
    increase : ndarray, shape (n,)
    kind : ndarray of int8, shape (n,)
        Of the settled steps, and of those that end at what is left out.
    """

    left_out: BoolArray
    settled: BoolArray
    increase: FloatArray
    kind: KindArray


def zeros_of(readings: Readings) -> Zeros | None:
    """Tell zeros of a counter that is off from those of one that was set back; None where there are none.

    A run of zeros is judged by the last reading before it and the first after
    it. Where the register goes on from before, what it grew by was counted
    meanwhile; and where it went over its full scale, if zero is shown more than
    once. Where it begins anew (at most 5 % of what it was, or over its full
    scale), the zeros are what the counter says. Where it does neither, or where
    it may as well have counted all of it since, what was counted is not known;
    nor as long as zeros are all that follows. Zeros that nothing came before are true; what follows
    them without a rate of the meter's own may be its whole register, and is not
    known either.
    """
    zero = readings.value == 0.0
    if not zero.any():
        return None
    n = len(zero)
    same = np.zeros(n + 1, dtype=bool)
    same[1:n] = readings.group[1:] == readings.group[:-1]
    joined = same[:n] & zero & np.append(False, zero[:-1])
    first = np.flatnonzero(zero & ~joined)
    last = np.append(first[1:], n) - 1
    last = np.flatnonzero(zero)[np.searchsorted(np.flatnonzero(zero), last, side="right") - 1]
    run = np.cumsum(zero & ~joined) - 1  # of each reading, the run that it is in or comes after

    led, followed = same[first], same[last + 1]
    fell = led & (readings.value[first - 1] > 0.0)
    out, known = np.zeros(len(first), dtype=bool), np.zeros(len(first), dtype=bool)
    settled, increase = np.zeros(n, dtype=bool), np.zeros(n)
    kind = np.full(n, Step.ZERO, dtype=np.int8)

    settled[zero] = (fell & ~followed)[run[zero]]
    begun = last[~led & followed] + 1
    settled[begun[~readings.per_reading(readings.rated, begun)]] = True
    both = np.flatnonzero(fell & followed)
    rolled = np.zeros(len(both), dtype=bool)
    if len(both):
        before, after = first[both] - 1, last[both] + 1
        grown, how = judge(readings, before, after)
        anew, resumed = _judged(readings, before, after, how)
        rolled = (how == Step.ROLLOVER) & (last[both] > first[both])
        anew, resumed = anew & ~rolled, resumed | rolled
        begins = anew & (how != Step.ROLLOVER)
        settled[first[both][begins]] = True
        kind[first[both][begins]] = how[begins]
        out[both], known[both] = ~anew, resumed
        crossed = after[~anew]
        settled[crossed] = True
        increase[crossed] = np.where(resumed, grown, 0.0)[~anew]
        kind[crossed] = np.where(resumed, Step.BRIDGED, np.where(how == Step.COUNTED, Step.ZERO, how))[~anew]
    left_out = zero & out[run]
    kind[first[known]] = Step.SPIKE  # one event, told where the first zero shows it
    kind[first[both[rolled]]] = Step.ROLLOVER
    return Zeros(left_out, settled, increase, kind)


def _judged(
    readings: Readings, before: IntArray, after: IntArray, how: KindArray
) -> tuple[BoolArray, BoolArray]:
    """Whether the register begins anew after zeros, and whether it goes on from before them."""
    value = readings.value
    # Only the meter's own rate says what it could have counted from zero on.
    countable = readings.per_reading(readings.rated, after) & (value[after] <= readings.most(before, after))
    anew = (how == Step.ROLLOVER) | ((value[after] >= 0.0) & (value[after] <= ABOUT_ZERO * value[before]))
    anew |= (how == Step.EXCHANGE) & countable
    # A register that by chance grew to just above where it was is not worth a doubt.
    either = countable & (value[after] - value[before] > ABOUT_ZERO * value[after])
    if readings.operating_h is not None:
        either = either & ~(readings.operating_h[after] >= readings.operating_h[before])
    return anew, (how == Step.COUNTED) & ~either & ~anew
