"""Sets of sequence numbers as sorted, inclusive intervals: what `state` and `ack` are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["Ranges", "count", "intersect", "limit", "of_numbers", "subtract", "union"]

Ranges = list[tuple[int, int]]


def union(*parts: Iterable[tuple[int, int]]) -> Ranges:
    """Join intervals in any order into sorted ones that neither overlap nor touch.

    >>> union([(4, 6), (1, 2)], [(3, 3), (9, 9)])
    [(1, 6), (9, 9)]
    """
    joined: Ranges = []
    for first, last in sorted(r for part in parts for r in part):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined


def of_numbers(numbers: Iterable[int]) -> Ranges:
    """Intervals of single numbers.

    >>> of_numbers([7, 2, 1])
    [(1, 2), (7, 7)]
    """
    return union((n, n) for n in numbers)


def intersect(a: Sequence[tuple[int, int]], b: Sequence[tuple[int, int]]) -> Ranges:
    """Numbers that are in both of two sorted sets.

    >>> intersect([(1, 5), (8, 9)], [(4, 8)])
    [(4, 5), (8, 8)]
    """
    found: Ranges = []
    i = j = 0
    while i < len(a) and j < len(b):
        first, last = max(a[i][0], b[j][0]), min(a[i][1], b[j][1])
        if first <= last:
            found.append((first, last))
        if a[i][1] < b[j][1]:
            i += 1
        else:
            j += 1
    return found


def subtract(a: Sequence[tuple[int, int]], b: Sequence[tuple[int, int]]) -> Ranges:
    """Numbers of sorted `a` that are not in sorted `b`.

    >>> subtract([(1, 9)], [(3, 4), (9, 12)])
    [(1, 2), (5, 8)]
    """
    left: Ranges = []
    j = 0
    for first, last in a:
        at = first
        while j < len(b) and b[j][1] < at:
            j += 1
        k = j
        while k < len(b) and b[k][0] <= last:
            if b[k][0] > at:
                left.append((at, b[k][0] - 1))
            at = b[k][1] + 1
            k += 1
        if at <= last:
            left.append((at, last))
    return left


def limit(ranges: Sequence[tuple[int, int]], most: int) -> Ranges:
    """At most `most` intervals that cover `ranges`: the smallest gaps are closed first.

    >>> limit([(1, 1), (3, 3), (90, 99)], 2)
    [(1, 3), (90, 99)]
    """
    if len(ranges) <= most:
        return list(ranges)
    gaps = sorted(range(1, len(ranges)), key=lambda i: ranges[i][0] - ranges[i - 1][1])
    kept = sorted(gaps[len(ranges) - most :])
    starts = [0, *kept]
    ends = [*kept, len(ranges)]
    return [(ranges[s][0], ranges[e - 1][1]) for s, e in zip(starts, ends, strict=True)]


def count(ranges: Iterable[tuple[int, int]]) -> int:
    """How many numbers the intervals hold.

    >>> count([(1, 3), (7, 7)])
    4
    """
    return sum(last - first + 1 for first, last in ranges)
