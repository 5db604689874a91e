"""Alarms of a device stand on its charts."""

from dataclasses import replace

import pytest

from alerts.action import ALARM_STREAM
from alerts.alarm import Phase
from alerts.rows import alarm_tables
from dashboards.marks import LONGEST_MS, MOST_MARKS, alarm_marks
from models.anomaly import Severity
from models.results import Outputs
from store.duckdb_series import DuckdbSeries
from tests.support.board_alarms import MIN, alarm, seed_alarms
from tests.support.board_data import DAY_MS, NOW_MS, make_site
from tests.support.board_running import browser, opened, running, until

__all__ = ["browser", "opened", "running"]  # fixtures

RED = """([panel, colour]) => {
  const canvas = document.querySelector(`#panel-${panel} canvas`);
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let found = 0;
  for (let i = 0; i < data.length; i += 4) {
    if (colour.every((c, k) => Math.abs(data[i + k] - c) < 24) && data[i + 3] > 200) found += 1;
  }
  return found;
}"""
GRAVEST = [0xB3, 0x12, 0x1D]


@pytest.fixture
def store(tmp_path):
    made = DuckdbSeries(tmp_path / "series.duckdb")
    yield made
    made.close()


def test_marks_are_the_devices_own_within_the_range(store):
    seed_alarms(store)
    site = make_site()
    began = NOW_MS - 40 * MIN
    found = alarm_marks(store, site, "sub-03", NOW_MS - DAY_MS, NOW_MS)
    assert found == [{"t": began, "code": "pump_trip", "priority": 1}]
    assert alarm_marks(store, site, "sub-03", began, began + 1) == found
    assert alarm_marks(store, site, "sub-03", began - 1, began) == []
    assert alarm_marks(store, site, "sub-03", began + 1, NOW_MS) == []
    assert alarm_marks(store, site, "sub-04", NOW_MS - DAY_MS, NOW_MS) == []
    assert alarm_marks(store, site, "gone", NOW_MS - DAY_MS, NOW_MS) == []


def test_a_device_that_was_moved_keeps_its_marks(store):
    seed_alarms(store)
    site = make_site()
    moved = {**site.devices, "sub-03": replace(site.devices["sub-03"], unit="elsewhere")}
    found = alarm_marks(store, replace(site, devices=moved), "sub-03", NOW_MS - DAY_MS, NOW_MS)
    assert [m["code"] for m in found] == ["pump_trip"]


def test_of_more_than_fit_the_gravest_stay(store):
    kinds = [Severity.MINOR] * MOST_MARKS + [Severity.CRITICAL] * 2
    made = [alarm("sub-03", f"c{n:02d}", kind, Phase.RAISED, 10 + n) for n, kind in enumerate(kinds)]
    outputs = Outputs(ALARM_STREAM)
    for name, table in alarm_tables(made, ALARM_STREAM).items():
        outputs.add(name, table)
    store.write([outputs])
    found = alarm_marks(store, make_site(), "sub-03", NOW_MS - DAY_MS, NOW_MS)
    assert [m["code"] for m in found] == ["c13", "c12", *(f"c{n:02d}" for n in range(9, -1, -1))]


def test_a_range_of_many_years_has_no_marks(store):
    seed_alarms(store)
    assert alarm_marks(store, make_site(), "sub-03", NOW_MS - LONGEST_MS - 1, NOW_MS) == []
    assert len(alarm_marks(store, make_site(), "sub-03", NOW_MS - LONGEST_MS, NOW_MS)) == 1


def test_a_store_without_alarms_has_none(store):
    assert alarm_marks(store, make_site(), "sub-03", NOW_MS - DAY_MS, NOW_MS) == []


@pytest.mark.parametrize("panel", ["primary", "secondary", "power"])
def test_a_chart_has_a_line_where_an_alarm_began(opened, panel):
    drawn = "n => performance.getEntriesByName(`hl-drawn-${n}`).length > 0"
    pages = {device: opened(f"/substation/{device}?lang=en").page for device in ("sub-03", "sub-04")}
    for page in pages.values():
        until(page, drawn, panel)
    red = {device: page.evaluate(RED, [panel, GRAVEST]) for device, page in pages.items()}
    assert red["sub-03"] > red["sub-04"] + 40
