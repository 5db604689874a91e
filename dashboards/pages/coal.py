"""煤热 Coal to heat: how long the coal lasts, and what its heat costs."""

from __future__ import annotations

from dashboards.panels import NOT_COMPUTED, ONCE_A_DAY, Band, Feed, Page, Panel, Series, Text
from store.protocol import Select

__all__ = ["PAGE"]

_YARD = Select("fuel_heat")
_SUPPLIER = Select("supplier_fuel")
_MONTH_H = 30 * 24
_T = "t"
_D = "d"
_KG_GJ = "kg/GJ"
_CNY_GJ = "CNY/GJ"
_U = Text("± (k = 2)", "±（k = 2）")
_STOCK = Text("stock", "库存")
_DAYS = Text("days of heat left", "可供热天数")
_REACH = Text("with what is on the road", "含在途可供天数")
_COST = Text("cost of a useful GJ", "每有效 GJ 成本")
_EFFICIENCY = Text("efficiency", "效率")
_RISK = Text("risk of falling below the least stock in a week", "一周内低于最低库存的概率")


def _tile(name: str, title: Text, *series: Series, note: Text | None = None) -> Panel:
    return Panel(
        name, title, "tile", series, feeds=("yards",), hours=_MONTH_H, absent=NOT_COMPUTED, note=note
    )


_FIRST_DAY = Text(
    "no value yet: comes after the first day whose coal and heat are known",
    "暂无数值：首个煤量与热量均已知的日子结束后给出",
)
_FIRST_SURVEY = Text(
    "no value yet: comes when the yard is next surveyed or gauged", "暂无数值：下次盘库或料位测量后给出"
)

