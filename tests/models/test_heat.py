"""Heat power and coefficient against figures computed with IF97 directly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from iapws import IAPWS97

from models.heat import excess_volume_m3, heat_coefficient_mj_m3_k, heat_power_kw, on_supply_side

PAIRS = [
    (70.0, 40.0, 4.1485, 4.0882),
    (95.0, 55.0, 4.1325, 4.0329),
    (110.0, 60.0, 4.1311, 3.9958),
    (130.0, 70.0, 4.1255, 3.9446),
]
temperatures = st.floats(0.0, 180.0)


@pytest.mark.parametrize(("supply", "back", "on_return", "on_supply"), PAIRS)
def test_published_coefficients(supply, back, on_return, on_supply):
    k = heat_coefficient_mj_m3_k([supply, supply], [back, back], ["return", "supply"])
    np.testing.assert_allclose(k, [on_return, on_supply], atol=6e-5)


def test_power_is_flow_times_density_times_enthalpy():
    hot, cold = IAPWS97(T=273.15 + 88.37, P=1.6), IAPWS97(T=273.15 + 41.92, P=1.6)
    expected = [q * rho * (hot.h - cold.h) / 3600 for q, rho in ((7.5, hot.rho), (7.5, cold.rho))]
    power = heat_power_kw([7.5, 7.5], [88.37] * 2, [41.92] * 2, [True, False])
    np.testing.assert_allclose(power, expected, rtol=1e-5)


@given(temperatures, temperatures, st.floats(0.0, 1e4), st.booleans())
def test_power_is_the_coefficient_times_flow_and_difference(supply, back, flow, on_supply):
    power = heat_power_kw([flow], [supply], [back], [on_supply])
    k = heat_coefficient_mj_m3_k([supply], [back], [on_supply])
    assert 3.5 < k[0] < 4.6  # MJ/m³K: water between 0 and 180 °C allows nothing else
    np.testing.assert_allclose(power, k * flow * (supply - back) / 3.6, rtol=1e-3, atol=1e-6)


@given(temperatures, st.booleans())
def test_coefficient_is_continuous_where_the_difference_vanishes(t, on_supply):
    k = heat_coefficient_mj_m3_k([t, t], [t, min(t + 0.0011, 180.0)], [on_supply] * 2)
    assert k[0] == pytest.approx(k[1], rel=2e-3)


def test_what_is_unknown_stays_unknown_and_neighbours_stand():
    power = heat_power_kw(
        [12.0, -0.1, np.nan, 12.0, 12.0, 0.0, 12.0],
        [95.0, 95, 95, 181, 95, 95, 55],
        [55.0, 55, 55, 55, np.nan, 55, 95],
        np.zeros(7, dtype=bool),
    )
    assert np.isnan(power).tolist() == [False, True, True, True, True, False, False]
    assert power[5] == 0.0
    assert power[6] < 0.0


def test_words_and_booleans_say_the_same():
    words = ["supply", "return", "supply"]
    assert on_supply_side(words).tolist() == [True, False, True]
    assert on_supply_side(np.array(words, dtype=object)).tolist() == [True, False, True]
    with pytest.raises(ValueError, match="expected mounting 'supply' or 'return', got 'roof'"):
        on_supply_side(["supply", "roof"])


def test_a_substation_that_meets_the_reference_has_no_excess():
    heat_gj = heat_power_kw([10.0], [95.0], [45.0], [False]) * 3600 / 1e6
    np.testing.assert_allclose(excess_volume_m3([10.0], heat_gj, [95.0], [45.0], [False]), 0.0, atol=1e-9)
    worse = excess_volume_m3([15.0], heat_gj, [95.0], 45.0, [False])
    np.testing.assert_allclose(worse, 5.0, atol=1e-9)
    assert np.isnan(excess_volume_m3([15.0, 15.0], [1.0, np.nan], [45.0, 95.0], 45.0, [False] * 2)).all()
