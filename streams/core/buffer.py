"""Open samples of one device class: kept by 15-minute bucket until no open window needs them."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from streams.core.restless import Restless
from streams.core.rows import (
    Rows,
    concat,
    counter_places,
    edge_indices,
    group_starts,
    holding,
    numeric_columns,
)

__all__ = ["BUCKET_MS", "Bucket", "ClassBuffer", "bucket_of", "standing"]

BUCKET_MS = 900_000
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
_NEVER = np.iinfo(np.int64).min


def bucket_of(t_ms: IntArray) -> IntArray:
    """Start of the bucket that each time lies in. [ms UTC]"""
    return t_ms // BUCKET_MS * BUCKET_MS


def standing(rows: Rows, start: int) -> Rows:
    """Samples of a bucket, sorted by (device, t), repeats removed: the highest (boot, seq, pos) stands."""
    key = rows.device * BUCKET_MS + (rows.t - start)
    order = np.argsort(key, kind="stable")
    key = key[order]
    if not bool((key[1:] == key[:-1]).any()):
        return rows.take(order)
    rows = rows.in_order()
    same = (rows.device[1:] == rows.device[:-1]) & (rows.t[1:] == rows.t[:-1])
    return rows.take(np.append(~same, True))


@dataclass(slots=True)
class Bucket:
    """Samples of one class in [start, start + 15 min), in the order of arrival."""

    start: int
    columns: int
    counters: tuple[int, ...] = ()
    chunks: list[Rows] = field(default_factory=list)
    _sorted: Rows | None = None
    _first: Rows | None = None
    _last: Rows | None = None

    def add(self, rows: Rows) -> None:
        """Take in samples."""
        self.chunks.append(rows)
        self._sorted = self._first = self._last = None

    @property
    def rows(self) -> Rows:
        """Sorted by (device, t), repeats removed: of one (device, t) the highest (boot, seq, pos) stands."""
        if self._sorted is None:
            self._sorted = standing(concat(self.chunks, self.columns), self.start)
            self.chunks = [self._sorted]
        return self._sorted

    def rows_of(self, wanted: BoolArray) -> Rows:
        """Those of the devices `wanted`, by index: only these are sorted where nobody asked for all."""
        if self._sorted is not None:
            return self._sorted.take(wanted[self._sorted.device])
        return standing(concat([c.take(wanted[c.device]) for c in self.chunks], self.columns), self.start)

    @property
    def first(self) -> Rows:
        """Of each device the first samples that hold each measurement, as `edge_indices` has them."""
        if self._first is None:
            self._first = self.rows.take(edge_indices(self.rows, self.counters, last=False))
        return self._first

    @property
    def last(self) -> Rows:
        """Of each device the last samples that hold each measurement, as `edge_indices` has them."""
        if self._last is None:
            self._last = self.rows.take(edge_indices(self.rows, self.counters, last=True))
        return self._last

    def find(self, device: int, t: int) -> Rows:
        """The samples of one device at one time that stand or stood here, in order."""
        found = [c.take((c.device == device) & (c.t == t)) for c in self.chunks]
        return concat(found, self.columns).in_order()


class ClassBuffer:
    """Open samples of one device class of one stream.

    Attributes
    ----------
    columns : tuple of str
        Numeric measurements, in the order of the rows' values.
    counters : tuple of int
        Which of them are counters.
    buckets : dict of int to Bucket
        By start. [ms UTC]
    carry : Rows
        Last samples before the oldest bucket, sorted by (device, t): neighbours of open windows.
    restless : Restless
        Which counters fell a short while ago.
    """

    def __init__(self, device_class: str):
        self.device_class = device_class
        self.columns = numeric_columns(device_class)
        self.counters = counter_places(self.columns)
        self.buckets: dict[int, Bucket] = {}
        self.carry = Rows.none(len(self.columns))
        self.unsaved: list[Rows] = []
        self._starts: list[int] | None = None
        self._after: list[Rows] | None = None
        self.restless = Restless(self.counters)
        self._newest_t: IntArray = np.empty(0, np.int64)
        # A device's times lie side by side: what comes of a few devices concerns little of it.
        self._newest_by: IntArray = np.empty((0, len(self.columns) + len(self.counters)), np.int64)

    def bucket(self, start: int) -> Bucket:
        """The bucket that starts at `start`, made when there is none."""
        found = self.buckets.get(start)
        if found is None:
            found = self.buckets[start] = Bucket(start, len(self.columns), self.counters)
            self._starts = None
        return found

    @property
    def starts(self) -> list[int]:
        """Starts of the buckets, sorted. [ms UTC]"""
        if self._starts is None:
            self._starts = sorted(self.buckets)
        return self._starts

    def newest_t(self, devices: int) -> IntArray:
        """Time of the newest sample by device index, shape (devices,); least int64 where there is none."""
        lacking = devices - len(self._newest_t)
        if lacking > 0:
            self._newest_t = np.append(self._newest_t, np.full(lacking, _NEVER))
        return self._newest_t

    def newest_by(self, devices: int, of: IntArray) -> IntArray:
        """Time of the newest sample that holds each of `holding`, shape (holding, n); else least int64.

        Parameters
        ----------
        devices : int
            How many devices the stream knows.
        of : ndarray, shape (n,)
            Whose, by index.
        """
        self._know(devices)
        return self._newest_by[of].T

    def _know(self, devices: int) -> None:
        lacking = devices - len(self._newest_by)
        if lacking > 0:
            more = np.full((lacking, self._newest_by.shape[1]), _NEVER)
            self._newest_by = np.append(self._newest_by, more, axis=0)

    def _note_newest(self, rows: Rows, devices: int) -> None:
        self.restless.note(rows, devices)
        self._know(devices)
        newest_t, newest = self.newest_t(devices), self._newest_by
        who, last = _last_of_each(rows)
        newest_t[who] = np.maximum(newest_t[who], last)
        there = holding(rows.values, self.counters)
        whole = there.all(axis=1)  # most columns are either had by every sample or by none
        held = newest[who]
        np.maximum(held, last[:, None], out=held, where=True if whole.all() else whole)
        newest[who] = held
        for column in np.flatnonzero(~whole & there.any(axis=1)).tolist():
            known = there[column]
            np.maximum.at(newest[:, column], rows.device[known], rows.t[known])

    def add(self, rows: Rows, devices: int) -> None:
        """Take in samples; those before the oldest kept bucket only matter as neighbours.

        Parameters
        ----------
        rows : Rows
            In any order.
        devices : int
            How many devices the stream knows.
        """
        if rows.n == 0:
            return
        self.unsaved.append(rows)
        self._after = None
        starts = bucket_of(rows.t)
        if int(starts[0]) == int(starts.max()) == int(starts.min()):
            self.bucket(int(starts[0])).add(rows)
        else:
            if bool((starts[1:] < starts[:-1]).any()):
                order = np.argsort(starts, kind="stable")
                starts, rows = starts[order], rows.take(order)
            cuts = np.flatnonzero(starts[1:] != starts[:-1]) + 1
            for low, high in zip(np.append(0, cuts), np.append(cuts, len(starts)), strict=True):
                self.bucket(int(starts[low])).add(rows.take(slice(low, high)))
        self._note_newest(rows, devices)

    def merge_carry(self, rows: Rows) -> None:
        """Let samples older than every bucket stand as neighbours where they are the newest so far."""
        everything = concat([self.carry, rows], len(self.columns)).in_order()
        self.carry = everything.take(edge_indices(everything, self.counters, last=True))

    def stand_before(self, rows: Rows, devices: int) -> None:
        """Take in samples older than what is kept, of `devices` known: they only matter as neighbours."""
        self.merge_carry(rows)
        self._note_newest(rows, devices)

    def carry_on(self, carry: Rows, devices: int) -> None:
        """Begin with the neighbours `carry` that a checkpoint kept."""
        self.carry = carry
        self._note_newest(carry, devices)

    def drop_before(self, start: int) -> None:
        """Forget buckets that start before `start`; their last samples stay as neighbours."""
        count = bisect_left(self.starts, start)
        for old in self.starts[:count]:
            self.merge_carry(self.buckets.pop(old).last)
        del self.starts[:count]
        if self._after is not None:
            del self._after[:count]

    def before(self, start: int) -> Rows:
        """Candidates for the neighbours before a window that begins at `start`, sorted by (device, t)."""
        earlier = [self.buckets[s].last for s in self.starts[: bisect_left(self.starts, start)]]
        if not earlier:
            return self.carry
        return concat([self.carry, *earlier], len(self.columns)).in_order()

    def inside(self, start: int, end: int, wanted: BoolArray | None = None) -> Rows:
        """Samples in [start, end), sorted by (device, t), repeats removed; of the devices `wanted` only."""
        buckets = [self.buckets[s] for s in range(start, end, BUCKET_MS) if s in self.buckets]
        inside = [b.rows if wanted is None else b.rows_of(wanted) for b in buckets]
        if len(inside) == 1:
            return inside[0]
        rows = concat(inside, len(self.columns))
        return rows.take(np.lexsort((rows.t, rows.device)))

    def after(self, end: int) -> Rows:
        """Neighbours after a window that ends at `end`, sorted by (device, t)."""
        at = bisect_left(self.starts, end)
        if at == len(self.starts):
            return Rows.none(len(self.columns))
        if self._after is None:
            # Built from the newest bucket backwards: closing many windows at once costs each bucket once.
            after = Rows.none(len(self.columns))
            built: list[Rows] = []
            for start in reversed(self.starts):
                after = concat([self.buckets[start].first, after], len(self.columns)).in_order()
                after = after.take(edge_indices(after, self.counters, last=False))
                built.append(after)
            self._after = built[::-1]
        return self._after[at]


def _last_of_each(rows: Rows) -> tuple[IntArray, IntArray]:
    """Devices of `rows`, each once, and the time of the newest sample of each. [ms UTC]"""
    if bool((rows.device[1:] > rows.device[:-1]).all()):
        return rows.device, rows.t
    order = np.argsort(rows.device, kind="stable")
    device = rows.device[order]
    starts = group_starts(device)
    return device[starts], np.maximum.reduceat(rows.t[order], starts) if len(starts) else rows.t
