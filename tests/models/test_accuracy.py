"""Permissible errors against the standard's figures, their combination against simulated meters."""

import numpy as np
import pytest

from models.accuracy import (
    calculator_mpe_pct,
    combined_expanded_uncertainty,
    flow_mpe_pct,
    heat_expanded_uncertainty,
    temperature_pair_mpe_pct,
)


@pytest.mark.parametrize(
    ("number", "at_qp", "at_fiftieth", "at_thousandth"),
    [(1, 1.01, 1.5, 5.0), (2, 2.02, 3.0, 5.0), (3, 3.05, 5.0, 5.0)],
)
def test_flow_classes(number, at_qp, at_fiftieth, at_thousandth):
    errors = flow_mpe_pct([20.0, 0.4, 0.02, 0.0], 20.0, number)
    np.testing.assert_allclose(errors, [at_qp, at_fiftieth, at_thousandth, 5.0])


def test_pair_and_calculator():
    np.testing.assert_allclose(
        temperature_pair_mpe_pct([3.0, 10.0, 60.0], [3.0, 10.0, 3.0]), [3.5, 3.5, 0.65]
    )
    np.testing.assert_allclose(calculator_mpe_pct([3.0, 10.0, 60.0], [3.0, 10.0, 3.0]), [1.5, 1.5, 0.55])
    below = temperature_pair_mpe_pct([1.0], [3.0])
    np.testing.assert_allclose(below, [9.5])


def test_worked_example():
    """Class 2 at its permanent flow, 40 K, least difference 3 K: 2.6 %."""
    u = heat_expanded_uncertainty(15.0, 15.0, 40.0, 3.0, 2)
    assert u == pytest.approx(2 * np.sqrt((2.02**2 + 0.725**2 + 0.575**2) / 3) / 100)
    assert round(100 * float(u), 1) == 2.6


def test_simulated_meters_scatter_by_it():
    """Half of it is the standard deviation of the heat of meters that err uniformly within limits."""
    rng = np.random.default_rng(7)
    flow, qp, difference, least = 4.0, 10.0, 25.0, 3.0
    temperatures = temperature_pair_mpe_pct(difference, least), calculator_mpe_pct(difference, least)
    limits = [flow_mpe_pct(flow, qp, 1), *temperatures]
    heat = np.prod([1 + rng.uniform(-m, m, 400_000) / 100 for m in limits], axis=0)
    assert 2 * heat.std() == pytest.approx(
        float(heat_expanded_uncertainty(flow, qp, difference, least, 1)), rel=0.01
    )


def test_what_is_unknown_stays_unknown_and_neighbours_stand():
    nan = np.nan
    u = heat_expanded_uncertainty(
        [10.0, -1.0, nan, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 0.0],
        [10.0, 10.0, 10.0, nan, 0.0, 10.0, 10.0, 10.0, 10.0, 10.0],
        [40.0, 40.0, 40.0, 40.0, 40.0, 0.0, -5.0, 40.0, 40.0, 40.0],
        [3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, nan, 3.0, 3.0],
        [2, 2, 2, 2, 2, 2, 2, 2, 4, 2],
    )
    assert np.isnan(u).tolist() == [False, *[True] * 8, False]
    assert np.isnan(heat_expanded_uncertainty(10.0, 10.0, 40.0, 3.0, nan))


def test_only_the_random_part_averages_down():
    many = combined_expanded_uncertainty(
        [3.0, 3.0, 0.0, nan := np.nan], [8.0, 8.0, 0.0, 1.0], [1, 10**12, 1, 1], 0.0
    )
    np.testing.assert_allclose(many, [2 * np.sqrt(73.0), 6.0, 0.0, nan], rtol=1e-9)
    uniform = np.random.default_rng(3).uniform(-0.5, 0.5, 400_000)
    assert float(combined_expanded_uncertainty(0.0, resolution=1.0)) == pytest.approx(
        2 * uniform.std(), rel=0.01
    )
    assert np.isnan(combined_expanded_uncertainty(1.0, 1.0, 0))
