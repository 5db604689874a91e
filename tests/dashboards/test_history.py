import numpy as np
import pytest

from dashboards.history import FINAL, PARTIAL, PROVISIONAL, panel_history, step_ms
from dashboards.panels import panel
from dashboards.scope import Scope
from store.protocol import Select
from tests.support.board_data import DAY_MS, WINDOW_MS, seeded


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    made = seeded(tmp_path_factory.mktemp("series"), trouble=True)
    yield made
    made.store.close()


def history(day, panel_id, scope=None, **changes):
    to_ms = changes.get("to_ms", day.now_ms + 1)
    from_ms = changes.get("from_ms", to_ms - DAY_MS)
    return panel_history(
        day.store,
        day.site,
        panel(panel_id)[1],
        scope or Scope(),
        from_ms,
        to_ms,
        changes.get("points", 400),
        day.now_ms,
    )


@pytest.mark.parametrize(
    ("span_h", "points", "step_s"), [(1, 360, 10), (24, 360, 300), (168, 360, 1800), (24 * 365, 366, 86_400)]
)
def test_steps_are_round_and_give_about_as_many_points_as_asked(span_h, points, step_s):
    step = step_ms(0, span_h * 3_600_000, points)
    assert step == 1000 * step_s
    assert span_h * 3_600_000 / step <= points * 1.02


def test_the_sum_of_substations_equals_the_rows_of_the_store(day):
    answer = history(day, "heat_windows")
    line = next(x for x in answer["series"] if x["index"] == 1)
    rows = day.store.select(Select("device_heat")).to_pylist()
    at = line["t"][10]
    wanted = sum(r["heat_gj"] for r in rows if r["window_start"] == at and r["key"].startswith("sub-"))
    assert line["v"][10] == pytest.approx(wanted, abs=1e-6)
    assert (line["n"][10], line["of"][10], line["f"][10]) == (30, 30, FINAL)


def test_a_sum_that_lacks_a_device_says_so_instead_of_passing_for_whole(day):
    line = next(x for x in history(day, "heat_windows")["series"] if x["index"] == 1)
    assert (line["n"][-1], line["of"][-1], line["f"][-1]) == (29, 30, PARTIAL)


def test_the_window_that_still_fills_is_not_drawn(day):
    line = next(x for x in history(day, "heat_windows")["series"] if x["index"] == 0)
    assert line["t"][-1] + WINDOW_MS <= day.now_ms
    table = day.store.select(Select("device_heat", keys=("plant-1",)))
    assert table["window_start"].to_pylist()[-1] + WINDOW_MS > day.now_ms


def test_provisional_points_are_flagged(day):
    later = panel_history(
        day.store, day.site, panel("heat_windows")[1], Scope(), day.now_ms - DAY_MS, day.now_ms + WINDOW_MS, 400,
        day.now_ms + WINDOW_MS,
    )  # fmt: skip
    line = next(x for x in later["series"] if x["index"] == 0)
    assert line["f"][-1] == PROVISIONAL


def test_readings_are_thinned_to_the_means_of_round_steps(day):
    answer = history(day, "primary", Scope(device="sub-03"), points=96)
    line = answer["series"][0]
    assert np.unique(np.diff(line["t"])).tolist() == [900_000]
    raw = day.store.select(
        Select("reading", keys=("sub-03",), fields=("supply_c",), from_ms=line["t"][5], to_ms=line["t"][6])
    )
    assert line["v"][5] == pytest.approx(np.mean(raw["supply_c"].to_numpy()), abs=1e-6)


def test_a_measurement_that_the_store_does_not_have_gives_nothing_rather_than_zero(day):
    answer = history(day, "heat_days")
    assert answer["exists"] is False
    assert all(not line["t"] for line in answer["series"])


def test_coverage_comes_by_device_and_hour_worst_first(day):
    answer = history(day, "coverage")
    assert answer["series"][0]["key"] == "sub-21"
    assert 30 < min(answer["series"][0]["v"]) < 32
    assert len(answer["series"]) == 31


def test_a_scope_narrows_to_its_own_devices(day):
    nothing = history(day, "heat_windows", Scope(unit="elsewhere"))
    assert nothing["exists"] is False
    assert history(day, "heat_windows", Scope(unit="donghe"))["exists"] is True
