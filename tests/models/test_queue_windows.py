"""Stays of a span that moves on are those of the span by itself."""

import numpy as np
import pytest

from models.queue import order_of, queued, visits_of
from models.queue_windows import MovingVisits

QUARTER = 900_000
REACH = 16 * QUARTER


@pytest.mark.parametrize("seed", range(6))
def test_each_window_is_as_if_it_were_alone(seed):
    rng = np.random.default_rng(seed)
    crossings, weighings = [], []
    for truck in "abcdef":
        t = int(rng.integers(0, 4 * QUARTER))
        while t < 60 * QUARTER:
            stay = int(rng.integers(1, 3 * QUARTER))
            crossings += [(truck, t, True)] * bool(rng.random() < 0.9)
            crossings += [(truck, t + 20_000, False), (truck, t + 50_000, True)] * bool(rng.random() < 0.2)
            crossings += [(truck, t + stay, False)] * bool(rng.random() < 0.9)
            weighings += [(truck, t + stay // 3, "b1"), (truck, t + stay // 2, "b2")][rng.integers(0, 2) :]
            t += stay + int(rng.integers(60_000, 20 * QUARTER))
    crossings.sort(key=lambda x: x[1])
    weighings.sort(key=lambda x: x[1])
    moving, told = MovingVisits(crossings, weighings), 0
    for start in range(0, 70 * QUARTER, QUARTER):
        low, end = start - REACH, start + QUARTER
        if start // QUARTER % 7 == 3:
            continue  # a window may be passed over
        moving.move(low, end)
        alone = visits_of(*([x for x in all_ if low <= x[1] < end] for all_ in (crossings, weighings)))
        going_on = list(moving.since(start))
        assert going_on == [v for v in alone if v.left_ms >= start]
        for bridge in ("b1", "b2", "none"):
            assert moving.order_of(bridge) == order_of(bridge, alone)
            mine = queued(bridge, going_on, 3, start, end, moving.order_of(bridge))
            assert repr(mine) == repr(queued(bridge, alone, 3, start, end))
        told += len(going_on)
    assert told > 20
