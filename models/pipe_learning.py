"""What pipes really lose, learnt from how much cooler water arrives: where it is long enough on its way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.pipe_network import PipeNetwork
from models.secondary_heat import sensor_mpe_k
from models.water import heat_capacity_kj_kg_k

__all__ = ["Arrivals", "LossFactor", "expected_drop_k", "learnt_factor", "noted"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_PRIOR: Final = 0.5  # of the factor: so wide that the data decide
_DAY_K: Final = 0.2  # of a day's mean drop: delays, weights of means
_LEAST_KG_S: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Sums over days of each consumer; arrays of shape (consumers,).

    Attributes
    ----------
    days : ndarray
    slope, slopes : ndarray
        Sum of what a factor of 1 adds to the drop, and of its square. [K], [K²]
    off, product : ndarray
        Sum of the measured drop less the expected, and of its product with the slope. [K], [K²]
    """

    days: FloatArray
    slope: FloatArray
    slopes: FloatArray
    off: FloatArray
    product: FloatArray

    @classmethod
    def empty(cls, consumers: int) -> Arrivals:
        """No day yet."""
        return cls(*np.zeros((5, consumers)))


@dataclass(frozen=True, slots=True)
class LossFactor:
    """U of a network's pipes over the registered.

    Attributes
    ----------
    factor, factor_u : float
        And its standard uncertainty.
    drop_k : float
        Mean drop of the supply from plant to consumers that it rests on. [K]
    """

    factor: float
    factor_u: float
    drop_k: float


def expected_drop_k(
    pipes: PipeNetwork,
    draw_kg_s: FloatArray,
    root: int,
    supply_c: float,
    ground_c: float,
    factor: float = 1.0,
) -> tuple[FloatArray, FloatArray]:
    r"""How much the supply cools from the root to each node of a tree, and what more U adds.

    Along the way :math:`N = \sum U L / (\dot m c_p)`: with U times a factor F the drop is
    :math:`(T - T_g)(1 - e^{-FN})`, and a little more F adds :math:`(T - T_g)\,N e^{-FN}`. What is
    given is the tangent at `factor`, drawn back to a factor of 1: so days may be added up of which each
    is linear about the best that was known.

    Parameters
    ----------
    pipes : PipeNetwork
        A tree.
    draw_kg_s : ndarray, shape (nodes,)
        Mean of what leaves at each node; the root gives it. [kg/s]
    root : int
    supply_c, ground_c : float
        At the root, and of the ground. [°C]
    factor : float
        About what U is over the registered.

    Returns
    -------
    drop_k, slope_k : ndarray, shape (nodes,)
        NaN where no water flows. [K]

    References
    ----------
    .. [1] S. Frederiksen, S. Werner, District Heating and Cooling, 2013, chapter 5.
    """
    flow, rank = pipes.flows(draw_kg_s[:, None], root)
    size = len(pipes.nodes)
    moved = np.abs(flow[:, 0])
    capacity = 1000.0 * float(heat_capacity_kj_kg_k(supply_c))
    units = np.where(
        moved > _LEAST_KG_S, pipes.loss_w_k / np.where(moved > _LEAST_KG_S, moved, 1.0) / capacity, np.nan
    )
    forward = rank[pipes.up] < rank[pipes.down]
    start, end = np.where(forward, pipes.up, pipes.down), np.where(forward, pipes.down, pipes.up)
    total = np.full(size, np.nan)
    total[root] = 0.0
    for pipe in np.argsort(rank[start], kind="stable").tolist():
        total[end[pipe]] = total[start[pipe]] + units[pipe]
    above = supply_c - ground_c
    left = np.exp(-factor * total)
    slope_k = above * total * left
    return above * (1.0 - left) - (factor - 1.0) * slope_k, slope_k


def noted(before: Arrivals, drop_k: FloatArray, expected_k: FloatArray, slope_k: FloatArray) -> Arrivals:
    """Take in the mean drops of a day, NaN where one is not known. [K]"""
    off = drop_k - expected_k
    there = np.isfinite(off) & np.isfinite(slope_k)
    off, slope = np.where(there, off, 0.0), np.where(there, slope_k, 0.0)
    return Arrivals(
        before.days + there,
        before.slope + slope,
        before.slopes + slope**2,
        before.off + off,
        before.product + slope * off,
    )


def learnt_factor(seen: Arrivals, supply_c: float) -> LossFactor | None:
    r"""U over the registered, from drops of days and of sensors that are off, always by the same.

    The drop that consumer i measures on day d is the expected + :math:`\varphi g_{id} + b_0 - b_i` + a
    day's scatter of 0.2 K, where the plant's :math:`b_0` and each :math:`b_i` are normal with the variance
    of class B's tolerance. The b are eliminated; what remains is two equations for
    :math:`\varphi` and :math:`b_0`.

    Parameters
    ----------
    seen : Arrivals
    supply_c : float
        About where the sensors stand. [°C]

    Returns
    -------
    LossFactor or None
        None without a day.

    References
    ----------
    .. [1] A. Gelman et al., Bayesian Data Analysis, 3rd ed., chapter 14 (linear model with priors); EN 60751.
    """
    some = seen.days > 0.0
    if not some.any():
        return None
    n, g, gg, r, gr = (x[some] for x in (seen.days, seen.slope, seen.slopes, seen.off, seen.product))
    sensor = float(sensor_mpe_k(supply_c)) ** 2 / 3.0
    scatter = _DAY_K**2
    own = 1.0 / (n + scatter / sensor)
    matrix = np.array([
        [(gg - g * g * own).sum(), (g - n * g * own).sum()],
        [(g - n * g * own).sum(), (n - n * n * own).sum()],
    ]) / scatter + np.diag([1.0 / _PRIOR**2, 1.0 / sensor])  # fmt: skip
    right = np.array([(gr - g * r * own).sum(), (r - n * r * own).sum()]) / scatter
    covariance = np.linalg.inv(matrix)
    more = float((covariance @ right)[0])
    return LossFactor(1.0 + more, float(np.sqrt(covariance[0, 0])), float(g.sum() / n.sum()))
