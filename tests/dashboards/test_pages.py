"""The board in a real Chromium."""

import re
from itertools import product
from pathlib import Path

import pytest

import dashboards
from dashboards.panels import pages
from tests.support.board_data import NOW_MS, WINDOW_MS
from tests.support.board_process import PAYLOADS, board_process
from tests.support.board_running import DESK, PHONE, browser, opened, running, stand, taken, until, until_here

__all__ = ["browser", "opened", "running"]  # fixtures

PATHS = {page.id: page.path.replace("{device}", "sub-03") for page in pages()}
PAGE = {page.id: page for page in pages()}
SCREENS = {"desk": DESK, "phone": PHONE}


LOOKS = tuple(product(("zh", "en"), ("light", "dark"), ("desk", "phone")))


def visits():
    """Every page in every look, in the soak.

    In the gate in two of them, of which one has the other language, theme and size than the other: each
    page in both of everything, and two by two in every look.
    """
    for n, name in enumerate(PATHS):
        first = n % (len(LOOKS) // 2)
        for at, look in enumerate(LOOKS):
            marks = () if at in {first, len(LOOKS) - 1 - first} else pytest.mark.soak
            yield pytest.param(name, *look, marks=marks, id="-".join((name, *look)))


@pytest.mark.parametrize(("name", "language", "theme", "screen"), visits())
def test_a_page_loads_quietly_and_fits_its_screen(opened, name, language, theme, screen):
    size = SCREENS[screen]
    watched = opened(f"{PATHS[name]}?lang={language}&theme={theme}", size)
    page = watched.page
    page.wait_for_selector(".hl-table td, .hl-chart canvas")
    page.wait_for_timeout(600)
    watched.assert_quiet()
    watched.assert_accessible()
    width, height = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    )
    assert width <= size["width"]
    if size is DESK:
        assert height <= size["height"]
    wider = "e => e.getBoundingClientRect().width > e.parentElement.clientWidth + 1"
    assert page.evaluate(f"[...document.querySelectorAll('.hl-value')].filter({wider}).length") == 0
    if size is PHONE:
        whole = "e => { e.style.overflowWrap = 'normal'; return e.scrollWidth <= e.clientWidth }"
        titles = page.locator(".hl-card h2")
        assert [t.inner_text() for t in titles.all() if not t.evaluate(whole)] == [], "broken inside a word"
    words = page.inner_text("body")
    assert ("仿真" if language == "zh" else "SIMULATED") in words
    assert page.get_attribute("html", "lang") == ("zh-CN" if language == "zh" else "en")
    smallest = page.evaluate(
        "Math.min(...[...document.querySelectorAll('.hl *')].filter(e => e.innerText && e.children.length === 0 "
        "&& !e.closest('svg')).map(e => parseFloat(getComputedStyle(e).fontSize)))"
    )
    assert smallest >= 16
    if language == "en":
        assert_says_how_old_and_what_is_open(page)


def assert_says_how_old_and_what_is_open(page):
    """How old the data is, and which alarms nobody has acknowledged."""
    until(page, "document.querySelector('.hl-age')?.textContent.includes('old')")
    until(page, "/[1-4] × [1-9]/.test(document.querySelector('.hl-alarms')?.textContent ?? '')")
    assert page.get_attribute(".hl-alarms", "href").startswith("/alarms")


HEAR = """() => {
  window.told = [];
  const shown = () => document.querySelector("#panel-indicators").innerText.includes("77.7");
  window.socket.on("hearthline", (message) => setTimeout(() => window.told.push([message.n, shown()])));
}"""


def test_a_value_changed_in_the_store_is_on_the_page_with_the_next_reading_of_a_second(opened, running):
    page = opened("/substation/sub-05?lang=en").page
    shown = page.locator("#panel-indicators .hl-indicator", has_text="return temperature").first
    assert "77.7" not in shown.inner_text()
    running.now_ms += 10_000
    running.day.now_ms = running.now_ms
    page.evaluate(HEAR)
    running.day.write_now("sub-05", return_c=77.7)
    under_way = running.hub._number + 1  # it may have been read before
    page.wait_for_selector("#panel-indicators b:text-is('77.7')")
    until(page, "window.told.some(([, shown]) => shown)")
    assert next(n for n, shown in page.evaluate("window.told") if shown) <= under_way + 1
    assert running.hub._tick_s == 1.0


