"""Steps of counters from reading to reading: through resets, rollovers, exchanges, gaps and what is garbled.

Arrays hold many devices at once, sorted by (group, t); a group is a device, or
a device in a window. A step is judged by a few readings on either side, and by the readings above zero on
both sides of zeros, so both windows that share a step see the same one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.counter_alone import beside_zeros, told_alone
from models.counter_judge import MS_PER_H, RATE_MARGIN, SHORTEST_H, Readings, Step, is_lost, judge
from models.counter_line import back_in_line
from models.counter_zeros import Zeros, zeros_of

__all__ = ["Beside", "KnownSteps", "Steps", "counter_steps", "known_steps"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
KindArray = NDArray[np.int8]


class Beside(TypedDict, total=False):
    """What counters are judged by besides their readings and full scale, as in `counter_steps`."""

    max_rate_per_h: ArrayLike
    rated: ArrayLike
    operating_h: FloatArray | None
    companion: FloatArray | None


@dataclass(frozen=True, slots=True)
class Steps:
    """The step that ends at each reading.

    Attributes
    ----------
    increase : ndarray, shape (n,)
        Zero or more; 0 where the difference of two readings is not an increase
        (reset, exchange, corrupt, spike), NaN for the first of a group.
    kind : ndarray of int8, shape (n,)
        Of `Step`.
    left_out : ndarray of bool, shape (n,)
        Zeros that say nothing: the step that ends at the next other reading begins before them.
    """

    increase: FloatArray
    kind: KindArray
    left_out: BoolArray

    @property
    def lost(self) -> BoolArray:
        """Whether what was counted during the step is not known, shape (n,)."""
        return is_lost(self.kind)


def counter_steps(
    group: IntArray,
    t_ms: IntArray,
    value: FloatArray,
    full_scale: ArrayLike = np.nan,
    *,
    max_rate_per_h: ArrayLike = np.nan,
    rated: ArrayLike = True,
    operating_h: FloatArray | None = None,
    companion: FloatArray | None = None,
) -> Steps:
    """Classify the step from each reading to the next and give its increase.

    Parameters
    ----------
    group : ndarray of int64, shape (n,)
        Group of each reading, ascending from 0.
    t_ms : ndarray of int64, shape (n,)
        Ascending within a group. [ms UTC]
    value : ndarray, shape (n,)
        Readings; finite (drop absent ones first). [any unit u]
    full_scale : array_like, scalar or shape (n_groups,)
        Where the counter starts again from zero (100 000 for five digits); NaN
        where unknown: then nothing is a rollover. [u]
    max_rate_per_h : array_like, scalar or shape (n_groups,)
        The most that the device can count in an hour, no less than the
        resolution of the counter; NaN where unknown: then nothing is a spike. [u/h]
    rated : array_like of bool, scalar or shape (n_groups,)
        Whether that is the meter's own rate; one that is only beyond what any meter can count
        does not tell a register that was set back from one that came back.
    operating_h : ndarray, shape (n,), optional
        Operating hours of the meter at each reading; NaN where absent. [h]
    companion : ndarray, shape (n,), optional
        Another counter of the same meter (volume beside energy) at each
        reading; NaN where absent.

    Returns
    -------
    Steps

    Notes
    -----
    A counter that fell has rolled over if that spans at most a tenth of its full scale, a hundredth where
    the meter's own rate is not known (and is not too fast). Else it was exchanged if its operating hours
    fell too; reset if it is about zero (5 % of the reading before, or what could be counted since), and
    exchanged if its companion fell to about zero as well; else corrupt. It was also exchanged, though it did
    not fall, if the operating hours fell to no more than the time elapsed.

    Readings that are out of line (a garbled register, an old value sent again) are left out once what follows
    goes on plausibly from the reading before them: the increase since then belongs to the step that leads
    back, so the total is right. See `models.counter_line.back_in_line`. Zeros after other readings, however
    many, are judged by what comes after them; see `models.counter_zeros.zeros_of`. Limits are our own choice.

    Examples
    --------
    >>> t = np.array([0, 1, 2, 3]) * 3_600_000
    >>> steps = counter_steps(np.zeros(4, int), t, np.array([98.0, 99.5, 0.5, 3.0]), 100.0)
    >>> steps.increase.tolist()
    [nan, 1.5, 1.0, 2.5]
    >>> [Step(k).name for k in steps.kind]
    ['FIRST', 'COUNTED', 'ROLLOVER', 'COUNTED']
    >>> zero = counter_steps(np.zeros(4, int), t, np.array([98.0, 0.0, 99.5, 100.0]))
    >>> zero.increase.tolist(), Step(zero.kind[2]).name, zero.left_out.tolist()
    ([nan, 0.0, 1.5, 0.5], 'BRIDGED', [False, True, False, False])
    """
    readings = Readings(
        group,
        t_ms,
        value,
        np.asarray(full_scale, dtype=np.float64),
        np.asarray(max_rate_per_h, dtype=np.float64),
        np.asarray(rated, dtype=np.bool_) & ~np.isnan(np.asarray(max_rate_per_h, dtype=np.float64)),
        operating_h,
        companion,
    )
    zeros = zeros_of(readings)
    if zeros is None:
        return Steps(*_steps(readings), np.zeros(len(value), dtype=bool))
    steps = _across(readings, zeros)
    beside = beside_zeros(readings)
    beside = beside[~steps.left_out[beside]]
    if len(beside):
        around, at = told_alone(readings, beside, steps.left_out)
        alone_zeros = zeros_of(around)
        assert alone_zeros is not None
        alone = _across(around, alone_zeros)
        steps.increase[beside], steps.kind[beside] = alone.increase[at], alone.kind[at]
    return steps


def _across(readings: Readings, zeros: Zeros) -> Steps:
    """Steps between the readings that are not left out, and what `zeros` say of those beside them."""
    left_out = zeros.left_out
    bridged = zeros.settled & (zeros.kind == Step.BRIDGED)
    settled = zeros.settled & ~bridged  # what comes after zeros may be out of line itself
    increase, kind = zeros.increase.copy(), zeros.kind.copy()
    increase[~left_out], kind[~left_out] = _steps(readings.take(~left_out))
    increase[settled], kind[settled] = zeros.increase[settled], zeros.kind[settled]
    kind[bridged & np.isin(kind, (Step.COUNTED, Step.ROLLOVER))] = Step.BRIDGED
    return Steps(increase, kind, left_out)


def _steps(readings: Readings) -> tuple[FloatArray, KindArray]:
    """Increase and kind of the steps between readings that follow each other."""
    group, value = readings.group, readings.value
    increase = np.full(len(value), np.nan)
    kind = np.full(len(value), Step.FIRST, dtype=np.int8)
    if len(value) > 1:
        same = group[1:] == group[:-1]
        increase[1:] = np.where(same, value[1:] - value[:-1], np.nan)
        kind[1:][same] = Step.COUNTED
        odd = _odd(readings, increase[1:]) + 1
        if len(odd):
            increase[odd], kind[odd] = judge(readings, odd - 1, odd)
            back_in_line(readings, increase, kind)
    return increase, kind


@dataclass(frozen=True)
class KnownSteps:
    """Steps of counters over the readings that hold one.

    Attributes
    ----------
    group, t_ms : ndarray of int64, shape (n,)
        Of each reading. [ms UTC]
    steps : Steps
    """

    group: IntArray
    t_ms: IntArray
    steps: Steps

    @property
    def joined(self) -> KnownSteps:
        """Those between readings that say something."""
        # Not cached as itself: what refers to itself stays in memory until Python next looks for it.
        return self._said if self.steps.left_out.any() else self

    @cached_property
    def _said(self) -> KnownSteps:
        steps, keep = self.steps, ~self.steps.left_out
        kept = Steps(steps.increase[keep], steps.kind[keep], steps.left_out[keep])
        return KnownSteps(self.group[keep], self.t_ms[keep], kept)


def known_steps(
    group: IntArray,
    t_ms: IntArray,
    value: FloatArray,
    full_scale: ArrayLike = np.nan,
    **beside: Unpack[Beside],
) -> KnownSteps:
    """`counter_steps` of the readings that hold the counter."""
    keep = np.isfinite(value)
    if not keep.all():
        group, t_ms, value = group[keep], t_ms[keep], value[keep]
        of_readings_too: tuple[Literal["operating_h", "companion"], ...] = ("operating_h", "companion")
        for name in of_readings_too:
            of_readings = beside.get(name)
            if of_readings is not None:
                beside[name] = of_readings[keep]
    return KnownSteps(group, t_ms, counter_steps(group, t_ms, value, full_scale, **beside))


def _odd(readings: Readings, difference: FloatArray) -> IntArray:
    """Steps that need a closer look: nearly always none. `difference` is NaN between groups."""
    span_h = (readings.t_ms[1:] - readings.t_ms[:-1]) / MS_PER_H
    rate = readings.max_rate_per_h
    most = (
        RATE_MARGIN * (rate if rate.ndim == 0 else rate[readings.group[1:]]) * np.maximum(span_h, SHORTEST_H)
    )
    odd = (difference < 0.0) | (difference > most) | (readings.value[:-1] < 0.0)
    if readings.operating_h is not None:
        odd |= readings.operating_h[1:] < readings.operating_h[:-1]
    return np.flatnonzero(odd & ~np.isnan(difference))
