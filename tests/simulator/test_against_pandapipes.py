"""Steady states of pandapipes' own heat networks."""

import numpy as np
import pandapipes
import pytest
from pandapipes import networks

from simulator import water
from simulator.network.side import Pipes, Side

# It takes heat loss as even within a section, and half of what is left is lost in one of the five that its
# networks come with: up to 0.3 K off its own limit. At 200 a pipe, twice as many change 0.02 K.
SECTIONS = 200


def reference(name):
    net = getattr(networks, name)()
    # They come with constants of water at 20 °C: pandapipes' own tables over temperature instead.
    pandapipes.create_fluid_from_lib(net, "water", overwrite=True)
    net.pipe["sections"] = SECTIONS
    # "bidirectional": temperature acts on density and viscosity, as it does here.
    pandapipes.pipeflow(
        net, mode="bidirectional", friction_model="colebrook", max_iter_hyd=200, max_iter_therm=200
    )
    return net


def ours(net):
    p = net.pipe
    d = p.diameter_m.to_numpy()
    u = p.u_w_per_m2k.to_numpy() * np.pi * d
    names = tuple(str(i) for i in p.index)
    pipes = Pipes(
        names,
        tuple(str(j) for j in p.from_junction),
        tuple(str(j) for j in p.to_junction),
        p.length_km.to_numpy() * 1000.0,
        d,
        u,
        p.k_mm.to_numpy() / 1000.0,
    )
    feed = net.ext_grid.iloc[0]
    ground_c = float(p.text_k.iloc[0]) - 273.15
    side = Side(pipes, str(int(feed.junction)), float(feed.t_k) - 273.15, parcels=80)
    draw = np.zeros(len(side.graph.nodes))
    for _, sink in net.sink.iterrows():
        draw[side.graph.index[str(int(sink.junction))]] += sink.mdot_kg_per_s
    h = np.full(len(draw), float(water.enthalpy_kj_kg(feed.t_k - 273.15)))
    seconds, temperatures = 10.0, []
    for step in range(2500):
        given = side.solve(draw, seconds)
        inject = np.zeros(len(draw))
        inject[0] = given * seconds
        side.carry(inject, h, ground_c)
        if step >= 1500:  # parcels arrive one by one: a steady state is their mean
            temperatures.append(water.temperature_c(side.node_h))
    return side, np.mean(temperatures, axis=0)


@pytest.mark.parametrize(
    "name", ["heat_transfer_delta", "heat_transfer_delta_2sinks", "heat_transfer_t_cross"]
)
def test_steady_state_equals_pandapipes(name):
    net = reference(name)
    side, temperatures_c = ours(net)
    pressures = side.pressures_kpa() + 100.0 * net.ext_grid.p_bar.iloc[0]
    worst = {"temperature_k": 0.0, "pressure_kpa": 0.0, "flow_pct": 0.0}
    for junction, row in net.res_junction.iterrows():
        node = side.graph.index[str(junction)]
        off_k = abs(float(temperatures_c[node]) + 273.15 - row.t_k)
        worst["temperature_k"] = max(worst["temperature_k"], off_k)
        worst["pressure_kpa"] = max(worst["pressure_kpa"], abs(pressures[node] - 100.0 * row.p_bar))
    flow = net.res_pipe.mdot_from_kg_per_s.to_numpy()
    worst["flow_pct"] = float(100.0 * np.abs(side.flow_kg_s / flow - 1.0).max())
    print(name, {k: round(float(v), 4) for k, v in worst.items()})
    assert worst["temperature_k"] < 0.1
    assert worst["pressure_kpa"] < 1.0
    assert worst["flow_pct"] < 0.5
