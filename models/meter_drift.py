"""Which meter changed against its own past: steps in daily ratios of a network's heat and water.

Meters err by up to some percent, and always by the same. What a network's balance and a substation's two
sides leave open is therefore steady from day to day, far within what the classes permit; a step is news.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, stdtrit

from models.meter_baseline import FLOOR, LEARNING_DAYS, Baseline, Departure, departure
from models.secondary_heat import sensor_mpe_k

__all__ = [
    "HEAT", "WATER", "Fault", "Found", "Kind", "Layout", "Likeness", "find_steps", "floors", "levers_u",
    "likeness", "power", "threshold", "untouched",
]  # fmt: skip

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

HEAT, WATER = 0, 1
"""Places of a network's own signals.

Behind them stands one a consumer of its second meter, and then one each of its share of all heat.
"""
_SHARE_FLOOR: Final = 0.02
_LOSS_U: Final = 0.15  # of U and ground together, over the loss
_SPREAD_C: Final = 50.0  # about where secondary sensors stand
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
    needed : ndarray
        Ratio that a sound network reaches once a season.
    """

    faults: tuple[Fault, ...]
    size: FloatArray
    size_u: FloatArray
    ratio: FloatArray
    like: FloatArray
    needed: FloatArray


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


def threshold(tests: int, degrees: ArrayLike) -> FloatArray:
    """Likelihood ratio that `tests` a day exceed once a season, by the degrees of freedom of a deviation.

    Examples
    --------
    >>> threshold(30, [13.0, 27.0, np.inf]).round()
    array([27., 19., 14.])
    """
    level = 1.0 - 0.5 / (_SEASON_DAYS * max(tests, 1))
    return np.asarray(stdtrit(np.asarray(degrees, dtype=np.float64), level) ** 2)


def floors(consumers: int) -> FloatArray:
    """How far each signal may wander without averaging down."""
    return np.where(np.arange(2 + 2 * consumers) < 2 + consumers, FLOOR, _SHARE_FLOOR)


def levers_u(consumers: int) -> FloatArray:
    """How each signal may go with its lever before days tell: loss, and sensors' tolerance. [1, K]"""
    u = np.zeros(2 + 2 * consumers)
    u[HEAT] = _LOSS_U
    u[2 : 2 + consumers] = float(sensor_mpe_k(_SPREAD_C)) * np.sqrt(2.0 / 3.0)
    return u


def likeness(layout: Layout, seen: Departure) -> Likeness:
    r"""How well each fault explains signals that are off their baseline.

    A factor :math:`1 + \delta` on a consumer's flow lowers the network's heat residual and water
    residual by its shares of them and its secondary heat over its primary by all of it; its share of
    the others' heat rises by as much. With signature f and weights w the size is
    :math:`\sum f w d / \sum f^2 w` and the ratio its square times :math:`\sum f^2 w`. What it takes is
    Student's t of :math:`(\sum f^2 w)^2 / \sum (f^2 w)^2 q` degrees of freedom, q the doubt (Welch and
    Satterthwaite).

    Parameters
    ----------
    layout : Layout
    seen : Departure
    """
    count = len(layout.heat_share)
    d, w = np.nan_to_num(seen.off), seen.weight
    second, share = slice(2, 2 + count), slice(2 + count, 2 + 2 * count)
    dw, blur = d * w, w**2 * seen.doubt
    top, bottom, unsure, faults = list[FloatArray](), list[FloatArray](), list[FloatArray](), list[Fault]()

    def add(kind: Kind, of: IntArray, *parts: tuple[FloatArray | float, slice | int]) -> None:
        faults.extend(Fault(kind, int(n)) for n in of)
        none = np.zeros(len(of))
        top.append(none + sum(f * dw[at] for f, at in parts))
        bottom.append(none + sum(f**2 * w[at] for f, at in parts))
        unsure.append(none + sum(f**4 * blur[at] for f, at in parts))

    everyone, plants, alone = np.arange(count), np.arange(len(layout.plant_share)), np.array([-1])
    heat, mass, of_plant, sign = layout.heat_share, layout.mass_share, layout.plant_share, layout.leak_sign
    add(Kind.FLOW, everyone, (-heat, HEAT), (-mass, WATER), (-1.0, second))
    add(Kind.HEAT_ONLY, everyone, (-heat, HEAT), (-1.0, second))
    add(Kind.SECONDARY, everyone, (1.0, second))
    add(Kind.FLOW, -2 - plants, (of_plant, HEAT), (of_plant, WATER))
    add(Kind.HEAT_ONLY, -2 - plants, (of_plant, HEAT))
    add(Kind.LOSS, alone, (1.0, HEAT))
    add(Kind.LEAK, alone, (sign, HEAT), (sign, WATER))
    # Of a leak that the water balance knows of, heat is accounted for.
    add(Kind.LEAK, alone, (sign, WATER))
    pull, weight, doubt = np.concatenate(top), np.concatenate(bottom), np.concatenate(unsure)
    usable = weight > 0.0
    safe = np.where(usable, weight, 1.0)
    size = np.where(usable, pull / safe, 0.0)
    ratio = pull * size
    # Leaks and losses only grow.
    ratio[-3:] = np.where(size[-3:] > 0.0, ratio[-3:], 0.0)
    like = ratio.copy()
    for first in (0, count):
        mine = slice(first, first + count)
        both = weight[mine] + w[share]
        joint = (pull[mine] + dw[share]) ** 2 / np.where(both > 0.0, both, 1.0)
        like[mine] = np.where(w[share] > 0.0, joint - d[share] ** 2 * w[share], ratio[mine])
    degrees = np.where(doubt > 0.0, weight**2 / np.where(doubt > 0.0, doubt, 1.0), np.inf)
    needed = threshold(int(usable.sum()), degrees)
    size_u = np.where(usable, 1.0 / np.sqrt(safe), np.inf)
    return Likeness(tuple(faults), size, size_u, ratio, like, needed)


