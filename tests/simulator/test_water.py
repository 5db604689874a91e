import numpy as np
import pytest

from simulator import water


def test_water_agrees_with_if97_of_iapws():
    iapws = pytest.importorskip("iapws")
    for t_c in (0.5, 20.0, 60.0, 95.0, 130.0, 179.0):
        reference = iapws.IAPWS97(T=t_c + 273.15, P=1.6)
        assert water.density_kg_m3(t_c) == pytest.approx(reference.rho, rel=2e-6)
        assert water.enthalpy_kj_kg(t_c) == pytest.approx(reference.h, abs=2e-3)
        assert water.viscosity_pa_s(t_c) == pytest.approx(reference.mu, rel=0.03)


def test_temperature_is_the_inverse_of_enthalpy():
    t_c = np.linspace(0.1, 175.0, 997)
    assert np.abs(water.temperature_c(water.enthalpy_kj_kg(t_c)) - t_c).max() < 1e-4
    assert np.abs(water.density_of_h(water.enthalpy_kj_kg(t_c)) - water.density_kg_m3(t_c)).max() < 1e-3
