"""换热站 Substation: what is wrong with this one."""

from __future__ import annotations

from dashboards.panels import ONCE_A_DAY, Band, Feed, Page, Panel, Series, Text, Unknown, measured
from store.protocol import Select

__all__ = ["PAGE"]

_READING = Select("reading")
_HEAT = Select("device_heat")
_PEERS = Select("return_effect")
_PERCENT = "%"
_RANK = Text("rank", "名次")
_OF = Text("of", "共")
_UA = ("ua_kwh_m3_k", "ua_usual_kwh_m3_k")
_EXCESS = ("excess_m3", "excess_rank", "excess_of")
_NO_UA = Text(
    "no qp_m3_h registered, heat transfer known for less than half of the day, or too few like it",
    "未登记 qp_m3_h、传热已知不足半天，或同类过少",
)
_NO_EXCESS = Text(
    "not known for most of the day, or no return_ref_c", "当日大部分时间未知，或未登记 return_ref_c"
)
_SUPPLY = Text("supply", "供水")
_RETURN = Text("return", "回水")

PAGE = Page(
    id="substation",
    path="/substation/{device}",
    title=Text("Substation", "换热站"),
    question=Text("What is wrong with this one?", "这个站有什么问题？"),
    order=4,
    rows=("minmax(0,1.12fr)", "minmax(0,1fr)", "minmax(0,1fr)"),
    panels=(
        Panel(
            "process",
            Text("Process", "工艺流程"),
            "process",
            feeds=("device",),
            width=5,
            scope="device",
            series=tuple(
                measured(name, _READING)
                for name in (
                    "supply_c",
                    "return_c",
                    "flow_m3_h",
                    "heat_kw",
                    "supply_kpa",
                    "return_kpa",
                    "valve_pct",
                    "secondary_supply_c",
                    "secondary_return_c",
                    "secondary_flow_m3_h",
                    "secondary_supply_kpa",
                    "secondary_return_kpa",
                    "pump_hz",
                    "outdoor_c",
                )
            ),
        ),
        Panel(
            "indicators",
            Text("Indicators and their bands", "指标与范围"),
            "bands",
            feeds=("device",),
            width=4,
            scope="device",
            note=Text("band: set point, else usual in 24 h", "范围：设定值，否则近 24 小时常见值"),
            series=(
                measured("supply_c", _READING, band=Band(usual=True)),
                measured("return_c", _READING, band=Band(usual=True)),
                measured("flow_m3_h", _READING, band=Band(usual=True)),
                measured("heat_kw", _READING, band=Band(usual=True)),
                measured(
                    "secondary_supply_c",
                    _READING,
                    band=Band(around="secondary_setpoint_c", within=3.0, usual=True),
                ),
                measured("secondary_return_c", _READING, band=Band(usual=True)),
                measured("secondary_supply_kpa", _READING, band=Band(usual=True)),
                measured("secondary_return_kpa", _READING, band=Band(usual=True)),
            ),
        ),
        Panel(
            "health",
            Text("Meter health", "仪表状况"),
            "health",
            feeds=("device", "windows"),
            width=3,
            scope="device",
        ),
        Panel(
            "verdicts",
            Text("What is wrong, and why", "问题与依据"),
            "verdicts",
            feeds=("alarms",),
            width=3,
            scope="device",
            note=Text("the name leads to what can be done", "点击名称进行处理"),
        ),
        Panel(
            "primary",
            Text("Primary side", "一次网"),
            "line",
            width=3,
            scope="device",
            series=(
                measured("supply_c", _READING, colour="s", label=_SUPPLY),
                measured("return_c", _READING, colour="r", label=_RETURN),
            ),
        ),
        Panel(
            "secondary",
            Text("Secondary side", "二次网"),
            "line",
            width=3,
            scope="device",
            series=(
                measured("secondary_supply_c", _READING, colour="s", label=_SUPPLY),
                measured(
                    "secondary_setpoint_c",
                    _READING,
                    colour="o",
                    dashed=True,
                    label=Text("set point", "设定值"),
                ),
                measured("secondary_return_c", _READING, colour="r", label=_RETURN),
            ),
        ),
        Panel(
            "power",
            Text("Heat and flow", "热功率与流量"),
            "line",
            width=3,
            scope="device",
            series=(
                measured("heat_kw", _READING, colour="a"),
                measured("flow_m3_h", _READING, colour="b"),
            ),
        ),
        Panel(
            "windows",
            Text("Heat by window", "分时段热量"),
            "table",
            absent=Text("comes with its first readings", "收到首批读数后给出"),
            feeds=("windows",),
            width=4,
            scope="device",
            series=(Series(_HEAT, "heat_gj", Text("heat", "热量"), "GJ", aggregate="sum"),),
            columns=(
                ("window_start", Text("from", "开始"), "time"),
                ("heat_gj", Text("heat", "热量"), "GJ"),
                ("coverage", Text("coverage", "覆盖率"), _PERCENT),
                ("status", Text("status", "状态"), "status"),
                ("reason", Text("reason", "原因"), "reason"),
                ("revision", Text("revision", "修订"), ""),
            ),
        ),
        Panel(
            "peers",
            Text("Excess flow and UA beside the network's others", "过流量与传热系数（与同网各站相比）"),
            "table",
            feeds=("peers",),
            absent=ONCE_A_DAY,
            width=5,
            scope="device",
            note=Text("1: the most flow, the weakest UA for its size", "1 为过流量最大、传热相对最弱"),
            series=(Series(_PEERS, "excess_m3", Text("excess flow", "过流量"), "m³"),),
            unknown=(Unknown((*_UA, "ua_rank", "ua_of"), _NO_UA), Unknown(_EXCESS, _NO_EXCESS)),
            columns=(
                ("window_start", Text("day", "日期"), "time"),
                ("excess_m3", Text("excess flow", "过流量"), "m³"),
                ("excess_rank", _RANK, "count"),
                ("excess_of", _OF, "count"),
                ("ua_kwh_m3_k", Text("UA over qp", "UA/qp"), "kWh/(m³·K)"),
                ("ua_usual_kwh_m3_k", Text("usual", "中位"), "kWh/(m³·K)"),
                ("ua_rank", _RANK, "count"),
                ("ua_of", _OF, "count"),
            ),
        ),
        Panel(
            "heating_curve",
            Text("Heating curve", "供热曲线"),
            "scatter",
            width=3,
            scope="device",
            note=Text("secondary supply against outdoor", "二次网供水温度与室外温度"),
            series=(
                measured("outdoor_c", _READING),
                measured("secondary_supply_c", _READING, colour="s"),
            ),
        ),
    ),
    feeds=(
        Feed("device", Select("reading", latest=True), scope="device"),
        Feed("peers", Select("return_effect", newest_first=True, limit=30), scope="device"),
        Feed("windows", Select("device_heat", newest_first=True, limit=96), scope="device"),
    ),
)
