"""The learner of U over settled steps: what it tells of long and of short pipes, of loops and of gaps."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from models.pipe_learning import expected_drop_k
from models.pipe_network import PipeNetwork
from models.site import Device, Network, Pipe, Region, Site, Unit
from models.water import density_kg_m3
from streams.core.network_rows import STEP_MS, Settled, Source
from streams.core.pressure_drops import whereabouts
from streams.core.stream_site import StreamSite
from streams.core.window_state import FINAL, WindowState
from streams.operators.device_heat import device_heat
from streams.operators.pipe_loss import pipe_loss

DAY_MS = 86_400_000
START_MS = 20_000 * DAY_MS
CONSUMERS = 4
IDS = ("plant-1", *(f"sub-{n}" for n in range(CONSUMERS)))
GROUND_C = 5.0


def registry(length_m: float, *more: Pipe) -> StreamSite:
    pipes = [
        Pipe(f"p{n}", "n", "p" if n == 0 else f"c{n - 1}", f"c{n}", length_m, 0.1, 0.25)
        for n in range(CONSUMERS)
    ]
    nodes = dict(zip(IDS, ("p", *(f"c{n}" for n in range(CONSUMERS))), strict=True))
    devices = {
        name: Device(
            name, "plant" if name == "plant-1" else "substation", "u", "u", "n", mounting="supply",
            interval_s=60.0, node=nodes[name],
        )
        for name in IDS
    }  # fmt: skip
    site = Site(
        "", "", "UTC", regions={"r": Region("r", "")}, units={"u": Unit("u", "r", "")},
        networks={"n": Network("n", "u", "", ground_c=GROUND_C)}, devices=devices,
        pipes={p.pipe: p for p in (*pipes, *more)},
    )  # fmt: skip
    return StreamSite(site, list(IDS), {})


def fed(
    view: StreamSite, factor: float, days: int = 6, *, silent: str = "", silent_from: int = 0,
    real: StreamSite | None = None,
):  # fmt: skip
    """Rows of days whose flow changes, of pipes that lose `factor` times what is registered."""
    laid = (real or view).site
    pipes = PipeNetwork.of(
        replace(p, u_w_m_k=(p.u_w_m_k or 0.0) * factor) for p in laid.pipes.values() if "loop" not in p.pipe
    )
    told, state = [], None
    for day in range(days):
        kg_s = 0.5 + 0.25 * (-1.0) ** day
        draw = np.full(len(pipes.nodes), kg_s)
        draw[pipes.nodes["p"]] = 0.0
        drop, _ = expected_drop_k(pipes, draw, pipes.nodes["p"], 85.0, GROUND_C)
        hot = 85.0 - drop[[pipes.nodes["p" if i == "plant-1" else f"c{i[-1]}"] for i in IDS]]
        kg = np.array([CONSUMERS * kg_s, *[kg_s] * CONSUMERS]) * 900.0
        state = json.loads(json.dumps(state))
        values = np.full((len(device_heat.fields), len(IDS)), np.nan)
        for name, value in (("volume_m3", kg / density_kg_m3(hot)), ("supply_c", hot), ("return_c", 45.0)):
            values[device_heat.fields.index(name)] = value
        if silent and day >= silent_from:
            values[:, IDS.index(silent)] = np.nan
        rows = WindowState(len(device_heat.fields))
        rows.remember(np.arange(len(IDS)), values, np.ones(len(IDS)), np.full(len(IDS), FINAL),
                      np.full(len(IDS), "", object), np.zeros(len(IDS), np.int64))  # fmt: skip
        for step in range(START_MS + day * DAY_MS, START_MS + (day + 1) * DAY_MS, STEP_MS):
            sources = {"device_heat": Source(device_heat.fields, "device", {step: rows})}
            state, table = pipe_loss.function(
                state, Settled(step, step + STEP_MS, view, "u", ("n",), sources)
            )
            told += table.to_pylist() if table is not None else []
    return told


def test_a_row_a_day_that_finds_the_factor_of_long_pipes():
    told = fed(registry(2_000.0), 1.25, days=8)
    assert [r["window_start"] for r in told] == [START_MS + n * DAY_MS for n in range(8)]
    last = told[-1]
    assert (last["status"], last["reason"], last["days"]) == ("final", None, 8.0)
    assert last["u_factor"] == pytest.approx(1.25, abs=last["u_factor_u"])
    assert last["u_factor"] == pytest.approx(1.25, abs=0.03)
    assert last["u_factor_u"] < told[0]["u_factor_u"]


def test_short_pipes_are_unknown_with_the_reason_and_no_number():
    last = fed(registry(20.0), 1.25)[-1]
    assert (last["status"], last["reason"], last["u_factor"]) == ("unknown", "residence", None)
    assert last["u_factor_u"] > 0.2


def changed(view: StreamSite, **devices: Device) -> StreamSite:
    site = replace(view.site, devices={**view.site.devices, **devices})
    return StreamSite(site, list(site.devices), {})


def test_what_is_no_tree_is_unknown_and_says_why():
    view = registry(2_000.0)
    loop = Pipe("loop", "n", "c3", "c1", 500.0, 0.1, 0.25)
    island = Pipe("loop-apart", "n", "x", "y", 500.0, 0.1, 0.25)
    sub, plant = view.site.devices["sub-2"], view.site.devices["plant-1"]
    other = replace(plant, device="plant-2")
    for wrong, reason in (
        (registry(2_000.0, loop), "loop"),
        (registry(2_000.0, island), "pipes_apart"),
        (changed(view, **{"sub-2": replace(sub, node=None)}), "no_node"),
        (changed(view, **{"plant-2": other}), "plants"),
        (changed(view, **{"plant-1": replace(plant, network=None)}), "no_plant"),
    ):
        told = fed(wrong, 1.25, days=2)
        assert [(r["status"], r["reason"], r["u_factor"]) for r in told] == [("unknown", reason, None)] * 2
    assert fed(StreamSite(replace(view.site, pipes={}), list(IDS), {}), 1.25, days=2, real=view) == []


def test_a_day_with_a_silent_consumer_is_a_gap_and_teaches_nothing():
    told = fed(registry(2_000.0), 1.25, days=2, silent="sub-2")
    assert [(r["status"], r["reason"], r["u_factor"]) for r in told] == [("unknown", "gap", None)] * 2
    before, after = fed(registry(2_000.0), 1.25, days=9, silent="sub-2", silent_from=8)[-2:]
    assert (before["status"], before["days"]) == (after["status"], after["days"]) == ("final", 8.0)
    for name in ("u_factor", "u_factor_u"):
        assert after[name] == pytest.approx(before[name], rel=1e-6)


def test_leaks_are_located_in_trees_only():
    view = registry(2_000.0, Pipe("loop", "n", "c3", "c1", 500.0, 0.1, 0.25))
    settled = Settled(START_MS, START_MS + STEP_MS, view, "u", ("n",), {})
    placed, names = whereabouts(None, view.site.networks["n"], settled, 1.0, 0.1)
    assert (placed.reason, placed.branch, placed.candidates, names) == ("loop", None, (), [])
