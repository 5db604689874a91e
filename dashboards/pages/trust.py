"""数据可信 Trust: can what the other pages show be believed."""

from __future__ import annotations

from dashboards.panels import Band, Feed, Page, Panel, Series, Text
from store.protocol import Select

__all__ = ["PAGE"]

_LEDGER = Select("ledger")
_LOST = Band(low=0, high=0, priority=1)
_REFUSED = Band(low=0, high=0, priority=3)
_DAY_MS = 86_400_000
_COUNTS = (
    ("sent", Text("sent", "已发"), None),
    ("stored", Text("stored", "已存"), None),
    ("waiting", Text("waiting", "待发"), None),
    ("dead_lettered", Text("dead-lettered", "拒收"), _REFUSED),
    ("thinned", Text("thinned", "抽稀"), None),
    ("unaccounted", Text("unaccounted", "不明"), _LOST),
    ("duplicate", Text("duplicates", "重复报文"), None),
    ("repeat", Text("repeats", "重复读数"), None),
    ("late", Text("late readings", "迟到读数"), None),
)
_TILES = (
    *((name, text, (name,)) for name, text, _ in _COUNTS[:6]),
    ("duplicate", Text("duplicates / repeats", "重复报文 / 重复读数"), ("duplicate", "repeat")),
    ("late", Text("late readings", "迟到读数"), ("late",)),
)
_FAULTS = (
    ("out_of_range", Text("out of range", "超出量程"), "a"),
    ("fast_change", Text("fast change", "变化过快"), "b"),
    ("counter_spike", Text("counter spike", "计数突跳"), "s"),
    ("counter_exchange", Text("counter exchange", "换表"), "r"),
    ("counter_reset", Text("counter reset", "累计值清零"), "o"),
)

PAGE = Page(
    id="trust",
    path="/trust",
    title=Text("Trust", "数据可信"),
    question=Text("Can I believe it?", "数据可信吗？"),
    order=10,
    rows=("84px", "minmax(0,1fr)", "164px", "minmax(0,1fr)", "minmax(0,1fr)"),
    panels=(
        *(
            Panel(
                f"count_{tile}",
                text,
                "tile",
                feeds=("ledger",),
                series=tuple(
                    Series(_LEDGER, name, label, across="sum", aggregate="last", band=band)
                    for name, label, band in _COUNTS
                    if name in names
                ),
            )
            for tile, text, names in _TILES
        ),
        Panel(
            "ledger",
            Text("Ledger by device", "设备台账"),
            "table",
            absent=Text("no device here has sent anything yet", "此范围内尚无设备上报"),
            feeds=("ledger", "seen"),
            width=7,
            height=2,
            note=Text("counts since each device was first heard", "自各设备首次上报起累计"),
            series=tuple(Series(_LEDGER, name, text, aggregate="last") for name, text, _ in _COUNTS),
            columns=(
                ("key", Text("device", "设备"), "device"),
                ("age", Text("newest", "最近读数"), "age"),
                *((name, text, "count") for name, text, _ in _COUNTS),
            ),
        ),
        Panel(
            "coverage",
            Text("Coverage by hour, last 24 h", "近 24 小时逐时覆盖率"),
            "heatmap",
            width=5,
            series=(
                Series(
                    Select("device_heat"),
                    "coverage",
                    Text("coverage", "覆盖率"),
                    "%",
                    scale=100.0,
                    window_ms=900_000,
                ),
            ),
        ),
        Panel(
            "stages",
            Text("Lag by stage", "各环节滞后"),
            "stages",
            feeds=("status",),
            width=5,
            columns=(
                ("stage", Text("stage", "环节"), "reason"),
                ("part", Text("part", "组件"), "reason"),
                ("lag_s", Text("oldest", "最久"), "s"),
                ("queued", Text("waiting", "待处理"), "count"),
                ("state", Text("state", "状态"), "part"),
            ),
            absent=Text(
                "told by ingest and workers: none has been heard yet",
                "由 ingest 与各 worker 报告：尚未收到任何报告",
            ),
        ),
        Panel(
            "dead_letters",
            Text("Dead letters", "拒收报文"),
            "table",
            feeds=("dead_letters",),
            width=7,
            series=(Series(Select("dead_letter"), "reason", Text("reason", "原因"), aggregate="last"),),
            columns=(
                ("window_start", Text("received", "收到"), "time"),
                ("device", Text("device", "设备"), "device"),
                ("reason", Text("reason", "原因"), "reason"),
                ("detail", Text("what came", "详情"), "text"),
                ("key", Text("action", "操作"), "retry"),
            ),
        ),
        Panel("components", Text("Components", "系统组件"), "components", feeds=("status",), width=5),
        Panel(
            "restatements",
            Text("Restated results", "重述结果"),
            "table",
            feeds=("restatements",),
            width=7,
            note=Text(
                "final values that changed because data came late",
                "因数据迟到而改变的终值",
            ),
            series=(Series(Select("restatement"), "became", Text("became", "新值"), aggregate="last"),),
            columns=(
                ("restated_ms", Text("restated", "重述时间"), "time"),
                ("subject", Text("of", "对象"), "device"),
                ("measurement", Text("result", "结果"), "reason"),
                ("window_start", Text("window", "时段"), "time"),
                ("reason", Text("why", "原因"), "reason"),
                ("became", Text("was → is", "原值 → 新值"), "change"),
                ("revision", Text("revision", "修订号"), "count"),
            ),
        ),
        Panel(
            "data_quality",
            Text("Faults in the data, all devices", "数据质量问题（全部设备）"),
            "line",
            width=5,
            note=Text(
                "by 15 minutes; query data_quality names the device",
                "每 15 分钟；可查询 data_quality 定位设备",
            ),
            series=tuple(
                Series(
                    Select("data_quality"),
                    name,
                    text,
                    across="sum",
                    aggregate="sum",
                    colour=colour,
                    window_ms=900_000,
                )
                for name, text, colour in _FAULTS
            ),
        ),
    ),
    feeds=(
        Feed("ledger", Select("ledger", latest=True), recent_ms=2 * _DAY_MS),
        Feed("dead_letters", Select("dead_letter", newest_first=True, limit=50)),
        Feed("restatements", Select("restatement", newest_first=True, limit=50)),
    ),
)
