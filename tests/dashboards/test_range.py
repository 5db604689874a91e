"""The page's one range changes without a new page, in a real Chromium."""

import re
from contextlib import suppress
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

import pytest
from playwright.sync_api import Error

from tests.support.board_data import DAY_MS
from tests.support.board_running import browser, opened, running, taken, until, until_here

__all__ = ["browser", "opened", "running"]  # fixtures

HEAT = "#panel-heat_windows"
TRAIL = re.compile(r"/api/query.*lat_deg")
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
    until_here(page, lambda: held)
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
    page.wait_for_selector(f"{HEAT}:not([aria-busy])")
    assert page.inner_text(f"{HEAT} .hl-trouble") == ""


def test_a_trail_is_that_of_the_range(opened, running):
    asked = []

    def listen(page):
        page.on("request", lambda r: asked.append(r.url) if "field=lat_deg" in r.url else None)

    page = opened("/logistics?lang=en&truck=truck-01", before=listen).page
    until_here(page, lambda: asked)
    asked.clear()
    page.locator("[data-range=earlier]").click()
    until_here(page, lambda: asked)
    page.wait_for_timeout(500)
    assert [f"to={running.now_ms - DAY_MS}" in url for url in asked] == [True]


def test_a_trail_that_could_not_be_read_is_asked_for_again(opened, running):
    page = opened("/logistics?lang=en&truck=truck-3").page
    page.wait_for_selector(".hl-trail", state="attached")
    page.route(TRAIL, lambda route: route.fulfill(status=503, body="{}"))
    choose(page, "168")
    page.wait_for_selector(".hl-map-foot :text('the measurements could not be read')")
    assert page.locator(".hl-trail").count() == 0
    page.unroute(TRAIL)
    page.route(TRAIL, lambda route: route.abort())
    choose(page, "6")
    page.wait_for_timeout(500)
    page.unroute(TRAIL)
    page.wait_for_selector(".hl-trail", state="attached")


def test_the_trail_of_the_range_chosen_last_is_drawn_whatever_answer_comes_last(opened):
    page = opened("/logistics?lang=en&truck=truck-3").page
    page.wait_for_selector(".hl-trail", state="attached")
    page.evaluate("""() => {
      const ask = window.fetch;
      window.fetch = async (...asked) => {
        const answer = await ask(...asked);
        if (String(asked[0]).includes("field=lat_deg") && !window.release) {
          const found = await answer.json();
          answer.json = () => new Promise((done) => { window.release = () => done(found.slice(0, 9)); });
        }
        return answer;
      };
    }""")
    points = "document.querySelector('.hl-trail').getAttribute('points').split(' ').length"
    whole = page.evaluate(points)
    choose(page, "168")
    until(page, "!!window.release")
    choose(page, "6")
    until(page, f"{points} !== {whole}")
    page.evaluate("window.release()")
    page.wait_for_timeout(300)
    assert 9 < page.evaluate(points) < whole / 2  # of 6 h instead of 24; those cut off were of a week


def test_a_link_that_leads_to_now_does_so_from_every_range(opened):
    page = opened("/logistics?lang=en").page
    page.wait_for_selector("a.hl-truck", state="attached")
    page.locator("[data-range=earlier]").click()
    until(page, "location.search.includes('to=')")
    assert "from=" not in page.get_attribute("a.hl-truck >> nth=0", "href")


def test_who_goes_back_before_the_page_stands_has_what_the_address_says(watched, running):
    page, held = watched.page, []

    def hold(route):
        held.append(route)

    page.locator("[data-range=earlier]").click()
    until(page, "location.search.includes('to=')")
    page.goto(f"{running.server.url}/network?lang=en")
    page.wait_for_selector("select[data-range=choose]")
    page.route("**/api/site*", hold)
    page.evaluate("history.back()")
    until(page, "location.pathname === '/'")
    while not held:
        page.wait_for_timeout(50)
    page.evaluate("history.back()")
    until(page, "!location.search.includes('to=')")
    for question in held:
        question.continue_()
    page.wait_for_selector("select[data-range=choose]")
    assert page.locator("select[data-range=choose]").input_value() == "24"


