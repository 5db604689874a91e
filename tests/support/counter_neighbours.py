"""The readings of a counter that a window of it rests on."""

from __future__ import annotations

import numpy as np

__all__ = ["neighbourhood"]


def neighbourhood(t: np.ndarray, value: np.ndarray, start: int, end: int) -> np.ndarray:
    """Places of a window's own readings, of the nearest on either side, and of those that are not zero.

    Those are the last two and the first one; of a counter that falls there, the last four and the first three.
    """
    places = _nearest(t, value, start, end, 4, 3)
    falls = (np.diff(value[places]) < 0.0).any()
    return places if falls else _nearest(t, value, start, end, 2, 1)


def _nearest(t: np.ndarray, value: np.ndarray, start: int, end: int, back: int, on: int) -> np.ndarray:
    inside = np.flatnonzero((t >= start) & (t < end))
    before, after = np.flatnonzero(t < start), np.flatnonzero(t >= end)
    sides = [
        before[-back:],
        before[value[before] != 0.0][-back:],
        after[:on],
        after[value[after] != 0.0][:on],
    ]
    return np.unique(np.concatenate([inside, *sides]))
