"""Which meter changed against its own past: steps in daily ratios of a network's heat and water.

Meters err by up to some percent, and always by the same. What a network's balance and a substation's two
sides leave open is therefore steady from day to day, far within what the classes permit; a step is news.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

__all__ = [
    "FLOOR", "HEAT", "LEARNING_DAYS", "WATER", "Baseline", "Fault", "Found", "Kind", "Layout", "Likeness",
    "find_steps", "learnt", "likeness", "threshold", "untouched",
]  # fmt: skip

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

HEAT, WATER = 0, 1
"""Places of a network's own signals.

Behind them stands one a consumer of its second meter, and then one each of its share of all heat.
"""
LEARNING_DAYS: Final = 14
REMEMBERED_DAYS: Final = 28
FLOOR: Final = 0.0025
"""How far a sound signal may wander without averaging down: a meter's error moves a little with its load."""
_SHARE_FLOOR: Final = 0.02
_LIKE: Final = 3.841
_SEASON_DAYS: Final = 180
_MOST_FAULTS: Final = 5


class Kind(StrEnum):
    """What may have changed."""

    FLOW = "flow"
    HEAT_ONLY = "temperatures or calculator"
    SECONDARY = "secondary meter"
    LOSS = "heat loss"
    LEAK = "leak"


@dataclass(frozen=True, slots=True)
class Layout:
    """Meters of a network on a day; arrays of shape (plants,) and (consumers,).

    Attributes
    ----------
    plant_share, heat_share, mass_share : ndarray
        Part of the supplied heat, of that and of the plants' water.
    leak_sign : float
        +1 where the plants' flow meters sit on the supply, -1 on the return.
    """

    plant_share: FloatArray
    heat_share: FloatArray
    mass_share: FloatArray
    leak_sign: float = 1.0


