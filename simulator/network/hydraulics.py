"""How flows spread over a graph of pipes, and what pressure they cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import splu

from simulator import water

__all__ = ["ROUGHNESS_M", "Graph", "NetworkError", "pressure_drop_pa"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Mask = NDArray[np.bool_]

ROUGHNESS_M: Final = 1e-4
"""Inner roughness of a steel pipe in service. [m]"""
_LAMINAR_RE: Final = 2300.0
_NOTHING_KG_S: Final = 1e-12  # where nobody draws, rounding alone keeps water in a ring moving


class NetworkError(ValueError):
    """Pipes that make no network; says which node or pipe."""


def pressure_drop_pa(
    flow_kg_s: Array, length_m: Array, diameter_m: Array, t_c: Array, roughness_m: float | Array = ROUGHNESS_M
) -> Array:
    r"""Friction along pipes, :math:`\lambda L/d\,\rho v^2/2`, signed like the flow. [Pa].

    λ is Colebrook's, taken from Haaland's formula by two fixed-point steps; 64/Re below
    Re 2300 and a straight line between the two up to 4000.

    References
    ----------
    .. [1] C. F. Colebrook, J. Inst. Civ. Eng. 11 (1939) 133; S. E. Haaland, J. Fluids Eng. 105 (1983) 89.
    """
    rho, mu = water.density_kg_m3(t_c), water.viscosity_pa_s(t_c)
    area = np.pi / 4.0 * diameter_m**2
    speed = flow_kg_s / (rho * area)
    reynolds = np.maximum(np.abs(speed) * rho * diameter_m / mu, 1e-6)
    turbulent = np.maximum(reynolds, 4000.0)
    relative = roughness_m / diameter_m / 3.7
    inverse = -1.8 * np.log10(relative**1.11 + 6.9 / turbulent)
    for _ in range(2):
        inverse = -2.0 * np.log10(relative + 2.51 * inverse / turbulent)
    blend = np.clip((reynolds - _LAMINAR_RE) / (4000.0 - _LAMINAR_RE), 0.0, 1.0)
    friction = (1.0 - blend) * 64.0 / np.minimum(reynolds, 4000.0) + blend / inverse**2
    drop: Array = friction * length_m / diameter_m * rho * speed * np.abs(speed) / 2.0
    return drop


class Graph:
    """Pipes between nodes, with one node whose pressure is given.

    A tree's flows follow from what its nodes draw. Each pipe more than a tree
    needs closes a loop, around which pressure drops must add up to nothing.

    Parameters
    ----------
    from_node, to_node : sequence of str
        Ends of the pipes.
    root : str
        Node of the plant: its pressure is given, and it supplies whatever the others draw.

    Attributes
    ----------
    nodes : tuple of str
    from_index, to_index : ndarray of int, shape (pipes,)
    """

    def __init__(self, from_node: tuple[str, ...], to_node: tuple[str, ...], root: str) -> None:
        self.nodes = tuple(
            dict.fromkeys([root, *(n for pair in zip(from_node, to_node, strict=True) for n in pair)])
        )
        self.index = {name: i for i, name in enumerate(self.nodes)}
        self.from_index = np.array([self.index[n] for n in from_node], dtype=np.int64)
        self.to_index = np.array([self.index[n] for n in to_node], dtype=np.int64)
        if root not in (*from_node, *to_node):
            raise NetworkError(f"expected a pipe at the plant's node {root!r}, got none")
        self._split()

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the factors, which SuperLU cannot write down."""
        return {name: value for name, value in self.__dict__.items() if name != "_factor"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._factor = self._factorised()

    def _split(self) -> None:
        """Choose a spanning tree; factorise it; the rest of the pipes are chords."""
        parent = list(range(len(self.nodes)))

        def find(node: int) -> int:
            while parent[node] != node:
                parent[node] = parent[parent[node]]
                node = parent[node]
            return node

        tree, chords = [], []
        for pipe, (a, b) in enumerate(zip(self.from_index.tolist(), self.to_index.tolist(), strict=True)):
            low, high = find(a), find(b)
            if low == high:
                chords.append(pipe)
            else:
                parent[low] = high
                tree.append(pipe)
        away = [name for i, name in enumerate(self.nodes) if find(i) != find(0)]
        if away:
            raise NetworkError(f"expected every node to be joined to the plant, got {away[0]!r} apart")
        self.tree, self.chords = np.array(tree, dtype=np.int64), np.array(chords, dtype=np.int64)
        self._factor = self._factorised()
        self._loops = self._chord_flows()
        self._warm = np.zeros(len(chords))

    def _factorised(self) -> Any:
        """Factors of the tree's balance at every node but the root."""
        tree = self.tree
        rows = np.concatenate([self.to_index[tree], self.from_index[tree]]) - 1
        columns = np.tile(np.arange(len(tree)), 2)
        signs = np.repeat([1.0, -1.0], len(tree))
        kept, size = rows >= 0, len(self.nodes) - 1
        return splu(coo_matrix((signs[kept], (rows[kept], columns[kept])), (size, size)).tocsc())

    def _chord_flows(self) -> Array:
        """Flow of every pipe for one unit through each chord, shape (pipes, chords)."""
        loops = np.zeros((len(self.from_index), len(self.chords)))
        for column, chord in enumerate(self.chords):
            draw = np.zeros(len(self.nodes))
            draw[self.to_index[chord]] -= 1.0
            draw[self.from_index[chord]] += 1.0
            loops[self.tree, column] = self._factor.solve(draw[1:])
            loops[chord, column] = 1.0
        return loops

    def flows(self, draw_kg_s: Array, drop_pa: Callable[[Array], Array]) -> Array:
        """Flow of each pipe, positive from its first node to its second. [kg/s].

        Parameters
        ----------
        draw_kg_s : ndarray, shape (nodes,)
            What leaves the graph at each node; the root's entry is ignored.
        drop_pa : callable
            Pressure drop along each pipe for given flows.

        Raises
        ------
        NetworkError
            Loop pressures did not settle.
        """
        flow = np.zeros(len(self.from_index))
        flow[self.tree] = self._factor.solve(draw_kg_s[1:])
        if not len(self.chords):
            return flow
        x = self._warm.copy()
        scale = max(float(np.abs(draw_kg_s[1:]).sum()), 1e-9)
        for _ in range(60):
            now = flow + self._loops @ x
            drop = drop_pa(now)
            nudge = 1e-6 * scale
            slope = (drop_pa(now + nudge) - drop) / nudge + 1e-9
            step = np.linalg.solve(self._loops.T @ (slope[:, None] * self._loops), -(self._loops.T @ drop))
            x += step
            if np.abs(step).max() < max(1e-9 * scale, _NOTHING_KG_S):
                self._warm = x
                result: Array = flow + self._loops @ x
                return result
        raise NetworkError(f"expected loop flows to settle, got a last step of {np.abs(step).max():.3g} kg/s")

    def pressures_pa(self, drop_pa: Array) -> Array:
        """Pressure of each node over the root's, from the drop along each pipe. [Pa]."""
        result = np.zeros(len(self.nodes))
        result[1:] = self._factor.solve(-drop_pa[self.tree], trans="T")
        return result

    def order(self, pipes: Index, up: Index, down: Index) -> list[Index]:
        """Some pipes in the order in which water passes them: each group after all of them that feed it.

        Parameters
        ----------
        pipes : ndarray of int
            Which pipes.
        up, down : ndarray of int, shape (all pipes,)
            The nodes from and to which water flows.

        Raises
        ------
        NetworkError
            Water would run in a ring: `straighten` it first.
        """
        waiting = np.bincount(down[pipes], minlength=len(self.nodes))
        groups: list[Index] = []
        while len(pipes):
            ready = waiting[up[pipes]] == 0
            if not ready.any():
                raise NetworkError(
                    "expected water to flow from the plant outward, got a ring that feeds itself"
                )
            groups.append(pipes[ready])
            waiting -= np.bincount(down[groups[-1]], minlength=len(self.nodes))
            pipes = pipes[~ready]
        return groups

    def _beyond(self, forward: Mask, moving: Mask) -> Mask:
        """The pipes that lie in a ring of flow or beyond one."""
        up = np.where(forward, self.from_index, self.to_index)
        down = np.where(forward, self.to_index, self.from_index)
        waiting = np.bincount(down[moving], minlength=len(self.nodes))
        rest = np.ones(len(up), dtype=bool)
        while rest.any():
            group = np.flatnonzero((waiting == 0)[up] & rest)
            if not len(group):
                break
            rest[group] = False
            waiting -= np.bincount(down[group][moving[group]], minlength=len(self.nodes))
        return rest

    def straighten(self, flow_kg_s: Array) -> Array:
        """Take out flows that run in a ring; gives flows with the same balance at every node.

        No pressure drives such a ring: it is what the solver leaves of water that stands.
        """
        flow = flow_kg_s.copy()
        while len(self.chords):
            rest = self._beyond(flow > 0.0, flow != 0.0) & (flow != 0.0)
            if not rest.any():
                break
            up = np.where(flow > 0.0, self.from_index, self.to_index)
            down = np.where(flow > 0.0, self.to_index, self.from_index)
            # Every node before a pipe of the rest is fed by one of the rest: upstream leads round and round.
            feeder = {int(down[pipe]): int(pipe) for pipe in np.flatnonzero(rest)}
            path, pipe = list[int](), feeder[int(up[np.flatnonzero(rest)[0]])]
            while pipe not in path:
                path.append(pipe)
                pipe = feeder[int(up[pipe])]
            ring = np.array(path[path.index(pipe) :])
            least = ring[np.argmin(np.abs(flow[ring]))]
            flow[ring] -= np.sign(flow[ring]) * abs(flow[least])
            flow[least] = 0.0
        return flow
