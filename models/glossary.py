"""The terms of the field, in English and Chinese, as boards and documents use them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from models.measurements import CLASSES, DEVICE_CLASSES, MEASUREMENTS, Kind, Measurement

__all__ = ["TERMS", "Term", "markdown"]


@dataclass(frozen=True, slots=True)
class Term:
    """One term that is no measurement.

    Attributes
    ----------
    en, zh : str
        The term in English and Chinese.
    meaning : str
        What it means here.
    """

    en: str
    zh: str
    meaning: str


TERMS: Final = (
    Term(
        "air in the loop",
        "积气",
        "gas that goes round with the secondary water: flow and pressure scatter, pressure is low",
    ),
    Term(
        "approach",
        "换热端差",
        "primary return less secondary return: what an exchanger leaves of the difference",
    ),
    Term("as received (ar)", "收到基", "basis of coal as it arrives, with all its moisture"),
    Term("base unit", "单位", "one heating company or plant, with its yard; the grain of the registry"),
    Term("biased sensor", "传感器偏差", "a sensor that is off by about the same all the time"),
    Term("broken sensor", "传感器损坏", "a sensor that shows what cannot be"),
    Term("bypass", "旁通短路", "primary water that comes back almost as warm as it went"),
    Term(
        "calculator fault",
        "积分仪故障",
        "power or energy that disagrees with the flow and temperatures of its own meter",
    ),
    Term("change of load", "负荷变化", "a load that is lastingly other than it was in the same weather"),
    Term("clock fault", "时钟异常", "times that disagree with the water counted, or come off their beat"),
    Term(
        "clogged strainer",
        "除污器堵塞",
        "a filter that costs pressure: the valve opens wider for the same flow",
    ),
    Term("counter exchange", "换表", "another meter, whose counters begin anew"),
    Term("counter reset", "计数清零", "counters set to nothing while the meter goes on"),
    Term("counter rollover", "计数翻转", "a counter passed its full scale and went on from zero"),
    Term("counter spike", "计数突跳", "a counter's reading that is out of line with those around it"),
    Term("coverage", "覆盖率", "share of a window that samples cover, 0 to 1"),
    Term("data quality", "数据质量", "what is wrong with what a device reports, counted by window"),
    Term("dwell", "停留时间", "time that a truck spends inside a place"),
    Term("energy signature", "能耗特征", "heat load as a function of outdoor temperature"),
    Term("ETA", "预计到达时间", "when a truck is expected at its destination"),
    Term("excess flow", "超额流量", "water beyond what the heat needs at the reference return temperature"),
    Term("fast change", "变化过快", "a step between two readings that the quantity cannot make"),
    Term(
        "flow-weighted", "流量加权", "mean of a temperature weighted by flow: the one that carries the heat"
    ),
    Term(
        "fouled exchanger",
        "换热器结垢",
        "an exchanger that passes on less heat at the same flow than when it was clean",
    ),
    Term("frozen value", "数值冻结", "a channel that shows one value for longer than it usually does"),
    Term("fulfilment rate", "兑现率", "coal received as a share of coal planned, by contract and month"),
    Term("gross", "毛重", "mass of a truck with its load"),
    Term("heat balance", "热平衡", "heat supplied less delivered, lost, stored and leaked"),
    Term("high return", "回水温度过高", "water that comes back warmer than the network's reference"),
    Term("hunting", "阀门振荡", "a valve that swings to and fro, many times an hour"),
    Term("in transit", "在途", "loaded and not yet received"),
    Term("leak inside the exchanger", "换热器内漏", "primary water that comes over into the secondary loop"),
    Term("leak of the secondary loop", "二次网失水", "make-up of a secondary loop beyond its usual"),
    Term("make-up water", "补水", "water added to a network to replace what it lost"),
    Term("NAR", "收到基低位发热量", "net calorific value as received"),
    Term("net", "净重", "gross less tare"),
    Term("out of range", "超出量程", "a value that cannot be: kept as received, and absent from results"),
    Term("outbox", "发件箱", "messages that a collector keeps until the server has journalled them"),
    Term("plant", "热源厂", "where coal becomes heat"),
    Term("primary network", "一次网", "from the plant to the substations"),
    Term("pump trip", "循环泵跳闸", "a circulation pump that stopped"),
    Term("return", "回水", "water on its way back to the plant"),
    Term("secondary network", "二次网", "from a substation to its buildings"),
    Term("settled", "已结算", "received and paid for"),
    Term("severity", "严重程度", "how much an anomaly matters: critical, major, minor, info"),
    Term(
        "shared cause",
        "共同原因",
        "what many consumers of one branch suffer at once; their anomalies are its children",
    ),
    Term("stale", "数据过期", "a device whose newest sample is older than three of its intervals"),
    Term("substation", "换热站", "where the primary network heats a secondary one"),
    Term("supply", "供水", "water on its way to the consumers"),
    Term("swapped sensors", "供回水传感器接反", "supply and return sensors in each other's place"),
    Term("tare", "皮重", "mass of a truck without its load"),
    Term("transit loss", "途耗", "share of a load that was weighed at the origin and not at the destination"),
    Term("unaccounted", "未核销", "messages sent that are nowhere to be found; always 0"),
    Term("valve stuck closed", "阀门卡关", "a valve that does not move and lets too little through"),
    Term("valve stuck open", "阀门卡开", "a valve that does not move and lets too much through"),
    Term("water balance", "水平衡", "make-up water less authorised use, tank change and storage"),
    Term("water loss", "失水", "water that leaves a network by leaks or unauthorised draw-off"),
    Term("weigh ticket", "磅单", "record of one weighing of a truck"),
    Term("weighbridge", "地磅", "scale that weighs whole trucks"),
)

_KINDS: Final = {Kind.GAUGE: "gauge", Kind.COUNTER: "counter", Kind.TEXT: "text"}


def markdown() -> str:
    """The glossary as the text of ``docs/glossary.md``."""
    lines = [
        "# Glossary",
        "",
        "Generated from `models/glossary.py` and the measurement table by `python tools/glossary.py`;",
        "do not edit. The Chinese terms are those of the boards.",
        "",
        "## Terms",
        "",
        "| English | 中文 | meaning |",
        "|---|---|---|",
        *(f"| {term.en} | {term.zh} | {term.meaning} |" for term in TERMS),
        "",
        "## Measurements",
        "",
        "Every quantity that a device may report. A value outside its range is kept, with a quality flag,",
        "and counts as absent. Nothing is integrated across a change that is faster than a minute allows.",
        "",
        "| name | English | 中文 | unit | kind | range | at most a minute | reported by |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(measurement) for measurement in MEASUREMENTS),
    ]
    return "\n".join(lines) + "\n"


def _row(m: Measurement) -> str:
    low = "" if m.low is None else f"{m.low:,.12g}"
    high = "" if m.high is None else f"{m.high:,.12g}"
    bounds = f"{low} … {high}".strip() if low or high else ""
    rate = "" if m.most_per_min is None else f"{m.most_per_min:g}"
    classes = ", ".join(c for c in DEVICE_CLASSES if m.name in CLASSES[c])
    return f"| `{m.name}` | {m.en} | {m.zh} | {m.unit} | {_KINDS[m.kind]} | {bounds} | {rate} | {classes} |"
