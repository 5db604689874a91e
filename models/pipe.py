"""Heat that a buried pipe loses, and the temperature that is left at its end."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.water import heat_capacity_kj_kg_k

__all__ = [
    "DEFAULT_U_SHARE", "GROUND_K", "REGISTERED_U_SHARE", "default_u_w_m_k", "outlet_c", "pair_loss_kw",
]  # fmt: skip

FloatArray = NDArray[np.float64]

REGISTERED_U_SHARE: Final = 0.10
"""Standard uncertainty of a registered U, over itself: foam ages, soil dries and wets."""
DEFAULT_U_SHARE: Final = 0.25
"""Standard uncertainty of `default_u_w_m_k`, over itself: from series 1 to series 3, new to aged foam."""
GROUND_K: Final = 2.0
"""Standard uncertainty of a network's ground temperature: a yearly wave at 1 m against one number. [K]"""

_FOAM_W_M_K: Final = 0.027  # EN 253 allows 0.029 at 50 °C when new
_SOIL_W_M_K: Final = 1.5
_DEPTH_M: Final = 1.0  # to the pipe's axis
_FOAM_LEAST_M: Final = 0.026
_FOAM_OF_DIAMETER: Final = 0.15  # between series 1 and 2 from DN 50 to DN 400


def outlet_c(
    inlet_c: ArrayLike,
    ground_c: ArrayLike,
    mass_flow_kg_s: ArrayLike,
    length_m: ArrayLike,
    u_w_m_k: ArrayLike,
) -> FloatArray:
    r"""Steady temperature at a pipe's end, :math:`T_g + (T_{in} - T_g)\,e^{-UL/(\dot m c_p)}`.

    Parameters
    ----------
    inlet_c : array_like
        Temperature of the water that enters, 0 to 180. [°C]
    ground_c : array_like
        Temperature of the undisturbed ground. [°C]
    mass_flow_kg_s : array_like
        Mass flow, zero or more; with none the water takes the ground's temperature. [kg/s]
    length_m : array_like
        Length of the pipe. [m]
    u_w_m_k : array_like
        Heat loss of one metre of one pipe, about 0.2 for a pre-insulated DN 80. [W/(m K)]

    Returns
    -------
    ndarray
        Outlet temperature, the heat capacity being that at the inlet; NaN where an
        input is NaN, the inlet is outside 0 to 180 °C or a flow is negative. [°C]

    References
    ----------
    .. [1] S. Frederiksen, S. Werner, District Heating and Cooling, 2013, chapter 5.

    Examples
    --------
    >>> outlet_c([90.0], [8.0], [2.0], [500.0], [0.21]).round(2)
    array([88.98])
    """
    inlet = np.asarray(inlet_c, dtype=np.float64)
    ground = np.asarray(ground_c, dtype=np.float64)
    flow = np.asarray(mass_flow_kg_s, dtype=np.float64)
    loss_w_k = np.asarray(u_w_m_k, dtype=np.float64) * np.asarray(length_m, dtype=np.float64)
    flowing = flow > 0.0
    carried_w_k = np.where(flowing, flow, 1.0) * heat_capacity_kj_kg_k(inlet) * 1000.0
    share_left = np.where(flowing, np.exp(-loss_w_k / carried_w_k), 0.0)
    # Times the loss, so that an unknown length or U stays unknown without flow too.
    left = ground + (inlet - ground) * np.where(loss_w_k == 0.0, 1.0, share_left) + 0.0 * loss_w_k
    return np.where((flow >= 0.0) & np.isfinite(carried_w_k), left, np.nan)


def pair_loss_kw(
    supply_c: ArrayLike, return_c: ArrayLike, ground_c: ArrayLike, length_m: ArrayLike, u_w_m_k: ArrayLike
) -> FloatArray:
    r"""Heat that a pair of pipes loses, :math:`U\,L\,[(\bar T_s - T_g) + (\bar T_r - T_g)]`.

    Parameters
    ----------
    supply_c, return_c : array_like
        Mean temperatures of the water along each pipe. [°C]
    ground_c : array_like
        Temperature of the undisturbed ground. [°C]
    length_m : array_like
        Length of the pair. [m]
    u_w_m_k : array_like
        Heat loss of one metre of one pipe. [W/(m K)]

    Returns
    -------
    ndarray
        Loss, negative where the ground is warmer; NaN where an input is NaN. [kW]

    References
    ----------
    .. [1] EN 13941-1, heat loss of buried pipe pairs, without their mutual term.

    Examples
    --------
    >>> pair_loss_kw([90.0], [50.0], [8.0], [500.0], [0.21]).round(2)
    array([13.02])
    """
    ground = np.asarray(ground_c, dtype=np.float64)
    above = np.asarray(supply_c, dtype=np.float64) + np.asarray(return_c, dtype=np.float64) - 2.0 * ground
    loss_w_k = np.asarray(u_w_m_k, dtype=np.float64) * np.asarray(length_m, dtype=np.float64)
    return np.asarray(loss_w_k * above / 1000.0)


def default_u_w_m_k(inner_diameter_m: ArrayLike) -> FloatArray:
    r"""Heat loss of a pre-insulated pipe of which only the diameter is known.

    Foam and soil in series, :math:`U = 2\pi / [\ln(D/d)/\lambda_{foam} + \ln(4H/D)/\lambda_{soil}]`,
    with foam between series 1 and 2, 1 m deep. `DEFAULT_U_SHARE` is its standard uncertainty. Pipes in
    ducts, of mineral wool or wet ones lose more: theirs has to be registered.

    Parameters
    ----------
    inner_diameter_m : array_like
        Inner diameter of the steel pipe. [m]

    Returns
    -------
    ndarray
        Heat loss of one metre of one pipe; NaN where the diameter is NaN. [W/(m K)]

    References
    ----------
    .. [1] EN 13941-1, heat loss of buried pipes; EN 253, dimensions and foam.

    Examples
    --------
    >>> default_u_w_m_k([0.0825, 0.3127]).round(2)
    array([0.24, 0.4 ])
    """
    diameter = np.asarray(inner_diameter_m, dtype=np.float64)
    casing = diameter + 2.0 * (_FOAM_LEAST_M + _FOAM_OF_DIAMETER * diameter)
    foam = np.log(casing / diameter) / _FOAM_W_M_K
    soil = np.log(4.0 * np.maximum(_DEPTH_M, casing) / casing) / _SOIL_W_M_K
    return np.asarray(2.0 * np.pi / (foam + soil))
