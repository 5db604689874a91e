"""The faults of a case, checked against its site."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from models.measurements import CLASSES
from models.site import Site
from simulator.case_report import Report
from simulator.kinds import GROWING, KINDS, Fault, Kind
from simulator.network.hydraulics import Graph, NetworkError
from simulator.physical import behind

__all__ = ["check_networks", "read_faults"]

_KEYS: Final = ("kind", "place", "size", "onset_h", "until_h", "ramp_h", "channel")
_METERED: Final = ("plant", "substation")


def check_networks(report: Report, site: Site) -> None:
    """Note networks that cannot be simulated."""
    if not site.networks:
        report.at("expected a network, got a site without one", "site")
    for network in site.networks:
        members = [d for d in site.devices.values() if d.network == network]
        plants = [d for d in members if d.device_class == "plant"]
        if len(plants) != 1:
            report.at(f"network {network!r}: expected one plant, got {len(plants)}", "site")
            continue
        before = len(report.found)
        pipes = [p for p in site.pipes.values() if p.network == network]
        nodes = {n for p in pipes for n in (p.from_node, p.to_node)}
        for device in members:
            if device.device_class in _METERED and device.node not in nodes:
                report.at(
                    f"device {device.device!r}: expected a node of its network's pipes, "
                    f"got {device.node or 'none'!r}",
                    "site",
                )
            if device.device_class == "substation" and not device.area_m2:
                report.at(f"device {device.device!r}: expected an area_m2, got none", "site")
        if len(report.found) > before:
            continue
        if not any(d.device_class == "substation" for d in members):
            report.at(f"network {network!r}: expected a substation, got none", "site")
        try:
            _graph(site, network)
        except NetworkError as error:
            report.at(f"network {network!r}: {error}", "site")


def _graph(site: Site, network: str) -> Graph:
    pipes = [p for p in site.pipes.values() if p.network == network]
    root = next(
        d.node or "" for d in site.devices.values() if (d.network, d.device_class) == (network, "plant")
    )
    return Graph(tuple(p.from_node for p in pipes), tuple(p.to_node for p in pipes), root)


def read_faults(
    report: Report,
    tables: Any,
    site: Site,
    start_ms: int,
    end_ms: int,
    interval_s: float,
    elsewhere: Collection[str] = (),
) -> tuple[Fault, ...]:
    """Every ``[[fault]]`` of a case that is sound; the rest is noted.

    Parameters
    ----------
    elsewhere : collection of str
        Kinds that somebody else reads.
    """
    if not isinstance(tables, list) or not all(isinstance(row, dict) for row in tables):
        report.at("fault: expected tables [[fault]]", "fault")
        return ()
    read = (
        _Reader(report, site, row, n)
        for n, row in enumerate(tables, 1)
        if str(row.get("kind")) not in elsewhere
    )
    faults, full = list[Fault](), set[str]()
    for reader in read:
        fault = reader.fault(start_ms, end_ms, interval_s)
        if fault is None:
            continue
        if fault.kind == "counter_rollover":
            reader.once(fault, full)
        faults.append(fault)
    return tuple(faults)


class _Reader:
    """Reads one ``[[fault]]``."""

    def __init__(self, report: Report, site: Site, row: Mapping[str, Any], number: int) -> None:
        self.report, self.site, self.row, self.nth = report, site, row, number

    def _at(self, message: str, key: str) -> None:
        self.report.at(message, key, table="fault", number=self.nth)

    def _number(self, key: str, default: float, low: float, high: float = 1e9) -> float:
        return self.report.number(self.row, key, default, low=low, high=high, table="fault", number=self.nth)

    def once(self, fault: Fault, places: set[str]) -> None:
        """Note a second fault of a kind that a place can have once."""
        if fault.place in places:
            self._at(f"place: expected one {fault.kind} of a device, got {fault.place!r} again", "place")
        places.add(fault.place)

    def fault(self, start_ms: int, end_ms: int, interval_s: float) -> Fault | None:
        """The fault; None when something of it was noted."""
        before = len(self.report.found)
        self.report.keys(self.row, _KEYS, table="fault", number=self.nth)
        name = self.row.get("kind")
        kind = KINDS.get(name) if isinstance(name, str) else None
        if kind is None or not isinstance(name, str):
            self._at(f"kind: expected one of {', '.join(KINDS)}, got {name!r}", "kind")
            return None
        place = self._place(kind)
        size = self._size(kind)
        channel = self._channel(kind, place)
        hours = (end_ms - start_ms) / 3_600_000
        onset_h = self._number("onset_h", 0.0, 0.0)
        if onset_h >= hours:
            self._at(f"onset_h: expected a time before the end at {hours:g} h, got {onset_h:g}", "onset_h")
        usual_h = hours if kind.lasts_h is None else onset_h + kind.lasts_h
        until_h = self._number("until_h", max(usual_h, onset_h), onset_h)
        ramp_h = self._number("ramp_h", 0.0, 0.0)
        if ramp_h and name not in GROWING:
            self._at(f"ramp_h: expected none of a {name}, got {ramp_h:g}", "ramp_h")
        if len(self.report.found) > before:
            return None

        def instant(hour: float) -> int:  # on the grid of readings, so that what is taken is what is told
            steps = round(hour * 3600.0 / interval_s)
            return start_ms + round(steps * interval_s * 1000.0)

        onset_ms, until_ms = instant(onset_h), instant(until_h)
        if until_ms <= onset_ms:
            self._at(f"until_h: expected at least an interval after onset_h, got {until_h:g}", "until_h")
            return None
        if name == "counter_exchange" and "until_h" in self.row and size * 60_000 >= until_ms - onset_ms:
            self._at(f"until_h: expected an end after the {size:g} min of work, got {until_h:g}", "until_h")
            return None
        return Fault(name, place, size, onset_ms, until_ms, onset_ms + round(ramp_h * 3_600_000), channel)

    def _place(self, kind: Kind) -> str:
        place = self.row.get("place", "")
        what = "substation or pipe" if kind.on == "part" else kind.on
        if not isinstance(place, str) or place not in _places(self.site, kind.on):
            self._at(f"place: expected a {what} of the site, got {place!r}", "place")
            return ""
        networks = {p.network for p in self.site.pipes.values() if place in (p.from_node, p.to_node)}
        if kind.on == "node" and len(networks) > 1:
            self._at(
                f"place: expected a node of one network, got {place!r} of {', '.join(sorted(networks))}",
                "place",
            )
        elif kind.on == "part" and place in self.site.pipes:
            network = self.site.pipes[place].network
            pipes = [p.pipe for p in self.site.pipes.values() if p.network == network]
            if not behind(_graph(self.site, network), pipes.index(place)).any():
                self._at(
                    f"place: expected a pipe that alone feeds a branch, got {place!r} in a ring", "place"
                )
        return place

    def _size(self, kind: Kind) -> float:
        if not kind.size:
            if "size" in self.row:
                self._at(f"size: expected none of a {self.row['kind']}, got {self.row['size']!r}", "size")
            return 0.0
        if "size" not in self.row:
            self._at(f"size: expected a number ({kind.size}), got none", "kind")
            return 0.0
        return self._number("size", 0.0, kind.low, kind.high)

    def _channel(self, kind: Kind, place: str) -> str:
        channel = self.row.get("channel", "")
        if channel and not kind.channel:
            self._at(f"channel: expected none of a {self.row['kind']}, got {channel!r}", "channel")
        elif channel and place in self.site.devices:
            known = CLASSES[self.site.devices[place].device_class]
            if channel not in known:
                self._at(f"channel: expected one of {', '.join(known)}, got {channel!r}", "channel")
        return str(channel)


def _places(site: Site, on: str) -> set[str]:
    of_class = {
        name: {d.device for d in site.devices.values() if d.device_class == name} for name in _METERED
    }
    if on == "pipe":
        return set(site.pipes)
    if on == "node":
        return {n for p in site.pipes.values() for n in (p.from_node, p.to_node)}
    if on == "part":
        return set(site.pipes) | of_class["substation"]
    return of_class["substation"] if on == "substation" else of_class["plant"] | of_class["substation"]
