"""Runs of one value: folding in any pieces, learning, and telling a stuck channel from a calm one."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.frozen import MIN_RUNS, VERSION, FrozenState, fold, longest_usual_s, verdict

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


@given(channels(), st.lists(st.integers(0, 60), max_size=5))
def test_pieces_of_any_size_fold_to_the_runs_of_a_plain_loop(channel, cuts):
    t, value = channel
    state = FrozenState()
    edges = [0, *sorted(min(c, len(t)) for c in cuts), len(t)]
    for low, high in itertools.pairwise(edges):
        state = fold(state, t[low:high], value[low:high], GAP_MS)
        state = FrozenState.from_json(json.loads(json.dumps(state.to_json())))
    runs, shown = plain_runs(t, value, GAP_MS)
    assert state.runs == len(runs)
    edges_s = [2 ** (at / 4) for at in range(len(state.counts))]
    lows = [-1.0, *edges_s[:-1]]
    for at, (low, high) in enumerate(zip(lows, edges_s, strict=True)):
        assert state.counts[at] == sum(low * (1 + 1e-9) < r <= high * (1 + 1e-9) for r in runs)
    if shown is None:
        assert math.isnan(state.value)
    else:
        assert (state.value, state.since_ms, state.until_ms) == shown


def calm(rng, runs, longest):
    """A channel that shows each value for 1 to `longest` samples of 10 s."""
    lengths = rng.integers(1, longest + 1, runs)
    value = np.repeat(np.arange(runs) % 7 + 40.0, lengths)
    return 10_000 * np.arange(1, len(value) + 1), value


def test_a_channel_that_changes_slowly_is_allowed_longer_runs_than_a_quick_one():
    rng = np.random.default_rng(4)
    quick, slow = (fold(FrozenState(), *calm(rng, 3_000, n), GAP_MS) for n in (3, 60))
    assert longest_usual_s(quick) == pytest.approx(20, rel=0.2)
    assert longest_usual_s(slow) == pytest.approx(590, rel=0.2)
    for state, frozen in ((quick, True), (slow, False)):
        t = state.until_ms + 10_000 * np.arange(1, 31)
        stuck = fold(state, t, np.full(30, state.value), GAP_MS)
        assert verdict(stuck).frozen is frozen
    assert verdict(stuck).run_s >= 300


def test_few_runs_say_nothing():
    t = 10_000 * np.arange(1, MIN_RUNS + 1)
    few = fold(FrozenState(), t, np.arange(MIN_RUNS) * 1.0, GAP_MS)
    stuck = fold(few, t[-1] + t, np.full(MIN_RUNS, float(MIN_RUNS - 1)), GAP_MS)
    assert (few.runs, verdict(stuck).frozen) == (MIN_RUNS - 1, False)
    assert math.isnan(longest_usual_s(stuck))
    enough = fold(stuck, t[-1] + t[-1] + t[:2], np.array([0.0, 1.0]), GAP_MS)
    assert longest_usual_s(enough) == 1.0


def test_a_gap_ends_a_run():
    state = fold(FrozenState(), np.array([0, 10_000, 80_000, 90_000]), np.full(4, 5.0), GAP_MS)
    assert (state.runs, state.since_ms, state.until_ms) == (1, 80_000, 90_000)


def test_a_new_season_is_learned_however_long_the_old_one_was():
    quick = np.tile([1.0, 2.0], 200_000)
    state = fold(FrozenState(), 10_000 * np.arange(1, len(quick) + 1), quick, GAP_MS)
    assert state.runs < 200_000
    half = fold(FrozenState(), 10_000 * np.arange(1, 150_001), quick[:150_000], GAP_MS)
    assert fold(half, 10_000 * np.arange(150_001, len(quick) + 1), quick[150_000:], GAP_MS) == state
    slow = np.repeat(np.tile([1.0, 2.0], 200), 20)
    state = fold(state, state.until_ms + 10_000 * np.arange(1, len(slow) + 1), slow, GAP_MS)
    assert longest_usual_s(state) >= 190


def test_another_version_is_refused():
    data = FrozenState().to_json() | {"version": VERSION + 1}
    with pytest.raises(ValueError, match="version"):
        FrozenState.from_json(data)
