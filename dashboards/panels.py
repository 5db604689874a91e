"""Panels as data: what each page shows, for the live board and for Grafana alike.

A page is one file in `dashboards.pages` with a `PAGE`; adding a panel is adding
a row there. Nothing here knows a browser, a store or query text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Final, Literal, NamedTuple

from dashboards.scope import SCOPE_KEY
from models.measurements import known
from store.protocol import Aggregate, Select

__all__ = [
    "NETWORK_WINDOW",
    "Band",
    "Feed",
    "Page",
    "Panel",
    "Series",
    "Text",
    "Unknown",
    "judged_by",
    "measured",
    "pages",
    "panel",
]

Kind = Literal[
    "tile",
    "line",
    "scatter",
    "bands",
    "table",
    "matrix",
    "heatmap",
    "process",
    "health",
    "components",
    "stages",
    "attention",
    "alarms",
    "alarm",
    "map",
    "trips",
    "bullets",
    "verdicts",
    "strip",
    "waterfall",
    "network",
    "profile",
    "deviations",
]
"""How a panel is drawn. [tile: one number with its trend; bands: numbers with their desired ranges;
verdicts: open alarms of one device and their evidence; strip: what nobody has acknowledged;
profile: pressures over the way from the plant;
deviations: a bar each substation, sorted by how far its return is from the middle of its network]"""
Across = Literal["", "sum", "mean", "min", "max"]
"""What becomes of several keys: a line each, their sum, their mean, the least or the greatest of them."""
Scope = Literal["scope", "device"]
NETWORK_WINDOW: Final = -1
"""In `Series.window_ms`: as long as the windows of the network are, which the site says."""
"""Whether a panel is about the page's scope or about its one device."""


class Text(NamedTuple):
    """A text of the page in both languages."""

    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class Band:
    """Where a value is wanted.

    Attributes
    ----------
    low, high : float or None
        Limits in the series' unit; None is open.
    around : str
        Field whose value the band is centred on, such as a set point.
    within : float
        Half width of the band around that field.
    usual : bool
        No limit is known: show where the value lay for 90 % of the last 24 h,
        as orientation. Leaving it is not abnormal.
    priority : int
        Of a value outside `low` to `high` or the set point's band: 1 at once, 2 soon, 3 today.
    """

    low: float | None = None
    high: float | None = None
    around: str = ""
    within: float = 0.0
    usual: bool = False
    priority: int = 3


@dataclass(frozen=True, slots=True)
class Series:
    """One quantity of a panel.

    Attributes
    ----------
    select : Select
        What to ask for; the page adds scope, device and time range. Keys may hold ``{network}``: one each
        of the scope's networks.
    field : str
        Column of the answer.
    label : Text
    unit : str
        Unit shown, after `scale`.
    scale : float
        Factor from the stored unit to the shown one.
    classes : tuple of str
        Only devices of these classes of the registry; empty means all.
    across : {"", "sum", "mean", "min", "max"}
    aggregate : Aggregate
        How values are thinned when there are more than fit.
    colour : str
        Name of a muted line colour of the style sheet.
    dashed : bool
    band : Band or None
    window_ms : int
        Length of the windows of a chart's rows, so that one that still fills is not drawn: what it has so far
        would look like a fall. `NETWORK_WINDOW` for rows of a network's own window, 0 to draw every row. [ms]
    """

    select: Select
    field: str
    label: Text
    unit: str = ""
    scale: float = 1.0
    classes: tuple[str, ...] = ()
    across: Across = ""
    aggregate: Aggregate = "mean"
    colour: str = "a"
    dashed: bool = False
    band: Band | None = None
    window_ms: int = 0


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why a table has no value where its rows carry no reason of their own.

    Attributes
    ----------
    fields : tuple of str
        Columns that it tells of.
    why : Text
    zero : str
        Only where this other field of the row is 0; empty for all rows.
    """

    fields: tuple[str, ...]
    why: Text
    zero: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel of a page.

    Attributes
    ----------
    id : str
        Unique among all panels; part of URLs.
    title : Text
    kind : Kind
    series : tuple of Series
    feeds : tuple of str
        Live feeds (`Feed.name`) that it draws from, of its page or of every page's frame.
    columns : tuple of (str, Text, str)
        For tables: field, heading and unit. A field ``evidence.x`` is x of an anomaly's evidence.
    codes : tuple of str
        For tables of anomalies: only these; empty means all.
    states : tuple of str
        For tables: only rows in one of these states; empty means all.
    unknown : tuple of Unknown
        For tables: why values are unknown; the first that fits is said.
    width, height : int
        Twelfths of the page's width, and grid rows.
    scope : {"scope", "device"}
    hours : int
        Of history at least, where rows are too far apart for the page's own range. [h]
    absent : Text or None
        Said when the store has no such measurement: nothing is ever made up.
    first : Text or None
        Of a chart: said when rows of the range are there and none has a value yet: when the first comes.
    note : Text or None
        One line below the title.
    first_known : bool
        Of a tile: only the first of its series that has a value is shown, as where not every plant says it.
    """

    id: str
    title: Text
    kind: Kind
    series: tuple[Series, ...] = ()
    feeds: tuple[str, ...] = ()
    columns: tuple[tuple[str, Text, str], ...] = ()
    codes: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    unknown: tuple[Unknown, ...] = ()
    width: int = 4
    height: int = 1
    scope: Scope = "scope"
    hours: int = 0
    absent: Text | None = None
    first: Text | None = None
    note: Text | None = None
    first_known: bool = False

    @property
    def unchosen(self) -> tuple[Series, ...]:
        """Series that are drawn by who cannot tell which is the first known: then the first alone."""
        return self.series[:1] if self.first_known else self.series


