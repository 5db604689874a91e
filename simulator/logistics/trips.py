"""What is true of a trip, a weighing and a stop."""

from __future__ import annotations

from dataclasses import dataclass, field

from models.site import Contract
from simulator.logistics.coal import Load
from simulator.logistics.roads import Road

__all__ = ["Injected", "Stop", "Trip", "TrueWeighing"]


@dataclass(slots=True)
class Trip:
    """A load from its origin to its destination, by truck or by wagon; times are ms UTC.

    Attributes
    ----------
    plate, device : str
        The vehicle's own, whatever its tickets show.
    lot : str
        The train, or the contract and local day of loading.
    origin_ticket, destination_ticket : str
    tare_origin_ms, gross_origin_ms, gross_destination_ms, tare_destination_ms : int or None
        When it was weighed.
    shown_gross_ms, shown_tare_ms : int or None
        The times that the destination's ticket shows.
    shown_plate : str
        The plate that its tickets show.
    departed_ms, half_way_ms, arrived_ms : int or None
        When it left the origin's fence, had half of the road behind it, entered the destination's fence.
    loaded_kg, received_kg : int
        Net masses as the tickets show them.
    rest_s, queue_origin_s, queue_destination_s : float
        Time at rest on the loaded way, and in queues at both ends. [s]
    """

    number: int
    plate: str
    device: str
    contract: Contract
    road: Road | None
    lot: str
    load: Load | None = None
    origin_ticket: str = ""
    destination_ticket: str = ""
    tare_origin_ms: int | None = None
    gross_origin_ms: int | None = None
    departed_ms: int | None = None
    half_way_ms: int | None = None
    arrived_ms: int | None = None
    gross_destination_ms: int | None = None
    tare_destination_ms: int | None = None
    shown_gross_ms: int | None = None
    shown_tare_ms: int | None = None
    shown_plate: str = ""
    loaded_kg: int = 0
    received_kg: int = 0
    rest_s: float = 0.0
    queue_origin_s: float = 0.0
    queue_destination_s: float = 0.0
    wrongs: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class TrueWeighing:
    """One weighing, with what truly stood on the bridge.

    Attributes
    ----------
    t_ms, paper_ms : int
        When it was, and which time the ticket shows. [ms UTC]
    shown_kg : int
        What the ticket shows. [kg]
    true_kg, coal_kg : float
        Mass that really stood on the bridge, and the coal in it. [kg]
    vehicle : str
        The true plate.
    trip : int
    """

    t_ms: int
    paper_ms: int
    bridge: str
    ticket: str
    plate: str
    tag: str
    step: str
    shown_kg: int
    contract: str
    grade: str
    true_kg: float
    coal_kg: float
    vehicle: str
    trip: int


@dataclass(frozen=True, slots=True)
class Stop:
    """A truck stands.

    Attributes
    ----------
    start_ms, until_ms : int
    kind : str
        "queue", "weigh", "load", "unload", "detention", "rest", "theft", "off_duty" or "idle".
    place : str
        Empty on the road.
    """

    plate: str
    device: str
    start_ms: int
    until_ms: int
    kind: str
    place: str
    trip: int


@dataclass(frozen=True, slots=True)
class Injected:
    """One trip, ticket or day that an injected wrong touched.

    Attributes
    ----------
    wrong : int
        Number of the wrong in its case, from 1.
    code, subject : str
        The anomaly that it ought to raise, and on what.
    size : float
        In the unit of the kind.
    """

    wrong: int
    kind: str
    code: str
    subject: str
    plate: str
    device: str
    ticket: str
    trip: int
    t_ms: int
    size: float
