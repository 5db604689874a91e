"""Counters of heat, volume and the like: what they counted, through resets, rollovers, exchanges and gaps.

Arrays hold many devices at once, sorted by (group, t); a group is a device, or
a device in a window. Every step is judged by its two readings alone, so both
windows that share a step see the same one, and what they count adds up.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.grouped import overlaps, sum_by_group

__all__ = ["RATE_MARGIN", "Step", "Steps", "counter_steps", "isolated_spikes", "window_increase"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

RATE_MARGIN: Final = 1.2
"""A step beyond this multiple of what the largest rate allows is a spike."""

_MS_PER_H: Final = 3_600_000.0
# Meters refresh their registers now and then, and these have a resolution: over
# less than an hour a step says little about the rate.
_SHORTEST_H: Final = 1.0
_NEAR_FULL: Final = 0.1  # share of the full scale that a rollover may span
_ABOUT_ZERO: Final = 0.05  # share of the reading before


class Step(IntEnum):
    """What lies between two consecutive readings of a counter."""

    FIRST = 0
    """The first reading of its group: nothing lies before it."""
    COUNTED = 1
    ROLLOVER = 2
    """Passed its full scale and went on from zero; the increase is known."""
    RESET = 3
    """Fell to about zero; what was counted in between is not known."""
    EXCHANGE = 4
    """Another meter: its operating hours started anew."""
    CORRUPT = 5
    """Fell to some other value, or a reading is negative."""
    SPIKE = 6
    """Grew faster than the device can."""


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
    """

    increase: FloatArray
    kind: NDArray[np.int8]


