"""What the operators of a window share is what each would have found by itself, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.counter import counter_events, window_increase
from models.integrate import integrate
from models.measurements import known
from streams.core.rows import Rows, numeric_columns
from streams.core.samples import COMPANION, ClassSamples, Samples

COLUMNS = numeric_columns("meter")
START, END = 900_000, 1_800_000
TEMPERATURES = ("supply_c", "return_c")


def sampled(rng: np.random.Generator, devices: int) -> Samples:
    """Some minutes of meters, with holes in every measurement, counters that fall and temperatures that leap."""
    device = np.sort(rng.integers(0, devices, 40))
    t = np.concatenate([np.sort(rng.choice(45, n, replace=False)) for n in np.bincount(device)]) * 60_000
    n = len(device)
    values = rng.uniform(20.0, 120.0, (len(COLUMNS), n)).round(1)
    values[rng.random(values.shape) < rng.choice([0.0, 0.2])] = np.nan
    nothing = np.zeros(n, np.int64)
    rows = Rows(device, t.astype(np.int64), nothing, nothing, nothing, values)
    return Samples(START, END, [ClassSamples(COLUMNS, rows)])


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 3))
def test_integrals_and_counters_asked_one_after_the_other_equal_those_asked_alone(seed, devices):
    rng = np.random.default_rng(seed)
    samples = sampled(rng, devices)
    n = len(samples.devices)
    alone = (samples.group, samples.t)
    for _ in range(2):  # the second time round everything has been found before
        for gap_ms in (np.full(n, 180_000.0), np.full(n, 900_000.0)):
            for name in (*TEMPERATURES, "flow_m3_h"):
                for rests_on in ((), (name,)):
                    value = samples[name]
                    steady = [
                        (samples[m], float(known[m].most_per_min or np.inf))
                        for m in rests_on
                        if samples.moves(m)
                    ]
                    found = samples.integrate(value, gap_limit_ms=gap_ms, rests_on=rests_on)
                    wanted = integrate(*alone, value, START, END, n, gap_ms, steady=steady)
                    assert [x.tobytes() for x in found] == [x.tobytes() for x in wanted]
        for name in COMPANION:
            for most in (np.full(n, 1e-3), np.full(n, 1e6), np.nan):
                given_ = {
                    "max_rate_per_h": most,
                    "operating_h": samples["operating_h"],
                    "companion": samples[COMPANION[name]],
                }
                args = (*alone, samples[name], START, END, n)
                counted = samples.counter(name, max_rate_per_h=most)
                for field in ("increase", "covered", "lost", "why"):
                    wanted = getattr(window_increase(*args, **given_), field)
                    assert getattr(counted, field).tobytes() == wanted.tobytes()
                events = samples.counter_events(name, max_rate_per_h=most)
                assert events.tolist() == counter_events(*args, **given_).tolist()


def test_what_is_shared_cannot_be_written_to():
    samples = sampled(np.random.default_rng(1), 2)
    _, covered = samples.integrate(samples["supply_c"], gap_limit_ms=np.full(2, 9e5))
    with pytest.raises(ValueError, match="read-only"):
        covered[0] = 0.0
