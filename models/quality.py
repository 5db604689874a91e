"""What single values and steps between two readings say about their own quality.

A value is judged by itself, or a step by its two readings alone: so it is
judged alike in every window that sees it, in whatever order samples came.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["SHORTEST_MIN", "is_masked", "mask", "outside", "stale_ms", "too_fast"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

SHORTEST_MIN: Final = 1.0
"""Over less than this a rate says little: sensors have a resolution, and valves open at once. [min]"""
STALE_INTERVALS: Final = 3
"""A device is stale when its newest sample is older than so many of its intervals."""

_MS_PER_MIN: Final = 60_000.0
# A quiet NaN of its own bits: absent to every sum, and yet it says that there was a value.
_MASKED_BITS: Final = np.uint64(0x7FF8_0000_0000_0001)
_MASKED: Final = _MASKED_BITS.view(np.float64)


def outside(value: FloatArray, low: float | None, high: float | None) -> BoolArray:
    """Which values lie outside their physical range.

    Parameters
    ----------
    value : ndarray, shape (n,)
        NaN is absent, and not outside.
    low, high : float or None
        Bounds, both allowed; None is open.

    Returns
    -------
    ndarray of bool, shape (n,)

    Examples
    --------
    >>> outside(np.array([-11.0, 20.0, np.nan, 181.0]), -10.0, 180.0)
    array([ True, False, False,  True])
    """
    bad = np.zeros(len(value), dtype=np.bool_)
    if low is not None:
        bad |= value < low
    if high is not None:
        bad |= value > high
    return bad


def mask(value: FloatArray, bad: BoolArray) -> None:
    """Make the bad values absent, in place, in a way that `is_masked` can tell from never taken."""
    value[bad] = _MASKED


def is_masked(value: FloatArray) -> BoolArray:
    """Which values are absent because they were masked, shape (n,).

    Examples
    --------
    >>> value = np.array([1.0, np.nan, 3.0])
    >>> mask(value, np.array([True, False, False]))
    >>> is_masked(value), np.isnan(value)
    (array([ True, False, False]), array([ True,  True, False]))
    """
    return np.asarray(np.ascontiguousarray(value).view(np.uint64) == _MASKED_BITS)


def too_fast(before: FloatArray, after: FloatArray, span_ms: FloatArray, most_per_min: float) -> BoolArray:
    """Which steps change faster than the quantity can.

    Parameters
    ----------
    before, after : ndarray, shape (n,)
        Consecutive readings; a step with a NaN is not fast. [any unit u]
    span_ms : ndarray, shape (n,)
        Time between the two; less than a minute counts as one. [ms]
    most_per_min : float
        Largest plausible rate. [u/min]

    Returns
    -------
    ndarray of bool, shape (n,)

    Examples
    --------
    >>> too_fast(np.array([90.0, 90.0]), np.array([101.0, 101.0]), np.array([10_000.0, 120_000.0]), 10.0)
    array([ True, False])
    """
    minutes = np.maximum(span_ms / _MS_PER_MIN, SHORTEST_MIN)
    return np.asarray(np.abs(after - before) > most_per_min * minutes)


def stale_ms(
    group: IntArray, t_ms: IntArray, start_ms: int, end_ms: int, n_groups: int, interval_ms: ArrayLike
) -> FloatArray:
    """How long, within a window, each group's newest sample was older than three intervals.

    Parameters
    ----------
    group : ndarray of int64, shape (n,)
        Group of each sample, ascending.
    t_ms : ndarray of int64, shape (n,)
        Ascending within a group. [ms UTC]
    start_ms, end_ms : int
        The window, [start, end). [ms UTC]
    n_groups : int
    interval_ms : array_like, shape (n_groups,)
        NaN where unknown. [ms]

    Returns
    -------
    ndarray, shape (n_groups,)
        Time before a group's first sample is not stale. NaN where the interval is unknown. [ms]

    Examples
    --------
    >>> t = np.array([0, 10, 80]) * 1000
    >>> stale_ms(np.zeros(3, int), t, 0, 100_000, 1, [10_000.0])
    array([40000.])
    """
    limit = STALE_INTERVALS * np.broadcast_to(np.asarray(interval_ms, dtype=np.float64), (n_groups,))
    until = np.full(len(t_ms), end_ms, dtype=np.float64)
    if len(t_ms):
        same = group[1:] == group[:-1]
        until[:-1][same] = np.minimum(t_ms[1:][same], end_ms)
    since = np.maximum(t_ms + limit[group], start_ms)
    total = np.bincount(group, np.maximum(until - since, 0.0), n_groups)
    return np.where(np.isnan(limit), np.nan, total)
