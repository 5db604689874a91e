"""Heat that arrives in a secondary loop, by a flow meter and two sensors that are no heat meter."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["SECONDARY_FLOW_PCT", "secondary_heat_u", "sensor_mpe_k"]

FloatArray = NDArray[np.float64]

SECONDARY_FLOW_PCT: Final = 5.0
"""A secondary flow meter of unknown class, at most: what EN 1434-1 allows of the worst. [%]"""
_PIPE_PCT: Final = 1.0  # nobody registers on which pipe it sits: densities at 60 and 40 °C
_SENSOR: Final = (0.30, 0.005)


def sensor_mpe_k(temperature_c: ArrayLike) -> FloatArray:
    """How far a single sensor of class B may err, ±(0.30 + 0.005 t). [K]

    Parameters
    ----------
    temperature_c : array_like
        [°C]

    References
    ----------
    .. [1] EN 60751, tolerance classes of platinum resistance thermometers.

    Examples
    --------
    >>> sensor_mpe_k([0.0, 60.0])
    array([0.3, 0.6])
    """
    return _SENSOR[0] + _SENSOR[1] * np.abs(np.asarray(temperature_c, dtype=np.float64))


def secondary_heat_u(supply_c: ArrayLike, return_c: ArrayLike) -> FloatArray:
    r"""Standard uncertainty of secondary heat, over itself.

    Flow ± 5 %, the unknown pipe of its meter ± 1 %, and sensors that are no pair, each off by its own
    tolerance: at a spread of 10 K they alone make 4 %. All are rectangular.

    Parameters
    ----------
    supply_c, return_c : array_like
        [°C]

    Returns
    -------
    ndarray
        NaN where an input is NaN or the supply is not the warmer. [1]

    References
    ----------
    .. [1] EN 1434-1; EN 60751; JCGM 100:2008 (GUM), 4.3.7.

    Examples
    --------
    >>> secondary_heat_u([55.0], [42.0]).round(3)
    array([0.045])
    """
    hot, cold = np.asarray(supply_c, dtype=np.float64), np.asarray(return_c, dtype=np.float64)
    spread = np.where(hot > cold, hot - cold, np.nan)
    squares = (SECONDARY_FLOW_PCT**2 + _PIPE_PCT**2) / 1e4
    squares = squares + (sensor_mpe_k(hot) ** 2 + sensor_mpe_k(cold) ** 2) / spread**2
    return np.asarray(np.sqrt(squares / 3.0))
