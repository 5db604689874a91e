"""Rows of samples of one device class, as columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.measurements import Kind, of_class

__all__ = ["Rows", "concat", "edge_indices", "group_starts", "numeric_columns"]

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


def numeric_columns(device_class: str) -> tuple[str, ...]:
    """Names of the numeric measurements of `device_class`, in table order."""
    return tuple(m.name for m in of_class(device_class) if m.kind is not Kind.TEXT)


@dataclass(frozen=True, slots=True)
class Rows:
    """Samples of one class.

    Attributes
    ----------
    device : ndarray of int64, shape (n,)
        Index of the device within its stream.
    t : ndarray of int64, shape (n,)
        When each sample was taken. [ms UTC]
    boot, seq, pos, offset : ndarray of int64, shape (n,)
        Name of the message, position in it, and journal offset.
    values : ndarray of float64, shape (columns, n)
        One row a numeric measurement of the class; NaN where it was not taken.
    """

    device: IntArray
    t: IntArray
    boot: IntArray
    seq: IntArray
    pos: IntArray
    offset: IntArray
    values: FloatArray

    @property
    def n(self) -> int:
        """How many samples there are."""
        return int(self.device.shape[0])

    def take(self, index: NDArray[Any]) -> Rows:
        """The samples at `index` (positions or a mask)."""
        return Rows(
            self.device[index], self.t[index], self.boot[index], self.seq[index],
            self.pos[index], self.offset[index], self.values[:, index],
        )  # fmt: skip

    def in_order(self) -> Rows:
        """Sorted by (device, t, boot, seq, pos)."""
        order = np.lexsort((self.pos, self.seq, self.boot, self.t, self.device))
        return self.take(order)

    @classmethod
    def none(cls, columns: int) -> Rows:
        """No samples, of a class with so many numeric measurements."""
        empty = np.empty(0, dtype=np.int64)
        return cls(empty, empty, empty, empty, empty, empty, np.empty((columns, 0)))

    def to_bytes(self) -> bytes:
        """Arrow IPC stream bytes; `from_bytes` reads them."""
        arrays = [pa.array(a) for a in (self.device, self.t, self.boot, self.seq, self.pos, self.offset)]
        arrays += [pa.array(column) for column in self.values]
        names = ["device", "t", "boot", "seq", "pos", "offset", *(f"v{i}" for i in range(len(self.values)))]
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
        columns = [batch.column(i).to_numpy(zero_copy_only=False) for i in range(batch.num_columns)]
        values = np.array(columns[6:], dtype=np.float64).reshape(len(columns) - 6, batch.num_rows)
        device, t, boot, seq, pos, offset = (np.asarray(c, dtype=np.int64) for c in columns[:6])
        return cls(device, t, boot, seq, pos, offset, values)


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
        np.concatenate([p.offset for p in parts]),
        np.concatenate([p.values for p in parts], axis=1),
    )


def group_starts(device: IntArray) -> IntArray:
    """Positions at which a new device begins in sorted `device`."""
    if device.shape[0] == 0:
        return np.empty(0, dtype=np.int64)
    changes = np.flatnonzero(device[1:] != device[:-1]) + 1
    return np.concatenate([np.zeros(1, dtype=np.int64), changes])


def edge_indices(rows: Rows, *, last: bool) -> IntArray:
    """Positions of the samples that are the last (or first) of their device in some measurement.

    `rows` are sorted by (device, t). Usually that is one sample a device; more
    where the outermost one lacks a measurement that a sample further in has.
    """
    if rows.n == 0:
        return np.empty(0, dtype=np.int64)
    starts = group_starts(rows.device)
    ends = np.append(starts[1:], rows.n) - 1
    outer = ends if last else starts
    valid = ~np.isnan(rows.values)
    has = np.logical_or.reduceat(valid, starts, axis=1)
    lacking = has & ~valid[:, outer]
    if not lacking.any():
        return outer
    found = [outer]
    for column in np.flatnonzero(lacking.any(axis=1)):
        positions = np.flatnonzero(valid[column])
        device = rows.device[positions]
        inner = group_starts(device)
        found.append(positions[np.append(inner[1:], len(positions)) - 1] if last else positions[inner])
    return np.unique(np.concatenate(found))
