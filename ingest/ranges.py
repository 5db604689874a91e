"""Sequence numbers as inclusive ranges, many senders' in columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ingest.messages import Ints, SafeNumbers

__all__ = ["fewest", "joined", "run_starts"]


def run_starts(*columns: Ints) -> NDArray[np.bool_]:
    """Whether each row is the first of those in a row that agree in all `columns`."""
    new = np.ones(len(columns[0]), dtype=bool)
    new[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return new


def joined(parts: Sequence[SafeNumbers]) -> SafeNumbers:
    """All ranges of `parts`, at least one, whose senders were numbered together."""
    if len(parts) == 1:
        return parts[0]
    sender, boot, first, last = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("sender", "boot", "first", "last")
    )
    return SafeNumbers(parts[0].addresses, sender, boot, first, last)


def fewest(numbers: SafeNumbers) -> SafeNumbers:
    """The same numbers in the fewest ranges, in order of sender, boot and number."""
    if len(numbers) < 2:
        return numbers
    numbers = numbers.take(np.lexsort((numbers.first, numbers.boot, numbers.sender)))
    new = run_starts(numbers.sender, numbers.boot)
    last = numbers.last
    if not bool(((last[1:] >= last[:-1]) | new[1:]).all()):
        last = _highest_so_far(np.cumsum(new), last)
    new[1:] |= numbers.first[1:] - 1 > last[:-1]
    starts = np.flatnonzero(new)
    found = numbers.take(starts)
    ends = last[np.append(starts[1:], len(last)) - 1]
    return SafeNumbers(found.addresses, found.sender, found.boot, found.first, ends)


def _highest_so_far(run: Ints, last: Ints) -> Ints:
    """The highest of `last` up to each row in its run; runs are numbered, ascending."""
    order = np.lexsort((last, run))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return np.asarray(last[order[np.maximum.accumulate(rank)]])
