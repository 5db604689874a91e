from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge import ranges as r

NUMBERS = st.sets(st.integers(1, 60))


def numbers(ranges):
    return {n for first, last in ranges for n in range(first, last + 1)}


@given(NUMBERS, NUMBERS)
def test_set_algebra(a, b):
    ra, rb = r.of_numbers(a), r.of_numbers(b)
    assert numbers(ra) == a
    assert numbers(r.union(ra, rb)) == a | b
    assert numbers(r.intersect(ra, rb)) == a & b
    assert numbers(r.subtract(ra, rb)) == a - b
    assert r.count(ra) == len(a)


@given(NUMBERS, st.integers(1, 8))
def test_limit_covers_with_few(a, most):
    exact = r.of_numbers(a)
    limited = r.limit(exact, most)
    assert len(limited) <= most
    assert numbers(limited) >= a
    assert limited == r.union(limited), "sorted and apart"
    if len(exact) <= most:
        assert limited == exact


def test_limit_closes_the_smallest_gaps():
    assert r.limit([(1, 1), (3, 3), (10, 10), (14, 14)], 2) == [(1, 3), (10, 14)]
