"""Where devices hang in the pipes: who is next to whom, and which branch a group of them has in common."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.site import Site

__all__ = ["Branch", "Branches", "branches_of", "nearest"]

IntArray = NDArray[np.int64]

NEIGHBOURS: Final = 5
_FARTHEST: Final = 400
"""Nodes that are looked at for neighbours."""


@dataclass(frozen=True, slots=True)
class Branch:
    """Part of a network behind one pipe, or the whole of it.

    Attributes
    ----------
    pipe : str
        Empty for the whole network.
    node : str
        Where it begins.
    members, hit : int
        Consumers in it, and how many of them are among those asked about.
    """

    pipe: str
    node: str
    members: int
    hit: int


def _adjacent(site: Site, network: str) -> dict[str, list[tuple[str, float, str]]]:
    found: dict[str, list[tuple[str, float, str]]] = {}
    for pipe in site.pipes.values():
        if pipe.network == network:
            found.setdefault(pipe.from_node, []).append((pipe.to_node, pipe.length_m, pipe.pipe))
            found.setdefault(pipe.to_node, []).append((pipe.from_node, pipe.length_m, pipe.pipe))
    return found


def nearest(site: Site, ids: Sequence[str]) -> IntArray:
    """For each device the consumers of its network that are nearest to it along the pipes.

    Returns
    -------
    ndarray of int64, shape (devices, 5)
        Places in `ids`; −1 where there are no more, or no pipes.
    """
    out = np.full((len(ids), NEIGHBOURS), -1, dtype=np.int64)
    index = {name: at for at, name in enumerate(ids)}
    for network in site.networks:
        adjacent = _adjacent(site, network)
        at_node: dict[str, list[int]] = {}
        for d in site.devices.values():
            if d.network == network and d.device_class == "substation" and d.node and d.device in index:
                at_node.setdefault(d.node, []).append(index[d.device])
        for node, here in at_node.items():
            found = _near(node, adjacent, at_node)
            for at in here:
                others = [n for n in found if n != at][:NEIGHBOURS]
                out[at, : len(others)] = others
    return out


def _near(
    start: str, adjacent: Mapping[str, Sequence[tuple[str, float, str]]], at_node: Mapping[str, Sequence[int]]
) -> list[int]:
    """Devices in the order of their distance from a node, a few more than are asked for."""
    found: list[int] = []
    heap, seen = [(0.0, start)], set[str]()
    while heap and len(found) <= NEIGHBOURS and len(seen) < _FARTHEST:
        far, node = heappop(heap)
        if node in seen:
            continue
        seen.add(node)
        found += at_node.get(node, ())
        for other, length, _ in adjacent.get(node, ()):
            if other not in seen:
                heappush(heap, (far + length, other))
    return found


class Branches:
    """A network as a tree from its plant; what closes a ring belongs to nobody.

    Parameters
    ----------
    site : Site
    network : str
    """

    def __init__(self, site: Site, network: str) -> None:
        devices = sorted((d for d in site.devices.values() if d.network == network), key=lambda d: d.device)
        self._consumers = {d.device: d.node or "" for d in devices if d.device_class != "plant"}
        roots = [d.node for d in devices if d.device_class == "plant" and d.node]
        self._root = roots[0] if roots else ""
        self._above: dict[str, tuple[str, str]] = {}
        self._order: list[str] = []
        adjacent = _adjacent(site, network)
        waiting, seen = [self._root], {self._root}
        while waiting:
            node = waiting.pop(0)
            self._order.append(node)
            for other, _, pipe in sorted(adjacent.get(node, ())):
                if other not in seen:
                    seen.add(other)
                    self._above[other] = (node, pipe)
                    waiting.append(other)

    def common(self, names: Collection[str], least_share: float) -> list[Branch]:
        """Largest branches of which at least `least_share` of the consumers are among `names`, apart.

        Branches with one consumer are none; the first has the most of them.
        """
        members = dict.fromkeys(self._order, 0)
        hit = dict.fromkeys(self._order, 0)
        for name, node in self._consumers.items():
            home = node if node in members else self._root
            if home in members:
                members[home] += 1
                hit[home] += name in names
        for node in reversed(self._order[1:]):
            up = self._above[node][0]
            members[up] += members[node]
            hit[up] += hit[node]
        found: list[Branch] = []
        covered = set[str]()
        for node in self._order:
            above = self._above.get(node)
            if above and above[0] in covered:
                covered.add(node)
            elif members[node] > 1 and hit[node] >= least_share * members[node]:
                covered.add(node)
                found.append(Branch(above[1] if above else "", node, members[node], hit[node]))
        return sorted(found, key=lambda b: (-b.hit, b.node))

    def within(self, branch: Branch) -> set[str]:
        """Consumers of a branch."""
        inside = {branch.node}
        for node in self._order:
            above = self._above.get(node)
            if above and above[0] in inside:
                inside.add(node)
        whole = branch.node == self._root
        return {
            n for n, node in self._consumers.items() if node in inside or (whole and node not in self._above)
        }

    def heads(self) -> dict[str, str]:
        """By node the node where its branch begins: where the way from the plant first parts.

        What lies before that is in none.
        """
        below: dict[str, list[str]] = {}
        for node, (above, _) in self._above.items():
            below.setdefault(above, []).append(node)
        trunk = self._root
        while len(ahead := below.get(trunk, [])) == 1:
            trunk = ahead[0]
        heads: dict[str, str] = {node: node for node in ahead}
        for node in self._order:  # from the plant outwards
            above = self._above.get(node, ("", ""))[0]
            if above in heads:
                heads[node] = heads[above]
        return heads


def branches_of(site: Site) -> dict[str, str]:
    """By device ``branch:network/node``, where the network is known as pipes, else ``network:`` and its id.

    A device that lies before the first parting of the ways is its network's, one without a network nobody's.
    """
    out: dict[str, str] = {}
    for network in site.networks:
        heads = Branches(site, network).heads()
        for device in site.devices.values():
            if device.network == network:
                head = heads.get(device.node or "")
                out[device.device] = f"branch:{network}/{head}" if head else f"network:{network}"
    return out
