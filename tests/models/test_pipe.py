"""Pipe losses against the differential equation and against the heat that the water gives up."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from models.pipe import outlet_c, pair_loss_kw
from models.water import enthalpy_kj_kg, heat_capacity_kj_kg_k


@pytest.mark.parametrize(
    ("flow", "length", "u"), [(2.0, 500.0, 0.21), (0.05, 900.0, 0.4), (40.0, 3000.0, 0.6)]
)
def test_outlet_solves_the_balance_of_a_metre(flow, length, u):
    capacity = 1000.0 * float(heat_capacity_kj_kg_k(90.0))
    along = solve_ivp(
        lambda _, t: -u * (t - 8.0) / (flow * capacity), (0.0, length), [90.0], rtol=1e-10, atol=1e-10
    )  # fmt: skip
    assert float(outlet_c(90.0, 8.0, flow, length, u)) == pytest.approx(along.y[0, -1], abs=1e-6)


def test_what_the_pair_loses_is_what_the_water_gives_up():
    flow, length, u, ground = 2.0, 500.0, 0.21, 8.0
    ends = [float(outlet_c(inlet, ground, flow, length, u)) for inlet in (90.0, 50.0)]
    given_up = sum(
        flow * float(enthalpy_kj_kg(a) - enthalpy_kj_kg(b)) for a, b in zip((90.0, 50.0), ends, strict=True)
    )
    lost = pair_loss_kw((90.0 + ends[0]) / 2, (50.0 + ends[1]) / 2, ground, length, u)
    assert float(lost) == pytest.approx(given_up, rel=1e-3)


def test_limits():
    assert outlet_c([90.0, 90.0, 8.0], 8.0, [0.0, 1e9, 1.0], 500.0, 0.21) == pytest.approx([8.0, 90.0, 8.0])
    assert outlet_c([90.0], 8.0, [0.0], [500.0], [0.0]) == pytest.approx([90.0])
    nan = np.nan
    unknown = outlet_c(
        [nan, 190.0, 90.0, 90.0, 90.0, 90.0], 8.0, [1.0, 1.0, -1.0, nan, 0.0, 0.0], [500.0] * 5 + [nan],
        [0.2, 0.2, 0.2, 0.2, nan, 0.2],
    )  # fmt: skip
    assert np.isnan(unknown).all()
    assert np.isnan(pair_loss_kw(90.0, 50.0, nan, 500.0, 0.2))
