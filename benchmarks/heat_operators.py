"""Samples/s of all heat and water operators on one core: ``python -m benchmarks.heat_operators``.

3,000 substations and their plant at 10 s on a made-up network of pipes: an hour's four windows of
`device_heat`, then everything that rests on its rows over that hour, with six hours of history at hand. CPU
seconds of this process, so that a busy machine does not count.
"""

from __future__ import annotations

import time

import numpy as np

from benchmarks.device_heat import measure
from benchmarks.machine import machine
from simulator.unit import NETWORK, demo_plan
from streams.core.network_rows import STEP_MS
from streams.core.operator import Learner, NetworkOperator, WindowOperator, discovered
from streams.core.row_engine import RowEngine
from streams.core.stream_site import StreamSite
from streams.core.window_state import WindowState
from streams.operators.device_heat import device_heat

GOAL = 300_000
DEVICES = 3_000
HOUR_MS = 3_600_000
START_MS = 1_767_996_000_000
HISTORY_STEPS = 24
SAMPLES = DEVICES * 360
REPEATS = 3


def stream() -> StreamSite:
    """3,000 substations, a plant and their pipes."""
    site = demo_plan(1, DEVICES, 0, START_MS)
    return StreamSite(site, list(site.devices), {})


def device_rows(view: StreamSite) -> dict[tuple[str, int], WindowState]:
    """Rows of `device_heat` of six hours and the one computed: loads that drift, a supply that falls."""
    rng = np.random.default_rng(1)
    plant = view.classes == "plant"
    flow = np.where(plant, 0.0, view.meters.qp_m3_h * 0.4)
    flow[plant] = flow.sum()
    states = {}
    for step in range(HISTORY_STEPS + 4):
        now_m3_h = flow * (1.0 + 0.02 * np.sin(step / 5.0) + 0.01 * rng.standard_normal(len(flow)))
        supply = 95.0 - 0.3 * step + np.where(plant, 0.0, -rng.uniform(0.5, 3.0, len(flow)))
        back = 48.0 + rng.uniform(-3.0, 3.0, len(flow))
        volume = now_m3_h / 4.0
        heat = volume * 4.1e-3 * (supply - back)
        by_name = {
            "heat_gj": heat, "heat_u_gj": 0.026 * heat, "volume_m3": volume, "supply_c": supply,
            "return_c": back, "flow_m3_h": now_m3_h,
        }  # fmt: skip
        values = np.array([by_name.get(f, np.full(len(flow), np.nan)) for f in device_heat.fields])
        state = WindowState(len(device_heat.fields))
        everyone = np.arange(len(flow))
        state.say(everyone, values, np.ones(len(flow)), np.full(len(flow), "", object),
                  np.ones(len(flow), dtype=bool))  # fmt: skip
        states["device_heat", START_MS + (step - HISTORY_STEPS) * STEP_MS] = state
    return states


def resting(view: StreamSite, states: dict[tuple[str, int], WindowState]) -> tuple[dict[str, float], float]:
    """CPU seconds of an hour of each network operator, and of all learners together."""
    every = discovered()
    windows = [o for o in every if isinstance(o, WindowOperator)]
    networks = [o for o in every if isinstance(o, NetworkOperator)]
    learners = [o for o in every if isinstance(o, Learner)]
    changed = {"device_heat": {(NETWORK, START_MS + n * STEP_MS) for n in range(4)}}
    spent: dict[str, float] = {}
    engine = RowEngine("u", windows, networks, learners, provisional=True)
    for operator in engine.networks:
        one = RowEngine("u", windows, networks, learners, provisional=True)
        one.follow(changed, START_MS + HOUR_MS, view, states, _this_hour)
        one.networks = (operator,)
        began = time.process_time()
        one.follow(changed, START_MS + HOUR_MS, view, states, _this_hour)
        spent[operator.name] = time.process_time() - began
    engine.follow(changed, START_MS + HOUR_MS, view, states, _this_hour)
    began = time.process_time()
    engine.settle(START_MS + HOUR_MS, START_MS, view, states)
    return spent, time.process_time() - began


def _this_hour(start_ms: int, _end_ms: int, _reads_from_ms: int) -> bool:
    return start_ms == START_MS


def main() -> None:
    print(f"machine: {machine()}")
    view = stream()
    states = device_rows(view)
    runs = [resting(view, states) for _ in range(REPEATS)]
    rates = {
        "counters": measure(counters=True), "flow and temperatures": measure(counters=False),
    }  # fmt: skip
    spent = {name: min(r[0][name] for r in runs) for name in runs[0][0]}
    learning_s = min(r[1] for r in runs)
    for name, seconds in spent.items():
        print(f"{name}, {DEVICES} substations: {seconds:.3f} s a window of an hour")
    print(f"learners: {learning_s:.3f} s an hour")
    for kind, rate in rates.items():
        seconds = SAMPLES / rate + sum(spent.values()) + learning_s
        print(f"all on {kind}: {SAMPLES / seconds:,.0f} samples/s a core (goal {GOAL:,})")


if __name__ == "__main__":
    main()
