"""The same panels as Grafana dashboards: JSON from the SDK's builders, Flux from the store's room."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    stat,
    statushistory,
    table,
    text,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    GraphDrawStyle,
    LineStyle,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColor,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
)
from grafana_foundation_sdk.models.text import TextMode

from dashboards.grafana_frame import SOURCE, Target, links, moments, on_board
from dashboards.grafana_places import places
from dashboards.language import LANGUAGES, pick
from dashboards.panels import Page, Panel, Series, pages
from dashboards.scope import NETWORK_KEY, Scope, narrowed
from store import flux, flux_panels
from store.buckets import Buckets
from store.protocol import Select

__all__ = ["BUCKET", "READINGS_BUCKET", "drifted", "export", "render"]

BUCKET: Final = "hearthline"
READINGS_BUCKET: Final = "hearthline_readings"
_EVERYTHING: Final = Scope()
_GREY: Final = {
    "a": "#8a99a3", "b": "#6f8fa5", "s": "#b07a68", "r": "#6a8cab", "o": "#9aa0a4",
}  # fmt: skip
_UNITS: Final = {
    "°C": "celsius",
    "kW": "kwatt",
    "MW": "megwatt",
    "kPa": "pressurekpa",
    "Hz": "hertz",
    "t": "masst",
    "%": "percent",
}
_ABNORMAL: Final = {1: "red", 2: "orange", 3: "yellow"}
_CLASSES: Final = ("plant", "substation")
_LIVE_ONLY: Final = frozenset(
    {
        "health",
        "attention",
        "components",
        "stages",
        "alarm",
        "alarms",
        "verdicts",
        "strip",
        "network",
        "profile",
        "deviations",
        "waterfall",
        "map",
    }
)


def export(directory: Path, bucket: str = BUCKET, readings: str = READINGS_BUCKET) -> list[Path]:
    """Write every dashboard in every language below `directory`, one folder a language; the files written."""
    written = []
    for language in LANGUAGES:
        for page in pages():
            path = directory / language / f"{page.id}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(render(page, language, bucket, readings), encoding="utf-8")
            written.append(path)
    return written


def drifted(directory: Path, bucket: str = BUCKET, readings: str = READINGS_BUCKET) -> list[Path]:
    """Files below `directory` that are missing or not what the panels say now."""
    wrong = []
    for language in LANGUAGES:
        for page in pages():
            path = directory / language / f"{page.id}.json"
            if not path.is_file() or path.read_text(encoding="utf-8") != render(
                page, language, bucket, readings
            ):
                wrong.append(path)
    return wrong


def render(
    page: Page,
    language: str,
    bucket: str = BUCKET,
    readings: str = READINGS_BUCKET,
    scope: Scope = _EVERYTHING,
) -> str:
    """One page as a Grafana dashboard's JSON, the same bytes for the same panels; of `scope` alone."""
    buckets = Buckets(bucket, readings)
    page = _within(page, scope)
    built = (
        dashboard.Dashboard(f"Hearthline · {pick(page.title, language)}")
        .uid(f"hearthline-{page.id}-{language}")
        .description(pick(page.question, language))
        .tags(["hearthline", language])
        .refresh("10s")
        .time("now-24h", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .annotations(list(moments(language, buckets, scope)))
        .links(list(links(page, language, scope)))
    )
    for variable in _variables(page, language, buckets, scope):
        built = built.with_variable(variable)
    for panel, place in zip(page.panels, places(page.panels), strict=True):
        made = _panel(page, panel, language, buckets, scope)
        built = built.with_panel(made.grid_pos(place))
    document = json.loads(JSONEncoder(sort_keys=True).encode(built.build()))
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _within(page: Page, scope: Scope) -> Page:
    """The page with every question narrowed to a region or unit."""
    panels = tuple(
        replace(
            p, series=tuple(replace(s, select=narrowed(s.select, scope, to_device=False)) for s in p.series)
        )
        for p in page.panels
    )
    feeds = tuple(replace(f, select=narrowed(f.select, scope, to_device=False)) for f in page.feeds)
    return replace(page, panels=panels, feeds=feeds)


def _variables(page: Page, language: str, buckets: Buckets, scope: Scope) -> Iterator[Builder[Any]]:
    yield dashboard.DatasourceVariable("datasource").type("influxdb").label("InfluxDB")
    if "{device}" in page.path:
        yield _keys("device", _spoken("substation", scope), buckets, several=False)
    for name in _CLASSES:
        if any(name in s.classes for p in page.panels for s in p.series):
            yield _keys(name, _spoken(name, scope), buckets, several=True)
    label = {"zh": "看板地址", "en": "board's address"}[language]
    yield dashboard.TextBoxVariable("board").label(label).default_value("http://127.0.0.1:8080")


def _spoken(device_class: str, scope: Scope) -> Select:
    return narrowed(
        Select("reading", fields=("supply_c",), device_class=device_class), scope, to_device=False
    )


def _keys(name: str, select: Select, buckets: Buckets, *, several: bool) -> Builder[Any]:
    return (
        dashboard.QueryVariable(name)
        .datasource(SOURCE)
        .query({"query": flux_panels.keys(select, buckets.of(select.measurement)), "refId": name})
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(several)
        .include_all(several)
    )


def _panel(
    page: Page, panel: Panel, language: str, buckets: Buckets, scope: Scope
) -> Any:  # builders share no type that has a place
    """The panel as Grafana draws it; what only the live board can draw becomes a link to it."""
    if panel.kind == "matrix":
        return _titled(_seen(page, panel, buckets), panel, language)
    by_network = any(NETWORK_KEY in key for s in panel.series for key in s.select.keys)
    drawn_live = panel.kind in _LIVE_ONLY
    if by_network or drawn_live or not panel.series:
        return _titled(_link(page, panel, language, scope), panel, language)
    made = _MAKERS[panel.kind](panel, language)
    for number, series in enumerate(panel.unchosen):
        made = made.with_target(Target(chr(ord("A") + number), _flux(panel, series, buckets)))
    return _titled(made, panel, language)


def _titled(made: Any, panel: Panel, language: str) -> Any:
    made = made.title(pick(panel.title, language))
    if panel.note is not None:
        made = made.description(pick(panel.note, language))
    return made.datasource(SOURCE)


def _flux(panel: Panel, series: Series, buckets: Buckets) -> str:
    select = Select(
        series.select.measurement, fields=(series.field,), device_class=series.select.device_class,
        aggregate="mean" if series.aggregate == "sum" else series.aggregate,
        units=series.select.units, regions=series.select.regions, keys=series.select.keys,
        key_prefix=series.select.key_prefix,
    )  # fmt: skip
    keys = "${device:json}" if panel.scope == "device" else None
    for name in series.classes:
        if name in _CLASSES:
            keys = f"${{{name}:json}}"
    every: str | None = "1h" if panel.kind == "heatmap" else "v.windowPeriod"
    if series.window_ms > 0 and panel.kind != "heatmap":
        every = None  # windows add up as they are
    made = flux.series(
        select,
        buckets.of(select.measurement),
        start="v.timeRangeStart",
        stop="v.timeRangeStop",
        every=every,
        key_set=keys,
    )
    lasts = every is not None and select.aggregate == "last"
    made = flux_panels.across(made, series.across, lasts=lasts) if series.across else made
    return flux_panels.scaled(made, series.scale)


def _stat(panel: Panel, language: str) -> Any:
    made = stat.Panel().color_mode(BigValueColorMode.VALUE).unit(_unit(panel.series[0]))
    made = made.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    band = panel.series[0].band
    steps = [Threshold(value=None, color="text")]
    if band is not None and band.high is not None:
        steps.append(Threshold(value=band.high + 1e-9, color=_ABNORMAL[band.priority]))
    made = made.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    made = made.no_value(pick(panel.absent, language) if panel.absent else "–")
    return _named(made, panel, language)


def _lines(panel: Panel, language: str) -> Any:
    made = timeseries.Panel().unit(_unit(panel.series[0])).line_width(2).draw_style(GraphDrawStyle.LINE)
    made = made.show_points(VisibilityMode.NEVER).insert_nulls(False)
    return _named(made, panel, language)


def _table(panel: Panel, language: str) -> Any:
    made = table.Panel().with_transformation(DataTransformerConfig(id_val="labelsToFields", options={}))
    return _named(made, panel, language)


def _bars(panel: Panel, language: str) -> Any:
    made = bargauge.Panel().reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    made = made.orientation(VizOrientation.HORIZONTAL).min(0).max(100)
    return _named(made, panel, language)


def _history(panel: Panel, language: str) -> Any:
    steps = [Threshold(value=None, color="orange"), Threshold(value=90, color="#8a99a3")]
    made = statushistory.Panel().unit("percent")
    made = made.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    return _named(made, panel, language)


def _named(made: Any, panel: Panel, language: str) -> Any:
    """Name, unit and colour of every series; by query, since a field has one name in all languages."""
    for number, series in enumerate(panel.unchosen):
        properties: list[dict[str, Any]] = [
            {"id": "displayName", "value": _name(panel, series, language)},
            {"id": "unit", "value": _unit(series)},
            {
                "id": "color",
                "value": FieldColor(mode=FieldColorModeId.FIXED, fixed_color=_GREY[series.colour]),
            },
        ]
        if series.dashed:
            properties.append({"id": "custom.lineStyle", "value": LineStyle(fill="dash", dash=[8, 6])})
        if panel.kind == "heatmap":
            properties = [{"id": "displayName", "value": "${__field.labels.key}"}]
        made = made.override_by_query(chr(ord("A") + number), [_property(p) for p in properties])
    return made


def _property(values: dict[str, Any]) -> Any:
    return DynamicConfigValue(id_val=values["id"], value=values["value"])


def _name(panel: Panel, series: Series, language: str) -> str:
    label = pick(series.label, language)
    one_line = series.across or panel.scope == "device"
    return label if one_line else "${__field.labels.key} " + label


def _seen(page: Page, panel: Panel, buckets: Buckets) -> Any:
    """When each device was last heard: a row a device, newest reading first."""
    feed = next(f for f in page.feeds if f.name in panel.feeds)
    return table.Panel().with_target(Target("A", flux.rows(feed.select, buckets.of(feed.select.measurement))))


def _link(page: Page, panel: Panel, language: str, scope: Scope) -> Any:
    words = {"zh": "在实时看板上查看", "en": "on the live board"}[language]
    address = f"{on_board(page, language, scope)}#panel-{panel.id}"
    content = f"[{pick(panel.title, language)} {words}]({address})"
    return text.Panel().mode(TextMode.MARKDOWN).content(content)


def _unit(series: Series) -> str:
    return _UNITS.get(series.unit) or (f"suffix: {series.unit}" if series.unit else "none")


_MAKERS: Final = {
    "tile": _stat, "bands": _stat, "process": _stat, "line": _lines, "scatter": _lines, "heatmap": _history,
    "table": _table, "trips": _table, "bullets": _bars,
}  # fmt: skip
