"""Checks of one truck's weighings against each other: tare, repeated weights, and time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Finding", "Receipt", "TareSeries", "inflated_tares", "repeated_weights", "tare_drift"]

_REFERENCE: Final = 5
"""Tares that a truck's robust mean is learnt from: ten days of a truck on a long lane."""
_LEAST_SIGMA_KG: Final = 30.0
"""Fuel, water and dirt: an empty truck is never the same. [kg]"""
_LEAST_DRIFT_KG: Final = 90.0
"""Less is fuel. [kg]"""
_SLACK: Final = 1.0
_ALARM: Final = 8.0
"""Of the CUSUM, in standard deviations: a shift by three is found after four tares."""
INFLATED_KG: Final = 250.0
"""More than a full tank makes of an empty truck, less than is worth a driver's while. [kg]"""
_REPEATS: Final = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, since when, and with which numbers.

    Attributes
    ----------
    first_ms, until_ms : int
        [ms UTC]
    score : float
        As a multiple of what would do to say it.
    size_kg : float
        [kg]
    count : int
        Weighings that it rests on.
    """

    first_ms: int
    until_ms: int
    score: float
    size_kg: float
    count: int


@dataclass(frozen=True, slots=True)
class TareSeries:
    """Tares of one truck at one end of its trips, in order of time.

    Attributes
    ----------
    t_ms : ndarray of int64, shape (n,)
        [ms UTC]
    kg : ndarray of float64, shape (n,)
        [kg]
    """

    t_ms: NDArray[np.int64]
    kg: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Receipt:
    """Both weighings of a delivery, as shown."""

    t_ms: int
    gross_kg: float
    tare_kg: float


def _cusum(series: TareSeries, sign: float) -> tuple[int, float] | None:
    """Where a CUSUM of tares against their robust mean began to grow to an alarm, and its height."""
    if len(series.kg) <= _REFERENCE:
        return None
    centre = float(np.median(series.kg[:_REFERENCE]))
    steps = np.diff(series.kg)  # their scatter does not grow with a drift, as that of the tares would
    sigma = max(1.4826 * float(np.median(np.abs(steps - np.median(steps)))) / 2.0**0.5, _LEAST_SIGMA_KG)
    height, since = 0.0, 0
    for at in range(_REFERENCE, len(series.kg)):
        z = sign * (series.kg[at] - centre) / sigma
        if height == 0.0:
            since = at
        height = max(0.0, height + min(z, 4.0) - _SLACK)
        if height >= _ALARM:
            return since, height
    return None


def tare_drift(at_origin: TareSeries, at_destination: TareSeries) -> Finding | None:
    """An empty truck that grew heavier (or lighter) for good, at both ends: one bridge alone may be wrong.

    Page's CUSUM of tares against the plate's robust mean [1]_, slack one standard deviation, alarm at eight.

    Parameters
    ----------
    at_origin, at_destination : TareSeries

    References
    ----------
    .. [1] E. S. Page, Continuous inspection schemes, Biometrika 41 (1954) 100.
    """
    for sign in (1.0, -1.0):
        found = [_cusum(s, sign) for s in (at_origin, at_destination)]
        if found[0] is None or found[1] is None:
            continue
        both = list(zip((at_origin, at_destination), (found[0], found[1]), strict=True))
        size = float(np.mean([np.median(s.kg[-3:]) - np.median(s.kg[:_REFERENCE]) for s, _ in both]))
        if abs(size) < _LEAST_DRIFT_KG:
            continue
        return Finding(
            max(int(s.t_ms[since]) for s, (since, _) in both), max(int(s.t_ms[-1]) for s, _ in both),
            abs(size) / _LEAST_DRIFT_KG, size,
            sum(len(s.kg) - since for s, (since, _) in both),
        )  # fmt: skip
    return None


def inflated_tares(at_origin: TareSeries, at_destination: TareSeries) -> Finding | None:
    """A truck that is heavier at its load's tare than it is empty at the other end, more than once.

    Each of the origin's tares is compared with the three nearest in time of the destination's.
    """
    if len(at_destination.kg) < 2:
        return None
    excess = np.array(
        [
            kg - np.median(at_destination.kg[np.argsort(np.abs(at_destination.t_ms - t), kind="stable")[:3]])
            for t, kg in zip(at_origin.t_ms.tolist(), at_origin.kg.tolist(), strict=True)
        ]
    )
    high = np.flatnonzero(excess > INFLATED_KG)
    if len(high) < 2:
        return None
    size = float(np.median(excess[high]))
    return Finding(
        int(at_origin.t_ms[high[0]]), int(at_origin.t_ms[high[-1]]), size / INFLATED_KG, size, len(high)
    )


def repeated_weights(receipts: Sequence[Receipt]) -> list[Finding]:
    """Deliveries in a row that show the very same gross and tare, three or more.

    Two alike are chance: with a scale interval of 20 kg, loads that scatter by 700 kg and tares by 30 kg
    agree in one of 600 pairs; three in a row in one of 360,000.
    """
    found: list[Finding] = []
    at = 0
    while at < len(receipts):
        end = at + 1
        same = (receipts[at].gross_kg, receipts[at].tare_kg)
        while end < len(receipts) and (receipts[end].gross_kg, receipts[end].tare_kg) == same:
            end += 1
        repeats = end - at - 1
        if repeats >= _REPEATS:
            first, last = receipts[at + 1].t_ms, receipts[end - 1].t_ms
            found.append(Finding(first, last, repeats / _REPEATS, same[0] - same[1], repeats))
        at = end
    return found
