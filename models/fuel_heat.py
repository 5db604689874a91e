"""From coal to heat: how long a yard lasts, how well it burns, and what a useful GJ costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

__all__ = [
    "HORIZON_H", "RISK", "Loads", "Reach", "Trips", "by_supplier", "cost_cny_gj", "days_left",
    "efficiency_pct", "heat_of_gj", "joined", "kg_per_gj", "reach", "steady_loads",
]  # fmt: skip

FloatArray = NDArray[np.float64]

HORIZON_H: Final = 24 * 180
"""How far ahead a yard is followed. [h]"""
RISK: Final = 0.1
"""Probability of being below the least stock at which the last safe hour is over."""
_FAR: Final = 7.0  # times from the median to P90: nine standard deviations
_Z_DECILE: Final = 1.2815515655446004  # standard deviations from the median to a decile


@dataclass(frozen=True, slots=True)
class Loads:
    """Heat that will be needed, hour by hour from now on; arrays of shape (h,). [kW]

    Attributes
    ----------
    p10_kw, p50_kw, p90_kw : ndarray
        Deciles of each hour's load.
    basis : str
        "forecast", "signature" or "recent": what most of it rests on beyond the first days.
    """

    p10_kw: FloatArray
    p50_kw: FloatArray
    p90_kw: FloatArray
    basis: str

    def cumulated_gj(self, name: str) -> FloatArray:
        """Heat needed until the end of each hour, by one of the deciles. [GJ]"""
        values: FloatArray = getattr(self, name)
        return np.cumsum(values) * 3.6e-3


def days_left(stock_gj: float, loads: Loads) -> tuple[float, float, float]:
    """Smallest D for which the heat of D days is what lies in the yard: P10, P50 and P90. [d]

    The loads of all hours are taken to err together, which a cold spell makes them do: P10 rests on the
    P90 of every hour. NaN where the loads do not reach so far.

    Examples
    --------
    >>> flat = Loads(np.full(480, 9e3), np.full(480, 1e4), np.full(480, 1.25e4), "recent")
    >>> [round(d, 2) for d in days_left(8640.0, flat)]
    [8.0, 10.0, 11.11]
    """
    few, middle, many = (_days(stock_gj, loads.cumulated_gj(name)) for name in ("p90_kw", "p50_kw", "p10_kw"))
    return few, middle, many


def _days(stock_gj: float, needed_gj: FloatArray) -> float:
    if not len(needed_gj) or np.isnan(needed_gj).any() or not stock_gj >= 0.0 or needed_gj[-1] < stock_gj:
        return float("nan")
    return float(np.interp(stock_gj, np.append(0.0, needed_gj), np.arange(len(needed_gj) + 1.0))) / 24.0


@dataclass(frozen=True, slots=True)
class Trips:
    """Coal on the road to a yard; arrays of shape (n,).

    Attributes
    ----------
    gj : ndarray
        Useful heat that each brings. [GJ]
    p10_h, p50_h, p90_h : ndarray
        Hours until it arrives; NaN where that cannot be told: such coal is not counted on.
    """

    gj: FloatArray
    p10_h: FloatArray
    p50_h: FloatArray
    p90_h: FloatArray

    def arrived_p(self, hours: FloatArray) -> FloatArray:
        """Probability that each has arrived by each of `hours`, shape (n, h): two halves of normal curves."""
        known = ~np.isnan(self.p50_h)
        middle = np.where(known, self.p50_h, np.inf)[:, None]
        low = np.nan_to_num(self.p50_h - self.p10_h)[:, None]
        high = np.nan_to_num(self.p90_h - self.p50_h)[:, None]
        apart = np.where(np.isinf(middle), -np.inf, hours[None, :] - np.where(np.isinf(middle), 0.0, middle))
        width = np.maximum(np.where(apart < 0.0, low, high) / _Z_DECILE, 1e-3)
        return np.asarray(ndtr(apart / width))


@dataclass(frozen=True, slots=True)
class Reach:
    """How long a yard lasts with what is on the road.

    Attributes
    ----------
    days : float
        Until it is empty by the middle of everything; NaN where that is beyond `HORIZON_H`. [d]
    below_min_p : float
        Greatest probability, over the hours of the next week, of being below the least stock.
    safe_h : float
        Hours until that probability passes 10 %; NaN where it does not within `HORIZON_H`.
    """

    days: float
    below_min_p: float
    safe_h: float


def reach(stock_gj: float, stock_u_gj: float, least_gj: float, loads: Loads, trips: Trips) -> Reach:
    """Follow the yard: what lies there and arrives, less the heat needed.

    Parameters
    ----------
    stock_gj, stock_u_gj : float
        Useful heat in the yard and its standard uncertainty. [GJ]
    least_gj : float
        Useful heat of the least stock. [GJ]
    loads : Loads
    trips : Trips

    Returns
    -------
    Reach

    Notes
    -----
    At each hour the yard is normal: its mean from the chances of every trip to have arrived, its variance
    from those, from the stock and from the loads, whose hours err together. The probability of having been
    below at any hour is at least the greatest of the hours' own.

    Examples
    --------
    >>> flat = Loads(np.full(480, 1e4), np.full(480, 1e4), np.full(480, 1e4), "recent")
    >>> none = Trips(*(np.empty(0) for _ in range(4)))
    >>> reach(8640.0, 0.0, 0.0, flat, none).days
    10.0
    """
    hours = np.arange(1.0, len(loads.p50_kw) + 1.0)
    arrived = _arrived_p(trips, hours)
    mean = stock_gj + trips.gj @ arrived - loads.cumulated_gj("p50_kw")
    spread = (loads.cumulated_gj("p90_kw") - loads.cumulated_gj("p10_kw")) / (2.0 * _Z_DECILE)
    variance = stock_u_gj**2 + trips.gj**2 @ (arrived * (1.0 - arrived)) + spread**2
    if np.isnan(mean).any() or not len(mean):
        return Reach(float("nan"), float("nan"), float("nan"))
    below = ndtr((least_gj - mean) / np.maximum(np.sqrt(variance), 1e-9))
    empty, risky = np.flatnonzero(mean <= 0.0), np.flatnonzero(below > RISK)
    return Reach(
        float(hours[empty[0]]) / 24.0 if len(empty) else float("nan"),
        float(below[: 7 * 24].max()),
        float(hours[risky[0]] - 1.0) if len(risky) else float("nan"),
    )


def _arrived_p(trips: Trips, hours: FloatArray) -> FloatArray:
    """As `Trips.arrived_p`; beyond the last arrival nothing changes any more."""
    last_h = np.max(
        trips.p50_h + _FAR * (trips.p90_h - trips.p50_h), where=~np.isnan(trips.p90_h), initial=0.0
    )
    near = int(min(len(hours), np.ceil(last_h) + 1))
    sure = np.repeat(~np.isnan(trips.p50_h)[:, None], len(hours) - near, axis=1)
    return np.hstack((trips.arrived_p(hours[:near]), sure.astype(np.float64)))


def kg_per_gj(burnt_kg: ArrayLike, heat_gj: ArrayLike) -> FloatArray:
    """Coal burnt for a GJ of metered heat; NaN where none was made. [kg/GJ]

    Examples
    --------
    >>> kg_per_gj(5430.0, 100.0)
    array(54.3)
    """
    burnt, heat = np.asarray(burnt_kg, dtype=np.float64), np.asarray(heat_gj, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(heat > 0.0, burnt / heat, np.nan)


def efficiency_pct(heat_gj: ArrayLike, burnt_kg: ArrayLike, q_mj_kg: ArrayLike) -> FloatArray:
    """Metered heat over the heat of the coal; NaN where none was burnt. [%]

    Parameters
    ----------
    heat_gj, burnt_kg : array_like
    q_mj_kg : array_like
        Net calorific value as received. [MJ/kg]

    Examples
    --------
    5,500 kcal/kg at 80 % are 54.3 kg/GJ:

    >>> efficiency_pct(100.0, 5428.0, 5500.0 * 0.0041868).round(1).item()
    80.0
    """
    heat, fired = np.broadcast_arrays(
        np.asarray(heat_gj, dtype=np.float64),
        np.asarray(burnt_kg, dtype=np.float64) * np.asarray(q_mj_kg, dtype=np.float64) * 1e-3,
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(fired > 0.0, 100.0 * heat / fired, np.nan))[()]


def heat_of_gj(kg: ArrayLike, q_mj_kg: ArrayLike) -> FloatArray:
    """Heat of coal of several lots, summed over the last axis; a lot of which there is nothing adds nothing.

    Examples
    --------
    >>> heat_of_gj([1000.0, 0.0], [20.0, float("nan")]), heat_of_gj([1000.0, 1.0], [20.0, float("nan")])
    (np.float64(20.0), np.float64(nan))
    """
    mass, q = np.broadcast_arrays(np.asarray(kg, dtype=np.float64), np.asarray(q_mj_kg, dtype=np.float64))
    return np.asarray(np.where(mass > 0.0, mass * q, 0.0).sum(axis=-1) * 1e-3)[()]


def cost_cny_gj(
    price_cny_t: ArrayLike,
    freight_cny_t: ArrayLike,
    loaded_kg: ArrayLike,
    received_kg: ArrayLike,
    q_mj_kg: ArrayLike,
    efficiency: ArrayLike,
    detention_cny: ArrayLike = 0.0,
) -> FloatArray:
    """Delivered cost of a useful GJ, after loss on the way, quality and the boiler. [CNY/GJ]

    (price · W_O + freight + detention) · 1000 / (W_D · Q · η): what is paid for is what was loaded.

    Examples
    --------
    >>> cost_cny_gj(600.0, 60.0, 30_000.0, 29_700.0, 21.0, 0.8).round(2).item()
    39.68
    """
    loaded, received = np.asarray(loaded_kg, dtype=np.float64), np.asarray(received_kg, dtype=np.float64)
    paid = (np.asarray(price_cny_t, dtype=np.float64) + np.asarray(freight_cny_t, dtype=np.float64)) * (
        loaded * 1e-3
    ) + np.asarray(detention_cny, dtype=np.float64)
    useful = received * np.asarray(q_mj_kg, dtype=np.float64) * np.asarray(efficiency, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(useful > 0.0, paid * 1e3 / useful, np.nan))[()]


def by_supplier(
    efficiency_pct: ArrayLike, share: ArrayLike, least_share_days: float = 1.0
) -> tuple[FloatArray, FloatArray]:
    """How each supplier's coal burns, beside the middle one: least squares of a day's efficiency on shares.

    By papers all coal is as good as it says. A lasting deficit of one supplier is weight or quality that no
    weighbridge can see. Boilers and meters are common to all, so only differences can be told; the middle
    supplier, by mass, stands for none.

    Parameters
    ----------
    efficiency_pct : array_like, shape (d,)
        Of days; NaN is left out. [%]
    share : array_like, shape (d, s)
        Of the heat fired, by supplier; rows add up to 1 at most.
    least_share_days : float
        A supplier with a smaller sum of shares is not judged.

    Returns
    -------
    residual_pct, u_pct : ndarray, shape (s,)
        Against the middle one, and its uncertainty (k = 2); NaN where the days do not tell suppliers apart.

    Examples
    --------
    >>> share = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.4, 0.3, 0.3]])
    >>> by_supplier([80.0, 80.0, 75.2, 78.56], share)[0].round(2) + 0.0
    array([ 0.,  0., -6.])
    """
    made, mixed = np.asarray(efficiency_pct, dtype=np.float64), np.asarray(share, dtype=np.float64)
    days = ~np.isnan(made) & ~np.isnan(mixed).any(axis=1)
    mass = mixed[days].sum(axis=0)
    judged = np.flatnonzero(mass >= least_share_days)
    nothing = np.full(mixed.shape[1], np.nan)
    # The rest stands together: it has to be in the sum, and is not worth a name.
    columns = np.column_stack((mixed[days][:, judged], 1.0 - mixed[days][:, judged].sum(axis=1)))
    if columns[:, -1].max(initial=0.0) < 1e-6:
        columns = columns[:, :-1]
    count = columns.shape[1]
    if not len(judged) or days.sum() <= count or np.linalg.matrix_rank(columns, tol=1e-3) < count:
        return nothing, nothing.copy()
    inverse = np.linalg.inv(columns.T @ columns)
    fitted = inverse @ columns.T @ made[days]
    left = made[days] - columns @ fitted
    variance = float(left @ left) / max(int(days.sum()) - count, 1) * np.diag(inverse)
    middle = _weighted_median(fitted[: len(judged)], mass[judged])
    residual, u = nothing, nothing.copy()
    residual[judged] = 100.0 * (fitted[: len(judged)] / middle - 1.0)
    u[judged] = 2.0 * 100.0 * np.sqrt(np.maximum(variance[: len(judged)], 0.0)) / middle
    return residual, u


def _weighted_median(values: FloatArray, weights: FloatArray) -> float:
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2.0)])


def steady_loads(mean_kw: float, sigma_kw: float, basis: str, hours: int = HORIZON_H) -> Loads:
    """Loads of which no hour is known apart: a mean and how it scatters from day to day.

    Examples
    --------
    >>> steady_loads(100.0, 0.0, "recent", 2).p90_kw
    array([100., 100.])
    """
    apart = _Z_DECILE * sigma_kw
    low, middle, high = (np.maximum(np.full(hours, mean_kw + by), 0.0) for by in (-apart, 0.0, apart))
    return Loads(low, middle, high, basis)


def joined(first: Sequence[FloatArray], then: Loads, basis: str) -> Loads:
    """Loads whose first hours are known better: `first` is p10, p50, p90 of those. [kW]"""
    low, middle, high = (
        np.concatenate((known, later))[: len(later)]
        for known, later in zip(first, (then.p10_kw, then.p50_kw, then.p90_kw), strict=True)
    )
    return Loads(low, middle, high, basis)
