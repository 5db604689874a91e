"""Integrals over time of what many devices sampled, by trapezoid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.grouped import Overlaps, overlaps, sum_by_group
from models.quality import too_fast

__all__ = ["Joined", "integrate", "joined"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Joined:
    """Samples that are joined within their groups' windows: what integrals over the same ones share.

    Attributes
    ----------
    part : Overlaps
        The pairs that are joined.
    width_ms, middle : ndarray, shape (pairs,)
        How long the part inside is [ms], and where its middle lies between the two samples: 1/2 if all
        of it is inside.
    covered : ndarray, shape (n_groups,)
        Share of the window that trapezoids cover, 0 to 1; not to be written to.
    """

    part: Overlaps
    width_ms: FloatArray
    middle: FloatArray
    covered: FloatArray

    def integral(self, value: FloatArray) -> FloatArray:
        """Of `value`, one a sample, over the covered part; NaN where nothing is covered. [value · s]"""
        before = value[self.part.later - 1]
        area = self.width_ms * (before + (value[self.part.later] - before) * self.middle)
        total, present = sum_by_group(area, self.part.group, len(self.covered))
        return np.where(present, total / 1000.0, np.nan)


def joined(
    group: IntArray,
    t_ms: IntArray,
    start_ms: ArrayLike,
    end_ms: ArrayLike,
    n_groups: int,
    gap_limit_ms: ArrayLike,
    *,
    steady: Sequence[tuple[FloatArray, float]] = (),
) -> Joined:
    """Find the samples that `integrate` joins; parameters as there, without rows to leave out."""
    part = overlaps(group, t_ms, start_ms, end_ms, n_groups)
    limit = np.broadcast_to(np.asarray(gap_limit_ms, dtype=np.float64), (n_groups,))
    near = part.span_ms <= limit[part.group]
    for quantity, most_per_min in steady:
        near &= ~too_fast(quantity[part.later - 1], quantity[part.later], part.span_ms, most_per_min)
    if not near.all():
        part = part.take(near)
    width_ms = part.high_ms - part.low_ms
    middle = (part.low_ms + part.high_ms) / (2.0 * part.span_ms)
    covered_ms, _ = sum_by_group(width_ms, part.group, n_groups)
    length_ms = np.asarray(end_ms, dtype=np.float64) - np.asarray(start_ms, dtype=np.float64)
    covered = np.asarray(covered_ms / length_ms)
    covered.flags.writeable = False
    return Joined(part, width_ms, middle, covered)


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
    found = joined(group, t_ms, start_ms, end_ms, n_groups, gap_limit_ms, steady=steady)
    return found.integral(value), found.covered
