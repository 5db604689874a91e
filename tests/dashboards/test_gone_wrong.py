"""What the board says when something is gone or goes wrong around it, in a real Chromium."""

import pytest

from dashboards.panels import pages
from store.protocol import StoreUnavailableError
from tests.support.board_rest import running
from tests.support.board_running import browser, opened, until

__all__ = ["browser", "opened", "running"]  # fixtures

PAGES = {page.id: page for page in pages()}


def test_a_device_that_is_gone_is_said_and_a_range_of_ten_years_drawn(opened, browser, running):
    context = browser.new_context()
    page = context.new_page()
    page.goto(running.server.url + "/substation/sub-99?lang=en")
    assert "This cannot be shown" in page.inner_text("body"), "the page is there, its device is not"
    why = page.inner_text("body")
    assert "expected a device of the registry, got 'sub-99'" in why
    assert "it may have been taken out of the registry, or renamed" in why
    page.get_by_text("Go to the overview").click()
    page.wait_for_selector(".hl-clock b")
    page.goto(running.server.url + "/substation/sub-99?lang=zh")
    assert "台账中没有该设备：'sub-99' · 可能已从台账中移除或改名" in page.inner_text("body")
    context.close()
    page = opened(f"/?lang=en&from={running.now_ms - 3653 * 86_400_000}&to={running.now_ms}").page
    page.wait_for_selector("#panel-heat_windows canvas")


@pytest.mark.parametrize(("language", "title"), [("en", "This page does not exist"), ("zh", "该页面不存在")])
def test_an_address_that_leads_nowhere_says_so(browser, running, language, title):
    context = browser.new_context()
    page = context.new_page()
    answer = page.goto(f"{running.server.url}/nowhere/<b>x</b>?lang={language}&theme=dark")
    assert answer.status == 404
    assert title in page.inner_text("body")
    assert page.locator("b").count() == 0
    answer = page.goto(f"{running.server.url}/?lang={language}&from=99999999999999999999")
    assert answer.status == 404
    assert "from" in page.inner_text("main")
    assert title not in page.inner_text("main"), "the page is there, its range is not"
    answer = page.goto(f"{running.server.url}/?lang={language}&from=tomorrow")
    assert answer.status == 404
    assert "2026-01-31T08:00" in page.inner_text("main"), "what would have been understood"
    for hours in ("99999", "-3", "0", "many", "1" * 30):
        answer = page.goto(f"{running.server.url}/?lang={language}&hours={hours}")
        assert answer.status == 404
        assert "8784" in page.inner_text("main"), "the range that is shown is the one that was asked for"
    assert page.request.get(f"{running.server.url}/api/nowhere").headers["content-type"] == "application/json"
    context.close()


@pytest.mark.parametrize(
    ("asked", "leads_to"),
    [
        ("from=2026-01-08&to=2026-01-08T12:30", "from=1767801600000&to=1767846600000"),
        ("from=2026-01-08T00:00:00Z&to=2026-01-08T12:30:00%2B08:00", "from=1767830400000&to=1767846600000"),
        ("unit=donghe&from=2026-01-08T01:00:00+08:00&hours=6", "unit=donghe&from=1767805200000&hours=6"),
        ("from=1767801600000&to=2026-01-09", "from=1767801600000&to=1767888000000"),
    ],
)
def test_a_range_in_dates_is_that_of_the_sites_days(browser, running, asked, leads_to):
    context = browser.new_context()
    page = context.new_page()
    assert page.goto(f"{running.server.url}/?{asked}").status == 200
    assert page.url == f"{running.server.url}/?{leads_to}"
    context.close()


@pytest.mark.parametrize("asked", ["from=2026-13-01", "to=0000-01-01", "from=99999-01-01", "from=-2026-01"])
def test_a_date_that_is_none_is_refused(browser, running, asked):
    assert browser.new_page().goto(f"{running.server.url}/?{asked}").status == 404


def test_a_range_beyond_what_scripts_can_tell_is_refused(browser, running):
    """The page stayed empty, and said that it was connecting."""
    page = browser.new_page()
    assert page.goto(f"{running.server.url}/?from={-(2**53)}&to={2**53}").status == 404
    page.goto(f"{running.server.url}/?lang=en&from=-8639827200000000&to=8639827200000000")
    page.wait_for_selector(".hl-clock b")


def test_a_range_of_another_year_names_it_and_one_yet_to_come_is_said(opened, running):
    page = opened("/?lang=en&from=2016-03-01&to=2026-01-08").page
    page.wait_for_selector(".hl-clock b")
    chosen = "document.querySelector('select[data-range=choose]').selectedOptions[0].innerText"
    assert page.evaluate(chosen) == "01/03/2016, 00:00 – 08/01/2026, 00:00"
    page = opened("/?lang=en&from=2026-01-07&to=2026-01-08").page
    page.wait_for_selector(".hl-clock b")
    assert page.evaluate(chosen) == "07/01, 00:00 – 08/01, 00:00"
    page = opened("/?lang=en&from=2027-03-01").page
    said = (
        "the range of this address begins at 01/03/2027, 00:00, which is yet to come: shown are the last 24 h"
    )
    page.wait_for_selector(f".hl-notice:has-text('{said}')")


