"""Signatures are found again in days made of them, and are not made up where days do not tell them."""

from __future__ import annotations

import numpy as np
import pytest

from models.energy_signature import fit_signature, signature_power_kw

OUTDOOR = np.random.default_rng(3).uniform(-12.0, 22.0, 180)


def days(base: float, slope: float, balance: float, seed: int, noise: float = 0.05) -> np.ndarray:
    load = signature_power_kw(base, slope, balance, OUTDOOR)
    return load * (1.0 + noise * np.random.default_rng(seed).standard_normal(len(OUTDOOR)))


def test_signatures_of_many_devices_are_found_at_once() -> None:
    truth = [(4.0, 1.2, 15.0), (0.0, 300.0, 17.5), (900.0, 55.0, 12.0)]
    found = fit_signature(np.stack([days(*t, seed) for seed, t in enumerate(truth)], axis=1), OUTDOOR)
    assert found.reason.tolist() == [""] * 3
    for at, (base, slope, balance) in enumerate(truth):
        cold = base + slope * balance
        assert found.base_kw[at] == pytest.approx(base, abs=0.03 * cold)
        assert found.slope_kw_k[at] == pytest.approx(slope, rel=0.04)
        assert found.balance_c[at] == pytest.approx(balance, abs=0.75)
    alone = fit_signature(days(*truth[1], 1)[:, None], OUTDOOR)
    assert (alone.base_kw[0], alone.slope_kw_k[0]) == pytest.approx((found.base_kw[1], found.slope_kw_k[1]))


def test_a_few_days_gone_wrong_do_not_bend_it() -> None:
    load = days(4.0, 1.2, 15.0, 1)
    clean = fit_signature(load[:, None], OUTDOOR)
    load[5::14] *= 3.0
    bent = fit_signature(load[:, None], OUTDOOR)
    grid = np.array([-10.0, 0.0, 10.0])
    lines = [signature_power_kw(s.base_kw[0], s.slope_kw_k[0], s.balance_c[0], grid) for s in (clean, bent)]
    assert lines[1] == pytest.approx(lines[0], rel=0.03)


def test_days_shut_off_out_of_season_are_left_out_and_warm_ones_without_heat_are_not() -> None:
    load = days(0.0, 5.0, 16.0, 2)
    off = (np.arange(len(load)) > 60) & (OUTDOOR > 0.0) & (OUTDOOR < 12.0)
    found = fit_signature(np.where(off, 0.0, load)[:, None], OUTDOOR)
    assert found.slope_kw_k[0] == pytest.approx(5.0, rel=0.04)
    assert found.balance_c[0] == pytest.approx(16.0, abs=0.75)


def test_of_days_that_were_all_cold_the_line_ends_where_nothing_is_heated() -> None:
    outdoor = np.linspace(-15.0, 4.0, 60)
    found = fit_signature(signature_power_kw(0.0, 2.0, 18.0, outdoor)[:, None], outdoor)
    assert found.base_kw[0] == pytest.approx(0.0, abs=1e-6)
    assert found.balance_c[0] == 18.0


@pytest.mark.parametrize(
    ("load", "outdoor", "reason"),
    [
        (days(4.0, 1.2, 15.0, 1), np.full(180, np.nan), "no_outdoor"),
        (np.full(180, np.nan), OUTDOOR, "few_days"),
        (np.where(np.arange(180) < 13, days(4.0, 1.2, 15.0, 1), np.nan), OUTDOOR, "few_days"),
        (np.full(180, 7.3), OUTDOOR, "flat"),
        (np.zeros(180), OUTDOOR, "no_heat"),
        (np.random.default_rng(1).uniform(5.0, 6.0, 180), OUTDOOR, "flat"),
        (signature_power_kw(3.0, -1.0, 15.0, OUTDOOR) + 40.0, OUTDOOR, "flat"),
        (days(4.0, 1.2, 15.0, 1), 5.0 + OUTDOOR / 100.0, "no_spread"),
        (np.where(OUTDOOR > 16.0, 4.0, np.nan), OUTDOOR, "flat"),
        (np.where(np.arange(180) < 100, np.nan, np.inf), OUTDOOR, "few_days"),
    ],
)
def test_what_days_do_not_tell_is_absent(load: np.ndarray, outdoor: np.ndarray, reason: str) -> None:
    good = days(4.0, 1.2, 15.0, 1)
    both = np.stack([OUTDOOR, outdoor], axis=1)
    found = fit_signature(np.stack([good, load], axis=1), both)
    assert found.reason.tolist() == ["", reason]
    told = np.array([found.base_kw, found.slope_kw_k, found.balance_c, found.sigma_kw])
    assert np.isnan(told[:, 1]).all()
    assert np.isfinite(told[:, 0]).all(), "the neighbour is not harmed"


def test_no_days_at_all_and_no_devices_at_all() -> None:
    assert fit_signature(np.empty((0, 2)), np.empty(0)).reason.tolist() == ["no_outdoor"] * 2
    assert len(fit_signature(np.empty((5, 0)), np.empty(5)).days) == 0
    with pytest.raises(ValueError, match=r"expected power \(days, devices\)"):
        fit_signature(np.empty((5, 2)), np.empty(4))
