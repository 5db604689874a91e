"""Which device a topic names, and what is wrong with it if none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from ingest.messages import Address, Reason
from models.site import Site
from models.wire import ACK, BIRTH, COMMAND, DEATH, STATE, TELEMETRY, parse_topic

__all__ = ["Group", "Route", "Router"]

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


@dataclass(frozen=True, slots=True)
class Route:
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
    group : int
        Into `Router.groups`.
    """

    topic: str
    kind: str
    address: Address | None
    stream: str = ""
    device_class: str = ""
    reason: Reason | None = None
    detail: str = ""
    group: int = 0


class Router:
    """Routes of topics, remembered, because a fleet uses few.

    Attributes
    ----------
    groups : list of Group
        So that a batch is sorted by looking at few things, not at each of its routes.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._routes: dict[str, Route] = {}
        self._places: dict[Group, int] = {}
        self.groups: list[Group] = []

    def __call__(self, topic: str) -> Route:
        """The route of `topic`."""
        route = self._routes.get(topic)
        if route is None:
            if len(self._routes) >= _CACHED:  # somebody invents topics
                self._routes.clear()
            found = self._find(topic)
            kind = found.kind if found.kind in _KINDS else ""
            group = Group(kind, found.stream, found.device_class, found.reason is not None)
            place = self._places.setdefault(group, len(self.groups))
            if place == len(self.groups):
                self.groups.append(group)
            route = self._routes[topic] = replace(found, group=place)
        return route

    def all(self, topics: Sequence[str]) -> list[Route]:
        """The route of each of `topics`."""
        known = self._routes.get
        return [known(topic) or self(topic) for topic in topics]

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
