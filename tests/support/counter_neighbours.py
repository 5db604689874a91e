"""The readings of a counter that a window of it rests on."""

from __future__ import annotations

import numpy as np

__all__ = ["neighbourhood"]


def neighbourhood(t: np.ndarray, value: np.ndarray, start: int, end: int) -> np.ndarray:
    """Places of a window's own readings, of the two before and the one after, and of those above zero."""
    inside = np.flatnonzero((t >= start) & (t < end))
    before, after = np.flatnonzero(t < start), np.flatnonzero(t >= end)
    sides = [before[-2:], before[value[before] != 0.0][-2:], after[:1], after[value[after] != 0.0][:1]]
    return np.unique(np.concatenate([inside, *sides]))
