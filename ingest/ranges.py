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
    """Add the numbers of `more` to `into`, which takes over its lists: they are nobody else's afterwards."""
    get = into.get
    for address, boots in more.items():
        known = get(address)
        if known is None:
            into[address] = boots
            continue
        for boot, ranges in boots.items():
            have = known.get(boot)
            if have is None:
                known[boot] = [*ranges]
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
    columns = (sender[firsts], boot[firsts], seq[firsts], seq[lasts])
    acks: Acks = {}
    # Of a large fleet each sender has one range in a batch: a step here is made once a message.
    for who, of, first, last in zip(*(c.tolist() for c in columns), strict=True):
        address = addresses[who]
        if address is None:
            continue
        boots = acks.get(address)
        if boots is None:
            acks[address] = {of: [(first, last)]}
        else:
            boots.setdefault(of, []).append((first, last))
    return acks
