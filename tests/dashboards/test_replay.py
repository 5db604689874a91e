"""The replay of all trucks: where they were, as the store has it, in a real Chromium."""

import numpy as np
import pytest

from models.results import Outputs
from tests.support.board_running import browser, opened, running, until

__all__ = ["browser", "opened", "running"]  # fixtures

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
POSITIONS = "**/api/query?*class=truck*"
BETWEEN = """async ([points, time, away]) => {
  const from = document.querySelector("link[rel=modulepreload]").href.replace(/[^/]*$/, "");
  const { between } = await import(from + "replay.js");
  return between(points.map(([window_start, lat_deg, lon_deg]) => ({ window_start, lat_deg, lon_deg })), time, away);
}"""
TRACKS = """async ([fixes, every, to, interval]) => {
  const from = document.querySelector("link[rel=modulepreload]").href.replace(/[^/]*$/, "");
  const { tracksOf } = await import(from + "replay.js");
  const rows = fixes.map(([window_start, lat_deg, lon_deg]) => ({ key: "a", window_start, lat_deg, lon_deg }));
  return (tracksOf(rows, every, to, () => interval).get("a") ?? []).map((p) => [p.window_start, p.lat_deg]);
}"""
WHERE = """() => Object.fromEntries([...document.querySelectorAll(".hl-truck")].map((e) => [
  new URL(e.href.baseVal, location).searchParams.get("truck"), e.querySelector("g").getAttribute("transform").match(/[-.0-9]+/g).map(Number)]))"""


@pytest.fixture
def logistics(opened):
    watched = opened("/logistics?lang=en")
    watched.page.wait_for_selector(".hl-truck", state="attached")
    return watched


def begin(page):
    page.locator("[data-replay=begin]").click()
    page.wait_for_selector("[data-replay=play]")


def test_a_truck_is_on_the_line_between_two_fixes_and_nowhere_before_the_first(logistics):
    page = logistics.page
    points = [[0, 40.0, 116.0], [60_000, 40.01, 116.0], [120_000, 40.01, 116.0], [5_000_000, 40.2, 116.2]]

    def at(time):
        return page.evaluate(BETWEEN, [points, time, 900_000])

    assert at(-1) is None
    half = at(30_000)
    assert half["lat"] == pytest.approx(40.005)
    assert (half["lon"], half["state"], half["heading"]) == (116.0, "driving", 0)
    assert at(90_000)["state"] == "stopped"
    assert (at(1_000_000)["state"], at(1_000_000)["lat"]) == ("stopped", 40.01)
    assert (at(2_000_000)["state"], at(2_000_000)["lat"]) == ("offline", 40.01)
    assert at(5_100_000)["lat"] == 40.2


def test_the_last_fix_of_a_long_step_stands_near_its_end_and_a_wild_first_one_nowhere(logistics):
    page, minute = logistics.page, MINUTE_MS
    fixes = [[n * 12 * minute, 40 + 0.01 * n, 116.0] for n in range(4)]

    def tracks(every, interval, given=fixes):
        return [t / minute for t, _ in page.evaluate(TRACKS, [given, every, 40 * minute, interval])]

    assert tracks(12 * minute, 120_000) == [10, 22, 34, 40]
    assert tracks(12 * minute, 10_000) == [11, 23, 35, 40]
    assert tracks(minute, 10_000) == [0, 12, 24, 36]
    assert tracks(minute, 10_000, [[-12 * minute, 0.0, 0.0], *fixes]) == [0, 12, 24, 36]
    assert tracks(minute, 10_000, [[-12 * minute, None, 116.0], [-minute, 0.0, 0.0]]) == [-1]


@pytest.fixture
def two_hours(running, opened):
    """Trucks that went north at 1.3 m/s, each from 1 km further south; the last stood still after an hour."""
    start = running.now_ms // MINUTE_MS * MINUTE_MS - 20 * 24 * HOUR_MS
    n = np.arange(120)
    out = Outputs("donghe", running.day._next())
    for i in range(5):
        device = running.day.site.devices[f"truck-{i}"]
        lat = 37.97 - 0.01 * i + 0.0007 * (np.minimum(n, 60) if i == 4 else n)
        values = {"lat_deg": lat, "lon_deg": np.full(120, 114.0)}
        out.readings.append(running.day.table(device, start + n * MINUTE_MS, values))
    running.day.store.write([out])
    watched = opened(f"/logistics?lang=en&from={start}&to={start + 2 * HOUR_MS}")
    watched.page.wait_for_selector(".hl-truck", state="attached")
    return watched


def test_a_day_is_replayed_and_each_truck_is_where_the_store_has_it(two_hours):
    page = two_hours.page
    live = page.evaluate(WHERE)
    begin(page)
    for share in (250, 900):
        page.locator(".hl-map input").fill(str(share))
        shown = {k: v[1] for k, v in page.evaluate(WHERE).items()}
        minutes = 120 * share / 1000
        north = {
            f"truck-{i}": -0.01 * i + 0.0007 * (min(minutes, 60) if i == 4 else minutes) for i in range(5)
        }
        a, b = "truck-0", "truck-3"
        pixels = (shown[a] - shown[b]) / (north[a] - north[b])
        assert pixels < 0  # north is up
        for name, lat in north.items():
            assert shown[name] == pytest.approx(shown[a] + pixels * (lat - north[a]), abs=0.2), name
    states = page.inner_text(".hl-map-legend")
    assert ("driving 4" in states, "stopped 1" in states) == (True, True)
    assert "replay ·" in page.inner_text(".hl-map-foot")
    page.locator("[data-replay=leave]").click()
    page.wait_for_selector("[data-replay=begin]")
    assert page.evaluate(WHERE) == live
    two_hours.assert_quiet()


