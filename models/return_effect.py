"""How much warmer each substation makes a network's return."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ReturnEffect", "rank_of", "return_effect"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ReturnEffect:
    """Effects on the network's return temperature; arrays of shape (devices,), NaN where unknown. [K]

    Attributes
    ----------
    effect_k : ndarray
        By how much it is warmer with the substation than it would be without it.
    gain_k : ndarray
        By how much it would fall if the substation took the same heat at the reference return.
    """

    effect_k: FloatArray
    gain_k: FloatArray


def return_effect(
    flow: ArrayLike, return_c: ArrayLike, excess: ArrayLike, return_ref_c: float | None = None
) -> ReturnEffect:
    r"""Effect of each on the mixed return, :math:`\bar T - \bar T_{-i} = m_i (T_i - \bar T_{-i}) / M`.

    At the reference return substation i needs :math:`m_i - m_{ex,i}` at :math:`T_{ref}`, the others stay as
    they are. Losses on the way are the same with and without it.

    Parameters
    ----------
    flow : array_like, shape (devices,)
        Water through each, in one unit, zero or more; of one with NaN here or in `return_c` nothing is
        said, and the others are mixed without it.
    return_c : array_like, shape (devices,)
        Return temperature of each, weighted by flow. [°C]
    excess : array_like, shape (devices,)
        Water beyond the heat's need (excess flow), in the same unit; NaN where unknown.
    return_ref_c : float, optional
        Return temperature that a good substation reaches. [°C]

    References
    ----------
    .. [1] S. Frederiksen, S. Werner, District Heating and Cooling (2013), ch. 8: excess flow, target return.

    Examples
    --------
    >>> found = return_effect([30.0, 10.0], [40.0, 60.0], [0.0, 5.0], 40.0)
    >>> found.effect_k, found.gain_k.round(2)
    (array([-15.,   5.]), array([0., 5.]))
    """
    water, back = np.asarray(flow, dtype=np.float64), np.asarray(return_c, dtype=np.float64)
    over = np.asarray(excess, dtype=np.float64)
    known = np.isfinite(water) & np.isfinite(back) & (water >= 0.0)
    mass, heat = np.where(known, water, 0.0), np.where(known, water * back, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = heat.sum() / mass.sum()
        without = (heat.sum() - heat) / (mass.sum() - mass)
        reference = np.nan if return_ref_c is None else return_ref_c
        needed = np.maximum(mass - over, 0.0)
        mended = (heat.sum() - heat + needed * reference) / (mass.sum() - mass + needed)
    return ReturnEffect(np.where(known, mean - without, np.nan), np.where(known, mean - mended, np.nan))


def rank_of(values: ArrayLike) -> FloatArray:
    """Rank from the largest, 1, on; of equal ones the earlier first; NaN of NaN.

    Examples
    --------
    >>> rank_of([3.0, np.nan, 7.0])
    array([ 2., nan,  1.])
    """
    size = np.asarray(values, dtype=np.float64)
    order = np.argsort(-size, kind="stable")  # NaN go last
    rank = np.full(len(size), np.nan)
    rank[order] = np.arange(1.0, len(size) + 1)
    return np.where(np.isnan(size), np.nan, rank)
