"""Tiles of plants that do not say everything, or of which one fell silent, in a real Chromium."""

import pytest

from tests.support.board_data import Day
from tests.support.board_running import Running, browser, opened, until

__all__ = ["browser", "opened"]  # fixtures

VALUE, DETAIL = (
    f"(document.querySelector('#panel-heat_output .hl-{x}')?.innerText ?? '')" for x in ("value", "detail")
)


class Bare(Day):
    """Plants tell flow, temperatures and counters: their power is in no reading."""

    def table(self, device, t, values):
        told = super().table(device, t, values)
        return told.drop_columns(["heat_kw"]) if device.device_class == "plant" else told


class BareBoard(Running):
    made = Bare


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    made = BareBoard(tmp_path_factory.mktemp("series"))
    yield made
    made.stop()


def test_a_plant_that_does_not_say_its_power_has_that_of_its_heat(opened):
    watched = opened("/?lang=en")
    page = watched.page
    until(page, f"/^[0-9.]+ MW$/.test({VALUE})")
    until(page, f"/[0-9]{{2}}:[0-9]{{2}}–[0-9]{{2}}:[0-9]{{2}}/.test({DETAIL})")  # of which window
    until(page, "document.querySelectorAll('#panel-heat_output svg').length === 1")
    watched.assert_quiet()


MEAN = """async (ages) => {
  const from = document.querySelector("link[rel=modulepreload]").href.replace(/[^/]*$/, "");
  const { Tile } = await import(from + "tiles.js");
  const rows = new Map(ages.map((age, i) => [`d${i}`, { key: `d${i}`, outdoor_c: -10 * i, window_start: -age }]));
  const live = { now: 0, rows: () => rows, state: (_, at) => ({ state: at < -100 ? "stale" : "fresh" }) };
  const site = { byId: new Map([...rows.keys()].map((id) => [id, { id }])) };
  const context = { live, site, f: {}, t: (text, of) => `${of.n} of ${of.of}` };
  const series = { field: "outdoor_c", across: "mean", scale: 1, measurement: "reading", judged_by: ["outdoor_c"] };
  const { value, stale, note } = new Tile({ feeds: ["weather"], series: [series] }, context).newest(series, 0);
  return [value, stale, note];
}"""


def test_a_mean_is_of_those_that_speak_now(opened):
    page = opened("/?lang=en").page
    page.wait_for_selector("#panel-outdoor")
    assert page.evaluate(MEAN, [0, 0, 0]) == [-10, False, ""]
    assert page.evaluate(MEAN, [9000, 0, 0]) == [-15, False, "2 of 3"]
    assert page.evaluate(MEAN, [9000, 9000]) == [-5, True, ""]
