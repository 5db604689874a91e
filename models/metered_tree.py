"""A tree of heat streams between balance nodes, and linear algebra that uses that it is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components

__all__ = ["OUTSIDE", "MeteredTree", "TreeFactor", "TreeOrder", "TreeShapeError"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

OUTSIDE = -1
"""Where a stream comes from or goes to when that is no node."""


class TreeShapeError(ValueError):
    """Streams and nodes that are no tree; says where."""


@dataclass(frozen=True, slots=True)
class MeteredTree:
    """Nodes at which heat balances, and streams between them and the outside.

    Attributes
    ----------
    nodes, streams : tuple of str
        Names.
    source, sink : ndarray of int64, shape (streams,)
        Node that each stream leaves and enters, or `OUTSIDE`.
    """

    nodes: tuple[str, ...]
    streams: tuple[str, ...]
    source: IntArray
    sink: IntArray

    @classmethod
    def of(cls, nodes: Sequence[str], streams: Sequence[tuple[str, str | None, str | None]]) -> MeteredTree:
        """Tree of named nodes and (name, source, sink) of streams; None is the outside.

        Raises
        ------
        TreeShapeError
            A stream closes a loop or joins what is no node; a node has no stream.

        Examples
        --------
        >>> MeteredTree.of(["a", "b"], [("in", None, "a"), ("ab", "a", "b"), ("again", "a", "b")])
        Traceback (most recent call last):
        models.metered_tree.TreeShapeError: stream again: expected a tree, got a loop from a to b
        """
        index = {name: at for at, name in enumerate(nodes)}
        for name, *ends in streams:
            for end in ends:
                if end is not None and end not in index:
                    msg = f"stream {name}: expected one of {len(index)} nodes, got {end!r}"
                    raise TreeShapeError(msg)
        ends_of = [[OUTSIDE if e is None else index[e] for e in ends] for _, *ends in streams]
        at = np.array(ends_of, dtype=np.int64).reshape(-1, 2)
        loose = np.flatnonzero((at == OUTSIDE).all(axis=1))
        if len(loose):
            msg = f"stream {streams[int(loose[0])][0]}: expected a node at one end, got none"
            raise TreeShapeError(msg)
        tree = cls(tuple(nodes), tuple(name for name, *_ in streams), at[:, 0], at[:, 1])
        tree._check()
        return tree

    def _check(self) -> None:
        touched = np.zeros(len(self.nodes) + 1, dtype=bool)  # the last is the outside
        touched[self.source] = touched[self.sink] = True
        if not touched[:-1].all():
            name = self.nodes[int(np.flatnonzero(~touched[:-1])[0])]
            msg = f"node {name}: expected a stream that joins it, got none"
            raise TreeShapeError(msg)
        inner = np.flatnonzero(self.inner)
        parts, _ = connected_components(self._graph(inner), directed=False)
        if len(inner) == len(self.nodes) - parts:
            return
        # Looked for one by one only now that it is known to be there.
        root = list(range(len(self.nodes)))

        def top(node: int) -> int:
            while root[node] != node:
                root[node] = root[root[node]]
                node = root[node]
            return node

        for stream in inner.tolist():
            a, b = top(int(self.source[stream])), top(int(self.sink[stream]))
            if a == b:
                ends = self.nodes[self.source[stream]], self.nodes[self.sink[stream]]
                msg = (
                    f"stream {self.streams[stream]}: expected a tree, got a loop from {ends[0]} to {ends[1]}"
                )
                raise TreeShapeError(msg)
            root[a] = b

    @property
    def inner(self) -> BoolArray:
        """Whether each stream joins two nodes."""
        return np.asarray((self.source != OUTSIDE) & (self.sink != OUTSIDE))

    def _graph(self, streams: IntArray) -> coo_matrix:
        size = len(self.nodes)
        return coo_matrix((np.ones(len(streams)), (self.source[streams], self.sink[streams])), (size, size))

    def joined(self, streams: BoolArray) -> IntArray:
        """Label of the group that each node is in when the inner ones of `streams` join nodes."""
        _, label = connected_components(self._graph(np.flatnonzero(streams & self.inner)), directed=False)
        return np.asarray(label, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class TreeOrder:
    """Nodes of a forest by depth, so that each depth is one vectorised step.

    Attributes
    ----------
    size : int
        How many nodes there are.
    levels : tuple of (ndarray, ndarray, ndarray)
        Of each depth below the roots, deepest first: its nodes, their parents, and the stream to the parent.
    """

    size: int
    levels: tuple[tuple[IntArray, IntArray, IntArray], ...]

    @classmethod
    def of(cls, size: int, source: IntArray, sink: IntArray) -> TreeOrder:
        """Order `size` nodes that streams join without a loop; ends of `OUTSIDE` join nothing."""
        inner = np.flatnonzero((source != OUTSIDE) & (sink != OUTSIDE))
        rows, columns = source[inner], sink[inner]
        _, part = connected_components(coo_matrix((np.ones(len(inner)), (rows, columns)), (size, size)))
        roots = np.unique(part, return_index=True)[1]
        # One more node above all roots makes of the forest a tree.
        everyone = np.concatenate([np.ones(len(inner)), np.ones(len(roots))])
        up, down = np.append(rows, np.full(len(roots), size)), np.append(columns, roots)
        graph = coo_matrix((everyone, (up, down)), (size + 1, size + 1)).tocsr()
        order, parent = breadth_first_order(graph, size, directed=False)
        stream_of = np.full(size + 1, -1, dtype=np.int64)
        stream_of[np.where(parent[rows] == columns, rows, columns)] = inner
        place = np.empty(size + 1, dtype=np.int64)
        place[order] = np.arange(size + 1)
        below = order[1:].astype(np.int64)
        above = place[parent[below]]  # rises, for breadth goes first
        levels, low = [], 0
        while low < size:
            high = int(np.searchsorted(above, 1 + low))
            nodes = below[low:high]
            levels.append((nodes, parent[nodes].astype(np.int64), stream_of[nodes]))
            low = high
        return cls(size, tuple(levels[:0:-1]))


@dataclass(frozen=True, slots=True)
class TreeFactor:
    r"""Factors of :math:`H = A V A^T` of a tree, eliminated from its ends so that nothing fills in.

    Attributes
    ----------
    order : TreeOrder
    pivot, share : ndarray, shape (nodes,)
        Diagonal, and what each node passes on to its parent.
    """

    order: TreeOrder
    pivot: FloatArray
    share: FloatArray

    @classmethod
    def of(cls, order: TreeOrder, source: IntArray, sink: IntArray, variance: FloatArray) -> TreeFactor:
        """Factors for the variances of streams; a node without any uncertainty gets the least there is."""
        pivot = np.zeros(order.size)
        for end in (source, sink):
            there = end != OUTSIDE
            pivot += np.bincount(end[there], variance[there], minlength=order.size)
        least = max(float(pivot.max(initial=0.0)), 1e-12) * 1e-12
        share = np.zeros(order.size)
        for nodes, parent, stream in order.levels:
            np.maximum.at(pivot, nodes, least)
            share[nodes] = -variance[stream] / pivot[nodes]
            np.subtract.at(pivot, parent, share[nodes] ** 2 * pivot[nodes])
        return cls(order, np.maximum(pivot, least), share)

    def solve(self, right: FloatArray) -> FloatArray:
        """What H makes `right` of, shape (nodes,)."""
        x = right.copy()
        for nodes, parent, _ in self.order.levels:
            np.subtract.at(x, parent, self.share[nodes] * x[nodes])
        x /= self.pivot
        for nodes, parent, _ in reversed(self.order.levels):
            x[nodes] -= self.share[nodes] * x[parent]
        return x

    def inverse(self) -> tuple[FloatArray, FloatArray]:
        """Diagonal of the inverse, and its entry of each node with its parent (0 at a root)."""
        own, with_parent = 1.0 / self.pivot, np.zeros(self.order.size)
        for nodes, parent, _ in reversed(self.order.levels):
            with_parent[nodes] = -self.share[nodes] * own[parent]
            own[nodes] += self.share[nodes] ** 2 * own[parent]
        return own, with_parent
