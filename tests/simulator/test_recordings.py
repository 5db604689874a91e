"""The pipe model against a laboratory pipe and a published reference network."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from simulator import water
from simulator.network.plugflow import PlugFlow
from simulator.network.side import Pipes, Side

RECORDINGS = os.environ.get("HEARTHLINE_RECORDINGS")
pytestmark = pytest.mark.skipif(RECORDINGS is None, reason="HEARTHLINE_RECORDINGS is not set")

# The laboratory's pipe: 39 m of DN 50 steel, 52.48 mm inside, 3.9 mm thick, 8000 kg/m³, 0.5 kJ/(kg K).
LENGTH_M, DIAMETER_M, THICK_M = 39.0, 0.05248, 0.0039
WALL_KJ_K = np.pi * (DIAMETER_M + THICK_M) * THICK_M * LENGTH_M * 8000.0 * 0.5


@pytest.mark.parametrize(
    "name", ["PipeDataULg150801.csv", "PipeDataULg151204_1.csv", "PipeDataULg160104_2.csv"]
)
@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_outlet_of_the_laboratory_pipe_within_0_6_k(name, seconds):
    data = np.genfromtxt(Path(RECORDINGS) / "pipes" / name, delimiter=",", names=True)
    grid = np.arange(0.0, data["t_s"][-1], seconds)
    flow = np.interp(grid, data["t_s"], data["m_kgs"])
    h_in = water.enthalpy_kj_kg(np.interp(grid, data["t_s"], data["Twater_in_C"]))
    measured = np.interp(grid, data["t_s"], data["Twater_out_C"])
    pipe = PlugFlow(
        np.array([np.pi / 4.0 * DIAMETER_M**2 * LENGTH_M]),
        np.array([0.3 * LENGTH_M]),
        float(water.enthalpy_kj_kg(measured[0])),
        parcels=80,
        wall_kj_k=np.array([WALL_KJ_K]),
    )
    row, out = np.array([0]), []
    for kg_s, h in zip(flow, h_in, strict=True):
        kg = np.array([kg_s * seconds])
        out.append(float(water.temperature_c(pipe.advance(row, kg, np.array([h]), kg) / kg)[0]))
        pipe.cool(18.0, seconds)
    rmse = float(np.sqrt(np.mean((np.array(out) - measured) ** 2)))
    print(f"{name} at {seconds} s: RMSE {rmse:.3f} K")
    assert rmse < 0.6


def test_heat_of_the_reference_network_within_2_percent():
    # Returns of 25 °C and a bypass of 0.6 g/s a house are not in the files: they are read off the reference's
    # own first hours (heat and coldest arrival) and its hours without demand (heat still injected).
    folder = Path(RECORDINGS) / "reference_network"
    with (folder / "Pipe_data.csv").open() as file:
        rows = list(csv.DictReader(file))
    length = np.array([float(r["Length [m]"]) for r in rows])
    diameter = np.array([float(r["Inner Diameter [m]"]) for r in rows])
    thick = np.array([float(r["Insulation Thickness [m]"]) for r in rows])
    # The table's "U-value" of 0.035 is the insulation's conductivity: only so does the published loss follow.
    u = 2.0 * np.pi * 0.035 / np.log(1.0 + 2.0 * thick / diameter)
    ends = [tuple(r[c] for r in rows) for c in ("Beginning Node", "Ending Node")]
    pipes = Pipes(tuple(str(n) for n in range(len(rows))), *ends, length, diameter, u)
    supply, back = Side(pipes, "i", 50.0, parcels=40), Side(pipes, "i", 25.0, parcels=40)
    homes = np.array([i for i, n in enumerate(supply.graph.nodes) if n.startswith("Simple")])
    hot, cold = (float(water.enthalpy_kj_kg(t)) for t in (50.0, 25.0))
    profile = np.genfromtxt(
        folder / "heat_profile_1_building_SFH_Network_1.csv", delimiter=",", skip_header=1
    )
    count, seconds, times, lost, given = len(supply.graph.nodes), 120.0, [], [], []
    for step in range(1, 7 * 720 + 1):
        draw = np.zeros(count)
        heat_kw = np.interp(step * seconds, profile[:, 0], profile[:, 1]) / 1000.0
        draw[homes] = np.maximum(heat_kw / np.maximum(supply.node_h[homes] - cold, 20.0), 6e-4)
        out, into = supply.solve(draw, seconds), -back.solve(-draw, seconds)
        inject = np.zeros(count)
        inject[0] = out * seconds
        loss = supply.carry(inject, np.full(count, hot), 10.0).sum()
        loss += back.carry(draw * seconds, np.full(count, cold), 10.0).sum()
        times.append(step * seconds)
        lost.append(1000.0 * loss / seconds)
        given.append(1000.0 * (out * hot - into * back.node_h[0]))
    reference = np.genfromtxt(folder / "IBPSA_Library_Plug_Flow_Network_1.csv", delimiter=",", names=True)
    t = reference["Datetime"]
    loss, heat = np.interp(t, times, lost), np.interp(t, times, given)
    steady = (t >= 3600.0) & (t <= 18_000.0)
    steady_pct = 100.0 * (loss[steady] / reference["Qheat_losses_W"][steady] - 1.0)
    week = t >= 3600.0
    loss_pct = 100.0 * (loss[week].mean() / reference["Qheat_losses_W"][week].mean() - 1.0)
    heat_pct = 100.0 * (heat[week].mean() / reference["Qheat_injection_W"][week].mean() - 1.0)
    print(f"loss steady {steady_pct.mean():+.2f} %, of the week {loss_pct:+.2f} %, heat {heat_pct:+.2f} %")
    assert np.abs(steady_pct).max() < 2.0
    assert abs(loss_pct) < 2.0
    assert abs(heat_pct) < 0.5
