"""What a dispatcher does with the board, and what goes wrong around it, in a real Chromium."""

import re

import pytest
from PIL import Image

from dashboards.language import catalogue
from dashboards.panels import pages
from store.protocol import Select, StoreUnavailableError
from tests.support.board_data import DAY_MS
from tests.support.board_query import CHARTS, TABLES, Asked, iso, number, read_cells, rows
from tests.support.board_rest import running
from tests.support.board_running import browser, opened, stand, taken, until, until_here

__all__ = ["browser", "opened", "running"]  # fixtures

PAGES = {page.id: page for page in pages()}


@pytest.mark.parametrize("name", PAGES)
def test_every_panel_can_be_taken_along_as_csv_with_the_numbers_that_query_prints(opened, running, name):
    shown = PAGES[name]
    since_ms = running.now_ms - (
        DAY_MS // 8 if name == "network" else DAY_MS
    )  # many readings, of all devices
    asked = Asked(running.server.url, running.day.site, running.now_ms, since_ms, "sub-03")
    span = f"from={asked.from_ms}&to={asked.now_ms + 1}"
    watched = opened(f"{shown.path.replace('{device}', asked.device)}?lang=en&{span}")
    page = watched.page
    stand(page, shown)
    files = {p.id: until_here(page, lambda p=p: filled(taken(page, p.id))) for p in shown.panels}
    for panel in shown.panels:
        told = files[panel.id][1:]
        if panel.kind in CHARTS and panel.series:
            expected = asked.history(panel)
            found = {(r[0].lstrip("'"), r[1], r[4]): r[5] for r in told}
            assert found.keys() == expected.keys(), panel.id
            wrong = {k: (v, found[k]) for k, v in expected.items() if not same(v, found[k])}
            assert (wrong, found == {}) == ({}, False), panel.id
        elif panel.kind in TABLES:
            expected = asked.table(shown, panel)
            assert (read_cells(panel, told), expected == []) == (expected, False), panel.id
            assert all(head == head.strip() for head in files[panel.id][0]), panel.id
            aged = [i for i, (_, _, unit) in enumerate(panel.columns) if unit == "age"]
            assert all(re.fullmatch(r"(\d{4}-\d\d-\d\dT[\d:.]+Z)?", row[i]) for row in told for i in aged), (
                panel.id
            )
        elif panel.id == "reporting":
            meters = [d for d in running.day.site.devices.values() if d.device_class != "office"]
            *states, registered = map(int, told[0])
            assert (sum(states), registered) == (len(meters), len(meters))
        elif panel.kind in DRAWN:
            assert DRAWN[panel.kind](asked, shown, panel, told), panel.id
    watched.assert_quiet()


def filled(rows):
    """Rows of a panel that has something: what is drawn from an answer of its own comes a moment later."""
    return rows if any(any(row) for row in rows) else None


def same_terms(asked, page, panel, told):
    """A waterfall has the terms of its window."""
    return told and all(
        [number(x) for x in row[2:-1]] == asked.balance(page, panel, row[0], row[1].replace(".000Z", "Z"))
        for row in told
    )


def same_pressures(asked, _page, panel, told):
    """A profile has the newest pressures of every device on it."""
    fields = [s.field for s in panel.series]
    return told and all(
        [float(x) for x in row[3:]] == [asked.newest(row[0])[f] for f in fields] for row in told
    )


