r"""Trips from origin to destination: which receipt belongs to which load, and what was lost between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import nan, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.site import Place
from models.weighing import Ticket

__all__ = [
    "LONGEST_MS", "Loss", "distance_m", "lane_ms", "match", "mean_and_error", "too_fast", "transit_loss",
    "trucks_needed",
]  # fmt: skip

LONGEST_MS: Final = 5 * 86_400_000
"""A receipt later than this after a load is not of it; a load without one is lost. [ms]"""
EARTH_M: Final = 6_371_008.8
_DETOUR: Final = 1.25
"""Roads over straight lines: 1.2 to 1.4 in most countries (Ballou et al., Transp. Res. A 36 (2002) 843)."""
_PACE_M_S: Final = 14.0
"""Of a loaded truck, rests included: 50 km/h. [m/s]"""
_AT_ENDS_MS: Final = 3_600_000
_FASTEST_M_S: Final = 25.0
"""90 km/h: the limit for trucks on motorways. As the crow flies, over hours, none is so fast. [m/s]"""
MASS_WEIGHT: Final = 5.0
"""Cost of a load that differs from the receipt by all its mass, in units of ln(time over usual time)."""
OTHER_CONTRACT: Final = 1.0
LOADED_AGAIN: Final = 1.5
"""Cost of every other load of the truck between a load and its receipt: it had to be empty for that."""
STILL_OPEN: Final = 2.5
"""Cost of leaving a load without a receipt: that of one in twelve times the usual time, or a twelfth."""
_NEVER: Final = 1e6


@lru_cache(maxsize=4096)
def distance_m(a: Place, b: Place) -> float:
    """Great-circle distance between two places. [m]

    Examples
    --------
    >>> at = lambda lat, lon: Place("p", None, "mine", "", lat, lon, 100.0)
    >>> round(distance_m(at(39.0, 110.0), at(40.0, 110.0)) / 1000)
    111
    """
    lat_a, lat_b = np.radians(a.lat_deg), np.radians(b.lat_deg)
    d_lon = np.radians(b.lon_deg - a.lon_deg)
    h = np.sin((lat_b - lat_a) / 2) ** 2 + np.cos(lat_a) * np.cos(lat_b) * np.sin(d_lon / 2) ** 2
    return float(2.0 * EARTH_M * np.arcsin(np.sqrt(h)))


def lane_ms(origin: Place | None, destination: Place | None) -> float:
    """Usual time from the origin's gross to the destination's, by the distance; NaN where unknown. [ms]"""
    if origin is None or destination is None:
        return float("nan")
    return distance_m(origin, destination) * _DETOUR / _PACE_M_S * 1000.0 + _AT_ENDS_MS


def too_fast(origin: Place | None, destination: Place | None, took_ms: float) -> bool:
    """Whether a truck would have had to go faster than any can, in a straight line, fence to fence."""
    if origin is None or destination is None:
        return False
    way_m = distance_m(origin, destination) - origin.radius_m - destination.radius_m
    return way_m > _FASTEST_M_S * max(took_ms, 0.0) / 1000.0


def match(
    loads: Sequence[Ticket], receipts: Sequence[Ticket], usual_ms: Callable[[Ticket, Ticket], float]
) -> dict[int, int]:
    r"""Which receipt belongs to which load of one truck, each to at most one.

    The assignment with the least sum of
    :math:`|\ln(\tau/\tau_{lane})| + \lambda\,|W_O - W_D|/W_O`, more for another contract and where the
    truck was loaded again in between; a load may stay open at a fixed cost [1]_.

    Parameters
    ----------
    loads : sequence of Ticket
        Of the origin, of one truck.
    receipts : sequence of Ticket
        Of the destination.
    usual_ms : callable
        Usual time from a load to a receipt, by their places; NaN lets any time do. [ms]

    Returns
    -------
    dict
        Place of the receipt by place of the load.

    References
    ----------
    .. [1] H. W. Kuhn, The Hungarian method for the assignment problem, Naval Res. Log. 2 (1955) 83;
       `scipy.optimize.linear_sum_assignment`.
    """
    if not loads or not receipts:
        return {}
    cost = np.full((len(loads), len(receipts) + len(loads)), STILL_OPEN)
    cost[:, : len(receipts)] = _costs(loads, receipts, usual_ms)
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415  10 MB that a heat network never needs

    rows, columns = linear_sum_assignment(cost)
    return {
        int(i): int(j)
        for i, j in zip(rows, columns, strict=True)
        if j < len(receipts) and cost[i, j] < STILL_OPEN
    }


def _costs(
    loads: Sequence[Ticket], receipts: Sequence[Ticket], usual_ms: Callable[[Ticket, Ticket], float]
) -> NDArray[np.float64]:
    at, until = (np.array([t.loaded_ms for t in x], np.float64) for x in (loads, receipts))
    took = until[None, :] - at[:, None]
    can = (took > 0.0) & (took <= LONGEST_MS)
    usual = np.full(took.shape, np.nan)
    for i, j in zip(*(x.tolist() for x in np.nonzero(can)), strict=True):
        usual[i, j] = usual_ms(loads[i], receipts[j])
    net, back = (
        np.array([float("nan") if t.net_kg is None else t.net_kg for t in x], np.float64)
        for x in (loads, receipts)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        by_time = np.nan_to_num(np.abs(np.log(took / usual)), nan=0.0, posinf=0.0)
        by_mass = np.nan_to_num(np.abs(net[:, None] - back[None, :]) / net[:, None], nan=0.0, posinf=0.0)
    contract, other = (np.array([_contract(t) for t in x], object) for x in (loads, receipts))
    cost = by_time + MASS_WEIGHT * by_mass + OTHER_CONTRACT * (contract[:, None] != other[None, :])
    before = np.searchsorted(np.sort(at), until, side="left")
    between = before[None, :] - np.searchsorted(np.sort(at), at, side="right")[:, None]
    cost += LOADED_AGAIN * np.maximum(between, 0)
    return np.where(can, cost, _NEVER)


def _contract(ticket: Ticket) -> str:
    weighing = ticket.gross or ticket.tare
    return weighing.contract if weighing is not None else ""


@dataclass(frozen=True, slots=True)
class Loss:
    """What was lost of a load on its way.

    Attributes
    ----------
    share : float
        Of the load, at the origin's moisture; negative is a gain.
    share_u : float
        Expanded uncertainty, k = 2.
    real_kg, moisture_kg : float
        Parts of the difference of the masses: what is gone, and what dried off (negative: water gained). [kg]
    """

    share: float
    share_u: float
    real_kg: float
    moisture_kg: float


SIGMA_MASS_KG: Final = 20.0
"""Standard uncertainty of a net mass: one scale interval of a weighbridge (OIML R 76, class III). [kg]"""
SIGMA_MOISTURE: Final = 0.5
"""Standard uncertainty of a total moisture, sampling included (ISO 18283, GB/T 475). [points]"""
SIGMA_UNKNOWN_MOISTURE: Final = 1.0
"""Of the change of the moisture where a laboratory's result lacks. [points]"""


