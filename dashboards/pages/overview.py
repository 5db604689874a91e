"""总览 Overview: is anything wrong, and where."""

from __future__ import annotations

from dataclasses import replace

from dashboards.pages.loads import ahead, load
from dashboards.panels import NOT_COMPUTED, Band, Feed, Page, Panel, Series, Text, measured
from store.protocol import Select

__all__ = ["PAGE"]

_PLANT = Select("reading", device_class="plant")
_HEAT = Select("device_heat")
_LEDGER = Select("ledger")
_DAY_MS = 86_400_000
_GJ = "GJ/15 min"

_PLANT_HEAT = Series(
    _HEAT,
    "heat_gj",
    Text("plant", "热源"),
    _GJ,
    classes=("plant",),
    across="sum",
    aggregate="sum",
    colour="a",
    window_ms=900_000,
)
_DELIVERED = Series(
    _HEAT,
    "heat_gj",
    Text("sum of substations", "换热站合计"),
    _GJ,
    classes=("substation",),
    across="sum",
    aggregate="sum",
    colour="b",
    band=Band(usual=True),
    window_ms=900_000,
)

_TILES = (
    Panel(
        "heat_output",
        Text("Heat output", "热源出力"),
        "tile",
        (
            measured("heat_kw", _PLANT, unit="MW", scale=1e-3, across="sum", band=Band(usual=True)),
            replace(load("a"), band=Band(usual=True)),
        ),
        feeds=("plant",),
        first_known=True,
    ),
    Panel(
        "delivered",
        Text("To substations", "换热站得热"),
        "tile",
        (_DELIVERED,),
        feeds=("heat",),
        note=Text("newest complete window", "最近完整时段"),
    ),
    Panel(
        "supply_return",
        Text("Supply / return", "供水 / 回水"),
        "tile",
        (
            measured("supply_c", _PLANT, across="mean", colour="s"),
            measured("return_c", _PLANT, across="mean", colour="r"),
        ),
        feeds=("plant",),
    ),
    Panel(
        "outdoor",
        Text("Outdoor", "室外温度"),
        "tile",
        (measured("outdoor_c", Select("reading"), classes=("weather", "plant"), across="mean", colour="o"),),
        feeds=("plant", "weather"),
    ),
    Panel(
        "heat_days",
        Text("Days of heat left", "可供热天数"),
        "tile",
        (Series(Select("fuel_heat"), "heat_days", Text("days of heat", "可供热天数"), "d", across="mean"),),
        feeds=("fuel",),
        absent=NOT_COMPUTED,
    ),
    Panel(
        "on_the_road",
        Text("Coal on the road", "在途煤量"),
        "tile",
        (
            Series(
                Select("fulfilment"),
                "in_transit_kg",
                Text("in transit", "在途"),
                "t",
                scale=1e-3,
                across="sum",
            ),
        ),
        feeds=("fulfilment",),
        absent=NOT_COMPUTED,
    ),
    Panel(
        "reporting",
        Text("Devices reporting", "在线设备"),
        "tile",
        feeds=("seen",),
        note=Text("fresh of all registered but offices", "正常 / 登记总数（不含办公室）"),
    ),
    Panel(
        "unaccounted",
        Text("Unaccounted", "不明报文"),
        "tile",
        (
            Series(
                _LEDGER,
                "unaccounted",
                Text("unaccounted", "不明"),
                across="sum",
                aggregate="last",
                band=Band(low=0, high=0, priority=1),
            ),
        ),
        feeds=("ledger",),
        note=Text("must be 0", "应为 0"),
    ),
)

PAGE = Page(
    id="overview",
    path="/",
    title=Text("Overview", "总览"),
    question=Text("Is anything wrong, and where?", "有没有异常？在哪里？"),
    order=1,
    rows=("158px", "minmax(0,1.04fr)", "minmax(0,1fr)"),
    panels=(
        *(_tile for _tile in _TILES),
        Panel(
            "heat_windows",
            Text("Heat per 15-minute window", "每 15 分钟热量"),
            "line",
            (_PLANT_HEAT, _DELIVERED),
            width=5,
            note=Text(
                "hollow points are provisional; the gap is pipe loss and heat stored in the pipes",
                "空心点为暂定值；差值为管损与管网蓄热",
            ),
        ),
        Panel(
            "overview_forecast",
            Text("Load against forecast", "负荷与预测"),
            "line",
            (
                load("a"),
                ahead("p50_kw", "forecast P50", "预测 P50", "b"),
                ahead("p10_kw", "P10", "P10", "o"),
                ahead("p90_kw", "P90", "P90", "o"),
            ),
            width=3,
            absent=NOT_COMPUTED,
        ),
        Panel("state_matrix", Text("Devices by state", "设备状态"), "matrix", feeds=("seen",), width=4),
        Panel(
            "plant_temperatures",
            Text("Temperatures at the plant", "热源温度"),
            "line",
            (
                measured("supply_c", _PLANT, across="mean", colour="s"),
                measured("return_c", _PLANT, across="mean", colour="r"),
                measured("outdoor_c", _PLANT, across="mean", colour="o", dashed=True),
            ),
            width=3,
        ),
        Panel(
            "alarm_strip",
            Text("Alarms that nobody acknowledged", "未确认告警"),
            "strip",
            feeds=("alarms",),
            width=4,
        ),
        Panel(
            "attention",
            Text("Look here first", "优先查看"),
            "attention",
            feeds=("seen", "heat"),
            width=5,
            note=Text(
                "silent, stale, unknown windows; then the highest returns",
                "失联、陈旧、未知时段在前，其次回水偏高",
            ),
        ),
    ),
    feeds=(
        Feed("plant", Select("reading", device_class="plant", latest=True), recent_ms=120_000),
        Feed(
            "weather",
            Select("reading", fields=("outdoor_c", "quality"), device_class="weather", latest=True),
            recent_ms=7_200_000,
        ),
        Feed("heat", Select("device_heat", latest=True), recent_ms=2 * 3_600_000),
        Feed("ledger", Select("ledger", latest=True), recent_ms=2 * _DAY_MS),
        Feed("fuel", Select("fuel_heat", latest=True)),
        Feed("fulfilment", Select("fulfilment", latest=True)),
    ),
)
