"""Samples/s of `device_heat` on one core: ``python -m benchmarks.device_heat``.

3,000 substations at 10 s, one window with its neighbours, all values present;
counters in one run, flow and temperatures alone in the other. CPU seconds of
this process, so that a busy machine does not count.
"""

from __future__ import annotations

import time

import numpy as np

from benchmarks.machine import machine
from benchmarks.usage import without_options
from models.site import Device, Network, Region, Site, Unit
from streams.core.operator import WindowOperator
from streams.core.rows import Rows, numeric_columns
from streams.core.samples import ClassSamples, Samples
from streams.core.stream_site import StreamSite
from streams.operators.device_heat import device_heat

GOAL = 1_000_000
DEVICES = 3_000
START_MS = 1_767_225_600_000
REPEATS = 7


def site() -> StreamSite:
    """3,000 substations of one network."""
    devices = {
        f"s{n:04}": Device(
            f"s{n:04}", "substation", "u", "u", "n", qp_m3_h=20.0, accuracy_class=2, dt_min_k=3.0,
            mounting="return", interval_s=10.0,
        )
        for n in range(DEVICES)
    }  # fmt: skip
    whole = Site(
        "b", "b", "Asia/Shanghai", regions={"r": Region("r", "r")}, units={"u": Unit("u", "r", "u")},
        networks={"n": Network("n", "u", "n", return_ref_c=45.0)}, devices=devices,
    )  # fmt: skip
    return StreamSite(whole, list(devices), {})


def rows(*, counters: bool, secondary: bool = False) -> Rows:
    """Samples of one window and one on each side, sorted by (device, t), of secondary loops too if asked."""
    names = numeric_columns("substation")
    each = 92
    n = DEVICES * each
    rng = np.random.default_rng(1)
    t = np.tile(START_MS - 5_000 + 10_000 * np.arange(each), DEVICES)
    values = np.full((len(names), n), np.nan)
    flow = rng.uniform(5, 15, n)
    values[names.index("flow_m3_h")] = flow
    values[names.index("supply_c")] = rng.normal(95, 0.5, n)
    values[names.index("return_c")] = rng.normal(50, 0.5, n)
    if counters:
        values[names.index("volume_m3")] = 1000 + np.cumsum(flow.reshape(DEVICES, each) / 360, axis=1).ravel()
        values[names.index("energy_gj")] = values[names.index("volume_m3")] * 0.19
    if secondary:
        values[names.index("secondary_flow_m3_h")] = 3.0 * flow
        values[names.index("secondary_supply_c")] = rng.normal(55, 0.2, n)
        values[names.index("secondary_return_c")] = rng.normal(42, 0.2, n)
    device = np.repeat(np.arange(DEVICES), each)
    zeros = np.zeros(n, np.int64)
    return Rows(device, t, zeros, zeros, zeros, values)


def measure(*, counters: bool, operator: WindowOperator = device_heat, secondary: bool = False) -> float:
    """Samples/s of the best of a few runs."""
    view, given = site(), rows(counters=counters, secondary=secondary)
    best = float("inf")
    for _ in range(REPEATS):
        began = time.process_time()
        samples = Samples(START_MS, START_MS + 900_000, [ClassSamples(numeric_columns("substation"), given)])
        operator.function(samples, view)
        best = min(best, time.process_time() - began)
    return given.n / best


def main() -> None:
    without_options("device_heat", __doc__)
    print(f"machine: {machine()}")
    for counters in (True, False):
        rate = measure(counters=counters)
        kind = "counters" if counters else "flow and temperatures"
        print(f"device_heat, {DEVICES} devices, {kind}: {rate:,.0f} samples/s a core (goal {GOAL:,})")


if __name__ == "__main__":
    main()