def same_deviations(asked, _page, panel, told):
    """Bars stand by how far the newest return is from the middle of those that are fresh; the others at the end."""
    fresh = [row for row in told if row[4] == "fresh"]
    returns = {row[0]: asked.newest(row[0])["return_c"] for row in fresh}
    middle = sorted(returns.values())[len(returns) // 2]
    above = [float(row[3]) for row in fresh]
    return (
        len(fresh) > 20
        and told[: len(fresh)] == fresh
        and {row[3] for row in told[len(fresh) :]} == {""}
        and {row[0]: float(row[2]) for row in fresh} == returns
        and above == pytest.approx([returns[row[0]] - middle for row in fresh], abs=1e-9)
        and above == sorted(above, reverse=True)
    )


def same_newest(asked, _page, panel, told):
    """A process drawing has the newest readings, as many digits as their unit is read with."""
    words = {row[0] for row in told}
    newest = asked.newest(asked.device)
    expected = {f"{read(newest[x.field], x.unit)} {x.unit}" for x in panel.series}
    return expected <= {w.removeprefix("outdoor ") for w in words}


def read(value, unit):
    """Whole kPa and %, tenths of the rest, from a thousand on a digit less."""
    digits = 0 if unit in {"kPa", "%"} or abs(value) >= 1000 else 1
    return f"{value:,.{digits}f}"


def same_bars(asked, _page, _panel, told):
    """Bars have what each contract has reached, and what is due of its plan by now."""
    newest = rows(asked.url, Select("fulfilment", latest=True))
    expected = {
        r["contract"]: [
            r["rate_pct"], 100 * r["planned_to_date_kg"] / r["planned_kg"], r.get("forecast_pct"), r.get("shortfall_p"),
        ]
        for r in newest if "rate_pct" in r
    }  # fmt: skip
    return told and expected == {
        row[0]: [None if cell == "" else float(cell) for cell in row[1:]] for row in told
    }


def same_trucks(asked, _page, _panel, told):
    """A map has the newest position of every truck, with its time and what it carries."""
    trips = {r["plate"]: r for r in rows(asked.url, Select("trip", latest=True)) if r["state"] == "open"}
    for device, plate, at, lat, lon, _state, contract, loaded_kg, eta, _late in told:
        newest, trip = asked.newest(device), trips.get(plate, {})
        assert [at, float(lat), float(lon)] == [
            iso(newest["window_start"]), newest["lat_deg"], newest["lon_deg"],
        ]  # fmt: skip
        assert [contract, number(loaded_kg)] == [
            trip.get("contract", ""),
            number(str(trip.get("loaded_kg", ""))),
        ]
        assert eta == (iso(trip["eta"]) if "eta" in trip else "")
    return len(told) == len({row[0] for row in told}) > 1


def same_alarms(asked, _page, panel, told):
    """Open alarms by their ids, each time whole; those that nobody acknowledged on the overview."""
    newest = {r["key"]: r for r in rows(asked.url, Select("alarm_open", latest=True))}
    listed = {k: r for k, r in newest.items() if panel.kind == "alarms" or asks(r)}
    expected = {
        k: [str(r["priority"]), r["subject"], r["code"], r["state"], iso(r["raised"])]
        for k, r in listed.items()
    }
    return told and {row[0]: row[1:6] for row in told} == expected


def asks(alarm):
    return alarm["state"] == "raised" and not alarm.get("suppressed") and not alarm.get("shelved_until")


DRAWN = {
    "bullets": same_bars, "map": same_trucks, "alarms": same_alarms, "strip": same_alarms, "waterfall": same_terms,
    "profile": same_pressures, "process": same_newest, "deviations": same_deviations,
}  # fmt: skip


def same(expected, cell):
    """A value as the store holds it, and as a CSV of six decimals does."""
    return cell == "" if expected is None else float(cell) == pytest.approx(expected, rel=1e-9, abs=2e-6)


@pytest.mark.parametrize(
    ("path", "panel"), [("/network", "network_drawing"), ("/", "heat_windows"), ("/trust", "ledger")]
)
def test_a_panel_can_be_taken_along_as_a_picture(opened, path, panel):
    watched = opened(path + "?lang=zh")
    page = watched.page
    page.wait_for_selector(f"#panel-{panel} :is(canvas, svg line, tbody td)")
    stand(page, next(p for p in PAGES.values() if p.path == path))
    box = page.locator(f"#panel-{panel}").bounding_box()
    page.locator(f"#panel-{panel} .hl-tools summary").click()
    with page.expect_download() as caught:
        page.locator(f"#panel-{panel} [data-take=png]").click()
    picture = Image.open(caught.value.path()).convert("RGB")
    assert picture.size == pytest.approx((2 * box["width"], 2 * box["height"]), abs=2)
    dark = sum(count for count, colour in picture.getcolors(1 << 24) if max(colour) < 120)
    assert dark > 500  # words and lines, not a blank card
    watched.assert_quiet()


def test_the_keyboard_stays_at_the_menu_by_which_a_file_was_taken(opened):
    page = opened("/water?lang=en").page
    stand(page, PAGES["water"])
    menu = page.locator("#panel-makeup_rate .hl-tools summary")
    menu.focus()
    for take, steps in (("csv", 1), ("png", 2)):
        page.keyboard.press("Enter")
        for _ in range(steps):
            page.keyboard.press("Tab")
        with page.expect_download() as caught:
            page.keyboard.press("Enter")
        assert caught.value.suggested_filename.endswith(take)
        assert menu.evaluate("e => e === document.activeElement && !e.parentElement.open")
    page.keyboard.press("Enter")
    for _ in range(3):
        page.keyboard.press("Tab")
    assert menu.evaluate("e => !e.parentElement.contains(document.activeElement) && !e.parentElement.open")


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
    for hours in ("99999", "-3", "0", "many", "1" * 30):
        answer = page.goto(f"{running.server.url}/?lang={language}&hours={hours}")
        assert answer.status == 404
        assert "8784" in page.inner_text("main"), "the range that is shown is the one that was asked for"
    assert page.request.get(f"{running.server.url}/api/nowhere").headers["content-type"] == "application/json"
    context.close()


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
