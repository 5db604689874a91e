"""Every accepted sample as it was received, with its message, journal offset and quality."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from models.frame import HEADER_FIELDS
from models.quality import clock_ahead
from streams.core.accepted import Accepted
from streams.core.operator import sample_operator

__all__ = ["reading"]

_HEADER = frozenset(f.name for f in HEADER_FIELDS)


@sample_operator
def reading(accepted: Accepted) -> pa.Table:
    """Give one row a sample, values untouched.

    A sample that was timed after the journal took it is flagged `clock_ahead`:
    only here is the record at hand. Results do not depend on when a sample came.

    Parameters
    ----------
    accepted : Accepted
        Samples of one device class of one record.

    Returns
    -------
    pyarrow.Table
        As `models.results.Outputs.readings` describes.
    """
    batch, n = accepted.batch, accepted.batch.num_rows
    names = {
        "key": batch.column("device").cast(pa.string()),
        "unit": accepted.unit,
        "region": accepted.region,
        "stream": _constant(accepted.stream, n),
        "window_start": batch.column("t"),
        "window_ms": pa.array(np.zeros(n, np.int64)),
        "class": _constant(accepted.device_class, n),
        "boot": batch.column("boot"),
        "seq": batch.column("seq"),
        "pos": batch.column("pos"),
        "offset": pa.array(np.full(n, accepted.offset, np.int64)),
        "received_ms": pa.array(np.full(n, accepted.received_ms, np.int64)),
        "quality": _with_clock(accepted),
        "extra": batch.column("extra") if "extra" in batch.schema.names else pa.nulls(n, pa.string()),
        "replaces": pa.array(accepted.replaces),
        "late": pa.array(accepted.late),
    }
    for name in batch.schema.names:
        if name not in _HEADER and name != "extra":
            names[name] = batch.column(name)
    return pa.table(names)


def _with_clock(accepted: Accepted) -> pa.Array:
    """The quality flags, with that of a clock that is ahead."""
    t = np.asarray(accepted.batch.column("t").to_numpy(zero_copy_only=False), dtype=np.int64)
    ahead = clock_ahead(t, accepted.received_ms)
    if not ahead.any():
        return accepted.quality
    flags = accepted.quality.to_pylist()
    for position in np.flatnonzero(ahead):
        flags[position] = ";".join(filter(None, [flags[position], "clock_ahead"]))
    return pa.array(flags, pa.string())


def _constant(text: str, n: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([text])).cast(pa.string())
