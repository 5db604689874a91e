"""热网 Network: where the heat goes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from dashboards.panels import (
    NETWORK_WINDOW,
    NO_NETWORK,
    NOT_COMPUTED,
    ONCE_A_DAY,
    Feed,
    Page,
    Panel,
    Series,
    Text,
    measured,
)
from store.protocol import Select

__all__ = ["PAGE"]

_BALANCE = Select("network_heat")
_of_window = partial(Series, _BALANCE, window_ms=NETWORK_WINDOW)
_RECONCILED = Select("reconciled_heat")
_EFFECT = Select("return_effect")
_LOSS = Select("pipe_loss")
_PLANT = Select("reading", device_class="plant")
_SUBSTATION = Select("reading", device_class="substation")
_STATION = ("flow_m3_h", "return_c", "supply_kpa", "return_kpa", "quality")
_GJ = "GJ"
_TERMS = (
    ("supplied_gj", Text("supplied", "供出"), "a"),
    ("delivered_gj", Text("delivered", "送达"), "b"),
    ("loss_gj", Text("lost", "散热"), "s"),
    ("storage_gj", Text("stored", "蓄存"), "o"),
    ("leak_gj", Text("leaked", "漏失"), "r"),
)
_RESIDUAL = Text("residual", "不平衡量")
_STATUS = (
    ("coverage", Text("measured", "实测份额"), "%"),
    ("status", Text("status", "状态"), "status"),
    ("reason", Text("reason", "原因"), "reason"),
)

PAGE = Page(
    id="network",
    path="/network",
    title=Text("Network", "热网"),
    question=Text("Where does the heat go?", "热量去哪了？"),
    order=2,
    rows=("214px", "minmax(0,0.45fr)", "112px", "minmax(0,1fr)", "minmax(0,1fr)", "minmax(0,1fr)"),
    panels=(
        Panel(
            "heat_waterfall",
            Text("Where the heat went", "热量去向"),
            "waterfall",
            feeds=("balances",),
            width=4,
            absent=NOT_COMPUTED,
            series=tuple(
                Series(_BALANCE, name, text, _GJ, across="sum", aggregate="sum", colour=colour)
                for name, text, colour in (*_TERMS, ("residual_gj", _RESIDUAL, "o"))
            ),
        ),
        Panel(
            "network_drawing",
            Text("The network, by flow and by return", "管网图：流量与回水"),
            "network",
            feeds=("stations", "plants"),
            width=8,
            height=2,
            note=Text(
                "as wide as the flow; marked where the return is 3 K or more above the median",
                "线宽示流量；回水高出中位数 3 K 及以上者标出",
            ),
        ),
        Panel(
            "pressure_profile",
            Text("Pressure over the way from the plant", "水压图"),
            "profile",
            feeds=("stations", "plants"),
            width=4,
            height=2,
            series=(
                measured("supply_kpa", _SUBSTATION, colour="s", label=Text("supply", "供水")),
                measured("return_kpa", _SUBSTATION, colour="r", label=Text("return", "回水")),
            ),
            note=Text("gauge pressures, without elevations", "表压，未计高程"),
        ),
        Panel(
            "return_deviations",
            Text("Substations by how warm their return is", "换热站：按回水偏差排序"),
            "deviations",
            feeds=("stations",),
            width=8,
            note=Text(
                "over or under the middle of the network; marked from 3 K, the dashes",
                "高于或低于本网中位数；达 3 K（虚线）者标出",
            ),
            series=(
                measured("return_c", _SUBSTATION, label=Text("return", "回水")),
            ),
        ),
        Panel(
            "heat_terms",
            Text("Heat balance by window", "分时段热平衡"),
            "line",
            width=4,
            absent=NOT_COMPUTED,
            series=tuple(
                _of_window(name, text, _GJ, across="sum", aggregate="sum", colour=colour)
                for name, text, colour in _TERMS
            ),
        ),
        Panel(
            "heat_residual",
            Text("Residual, uncertainty (k = 2)", "不平衡量与不确定度（k = 2）"),
            "line",
            width=4,
            absent=NOT_COMPUTED,
            note=Text("beyond the dashes heat is missing", "超出虚线即有热量不明"),
            series=(
                _of_window("residual_gj", _RESIDUAL, _GJ, colour="a"),
                _of_window("residual_u_gj", Text("+u", "+u"), _GJ, colour="o", dashed=True),
                _of_window("residual_u_gj", Text("−u", "−u"), _GJ, scale=-1, colour="o", dashed=True),
            ),
        ),
        Panel(
            "reconciled_measured",
            Text("Substations: measured and reconciled", "换热站：实测与校正"),
            "line",
            width=4,
            absent=NOT_COMPUTED,
            series=(
                Series(Select("device_heat"), "heat_gj", Text("measured", "实测"), "GJ/15 min",
                       classes=("substation",), across="sum", aggregate="sum", colour="b", window_ms=900_000),
                Series(_RECONCILED, "heat_gj", Text("reconciled (window)", "校正（时段）"), _GJ,
                       classes=("substation",), across="sum", aggregate="sum", colour="a",
                       window_ms=NETWORK_WINDOW),
            ),
        ),
        Panel(
            "heat_balances",
            Text("Balances", "热平衡明细"),
            "table",
            absent=NO_NETWORK,
            feeds=("balances",),
            width=8,
            series=(Series(_BALANCE, "residual_gj", _RESIDUAL, _GJ),),
            columns=(
                ("key", Text("network", "热网"), "named"),
                ("window_start", Text("from", "开始"), "time"),
                *((name, text, _GJ) for name, text, _ in _TERMS),
                ("residual_gj", _RESIDUAL, _GJ),
                ("residual_u_gj", Text("± (k = 2)", "±（k = 2）"), _GJ),
                *_STATUS,
            ),
        ),
        Panel(
            "meter_adjustment",
            Text("Meters that balances correct most", "校正量最大的热表"),
            "table",
            absent=NO_NETWORK,
            feeds=("reconciled",),
            width=4,
            series=(Series(_RECONCILED, "test_statistic", Text("test statistic", "检验统计量")),),
            columns=(
                ("key", Text("device", "设备"), "device"),
                ("heat_gj", Text("reconciled", "校正值"), _GJ),
                ("adjustment_gj", Text("adjusted by", "校正量"), _GJ),
                ("test_statistic", Text("test", "检验量"), "σ"),
                ("suspect", Text("suspect", "疑点"), "count"),
                ("status", Text("status", "状态"), "status"),
            ),
        ),
        Panel(
            "excess_flow",
            Text("Excess flow, and what it does to the return", "过流量及其对回水的影响"),
            "table",
            feeds=("return_effect",),
            absent=ONCE_A_DAY,
            width=5,
            series=(Series(_EFFECT, "excess_m3", Text("excess flow", "过流量"), "m³"),),
            columns=(
                ("excess_rank", Text("rank", "名次"), "count"),
                ("key", Text("device", "设备"), "device"),
                ("excess_m3", Text("a day", "日过流量"), "m³"),
                ("return_effect_k", Text("warms return", "抬高回水"), "K"),
                ("return_gain_k", Text("to gain", "可降低"), "K"),
                *_STATUS[1:],
            ),
        ),
        Panel(
            "pipe_loss",
            Text("What pipes lose over what is registered", "管道散热与登记值之比"),
            "table",
            feeds=("pipe_loss",),
            absent=ONCE_A_DAY,
            width=3,
            series=(Series(_LOSS, "u_factor", Text("factor on U", "U 值系数")),),
            columns=(
                ("key", Text("network", "热网"), "named"),
                ("u_factor", Text("factor on U", "U 值系数"), ""),
                ("u_factor_u", Text("± (k = 2)", "±（k = 2）"), ""),
                ("days", Text("days", "天数"), "count"),
                ("status", Text("status", "状态"), "status"),
                ("reason", Text("reason", "原因"), "reason"),
            ),
        ),
        Panel(
            "network_pressure",
            Text("Pressures: plant, mean of substations", "压力：热源与换热站平均"),
            "line",
            width=4,
            series=(
                measured("supply_kpa", _PLANT, across="mean", colour="s",
                         label=Text("plant supply", "热源供水")),
                measured("return_kpa", _PLANT, across="mean", colour="r",
                         label=Text("plant return", "热源回水")),
                measured("supply_kpa", _SUBSTATION, across="mean", colour="a", dashed=True,
                         label=Text("substations' supply", "换热站供水")),
                measured("return_kpa", _SUBSTATION, across="mean", colour="b", dashed=True,
                         label=Text("substations' return", "换热站回水")),
            ),
        ),
    ),
    feeds=(
        Feed("balances", Select("network_heat", newest_first=True, limit=48)),
        Feed("reconciled", Select("reconciled_heat", latest=True), recent_ms=4 * 3_600_000),
        Feed("return_effect", Select("return_effect", latest=True), recent_ms=3 * 86_400_000),
        Feed("pipe_loss", Select("pipe_loss", latest=True)),
        Feed("stations", replace(_SUBSTATION, fields=_STATION, latest=True), recent_ms=120_000),
        Feed("plants", replace(_PLANT, fields=_STATION, latest=True), recent_ms=120_000),
    ),
)  # fmt: skip
