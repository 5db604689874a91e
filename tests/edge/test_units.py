from __future__ import annotations

import numpy as np
import pytest

from edge.units import conversion, unit_of
from edge.water_table import DENSITY_KG_M3, density_kg_m3
from models.measurements import MEASUREMENTS, Kind
from models.water import density_kg_m3 as of_the_server


@pytest.mark.parametrize(
    ("measurement", "unit", "value", "expected"),
    [
        ("energy_gj", "MWh", 10.0, 36.0),
        ("energy_gj", "kWh", 1000.0, 3.6),
        ("energy_gj", "Gcal", 1.0, 4.1868),
        ("heat_kw", "GJ/h", 3.6, 1000.0),
        ("heat_kw", "MW", 1.5, 1500.0),
        ("flow_m3_h", "l/h", 553.0, 0.553),
        ("flow_m3_h", "l/s", 10.0, 36.0),
        ("secondary_flow_m3_h", "m³/s", 0.01, 36.0),
        ("supply_c", "K", 373.15, 100.0),
        ("supply_c", "°F", 212.0, 100.0),
        ("return_kpa", "bar", 6.0, 600.0),
        ("return_kpa", "MPa", 0.6, 600.0),
        ("mass_kg", "t", 49.5, 49500.0),
        ("stock_t", "kg", 1500.0, 1.5),
        ("speed_m_s", "km/h", 72.0, 20.0),
        ("operating_h", "s", 7200.0, 2.0),
        ("valve_pct", "1", 0.25, 25.0),
        ("q_net_ar_mj_kg", "kcal/kg", 5500.0, 23.0274),
    ],
)
def test_conversions(measurement, unit, value, expected):
    assert conversion(measurement, unit)(value) == pytest.approx(expected, rel=1e-12)


def test_every_measurement_with_a_unit_has_conversions():
    missing = [m.name for m in MEASUREMENTS if m.kind is not Kind.TEXT and unit_of(m.name) is None]
    assert missing == []


def test_a_unit_that_does_not_lead_there_is_named():
    with pytest.raises(ValueError, match=r"expected one of .*MWh.* for energy_gj, got 'kW'"):
        conversion("energy_gj", "kW")
    with pytest.raises(ValueError, match="expected no unit for plate"):
        conversion("plate", "kg")


def test_density_is_that_of_the_server():
    t_c = np.linspace(0.0, 180.0, 3601)
    np.testing.assert_allclose([density_kg_m3(t) for t in t_c.tolist()], of_the_server(t_c), rtol=1e-14)


def test_density_is_that_of_if97():
    iapws = pytest.importorskip("iapws")
    for t_c in range(0, 181, 20):
        exact = iapws.IAPWS97(P=1.6, T=t_c + 273.15).rho
        assert DENSITY_KG_M3[t_c] == pytest.approx(exact, rel=1e-9)
    for t_c in (0.5, 4.5, 72.3, 95.7, 179.5):
        assert density_kg_m3(t_c) == pytest.approx(iapws.IAPWS97(P=1.6, T=t_c + 273.15).rho, rel=1e-5)


@pytest.mark.parametrize("t_c", [-0.1, 180.1, float("nan"), float("inf")])
def test_density_outside_its_range_is_unknown(t_c):
    assert density_kg_m3(t_c) is None
