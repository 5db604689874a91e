"""The water balance of a closed network over a window, with its uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.accuracy import COVERAGE_FACTOR
from models.water import density_kg_m3

__all__ = [
    "BOOKED_PCT", "MAKEUP_PCT", "SWELLING_PCT", "TANK_PCT", "Booked", "Tank", "WaterBalance", "tank_swell",
    "water_balance",
]  # fmt: skip

FloatArray = NDArray[np.float64]

MAKEUP_PCT: Final = 2.0
"""A make-up meter may err by this, plus or minus, its own: ISO 4064-1, class 2, upper flow range. [%]"""
TANK_PCT: Final = 1.0
"""Content of a tank by its level: area as built, linearity of the transmitter; of a change. [%]"""
TANK_NOISE: Final = 2e-4
"""Standard deviation of one reading of the level over the content: repeatability of transmitters. [1]"""
SWELLING_PCT: Final = 5.0
"""Content of pipes as registered, their widening with temperature included; of what it swells by. [%]"""
BOOKED_PCT: Final = {"draw": 2.0, "flush": 10.0, "fill": 10.0, "drain": 10.0}
"""Volumes that people book: a draw-off is metered, the rest is timed or reckoned from pipes. [%]"""
RESOLUTION_M3: Final = 0.01

_RECTANGULAR: Final = 1.0 / (100.0 * np.sqrt(3.0))


@dataclass(frozen=True, slots=True)
class Booked:
    """Water that people took out of a network or filled into new pipes of it.

    Attributes
    ----------
    event : str
        `flush`, `fill`, `drain` or `draw`.
    volume_m3 : float
        Zero or more. [m³]
    """

    event: str
    volume_m3: float


@dataclass(frozen=True, slots=True)
class Tank:
    """The tanks of a network over a window; arrays of shape (tanks,).

    Attributes
    ----------
    rise_m3, level_m3 : ndarray
        By how much each one's content rose, and what it holds. [m³]
    coldest_c, warmest_c : float
        Its water comes from the make-up or from the return. [°C]
    """

    rise_m3: FloatArray
    level_m3: FloatArray
    coldest_c: float
    warmest_c: float


@dataclass(frozen=True, slots=True)
class WaterBalance:
    """Terms of a water balance, as volumes of make-up water. [m³]

    ``leak = makeup - authorised - storage - tank``; `leak_u_m3` is expanded (k = 2).
    """

    makeup_m3: float
    authorised_m3: float
    storage_m3: float
    tank_m3: float
    leak_m3: float
    leak_u_m3: float


def tank_swell(coldest_c: float, warmest_c: float, makeup_c: float) -> tuple[float, float]:
    """Make-up water that a cubic metre of the tank stands for, and the standard uncertainty of that.

    Anything between the two temperatures is as likely.
    """
    ends = density_kg_m3(np.array([coldest_c, warmest_c])) / float(density_kg_m3(makeup_c))
    return float(ends.mean()), float(np.ptp(ends) / np.sqrt(12.0))


def water_balance(
    makeup_m3: FloatArray,
    booked: Sequence[Booked],
    tank: Tank,
    stored_kg: float,
    stored_u_kg: float,
    makeup_c: float,
) -> WaterBalance:
    r"""Close the water balance of a network.

    :math:`leak = makeup - authorised - tank - storage` with
    :math:`storage = \sum V\,[\rho(t_1) - \rho(t_0)] / \rho_{makeup}`, which is mandatory: a network that
    cools takes up make-up water without a leak, 6.1e-4 of its content for each kelvin near 75 °C.

    Errors of meters are rectangular within their limits, their own, and independent of each other; they do
    not average down over the window. Levels scatter besides, at both ends of the window.

    Parameters
    ----------
    makeup_m3 : ndarray, shape (plants,)
        What each make-up meter counted. [m³]
    booked : sequence of Booked
    tank : Tank
    stored_kg, stored_u_kg : float
        By how much the mass in the pipes rose, and its standard uncertainty. [kg]
    makeup_c : float
        [°C]

    References
    ----------
    .. [1] ISO 4064-1, maximum permissible errors; JCGM 100:2008 (GUM), 4.3.7, 5.1.2 and 6.2 (k = 2).

    Examples
    --------
    >>> tank = Tank(np.array([-6.0]), np.array([50.0]), 15.0, 45.0)
    >>> b = water_balance(np.array([0.0]), [], tank, 6000.0, 170.0, 15.0)
    >>> round(b.leak_m3, 2), round(b.leak_u_m3, 2)
    (-0.03, 0.35)
    """
    density = float(density_kg_m3(makeup_c))
    swell, swell_u = tank_swell(tank.coldest_c, tank.warmest_c, makeup_c)
    rise = float(tank.rise_m3.sum())
    made_up, storage, risen = float(makeup_m3.sum()), stored_kg / density, rise * swell
    authorised = float(sum(b.volume_m3 for b in booked))
    leak = made_up - authorised - storage - risen
    shares = [BOOKED_PCT.get(b.event, max(BOOKED_PCT.values())) * b.volume_m3 for b in booked]
    squares = (
        ((MAKEUP_PCT * _RECTANGULAR * makeup_m3) ** 2).sum()
        + ((TANK_PCT * _RECTANGULAR * tank.rise_m3 * swell) ** 2).sum()
        + (swell_u * rise) ** 2
        + 2.0 * ((TANK_NOISE * tank.level_m3) ** 2).sum()
        + (stored_u_kg / density) ** 2
        + sum((share * _RECTANGULAR) ** 2 for share in shares)
        + 2.0 * (len(makeup_m3) + len(tank.rise_m3)) * RESOLUTION_M3**2 / 12.0
    )
    u = COVERAGE_FACTOR * float(np.sqrt(squares))
    return WaterBalance(made_up, authorised, storage, risen, leak, u)
