"""Weigh tickets: tare and gross paired, what is wrong with each, and corrections that stand beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from models.site import Site

__all__ = [
    "DESTINATION", "GROSS", "ORIGIN", "OVERLOAD_SHARE", "TARE", "Correction", "End", "Ticket", "Weighing",
    "as_event", "corrected", "end_of", "flags_of", "overload_kg", "signed", "tickets_of", "truck_of",
    "usable",
]  # fmt: skip

TARE: Final = "tare"
GROSS: Final = "gross"
ORIGIN: Final = "origin"
DESTINATION: Final = "destination"
End = Literal["origin", "destination", ""]
OVERLOAD_SHARE: Final = 0.01
"""By how much of its rated mass a truck may be over it before that is said: bridges and snow."""
_PLACES: Final[Mapping[str, End]] = {
    "mine": "origin", "station": "origin", "plant": "destination", "yard": "destination",
}  # fmt: skip
_MOST_KG: Final = 200_000.0
"""Of a road train or a wagon; more is no weighing. [kg]"""


@dataclass(frozen=True, slots=True)
class Weighing:
    """One weighing as its ticket says it, or as a correction does.

    Attributes
    ----------
    t_ms : int
        [ms UTC]
    bridge, ticket : str
    step : str
        `tare` or `gross`.
    mass_kg : float or None
        None when it is not known. [kg]
    plate, tag, contract : str
        Empty when the ticket does not say.
    flags : tuple of str
        What is wrong with it.
    """

    t_ms: int
    bridge: str
    ticket: str
    step: str
    mass_kg: float | None
    plate: str = ""
    tag: str = ""
    contract: str = ""
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Correction:
    """What a person says of a weighing afterwards; the ticket itself stays as it was.

    Attributes
    ----------
    t_ms : int
        When it was entered. [ms UTC]
    ref, reason, person : str
        Its name, why, and who says so; without a reason and a person it is none.
    step : str
        `tare` or `gross`; empty for both.
    mass_kg : float or None
    plate, contract : str
        Empty leaves what the ticket says.
    """

    t_ms: int
    ref: str
    reason: str
    person: str
    step: str = ""
    mass_kg: float | None = None
    plate: str = ""
    contract: str = ""


def signed(corrections: Iterable[Correction]) -> list[Correction]:
    """Corrections that have a reason and a person, the oldest first."""
    return sorted((c for c in corrections if c.reason and c.person), key=lambda c: (c.t_ms, c.ref))


def corrected(weighing: Weighing, corrections: Iterable[Correction]) -> Weighing:
    """A weighing as it stands after all `corrections` of its ticket; the last word on each thing counts.

    Examples
    --------
    >>> w = Weighing(0, "b", "T1", "gross", 45_000.0, plate="A1")
    >>> corrected(w, [Correction(1, "K1", "misread", "Li", "gross", 44_000.0)]).mass_kg
    44000.0
    >>> corrected(w, [Correction(1, "K1", "", "Li", "gross", 44_000.0)]).mass_kg
    45000.0
    """
    mine = [c for c in signed(corrections) if c.step in {"", weighing.step}]
    if not mine:
        return weighing
    mass_kg, plate, contract = weighing.mass_kg, weighing.plate, weighing.contract
    for c in mine:
        mass_kg = c.mass_kg if c.mass_kg is not None and c.step else mass_kg
        plate, contract = c.plate or plate, c.contract or contract
    flags = (*weighing.flags, "corrected")
    return Weighing(
        weighing.t_ms, weighing.bridge, weighing.ticket, weighing.step, mass_kg, plate, weighing.tag,
        contract, flags,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ticket:
    """Tare and gross of one ticket at one place.

    Attributes
    ----------
    ticket : str
    end : str
        `origin` or `destination`; empty where that cannot be known.
    tare, gross : Weighing or None
    flags : tuple of str
        Of both weighings, and of the two together.
    """

    ticket: str
    end: End
    tare: Weighing | None
    gross: Weighing | None
    flags: tuple[str, ...]

    @property
    def net_kg(self) -> int | None:
        """Coal on the truck in whole kilograms; None where a mass lacks or gross is not over tare. [kg]"""
        if self.tare is None or self.gross is None or "gross_under_tare" in self.flags:
            return None
        if self.tare.mass_kg is None or self.gross.mass_kg is None:
            return None
        return round(self.gross.mass_kg - self.tare.mass_kg)

    @property
    def loaded_ms(self) -> int:
        """When the loaded truck was weighed; the other weighing stands in for one that lacks. [ms UTC]"""
        weighing = self.gross or self.tare
        assert weighing is not None
        return weighing.t_ms


def end_of(weighing: Weighing, site: Site) -> End:
    """At which end of a lane a weighing was: by its place and contract, else by the kind of place."""
    device = site.devices.get(weighing.bridge)
    place = device.place if device is not None else None
    contract = site.contracts.get(weighing.contract)
    if place and contract is not None:
        if place == contract.origin:
            return "origin"
        if place == contract.destination:
            return "destination"
    known = site.places.get(place or "")
    return _PLACES[known.kind] if known is not None else ""


def tickets_of(weighings: Iterable[Weighing], site: Site) -> list[Ticket]:
    """Pair tare and gross by ticket: the origin weighs the empty truck first, the destination the loaded one.

    Of a ticket with two weighings of one step, at two bridges, the last counts and it is flagged. A pair in
    the order of the other end, or of which one names another plate or contract, is flagged too.
    """
    by_ticket: dict[tuple[str, str], list[Weighing]] = {}
    for w in weighings:
        device = site.devices.get(w.bridge)
        place = (device.place if device is not None else None) or w.bridge
        by_ticket.setdefault((place, w.ticket), []).append(w)
    tickets = []
    for (_, name), mine in sorted(by_ticket.items()):
        mine.sort(key=lambda w: (w.t_ms, w.bridge))
        tare = next((w for w in reversed(mine) if w.step == TARE), None)
        gross = next((w for w in reversed(mine) if w.step == GROSS), None)
        if tare is None and gross is None:
            continue
        end = end_of(mine[-1], site)
        flags = [f for w in (tare, gross) if w is not None for f in w.flags]
        flags += ["weighed_twice"] if len(mine) > (tare is not None) + (gross is not None) else []
        flags += _together(tare, gross, end)
        tickets.append(Ticket(name, end, tare, gross, tuple(dict.fromkeys(flags))))
    return tickets


def _together(tare: Weighing | None, gross: Weighing | None, end: End) -> list[str]:
    if tare is None or gross is None:
        return ["no_tare" if tare is None else "no_gross"]
    flags = []
    if tare.mass_kg is not None and gross.mass_kg is not None and gross.mass_kg <= tare.mass_kg:
        flags.append("gross_under_tare")
    if end and (tare.t_ms < gross.t_ms) != (end == ORIGIN):
        flags.append("wrong_order")
    if tare.plate != gross.plate:
        flags.append("plates_differ")
    if tare.contract != gross.contract:
        flags.append("contracts_differ")
    return flags


def truck_of(plate: str, tag: str, owners: Mapping[str, str]) -> str:
    """The truck that stood on the bridge: that of its tag, which is harder to change than a plate, if known.

    `owners` has the plate of each tag.
    """
    return owners.get(tag, plate)


def overload_kg(mass_kg: float | None, rated_kg: float | None) -> float:
    """By how much a gross mass is over what the truck may have, 0 within the tolerance or if unknown. [kg]"""
    if mass_kg is None or rated_kg is None or mass_kg <= rated_kg * (1.0 + OVERLOAD_SHARE):
        return 0.0
    return mass_kg - rated_kg


def flags_of(
    weighing: Weighing, quality: Sequence[str], site: Site, owners: Mapping[str, str]
) -> tuple[str, ...]:
    """What is wrong with a weighing by itself.

    `implausible_mass`, `no_mass`, `unknown_step`, `unknown_plate`, `unknown_contract`, `no_tag`,
    `tag_mismatch`, `overload`, and `repeat`: the same ticket and step came with other values.

    Parameters
    ----------
    weighing : Weighing
    quality : sequence of str
        Flags that its event bears.
    site : Site
    owners : mapping
        Plate of each tag.
    """
    flags = [f for f in quality if f in {"repeat", "beyond_horizon"}]
    if any(f.startswith("implausible:mass") for f in quality):
        flags.append("implausible_mass")
    elif weighing.mass_kg is None:
        flags.append("no_mass")
    elif weighing.mass_kg > _MOST_KG or weighing.mass_kg <= 0.0:
        flags.append("implausible_mass")
    if weighing.step not in {TARE, GROSS}:
        flags.append("unknown_step")
    vehicle = site.vehicles.get(weighing.plate)
    if vehicle is None:
        flags.append("unknown_plate")
    if weighing.contract not in site.contracts:
        flags.append("unknown_contract")
    if not weighing.tag:
        flags += ["no_tag"] if vehicle is not None and vehicle.tag else []
    elif owners.get(weighing.tag, weighing.plate) != weighing.plate or (
        vehicle is not None and vehicle.tag and vehicle.tag != weighing.tag
    ):  # a tag that nobody has is not the plate's either: a stranger's truck under a known plate
        flags.append("tag_mismatch")
    if weighing.step == GROSS and vehicle is not None and overload_kg(weighing.mass_kg, vehicle.rated_kg):
        flags.append("overload")
    return tuple(flags)


def usable(mass_kg: float | None, flags: Sequence[str]) -> float | None:
    """A mass that may enter a sum, else None. [kg]"""
    return None if mass_kg is None or "implausible_mass" in flags else mass_kg


def as_event(values: Mapping[str, Any], name: str) -> str:
    """A text of an event, empty where it has none."""
    return str(values.get(name) or "")
