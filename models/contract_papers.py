"""What moves a contract's kilograms, from the papers that say so: offices', weigh tickets and trips."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from models.fulfilment import Movements, movements

__all__ = ["Net", "OfficePaper", "Refusal", "TripState", "Weighed", "moved", "nets", "papers_judged"]

_OFFICE: Final = {"release": "released", "cancel": "cancelled", "settle": "settled", "reject": "rejected"}
_GIVEN_UP: Final = "lost"
Side = Literal["origin", "destination"]


@dataclass(frozen=True, slots=True)
class OfficePaper:
    """What an office entered of a contract; `kg` is None where it is not to be believed."""

    t_ms: int
    ref: str
    event: str
    kg: float | None


@dataclass(frozen=True, slots=True)
class Weighed:
    """One weighing on a ticket of a contract; `kg` is None where it is not to be believed."""

    t_ms: int
    ticket: str
    step: str
    kg: float | None
    side: Side | None


@dataclass(frozen=True, slots=True)
class Net:
    """A ticket that is complete.

    Attributes
    ----------
    t_ms : int
        When it counts: the gross at the origin, the last weighing at the destination. [ms UTC]
    """

    t_ms: int
    ticket: str
    side: Side
    kg: int


@dataclass(frozen=True, slots=True)
class TripState:
    """A trip as it stands; masses as it knows them, in kg."""

    origin_ticket: str
    destination_ticket: str
    opened_ms: int
    ended_ms: int | None
    loaded_kg: int | None
    received_kg: int | None
    state: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A paper that is kept and not counted, and why."""

    t_ms: int
    name: str
    reason: str


def papers_judged(
    papers: Iterable[OfficePaper],
) -> tuple[list[tuple[int, str, int]], list[Refusal]]:
    """Movements by offices, and the papers that are none.

    Examples
    --------
    >>> papers_judged([OfficePaper(1, "R1", "release", 500.0), OfficePaper(2, "R2", "release", -5.0)])
    ([(1, 'released', 500)], [Refusal(t_ms=2, name='R2', reason='mass_not_positive')])
    """
    rows: list[tuple[int, str, int]] = []
    refused = []
    for paper in papers:
        if paper.event not in _OFFICE:
            refused.append(Refusal(paper.t_ms, paper.ref, "unknown_event"))
        elif paper.kg is None:
            refused.append(Refusal(paper.t_ms, paper.ref, "mass_unknown"))
        elif paper.kg <= 0.0:
            refused.append(Refusal(paper.t_ms, paper.ref, "mass_not_positive"))
        else:
            rows.append((paper.t_ms, _OFFICE[paper.event], round(paper.kg)))
    return rows, refused


Tickets = Mapping[tuple[Side, str], Net]
"""Complete tickets by their end and number: both ends may count from 1."""


def nets(weighed: Iterable[Weighed]) -> tuple[dict[tuple[Side, str], Net], list[Refusal]]:
    """Complete tickets, and the tickets that cannot count.

    Both weighings of a ticket stand at one end; one that still lacks a weighing is neither.

    Examples
    --------
    >>> shown = [(1, "T1", "tare", 15e3), (9, "T1", "gross", 46e3), (3, "T2", "gross", 14e3),
    ...          (5, "T2", "tare", 15e3)]
    >>> good, bad = nets(Weighed(*each, "origin") for each in shown)
    >>> good["origin", "T1"].kg, good["origin", "T1"].t_ms, bad[0].reason
    (31000, 9, 'net_not_positive')
    """
    steps: dict[tuple[Side, str], dict[str, Weighed]] = {}
    refused: list[Refusal] = []
    for one in weighed:
        if one.side is None:
            refused.append(Refusal(one.t_ms, one.ticket, "other_place"))
        elif one.kg is None or one.step not in ("tare", "gross"):
            refused.append(
                Refusal(one.t_ms, one.ticket, "mass_unknown" if one.kg is None else "unknown_step")
            )
        else:
            steps.setdefault((one.side, one.ticket), {})[one.step] = one
    found: dict[tuple[Side, str], Net] = {}
    for (side, ticket), pair in steps.items():
        if len(pair) < 2:
            continue
        tare, gross = pair["tare"], pair["gross"]
        assert tare.kg is not None
        assert gross.kg is not None
        kg = round(gross.kg - tare.kg)
        if kg <= 0:
            refused.append(Refusal(gross.t_ms, ticket, "net_not_positive"))
            continue
        t_ms = gross.t_ms if side == "origin" else max(tare.t_ms, gross.t_ms)
        found[side, ticket] = Net(t_ms, ticket, side, kg)
    return found, refused


def moved(offices: Sequence[tuple[int, str, int]], tickets: Tickets, trips: Iterable[TripState]) -> Movements:
    """Every movement of a contract.

    A ticket that lacks a weighing counts with what its trip knows; one without a trip counts as loaded, or as
    received and unmatched.

    Examples
    --------
    >>> from models.fulfilment import funnel
    >>> weighed = [Weighed(1, "A", "tare", 20, "origin"), Weighed(2, "A", "gross", 320, "origin"),
    ...            Weighed(4, "B", "gross", 318, "destination"), Weighed(5, "B", "tare", 20, "destination")]
    >>> trip = TripState("A", "B", 2, 5, 300, 298, "closed")
    >>> rows = moved([(1, "released", 900)], nets(weighed)[0], [trip])
    >>> funnel(1000, rows, 6).lost_kg, funnel(1000, rows, 6).worst_kg
    (array([2]), 0)
    """
    rows = list(offices)
    mine: set[str] = set()
    for trip in trips:
        if trip.loaded_kg is not None:  # else its receipt stands alone
            mine.add(trip.destination_ticket)
        rows += _of_trip(
            trip,
            tickets.get(("origin", trip.origin_ticket)),
            tickets.get(("destination", trip.destination_ticket)),
        )
    for net in tickets.values():
        if net.side == "origin":
            rows.append((net.t_ms, "loaded", net.kg))
        else:
            rows.append((net.t_ms, "received", net.kg))
            if net.ticket not in mine:
                rows.append((net.t_ms, "unmatched", net.kg))
    return movements(rows)


def _of_trip(trip: TripState, origin: Net | None, destination: Net | None) -> list[tuple[int, str, int]]:
    """What a trip moves, and the tickets that it has to speak for."""
    rows: list[tuple[int, str, int]] = []
    if trip.loaded_kg is None:
        return rows
    opened_ms = trip.opened_ms if origin is None else origin.t_ms
    if origin is None:
        rows.append((opened_ms, "loaded", trip.loaded_kg))
    rows.append((opened_ms, "opened", trip.loaded_kg))
    ended_ms = trip.ended_ms if destination is None else destination.t_ms
    if trip.state == _GIVEN_UP and ended_ms is not None:
        rows += [(ended_ms, "ended", trip.loaded_kg), (ended_ms, "lost", trip.loaded_kg)]
    elif trip.received_kg is not None and ended_ms is not None:
        if destination is None:
            rows.append((ended_ms, "received", trip.received_kg))
        rows += [
            (ended_ms, "ended", trip.loaded_kg),
            (ended_ms, "lost", trip.loaded_kg - trip.received_kg),
        ]
    return rows
