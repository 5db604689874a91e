"""What the ledger said last of one day, by device index, in columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.deliveries import LedgerCounts

__all__ = ["MOST", "SaidCounts", "as_counts", "grown_by", "of_one_run"]

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
MOST: Final = 2**63 - 1
"""Numbers reach to it in every boot: what wild ones add up to is told as it, and does not stop the stream."""
_FIELDS: Final = len(LedgerCounts._fields)
_SENT, _STORED, _UNACCOUNTED = map(LedgerCounts._fields.index, ("sent", "stored", "unaccounted"))


def as_counts(rows: Sequence[Sequence[int]]) -> IntArray:
    """Counts of devices as a table, shape (n, fields); each at most `MOST`."""
    try:
        return np.array(rows, dtype=np.int64).reshape(-1, _FIELDS)
    except OverflowError:
        return np.array([[min(n, MOST) for n in row] for row in rows], dtype=np.int64)


def grown_by(counts: IntArray, more: IntArray) -> IntArray:
    """`counts` of devices after `more` messages of each, which came in order and were stored."""
    grown = counts.copy()
    for field in (_SENT, _STORED):
        grown[:, field] = np.minimum(counts[:, field], MOST - more) + more
    return grown


def of_one_run(first: IntArray, last: IntArray) -> IntArray:
    """Counts of devices of which only the messages `first` to `last` are known, all of them stored."""
    counts = np.zeros((len(first), _FIELDS), np.int64)
    counts[:, _SENT], counts[:, _STORED], counts[:, _UNACCOUNTED] = last, last - first + 1, first - 1
    return counts


class SaidCounts:
    """Counts of one day by device index."""

    def __init__(self) -> None:
        self._counts = np.zeros((0, _FIELDS), np.int64)
        self._there = np.zeros(0, bool)

    def _know(self, devices: IntArray) -> None:
        lacking = int(devices.max(initial=-1)) + 1 - len(self._there)
        if lacking > 0:
            self._counts = np.append(self._counts, np.zeros((lacking, _FIELDS), np.int64), axis=0)
            self._there = np.append(self._there, np.zeros(lacking, bool))

    def there(self, devices: IntArray) -> BoolArray:
        """Of which of `devices` anything was said."""
        self._know(devices)
        return self._there[devices]

    def of(self, devices: IntArray) -> IntArray:
        """What was said of `devices`, shape (n, fields)."""
        return self._counts[devices]

    def say(self, devices: IntArray, counts: IntArray) -> BoolArray:
        """Take in what is to be said of `devices`, each once; of which it is other than what was said."""
        self._know(devices)
        other = ~self._there[devices] | (self._counts[devices] != counts).any(axis=1)
        self._counts[devices], self._there[devices] = counts, True
        return np.asarray(other, dtype=bool)

    def forget(self, device: int) -> None:
        """Have said nothing of a device."""
        self._there[device : device + 1] = False

    def to_json(self) -> dict[str, list[int]]:
        """State by device; `from_json` reads it."""
        devices = np.flatnonzero(self._there)
        return dict(zip(map(str, devices.tolist()), self._counts[devices].tolist(), strict=True))

    @classmethod
    def from_json(cls, state: Mapping[str, list[int]]) -> SaidCounts:
        """Read what `to_json` wrote."""
        self = cls()
        devices = np.array(list(map(int, state)), dtype=np.int64)
        self.say(devices, as_counts([LedgerCounts(*flat) for flat in state.values()]))
        return self
