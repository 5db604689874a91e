"""Readings that cannot be so: said, and neither drawn as values nor learnt from, in a real Chromium."""

import re

import numpy as np
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
PLANT, OTHER = "plant-1", "sub-05"
FAR_KPA = 9000.0
FROM_MS = NOW_MS - 2 * 3_600_000
STEP_MS = 300_000


def with_flags(table, bad, *fields):
    says = ";".join(f"implausible:{field}" for field in fields)
    return table.append_column("quality", pa.array([says if x else None for x in bad], pa.string()))


class Broken(Day):
    """The supply's sensor of one substation has been broken for two hours, and was once, for one reading.

    So have been the plant's, and two sensors of another substation.
    """

    def table(self, device, t, values):
        since = t >= FROM_MS
        if device.device == PLANT:
            values = {**values, "supply_c": np.where(since, FAR_C, values["supply_c"])}
            return with_flags(super().table(device, t, values), since, "supply_c")
        if device.device == OTHER:
            far = {"supply_kpa": FAR_KPA, "return_c": FAR_C}
            values = {**values, **{name: np.where(since, far[name], values[name]) for name in far}}
            return with_flags(super().table(device, t, values), since, *far)
        if device.device != BROKEN:
            return super().table(device, t, values)
        far = t >= FROM_MS
        if len(t) > 1000:
            far[len(t) // 2] = True
        values = {k: v.copy() for k, v in values.items()}
        values["supply_c"][far] = FAR_C
        values["heat_kw"][far] *= 5
        return with_flags(super().table(device, t, values), far, "supply_c")


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


@pytest.mark.parametrize(
    ("name", "index", "field", "alone"),
    [
        ("plant_temperatures", 0, "supply_c", True),
        ("supply_return", 0, "supply_c", True),
        ("heat_output", 0, "heat_kw", True),
        ("network_pressure", 2, "supply_kpa", False),
    ],
)
def test_a_line_of_several_devices_is_of_those_whose_readings_can_be(running, name, index, field, alone):
    """Of the plant alone nothing is known; of thirty substations 29 are, and their mean is theirs."""
    _, shown = panel(name)
    assert shown.series[index].field == field, "of that panel"
    told = panel_history(
        running.day.store, running.day.site, shown, Scope(), NOW_MS - DAY_MS, NOW_MS + 1, 360, NOW_MS
    )
    (line,) = [x for x in told["series"] if x["index"] == index]
    before = [v for t, v in zip(line["t"], line["v"], strict=True) if t < FROM_MS // STEP_MS * STEP_MS]
    since = [v for t, v in zip(line["t"], line["v"], strict=True) if t >= FROM_MS]
    assert before
    assert since
    assert None not in before
    if alone:
        assert set(since) == {None}
    else:
        assert 630 < min(since) <= max(since) < 650
        assert max(x for x in line["high"] if x is not None) < 700
        lacking = {of - n for t, n, of in zip(line["t"], line["n"], line["of"], strict=True) if t >= FROM_MS}
        assert lacking == {1}


@pytest.mark.parametrize(
    ("language", "says", "why"), [("en", "unknown", "out of range"), ("zh", "未知", "数值超出量程")]
)
def test_a_tile_and_a_strip_say_unknown_of_what_cannot_be(opened, language, says, why):
    page = opened(f"/?lang={language}").page
    outdoor = "document.querySelector('#panel-outdoor .hl-value')?.innerText ?? ''"
    until(page, f"{outdoor}.includes('°C')")
    assert page.inner_text("#panel-heat_output .hl-value") == says
    assert re.fullmatch(r"– / [0-9.]+ °C", page.inner_text("#panel-supply_return .hl-value"))
    assert all(
        why in page.inner_text(f"#panel-{name} .hl-detail") for name in ("supply_return", "heat_output")
    )
    page = opened(f"/network?lang={language}").page
    until(page, "document.querySelectorAll('#panel-return_deviations [href*=sub-04]').length")
    marks = page.locator(f"#panel-return_deviations [href*={OTHER}]").first
    spoken = marks.get_attribute("aria-label") or marks.text_content()
    assert "K" not in spoken
    assert says in spoken


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
    until(page, f"document.querySelector('#panel-health').textContent.includes({says!r})")
    watched.assert_quiet()


def test_what_is_taken_along_says_which_values_cannot_be_so(opened):
    page = opened(f"/substation/{BROKEN}?lang=en").page
    until(page, "performance.getEntriesByName('hl-drawn-primary').length > 0")
    states = {(row[0], float(row[5]) == FAR_C, row[7]) for row in taken(page, "primary")[1:]}
    assert ("supply", True, "out_of_range") in states
    assert ("supply", True, "final") not in states
    assert ("return", False, "final") in states
