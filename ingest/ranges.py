"""Sequence numbers as inclusive ranges."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ingest.block import Ints
from ingest.messages import Acks, Address

__all__ = ["acks_of", "merge", "union"]

Ranges = list[tuple[int, int]]


def merge(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The same numbers in the fewest ranges, ascending."""
    merged: Ranges = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            if last > merged[-1][1]:
                merged[-1] = (merged[-1][0], last)
        else:
            merged.append((first, last))
    return merged


def union(into: Acks, more: Acks) -> None:
    """Add the numbers of `more` to `into`."""
    for address, boots in more.items():
        known = into.setdefault(address, {})
        for boot, ranges in boots.items():
            have = known.get(boot)
            if have is None:
                known[boot] = list(ranges)
            elif have and ranges and have[-1][1] + 1 == ranges[0][0]:  # nearly always a sender's next numbers
                have[-1] = have[-1][0], ranges[0][1]
                have += ranges[1:]
            else:
                known[boot] = merge([*have, *ranges])


def acks_of(addresses: Sequence[Address | None], sender: Ints, boot: Ints, seq: Ints) -> Acks:
    """Ranges of the numbers (sender, boot, seq); `sender` points into `addresses`."""
    order = np.lexsort((seq, boot, sender))
    sender, boot, seq = sender[order], boot[order], seq[order]
    new = np.ones(len(seq), dtype=bool)
    new[1:] = (np.diff(sender) != 0) | (np.diff(boot) != 0) | (np.diff(seq) > 1)
    firsts = np.flatnonzero(new)
    lasts = np.append(firsts[1:], len(seq)) - 1
    acks: Acks = {}
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        address = addresses[int(sender[first])]
        if address is not None:
            ranges = acks.setdefault(address, {}).setdefault(int(boot[first]), [])
            ranges.append((int(seq[first]), int(seq[last])))
    return acks
