"""Heat that water carries through a heat meter."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.measurements import known
from models.water import density_kg_m3, enthalpy_kj_kg, heat_capacity_kj_kg_k

__all__ = [
    "GJ_PER_KWH",
    "KW_S_PER_GJ",
    "excess_volume_m3",
    "heat_coefficient_mj_m3_k",
    "heat_power_kw",
    "most_flow_m3_h",
    "most_heat_gj_h",
    "on_supply_side",
]

GJ_PER_KWH: Final = 0.0036
KW_S_PER_GJ: Final = 1e6
"""Divide an integral of kW over seconds by this to have GJ."""

_MAX_FLOW_QP: Final = 2.0  # EN 1434 takes meters to q_s, at most 2 q_p
_MAX_GJ_PER_M3: Final = 0.65  # a cubic metre from 160 to 0 °C

# Below this difference the coefficient is taken from the heat capacity: the
# quotient of two differences would be rounding noise.
_SMALL_K: Final = 1e-3


def on_supply_side(mounting: ArrayLike) -> NDArray[np.bool_]:
    """Whether each flow meter sits on the supply pipe.

    Parameters
    ----------
    mounting : array_like of bool or of {"supply", "return"}
        Booleans (true on the supply pipe) pass through unchanged.

    Returns
    -------
    ndarray of bool

    Raises
    ------
    ValueError
        A word other than "supply" and "return"; where the mounting is unknown
        the caller decides, not this function.

    Examples
    --------
    >>> on_supply_side(["supply", "return"])
    array([ True, False])
    """
    words = np.asarray(mounting)
    if words.dtype == np.bool_:
        return words
    supply = np.asarray(words == "supply", dtype=np.bool_)
    wrong = ~(supply | np.asarray(words == "return", dtype=np.bool_))
    if wrong.any():
        msg = f"expected mounting 'supply' or 'return', got {str(words[wrong].flat[0])!r}"
        raise ValueError(msg)
    return supply


def heat_power_kw(
    flow_m3_h: ArrayLike, supply_c: ArrayLike, return_c: ArrayLike, mounting: ArrayLike
) -> NDArray[np.float64]:
    r"""Thermal power through a heat meter, :math:`P = q\,\rho(T_{meter})\,[h(T_s) - h(T_r)] / 3600`.

    Parameters
    ----------
    flow_m3_h : array_like, shape (n,)
        Volume flow at the meter, zero or more. [m³/h]
    supply_c, return_c : array_like, shape (n,)
        Water temperatures, 0 to 180. [°C]
    mounting : array_like of bool (true: on the supply pipe) or of {"supply", "return"}, shape (n,)
        The pipe that the flow meter sits on: it sets the density. Booleans are the fast form.

    Returns
    -------
    ndarray, shape (n,)
        Power; negative when the return is warmer. NaN where an input is NaN, a
        temperature is outside 0 to 180 °C or a flow is negative. [kW]

    Raises
    ------
    ValueError
        `mounting` holds a word other than "supply" and "return".

    References
    ----------
    .. [1] EN 1434-1, the heat coefficient; IAPWS-IF97 region 1 for density and enthalpy.

    Examples
    --------
    >>> heat_power_kw([12.0], [95.0], [55.0], ["return"]).round(1)
    array([551.])
    """
    flow = np.asarray(flow_m3_h, dtype=np.float64)
    supply = np.asarray(supply_c, dtype=np.float64)
    back = np.asarray(return_c, dtype=np.float64)
    density = density_kg_m3(np.where(on_supply_side(mounting), supply, back))
    power = flow * density * (enthalpy_kj_kg(supply) - enthalpy_kj_kg(back)) / 3600.0
    return np.where(flow >= 0.0, power, np.nan)


def most_flow_m3_h(qp_m3_h: ArrayLike) -> NDArray[np.float64]:
    """Largest flow that a meter passes: twice its nominal flow (EN 1434-1, q_s).

    Parameters
    ----------
    qp_m3_h : array_like, shape (n,)
        Nominal flow; NaN where unknown. [m³/h]

    Returns
    -------
    ndarray, shape (n,)
        Where the nominal flow is unknown, the largest that any meter may report. [m³/h]

    Examples
    --------
    >>> most_flow_m3_h([1.5, np.nan])
    array([3.e+00, 5.e+04])
    """
    qp = np.asarray(qp_m3_h, dtype=np.float64)
    return np.where(np.isnan(qp), float(known["flow_m3_h"].high or np.nan), _MAX_FLOW_QP * qp)


def most_heat_gj_h(qp_m3_h: ArrayLike) -> NDArray[np.float64]:
    """Largest heat that a meter can count in an hour: its largest flow, from 160 to 0 °C.

    Parameters
    ----------
    qp_m3_h : array_like, shape (n,)
        Nominal flow; NaN where unknown. [m³/h]

    Returns
    -------
    ndarray, shape (n,)
        Where the nominal flow is unknown, the largest that any meter may report. [GJ/h]

    Examples
    --------
    >>> most_heat_gj_h([1.5, np.nan])
    array([1.95e+00, 1.08e+04])
    """
    qp = np.asarray(qp_m3_h, dtype=np.float64)
    any_meter = GJ_PER_KWH * float(known["heat_kw"].high or np.nan)
    return np.where(np.isnan(qp), any_meter, _MAX_GJ_PER_M3 * _MAX_FLOW_QP * qp)


def heat_coefficient_mj_m3_k(
    supply_c: ArrayLike, return_c: ArrayLike, mounting: ArrayLike
) -> NDArray[np.float64]:
    r"""Heat coefficient, :math:`k = \rho(T_{meter})\,[h(T_s) - h(T_r)] / (T_s - T_r)`.

    Parameters
    ----------
    supply_c, return_c : array_like, shape (n,)
        Water temperatures, 0 to 180; where they agree, k is its limit there. [°C]
    mounting : array_like of bool (true: on the supply pipe) or of {"supply", "return"}, shape (n,)
        The pipe that the flow meter sits on.

    Returns
    -------
    ndarray, shape (n,)
        Coefficient; NaN where an input is NaN or a temperature is outside 0 to 180 °C. [MJ/(m³ K)]

    Raises
    ------
    ValueError
        `mounting` holds a word other than "supply" and "return".

    References
    ----------
    .. [1] EN 1434-1, annex A; IAPWS-IF97 region 1 for density and enthalpy.

    Examples
    --------
    >>> heat_coefficient_mj_m3_k([95.0, 95.0], [55.0, 55.0], ["return", "supply"]).round(4)
    array([4.1325, 4.0329])
    """
    supply = np.asarray(supply_c, dtype=np.float64)
    back = np.asarray(return_c, dtype=np.float64)
    difference = supply - back
    close = np.abs(difference) < _SMALL_K
    per_kelvin = np.where(
        close,
        heat_capacity_kj_kg_k((supply + back) / 2.0),
        (enthalpy_kj_kg(supply) - enthalpy_kj_kg(back)) / np.where(close, 1.0, difference),
    )
    density = density_kg_m3(np.where(on_supply_side(mounting), supply, back))
    return np.asarray(density * per_kelvin / 1000.0)


def excess_volume_m3(
    volume_m3: ArrayLike,
    heat_gj: ArrayLike,
    supply_c: ArrayLike,
    return_ref_c: ArrayLike,
    mounting: ArrayLike,
) -> NDArray[np.float64]:
    r"""Water beyond the heat's need, :math:`V_{ex} = V - E / [k\,(T_s - T_{r,ref})]`.

    Parameters
    ----------
    volume_m3 : array_like, shape (n,)
        Volume through the meter in the window. [m³]
    heat_gj : array_like, shape (n,)
        Heat delivered in the window. [GJ]
    supply_c : array_like, shape (n,)
        Flow-weighted supply temperature, 0 to 180. [°C]
    return_ref_c : array_like, shape (n,) or scalar
        Return temperature that a good substation reaches. [°C]
    mounting : array_like of bool (true: on the supply pipe) or of {"supply", "return"}, shape (n,)
        The pipe that the flow meter sits on.

    Returns
    -------
    ndarray, shape (n,)
        Excess volume, negative where the return is colder than the reference; NaN
        where an input is NaN or the supply is not above the reference. [m³]

    Raises
    ------
    ValueError
        `mounting` holds a word other than "supply" and "return".

    References
    ----------
    .. [1] S. Frederiksen, S. Werner, District Heating and Cooling, 2013: the excess flow method.

    Examples
    --------
    >>> excess_volume_m3([100.0], [12.0], [95.0], [45.0], ["return"]).round(1)
    array([42.2])
    """
    volume = np.asarray(volume_m3, dtype=np.float64)
    heat_mj = 1000.0 * np.asarray(heat_gj, dtype=np.float64)
    supply = np.asarray(supply_c, dtype=np.float64)
    reference = np.asarray(return_ref_c, dtype=np.float64)
    difference = supply - reference
    usable = difference > 0.0
    coefficient = heat_coefficient_mj_m3_k(supply, np.broadcast_to(reference, supply.shape), mounting)
    needed = heat_mj / (coefficient * np.where(usable, difference, 1.0))
    return np.where(usable, volume - needed, np.nan)
