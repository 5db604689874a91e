"""告警 Alarms: what must I do."""

from __future__ import annotations

from dataclasses import replace

from dashboards.panels import Band, Feed, Page, Panel, Series, Text
from dashboards.scope import SCOPE_KEY
from store.protocol import Select

__all__ = ["PAGE"]

_QUALITY = Select("alarm_quality", keys=(SCOPE_KEY,))
_ACTORS = Select("alarm_actor", key_prefix=f"{SCOPE_KEY}:")
_NONE = Band(low=0, high=0, priority=3)
_TILES = (
    ("standing", Text("standing now", "当前告警"), None, ""),
    ("unacknowledged", Text("unacknowledged", "未确认"), None, ""),
    ("alarms", Text("in these 10 minutes", "本10分钟"), Band(low=0, high=10, priority=2), ""),
    ("a_day", Text("alarms a desk a day", "每台每日告警"), Band(low=0, high=150, priority=3), ""),
    ("worst_10_min", Text("worst 10 minutes", "最差10分钟"), Band(low=0, high=10, priority=2), ""),
    ("flood_pct", Text("time in flood", "告警洪泛时间"), Band(low=0, high=1, priority=2), "%"),
    ("chatter", Text("chattering", "抖动告警"), _NONE, ""),
    ("stale", Text("over 24 h", "超24小时"), _NONE, ""),
)

_WORST = (
    ("subject", Text("where", "对象"), "subject"),
    ("code", Text("what", "告警"), "reason"),
    ("alarms", Text("30 d", "30天"), "count"),
    ("alarms_7d", Text("7 d", "7天"), "count"),
    ("share_pct", Text("share", "占比"), "%"),
    ("cleared_alone", Text("by itself", "自行恢复"), "count"),
    ("chatter", Text("chattered", "抖动"), "count"),
)

PAGE = Page(
    id="alarms",
    path="/alarms",
    title=Text("Alarms", "告警"),
    question=Text("What must I do?", "我该做什么？"),
    order=9,
    rows=("98px", "minmax(0,1.3fr)", "minmax(0,1fr)"),
    panels=(
        *(
            Panel(
                f"alarm_{name}",
                text,
                "tile",
                feeds=("quality",),
                series=(Series(_QUALITY, name, text, unit, across="sum", aggregate="last", band=band),),
            )
            for name, text, band, unit in _TILES
        ),
        Panel(
            "alarm_list",
            Text("Open alarms", "未关闭告警"),
            "alarms",
            feeds=("alarms",),
            width=8,
            series=(Series(Select("alarm_open"), "state", Text("state", "状态"), aggregate="last"),),
            columns=(
                ("priority", Text("priority", "优先级"), "priority"),
                ("subject", Text("where", "对象"), "device"),
                ("code", Text("what", "告警"), "reason"),
                ("state", Text("state", "状态"), "alarm_state"),
                ("since", Text("since", "自"), "time"),
                ("owner", Text("owner", "负责人"), "text"),
            ),
            note=Text("choose one for its evidence and what to do", "选中一条查看依据并处理"),
        ),
        Panel(
            "alarm_detail",
            Text("The chosen alarm", "所选告警"),
            "alarm",
            feeds=("alarms",),
            width=4,
            height=2,
        ),
        Panel(
            "alarm_rate",
            Text("Alarms per 10 minutes", "每10分钟告警数"),
            "line",
            width=3,
            series=(
                Series(
                    _QUALITY,
                    "alarms",
                    Text("alarms", "告警"),
                    aggregate="max",
                    band=Band(low=0, high=10, priority=2),
                ),
            ),
        ),
        Panel(
            "worst_actors",
            Text("Worst actors", "高频告警"),
            "table",
            feeds=("actors", "quality"),
            width=5,
            note=Text(
                "of 30 days; by itself: cleared before anybody acknowledged it",
                "近30天；自行恢复：无人确认即恢复",
            ),
            series=tuple(Series(_ACTORS, name, text, aggregate="last") for name, text, _ in _WORST),
            columns=_WORST,
        ),
    ),
    feeds=(Feed("actors", replace(_ACTORS, latest=True), recent_ms=2 * 86_400_000),),
)
