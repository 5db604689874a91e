"""What a window operator is given: samples of a window with their neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.counter import window_increase
from models.integrate import integrate
from streams.core.rows import Rows, concat, edge_indices

__all__ = ["ClassSamples", "Samples", "window_rows"]

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ClassSamples:
    """Rows of one device class, sorted by (device, t), and the names of their value columns."""

    columns: tuple[str, ...]
    rows: Rows


class Samples:
    """Samples of one window of every device of a stream, for vectorised operators.

    Sorted by (device, t) within each class, repeats removed, with the nearest
    samples on each side of the window that hold each measurement.

    Parameters
    ----------
    start_ms, end_ms : int
        The window, [start, end). [ms UTC]
    classes : sequence of ClassSamples
        Classes have disjoint devices.

    Attributes
    ----------
    devices : ndarray of int64, shape (devices,)
        Index of each device that has a sample before the window's end.
    group : ndarray of int64, shape (n,)
        Place in `devices` of each sample's device.
    t : ndarray of int64, shape (n,)
        When each sample was taken. [ms UTC]
    """

    def __init__(self, start_ms: int, end_ms: int, classes: Sequence[ClassSamples]):
        self.start_ms = start_ms
        self.end_ms = end_ms
        self._classes = [c for c in classes if c.rows.n]
        device = np.concatenate([np.empty(0, np.int64), *(c.rows.device for c in self._classes)])
        self.t: IntArray = np.concatenate([np.empty(0, np.int64), *(c.rows.t for c in self._classes)])
        new = np.ones(len(device), dtype=bool)
        new[1:] = device[1:] != device[:-1]
        self.devices: IntArray = device[new]
        self.group: IntArray = np.cumsum(new) - 1

    @property
    def device(self) -> IntArray:
        """Device index of each sample, shape (n,)."""
        return self.devices[self.group]

    def __getitem__(self, measurement: str) -> FloatArray:
        """Values of one measurement, shape (n,); NaN where it was not taken."""
        parts = [
            c.rows.values[c.columns.index(measurement)]
            if measurement in c.columns
            else np.full(c.rows.n, np.nan)
            for c in self._classes
        ]
        return np.concatenate([np.empty(0), *parts])

    def integrate(self, value: FloatArray, *, gap_limit_ms: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Integrate `value` over the window by device, by trapezoid.

        Parameters
        ----------
        value : ndarray, shape (n,)
            A value a sample; NaN where it is not known.
        gap_limit_ms : array_like, shape (devices,)
            Samples further apart than this are not joined. [ms]

        Returns
        -------
        integral : ndarray, shape (devices,)
            [value · s]
        covered : ndarray, shape (devices,)
            Share of the window that was covered, 0 to 1.
        """
        return integrate(
            self.group,
            self.t,
            value,
            self.start_ms,
            self.end_ms,
            len(self.devices),
            np.asarray(gap_limit_ms, float),
        )

    def counter_increase(
        self, measurement: str, *, full_scale: FloatArray, max_rate_per_h: ArrayLike = np.nan
    ) -> FloatArray:
        """By how much a counter grew over the window by device, shape (devices,); NaN where not known.

        Resets, rollovers, exchanges (by the operating hours) and spikes add what
        `models.counter` says of them, never a negative.

        Parameters
        ----------
        measurement : str
        full_scale : ndarray, shape (devices,)
            Where the counter begins again at zero; NaN unknown. [unit of the counter]
        max_rate_per_h : array_like, shape (devices,)
            Faster growth is a spike; NaN unknown. [unit of the counter / h]
        """
        increase, known = window_increase(
            self.group,
            self.t,
            self[measurement],
            self.start_ms,
            self.end_ms,
            len(self.devices),
            full_scale,
            max_rate_per_h=max_rate_per_h,
            operating_h=self["operating_h"],
        )
        return np.where(known, increase, np.nan)

    def coverage(self, present: BoolArray, *, gap_limit_ms: ArrayLike) -> FloatArray:
        """Share of the window between samples that are `present`, within the gap limit, shape (devices,)."""
        value = np.where(present, 1.0, np.nan)
        return self.integrate(value, gap_limit_ms=gap_limit_ms)[1]


def window_rows(before: Rows, inside: Rows, after: Rows, columns: int, wanted: BoolArray) -> Rows:
    """Join a window's samples with the neighbours on each side.

    Parameters
    ----------
    before, after : Rows
        Candidates outside the window, sorted by (device, t); of `before` the
        last and of `after` the first that hold each measurement are kept.
    inside : Rows
        The window's own samples, sorted by (device, t), repeats removed.
    columns : int
        How many measurements the class has.
    wanted : ndarray of bool
        By device index: whose samples to give.

    Returns
    -------
    Rows
        Of the wanted devices that have a sample before the window's end, sorted by (device, t).
    """
    before, inside, after = (
        r if (mine := wanted[r.device]).all() else r.take(mine) for r in (before, inside, after)
    )
    before = before.take(edge_indices(before, last=True))
    known = np.zeros(len(wanted), dtype=bool)
    known[before.device] = True
    known[inside.device] = True
    after = after.take(known[after.device])
    after = after.take(edge_indices(after, last=False))
    rows = concat([before, inside, after], columns)
    order = np.argsort(rows.device, kind="stable")
    return rows.take(order)
