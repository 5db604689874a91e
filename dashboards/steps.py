"""The last rows of thinned steps, of several keys at one time."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.results import Status

__all__ = ["at_newest"]

_NEVER: Final = np.iinfo(np.int64).min


def at_newest(table: pa.Table, newest: pa.Table, field: str, every_ms: int) -> pa.Table:
    """Last rows of steps as they stand together at the newest time of each step at which one has a number.

    A key whose rows ended before that time is not of it: a contract's month may be over amid a week. One
    that goes on, but has no number then, is unknown, as it is in the same line without steps.

    Parameters
    ----------
    table : pyarrow.Table
        For each key and step the newest row with `field`, or the newest: ``key``, ``window_start``,
        ``window_ms``, `field`, which is a number or null, and ``status``.
    newest : pyarrow.Table
        The newest row of the same keys and steps, whatever it has.
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
    rows = table.num_rows
    keys = pa.chunked_array([*table["key"].chunks, *newest["key"].chunks], table["key"].type)
    codes = keys.combine_chunks().dictionary_encode().indices.to_numpy()
    starts, ends = _spans(table)
    later_starts, later_ends = _spans(newest)
    _, steps = np.unique(np.concatenate((starts, later_starts)) // every_ms, return_inverse=True)
    places = steps * (int(codes.max()) + 1) + codes
    _, places = np.unique(places, return_inverse=True)
    last_end = np.full(int(places.max()) + 1, _NEVER)
    np.maximum.at(last_end, places, np.concatenate((ends, later_ends)))

    step = steps[:rows]
    has = pc.is_valid(table[field]).to_numpy()
    at = np.full(int(steps.max()) + 1, _NEVER)
    np.maximum.at(at, step, np.where(has, starts, _NEVER))
    of_none = np.full(len(at), _NEVER)
    np.maximum.at(of_none, step, starts)
    time = np.where(at == _NEVER, of_none, at)[step]
    stands = pa.array((ends > time) & (starts <= time))
    shown = {
        "window_start": pa.array(time),
        field: pc.if_else(stands, table[field], pa.scalar(None, table[field].type)),
        "status": pc.if_else(stands, table["status"], Status.UNKNOWN.value),
    }
    for name, column in shown.items():
        table = table.set_column(table.column_names.index(name), name, column)
    return table.filter(pa.array(last_end[places[:rows]] > time)).sort_by("window_start")


def _spans(table: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    starts = table["window_start"].to_numpy()
    return starts, starts + table["window_ms"].to_numpy()
