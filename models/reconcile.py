"""Measured heat made to balance, and which of the measurements most likely does not belong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import spsolve
from scipy.special import chdtrc, chdtri, ndtri

from models.metered_tree import OUTSIDE, MeteredTree, TreeFactor, TreeOrder

__all__ = ["ALPHA", "Reconciled", "Suspect", "reconcile", "serial_elimination"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

ALPHA: Final = 0.05
"""How often a test may say something of sound meters."""
_LIKE: Final = 3.841
"""How much less a likelihood ratio may be before 95 % of luck no longer explains it (χ² of 1)."""
_MOST_FAULTS: Final = 5


@dataclass(frozen=True, slots=True)
class Reconciled:
    r"""Streams that balance; arrays of shape (streams,) and (nodes,).

    Attributes
    ----------
    value : ndarray
        Reconciled, NaN where neither measured nor determined by the others. [GJ]
    adjustment : ndarray
        Reconciled less measured, NaN where not measured. [GJ]
    statistic : ndarray
        :math:`|a_i| / \sqrt{W_{ii}}` of the measurement test; NaN where nothing checks a measurement.
    size, size_u : ndarray
        By how much a measurement is most likely off if it alone is, and the standard uncertainty of
        that: what the test can see. [GJ]
    node_statistic, node_size, node_size_u : ndarray
        The same of heat that a node loses unseen; NaN at nodes that do not balance by themselves.
    chi2 : float
        Of the global test, :math:`r^T H^{-1} r`.
    rank : int
        Its degrees of freedom.
    node_critical, critical : float
        What one of the nodal and of the measurement tests may reach by luck (Šidák).
    """

    value: FloatArray
    adjustment: FloatArray
    statistic: FloatArray
    size: FloatArray
    size_u: FloatArray
    node_statistic: FloatArray
    node_size: FloatArray
    node_size_u: FloatArray
    chi2: float
    rank: int
    node_critical: float
    critical: float

    @property
    def p_value(self) -> float:
        """How likely sound meters disagree at least as much."""
        return float(chdtrc(self.rank, self.chi2)) if self.rank else 1.0

    def fails(self, alpha: float = ALPHA) -> bool:
        """Whether the global test says that something is wrong."""
        return self.rank > 0 and self.chi2 > float(chdtri(self.rank, alpha))


@dataclass(frozen=True, slots=True)
class Suspect:
    """One thing that is wrong, and everything that would look the same.

    Attributes
    ----------
    streams, nodes : tuple of int
        Streams whose measurement, and nodes whose unseen loss, explains it, the likeliest first of each; the
        data do not tell them apart.
    likeliest_is_node : bool
        Whether a node's loss explains it best.
    size, size_u : float
        Of the likeliest, by how much it is off, and the standard uncertainty of that. [GJ]
    statistic : float
        Generalised likelihood ratio of the likeliest, χ² of 1 where nothing is wrong.
    """

    streams: tuple[int, ...]
    nodes: tuple[int, ...]
    likeliest_is_node: bool
    size: float
    size_u: float
    statistic: float


def reconcile(
    tree: MeteredTree,
    measured: FloatArray,
    u: FloatArray,
    *,
    alpha: float = ALPHA,
    open_nodes: BoolArray | None = None,
) -> Reconciled:
    r"""Weighted least squares over a tree: :math:`\hat x = y - V A^T (A V A^T)^{-1} A y`.

    Streams without a measurement are projected out, which in a tree means: nodes that one joins are one
    node, and a node that one leads out of does not balance by itself. A measurement's bias and its
    generalised likelihood ratio follow from :math:`f = A e_i`, a node's unseen loss from
    :math:`f = e_k`: size :math:`f^T H^{-1} r / f^T H^{-1} f`, ratio
    :math:`(f^T H^{-1} r)^2 / f^T H^{-1} f`, the square of the measurement test's statistic.

    Parameters
    ----------
    tree : MeteredTree
    measured : ndarray, shape (streams,)
        Along each stream's direction, NaN where it is not measured. [GJ]
    u : ndarray, shape (streams,)
        Standard uncertainty of it, above 0. [GJ]
    alpha : float
        Level of the tests together.
    open_nodes : ndarray of bool, shape (nodes,), optional
        Nodes known to lose heat unseen, which therefore do not balance.

    References
    ----------
    .. [1] S. Narasimhan, C. Jordache, Data Reconciliation and Gross Error Detection, 2000, chapters 3, 7, 8.
    .. [2] R. S. H. Mah, A. C. Tamhane, AIChE Journal 28 (1982) 828 (measurement test).
    .. [3] S. Narasimhan, R. S. H. Mah, AIChE Journal 33 (1987) 1514 (generalised likelihood ratio).

    Examples
    --------
    >>> tree = MeteredTree.of(["net"], [("plant", None, "net"), ("a", "net", None), ("b", "net", None)])
    >>> done = reconcile(tree, np.array([10.0, 4.0, 5.0]), np.array([0.2, 0.1, 0.1]))
    >>> done.value.round(2)
    array([9.33, 4.17, 5.17])
    >>> done.statistic.round(1)
    array([4.1, 4.1, 4.1])
    """
    lacking = np.isnan(measured) | np.isnan(u)
    known = ~lacking
    group, closed = _projected(tree, lacking, open_nodes)
    source, sink = _in_groups(tree, group)
    balanced = closed[group]
    number = np.cumsum(closed) - 1  # of groups that balance
    source, sink = (
        np.where((end != OUTSIDE) & closed[end] & known, number[end], OUTSIDE) for end in (source, sink)
    )
    rank = int(closed.sum())
    value, weight = np.where(known, measured, 0.0), np.where(known, u, 0.0) ** 2
    missing = np.zeros(rank)
    for end, sign in ((sink, 1.0), (source, -1.0)):
        there = end != OUTSIDE
        missing += sign * np.bincount(end[there], value[there], minlength=rank)
    factor = TreeFactor.of(TreeOrder.of(rank, source, sink), source, sink, weight)
    pull = factor.solve(missing)
    own, with_parent = factor.inverse()
    at_stream = _padded(pull, sink) - _padded(pull, source)  # f^T H^-1 r
    seen = _padded(own, sink) + _padded(own, source) - 2.0 * _across(factor.order, with_parent, source, sink)
    checked = known & ((source != OUTSIDE) | (sink != OUTSIDE)) & (seen > 0.0)
    statistic, size, size_u = _likelihood(at_stream, np.where(checked, seen, np.nan))
    adjustment = np.where(known, -weight * at_stream, np.nan)
    node_number = np.where(balanced, number[group], OUTSIDE)
    # Unseen loss leaves less than comes in: r is what is lost.
    node_statistic, node_size, node_size_u = _likelihood(
        _padded(pull, node_number), np.where(balanced, _padded(own, node_number), np.nan)
    )
    reconciled = np.where(known, measured + np.nan_to_num(adjustment), np.nan)
    lost = np.zeros(len(closed), dtype=bool)
    if open_nodes is not None:
        lost[group[open_nodes]] = True
    reconciled = _determined(tree, reconciled, lacking, group, closed, lost)
    return Reconciled(
        reconciled, adjustment, statistic, size, size_u, node_statistic, node_size, node_size_u,
        float(missing @ pull), rank, _sidak(alpha, rank), _sidak(alpha, int(checked.sum())),
    )  # fmt: skip


def _projected(
    tree: MeteredTree, lacking: BoolArray, open_nodes: BoolArray | None
) -> tuple[IntArray, BoolArray]:
    """Group of nodes that each node is one with, and whether each group balances by what is measured."""
    group = tree.joined(lacking)
    closed = np.ones(int(group.max(initial=-1)) + 1, dtype=bool)
    leads_out = lacking & ~tree.inner
    for end in (tree.source, tree.sink):
        closed[group[end[leads_out & (end != OUTSIDE)]]] = False
    if open_nodes is not None:
        closed[group[open_nodes]] = False
    return group, closed


def _in_groups(tree: MeteredTree, group: IntArray) -> tuple[IntArray, IntArray]:
    """Groups that streams leave and enter."""
    padded = np.append(group, OUTSIDE)  # OUTSIDE is the last
    return padded[tree.source], padded[tree.sink]


def _padded(values: FloatArray, at: IntArray) -> FloatArray:
    """Values at indices, 0 outside."""
    return np.asarray(np.append(values, 0.0)[at])


def _across(order: TreeOrder, with_parent: FloatArray, source: IntArray, sink: IntArray) -> FloatArray:
    """Entry of the inverse between the two ends of each stream, 0 where it has one end."""
    entry = np.zeros(len(source))
    for nodes, _, stream in order.levels:
        entry[stream] = with_parent[nodes]
    return np.where((source != OUTSIDE) & (sink != OUTSIDE), entry, 0.0)


def _likelihood(pull: FloatArray, seen: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Statistic, size and its uncertainty, of f^T H^-1 r and f^T H^-1 f."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.abs(pull) / np.sqrt(seen), pull / seen, 1.0 / np.sqrt(seen)


def _sidak(alpha: float, tests: int) -> float:
    """Two-sided quantile of a normal statistic for so many tests together."""
    if tests == 0:
        return float("inf")
    return float(-ndtri(-np.expm1(np.log1p(-alpha) / tests) / 2.0))


def _determined(
    tree: MeteredTree,
    value: FloatArray,
    lacking: BoolArray,
    group: IntArray,
    closed: BoolArray,
    lost: BoolArray,
) -> FloatArray:
    """Fill in what is not measured and follows from the rest: in a group that has at most one way out.

    Parameters otherwise as `reconcile` has them; `closed` and `lost` tell of groups whether they balance, and
    whether they lose heat unseen.
    """
    at = np.where(tree.sink != OUTSIDE, tree.sink, tree.source)
    ways_out = np.bincount(group[at[lacking & ~tree.inner]], minlength=len(closed))
    # From a group that loses heat unseen nothing follows.
    solvable = ~lost & (ways_out <= 1)
    wanted = np.flatnonzero(lacking & solvable[group[at]])
    if not len(wanted):
        return value
    nodes = np.flatnonzero(np.isin(group, group[at[wanted]]))
    # k nodes hang together by k - 1 streams: where nothing leads out, one balance repeats the others.
    first = np.zeros(len(nodes), dtype=bool)
    first[np.unique(group[nodes], return_index=True)[1]] = True
    nodes = nodes[~(first & closed[group[nodes]])]
    row = np.full(len(tree.nodes) + 1, OUTSIDE, dtype=np.int64)
    row[nodes] = np.arange(len(nodes))
    column = np.full(len(lacking), OUTSIDE, dtype=np.int64)
    column[wanted] = np.arange(len(wanted))
    got = np.zeros(len(nodes))
    entries: list[tuple[IntArray, IntArray, FloatArray]] = []
    for ends, sign in ((tree.sink, 1.0), (tree.source, -1.0)):
        here = row[ends] != OUTSIDE
        given, asked = np.flatnonzero(here & ~lacking), np.flatnonzero(here & (column != OUTSIDE))
        np.add.at(got, row[ends[given]], sign * value[given])
        entries.append((row[ends[asked]], column[asked], np.full(len(asked), sign)))
    rows, columns, signs = (np.concatenate([e[n] for e in entries]) for n in range(3))
    filled = value.copy()
    filled[wanted] = spsolve(coo_matrix((signs, (rows, columns)), (len(nodes),) * 2).tocsc(), -got)
    return filled


def serial_elimination(
    tree: MeteredTree, measured: FloatArray, u: FloatArray, *, alpha: float = ALPHA, most: int = _MOST_FAULTS
) -> tuple[Reconciled, tuple[Suspect, ...]]:
    """Take out what the tests find wrong, the likeliest first, until the rest agrees.

    Whoever is not clearly less likely than the likeliest is named with it: streams that leave one node
    look alike, whatever their size. A suspect may be a node, which then loses heat that nothing shows.

    Parameters
    ----------
    tree, measured, u, alpha
        As of `reconcile`.
    most : int
        How many faults to look for.

    Returns
    -------
    reconciled : Reconciled
        Without the suspects' likeliest.
    suspects : tuple of Suspect
    """
    left = measured.copy()
    lost = np.zeros(len(tree.nodes), dtype=bool)
    done = reconcile(tree, left, u, alpha=alpha, open_nodes=lost)
    suspects: list[Suspect] = []
    while len(suspects) < most and done.fails(alpha):
        suspect = _named(done)
        if suspect is None:
            break
        suspects.append(suspect)
        if suspect.likeliest_is_node:
            lost[suspect.nodes[0]] = True
        else:
            left[suspect.streams[0]] = np.nan
        done = reconcile(tree, left, u, alpha=alpha, open_nodes=lost)
    return done, tuple(suspects)


def _named(done: Reconciled) -> Suspect | None:
    """The likeliest fault, with all that are about as likely."""
    streams, nodes = np.nan_to_num(done.statistic) ** 2, np.nan_to_num(done.node_statistic) ** 2
    best = max(streams.max(initial=0.0), nodes.max(initial=0.0))
    if best <= min(done.critical, done.node_critical) ** 2:
        return None
    like_streams = np.flatnonzero(streams >= best - _LIKE)
    like_nodes = np.flatnonzero(nodes >= best - _LIKE)
    like_streams = like_streams[np.argsort(-streams[like_streams], kind="stable")]
    like_nodes = like_nodes[np.argsort(-nodes[like_nodes], kind="stable")]
    # Of equals a meter: meters fail more often than heat goes unseen.
    is_node = not len(like_streams) or bool(streams[like_streams[0]] < best * (1.0 - 1e-9))
    sizes = (done.node_size, done.node_size_u) if is_node else (done.size, done.size_u)
    at = int((like_nodes if is_node else like_streams)[0])
    return Suspect(
        tuple(like_streams.tolist()), tuple(like_nodes.tolist()), is_node,
        float(sizes[0][at]), float(sizes[1][at]), float(best),
    )  # fmt: skip
