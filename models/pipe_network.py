"""A network's pipes as a graph: how flows spread over them, and which way water goes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from models.pipe import DEFAULT_U_SHARE, REGISTERED_U_SHARE, default_u_w_m_k
from models.site import Pipe

__all__ = ["PipeNetwork"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_ROUNDS: Final = 40
_SETTLED: Final = 1e-6
_LEAST_SHARE: Final = 1e-4


@dataclass(frozen=True, slots=True)
class PipeNetwork:
    """Pairs of supply and return pipe between nodes; arrays of shape (pipes,).

    Attributes
    ----------
    nodes : dict of str to int
        Index of each node by its name.
    up, down : ndarray of int64
        The ends of each pipe.
    volume_m3 : ndarray
        Content of one pipe of the pair. [m³]
    loss_w_k : ndarray
        U times length of one pipe. [W/K]
    loss_share : ndarray
        Standard uncertainty of it, over itself.
    conductance : ndarray
        Inner diameter to the fifth over length: turbulent friction is the flow squared over it. [m⁴]
    """

    nodes: dict[str, int]
    up: IntArray
    down: IntArray
    volume_m3: FloatArray
    loss_w_k: FloatArray
    loss_share: FloatArray
    conductance: FloatArray

    @classmethod
    def of(cls, pipes: Iterable[Pipe]) -> PipeNetwork:
        """The graph of the registered pipes of one network; of an unknown U a typical one is taken."""
        rows = sorted(pipes, key=lambda p: p.pipe)
        names = sorted({n for p in rows for n in (p.from_node, p.to_node)})
        nodes = {name: at for at, name in enumerate(names)}
        length = np.array([p.length_m for p in rows], dtype=np.float64)
        inner = np.array([p.inner_diameter_m for p in rows], dtype=np.float64)
        u = np.array([np.nan if p.u_w_m_k is None else p.u_w_m_k for p in rows], dtype=np.float64)
        return cls(
            nodes,
            np.array([nodes[p.from_node] for p in rows], dtype=np.int64),
            np.array([nodes[p.to_node] for p in rows], dtype=np.int64),
            np.pi / 4.0 * inner**2 * length,
            np.where(np.isnan(u), default_u_w_m_k(inner), u) * length,
            np.where(np.isnan(u), DEFAULT_U_SHARE, REGISTERED_U_SHARE),
            inner**5 / length,
        )

    def losing(self, factor: float, share: float) -> PipeNetwork:
        """The same pipes losing `factor` times as much, with its standard uncertainty over itself."""
        return replace(self, loss_w_k=factor * self.loss_w_k, loss_share=np.full(len(self.up), share))

    @property
    def loops(self) -> int:
        """How many pipes there are beyond those of a tree; 0 for a tree."""
        parts, _ = self._parts()
        return len(self.up) - len(self.nodes) + parts

    def apart(self, roots: Collection[str]) -> str | None:
        """A node that no pipes join to any of `roots`, or None."""
        _, part = self._parts()
        joined = {int(part[self.nodes[name]]) for name in roots if name in self.nodes}
        return next((name for name, at in self.nodes.items() if int(part[at]) not in joined), None)

    def _parts(self) -> tuple[int, IntArray]:
        size = len(self.nodes)
        graph = coo_matrix((np.ones(len(self.up)), (self.up, self.down)), (size, size))
        number, part = connected_components(graph, directed=False)
        return int(number), np.asarray(part, dtype=np.int64)

    def flows(self, draw_kg_s: FloatArray, root: int) -> tuple[FloatArray, IntArray]:
        r"""Flow of each pipe for what leaves at each node.

        In a tree it is the sum of what lies behind a pipe. Around a loop friction, as
        :math:`\dot m^2 L / d^5`, adds up to nothing at the mean of the columns, found by the
        linear theory method [1]_; at each column the flow spreads as it does near that mean.

        Parameters
        ----------
        draw_kg_s : ndarray, shape (nodes, n)
            What leaves the pipes at each node, negative where water comes in; the root gives what is missing.
        root : int
            Index of a node; all others have to be joined to it.

        Returns
        -------
        flow_kg_s : ndarray, shape (pipes, n)
            Positive from `up` to `down`.
        rank : ndarray of int64, shape (nodes,)
            Order of the nodes from sources to ends: rises along each pipe as water flows at the mean.

        References
        ----------
        .. [1] D. J. Wood, C. O. A. Charles, J. Hydraulics Division ASCE 98 (1972) 1157.
        """
        mean = draw_kg_s.mean(axis=1, keepdims=True)
        ease = np.ones(len(self.up))
        if self.loops:
            ease = self._settled_ease(mean, root)
        height = self._heights(np.concatenate([draw_kg_s, mean], axis=1), ease, root)
        flow: FloatArray = ease[:, None] * (height[self.up] - height[self.down])
        rank = np.empty(len(height), dtype=np.int64)
        rank[np.argsort(-height[:, -1], kind="stable")] = np.arange(len(height))
        return flow[:, :-1], rank

    def _settled_ease(self, mean_kg_s: FloatArray, root: int) -> FloatArray:
        """Flow over friction of each pipe near the mean flows, looked for round by round."""
        least = _LEAST_SHARE * max(float(np.abs(mean_kg_s).sum()), 1e-9)
        flow = np.full(len(self.up), float(np.abs(mean_kg_s).sum()) / 2.0 + least)
        ease = self.conductance / flow
        for _ in range(_ROUNDS):
            height = self._heights(mean_kg_s, ease, root)[:, 0]
            now = np.abs(ease * (height[self.up] - height[self.down]))
            # The mean of two rounds: by itself the method swings about the solution.
            after: FloatArray = np.maximum((now + flow) / 2.0, least)
            if np.abs(after - flow).max(initial=0.0) < _SETTLED * after.max(initial=1.0):
                break
            flow, ease = after, self.conductance / after
        return np.asarray(ease)

    def _heights(self, draw_kg_s: FloatArray, ease: FloatArray, root: int) -> FloatArray:
        """Potential of each node over the root's, whose differences times `ease` are the flows."""
        size = len(self.nodes)
        scale = float(ease.max())  # so that wide and narrow pipes keep their digits
        share = np.maximum(ease / scale, 1e-14)
        rows = np.concatenate([self.up, self.down, self.up, self.down])
        columns = np.concatenate([self.up, self.down, self.down, self.up])
        matrix = coo_matrix((np.concatenate([share, share, -share, -share]), (rows, columns)), (size, size))
        others = np.flatnonzero(np.arange(size) != root)
        height = np.zeros((size, draw_kg_s.shape[1]))
        solved = splu(matrix.tocsc()[others][:, others]).solve(np.ascontiguousarray(-draw_kg_s[others]))
        height[others] = solved / scale
        return np.asarray(height)
