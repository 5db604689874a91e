"""Alarms of one code in one branch at once have one cause: people are told of that, not of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from alerts.alarm import Alarm
from alerts.terms import Shared

__all__ = ["SHARED_CAUSE", "Gathered", "gather", "listed"]

SHARED_CAUSE: Final = "shared_cause"


@dataclass(frozen=True, slots=True)
class Gathered:
    """Alarms that share a cause, and the id and code of the alarm that stands for all of them."""

    parent: str
    code: str
    children: list[Alarm]


def listed(evidence: Mapping[str, Any]) -> frozenset[str]:
    """Subjects, or ids of anomalies, that the evidence of a shared cause names."""
    children = evidence.get("children", ())
    return frozenset(map(str, children)) if isinstance(children, list | tuple) else frozenset()


def gather(group: str, code: str, alarms: Sequence[Alarm], shared: Shared) -> Gathered | None:
    """The largest lot of `alarms` that began within the same `within_ms`; None if there are too few."""
    if shared.least < 2:
        return None
    free = sorted(alarms, key=lambda a: (a.first_ms, a.id))
    best: list[Alarm] = []
    start = 0
    for end, alarm in enumerate(free):
        while alarm.first_ms - free[start].first_ms > shared.within_ms:
            start += 1
        if end + 1 - start > len(best):
            best = free[start : end + 1]
    if len(best) < shared.least:
        return None
    return Gathered(f"{group}:{SHARED_CAUSE}.{code}:{best[0].first_ms}", code, best)
