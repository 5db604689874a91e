"""A case: which unit, which weather, how long, and what goes wrong; read from TOML and checked whole."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from models.site import Device, Site
from simulator.case_faults import check_networks, read_faults
from simulator.case_report import CaseError, Report
from simulator.case_weather import LARGEST_SEED, read_weather
from simulator.clocks import Clocks
from simulator.kinds import KINDS, Fault
from simulator.local_time import standard_offset_h
from simulator.logistics.case_part import Logistics
from simulator.logistics.case_part import read as read_logistics
from simulator.logistics.kinds import KINDS as ROAD_KINDS
from simulator.unit import TIME_ZONE, demo_plan
from simulator.weather import Weather

__all__ = ["KINDS", "Case", "CaseError", "Fault", "Road", "parse"]

_START: Final = datetime(2026, 1, 10, tzinfo=UTC)
_YEARS: Final = (1971, 2199)
_MOST: Final = 20_000
_TABLES: Final = ("unit", "telemetry", "weather", "logistics")
_READ: Final = ("plant", "substation")
_ROAD: Final = {"duplicate_share": 1.0, "late_share": 1.0, "late_s": 1e6}
_CLOCKS: Final = {
    "skew_s": 600.0, "jitter_s": 600.0, "drop_share": 1.0, "resend_share": 1.0, "outages_a_day": 100.0,
    "outage_s": 86_400.0,
}  # fmt: skip


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
    clocks : Clocks
        How its clocks and lines are.
    weather : Weather or None
        In place of the seed's.
    logistics : Logistics or None
        Coal on the road, where the case has it; `site` has its devices too.
    """

    seed: int
    start_ms: int
    hours: float
    interval_s: float
    site: Site
    road: Road = field(default_factory=Road)
    faults: tuple[Fault, ...] = ()
    clocks: Clocks = field(default_factory=Clocks)
    weather: Weather | None = None
    logistics: Logistics | None = None

    @property
    def end_ms(self) -> int:
        """End of the run, ms UTC."""
        return self.start_ms + round(self.hours * 3_600_000)


def _no_file(name: str) -> str:
    raise OSError(f"no file {name!r} at hand")


def parse(
    name: str,
    text: str,
    read_site: Callable[[str], Site],
    *,
    read_text: Callable[[str], str] = _no_file,
    begin_ms: Callable[[float], int] | None = None,
) -> Case:
    """Read a case.

    Parameters
    ----------
    name : str
        Name of the file, for messages.
    read_site, read_text : callable
        Give the registry of a site directory, and the text of a file, that the case names; OSError
        where there is none.
    begin_ms : callable, optional
        Gives the start, ms UTC, in place of the file's, for a run of so many hours.

    Raises
    ------
    CaseError
        With every fault found, a line each.
    """
    raw = _toml(name, text)
    report = Report(name, text)
    report.keys(raw, ("seed", "start", "hours", "interval_s", "site", "fault", *_TABLES), table="")
    for key in _TABLES:
        if not isinstance(raw.get(key, {}), dict):
            report.at(f"{key}: expected a table [{key}], got {raw.pop(key)!r}", key)
    seed = report.whole(raw, "seed", 1, low=0, high=LARGEST_SEED)
    hours = report.number(raw, "hours", 24.0, low=1e-3, high=20_000.0)
    interval_s = report.number(raw, "interval_s", 10.0, low=1.0, high=301.0)
    start_ms = _start(report, raw) if begin_ms is None else begin_ms(hours)
    end_ms = start_ms + round(hours * 3_600_000)
    _interval(report, hours, interval_s)
    road = Road(**_shares(report, raw, _ROAD))
    clocks = Clocks(**_shares(report, raw, _CLOCKS))
    report.keys(raw.get("telemetry", {}), (*_ROAD, *_CLOCKS), table="telemetry")
    report.stop()
    weather = read_weather(report, raw.get("weather", {}), seed, (start_ms, end_ms), read_text)
    site = _site(report, raw, seed, start_ms, interval_s, read_site)
    report.stop()
    if site.networks or "logistics" not in raw:
        check_networks(report, site)
    report.stop()
    elsewhere = ROAD_KINDS if "logistics" in raw else ()
    tables = raw.get("fault", [])
    faults = read_faults(report, tables, site, start_ms, end_ms, interval_s, elsewhere)
    report.stop()
    site = _registered(site, faults, interval_s)
    weather = replace(weather, offset_h=standard_offset_h(ZoneInfo(site.timezone), start_ms))
    logistics = _logistics(report, raw, site, seed, start_ms, end_ms)
    report.stop()
    return Case(
        seed, start_ms, hours, interval_s, logistics.site if logistics else site, road, faults, clocks,
        weather, logistics,
    )  # fmt: skip


