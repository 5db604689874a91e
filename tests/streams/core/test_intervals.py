"""Interval sets against plain sets."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streams.core.intervals import IntervalSet

ranges = st.lists(
    st.tuples(st.integers(1, 60), st.integers(0, 12)).map(lambda x: (x[0], x[0] + x[1])), max_size=20
)


def plain(pairs) -> set[int]:
    return {n for a, b in pairs for n in range(a, b + 1)}


@given(ranges, ranges)
def test_equals_a_plain_set(a, b):
    left, right = IntervalSet(a), IntervalSet(b)
    assert plain(left) == plain(a)
    assert len(left) == len(plain(a))
    assert plain(left.union(right)) == plain(a) | plain(b)
    assert plain(left.minus(right)) == plain(a) - plain(b)
    for bound in (1, 30, 80):
        assert plain(left.below(bound)) == {n for n in plain(a) if n < bound}
        assert left.count_below(bound) == len(left.below(bound))
    assert all((n in left) == (n in plain(a)) for n in range(80))
    assert left.highest == max(plain(a), default=0)
    pairs = list(left)
    assert all(x[1] + 1 < y[0] for x, y in pairwise(pairs))


@given(ranges, st.integers(0, 80), st.integers(0, 12))
def test_appends_only_what_is_above_all_that_is_there(a, first, more):
    numbers = IntervalSet(a)
    highest = max(plain(a), default=0)
    assert numbers.append(first, first + more) == (first > highest)
    assert numbers == IntervalSet([*a, (first, first + more)] if first > highest else a)