def power(layout: Layout, baseline: Baseline, fault: Fault, size: float, days: int = 2) -> float:
    """How likely a step of relative `size` in whole `days` is told, by what the baseline's days scattered.

    The ratio of a step is that of a normal deviate whose mean is the step over its standard uncertainty.

    Parameters
    ----------
    layout : Layout
    baseline : Baseline
    fault : Fault
    size : float
    days : int
    """
    consumers = len(layout.heat_share)
    floor = floors(consumers)
    seen = departure(
        baseline, baseline.line(levers_u(consumers), floor), np.tile(baseline.mean, (days, 1)),
        np.tile(baseline.lever, (days, 1)), floor, baseline.count >= LEARNING_DAYS,
    )  # fmt: skip
    said = likeness(layout, seen)
    at = said.faults.index(fault)
    return float(ndtr(abs(size) / said.size_u[at] - np.sqrt(said.needed[at])))


def find_steps(
    layout: Layout,
    baseline: Baseline,
    value: FloatArray,
    lever: FloatArray,
    lever_u: FloatArray | None = None,
) -> tuple[Found, ...]:
    """Steps that the last days show against the baseline, the plainest first; every onset is tried.

    Parameters
    ----------
    layout : Layout
    baseline : Baseline
    value, lever : ndarray, shape (days, signals)
        NaN where a day says nothing.
    lever_u : ndarray, shape (signals,)
        Standard uncertainty of the signal for each unit of the lever, beforehand; that of `levers_u` if none.
    """
    ready = baseline.count >= LEARNING_DAYS
    if not ready[:-1].any():
        return ()
    floor = floors(len(layout.heat_share))
    line = baseline.line(levers_u(len(layout.heat_share)) if lever_u is None else lever_u, floor)
    there = ready & ~np.isnan(value[-1])
    seen = [
        departure(baseline, line, value[-days:], lever[-days:], floor, there)
        for days in range(1, len(value) + 1)
    ]
    found: list[Found] = []
    while len(found) < _MOST_FAULTS:
        best = _best(layout, seen)
        if best is None:
            break
        found.append(best)
        left = _unspoilt(best.faults, len(layout.heat_share))
        seen = [_without(layout, one, best).only(left) for one in seen]
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


def _best(layout: Layout, seen: Sequence[Departure]) -> Found | None:
    """The plainest step by how far it is beyond what it takes; of the last day, the last two and so on."""
    best: Found | None = None
    for days, one in enumerate(seen, 1):
        said = likeness(layout, one)
        beyond = said.ratio / said.needed
        at = int(np.argmax(beyond))
        if beyond[at] > 1.0 and (best is None or beyond[at] > best.ratio / best.needed):
            best = _named(said, days, at)
    return best


def _named(said: Likeness, days: int, plainest: int) -> Found:
    at = int(np.argmax(said.like))
    like = np.flatnonzero(said.like >= said.like[at] - _LIKE)
    like = like[np.argsort(-said.like[like], kind="stable")]
    return Found(
        tuple(said.faults[n] for n in like), tuple(said.size[like].tolist()), float(said.size_u[at]), days,
        float(said.ratio[plainest]), float(said.needed[plainest]),
    )  # fmt: skip


def _without(layout: Layout, one: Departure, step: Found) -> Departure:
    """The same departure without what a consumer's fault did to the network's own signals in those days.

    Where one meter of a consumer may be meant or the other, half of the difference is uncertain.
    """
    at = step.faults[0].at
    if at < 0 or len({f.at for f in step.faults}) > 1:
        return one
    said = likeness(layout, one)
    named = [n for n, fault in enumerate(said.faults) if fault in step.faults]
    size, kinds = said.size[named], np.array([said.faults[n].kind for n in named])
    flow = kinds == Kind.FLOW
    on_heat = -layout.heat_share[at] * size * (flow | (kinds == Kind.HEAT_ONLY))
    on_water = -layout.mass_share[at] * size * flow
    ends = np.array([[on_heat.max(), on_water.max()], [on_heat.min(), on_water.min()]])
    size_u = said.size_u[named].max() * np.array([layout.heat_share[at], layout.mass_share[at]])
    return one.explained([HEAT, WATER], ends.mean(axis=0), (ends[0] - ends[1]) ** 2 / 4.0 + size_u**2)


def _unspoilt(faults: tuple[Fault, ...], count: int) -> BoolArray:
    """Signals that say something still once these faults are known."""
    left, first = np.ones(2 + 2 * count, dtype=bool), faults[0]
    if first.at >= 0:
        left[[2 + first.at, 2 + count + first.at]] = False
    if first.at < 0 or len({f.at for f in faults}) > 1:
        left[[HEAT, WATER]] = False
    return left
