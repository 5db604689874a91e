"""Yards: books that close, lots that go in the order in which they came, coal that lacks heat."""

import csv
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.burning_days import BurningDays, recent_loads
from models.coal_quality import dry_mj_kg, quality_gap
from models.coal_yard import closure_t, misses_closure, reclaimed_kg
from models.fuel_heat import Loads, Trips, by_supplier, cost_cny_gj, days_left, efficiency_pct, reach
from models.yard_account import Lots, yard_account

RECORDINGS = os.environ.get("HEARTHLINE_RECORDINGS")
DAY = 86_400_000


@pytest.mark.skipif(not RECORDINGS, reason="HEARTHLINE_RECORDINGS is not set: see docs/recordings.md")
def test_plant_months_that_miss_closure_are_those_of_a_plain_computation():
    with (Path(RECORDINGS or "") / "coal_stock" / "plant_months_2024.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # Plainly, in exact fractions, month by month.
    closing = {(r["Name of TPS"], int(r["Month"])): Fraction(r["Closing Stocks"]) for r in rows}
    plain = set()
    for r in rows:
        name, month = r["Name of TPS"], int(r["Month"])
        if (name, month - 1) in closing:
            burnt = Fraction(r["Total Consumption"])
            miss = closing[name, month - 1] + Fraction(r["Total"]) - burnt - Fraction(r["Closing Stocks"])
            if abs(miss) * 200 > burnt:
                plain.add((name, month))
    # By the model, in thousand tonnes as arrays; the opening stock is the closing one a month before.
    keys = [(r["Name of TPS"], int(r["Month"])) for r in rows]
    stock = {key: float(r["Closing Stocks"]) for key, r in zip(keys, rows, strict=True)}
    opening = [stock.get((name, month - 1), float("nan")) for name, month in keys]
    came, burnt, left = (
        [float(r[c]) for r in rows] for c in ("Total", "Total Consumption", "Closing Stocks")
    )
    residual = closure_t(opening, came, burnt, left)
    ours = {key for key, miss in zip(keys, misses_closure(residual, burnt), strict=True) if miss}
    assert len(rows) == 2073
    assert len(plain) > 100
    assert ours == plain


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, 500), min_size=1, max_size=12),
    st.lists(st.integers(0, 400), min_size=1, max_size=12),
)
def test_lots_are_reclaimed_as_a_queue_would(lots, takings):
    queue = [[n, kg] for n, kg in enumerate(lots)]
    gone = 0.0
    for taking in takings:
        expected = np.zeros(len(lots))
        wanted = taking
        while wanted and queue:
            n, kg = queue[0]
            part = min(kg, wanted)
            expected[n] += part
            wanted -= part
            queue[0][1] -= part
            if not queue[0][1]:
                queue.pop(0)
        assert reclaimed_kg(lots, gone, gone + taking).tolist() == expected.tolist()
        gone += taking


def test_a_survey_sets_the_books_right_either_way_and_says_by_how_much():
    came = Lots.of([(10, 50.0, 21.0, 22.0, "A"), (40, 30.0, 19.0, 19.0, "B")])
    books = yard_account([(0, 100.0), (30, 85.0), (50, 120.0)], came, [(20, 60.0), (45, 5.0)], 20.0)
    assert books.residuals_kg == ((30, 5.0), (50, -10.0))
    assert books.stock_kg(30) == 85.0
    assert books.stock_kg(50) == 120.0
    assert books.lying_kg(50).sum() == pytest.approx(120.0)


def test_a_yard_without_a_reading_has_no_books():
    assert yard_account([], Lots.of([(1, 5.0, 20.0, 20.0, "A")]), [], 20.0) is None


def steady(kw, hours=60 * 24, spread=0.0):
    return Loads(*(np.full(hours, kw * (1.0 + by)) for by in (-spread, 0.0, spread)), "recent")


def no_trips():
    return Trips(*(np.empty(0) for _ in range(4)))


def test_days_left_are_stock_over_load_and_unknown_beyond_what_is_foretold():
    assert days_left(8640.0, steady(10_000.0))[1] == pytest.approx(10.0)
    few, middle, many = days_left(8640.0, steady(10_000.0, spread=0.25))
    assert few < middle < many
    assert few == pytest.approx(8.0)
    assert np.isnan(days_left(1e9, steady(10_000.0))).all()
    assert np.isnan(days_left(float("nan"), steady(10_000.0))).all()


def test_coal_on_the_road_prolongs_the_yard_once_it_can_be_counted_on():
    loads = steady(10_000.0)
    alone = reach(8640.0, 0.0, 864.0, loads, no_trips())
    known = Trips(*(np.array([x]) for x in (864.0, 20.0, 24.0, 30.0)))
    unknown = Trips(np.array([864.0]), *(np.array([np.nan]) for _ in range(3)))
    assert alone.days == pytest.approx(10.0, abs=0.05)
    assert reach(8640.0, 0.0, 864.0, loads, known).days == pytest.approx(11.0, abs=0.05)
    assert reach(8640.0, 0.0, 864.0, loads, unknown) == alone


