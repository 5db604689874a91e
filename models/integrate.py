"""Integrals over time of what many devices sampled, by trapezoid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.grouped import overlaps, sum_by_group
from models.quality import too_fast

__all__ = ["integrate"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def integrate(
    group: IntArray,
    t_ms: IntArray,
    value: FloatArray,
    start_ms: ArrayLike,
    end_ms: ArrayLike,
    n_groups: int,
    gap_limit_ms: ArrayLike,
    *,
    steady: Sequence[tuple[FloatArray, float]] = (),
) -> tuple[FloatArray, FloatArray]:
    """Integrate each group's value over its window.

    Trapezoids between consecutive samples that are no further apart than the
    gap limit; linear in between at the window's edges. A window needs its own
    samples and the nearest one outside on either side; more of them, or other
    groups in the same call, change nothing, to the bit.

    Parameters
    ----------
    group : ndarray of int64, shape (n,)
        Group of each sample, ascending, 0 to n_groups - 1.
    t_ms : ndarray of int64, shape (n,)
        Ascending within a group. [ms UTC]
    value : ndarray, shape (n,)
        Sampled values; rows with NaN are left out. [any unit u]
    start_ms, end_ms : array_like of int, scalar or shape (n_groups,)
        Windows, [start, end). [ms UTC]
    n_groups : int
    gap_limit_ms : array_like, scalar or shape (n_groups,)
        Samples further apart are not joined; NaN (unknown) joins none. [ms]
    steady : sequence of (ndarray of shape (n,), float), optional
        Quantities that the value rests on, with the most that each can change
        in a minute: samples between which one changes faster are not joined.

    Returns
    -------
    integral : ndarray, shape (n_groups,)
        Over the covered part of the window; NaN where nothing is covered. [u s]
    covered : ndarray, shape (n_groups,)
        Share of the window that trapezoids cover, 0 to 1.

    Examples
    --------
    >>> t = np.array([0, 10, 20, 90]) * 1000
    >>> integrate(np.zeros(4, int), t, np.array([1.0, 3.0, 3.0, 9.0]), 0, 40_000, 1, 30_000)
    (array([50.]), array([0.5]))
    """
    keep = ~np.isnan(value)
    if not keep.all():
        group, t_ms, value = group[keep], t_ms[keep], value[keep]
        steady = [(quantity[keep], most) for quantity, most in steady]
    part = overlaps(group, t_ms, start_ms, end_ms, n_groups)
    limit = np.broadcast_to(np.asarray(gap_limit_ms, dtype=np.float64), (n_groups,))
    joined = part.span_ms <= limit[part.group]
    for quantity, most_per_min in steady:
        joined &= ~too_fast(quantity[part.later - 1], quantity[part.later], part.span_ms, most_per_min)
    if not joined.all():
        part = part.take(joined)

    width_ms = part.high_ms - part.low_ms
    # Where the middle of the part inside lies between the two samples: 1/2 if all of it is inside.
    middle = (part.low_ms + part.high_ms) / (2.0 * part.span_ms)
    before = value[part.later - 1]
    area = width_ms * (before + (value[part.later] - before) * middle)
    total, present = sum_by_group(area, part.group, n_groups)
    covered_ms, _ = sum_by_group(width_ms, part.group, n_groups)
    length_ms = np.asarray(end_ms, dtype=np.float64) - np.asarray(start_ms, dtype=np.float64)
    return np.where(present, total / 1000.0, np.nan), covered_ms / length_ms
