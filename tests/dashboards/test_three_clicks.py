"""As a dispatcher who sees the board for the first time: from the Overview to the cause, in three clicks.

Only what a person sees is used: links and rows by their words. With ``HEARTHLINE_RECORD=FOLDER`` each way is
kept as a trace of Playwright (``playwright show-trace FOLDER/….zip`` plays it).
"""

import json
import os
from pathlib import Path

import pytest

from tests.support.board_injected import FROZEN_C, METER, PLATE, Injected
from tests.support.board_running import DESK, browser, until
from tests.support.chromium import Watched

__all__ = ["browser"]

COUNT = """
addEventListener("click", (e) => {
  if (e.isTrusted) sessionStorage.clicks = Number(sessionStorage.clicks ?? 0) + 1;
}, true);
"""


@pytest.fixture(scope="module")
def injected(tmp_path_factory):
    made = Injected(tmp_path_factory.mktemp("injected"))
    yield made
    made.stop()


@pytest.fixture
def dispatcher(request, browser, injected):
    """Someone before the Overview, whose clicks are counted."""
    context = browser.new_context(viewport=DESK)
    kept = os.environ.get("HEARTHLINE_RECORD")
    if kept:
        context.tracing.start(screenshots=True, snapshots=True, title=request.node.name)
    context.add_init_script(COUNT)
    watched = Watched(context.new_page())
    watched.page.goto(f"{injected.server.url}/?lang={request.param}")
    watched.page.wait_for_selector("#panel-alarm_strip a")
    yield watched, request.param
    assert 1 <= watched.page.evaluate("Number(sessionStorage.clicks)") <= 3
    watched.assert_quiet()
    if kept:
        context.tracing.stop(path=Path(kept) / f"{request.node.name}.zip")
    context.close()


def shown(number):
    """A number as evidence is written: five digits, as JavaScript says them."""
    return json.dumps(float(f"{number:.5g}")).removesuffix(".0")


def seen(page, selector, *texts):
    """Every one of `texts` can be read in `selector`."""
    look = "([s, all]) => all.every(x => document.querySelector(s)?.innerText.includes(x))"
    until(page, look, [selector, list(texts)])


def from_strip(page, words):
    """Follow the alarm that is called `words` on the Overview."""
    page.locator("#panel-alarm_strip").get_by_role("link").filter(has_text=words).click()


@pytest.mark.parametrize("dispatcher", ["en"], indirect=True)
def test_a_leak_is_one_click_from_its_size_its_uncertainty_and_what_is_usual(dispatcher, injected):
    watched, language = dispatcher
    page = watched.page
    words = {"en": "primary leak", "zh": "一次网失水"}[language]
    from_strip(page, words)
    evidence = json.loads(injected.told["leak"]["evidence"])
    assert evidence["excess_m3_h"] == pytest.approx(2.4, abs=evidence["excess_u_m3_h"])
    numbers = [shown(evidence[n]) for n in ("excess_m3_h", "excess_u_m3_h", "usual_m3_h")]
    seen(page, "#panel-alarm_detail", words, *numbers)


@pytest.mark.parametrize("dispatcher", ["zh"], indirect=True)
def test_a_leak_is_one_click_from_the_page_of_water_too(dispatcher, injected):
    watched, language = dispatcher
    page = watched.page
    page.get_by_role("link", name={"en": "Water", "zh": "水"}[language], exact=True).click()
    evidence = json.loads(injected.told["leak"]["evidence"])
    numbers = [f"{evidence[n]:.1f}" for n in ("excess_m3_h", "excess_u_m3_h")]
    seen(page, "#panel-leak_suspects", "东河一网", *numbers)


@pytest.mark.parametrize("dispatcher", ["zh"], indirect=True)
def test_a_late_truck_is_two_clicks_from_why_and_where_it_stands(dispatcher, injected):
    watched, language = dispatcher
    page = watched.page
    page.get_by_role("link", name={"en": "Logistics", "zh": "物流"}[language], exact=True).click()
    evidence = json.loads(injected.told["truck"]["evidence"])
    assert evidence["hours"] >= 4
    words = {"en": ("detention", "hours"), "zh": ("滞留", "小时")}[language]
    seen(page, "#panel-road_exceptions", *words, PLATE, shown(evidence["hours"]))
    seen(page, "#panel-open_trips tbody tr:first-child", PLATE, "0.90")
    page.locator("#panel-open_trips").get_by_role("link", name=PLATE).click()
    page.wait_for_selector(".hl-trail", state="attached")
    seen(page, "#panel-road_exceptions", PLATE, shown(evidence["hours"]))


@pytest.mark.parametrize("dispatcher", ["en"], indirect=True)
def test_a_frozen_meter_is_two_clicks_from_its_value_how_long_and_what_is_usual(dispatcher, injected):
    watched, language = dispatcher
    page = watched.page
    words = {"en": "frozen value", "zh": "数值冻结"}[language]
    from_strip(page, words)
    drawn = {"en": "supply temperature", "zh": "供水温度"}[language]
    seen(page, "#panel-alarm_detail", words, drawn, str(FROZEN_C))
    name = injected.day.site.devices[METER].name
    page.locator("#panel-alarm_detail").get_by_role("link", name=name).click()
    (channel,) = json.loads(injected.told["meter"]["evidence"])["channels"]
    assert channel["run_s"] > channel["usual_s"] > 0
    seen(page, "#panel-verdicts", words, str(FROZEN_C), shown(channel["run_s"]), shown(channel["usual_s"]))
    seen(page, "#panel-indicators", str(FROZEN_C))
