"""A site directory's texts read into the registry, or every fault of theirs at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from models.frame import REFUSED_STREAM
from models.measurements import DEVICE_CLASSES
from models.site import Contract, Device, FulfilmentRule, Network, Pipe, Place, Region, Site, Unit, Vehicle
from models.site_cells import Choice, Id, Month, Number, Text, Zone
from models.site_checks import check_rules, check_unique
from models.site_csv import read_csv
from models.site_table import Column, Fault, Report, Table
from models.site_toml import read_toml
from models.site_warnings import warn_of_meters, warn_of_networks, warn_of_streams

__all__ = ["Fault", "SiteError", "parse_site"]

_T = TypeVar("_T")

_LATITUDE: Final = Number(-90, 90)
_LONGITUDE: Final = Number(-180, 180)
_POSITIVE: Final = Number(positive=True)
_NOT_NEGATIVE: Final = Number(0)
_STREAM: Final = Id(reserved=REFUSED_STREAM)

_TOML: Final = "site.toml"
_TOML_TABLES: Final[dict[str, tuple[Column, ...]]] = {
    "site": (
        Column("name", Text(), required=True),
        Column("id", Id()),
        Column("timezone", Zone(), required=True),
        Column("lateness_s", Number(0, 604_800, whole=True)),
        Column("retention_days", Number(1, 36_500, whole=True)),
    ),
    "region": (Column("id", Id(), required=True), Column("name", Text())),
    "unit": (
        Column("id", Id(), required=True),
        Column("region", Text(), required=True, refers="region"),
        Column("name", Text()),
        Column("min_stock_t", _NOT_NEGATIVE),
    ),
    "network": (
        Column("id", Id(), required=True),
        Column("unit", Text(), required=True, refers="unit"),
        Column("name", Text()),
        Column("volume_m3", _POSITIVE),
        Column("window_s", Number(high=604_800, positive=True, whole=True, multiple=900)),
        Column("lateness_s", Number(0, 604_800, whole=True)),
        Column("ground_c", Number(-60, 60)),
        Column("return_ref_c", Number(0, 180)),
        Column("makeup_limit_pct", Number(0, 100)),
        Column("makeup_c", Number(0, 110)),
        Column("design_c", Number(-60, 15)),
        Column("season_c", Number(-60, 15)),
        Column("season_days", Number(1, 366)),
    ),
    "fulfilment": (
        Column("period", Choice(("month", "quarter", "year")), required=True),
        Column("least_pct", Number(0, 100), required=True),
        Column("warn_p", Number(0, 1)),
    ),
}
_CSV_TABLES: Final[dict[str, tuple[str, tuple[Column, ...]]]] = {
    "device": (
        "devices.csv",
        (
            Column("device", Id(), required=True),
            Column("class", Choice(DEVICE_CLASSES), required=True),
            Column("unit", Text(), required=True, refers="unit"),
            Column("stream", _STREAM),
            Column("network", Text(), refers="network"),
            Column("name", Text()),
            Column("lat_deg", _LATITUDE),
            Column("lon_deg", _LONGITUDE),
            Column("node", Text()),
            Column("area_m2", _POSITIVE),
            Column("qp_m3_h", _POSITIVE),
            Column("accuracy_class", Number(1, 3, whole=True)),
            Column("dt_min_k", Number(high=20, positive=True)),
            Column("mounting", Choice(("supply", "return"))),
            Column("interval_s", Number(high=604_800, positive=True)),
            Column("energy_full_scale_gj", _POSITIVE),
            Column("volume_full_scale_m3", _POSITIVE),
            Column("energy_resolution_gj", _POSITIVE),
            Column("place", Text(), refers="place"),
        ),
    ),
    "pipe": (
        "pipes.csv",
        (
            Column("pipe", Id(), required=True),
            Column("network", Text(), required=True, refers="network"),
            Column("from_node", Text(), required=True),
            Column("to_node", Text(), required=True),
            Column("length_m", _POSITIVE, required=True),
            Column("inner_diameter_m", Number(high=5, positive=True), required=True),
            Column("u_w_m_k", _NOT_NEGATIVE),
        ),
    ),
    "place": (
        "places.csv",
        (
            Column("place", Id(), required=True),
            Column("unit", Text(), refers="unit"),
            Column("kind", Choice(("mine", "plant", "yard", "station")), required=True),
            Column("name", Text()),
            Column("lat_deg", _LATITUDE, required=True),
            Column("lon_deg", _LONGITUDE, required=True),
            Column("radius_m", _POSITIVE, required=True),
        ),
    ),
    "contract": (
        "contracts.csv",
        (
            Column("contract", Text(), required=True),
            Column("seller", Text()),
            Column("buyer", Text()),
            Column("unit", Text(), required=True, refers="unit"),
            Column("origin", Text(), required=True, refers="place"),
            Column("destination", Text(), required=True, refers="place"),
            Column("grade", Text()),
            Column("month", Month(), required=True),
            Column("planned_t", _NOT_NEGATIVE, required=True),
            Column("price_cny_t", _NOT_NEGATIVE),
            Column("q_ref_mj_kg", Number(high=40, positive=True)),
            Column("stream", _STREAM),
            Column("freight_cny_t", _NOT_NEGATIVE),
        ),
    ),
    "vehicle": (
        "vehicles.csv",
        (
            Column("plate", Text(), required=True),
            Column("device", Text(), refers="device"),
            Column("tag", Text()),
            Column("tare_kg", _POSITIVE),
            Column("rated_kg", _POSITIVE),
        ),
    ),
}
_UNIQUE: Final = (
    ("region", "id"), ("unit", "id"), ("network", "id"),
    ("device", "device"), ("pipe", "pipe"), ("place", "place"), ("contract", "contract"),
    ("vehicle", "plate"), ("vehicle", "device"), ("vehicle", "tag"), ("fulfilment", "period"),
)  # fmt: skip
_FILES: Final = (_TOML, *(file for file, _ in _CSV_TABLES.values()))


class SiteError(ValueError):
    """A site with faults.

    Attributes
    ----------
    faults, warnings : tuple of Fault
        Every one, in the order of files and lines; of warnings those that do not need a sound site.
    """

    def __init__(self, faults: Iterable[Fault], warnings: Iterable[Fault] = ()):
        self.faults = tuple(faults)
        self.warnings = tuple(warnings)
        super().__init__("\n".join(map(str, self.faults)))


def parse_site(texts: Mapping[str, str]) -> tuple[Site, tuple[Fault, ...]]:
    r"""Read the texts of a site directory.

    Parameters
    ----------
    texts : mapping of str to str
        Contents of ``site.toml`` and of the CSV files that there are, by file name.

    Returns
    -------
    site : Site
    warnings : tuple of Fault
        What was not read: unknown columns, keys and files; and what balances will have no number for.

    Raises
    ------
    SiteError
        Names every fault, each once: what follows from a fault is not named
        again.

    Examples
    --------
    >>> parse_site({"site.toml": '[site]\nname = "Harbour"\ntimezone = "X"'})
    Traceback (most recent call last):
    ...
    models.site_files.SiteError: site.toml:3:1: timezone: expected a time zone such as Asia/Shanghai, got 'X'
    """
    report = Report()
    tables = _read_tables(texts, report)
    for name, column in _UNIQUE:
        check_unique(tables[name], column, report)
    specs = _TOML_TABLES | {name: columns for name, (_, columns) in _CSV_TABLES.items()}
    check_rules(tables, specs, report)
    if report.faults:
        raise SiteError(_ordered(report.faults), _ordered(report.warnings))
    warn_of_networks(tables, report)
    warn_of_meters(tables["device"], report)
    warn_of_streams(tables, report)
    return _build(tables, texts), tuple(_ordered(report.warnings))


def _read_tables(texts: Mapping[str, str], report: Report) -> dict[str, Table]:
    tables = read_toml(_TOML, _TOML_TABLES, texts.get(_TOML, ""), report)
    for name, (file, columns) in _CSV_TABLES.items():
        text = texts.get(file)
        table = Table(name, file, columns[0].name)
        tables[name] = table if text is None else read_csv(name, file, columns, text, report)
    for file in sorted(texts.keys() - set(_FILES)):
        report.warnings.append(Fault(file, 1, 1, f"unknown file is not read; known are {', '.join(_FILES)}"))
    return tables


def _ordered(faults: Iterable[Fault]) -> list[Fault]:
    files = {file: i for i, file in enumerate(_FILES)}
    return sorted(faults, key=lambda fault: (files.get(fault.file, len(files)), fault))


def _build(tables: Mapping[str, Table], texts: Mapping[str, str]) -> Site:
    site = tables["site"].rows[0].values
    return Site(
        **{"id": "site", **site},
        regions=_things(tables["region"], Region, lambda v: {"name": v["id"]}),
        units=_things(tables["unit"], Unit, lambda v: {"name": v["id"]}),
        networks=_things(tables["network"], Network, lambda v: {"name": v["id"]}),
        devices=_things(tables["device"], Device, lambda v: {"stream": v["unit"]}),
        pipes=_things(tables["pipe"], Pipe),
        places=_things(tables["place"], Place, lambda v: {"unit": None, "name": v["place"]}),
        contracts=_things(tables["contract"], Contract, lambda v: _NO_TERMS | {"stream": v["unit"]}),
        vehicles=_things(tables["vehicle"], Vehicle, lambda _: _NO_TRUCK),
        rules=_things(tables["fulfilment"], FulfilmentRule),
        texts=dict(texts),
    )


_NO_TERMS: Final = {"seller": "", "buyer": "", "grade": "", "price_cny_t": None, "q_ref_mj_kg": None}
_NO_TRUCK: Final = {"device": None, "tag": None, "tare_kg": None, "rated_kg": None}


def _things(
    table: Table, make: Callable[..., _T], unset: Callable[[dict[str, Any]], dict[str, Any]] = lambda _: {}
) -> dict[str, _T]:
    """Each row as what it describes, by its key; `unset` gives what an empty cell stands for."""
    things = {}
    for row in table.rows:
        values = {**unset(row.values), **row.values}
        if "class" in values:
            values["device_class"] = values.pop("class")
        things[row.values[table.key]] = make(**values)
    return things
