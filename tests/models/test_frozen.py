"""Runs of one value: folding in any pieces, learning, and telling a stuck channel from a calm one."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.frozen import LONGER, MIN_RUNS, Runs, fold, frozen_runs, usual_s

GAP_MS = 30_000.0


def plain_runs(t, value, gap_ms):
    """Ended runs in seconds and the open one, by a loop."""
    runs, since, until, shown = [], None, None, None
    for at, v in zip(t.tolist(), value.tolist(), strict=True):
        if math.isnan(v):
            continue
        if shown is not None and v == shown and at - until <= gap_ms:
            until = at
            continue
        if shown is not None:
            runs.append((until - since) / 1000)
        since = until = at
        shown = v
    return runs, (None if shown is None else (shown, since, until))


@st.composite
def channels(draw):
    steps = draw(st.lists(st.sampled_from([10_000, 10_000, 20_000, 40_000]), min_size=1, max_size=60))
    value = draw(
        st.lists(st.sampled_from([1.0, 1.0, 2.0, math.nan]), min_size=len(steps), max_size=len(steps))
    )
    return np.cumsum(steps).astype(np.int64), np.array(value)


@given(st.lists(channels(), min_size=1, max_size=3), st.lists(st.integers(0, 60), max_size=5))
def test_pieces_of_any_size_fold_to_the_runs_of_a_plain_loop(several, cuts):
    runs = Runs.none()
    edges = [0, *sorted(cuts), 60]
    for low, high in itertools.pairwise(edges):
        parts = [(at, t[low:high], value[low:high]) for at, (t, value) in enumerate(several)]
        there = [~np.isnan(value) for _, _, value in parts]
        channel = np.concatenate([np.full(m.sum(), at) for (at, _, _), m in zip(parts, there, strict=True)])
        t = np.concatenate([t[m] for (_, t, _), m in zip(parts, there, strict=True)])
        value = np.concatenate([v[m] for (_, _, v), m in zip(parts, there, strict=True)])
        runs = fold(runs, channel, t, value, GAP_MS)
    runs = runs.grown(len(several))
    edges_s = [2 ** (at / 4) for at in range(128)]
    lows = [-1.0, *edges_s[:-1]]
    for at, (t, value) in enumerate(several):
        ended, shown = plain_runs(t, value, GAP_MS)
        assert runs.known(np.array([at])) == len(ended)
        counts = dict(zip(runs.bins.tolist(), runs.counts.tolist(), strict=True))
        for place, (low, high) in enumerate(zip(lows, edges_s, strict=True)):
            of_bin = sum(low * (1 + 1e-9) < r <= high * (1 + 1e-9) for r in ended)
            assert counts.get(128 * at + place, 0) == of_bin
        if shown is None:
            assert math.isnan(runs.value[at])
        else:
            assert (runs.value[at], runs.since_ms[at], runs.until_ms[at]) == shown


def calm(rng, runs, longest):
    """A channel that shows each value for 1 to `longest` samples of 10 s."""
    lengths = rng.integers(1, longest + 1, runs)
    value = np.repeat(np.arange(runs) % 7 + 40.0, lengths)
    return 10_000 * np.arange(1, len(value) + 1), value


def one(runs, t, value):
    """`runs` of a single channel with more samples."""
    return fold(runs, np.zeros(len(t), np.int64), t, np.asarray(value, float), GAP_MS)


def judged(runs, from_ms, to_ms):
    return frozen_runs(runs, np.array([0]), np.array([10_000.0]), np.array([GAP_MS]), from_ms, to_ms)


def test_a_channel_that_changes_slowly_is_allowed_longer_runs_than_a_quick_one():
    rng = np.random.default_rng(4)
    zero = np.array([0])
    quick, slow = (one(Runs.none(), *calm(rng, 3_000, n)) for n in (3, 60))
    assert usual_s(quick, zero)[0] == pytest.approx(20, rel=0.2)
    assert usual_s(slow, zero)[0] == pytest.approx(590, rel=0.2)
    for runs, frozen in ((quick, True), (slow, False)):
        begin, more = int(runs.until_ms[0]), 10_000 * np.arange(1, 61)
        stuck = one(runs, begin + more, np.full(60, runs.value[0]))
        found = judged(stuck, begin, begin + 600_000)
        assert bool(len(found.channel)) is frozen
        if frozen:
            assert found.run_s[0] >= 600 > LONGER * found.usual_s[0]


def test_a_run_counts_only_where_it_lasts_the_whole_time_and_goes_on():
    runs = one(Runs.none(), 10_000 * np.arange(2_000), np.arange(2_000) % 2)
    begin = int(runs.until_ms[0])
    stuck = one(runs, begin + 10_000 * np.arange(1, 31), np.full(30, 1.0))
    assert len(judged(stuck, begin, begin + 300_000).channel) == 1
    assert not len(judged(stuck, begin - 1, begin + 300_000).channel), "it began within"
    assert not len(judged(stuck, begin, begin + 331_000).channel), "nothing came any more"
    assert not len(judged(one(stuck, np.array([begin + 310_000]), [0.0]), begin, begin + 310_000).channel)


def test_few_runs_say_nothing():
    t = 10_000 * np.arange(1, MIN_RUNS + 1)
    few = one(Runs.none(), t, np.arange(MIN_RUNS) * 1.0)
    stuck = one(few, t[-1] + t, np.full(MIN_RUNS, float(MIN_RUNS - 1)))
    zero = np.array([0])
    assert (few.known(zero)[0], len(judged(stuck, int(t[-1]), int(2 * t[-1])).channel)) == (MIN_RUNS - 1, 0)
    assert math.isnan(usual_s(stuck, zero)[0])
    enough = one(stuck, 2 * t[-1] + t[:2], [0.0, 1.0])
    assert usual_s(enough, zero)[0] == 1.0


def test_a_gap_ends_a_run():
    runs = one(Runs.none(), np.array([0, 10_000, 80_000, 90_000]), np.full(4, 5.0))
    assert (runs.known(np.array([0]))[0], runs.since_ms[0], runs.until_ms[0]) == (1, 80_000, 90_000)


def test_a_new_season_is_learned_however_long_the_old_one_was():
    runs, t = Runs.none(), 0
    for _ in range(40):
        runs = one(runs, t + 10_000 * np.arange(1, 10_001), np.tile([1.0, 2.0], 5_000))
        t += 100_000_000
    zero = np.array([0])
    assert runs.known(zero)[0] < 140_000
    slow = np.repeat(np.tile([1.0, 2.0], 200), 20)
    runs = one(runs, t + 10_000 * np.arange(1, len(slow) + 1), slow)
    assert usual_s(runs, zero)[0] >= 190
