"""A coal yard: what lies in it by lots, first in first out, and whether its books close."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["closure_t", "misses_closure", "reclaimed_kg"]

FloatArray = NDArray[np.float64]


def closure_t(
    opening_t: ArrayLike, received_t: ArrayLike, burnt_t: ArrayLike, closing_t: ArrayLike
) -> FloatArray:
    """What the books have more than the yard, opening + receipts − burn − closing; NaN where one is unknown.

    Parameters
    ----------
    opening_t, received_t, burnt_t, closing_t : array_like, shape (n,)
        Stock at the beginning, what came, what was burnt, stock at the end. [t]

    Returns
    -------
    ndarray, shape (n,)
        Positive where coal is missing. [t]

    Examples
    --------
    >>> closure_t([100.0], [50.0], [60.0], [88.0])
    array([2.])
    """
    opening, received, burnt, closing = (
        np.asarray(x, dtype=np.float64) for x in (opening_t, received_t, burnt_t, closing_t)
    )
    return np.asarray(opening + received - burnt - closing)


def misses_closure(residual_t: ArrayLike, burnt_t: ArrayLike, most_pct: float = 0.5) -> NDArray[np.bool_]:
    """Whether books miss by more than `most_pct` of what was burnt; where nothing was, by anything at all.

    What is unknown misses nothing: it is unknown, and its own trouble.

    Examples
    --------
    >>> misses_closure([0.4, -0.6, 1.0, float("nan")], [100.0, 100.0, 0.0, 100.0])
    array([False,  True,  True, False])
    """
    residual, burnt = np.asarray(residual_t, dtype=np.float64), np.asarray(burnt_t, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        # A billionth of what is moved: sums of decimal fractions do not come out even.
        rounding = 1e-9 * np.maximum(np.abs(burnt), 1.0)
        return np.asarray(np.abs(residual) > most_pct / 100.0 * np.abs(burnt) + rounding)


def reclaimed_kg(lots_kg: ArrayLike, gone_from_kg: float, gone_to_kg: float) -> FloatArray:
    """What is taken of each lot while the total taken grows from one sum to another.

    A yard is reclaimed first in, first out: by the time that `gone_to_kg` are gone, the lots that came
    first are.

    Parameters
    ----------
    lots_kg : array_like, shape (n,)
        Lots in the order in which they came; the opening stock is the first. [kg]
    gone_from_kg, gone_to_kg : float
        All that was taken since the opening, before and after. [kg]

    Returns
    -------
    ndarray, shape (n,)
        Less in total than asked for where the yard has not so much. [kg]

    Examples
    --------
    >>> reclaimed_kg([100.0, 50.0, 50.0], 80.0, 160.0)
    array([20., 50., 10.])
    """
    ends = np.cumsum(np.asarray(lots_kg, dtype=np.float64))
    starts = np.concatenate(([0.0], ends[:-1]))
    taken = np.minimum(ends, gone_to_kg) - np.maximum(starts, gone_from_kg)
    return np.asarray(np.maximum(taken, 0.0), dtype=np.float64)