def test_leaks_are_listed_with_their_size_and_place_and_no_other_anomaly(opened, running):
    page = opened("/water?lang=en").page
    page.wait_for_selector("#panel-leak_suspects td:text-is('behind pipe-07')")
    shown = page.inner_text("#panel-leak_suspects")
    assert "1.3" in shown
    assert "primary leak" in shown
    assert "drift" not in shown


def test_the_map_has_every_truck_by_shape_and_a_trip_that_will_be_late_first(opened):
    page = opened("/logistics?lang=en").page
    page.wait_for_selector(".hl-truck")
    assert page.locator(".hl-place").count() == 2
    shown = page.locator(".hl-truck")
    assert shown.count() == 5
    assert page.locator(".hl-truck-loaded").count() == 3
    assert page.locator(".hl-truck-late .hl-truck-digit").all_text_contents() == ["3"]
    assert "driving 5" in page.inner_text(".hl-map-legend")
    page.wait_for_selector("#panel-open_trips td:text-is('0.90')")
    first = page.locator("#panel-open_trips tbody tr").first.inner_text()
    assert "冀A5131" in first, "the likeliest to be late"
    assert page.locator("#panel-open_trips tbody tr").count() == 3, "a closed trip is not under way"
    queues = page.inner_text("#panel-bridge_queues")
    assert "10 min" in queues
    assert "40 min" in queues


def test_a_trips_trail_is_reached_by_its_plate_and_by_url(opened):
    page = opened("/logistics?lang=en").page
    page.wait_for_selector("#panel-open_trips td:text-is('0.90')")
    page.click("#panel-open_trips tbody tr:first-child a")
    page.wait_for_selector(".hl-trail")
    assert "truck=truck-1" in page.url
    points = page.get_attribute(".hl-trail", "points").split(" ")
    assert len(points) > 60, "two hours, a point a minute"
    where = page.get_attribute(".hl-map-ghost circle", "cx")
    page.locator(".hl-map input").fill("200")
    assert page.get_attribute(".hl-map-ghost circle", "cx") != where
    page.goto(page.url)
    page.wait_for_selector(".hl-trail")


def test_a_balance_that_cannot_be_closed_yet_says_why(opened, running):
    row = {"key": "net-1", "window_start": NOW_MS // WINDOW_MS * WINDOW_MS, "status": "provisional",
           "reason": "no_temperature", "supplied_gj": 3.0, "delivered_gj": 2.5}  # fmt: skip
    running.day.write_results("network_heat", [row], WINDOW_MS)
    page = opened("/network?lang=en").page
    page.wait_for_selector("#panel-heat_waterfall :text('heat unknown: no temperature')")


def test_days_of_heat_have_a_band_and_a_supplier_that_lacks_heat_is_seen(opened):
    page = opened("/coal?lang=en").page
    page.wait_for_selector("#panel-yard_days b:text-is('7.9 / 9.4 / 11.6')")
    assert "P2" in page.get_attribute("#panel-yard_risk .hl-mark", "aria-label")
    assert "signature" in page.inner_text("#panel-yards")
    assert "-5.60" in page.inner_text("#panel-supplier_heat").replace("−", "-")
    page.wait_for_selector("#panel-days_left canvas")


def test_a_contract_that_will_likely_fall_short_is_marked_on_its_bar_and_its_loss_has_an_uncertainty(opened):
    page = opened("/contracts?lang=en").page
    page.wait_for_selector(".hl-bullet")
    bar = page.locator(".hl-bullet").first
    assert "18 % reached, 25 % due by now, 71 % expected" in bar.get_attribute("aria-label")
    assert bar.locator(".hl-mark").inner_text() == "◆2"
    shown = page.inner_text("#panel-contract_quality")
    assert all(word in shown for word in ("0.41", "0.22", "64", "40", "20.10", "3.90"))
    shown = page.inner_text("#panel-contract_periods")
    assert all(word in shown for word in ("2026-Q1", "0.83", "0.79", "71", "90"))


