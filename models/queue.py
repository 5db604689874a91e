r"""Queues at weighbridges: who stands in a place's fence and has not been weighed, and how long stays are.

Little's law, :math:`L = \lambda W`, says the mean number that waits from the tickets alone: their rate times
the mean wait before them. Beside the number counted in the fence it shows trucks without a position, or
tickets without a truck.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

__all__ = ["NOT_YET", "Queued", "Visit", "order_of", "queued", "visits_of"]

NOT_YET: Final = np.iinfo(np.int64).max
"""When who is still there leaves. [ms UTC]"""
BACK_MS: Final = 120_000
"""Who is back so soon had not left: it stood at the edge. [ms]"""
LONGEST_MS: Final = 48 * 3_600_000
"""Who entered longer ago and was not seen to leave has left unseen. [ms]"""


@dataclass(frozen=True, slots=True)
class Visit:
    """One stay of a truck at a place.

    Attributes
    ----------
    truck : str
    entered_ms, left_ms : int
        [ms UTC]; `NOT_YET` while it is there.
    weighed : tuple of (int, str)
        Its weighings meanwhile: time [ms UTC] and bridge, in order.
    """

    truck: str
    entered_ms: int
    left_ms: int
    weighed: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Queued:
    """A bridge's queue in a window.

    Attributes
    ----------
    waiting : int
        Trucks that wait at the end. One whose next weighing it is by the usual order of bridges waits.
    waiting_mean : float
        The same, over the window.
    waiting_little : float
        What Little's law says of it from the tickets; NaN without one whose truck was seen to enter.
    wait_s : float
        Mean wait before a ticket of the window, since entering or the weighing before. [s]
    turnaround_s : float
        Mean stay of those that were weighed here and left in the window; NaN without one. [s]
    """

    waiting: int
    waiting_mean: float
    waiting_little: float
    wait_s: float
    turnaround_s: float


def visits_of(
    crossings: Iterable[tuple[str, int, bool]], weighings: Iterable[tuple[str, int, str]]
) -> list[Visit]:
    """Stays of trucks at one place.

    Parameters
    ----------
    crossings : iterable of (truck, t_ms, enters)
        In any order.
    weighings : iterable of (truck, t_ms, bridge)
        Of trucks with a position; one outside every stay is left out.
    """
    weighed: dict[str, list[tuple[int, str]]] = {}
    for truck, t_ms, bridge in weighings:
        weighed.setdefault(truck, []).append((t_ms, bridge))
    stays: dict[str, list[list[int]]] = {}
    for truck, t_ms, enters in sorted(crossings, key=lambda x: (x[0], x[1], x[2])):
        mine = stays.setdefault(truck, [])
        if enters:
            if mine and t_ms - mine[-1][1] <= BACK_MS:
                mine[-1][1] = NOT_YET
            elif not mine or mine[-1][1] != NOT_YET or t_ms - mine[-1][0] > LONGEST_MS:
                mine.append([t_ms, NOT_YET])
        elif mine and mine[-1][1] == NOT_YET:
            mine[-1][1] = t_ms
    return [
        Visit(truck, a, b, tuple(sorted(w for w in weighed.get(truck, ()) if a <= w[0] < b)))
        for truck, mine in sorted(stays.items())
        for a, b in mine
    ]


def order_of(bridge: str, visits: Sequence[Visit]) -> int:
    """How many weighings usually come before that of a bridge in a stay."""
    places = [at for v in visits for at, (_, b) in enumerate(v.weighed) if b == bridge]
    return int(np.median(places)) if places else 0


def queued(
    bridge: str, visits: Sequence[Visit], tickets: int, start_ms: int, end_ms: int, order: int | None = None
) -> Queued:
    """The queue of a bridge in the window [start, end).

    Parameters
    ----------
    bridge : str
    visits : sequence of Visit
        Stays at its place, those of before included, which tell of the order alone.
    tickets : int
        How many tickets it wrote in the window, of trucks without a position too.
    start_ms, end_ms : int
        [ms UTC]
    order : int, optional
        As of `order_of`, which is asked of the visits if it is not given.
    """
    order = order_of(bridge, visits) if order is None else order
    waits = [w for v in visits for w in _wait(v, order, end_ms)]
    waiting = sum(a < end_ms <= b for a, b in waits)
    mean = sum(max(0, min(b, end_ms) - max(a, start_ms)) for a, b in waits) / max(end_ms - start_ms, 1)
    before = [
        (t - (v.weighed[at - 1][0] if at else v.entered_ms)) / 1000.0
        for v in visits
        for at, (t, b) in enumerate(v.weighed)
        if b == bridge and start_ms <= t < end_ms
    ]
    stays = [
        (v.left_ms - v.entered_ms) / 1000.0
        for v in visits
        if start_ms <= v.left_ms < end_ms and any(b == bridge for _, b in v.weighed)
    ]
    wait_s = float(np.mean(before)) if before else float("nan")
    little = tickets * wait_s / ((end_ms - start_ms) / 1000.0)
    return Queued(waiting, mean, little, wait_s, float(np.mean(stays)) if stays else float("nan"))


def _wait(visit: Visit, order: int, at_ms: int) -> list[tuple[int, int]]:
    """When a stay waits for the weighing of that place in its order: at most one time. From, until [ms]."""
    if visit.left_ms == NOT_YET and at_ms - visit.entered_ms > LONGEST_MS:
        return []
    if order > len(visit.weighed):
        return []
    begin = visit.weighed[order - 1][0] if order else visit.entered_ms
    end = visit.weighed[order][0] if order < len(visit.weighed) else visit.left_ms
    return [(begin, end)]