@dataclass(frozen=True, slots=True)
class Feed:
    """Newest rows that a page follows live.

    Attributes
    ----------
    name : str
    select : Select
        With `latest`, a row a key; the hub adds scope or device.
    scope : {"scope", "device"}
    recent_ms : int or None
        Between full reads look only at rows newer than this; None reads all each time.
        A full read every 30 s catches what arrived late.
    """

    name: str
    select: Select
    scope: Scope = "scope"
    recent_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page: one question, its panels from general to particular.

    Attributes
    ----------
    id : str
    path : str
        URL; ``{device}`` where the page is about one device.
    title, question : Text
    order : int
        Place in the navigation.
    rows : tuple of str
        CSS heights of the grid's rows at desk size.
    wall : bool
        Whether a wall that turns pages shows it; never where it is about one device.
    """

    id: str
    path: str
    title: Text
    question: Text
    order: int
    rows: tuple[str, ...]
    panels: tuple[Panel, ...] = ()
    feeds: tuple[Feed, ...] = field(default=())
    wall: bool = True


FRAME_FEEDS: Final = (
    Feed("seen", Select("reading", fields=("received_ms",), latest=True), recent_ms=120_000),
    Feed("alarms", Select("alarm_open")),
    Feed("quality", Select("alarm_quality", keys=(SCOPE_KEY,), latest=True), recent_ms=1_200_000),
)
"""What every page says at its top: how old the data is, and which alarms nobody has acknowledged."""


NOT_COMPUTED: Final = Text("not computed yet", "尚未计算")
ONCE_A_DAY: Final = Text("told once a day: comes after the first whole day", "每日计算一次：满一整天后给出")
NO_NETWORK: Final = Text("no network here has been heard yet", "此范围内尚无热网上报")


_COMPUTED_OF: Final = {"heat_kw": ("supply_c", "return_c", "flow_m3_h")}


def judged_by(field: str) -> tuple[str, ...]:
    """Measurements of one reading that must be plausible for `field` to be: it, and what it is made of."""
    return (field, *_COMPUTED_OF.get(field, ()))


def measured(name: str, select: Select, **changes: object) -> Series:
    """Series of a measurement of the measurement table, with its term and unit."""
    m = known[name]
    values: dict[str, object] = {"label": Text(m.en, m.zh), "unit": m.unit, **changes}
    return Series(select=select, field=name, **values)  # type: ignore[arg-type]


@cache
def pages() -> tuple[Page, ...]:
    """Every page of `dashboards.pages`, in order of navigation, with the feeds of the frame around it.

    Raises
    ------
    ValueError
        Two panels share an id.
    """
    from dashboards import pages as room  # noqa: PLC0415  the pages import this module

    found = [import_module(f"{room.__name__}.{m.name}").PAGE for m in iter_modules(room.__path__)]
    seen: set[str] = set()
    for p in _panels(found):
        if p.id in seen:
            msg = f"dashboards.pages: expected panel ids to be unique, got {p.id!r} twice"
            raise ValueError(msg)
        seen.add(p.id)
    framed = (replace(page, feeds=(*page.feeds, *FRAME_FEEDS)) for page in found)
    return tuple(sorted(framed, key=lambda p: p.order))


def _panels(found: list[Page]) -> Iterator[Panel]:
    for page in found:
        yield from page.panels


def panel(panel_id: str) -> tuple[Page, Panel]:
    """The panel called `panel_id` and its page; KeyError when there is none."""
    for page in pages():
        for candidate in page.panels:
            if candidate.id == panel_id:
                return page, candidate
    raise KeyError(panel_id)