def test_the_overview_shows_the_plants_newest_heat(opened, running):
    page = opened("/?lang=en").page
    running.now_ms += 10_000
    running.day.now_ms = running.now_ms
    running.day.write_now("plant-1", heat_kw=61_230.0)
    page.wait_for_selector("#panel-heat_output b:text-is('61.23')")
    assert "9.4" in page.inner_text("#panel-heat_days")
    assert "93.0" in page.inner_text("#panel-on_the_road")


def test_trouble_comes_first_and_never_by_colour_alone(opened):
    page = opened("/?lang=en").page
    page.wait_for_selector(".hl-attention td")
    rows = page.locator(".hl-attention tbody tr").all_inner_texts()
    assert re.search(r"✕2\s+铁西一站站\s+silent", rows[0])
    assert any("stale" in r and "▨3" in r for r in rows)
    assert any("heat unknown: too little was measured" in r and "?3" in r for r in rows)
    assert "✕" in page.inner_text("#panel-state_matrix .hl-is-silent")


def test_the_clock_is_the_sites_whatever_the_browsers_zone_is(opened):
    page = opened("/?lang=en").page
    assert page.inner_text(".hl-clock b").startswith("17:00:")
    assert "09:00:" in page.get_attribute(".hl-clock", "title")
    assert "UTC" in page.get_attribute(".hl-clock", "title")


def test_the_language_and_theme_switches_keep_the_page(opened):
    page = opened("/trust?lang=en&unit=donghe").page
    page.click("text=中文")
    page.wait_for_url("**lang=zh*")
    page.wait_for_selector(".hl-clock b")
    assert "/trust" in page.url
    assert "unit=donghe" in page.url
    assert "设备台账" in page.inner_text("#panel-ledger")
    page.click("text=深色")
    page.wait_for_selector(".hl-dark .hl-clock b")
    page.goto(page.url.split("?")[0])  # both are remembered
    page.wait_for_selector(".hl-dark .hl-clock b")
    assert "设备台账" in page.inner_text("#panel-ledger")


def test_a_dead_letter_is_retried_after_asking(opened, running):
    running.actions.retried.clear()
    page = opened("/trust?lang=en").page
    questions = []
    page.on("dialog", lambda d: (questions.append(d.message), d.accept()))
    page.locator("#panel-dead_letters tr", has_text="future").get_by_role("button", name="retry").click()
    page.wait_for_selector("#panel-dead_letters :text('retry asked')")
    assert questions == ["Give this message to ingest again?"]
    assert running.actions.retried == ["donghe:41:0"]


CODES = ("pump trip", "air", "high return", "hunting")


def test_alarms_are_listed_explained_and_handled(opened, running):
    running.actions.acted.clear()
    watched = opened("/alarms?lang=en")
    page = watched.page
    page.wait_for_selector("#panel-alarm_list tr[data-alarm]")
    rows = [r.inner_text() for r in page.locator("#panel-alarm_list tbody tr").all()]
    assert [code in row for code, row in zip(CODES, rows, strict=True)] == [True] * 4
    assert "under a shared cause" in rows[2]
    assert "shelved until" in rows[3]
    detail = page.locator("#panel-alarm_detail")
    assert "differential pressure kPa" in detail.inner_text()
    page.wait_for_selector("#panel-alarm_detail svg polyline")
    refusals = []
    page.on("dialog", lambda d: (refusals.append(d.message), d.accept()))
    detail.get_by_label("your name").fill("")
    detail.get_by_role("button", name="acknowledge").click()
    until_here(page, lambda: refusals)
    assert refusals == ["This could not be done: who: expected the name of a person, got none"]
    detail.get_by_label("your name").fill("李")
    words = detail.get_by_label("reason, comment or owner")
    words.fill("spare part")
    for n, deed in enumerate(("acknowledge", "shelve", "assign", "comment"), 1):
        detail.locator(f"[data-do={deed}]").click()
        until_here(page, lambda n=n: len(running.actions.acted) >= n)
        if deed in {"shelve", "assign"}:  # words that were taken are not there for the next deed
            until_here(page, lambda: words.input_value() == "")
            words.fill("wang")
    id_ = running.alarms[0].id
    assert [(a["do"], a["alarm"], a["who"]) for a in running.actions.acted] == [
        (deed, id_, "李") for deed in ("acknowledge", "shelve", "assign", "comment")
    ]
    assert running.actions.acted[1]["hours"] == 1
    assert [a["reason"] for a in running.actions.acted] == ["spare part", "spare part", "wang", "wang"]
    page.locator("#panel-alarm_list tr", has_text="air").first.click()
    page.wait_for_selector("#panel-alarm_detail :text('<b>vented</b> twice')")
    assert "11" in page.inner_text("#panel-alarm_worst_10_min")
    page.locator("#panel-alarm_list tr", has_text="hunting").first.click()
    page.wait_for_selector("#panel-alarm_detail dd:text('5400')")
    names, said = (detail.locator(f".hl-evidence {tag}").all_inner_texts() for tag in ("dt", "dd"))
    told = dict(zip(names, said, strict=True))
    # What lies deeper is words too: no brackets, no numbers of 13 digits, nothing cut, nothing that is not known.
    assert not re.search(r'[{}\[\]"]|\d{13}', " ".join(said)), said
    assert [x for x in told if "channel" in x] == ["channels"]
    assert re.fullmatch(r"channel supply.*, run.* 5400; channel flow.*, run.* 7200\.3", told["channels"]), (
        told
    )
    assert "8.1235" in said
    assert "nothing" not in told
    watched.assert_quiet()


