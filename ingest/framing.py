"""Cutting columns into frames of bounded size, never through a message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.block import Block
from ingest.messages import Ints
from models.frame import (
    EVENT_SCHEMA,
    MAX_FRAME_BYTES,
    MAX_FRAME_SAMPLES,
    REFUSAL_SCHEMA,
    Frame,
    FrameKind,
    telemetry_schema,
)

__all__ = ["event_frames", "refusal_frames", "telemetry_frames"]

_OVERHEAD = 2048
_COLUMN_OVERHEAD = 256  # schema entry, buffer entries and padding of one column


def _cuts(sizes: Ints, counts: Ints, max_bytes: int) -> Iterator[tuple[int, int]]:
    """Runs [start, stop) of items that fit `max_bytes` and the sample limit; an item alone always fits."""
    total_bytes, total_samples = np.cumsum(sizes), np.cumsum(counts)
    start = 0
    while start < len(sizes):
        used_bytes = int(total_bytes[start - 1]) if start else 0
        used_samples = int(total_samples[start - 1]) if start else 0
        stop = min(
            int(np.searchsorted(total_bytes, used_bytes + max_bytes, side="right")),
            int(np.searchsorted(total_samples, used_samples + MAX_FRAME_SAMPLES, side="right")),
        )
        stop = max(stop, start + 1)
        yield start, stop
        start = stop


def _sample_bytes(columns: dict[str, pa.Array], samples: int, device: pa.Array) -> Ints:
    """About how many bytes each sample takes in a frame."""
    sizes = np.full(samples, 3 * 8 + 4 + 1, dtype=np.int64)
    for column in (device, *columns.values()):
        if pa.types.is_string(column.type):
            lengths = pc.binary_length(column).fill_null(0).to_numpy(zero_copy_only=False)
            sizes += np.asarray(lengths, dtype=np.int64) + 5
        else:
            sizes += 9  # eight bytes and a bit of the validity map, rounded up
    return sizes


def telemetry_frames(block: Block, devices: pa.Array) -> Iterator[tuple[int, int, Frame]]:
    """Frames of one stream's `block`, with the run [start, stop) of messages that each holds.

    Parameters
    ----------
    block : Block
    devices : pyarrow.StringArray, shape (n,)
        Device of each message. A message above the limit alone has a frame of its own.
    """
    message_of = np.repeat(np.arange(len(block.index), dtype=np.int64), block.counts)
    starts = block.starts
    device = devices.take(pa.array(message_of))
    sizes = np.add.reduceat(_sample_bytes(block.columns, len(block.t), device), starts)
    columns = {
        "device": device,
        "boot": pa.array(block.boot[message_of]),
        "seq": pa.array(block.seq[message_of]),
        "pos": pa.array((np.arange(len(block.t)) - starts[message_of]).astype(np.int32)),
        "t": pa.array(block.t),
        **block.columns,
    }
    schema = telemetry_schema(block.device_class)
    fields = [field for field in schema if field.name in columns]
    batch = pa.RecordBatch.from_arrays([columns[f.name] for f in fields], schema=pa.schema(fields))
    ends = starts + block.counts
    limit = MAX_FRAME_BYTES - _OVERHEAD - _COLUMN_OVERHEAD * len(fields)
    for start, stop in _cuts(sizes, block.counts, limit):
        first, last = int(starts[start]), int(ends[stop - 1])
        yield (
            start,
            stop,
            Frame(FrameKind.TELEMETRY, block.device_class, _dense(batch.slice(first, last - first))),
        )


def _dense(batch: pa.RecordBatch) -> pa.RecordBatch:
    """`batch` without the columns that are null throughout."""
    kept = [i for i, column in enumerate(batch.columns) if column.null_count < batch.num_rows]
    return batch if len(kept) == batch.num_columns else batch.select(kept)


def _rows(rows: Sequence[dict[str, object]], sizes: list[int]) -> Iterator[Sequence[dict[str, object]]]:
    limit = MAX_FRAME_BYTES - _OVERHEAD
    for start, stop in _cuts(np.array(sizes, dtype=np.int64), np.ones(len(rows), dtype=np.int64), limit):
        yield rows[start:stop]


def event_frames(rows: Sequence[dict[str, object]]) -> Iterator[Frame]:
    """Frames of births, states and deaths (`EVENT_SCHEMA`) in the order given."""
    sizes = [len(str(row["device"])) + len(str(row["payload"]).encode()) + 32 for row in rows]
    for part in _rows(rows, sizes):
        yield Frame(FrameKind.EVENT, "", pa.RecordBatch.from_pylist(list(part), schema=EVENT_SCHEMA))


def refusal_frames(rows: Sequence[dict[str, object]]) -> Iterator[Frame]:
    """Frames of refusals (`REFUSAL_SCHEMA`) in the order given."""
    sizes = []
    for row in rows:
        payload = row["payload"]
        assert isinstance(payload, bytes)
        text = sum(len(str(row[name]).encode()) for name in ("topic", "device", "detail"))
        sizes.append(len(payload) + text + 96)
    for part in _rows(rows, sizes):
        yield Frame(FrameKind.REFUSAL, "", pa.RecordBatch.from_pylist(list(part), schema=REFUSAL_SCHEMA))
