"""However many faults of a counter meet within a few readings, every window tells its steps as the whole does."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from models.counter import Counted, window_increase
from tests.support.counter_neighbours import neighbourhood

H = 3_600_000
FULL = 10_000.0
LIMITS = (
    {}, {"full_scale": FULL}, {"max_rate_per_h": 3.0}, {"full_scale": FULL, "max_rate_per_h": 3.0},
    {"max_rate_per_h": 2e4, "rated": False}, {"full_scale": FULL, "max_rate_per_h": 2e4, "rated": False},
)  # fmt: skip


def assert_windows_equal_the_whole(t, value, width_ms, limits):
    group = np.zeros(len(t), int)
    for start in range(int(t[0]) // width_ms * width_ms - width_ms, int(t[-1]) + 2 * width_ms, width_ms):
        near = neighbourhood(t, value, start, start + width_ms)
        if not len(near):
            continue
        whole, window = (
            window_increase(
                group[at], t[at], value[at], start, start + width_ms, 1, gap_limit_ms=3 * H, **limits
            )
            for at in (slice(None), near)
        )
        for name in (f.name for f in fields(Counted)):
            np.testing.assert_array_equal(
                getattr(window, name), getattr(whole, name), f"{name} of {start / H}"
            )


def befallen(rng):
    """A register of which most readings are zero, garbled, old ones, shown again, or begin anew."""
    value, shown = float(rng.choice([3.0, 500.0, FULL - 10.0])), []
    for _ in range(int(rng.integers(6, 22))):
        value = (value + float(rng.choice([0.0, 1.0, rng.uniform(0, 2)]))) % FULL
        what = rng.choice(
            ["itself", "zero", "garbled", "old", "anew", "again"], p=[0.4, 0.18, 0.15, 0.12, 0.06, 0.09]
        )
        if what == "anew":
            value = float(rng.choice([0.0, rng.uniform(0, 0.5)]))
        of = {
            "zero": 0.0, "garbled": value + float(rng.choice([5.0, 900.0, 1e6])),
            "old": max(value - float(rng.uniform(1, 30)), 0.01), "again": shown[-1] if shown else value,
        }  # fmt: skip
        shown.append(of.get(what, value))
    return np.array(shown).round(2)


@pytest.mark.parametrize("seed", range(40))
def test_windows_equal_the_whole_whatever_befalls_a_counter(seed):
    rng = np.random.default_rng(seed)
    value = befallen(rng)
    t = (np.cumsum(rng.choice([0.25, 1, 1, 1, 2], len(value))) * H).astype(np.int64)
    assert_windows_equal_the_whole(t, value, int(rng.choice([H // 2, H, 3 * H])), LIMITS[seed % len(LIMITS)])


@pytest.mark.parametrize(("value", "hours", "limits"), [
    ([0, 0, 1, 1, .01, 1.07, 0, 1000003.27, 3.71, 2.48, 2.48, 0, 901, 901, 0, 4, .01, 0, 0, .14],
     [.25, .5, .75, 1, 3, 5, 7, 8, 9, 10, 12, 14, 16, 17, 18, 19, 19.25, 19.5, 20.5, 20.75], LIMITS[4]),
    ([0, 9990.38, 0, 0, 0, 1.22, 1000002.22, 2.22, 1000003.22, 4.22, 5.02, .33, 1.66, .45, 2.22, 2.22],
     [1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 11.25, 11.5, 11.75, 12, 14, 16], LIMITS[5]),
    ([1401, 1000502, 1000502, 503.38, 0, 0, 1, 0, 0, 0, 0, 1],
     [2, 4, 6, 7, 7.25, 7.5, 8.5, 8.75, 9.75, 11.75, 12, 13], LIMITS[1]),
    ([500, 501, 502.43, 504.31, .36, .24, 1.24, 0, 4.11, 5.11, 0, 0, .01, 0, 0, 0, 10.63, 15.63, 11.63, 6.38],
     [1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 11.25, 12.25, 13.25, 15.25, 16.25, 17.25, 18.25, 19.25, 20.25, 21.25],
     LIMITS[0]),
])  # fmt: skip
def test_zeros_between_resets_and_garbled_readings_are_told_alike(value, hours, limits):
    t = (np.array(hours) * H).astype(np.int64)
    assert_windows_equal_the_whole(t, np.array(value, dtype=float), H // 4, limits)
