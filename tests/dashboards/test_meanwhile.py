"""What becomes of a page of which something is no longer, or never was, as its reader thinks, in Chromium."""

from dataclasses import replace

import pytest

from alerts.action import ALARM_STREAM
from alerts.alarm import Phase
from alerts.rows import alarm_tables
from dashboards.language import pick
from dashboards.panels import pages
from models.results import Outputs
from tests.support.board_data import DAY_MS
from tests.support.board_running import browser, opened, running, taken, until, until_here

__all__ = ["browser", "opened", "running"]  # fixtures

PHONE = {"width": 390, "height": 844}
WORDS = "reason, comment or owner"


def put(running, phase, alarm=0):
    outputs = Outputs(ALARM_STREAM)
    for name, table in alarm_tables([replace(running.alarms[alarm], phase=phase)], ALARM_STREAM).items():
        outputs.add(name, table)
    running.day.store.write([outputs])


NAMED = """async (evidence) => {
  const { pairs } = await import(document.querySelector("link[rel=modulepreload]").href.replace(/[^/]*$/, "evidence.js"));
  const site = await (await fetch("/api/site?region=&unit=")).json();
  const context = { t: (x) => x, config: { texts: {}, places: [["unit", "donghe", "Donghe heat"]] }, site: { ...site, byId: new Map(site.devices.map((d) => [d.id, d])) } };
  return pairs(evidence, context);
}"""


def test_evidence_names_places_as_people_do(opened):
    told = opened("/?lang=en").page.evaluate(
        NAMED, {"place": "yard", "unit": "donghe", "plate": "A1", "n": ["mine"]}
    )
    assert told == [["place", "东河煤场"], ["unit", "Donghe heat"], ["plate", "A1"], ["n", "黑山煤矿"]]


HEADS = """async (tables) => {
  const { heads } = await import(document.querySelector("link[rel=modulepreload]").href.replace(/[^/]*$/, "tables.js"));
  return tables.map(heads);
}"""


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_two_columns_of_a_file_have_one_head_and_each_says_of_what_it_is(opened, language):
    tables = [p for page in pages() for p in page.panels if p.columns]
    shown = [[{"field": f, "label": pick(t, language), "unit": u} for f, t, u in p.columns] for p in tables]
    told = dict(zip([p.id for p in tables], opened("/?lang=en").page.evaluate(HEADS, shown), strict=True))
    assert len(told) > 15
    assert {name for name, heads in told.items() if len(set(heads)) < len(heads)} == set()
    assert [head for heads in told.values() for head in heads if head.startswith("±")] == []
    loss = "transit loss ± %" if language == "en" else "途耗 ± %"
    assert next(h for h in told["contract_quality"] if "±" in h) == loss


CHANGED = """async (row) => {
  const { changes } = await import(document.querySelector("link[rel=modulepreload]").href.replace(/[^/]*$/, "tables.js"));
  const context = { t: (x, of = {}) => x.replace("{n}", of.n), f: {} };
  return [changes(row, context), changes(row, context, 2)];
}"""


def test_of_many_changes_a_page_shows_some_and_says_how_many_more(opened):
    row = {"was": '{"a": 1, "b": 2, "c": 3}', "became": '{"a": 4, "b": 5, "c": 6}'}
    told = opened("/?lang=en").page.evaluate(CHANGED, row)
    assert told == ["a: 1 → 4; b: 2 → 5; c: 3 → 6", "a: 1 → 4; b: 2 → 5; 1 more"]


@pytest.fixture
def writing(opened, running):
    """Somebody writes to the first alarm."""
    put(running, Phase.RAISED)
    watched = opened(f"/alarms?lang=en&alarm={running.alarms[0].id}")
    watched.page.get_by_label(WORDS).press_sequentially("pump swapped by W")
    yield watched
    put(running, Phase.RAISED)


