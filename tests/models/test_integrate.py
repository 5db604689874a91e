"""Trapezoids against a plain loop over each device."""

import itertools
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.grouped import sum_by_group
from models.integrate import integrate

values = st.one_of(st.floats(-1e6, 1e6), st.just(math.nan))
series = st.lists(st.tuples(st.integers(-200, 400), values), max_size=25, unique_by=lambda row: row[0])
devices = st.lists(series.map(sorted), min_size=1, max_size=5)


def expected(rows, start, end, limit):
    rows = [(t, v) for t, v in rows if not math.isnan(v)]
    area, covered = 0.0, 0.0
    for (a, va), (b, vb) in itertools.pairwise(rows):
        low, high = max(a, start), min(b, end)
        if b - a > limit or low >= high:
            continue
        at_low, at_high = (va + (vb - va) * (x - a) / (b - a) for x in (low, high))
        area += (at_low + at_high) / 2.0 * (high - low) / 1000.0
        covered += high - low
    return (area if covered else math.nan), covered / (end - start)


def as_arrays(devices):
    group = np.array([i for i, rows in enumerate(devices) for _ in rows], dtype=np.int64)
    t = np.array([t for rows in devices for t, _ in rows], dtype=np.int64)
    return group, t, np.array([v for rows in devices for _, v in rows], dtype=np.float64)


@given(devices, st.integers(-250, 300), st.integers(1, 300), st.integers(1, 200))
def test_equals_a_plain_loop(devices, start, width, limit):
    n = len(devices)
    limits = np.array([limit + 7.0 * i for i in range(n)])
    area, covered = integrate(*as_arrays(devices), start, start + width, n, limits)
    wanted = [expected(rows, start, start + width, limits[i]) for i, rows in enumerate(devices)]
    np.testing.assert_allclose(area, [a for a, _ in wanted], rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(covered, [c for _, c in wanted], rtol=1e-12)
    assert (covered <= 1.0).all()


@given(devices, st.integers(1, 200), st.integers(20, 90))
def test_windows_add_up(devices, limit, width):
    n = len(devices)
    arrays = as_arrays(devices)
    whole, covered = integrate(*arrays, -200, -200 + 10 * width, n, limit)
    parts = [integrate(*arrays, s, s + width, n, limit) for s in range(-200, -200 + 10 * width, width)]
    np.testing.assert_allclose(
        np.nansum([p[0] for p in parts], axis=0), np.nan_to_num(whole), rtol=1e-9, atol=1e-6
    )
    np.testing.assert_allclose(np.mean([p[1] for p in parts], axis=0), covered, rtol=1e-12)


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(2, 9))
def test_other_devices_and_farther_samples_change_no_bit(seed, n):
    rng = np.random.default_rng(seed)
    lots = []
    for size in rng.integers(0, 700, n):
        t = np.cumsum(rng.integers(1, 20_000, size))
        value = rng.normal(size=size) * 10.0 ** rng.integers(-5, 9, size)
        lots.append((t, value))
    start, end = 1_500_000, 4_000_000
    group = np.concatenate([np.full(len(t), i) for i, (t, _) in enumerate(lots)])
    t = np.concatenate([t for t, _ in lots])
    together = integrate(group, t, np.concatenate([v for _, v in lots]), start, end, n, np.full(n, 15_000))
    for i, (own_t, own_value) in enumerate(lots):
        own = slice(max(np.searchsorted(own_t, start) - 1, 0), np.searchsorted(own_t, end) + 1)
        size = len(own_t[own])
        alone = integrate(np.zeros(size, int), own_t[own], own_value[own], start, end, 1, 15_000.0)
        assert alone[0].tobytes() == together[0][i : i + 1].tobytes()
        assert alone[1].tobytes() == together[1][i : i + 1].tobytes()


def test_nothing_is_claimed_where_nothing_is_covered():
    t, value = np.array([0, 100, 101]), np.array([1.0, 1.0, 1.0])
    zeros = np.zeros(3, dtype=np.int64)
    area, covered = integrate(zeros, t, value, 0, 100, 3, np.array([50.0, 50.0, 50.0]))
    assert np.isnan(area).all()
    assert covered.tolist() == [0.0, 0.0, 0.0]
    area, covered = integrate(zeros, t, value, 0, 100, 1, np.nan)
    assert np.isnan(area[0])
    assert covered[0] == 0.0
    area, covered = integrate(zeros[:0], t[:0], value[:0], 0, 100, 1, 50)
    assert np.isnan(area[0])


def test_a_zero_that_was_measured_is_zero():
    area, covered = integrate(np.zeros(2, int), np.array([0, 100]), np.zeros(2), 0, 100, 1, 100)
    assert area.tolist() == [0.0]
    assert covered.tolist() == [1.0]


def test_sums_of_empty_groups():
    total, present = sum_by_group(np.array([1, 2, 3]), np.array([1, 1, 3]), 5)
    assert total.tolist() == [0.0, 3.0, 0.0, 3.0, 0.0]
    assert present.tolist() == [False, True, False, True, False]
