"""Rows of samples of one device class, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.counter_line import READINGS_AFTER, READINGS_BEFORE
from models.measurements import Kind, known, of_class

__all__ = [
    "Rows", "concat", "counter_places", "edge_indices", "falling",
    "group_starts", "holding", "numeric_columns",
]  # fmt: skip

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def numeric_columns(device_class: str) -> tuple[str, ...]:
    """Names of the numeric measurements of `device_class`, in table order."""
    return tuple(m.name for m in of_class(device_class) if m.kind is not Kind.TEXT)


@cache
def counter_places(columns: tuple[str, ...]) -> tuple[int, ...]:
    """Which of `columns` are counters."""
    return tuple(at for at, name in enumerate(columns) if known[name].kind is Kind.COUNTER)


def holding(values: FloatArray, counters: Sequence[int]) -> BoolArray:
    """Whether each sample holds each measurement, and, below, whether each of the counters is not zero.

    Zeros of a counter are judged by what stood before them and what comes after: both are looked for, too.

    Parameters
    ----------
    values : ndarray, shape (columns, n)
    counters : sequence of int
        Places among the columns, of `counter_places`.

    Returns
    -------
    ndarray of bool, shape (columns + counters, n)
    """
    there = ~np.isnan(values)
    if not counters:
        return there
    at = list(counters)
    return np.concatenate([there, there[at] & (values[at] != 0.0)])


@dataclass(frozen=True, slots=True)
class Rows:
    """Samples of one class.

    Attributes
    ----------
    device : ndarray of int64, shape (n,)
        Index of the device within its stream.
    t : ndarray of int64, shape (n,)
        When each sample was taken. [ms UTC]
    boot, seq, pos : ndarray of int64, shape (n,)
        Name of the message, and position in it.
    values : ndarray of float64, shape (columns, n)
        One row a numeric measurement of the class; NaN where it was not taken.
    """

    device: IntArray
    t: IntArray
    boot: IntArray
    seq: IntArray
    pos: IntArray
    values: FloatArray

    @property
    def n(self) -> int:
        """How many samples there are."""
        return int(self.device.shape[0])

    def take(self, index: NDArray[Any] | slice) -> Rows:
        """The samples at `index` (positions, a mask, or a slice, which copies nothing)."""
        return Rows(
            self.device[index], self.t[index], self.boot[index], self.seq[index],
            self.pos[index], self.values[:, index],
        )  # fmt: skip

    def in_order(self) -> Rows:
        """Sorted by (device, t, boot, seq, pos)."""
        order = np.lexsort((self.pos, self.seq, self.boot, self.t, self.device))
        return self.take(order)

    @classmethod
    def none(cls, columns: int) -> Rows:
        """No samples, of a class with so many numeric measurements."""
        empty = np.empty(0, dtype=np.int64)
        return cls(empty, empty, empty, empty, empty, np.empty((columns, 0)))

    def to_bytes(self) -> bytes:
        """Arrow IPC stream bytes; `from_bytes` reads them."""
        arrays = [pa.array(a) for a in (self.device, self.t, self.boot, self.seq, self.pos)]
        arrays += [pa.array(column) for column in self.values]
        names = ["device", "t", "boot", "seq", "pos", *(f"v{i}" for i in range(len(self.values)))]
        batch = pa.RecordBatch.from_arrays(arrays, names=names)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        return bytes(sink.getvalue())

    @classmethod
    def from_bytes(cls, data: bytes) -> Rows:
        """Read what `to_bytes` wrote."""
        with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
            batch = reader.read_next_batch()
        if "offset" in batch.schema.names:  # of each sample, in checkpoints of releases that kept it
            batch = batch.select([name for name in batch.schema.names if name != "offset"])
        columns = [batch.column(i).to_numpy(zero_copy_only=False) for i in range(batch.num_columns)]
        values = np.array(columns[5:], dtype=np.float64).reshape(len(columns) - 5, batch.num_rows)
        device, t, boot, seq, pos = (np.asarray(c, dtype=np.int64) for c in columns[:5])
        return cls(device, t, boot, seq, pos, values)


def concat(parts: list[Rows], columns: int) -> Rows:
    """All samples of `parts`, in their order; `columns` is how many measurements the class has."""
    parts = [p for p in parts if p.n]
    if not parts:
        return Rows.none(columns)
    if len(parts) == 1:
        return parts[0]
    return Rows(
        np.concatenate([p.device for p in parts]),
        np.concatenate([p.t for p in parts]),
        np.concatenate([p.boot for p in parts]),
        np.concatenate([p.seq for p in parts]),
        np.concatenate([p.pos for p in parts]),
        np.concatenate([p.values for p in parts], axis=1),
    )


def group_starts(device: IntArray) -> IntArray:
    """Positions at which a new device begins in sorted `device`."""
    if device.shape[0] == 0:
        return np.empty(0, dtype=np.int64)
    changes = np.flatnonzero(device[1:] != device[:-1]) + 1
    return np.concatenate([np.zeros(1, dtype=np.int64), changes])


def edge_indices(rows: Rows, counters: Sequence[int] = (), *, last: bool, told: bool = True) -> IntArray:
    """Positions of the samples that are the last two (or the first) of their device in some measurement.

    `rows` are sorted by (device, t). Usually that is two samples a device, or
    one; more where these lack a measurement that a sample further in has. Two,
    because a counter's step back to the line is judged with the reading before it.
    Of `counters` also those of the readings that are not zero. If `told`, the last three or first two; and of
    devices with one that does not rise from each reading to the next the last `READINGS_BEFORE`, or the
    first `READINGS_AFTER`: what is out of line is told by these.
    """
    if rows.n == 0:
        return np.empty(0, dtype=np.int64)
    starts = group_starts(rows.device)
    valid = holding(rows.values, counters)
    if not counters or not told:
        return _outermost(rows.device, valid, starts, 2 if last else 1, last=last)
    found = _outermost(rows.device, valid, starts, 3 if last else 2, last=last)
    restless = falling(rows, counters, or_stands=True)
    if not len(restless):
        return found
    at = np.flatnonzero(np.isin(rows.device, restless))
    device = rows.device[at]
    valid = valid[[*counters, *range(len(rows.values), len(valid))]][:, at]
    most = READINGS_BEFORE if last else READINGS_AFTER
    return np.union1d(found, at[_outermost(device, valid, group_starts(device), most, last=last)])


def falling(rows: Rows, counters: Sequence[int], *, or_stands: bool = False) -> IntArray:
    """Devices with a counter that falls from one reading to the next, in `rows` sorted by (device, t).

    With `or_stands` also those of which two readings are equal.
    """
    found = []
    for values in rows.values[list(counters)]:
        there = ~np.isnan(values)
        if there.any():
            of, held = (rows.device, values) if there.all() else (rows.device[there], values[there])
            odd = (held[1:] <= held[:-1]) if or_stands else (held[1:] < held[:-1])
            found.append(of[1:][odd & (of[1:] == of[:-1])])
    return np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)


def _outermost(
    device: IntArray, valid: NDArray[np.bool_], starts: IntArray, most: int, *, last: bool
) -> IntArray:
    """Positions of the outermost samples of each device, and of those that hold each measurement."""
    outer = _ends(starts, len(device), most, last=last)
    found = [outer]
    for column in np.flatnonzero(~valid[:, outer].all(axis=1) & valid.any(axis=1)):
        positions = np.flatnonzero(valid[column])
        found.append(positions[_ends(group_starts(device[positions]), len(positions), most, last=last)])
    return outer if len(found) == 1 else np.unique(np.concatenate(found))


def _ends(starts: IntArray, n: int, most: int, *, last: bool) -> IntArray:
    """The last (or first) `most` positions, or as many as there are, of runs that begin at `starts`."""
    stops = np.append(starts[1:], n)
    places = (stops - most if last else starts)[:, None] + np.arange(most)
    if len(starts) and int((stops - starts).min()) >= most:
        return places.ravel()
    inside = (places >= starts[:, None]) & (places < stops[:, None])
    return places[inside]
