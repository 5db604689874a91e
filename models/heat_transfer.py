"""How hard an exchanger works: heat transfer by the log-mean difference of its ends."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["LEAST_APPROACH_K", "log_mean_k", "ua_kw_k"]

FloatArray = NDArray[np.float64]

LEAST_APPROACH_K: Final = 0.3
"""Nearer than this two ends cannot be told apart by what thermometers are off. [K]"""


def log_mean_k(first_k: ArrayLike, second_k: ArrayLike) -> FloatArray:
    r"""Log-mean temperature difference, :math:`(\Delta_1 - \Delta_2) / \ln(\Delta_1 / \Delta_2)`.

    Parameters
    ----------
    first_k, second_k : array_like
        Differences at the two ends. [K]

    Returns
    -------
    ndarray
        NaN where an end is not over 0.3 K. [K]

    References
    ----------
    .. [1] VDI Heat Atlas, C1.

    Examples
    --------
    >>> log_mean_k([20.0, 10.0, 0.1], [10.0, 10.0, 5.0]).round(3)
    array([14.427, 10.   ,    nan])
    """
    first, second = np.asarray(first_k, dtype=np.float64), np.asarray(second_k, dtype=np.float64)
    good = (first > LEAST_APPROACH_K) & (second > LEAST_APPROACH_K)
    first, second = (np.where(good, end, np.nan) for end in (first, second))
    quotient = first / second
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(np.abs(quotient - 1.0) < 1e-3, second, (first - second) / np.log(quotient))
    return np.asarray(mean)


def ua_kw_k(
    power_kw: ArrayLike, hot_c: ArrayLike, cold_c: ArrayLike, warm_c: ArrayLike, back_c: ArrayLike
) -> FloatArray:
    """Heat transfer of a counterflow exchanger, UA = P/ΔT_lm; NaN where no heat passes.

    Parameters
    ----------
    power_kw : array_like
        Heat that passes. [kW]
    hot_c, cold_c : array_like
        Primary supply and return. [°C]
    warm_c, back_c : array_like
        Secondary supply and return. [°C]

    Returns
    -------
    ndarray
        [kW/K]

    References
    ----------
    .. [1] VDI Heat Atlas, C1.

    Examples
    --------
    >>> ua_kw_k([1000.0, 0.0], [90.0, 90.0], [45.0, 45.0], [50.0, 50.0], [40.0, 40.0]).round(2)
    array([59.41,   nan])
    """
    power = np.asarray(power_kw, dtype=np.float64)
    ends = np.subtract(hot_c, warm_c), np.subtract(cold_c, back_c)
    return np.asarray(np.where(power > 0.0, power, np.nan) / log_mean_k(*ends))
