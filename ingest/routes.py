"""Which device a topic names, and what is wrong with it if none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from ingest.messages import Address, Ints, Reason
from models.site import Site
from models.wire import ACK, BIRTH, COMMAND, DEATH, STATE, TELEMETRY, parse_topic

__all__ = ["Group", "Route", "Router", "Routes"]

_CACHED: Final = 200_000
_KINDS: Final = frozenset({TELEMETRY, BIRTH, STATE, DEATH, ACK, COMMAND})


class Group(NamedTuple):
    """What routes have in common that are sorted alike; a site has few.

    Attributes
    ----------
    kind : str
        Empty for one that is none of Hearthline's.
    stream, device_class : str
    refused : bool
        Whether nothing that comes here can be taken.
    """

    kind: str
    stream: str
    device_class: str
    refused: bool


class Route(NamedTuple):
    """What a topic means for this site.

    Attributes
    ----------
    topic : str
    kind : str
        Last level; empty when the topic is none of Hearthline's.
    address : Address or None
        Sender as the topic names it.
    stream, device_class : str
        Of the registered device; empty when there is none.
    reason : Reason or None
        Why nothing that comes here can be taken.
    detail : str
    """

    topic: str
    kind: str
    address: Address | None
    stream: str = ""
    device_class: str = ""
    reason: Reason | None = None
    detail: str = ""


class Routes:
    """Routes in the order in which they were met, and what a batch asks of them as columns.

    Attributes
    ----------
    all : list of Route
    place : dict of str to int
        Where the route of each topic stands.
    addresses : list of Address
        Senders by number; several topics may be one sender's.
    """

    def __init__(self) -> None:
        self.all: list[Route] = []
        self.place: dict[str, int] = {}
        self.addresses: list[Address] = []
        self._numbers: dict[Address, int] = {}
        self._groups: list[int] = []
        self._senders: list[int] = []
        self._columns: tuple[Ints, Ints, pa.Array] | None = None

    def add(self, route: Route, group: int) -> None:
        """Put a route after the others."""
        self.place[route.topic] = len(self.all)
        self.all.append(route)
        self._groups.append(group)
        number = -1
        if route.address is not None:
            number = self._numbers.setdefault(route.address, len(self.addresses))
            if number == len(self.addresses):
                self.addresses.append(route.address)
        self._senders.append(number)

    @property
    def group(self) -> Ints:
        """Group of each route, into `Router.groups`."""
        return self._made()[0]

    @property
    def sender(self) -> Ints:
        """Number of each route's sender, -1 where it names none."""
        return self._made()[1]

    @property
    def device(self) -> pa.Array:
        """Device that each route names, empty where it names none."""
        return self._made()[2]

    def _made(self) -> tuple[Ints, Ints, pa.Array]:
        if self._columns is None or len(self._columns[0]) < len(self.all):
            self._columns = (
                np.array(self._groups, dtype=np.int64),
                np.array(self._senders, dtype=np.int64),
                pa.array([r.address.device if r.address else "" for r in self.all], pa.string()),
            )
        return self._columns


class Router:
    """Routes of topics, remembered, because a fleet uses few.

    Attributes
    ----------
    known : Routes
        Others take their place when there are too many: who holds these may go on with them.
    groups : list of Group
        So that a batch is sorted by looking at few things, not at each of its routes.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._places: dict[Group, int] = {}
        self.known = Routes()
        self.groups: list[Group] = []

    def __call__(self, topic: str) -> Route:
        """The route of `topic`."""
        (place,) = self.places([topic])
        return self.known.all[int(place)]

    def places(self, topics: Sequence[str]) -> Ints:
        """Where the route of each of `topics` stands in `known`."""
        found = list(map(self.known.place.get, topics))  # nearly always all are known
        if None in found:
            if len(self.known.all) + found.count(None) > _CACHED:  # somebody invents topics
                self.known = Routes()
            for topic in topics:
                if topic not in self.known.place:
                    self._meet(topic)
            found = list(map(self.known.place.get, topics))
        return np.array(found, dtype=np.int64)

    def _meet(self, topic: str) -> None:
        found = self._find(topic)
        kind = found.kind if found.kind in _KINDS else ""
        group = Group(kind, found.stream, found.device_class, found.reason is not None)
        number = self._places.setdefault(group, len(self.groups))
        if number == len(self.groups):
            self.groups.append(group)
        self.known.add(found, number)

    def _find(self, topic: str) -> Route:
        try:
            levels = parse_topic(topic)
        except ValueError as error:
            return Route(topic, "", None, reason=Reason.UNKNOWN_DEVICE, detail=str(error))
        address = Address(levels.region, levels.unit, levels.device)
        device = self._site.devices.get(levels.device)
        if device is None:
            detail = f"expected a device of devices.csv, got {levels.device!r}"
            return Route(topic, levels.kind, address, reason=Reason.UNKNOWN_DEVICE, detail=detail)
        region = self._site.region_of(device)
        if (levels.region, levels.unit) != (region, device.unit):
            expected, got = f"{region}/{device.unit}", f"{levels.region}/{levels.unit}"
            detail = f"expected region and unit {expected!r}, got {got!r}"
            return Route(topic, levels.kind, address, reason=Reason.TOPIC_MISMATCH, detail=detail)
        if levels.kind not in _KINDS:
            kinds = f"{TELEMETRY}, {BIRTH}, {STATE} or {DEATH}"
            detail = f"expected a topic that ends in {kinds}, got {levels.kind[:80]!r}"
            return Route(
                topic, levels.kind, address, device.stream, device.device_class, Reason.SCHEMA, detail
            )
        return Route(topic, levels.kind, address, device.stream, device.device_class)
