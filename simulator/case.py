"""A case: which unit, which weather, how long, and what goes wrong; read from TOML and checked whole."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from models.site import Site
from simulator.unit import demo_plan

__all__ = ["KINDS", "Case", "CaseError", "Fault", "Road", "parse"]


class CaseError(ValueError):
    """A case that cannot be run: a line a fault, each with file, line, what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a fault of one kind needs.

    Attributes
    ----------
    on : str
        What its `place` names: "node", "pipe", "device" (of heat) or "substation".
    size : str
        What `size` means, with its unit; empty when it has none.
    deadline_h : float
        By when staff would want to know, after the onset. [h]
    """

    on: str
    size: str
    deadline_h: float


KINDS: Final[dict[str, Kind]] = {
    "leak": Kind("node", "lost from the return, kg/s", 12.0),
    "supply_leak": Kind("node", "lost from the supply, kg/s", 12.0),
    "draw_off": Kind("node", "drawn from the return without leave, kg/s", 72.0),
    "insulation_loss": Kind("pipe", "heat loss over the sound one's", 168.0),
    "fouling": Kind("substation", "share of the heat transfer that is lost, 0 to 1", 168.0),
    "stuck_valve": Kind("substation", "flow over the design flow at which it stands", 24.0),
    "hunting": Kind("substation", "swing of the flow over its mean", 24.0),
    "flow_bias": Kind("device", "flow shown over true flow, less one", 168.0),
    "flow_drift": Kind("device", "the same, gained in a day", 336.0),
    "supply_bias": Kind("device", "K added to the supply temperature", 168.0),
    "return_bias": Kind("device", "K added to the return temperature", 168.0),
    "sensors_swapped": Kind("device", "", 24.0),
    "wrong_mounting": Kind("device", "", 336.0),
    "frozen": Kind("device", "", 24.0),
    "counter_reset": Kind("device", "", 24.0),
    "clock_skew": Kind("device", "s that its clock is ahead (negative: behind)", 24.0),
    "outage": Kind("device", "", 1.0),
}
_SIGNED: Final = frozenset({"flow_bias", "flow_drift", "supply_bias", "return_bias", "clock_skew"})


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes
    ----------
    kind, place : str
    size : float
        In the unit of the kind.
    onset_ms, until_ms, full_ms : int
        From when to when (ms UTC), and when it has reached its size.
    """

    kind: str
    place: str
    size: float
    onset_ms: int
    until_ms: int
    full_ms: int

    def share(self, t_ms: int) -> float:
        """How much of its size it has in the step that ends at `t_ms`: it grows evenly up to 1."""
        if not self.onset_ms < t_ms <= self.until_ms:
            return 0.0
        if t_ms >= self.full_ms:
            return 1.0
        return (t_ms - self.onset_ms) / (self.full_ms - self.onset_ms)


@dataclass(frozen=True, slots=True)
class Road:
    """How the telemetry travels.

    Attributes
    ----------
    duplicate_share, late_share : float
        Share of messages that are received twice, and that are held back.
    late_s : float
        For how long at most. [s]
    """

    duplicate_share: float = 0.0
    late_share: float = 0.0
    late_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that a run depends on.

    Attributes
    ----------
    road : Road
        How its telemetry travels.
    """

    seed: int
    start_ms: int
    hours: float
    interval_s: float
    site: Site
    road: Road = field(default_factory=Road)
    faults: tuple[Fault, ...] = ()


class _Report:
    """Collects what is wrong, each with its line."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self.lines, self.found = name, text.splitlines(), list[str]()

    def at(self, message: str, key: str = "", number: int = 0) -> None:
        """Note a fault of `key`, in the `number`-th [[fault]] table if not 0."""
        begin = 0
        if number:
            heads = [i for i, line in enumerate(self.lines) if line.strip().startswith("[[fault]]")]
            begin = heads[number - 1] if number <= len(heads) else 0
        line = begin
        for i in range(begin + bool(number), len(self.lines)):
            if number and self.lines[i].strip().startswith("["):
                break
            if key and self.lines[i].split("=")[0].strip() == key:
                line = i
                break
        self.found.append(f"{self.name}:{line + 1}: {message}")


