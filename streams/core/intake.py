"""Telemetry of one record: which messages are new, which samples repeat others."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.frame import HEADER_FIELDS
from models.measurements import Kind, known, of_class
from models.quality import mask, outside
from streams.core.buffer import BUCKET_MS, ClassBuffer
from streams.core.deliveries import Arrival
from streams.core.delivery_sets import Runs
from streams.core.ledger_book import LedgerBook
from streams.core.rows import Rows

__all__ = ["Messages", "Standing", "flags_of", "judge_messages", "judge_repeats", "numeric_rows",
           "sample_json", "split_messages"]  # fmt: skip

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
_HEADER = frozenset(f.name for f in HEADER_FIELDS)


@dataclass(frozen=True, slots=True)
class Messages:
    """Messages of one telemetry frame; each one's samples lie side by side."""

    first: IntArray  # position of its first sample
    count: IntArray
    device: IntArray
    boot: IntArray
    seq: IntArray
    oldest_t: IntArray
    newest_t: IntArray


def column(batch: pa.RecordBatch, name: str) -> IntArray:
    """An integer header column as int64, shape (n,)."""
    return np.asarray(batch.column(name).to_numpy(zero_copy_only=False), dtype=np.int64)


def split_messages(batch: pa.RecordBatch, device: IntArray) -> Messages:
    """Find the messages of a telemetry frame: each begins with position 0."""
    first = np.flatnonzero(column(batch, "pos") == 0)
    t = column(batch, "t")
    return Messages(
        first,
        np.diff(np.append(first, batch.num_rows)),
        device[first],
        column(batch, "boot")[first],
        column(batch, "seq")[first],
        np.minimum.reduceat(t, first),
        np.maximum.reduceat(t, first),
    )


def judge_messages(messages: Messages, book: LedgerBook) -> list[Arrival]:
    """Say of each message whether it is new, a duplicate, or reuses a number; note it in the book."""
    verdicts = [Arrival.NEW] * len(messages.first)
    order = np.lexsort((messages.boot, messages.device))
    device, boot, seq = messages.device[order], messages.boot[order], messages.seq[order]
    day = book.days.zones.days(messages.newest_t)[order]
    book.reach(day)
    new = np.ones(len(order), dtype=bool)
    new[1:] = (device[1:] != device[:-1]) | (boot[1:] != boot[:-1]) | (day[1:] != day[:-1])
    starts = np.flatnonzero(new)
    ends = np.append(starts[1:], len(order)) - 1
    follows = new.copy()
    follows[1:] |= seq[1:] == seq[:-1] + 1
    # Nearly always a device's messages are the next ones, without a gap: then one call takes all of them.
    runs = Runs(
        device[starts], boot[starts], seq[starts], seq[ends],
        np.maximum.reduceat(messages.newest_t[order], starts), np.logical_and.reduceat(follows, starts),
        day[starts],
    )  # fmt: skip
    others = book.arrive_runs(runs)
    for at in others:
        deliveries = book.of(int(runs.device[at]))
        for m in order[starts[at] : ends[at] + 1]:
            verdicts[m] = deliveries.arrive(
                int(runs.boot[at]), int(messages.seq[m]), int(messages.oldest_t[m]),
                int(messages.newest_t[m]), int(runs.day[at]),
            )  # fmt: skip
    return verdicts


def numeric_rows(batch: pa.RecordBatch, device_class: str, device: IntArray) -> Rows:
    """Columns of the numeric measurements of the class; NaN where absent."""
    n = batch.num_rows
    names = set(batch.schema.names)
    values = [
        np.asarray(batch.column(m.name).to_numpy(zero_copy_only=False), dtype=np.float64)
        if m.name in names
        else np.full(n, np.nan)
        for m in of_class(device_class)
        if m.kind is not Kind.TEXT
    ]
    return Rows(
        device,
        column(batch, "t"),
        column(batch, "boot"),
        column(batch, "seq"),
        column(batch, "pos"),
        np.array(values, dtype=np.float64).reshape(len(values), n),
    )


def flags_of(rows: Rows, columns: tuple[str, ...], extra: pa.Array | None) -> tuple[Rows, dict[int, str]]:
    """Find values outside their physical range and unknown measurements.

    Returns
    -------
    clean : Rows
        `rows` with implausible values masked (`models.quality`), so that they never enter a sum.
    flags : dict of int to str
        Quality flags by position, where there are any.
    """
    flags: dict[int, list[str]] = {}
    values = rows.values
    for at, name in enumerate(columns):
        m = known[name]
        bad = outside(values[at], m.low, m.high)
        if bad.any():
            if values is rows.values:
                values = values.copy()
            mask(values[at], bad)
            for position in np.flatnonzero(bad):
                flags.setdefault(int(position), []).append(f"implausible:{name}")
    if extra is not None and extra.null_count < len(extra):
        for position in np.flatnonzero(extra.is_valid().to_numpy(zero_copy_only=False)):
            flags.setdefault(int(position), []).append("unknown_measurement")
    if values is not rows.values:
        rows = Rows(rows.device, rows.t, rows.boot, rows.seq, rows.pos, values)
    return rows, {p: ";".join(f) for p, f in flags.items()}