def test_the_page_says_when_the_server_is_gone_and_recovers_when_it_is_back(opened, tmp_path):
    with board_process(tmp_path / "first") as url:
        watched = opened("/?lang=en", url=url)
        watched.page.wait_for_selector("text=/data .* old/")
    watched.page.wait_for_selector("text=connection lost")
    watched.assert_accessible()  # what was last heard can still be read
    with board_process(tmp_path / "second", int(url.rsplit(":", 1)[1])):
        watched.page.wait_for_selector("text=/data .* old/")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    with board_process(tmp_path_factory.mktemp("hostile"), kind="hostile") as url:
        yield url


# Devices to choose from, tables, contracts, plates; the choice of units is in the frame of every other page.


IN_CSV = {
    "trust": {"dead_letters": 1},
    "contracts": {"contract_list": 0},
    "logistics": {"open_trips": 0},
}
"""Column of a panel's file that has all of them: as devices, contracts and plates."""


HOSTILE = [
    *(pytest.param(name, name in IN_CSV, id=name) for name in PATHS),
    *(
        pytest.param(name, True, id=f"{name}, files", marks=pytest.mark.soak)
        for name in sorted(PATHS.keys() - IN_CSV)
    ),
]
"""Each page; and whether its files are taken, too: one function writes those of all panels."""


@pytest.mark.parametrize(("name", "files"), HOSTILE)
def test_names_that_are_scripts_or_formulas_stay_text_on_the_page_and_in_every_panels_csv(
    opened, hostile, name, files
):
    watched = opened(PATHS[name] + "?lang=en", url=hostile)
    page = watched.page
    until(page, "names => names.every(n => document.body.textContent.includes(n))", arg=list(PAYLOADS))
    stand(page, PAGE[name])
    page.wait_for_timeout(500)
    rows = {panel.id: taken(page, panel.id) for panel in PAGE[name].panels} if files else {}
    loud = {
        p: c
        for p, cells in rows.items()
        for row in cells
        for c in row
        if c[:1] in {*"=+-@"} and not number(c)
    }
    assert loud == {}
    for panel, column in IN_CSV.get(name, {}).items():
        names = {row[column] for row in rows[panel][1:]}
        assert names >= {f"'{text}" if text[0] in "=+-@" else text for text in PAYLOADS}, panel
    watched.assert_quiet()
    assert page.evaluate("window.hit") is None


def number(text):
    return re.fullmatch(r"-?[0-9.]+(e[+-]?[0-9]+)?", text) is not None


def test_the_scripts_have_no_way_to_turn_text_into_html():
    for path in (Path(dashboards.__file__).parent / "assets").glob("*.js"):
        text = path.read_text(encoding="utf-8")
        for sink in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "setHTML",
        ):
            assert sink not in text, (path.name, sink)