def parse(name: str, text: str, read_site: Callable[[str], Site]) -> Case:
    """Read a case.

    Parameters
    ----------
    name : str
        Name of the file, for messages.
    read_site : callable
        Gives the registry of a site directory that the case names.

    Raises
    ------
    CaseError
        With every fault found, a line each.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CaseError(f"{name}: expected TOML, got: {error}") from error
    report = _Report(name, text)
    known = {"seed", "start", "hours", "interval_s", "site", "unit", "telemetry", "fault"}
    for key in raw.keys() - known:
        report.at(f"{key}: expected one of {', '.join(sorted(known))}", key)
    seed = _number(report, raw, "seed", 1, low=0)
    hours = _number(report, raw, "hours", 24.0, low=1e-3)
    interval_s = _number(report, raw, "interval_s", 10.0, low=1.0)
    start_ms = _start(report, raw)
    road = _road(report, raw.get("telemetry", {}))
    if report.found:
        raise CaseError("\n".join(report.found))
    site = _site(report, raw, int(seed), start_ms, interval_s, read_site)
    end_ms = start_ms + round(hours * 3_600_000)
    tables = raw.get("fault", [])
    faults = [_fault(report, site, row, n, start_ms, end_ms) for n, row in enumerate(tables, 1)]
    if report.found:
        raise CaseError("\n".join(report.found))
    return Case(int(seed), start_ms, hours, interval_s, site, road, tuple(f for f in faults if f is not None))


def _number(
    report: _Report, table: Mapping[str, Any], key: str, default: float, *, low: float, number: int = 0
) -> float:
    value = table.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value < 1e9:
        report.at(f"{key}: expected a number of at least {low:g}, got {value!r}", key, number)
        return default
    return float(value)


def _start(report: _Report, raw: Mapping[str, Any]) -> int:
    start = raw.get("start", datetime(2026, 1, 10, tzinfo=UTC))
    if not isinstance(start, datetime) or start.tzinfo is None:
        report.at(
            f"start: expected a time with its offset such as 2026-01-10T00:00:00Z, got {start}", "start"
        )
        return 0
    return round(start.timestamp() * 1000)


def _road(report: _Report, table: Mapping[str, Any]) -> Road:
    known = {"duplicate_share": 1.0, "late_share": 1.0, "late_s": 1e6}
    for key in table:
        high = known.get(key)
        if high is None:
            report.at(f"[telemetry]: expected one of {', '.join(known)}, got {key!r}", key)
        elif not isinstance(table[key], int | float) or not 0.0 <= table[key] <= high:
            report.at(f"{key}: expected a number from 0 to {high:g}, got {table[key]!r}", key)
    return Road(**{key: float(table[key]) for key in known if isinstance(table.get(key), int | float)})


def _site(
    report: _Report,
    raw: Mapping[str, Any],
    seed: int,
    start_ms: int,
    interval_s: float,
    read_site: Callable[[str], Site],
) -> Site:
    if "site" in raw:
        site = read_site(str(raw["site"]))
    else:
        unit = raw.get("unit", {})
        substations = int(_number(report, unit, "substations", 30, low=1))
        trucks = int(_number(report, unit, "trucks", 5, low=0))
        site = demo_plan(seed, substations, trucks, start_ms, interval_s=interval_s)
    for network in site.networks:
        members = [d for d in site.devices.values() if d.network == network]
        plants = sum(d.device_class == "plant" for d in members)
        if plants != 1:
            report.at(f"network {network!r}: expected one plant, got {plants}", "site")
        for device in members:
            if device.device_class in ("plant", "substation") and not device.node:
                report.at(f"device {device.device!r}: expected a node of the network, got none", "site")
    if not site.networks:
        report.at("expected a network, got a site without one", "site")
    return site


def _places(site: Site, on: str) -> set[str]:
    if on == "pipe":
        return set(site.pipes)
    if on == "node":
        return {n for p in site.pipes.values() for n in (p.from_node, p.to_node)}
    classes = ("substation",) if on == "substation" else ("plant", "substation")
    return {d.device for d in site.devices.values() if d.device_class in classes}


def _fault(
    report: _Report, site: Site, row: Mapping[str, Any], number: int, start_ms: int, end_ms: int
) -> Fault | None:
    before = len(report.found)
    for key in row.keys() - {"kind", "place", "size", "onset_h", "until_h", "ramp_h"}:
        report.at(f"{key}: expected kind, place, size, onset_h, until_h or ramp_h", key, number)
    kind = KINDS.get(str(row.get("kind")))
    if kind is None:
        report.at(f"kind: expected one of {', '.join(KINDS)}, got {row.get('kind')!r}", "kind", number)
        return None
    name, place = str(row["kind"]), str(row.get("place", ""))
    if place not in _places(site, kind.on):
        report.at(f"place: expected a {kind.on} of the site, got {place!r}", "place", number)
    size = 0.0
    if kind.size:
        if "size" not in row:
            report.at(f"size: expected a number ({kind.size}), got none", "kind", number)
        size = _number(report, row, "size", 0.0, low=-1e9 if name in _SIGNED else 0.0, number=number)
        if name == "fouling" and size >= 1.0:
            report.at(f"size: expected a share under 1, got {size:g}", "size", number)
    onset_h = _number(report, row, "onset_h", 0.0, low=0.0, number=number)
    hours = (end_ms - start_ms) / 3_600_000
    if onset_h >= hours:
        report.at(
            f"onset_h: expected a time before the end at {hours:g} h, got {onset_h:g}", "onset_h", number
        )
    until_h = _number(report, row, "until_h", hours, low=onset_h, number=number)
    ramp_h = _number(report, row, "ramp_h", 0.0, low=0.0, number=number)
    if len(report.found) > before:
        return None
    onset_ms = start_ms + round(onset_h * 3_600_000)
    return Fault(
        name,
        place,
        size,
        onset_ms,
        start_ms + round(until_h * 3_600_000),
        onset_ms + round(ramp_h * 3_600_000),
    )
