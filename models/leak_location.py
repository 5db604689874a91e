"""Where a leak is: its water costs pressure on its way, and only on its way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order

from models.pipe_network import PipeNetwork

__all__ = [
    "MOST_CANDIDATES", "PressureFit", "Residuals", "Situated", "fitted", "friction_kpa_s2_kg2",
    "nobody_knows", "residuals", "situated", "ways",
]  # fmt: skip

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MOST_CANDIDATES: Final = 3
"""More places than these are no answer for a crew."""

_ROUGHNESS_M: Final = 1e-4  # steel in service; what it is off by is learnt
_DENSITY_KG_M3: Final = 970.0
_PRIOR: Final = 0.3  # of friction over the registered: narrowed pipes, wrong diameters
_SENSOR_KPA: Final = 0.5  # scatter of a window, before any was seen
_LEAST_KPA: Final = 0.05
_TOGETHER: Final = 6  # windows that wander together: hours, as losses of water do
_PLANT_KPA: Final = 0.3  # by which the plant's sensors may have moved since
_OFF: Final = (
    0.2  # of what a leak is expected to cost: frictions of single pipes, by their diameter to the fifth
)
_SURE: Final = 0.95
_TELLS: Final = 4.0  # of log likelihood over no trace in the pressures: 55 to 1
_FITS: Final = 3.0  # mean square of residuals over what they may be at the best place
_SIZES: Final = (-1.0, 0.0, 1.0)  # of a leak, in its standard uncertainty


@dataclass(frozen=True, slots=True)
class PressureFit:
    """Each consumer's drop of pressure against the friction of registered pipes; shape (sides, consumers).

    The drop on a side is ``offset_kpa + share * friction``.

    Attributes
    ----------
    offset_kpa : ndarray
        Heights and sensors. [kPa]
    share, share_u : ndarray
        Friction over that of registered pipes, and its standard uncertainty.
    scatter_kpa : ndarray
        Standard deviation of a window about the line. [kPa]
    middle_kpa : ndarray
        Mean of the friction of registered pipes that it rests on. [kPa]
    steps : ndarray
        How many windows it rests on.
    """

    offset_kpa: FloatArray
    share: FloatArray
    share_u: FloatArray
    scatter_kpa: FloatArray
    middle_kpa: FloatArray
    steps: FloatArray


@dataclass(frozen=True, slots=True)
class Residuals:
    """By how much drops are larger than usual, shape (sides, consumers), NaN where unknown. [kPa]"""

    more_kpa: FloatArray
    u_kpa: FloatArray
    share: FloatArray


@dataclass(frozen=True, slots=True)
class Situated:
    """Where a leak is.

    Attributes
    ----------
    branch : int or None
        The pipe behind which it is, itself included; None where it may be anywhere.
    candidates : tuple of int
        The pipes of which it is one, likeliest first, at most three; empty where there are more.
    side : str
        `supply`, `return` or empty.
    confidence : float
        That it is behind the branch or, without one, at a candidate.
    reason : str
        Empty, or why it is not located: `no_pressure`, `no_trace` (a leak of this size need not show),
        `no_fit` (pressures have changed as no leak would change them), `many`.
    """

    branch: int | None
    candidates: tuple[int, ...]
    side: str
    confidence: float
    reason: str


def nobody_knows(reason: str) -> Situated:
    """Not located."""
    return Situated(None, (), "", 0.0, reason)


def friction_kpa_s2_kg2(pipes: PipeNetwork) -> FloatArray:
    r"""Drop of pressure of each pipe over the square of its flow, :math:`8 \lambda L / (\pi^2 \rho d^5)`.

    Fully rough, :math:`\lambda = [2 \log_{10}(3.7 d / \varepsilon)]^{-2}` with 0.1 mm.

    References
    ----------
    .. [1] J. Nikuradse, VDI-Forschungsheft 361 (1933); S. Frederiksen, S. Werner, District Heating and
       Cooling, 2013, chapter 10.
    """
    inner_m = (4.0 / np.pi * pipes.volume_m3 * pipes.conductance) ** (1.0 / 7.0)
    friction = (2.0 * np.log10(3.7 * inner_m / _ROUGHNESS_M)) ** -2.0
    return np.asarray(8.0 * friction / (np.pi**2 * _DENSITY_KG_M3 * pipes.conductance) / 1000.0)


def ways(pipes: PipeNetwork, root: int) -> csr_array:
    """Of a tree, which pipes lie between the root and each node: 1 where one does, shape (nodes, pipes)."""
    size, count = len(pipes.nodes), len(pipes.up)
    joined = csr_array((np.arange(1, count + 1), (pipes.up, pipes.down)), shape=(size, size))
    joined = (joined + joined.T).tocsr()
    order, before = breadth_first_order(joined, root, directed=False)
    path: list[list[int]] = [[] for _ in range(size)]
    for node in order[1:].tolist():
        parent = int(before[node])
        path[node] = [*path[parent], int(joined[parent, node]) - 1]
    rows = np.repeat(np.arange(size), [len(p) for p in path])
    columns = np.array([pipe for p in path for pipe in p], dtype=np.int64)
    return csr_array((np.ones(len(columns)), (rows, columns)), shape=(size, count))


def fitted(sums: FloatArray) -> PressureFit:
    r"""Lines of the drops of pressure over the friction of registered pipes.

    Least squares with a prior on the slope, 1 ± 0.3: drops of a day that hardly changes tell an offset,
    not a slope.

    Parameters
    ----------
    sums : ndarray, shape (6, sides, consumers)
        Number of windows, and sums of friction x, drop y, x², x y and y².

    References
    ----------
    .. [1] A. Gelman et al., Bayesian Data Analysis, 3rd ed., chapter 14 (linear model with priors).
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        n, sx, sy, sxx, sxy, syy = sums
        x, y = sx / n, sy / n
        xx, xy, yy = sxx - n * x * x, sxy - n * x * y, syy - n * y * y
        weak = _SENSOR_KPA**2 / _PRIOR**2
        for _ in range(2):
            share = (xy + weak) / (xx + weak)
            square = np.maximum(yy - 2.0 * share * xy + share**2 * xx, 0.0) / np.maximum(n - 2.0, 1.0)
            scatter = np.sqrt(np.maximum(square, _LEAST_KPA**2))
            weak = scatter**2 * _TOGETHER / _PRIOR**2
        share_u = scatter * np.sqrt(_TOGETHER / (xx + weak))
        return PressureFit(y - share * x, share, share_u, scatter, x, n)


