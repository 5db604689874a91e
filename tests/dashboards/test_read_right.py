"""Numbers that people read right: as of when, apart from a badge, on axes whose steps say something, in a real Chromium."""

import pytest

from dashboards.panels import pages
from tests.support.board_running import DESK, PHONE, browser, opened, running, until

__all__ = ["browser", "opened", "running"]  # fixtures

TILE = "panel => document.querySelector(`#panel-${panel} .hl-tile`)?.innerText.replace(/\\s+/g, ' ')"
TICKS = """async values => {
  const from = document.querySelector("link[rel=modulepreload]").href.replace(/[^/]*$/, "");
  const { LineChart } = await import(from + "charts.js");
  const { formats, translator } = await import(from + "format.js");
  const { echarts } = await import("nicegui-echart");
  const chart = new LineChart({ f: formats("en", "Asia/Shanghai"), t: translator({}) });
  chart.chart = echarts.init(document.createElement("div"), null, { renderer: "canvas", width: 500, height: 300 });
  const t = values.map((_, i) => i * 600000);
  const series = [{ index: 0, t, v: values, f: values.map(() => 0) }];
  const panel = { series: [{ label: "a", unit: "", colour: "a", dashed: false }] };
  chart.show(panel, { from: 0, to: t.at(-1), exists: true, series });
  const ticks = chart.chart.getModel().getComponent("yAxis", 0).axis.scale.getTicks().map(x => x.value);
  chart.stop();
  return ticks;
}"""


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize(("language", "says"), [("en", "as of 17:00"), ("zh", "截至 17:00")])
def test_tiles_of_coal_say_as_of_when_they_are(opened, language, says, size):
    watched = opened(f"/coal?lang={language}", size)
    page = watched.page
    for panel in ("yard_stock", "yard_days", "coal_on_road", "yard_reach", "yard_risk", "coal_cost"):
        until(page, f"({TILE})('{panel}')?.includes('{says}')")
    within = "[...document.querySelectorAll('.hl-detail')].filter(x => x.scrollWidth > x.clientWidth).length"
    assert page.evaluate(within) == 0
    watched.assert_quiet()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_badge_and_a_count_are_not_read_as_one_number(opened, language):
    page = opened(f"/?lang={language}").page
    until(page, f"/^\\d+ \\/ \\d+ ?◆2/.test(({TILE})('reporting') ?? '')")
    until(page, "document.querySelector('.hl-alarms').textContent.includes('◆1 × 1')")
    until(page, "document.querySelector('#panel-state_matrix table').textContent.includes('✕2 × 1')")


def test_counts_have_whole_steps_and_what_hardly_changes_a_least_span(opened):
    page = opened("/?lang=en").page
    page.wait_for_selector("#panel-heat_windows canvas")
    assert page.evaluate(TICKS, [0, 1, 1, 0]) == [0, 1]
    assert all(x == int(x) for x in page.evaluate(TICKS, [3, 5, 4, 3]))
    steady = page.evaluate(TICKS, [16.9992, 17.0, 16.9996, 17.0])
    assert steady[-1] - steady[0] >= 0.1, "not from 16.9992 to 17"
    assert page.evaluate(TICKS, [40.0, 95.5, 60.25, 70.0])[0] >= 20, "what does change keeps its scale"
    assert max(page.evaluate(TICKS, [0.001, 0.004, 0.002])) < 0.01


SAID = """async ([history, panel]) => {
  const from = document.querySelector("link[rel=modulepreload]").href.replace(/[^/]*$/, "");
  const { LineChart } = await import(from + "charts.js");
  const { formats, translator } = await import(from + "format.js");
  const chart = new LineChart({ f: formats("en", "Asia/Shanghai"), t: translator({}) });
  chart.show({ series: [], ...panel }, { from: 0, to: 1, series: [], ...history });
  chart.stop();
  return chart.element.innerText;
}"""
FIRST = {"first": "comes after the first day", "absent": "not computed yet"}


@pytest.mark.parametrize(
    ("history", "says"),
    [
        ({"exists": True, "series": [{"index": 0, "t": [0], "v": [None]}]}, "comes after the first day"),
        ({"exists": False}, "not computed yet"),
    ],
)
def test_a_chart_whose_rows_have_no_value_yet_says_when_the_first_comes(opened, history, says):
    page = opened("/?lang=en").page
    page.wait_for_selector("#panel-heat_windows canvas")
    assert page.evaluate(SAID, [history, FIRST]) == says
    assert page.evaluate(SAID, [{**history, "exists": True}, {}]) == "no data in this range"


def test_charts_of_coal_say_when_their_first_value_comes():
    coal = next(page for page in pages() if page.id == "coal")
    charts = [panel for panel in coal.panels if panel.kind == "line"]
    assert charts
    assert all(panel.first is not None and "comes" in panel.first.en for panel in charts)
