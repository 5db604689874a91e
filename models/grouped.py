"""Sums over runs of equal group numbers: the same bits whatever other groups stand beside them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Overlaps", "overlaps", "sum_by_group"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def sum_by_group(
    values: NDArray[np.float64] | NDArray[np.int64], group: IntArray, n_groups: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Sum `values` over each group.

    A running sum would carry one group's rounding into the next, and a
    histogram would add in one long chain; a reduction of each run alone does
    neither, so a device's result does not depend on its neighbours in the frame.

    Parameters
    ----------
    values : ndarray, shape (n,)
    group : ndarray of int64, shape (n,)
        Group of each value, 0 to n_groups - 1, ascending.
    n_groups : int

    Returns
    -------
    total : ndarray, shape (n_groups,)
        0 for a group without values.
    present : ndarray of bool, shape (n_groups,)
        Whether the group has a value.

    Examples
    --------
    >>> sum_by_group(np.array([1.0, 2.0, 4.0]), np.array([0, 0, 2]), 3)
    (array([3., 0., 4.]), array([ True, False,  True]))
    """
    total = np.zeros(n_groups)
    present = np.zeros(n_groups, dtype=np.bool_)
    if len(group):
        first = np.flatnonzero(np.concatenate(([True], group[1:] != group[:-1])))
        total[group[first]] = np.add.reduceat(values, first)
        present[group[first]] = True
    return total, present


@dataclass(frozen=True, slots=True)
class Overlaps:
    """Pairs of consecutive samples of one group, and the part of each that lies in the group's window.

    Attributes
    ----------
    later : ndarray of int64, shape (k,)
        Index of the later sample of each pair; the earlier one stands before it.
    group : ndarray of int64, shape (k,)
        Group of each pair.
    span_ms : ndarray of float64, shape (k,)
        From the earlier sample to the later one.
    low_ms, high_ms : ndarray of float64, shape (k,)
        Bounds of the part inside, counted from the earlier sample.
    """

    later: IntArray
    group: IntArray
    span_ms: FloatArray
    low_ms: FloatArray
    high_ms: FloatArray

    def take(self, which: NDArray[np.bool_]) -> Overlaps:
        """The pairs where `which` is true."""
        return Overlaps(
            self.later[which], self.group[which], self.span_ms[which], self.low_ms[which], self.high_ms[which]
        )


def overlaps(
    group: IntArray, t_ms: IntArray, start_ms: ArrayLike, end_ms: ArrayLike, n_groups: int
) -> Overlaps:
    """Consecutive pairs that share time with their group's window, in order.

    What lies wholly outside a window is not among them, so that a result does
    not depend on how much of the neighbourhood the caller holds.

    Parameters
    ----------
    group : ndarray of int64, shape (n,)
        Group of each sample, ascending.
    t_ms : ndarray of int64, shape (n,)
        Time of each sample, ascending within a group. [ms UTC]
    start_ms, end_ms : array_like of int, scalar or shape (n_groups,)
        The window of each group, [start, end). [ms UTC]
    n_groups : int

    Returns
    -------
    Overlaps
        Pairs of equal times are left out: nothing lies between them.
    """
    start = np.broadcast_to(np.asarray(start_ms, dtype=np.int64), (n_groups,))
    end = np.broadcast_to(np.asarray(end_ms, dtype=np.int64), (n_groups,))
    earlier_t, later_t, g = t_ms[:-1], t_ms[1:], group[1:]
    low = np.maximum(earlier_t, start[g])
    high = np.minimum(later_t, end[g])
    at = np.flatnonzero((low < high) & (group[:-1] == g))
    origin = earlier_t[at]
    return Overlaps(
        later=at + 1,
        group=g[at],
        span_ms=(later_t[at] - origin).astype(np.float64),
        low_ms=(low[at] - origin).astype(np.float64),
        high_ms=(high[at] - origin).astype(np.float64),
    )
