"""The part of a case that is about coal on the road, read and checked whole."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from models.site import Contract, Place, Site
from simulator.logistics.case_reader import (
    COAL,
    DISORDER,
    GPS,
    PLACE,
    PLAN,
    SHARE,
    SIZE,
    TRAIN,
    Reader,
    Report,
    rows,
    single,
)  # fmt: skip
from simulator.logistics.kinds import KINDS, Wrong
from simulator.logistics.made_up import Size, made_up
from simulator.logistics.plan import (
    Disorder,
    Gps,
    LaneTerms,
    PlaceTerms,
    Plan,
    Train,
)  # fmt: skip

__all__ = ["Logistics", "read"]

_HOUR_MS: Final = 3_600_000
_MONTH: Final = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True)
class Logistics:
    """Coal on the road of one case.

    Attributes
    ----------
    site : Site
        The registry with mines, bridges, trucks and contracts in it.
    heat : frozenset of str
        Its devices that are no part of coal on the road.
    """

    site: Site
    plan: Plan
    heat: frozenset[str]


_TABLES: Final = ("gps", "disorder", "place", "lane", "contract", "train")


def read(
    report: Report,
    raw: Mapping[str, Any],
    faults: list[tuple[int, Mapping[str, Any]]],
    *,
    base: Site | None,
    given: bool,
    seed: int,
    start_ms: int,
    end_ms: int,
) -> Logistics | None:
    """Read ``[logistics]`` and the faults of its kinds.

    Parameters
    ----------
    faults : list of (int, mapping)
        Number of the [[fault]] table, from 1, and the table.
    base : Site or None
        The heating company that coal comes to.
    given : bool
        `base` is a site directory that has its own places, contracts and vehicles.

    Returns
    -------
    Logistics or None
        None where something was wrong: the report says what.
    """
    reader = Reader(report)
    reader.known(raw, {*PLAN, *SIZE, *_TABLES, "lane_km", "sampling"}, "logistics")
    gps_row, disorder_row = single(raw, "gps", reader), single(raw, "disorder", reader)
    reader.known(gps_row, set(GPS), "logistics.gps")
    reader.known(disorder_row, set(DISORDER), "logistics.disorder")
    gps = Gps(**reader.numbers(gps_row, GPS, "logistics.gps"))
    disorder = Disorder(**reader.numbers(disorder_row, DISORDER, "logistics.disorder"))
    values = reader.numbers(raw, PLAN, "logistics")
    size = Size(**reader.numbers(raw, SIZE, "logistics"), **_lane_km(reader, raw))
    _sum_of_shares(reader, disorder)
    sampling = raw.get("sampling", "lot")
    if sampling not in ("lot", "ticket", "both"):
        reader.at(
            f"sampling: expected 'lot', 'ticket' or 'both', got {sampling!r}", "sampling", 0, "logistics"
        )
    if size.stations >= size.contracts and size.stations:
        reader.at(
            f"stations: expected fewer than the {size.contracts} contracts, got {size.stations}",
            "stations", 0, "logistics",
        )  # fmt: skip
    if given:
        for key in sorted(raw.keys() & {*SIZE, "lane_km"}):
            reader.at(f"{key}: expected none beside a site, which has its own", key, 0, "logistics")
    if report.found:
        return None
    places: dict[str, PlaceTerms] = {}
    trains: dict[str, Train] = {}
    if given and base is not None:
        site = base
    else:
        site, places, trains = made_up(
            seed, start_ms, end_ms, size, base=base, tracked_share=gps.tracked_share,
            interval_s=gps.interval_s, off_duty_h=values.get("off_duty_h", 0.0),
        )  # fmt: skip
    site = _contracts(reader, raw, site)
    if not given and rows(raw, "contract", reader):
        trains = {}
    places = _place_terms(reader, raw, site, places)
    lanes = _lanes(reader, raw, site)
    trains = _trains(reader, raw, site, trains)
    _bridged(reader, site, raw)
    wrongs = [_wrong(reader, site, row, n, start_ms, end_ms) for n, row in faults]
    if report.found:
        return None
    plan = Plan(
        places=places, lanes=lanes, trains=trains, gps=gps, disorder=disorder, sampling=sampling,
        wrongs=tuple(w for w in wrongs if w is not None), **values,
    )  # fmt: skip
    heat = {
        d.device
        for d in (base.devices.values() if base else ())
        if not given or d.network or d.device_class in ("meter", "weather", "substation")
    }
    return Logistics(site, plan, frozenset(heat))


def _lane_km(reader: Reader, raw: Mapping[str, Any]) -> dict[str, Any]:
    value = raw.get("lane_km", [60.0, 180.0])
    right = isinstance(value, list) and len(value) == 2
    right = right and all(isinstance(v, int | float) and not isinstance(v, bool) for v in value)
    if not right or not 5.0 <= value[0] <= value[1] <= 2_000.0:
        reader.at(
            f"lane_km: expected [shortest, longest] from 5 to 2000, got {value!r}", "lane_km", 0, "logistics"
        )
        return {}
    return {"lane_km": (float(value[0]), float(value[1]))}


def _sum_of_shares(reader: Reader, disorder: Disorder) -> None:
    shares = {f.name: getattr(disorder, f.name) for f in fields(Disorder)}
    total = sum(v for k, v in shares.items() if k not in ("late_h", "bad_moisture_share"))
    if total > 1.0:
        reader.at(
            f"shares of tickets: expected 1 at most together, got {total:g}", "", 0, "logistics.disorder"
        )


def _contracts(reader: Reader, raw: Mapping[str, Any], site: Site) -> Site:
    """Contracts given in the case take the place of others."""
    table, found = "logistics.contract", dict[str, Contract]()
    given = rows(raw, "contract", reader)
    keys = {f.name for f in fields(Contract)} - {"unit", "buyer", "stream"}
    for n, row in enumerate(given, 1):
        reader.known(row, keys, table, n)
        name = row.get("contract")
        if not isinstance(name, str) or not name or name in found:
            reader.at(f"contract: expected a name of its own, got {name!r}", "contract", n, table)
            continue
        origin = reader.choice(row, "origin", site.places, "a place of the site", table, n)
        destination = reader.choice(row, "destination", site.places, "a place of the site", table, n)
        month = row.get("month")
        if not isinstance(month, str) or not _MONTH.fullmatch(month):
            reader.at(f"month: expected YYYY-MM such as 2026-01, got {month!r}", "month", n, table)
            continue
        limits = {"planned_t": (0.0, 1e9), "price_cny_t": (0.0, 1e5), "q_ref_mj_kg": (1.0, 40.0)}
        numbers = reader.numbers(row, limits, table, n)
        if "planned_t" not in row:
            reader.at("planned_t: expected a number, got none", "contract", n, table)
        if not origin or not destination or "planned_t" not in numbers:
            continue
        unit = site.places[destination].unit or next(iter(site.units))
        stream = next((d.stream for d in site.devices.values() if d.place == origin), unit)
        found[name] = Contract(
            name, str(row.get("seller", "")), "", unit, origin, destination, str(row.get("grade", "")), month,
            numbers["planned_t"], numbers.get("price_cny_t"), numbers.get("q_ref_mj_kg"), stream,
        )  # fmt: skip
    return replace(site, contracts=found, texts={}) if given else site


def _place_terms(
    reader: Reader, raw: Mapping[str, Any], site: Site, places: Mapping[str, PlaceTerms]
) -> dict[str, PlaceTerms]:
    table, result = "logistics.place", dict(places)
    for n, row in enumerate(rows(raw, "place", reader), 1):
        reader.known(row, {"place", *PLACE, *COAL}, table, n)
        place = reader.choice(row, "place", site.places, "a place of the site", table, n)
        numbers, coal = reader.numbers(row, PLACE, table, n), reader.numbers(row, COAL, table, n)
        terms = result.get(place, PlaceTerms())
        terms = replace(terms, coal=replace(terms.coal, **coal), **numbers)
        if terms.opens_h >= terms.closes_h:
            reader.at(
                f"opens_h: expected an hour before closes_h, got {terms.opens_h:g} and {terms.closes_h:g}",
                "opens_h", n, table,
            )  # fmt: skip
        result[place] = terms
    return result


def _lanes(reader: Reader, raw: Mapping[str, Any], site: Site) -> dict[tuple[str, str], LaneTerms]:
    table, result = "logistics.lane", dict[tuple[str, str], LaneTerms]()
    for n, row in enumerate(rows(raw, "lane", reader), 1):
        reader.known(row, {"origin", "destination", "points", "speed_km_h"}, table, n)
        origin = reader.choice(row, "origin", site.places, "a place of the site", table, n)
        destination = reader.choice(row, "destination", site.places, "a place of the site", table, n)
        numbers = reader.numbers(row, {"speed_km_h": (5.0, 120.0)}, table, n)
        points = row.get("points", [])
        if not _are_points(points):
            reader.at(
                "points: expected [[latitude, longitude], …] in degrees, got something else",
                "points",
                n,
                table,
            )
            continue
        result[origin, destination] = LaneTerms(tuple((float(a), float(b)) for a, b in points), **numbers)
    return result


def _are_points(points: Any) -> bool:
    return isinstance(points, list) and all(
        isinstance(p, list)
        and len(p) == 2
        and all(isinstance(v, int | float) and not isinstance(v, bool) for v in p)
        and abs(p[0]) <= 90.0
        and abs(p[1]) <= 180.0
        for p in points
    )


def _trains(
    reader: Reader, raw: Mapping[str, Any], site: Site, trains: Mapping[str, Train]
) -> dict[str, Train]:
    table, result = "logistics.train", dict(trains)
    for n, row in enumerate(rows(raw, "train", reader), 1):
        reader.known(row, {"contract", *TRAIN}, table, n)
        contract = reader.choice(row, "contract", site.contracts, "a contract", table, n)
        result[contract] = Train(**reader.numbers(row, TRAIN, table, n))
    return result


def _bridged(reader: Reader, site: Site, raw: Mapping[str, Any]) -> None:
    """Each contract's two places have a weighbridge, and somebody hauls."""
    bridged = {d.place for d in site.devices.values() if d.device_class == "weighbridge"}
    own = bool(rows(raw, "contract", reader))
    for n, contract in enumerate(site.contracts.values(), 1):
        places: list[Place] = [site.places[contract.origin], site.places[contract.destination]]
        for place in places:
            if place.place not in bridged:
                reader.at(
                    f"contract {contract.contract!r}: expected a weighbridge at {place.place!r}, got none",
                    "contract" if own else "", n if own else 0, "logistics.contract" if own else "logistics",
                )  # fmt: skip
    if not site.contracts:
        reader.at("expected a contract, got none", "", 0, "logistics")


