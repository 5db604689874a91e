"""The worst actors on the Alarms page, in a real Chromium: today's ten, the worst first, all of them seen."""

import json

import pytest

from alerts.action import ALARM_STREAM
from alerts.actors import DAY_MS, Actor
from alerts.rows import ACTORS, QUALITY, actors_table, quality_table
from alerts.scopes import DESK
from models.results import Outputs
from tests.support.board_data import NOW_MS
from tests.support.board_running import PHONE, browser, opened, running, until

__all__ = ["browser", "opened", "running"]  # fixtures

ROWS = "[...document.querySelectorAll('#panel-worst_actors tbody tr')].map(r => [...r.cells].map(c => c.innerText))"
CLOCK = "document.querySelector('.hl-clock').innerText"
FIRST = {
    "en": ["光明小区站", "pump trip", "60", "12", "13", "30", "4"],
    "zh": ["光明小区站", "循环泵跳闸", "60", "12", "13", "30", "4"],
}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_ten_that_rang_most_stand_there_without_scrolling(opened, language):
    watched = opened(f"/alarms?lang={language}")
    page = watched.page
    until(page, f"{ROWS}.length === 10")
    rows = page.evaluate(ROWS)
    assert rows[0] == FIRST[language]
    assert [int(r[2]) for r in rows] == list(range(60, 10, -5))
    box = "document.querySelector('#panel-worst_actors .hl-scroll')"
    assert page.evaluate(
        f"[{box}.scrollHeight - {box}.clientHeight, {box}.scrollWidth - {box}.clientWidth]"
    ) == [0, 0]
    watched.assert_quiet()


@pytest.mark.parametrize(("language", "said"), [("en", "reckoned from 5 h"), ("zh", "按 5 小时的数据推算")])
def test_what_is_reckoned_from_less_than_a_day_says_so(opened, language, said):
    page = opened(f"/alarms?lang={language}").page
    until(page, "document.querySelector('#panel-alarm_a_day')?.innerText.includes('48')")
    of_a_day = ("a_day", "worst_10_min", "flood_pct", "chatter")
    assert all(said in page.inner_text(f"#panel-alarm_{name}") for name in of_a_day)
    assert said not in page.inner_text("#panel-alarm_standing")
    ends = "s => document.querySelector('#panel-alarm_a_day' + s).getBoundingClientRect().bottom"
    assert page.evaluate(ends, " .hl-detail") <= page.evaluate(ends, "")


def test_a_region_has_its_own(opened):
    page = opened("/alarms?lang=en&region=north").page
    until(page, f"{ROWS}.length === 4")
    assert [int(r[2]) for r in page.evaluate(ROWS)] == [50, 45, 40, 35]
    tile = "document.querySelector('#panel-alarm_standing')"
    until(page, f"{tile}?.innerText.includes('1') && !{tile}.innerText.includes('no data')")


def test_a_phone_has_them_as_cards(opened):
    page = opened("/alarms?lang=en", PHONE).page
    until(page, f"{ROWS}.length === 10")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    shown = "getComputedStyle(document.querySelector('#panel-worst_actors tbody td'), '::before').content"
    assert page.evaluate(shown) == '"where"'


def test_where_nobody_is_named_today_yesterdays_go_when_the_desk_speaks_of_today(opened, running):
    page = opened("/alarms?lang=en&region=north").page
    until(page, f"{ROWS}.length === 4")
    today = NOW_MS // DAY_MS * DAY_MS + DAY_MS
    figures = {
        "alarms": 0, "standing": 0, "unacknowledged": 0, "stale": 0, "a_day": 0.0, "worst_10_min": 0,
        "flood_pct": 0.0, "chatter": 0, "region": "north",
    }  # fmt: skip
    shown = page.evaluate(CLOCK)
    before, running.now_ms = running.now_ms, today + 60_000
    try:
        until(page, f"{CLOCK} !== {json.dumps(shown)}")  # the page has been told the day
        assert len(page.evaluate(ROWS)) == 4, "nothing of today is told yet"
        out = Outputs(ALARM_STREAM)
        out.add(QUALITY, quality_table(today, 600_000, {"region:north": figures}, ALARM_STREAM))
        running.day.store.write([out])
        until(page, f"{ROWS}.length === 0")
    finally:
        running.now_ms = before


def test_those_of_an_earlier_day_are_not_todays(opened, running):
    """A place that nobody takes any more today was somebody's yesterday, and is that row's newest."""
    page = opened("/alarms?lang=en").page
    until(page, f"{ROWS}.length === 10")
    today = NOW_MS // DAY_MS * DAY_MS + DAY_MS
    few = [
        Actor("sub-09", "air", "donghe", "north", 3, 2, 75.0, 1, 0),
        Actor("sub-03", "air", "", "", 1, 1, 25.0, 0, 0),
    ]
    running.now_ms = today + 3_600_000
    out = Outputs(ALARM_STREAM)
    out.add(ACTORS, actors_table({DESK: few}, {DESK: {"unit": "", "region": ""}}, today, ALARM_STREAM))
    running.day.store.write([out])
    until(page, f"{ROWS}.length === 2")
    assert [r[2] for r in page.evaluate(ROWS)] == ["3", "1"]
    running.now_ms = today + 2 * DAY_MS  # nobody counts any more: that is no good news
    empty = "document.querySelector('#panel-worst_actors .hl-empty')"
    until(page, f"!{empty}.hidden && {empty}.innerText === 'not available yet'")
    out = Outputs(ALARM_STREAM)
    none = {
        "alarms": 0, "standing": 0, "unacknowledged": 0, "stale": 0, "a_day": 0.0, "worst_10_min": 0,
        "flood_pct": 0.0, "chatter": 0,
    }  # fmt: skip
    out.add(QUALITY, quality_table(running.now_ms - 600_000, 600_000, {DESK: none}, ALARM_STREAM))
    running.day.store.write([out])
    until(page, f"{empty}.innerText === 'no alarm within 30 days'")