def transit_loss(
    loaded_kg: float,
    received_kg: float,
    moisture_origin_pct: float | None = None,
    moisture_destination_pct: float | None = None,
) -> Loss:
    r"""Transit loss of a load at the origin's moisture, with its uncertainty.

    :math:`W_D' = W_D (100 - M_D)/(100 - M_O)`, :math:`L = 1 - W_D'/W_O`,
    :math:`\sigma_L^2 \approx (\sigma_O^2 + \sigma_D^2)/W^2 + (\sigma_{MO}^2 + \sigma_{MD}^2)/(100 - M)^2`
    [1]_.

    Parameters
    ----------
    loaded_kg, received_kg : float
        Net masses; loaded over 0. [kg]
    moisture_origin_pct, moisture_destination_pct : float, optional
        Total moisture as received, 0 to under 100; without both the masses alone are compared, and the
        uncertainty is that of a moisture that may have changed by a point. [%]

    Returns
    -------
    Loss
        All NaN where nothing was loaded or a moisture is outside its range.

    References
    ----------
    .. [1] First-order propagation (JCGM 100:2008, 5.1.2) of the dry matter's balance, masses and moistures
       independent; GB/T 18666 for the sampling of commercial coal.

    Examples
    --------
    >>> loss = transit_loss(30_000.0, 29_700.0, 10.0, 10.0)
    >>> round(loss.share, 4), round(loss.share_u / 2.0, 4)
    (0.01, 0.0079)
    >>> round(transit_loss(30_000.0, 29_700.0, 11.0, 10.0).share, 4)
    -0.0011
    """
    known = [m for m in (moisture_origin_pct, moisture_destination_pct) if m is not None]
    if not loaded_kg > 0.0 or not all(0.0 <= m < 100.0 for m in known):
        return Loss(nan, nan, nan, nan)
    if moisture_origin_pct is None or moisture_destination_pct is None:
        dry, moisture, sigma_m = 1.0, 0.0, SIGMA_UNKNOWN_MOISTURE
    else:
        dry = (100.0 - moisture_destination_pct) / (100.0 - moisture_origin_pct)
        moisture = (moisture_origin_pct + moisture_destination_pct) / 2.0
        sigma_m = sqrt(2.0) * SIGMA_MOISTURE
    at_origin_kg = received_kg * dry
    variance = 2.0 * SIGMA_MASS_KG**2 / loaded_kg**2 + (sigma_m / (100.0 - moisture)) ** 2
    return Loss(
        1.0 - at_origin_kg / loaded_kg,
        2.0 * sqrt(variance),
        loaded_kg - at_origin_kg,
        at_origin_kg - received_kg,
    )


def trucks_needed(deviation: float, sigma: float, certainty: float = 3.0) -> float:
    """How many trucks a verdict needs for a mean to deviate by `certainty` standard errors; inf without one.

    Examples
    --------
    >>> trucks_needed(0.004, 0.0084)
    40.0
    """
    if not deviation > 0.0:
        return float("inf")
    return float(np.ceil((certainty * sigma / deviation) ** 2))


def mean_and_error(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean of values, scatter of one, and standard error of the mean; NaN for what so few cannot say."""
    n = len(values)
    mean = float(np.mean(values)) if n else float("nan")
    sigma = float(np.std(values, ddof=1)) if n > 1 else float("nan")
    return mean, sigma, sigma / sqrt(n) if n > 1 else float("nan")