def _named(site: Site, on: str) -> set[str]:
    if on == "bridge":
        return {d.device for d in site.devices.values() if d.device_class == "weighbridge"}
    if on == "device":
        return {d.device for d in site.devices.values() if d.device_class in ("truck", "weighbridge")}
    if on == "seller":
        return {c.seller for c in site.contracts.values()}
    if on == "place":
        return {c.destination for c in site.contracts.values()}
    return set(site.contracts if on == "contract" else site.vehicles)


_WHAT: Final = {
    "plate": "a plate", "bridge": "a weighbridge", "device": "a truck or a weighbridge", "seller": "a seller",
    "place": "a destination", "contract": "a contract",
}  # fmt: skip


def _wrong(
    reader: Reader, site: Site, row: Mapping[str, Any], n: int, start_ms: int, end_ms: int
) -> Wrong | None:
    kind, found, hours = KINDS[str(row["kind"])], reader.report.found, (end_ms - start_ms) / _HOUR_MS
    before = len(found)
    names = {"kind", "place", "size", "onset_h", "until_h", "ramp_h", "share"}
    if row["kind"] == "plate_swapped":
        names.add("other")
    reader.known(row, names, "fault", n)
    place = reader.choice(row, "place", _named(site, kind.on), f"{_WHAT[kind.on]} of the site", "fault", n)
    other = ""
    if row["kind"] == "plate_swapped":
        other = reader.choice(row, "other", site.vehicles, "another plate of the site", "fault", n)
        if other and other == place:
            reader.at(f"other: expected another plate than {place!r}", "other", n, "fault")
    limits = {
        "size": (kind.low, kind.high), "onset_h": (0.0, 1e6), "until_h": (0.0, 1e6), "ramp_h": (0.0, 1e6),
        "share": SHARE,
    }  # fmt: skip
    numbers = reader.numbers(row, limits, "fault", n)
    if kind.size and "size" not in row:
        reader.at(f"size: expected a number ({kind.size}), got none", "kind", n, "fault")
    onset_h, until_h = numbers.get("onset_h", 0.0), numbers.get("until_h", hours)
    if onset_h >= hours:
        reader.at(
            f"onset_h: expected a time before the end at {hours:g} h, got {onset_h:g}", "onset_h", n, "fault"
        )
    elif until_h <= onset_h:
        reader.at(f"until_h: expected a time after onset_h, got {until_h:g}", "until_h", n, "fault")
    if len(found) > before:
        return None
    onset_ms = start_ms + round(onset_h * _HOUR_MS)
    return Wrong(
        str(row["kind"]), place, numbers.get("size", 1.0), onset_ms, start_ms + round(until_h * _HOUR_MS),
        onset_ms + round(numbers.get("ramp_h", 0.0) * _HOUR_MS), numbers.get("share", 1.0), other,
    )  # fmt: skip
