"""Properties of liquid water, as heat meters use them."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.water_table import DENSITY_KG_M3, ENTHALPY_KJ_KG

__all__ = ["HIGHEST_C", "LOWEST_C", "density_kg_m3", "enthalpy_kj_kg", "heat_capacity_kj_kg_k"]

LOWEST_C: Final = 0.0
HIGHEST_C: Final = 180.0

_T_C: Final = np.arange(len(DENSITY_KG_M3), dtype=np.float64)
_RHO: Final = np.array(DENSITY_KG_M3)
_H: Final = np.array(ENTHALPY_KJ_KG)


def density_kg_m3(t_c: ArrayLike) -> NDArray[np.float64]:
    """Density of water at 1.6 MPa.

    Parameters
    ----------
    t_c : array_like
        Temperature, 0 to 180. [°C]

    Returns
    -------
    ndarray
        Density; NaN where the temperature is NaN or outside 0 to 180 °C. [kg/m³]

    References
    ----------
    .. [1] IAPWS R7-97 (IF97), region 1; linear between rows 1 K apart.

    Examples
    --------
    >>> density_kg_m3([20.0, 95.0]).round(2)
    array([998.89, 962.59])
    """
    return _between(t_c, _RHO)


def enthalpy_kj_kg(t_c: ArrayLike) -> NDArray[np.float64]:
    """Specific enthalpy of water at 1.6 MPa.

    Parameters
    ----------
    t_c : array_like
        Temperature, 0 to 180. [°C]

    Returns
    -------
    ndarray
        Enthalpy; NaN where the temperature is NaN or outside 0 to 180 °C. [kJ/kg]

    References
    ----------
    .. [1] IAPWS R7-97 (IF97), region 1; linear between rows 1 K apart.

    Examples
    --------
    >>> enthalpy_kj_kg([20.0, 95.0]).round(1)
    array([ 85.4, 399.2])
    """
    return _between(t_c, _H)


def heat_capacity_kj_kg_k(t_c: ArrayLike) -> NDArray[np.float64]:
    """Isobaric heat capacity, the slope of the enthalpy over 1 K about `t_c`.

    Parameters
    ----------
    t_c : array_like
        Temperature, 0 to 180. [°C]

    Returns
    -------
    ndarray
        Heat capacity; NaN where the temperature is NaN or outside 0 to 180 °C. [kJ/(kg K)]

    References
    ----------
    .. [1] IAPWS R7-97 (IF97), region 1.

    Examples
    --------
    >>> heat_capacity_kj_kg_k([60.0]).round(3)
    array([4.179])
    """
    t = np.asarray(t_c, dtype=np.float64)
    low = np.clip(t - 0.5, LOWEST_C, HIGHEST_C - 1.0)
    slope = enthalpy_kj_kg(low + 1.0) - enthalpy_kj_kg(low)
    return np.where((t >= LOWEST_C) & (t <= HIGHEST_C), slope, np.nan)


def _between(t_c: ArrayLike, values: NDArray[np.float64]) -> NDArray[np.float64]:
    t = np.asarray(t_c, dtype=np.float64)
    return np.asarray(np.interp(t, _T_C, values, left=np.nan, right=np.nan))
