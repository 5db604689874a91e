"""负荷 Loads: how much heat is wanted, and how much will be."""

from __future__ import annotations

from dashboards.panels import NOT_COMPUTED, ONCE_A_DAY, Feed, Page, Panel, Series, Text, measured
from store.protocol import Select

__all__ = ["PAGE", "ahead", "load"]

_DAY_AHEAD = Select("load_forecast", keys=("{network}:24",))
_SIGNATURE = Select("signature")
_HEAT = Select("device_heat")
_HOUR_MS = 3_600_000
_TO_COME_H = (*range(1, 25), *range(27, 73, 3))  # each hour of a day, then each third
_TO_COME = Select("load_forecast", keys=tuple(f"{{network}}:{ahead}" for ahead in _TO_COME_H), latest=True)


def load(colour: str) -> Series:
    """What plants gave, as power."""
    return Series(
        _HEAT, "heat_gj", Text("measured", "实测"), "MW", scale=1.0 / 0.9, classes=("plant",), across="sum",
        aggregate="sum", colour=colour, window_ms=900_000,
    )  # fmt: skip


def ahead(field: str, en: str, zh: str, colour: str, *, dashed: bool = True) -> Series:
    """What was forecast a day ahead."""
    return Series(
        _DAY_AHEAD, field, Text(en, zh), "MW", scale=1e-3, across="sum", colour=colour, dashed=dashed
    )


PAGE = Page(
    id="loads",
    path="/loads",
    title=Text("Loads", "负荷"),
    question=Text("How much heat will be wanted?", "需要多少热量？"),
    order=4,
    wall=False,
    rows=("minmax(0,1.2fr)", "minmax(0,1fr)", "minmax(0,1fr)"),
    panels=(
        Panel(
            "load_ahead",
            Text("Load against what was forecast a day ahead", "负荷与提前一天的预测"),
            "line",
            width=8,
            absent=NOT_COMPUTED,
            series=(
                load("a"),
                ahead("p50_kw", "forecast P50", "预测 P50", "b"),
                ahead("p10_kw", "P10", "P10", "o"),
                ahead("p90_kw", "P90", "P90", "o"),
                ahead("persistence_kw", "as yesterday", "与昨日相同", "r"),
            ),
        ),
        Panel(
            "load_curve",
            Text("Load against outdoor temperature", "负荷与室外温度"),
            "scatter",
            width=4,
            series=(
                measured("outdoor_c", Select("reading"), classes=("plant",), across="mean"),
                measured("heat_kw", Select("reading"), classes=("plant",), across="sum", colour="s"),
            ),
        ),
        Panel(
            "signatures",
            Text("Energy signature and heat index", "能耗特征线与热指标"),
            "table",
            feeds=("signatures",),
            absent=ONCE_A_DAY,
            width=8,
            series=(Series(_SIGNATURE, "w_m2", Text("heat index", "热指标"), "W/m²"),),
            columns=(
                ("key", Text("device or network", "设备或热网"), "device"),
                ("base_kw", Text("base", "基础负荷"), "kW"),
                ("slope_kw_k", Text("for each K", "每度"), "kW/K"),
                ("balance_c", Text("below", "低于"), "°C"),
                ("sigma_kw", Text("scatter of days", "日离散"), "kW"),
                ("w_m2", Text("heat index", "热指标"), "W/m²"),
                ("gj_m2", Text("a season", "采暖季"), "GJ/m²"),
                ("status", Text("status", "状态"), "status"),
                ("reason", Text("reason", "原因"), "reason"),
            ),
        ),
        Panel(
            "outdoor_now",
            Text("Outdoor temperature", "室外温度"),
            "line",
            width=4,
            series=(Series(Select("weather"), "outdoor_c", Text("outdoor", "室外"), "°C", colour="o"),),
        ),
        Panel(
            "forecasts",
            Text("Next three days of the networks", "各热网未来三天"),
            "table",
            absent=Text(
                "told once an hour: comes after the first whole hour", "每小时计算一次：满首个整小时后给出"
            ),
            feeds=("forecasts",),
            width=12,
            columns=(
                ("key", Text("whose, hours ahead", "对象与提前小时"), "ahead"),
                ("window_start", Text("hour from", "时段"), "time"),
                ("p10_kw", Text("P10", "P10"), "kW"),
                ("p50_kw", Text("P50", "P50"), "kW"),
                ("p90_kw", Text("P90", "P90"), "kW"),
                ("persistence_kw", Text("as yesterday", "与昨日相同"), "kW"),
                ("status", Text("status", "状态"), "status"),
                ("reason", Text("reason", "原因"), "reason"),
            ),
        ),
    ),
    feeds=(
        Feed("signatures", Select("signature", latest=True), recent_ms=3 * 24 * _HOUR_MS),
        Feed("forecasts", _TO_COME, recent_ms=_HOUR_MS),
    ),
)
