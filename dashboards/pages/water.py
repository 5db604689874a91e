"""水 Water: where the water goes."""

from __future__ import annotations

from functools import partial

from dashboards.panels import (
    NETWORK_WINDOW,
    NO_NETWORK,
    NOT_COMPUTED,
    Feed,
    Page,
    Panel,
    Series,
    Text,
    Unknown,
)
from store.protocol import Select

__all__ = ["PAGE"]

_BALANCE = Select("network_water")
_of_window = partial(Series, _BALANCE, window_ms=NETWORK_WINDOW)
_USUAL = Select("water_normal")
_M3 = "m³"
_RATE = "m³/h"
_TERMS = (
    ("makeup_m3", Text("made up", "补水"), "a"),
    ("authorised_m3", Text("used with leave", "许可用水"), "b"),
    ("tank_m3", Text("into the tank", "水箱增量"), "o"),
    ("storage_m3", Text("taken up by pipes", "管网胀缩"), "s"),
    ("leak_m3", Text("lost", "失水"), "r"),
)
_LOST = Text("lost", "失水")
_CODES = ("primary_leak", "water_theft")

PAGE = Page(
    id="water",
    path="/water",
    title=Text("Water", "水"),
    question=Text("Where does the water go?", "水去哪了？"),
    order=3,
    rows=("minmax(0,1fr)", "minmax(0,1fr)", "minmax(0,1fr)", "minmax(0,1fr)"),
    panels=(
        Panel(
            "leak_suspects",
            Text("Leak suspects", "疑似漏失"),
            "table",
            feeds=("losses",),
            width=12,
            codes=_CODES,
            series=(Series(Select("anomaly"), "score", Text("certainty", "把握")),),
            columns=(
                ("subject", Text("where", "位置"), "subject"),
                ("code", Text("what", "类型"), "reason"),
                ("severity", Text("severity", "级别"), "reason"),
                ("window_start", Text("since", "起始"), "time"),
                ("until", Text("until", "截至"), "time"),
                ("state", Text("state", "状态"), "reason"),
                ("evidence.excess_m3_h", Text("loses", "失水量"), _RATE),
                ("evidence.excess_u_m3_h", Text("± (k = 2)", "±（k = 2）"), _RATE),
                ("evidence.excess_pct", Text("of circulation", "占循环量"), "%"),
                ("evidence.confidence", Text("confidence of what", "类型把握"), ""),
                ("evidence.located", Text("located", "定位"), "rule"),
            ),
        ),
        Panel(
            "makeup_rate",
            Text("Make-up over circulation", "补水率"),
            "line",
            width=6,
            absent=NOT_COMPUTED,
            note=Text("the norm is 0.5 to 1 %", "常用限值 0.5 % 至 1 %"),
            series=(_of_window("makeup_pct", Text("make-up", "补水率"), "%", colour="a"),),
        ),
        Panel(
            "water_loss",
            Text("Loss within its uncertainty (k = 2)", "失水量与不确定度（k = 2）"),
            "line",
            width=6,
            absent=NOT_COMPUTED,
            series=(
                _of_window("leak_m3", _LOST, _M3, colour="a"),
                _of_window("leak_u_m3", Text("+u", "+u"), _M3, colour="o", dashed=True),
                _of_window("leak_u_m3", Text("−u", "−u"), _M3, scale=-1, colour="o", dashed=True),
            ),
        ),
        Panel(
            "water_terms",
            Text("Water balance by window", "分时段水平衡"),
            "line",
            width=6,
            absent=NOT_COMPUTED,
            series=tuple(
                _of_window(name, text, _M3, across="sum", aggregate="sum", colour=colour)
                for name, text, colour in _TERMS
            ),
        ),
        Panel(
            "night_minimum",
            Text("Floor of the loss, and the usual night minimum", "失水底值与常见夜间最小值"),
            "line",
            width=6,
            absent=NOT_COMPUTED,
            series=(
                _of_window("floor_m3_h", Text("floor", "底值"), _RATE, colour="a"),
                Series(
                    _USUAL, "night_m3_h", Text("usual at night", "常见夜间"), _RATE, colour="b", dashed=True
                ),
            ),
        ),
        Panel(
            "water_balances",
            Text("Balances", "水平衡明细"),
            "table",
            absent=NO_NETWORK,
            feeds=("balances",),
            width=12,
            unknown=(
                Unknown(
                    ("unbiased_m3", "unbiased_u_m3"),
                    Text("until what is usual between the two meters is learnt", "供回水表惯常差学成之前"),
                ),
            ),
            series=(Series(_BALANCE, "leak_m3", _LOST, _M3),),
            columns=(
                ("key", Text("network", "热网"), "named"),
                ("window_start", Text("from", "开始"), "time"),
                *((name, text, _M3) for name, text, _ in _TERMS),
                ("leak_u_m3", Text("± (k = 2)", "±（k = 2）"), _M3),
                ("unbiased_m3", Text("supply less return", "供回水差"), _M3),
                ("unbiased_u_m3", Text("± (k = 2)", "±（k = 2）"), _M3),
                ("coverage", Text("coverage", "覆盖率"), "%"),
                ("status", Text("status", "状态"), "status"),
                ("reason", Text("reason", "原因"), "reason"),
            ),
        ),
    ),
    feeds=(
        Feed("losses", Select("anomaly", latest=True)),
        Feed("balances", Select("network_water", newest_first=True, limit=48)),
    ),
)