PAGE = Page(
    id="coal",
    path="/coal",
    title=Text("Coal to heat", "煤热"),
    question=Text("How long will it last, and what does it cost?", "能烧多久？成本多少？"),
    order=8,
    rows=("158px", "minmax(0,0.75fr)", "minmax(0,1fr)", "minmax(0,0.9fr)"),
    panels=(
        _tile(
            "yard_stock", Text("Coal in the yards", "煤场库存"),
            Series(_YARD, "stock_t", _STOCK, _T, across="sum", aggregate="last"),
        ),
        _tile(
            "yard_days", Text("Days P10/P50/P90", "天数 P10/P50/P90"),
            *(
                Series(_YARD, field, text, _D, across="min", aggregate="last", colour=colour)
                for field, text, colour in (
                    ("heat_days_p10", Text("P10", "P10"), "o"),
                    ("heat_days", Text("P50", "P50"), "a"),
                    ("heat_days_p90", Text("P90", "P90"), "o"),
                )
            ),
            note=Text("of the shortest yard", "取最短者"),
        ),
        _tile(
            "coal_on_road", Text("On the road", "在途"),
            Series(_YARD, "road_t", Text("on the road", "在途"), _T, across="sum", aggregate="last"),
        ),
        _tile(
            "yard_reach", Text("Days with the road", "含在途可供天数"),
            Series(_YARD, "reach_days", _REACH, _D, across="min", aggregate="last"),
            note=Text("of the shortest yard", "取最短者"),
        ),
        _tile(
            "yard_risk", Text("Below the least stock", "低于最低库存"),
            Series(_YARD, "below_min_p", _RISK, "%", scale=100, across="max", aggregate="last",
                   band=Band(high=10, priority=2)),
            note=Text("greatest chance within a week", "一周内最大概率"),
        ),
        _tile(
            "coal_per_gj", Text("Coal for a GJ", "单位热量耗煤"),
            Series(_YARD, "kg_per_gj", Text("coal for a GJ", "单位热量耗煤"), _KG_GJ, across="mean",
                   aggregate="last"),
        ),
        _tile(
            "coal_efficiency", Text("Efficiency", "热效率"),
            Series(_YARD, "efficiency_pct", _EFFICIENCY, "%", across="mean", aggregate="last"),
        ),
        _tile(
            "coal_cost", Text("Cost of a useful GJ", "每有效 GJ 成本"),
            Series(_YARD, "cost_cny_gj", _COST, _CNY_GJ, across="mean", aggregate="last"),
        ),
        Panel(
            "yards",
            Text("Yards", "煤场"),
            "table",
            absent=Text("no coal yard here has been computed yet", "此范围内尚无煤场计算结果"),
            feeds=("yards",),
            width=12,
            note=Text(
                "what is absent says which term it lacks; the open day is told as far as its burn is",
                "缺失值注明所缺数据；当日数据截至已计燃煤时刻",
            ),
            series=(Series(_YARD, "heat_days", _DAYS, _D),),
            columns=(
                ("key", Text("unit", "单位"), "named"),
                ("stock_t", _STOCK, _T),
                ("received_t", Text("came today", "今日入场"), _T),
                ("burnt_t", Text("burnt today", "今日耗煤"), _T),
                ("road_t", Text("on the road", "在途"), _T),
                ("heat_days_p10", Text("days P10", "天数 P10"), _D),
                ("heat_days", Text("P50", "P50"), _D),
                ("heat_days_p90", Text("P90", "P90"), _D),
                ("method", Text("by", "依据"), "reason"),
                ("reach_days", Text("with the road", "含在途"), _D),
                ("latest_departure", Text("latest safe departure", "最迟安全发车"), "time"),
                ("kg_per_gj", Text("coal for a GJ", "单位耗煤"), _KG_GJ),
                ("efficiency_pct", _EFFICIENCY, "%"),
                ("cost_cny_gj", Text("a useful GJ", "有效热成本"), _CNY_GJ),
                ("missing", Text("lacks", "所缺"), "codes"),
                ("as_of", Text("as of", "截至"), "time"),
            ),
        ),
        Panel(
            "days_left", Text("Days of heat left", "可供热天数"), "line", width=6, hours=_MONTH_H,
            absent=NOT_COMPUTED, first=_FIRST_DAY,
            note=Text("P10 and P90 dashed; by day", "虚线为 P10 与 P90；按日"),
            series=(
                Series(_YARD, "heat_days", _DAYS, _D, across="min", aggregate="last"),
                Series(_YARD, "heat_days_p10", Text("P10", "P10"), _D, across="min", aggregate="last",
                       colour="o", dashed=True),
                Series(_YARD, "heat_days_p90", Text("P90", "P90"), _D, across="min", aggregate="last",
                       colour="o", dashed=True),
                Series(_YARD, "reach_days", _REACH, _D, across="min", aggregate="last", colour="b"),
            ),
        ),
        Panel(
            "yard_closure", Text("What the books have more than the yard", "账面与实测库存之差"), "line",
            width=6, hours=_MONTH_H, absent=NOT_COMPUTED, first=_FIRST_SURVEY,
            note=Text("within its uncertainty (k = 2)", "不确定度（k = 2）"),
            series=(
                Series(_YARD, "stock_residual_t", Text("books less yard", "账面减实测"), _T,
                       aggregate="last"),
                Series(_YARD, "stock_residual_u_t", Text("+u", "+u"), _T, aggregate="last", colour="o",
                       dashed=True),
                Series(_YARD, "stock_residual_u_t", Text("−u", "−u"), _T, scale=-1, aggregate="last",
                       colour="o", dashed=True),
            ),
        ),
        Panel(
            "supplier_heat",
            Text("Heat and cost by supplier", "各供方的热量与成本"),
            "table",
            feeds=("suppliers",),
            absent=ONCE_A_DAY,
            width=8,
            note=Text(
                "heat against the middle supplier, by what furnaces made of it: a lasting lack is weight or "
                "quality that no weighbridge sees",
                "与居中供方相比、按炉内实得热量；长期偏低即地磅看不到的亏吨或亏质",
            ),
            series=(Series(_SUPPLIER, "residual_pct", Text("heat lacking", "热量偏差"), "%"),),
            columns=(
                ("supplier", Text("supplier", "供方"), "text"),
                ("residual_pct", Text("heat, against the middle", "热量偏差"), "% "),
                ("residual_u_pct", _U, "% "),
                ("days", Text("days burnt", "燃用天数"), "count"),
                ("share_pct", Text("of today's heat", "今日占比"), "%"),
                ("burnt_t", Text("burnt today", "今日燃用"), _T),
                ("cost_cny_gj", _COST, _CNY_GJ),
                ("window_start", Text("day", "日期"), "time"),
            ),
        ),
        Panel(
            "furnace", Text("Efficiency", "效率"), "line", width=4, hours=_MONTH_H, absent=NOT_COMPUTED,
            first=_FIRST_DAY,
            series=(Series(_YARD, "efficiency_pct", _EFFICIENCY, "%", aggregate="last"),),
        ),
    ),
    feeds=(
        Feed("yards", Select("fuel_heat", latest=True)),
        Feed("suppliers", Select("supplier_fuel", latest=True)),
    ),
)  # fmt: skip
