"""The measurement table: every quantity that a device may report, one row each.

Adding a measurement is adding a row here; decoding, storage, charts and the
glossary follow from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = [
    "CLASSES",
    "DEVICE_CLASSES",
    "ENTITY_CLASSES",
    "EVENT_CLASSES",
    "MEASUREMENTS",
    "Kind",
    "Measurement",
    "known",
    "of_class",
]

DEVICE_CLASSES: Final = (
    "plant", "substation", "meter", "truck", "weighbridge", "yard", "lab", "weather", "office",
)  # fmt: skip
EVENT_CLASSES: Final = frozenset({"weighbridge", "lab", "office"})
"""Classes whose samples are events with a name of their own, not states of a quantity."""
ENTITY_CLASSES: Final = EVENT_CLASSES | {"yard"}
"""Classes whose samples are kept as events of trucks, contracts and yards."""


class Kind(StrEnum):
    """How a measurement behaves in time."""

    GAUGE = "gauge"
    COUNTER = "counter"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One quantity that devices report.

    Attributes
    ----------
    name : str
        Name on the wire, with its unit.
    unit : str
        Unit as shown to people; empty for text and ratios.
    en, zh : str
        Terms of the field in English and Chinese.
    classes : tuple of str
        Device classes that may report it.
    kind : Kind
        Gauge, counter (grows, may reset or roll over) or text.
    low, high : float or None
        Physical range; a value outside it is stored with a quality flag.
    most_per_min : float or None
        The most that it can change in a minute, and in less; nothing is
        integrated across a faster step. None where it may jump. [unit/min]
    """

    name: str
    unit: str
    en: str
    zh: str
    classes: tuple[str, ...]
    kind: Kind = Kind.GAUGE
    low: float | None = None
    high: float | None = None
    most_per_min: float | None = None


# Water in a pipe with flow, by the response of a sensor in its pocket; air follows more slowly.
_WATER = 10.0
_AIR = 5.0
_HEAT = ("plant", "substation", "meter")
_NODE = ("plant", "substation")
_SUB = ("substation",)
_C = Kind.COUNTER
_T = Kind.TEXT

