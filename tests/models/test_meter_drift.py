"""Steps of meters against their own past, on signals made up plainly from what a step does to them."""

from __future__ import annotations

import numpy as np
import pytest

from models.meter_drift import (
    HEAT,
    LEARNING_DAYS,
    WATER,
    Baseline,
    Kind,
    Layout,
    find_steps,
    learnt,
    likeness,
    untouched,
)

SHARES = np.array([0.1, 0.2, 0.3, 0.4])
LAYOUT = Layout(np.array([1.0]), SHARES, SHARES)
SIGNALS = 2 + 2 * len(SHARES)
NOISE = np.concatenate([np.full(2 + len(SHARES), 0.001), np.full(len(SHARES), 0.03)])
NONE = np.zeros(SIGNALS)


def told(rng, days: int, shift=NONE) -> np.ndarray:
    own = np.linspace(-0.02, 0.02, SIGNALS)
    return own + NOISE * rng.standard_normal((days, SIGNALS)) + shift


def taught(rng, *, without: tuple[int, ...] = (), days: int = LEARNING_DAYS) -> Baseline:
    base = Baseline.empty(SIGNALS)
    for value in told(rng, days):
        value[list(without)] = np.nan
        base = learnt(base, value, NONE)
    return base


def flow_step(consumer: int, size: float) -> np.ndarray:
    """What a consumer's flow meter that shows more does to the signals."""
    shift = np.zeros(SIGNALS)
    shift[[HEAT, WATER]] = -size * SHARES[consumer]
    shift[2 + consumer] = -size
    shift[2 + len(SHARES) + consumer] = size
    return shift


def found(rng, base: Baseline, shift: np.ndarray, days: int = 2):
    value = told(rng, days, shift)
    value[:, base.count == 0] = np.nan
    return find_steps(LAYOUT, base, value, np.zeros_like(value), NONE)


def test_a_flow_meter_with_a_second_one_behind_it_is_named_with_its_size():
    rng = np.random.default_rng(1)
    base = taught(rng)
    for consumer in (2, 3):
        step = found(rng, base, flow_step(consumer, 0.03))[0]
        assert (step.faults[0].kind, step.faults[0].at) == (Kind.FLOW, consumer)
        assert {f.at for f in step.faults} == {consumer}
        assert step.sizes[0] == pytest.approx(0.03, abs=3.0 * step.size_u)


def test_a_plant_s_meter_looks_like_a_leak_and_like_no_substation():
    rng = np.random.default_rng(2)
    base = taught(rng, without=(2, 3))  # the first two consumers have no second meter
    shift = np.zeros(SIGNALS)
    shift[[HEAT, WATER]] = 0.03
    step = found(rng, base, shift)[0]
    assert {(f.kind, f.at) for f in step.faults} == {(Kind.FLOW, -2), (Kind.LEAK, -1)}
    shift[WATER] = 0.0
    step = found(rng, base, shift)[0]
    assert {(f.kind, f.at) for f in step.faults} == {(Kind.HEAT_ONLY, -2), (Kind.LOSS, -1)}
    shift[[HEAT, WATER]] = -0.03
    step = found(rng, base, shift)[0]
    assert {(f.kind, f.at) for f in step.faults} == {(Kind.FLOW, -2)}, "no leak brings water in"
    shift[[HEAT, WATER]] = 0.0, 0.03
    step = found(rng, base, shift)[0]
    assert {(f.kind, f.at) for f in step.faults} == {(Kind.LEAK, -1)}, "one that the heat balance knows of"


def test_a_consumer_s_own_share_tells_it_from_the_plant():
    rng = np.random.default_rng(3)
    base = taught(rng, without=(2, 3, 4, 5))
    step = found(rng, base, flow_step(3, 0.3))[0]
    named = {(f.kind, f.at) for f in step.faults}
    assert (Kind.FLOW, 3) in named
    assert {at for kind, at in named} == {3, -2}, "no other consumer's share rose"
    silent = flow_step(3, 0.3)
    silent[2 + len(SHARES) :] = 0.0
    step = found(rng, base, silent)[0]
    assert 3 not in {f.at for f in step.faults}, "its share of all heat did not change"


def test_what_nothing_checks_is_not_told():
    rng = np.random.default_rng(4)
    base = taught(rng, without=(2, 3, 4, 5))
    assert found(rng, base, flow_step(0, 0.03)) == (), "3 % of a tenth are lost in the balance"
    shift = np.zeros(SIGNALS)
    shift[2 + len(SHARES)] = 0.5
    assert found(rng, base, shift) == (), "a load that changes is no meter's fault"


def test_two_faults_are_found_one_after_the_other():
    rng = np.random.default_rng(5)
    base = taught(rng)
    steps = found(rng, base, flow_step(2, 0.05) + flow_step(0, -0.06), days=3)
    assert {s.faults[0].at for s in steps} == {0, 2}
    left = untouched(np.ones(SIGNALS), steps, len(SHARES))
    assert np.isnan(left[[HEAT, WATER, 2, 4]]).all()
    assert not np.isnan(left[[3, 5]]).any()


def test_sound_meters_raise_less_than_one_in_a_season():
    rng = np.random.default_rng(6)
    raised = 0
    for _ in range(10):
        base = taught(rng)
        recent = told(rng, 5)
        for value in told(rng, 36):
            recent = np.vstack([recent[1:], value])
            raised += bool(find_steps(LAYOUT, base, recent, np.zeros_like(recent), NONE))
            base = learnt(base, recent[0], NONE)
    assert raised <= 2, "of two seasons of days"


def test_nothing_is_said_while_it_learns_and_a_lever_widens():
    rng = np.random.default_rng(7)
    assert found(rng, taught(rng, days=LEARNING_DAYS - 1), flow_step(2, 0.2)) == ()
    base = taught(rng)
    value = told(rng, 2, flow_step(2, 0.03))
    lever = np.full_like(value, 0.03)
    assert find_steps(LAYOUT, base, value, lever, NONE)
    assert find_steps(LAYOUT, base, value, lever, np.full(SIGNALS, 0.5)) == ()


def test_twice_a_size_is_four_times_the_ratio():
    weight = np.full(SIGNALS, 1e6)
    one = likeness(LAYOUT, flow_step(1, 0.01), weight)
    two = likeness(LAYOUT, flow_step(1, 0.02), weight)
    at = next(n for n, f in enumerate(one.faults) if (f.kind, f.at) == (Kind.FLOW, 1))
    assert two.ratio[at] == pytest.approx(4.0 * one.ratio[at])
    assert one.size[at] == pytest.approx(0.01)
    assert int(np.argmax(one.ratio)) == at
