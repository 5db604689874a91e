"""Many substations of one branch at once: one thing of the network, and its children."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from models.branches import Branch, Branches

__all__ = ["LEAST_CHILDREN", "LEAST_SHARE", "TOGETHER_MS", "Child", "Shared", "grouped"]

TOGETHER_MS: Final = 2 * 900_000
"""Faults that began within so long of each other began at once. [ms]"""
LEAST_CHILDREN: Final = 3
LEAST_SHARE: Final = 0.6
"""Of a branch's consumers that have to be hit."""


@dataclass(frozen=True, slots=True)
class Child:
    """An anomaly of a device: since when, and the cost of leaving it a day."""

    device: str
    code: str
    first_ms: int
    cost_gj_day: float | None = None

    @property
    def key(self) -> str:
        """Name of the anomaly."""
        return f"{self.device}:{self.code}:{self.first_ms}"


@dataclass(frozen=True, slots=True)
class Shared:
    """One cause of many anomalies.

    Attributes
    ----------
    network, pipe, node : str
        The branch: behind `pipe`, from `node`.
    members : int
        Consumers in the branch.
    children : dict of str to list
        By device the code and first time of each.
    """

    network: str
    pipe: str
    node: str
    first_ms: int
    members: int
    children: Mapping[str, list[Any]] = field(default_factory=dict)

    def key_of(self, device: str) -> str:
        """Name of a child's anomaly."""
        code, first_ms, _ = self.children[device]
        return f"{device}:{code}:{first_ms}"


def grouped(
    network: str,
    standing: Sequence[Child],
    known: Sequence[Shared],
    branches: Callable[[], Branches],
) -> list[Shared]:
    """Shared causes of a network: those known, with who joined them, and new ones.

    Parameters
    ----------
    standing : sequence of Child
        Anomalies of its devices that are active, one a device at least.
    known : sequence of Shared
        Those that are active.
    branches : callable
        Gives the network as a tree; asked only when there are enough of them.
    """
    out = list(known)
    taken = {d for s in known for d in s.children}
    for at, shared in enumerate(out):
        late = [
            c for c in standing if c.device not in taken and abs(c.first_ms - shared.first_ms) <= TOGETHER_MS
        ]
        if late:
            inside = _inside(branches(), shared)
            joined = {c.device: [c.code, c.first_ms, c.cost_gj_day] for c in late if c.device in inside}
            out[at] = replace(shared, children={**shared.children, **joined})
            taken |= joined.keys()
    free = [c for c in standing if c.device not in taken]
    if len(free) < LEAST_CHILDREN:
        return out
    newest = max(c.first_ms for c in free)
    at_once = [c for c in free if newest - c.first_ms <= TOGETHER_MS]
    if len({c.device for c in at_once}) < LEAST_CHILDREN:
        return out
    tree = branches()
    for branch in tree.common({c.device for c in at_once}, LEAST_SHARE):
        inside = tree.within(branch)
        mine: dict[str, list[Any]] = {}
        for child in at_once:
            if child.device in inside:
                mine.setdefault(child.device, [child.code, child.first_ms, child.cost_gj_day])
        if len(mine) >= LEAST_CHILDREN:
            first = min(int(c[1]) for c in mine.values())
            out.append(Shared(network, branch.pipe, branch.node, first, branch.members, mine))
    return out


def _inside(tree: Branches, shared: Shared) -> set[str]:
    return tree.within(Branch(shared.pipe, shared.node, shared.members, 0))