# ruff: noqa: E501  one row a measurement, however long
MEASUREMENTS: Final[tuple[Measurement, ...]] = (
    Measurement("supply_c", "°C", "supply temperature", "供水温度", _HEAT, low=-10, high=180, most_per_min=_WATER),
    Measurement("return_c", "°C", "return temperature", "回水温度", _HEAT, low=-10, high=180, most_per_min=_WATER),
    Measurement("flow_m3_h", "m³/h", "flow", "流量", _HEAT, low=0, high=50_000),
    Measurement("heat_kw", "kW", "heat output", "热功率", _HEAT, low=-10_000, high=3_000_000),
    Measurement("energy_gj", "GJ", "heat counter", "累计热量", _HEAT, _C, low=0),
    Measurement("volume_m3", "m³", "volume counter", "累计流量", _HEAT, _C, low=0),
    Measurement("supply_kpa", "kPa", "supply pressure", "供水压力", _NODE, low=-100, high=4_000),
    Measurement("return_kpa", "kPa", "return pressure", "回水压力", _NODE, low=-100, high=4_000),
    Measurement("makeup_m3", "m³", "make-up water counter", "累计补水量", ("plant",), _C, low=0),
    Measurement("makeup_c", "°C", "make-up water temperature", "补水温度", ("plant",), low=-5, high=110, most_per_min=_WATER),
    Measurement("tank_m3", "m³", "expansion tank content", "水箱存水量", ("plant",), low=0, high=1e6),
    Measurement("outdoor_c", "°C", "outdoor temperature", "室外温度", ("plant", "substation", "weather"), low=-60, high=55, most_per_min=_AIR),
    Measurement("fuel_kg", "kg", "fuel counter", "累计耗煤量", ("plant",), _C, low=0),
    Measurement("valve_pct", "%", "valve opening", "阀门开度", _SUB, low=0, high=100),
    Measurement("secondary_supply_c", "°C", "secondary supply temperature", "二次网供水温度", _SUB, low=-10, high=120, most_per_min=_WATER),
    Measurement("secondary_return_c", "°C", "secondary return temperature", "二次网回水温度", _SUB, low=-10, high=120, most_per_min=_WATER),
    Measurement("secondary_flow_m3_h", "m³/h", "secondary flow", "二次网流量", _SUB, low=0, high=50_000),
    Measurement("secondary_supply_kpa", "kPa", "secondary supply pressure", "二次网供水压力", _SUB, low=-100, high=4_000),
    Measurement("secondary_return_kpa", "kPa", "secondary return pressure", "二次网回水压力", _SUB, low=-100, high=4_000),
    Measurement("secondary_makeup_m3", "m³", "secondary make-up counter", "二次网累计补水量", _SUB, _C, low=0),
    Measurement("secondary_setpoint_c", "°C", "secondary supply set point", "二次网供温设定", _SUB, low=0, high=120),
    Measurement("pump_hz", "Hz", "circulation pump frequency", "循环泵频率", _SUB, low=0, high=100),
    Measurement("operating_h", "h", "operating hours", "运行小时", ("meter",), _C, low=0),
    Measurement("indoor_c", "°C", "indoor temperature", "室内温度", ("meter",), low=-30, high=60, most_per_min=_AIR),
    Measurement("lat_deg", "°", "latitude", "纬度", ("truck",), low=-90, high=90),
    Measurement("lon_deg", "°", "longitude", "经度", ("truck",), low=-180, high=180),
    Measurement("speed_m_s", "m/s", "speed", "车速", ("truck",), low=0, high=60),
    Measurement("heading_deg", "°", "heading", "航向", ("truck",), low=0, high=360),
    Measurement("load_kg", "kg", "load", "载重", ("truck",), low=0, high=200_000),
    Measurement("ticket", "", "weigh ticket", "磅单", ("weighbridge", "lab", "office"), _T),
    Measurement("plate", "", "plate", "车牌", ("weighbridge", "office"), _T),
    Measurement("tag", "", "vehicle tag", "电子标签", ("weighbridge",), _T),
    Measurement("step", "", "weighing step", "称重步骤", ("weighbridge", "office"), _T),
    Measurement("mass_kg", "kg", "mass", "质量", ("weighbridge", "office"), low=0, high=1e10),
    Measurement("contract", "", "contract", "合同", ("weighbridge", "lab", "office"), _T),
    Measurement("grade", "", "coal grade", "煤种", ("weighbridge",), _T),
    Measurement("stock_t", "t", "stock", "库存", ("yard", "office"), low=0, high=1e8),
    Measurement("lot", "", "lot", "批次", ("lab",), _T),
    Measurement("end", "", "end sampled", "采样端", ("lab",), _T),
    Measurement("q_net_ar_mj_kg", "MJ/kg", "net calorific value as received", "收到基低位发热量", ("lab",), low=0, high=40),
    Measurement("moisture_pct", "%", "total moisture", "全水分", ("lab",), low=0, high=100),
    Measurement("ash_pct", "%", "ash", "灰分", ("lab",), low=0, high=100),
    Measurement("sulphur_pct", "%", "sulphur", "硫分", ("lab",), low=0, high=20),
    Measurement("wind_m_s", "m/s", "wind speed", "风速", ("weather",), low=0, high=80),
    Measurement("irradiance_w_m2", "W/m²", "irradiance", "太阳辐照度", ("weather",), low=0, high=1_500),
    *(
        Measurement(
            f"outdoor_{h}h_c", "°C", f"outdoor temperature forecast {h} h ahead", f"{h} 小时室外温度预报",
            ("weather",), low=-60, high=55,
        )
        for h in range(1, 73)
    ),
    Measurement("ref", "", "reference", "编号", ("office",), _T),
    Measurement("event", "", "event", "事件", ("office",), _T),
    Measurement("network", "", "network", "热网", ("office",), _T),
    Measurement("person", "", "person", "经办人", ("office",), _T),
    Measurement("note", "", "note", "备注", ("office",), _T),
)  # fmt: skip

known: Final[dict[str, Measurement]] = {m.name: m for m in MEASUREMENTS}
"""Every measurement by its name. `volume_m3` of an office event shares the counter's name."""

_OFFICE_EXTRA: Final = ("volume_m3",)
CLASSES: Final[dict[str, tuple[str, ...]]] = {
    c: tuple(m.name for m in MEASUREMENTS if c in m.classes) + (_OFFICE_EXTRA if c == "office" else ())
    for c in DEVICE_CLASSES
}
"""Names of the measurements of each device class, in table order."""


def of_class(device_class: str) -> tuple[Measurement, ...]:
    """Measurements that devices of `device_class` may report, in table order."""
    return tuple(known[name] for name in CLASSES[device_class])
