"""Counters against a plain loop, over generated histories with faults of every kind."""

import gc
import itertools
import math
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.counter import Step, counter_steps, known_steps, window_increase
from tests.support.counter_neighbours import neighbourhood

H = 3_600_000
FULL = 1000.0
RATE = 10.0  # a reading an hour or so grows by at most this


@st.composite
def histories(draw):
    """Readings of one counter, what it truly counted between them, and how."""
    t, register, hours = draw(st.integers(-5, 5)) * H, draw(st.floats(0.01, FULL - 1.0)), 5000.0
    rows = [(t, register, hours, 0.0, Step.FIRST)]
    for _ in range(draw(st.integers(0, 12))):
        what = draw(st.sampled_from(["on", "on", "on", "outage", "reset", "exchange", "glitch"]))
        gap_h = draw(st.integers(1, 3)) if what != "outage" else draw(st.integers(4, 9))
        t += gap_h * H + draw(st.integers(0, H - 1))
        hours += gap_h
        # Equal readings after a fall or a jump are in doubt until others follow.
        least = 0.001 if rows[-1][-1] in {Step.SPIKE, Step.RESET} else 0.0
        grown = draw(st.floats(least, RATE)) * gap_h
        kind = Step.COUNTED
        jumped = rows[-1][-1] == Step.SPIKE  # a fall right after it may as well be the way back
        if what == "reset" and 300.0 < register < 880.0 and not jumped:
            register, kind, grown = draw(st.floats(0.01, 5.0)), Step.RESET, math.nan
        elif what == "exchange" and register > 300.0 and not jumped:
            register, hours, kind, grown = draw(st.floats(0.01, 5.0)), 0.5, Step.EXCHANGE, math.nan
        elif what == "glitch" and register < 500.0:
            register, kind, grown = register + 400.0, Step.SPIKE, math.nan
        else:
            register += grown
            if register > FULL:
                register, kind = register - FULL, Step.ROLLOVER
        rows.append((t, register, hours, grown, kind))
    return [np.array(column) for column in zip(*rows, strict=True)]


def expected_increase(t, value, start, end, full):
    """Plain loop over one device, without rates and hours."""
    grown = plain_steps(value.tolist(), full)
    total, shared = 0.0, False
    for i in range(1, len(t)):
        low, high = max(t[i - 1], start), min(t[i], end)
        if low < high and grown[i] is not None:
            shared = True
            total += grown[i] * (high - low) / (t[i] - t[i - 1])
    return total if shared else math.nan


def plain_steps(value, full):
    """What each step of one device counted; None where nobody knows."""
    n = len(value)
    alone = [None, *(plain_increase(a, b, full) for a, b in itertools.pairwise(value))]
    grown = list(alone)
    for i in range(2, n):
        if value[i - 1] < value[i - 2] <= value[i] and alone[i - 1] is None:
            grown[i] = value[i] - value[i - 2]
    for first, length in itertools.product(range(1, n), (2, 3)):
        after = first + length
        if after > n or len({*value[first:after]}) > 1 or alone[first] is not None:
            continue
        if value[first] < value[first - 1] and (after == n or value[after] >= value[first - 1]):
            grown[first + 1 : after] = [None] * (length - 1)
            if after < n:
                grown[after] = value[after] - value[first - 1]
    for length, first in itertools.product((1, 2), range(1, n)):
        before, after = value[first - 1], first + length
        if after < n and len({*value[first:after]}) == 1 and before <= value[after] < value[first]:
            grown[first:after] = [None] * length
            fell = first > 1 and before < value[first - 2] and alone[first - 1] is None
            line = value[first - 2] if fell else before
            grown[after] = value[after] - line if value[after] >= line else None
    return grown


def plain_increase(before, after, full):
    """What two readings alone say; None where nothing."""
    if after >= before:
        return after - before
    if before <= full and full - before + after <= 0.01 * full:
        return full - before + after
    return None


def stacked(devices):
    group = np.concatenate([np.full(len(d[0]), i) for i, d in enumerate(devices)])
    return group, *(np.concatenate([d[i] for d in devices]) for i in range(3))


@given(histories())
def test_every_step_is_named_and_its_truth_recovered(history):
    t, value, hours, true, kinds = history
    zeros = np.zeros(len(t), dtype=np.int64)
    steps = counter_steps(zeros, t, value, FULL, max_rate_per_h=RATE, operating_h=hours)
    assert steps.kind.tolist() == kinds.tolist()
    known = np.isin(kinds, [Step.COUNTED, Step.ROLLOVER])
    assert (steps.lost == ~np.isin(kinds, [Step.FIRST, Step.COUNTED, Step.ROLLOVER])).all()
    np.testing.assert_allclose(steps.increase[known], true[known], atol=1e-9)
    assert (steps.increase[1:][~known[1:]] == 0.0).all()
    assert np.isnan(steps.increase[0])


