"""Counters of heat, volume and the like: what they counted, through resets, rollovers, exchanges and gaps.

Arrays hold many devices at once, sorted by (group, t); a group is a device, or
a device in a window. A step is judged by its two readings and the one before
them, and by the readings above zero on both sides of zeros, so both windows
that share a step see the same one, and what they count adds up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.counter_judge import MS_PER_H, RATE_MARGIN, SHORTEST_H, Readings, Step, is_lost, judge
from models.counter_zeros import zeros_of
from models.grouped import overlaps, sum_by_group

__all__ = [
    "EVENTS", "RATE_MARGIN", "Counted", "KnownSteps", "Step", "Steps", "counter_events", "counter_steps",
    "events_of", "increase_of", "known_steps", "window_increase",
]  # fmt: skip

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
KindArray = NDArray[np.int8]

EVENTS: Final = (Step.ROLLOVER, Step.RESET, Step.CORRUPT, Step.SPIKE, Step.EXCHANGE)
"""Steps that people want to know of, as `counter_events` counts them."""


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


@dataclass(frozen=True, slots=True)
class Counted:
    """What each group's counter counted within its window.

    Attributes
    ----------
    increase : ndarray, shape (n_groups,)
        Zero or more, of the steps whose increase is known; NaN where there is none. [u]
    covered : ndarray, shape (n_groups,)
        Share of the window in steps whose increase is known, no longer than the gap limit.
    lost : ndarray, shape (n_groups,)
        Share of the window in steps whose increase is not known.
    bridged : ndarray, shape (n_groups,)
        Share of the window in steps across zeros, longer than the gap limit: their increase is known,
        when it was counted is not.
    why : ndarray of int8, shape (n_groups,)
        The last `Step` of the enumeration among the lost and bridged ones (`ZERO` for these); 0 where there
        is none.
    """

    increase: FloatArray
    covered: FloatArray
    lost: FloatArray
    bridged: FloatArray
    why: KindArray


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
    A counter that fell has rolled over if that spans at most a tenth of its
    full scale (and is not too fast). Else it was exchanged if its operating
    hours fell too; reset if it is about zero (5 % of the reading before, or
    what could be counted since), and exchanged if its companion fell to about
    zero as well; else corrupt. It was also exchanged, though it did not fall,
    if the operating hours fell to no more than the time elapsed.

    One reading that is out of line (a garbled register, an old value sent again)
    is left out once the next one is there: where that goes on plausibly from the
    reading before, the increase since then belongs to the step that leads back.
    So the total is right, and each step still follows from three readings. Zeros
    after other readings, however many, are judged by what comes after them; see
    `models.counter_zeros.zeros_of`. Limits are our own choice.

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
    left_out, settled = zeros.left_out, zeros.settled
    increase, kind = zeros.increase.copy(), zeros.kind.copy()
    increase[~left_out], kind[~left_out] = _steps(readings.take(~left_out), settled[~left_out])
    increase[settled], kind[settled] = zeros.increase[settled], zeros.kind[settled]
    return Steps(increase, kind, left_out)


def _steps(readings: Readings, settled: BoolArray | None = None) -> tuple[FloatArray, KindArray]:
    """Increase and kind of the steps between readings that follow each other; not of the `settled` ones."""
    group, value = readings.group, readings.value
    increase = np.full(len(value), np.nan)
    kind = np.full(len(value), Step.FIRST, dtype=np.int8)
    if len(value) > 1:
        same = group[1:] == group[:-1]
        increase[1:] = np.where(same, value[1:] - value[:-1], np.nan)
        kind[1:][same] = Step.COUNTED
        odd = _odd(readings, increase[1:]) + 1
        odd = odd if settled is None else odd[~settled[odd]]
        if len(odd):
            increase[odd], kind[odd] = judge(readings, odd - 1, odd)
            lost = odd[is_lost(kind[odd])]
            if settled is not None:
                lost = lost[~np.append(settled, False)[lost + 1]]
            _resume(readings, lost, increase, kind)
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
    *,
    max_rate_per_h: ArrayLike = np.nan,
    rated: ArrayLike = True,
    operating_h: FloatArray | None = None,
    companion: FloatArray | None = None,
) -> KnownSteps:
    """`counter_steps` of the readings that hold the counter."""
    group, t_ms, value, operating_h, companion = _present(group, t_ms, value, operating_h, companion)
    steps = counter_steps(
        group,
        t_ms,
        value,
        full_scale,
        max_rate_per_h=max_rate_per_h,
        rated=rated,
        operating_h=operating_h,
        companion=companion,
    )
    return KnownSteps(group, t_ms, steps)


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
    rated: ArrayLike = True,
    operating_h: FloatArray | None = None,
    companion: FloatArray | None = None,
    gap_limit_ms: ArrayLike = np.inf,
) -> Counted:
    """How much each counter grew within its window, interpolated linearly at the edges.

    A step that reaches over an edge is shared between the windows in proportion
    to time, however long it is, so that consecutive windows add up to the
    counter. Each window needs its own readings, the two nearest before it and
    the nearest after it, and as many of those that are not zero; more of them
    change nothing, to the bit.

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
    full_scale, max_rate_per_h, rated, operating_h, companion
        As in `counter_steps`.
    gap_limit_ms : array_like, scalar or shape (n_groups,)
        Longer steps count and cover nothing; of NaN (unknown) none covers. [ms]

    Returns
    -------
    Counted
        Where the first reading of all lies inside, the increase counts from it;
        where the last one does, up to it.

    Examples
    --------
    >>> t = np.array([0, 60, 120]) * 1000
    >>> counted = window_increase(np.zeros(3, int), t, np.array([10.0, 16.0, 20.0]), 30_000, 90_000, 1)
    >>> counted.increase, counted.covered, counted.lost
    (array([5.]), array([1.]), array([0.]))
    """
    known = known_steps(
        group,
        t_ms,
        value,
        full_scale,
        max_rate_per_h=max_rate_per_h,
        rated=rated,
        operating_h=operating_h,
        companion=companion,
    )
    return increase_of(known, start_ms, end_ms, n_groups, gap_limit_ms)


def increase_of(
    known: KnownSteps, start_ms: ArrayLike, end_ms: ArrayLike, n_groups: int, gap_limit_ms: ArrayLike = np.inf
) -> Counted:
    """`window_increase` of steps that are known already."""
    known = known.joined
    steps = known.steps
    part = overlaps(known.group, known.t_ms, start_ms, end_ms, n_groups)
    width_ms = part.high_ms - part.low_ms
    length_ms = np.asarray(end_ms, dtype=np.float64) - np.asarray(start_ms, dtype=np.float64)
    lost_ms, bridged_ms, why = np.zeros(n_groups), np.zeros(n_groups), np.zeros(n_groups, dtype=np.int8)
    lost = steps.lost[part.later]
    if lost.any():
        lost_ms, _ = sum_by_group(np.where(lost, width_ms, 0.0), part.group, n_groups)
        np.maximum.at(why, part.group[lost], steps.kind[part.later[lost]])
        part, width_ms = part.take(~lost), width_ms[~lost]
    limit_ms = np.broadcast_to(np.asarray(gap_limit_ms, dtype=np.float64), (n_groups,))
    short = part.span_ms <= limit_ms[part.group]
    bridged = (steps.kind[part.later] == Step.BRIDGED) & ~short
    if bridged.any():
        bridged_ms, _ = sum_by_group(np.where(bridged, width_ms, 0.0), part.group, n_groups)
        why[part.group[bridged]] = Step.ZERO
    # A step wholly inside counts as it is: the quotient is then exactly 1.
    total, counted = sum_by_group(
        steps.increase[part.later] * (width_ms / part.span_ms), part.group, n_groups
    )
    covered_ms, _ = sum_by_group(width_ms[short], part.group[short], n_groups)
    return Counted(
        increase=np.where(counted, total, np.nan),
        covered=covered_ms / length_ms,
        lost=lost_ms / length_ms,
        bridged=bridged_ms / length_ms,
        why=why,
    )


def counter_events(
    group: IntArray,
    t_ms: IntArray,
    value: FloatArray,
    start_ms: int,
    end_ms: int,
    n_groups: int,
    full_scale: ArrayLike = np.nan,
    *,
    max_rate_per_h: ArrayLike = np.nan,
    rated: ArrayLike = True,
    operating_h: FloatArray | None = None,
    companion: FloatArray | None = None,
) -> IntArray:
    """How many of each kind of event happened within a window, by the reading that shows it.

    A reading that was out of line is one spike, whichever way it went: told by
    the reading after it.

    Parameters
    ----------
    group, t_ms, value, n_groups, full_scale, max_rate_per_h, rated, operating_h, companion
        As in `window_increase`, with the same neighbours.
    start_ms, end_ms : int
        The window, [start, end). [ms UTC]

    Returns
    -------
    ndarray of int64, shape (len(EVENTS), n_groups)

    Examples
    --------
    >>> t = np.arange(4) * 3_600_000
    >>> found = counter_events(np.zeros(4, int), t, np.array([98.0, 0.0, 99.5, 2.0]), 0, t[3] + 1, 1)
    >>> dict(zip([e.name for e in EVENTS], found[:, 0].tolist()))
    {'ROLLOVER': 0, 'RESET': 1, 'CORRUPT': 0, 'SPIKE': 1, 'EXCHANGE': 0}
    """
    known = known_steps(
        group,
        t_ms,
        value,
        full_scale,
        max_rate_per_h=max_rate_per_h,
        rated=rated,
        operating_h=operating_h,
        companion=companion,
    )
    return events_of(known, start_ms, end_ms, n_groups)


def events_of(known: KnownSteps, start_ms: int, end_ms: int, n_groups: int) -> IntArray:
    """`counter_events` of steps that are known already."""
    steps, t_ms = known.steps, known.t_ms
    if not (steps.kind > Step.COUNTED).any():  # nearly always
        return np.zeros((len(EVENTS), n_groups), dtype=np.int64)
    kind = steps.kind.copy()
    left_out = np.flatnonzero(steps.kind == Step.RESUMED) - 1
    kind[left_out] = Step.SPIKE
    inside = (t_ms >= start_ms) & (t_ms < end_ms)
    group = known.group
    return np.array([np.bincount(group[inside & (kind == event)], minlength=n_groups) for event in EVENTS])


def _present(
    group: IntArray,
    t_ms: IntArray,
    value: FloatArray,
    operating_h: FloatArray | None,
    companion: FloatArray | None,
) -> tuple[IntArray, IntArray, FloatArray, FloatArray | None, FloatArray | None]:
    """The rows that hold the counter."""
    keep = np.isfinite(value)
    if keep.all():
        return group, t_ms, value, operating_h, companion
    hours, other = (None if x is None else x[keep] for x in (operating_h, companion))
    return group[keep], t_ms[keep], value[keep], hours, other


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


def _resume(readings: Readings, lost: IntArray, increase: FloatArray, kind: KindArray) -> None:
    """Where a reading after a lost step goes on from the one before that step, count from there, in place."""
    lost = lost[lost + 1 < len(readings.value)]
    lost = lost[readings.group[lost + 1] == readings.group[lost]]
    before, after = lost - 1, lost + 1
    value = readings.value
    fell = value[lost] < value[before]
    came_back = (kind[lost] == Step.SPIKE) & (value[after] < value[lost])
    since, how = judge(readings, before, after)
    most = readings.most(lost, after)
    resumed = (fell | came_back) & (how == Step.COUNTED) & ~(since > most)
    increase[after[resumed]] = since[resumed]
    kind[after[resumed]] = Step.RESUMED
