"""What really happens in a simulated network between one sample of its meters and the next."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from simulator.truth import NetworkTruth, Snapshot

__all__ = ["Instant", "Past", "instant_of", "parts_of"]

TRUTH_S: Final = 60.0
"""What really happens is stepped at most this far. [s] The simulator refills pipes in the step after they
shrank, so that its tank answers a step late: five minutes of that would be told as errors of the balance."""


@dataclass(frozen=True)
class Instant:
    """What was true at the end of a part of a step."""

    snap: Snapshot
    tank_kg: float
    makeup_kg: float


class Past:
    """What really happened, computed once however many sets of meters tell of it."""

    def __init__(self, truth: NetworkTruth, step_s: float):
        self._truth, self._part_s = truth, step_s / parts_of(step_s)
        self._told: list[Instant] = []
        self._first = 0

    def at(self, part: int) -> Instant:
        """The end of a part of a step, the first being 0."""
        while len(self._told) <= part - self._first:
            self._told.append(instant_of(self._truth, self._part_s))
        return self._told[part - self._first]

    def forget(self, seconds: float) -> None:
        """Keep nothing of the first `seconds`: everybody has told of them."""
        before = round(seconds / self._part_s)
        del self._told[: before - self._first]
        self._first = before


def parts_of(step_s: float) -> int:
    """Into how many parts a step between two samples is cut for what really happens."""
    return max(1, math.ceil(step_s / TRUTH_S))


def instant_of(truth: NetworkTruth, step_s: float) -> Instant:
    snap = truth.step(step_s)
    return Instant(snap, truth.plant.tank_kg, truth.plant.makeup_kg)
