"""What was last said about one window, so that only changes are said again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = [
    "BACKLOG",
    "FINAL",
    "NONE",
    "PROVISIONAL",
    "STATUS_NAMES",
    "UNKNOWN",
    "WITHDRAWN",
    "WindowRows",
    "WindowState",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

NONE, PROVISIONAL, FINAL, UNKNOWN, WITHDRAWN = range(5)
BACKLOG = "backlog"
"""Reason of a row that waits for what its device still has to send."""
STATUS_NAMES = ("", "provisional", "final", "unknown", "withdrawn")


@dataclass(frozen=True, slots=True)
class WindowRows:
    """Rows to say: of devices `device`, with the fields' values in order.

    Attributes
    ----------
    device : ndarray of int64, shape (n,)
    values : ndarray of float64, shape (fields, n)
        NaN is absent.
    coverage : ndarray of float64, shape (n,)
    status : ndarray of int64, shape (n,)
        Index into `STATUS_NAMES`.
    reason : ndarray of object (str), shape (n,)
    revision : ndarray of int64, shape (n,)
    was : ndarray of float64, shape (fields + 1, n)
        What the fields and, last, the coverage were said to be before; NaN where nothing was.
    was_status : ndarray of int64, shape (n,)
    """

    device: IntArray
    values: FloatArray
    coverage: FloatArray
    status: IntArray
    reason: NDArray[np.object_]
    revision: IntArray
    was: FloatArray
    was_status: IntArray

    def take(self, index: NDArray[Any]) -> WindowRows:
        """The rows at `index` (positions or a mask)."""
        return WindowRows(
            self.device[index], self.values[:, index], self.coverage[index], self.status[index],
            self.reason[index], self.revision[index], self.was[:, index], self.was_status[index],
        )  # fmt: skip

    @property
    def restated(self) -> NDArray[np.bool_]:
        """Which rows take back one that was final or unknown, shape (n,)."""
        return np.asarray((self.was_status == FINAL) | (self.was_status == UNKNOWN), dtype=bool)

    def settled(self, provisional: int) -> WindowRows:
        """Only the rows whose status is not `provisional`."""
        return self.take(self.status != provisional)


class WindowState:
    """Last said rows of one operator's window, by device index.

    Parameters
    ----------
    fields : int
        How many fields the operator writes.
    """

    def __init__(self, fields: int):
        self._fields = fields
        self._values = np.empty((fields, 0))
        self._coverage = np.empty(0)
        self._status = np.empty(0, np.int64)
        self._reason = np.empty(0, object)
        self._revision = np.empty(0, np.int64)

    def _grow(self, devices: int) -> None:
        lacking = devices - len(self._status)
        if lacking > 0:
            self._values = np.append(self._values, np.full((self._fields, lacking), np.nan), axis=1)
            self._coverage = np.append(self._coverage, np.full(lacking, np.nan))
            self._status = np.append(self._status, np.zeros(lacking, np.int64))
            self._reason = np.append(self._reason, np.full(lacking, "", object))
            self._revision = np.append(self._revision, np.zeros(lacking, np.int64))

    def say(
        self,
        device: IntArray,
        values: FloatArray,
        coverage: FloatArray,
        reason: NDArray[np.object_],
        closed: NDArray[np.bool_],
        held: NDArray[np.bool_] | None = None,
        joined: NDArray[np.bool_] | None = None,
    ) -> WindowRows:
        """Take in computed rows and give those that differ from what was said last.

        A row that was final or unknown stays so, and each later change of it is a new revision.

        Parameters
        ----------
        device : ndarray, shape (n,)
        values : ndarray, shape (fields, n)
        coverage, reason : ndarray, shape (n,)
        closed : ndarray of bool, shape (n,)
            Whether the window has ended for the device, lateness included.
        held : ndarray of bool, shape (n,), optional
            Whether it would have, but for a backlog that the device reports.
        joined : ndarray of bool, shape (n,), optional
            Of a device that came from another stream, which said its row: it is told here even if it is
            the same, as it stands under another unit now.
        """
        self._grow(int(device.max()) + 1 if len(device) else 0)
        before = self._status[device]
        settled = (before == FINAL) | (before == UNKNOWN)
        ended = closed | settled
        status = np.where(ended, np.where(reason == "", FINAL, UNKNOWN), PROVISIONAL)
        # What still fills says why only where a number is absent: low coverage is no news before the end.
        said_reason = np.where(ended | np.isnan(values).any(axis=0), reason, "").astype(object)
        if held is not None:
            said_reason[held & ~ended] = BACKLOG
        old = self._values[:, device]
        same = ((old == values) | (np.isnan(old) & np.isnan(values))).all(axis=0)
        same &= (
            (self._coverage[device] == coverage) & (before == status) & (self._reason[device] == said_reason)
        )
        revision = self._revision[device] + (settled & ~same)
        was = np.append(old, self._coverage[device][None], axis=0)
        self._values[:, device] = values
        self._coverage[device] = coverage
        self._status[device] = status
        self._reason[device] = said_reason
        self._revision[device] = revision
        if joined is not None:
            before = np.where(same & joined, NONE, before)
            same &= ~joined
        said = WindowRows(device, values, coverage, status, said_reason, revision, was, before)
        return said.take(~same)

    def __len__(self) -> int:
        return len(self._status)

    def values_of(self, field: str, fields: Sequence[str], subjects: IntArray) -> FloatArray:
        """What is said of one of the operator's `fields`, or the coverage, shape (subjects,); NaN absent."""
        column = self._coverage if field == "coverage" else self._values[fields.index(field)]
        if len(subjects) and subjects.max() < len(column):
            return np.asarray(column[subjects])
        return np.where(
            subjects < len(column), np.append(column, np.nan)[np.minimum(subjects, len(column))], np.nan
        )

    def read(self, subjects: IntArray, values: FloatArray, status: IntArray) -> None:
        """Put in `values`, the coverage last, and `status` what is said of `subjects`; else they stay.

        Of shapes (fields + 1, subjects) and (subjects,).
        """
        there: Any = subjects < len(self._status)
        at = subjects
        if there.all():
            there = slice(None)
        else:
            at = subjects[there]
        values[: self._fields, there] = self._values[:, at]
        values[-1, there], status[there] = self._coverage[at], self._status[at]

    def status_of(self, subjects: IntArray) -> IntArray:
        """Status of each subject's row, shape (subjects,); `NONE` where there is no row."""
        if len(subjects) and subjects.max() < len(self._status):
            return np.asarray(self._status[subjects])
        status = np.append(self._status, NONE)
        return np.asarray(status[np.minimum(subjects, len(self._status))], dtype=np.int64)

    def settled_of(self, subjects: IntArray) -> NDArray[np.bool_]:
        """Whether each subject's row is final or unknown, shape (subjects,)."""
        status = self.status_of(subjects)
        return np.asarray((status == FINAL) | (status == UNKNOWN), dtype=bool)

    def remember(
        self,
        device: IntArray,
        values: FloatArray,
        coverage: FloatArray,
        status: IntArray,
        reason: NDArray[np.object_],
        revision: IntArray,
    ) -> None:
        """Take over rows that were said before, of shapes as in `say`."""
        self._grow(int(device.max()) + 1 if len(device) else 0)
        self._values[:, device] = values
        self._coverage[device] = coverage
        self._status[device] = status
        self._reason[device] = reason
        self._revision[device] = revision

    def take_over(self, other: WindowState, subjects: IntArray) -> None:
        """Remember what `other` says of `subjects`."""
        self.remember(
            subjects, other._values[:, subjects], other._coverage[subjects], other._status[subjects],
            other._reason[subjects], other._revision[subjects],
        )  # fmt: skip

    def withdraw(self, subjects: IntArray) -> WindowRows:
        """Forget what was said of `subjects`, and give the rows that take it back."""
        values, coverage = self._values[:, subjects], self._coverage[subjects]
        before, revision = self._status[subjects], self._revision[subjects]
        self._status[subjects] = NONE
        n = len(subjects)
        was = np.append(values, coverage[None], axis=0)
        status, reason = np.full(n, WITHDRAWN), np.full(n, "", object)
        return WindowRows(subjects, values, coverage, status, reason, revision, was, before)

    def to_bytes(self) -> bytes:
        """Arrow IPC stream bytes; `from_bytes` reads them."""
        names = ["coverage", "status", "reason", "revision", *(f"v{i}" for i in range(self._fields))]
        arrays = [
            pa.array(self._coverage), pa.array(self._status), pa.array(self._reason, pa.string()),
            pa.array(self._revision), *(pa.array(v) for v in self._values),
        ]  # fmt: skip
        batch = pa.RecordBatch.from_arrays(arrays, names=names)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        return bytes(sink.getvalue())

    @classmethod
    def from_bytes(cls, data: bytes, fields: int = 0) -> WindowState:
        """Read what `to_bytes` wrote; of an operator that has got more `fields` since, those are absent."""
        with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
            batch = reader.read_next_batch()
        there = batch.num_columns - 4
        self = cls(max(there, fields))
        self._coverage = np.array(batch.column(0).to_numpy(zero_copy_only=False))
        self._status = np.array(batch.column(1).to_numpy(zero_copy_only=False))
        self._reason = np.array(batch.column(2).to_pylist(), dtype=object)
        self._revision = np.array(batch.column(3).to_numpy(zero_copy_only=False))
        self._values = np.full((self._fields, batch.num_rows), np.nan)
        for i in range(there):
            self._values[i] = batch.column(4 + i).to_numpy(zero_copy_only=False)
        return self
