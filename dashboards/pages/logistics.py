"""物流 Logistics: where the coal is."""

from __future__ import annotations

from dashboards.panels import NOT_COMPUTED, Feed, Page, Panel, Series, Text, Unknown
from store.protocol import Select

__all__ = ["PAGE"]

_QUEUE = Select("queue")
_ROAD_CODES = (
    "route_deviation", "detention", "transit_loss", "tare_drift", "tare_inflated", "repeated_weight",
    "overload", "plate_swapped", "phantom_ticket", "impossible_time", "bridge_drift",
    "correction_unmatched",
)  # fmt: skip
_PLATE = Text("plate", "车牌")
_FLAGS = Text("flags", "标记")
_DAY_MS = 86_400_000

PAGE = Page(
    id="logistics",
    path="/logistics",
    title=Text("Logistics", "物流"),
    question=Text("Where is the coal?", "煤在哪里？"),
    order=6,
    rows=("minmax(0,1fr)", "minmax(0,1fr)", "minmax(0,1fr)"),
    panels=(
        Panel(
            "truck_map",
            Text("Trucks", "车辆"),
            "map",
            feeds=("positions", "tracks", "trips", "arrivals"),
            width=6,
            height=2,
            note=Text("choose a truck for its trail, or replay them all", "点击车辆查看轨迹，或回放全部车辆"),
            series=(Series(Select("track"), "distance_m", Text("way", "行程"), "m"),),
        ),
        Panel(
            "road_exceptions",
            Text("Exceptions", "异常"),
            "table",
            feeds=("anomalies",),
            width=6,
            codes=_ROAD_CODES,
            states=("active",),
            series=(Series(Select("anomaly"), "score", Text("score", "强度"), aggregate="last"),),
            columns=(
                ("subject", Text("of", "对象"), "subject"),
                ("code", Text("what", "问题"), "reason"),
                ("severity", Text("severity", "级别"), "reason"),
                ("window_start", Text("since", "起始"), "time"),
                ("evidence", Text("why", "依据"), "evidence"),
            ),
        ),
        Panel(
            "bridge_queues",
            Text("Weighbridges", "地磅"),
            "table",
            absent=Text("no weighbridge here has been heard yet", "此范围内尚无地磅上报"),
            feeds=("queues",),
            width=6,
            note=Text("of the newest quarter of an hour", "最近一刻钟"),
            unknown=(
                Unknown(
                    ("waiting_little", "wait_s"),
                    Text("no truck was weighed in it", "该时段没有车辆过磅"),
                    zero="tickets",
                ),
                Unknown(
                    ("waiting_little", "wait_s"),
                    Text("nobody saw that truck enter", "过磅车辆的进场未被看到"),
                ),
                Unknown(
                    ("turnaround_s",), Text("no truck left that was weighed here", "该时段没有过磅车离场")
                ),
            ),
            series=(Series(_QUEUE, "waiting", Text("waiting", "排队"), aggregate="last"),),
            columns=(
                ("key", Text("bridge", "地磅"), "device"),
                ("waiting", Text("waiting", "排队"), "count"),
                ("waiting_little", Text("by Little's law", "按利特尔法则"), ""),
                ("wait_s", Text("wait", "等候"), "span"),
                ("turnaround_s", Text("turnaround", "周转"), "span"),
                ("tickets", Text("tickets", "磅单"), "count"),
            ),
        ),
        Panel(
            "open_trips",
            Text("Under way", "在途车辆"),
            "trips",
            feeds=("trips", "arrivals"),
            width=6,
            states=("open",),
            note=Text(
                "likeliest to be late first; the plate shows the trail", "晚到风险高者在前；点击车牌查看轨迹"
            ),
            unknown=(
                Unknown(
                    ("eta", "eta_p10", "eta_p90", "late_p"),
                    Text("no trip of this way has been seen whole yet", "该线路尚无完整行程"),
                ),
            ),
            series=(Series(Select("eta"), "late_p", Text("late", "晚到概率"), aggregate="last"),),
            columns=(
                ("plate", _PLATE, "trail"),
                ("contract", Text("contract", "合同"), "text"),
                ("loaded_kg", Text("loaded", "装车"), "kg"),
                ("departed", Text("left", "发车"), "time"),
                ("eta_p10", Text("P10", "P10"), "time"),
                ("eta", Text("arrives", "预计到达"), "arrival"),
                ("eta_p90", Text("P90", "P90"), "time"),
                ("late_p", Text("late (0 to 1)", "晚到概率（0–1）"), ""),
                ("flags", _FLAGS, "codes"),
            ),
        ),
        Panel(
            "weighings",
            Text("Newest weighings", "最近过磅"),
            "table",
            feeds=("weighings",),
            width=6,
            absent=NOT_COMPUTED,
            series=(Series(Select("weighing"), "mass_kg", Text("mass", "质量"), "kg", aggregate="last"),),
            columns=(
                ("window_start", Text("at", "时间"), "time"),
                ("plate", _PLATE, "text"),
                ("step", Text("step", "步骤"), "reason"),
                ("mass_kg", Text("mass", "质量"), "kg"),
                ("place", Text("place", "地点"), "named"),
                ("flags", _FLAGS, "codes"),
            ),
        ),
    ),
    feeds=(
        Feed("positions", Select("reading", fields=("lat_deg", "lon_deg", "speed_m_s", "heading_deg"),
                                 device_class="truck", latest=True), recent_ms=600_000),
        Feed("tracks", Select("track", latest=True), recent_ms=2 * _DAY_MS),
        Feed("trips", Select("trip", newest_first=True, limit=400)),
        Feed("arrivals", Select("eta", latest=True), recent_ms=6 * _DAY_MS),
        Feed("queues", Select("queue", latest=True), recent_ms=_DAY_MS),
        Feed("weighings", Select("weighing", newest_first=True, limit=60)),
        Feed("anomalies", Select("anomaly", newest_first=True, limit=200)),
    ),
)  # fmt: skip
