"""What a dispatcher does with the board and sees drawn of it, in a real Chromium."""

import pytest

from dashboards.language import catalogue
from dashboards.panels import pages
from tests.support.board_rest import running
from tests.support.board_running import browser, opened, stand, taken, until, until_here

__all__ = ["browser", "opened", "running"]  # fixtures

PAGES = {page.id: page for page in pages()}


def test_the_numbers_of_a_chart_are_those_of_the_store(opened, running):
    page = opened("/?lang=en").page
    stand(page, PAGES["overview"])
    rows = taken(page, "heat_windows")
    assert rows[0] == ["series", "key", "name", "time", "utc", "value", "unit", "state"]
    mine = next(r for r in rows if r[0] == "plant" and r[4] == "2026-01-08T06:00:00.000Z")
    answer = page.evaluate("fetch('/api/query?measurement=device_heat&key=plant-1').then(r => r.json())")
    stored = next(r for r in answer if r["window_start"] == 1_767_852_000_000)
    assert float(mine[5]) == pytest.approx(stored["heat_gj"], abs=1e-6)
    assert mine[3] == "2026-01-08T14:00:00"


def test_a_range_is_compared_with_the_one_before(opened, running):
    watched = opened("/network?lang=en&hours=6")
    page = watched.page
    asked = []
    page.on("request", lambda r: asked.append(r.url) if "network_pressure/history" in r.url else None)
    page.locator("[data-range=compare]").click()
    until(page, "document.querySelector('[data-range=compare]')?.getAttribute('aria-pressed') === 'true'")
    page.wait_for_selector("#panel-network_pressure canvas")

    def pairs():
        spans = [tuple(int(u.split(f"{n}=")[1].split("&")[0]) for n in ("from", "to")) for u in asked]
        return [(a, b) for a in spans for b in spans if b[1] == a[0] and b[1] - b[0] == a[1] - a[0]]

    until_here(page, pairs)
    watched.assert_quiet()


ON_PAPER = """() => {
  const [frame, ledger] = [".hl", "#panel-ledger .hl-scroll"].map(x => document.querySelector(x));
  return {
    paper: frame.classList.contains("hl-paper"), dark: frame.classList.contains("hl-dark"),
    width: frame.clientWidth, whole: !ledger || ledger.scrollHeight <= ledger.clientHeight + 1,
    pressed: [...document.querySelectorAll(".hl-nav, .hl-tools, .hl-switches")].filter(e => e.offsetParent).length,
    charts: [...document.querySelectorAll(".hl-chart canvas")].map(
      e => [e.clientWidth - e.closest(".hl-chart").clientWidth, e.clientHeight - e.closest(".hl-chart").clientHeight]),
  };
}"""


@pytest.mark.parametrize("path", ["/trust?lang=en", "/?lang=zh&theme=dark"])
def test_on_paper_there_is_nothing_to_press_and_nothing_is_cut_off(opened, path):
    page = opened(path).page
    page.wait_for_selector(".hl-chart canvas")
    page.evaluate(f"window.addEventListener('beforeprint', () => {{ window.printed = ({ON_PAPER})(); }})")
    page.pdf(format="A4", landscape=True)
    printed = page.evaluate("window.printed")
    assert (printed["paper"], printed["dark"], printed["whole"], printed["pressed"]) == (True, False, True, 0)
    assert printed["charts"]
    assert all(gap == [0, 0] for gap in printed["charts"]), (
        "a chart is as large as its card, not as on the screen"
    )
    until(page, "() => !document.querySelector('.hl-paper')")
    shown = page.evaluate(ON_PAPER)
    assert shown["dark"] == ("dark" in path)
    assert shown["width"] > printed["width"]


def test_an_event_is_entered_by_hand_once_confirmed(opened, running):
    running.actions.entered.clear()
    watched = opened("/water?lang=en")
    page = watched.page
    page.locator("[data-enter]").click()
    page.get_by_label("volume, m³").fill("12.5")
    page.get_by_role("button", name="go on").click()
    page.wait_for_selector(
        ".hl-entry-says:has-text('12.5 m³ of network net-1 at now counts as authorised water')"
    )
    assert running.actions.entered == []
    page.locator("[data-enter=yes]").click()
    page.wait_for_selector(".hl-entry-says:has-text('who: expected the name of a person, got none')")
    page.get_by_label("your name").fill("李")
    page.get_by_role("button", name="go on").click()
    watched.assert_accessible()
    page.locator("[data-enter=yes]").click()
    page.wait_for_selector(".hl-entry-says:has-text('Entered as board-1.')")
    (asked,) = running.actions.entered
    assert asked == {
        "event": "flush",
        "network": "net-1",
        "volume_m3": "12.5",
        "at": "",
        "note": "",
        "who": "李",
    }
    watched.assert_quiet()


