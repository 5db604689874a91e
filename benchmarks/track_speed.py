"""Fixes per second of what follows trucks, on one core: a part of ``python -m benchmarks tracks``.

5,000 trucks at 10 s go back and forth on 20 lanes of 45 km, in steps of a quarter of an hour as the operators
see them. CPU seconds of this process, so that a busy machine does not count.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from models.position_filter import EARTH_M
from models.site import Device, Place, Region, Site, Unit
from streams.core.network_rows import Settled
from streams.core.rows import Rows, numeric_columns
from streams.core.samples import ClassSamples, Samples
from streams.core.stream_site import StreamSite
from streams.operators.route_deviation import route_deviation
from streams.operators.track import track
from streams.operators.visits import visits

TRUCKS = 5_000
LANES = 20
LANE_M = 45_000.0
INTERVAL_S = 10
STEP_S = 900
GOAL = 50_000
STEPS = 16
WARM = 12  # so many steps until lanes are known and trucks are compared with them
START_MS = 1_767_996_000_000


def stream() -> StreamSite:
    """5,000 trucks, and a place at each end of each lane."""
    ids = [f"truck-{n:04d}" for n in range(TRUCKS)]
    places = {}
    for lane in range(LANES):
        for end, kind in ((0.0, "mine"), (LANE_M, "plant")):
            lat = 38.0 + np.degrees(end / EARTH_M)
            name = f"{kind}-{lane}"
            places[name] = Place(name, None, kind, name, float(lat), 110.0 + 0.2 * lane, 500.0)  # type: ignore[arg-type]
    site = Site(
        id="s", name="s", timezone="UTC",
        regions={"r": Region("r", "r")}, units={"u": Unit("u", "r", "u", None)},
        devices={i: Device(i, "truck", "u", "h", interval_s=INTERVAL_S) for i in ids}, places=places,
    )  # fmt: skip
    return StreamSite(site, ids, {})


def fixes(step: int) -> Rows:
    """A step of the fleet: an hour on the way at 12.5 m/s, 20 minutes at each end, with 3.5 m of noise."""
    t_s = np.arange(step * STEP_S, (step + 1) * STEP_S, INTERVAL_S)
    truck = np.repeat(np.arange(TRUCKS), len(t_s))
    t = np.tile(t_s, TRUCKS).astype(np.float64)
    round_s = 2 * (LANE_M / 12.5 + 1_200.0)
    phase = (t + 1.9 * truck) % round_s
    way_s = LANE_M / 12.5
    along = np.interp(
        phase, [0.0, 1_200.0, 1_200.0 + way_s, 2_400.0 + way_s, round_s], [0, 0, LANE_M, LANE_M, 0]
    )
    noise = 3.5 * np.random.default_rng(step).standard_normal((2, len(t)))
    bend = 2_000.0 * np.sin(np.pi * along / LANE_M)
    lat = 38.0 + np.degrees((along + noise[0]) / EARTH_M)
    lon = 110.0 + 0.2 * (truck % LANES) + np.degrees((bend + noise[1]) / (EARTH_M * np.cos(np.radians(38.0))))
    columns = numeric_columns("truck")
    values = np.full((len(columns), len(t)), np.nan)
    values[columns.index("lat_deg")], values[columns.index("lon_deg")] = lat, lon
    zero = np.zeros(len(t), np.int64)
    return Rows(truck, START_MS + (1_000.0 * t).astype(np.int64), zero, zero, zero, values)


def speed() -> None:
    """Measure each operator over the last steps."""
    view, columns = stream(), numeric_columns("truck")
    spent: dict[str, float] = {}
    state: dict[Any, Any] = {track: None, route_deviation: None}
    taken = 0
    for step in range(STEPS):
        samples = ClassSamples(columns, fixes(step))
        start = START_MS + 1_000 * STEP_S * step
        settled = Settled(start, start + 1_000 * STEP_S, view, "h", (), {}, samples={"truck": samples})
        window = Samples(start, start + 1_000 * STEP_S, [samples])
        timed = step >= WARM
        taken += samples.rows.n if timed else 0
        for learner, known in list(state.items()):
            began = time.process_time()
            state[learner], _ = learner.function(known, settled)
            spent[learner.name] = spent.get(learner.name, 0.0) + timed * (time.process_time() - began)
        if timed:
            began = time.process_time()
            visits.function(window, view)
            spent[visits.name] = spent.get(visits.name, 0.0) + time.process_time() - began
    for name, seconds in spent.items():
        print(f"{name}, {TRUCKS} trucks at {INTERVAL_S} s: {taken / seconds:,.0f} fixes/s")
    print(f"all of them: {taken / sum(spent.values()):,.0f} fixes/s a core (goal {GOAL:,})")
    for learner, known in state.items():
        began = time.process_time()
        size = len(known.to_bytes())
        print(f"kept of {learner.name}: {size / 1e6:.1f} MB, {time.process_time() - began:.2f} s to write")


if __name__ == "__main__":
    speed()
