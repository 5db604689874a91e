"""Every code that an anomaly may bear, with the names that people know it by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["NAMES", "name_of"]

_HEAT: Final = {
    "fouled_exchanger": ("fouled exchanger", "换热器结垢"),
    "clogged_strainer": ("clogged strainer", "除污器堵塞"),
    "valve_stuck_open": ("valve stuck open", "阀门卡开"),
    "valve_stuck_closed": ("valve stuck closed", "阀门卡关"),
    "hunting": ("hunting valve", "阀门振荡"),
    "sensors_swapped": ("supply and return sensors swapped", "供回水传感器接反"),
    "sensor_broken": ("broken sensor", "传感器损坏"),
    "sensor_bias": ("biased sensor", "传感器偏差"),
    "flow_meter_drift": ("drifting flow meter", "流量计漂移"),
    "calculator_fault": ("calculator fault", "积分仪故障"),
    "wrong_mounting": ("calculator set for the other pipe", "安装位置设置错误"),
    "frozen_value": ("frozen value", "数值冻结"),
    "counter_reset": ("counter reset", "计数清零"),
    "counter_rollover": ("counter rollover", "计数翻转"),
    "counter_exchange": ("counter exchange", "换表"),
    "counter_spike": ("counter spike", "计数突跳"),
    "clock_fault": ("clock fault", "时钟异常"),
    "primary_leak": ("leak of the primary network", "一次网失水"),
    "secondary_leak": ("leak of the secondary loop", "二次网失水"),
    "water_theft": ("draw-off without leave", "人为放水"),
    "exchanger_internal_leak": ("leak inside the exchanger", "换热器内漏"),
    "pump_trip": ("circulation pump tripped", "循环泵跳闸"),
    "air": ("air in the secondary loop", "二次网积气"),
    "high_return": ("high return temperature", "回水温度过高"),
    "bypass": ("bypass", "旁通短路"),
    "load_change": ("change of load", "负荷变化"),
    "shared_cause": ("shared cause", "共同原因"),
}
_ROAD: Final = {
    "tare_drift": ("drifting tare", "皮重漂移"),
    "tare_inflated": ("inflated tare", "皮重虚高"),
    "repeated_weight": ("repeated weight", "重复磅重"),
    "overload": ("overload", "超载"),
    "plate_swapped": ("swapped plates", "套牌"),
    "phantom_ticket": ("ticket without a truck", "虚假磅单"),
    "impossible_time": ("impossible time", "时间不合理"),
    "bridge_drift": ("drifting weighbridge", "地磅漂移"),
    "transit_loss": ("transit loss", "途耗异常"),
    "supplier_short_quality": ("supplier short of quality", "供应商质量不足"),
    "route_deviation": ("off the route", "偏离路线"),
    "detention": ("detained", "滞留"),
    "correction_unmatched": ("correction of an unknown ticket", "更正的磅单不存在"),
    "contract_shortfall": ("contract likely to fall short", "合同可能欠交"),
    "quarter_shortfall": ("quarter likely to fall short", "季度可能欠交"),
    "year_shortfall": ("year likely to fall short", "年度可能欠交"),
}
NAMES: Final[Mapping[str, tuple[str, str]]] = {**_HEAT, **_ROAD}
"""English and Chinese name by code."""


def name_of(code: str, language: str) -> str:
    """What people call `code`; a code of a site's own fast rule as words.

    Examples
    --------
    >>> name_of("pump_trip", "zh"), name_of("supply_too_hot", "en")
    ('循环泵跳闸', 'supply too hot')
    """
    known = NAMES.get(code)
    return known[language == "zh"] if known else code.replace("_", " ")
