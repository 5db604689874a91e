"""合同 Contracts: will they be fulfilled."""

from __future__ import annotations

from dashboards.panels import NOT_COMPUTED, Band, Feed, Page, Panel, Series, Text, Unknown
from store.protocol import Select

__all__ = ["PAGE"]

_DAYS = Select("fulfilment")
_QUALITY = Select("contract_quality")
_PERIODS = Select("fulfilment_period")
_SHORTFALLS = ("contract_shortfall", "quarter_shortfall", "year_shortfall")
_MONTH_H = 30 * 24
_PCT = "% "
_MJ_KG = "MJ/kg"
_T = "t"
_NO_CONTRACT = Text("no contract here has been counted yet", "此范围内尚无已统计的合同")
_KG_T = 1e-3
_PLANNED = Text("planned", "计划")
_RECEIVED = Text("received", "到厂")
_TRANSIT = Text("in transit", "在途")
_LINES = ((90, "r"), (80, "s"))
"""Shares of the plan that a contract is held to. [%]"""
_FEW_DAYS = Text("fewer than 5 whole days of deliveries are known", "到货满 5 整天后给出")
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
_NO_LOADING = Text("of which no loading is known", "后者：其中无装车记录")
_BESIDE = {"received_kg": ("unmatched_kg", Text("unmatched", "无装车"))}
"""Without it the funnel does not add up: loaded + unmatched = in transit + lost + received."""


def _shown(field: str, text: Text) -> tuple[tuple[str, Text], ...]:
    """What a tile of the funnel shows, and what it is called."""
    return ((field, text), *((_BESIDE[field],) if field in _BESIDE else ()))