def counter_steps(
    group: IntArray,
    t_ms: IntArray,
    value: FloatArray,
    full_scale: ArrayLike = np.nan,
    *,
    max_rate_per_h: ArrayLike = np.nan,
    operating_h: FloatArray | None = None,
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
    operating_h : ndarray, shape (n,), optional
        Operating hours of the meter at each reading; NaN where absent. [h]

    Returns
    -------
    Steps

    Notes
    -----
    A counter that fell has rolled over if that spans at most a tenth of its
    full scale (and is not too fast). Else it was exchanged if its operating
    hours fell too; reset if it is about zero (5 % of the reading before, or
    what could be counted since); else corrupt. It was also exchanged, though
    it did not fall, if the operating hours fell to no more than the time
    elapsed. Limits are our own choice.

    Examples
    --------
    >>> t = np.array([0, 1, 2, 3]) * 3_600_000
    >>> steps = counter_steps(np.zeros(4, int), t, np.array([98.0, 99.5, 0.5, 3.0]), 100.0)
    >>> steps.increase.tolist()
    [nan, 1.5, 1.0, 2.5]
    >>> [Step(k).name for k in steps.kind]
    ['FIRST', 'COUNTED', 'ROLLOVER', 'COUNTED']
    """
    n = len(value)
    increase = np.full(n, np.nan)
    kind = np.full(n, Step.FIRST, dtype=np.int8)
    at = np.flatnonzero(group[1:] == group[:-1]) + 1 if n else np.empty(0, dtype=np.int64)
    span_ms = (t_ms[at] - t_ms[at - 1]).astype(np.float64)
    hours = None if operating_h is None else np.asarray(operating_h, dtype=np.float64)
    increase[at], kind[at] = _judge(group, value, at, span_ms, full_scale, max_rate_per_h, hours)
    return Steps(increase, kind)


def window_increase(
    group: IntArray,
    t_ms: IntArray,
    value: FloatArray,
    start_ms: ArrayLike,
    end_ms: ArrayLike,
    n_groups: int,
    full_scale: ArrayLike = np.nan,
    *,
    max_rate_per_h: ArrayLike = np.nan,
    operating_h: FloatArray | None = None,
) -> tuple[FloatArray, BoolArray]:
    """How much each counter grew within its window, interpolated linearly at the edges.

    A step that reaches over an edge is shared between the windows in proportion
    to time, however long it is, so that consecutive windows add up to the
    counter. Each window needs its own readings and the nearest one outside on
    either side; more of them change nothing, to the bit.

    Parameters
    ----------
    group : ndarray of int64, shape (n,)
        Group of each reading, ascending, 0 to n_groups - 1.
    t_ms : ndarray of int64, shape (n,)
        Ascending within a group. [ms UTC]
    value : ndarray, shape (n,)
        Readings; rows with NaN are left out. [any unit u]
    start_ms, end_ms : array_like of int, scalar or shape (n_groups,)
        Windows, [start, end). [ms UTC]
    n_groups : int
    full_scale, max_rate_per_h, operating_h
        As in `counter_steps`.

    Returns
    -------
    increase : ndarray, shape (n_groups,)
        Zero or more; NaN where not known. [u]
    known : ndarray of bool, shape (n_groups,)
        False where the window shares no time with two consecutive readings.
        Where the first reading of all lies inside, the increase counts from it;
        where the last one does, up to it.

    Examples
    --------
    >>> t = np.array([0, 60, 120]) * 1000
    >>> window_increase(np.zeros(3, int), t, np.array([10.0, 16.0, 20.0]), 30_000, 90_000, 1)
    (array([5.]), array([ True]))
    """
    keep = np.isfinite(value)
    if not keep.all():
        group, t_ms, value = group[keep], t_ms[keep], value[keep]
        operating_h = None if operating_h is None else operating_h[keep]
    part = overlaps(group, t_ms, start_ms, end_ms, n_groups)
    step, _ = _judge(group, value, part.later, part.span_ms, full_scale, max_rate_per_h, operating_h)
    # A step wholly inside counts as it is: the quotient is then exactly 1.
    share = (part.high_ms - part.low_ms) / part.span_ms
    total, known = sum_by_group(step * share, part.group, n_groups)
    return np.where(known, total, np.nan), known


def isolated_spikes(group: IntArray, value: FloatArray) -> BoolArray:
    """Readings that break the order of the two around them, which agree with each other.

    A register that was garbled once, up or down: without it the counter grows
    steadily. Such a reading can be told from a reset only once the next one is
    there, so `window_increase`, which sees steps, does not look for it.

    Parameters
    ----------
    group : ndarray of int64, shape (n,)
        Group of each reading, ascending.
    value : ndarray, shape (n,)
        Readings; finite.

    Returns
    -------
    ndarray of bool, shape (n,)

    Examples
    --------
    >>> isolated_spikes(np.zeros(5, int), np.array([7.0, 8.0, 0.0, 9.0, 10.0]))
    array([False, False,  True, False, False])
    """
    spikes = np.zeros(len(value), dtype=np.bool_)
    before, here, after = value[:-2], value[1:-1], value[2:]
    out = (before <= after) & ((here < before) | (here > after))
    spikes[1:-1] = out & (group[:-2] == group[2:])
    # Of two in a row neither can be trusted to judge the other: both stand.
    paired = spikes[1:] & spikes[:-1]
    spikes[1:] &= ~paired
    spikes[:-1] &= ~paired
    return spikes


def _judge(
    group: IntArray,
    value: FloatArray,
    later: IntArray,
    span_ms: FloatArray,
    full_scale: ArrayLike,
    max_rate_per_h: ArrayLike,
    operating_h: FloatArray | None,
) -> tuple[FloatArray, NDArray[np.int8]]:
    """Increase and kind of the steps that end at the readings `later`."""
    before, after = value[later - 1], value[later]
    span_h = span_ms / _MS_PER_H
    most = RATE_MARGIN * _per_step(max_rate_per_h, group, later) * np.maximum(span_h, _SHORTEST_H)
    most = np.where(np.isnan(most), np.inf, most)
    full = _per_step(full_scale, group, later)

    difference = after - before
    fell = difference < 0.0
    wrapped = full - before + after
    hours_fell = np.zeros(len(later), dtype=np.bool_)
    anew = hours_fell
    if operating_h is not None:
        hours_fell = operating_h[later] < operating_h[later - 1]
        anew = hours_fell & (operating_h[later] <= span_h + 1.0)

    jumped = difference > most
    rolled = fell & (before <= full) & (wrapped <= _NEAR_FULL * full) & (wrapped <= most) & ~hours_fell
    about_zero = (after <= _ABOUT_ZERO * before) | (np.isfinite(most) & (after <= most))
    kind = np.full(len(later), Step.COUNTED, dtype=np.int8)
    kind[jumped] = Step.SPIKE
    kind[fell] = Step.CORRUPT
    kind[fell & about_zero] = Step.RESET
    kind[(hours_fell & (fell | jumped)) | anew] = Step.EXCHANGE
    kind[rolled] = Step.ROLLOVER
    kind[(before < 0.0) | (after < 0.0)] = Step.CORRUPT
    increase = np.where(kind == Step.COUNTED, difference, 0.0)
    return np.where(kind == Step.ROLLOVER, wrapped, increase), kind


def _per_step(per_group: ArrayLike, group: IntArray, later: IntArray) -> FloatArray:
    values = np.asarray(per_group, dtype=np.float64)
    return np.broadcast_to(values, later.shape) if values.ndim == 0 else values[group[later]]
