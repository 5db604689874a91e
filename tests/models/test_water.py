"""Water properties against IAPWS-IF97 itself and against published figures."""

import numpy as np
import pytest
from iapws import IAPWS97

from models.water import density_kg_m3, enthalpy_kj_kg, heat_capacity_kj_kg_k
from models.water_table import DENSITY_KG_M3, ENTHALPY_KJ_KG

SHOWN_C = [20.0, 40.0, 60.0, 80.0, 95.0, 110.0, 130.0]


def test_oracle_meets_the_verification_point_of_if97():
    """The library that the table comes from is itself checked against the release's table 5."""
    state = IAPWS97(T=300.0, P=3.0)
    assert state.v == pytest.approx(0.00100215168, abs=5e-12)
    assert state.h == pytest.approx(115.331273, abs=5e-7)


def test_table_is_what_iapws_gives():
    states = [IAPWS97(T=t + 273.15, P=1.6) for t in range(181)]
    np.testing.assert_allclose(DENSITY_KG_M3, [s.rho for s in states], rtol=1e-9)
    np.testing.assert_allclose(ENTHALPY_KJ_KG, [s.h for s in states], rtol=1e-9)


def test_between_rows_it_stays_close():
    t_c = np.random.default_rng(1).uniform(0.0, 180.0, 400)
    states = [IAPWS97(T=t + 273.15, P=1.6) for t in t_c]
    np.testing.assert_allclose(enthalpy_kj_kg(t_c), [s.h for s in states], atol=6e-4, rtol=0)
    np.testing.assert_allclose(density_kg_m3(t_c), [s.rho for s in states], atol=3e-3, rtol=0)
    np.testing.assert_allclose(heat_capacity_kj_kg_k(t_c), [s.cp for s in states], rtol=4e-4)


def test_published_figures():
    np.testing.assert_allclose(
        density_kg_m3(SHOWN_C), [998.891, 992.879, 983.863, 972.472, 962.587, 951.652, 935.522], atol=6e-4
    )
    np.testing.assert_allclose(
        enthalpy_kj_kg(SHOWN_C), [85.423, 168.952, 252.481, 336.184, 399.174, 462.423, 547.288], atol=6e-4
    )


@pytest.mark.parametrize("of", [density_kg_m3, enthalpy_kj_kg, heat_capacity_kj_kg_k])
def test_outside_the_range_nothing_is_claimed(of):
    known = np.isfinite(of([-1e-9, 0.0, 180.0, 180.0001, np.nan, np.inf, -np.inf]))
    assert known.tolist() == [False, True, True, False, False, False, False]