def residuals(fit: PressureFit, sums: FloatArray, least_steps: float) -> Residuals:
    """What drops are over the usual line, in the mean of some windows.

    Parameters
    ----------
    fit : PressureFit
    sums : ndarray, shape (6, sides, consumers)
        As of `fitted`, of the windows asked about.
    least_steps : float
        That a fit has to rest on.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        n, sx, sy = sums[:3]
        x, y = sx / n, sy / n
        more = y - fit.offset_kpa - fit.share * x
        own = _TOGETHER / np.maximum(n, _TOGETHER) + _TOGETHER / np.maximum(fit.steps, _TOGETHER)
        u = np.sqrt(fit.scatter_kpa**2 * own + (fit.share_u * (x - fit.middle_kpa)) ** 2)
    known = (n > 0.0) & (fit.steps >= least_steps)
    return Residuals(np.where(known, more, np.nan), u, fit.share)


def situated(
    seen: Residuals,
    way: csr_array,
    at: IntArray,
    slope_kpa_s_kg: FloatArray,
    size_kg_s: float,
    size_u_kg_s: float,
) -> Situated:
    r"""Where a leak of a known size is, by what pressures do.

    A leak of :math:`m` at node k raises the drop of consumer i by :math:`m \sum 2 K q` over the pipes that
    the ways to both share; one in the return lowers that of the return by as much, for that water does not
    come home. All nodes of both sides are as likely beforehand. The plant's own sensors may have moved
    by 0.3 kPa, and what a leak costs is known to 20 %.

    Parameters
    ----------
    seen : Residuals
        Sides are supply and return.
    way : csr_array, shape (nodes, pipes)
        `ways`.
    at : ndarray of int64, shape (consumers,)
        Node of each.
    slope_kpa_s_kg : ndarray, shape (pipes,)
        2 K q: what one more kg/s costs in each pipe. [kPa s/kg]
    size_kg_s, size_u_kg_s : float
        Of the leak, and its standard uncertainty. [kg/s]

    References
    ----------
    .. [1] R. Pudar, J. Liggett, Leaks in pipe networks, J. Hydraulic Engineering 118 (1992) 1031.
    """
    known = np.isfinite(seen.more_kpa) & np.isfinite(seen.u_kpa)
    if known.sum() < MOST_CANDIDATES:
        return nobody_knows("no_pressure")
    shared = (way[at] * slope_kpa_s_kg) @ way.T  # (consumers, nodes): what 1 kg/s to a node costs each
    cost = np.asarray(shared.todense()).T
    nothing = np.zeros((1, len(at)))
    none = float((_likelihood(seen, 0, known, nothing)[0] + _likelihood(seen, 1, known, nothing)[0])[0])
    every, fits = [], []
    for side, sign in ((0, 1.0), (1, -1.0)):
        other, other_square = _likelihood(seen, 1 - side, known, nothing)
        of_sizes = []
        for step in _SIZES:
            size = max(size_kg_s + step * size_u_kg_s, 0.1 * size_kg_s)
            likely, square = _likelihood(seen, side, known, sign * size * seen.share[side] * cost)
            of_sizes.append(likely + other)
            fits.append(square + other_square)
        every.append(np.logaddexp.reduce(of_sizes, axis=0) - np.log(len(_SIZES)))
    found = np.array(every)
    if found.max() - none < _TELLS:
        return nobody_knows("no_trace")
    if np.min(fits) > _FITS * known.sum():
        return nobody_knows("no_fit")
    chance = np.exp(found - found.max())
    return _named(chance / chance.sum(), way)


def _likelihood(
    seen: Residuals, side: int, known: NDArray[np.bool_], expected_kpa: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Log likelihood of a side's residuals, and their square over what they may be, by rows of expected ones.

    The plant's sensor is off by the same for all.
    """
    mine = known[side]
    if not mine.any():
        return np.zeros(len(expected_kpa)), np.zeros(len(expected_kpa))
    expected = expected_kpa[:, mine]
    off = seen.more_kpa[side, mine] - expected
    weight = 1.0 / (seen.u_kpa[side, mine] ** 2 + (_OFF * expected) ** 2)
    total = weight.sum(axis=1) + _PLANT_KPA**-2
    square = (weight * off**2).sum(axis=1) - (weight * off).sum(axis=1) ** 2 / total
    spread = np.log(weight).sum(axis=1) - np.log(total * _PLANT_KPA**2)
    return 0.5 * (spread - square), square


