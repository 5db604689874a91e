"""Verdicts on many trucks together: contracts, suppliers, plates, bridges; how many trucks they rest on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.trip import trucks_needed

__all__ = [
    "BridgeVerdict",
    "Verdict",
    "bridge_effects",
    "bridge_verdicts",
    "judge_days",
    "judge_truck",
    "scatter",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
CERTAINTY: Final = 3.0
"""Standard errors by which a mean must be beyond its tolerance: one false verdict in 740."""
_LEAST_TRUCKS: Final = 10
_LEAST_LOTS: Final = 3
_DAYS: Final = 14
_GAP_DAYS: Final = 7
_LAST_TRIPS: Final = 10
_LEAST_TRIPS: Final = 3
_BLOCK_DAYS: Final = 3
_REFERENCE_DAYS: Final = 5
BRIDGE_TOLERANCE: Final = 0.0015
"""Change of a bridge's error that is said: thrice the error in service of class III at a truck's mass."""
_LEAST_CELLS: Final = 3
_ROUNDS: Final = 6


@dataclass(frozen=True, slots=True)
class Verdict:
    """What many loads say together.

    Attributes
    ----------
    first_day, last_day : int
        Days on which it was so, since 1970.
    mean, error : float
        Of the last of these days, and its standard error; shares.
    trucks, lots : int
        That it rests on.
    needed : float
        Trucks that would have done.
    score : float
        Distance from the tolerance, as a multiple of what would do.
    """

    first_day: int
    last_day: int
    mean: float
    error: float
    trucks: int
    lots: int
    needed: float
    score: float


def scatter(values: FloatArray) -> float:
    """Standard deviation of what is normal among `values`, by the median absolute deviation; NaN of none."""
    if not len(values):
        return float("nan")
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def judge_days(
    day: IntArray, lot: IntArray, value: FloatArray, until_day: int, *, tolerance: float, common: float
) -> list[Verdict]:
    """Days on which the mean of the last two weeks' loads was beyond its tolerance, with certainty.

    Loads of one lot share their samples, so the error of the mean comes from the lots' means.

    Parameters
    ----------
    day, lot : ndarray, shape (n,)
        Local day of the receipt since 1970, and lot of each load.
    value : ndarray, shape (n,)
        Such as its loss, as a share.
    until_day : int
        The last day of which everything is known.
    tolerance : float
    common : float
        Standard uncertainty that all loads share: of two laboratories, of two bridges.
    """
    found: list[Verdict] = []
    for d in np.unique(day[day <= until_day]).tolist():
        mine = (day > d - _DAYS) & (day <= d)
        lots, place = np.unique(lot[mine], return_inverse=True)
        trucks = int(mine.sum())
        if trucks < _LEAST_TRUCKS or len(lots) < _LEAST_LOTS:
            continue
        means = np.bincount(place, weights=value[mine]) / np.bincount(place)
        mean, sigma = float(value[mine].mean()), float(np.std(value[mine], ddof=1))
        error = sqrt(float(np.var(means, ddof=1)) / len(lots) + common**2)
        if mean - CERTAINTY * error <= tolerance:
            continue
        score = (mean - tolerance) / (CERTAINTY * error)
        needed = trucks_needed(mean - tolerance, sigma, CERTAINTY)
        first = d
        if found and d - found[-1].last_day <= _GAP_DAYS:
            first = found.pop().first_day
        found.append(Verdict(first, d, mean, error, trucks, len(lots), needed, score))
    return found


def judge_truck(value: FloatArray, sigma: float, tolerance: float) -> Iterator[tuple[int, int, Verdict]]:
    """Runs of one truck's loads whose mean is beyond the tolerance: the first and last load, and how far.

    Judged by its last ten loads, at least three, of which at least two are beyond by themselves.

    Parameters
    ----------
    value : ndarray, shape (n,)
        By how much each load lost more than others of its lot, in order of time; shares.
    sigma : float
        Scatter of such values among all trucks.
    """
    begun: int | None = None
    last = 0
    verdict: Verdict | None = None
    for at in range(len(value)):
        from_ = max(0, at + 1 - _LAST_TRIPS)
        recent = value[from_ : at + 1]
        n = len(recent)
        mean, error = float(recent.mean()), sigma / sqrt(n)
        high = np.flatnonzero(recent > tolerance + CERTAINTY * sigma)
        if n >= _LEAST_TRIPS and len(high) >= 2 and mean - CERTAINTY * error > tolerance:
            begun = from_ + int(high[0]) if begun is None else begun
            last = from_ + int(high[-1])
            needed = max(float(_LEAST_TRIPS), trucks_needed(mean - tolerance, sigma, CERTAINTY))
            score = (mean - tolerance) / (CERTAINTY * error)
            verdict = Verdict(0, 0, mean, error, n, n, needed, score)
        elif begun is not None and verdict is not None:
            yield begun, last, verdict
            begun, verdict = None, None
    if begun is not None and verdict is not None:
        yield begun, last, verdict


@dataclass(frozen=True, slots=True)
class BridgeVerdict:
    """A bridge that shows another mass than it used to.

    Attributes
    ----------
    bridge : int
        Its number.
    first_day, last_day : int
        Since 1970.
    change : float
        Of its error, as a share of the mass.
    error : float
        Standard error of that.
    trucks : int
    """

    bridge: int
    first_day: int
    last_day: int
    change: float
    error: float
    trucks: int


def bridge_effects(
    row: IntArray, column: IntArray, value: FloatArray, bridges: int
) -> tuple[FloatArray, IntArray]:
    """How far each bridge is off from the others, by Tukey's median polish of the medians of pairs [1]_.

    A bridge that was met with fewer than three others has none: its error cannot be told from theirs.

    Parameters
    ----------
    row, column : ndarray, shape (n,)
        Bridge of the first and of the second weighing of the same truck.
    value : ndarray, shape (n,)
        The first mass over the second, less 1.
    bridges : int

    Returns
    -------
    effect : ndarray, shape (bridges,)
        NaN where it cannot be told.
    count : ndarray of int64, shape (bridges,)
        Trucks that it rests on.

    References
    ----------
    .. [1] J. W. Tukey, Exploratory Data Analysis, 1977, chapter 11.
    """
    pair, place = np.unique(row * bridges + column, return_inverse=True)
    medians = np.full((bridges, bridges), np.nan)
    order = np.argsort(place, kind="stable")
    for name, values in zip(pair, np.split(value[order], np.cumsum(np.bincount(place))[:-1]), strict=True):
        medians[name // bridges, name % bridges] = np.median(values)
    known = ~np.isnan(medians)
    rows, columns = known.sum(axis=1) >= _LEAST_CELLS, known.sum(axis=0) >= _LEAST_CELLS
    left = medians.copy()
    of_row, of_column = np.zeros(bridges), np.zeros(bridges)
    for _ in range(_ROUNDS):
        for at in np.flatnonzero(known.any(axis=1)):
            step = float(np.nanmedian(left[at]))
            of_row[at] += step
            left[at] -= step
        for at in np.flatnonzero(known.any(axis=0)):
            step = float(np.nanmedian(left[:, at]))
            of_column[at] += step
            left[:, at] -= step
    of_row -= np.median(of_row[rows]) if rows.any() else 0.0
    of_column -= np.median(of_column[columns]) if columns.any() else 0.0
    effect = np.full(bridges, np.nan)
    effect[rows] = of_row[rows]
    effect[columns] = -of_column[columns]
    count = np.bincount(row, minlength=bridges) + np.bincount(column, minlength=bridges)
    return effect, count


def bridge_verdicts(
    day: IntArray, row: IntArray, column: IntArray, value: FloatArray, bridges: int, until_day: int
) -> Sequence[BridgeVerdict]:
    """Bridges whose error changed against its first days, judged by the last three days at a time.

    Parameters
    ----------
    day : ndarray, shape (n,)
        Since 1970.
    until_day : int
        The last day of which everything is known.

    Other parameters are those of `bridge_effects`.
    """
    days = np.unique(day[day <= until_day])
    if len(days) <= _REFERENCE_DAYS:
        return ()
    first = day < days[_REFERENCE_DAYS]
    reference, _ = bridge_effects(row[first], column[first], value[first], bridges)
    sigma = scatter(value[first])
    found: dict[int, list[BridgeVerdict]] = {}
    for d in days[_REFERENCE_DAYS:].tolist():
        mine = (day > d - _BLOCK_DAYS) & (day <= d)
        effect, count = bridge_effects(row[mine], column[mine], value[mine], bridges)
        error = 1.2533 * sigma * np.sqrt(2.0 / np.maximum(count, 1))
        change = effect - reference
        for bridge in np.flatnonzero(np.abs(change) > np.maximum(BRIDGE_TOLERANCE, 5.0 * error)).tolist():
            of = found.setdefault(bridge, [])
            since = of.pop().first_day if of and d - of[-1].last_day <= _GAP_DAYS else d
            of.append(
                BridgeVerdict(
                    bridge, since, d, float(change[bridge]), float(error[bridge]), int(count[bridge])
                )
            )
    return [v for of in found.values() for v in of]
