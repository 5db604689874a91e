"""What a dispatcher does with keys alone, and where the keyboard stands, in a real Chromium."""

import pytest

from dashboards.panels import pages
from tests.support.board_rest import running
from tests.support.board_running import browser, opened, until

__all__ = ["browser", "opened", "running"]  # fixtures

PAGES = {page.id: page for page in pages()}


def test_keys_lead_to_pages_ranges_and_help_and_can_be_turned_off(opened):
    page = opened("/?lang=en").page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "hl-skip"
    page.keyboard.press("2")
    page.wait_for_url("**/network*")
    page.wait_for_selector(".hl-clock b")
    until(page, "document.querySelector('.hl-age')?.textContent.includes('old')")
    page.keyboard.press("[")
    page.wait_for_url("**from=*to=*")
    page.wait_for_selector("[data-range=now]")
    page.keyboard.press("n")
    until(page, "!location.search.includes('from=') && !!document.querySelector('.hl-clock b')")
    page.wait_for_selector("[data-range=earlier]")
    page.keyboard.press("?")
    page.get_by_label("keys are on").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("3")
    page.wait_for_timeout(300)
    assert "/network" in page.url


AT = "document.activeElement.getAttribute('href') ?? document.activeElement.dataset.alarm"
ANEW = """async (at) => {
  const { put } = await import(document.querySelector("link[rel=modulepreload]").href.replace(/[^/]*$/, "dom.js"));
  const shown = document.querySelector(at).closest("[data-shown]");
  const children = [...shown.children].map((child) => child.cloneNode(true));
  document.activeElement.dataset.old = "";
  put(shown, "anew", () => children);
  return document.querySelectorAll("[data-old]").length;
}"""


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("/network?lang=en", ".hl-devs"),
        ("/network?lang=en", ".hl-net"),
        ("/logistics?lang=en", ".hl-map-picture"),
    ],
)
def test_one_stop_of_the_tab_key_leads_to_all_marks_of_a_drawing(opened, path, group):
    page = opened(path).page
    page.wait_for_selector(f"{group} a[tabindex='0']")
    marks = page.evaluate(f"[...document.querySelectorAll('{group} a')].map(a => a.getAttribute('href'))")
    assert len(marks) > 1
    assert page.locator(f"{group} a[tabindex='0']").count() == 1
    page.locator(f"{group} a").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(AT) == marks[1]
    page.keyboard.press("End")
    assert page.evaluate(AT) == marks[-1]
    page.keyboard.press("ArrowDown")
    assert page.evaluate(AT) == marks[-1]
    assert page.locator(f"{group} a[tabindex='0']").get_attribute("href") == marks[-1]


@pytest.mark.parametrize(
    ("path", "stop"), [("/alarms?lang=en", "tr[data-alarm]"), ("/network?lang=en", ".hl-devs a")]
)
def test_the_keyboard_stays_where_it_is_when_a_panel_is_drawn_anew(opened, path, stop):
    page = opened(path).page
    page.wait_for_selector(stop)
    page.locator(stop).last.focus()
    at = page.evaluate(AT)
    assert page.evaluate(ANEW, stop) == 0
    assert at == page.evaluate(AT)


MOVED = """async ([at, named]) => {
  const dom = await import(document.querySelector("link[rel=modulepreload]").href.replace(/[^/]*$/, "dom.js"));
  const { put, h } = dom;
  const row = (name, words) => h("tr", { [named]: name, tabindex: 0 }, h("td", {}, h("a", { href: "/substation/one" }, "one"), h("input", { "aria-label": "words" }), words));
  const lines = h("tbody");
  const box = h("div", { tabindex: 0, id: "box" }, h("table", {}, lines));
  document.querySelector(".hl").append(box);
  put(lines, "1", () => [row("a"), row("b")]);
  lines.querySelector(`[${named}=b] ${at}`).focus();
  if (at === "input") { document.activeElement.value = "half a word"; document.activeElement.setSelectionRange(4, 6); }
  put(lines, "2", () => [row("c"), row("a"), row("b")]);
  const now = document.activeElement;
  const there = [now.localName, now.closest(`[${named}]`)?.getAttribute(named), now.value, now.selectionStart, now.selectionEnd];
  put(lines, "3", () => [row("a")]);
  return [there, document.activeElement.id];
}"""


@pytest.mark.parametrize(
    ("at", "there"),
    [("a", ["a", "b", None, None, None]), ("input", ["input", "b", "half a word", 4, 6])],
)
@pytest.mark.parametrize("named", ["data-alarm", "data-row"])
def test_of_rows_that_lead_to_one_device_the_keyboard_stays_in_its_own_and_beside_it_when_it_goes(
    opened, at, there, named
):
    page = opened("/?lang=en").page
    page.wait_for_selector(".hl-attention td")
    rows = page.evaluate("[...document.querySelectorAll('.hl-attention [data-row]')].map(r => r.dataset.row)")
    assert len(set(rows)) == len(rows) > 1
    assert page.evaluate(MOVED, [at, named]) == [there, "box"]


REORDERED = """async () => {
  const { Table } = await import(document.querySelector("link[rel=modulepreload]").href.replace(/[^/]*$/, "tables.js"));
  const device = (id) => ({ id, name: id });
  let rows = new Map();
  const context = { t: (x) => x, url: (x) => x, metered: () => true, site: { byId: { get: device } }, live: { now: 1, rows: () => rows } };
  const columns = [{ field: "key", unit: "device", label: "device" }];
  const table = new Table({ id: "some", feeds: ["some"], codes: [], states: [], unknown: [], columns }, context);
  document.querySelector(".hl").append(table.body);
  const shown = (...keys) => {
    rows = new Map(keys.map((key, n) => [key, { key, window_start: -n }]));
    table.update();
    return [...table.body.querySelectorAll("a")].map((a) => a.textContent).join("");
  };
  shown("a", "b", "c");
  table.body.querySelectorAll("a")[2].focus();
  return [shown("c", "a", "b"), document.activeElement.textContent, shown("a"), document.activeElement === table.body];
}"""


def test_the_keyboard_goes_along_with_a_row_of_a_table(opened):
    page = opened("/?lang=en").page
    page.wait_for_selector(".hl-attention td")
    assert page.evaluate(REORDERED) == ["cab", "c", "a", True]


def test_focus_is_seen_wherever_it_goes(opened):
    page = opened("/?lang=en").page
    page.wait_for_selector(".hl-attention td")
    page.keyboard.press("Tab")
    for _ in range(25):
        page.keyboard.press("Tab")
        shown = page.evaluate("(e => [e.tagName, getComputedStyle(e).outlineStyle])(document.activeElement)")
        assert shown[1] != "none", shown