def test_a_network_is_drawn_with_its_pipes_and_substations(opened):
    page = opened("/network?lang=en").page
    page.wait_for_selector("#panel-network_drawing line")
    assert page.locator("#panel-network_drawing line").count() == 30
    assert page.locator("#panel-network_drawing a").count() == 31
    widths = [
        float(x.get_attribute("stroke-width")) for x in page.locator("#panel-network_drawing line").all()
    ]
    assert max(widths) > 2 * min(widths)
    page.wait_for_selector("#panel-pressure_profile canvas")


WARM = """async () => {
  const from = document.querySelector("link[rel=modulepreload]").href.replace(/[^/]*$/, "");
  const { Deviations, departures } = await import(from + "deviations.js");
  const row = (key, network, return_c) => ({ key, network, return_c, class: "substation", id: key, name: key });
  const all = [row("a", "n", 40), row("b", "n", 41), row("c", "n", 44), row("d", "m", 60), row("e", "m", 52), row("f", "m", 50), row("g", "m", 90), row("h", "m", NaN),
    { ...row("i", null, 20), unit: "u" }, { ...row("j", null, 95), unit: "v" }];
  const live = { now: 1, believed: () => new Map(all.map((x) => [x.key, x])), state: (d) => ({ state: d.id === "g" ? "silent" : "fresh" }) };
  const context = { live, site: { devices: all }, t: (x) => x, f: { number: (x) => x.toFixed(1) }, url: (x) => x };
  const strip = new Deviations({}, context);
  strip.update();
  return {
    by: [...departures(context)].map(([id, x]) => [id, x.by]),
    bars: [...strip.body.querySelectorAll(".hl-dev")].map((x) => [x.getAttribute("aria-label"), x.textContent, x.className.split("-").at(-1)]),
    says: strip.body.querySelector(".hl-devs-says").innerText,
  };
}"""


def test_a_return_is_measured_by_those_of_its_own_network_and_the_warmest_stand_first(opened):
    page = opened("/network?lang=en").page
    page.wait_for_selector("#panel-return_deviations .hl-dev")
    found = page.evaluate(WARM)
    assert dict(found["by"]) == {
        "a": -1, "b": 0, "c": 3, "d": 8, "e": 0, "f": -2, "g": None, "h": None, "i": 0, "j": 0,
    }  # fmt: skip
    assert found["bars"] == [
        ["d: +8.0 K", "3", "warm"],
        ["c: +3.0 K", "3", "warm"],
        ["b: +0.0 K", "", "usual"],
        ["e: +0.0 K", "", "usual"],
        ["i: +0.0 K", "", "usual"],
        ["j: +0.0 K", "", "usual"],
        ["a: −1.0 K", "", "usual"],
        ["f: −2.0 K", "", "usual"],
        ["g: silent", "✕", "silent"],
        ["h: unknown", "?", "fresh"],
    ]
    assert "2" in found["says"]
    assert "silent 1" in found["says"]


USUAL = """async () => {
  const from = document.querySelector("link[rel=modulepreload]").href.replace(/[^/]*$/, "");
  const { Deviations } = await import(from + "deviations.js");
  const all = ["a", "b"].map((id) => ({ id, key: id, name: id, network: "n", class: "substation", return_c: 40 }));
  const live = { now: 1, believed: () => new Map(all.map((x) => [x.key, x])), state: () => ({ state: "fresh" }) };
  const strip = new Deviations({}, { live, site: { devices: all }, t: (x) => x, f: { number: String }, url: (x) => x });
  strip.update();
  return [...strip.body.childNodes].map((x) => x.className ?? x.textContent);
}"""


def test_a_strip_of_which_nothing_is_to_be_said_says_nothing(opened):
    page = opened("/network?lang=en").page
    page.wait_for_selector("#panel-return_deviations .hl-dev")
    assert page.evaluate(USUAL) == ["hl-devs-scale", "hl-devs-bars"]