def test_the_last_safe_hour_is_when_the_least_stock_is_likely_broken():
    loads = steady(10_000.0, spread=0.2)
    found = reach(8640.0, 86.4, 864.0, loads, no_trips())
    assert 24 * 7 < found.safe_h < 24 * 9
    assert reach(8640.0, 86.4, 8000.0, loads, no_trips()).below_min_p > 0.99
    late = Trips(*(np.array([x]) for x in (8640.0, 400.0, 500.0, 600.0)))
    assert reach(8640.0, 86.4, 864.0, loads, late).safe_h == found.safe_h


def test_a_tonne_of_5500_kcal_at_80_percent_is_54_3_kg_a_gj():
    assert efficiency_pct(100.0, 5430.0, 5500 * 0.0041868) == pytest.approx(80.0, abs=0.1)
    assert np.isnan(efficiency_pct(1.0, 0.0, 20.0))


def test_loss_and_quality_make_cheap_coal_dear():
    cheap = cost_cny_gj(560.0, 0.0, 30_000.0, 29_000.0, 19.0, 0.8)
    dear = cost_cny_gj(600.0, 0.0, 30_000.0, 29_950.0, 21.5, 0.8)
    assert cheap > dear
    assert cost_cny_gj(600.0, 0.0, 30_000.0, 30_000.0, 20.0, 1.0) == pytest.approx(30.0)


def burning(deficit, days=30, seed=1):
    """A furnace of 80 % that is fed by three suppliers in turns; B's coal lacks `deficit` of what it says."""
    draw = np.random.default_rng(seed)
    rows, burnt, heat, t = [], [], [], 0
    for n in range(days):
        shares = draw.dirichlet([1.0, 1.0, 1.0])
        rows += [(n * DAY + 1 + k, 1e5 * s, 21.0, 21.0, "ABC"[k]) for k, s in enumerate(shares)]
        burnt.append(((n + 1) * DAY, 1e5))
        t = (n + 1) * DAY
        heat.append(1e5 * 21.0 * 0.8 / 1e3 * (1.0 - deficit * shares[1]))
    books = yard_account([(0, 0.0)], Lots.of(rows), burnt, 20.0)
    spans = [(n * DAY, (n + 1) * DAY) for n in range(days)]
    kg = np.full(days, 1e5)
    # Taken on the last instant of a day is taken on that day.
    days_ = BurningDays.of(books, [(a + 1, b + 1) for a, b in spans], np.array(heat), kg, np.ones(days))
    assert t == spans[-1][1]
    return days_


def test_a_supplier_that_lacks_heat_is_named_by_the_furnace_alone():
    told = {s.supplier: s for s in burning(0.06).suppliers()}
    assert told["B"].residual_pct == pytest.approx(-6.0, abs=0.3)
    assert abs(told["A"].residual_pct) < 0.3
    assert abs(told["C"].residual_pct) < 0.3
    assert told["B"].residual_pct + told["B"].residual_u_pct < -5.0


def test_nobody_is_named_where_all_are_honest_or_nothing_tells_them_apart():
    assert all(abs(s.residual_pct) < 0.3 for s in burning(0.0).suppliers())
    same = np.full((10, 2), 0.5)
    assert np.isnan(by_supplier(np.full(10, 78.0), same)[0]).all()
    assert np.isnan(by_supplier([np.nan, 80.0], np.eye(2))[0]).all()


def test_recent_loads_are_the_last_days_and_without_deciles_where_there_are_too_few():
    loads = recent_loads(burning(0.0))
    assert loads.p50_kw[0] == pytest.approx(1e5 * 21.0 * 0.8 / 86.4, rel=1e-6)
    few = recent_loads(burning(0.0, days=3))
    assert few.p50_kw[0] == pytest.approx(loads.p50_kw[0])
    assert np.isnan(few.p10_kw).all(), "nobody knows yet how days scatter"
    by_mass = recent_loads(burning(0.0), by_mass=True)
    assert by_mass.cumulated_gj("p50_kw")[23] == pytest.approx(1e5), "a kilogram stands for a GJ"


def test_water_added_on_the_way_is_not_heat_missing():
    dry = dry_mj_kg([21.0], [10.0])[0]
    wet = dry * (100 - 14.0) / 100 - 0.02443 * 14.0
    assert dry_mj_kg([wet], [14.0])[0] == pytest.approx(dry)


def test_a_moisture_of_130_percent_is_no_result_and_its_lot_in_no_mean():
    certified = dry_mj_kg([20.0] * 6, [10.0] * 6)
    found = dry_mj_kg([18.8] * 6, [10.0, 10.2, 9.8, 10.1, 9.9, 130.0])
    gap = quality_gap(certified, found)
    assert gap.lots == 5
    assert gap.short_pct == pytest.approx(6.0, abs=0.2)
    assert gap.short


def test_few_lots_are_no_verdict_and_scatter_asks_for_more():
    assert not quality_gap([20.0] * 4, [18.8, 18.9, 18.7, 18.8]).short
    scattered = quality_gap([20.0] * 6, [19.0, 20.1, 18.5, 20.0, 19.2, 20.2])
    assert not scattered.short
    assert np.isnan(quality_gap([20.0], [18.0]).short_pct)
