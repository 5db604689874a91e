"""Checks find what was done to weighings, and nothing among honest ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.truck_checks import Receipt, TareSeries, inflated_tares, repeated_weights, tare_drift
from models.verdicts import bridge_effects, bridge_verdicts, judge_days, judge_truck
from models.weighing import Correction, Weighing, corrected, flags_of, overload_kg

DAY_MS = 86_400_000


def series(rng, n: int = 30, added=lambda _day: 0.0) -> TareSeries:
    days = np.arange(n)
    kg = 15_000.0 + 26.0 * rng.standard_normal(n) + np.array([added(d) for d in days])
    return TareSeries(days * DAY_MS, np.round(kg / 20.0) * 20.0)


def test_honest_trucks_are_left_alone() -> None:
    rng = np.random.default_rng(1)
    for _ in range(2_000):
        ends = series(rng), series(rng)
        assert tare_drift(*ends) is None
        assert inflated_tares(*ends) is None
    loads = [
        Receipt(n, 20.0 * round(rng.normal(2_300, 35)), 20.0 * round(rng.normal(750, 1.4)))
        for n in range(30_000)
    ]
    assert len(repeated_weights(loads)) <= 1


def test_a_drift_is_found_within_days_and_a_wrong_bridge_is_none() -> None:
    rng = np.random.default_rng(2)

    def growing(day: float) -> float:
        return 40.0 * max(0.0, day - 12)

    found = tare_drift(series(rng, added=growing), series(rng, added=growing))
    assert found is not None
    assert 11 * DAY_MS <= found.first_ms <= 18 * DAY_MS
    assert found.size_kg == pytest.approx(40.0 * 16, rel=0.2)
    assert tare_drift(series(rng, added=lambda d: -120.0 * (d > 15)), series(rng)) is None


def test_inflated_tares_are_found_though_the_truck_drifts() -> None:
    rng = np.random.default_rng(3)
    honest = series(rng, added=lambda d: 30.0 * d)
    inflated = series(rng, added=lambda d: 30.0 * d + 600.0 * (d in {20, 24, 25}))
    found = inflated_tares(inflated, honest)
    assert found is not None
    assert (found.first_ms, found.until_ms, found.count) == (20 * DAY_MS, 25 * DAY_MS, 3)
    assert found.size_kg == pytest.approx(600.0, abs=80.0)


def test_three_alike_in_a_row_are_repeated_and_two_are_not() -> None:
    a, b = (46_000.0, 15_000.0), (45_000.0, 15_020.0)
    loads = [Receipt(n, *x) for n, x in enumerate([a, b, a, a, b, b, b, a, b])]
    found = repeated_weights(loads)
    assert [(f.first_ms, f.until_ms, f.count) for f in found] == [(5, 6, 2)]


def test_a_contract_is_judged_by_its_lots_and_says_how_many_trucks() -> None:
    rng = np.random.default_rng(4)
    day = np.repeat(np.arange(30), 20)
    moisture = 0.002 * rng.standard_normal(30)

    def losses(mean: float):
        return mean + moisture[day] + 0.003 * rng.standard_normal(len(day))

    assert judge_days(day, day, losses(0.003), 29, tolerance=0.008, common=0.001) == []
    found = judge_days(day, day, losses(0.02), 29, tolerance=0.008, common=0.001)
    assert len(found) == 1
    assert found[0].first_day <= 3
    assert found[0].trucks == 14 * 20
    assert found[0].needed <= 10
    assert judge_days(day, day, losses(0.02), 1, tolerance=0.008, common=0.001) == [], "two lots are too few"


def test_a_truck_is_not_judged_by_one_load() -> None:
    honest = np.zeros(20)
    assert list(judge_truck(honest, 0.003, 0.008)) == []
    once = honest.copy()
    once[7] = 0.3
    assert list(judge_truck(once, 0.003, 0.008)) == []
    often = honest.copy()
    often[[7, 9, 10, 12]] = 0.05
    ((first, last, verdict),) = judge_truck(often, 0.003, 0.008)
    assert (first, last) == (7, 12)
    assert verdict.needed >= 3


def test_bridges_are_told_from_each_other_by_the_trucks_that_they_share() -> None:
    rng = np.random.default_rng(6)
    n = 6_000
    row, column = rng.integers(0, 6, n), 6 + rng.integers(0, 4, n)
    error = 3e-4 * rng.standard_normal(10)
    day = np.sort(rng.integers(0, 30, n))
    off = np.zeros((30, 10))
    off[12:, 3] = -0.008
    off[:, 8] = 4e-4 * np.maximum(0, np.arange(30) - 10)
    value = error[row] + off[day, row] - error[column] - off[day, column] + 0.0008 * rng.standard_normal(n)
    found = {v.bridge: v for v in bridge_verdicts(day, row, column, value, 10, 29)}
    assert found.keys() == {3, 8}
    assert found[3].first_day in {12, 13, 14}
    assert found[3].change == pytest.approx(-0.008, abs=5e-4)
    assert found[8].change == pytest.approx(4e-4 * 18, abs=8e-4)
    assert np.isnan(bridge_effects(np.zeros(9, int), np.ones(9, int), np.zeros(9), 2)[0]).all(), "two alone"


def test_a_correction_needs_a_reason_and_a_person_and_leaves_the_ticket() -> None:
    said = Weighing(0, "b", "T", "gross", 45_000.0, plate="P1", contract="C1")
    entered = [
        Correction(3, "K3", "misread", "Li", "gross", 43_000.0),
        Correction(2, "K2", "misread", "Li", "gross", 44_000.0, plate="P2"),
        Correction(4, "K4", "", "Li", "gross", 1.0),
        Correction(5, "K5", "why", "", "gross", 2.0),
        Correction(6, "K6", "other step", "Li", "tare", 3.0),
    ]
    stands = corrected(said, entered)
    assert (stands.mass_kg, stands.plate, stands.contract) == (43_000.0, "P2", "C1")
    assert "corrected" in stands.flags
    assert corrected(said, entered[2:]) is said


def test_a_mass_over_the_rated_one_and_what_is_unknown(site) -> None:
    assert overload_kg(49_600.0, 49_000.0) == 600.0
    assert (
        overload_kg(49_400.0, 49_000.0) == overload_kg(None, 49_000.0) == overload_kg(60_000.0, None) == 0.0
    )
    odd = Weighing(0, "bridge-m", "T", "half", None, plate="nobody", tag="", contract="C1-X")
    assert flags_of(odd, ("implausible:mass_kg",), site, site.tags) == (
        "implausible_mass", "unknown_step", "unknown_plate", "unknown_contract",
    )  # fmt: skip
    swapped = Weighing(0, "bridge-m", "T", "gross", 50_000.0, plate="P1", tag="T2", contract="C1")
    assert flags_of(swapped, (), site, site.tags) == ("tag_mismatch", "overload")
    strange = replace(swapped, tag="T-NOBODYS", mass_kg=40_000.0)
    assert flags_of(strange, (), site, site.tags) == ("tag_mismatch",)
    untagged = replace(site, vehicles={"P1": replace(site.vehicles["P1"], tag="")})
    assert flags_of(strange, (), untagged, untagged.tags) == ()


@pytest.fixture
def site():
    from models.site_files import parse_site
    from tests.support.road import ROAD_TEXTS

    return parse_site(ROAD_TEXTS)[0]