@given(st.lists(histories(), min_size=1, max_size=4), st.integers(1, 7), st.integers(0, H - 1))
def test_windows_add_up_to_what_was_counted(devices, width_h, shift):
    group, t, value, hours = stacked(devices)
    n = len(devices)
    steps = counter_steps(group, t, value, FULL, max_rate_per_h=RATE, operating_h=hours)
    expected = [np.nansum(steps.increase[group == i]) for i in range(n)]
    edges = np.arange(-6 * H + shift - width_h * H, t.max() + width_h * H + 1, width_h * H)
    total, lost_ms = np.zeros(n), np.zeros(n)
    for start, end in itertools.pairwise(edges):
        counted = window_increase(
            group, t, value, start, end, n, FULL, max_rate_per_h=RATE, operating_h=hours
        )
        known = ~np.isnan(counted.increase)
        assert (counted.increase[known] >= 0.0).all()
        assert (known == (counted.covered > 0.0)).all()
        assert (counted.covered + counted.lost <= 1.0 + 1e-12).all()
        total += np.where(known, counted.increase, 0.0)
        lost_ms += counted.lost * (end - start)
    np.testing.assert_allclose(total, expected, rtol=1e-12, atol=1e-9)
    steps_ms = np.diff(t, prepend=t[:1])
    expected_ms = [steps_ms[steps.lost & (group == i)].sum() for i in range(n)]
    np.testing.assert_allclose(lost_ms, expected_ms, rtol=1e-9, atol=1e-3)


@given(st.lists(histories(), min_size=1, max_size=5), st.integers(-8, 20), st.integers(1, 9), st.booleans())
def test_equals_a_plain_loop_over_each_device(devices, start_h, width_h, has_full_scale):
    group, t, value, _ = stacked(devices)
    start, end = start_h * H, (start_h + width_h) * H
    full = FULL if has_full_scale else math.nan
    grown = window_increase(group, t, value, start, end, len(devices), np.full(len(devices), full)).increase
    expected = [expected_increase(d[0], d[1], start, end, full) for d in devices]
    np.testing.assert_allclose(grown, expected, rtol=1e-12, atol=1e-9)


@settings(max_examples=50)
@given(st.integers(0, 2**32), st.integers(2, 6))
def test_neighbours_decide_and_nothing_else_does_to_the_bit(seed, n):
    """Only a window's own readings and their neighbours matter; other devices never do."""
    rng = np.random.default_rng(seed)
    devices = []
    for size in rng.integers(0, 300, n):
        t = np.cumsum(rng.integers(1, 60_000, size))
        value = np.cumsum(rng.random(size)) * 1e3
        value[rng.random(size) < 0.1] *= rng.choice([0.0, 0.5, 3.0])
        devices.append((t, value))
    start, end = 2_000_000, 5_000_000
    group = np.concatenate([np.full(len(t), i) for i, (t, _) in enumerate(devices)])
    t = np.concatenate([t for t, _ in devices])
    value = np.concatenate([v for _, v in devices])
    together = window_increase(group, t, value, start, end, n, max_rate_per_h=1e3)
    for i, (own_t, own_value) in enumerate(devices):
        near = neighbourhood(own_t, own_value, start, end)
        near_t, near_value = own_t[near], own_value[near]
        alone = window_increase(
            np.zeros(len(near_t), int), near_t, near_value, start, end, 1, max_rate_per_h=1e3
        )
        for name in ("increase", "covered", "lost", "bridged", "why"):
            assert getattr(alone, name).tobytes() == getattr(together, name)[i : i + 1].tobytes(), name


def test_known_only_between_readings():
    t = np.array([10, 20]) * H
    value = np.array([5.0, 25.0])
    zeros = np.zeros(2, dtype=np.int64)
    cases = {(0, 10): None, (0, 12): 4.0, (12, 13): 2.0, (10, 20): 20.0, (18, 30): 4.0, (20, 30): None}
    for (start, end), expected in cases.items():
        grown = window_increase(zeros, t, value, start * H, end * H, 1).increase
        np.testing.assert_allclose(grown[0], math.nan if expected is None else expected)
    for n in (0, 1):
        none = window_increase(zeros[:n], t[:n], value[:n], 0, 30 * H, 2)
        assert np.isnan(none.increase).all()
        assert not none.covered.any()


def test_absent_readings_are_bridged_not_counted_as_zero():
    t = np.arange(5) * H
    value = np.array([np.nan, 100.0, np.nan, 104.0, np.nan])
    counted = window_increase(np.zeros(5, int), t, value, 2 * H, 4 * H, 1, operating_h=np.arange(5.0))
    assert counted.increase.tolist() == [2.0]


def test_windows_of_their_own_for_each_group():
    """A device in two windows is two groups."""
    t = np.array([0, 10, 20, 0, 10, 20]) * H
    value = np.array([5.0, 15.0, 35.0] * 2)
    group = np.repeat([0, 1], 3)
    counted = window_increase(group, t, value, np.array([5, 10]) * H, np.array([10, 15]) * H, 2)
    assert counted.increase.tolist() == [5.0, 10.0]


