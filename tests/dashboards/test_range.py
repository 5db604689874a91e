"""The page's one range changes without a new page, in a real Chromium."""

import re
from contextlib import suppress

import pytest
from playwright.sync_api import Error

from tests.support.board_data import DAY_MS
from tests.support.board_running import browser, opened, running, taken, until

__all__ = ["browser", "opened", "running"]  # fixtures

HEAT = "#panel-heat_windows"
HISTORY = re.compile(r"/api/panels/heat_windows/history")
DRAWN = "n => performance.getEntriesByName(`hl-drawn-${n}`).some(e => e.startTime > (window.chosen ?? 0))"


def settled(page, panel="heat_windows"):
    until(page, DRAWN, panel)
    until(page, "!document.querySelector('[aria-busy=true]')")


@pytest.fixture
def watched(opened):
    """An Overview that stands, with a mark that a new page would not have."""
    found = opened("/?lang=en")
    until(found.page, "document.querySelector('.hl-age')?.textContent.includes('old')")
    settled(found.page)
    found.page.evaluate("window.mine = true; window.chosen = performance.now()")
    return found


def choose(page, hours):
    page.evaluate("window.chosen = performance.now()")
    page.locator("select[data-range=choose]").select_option(hours)


def hours_of(page):
    rows = taken(page, "heat_windows")[1:]
    times = sorted({row[4] for row in rows})
    return rows, times


def test_a_range_chosen_is_drawn_on_the_same_page_as_on_a_page_of_its_own(watched, opened):
    page = watched.page
    choose(page, "6")
    page.wait_for_url("**hours=6*")
    settled(page)
    rows, times = hours_of(page)
    assert page.evaluate("window.mine")
    fresh = opened("/?lang=en&hours=6").page
    until(fresh, "document.querySelector('.hl-age')?.textContent.includes('old')")
    settled(fresh)
    assert (hours_of(fresh)[0], len(times) > 20) == (rows, True)
    watched.assert_quiet()


def test_the_way_back_leads_to_the_range_before(watched):
    page = watched.page
    before, _ = hours_of(page)
    choose(page, "6")
    settled(page)
    page.evaluate("window.chosen = performance.now()")
    page.go_back()
    settled(page)
    assert (hours_of(page)[0], page.evaluate("window.mine")) == (before, True)
    assert page.locator("select[data-range=choose]").input_value() == "24"


def test_links_lead_on_with_the_range_and_a_link_of_its_own_time_is_left(watched):
    page = watched.page
    page.evaluate("""document.querySelector('.hl-board').insertAdjacentHTML('beforeend',
        '<a id="own" href="/network?lang=en&from=1&to=2">x</a><a id="led" href="/network?lang=en">x</a>')""")
    choose(page, "168")
    assert page.get_attribute("#led", "href") == "/network?lang=en&hours=168"
    assert page.get_attribute("#own", "href") == "/network?lang=en&from=1&to=2"
    assert "hours=168" in page.get_attribute(".hl-alarms", "href")
    choose(page, "24")
    assert page.get_attribute("#led", "href") == "/network?lang=en"


def test_who_uses_the_keyboard_stays_where_he_was(watched):
    page = watched.page
    focused = "document.activeElement.dataset.range"
    page.locator("[data-range=earlier]").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**from=*to=*")
    assert page.evaluate(focused) == "earlier"
    page.locator("[data-range=now]").focus()
    page.keyboard.press("Enter")
    until(page, "!location.search.includes('from=')")
    assert (page.evaluate(focused), page.evaluate("window.mine")) == ("choose", True)


def test_the_range_chosen_last_is_drawn_whatever_answer_comes_last(watched, running):
    page = watched.page
    held = []
    page.route(HISTORY, lambda route: held.append(route) if not held else route.continue_())
    choose(page, "168")
    until(page, "document.querySelector('#panel-heat_windows').getAttribute('aria-busy') === 'true'")
    choose(page, "6")
    settled(page)
    times = hours_of(page)[1]
    answer = held[0].fetch()
    with suppress(Error):  # the browser has given the question up
        held[0].fulfill(response=answer)
    page.wait_for_timeout(300)
    assert hours_of(page)[1] == times
    watched.assert_quiet()


def test_what_cannot_be_read_stays_dimmed_and_says_why(watched, running):
    page = watched.page
    page.route(HISTORY, lambda route: route.fulfill(status=503, body="{}"))
    choose(page, "6")
    page.wait_for_selector(f"{HEAT} .hl-trouble:has-text('the store is away')")
    assert page.get_attribute(HEAT, "aria-busy") == "true"
    page.unroute(HISTORY)
    page.wait_for_selector(f"{HEAT}:not([aria-busy])", timeout=10_000)
    assert page.inner_text(f"{HEAT} .hl-trouble") == ""


def test_a_trail_is_that_of_the_range(opened, running):
    asked = []
    found = opened("/logistics?lang=en&truck=truck-01")
    page = found.page
    page.on("request", lambda r: asked.append(r.url) if "field=lat_deg" in r.url else None)
    until(page, "document.querySelector('.hl-age')?.textContent.includes('old')")
    page.wait_for_timeout(300)
    asked.clear()
    page.locator("[data-range=earlier]").click()
    until(page, "location.search.includes('to=')")
    page.wait_for_timeout(500)
    assert [f"to={running.now_ms - DAY_MS}" in url for url in asked] == [True]
