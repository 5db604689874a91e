"""Many numeric telemetry payloads at once, by Arrow's JSON reader; what is in doubt is left to `strict`."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from ingest.block import Block
from ingest.messages import Ints
from models.measurements import DEVICE_CLASSES, Kind, of_class

__all__ = ["NUMERIC_CLASSES", "parse"]

NUMERIC_CLASSES: Final = frozenset(
    c for c in DEVICE_CLASSES if all(m.kind is not Kind.TEXT for m in of_class(c))
)
_MAX_BYTES: Final = 2**30
_MAX_SAMPLES: Final = 1000
_INT64_MIN: Final = -(2**63)
_NEWLINE, _OPEN, _CLOSE = (ord(c) for c in "\n{}")


@cache
def _options(device_class: str) -> pj.ParseOptions:
    sample = pa.struct([
        pa.field("t", pa.int64()),
        *(pa.field(m.name, pa.float64()) for m in of_class(device_class)),
    ])  # fmt: skip
    schema = pa.schema([("boot", pa.int64()), ("seq", pa.int64()), ("samples", pa.list_(sample))])
    return pj.ParseOptions(
        explicit_schema=schema, newlines_in_values=False, unexpected_field_behavior="error"
    )


def parse(device_class: str, index: Ints, payloads: pa.Array) -> Block | None:
    """Columns of `payloads`, or None when any one of them is in doubt.

    Arrow's reader is more lenient than the wire's schema in these ways, each
    of which is checked: it takes NaN, infinities and null, passes over absent
    keys, takes several objects in a line, and stops at a NUL byte.

    Parameters
    ----------
    device_class : str
        One of `NUMERIC_CLASSES`.
    index : ndarray, shape (n,)
        Places of the messages in the batch.
    payloads : pyarrow.BinaryArray, shape (n,)
    """
    lines = _lines(payloads)
    if lines is None:
        return None
    try:
        table = pj.read_json(
            pa.BufferReader(lines),
            read_options=pj.ReadOptions(use_threads=False, block_size=max(len(lines) + 1, 1024)),
            parse_options=_options(device_class),
        )
    except pa.ArrowException:
        return None
    if table.num_rows != len(index) or any(c.num_chunks != 1 or c.null_count for c in table.columns):
        return None
    return _checked(device_class, index, *(table.column(i).chunk(0) for i in range(3)))


def _lines(payloads: pa.Array) -> bytes | None:
    """Payloads one a line, if each begins and ends as an object and none holds what Arrow would misread."""
    lengths = np.asarray(pc.binary_length(payloads).to_numpy(zero_copy_only=False), dtype=np.int64)
    if len(lengths) == 0 or lengths.min() < 2 or lengths.sum() + len(lengths) > _MAX_BYTES:
        return None
    whole = pa.ListArray.from_arrays(pa.array([0, len(payloads)], pa.int32()), payloads)
    lines = bytes(pc.binary_join(whole, b"\n")[0].as_buffer())
    if lines.count(b"\n") != len(lengths) - 1 or b"null" in lines or b"\0" in lines or b"\r" in lines:
        return None
    ends = np.cumsum(lengths + 1) - 2
    characters = np.frombuffer(lines, np.uint8)
    if np.any(characters[ends] != _CLOSE) or np.any(characters[ends - lengths + 1] != _OPEN):
        return None
    return lines


def _checked(
    device_class: str, index: Ints, boot: pa.Array, seq: pa.Array, samples: pa.Array
) -> Block | None:
    boots = np.asarray(boot.to_numpy(zero_copy_only=False), dtype=np.int64)
    seqs = np.asarray(seq.to_numpy(zero_copy_only=False), dtype=np.int64)
    counts = np.asarray(samples.value_lengths().to_numpy(zero_copy_only=False), dtype=np.int64)
    if boots.min() < 1 or seqs.min() < 1 or counts.min() < 1 or counts.max() > _MAX_SAMPLES:
        return None
    rows = samples.flatten()
    times = rows.field("t")
    if rows.null_count or times.null_count:
        return None
    t = np.asarray(times.to_numpy(zero_copy_only=False), dtype=np.int64)
    if t.min() == _INT64_MIN:
        return None
    columns = {}
    for m in of_class(device_class):
        column = rows.field(m.name)
        if column.null_count == len(column):
            continue
        if not pc.all(pc.is_finite(column)).as_py():
            return None
        columns[m.name] = column
    return Block(device_class, index, boots, seqs, counts, t, columns)
