"""Flows over pipes against Kirchhoff's laws; water on its way against what the pipes were told."""

import numpy as np
import pytest

from models.pipe import DEFAULT_U_SHARE, default_u_w_m_k, outlet_c
from models.pipe_network import PipeNetwork
from models.plug_flow import travel
from models.site import Pipe
from models.water import heat_capacity_kj_kg_k


def pipe(name, a, b, length=100.0, diameter=0.2, u=0.3):
    return Pipe(name, "n", a, b, length, diameter, u)


TREE = [pipe("1", "p", "a"), pipe("2", "a", "b", 50.0), pipe("3", "c", "a", 70.0, 0.1)]
RING = [*TREE, pipe("4", "b", "c", 40.0, 0.1)]


def draws(network, **at):
    drawn = np.zeros((len(network.nodes), 2))
    for name, kg_s in at.items():
        drawn[network.nodes[name]] = kg_s
    return drawn


def test_a_tree_carries_what_lies_behind_each_pipe():
    network = PipeNetwork.of(TREE)
    assert network.loops == 0
    flow, rank = network.flows(draws(network, b=[3.0, 1.0], c=[2.0, 4.0]), network.nodes["p"])
    assert flow == pytest.approx(np.array([[5.0, 5.0], [3.0, 1.0], [-2.0, -4.0]]), abs=1e-9)
    place = {name: rank[at] for name, at in network.nodes.items()}
    assert place["p"] < place["a"] < min(place["b"], place["c"])


def test_around_a_loop_friction_adds_up_to_nothing_and_nodes_get_what_they_draw():
    network = PipeNetwork.of(RING)
    assert network.loops == 1
    drawn = draws(network, b=3.0, c=2.0)
    flow, _ = network.flows(drawn, network.nodes["p"])
    arriving = np.zeros(len(network.nodes))
    np.add.at(arriving, network.down, flow[:, 0])
    np.add.at(arriving, network.up, -flow[:, 0])
    arriving[network.nodes["p"]] = 0.0
    assert arriving == pytest.approx(drawn[:, 0], abs=1e-9)
    drop = flow[:, 0] * np.abs(flow[:, 0]) / network.conductance
    # Pipes 2 and 4 lead from a over b to c, pipe 3 from c to a.
    assert drop[1] + drop[3] + drop[2] == pytest.approx(0.0, abs=1e-3 * np.abs(drop).max())
    assert abs(flow[3, 0]) > 0.1


def test_two_plants_share_what_is_drawn():
    network = PipeNetwork.of(TREE)
    flow, _ = network.flows(draws(network, b=3.0, c=-1.0), network.nodes["p"])
    assert flow[:, 0] == pytest.approx([2.0, 3.0, 1.0], abs=1e-9)


def test_who_is_apart_is_named():
    network = PipeNetwork.of([*TREE, pipe("9", "x", "y")])
    assert network.apart(["p"]) == "x"
    assert network.apart(["p", "y"]) is None


def test_an_unknown_u_is_a_typical_one_with_a_wider_uncertainty():
    network = PipeNetwork.of([pipe("1", "p", "a", 100.0, 0.0825, None), pipe("2", "a", "b", 10.0, 0.2, 0.5)])
    assert network.loss_w_k == pytest.approx([100.0 * float(default_u_w_m_k(0.0825)), 5.0])
    assert network.loss_share[0] == DEFAULT_U_SHARE > network.loss_share[1]


def test_typical_losses_lie_where_pre_insulated_pipes_do():
    # Measured 0.21 W/(m K) at DN 80; sizes rise slowly, and nothing is below 0.1 or above 2.
    u = default_u_w_m_k([0.0217, 0.0825, 0.3127, 0.9938])
    assert abs(u[1] - 0.21) < 2.0 * DEFAULT_U_SHARE * u[1]
    assert (np.diff(u) > 0.0).all()
    assert u[0] > 0.1
    assert u[-1] < 2.0
    assert np.isnan(default_u_w_m_k(np.nan))


def carried(inlet_c, flow_kg, content_kg=1000.0, loss_w_k=0.0, ground_c=8.0, step_s=300.0):
    """One pipe from node 0 to node 1."""
    flow = np.atleast_2d(np.asarray(flow_kg, dtype=float))
    steps = flow.shape[1]
    inject = np.zeros((2, steps))
    inject[0] = flow[0]
    c = np.zeros((2, steps))
    c[0] = inlet_c
    one = np.array
    return travel(
        one([0]), one([1]), one([0, 1]), flow, inject, c, one([content_kg]), one([loss_w_k]), ground_c,
        float(heat_capacity_kj_kg_k(80.0)), step_s,
    )  # fmt: skip


def test_a_front_arrives_when_the_pipe_has_been_filled_once():
    inlet = np.where(np.arange(20) < 5, 70.0, 90.0)
    taken = carried(inlet, np.full(20, 250.0))  # four steps through the pipe
    assert taken.node_c[1] == pytest.approx(np.where(np.arange(20) < 9, 70.0, 90.0), abs=1e-9)
    filled = np.clip((np.arange(21) - 5) / 4.0, 0.0, 1.0)
    assert taken.content_c[0] == pytest.approx(70.0 + 20.0 * filled, abs=1e-9)


def test_heat_is_kept_whatever_the_flow():
    rng = np.random.default_rng(3)
    flow, inlet = rng.uniform(0.0, 900.0, 40), rng.uniform(60.0, 100.0, 40)
    flow[rng.random(40) < 0.2] = 0.0
    taken = carried(inlet, flow)
    came, went = flow * inlet, flow * taken.node_c[1]
    stored = 1000.0 * (taken.content_c[0, 1:] - taken.content_c[0, :-1])
    assert came - went == pytest.approx(stored, abs=1e-6)


def test_steady_water_cools_as_the_formula_says():
    loss_w_k = 400.0 * 0.4
    taken = carried(np.full(12, 80.0), np.full(12, 300.0), loss_w_k=loss_w_k)
    expected = float(outlet_c(80.0, 8.0, 1.0, 400.0, 0.4))
    assert taken.node_c[1] == pytest.approx(np.full(12, expected), abs=1e-6)
    # The mean over the pipe gives what was lost: flow times fall is UL times the mean's excess.
    capacity = 1000.0 * float(heat_capacity_kj_kg_k(80.0))
    assert 1.0 * capacity * (80.0 - expected) == pytest.approx(
        loss_w_k * (taken.content_c[0, -1] - 8.0), rel=1e-9
    )


def test_standing_water_cools_in_its_pipe():
    flow = np.where(np.arange(30) < 6, 500.0, 0.0)
    taken = carried(np.full(30, 80.0), flow, loss_w_k=200.0)
    cooling = np.diff(taken.content_c[0, 8:])
    assert (cooling < 0.0).all()
    capacity = 1000.0 * float(heat_capacity_kj_kg_k(80.0)) * 1000.0
    assert cooling[0] == pytest.approx(-200.0 * (taken.content_c[0, 8] - 8.0) * 300.0 / capacity, rel=0.02)


def test_waters_mix_by_mass_where_pipes_meet():
    inject = np.zeros((3, 10))
    inject[0], inject[1] = 300.0, 100.0
    c = np.zeros((3, 10))
    c[0], c[1] = 90.0, 50.0
    a = np.array
    taken = travel(
        a([0, 1]), a([2, 2]), a([0, 1, 2]), a([[300.0] * 10, [100.0] * 10]), inject, c, a([600.0, 50.0]),
        a([0.0, 0.0]), 8.0, 4.19, 300.0,
    )  # fmt: skip
    assert taken.node_c[2] == pytest.approx(np.full(10, 80.0))
