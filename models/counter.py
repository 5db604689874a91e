"""Counters of heat, volume and the like: what they counted within windows, so that these add up.

Arrays hold many devices at once, sorted by (group, t); a group is a device, or a device in a window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.counter_judge import RATE_MARGIN, Step
from models.counter_steps import Beside, KnownSteps, Steps, counter_steps, known_steps
from models.grouped import overlaps, sum_by_group

__all__ = [
    "EVENTS", "RATE_MARGIN", "Beside", "Counted", "KnownSteps", "Step", "Steps", "counter_events",
    "counter_steps", "events_of", "increase_of", "known_steps", "window_increase",
]  # fmt: skip

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
KindArray = NDArray[np.int8]

EVENTS: Final = (Step.ROLLOVER, Step.RESET, Step.CORRUPT, Step.SPIKE, Step.EXCHANGE)
"""Steps that people want to know of, as `counter_events` counts them."""


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
    led_back : ndarray, shape (n_groups,)
        Share of the window in steps that have, besides what was counted in them, what was counted while the
        register was out of line before them.
    why : ndarray of int8, shape (n_groups,)
        The last `Step` of the enumeration among the lost and bridged ones (`ZERO` for these, `CORRUPT` for
        those that are `AGAIN`); 0 where there is none.
    """

    increase: FloatArray
    covered: FloatArray
    lost: FloatArray
    bridged: FloatArray
    led_back: FloatArray
    why: KindArray


def window_increase(
    group: IntArray,
    t_ms: IntArray,
    value: FloatArray,
    start_ms: ArrayLike,
    end_ms: ArrayLike,
    n_groups: int,
    full_scale: ArrayLike = np.nan,
    *,
    gap_limit_ms: ArrayLike = np.inf,
    **beside: Unpack[Beside],
) -> Counted:
    """How much each counter grew within its window, interpolated linearly at the edges.

    A step that reaches over an edge is shared between the windows in proportion
    to time, however long it is, so that consecutive windows add up to the
    counter. Each window needs its own readings, the two nearest before it and
    the nearest after it, and as many of those that are not zero; where the counter falls among the four
    before it, its own and the three after it, all of these. More of them change nothing, to the bit.

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
    full_scale, **beside
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
    known = known_steps(group, t_ms, value, full_scale, **beside)
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
        kind = steps.kind[part.later[lost]]
        np.maximum.at(why, part.group[lost], np.where(kind == Step.AGAIN, Step.CORRUPT, kind).astype(np.int8))
        part, width_ms = part.take(~lost), width_ms[~lost]
    limit_ms = np.broadcast_to(np.asarray(gap_limit_ms, dtype=np.float64), (n_groups,))
    short = part.span_ms <= limit_ms[part.group]
    bridged = (steps.kind[part.later] == Step.BRIDGED) & ~short
    if bridged.any():
        bridged_ms, _ = sum_by_group(np.where(bridged, width_ms, 0.0), part.group, n_groups)
        why[part.group[bridged]] = Step.ZERO
    led_back_ms = np.zeros(n_groups)
    led_back = steps.kind[part.later] == Step.RESUMED
    if led_back.any():
        led_back_ms, _ = sum_by_group(np.where(led_back, width_ms, 0.0), part.group, n_groups)
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
        led_back=led_back_ms / length_ms,
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
    **beside: Unpack[Beside],
) -> IntArray:
    """How many of each kind of event happened within a window, by the reading that shows it.

    What was out of line is one spike, whichever way it went and however often it was shown: told by
    the reading after it.

    Parameters
    ----------
    group, t_ms, value, n_groups, full_scale, **beside
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
    known = known_steps(group, t_ms, value, full_scale, **beside)
    return events_of(known, start_ms, end_ms, n_groups)


def events_of(known: KnownSteps, start_ms: int, end_ms: int, n_groups: int) -> IntArray:
    """`counter_events` of steps that are known already."""
    steps, t_ms = known.steps, known.t_ms
    if not (steps.kind > Step.COUNTED).any():  # nearly always
        return np.zeros((len(EVENTS), n_groups), dtype=np.int64)
    kind = steps.kind.copy()
    left_out = np.flatnonzero(steps.kind == Step.RESUMED) - 1
    while (again := steps.kind[left_out] == Step.AGAIN).any():
        left_out = left_out - again
    kind[left_out] = Step.SPIKE
    inside = (t_ms >= start_ms) & (t_ms < end_ms)
    group = known.group
    return np.array([np.bincount(group[inside & (kind == event)], minlength=n_groups) for event in EVENTS])
