"""Samples/s of all heat and water operators on one core: ``python -m benchmarks.heat_operators``.

3,000 substations with secondary meters and their plant at 10 s on a made-up network of pipes: an hour's four
windows of every window operator of heat and water, then everything that rests on their rows over that hour,
with six hours of history at hand. CPU seconds of this process, so that a busy machine does not count.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.device_heat import measure
from benchmarks.machine import machine
from benchmarks.usage import without_options
from simulator.unit import NETWORK, demo_plan
from streams.core.containing import Failures
from streams.core.network_rows import STEP_MS, NetworkRows
from streams.core.operator import Learner, NetworkOperator, WindowOperator, discovered
from streams.core.row_engine import RowEngine
from streams.core.stream_site import StreamSite
from streams.core.window_state import WindowState
from streams.operators.device_heat import device_heat
from streams.operators.device_water import device_water
from streams.operators.secondary_heat import secondary_heat

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
    """Rows of devices of six hours and the one computed: loads that drift, a supply that falls."""
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
        second = {"heat_gj": 0.99 * heat, "heat_u_gj": 0.09 * heat, "spread_k": np.full(len(flow), 13.0)}
        second = {name: np.where(plant, np.nan, value) for name, value in second.items()}
        for operator, columns in ((device_heat, by_name), (secondary_heat, second)):
            values = np.array([columns.get(f, np.full(len(flow), np.nan)) for f in operator.fields])
            state = WindowState(len(operator.fields))
            everyone = np.arange(len(flow))
            state.say(everyone, values, np.ones(len(flow)), np.full(len(flow), "", object),
                      np.ones(len(flow), dtype=bool))  # fmt: skip
            states[operator.name, START_MS + (step - HISTORY_STEPS) * STEP_MS] = state
        start = START_MS + (step - HISTORY_STEPS) * STEP_MS
        states["device_water", start] = _plant_water(np.flatnonzero(plant), step)
    return states


def _plant_water(plants: NDArray[np.int64], step: int) -> WindowState:
    """Rows of `device_water`: a tank that falls with what the pipes take up, and some make-up."""
    by_name = {
        "makeup_m3": 2.0, "makeup_c": 15.0, "tank_m3": -6.0, "level_m3": 5e3 - 6.0 * step, "least_m3_h": 8.0,
        "metered": 1.0,
    }  # fmt: skip
    values = np.array([np.full(len(plants), by_name[f]) for f in device_water.fields])
    state = WindowState(len(device_water.fields))
    state.say(plants, values, np.ones(len(plants)), np.full(len(plants), "", object),
              np.ones(len(plants), dtype=bool))  # fmt: skip
    return state


def resting(view: StreamSite, states: dict[tuple[str, int], WindowState]) -> tuple[dict[str, float], float]:
    """CPU seconds of an hour of each network operator and of all with their rows, and of all learners."""
    every = discovered()
    windows = [o for o in every if isinstance(o, WindowOperator)]
    networks = [o for o in every if isinstance(o, NetworkOperator)]
    learners = [o for o in every if isinstance(o, Learner)]
    steps = {(NETWORK, START_MS + n * STEP_MS) for n in range(4)}
    changed = {"device_heat": steps, "secondary_heat": steps}
    spent: dict[str, float] = {}

    def timed(operator: NetworkOperator) -> NetworkOperator:
        def function(rows: NetworkRows) -> Any:
            began = time.process_time()
            result = operator.function(rows)
            spent[operator.name] = time.process_time() - began
            return result

        return replace(operator, function=function)

    engine = RowEngine(
        "u", windows, [timed(o) for o in networks], learners, provisional=True, failures=Failures()
    )
    engine.follow(changed, START_MS + HOUR_MS, view, states, _this_hour)
    began = time.process_time()
    engine.follow(changed, START_MS + HOUR_MS, view, states, _this_hour)
    spent["rows of networks, all"] = time.process_time() - began
    began = time.process_time()
    for _ in engine.settle(START_MS + HOUR_MS, START_MS, view, states, {}):
        pass
    return spent, time.process_time() - began


def _this_hour(start_ms: int, _end_ms: int, _reads_from_ms: int) -> bool:
    return start_ms == START_MS


def main() -> None:
    without_options("heat_operators", __doc__)
    print(f"machine: {machine()}")
    view = stream()
    states = device_rows(view)
    runs = [resting(view, states) for _ in range(REPEATS)]
    window_s = {
        kind: {
            o.name: SAMPLES / measure(counters=counters, operator=o, secondary=True)
            for o in window_operators()
        }
        for kind, counters in (("counters", True), ("flow and temperatures", False))
    }
    spent = {name: min(r[0][name] for r in runs) for name in runs[0][0]}
    learning_s = min(r[1] for r in runs)
    for name, seconds in spent.items():
        print(f"{name}, {DEVICES} substations: {seconds:.3f} s an hour")
    print(f"learners: {learning_s:.3f} s an hour")
    for kind, each in window_s.items():
        for name, seconds in each.items():
            print(f"{name} on {kind}: {seconds:.3f} s an hour of samples")
        seconds = sum(each.values()) + spent["rows of networks, all"] + learning_s
        print(f"all on {kind}: {SAMPLES / seconds:,.0f} samples/s a core (goal {GOAL:,})")


def window_operators() -> list[WindowOperator]:
    """Those of heat and water."""
    every = [o for o in discovered() if isinstance(o, WindowOperator)]
    return [o for o in every if {"substation", "meter"} & set(o.reads) and o.name != "data_quality"]


if __name__ == "__main__":
    main()
