"""Whether a heat calculator is set for the pipe that its flow meter is registered on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.accuracy import calculator_mpe_pct
from models.heat import heat_power_kw

__all__ = ["LEAST_DAYS", "Setting", "computed_heat_gj", "judged_setting"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

LEAST_DAYS: Final = 5
_NEEDED: Final = 18.0  # of twice a log likelihood ratio: one sound meter in 10,000 at a worst class
_FITS: Final = 6.6  # χ² of 1 at 99 %
_STEADY: Final = 0.5  # scatter from day to day over the effect
_LEAST: Final = 0.002  # means of a quarter of an hour, rounded, against each instant's


@dataclass(frozen=True, slots=True)
class Setting:
    """Verdict on calculators; arrays of shape (meters,).

    Attributes
    ----------
    wrong : ndarray of bool
    ratio : ndarray
        Counted over computed heat, less one; NaN where there are too few days.
    expected : ndarray
        What it would be were the calculator set for the other pipe.
    score : ndarray
        Twice the log likelihood ratio of the two over what is needed; negative where the setting is right.
    """

    wrong: BoolArray
    ratio: FloatArray
    expected: FloatArray
    score: FloatArray


def computed_heat_gj(
    volume_m3: ArrayLike, supply_c: ArrayLike, return_c: ArrayLike, on_supply: ArrayLike
) -> FloatArray:
    """Heat that a calculator set for a pipe counts for a volume at mean temperatures weighted by flow.

    Examples
    --------
    >>> computed_heat_gj([10.0, 10.0], [95.0, 95.0], [55.0, 55.0], [False, True]).round(4)
    array([1.653 , 1.6132])
    """
    volume = np.asarray(volume_m3, dtype=np.float64)
    # A volume is a flow of an hour, kWh are 3,600 kJ.
    return np.asarray(heat_power_kw(volume, supply_c, return_c, np.asarray(on_supply)) * 3600.0 * 1e-6)


def judged_setting(
    ratio: FloatArray, other: FloatArray, difference_k: FloatArray, dt_min_k: FloatArray
) -> Setting:
    r"""Which calculators multiply by the other pipe's density.

    Counted heat over computed heat is 1 but for the calculator's own error; set for the other pipe it is
    the quotient of the densities, 1.015 to 1.046, the further from 1 the wider the difference. The two are
    compared by likelihood, the calculator's error being normal with the variance of its limits and always the
    same. A ratio that scatters from day to day by more than half of the effect says nothing.

    Parameters
    ----------
    ratio : ndarray, shape (days, meters)
        Log of counted over computed heat of a day, NaN where not known.
    other : ndarray, shape (days, meters)
        The same were it set for the other pipe and exact.
    difference_k, dt_min_k : ndarray, shape (meters,)
        Supply minus return, and the least that the meter is approved for, NaN where unknown. [K]

    References
    ----------
    .. [1] EN 1434-1, heat coefficient and limits of calculators.
    """
    seen = ~np.isnan(ratio)
    days = seen.sum(axis=0)
    enough = days >= LEAST_DAYS
    some = np.maximum(days, 1)
    mean = np.where(seen, ratio, 0.0).sum(axis=0) / some
    apart = np.where(seen, other, 0.0).sum(axis=0) / some
    scatter = np.sqrt(np.where(seen, (ratio - mean) ** 2, 0.0).sum(axis=0) / np.maximum(days - 1, 1))
    own = calculator_mpe_pct(difference_k, np.where(np.isnan(dt_min_k), 10.0, dt_min_k)) / 100.0
    variance = np.nan_to_num(own, nan=0.03) ** 2 / 3.0 + scatter**2 / some + _LEAST**2
    likelier = (mean**2 - (mean - apart) ** 2) / variance
    fits = (mean - apart) ** 2 / variance <= _FITS
    steady = scatter <= _STEADY * np.abs(apart)
    score = np.where(enough, likelier / _NEEDED, np.nan)
    wrong = enough & fits & steady & (likelier >= _NEEDED)
    return Setting(
        wrong, np.where(enough, np.expm1(mean), np.nan), np.where(enough, np.expm1(apart), np.nan), score
    )