def test_words_to_an_alarm_that_is_closed_meanwhile_are_kept_and_that_is_said(writing, running):
    page = writing.page
    put(running, Phase.CLOSED)
    page.wait_for_selector(".hl-unsent")
    assert "closed while you were writing; your words were not sent" in page.inner_text(".hl-unsent")
    words = page.get_by_label(WORDS)
    assert (words.input_value(), words.get_attribute("readonly")) == ("pump swapped by W", "")
    assert page.locator("[data-do]").count() == 0, "nothing can be done to it any more"
    page.locator("#panel-alarm_list tr", has_text="air").first.click()
    page.wait_for_selector("[data-do=comment]")
    assert words.input_value() == "", "they are not said of another alarm"
    put(running, Phase.RAISED)
    page.locator(f"#panel-alarm_list tr[data-alarm='{running.alarms[0].id}']").click()
    until_here(page, lambda: words.input_value() == "pump swapped by W")
    put(running, Phase.CLOSED)
    page.wait_for_selector(".hl-unsent")
    page.get_by_role("button", name="discard").click()
    page.wait_for_selector(".hl-unsent", state="detached")
    writing.assert_quiet()


def test_words_stay_when_somebody_else_acknowledges_meanwhile(writing, running):
    page = writing.page
    page.get_by_label("your name").fill("W")
    page.evaluate(
        "document.activeElement.blur()"
    )  # who writes keeps his field by the keyboard standing in it
    put(running, Phase.ACKNOWLEDGED)
    page.wait_for_selector("#panel-alarm_detail :text('acknowledged')")
    assert page.get_by_label(WORDS).input_value() == "pump swapped by W"
    page.locator("[data-do=comment]").click()
    until_here(page, lambda: running.actions.acted[-1:] and running.actions.acted[-1]["do"] == "comment")
    until_here(page, lambda: page.get_by_label(WORDS).input_value() == "")
    put(running, Phase.RAISED)
    page.wait_for_selector("[data-do=acknowledge]")
    assert page.get_by_label(WORDS).input_value() == "", "what was taken does not come back"


def test_words_of_two_deeds_are_both_taken_though_the_second_is_done_before_the_first_is_answered(
    writing, running
):
    page, before = writing.page, len(running.actions.acted)
    page.get_by_label("your name").fill("W")
    running.actions.answering.clear()
    try:
        page.locator("[data-do=comment]").click()
        page.locator(f"#panel-alarm_list tr[data-alarm='{running.alarms[1].id}']").click()
        until_here(page, lambda: page.get_by_label(WORDS).input_value() == "")
        page.get_by_label(WORDS).press_sequentially("seen")
        page.locator("[data-do=comment]").click()
    finally:
        running.actions.answering.set()
    until_here(page, lambda: page.get_by_label(WORDS).input_value() == "")
    told = running.actions.acted[before:]
    assert {(a["alarm"], a["reason"]) for a in told} == {
        (running.alarms[0].id, "pump swapped by W"), (running.alarms[1].id, "seen"),
    }  # fmt: skip
    assert not any("deed" in a for a in told)
    page.locator(f"#panel-alarm_list tr[data-alarm='{running.alarms[0].id}']").click()
    page.wait_for_selector(f"#panel-alarm_list tr[data-alarm='{running.alarms[0].id}'].hl-chosen")
    until_here(page, lambda: page.get_by_label(WORDS).input_value() == "")
    writing.assert_quiet()


@pytest.mark.parametrize(("size", "language"), [(None, "en"), (PHONE, "zh")])
def test_a_range_that_ends_before_it_begins_is_said_and_another_shown(opened, running, size, language):
    span = f"from={running.now_ms}&to={running.now_ms - DAY_MS}"
    watched = opened(f"/?lang={language}&{span}", *([size] if size else []))
    page = watched.page
    page.wait_for_selector(".hl-notice")
    said = page.inner_text(".hl-notice")
    assert ("shown are the last 24 h" if language == "en" else "现显示最近 24 小时") in said
    until(page, "performance.getEntriesByName('hl-drawn-heat_windows').length > 0")
    assert page.locator(".hl-trouble:not(:empty)").count() == 0, "nothing is refused"
    assert len(taken(page, "heat_windows")) > 20
    assert "from=" not in page.url
    page.locator("select[data-range=choose]").select_option("6")
    page.wait_for_selector(".hl-notice", state="detached")
    watched.assert_quiet()


def test_a_range_that_begins_after_now_is_said_too(opened, running):
    page = opened(f"/?lang=en&hours=6&from={running.now_ms + DAY_MS}").page
    page.wait_for_selector(".hl-notice:has-text('shown are the last 6 h')")
