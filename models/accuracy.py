"""How far a heat meter may err, and what that makes of a measured heat."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "COVERAGE_FACTOR",
    "calculator_mpe_pct",
    "combined_expanded_uncertainty",
    "flow_mpe_pct",
    "heat_expanded_uncertainty",
    "increase_expanded_uncertainty",
    "temperature_pair_mpe_pct",
]

FloatArray = NDArray[np.float64]

COVERAGE_FACTOR: Final = 2.0
"""k of every expanded uncertainty."""

# Row 0 is no class; the quotient below is of the permanent flow over the flow.
_FLOW_BASE_PCT: Final = np.array([np.nan, 1.0, 2.0, 3.0])
_FLOW_SLOPE_PCT: Final = np.array([np.nan, 0.01, 0.02, 0.05])
_FLOW_MOST_PCT: Final = 5.0


def flow_mpe_pct(flow_m3_h: ArrayLike, qp_m3_h: ArrayLike, accuracy_class: ArrayLike) -> FloatArray:
    r"""Maximum permissible error of a flow sensor.

    :math:`1 + 0.01\,q_p/q`, :math:`2 + 0.02\,q_p/q` and :math:`3 + 0.05\,q_p/q` for classes 1, 2
    and 3, at most 5 %.

    Parameters
    ----------
    flow_m3_h : array_like
        Flow, zero or more. [m³/h]
    qp_m3_h : array_like
        Permanent flow of the meter. [m³/h]
    accuracy_class : array_like
        1, 2 or 3; NaN where unknown.

    Returns
    -------
    ndarray
        Plus or minus; 5 at no flow, NaN where an input is unknown, a flow is
        negative or the class is another. [%]

    References
    ----------
    .. [1] EN 1434-1 and OIML R 75-1, classes of flow sensors.

    Examples
    --------
    >>> flow_mpe_pct([10.0, 0.1], 10.0, [2, 2])
    array([2.02, 4.  ])
    """
    flow = np.asarray(flow_m3_h, dtype=np.float64)
    permanent = np.asarray(qp_m3_h, dtype=np.float64)
    number = np.asarray(accuracy_class, dtype=np.float64)
    row = np.where((number == 1.0) | (number == 2.0) | (number == 3.0), number, 0.0).astype(np.intp)
    usable = (flow >= 0.0) & (permanent > 0.0)
    flowing = usable & (flow > 0.0)
    turn_down = np.where(flowing, permanent, np.inf) / np.where(flowing, flow, 1.0)
    error = np.minimum(_FLOW_BASE_PCT[row] + _FLOW_SLOPE_PCT[row] * turn_down, _FLOW_MOST_PCT)
    return np.where(usable, error, np.nan)


def temperature_pair_mpe_pct(difference_k: ArrayLike, dt_min_k: ArrayLike) -> FloatArray:
    r"""Maximum permissible error of a sensor pair, :math:`0.5 + 3\,\Delta\Theta_{min}/\Delta\Theta`.

    Parameters
    ----------
    difference_k : array_like
        Supply minus return. [K]
    dt_min_k : array_like
        Least difference that the meter is approved for. [K]

    Returns
    -------
    ndarray
        Plus or minus; below the least difference the formula is continued, for
        the sensors' errors in kelvin stay what they are. NaN where an input is
        unknown or the difference is not above 0. [%]

    References
    ----------
    .. [1] EN 1434-1 and OIML R 75-1, temperature sensor pairs.

    Examples
    --------
    >>> temperature_pair_mpe_pct([40.0, 3.0], 3.0)
    array([0.725, 3.5  ])
    """
    return 0.5 + 3.0 * _least_share(difference_k, dt_min_k)


def calculator_mpe_pct(difference_k: ArrayLike, dt_min_k: ArrayLike) -> FloatArray:
    r"""Maximum permissible error of a calculator, :math:`0.5 + \Delta\Theta_{min}/\Delta\Theta`.

    Parameters
    ----------
    difference_k : array_like
        Supply minus return. [K]
    dt_min_k : array_like
        Least difference that the meter is approved for. [K]

    Returns
    -------
    ndarray
        Plus or minus; continued and NaN as in `temperature_pair_mpe_pct`. [%]

    References
    ----------
    .. [1] EN 1434-1 and OIML R 75-1, calculators.

    Examples
    --------
    >>> calculator_mpe_pct([40.0, 3.0], 3.0)
    array([0.575, 1.5  ])
    """
    return 0.5 + _least_share(difference_k, dt_min_k)


def heat_expanded_uncertainty(
    flow_m3_h: ArrayLike,
    qp_m3_h: ArrayLike,
    difference_k: ArrayLike,
    dt_min_k: ArrayLike,
    accuracy_class: ArrayLike,
) -> FloatArray:
    r"""Relative uncertainty (k = 2) of heat from a meter's class, :math:`2\sqrt{\sum (MPE_i/\sqrt 3)^2}`.

    The errors of flow sensor, temperature pair and calculator are taken as
    rectangular within their limits and independent. They are the meter's own
    and do not average down over time.

    Parameters
    ----------
    flow_m3_h : array_like
        Mean flow in the window. [m³/h]
    qp_m3_h : array_like
        Permanent flow of the meter. [m³/h]
    difference_k : array_like
        Mean difference of temperatures, supply minus return, weighted by flow. [K]
    dt_min_k : array_like
        Least difference that the meter is approved for. [K]
    accuracy_class : array_like
        1, 2 or 3; NaN where unknown.

    Returns
    -------
    ndarray
        Share of the heat, 0.026 for 2.6 %; NaN where a part of it is unknown. [1]

    References
    ----------
    .. [1] EN 1434-1, maximum permissible errors of the sub-assemblies.
    .. [2] JCGM 100:2008 (GUM), 4.3.7 (rectangular) and 5.1.2 (combination).

    Examples
    --------
    >>> heat_expanded_uncertainty([10.0], [10.0], [40.0], [3.0], [2]).round(4)
    array([0.0257])
    """
    squares = (
        flow_mpe_pct(flow_m3_h, qp_m3_h, accuracy_class) ** 2
        + temperature_pair_mpe_pct(difference_k, dt_min_k) ** 2
        + calculator_mpe_pct(difference_k, dt_min_k) ** 2
    )
    return np.asarray(COVERAGE_FACTOR * np.sqrt(squares / 3.0) / 100.0)


def increase_expanded_uncertainty(resolution: ArrayLike) -> FloatArray:
    r"""Uncertainty (k = 2) of what a counter rose by, from its least step alone, :math:`2\sqrt{2 r^2/12}`.

    Both readings are off by anything up to half a step, independently.

    Parameters
    ----------
    resolution : array_like
        Least step of the counter; NaN where it is not known. [unit u]

    Returns
    -------
    ndarray
        0 where the step is not known. [u]

    References
    ----------
    .. [1] JCGM 100:2008 (GUM), F.2.2.1 (resolution).

    Examples
    --------
    >>> increase_expanded_uncertainty([1.0, float("nan")]).round(4)
    array([0.8165, 0.    ])
    """
    return np.asarray(
        np.nan_to_num(COVERAGE_FACTOR * np.asarray(resolution, dtype=np.float64) / np.sqrt(6.0))
    )


def combined_expanded_uncertainty(
    systematic: ArrayLike, random: ArrayLike = 0.0, n: ArrayLike = 1.0, resolution: ArrayLike = 0.0
) -> FloatArray:
    r"""Uncertainty (k = 2) of one quantity, :math:`2\sqrt{u_{sys}^2 + u_{random}^2/n + r^2/12}`.

    Parameters
    ----------
    systematic : array_like
        Standard uncertainty that is the meter's own. [unit u]
    random : array_like
        Standard uncertainty of one sample. [u]
    n : array_like
        How many samples it averages over, 1 or more.
    resolution : array_like
        Least step of the reading. [u]

    Returns
    -------
    ndarray
        NaN where an input is unknown or n is below 1. [u]

    References
    ----------
    .. [1] JCGM 100:2008 (GUM), 5.1.2, F.2.2.1 (resolution).

    Examples
    --------
    >>> combined_expanded_uncertainty([3.0], [8.0], 4, 0.0)
    array([10.])
    """
    count = np.asarray(n, dtype=np.float64)
    averaged = np.asarray(random, dtype=np.float64) ** 2 / np.where(count >= 1.0, count, np.nan)
    own = np.asarray(systematic, dtype=np.float64) ** 2
    step = np.asarray(resolution, dtype=np.float64) ** 2 / 12.0
    return np.asarray(COVERAGE_FACTOR * np.sqrt(own + averaged + step))


def _least_share(difference_k: ArrayLike, dt_min_k: ArrayLike) -> FloatArray:
    difference = np.asarray(difference_k, dtype=np.float64)
    least = np.asarray(dt_min_k, dtype=np.float64)
    usable = (difference > 0.0) & (least > 0.0)
    return np.where(usable, least, np.nan) / np.where(usable, difference, 1.0)
