"""What was measured about the time of an alarm: for every kind of subject the rows that tell of it.

What the rule looked at comes first. Readings are shown half an hour before and after; windows of a network
six each way, as half an hour of hourly ones is one at most; what comes once a load or a day over two weeks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from dashboards.terms import term_of, unit_of
from models.measurements import Kind, of_class
from models.results import READING
from models.site import Site
from models.wording import worded
from store.protocol import Select, SeriesStore

__all__ = ["KINDS", "Source", "sources_of", "trend"]

NEAR_MS: Final = 30 * 60_000
FAR_MS: Final = 14 * 86_400_000
WINDOWS: Final = 6
"""Of a network, before and after."""
_EVERY_MS: Final = 10_000
_MOST_ROWS: Final = 50_000
"""Rows that are asked for at once."""
_LEAST_MS: Final = 1_000
_FIRST: Final = ("supply_c", "return_c", "flow_m3_h", "heat_kw")
_WATER: Final = frozenset({"primary_leak", "secondary_leak", "water_theft"})
_WEIGHTS: Final = frozenset({"tare_drift", "tare_inflated", "repeated_weight", "overload", "transit_loss"})


@dataclass(frozen=True, slots=True)
class Source:
    """Rows that tell of a subject.

    Attributes
    ----------
    measurement : str
    fields : tuple of str
        Numbers that are drawn, in this order.
    keys : tuple of str
        Of these only; empty for all.
    column, among : str, tuple of str
        Of rows only that have one of these in the column, of keys their beginning; empty for all.
    span_ms : int
        Shown before and after. [ms]
    """

    measurement: str
    fields: tuple[str, ...]
    keys: tuple[str, ...] = ()
    column: str = ""
    among: tuple[str, ...] = ()
    span_ms: int = NEAR_MS


def _of_network(name: str, code: str, site: Site) -> list[Source]:
    network = site.networks.get(name)
    if network is None:
        return []
    span_ms = max(NEAR_MS, WINDOWS * 1000 * network.window_s)
    heat = Source(
        "network_heat",
        ("residual_gj", "loss_gj", "supplied_gj", "delivered_gj", "storage_gj", "leak_gj"),
        (name,),
        span_ms=span_ms,
    )
    water = Source(
        "network_water",
        ("leak_m3", "makeup_m3", "floor_m3_h", "unbiased_m3", "difference_m3", "circulated_m3"),
        (name,),
        span_ms=span_ms,
    )
    return [water, heat] if code in _WATER else [heat, water]


def _of_branch(name: str, code: str, site: Site) -> list[Source]:
    return _of_network(name.partition("/")[0], code, site)


def _of_plate(name: str, code: str, site: Site) -> list[Source]:
    weights = Source("weighing", ("mass_kg", "corrected_kg"), (), "plate", (name,), FAR_MS)
    vehicle = site.vehicles.get(name)
    tracked = _of_device(vehicle.device, site) if vehicle is not None and vehicle.device else []
    return [weights, *tracked] if code in _WEIGHTS else [*tracked, weights]


def _of_ticket(name: str, _code: str, _site: Site) -> list[Source]:
    return [Source("weighing", ("mass_kg", "corrected_kg"), (), "ticket", (name,), FAR_MS)]


def _of_bridge(name: str, _code: str, site: Site) -> list[Source]:
    known = name in site.devices
    return [Source("weighing", ("mass_kg",), (), "key", (f"{name}:",), FAR_MS)] if known else []


def _of_contract(name: str, code: str, site: Site) -> list[Source]:
    contract = site.contracts.get(name)
    if contract is None:
        return []
    whole = Source(
        "fulfilment",
        ("shortfall_p", "forecast_pct", "rate_pct", "received_kg", "planned_to_date_kg"),
        (f"{contract.contract}:{contract.month}",),
        span_ms=FAR_MS,
    )
    loads = _loads((name,))
    return [loads, whole] if code == "transit_loss" else [whole, loads]


def _of_supplier(name: str, _code: str, site: Site) -> list[Source]:
    mine = tuple(sorted(c.contract for c in site.contracts.values() if c.seller == name))
    return [_loads(mine, ("q_mj_kg", "loaded_q_mj_kg", "loss_pct"))] if mine else []


def _of_haulage(name: str, _code: str, site: Site) -> list[Source]:
    mine = tuple(sorted(c.contract for c in site.contracts.values() if c.stream == name))
    return [_loads(mine)] if mine else []


def _loads(contracts: tuple[str, ...], fields: tuple[str, ...] = ("loss_pct", "received_kg")) -> Source:
    return Source("trip", fields, (), "contract", contracts, FAR_MS)


KINDS: Final[Mapping[str, Callable[[str, str, Site], list[Source]]]] = {
    "network": _of_network,
    "branch": _of_branch,
    "plate": _of_plate,
    "ticket": _of_ticket,
    "bridge": _of_bridge,
    "contract": _of_contract,
    "supplier": _of_supplier,
    "haulage": _of_haulage,
}
"""Kinds of subject that are no devices, by what stands before their colon."""


def _of_device(name: str, site: Site) -> list[Source]:
    device = site.devices.get(name)
    if device is None:
        return []
    numbers = [m.name for m in of_class(device.device_class) if m.kind is not Kind.TEXT]
    fields = sorted(numbers, key=lambda n: _FIRST.index(n) if n in _FIRST else len(_FIRST))
    return [Source(READING, tuple(fields), (name,))] if fields else []


def sources_of(subject: str, code: str, evidence: Mapping[str, Any], site: Site) -> list[Source]:
    """Where a subject's measurements are; nothing where none are kept of it.

    Parameters
    ----------
    subject, code : str
        Of an alarm.
    evidence : mapping
        What its rule looked at: names of fields, as keys or as values.
    """
    kind, colon, name = subject.partition(":")
    found = _of_device(subject, site)
    if not found and colon and kind in KINDS:
        found = KINDS[kind](name, code, site)
    looked = frozenset(_words(evidence))
    ordered = [replace(s, fields=tuple(sorted(s.fields, key=lambda n: n not in looked))) for s in found]
    return sorted(ordered, key=lambda s: not looked & set(s.fields))


def _words(value: object) -> Iterable[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield str(name)
            yield from _words(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _words(inner)
    elif isinstance(value, str):
        yield value


def trend(store: SeriesStore, site: Site, alarm: str) -> dict[str, Any]:
    """What was measured about the beginning of an alarm.

    Returns
    -------
    dict
        ``at_ms``; ``kept``: whether anything is measured of such a subject; ``of``: whose it is where it is
        not the subject's own; ``lines``, each with ``measurement``, ``field``, ``term`` (its words in
        English and Chinese), ``unit``, ``span_ms`` and ``points`` as pairs of ms UTC and a number.

    Raises
    ------
    LookupError
        There is no such alarm.
    """
    rows = store.select(Select("alarm", keys=(alarm,), latest=True)).to_pylist()
    if not rows:
        msg = worded("expected the id of an alarm, got {got}", got=repr(alarm[:80]))
        raise LookupError(msg)
    subject, at_ms = str(rows[0]["subject"]), int(rows[0]["window_start"])
    about = _truck_of(store, subject, at_ms) or subject
    sources = sources_of(about, rows[0]["code"], _evidence(rows[0]["evidence"]), site)
    lines = [line for source in sources for line in _lines(store, source, at_ms)]
    kind, _, name = subject.partition(":")
    whose = name.partition("/")[0] if sources and kind == "branch" else ""
    return {"at_ms": at_ms, "kept": bool(sources), "of": whose, "lines": lines}


def _truck_of(store: SeriesStore, subject: str, at_ms: int) -> str:
    """The plate that a ticket was given to, as a subject: the two weighings of a ticket draw no line."""
    kind, _, name = subject.partition(":")
    if kind != "ticket":
        return ""
    given = Source("weighing", (), (), "ticket", (name,), FAR_MS)
    rows = [r for r in _rows(store, given, at_ms - FAR_MS, at_ms + FAR_MS + 1) if r.get("plate")]
    nearest = min(rows, key=lambda r: abs(r["window_start"] - at_ms), default=None)  # numbers begin anew
    return f"plate:{nearest['plate']}" if nearest else ""


def _evidence(text: str | None) -> Mapping[str, Any]:
    said = json.loads(text or "{}")
    return said if isinstance(said, Mapping) else {}


def _is_of(table: pa.Table, source: Source) -> pa.Table:
    """Rows of whom the source is about."""
    if not source.column:
        return table
    if source.column == "key":
        begun = [pc.starts_with(table["key"], pattern=name) for name in source.among]
        return table.filter(reduce(pc.or_, begun))
    if source.column not in table.column_names:
        return table.slice(0, 0)
    return table.filter(pc.is_in(table[source.column], pa.array(source.among, pa.string())))


def _rows(store: SeriesStore, source: Source, from_ms: int, to_ms: int) -> list[dict[str, Any]]:
    """Every row of a source in a span, however many others lie there: in halves where they are too many."""
    table = store.select(Select(
        source.measurement, keys=source.keys, from_ms=from_ms, to_ms=to_ms,
        every_ms=_EVERY_MS if source.measurement == READING else None, limit=_MOST_ROWS,
    ))  # fmt: skip
    if table.num_rows < _MOST_ROWS or to_ms - from_ms < _LEAST_MS:
        rows: list[dict[str, Any]] = _is_of(table, source).to_pylist()
        return rows
    middle = (from_ms + to_ms) // 2
    return [*_rows(store, source, from_ms, middle), *_rows(store, source, middle, to_ms)]


def _lines(store: SeriesStore, source: Source, at_ms: int) -> list[dict[str, Any]]:
    rows = _rows(store, source, at_ms - source.span_ms, at_ms + source.span_ms + 1)
    rows.sort(key=lambda r: r["window_start"])
    lines = []
    for field in source.fields:
        # Of what weighs, a truck full and a truck empty are two lines.
        steps = dict.fromkeys(r.get("step") for r in rows) if source.measurement == "weighing" else (None,)
        for step in steps:
            mine = [r for r in rows if step is None or r.get("step") == step]
            points = [[r["window_start"], r[field]] for r in mine if isinstance(r.get(field), int | float)]
            if len(points) > 1:
                name = f"{field} {step}" if step else field
                term = term_of(source.measurement, name)
                lines.append({
                    "measurement": source.measurement, "field": name, "term": {"en": term.en, "zh": term.zh},
                    "unit": unit_of(source.measurement, name), "span_ms": source.span_ms, "points": points,
                })  # fmt: skip
    return lines
