"""Which wrongs are at work on a trip, and the record of what they touched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from simulator.logistics.chance import uniforms
from simulator.logistics.kinds import KINDS, Wrong
from simulator.logistics.trips import Injected

if TYPE_CHECKING:
    from simulator.logistics.trips import Trip

__all__ = ["Wrongs"]

_SHARE = 90  # name of the chance that a wrong is done on a trip


class Wrongs:
    """All wrongs of a case.

    Attributes
    ----------
    touched : list of Injected
        Every trip, ticket or day that one of them touched.
    """

    def __init__(self, seed: int, wrongs: Sequence[Wrong]) -> None:
        self._seed, self.all = seed, tuple(wrongs)
        self._by: dict[tuple[str, str], list[tuple[int, Wrong]]] = {}
        for number, wrong in enumerate(self.all, 1):
            self._by.setdefault((wrong.kind, wrong.place), []).append((number, wrong))
        self.touched: list[Injected] = []

    def of(self, kind: str) -> list[tuple[int, Wrong]]:
        """Every wrong of a kind, with its number."""
        return [(n, w) for n, w in enumerate(self.all, 1) if w.kind == kind]

    def done(self, kind: str, place: str, t_ms: float, trip: Trip) -> tuple[Wrong, float] | None:
        """A wrong that is done on this trip and its size, noted down; None if none is."""
        found = self.active(kind, place, t_ms, trip.number)
        if found is None:
            return None
        number, wrong = found
        size = wrong.at(t_ms)
        if not size:
            return None
        self.note(number, wrong, trip.plate, trip.device, trip.origin_ticket, trip.number, int(t_ms), size)
        trip.wrongs.append(kind)
        return wrong, size

    def size(self, kind: str, place: str, t_ms: float, trip: Trip) -> float:
        """Size of a wrong that is done on this trip, noted down; 0 if none is."""
        found = self.done(kind, place, t_ms, trip)
        return found[1] if found else 0.0

    def active(self, kind: str, place: str, t_ms: float, trip: int) -> tuple[int, Wrong] | None:
        """The wrong of a kind at a place that is done on a trip, with its number."""
        for number, wrong in self._by.get((kind, place), ()):
            inside = wrong.onset_ms <= t_ms < wrong.until_ms
            if inside and (wrong.share >= 1.0 or uniforms(self._seed, _SHARE, number, trip) < wrong.share):
                return number, wrong
        return None

    def note(
        self,
        number: int,
        wrong: Wrong,
        plate: str,
        device: str,
        ticket: str,
        trip: int,
        t_ms: int,
        size: float,
    ) -> None:
        """Write down what a wrong touched."""
        kind = KINDS[wrong.kind]
        subject = f"{kind.subject}:{ticket if kind.subject == 'ticket' else wrong.place}"
        self.touched.append(
            Injected(number, wrong.kind, kind.code, subject, plate, device, ticket, trip, t_ms, size)
        )
