"""The network as a drawing: where its nodes lie, which way pipes lead and what hangs behind each.

From the site's own registry alone: positions of devices where they are known, lengths of pipes otherwise.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from models.site import Device, Network, Pipe, Site

__all__ = ["drawing", "tree"]

_EARTH_M_DEG: Final = 111_320.0


@dataclass(slots=True)
class _Tree:
    """Pipes as they lead away from the plant."""

    distance_m: dict[str, float] = field(default_factory=dict)
    parent: dict[str, str] = field(default_factory=dict)
    edges: list[tuple[str, str, Pipe]] = field(default_factory=list)
    chords: list[Pipe] = field(default_factory=list)

    def in_order(self, ends: Mapping[str, list[str]]) -> tuple[list[str], dict[str, tuple[int, int]]]:
        """What is at the nodes, branch after branch, and by node which part of it is there and behind."""
        children: dict[str, list[str]] = defaultdict(list)
        for near, far, _ in self.edges:
            children[near].append(far)
        found: list[str] = []
        first: dict[str, int] = {}
        parts: dict[str, tuple[int, int]] = {}
        ways = [(next(iter(self.distance_m)), False)]
        while ways:
            node, left = ways.pop()
            if left:
                parts[node] = (first[node], len(found))
                continue
            first[node] = len(found)
            found.extend(ends.get(node, ()))
            ways += [(node, True), *((child, False) for child in children[node])]
        return found, parts


def tree(pipes: Iterable[Pipe], root: str) -> _Tree:
    """A spanning tree of the shortest ways from `root`; pipes beyond it are chords.

    A node that no pipe reaches from `root` is in neither.

    Examples
    --------
    >>> made = tree([Pipe("a", "n", "p", "x", 100.0, 0.2), Pipe("b", "n", "y", "x", 50.0, 0.2)], "p")
    >>> made.distance_m
    {'p': 0.0, 'x': 100.0, 'y': 150.0}
    """
    at: dict[str, list[tuple[str, Pipe]]] = defaultdict(list)
    every = list(pipes)
    for pipe in every:
        at[pipe.from_node].append((pipe.to_node, pipe))
        at[pipe.to_node].append((pipe.from_node, pipe))
    made = _Tree()
    used: set[str] = set()
    ways: list[tuple[float, str, str, str, Pipe | None]] = [(0.0, "", root, "", None)]
    while ways:
        length, name, node, near, by = heapq.heappop(ways)
        if node in made.distance_m:
            continue
        made.distance_m[node] = length
        if by is not None:
            made.parent[node] = near
            made.edges.append((near, node, by))
            used.add(name)
        for other, pipe in at[node]:
            if other not in made.distance_m:
                heapq.heappush(ways, (length + pipe.length_m, pipe.pipe, other, node, pipe))
    made.chords = [
        p
        for p in every
        if p.pipe not in used and p.from_node in made.distance_m and p.to_node in made.distance_m
    ]
    return made


def drawing(site: Site, network: Network) -> dict[str, Any]:
    """What the page draws of `network`.

    Returns
    -------
    dict
        ``nodes``: ``x``, ``y`` in 0 to 1, ``distance_m`` from the plant, ``devices`` there; ``pipes``:
        ``from``, ``to``, ``behind`` (first and end, itself left out, in ``substations`` of those whose
        water comes through it; None in a loop, where that is not known) and ``length_m``; ``placed`` is
        `map` or `length`; ``missing``: why there is no drawing, or an empty text; ``apart``: devices that
        no pipe reaches.
    """
    here = [d for _, d in sorted(site.devices.items()) if d.network == network.id]
    pipes = [p for _, p in sorted(site.pipes.items()) if p.network == network.id]
    plants = [d for d in here if d.device_class == "plant" and d.node]
    answer: dict[str, Any] = {"id": network.id, "name": network.name or network.id}
    if not pipes or not plants:
        missing = "no pipes registered" if not pipes else "no plant at a node"
        return answer | {
            "nodes": {},
            "pipes": [],
            "substations": [],
            "placed": "",
            "missing": missing,
            "apart": [],
        }
    made = tree(pipes, str(plants[0].node))
    mapped = _on_map(here, made)
    places = mapped or _by_length(made)
    stations: dict[str, list[str]] = defaultdict(list)
    for d in here:
        if d.node in made.distance_m:
            stations[str(d.node)].append(d.device)
    looped = _in_loops(made)
    served = {
        n: [x for x in of if site.devices[x].device_class == "substation"] for n, of in stations.items()
    }
    substations, behind = made.in_order(served)
    drawn: list[dict[str, Any]] = [
        {
            "pipe": pipe.pipe,
            "from": near,
            "to": far,
            "length_m": pipe.length_m,
            "behind": None if far in looped else behind[far],
        }
        for near, far, pipe in made.edges
    ]
    drawn += [
        {"pipe": p.pipe, "from": p.from_node, "to": p.to_node, "length_m": p.length_m, "behind": None}
        for p in made.chords
    ]
    nodes = {
        n: {"x": round(x, 4), "y": round(y, 4), "distance_m": made.distance_m[n], "devices": stations[n]}
        for n, (x, y) in places.items()
    }
    apart = [d.device for d in here if d.node not in made.distance_m and d.device_class == "substation"]
    placed = "map" if mapped else "length"
    told = {"nodes": nodes, "pipes": drawn, "substations": substations, "placed": placed}
    return answer | told | {"missing": "", "apart": apart}


def _in_loops(made: _Tree) -> set[str]:
    """Nodes whose pipe from the plant's side is part of a loop."""
    looped: set[str] = set()
    for chord in made.chords:
        ways = []
        for end in (chord.from_node, chord.to_node):
            way = [end]
            while way[-1] in made.parent:
                way.append(made.parent[way[-1]])
            ways.append(way)
        looped |= set(ways[0]) ^ set(ways[1])
    return looped