def test_only_steps_within_the_gap_limit_cover_and_a_lost_one_does_not():
    t = np.array([0, 1, 2, 6, 7, 8]) * H
    value = np.array([500.0, 501.0, 502.0, 506.0, 0.1, 0.3])
    counted = window_increase(np.zeros(6, int), t, value, 0, 10 * H, 1, gap_limit_ms=3 * H)
    assert counted.increase[0] == pytest.approx(6.2)
    assert counted.covered[0] == pytest.approx(0.3)
    assert counted.lost[0] == pytest.approx(0.1)
    assert Step(counted.why[0]) is Step.RESET
    alone = window_increase(np.zeros(6, int), t, value, int(6.2 * H), int(6.8 * H), 1)
    assert np.isnan(alone.increase[0]), "a window inside a reset knows nothing, and never zero"
    assert (alone.covered[0], alone.lost[0]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("before", "after", "options", "kind", "increase"),
    [
        (999.0, 2.0, {"full_scale": 1000.0}, Step.ROLLOVER, 3.0),
        (999.0, 2.0, {}, Step.RESET, 0.0),
        (500.0, 2.0, {"full_scale": 1000.0}, Step.RESET, 0.0),
        (970.0, 2.0, {"full_scale": 1000.0}, Step.RESET, 0.0),
        (970.0, 2.0, {"full_scale": 1000.0, "max_rate_per_h": 30.0}, Step.ROLLOVER, 32.0),
        (999.0, 50.0, {"full_scale": 1000.0, "max_rate_per_h": 10.0}, Step.CORRUPT, 0.0),
        (999.0, 2.0, {"full_scale": 1000.0, "operating_h": [900.0, 1.0]}, Step.EXCHANGE, 0.0),
        (1200.0, 2.0, {"full_scale": 1000.0}, Step.RESET, 0.0),
        (500.0, 300.0, {}, Step.CORRUPT, 0.0),
        (500.0, 300.0, {"operating_h": [900.0, 700.0]}, Step.EXCHANGE, 0.0),
        (500.0, 900.0, {"operating_h": [900.0, 0.5]}, Step.EXCHANGE, 0.0),
        (500.0, 501.0, {"operating_h": [900.0, 800.0]}, Step.COUNTED, 1.0),
        (500.0, 501.0, {"operating_h": [900.0, np.nan]}, Step.COUNTED, 1.0),
        (500.0, 512.0, {"max_rate_per_h": 10.0}, Step.COUNTED, 12.0),
        (500.0, 512.1, {"max_rate_per_h": 10.0}, Step.SPIKE, 0.0),
        (500.0, 512.1, {"max_rate_per_h": np.nan}, Step.COUNTED, pytest.approx(12.1)),
        (500.0, 2.0, {"companion": [9000.0, 1.0]}, Step.EXCHANGE, 0.0),
        (500.0, 2.0, {"companion": [9000.0, 9001.0]}, Step.RESET, 0.0),
        (500.0, 2.0, {"companion": [9000.0, np.nan]}, Step.RESET, 0.0),
        (999.0, 2.0, {"full_scale": 1000.0, "companion": [9000.0, 1.0]}, Step.ROLLOVER, 3.0),
        (-1.0, 3.0, {}, Step.CORRUPT, 0.0),
        (3.0, -1.0, {"full_scale": 4.0}, Step.CORRUPT, 0.0),
        (0.0, 0.0, {"full_scale": 1000.0}, Step.COUNTED, 0.0),
    ],
)
def test_a_step_by_itself(before, after, options, kind, increase):
    options = {k: np.array(v) if isinstance(v, list) else v for k, v in options.items()}
    steps = counter_steps(np.zeros(2, int), np.array([0, H]), np.array([before, after]), **options)
    assert Step(steps.kind[1]) is kind
    assert steps.increase[1] == increase


def test_a_register_that_is_refreshed_once_an_hour_is_no_spike():
    t = np.arange(3) * 10_000
    steps = counter_steps(np.zeros(3, int), t, np.array([500.0, 500.0, 509.0]), max_rate_per_h=10.0)
    assert steps.kind.tolist() == [Step.FIRST, Step.COUNTED, Step.COUNTED]


@pytest.mark.parametrize("value", [[1.0, 2.0, 3.0], [1.0, 0.0, 3.0]])
def test_steps_are_let_go_at_once(value):
    """Each window has some: those that refer to themselves filled 100 MB a million messages."""
    gc.disable()
    try:
        steps = known_steps(np.zeros(3, int), np.arange(3) * 3_600_000, np.array(value))
        assert steps.joined.joined.steps.kind[-1] in {Step.COUNTED, Step.BRIDGED}
        kept = weakref.ref(steps)
        del steps
        assert kept() is None
    finally:
        gc.enable()
