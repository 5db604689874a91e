"""Every accepted sample as it was received, with its message, journal offset and quality."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from models.frame import HEADER_FIELDS
from streams.core.accepted import Accepted
from streams.core.operator import sample_operator

__all__ = ["reading"]

_HEADER = frozenset(f.name for f in HEADER_FIELDS)


@sample_operator
def reading(accepted: Accepted) -> pa.Table:
    """Give one row a sample, values untouched.

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
        "quality": accepted.quality,
        "extra": batch.column("extra") if "extra" in batch.schema.names else pa.nulls(n, pa.string()),
        "replaces": pa.array(accepted.replaces),
        "late": pa.array(accepted.late),
    }
    for name in batch.schema.names:
        if name not in _HEADER and name != "extra":
            names[name] = batch.column(name)
    return pa.table(names)


def _constant(text: str, n: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([text])).cast(pa.string())