def test_ranges_that_are_passed_by_are_not_asked_for(watched):
    page, asked = watched.page, []
    page.on("request", lambda r: asked.append(r.url) if HISTORY.search(r.url) else None)
    pauses = page.evaluate("""async () => {
      let pauses = 0, before = performance.now();
      for (let n = 0; n < 40; n += 1) {
        document.querySelector("[data-range=earlier]").click();
        await new Promise((done) => setTimeout(done, 5));
        if (performance.now() - before > 100) pauses += 1;
        before = performance.now();
      }
      return pauses;
    }""")
    settled(page)
    last = re.search(r"to=(\d+)", page.url).group(1)
    assert len(asked) <= 3 + 2 * pauses, (
        "each time the machine stood still is as if somebody had stopped there"
    )
    assert f"to={last}" in asked[-1]
    choose(page, "24")
    settled(page)
    assert len(hours_of(page)[1]) > 20


def test_what_is_passed_by_for_seconds_is_not_asked_for_by_the_clock_either(watched):
    page, asked = watched.page, []
    page.on("request", lambda r: asked.append(r.url) if HISTORY.search(r.url) else None)
    longest_ms = page.evaluate("""async () => {
      let longest = 0, before = performance.now();
      for (const begun = before; before - begun < 3000;) {
        document.querySelector("[data-range=earlier]").click();
        await new Promise((done) => setTimeout(done, 50));
        longest = Math.max(longest, performance.now() - before);
        before = performance.now();
      }
      return longest;
    }""")
    settled(page)
    assert len(asked) == 2 or longest_ms > 200, "of the first and of the last, unless the machine stood still"
    choose(page, "24")
    settled(page)


def test_what_is_drawn_is_dimmed_from_the_choice_on_until_it_is_the_ranges(watched):
    page = watched.page
    busy = f"document.querySelector('{HEAT}').getAttribute('aria-busy')"
    page.evaluate("Object.defineProperty(document, 'hidden', {get: () => window.away, configurable: true})")
    page.evaluate("window.away = true")
    choose(page, "6")
    assert page.evaluate(busy) == "true"
    choose(page, "24")
    assert page.evaluate(busy) is None
    choose(page, "6")
    page.evaluate("window.away = false")
    settled(page)
    assert page.evaluate(busy) is None


def test_the_focus_stays_on_the_way_to_the_next_device(opened):
    page = opened("/substation/sub-03?lang=en").page
    page.wait_for_selector(".hl-devices a")
    until(page, "document.querySelector('.hl-age')?.textContent.includes('old')")
    page.locator(".hl-devices a >> nth=1").focus()
    page.keyboard.press("[")
    until(page, "location.search.includes('to=')")
    assert page.evaluate("document.activeElement.matches('.hl-devices a')")
    assert "to=" in page.evaluate("document.activeElement.href")


def test_another_page_language_or_theme_has_the_same_range(opened):
    watched = opened("/?lang=en&hours=6")
    page = watched.page
    links = {what: f".hl-{what} a >> nth=1" for what in ("nav", "switches")}
    until(page, "document.querySelector('.hl-nav a:nth-child(2)').href.includes('hours=6')")
    assert all("hours=6" in page.get_attribute(link, "href") for link in links.values())
    choose(page, "168")
    assert all("hours=168" in page.get_attribute(link, "href") for link in links.values())
    page.locator(".hl-switches a[data-set='lang=zh']").click()
    page.wait_for_url("**lang=zh*")
    page.wait_for_selector("select[data-range=choose]")
    assert page.locator("select[data-range=choose]").input_value() == "168"
    watched.assert_quiet()


@pytest.mark.parametrize("own", ["/logistics?lang=en&truck=truck-1", "/alarms?lang=en&alarm=a%2Fb&hours=6"])
def test_another_language_has_the_same_truck_or_alarm(opened, own):
    page = opened(own).page
    page.wait_for_selector(".hl-clock b")
    page.locator(".hl-switches a[data-set='lang=zh']").click()
    page.wait_for_url("**lang=zh*")
    asked = {**parse_qs(urlsplit(own).query), "lang": ["zh"]}
    assert parse_qs(urlsplit(page.url).query) == asked


@pytest.mark.parametrize("time", ["1_000", "%D9%A3", "1e3", "9" * 5000])
def test_a_time_that_scripts_would_read_otherwise_is_refused(running, time):
    with pytest.raises(HTTPError) as refused:
        urlopen(f"{running.server.url}/?from={time}")
    assert refused.value.code == 404
    assert urlopen(f"{running.server.url}/?from=-5&to=1000").status == 200