@pytest.mark.parametrize("path", ["/", "/substation/sub-03"])
def test_a_lost_connection_is_said_on_the_line_that_is_there(opened, running, path):
    """With alarms of three priorities, too."""
    page = opened(f"{path}?lang=en").page
    page.wait_for_selector(".hl-age:has-text('old')")
    height = "document.querySelector('.hl-header').offsetHeight"
    assert page.evaluate(height) == 50
    page.evaluate("""() => {
      const [mark] = document.querySelectorAll('.hl-alarms .hl-mark');
      for (let n = document.querySelectorAll('.hl-alarms .hl-mark').length; n < 3; n += 1) {
        document.querySelector('.hl-alarms').append(mark.cloneNode(true), ' × 12 ');
      }
      window.socket.disconnect();
    }""")
    page.wait_for_selector(".hl-age:has-text('connection lost, trying again')")
    assert page.evaluate(height) == 50
    whole = "(e => e.scrollWidth <= e.clientWidth)(document.querySelector('.hl-age'))"
    assert page.evaluate(whole), "what is wrong can be read"
    covers = "document.querySelector('.hl-scope').lastChild.getBoundingClientRect().right"
    assert page.evaluate(f"{covers} <= document.querySelector('.hl-live').getBoundingClientRect().left")
    inside = "document.querySelector('.hl-switches').getBoundingClientRect().right <= innerWidth"
    assert page.evaluate(inside)


def test_a_page_that_cannot_be_made_says_so(browser, running, monkeypatch):
    def broken(*_):
        raise RuntimeError("broken for a test")

    monkeypatch.setattr("dashboards.board.frame", broken)
    context = browser.new_context()
    page = context.new_page()
    answer = page.goto(f"{running.server.url}/?lang=zh")
    assert answer.status == 500
    assert "该页面无法生成" in page.inner_text("body")
    assert "broken for a test" not in page.content()
    context.close()


def test_links_to_what_is_gone_say_so(opened):
    page = opened("/alarms?lang=en&alarm=nobody").page
    page.wait_for_selector("#panel-alarm_detail :text('alarm nobody is not open')")
    page = opened("/logistics?lang=en&truck=nobody").page
    page.wait_for_selector(".hl-map-foot :text('no positions of nobody in this time')")


def test_a_browser_whose_clock_is_off_changes_nothing(browser, running):
    context = browser.new_context()
    context.add_init_script("const real = Date.now; Date.now = () => real() - 10 * 365 * 86400000;")
    page = context.new_page()
    page.goto(running.server.url + "/?lang=en")
    until(page, "document.querySelector('.hl-age')?.textContent.includes('old')")
    assert page.inner_text(".hl-clock b").startswith("17:0")
    assert page.get_attribute(".hl-clock", "title").startswith("08/01/2026")
    context.close()


def test_a_store_that_goes_away_is_said_and_comes_back_by_itself(opened, running, monkeypatch):
    page = opened("/?lang=en").page
    until(page, "document.querySelector('.hl-age')?.textContent.includes('old')")

    def away(*_):
        raise StoreUnavailableError("the store is restarting")

    with monkeypatch.context() as patched:
        patched.setattr(running.day.store, "select", away)
        page.wait_for_selector(".hl-age:has-text('the store cannot be read: the store is restarting')")
        assert "◆1" in page.inner_text(".hl-age")
        late = opened("/?lang=en&region=north").page  # nobody has read of this region alone yet
        late.wait_for_selector(".hl-age:has-text('the store cannot be read')")
        unread = "getComputedStyle(document.querySelector('#panel-state_matrix'), '::after').content"
        until(late, f"{unread} === '\"not read yet\"'")
        assert late.locator(".hl-square").count() == 0, "a device that nobody read of is not a silent one"
        why = "e => e.innerText === '◆3 cannot be read: the store is away'"
        until(late, f"[...document.querySelectorAll('.hl-trouble')].some({why})")
    until(late, "!document.querySelector('.hl-unread')")
    until(page, "/^data .* old$/.test(document.querySelector('.hl-age')?.textContent)")


@pytest.mark.parametrize(("language", "said"), [("en", "en"), ("zh", "zh-CN")])
def test_a_page_of_a_device_that_is_gone_names_its_language(browser, running, language, said):
    page = browser.new_page()
    page.goto(f"{running.server.url}/substation/gone?lang={language}")
    page.wait_for_selector(".hl-apology a")
    assert page.evaluate("document.documentElement.lang") == said
    assert page.locator(".hl-nav .hl-here[aria-current=page]").count() == 1
    page.close()
