import numpy as np
import pytest

from simulator import water
from simulator.network.hydraulics import Graph, NetworkError, pressure_drop_pa
from simulator.network.side import Pipes, Side

RING = Pipes(
    ("p1", "p2", "p3", "p4", "p5"),
    ("root", "root", "a", "b", "c"),
    ("a", "b", "c", "c", "d"),
    np.array([400.0, 700.0, 300.0, 500.0, 50.0]),
    np.array([0.2, 0.15, 0.15, 0.15, 0.1]),
    np.full(5, 0.4),
)


def test_water_in_a_ring_splits_so_that_both_ways_cost_the_same_pressure():
    side = Side(RING, "root", 90.0)
    draw = np.zeros(5)
    draw[side.graph.index["d"]] = 20.0
    draw[side.graph.index["b"]] = 5.0
    for _ in range(3):
        side.solve(draw, 10.0)
        side.carry(np.eye(5)[0] * 250.0, np.full(5, float(water.enthalpy_kj_kg(90.0))), 5.0)
    drop = pressure_drop_pa(side.flow_kg_s, RING.length_m, RING.diameter_m, np.full(5, 90.0))
    assert drop[0] + drop[2] == pytest.approx(drop[1] + drop[3], rel=1e-3)
    pressure = side.pressures_kpa()
    assert pressure[side.graph.index["d"]] < pressure[side.graph.index["c"]] < 0.0


@pytest.mark.parametrize("seed", range(5))
def test_a_ring_closes_whatever_is_drawn_also_when_flows_turn_and_water_stands(seed):
    rng = np.random.default_rng(seed)
    side = Side(RING, "root", 90.0, parcels=12)
    worst, turned, before = 0.0, 0, side.flow_kg_s
    for step in range(300):
        draw = rng.uniform(0.0, 30.0, 5) * (rng.random(5) < 0.5)
        draw[0] = 0.0
        if step % 50 > 40:
            draw[:] = 0.0
        h = np.full(5, float(water.enthalpy_kj_kg(rng.uniform(40.0, 120.0))))
        kj, kg = side.content.energy_kj, side.content.total_kg
        given = side.solve(draw, 60.0)
        inject = np.zeros(5)
        inject[0] = max(given, 0.0) * 60.0
        lost = side.carry(inject, h, 5.0).sum()
        # Swelling water goes back to the plant while nobody draws.
        back = min(given, 0.0) * 60.0
        spent = lost + ((draw * side.node_h).sum() * 60.0) - back * side.node_h[0]
        worst = max(worst, abs(inject[0] * h[0] - spent - (side.content.energy_kj - kj)) / kj)
        worst = max(worst, abs(given * 60.0 - draw.sum() * 60.0 - (side.content.total_kg - kg)) / kg)
        turned += int((np.sign(side.flow_kg_s) * np.sign(before) < 0.0).sum())
        before = side.flow_kg_s
    assert turned > 20
    assert worst < 1e-9


def test_pipes_that_make_no_network_are_named():
    with pytest.raises(NetworkError, match="expected every node to be joined to the plant, got 'x' apart"):
        Graph(("root", "x"), ("a", "y"), "root")
    with pytest.raises(NetworkError, match="expected a pipe at the plant's node 'boiler', got none"):
        Graph(("root",), ("a",), "boiler")


def test_laminar_and_turbulent_drop():
    # Hagen-Poiseuille at Re 1000, and Moody's 0.0196 for Re 1e5 and a relative roughness of 5e-4.
    diameter, t_c = np.array([0.1]), np.array([20.0])
    rho, mu = float(water.density_kg_m3(20.0)), float(water.viscosity_pa_s(20.0))
    area = np.pi / 4.0 * 0.01
    slow = 1000.0 * mu / (rho * 0.1)
    drop = pressure_drop_pa(np.array([slow * rho * area]), np.array([100.0]), diameter, t_c)
    assert drop[0] == pytest.approx(32.0 * mu * 100.0 * slow / 0.01, rel=1e-9)
    fast = 1e5 * mu / (rho * 0.1)
    drop = pressure_drop_pa(np.array([-fast * rho * area]), np.array([100.0]), diameter, t_c, 5e-5)
    assert -drop[0] == pytest.approx(0.0204 * 1000.0 * rho * fast**2 / 2.0, rel=0.02)
