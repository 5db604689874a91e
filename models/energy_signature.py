r"""Energy signature: how much heat a building takes at an outdoor temperature.

The change-point model of ASHRAE's inverse modelling toolkit,
:math:`Q = Q_{base} + H\,\max(T_b - T_o, 0)`, for many devices at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["BALANCES_C", "MIN_DAYS", "MIN_SPREAD_K", "Signature", "fit_signature", "signature_power_kw"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

BALANCES_C: Final = (6.0, 22.0, 0.5)
"""First, last and step of the balance temperatures that are tried. [°C]"""
MIN_DAYS: Final = 14
"""Known days that a signature needs: two weeks, so that no weekday weighs more than another."""
MIN_SPREAD_K: Final = 4.0
"""How far apart a tenth of the coldest and a tenth of the warmest days have to be. [K]"""

_COARSE: Final = 4  # of the balance temperatures one in so many is tried first
_HUBER: Final = 1.345  # 95 % efficient where errors are normal
_MAD: Final = 1.4826  # of a normal distribution: its standard deviation over its median deviation
_STEPS: Final = 5
_ROUGH_STEPS: Final = 2
_OFF: Final = 0.02  # of the load of a cold day: less is a device that is shut off
_SURE: Final = 4.0  # standard errors that the slope has to be above zero
_CHUNK: Final = 512  # devices at a time: their days stay in the processor's cache


@dataclass(frozen=True, slots=True)
class Signature:
    """Signatures of devices; arrays of shape (devices,), NaN where `reason` says why.

    Attributes
    ----------
    base_kw : ndarray
        Load that does not go with the weather: hot water, losses of pipes. [kW]
    slope_kw_k : ndarray
        Load for each kelvin below the balance temperature. [kW/K]
    balance_c : ndarray
        Outdoor temperature from which on nothing is heated. [°C]
    sigma_kw : ndarray
        Standard deviation of a day's mean load about the signature, robust. [kW]
    days : ndarray of int64
        Days that it rests on.
    reason : ndarray of object (str)
        Empty; or `no_outdoor` (no day with outdoor temperature), `few_days`, `no_heat` (nothing was
        taken on any of them), `no_spread` (all about as cold), `flat` (load does not go with the weather).
    """

    base_kw: FloatArray
    slope_kw_k: FloatArray
    balance_c: FloatArray
    sigma_kw: FloatArray
    days: NDArray[np.int64]
    reason: NDArray[np.object_]


def signature_power_kw(
    base_kw: ArrayLike, slope_kw_k: ArrayLike, balance_c: ArrayLike, outdoor_c: ArrayLike
) -> FloatArray:
    """Load at an outdoor temperature by a signature; inputs are broadcast together. [kW]

    Examples
    --------
    >>> signature_power_kw(4.0, 1.2, 15.0, [-5.0, 10.0, 20.0])
    array([28., 10.,  4.])
    """
    below = np.maximum(np.asarray(balance_c) - np.asarray(outdoor_c), 0.0)
    return np.asarray(np.asarray(base_kw) + np.asarray(slope_kw_k) * below, dtype=np.float64)


def fit_signature(power_kw: ArrayLike, outdoor_c: ArrayLike) -> Signature:
    r"""Fit the signature of each device to its days.

    The balance temperature is found on a grid, 6 to 22 °C by 0.5 K; at each, :math:`Q_{base}` and
    :math:`H` by Huber's loss (k = 1.345, scale by the median deviation), :math:`Q_{base} \ge 0`. Where
    several do equally well, as when it was never warm, the highest stands. Days on which a device was shut
    off (below 2 % of a cold day's load) though it had been heated on warmer ones are left out.

    Parameters
    ----------
    power_kw : array_like, shape (days, devices)
        Mean load of each day; NaN where unknown. [kW]
    outdoor_c : array_like, shape (days,) or (days, devices)
        Mean outdoor temperature of the day, -60 to 55; NaN where unknown. [°C]

    References
    ----------
    .. [1] J. K. Kissock, J. S. Haberl, D. E. Claridge, Inverse Modeling Toolkit: numerical algorithms,
       ASHRAE Transactions 109 (2003) 425.
    .. [2] P. J. Huber, Robust estimation of a location parameter, Annals of Mathematical Statistics 35
       (1964) 73.

    Examples
    --------
    >>> outdoor = np.linspace(-10.0, 20.0, 31)
    >>> found = fit_signature(signature_power_kw(4.0, 1.2, 15.0, outdoor)[:, None], outdoor)
    >>> found.base_kw.round(3), found.slope_kw_k.round(3), found.balance_c
    (array([4.]), array([1.2]), array([15.]))
    """
    power = np.asarray(power_kw, dtype=np.float64)
    outdoor = np.asarray(outdoor_c, dtype=np.float64)
    if power.ndim != 2 or outdoor.shape not in {power.shape, power.shape[:1]}:
        msg = (
            f"expected power (days, devices) and outdoor (days,) or alike, got {power.shape}, {outdoor.shape}"
        )
        raise ValueError(msg)
    outdoor = np.where(np.abs(outdoor) < 100.0, outdoor, np.nan)
    devices = power.shape[1]
    parts = [
        _fit(
            power[:, at : at + _CHUNK],
            outdoor[:, at : at + _CHUNK] if outdoor.ndim == 2 else outdoor[:, None],
        )
        for at in range(0, max(devices, 1), _CHUNK)
    ]
    return Signature(*(np.concatenate([getattr(p, name) for p in parts]) for name in Signature.__slots__))


@dataclass(frozen=True, slots=True)
class _Lines:
    """A line each device for one balance temperature, and its residuals (days, devices), 0 where unknown."""

    base: FloatArray
    slope: FloatArray
    slope_u: FloatArray
    residual: FloatArray


def _fit(power: FloatArray, outdoor: FloatArray) -> Signature:
    outdoor = np.broadcast_to(outdoor, power.shape)
    known = np.isfinite(power) & ~np.isnan(outdoor)
    reason = _lacking(power, outdoor, known)
    known &= ~_shut_off(power, outdoor, known)
    load = np.where(known, power, 0.0)
    days = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        balance, scale = _coarse(load, outdoor, known)
        balance = _fine(load, outdoor, known, balance, scale)
        lines = _lines(load, outdoor, known, balance, scale)
        sigma = _MAD * _median_abs(lines.residual, known)
    flat = ~(lines.slope > _SURE * lines.slope_u) | ~(lines.base >= 0.0)
    reason = np.where((reason == "") & (days < MIN_DAYS), "few_days", reason)
    reason = np.where((reason == "") & flat, "flat", reason)
    told = reason == ""
    base, slope, balance, sigma = (
        np.where(told, v, np.nan) for v in (lines.base, lines.slope, balance, sigma)
    )
    return Signature(base, slope, balance, sigma, days.astype(np.int64), reason)


def _lacking(power: FloatArray, outdoor: FloatArray, known: BoolArray) -> NDArray[np.object_]:
    """Why a device's days cannot tell a signature, as far as that can be seen before it is fitted."""
    reason = np.full(power.shape[1], "", dtype=object)
    cold, warm = _span(np.where(known, outdoor, np.nan), (10.0, 90.0))
    reason[~(warm - cold >= MIN_SPREAD_K)] = "no_spread"
    reason[~(np.where(known, power, 0.0).max(axis=0, initial=0.0) > 0.0)] = "no_heat"
    reason[known.sum(axis=0) < MIN_DAYS] = "few_days"
    reason[np.isnan(outdoor).all(axis=0)] = "no_outdoor"
    return reason


def _shut_off(power: FloatArray, outdoor: FloatArray, known: BoolArray) -> BoolArray:
    """Days without load though it was no warmer than on days with it."""
    (cold_load,) = _span(np.where(known, power, np.nan), (90.0,))
    off = known & ~(np.where(known, power, 0.0) > _OFF * cold_load)
    warmest = np.where(known & ~off, outdoor, -np.inf).max(axis=0, initial=-np.inf)
    return np.asarray(off & (np.where(known, outdoor, np.inf) <= warmest))


def _coarse(load: FloatArray, outdoor: FloatArray, known: BoolArray) -> tuple[FloatArray, FloatArray]:
    """The balance temperature of the least mean deviation among a few, and the scale of errors there."""
    first, last, step = BALANCES_C
    found = np.full(load.shape[1], first)
    least = np.full(load.shape[1], np.inf)
    plain, scale = np.full((2, load.shape[1]), np.inf)
    floor = 1e-9 * np.abs(load).max(axis=0, initial=0.0) + 1e-12
    for candidate in np.arange(first, last + step / 2, _COARSE * step):
        balance = np.full(load.shape[1], candidate)
        rough = _lines(load, outdoor, known, balance, plain)
        own = np.maximum(_MAD * _median_abs(rough.residual, known), floor)
        lines = _lines(load, outdoor, known, balance, own, _ROUGH_STEPS)
        deviation = np.abs(lines.residual).sum(axis=0)
        better = (deviation <= least * (1 + 1e-9) + floor) & (lines.base >= -floor)
        found = np.where(better, candidate, found)
        least = np.where(better, np.minimum(deviation, least), least)
        scale = np.where(better, own, scale)
    lines = _lines(load, outdoor, known, found, scale)
    return found, np.maximum(_MAD * _median_abs(lines.residual, known), floor)


def _fine(
    load: FloatArray, outdoor: FloatArray, known: BoolArray, around: FloatArray, scale: FloatArray
) -> FloatArray:
    """The balance temperature of the least Huber loss, at one scale, near `around`."""
    first, last, step = BALANCES_C
    found, least = around, np.full(load.shape[1], np.inf)
    limit = _HUBER * scale
    floor = 1e-9 * np.abs(load).max(axis=0, initial=0.0) + 1e-12
    for nth in range(1 - _COARSE, _COARSE):
        balance = np.clip(around + nth * step, first, last)
        lines = _lines(load, outdoor, known, balance, scale)
        size = np.abs(lines.residual)
        loss = np.where(size <= limit, size**2 / 2.0, limit * (size - limit / 2.0)).sum(axis=0)
        better = (loss <= least * (1 + 1e-9) + floor * limit) & (lines.base >= -floor)
        found = np.where(better, balance, found)
        least = np.where(better, np.minimum(loss, least), least)
    return found


def _lines(
    load: FloatArray,
    outdoor: FloatArray,
    known: BoolArray,
    balance: FloatArray,
    scale: FloatArray,
    steps: int = _STEPS,
) -> _Lines:
    """Lines of load over kelvin below `balance`, reweighted by Huber at `scale`; infinite: least squares."""
    below = np.maximum(balance - outdoor, 0.0)
    below = np.where(known, below, 0.0)
    weight = known.astype(np.float64)
    residual, mean, centre, slope, spread = load, np.zeros(1), np.zeros(1), np.zeros(1), np.zeros(1)
    for step in range(steps):
        total = weight.sum(axis=0)
        centre, mean = (weight * below).sum(axis=0) / total, (weight * load).sum(axis=0) / total
        spread = (weight * (below - centre) ** 2).sum(axis=0)
        slope = (weight * (below - centre) * load).sum(axis=0) / spread
        slope = np.where(spread > 0.0, slope, 0.0)
        residual = np.where(known, load - mean - slope * (below - centre), 0.0)
        if step + 1 == steps or np.isinf(scale).all():
            break
        weight = np.where(known, np.minimum(1.0, _HUBER * scale / np.maximum(np.abs(residual), 1e-300)), 0.0)
    error = np.sqrt((weight * residual**2).sum(axis=0) / np.maximum(known.sum(axis=0) - 2, 1) / spread)
    # An error of nothing is one of rounding: a constant load has no slope, whatever its last digits are.
    error = np.maximum(error, 1e-9 * np.abs(mean) / np.sqrt(spread))
    base = mean - slope * centre
    return _Lines(np.where(np.abs(base) < 1e-9 * np.abs(mean), 0.0, base), slope, error, residual)


def _median_abs(residual: FloatArray, known: BoolArray) -> FloatArray:
    return np.asarray(_span(np.where(known, np.abs(residual), np.nan), (50.0,))[0])


def _span(values: FloatArray, percents: tuple[float, ...]) -> FloatArray:
    """Percentiles down each column, NaN left out, shape (percents, columns); NaN of a column without any."""
    ordered = np.sort(values, axis=0)  # NaN go last
    n = (~np.isnan(values)).sum(axis=0)
    columns = np.arange(values.shape[1])
    out = np.full((len(percents), values.shape[1]), np.nan)
    if not len(values):
        return out
    for at, percent in enumerate(percents):
        place = np.maximum(n - 1, 0) * percent / 100.0
        low = np.floor(place).astype(np.int64)
        high = np.minimum(low + 1, np.maximum(n - 1, 0))
        part = place - low
        out[at] = ordered[low, columns] * (1 - part) + ordered[high, columns] * part
    return out
