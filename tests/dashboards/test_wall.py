"""A wall that turns its pages by itself, in a real Chromium."""

from contextlib import suppress
from dataclasses import replace
from itertools import cycle
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Error

from alerts.action import ALARM_STREAM
from alerts.alarm import Phase
from alerts.rows import alarm_tables
from models.results import Outputs
from store.protocol import StoreUnavailableError
from tests.support.board_running import DESK, TWO_LOOKS, browser, opened, running, until, until_here

__all__ = ["browser", "opened", "running"]  # fixtures

TURNED = ["/network", "/water", "/logistics", "/contracts", "/coal", "/alarms", "/trust", "/"]
SAID = "document.querySelector('.hl-wall span')?.textContent ?? ''"
TOUCHED = "at => sessionStorage.setItem('hl_wall_touched', String(Date.now() - at))"


def alarm(running, phase):
    """Put the alarm of priority 1 into `phase`."""
    out = Outputs(ALARM_STREAM)
    for name, table in alarm_tables([replace(running.alarms[0], phase=phase)], ALARM_STREAM).items():
        out.add(name, table)
    running.day.store.write([out])


@pytest.fixture
def calm(running):
    alarm(running, Phase.ACKNOWLEDGED)
    yield
    alarm(running, Phase.RAISED)


def path_of(page):
    return urlsplit(page.url).path


def went(page):
    """Paths of the pages that follow, as they come."""
    found = []
    page.on("framenavigated", lambda frame: found.append(urlsplit(frame.url).path))
    return found


def waited(page, found, count):
    for _ in range(count):  # each page has its time
        seen = len(found)
        if seen >= count:
            return
        until_here(page, lambda seen=seen: len(found) > seen)


def touch(page, key=""):
    """Move the pointer, or press a key, until the page, be it a new one, says that somebody is there."""
    ways = cycle([(400, 400), (440, 440)])  # the first is where the pointer lies

    def paused():
        page.keyboard.press(key) if key else page.mouse.move(*next(ways))
        return said(page, "paused")

    until_here(page, paused)


def said(page, begins):
    """Whether it says so now; nothing is said between two pages."""
    with suppress(Error):
        return page.evaluate(f"({SAID}).startsWith('{begins}')")
    return False


def go_on(page):
    """Press the button, and take the hand away in time: a machine may stand still longer than a hand is given."""

    def turning():
        page.locator("[data-wall=on]").click()
        until(page, f"({SAID}).startsWith('⟳')")
        page.mouse.move(700, 700)
        return not said(page, "paused")

    until_here(page, turning)


@pytest.mark.usefixtures("calm")
@pytest.mark.parametrize("first", ["/alarms", pytest.param("/", marks=pytest.mark.soak)])
def test_pages_turn_round_and_round_in_the_language_theme_scope_and_range_of_the_first(opened, first):
    found = []
    watched = opened(
        f"{first}?wall=5&lang=en&theme=dark&region=north&hours=6",
        before=lambda page: found.append(went(page)),
    )
    (found,) = found
    expected = ["/", *TURNED, "/network"]
    expected = expected[expected.index(first) :]
    waited(watched.page, found, len(expected))
    assert found[: len(expected)] == expected
    asked = parse_qs(urlsplit(watched.page.url).query)
    assert asked == {"wall": ["5"], "lang": ["en"], "theme": ["dark"], "region": ["north"], "hours": ["6"]}
    assert watched.page.evaluate("history.length") <= 2
    watched.assert_quiet()


@pytest.mark.usefixtures("calm")
def test_a_touch_pauses_says_so_and_it_goes_on_by_a_button_or_after_two_minutes(opened):
    page = opened("/?wall=5&lang=en").page
    touch(page)
    found = went(page)
    page.wait_for_timeout(7000)
    assert found == []
    page.locator(".hl-nav a", has_text="Water").click()  # who goes elsewhere is left alone there
    waited(page, found, 1)
    until(page, f"({SAID}).startsWith('paused: ')")
    go_on(page)
    waited(page, found, 2)
    assert found[:2] == ["/water", "/logistics"]
    touch(page, "Shift")
    here = path_of(page)
    found.clear()
    page.evaluate(TOUCHED, 118_000)
    page.reload()
    waited(page, found, 2)
    assert found[:2] == [here, TURNED[TURNED.index(here) + 1]]


