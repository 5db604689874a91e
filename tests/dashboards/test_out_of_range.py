"""Readings that cannot be so: said, and neither drawn as values nor learnt from, in a real Chromium."""

import pyarrow as pa
import pytest

from dashboards.history import FINAL, OUTSIDE, panel_history
from dashboards.panels import panel
from dashboards.scope import Scope
from tests.support.board_data import DAY_MS, NOW_MS, Day
from tests.support.board_running import DESK, PHONE, Running, browser, opened, taken, until

__all__ = ["browser", "opened"]  # fixtures

BROKEN = "sub-03"
FAR_C = 250.0
FROM_MS = NOW_MS - 2 * 3_600_000
STEP_MS = 300_000


class Broken(Day):
    """The supply's sensor of one substation has been broken for two hours, and was once, for one reading."""

    def table(self, device, t, values):
        if device.device != BROKEN:
            return super().table(device, t, values)
        far = t >= FROM_MS
        if len(t) > 1000:
            far[len(t) // 2] = True
        values = {k: v.copy() for k, v in values.items()}
        values["supply_c"][far] = FAR_C
        values["heat_kw"][far] *= 5
        flags = pa.array(["implausible:supply_c" if x else None for x in far], pa.string())
        return super().table(device, t, values).append_column("quality", flags)


class BrokenBoard(Running):
    made = Broken


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    made = BrokenBoard(tmp_path_factory.mktemp("series"))
    made.day.write_now(BROKEN)
    yield made
    made.stop()


@pytest.mark.parametrize(("name", "flagged"), [("indicators", {0, 3}), ("primary", {0}), ("power", {0})])
def test_steps_with_a_reading_beyond_its_range_are_flagged_and_what_is_computed_of_it(running, name, flagged):
    """Index 3 of the indicators, and 0 of the power's chart, is the heat that the meter made of it."""
    scope, shown = Scope(device=BROKEN), panel(name)[1]
    told = panel_history(
        running.day.store, running.day.site, shown, scope, NOW_MS - DAY_MS, NOW_MS + 1, 360, NOW_MS
    )
    for line in told["series"]:
        steps = {t for t, f in zip(line["t"], line["f"], strict=True) if f == OUTSIDE}
        assert bool(steps) == (line["index"] in flagged), line["index"]
        if steps:
            assert min(steps) == (NOW_MS - DAY_MS // 2) // STEP_MS * STEP_MS, (
                "one reading of a step is enough"
            )
            assert sorted(steps)[1:] == list(range(FROM_MS // STEP_MS * STEP_MS, NOW_MS + 1, STEP_MS))
        assert set(line["f"]) <= {FINAL, OUTSIDE}


OF_INDICATOR = """name => {
  const one = [...document.querySelectorAll(".hl-indicator")].find(x => x.children[0].textContent === name);
  return one && [one.children[1].textContent, one.children[3].textContent, one.querySelectorAll(".hl-pin").length];
}"""
SCALE = """async () => {
  const { echarts } = await import("nicegui-echart");
  const chart = echarts.getInstanceByDom(document.querySelector("#panel-primary .hl-chart"));
  const model = chart.getModel();
  const areas = chart.getOption().series.flatMap(x => x.markArea?.data ?? []);
  return [model.getComponent("yAxis", 0).axis.scale.getExtent(), areas.map(([a]) => a.name)];
}"""


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize(
    ("language", "supply", "heat", "says"),
    [
        ("en", "supply temperature", "heat output", "out of range: supply °C"),
        ("zh", "供水温度", "热功率", "数值超出量程: 供水 °C"),
    ],
)
def test_a_broken_sensor_s_values_are_marked_and_set_no_band_and_no_scale(
    opened, size, language, supply, heat, says
):
    watched = opened(f"/substation/{BROKEN}?lang={language}", size)
    page = watched.page
    until(page, "['primary', 'indicators'].every(x => performance.getEntriesByName(`hl-drawn-${x}`).length)")
    value, band, pins = until(page, OF_INDICATOR, supply)
    assert value == "✕3 250.0 °C"
    assert pins == 0
    low, high = map(float, band.split("–"))
    assert 70 < low < high < 110
    value, band, pins = page.evaluate(OF_INDICATOR, heat)
    assert value.startswith("✕3 ")
    assert pins == 0
    low, high = (float(x.replace(",", "")) for x in band.split("–"))
    assert high < 2 * low
    (_, most), crosses = page.evaluate(SCALE)
    assert most < 120
    assert crosses == ["✕3", "✕3"], "one reading, and the hours up to now"
    assert "✕3 250.0 °C" in page.locator("#panel-process").text_content()
    assert says in page.locator("#panel-health").text_content()
    watched.assert_quiet()


def test_what_is_taken_along_says_which_values_cannot_be_so(opened):
    page = opened(f"/substation/{BROKEN}?lang=en").page
    until(page, "performance.getEntriesByName('hl-drawn-primary').length > 0")
    states = {(row[0], float(row[5]) == FAR_C, row[7]) for row in taken(page, "primary")[1:]}
    assert ("supply", True, "out_of_range") in states
    assert ("supply", True, "final") not in states
    assert ("return", False, "final") in states
