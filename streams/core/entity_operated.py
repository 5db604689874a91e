"""One entity operator with what it knows; whom an item concerns, and which operator goes first."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import cast

from models.results import Status
from models.site import Site
from streams.core.containing import contained
from streams.core.entity import Item
from streams.core.entity_items import DAY_MS, Name
from streams.core.entity_operator import EntityOperator
from streams.core.entity_said import SaidRows

__all__ = ["Operated", "concerned", "floor_ms", "in_order"]


class Operated:
    """One operator with what it knows."""

    def __init__(self, operator: EntityOperator):
        self.operator = operator
        self.said = SaidRows(operator)
        self.index: dict[str, dict[tuple[str, Name], Item]] = {}
        self.dirty: set[str] = set()
        self.wakes: dict[str, int] = {}
        self.queue: list[tuple[int, str]] = []
        self.computed_ms: int | None = None
        self.floor_ms = 0

    def wake(self, name: str, at_ms: int | None) -> None:
        """Have an entity computed at a time (ms UTC); None: not for the time alone."""
        self.wakes.pop(name, None)
        if at_ms is not None:
            self.wakes[name] = at_ms
            heapq.heappush(self.queue, (at_ms, name))

    def due(self, now_ms: int) -> set[str]:
        """Entities that are to be computed, taken off the list."""
        names, self.dirty = self.dirty, set()
        while self.queue and self.queue[0][0] <= now_ms:
            at_ms, name = heapq.heappop(self.queue)
            if self.wakes.get(name) == at_ms:
                names.add(name)
        return names


def concerned(operator: EntityOperator, item: Item, site: Site) -> Iterable[str]:
    """Names of the entities that an item concerns; nobody where it was taken back."""
    if item.values.get("status") == Status.WITHDRAWN:
        return ()
    if item.failed:  # it may lack what tells whom it concerns
        return cast("Iterable[str]", contained(lambda: tuple(operator.by(item, site)), lambda _: ()))
    return operator.by(item, site)


def floor_ms(operator: EntityOperator, now_ms: int) -> int:
    """Rows that start before are sealed. [ms UTC]"""
    return (now_ms - 1000 * operator.horizon_s) // DAY_MS * DAY_MS


def in_order(
    operators: Sequence[EntityOperator], marks: Sequence[str], others: set[str]
) -> tuple[EntityOperator, ...]:
    """Operators, each after those whose rows it reads."""
    writers: dict[str, list[str]] = {}
    for o in operators:
        for measurement in o.writes:
            writers.setdefault(measurement, []).append(o.name)
    for o in operators:
        for source, allowed in [(s, writers.keys() | others) for s in o.reads] + [
            (s, marks) for s in o.marks
        ]:
            if source not in allowed:
                expected = ", ".join(sorted(allowed))
                raise ValueError(f"{o.name}: expected to read one of {expected}, got {source!r}")
    by_name = {o.name: o for o in operators}
    graph = {
        o.name: [w for r in o.reads for w in writers.get(r, ())]
        for o in sorted(operators, key=lambda x: x.name)
    }
    try:
        return tuple(by_name[name] for name in TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise ValueError(
            f"expected entity operators that do not read each other in a ring, got {error.args[1]}"
        ) from error