def _named(chance: FloatArray, way: csr_array) -> Situated:
    """The branch and the candidates that hold nearly all of the chance, shape (sides, nodes)."""
    by_node = chance.sum(axis=0)
    sides = chance.sum(axis=1)
    side = ("supply", "return")[int(np.argmax(sides))] if sides.max() >= _SURE else ""
    behind = np.asarray(way.T @ by_node)
    nodes_behind = np.asarray(way.sum(axis=0))
    depth = np.asarray(way.sum(axis=1))
    # Pipes that hold it lie one behind the other: the last of them has the fewest nodes behind it.
    holds = np.flatnonzero((behind >= _SURE) & (nodes_behind <= way.shape[0] / 2.0))
    branch = int(holds[np.argmin(nodes_behind[holds])]) if len(holds) else None
    likeliest = np.argsort(-by_node, kind="stable")
    enough = int(np.searchsorted(np.cumsum(by_node[likeliest]), _SURE)) + 1
    nodes = likeliest[: enough if enough <= MOST_CANDIDATES else 0]
    nodes = nodes[depth[nodes] > 0]
    candidates = tuple(_last_pipe(way, int(node), nodes_behind) for node in nodes)
    if branch is None and not candidates:
        return Situated(None, (), side, 0.0, "many")
    confidence = float(behind[branch]) if branch is not None else float(by_node[nodes].sum())
    return Situated(branch, candidates, side, confidence, "")


def _last_pipe(way: csr_array, node: int, nodes_behind: FloatArray) -> int:
    """The pipe that ends at a node: of those on its way the one with the fewest nodes behind it."""
    mine = way.indices[way.indptr[node] : way.indptr[node + 1]]
    return int(mine[np.argmin(nodes_behind[mine])])