def _logistics(
    report: Report, raw: Mapping[str, Any], site: Site, seed: int, start_ms: int, end_ms: int
) -> Logistics | None:
    """Coal on the road, where the case has it."""
    if "logistics" not in raw:
        return None
    rows = [(n, row) for n, row in enumerate(raw.get("fault", []), 1) if str(row.get("kind")) in ROAD_KINDS]
    return read_logistics(
        report, raw["logistics"], rows, base=site if site.units else None, given="site" in raw, seed=seed,
        start_ms=start_ms, end_ms=end_ms,
    )  # fmt: skip


def _toml(name: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        number = int(line[1]) if line else len(text.splitlines())
        raise CaseError(f"{name}:{number}: expected TOML, got: {error}") from error


def _start(report: Report, raw: Mapping[str, Any]) -> int:
    start = raw.get("start", _START)
    if not isinstance(start, datetime) or start.tzinfo is None:
        got = repr(start) if isinstance(start, str) else start
        report.at(f"start: expected a time with its offset such as 2026-01-10T00:00:00Z, got {got}", "start")
        return 0
    if not _YEARS[0] <= start.year <= _YEARS[1]:
        report.at(f"start: expected a year from {_YEARS[0]} to {_YEARS[1]}, got {start.year}", "start")
        return 0
    return round(start.timestamp() * 1000)


def _interval(report: Report, hours: float, interval_s: float) -> None:
    """Note an interval that is no whole number of milliseconds, and a run without a single one."""
    if abs(interval_s * 1000.0 - round(interval_s * 1000.0)) > 1e-6:
        report.at(f"interval_s: expected whole milliseconds, got {interval_s!r}", "interval_s")
    elif hours * 3600.0 < interval_s:
        report.at(f"hours: expected at least one interval of {interval_s:g} s, got {hours:g}", "hours")


def _shares(report: Report, raw: Mapping[str, Any], known: Mapping[str, float]) -> dict[str, float]:
    table = raw.get("telemetry", {})
    good = {}
    for key, high in known.items():
        value = table.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= high:
            report.at(f"{key}: expected a number from 0 to {high:g}, got {value!r}", key, table="telemetry")
        else:
            good[key] = float(value)
    return good


def _site(
    report: Report,
    raw: Mapping[str, Any],
    seed: int,
    start_ms: int,
    interval_s: float,
    read_site: Callable[[str], Site],
) -> Site:
    unit = raw.get("unit", {})
    report.keys(unit, ("substations", "trucks"), table="unit")
    if "logistics" in raw and not raw.keys() & {"site", "unit"}:
        return Site(id="", name="", timezone=TIME_ZONE)
    if "site" not in raw:
        substations = report.whole(unit, "substations", 30, low=1, high=_MOST, table="unit")
        usual = 0 if "logistics" in raw else 5
        trucks = report.whole(unit, "trucks", usual, low=0, high=_MOST, table="unit")
        if "logistics" in raw and trucks:
            report.at("trucks: expected none beside [logistics], which has its own", "trucks", table="unit")
        return demo_plan(seed, substations, trucks, start_ms, interval_s=interval_s)
    if unit:
        report.at("unit: expected either a site or a made-up unit, got both", table="unit")
    if not isinstance(raw["site"], str):
        report.at(f"site: expected the name of a directory, got {raw['site']!r}", "site")
        return demo_plan(seed, 1, 0, start_ms, interval_s=interval_s)
    try:
        return read_site(raw["site"])
    except OSError as error:
        report.at(f"site: {error}", "site")
        return demo_plan(seed, 1, 0, start_ms, interval_s=interval_s)


def _registered(site: Site, faults: tuple[Fault, ...], interval_s: float) -> Site:
    """The site with what must be known: the interval of readings, an office that books, a full scale."""
    devices = {
        name: replace(d, interval_s=interval_s) if d.device_class in _READ and d.network else d
        for name, d in site.devices.items()
    }
    for fault in faults:
        if fault.kind == "counter_rollover":
            devices[fault.place] = replace(devices[fault.place], energy_full_scale_gj=fault.size)
    offices = {d.unit for d in devices.values() if d.device_class == "office"}
    flushed = {f.place for f in faults if f.kind == "flushing"}
    units = {site.networks[p.network].unit for p in site.pipes.values() if {p.from_node, p.to_node} & flushed}
    for unit in sorted(units - offices):
        name = f"office-{unit}"
        devices[name] = Device(name, "office", unit, unit, None, "仿真调度室 Simulated office")
    return site if devices == dict(site.devices) else replace(site, devices=devices, texts={})
