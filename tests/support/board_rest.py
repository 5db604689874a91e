"""Rows of every measurement that some panel shows and the board's small day lacks, so that none is empty."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from dashboards.panels import Page, Panel, pages
from dashboards.scope import NETWORK_KEY
from models.anomaly import ANOMALY, Anomaly, Severity, anomaly_table
from models.results import Outputs
from store.protocol import Select
from tests.support.board_data import DAY_MS, NOW_MS, WINDOW_MS, Day
from tests.support.board_running import Running

_TEXTS = {
    "status": "final", "change": '{"heat_gj": 1.5}', "text": "words", "reason": "coverage", "codes": "no_tank",
    "device": "sub-03", "trail": "words", "evidence": "{}", "retry": "words",
    "time": float(NOW_MS - 61_000),
}  # fmt: skip
_ROWS = 5


def fill(day: Day) -> None:
    """Write them, each number another."""
    there = set(day.store.counts())
    values: dict[str, dict[str, Any]] = defaultdict(dict)
    keys: dict[str, str] = {}
    codes = []
    for page in pages():
        for panel in page.panels:
            for series in panel.series:
                name = series.select.measurement
                if name not in there:
                    values[name].setdefault(series.field, None)
                    keys.setdefault(name, _key(panel, series.select, series.classes))
            name = _of_table(page, panel)
            if name == ANOMALY and panel.codes:
                codes.append(panel.codes[-1])
            if name and name not in there:
                values[name].update({f: _TEXTS.get(unit) for f, _, unit in panel.columns if "." not in f})
                if panel.scope == "device":
                    keys[name] = "sub-03"
                keys.setdefault(name, "net-1")
    for at, (name, fields) in enumerate(sorted(values.items())):
        day.write_results(name, _rows(day, keys[name], fields, at), WINDOW_MS)
    to_come = _rows(day, "net-1:24", values["load_forecast"], len(values))
    for row in to_come:
        row["window_start"] += DAY_MS
    day.write_results("load_forecast", to_come, 3_600_000)
    _write_anomalies(day, codes)


def _of_table(page: Page, panel: Panel) -> str:
    feed = next((f for f in page.feeds if f.name in panel.feeds[:1]), None)
    return feed.select.measurement if panel.columns and feed is not None else ""


def _key(panel: Panel, select: Select, classes: tuple[str, ...]) -> str:
    if panel.scope == "device" or classes:
        return "sub-03"
    return select.keys[0].replace(NETWORK_KEY, "net-1") if select.keys else "net-1"


def _rows(day: Day, key: str, fields: dict[str, Any], at: int) -> list[dict[str, Any]]:
    last = day.now_ms // WINDOW_MS * WINDOW_MS
    own = [f for f in fields if f not in {"key", "window_start", "status", "reason", "coverage", "revision"}]
    return [
        {
            "key": key, "window_start": last - n * WINDOW_MS, "status": "final",
            **{f: fields[f] or 1.25 * (n + 1) + 7 * i + 100 * at for i, f in enumerate(own)},
        }
        for n in range(1, _ROWS + 1)
    ]  # fmt: skip


def _write_anomalies(day: Day, codes: list[str]) -> None:
    found = [
        Anomaly("plate:冀A5131", code, Severity.MAJOR, 2.0, {"trucks": 3, "hours": 4.25},
                day.now_ms - 7_200_000, day.now_ms, 3_600_000, "donghe", "north")
        for code in dict.fromkeys(codes)
    ]  # fmt: skip
    out = Outputs("donghe", day._next())
    out.add(ANOMALY, anomaly_table(found, "donghe"))
    day.store.write([out])


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A board in which no panel is empty."""
    made = Running(tmp_path_factory.mktemp("series"))
    fill(made.day)
    yield made
    made.stop()