def _on_map(devices: list[Device], made: _Tree) -> dict[str, tuple[float, float]] | None:
    """Places by the positions of devices, of other nodes between their neighbours; None when too few."""
    found = {
        str(d.node): (d.lat_deg, d.lon_deg)
        for d in devices
        if d.node in made.distance_m and d.lat_deg is not None and d.lon_deg is not None
    }
    # One scale for all: a degree of longitude is as wide everywhere in a town.
    wide = math.cos(math.radians(sum(lat for lat, _ in found.values()) / max(len(found), 1)))
    known = {n: (lon * wide * _EARTH_M_DEG, -lat * _EARTH_M_DEG) for n, (lat, lon) in found.items()}
    ends = [d for d in devices if d.node in made.distance_m]
    if len(known) < 2 or 2 * len(known) < len({d.node for d in ends}):
        return None
    return _unit(known | _between(known, made), keep_shape=True)


def _between(known: Mapping[str, tuple[float, float]], made: _Tree) -> dict[str, tuple[float, float]]:
    """Places of the nodes that have none, each in the middle of its neighbours."""
    free = {n: i for i, n in enumerate(n for n in made.distance_m if n not in known)}
    if not free:
        return {}
    from scipy.sparse import lil_array  # noqa: PLC0415  20 MB that a board without such nodes never needs
    from scipy.sparse.linalg import spsolve  # noqa: PLC0415

    links, fixed = lil_array((len(free), len(free))), np.zeros((len(free), 2))
    for edge in made.edges:
        for n, other in (edge[:2], edge[1::-1]):
            if n in free:
                links[free[n], free[n]] += 1.0
                if other in free:
                    links[free[n], free[other]] -= 1.0
                else:
                    fixed[free[n]] += known[other]
    places = spsolve(links.tocsc(), fixed).reshape(-1, 2)
    return {n: (float(places[i, 0]), float(places[i, 1])) for n, i in free.items()}


def _by_length(made: _Tree) -> dict[str, tuple[float, float]]:
    """Places by the way from the plant: across its length, up by branch."""
    children: dict[str, list[str]] = defaultdict(list)
    for a, b, _ in made.edges:
        children[a].append(b)
    leaves: dict[str, float] = {}
    order = deque([next(iter(made.distance_m))])
    walked: list[str] = []
    while order:
        node = order.pop()
        walked.append(node)
        order.extend(children[node])
    count = 0
    for node in walked:
        if not children[node]:
            leaves[node] = count
            count += 1
    for node in reversed(walked):
        if children[node]:
            leaves[node] = sum(leaves[c] for c in children[node]) / len(children[node])
    return _unit({n: (made.distance_m[n], leaves[n]) for n in walked})


def _unit(
    at: Mapping[str, tuple[float, float]], *, keep_shape: bool = False
) -> dict[str, tuple[float, float]]:
    """Places within a square from 0 to 1."""
    low = [min(p[i] for p in at.values()) for i in (0, 1)]
    span = [max(p[i] for p in at.values()) - low[i] or 1.0 for i in (0, 1)]
    if keep_shape:
        span = [max(span)] * 2
    return {n: ((p[0] - low[0]) / span[0], (p[1] - low[1]) / span[1]) for n, p in at.items()}
