"""Steps beside zeros of a counter by the readings around them alone, so that every window tells them alike.

Which readings say whether one is out of line hangs on which zeros say nothing. Where a zero, a register set
back and a garbled one come within a few readings, a window would see others there than the whole history.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.counter_judge import Readings
from models.counter_line import READINGS_AFTER, READINGS_BEFORE

__all__ = ["beside_zeros", "told_alone"]

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def beside_zeros(readings: Readings) -> IntArray:
    """Readings with a zero, and a fall or a rise from zero, among those that say what their step is."""
    value = readings.value
    zero = value == 0.0
    joined = readings.group[1:] == readings.group[:-1]
    turns = np.append(False, joined & ((value[1:] < value[:-1]) | (zero[:-1] & ~zero[1:])))
    if not turns.any():
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(_reached(zero, readings.group) & _reached(turns, readings.group))


def _reached(there: BoolArray, group: IntArray) -> BoolArray:
    """Whether one of the readings around each is `there`, of its group."""
    found = there.copy()
    for back in range(1, READINGS_BEFORE + 1):
        found[back:] |= there[:-back] & (group[back:] == group[:-back])
    for on in range(1, READINGS_AFTER):
        found[:-on] |= there[on:] & (group[on:] == group[:-on])
    return found


def told_alone(readings: Readings, at: IntArray, left_out: BoolArray) -> tuple[Readings, IntArray]:
    """The readings around each of `at`, a group each, and where in them it is.

    Those are the nearest on either side, and the nearest that are not zero: as many as every window has that
    the step reaches into, which may end before the zeros that it leads across.
    """
    kept = np.maximum.accumulate(np.where(left_out, -1, np.arange(len(left_out))))
    crossed = np.where(at > 0, at - 1 - kept[np.maximum(at - 1, 0)], 0)
    places, of = _around(readings, at, np.arange(len(readings.value)), READINGS_AFTER - crossed)
    others = np.flatnonzero(readings.value != 0.0)
    more, of_more = _around(readings, at, others, np.full(len(at), READINGS_AFTER))
    # Each reading once for each step, in order.
    n = len(readings.value)
    key = np.unique(np.concatenate([of * n + places, of_more * n + more]))
    group, place = key // n, key % n
    return _regrouped(readings, group, place, at), np.searchsorted(key, np.arange(len(at)) * n + at)


def _around(readings: Readings, at: IntArray, among: IntArray, after: IntArray) -> tuple[IntArray, IntArray]:
    """Of the readings `among` all, the last before and the first `after` from each of `at` on; and whose."""
    middle = np.searchsorted(among, at)
    offset = np.arange(-READINGS_BEFORE, READINGS_AFTER)
    near = middle[:, None] + offset
    there = (near >= 0) & (near < len(among)) & (offset < np.maximum(after, 1)[:, None])
    place = among[np.clip(near, 0, max(len(among) - 1, 0))] if len(among) else np.zeros_like(near)
    there &= readings.group[place] == readings.group[at][:, None]
    whose = np.broadcast_to(np.arange(len(at))[:, None], near.shape)
    return place[there], whose[there]


def _regrouped(readings: Readings, group: IntArray, place: IntArray, at: IntArray) -> Readings:
    of = readings.group[at]

    def limit(of_group: NDArray[Any]) -> NDArray[Any]:
        return of_group if of_group.ndim == 0 else of_group[of]

    hours, other = (None if x is None else x[place] for x in (readings.operating_h, readings.companion))
    return replace(
        readings,
        group=group,
        t_ms=readings.t_ms[place],
        value=readings.value[place],
        full_scale=limit(readings.full_scale),
        max_rate_per_h=limit(readings.max_rate_per_h),
        rated=limit(readings.rated),
        operating_h=hours,
        companion=other,
    )
