import random
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dashboards.history import FINAL, PARTIAL, PROVISIONAL, panel_history, step_ms
from dashboards.panels import panel
from dashboards.scope import Scope
from models.results import Outputs, result_schema
from store.duckdb_series import DuckdbSeries
from store.protocol import Select
from tests.support.board_data import DAY_MS, WINDOW_MS, Day, make_site, seeded

WEEK_MS = 7 * DAY_MS


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
        changes.get("now_ms", day.now_ms),
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


HOUR_MS = 3_600_000


def balanced(tmp_path, measurement, fields):
    """Five balances of a network, of half an hour each; the newest still fills."""
    store = DuckdbSeries(tmp_path / "series.duckdb")
    site = make_site(1)
    site = replace(site, networks={"net-1": replace(site.networks["net-1"], window_s=1800)})
    made = Day(store, site)
    newest = made.now_ms // (HOUR_MS // 2) * (HOUR_MS // 2)
    starts = [newest - k * HOUR_MS // 2 for k in range(5)]
    common = {
        "key": "net-1",
        "unit": "donghe",
        "region": "north",
        "stream": "donghe",
        "window_ms": HOUR_MS // 2,
    }
    tail = {"coverage": 1.0, "status": "final", "reason": None, "revision": 0}
    rows = [{**common, "window_start": t, **dict.fromkeys(fields, 7.0), **tail} for t in starts]
    out = Outputs("donghe", 1)
    out.add(
        measurement, pa.Table.from_pylist(rows, result_schema([pa.field(f, pa.float64()) for f in fields]))
    )
    store.write([out])
    return made, starts


@pytest.mark.parametrize(
    "name", ["heat_terms", "heat_residual", "makeup_rate", "water_loss", "water_terms", "night_minimum"]
)
def test_a_network_s_window_that_still_fills_is_not_drawn(tmp_path, name):
    asked = panel(name)[1].series
    measurement = asked[0].select.measurement
    fields = dict.fromkeys(s.field for s in asked if s.select.measurement == measurement)
    day, starts = balanced(tmp_path, measurement, fields)
    lines = [x for x in history(day, name)["series"] if asked[x["index"]].select.measurement == measurement]
    assert len(lines) >= len(fields)
    assert all(line["t"] == sorted(starts)[:-1] for line in lines)
    first = history(day, name, from_ms=starts[0])
    assert (first["exists"], first["fills"]) == (False, starts[0] + HOUR_MS // 2), "the first one: until when"
    assert "fills" not in history(day, name)
    later = history(day, name, to_ms=starts[0] + HOUR_MS // 2, now_ms=starts[0] + HOUR_MS // 2)["series"]
    assert later[0]["t"] == sorted(starts), "drawn as soon as it is whole"
    day.store.close()


def contracts_of(rows: list[dict[str, Any]]) -> list[Outputs]:
    fields = [pa.field(f, pa.int64()) for f in ("planned_to_date_kg", "received_kg", "expected_kg")]
    common = {
        "unit": "u",
        "region": "r",
        "stream": "h",
        "window_ms": DAY_MS,
        "status": "final",
        "revision": 0,
    }
    table = pa.Table.from_pylist([{**common, **row} for row in rows], schema=result_schema(fields))
    return [Outputs("h", 0, {"fulfilment": [table]}, [])]


def a_year_of_contracts() -> tuple[list[dict[str, Any]], int]:
    """A month, and the next of the same contract and of another that ends early; some days are not known."""
    start_ms, chance = 1_788_192_000_000, random.Random(71)  # 1 September 2026 in Shanghai
    contracts = {"C1:2026-09": range(30), "C2:2026-10": range(30, 61), "C3:2026-10": range(30, 33)}
    rows: list[dict[str, Any]] = []
    for key, days in contracts.items():
        for day in days:
            row: dict[str, Any] = {"key": key, "window_start": start_ms + day * DAY_MS}
            for field in ("received_kg", "planned_to_date_kg"):
                row[field] = 1000 * day + 1 if chance.random() < 0.7 else None
            row["status"] = "final" if row["received_kg"] is not None else "unknown"
            rows.append(row)
    return rows, start_ms


@pytest.mark.parametrize("field", ["received_kg", "planned_to_date_kg"])
def test_a_thinned_year_of_many_is_what_it_is_unthinned_on_the_newest_known_day_of_each_week(tmp_path, field):
    store = DuckdbSeries(tmp_path / "s.duckdb")
    rows, start_ms = a_year_of_contracts()
    store.write(contracts_of(rows))
    to_ms = start_ms + 366 * DAY_MS
    curve = panel("s_curve")[1]

    def line(points: int, pick: str = field) -> dict[str, Any]:
        answer = panel_history(store, make_site(), curve, Scope(), start_ms, to_ms, points, to_ms)
        return next(x for x in answer["series"] if curve.series[x["index"]].field == pick)

    thinned, whole = line(60), line(100_000)
    days = {t: (v, f, n) for t, v, f, n in zip(*(whole[c] for c in "tvfn"), strict=True)}
    newest: dict[int, int] = {}
    for t, (v, _, _) in sorted(days.items()):
        if v is not None:
            newest[t // WEEK_MS] = t
    assert len(newest) > 7
    assert thinned["t"] == sorted(newest.values())
    points = list(zip(thinned["v"], thinned["f"], thinned["n"], strict=True))
    assert points == [days[t] for t in thinned["t"]]
    assert "bin" not in thinned
    store.close()


def test_a_line_a_key_has_its_newest_known_day_of_each_week_with_what_that_is_worth(tmp_path):
    store = DuckdbSeries(tmp_path / "s.duckdb")
    rows, start_ms = a_year_of_contracts()
    store.write(contracts_of(rows))
    to_ms = start_ms + 366 * DAY_MS
    curve = panel("s_curve")[1]
    each = replace(curve, series=tuple(
        replace(s, across="", scale=1) for s in curve.series if s.field in ("received_kg", "planned_to_date_kg")
    ))  # fmt: skip
    answer = panel_history(store, make_site(), each, Scope(), start_ms, to_ms, 60, to_ms)
    for line in answer["series"]:
        field = each.series[line["index"]].field
        wanted = {
            row["window_start"] // WEEK_MS: (row["window_start"], row[field], 2 * (row["status"] == "unknown"))
            for row in rows if row["key"] == line["key"] and row[field] is not None
        }  # fmt: skip
        points = zip(line["t"], line["v"], line["f"], strict=True)
        assert [x for x in points if x[1] is not None] == list(wanted.values())
    heat = panel("heat_windows")[1]
    mean = replace(heat, series=(replace(heat.series[0], select=Select("fulfilment"), field="received_kg",
                                         classes=(), across="", window_ms=0, aggregate="mean"),))  # fmt: skip
    bins = panel_history(store, make_site(), mean, Scope(), start_ms, to_ms, 60, to_ms)["series"]
    assert {line["bin"] for line in bins} == {WEEK_MS}, "what is of more than one row says of how long"
    store.close()


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


def spiky(tmp_path):
    """A day of readings every ten seconds: one of them far off, some minutes without any."""
    made = Day(DuckdbSeries(tmp_path / "series.duckdb"), make_site(1))
    plant = made.site.devices["plant-1"]
    t = np.arange(made.now_ms - DAY_MS, made.now_ms + 1, 10_000, dtype=np.int64)
    t = t[(t < made.now_ms - 7_200_000) | (t > made.now_ms - 6_500_000)]
    values = made.readings(plant, t)
    values["supply_c"][1000], values["supply_c"][5000] = 141.5, 3.25
    out = Outputs("donghe", 1)
    out.readings.append(made.table(plant, t, values))
    made.store.write([out])
    return made, t, values["supply_c"]


def test_a_thinned_day_keeps_the_least_and_the_greatest_reading_of_every_step(tmp_path):
    day, t, supply = spiky(tmp_path)
    line = history(day, "plant_temperatures", points=360)["series"][0]
    step = line["t"][1] - line["t"][0]
    for at, low, mean, high in zip(line["t"], line["low"], line["v"], line["high"], strict=True):
        mine = supply[(t >= max(at, day.now_ms + 1 - DAY_MS)) & (t < at + step)]
        assert (low, mean, high) == pytest.approx((mine.min(), mine.mean(), mine.max()), abs=1e-6)
    assert (max(line["high"]), min(line["low"])) == (141.5, 3.25)
    assert (max(line["v"]), min(line["v"])) != pytest.approx((141.5, 3.25), abs=10)
    day.store.close()


def test_a_step_that_should_hold_readings_and_has_none_is_known_as_a_gap(tmp_path):
    day, t, _ = spiky(tmp_path)
    line = history(day, "plant_temperatures", points=360)["series"][0]
    missing = {x for x in range(line["t"][0], line["t"][-1], line["step"]) if x not in line["t"]}
    assert line["step"] == 300_000
    assert missing == {x for x in missing if not ((t >= x) & (t < x + 300_000)).any()} != set()
    often = history(day, "plant_temperatures", from_ms=day.now_ms - 3_600_000)["series"][0]
    assert "step" not in often, "a step of ten seconds may fall between two readings"
    day.store.close()


def test_several_devices_have_their_extremes_but_a_sum_has_none(day):
    heat = panel("plant_temperatures")[1]
    subs = Select("reading", device_class="substation")
    means = replace(heat.series[0], select=subs, across="mean")
    sums = replace(heat.series[0], select=subs, across="sum")
    drawn = replace(heat, series=(means, sums))
    mean, total = panel_history(
        day.store, day.site, drawn, Scope(), day.now_ms - DAY_MS, day.now_ms, 96, day.now_ms
    )["series"]
    at = mean["t"][5]
    raw = day.store.select(replace(subs, fields=("supply_c",), from_ms=at, to_ms=at + 900_000))
    values = raw["supply_c"].to_numpy()
    assert (mean["low"][5], mean["high"][5]) == pytest.approx((values.min(), values.max()), abs=1e-6)
    assert "low" not in total


class Plain:
    """A store that leaves the extremes of steps out, as the protocol allows."""

    def __init__(self, store):
        self.store = store

    def select(self, query):
        return self.store.select(replace(query, extremes=False))


@pytest.mark.parametrize(("across", "bad"), [("mean", None), ("mean", 400.0), ("sum", 400.0), ("", 400.0)])
def test_a_store_without_extremes_tells_the_same(day, across, bad):
    """Also of a step of which one reading cannot be, though its mean could."""
    if bad is not None:
        day.write_now("sub-04", day.now_ms - 7_200_000 + 1, supply_c=bad)
    heat = panel("plant_temperatures")[1]
    subs = Select("reading", device_class="substation")
    drawn = replace(heat, series=(replace(heat.series[0], select=subs, across=across, classes=()),))
    span = (day.now_ms - DAY_MS, day.now_ms, 96, day.now_ms)
    whole, plain = (
        panel_history(store, day.site, drawn, Scope(), *span) for store in (day.store, Plain(day.store))
    )
    assert plain == whole
    assert any(line["t"] for line in whole["series"])


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
