"""Levels that are sampled now and then: where they stood at an instant."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["level_at"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def level_at(
    group: IntArray,
    t_ms: IntArray,
    value: FloatArray,
    at_ms: int,
    n_groups: int,
    gap_limit_ms: FloatArray,
) -> FloatArray:
    """Value of each group at an instant, linear between the samples on either side.

    Parameters
    ----------
    group : ndarray of int64, shape (n,)
        Group of each sample, ascending, 0 to n_groups - 1.
    t_ms : ndarray of int64, shape (n,)
        Ascending within a group. [ms UTC]
    value : ndarray, shape (n,)
        NaN where it was not taken. [any unit u]
    at_ms : int
        [ms UTC]
    n_groups : int
    gap_limit_ms : ndarray, shape (n_groups,)
        Samples further apart are not joined; NaN joins none. [ms]

    Returns
    -------
    ndarray, shape (n_groups,)
        NaN where no two samples that may be joined lie around the instant, nor one at it. [u]

    Examples
    --------
    >>> t = np.array([0, 60_000, 0, 400_000])
    >>> level_at(np.array([0, 0, 1, 1]), t, np.array([1.0, 3.0, 5.0, 6.0]), 30_000, 2, np.full(2, 180_000.0))
    array([ 2., nan])
    """
    keep = ~np.isnan(value)
    group, t_ms, value = group[keep], t_ms[keep], value[keep]
    result = np.full(n_groups, np.nan)
    before = np.flatnonzero(t_ms <= at_ms)
    after = np.flatnonzero(t_ms >= at_ms)
    last = np.full(n_groups, -1)
    last[group[before]] = before  # the later overwrites
    first = np.full(n_groups, -1)
    first[group[after[::-1]]] = after[::-1]
    exact = (last >= 0) & (first >= 0)
    low, high = last[exact], first[exact]
    span = (t_ms[high] - t_ms[low]).astype(np.float64)
    share = np.where(span > 0.0, (at_ms - t_ms[low]) / np.where(span > 0.0, span, 1.0), 0.0)
    joined = (span == 0.0) | (span <= gap_limit_ms[exact])
    between = value[low] + (value[high] - value[low]) * share
    result[exact] = np.where(joined, between, np.nan)
    return result
