"""What every Grafana dashboard has around its panels: marks of alarms and restatements, ways elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlencode

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.dashboard import DashboardLinkType, DataSourceRef

from dashboards.language import pick
from dashboards.panels import Page, Text
from dashboards.scope import Scope, narrowed
from store import flux_panels
from store.buckets import Buckets
from store.protocol import Select

__all__ = ["SOURCE", "Target", "links", "moments", "on_board"]

SOURCE: Final = DataSourceRef(type_val="influxdb", uid="${datasource}")
_MARKS: Final = (
    (Text("alarms", "告警"), Select("alarm", fields=("subject", "code", "state")), "", "orange"),
    (Text("restatements", "重述"), Select("restatement", fields=("subject", "measurement", "reason")),
     "restated_ms", "blue"),
)  # fmt: skip
"""Name, what to ask for, the field of its time where that is not the row's, and the colour of the mark."""


class _Query(Dataquery):
    """One Flux target."""

    def __init__(self, ref_id: str, query: str) -> None:
        self.ref_id = ref_id
        self.query = query
        self.datasource = SOURCE

    def to_json(self) -> dict[str, object]:
        """As Grafana stores it."""
        return {"refId": self.ref_id, "datasource": self.datasource.to_json(), "query": self.query}


class Target(Builder[Dataquery]):
    """The builder that the SDK lacks for InfluxDB."""

    def __init__(self, ref_id: str, query: str) -> None:
        self._query = _Query(ref_id, query)

    def build(self) -> Dataquery:
        """The target."""
        return self._query


def moments(language: str, buckets: Buckets, scope: Scope) -> Iterator[Builder[Any]]:
    """Marks on every chart: when an alarm of `scope` began, and when a final value was restated."""
    for name, select, at, colour in _MARKS:
        mine = narrowed(select, scope, to_device=False)
        query = flux_panels.marks(mine, buckets.of(select.measurement), at=at)
        yield (
            dashboard.AnnotationQuery()
            .name(pick(name, language))
            .datasource(SOURCE)
            .enable(True)
            .icon_color(colour)
            .target(Target("Anno", query))
        )


def on_board(page: Page, language: str, scope: Scope) -> str:
    """Address of the page on the live board, for `scope`; Grafana puts in the board's own and the device."""
    asked = {"lang": language, "region": scope.region, "unit": scope.unit}
    path = page.path.replace("{device}", "${device}")
    return f"${{board}}{path}?{urlencode({k: v for k, v in asked.items() if v})}"


def links(page: Page, language: str, scope: Scope) -> Iterator[Builder[Any]]:
    """To the same page of the live board for `scope`, and to the other dashboards of this language."""
    words = pick(Text("this page on the live board", "在实时看板上查看本页"), language)
    yield (
        dashboard.DashboardLink(words)
        .type(DashboardLinkType.LINK)
        .url(f"{on_board(page, language, scope)}&from=${{__from}}&to=${{__to}}")
        .target_blank(True)
    )
    yield (
        dashboard.DashboardLink(pick(Text("other pages", "其他页面"), language))
        .type(DashboardLinkType.DASHBOARDS)
        .tags(["hearthline", language])
        .as_dropdown(True)
        .keep_time(True)
        .include_vars(True)
    )