CHANGES = """async ([was, became, texts]) => {
  const from = document.querySelector("link[rel=modulepreload]").href.replace(/[^/]*$/, "");
  const { changes } = await import(from + "tables.js");
  const t = (text, of = {}) => (texts?.[text] ?? `<${text}>`).replace(/\\{(\\w+)\\}/g, (_, name) => of[name]);
  return changes({ was: JSON.stringify(was), became: JSON.stringify(became) }, { t, f: { percent: (x) => `${100 * x}` } });
}"""
SIGNED = '[{"ref": "K1", "at": 1796074415981, "person": "李", "reason": "misread; twice", "mass_kg": 44000}]'


@pytest.mark.parametrize(
    ("was", "became", "language", "said"),
    [
        # As a reason the same word says that coverage is too low.
        ({"heat_gj": None, "coverage": 0, "status": "unknown"},
         {"heat_gj": 1.25, "coverage": 0.8135, "status": "final"}, "",
         "<heat_gj>: <unknown> → 1.25; <coverage of the window> %: 0 → 81.35; <status>: <unknown> → <final>"),
        ({"correction": None, "flags": "overload"}, {"correction": SIGNED, "flags": "overload;corrected"}, "",
         "<correction>: <unknown> → 李: misread; twice; <flags>: <overload> → <overload>, <corrected>"),
        ({"outdoor_12h_c": -3}, {"outdoor_12h_c": -4.5}, "en", "outdoor temperature in 12 h °C: -3 → -4.5"),
        ({"outdoor_12h_c": -3}, {"outdoor_12h_c": -4.5}, "zh", "12 小时后室外温度 °C: -3 → -4.5"),
    ],
    ids=["coverage", "correction", "forecast-en", "forecast-zh"],
)  # fmt: skip
def test_what_a_restatement_changed_is_said_in_words(opened, was, became, language, said):
    page = opened("/trust?lang=en").page
    page.wait_for_selector("#panel-restatements")
    assert page.evaluate(CHANGES, [was, became, catalogue(language) if language else None]) == said


LARGEST = """async () => {
  const from = document.querySelector("link[rel=modulepreload]").href.replace(/[^/]*$/, "");
  const { Attention } = await import(from + "attention.js");
  const rows = [["a", "n", 40], ["b", "n", 41], ["c", "n", 44], ["d", "m", 60], ["e", "m", 52], ["f", "m", 50]];
  const devices = new Map(rows.map(([id, network]) => [id, { id, network, class: "substation" }]));
  const live = { rows: () => new Map(rows.map(([key, , return_c]) => [key, { key, return_c }])) };
  const f = { number: (x) => x.toFixed(1) };
  const context = { live, site: { byId: devices }, f, t: (text, of) => of.value };
  return Attention.prototype.deviations.call({ context }).map((x) => [x.device.id, x.what, x.much]);
}"""


def test_the_largest_deviations_are_from_the_middle_of_their_own_network(opened):
    page = opened("/?lang=en").page
    page.wait_for_selector(".hl-clock b")
    assert page.evaluate(LARGEST) == [["d", "52.0", "+8.0 K"], ["c", "41.0", "+3.0 K"]]


def test_pipes_that_are_there_before_the_library_that_draws_wait_for_it(opened):
    watched = opened("/network?lang=en")

    held = []

    def hold(route):
        held.append(route)

    watched.page.route("**/esm/**/index.js", hold)
    watched.page.reload(wait_until="commit")
    watched.page.wait_for_selector("#panel-network_drawing line")
    assert watched.page.locator("#panel-pressure_profile canvas").count() == 0
    for route in held:
        route.continue_()
    watched.page.wait_for_selector("#panel-pressure_profile canvas")
    watched.assert_quiet()


LONE = """async () => {
  const from = document.querySelector("link[rel=modulepreload]").href.replace(/[^/]*$/, "");
  const { LineChart } = await import(from + "charts.js");
  const chart = new LineChart({ f: { shifted: (t) => t } });
  const panel = { series: [{ label: "a", unit: "", colour: "a" }] };
  const points = [1, null, 3, 4].map((v, t) => ({ t, v, f: 0 }));
  return chart.line({ index: 0 }, points, panel, [""]).data.map((x) => x.symbolSize ?? 0);
}"""


def test_a_point_between_gaps_is_drawn_though_no_line_meets_it(opened):
    page = opened("/?lang=en").page
    page.wait_for_selector("#panel-heat_windows canvas")
    assert page.evaluate(LONE) == [6, 0, 0, 0]