@dataclass(frozen=True, slots=True)
class Baseline:
    """What signals were while nothing was wrong; arrays of shape (signals,).

    Attributes
    ----------
    count, mean, square : ndarray
        Days, their mean and the sum of squares about it.
    lever : ndarray
        Mean of what the signal's own error goes with.
    spread, cross : ndarray
        Sum of its squares about that, and of its products with the signal about both means.
    """

    count: FloatArray
    mean: FloatArray
    square: FloatArray
    lever: FloatArray
    spread: FloatArray
    cross: FloatArray

    @classmethod
    def empty(cls, signals: int) -> Baseline:
        """Nothing learnt yet."""
        return cls(*np.zeros((6, signals)))

    @property
    def deviation(self) -> FloatArray:
        """Standard deviation from day to day, NaN before the second."""
        enough = self.count >= 2.0
        spread = self.square / np.where(enough, self.count - 1.0, 1.0)
        return np.where(enough, np.sqrt(np.maximum(spread, 0.0)), np.nan)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that may have changed.

    Attributes
    ----------
    kind : Kind
    at : int
        Which consumer; -1 is the network itself, -2 the first plant, -3 the second and so on.
    """

    kind: Kind
    at: int = -1


@dataclass(frozen=True, slots=True)
class Likeness:
    """How well each of several faults explains what is seen.

    Attributes
    ----------
    faults : tuple of Fault
    size, size_u : ndarray
        Relative, and its standard uncertainty.
    ratio : ndarray
        Generalised likelihood ratio, χ² of 1 where nothing changed.
    like : ndarray
        The same less what contradicts it in the consumer's share of the others' heat: for comparing.
    """

    faults: tuple[Fault, ...]
    size: FloatArray
    size_u: FloatArray
    ratio: FloatArray
    like: FloatArray


@dataclass(frozen=True, slots=True)
class Found:
    """A step.

    Attributes
    ----------
    faults : tuple of Fault
        The likeliest, and all that are about as likely.
    sizes : tuple of float
        Relative, one each.
    size_u : float
        Standard uncertainty of the first.
    days : int
        How many days, up to the last, show it.
    ratio, needed : float
        Generalised likelihood ratio of the first, and what it takes to say so.
    """

    faults: tuple[Fault, ...]
    sizes: tuple[float, ...]
    size_u: float
    days: int
    ratio: float
    needed: float


def learnt(baseline: Baseline, value: FloatArray, lever: FloatArray) -> Baseline:
    """Take in one day without faults; of more than 28 days the older ones fade.

    Parameters
    ----------
    baseline : Baseline
    value, lever : ndarray, shape (signals,)
        NaN where the day says nothing.

    Examples
    --------
    >>> after = learnt(learnt(Baseline.empty(1), np.array([1.0]), np.zeros(1)), np.array([3.0]), np.zeros(1))
    >>> after.mean, after.deviation.round(3)
    (array([2.]), array([1.414]))
    """
    there = ~np.isnan(value)
    kept = np.minimum(baseline.count, REMEMBERED_DAYS - 1.0)
    fade = np.where(baseline.count > 0.0, kept / np.maximum(baseline.count, 1.0), 1.0)
    count = kept + 1.0
    step = np.where(there, value, 0.0) - baseline.mean
    mean = baseline.mean + step / count
    square = baseline.square * fade + step**2 * kept / count
    moved = np.nan_to_num(lever) - baseline.lever
    drawn = baseline.lever + moved / count
    spread = baseline.spread * fade + moved**2 * kept / count
    cross = baseline.cross * fade + moved * step * kept / count
    return Baseline(
        np.where(there, count, baseline.count),
        np.where(there, mean, baseline.mean),
        np.where(there, square, baseline.square),
        np.where(there, drawn, baseline.lever),
        np.where(there, spread, baseline.spread),
        np.where(there, cross, baseline.cross),
    )


def threshold(tests: int, days: float) -> float:
    """Likelihood ratio that `tests` a day exceed once a season, for a deviation learnt in `days`.

    Examples
    --------
    >>> round(threshold(30, 14.0)), round(threshold(30, 28.0))
    (27, 19)
    """
    return float(stdtrit(max(days - 1.0, 1.0), 1.0 - 0.5 / (_SEASON_DAYS * max(tests, 1))) ** 2)


def likeness(layout: Layout, off: FloatArray, weight: FloatArray) -> Likeness:
    r"""How well each fault explains signals that are `off` their baseline.

    A factor :math:`1 + \delta` on a consumer's flow lowers the network's heat residual and water
    residual by its shares of them and its secondary heat over its primary by all of it; its share of
    the others' heat rises by as much. With signature f and weights w the size is
    :math:`\sum f w d / \sum f^2 w` and the ratio its square times :math:`\sum f^2 w`.

    Parameters
    ----------
    layout : Layout
    off, weight : ndarray, shape (2 + 2 * consumers,)
        Deviation of each signal and one over its variance, 0 where it is not known.
    """
    count = len(layout.heat_share)
    d, w = np.nan_to_num(off), weight
    second, share = slice(2, 2 + count), slice(2 + count, 2 + 2 * count)
    dw = d * w
    pull, seen, faults = list[FloatArray](), list[FloatArray](), list[Fault]()

    def add(kind: Kind, of: IntArray, top: FloatArray, bottom: FloatArray) -> None:
        faults.extend(Fault(kind, int(n)) for n in of)
        pull.append(top)
        seen.append(bottom)

    everyone, plants, alone = np.arange(count), np.arange(len(layout.plant_share)), np.array([-1])
    heat, mass, of_plant = layout.heat_share, layout.mass_share, layout.plant_share
    at_heat, at_both = dw[HEAT], dw[HEAT] + dw[WATER]
    add(Kind.FLOW, everyone, -(heat * dw[HEAT] + mass * dw[WATER] + dw[second]),
        heat**2 * w[HEAT] + mass**2 * w[WATER] + w[second])  # fmt: skip
    add(Kind.HEAT_ONLY, everyone, -(heat * dw[HEAT] + dw[second]), heat**2 * w[HEAT] + w[second])
    add(Kind.SECONDARY, everyone, dw[second], w[second])
    add(Kind.FLOW, -2 - plants, of_plant * at_both, of_plant**2 * (w[HEAT] + w[WATER]))
    add(Kind.HEAT_ONLY, -2 - plants, of_plant * at_heat, of_plant**2 * w[HEAT])
    add(Kind.LOSS, alone, np.array([at_heat]), np.array([w[HEAT]]))
    add(Kind.LEAK, alone, np.array([layout.leak_sign * at_both]), np.array([w[HEAT] + w[WATER]]))
    # Of a leak that the water balance knows of, heat is accounted for.
    add(Kind.LEAK, alone, np.array([layout.leak_sign * dw[WATER]]), np.array([w[WATER]]))
    top, bottom = np.concatenate(pull), np.concatenate(seen)
    usable = bottom > 0.0
    safe = np.where(usable, bottom, 1.0)
    size = np.where(usable, top / safe, 0.0)
    ratio = top * size
    # Leaks and losses only grow.
    ratio[-3:] = np.where(size[-3:] > 0.0, ratio[-3:], 0.0)
    like = ratio.copy()
    for first in (0, count):
        mine = slice(first, first + count)
        both = bottom[mine] + w[share]
        joint = (top[mine] + dw[share]) ** 2 / np.where(both > 0.0, both, 1.0)
        like[mine] = np.where(w[share] > 0.0, joint - d[share] ** 2 * w[share], ratio[mine])
    return Likeness(tuple(faults), size, np.where(usable, 1.0 / np.sqrt(safe), np.inf), ratio, like)


def find_steps(
    layout: Layout, baseline: Baseline, value: FloatArray, lever: FloatArray, lever_u: FloatArray
) -> tuple[Found, ...]:
    """Steps that the last days show against the baseline, the plainest first.

    Every onset among the days is tried. A signal's variance is that of its days, that of the baseline, a
    floor that does not average down, and what its own error's way with its lever leaves open: 0 ±
    `lever_u`, and what the baseline's days showed of it.

    Parameters
    ----------
    layout : Layout
    baseline : Baseline
    value, lever : ndarray, shape (days, signals)
        NaN where a day says nothing.
    lever_u : ndarray, shape (signals,)
        Standard uncertainty of the signal for each unit of the lever.
    """
    ready = baseline.count >= LEARNING_DAYS
    if not ready[:-1].any():
        return ()
    left = ready.copy()
    found: list[Found] = []
    while len(found) < _MOST_FAULTS:
        best = _best(layout, baseline, value, lever, lever_u, left)
        if best is None:
            break
        found.append(best)
        _leave_out(left, best.faults, len(layout.heat_share))
    return tuple(found)


def untouched(value: FloatArray, found: tuple[Found, ...], consumers: int) -> FloatArray:
    """A day's signals without those that faults found in it have a part in, to learn from.

    Parameters
    ----------
    value : ndarray, shape (2 + 2 * consumers,)
    found : tuple of Found
    consumers : int
    """
    left = np.ones(len(value), dtype=bool)
    for step in found:
        left[[HEAT, WATER]] = False
        for fault in step.faults:
            if fault.at >= 0:
                left[[2 + fault.at, 2 + consumers + fault.at]] = False
    return np.where(left, value, np.nan)


def _best(
    layout: Layout,
    baseline: Baseline,
    value: FloatArray,
    lever: FloatArray,
    lever_u: FloatArray,
    left: BoolArray,
) -> Found | None:
    best: Found | None = None
    count = len(layout.heat_share)
    floor = np.where(np.arange(value.shape[1]) < 2 + count, FLOOR, _SHARE_FLOOR)
    tested = int(left[: 2 + count].sum())
    for days in range(1, len(value) + 1):
        seen = ~np.isnan(value[-days:])
        number = seen.sum(axis=0)
        there = left & (number > 0) & seen[-1]
        some = np.maximum(number, 1)
        off = np.where(there, np.nansum(value[-days:], axis=0) / some - baseline.mean, 0.0)
        moved = np.nansum(np.where(seen, lever[-days:], 0.0), axis=0) / some - baseline.lever
        each = np.maximum(np.nan_to_num(baseline.deviation), 1e-9) ** 2
        variance = each * (1.0 / some + 1.0 / np.maximum(baseline.count, 1.0))
        slope, slope_variance = _slope(baseline, each + floor**2, lever_u)
        off = np.where(there, off - slope * np.nan_to_num(moved), 0.0)
        variance += floor**2 + slope_variance * np.nan_to_num(moved) ** 2
        said = likeness(layout, off, np.where(there, 1.0 / variance, 0.0))
        needed = threshold(tested, float(baseline.count[left].min(initial=np.inf)))
        at = int(np.argmax(said.ratio))
        if said.ratio[at] > needed and (best is None or said.ratio[at] > best.ratio):
            best = _named(said, days, needed)
    return best


def _slope(baseline: Baseline, variance: FloatArray, lever_u: FloatArray) -> tuple[FloatArray, FloatArray]:
    """How a signal goes with its lever, and the variance of that: 0 ± `lever_u` and what its days showed."""
    prior = lever_u**2
    precision = baseline.spread * prior / variance + 1.0
    return prior * baseline.cross / variance / precision, prior / precision


def _named(said: Likeness, days: int, needed: float) -> Found:
    at = int(np.argmax(said.like))
    like = np.flatnonzero(said.like >= said.like[at] - _LIKE)
    like = like[np.argsort(-said.like[like], kind="stable")]
    return Found(
        tuple(said.faults[n] for n in like), tuple(said.size[like].tolist()), float(said.size_u[at]), days,
        float(said.ratio.max()), needed,
    )  # fmt: skip


def _leave_out(left: BoolArray, faults: tuple[Fault, ...], count: int) -> None:
    """Take out, in place, the signals that a fault found has spoilt."""
    first = faults[0]
    if first.at >= 0:
        left[[2 + first.at, 2 + count + first.at]] = False
    if first.at < 0 or len({f.at for f in faults}) > 1:
        left[[HEAT, WATER]] = False