def test_it_plays_stops_and_its_address_leads_to_that_time(logistics, opened):
    page = logistics.page
    begin(page)
    page.locator("[data-replay=play]").click()
    until(page, "Number(document.querySelector('.hl-map input').value) > 10")
    page.locator("[data-replay=pause]").click()
    until(page, "location.search.includes('replay=')")
    said = page.inner_text(".hl-map-foot > .hl-muted")
    again = opened("/logistics" + page.url.split("/logistics")[1]).page
    again.wait_for_selector("[data-replay=play]")
    assert again.inner_text(".hl-map-foot > .hl-muted") == said
    for link in (".hl-nav a >> nth=0", "a.hl-truck >> nth=0"):
        assert "replay=" not in again.get_attribute(link, "href")
    for _ in range(2):
        again.locator("[data-range=earlier]").click()
    again.wait_for_selector(".hl-map-foot :text('no positions in this time')")
    logistics.assert_quiet()


def test_with_the_store_away_it_says_so_and_can_be_tried_again(logistics):
    page = logistics.page
    page.route(POSITIONS, lambda route: route.fulfill(status=503, body="{}"))
    page.locator("[data-replay=begin]").click()
    page.wait_for_selector(".hl-map-foot :text('the measurements could not be read')")
    page.unroute(POSITIONS)
    page.locator("[data-replay=again]").click()
    page.wait_for_selector("[data-replay=play]")


def test_a_replayed_truck_says_its_load_and_where_it_stands_is_in_the_address(logistics):
    page = logistics.page
    begin(page)
    slider = page.locator(".hl-map input")
    slider.fill("990")
    slider.dispatch_event("change")
    said = page.inner_text(".hl-map-foot > .hl-muted")
    loads = [e.get_attribute("aria-label") for e in page.locator(".hl-truck-loaded").all()]
    assert len(loads) == 3
    assert all("C01 31.0 t" in load for load in loads), loads
    until(page, "new URLSearchParams(location.search).has('replay')")
    for link in page.locator("#panel-open_trips td a").all():
        assert "replay=" not in link.get_attribute("href")
    page.locator("[data-range=compare]").click()
    until(page, "location.search.includes('compare=1') && location.search.includes('replay=')")
    page.wait_for_selector(f".hl-map-foot :text('{said}')")
    page.go_back()
    page.locator("[data-replay=leave]").click()
    page.go_forward()
    page.wait_for_selector("[data-replay=play]")
    page.go_back()
    page.wait_for_selector("[data-replay=begin]")
    logistics.assert_quiet()


def test_who_plays_by_the_keyboard_stays_at_the_buttons_and_a_held_slider_moves(logistics):
    page = logistics.page
    focused = "document.activeElement.dataset.replay"
    page.locator("[data-replay=begin]").press("Enter")
    page.wait_for_selector("[data-replay=play]")
    assert page.evaluate(focused) == "play"
    page.keyboard.press("Enter")
    assert page.evaluate(focused) == "pause"
    page.locator(".hl-map input").focus()
    value = page.input_value(".hl-map input")
    until(page, f"Number(document.querySelector('.hl-map input').value) > {value} + 5")
    for _ in range(2):
        page.locator("[data-range=earlier]").click()
    page.wait_for_selector(".hl-map-foot :text('no positions in this time')")
    assert page.locator(".hl-truck").count() == 0  # those of now are not of that day
    page.locator("[data-range=now]").click()
    page.wait_for_selector("[data-replay=pause], [data-replay=play]")  # it may be at its end already
    logistics.assert_quiet()


def test_a_moment_that_was_sent_days_ago_is_still_that_moment(two_hours, opened):
    page = two_hours.page
    query = page.evaluate("location.search")
    at = int(query.split("from=")[1].split("&")[0]) + HOUR_MS
    again = opened(f"/logistics?lang=en&replay={at}").page
    again.wait_for_selector("[data-replay=play]")
    begin(page)
    page.locator(".hl-map input").fill("500")
    said = ".hl-map-foot > .hl-muted"
    assert again.inner_text(said) == page.inner_text(said)
    again.locator("[data-range=choose]").select_option("6")  # up to now
    again.wait_for_selector(f"{said}:not(:text('{page.inner_text(said)}')):text('replay')")


def test_it_begins_where_the_first_truck_was_heard_of(two_hours, running, opened):
    start = running.now_ms // MINUTE_MS * MINUTE_MS - 20 * 24 * HOUR_MS
    page = opened(f"/logistics?lang=en&from={start - 2 * HOUR_MS}&to={start + 2 * HOUR_MS}").page
    page.wait_for_selector(".hl-truck", state="attached")
    begin(page)
    assert float(page.evaluate("document.querySelector('.hl-map input').value")) == pytest.approx(500, abs=1)
    assert "driving 5" in page.inner_text(".hl-map-legend")
