"""The last rows of thinned steps, of several keys at one time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.results import Status

__all__ = ["at_newest"]

IntArray = NDArray[np.int64]
_NEVER: Final = np.iinfo(np.int64).min


def at_newest(table: pa.Table, newest: Callable[[], pa.Table], field: str, every_ms: int) -> pa.Table:
    """Last rows of steps as they stand together at the newest time of each step at which one has a number.

    A key whose rows ended before that time is not of it: a contract's month may be over amid a week. One
    that goes on, but has no number then, is unknown, as it is in the same line without steps.

    Parameters
    ----------
    table : pyarrow.Table
        For each key and step the newest row with `field`, or the newest: ``key``, ``window_start``,
        ``window_ms``, `field`, which is a number or null, and ``status``.
    newest : callable
        Gives the newest row of the same keys and steps, whatever it has. It is asked where a row ends before
        the newest time of its step.
    field : str
    every_ms : int
        Length of a step. [ms]

    Returns
    -------
    pyarrow.Table
        Columns of `table`; one ``window_start`` a step, in order of it.
    """
    if not table.num_rows:
        return table
    starts, ends = _spans(table)
    _, step = np.unique(starts // every_ms, return_inverse=True)
    has = pc.is_valid(table[field]).to_numpy()
    at = np.full(int(step.max()) + 1, _NEVER)
    np.maximum.at(at, step, np.where(has, starts, _NEVER))
    of_none = np.full(len(at), _NEVER)
    np.maximum.at(of_none, step, starts)
    time = np.where(at == _NEVER, of_none, at)[step]
    stands = (ends > time) & (starts <= time)
    table = table.set_column(table.column_names.index("window_start"), "window_start", pa.array(time))
    if not stands.all():
        goes_on = _last_ends(table["key"], starts, ends, newest(), every_ms) > time
        known = pa.array(stands)
        shown = {
            field: pc.if_else(known, table[field], pa.scalar(None, table[field].type)),
            "status": pc.if_else(known, table["status"], Status.UNKNOWN.value),
        }
        for name, column in shown.items():
            table = table.set_column(table.column_names.index(name), name, column)
        table = table.filter(pa.array(goes_on))
    return table.sort_by("window_start")


def _last_ends(
    key: pa.ChunkedArray, starts: IntArray, ends: IntArray, newest: pa.Table, every_ms: int
) -> IntArray:
    """When the last row of each row's key and step ends. [ms UTC]"""
    keys = pa.chunked_array([*key.chunks, *newest["key"].chunks], key.type)
    codes = keys.combine_chunks().dictionary_encode().indices.to_numpy()
    later_starts, later_ends = _spans(newest)
    steps = np.concatenate((starts, later_starts)) // every_ms
    _, places = np.unique(steps * (int(codes.max()) + 1) + codes, return_inverse=True)
    last = np.full(int(places.max()) + 1, _NEVER)
    np.maximum.at(last, places, np.concatenate((ends, later_ends)))
    return last[places[: len(starts)]]


def _spans(table: pa.Table) -> tuple[IntArray, IntArray]:
    """From when until when rows are; an event is of its moment. [ms UTC]"""
    starts = table["window_start"].to_numpy()
    return starts, starts + np.maximum(pc.fill_null(table["window_ms"], 0).to_numpy(), 1)