PAGE = Page(
    id="contracts",
    path="/contracts",
    title=Text("Contracts", "合同"),
    question=Text("Will it be fulfilled?", "合同能兑现吗？"),
    order=7,
    rows=("158px", "minmax(0,1fr)", "minmax(0,1.3fr)", "minmax(0,0.9fr)"),
    panels=(
        *(
            Panel(
                f"funnel_{field.removesuffix('_kg')}",
                text,
                "tile",
                tuple(
                    Series(_DAYS, name, label, _T, scale=_KG_T, across="sum", aggregate="last", band=band)
                    for name, label in _shown(field, text)
                ),
                feeds=("contracts",),
                hours=_MONTH_H,
                note=_NO_LOADING if field in _BESIDE else None,
                absent=NOT_COMPUTED,
            )
            for field, text, band in _FUNNEL
        ),
        Panel(
            "contract_bars",
            Text("Reached, due by now and expected", "到厂、应到与预计"),
            "bullets",
            feeds=("contracts",),
            width=4,
            note=Text("lines at 80 and 90 %", "刻线为 80 % 与 90 %"),
            series=(
                Series(_DAYS, "rate_pct", Text("rate", "兑现率"), "%", aggregate="last", band=Band(low=80)),
            ),
        ),
        Panel(
            "contract_list",
            Text("Contracts of the newest day", "各合同最新一日"),
            "table",
            absent=_NO_CONTRACT,
            feeds=("contracts",),
            width=8,
            note=Text(
                "shortfall: probability of less than the rule asks for at the month's end",
                "违约概率：月末到厂量低于规定兑现率的概率",
            ),
            series=(
                Series(_DAYS, "rate_pct", Text("rate", "兑现率"), "%", aggregate="last"),
                Series(_DAYS, "shortfall_p", Text("shortfall", "违约概率"), aggregate="last"),
            ),
            unknown=(Unknown(("forecast_pct", "shortfall_p"), _FEW_DAYS),),
            columns=(
                ("contract", Text("contract", "合同"), "text"),
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
            width=3,
            absent=NOT_COMPUTED,
            hours=_MONTH_H,
            note=Text("by day", "按日"),
            series=(
                Series(_DAYS, "planned_to_date_kg", Text("plan to date", "计划进度"), _T, scale=_KG_T,
                       across="sum", aggregate="last", colour="o", dashed=True),
                *(
                    Series(_DAYS, "planned_to_date_kg", Text(f"{share} % of plan", f"计划的 {share} %"), _T,
                           scale=_KG_T * share / 100, across="sum", aggregate="last", colour=colour,
                           dashed=True)
                    for share, colour in _LINES
                ),
                Series(_DAYS, "received_kg", _RECEIVED, _T, scale=_KG_T, across="sum", aggregate="last"),
                Series(_DAYS, "expected_kg", Text("expected at month's end", "月末预计"), _T, scale=_KG_T,
                       across="sum", aggregate="last", colour="b"),
            ),
        ),
        Panel(
            "contract_periods",
            Text("Quarter and year", "季度与年度"),
            "table",
            absent=_NO_CONTRACT,
            feeds=("periods",),
            width=5,
            note=Text(
                "months so far; no seller: all of them",
                "截至本月；供方为空：全部供方",
            ),
            series=(
                Series(_PERIODS, "shortfall_p", Text("shortfall", "违约概率"), aggregate="last"),
                Series(_PERIODS, "forecast_pct", Text("expected", "预计"), "%", aggregate="last"),
            ),
            columns=(
                ("name", Text("period", "期间"), "text"),
                ("seller", Text("seller", "供方"), "text"),
                ("rate_pct", Text("rate", "兑现率"), "%"),
                ("forecast_pct", Text("expected", "预计"), "%"),
                ("least_pct", Text("asked for", "规定"), "%"),
                ("shortfall_p", Text("shortfall (0 to 1)", "违约概率（0–1）"), ""),
                ("missing", Text("nothing foretold of", "无预计的合同"), "text"),
            ),
        ),
        Panel(
            "contract_warnings",
            Text("Contracts and suppliers to look at", "需关注的合同与供方"),
            "table",
            feeds=("anomalies",),
            width=4,
            codes=(*_SHORTFALLS, "transit_loss", "supplier_short_quality"),
            states=("active",),
            series=(Series(Select("anomaly"), "score", Text("score", "强度"), aggregate="last"),),
            columns=(
                ("subject", Text("of", "对象"), "subject"),
                ("code", Text("what", "问题"), "reason"),
                ("window_start", Text("since", "起始"), "time"),
                ("evidence.trucks", Text("trucks", "车数"), "count"),
                ("evidence.rule", Text("rule", "依据"), "rule"),
            ),
        ),
        Panel(
            "contract_quality",
            Text("Transit loss and quality", "途耗与煤质"),
            "table",
            absent=Text(
                "told once an hour, from the first load received on", "每小时计算一次：首车到厂后给出"
            ),
            feeds=("qualities",),
            width=12,
            note=Text(
                "± is k = 2; one truck's loss is known to 1.7 %: needed says how many tell it from 0.8 %",
                "± 为 k = 2；单车途耗不确定度 1.7 %，“需车数”为与 0.8 % 相区分所需",
            ),
            unknown=(
                Unknown(("loss_pct",), Text("no trip is complete yet", "尚无完整行程")),
                Unknown(("loss_u_pct",), Text("fewer than two trucks", "不足两车")),
                Unknown(("q_mj_kg", "paper_pct"), Text("no load was analysed yet", "尚无到厂化验")),
                Unknown(
                    ("heat_short_pct", "heat_short_u_pct"),
                    Text("fewer than two lots were analysed at both ends", "两端均化验的不足两批"),
                ),
            ),
            series=(Series(_QUALITY, "loss_pct", Text("transit loss", "途耗"), "%", aggregate="last"),),
            columns=(
                ("contract", Text("contract", "合同"), "text"),
                ("seller", Text("seller", "供方"), "text"),
                ("loss_pct", Text("transit loss", "途耗"), _PCT),
                ("loss_u_pct", Text("±", "±"), _PCT),
                ("trucks", Text("trucks", "车数"), "count"),
                ("trucks_needed", Text("needed", "需车数"), "count"),
                ("doubtful", Text("doubtful", "存疑"), "count"),
                ("q_ref_mj_kg", Text("heat by contract", "合同热值"), _MJ_KG),
                ("q_mj_kg", Text("as received", "到厂热值"), _MJ_KG),
                ("paper_pct", Text("against contract", "与合同之差"), _PCT),
                ("heat_short_pct", Text("lacks against certificate, dry", "较化验单亏热（干基）"), _PCT),
                ("heat_short_u_pct", Text("±", "±"), _PCT),
                ("lots", Text("lots", "批数"), "count"),
                ("lots_needed", Text("needed", "需批数"), "count"),
            ),
        ),
    ),
    feeds=(
        Feed("qualities", Select("contract_quality", latest=True)),
        Feed("contracts", Select("fulfilment", latest=True)),
        Feed("periods", Select("fulfilment_period", latest=True)),
        Feed("anomalies", Select("anomaly", newest_first=True, limit=200)),
    ),
)  # fmt: skip