@dataclass(frozen=True, slots=True)
class Standing:
    """How the samples of a record stand against others of the same device and time.

    Attributes
    ----------
    stands : ndarray of bool, shape (n,)
        False for one that lost to another.
    replaces : ndarray of bool, shape (n,)
        True for one that wins over a reading that was already given.
    differs : ndarray of bool, shape (n,)
        True for one that stands before other values than its own.
    late : ndarray of bool, shape (n,)
        True where samples of that time are no longer at hand to compare with.
    lost : list of Rows
        Readings given before that lost now.
    count : dict of (int, int) to int
        Repeats by device index and start of the quarter of an hour (ms UTC).
    """

    stands: BoolArray
    replaces: BoolArray
    differs: BoolArray
    late: BoolArray
    lost: list[Rows]
    count: dict[tuple[int, int], int]


def judge_repeats(
    rows: Rows, buffer: ClassBuffer, kept_from_ms: int, devices: int, counted_from_ms: int
) -> Standing:
    """Find samples that repeat another's device and time: of several the highest (boot, seq, pos) stands.

    Parameters
    ----------
    rows : Rows
        New samples of one record, in any order.
    buffer : ClassBuffer
        What is at hand; not changed.
    kept_from_ms : int
        Samples before this time are no longer at hand. [ms UTC]
    devices : int
        How many devices the stream knows.
    counted_from_ms : int
        Repeats of samples before this time are counted within a message only. [ms UTC]
    """
    stands = np.ones(rows.n, dtype=bool)
    replaces = np.zeros(rows.n, dtype=bool)
    differs = np.zeros(rows.n, dtype=bool)
    count: dict[tuple[int, int], int] = {}
    order = np.lexsort((rows.pos, rows.seq, rows.boot, rows.t, rows.device))
    device, t = rows.device[order], rows.t[order]
    same = (device[1:] == device[:-1]) & (t[1:] == t[:-1])
    for at, stays in zip(order[:-1][same], order[1:][same], strict=True):
        stands[at] = False
        differs[stays] = differs[at] or _differ(rows, at, rows, stays)
        one_message = rows.boot[at] == rows.boot[stays] and rows.seq[at] == rows.seq[stays]
        if one_message or rows.t[at] >= counted_from_ms:
            count[_quarter(rows, at)] = count.get(_quarter(rows, at), 0) + 1
    late = stands & (rows.t < kept_from_ms)
    lost: list[Rows] = []
    suspects = np.flatnonzero(stands & ~late & (rows.t <= buffer.newest_t(devices)[rows.device]))
    for at in _met_again(rows, suspects, buffer):
        incumbent = buffer.buckets[int(rows.t[at]) // BUCKET_MS * BUCKET_MS].find(
            int(rows.device[at]), int(rows.t[at])
        )
        last = incumbent.n - 1
        name = (int(rows.boot[at]), int(rows.seq[at]), int(rows.pos[at]))
        if rows.t[at] >= counted_from_ms:
            count[_quarter(rows, at)] = count.get(_quarter(rows, at), 0) + 1
        if name > (int(incumbent.boot[last]), int(incumbent.seq[last]), int(incumbent.pos[last])):
            replaces[at] = True
            differs[at] |= _differ(rows, at, incumbent, last)
            lost.append(incumbent.take(np.array([last])))
        else:
            stands[at] = False
    return Standing(stands, replaces, differs, late, lost, count)


def _differ(rows: Rows, at: int, others: Rows, other: int) -> bool:
    """Whether two samples of one device and time say different things."""
    return not np.array_equal(rows.values[:, at], others.values[:, other], equal_nan=True)


def _quarter(rows: Rows, at: int) -> tuple[int, int]:
    return int(rows.device[at]), int(rows.t[at]) // BUCKET_MS * BUCKET_MS


def _met_again(rows: Rows, suspects: IntArray, buffer: ClassBuffer) -> list[int]:
    """Which of `suspects` have the device and time of a sample in the buffer."""
    met: list[int] = []
    starts = rows.t[suspects] // BUCKET_MS * BUCKET_MS
    for start in np.unique(starts):
        bucket = buffer.buckets.get(int(start))
        if bucket is None:
            continue
        members = suspects[starts == start]
        key = rows.device[members] * BUCKET_MS + (rows.t[members] - start)
        order = np.argsort(key)
        hit = np.zeros(len(key), dtype=bool)
        for chunk in bucket.chunks:
            held = chunk.device * BUCKET_MS + (chunk.t - start)
            at = np.minimum(np.searchsorted(key[order], held), len(key) - 1)
            hit[order[at[key[order][at] == held]]] = True
        met.extend(int(m) for m in members[hit])
    return met


def sample_json(batch: pa.RecordBatch, first: int, count: int) -> str:
    """The message whose samples lie at `first`, as the payload that it came from."""
    rows: list[dict[str, Any]] = batch.slice(first, count).to_pylist()
    samples = []
    for row in rows:
        values = {k: v for k, v in row.items() if k not in _HEADER and k != "extra" and v is not None}
        values.update(json.loads(row["extra"]) if row.get("extra") else {})
        samples.append({"t": row["t"], **values})
    return json.dumps(
        {"boot": rows[0]["boot"], "seq": rows[0]["seq"], "samples": samples}, ensure_ascii=False
    )