def test_an_alarm_of_priority_1_holds_the_alarms_page_until_somebody_acknowledges_it(opened, running):
    page = opened("/?wall=600&lang=zh").page
    page.wait_for_url("**/alarms?*")  # at once, not after its ten minutes
    until(page, f"({SAID}) === '停留：1 级告警'")
    page.evaluate(TOUCHED, 0)
    page.goto(page.url.replace("/alarms", "/water"))
    until(page, f"({SAID}).startsWith('已暂停')")  # whoever is at work is not led away
    page.wait_for_timeout(2500)
    assert path_of(page) == "/water"
    page.goto(page.url.replace("/water", "/alarms").replace("wall=600", "wall=5"))
    page.locator("[data-wall=on]").click()
    until(page, f"({SAID}) === '停留：1 级告警'")
    page.wait_for_timeout(6000)
    assert path_of(page) == "/alarms"
    alarm(running, Phase.ACKNOWLEDGED)
    page.wait_for_url("**/trust?*")
    alarm(running, Phase.RAISED)


@pytest.mark.usefixtures("calm")
def test_a_server_or_a_store_that_is_away_is_waited_for(opened, running, monkeypatch):
    page = opened("/?wall=15&lang=en").page  # time enough to cut it off
    until(page, f"({SAID}).startsWith('⟳')")
    page.context.set_offline(True)
    until(page, f"({SAID}) === 'stays: no answer'")
    page.wait_for_timeout(4000)
    assert path_of(page) == "/"
    page.context.set_offline(False)
    page.wait_for_url("**/network?*")

    def away(*_):
        raise StoreUnavailableError("the store is restarting")

    with monkeypatch.context() as patched:
        patched.setattr(running.day.store, "select", away)
        until(page, f"({SAID}) === 'stays: no answer'")
        page.wait_for_timeout(4000)
        assert path_of(page) == "/network"
    page.wait_for_url("**/water?*")


@pytest.mark.usefixtures("calm")
def test_a_page_that_cannot_be_made_is_passed_over_and_one_without_its_scripts_comes_again(opened):
    broken, found = [], []  # broken: asked for by the page's head and by itself

    def once(route):
        if urlsplit(route.request.frame.url).path == "/water":
            broken.append(route.request.url)
        route.abort() if 0 < len(broken) <= 2 else route.continue_()

    def prepared(page):
        page.route("**/network?*", lambda route: route.fulfill(status=500, body="cannot be made"))
        page.route("**/assets/*/index.js", once)
        found.append(went(page))

    page = opened("/?wall=5&lang=en", before=prepared).page
    (found,) = found
    waited(page, found, 4)
    assert found[:4] == ["/", "/water", "/water", "/logistics"]


@pytest.mark.usefixtures("calm")
def test_a_region_that_leaves_the_registry_is_not_taken_for_a_server_that_is_away(opened):
    page = opened("/?wall=15&lang=en&region=north").page  # time enough to take it away
    page.evaluate("history.replaceState(null, '', location.href.replace('north', 'gone'))")
    until(page, f"({SAID}) === 'stays: no such page'")


@pytest.mark.usefixtures("calm")
@pytest.mark.parametrize(
    ("asked", "seconds"),
    [("1", "5"), ("3601", "3600"), pytest.param("0", "5", marks=pytest.mark.soak), ("45", "45")],
)
def test_it_turns_no_faster_and_no_slower(opened, asked, seconds):
    # What it says is left, and that with the page's age: a page that was long in coming says less.
    look = f"""setInterval(() => {{
      const told = Number((({SAID}) ?? "").match(/^⟳ (\\d+) s$/)?.[1] ?? 0);
      if (!told) return;
      window.most = Math.max(window.most ?? 0, told);
      window.least = Math.min(window.least ?? Infinity, told + performance.now() / 1000);
    }}, 20)"""
    page = opened(f"/water?wall={asked}&lang=en", before=lambda page: page.add_init_script(look)).page
    most, least = until(page, "window.most && [window.most, window.least]")
    assert most <= int(seconds) <= least


@pytest.mark.usefixtures("calm")
def test_a_key_begins_and_ends_it(opened):
    page = opened("/water?wall=no&lang=en").page
    assert page.locator(".hl-wall").count() == 0
    page.keyboard.press("?")
    assert "turn the pages by themselves, or no more" in page.inner_text("dialog")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    page.keyboard.press("w")
    until(page, "location.search.includes('wall=30')")
    until(page, f"({SAID}).startsWith('⟳')")
    page.keyboard.press("w")
    until(page, "!location.search.includes('wall') && document.querySelector('.hl-clock b')")
    assert page.locator(".hl-wall").count() == 0


@pytest.mark.parametrize(("language", "size"), TWO_LOOKS)
def test_what_it_says_fits_the_frame(opened, language, size):
    watched = opened(f"/alarms?wall=5&lang={language}", size)
    page = watched.page
    page.keyboard.press("Shift")
    page.wait_for_selector("[data-wall=off]")
    page.wait_for_timeout(600)
    wide, high, head = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.scrollHeight, "
        "document.querySelector('.hl-header').offsetHeight]"
    )
    assert wide <= size["width"]
    if size is DESK:
        assert (high <= size["height"], head) == (True, 50)
    watched.assert_quiet()
    watched.assert_accessible()
