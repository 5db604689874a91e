"""Quarters and years of contracts: sums by supplier, chances beside drawing, and what nothing is known of."""

import numpy as np
import pytest

from models.contract_periods import period_lines
from models.site import FulfilmentRule


def row(planned, received, expected=None, spread=None, seller="S1", cancelled=0):
    return {
        "planned_kg": planned, "received_kg": received, "cancelled_kg": cancelled, "expected_kg": expected,
        "expected_u_kg": spread, "seller": seller,
    }  # fmt: skip


ROWS = {
    ("A", "2025-12"): row(1000, 0, 0.0, 0.0),
    ("B", "2026-01"): row(1000, 930, 900.0, 0.0),
    ("C", "2026-02"): row(1000, 400, 850.0, 80.0),
    ("D", "2026-02"): row(2000, 1900, 1950.0, 40.0, seller="S2"),
    ("E", "2026-03"): row(1000, 0, seller="S1"),
    ("Z", "2026-02"): {"planned_kg": None},
}


def lines(rows, month, rules=None):
    return {(line.name, line.seller): line for line in period_lines(rows, month, rules)}


def test_a_quarter_holds_its_months_up_to_the_reports_for_all_and_for_each_supplier():
    told = lines(ROWS, "2026-02")
    assert list(told) == [(n, s) for n in ("2026-Q1", "2026") for s in (None, "S1", "S2")]
    everybody = told["2026-Q1", None]
    assert (everybody.contracts, everybody.planned_kg, everybody.received_kg) == (3, 4000, 3230)
    assert (everybody.first_month, everybody.last_month) == ("2026-01", "2026-02")
    assert (everybody.expected_kg, everybody.forecast_pct, everybody.reason) == (3700, 92.5, None)
    assert told["2026", "S1"].planned_kg == 2000
    (year,) = (x for x in period_lines(ROWS, "2025-12") if x.period == "year" and x.seller is None)
    assert (year.name, year.contracts, year.shortfall_p, year.warned) == ("2025", 1, 1.0, True)


def test_a_chance_is_that_of_drawing():
    draws = 900.0 + np.random.default_rng(3).normal(850.0, 40.0, 200_000)
    line = lines(ROWS, "2026-02")["2026-Q1", "S1"]
    assert line.shortfall_p == pytest.approx((draws < 1800.0).mean(), abs=0.01)
    assert line.warned is True
    two = lines(ROWS, "2026-02")["2026-Q1", "S2"]
    assert (two.shortfall_p, two.warned) == (0.0, False)


def test_the_spreads_of_two_contracts_add_up_as_those_of_two_drawings_do():
    draws = np.random.default_rng(4).normal([850.0, 830.0], [30.0, 40.0], (200_000, 2)).sum(axis=1)
    rows = {("B", "2026-01"): row(1000, 400, 850.0, 60.0), ("C", "2026-02"): row(900, 300, 830.0, 80.0)}
    line = lines(rows, "2026-02")["2026-Q1", "S1"]
    assert line.shortfall_p == pytest.approx((draws < 1710.0).mean(), abs=0.01)
    assert 0.7 < line.shortfall_p < 0.75


def test_rules_are_the_sites():
    eased = lines(ROWS, "2026-02", {"quarter": FulfilmentRule("quarter", 80.0, 0.2)})
    assert (eased["2026-Q1", "S1"].least_pct, eased["2026-Q1", "S1"].warned) == (80.0, False)
    assert (eased["2026", "S1"].least_pct, eased["2026", "S1"].warned) == (90.0, True)
    patient = lines(ROWS, "2026-02", {"quarter": FulfilmentRule("quarter", 90.0, 0.95)})
    assert patient["2026-Q1", "S1"].warned is False


def test_where_nothing_is_foretold_of_a_contract_the_period_is_unknown_and_its_neighbours_are_not():
    told = lines(ROWS, "2026-03")
    for seller in (None, "S1"):
        line = told["2026-Q1", seller]
        assert (line.expected_kg, line.forecast_pct, line.shortfall_p, line.warned) == (None,) * 4
        assert (line.reason, line.missing) == ("nothing is foretold of E", "E")
    assert told["2026-Q1", "S2"].shortfall_p == 0.0
    assert told["2026-Q1", "S2"].missing is None
    odd = lines({("C", "2026-02"): row(1000, 400, float("nan"), 80.0)}, "2026-02")
    assert odd["2026", None].shortfall_p is None


@pytest.mark.parametrize(("count", "missing"), [(2, "C0, C1"), (3, "C0, C1 + 1"), (12, "C0, C1 + 10")])
def test_of_many_contracts_that_are_not_foretold_two_are_named(count, missing):
    many = {(f"C{n}", "2026-01"): row(1000, 0) for n in range(count)}
    assert lines(many, "2026-01")["2026", None].missing == missing


def test_what_was_cancelled_cannot_come_and_without_contracts_there_is_no_line():
    line = lines({("C", "2026-02"): row(1000, 400, 780.0, 20.0, cancelled=200)}, "2026-02")["2026-Q1", "S1"]
    assert line.shortfall_p == 1.0
    assert period_lines(ROWS, "2027-01") == ()
