"""合同 Contracts: will they be fulfilled."""

from __future__ import annotations

from dashboards.panels import NOT_COMPUTED, Band, Feed, Page, Panel, Series, Text
from store.protocol import Select

__all__ = ["PAGE"]

_DAYS = Select("fulfilment")
_T = "t"
_KG_T = 1e-3
_PLANNED = Text("planned", "计划")
_RECEIVED = Text("received", "到厂")
_TRANSIT = Text("in transit", "在途")
_CLOSES = Band(low=0, high=0, priority=2)
_FUNNEL = (
    ("planned_kg", _PLANNED, None),
    ("released_kg", Text("released", "放行"), None),
    ("loaded_kg", Text("loaded", "装车"), None),
    ("in_transit_kg", _TRANSIT, None),
    ("lost_kg", Text("lost on the way", "途耗"), None),
    ("received_kg", _RECEIVED, None),
    ("settled_kg", Text("settled", "结算"), None),
    ("transit_residual_kg", Text("tickets less trips", "磅单与运单之差"), _CLOSES),
)

PAGE = Page(
    id="contracts",
    path="/contracts",
    title=Text("Contracts", "合同"),
    question=Text("Will it be fulfilled?", "合同能兑现吗？"),
    order=6,
    rows=("158px", "minmax(0,1.4fr)", "minmax(0,1fr)"),
    panels=(
        *(
            Panel(
                f"funnel_{field.removesuffix('_kg')}",
                text,
                "tile",
                (Series(_DAYS, field, text, _T, scale=_KG_T, across="sum", aggregate="last", band=band),),
                feeds=("contracts",),
                absent=NOT_COMPUTED,
            )
            for field, text, band in _FUNNEL
        ),
        Panel(
            "contract_list",
            Text("Contracts of the newest day", "各合同最新一日"),
            "table",
            feeds=("contracts",),
            width=12,
            note=Text(
                "shortfall: probability of less than the rule asks for at the month's end",
                "违约概率：月末到厂量低于规定兑现率的概率",
            ),
            series=(
                Series(_DAYS, "rate_pct", Text("rate", "兑现率"), "%", aggregate="last"),
                Series(_DAYS, "shortfall_p", Text("shortfall", "违约概率"), aggregate="last"),
            ),
            columns=(
                ("key", Text("contract", "合同"), "text"),
                ("seller", Text("seller", "供方"), "text"),
                ("rate_pct", Text("fulfilment rate", "兑现率"), "%"),
                ("reported_pct", Text("reported rate", "上报兑现率"), "%"),
                ("forecast_pct", Text("expected at month's end", "月末预计"), "%"),
                ("shortfall_p", Text("shortfall (0 to 1)", "违约概率（0–1）"), ""),
                ("refused", Text("papers refused", "拒收单据"), "count"),
                ("reason", Text("why unknown", "未知原因"), "reason"),
                ("window_start", Text("day", "日期"), "time"),
            ),
        ),
        Panel(
            "s_curve",
            Text("Received against plan, all contracts", "累计到厂与计划（全部合同）"),
            "line",
            width=6,
            absent=NOT_COMPUTED,
            note=Text("by day; choose 7 d", "按日；请选择 7 d"),
            series=(
                Series(_DAYS, "planned_to_date_kg", Text("plan to date", "计划进度"), _T, scale=_KG_T,
                       across="sum", aggregate="last", colour="o", dashed=True),
                Series(_DAYS, "received_kg", _RECEIVED, _T, scale=_KG_T, across="sum", aggregate="last"),
                Series(_DAYS, "expected_kg", Text("expected at month's end", "月末预计"), _T, scale=_KG_T,
                       across="sum", aggregate="last", colour="b"),
            ),
        ),
        Panel(
            "contract_warnings",
            Text("Contracts and suppliers to look at", "需关注的合同与供方"),
            "table",
            feeds=("anomalies",),
            width=6,
            series=(Series(Select("anomaly"), "score", Text("score", "强度"), aggregate="last"),),
            columns=(
                ("subject", Text("of", "对象"), "text"),
                ("code", Text("what", "问题"), "reason"),
                ("state", Text("state", "状态"), "reason"),
                ("window_start", Text("since", "起始"), "time"),
                ("evidence", Text("evidence", "依据"), "text"),
            ),
        ),
    ),
    feeds=(
        Feed("contracts", Select("fulfilment", latest=True)),
        Feed("anomalies", Select("anomaly", newest_first=True, limit=50)),
    ),
)  # fmt: skip
