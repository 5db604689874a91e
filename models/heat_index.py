"""What a building takes for each square metre, made comparable between winters and towns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["INDOOR_C", "HeatIndex", "heat_index"]

FloatArray = NDArray[np.float64]

INDOOR_C: Final = 18.0
"""Room temperature that heating is due to reach. [°C]"""
_LEAST_K: Final = 5.0
"""Days closer to the room's temperature than this say more of sun and people than of the building. [K]"""
_LEAST_DAYS: Final = 14
_S_PER_DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class HeatIndex:
    """Heat by area in design weather; arrays of shape (devices,), NaN where unknown.

    Attributes
    ----------
    w_m2 : ndarray
        Load at the outdoor design temperature. [W/m²]
    gj_m2 : ndarray
        Heat of a standard season. [GJ/m²]
    """

    w_m2: FloatArray
    gj_m2: FloatArray


def heat_index(
    power_kw: ArrayLike,
    outdoor_c: ArrayLike,
    area_m2: ArrayLike,
    design_c: float | None = None,
    season_c: float | None = None,
    season_days: float | None = None,
) -> HeatIndex:
    r"""Normalise the heat of cold days, :math:`q = \frac{\sum Q}{A \sum (18 - T_o)}\,(18 - T_{design})`.

    Sums, not a mean of quotients: a mild day counts as little as it tells. Over a season the design
    temperature's place is taken by the mean of the standard season, for as long as it lasts.

    Parameters
    ----------
    power_kw : array_like, shape (days, devices)
        Mean load of each day; NaN where unknown. [kW]
    outdoor_c : array_like, shape (days,)
        Mean outdoor temperature of the day; NaN where unknown. [°C]
    area_m2 : array_like, shape (devices,)
        Heated floor area, NaN where unknown. [m²]
    design_c, season_c, season_days : float, optional
        Outdoor design temperature of the town, mean of its standard heating season, and that season's
        length. [°C], [°C], [d]

    Returns
    -------
    HeatIndex
        NaN with fewer than 14 known days at least 5 K colder than the room, without area, or without
        what the weather is compared with.

    References
    ----------
    .. [1] JGJ 132, energy efficiency test of heating systems; GB 50736 has design temperatures and seasons.

    Examples
    --------
    >>> cold = np.full(20, -2.0)
    >>> found = heat_index(np.full((20, 1), 400.0), cold, [10_000.0], -8.0, -1.0, 120.0)
    >>> found.w_m2.round(1), found.gj_m2.round(3)
    (array([52.]), array([0.394]))
    """
    power, outdoor = np.asarray(power_kw, dtype=np.float64), np.asarray(outdoor_c, dtype=np.float64)
    area = np.asarray(area_m2, dtype=np.float64)
    colder = (INDOOR_C - outdoor)[:, None]
    counts = np.isfinite(power) & (colder >= _LEAST_K)  # NaN is not
    days = counts.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        w_m2_k = 1000.0 * np.where(counts, power, 0.0).sum(axis=0) / np.where(counts, colder, 0.0).sum(axis=0)
        w_m2_k = np.where((days >= _LEAST_DAYS) & (area > 0.0), w_m2_k / area, np.nan)
    unknown = float("nan")
    at_design = unknown if design_c is None else INDOOR_C - design_c
    kelvin_days = unknown if season_c is None or season_days is None else (INDOOR_C - season_c) * season_days
    return HeatIndex(w_m2_k * at_design, w_m2_k * kelvin_days * _S_PER_DAY * 1e-9)
