"""Liquid water for the test bench: its own tables, so that it shares none with what it scores."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "COLD_KG_M3",
    "CP_KJ_KG_K",
    "density_kg_m3",
    "density_of_h",
    "enthalpy_kj_kg",
    "temperature_c",
    "viscosity_pa_s",
]

Array = NDArray[np.float64]

CP_KJ_KG_K: Final = 4.19
"""Round heat capacity, for control laws and time constants only; balances use enthalpy. [kJ/(kg K)]"""

COLD_KG_M3: Final = 999.1
"""Density of water at 15 °C, as it is made up and booked. [kg/m³]"""

_R: Final = 0.461526  # specific gas constant of water, kJ/(kg K)
_PRESSURE_MPA: Final = 1.6
_LOW_C: Final = 0.01
_HIGH_C: Final = 180.0
# IAPWS-IF97, equation 7: exponents and coefficients of region 1.
_I: Final = np.array([0] * 8 + [1] * 6 + [2] * 5 + [3] * 3 + [4] * 3 + [5, 8, 8, 21, 23, 29, 30, 31, 32])
_J: Final = np.array([
    -2, -1, 0, 1, 2, 3, 4, 5, -9, -7, -1, 0, 1, 3, -3, 0, 1, 3, 17, -4, 0, 6, -5, -2, 10, -8, -11, -6,
    -29, -31, -38, -39, -40, -41,
])  # fmt: skip
_N: Final = np.array([
    0.14632971213167, -0.84548187169114, -3.756360367204, 3.3855169168385, -0.95791963387872,
    0.15772038513228, -0.016616417199501, 0.00081214629983568, 0.00028319080123804, -0.00060706301565874,
    -0.018990068218419, -0.032529748770505, -0.021841717175414, -5.283835796993e-05, -0.00047184321073267,
    -0.00030001780793026, 4.7661393906987e-05, -4.4141845330846e-06, -7.2694996297594e-16,
    -3.1679644845054e-05, -2.8270797985312e-06, -8.5205128120103e-10, -2.2425281908e-06,
    -6.5171222895601e-07, -1.4341729937924e-13, -4.0516996860117e-07, -1.2734301741641e-09,
    -1.7424871230634e-10, -6.8762131295531e-19, 1.4478307828521e-20, 2.6335781662795e-23,
    -1.1947622640071e-23, 1.8228094581404e-24, -9.3537087292458e-26,
])  # fmt: skip


def _region_1(t_c: Array) -> tuple[Array, Array]:
    """Density [kg/m³] and enthalpy [kJ/kg] of IF97 region 1 at 1.6 MPa."""
    t_k = t_c + 273.15
    pi = _PRESSURE_MPA / 16.53
    tau = 1386.0 / t_k[..., None]
    gamma_pi = -(_N * _I * (7.1 - pi) ** (_I - 1) * (tau - 1.222) ** _J).sum(-1)
    gamma_tau = (_N * _J * (7.1 - pi) ** _I * (tau - 1.222) ** (_J - 1)).sum(-1)
    volume = pi * gamma_pi * _R * t_k / (_PRESSURE_MPA * 1000.0)
    return 1.0 / volume, 1386.0 * gamma_tau * _R


_T_C: Final = np.linspace(_LOW_C, _HIGH_C, 1801)
_RHO, _H = _region_1(_T_C)
# Even steps of enthalpy make the way back a look-up by index, the inner loop of the pipe model.
_H_STEP: Final = 0.25
_H_GRID: Final = np.arange(_H[0], _H[-1], _H_STEP)
_T_OF_H: Final = np.interp(_H_GRID, _H, _T_C)
_RHO_OF_H: Final = np.interp(_H_GRID, _H, _RHO)


def density_kg_m3(t_c: ArrayLike) -> Array:
    """Density of water at 1.6 MPa, 0 to 180 °C, held beyond. [kg/m³].

    References
    ----------
    .. [1] IAPWS, Revised Release on the Industrial Formulation 1997, region 1.
    """
    return np.interp(np.asarray(t_c, dtype=np.float64), _T_C, _RHO)


def enthalpy_kj_kg(t_c: ArrayLike) -> Array:
    """Specific enthalpy of water at 1.6 MPa, 0 to 180 °C, held beyond (IF97 region 1). [kJ/kg]."""
    return np.interp(np.asarray(t_c, dtype=np.float64), _T_C, _H)


def _look_up(table: Array, h_kj_kg: ArrayLike) -> Array:
    position = (np.asarray(h_kj_kg, dtype=np.float64) - _H_GRID[0]) / _H_STEP
    position = np.minimum(np.maximum(position, 0.0), len(table) - 1.000001)  # np.clip takes longer
    index = position.astype(np.int64)
    low: Array = table[index]
    result: Array = low + (position - index) * (table[index + 1] - low)
    return result


def temperature_c(h_kj_kg: ArrayLike) -> Array:
    """Temperature of water at 1.6 MPa from its enthalpy: the inverse of `enthalpy_kj_kg`. [°C]."""
    return _look_up(_T_OF_H, h_kj_kg)


def density_of_h(h_kj_kg: ArrayLike) -> Array:
    """Density of water at 1.6 MPa from its enthalpy. [kg/m³]."""
    return _look_up(_RHO_OF_H, h_kj_kg)


def viscosity_pa_s(t_c: ArrayLike) -> Array:
    """Dynamic viscosity of water by Vogel's equation, within 2 % from 5 to 150 °C. [Pa s]."""
    viscosity: Array = 1e-3 * np.exp(
        -3.7188 + 578.919 / (np.asarray(t_c, dtype=np.float64) + 273.15 - 137.546)
    )
    return viscosity
