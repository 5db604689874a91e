"""Answers a stream's request to restate: the samples and rows of the windows concerned, from the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.frame import telemetry_schema
from models.measurements import known
from models.quality import outside
from models.restate import NetworkSpan, RestateAnswer, RestateRequest, ResultKind, RowSource, Span
from models.results import READING, READING_REPEAT
from store.protocol import Select, SeriesStore

__all__ = ["answer"]

_BUCKET_MS: Final = 900_000
_MOST_SAMPLES: Final = 4_000
"""Of one frame, which has to stay under 512 KiB."""
_MOST_WINDOWS: Final = 960
"""Buckets of all devices of one frame, and so the work that a stream does at once."""
_MOST_ROWS: Final = 3_000
"""Of one frame that tells of networks."""
_LEARNT_MS: Final = 40 * 86_400_000
"""How old what was learnt may be and still be used."""
_LONGEST_MS: Final = 24 * _BUCKET_MS
"""Of one piece of a device's time."""
_NEAR_MS: Final = 3_600_000
_DAY_MS: Final = 86_400_000
_WIDER_MS: Final = (_DAY_MS, 30 * _DAY_MS, None)
"""How far to look for a neighbour that is not near, one after the other; None is as far as the store goes."""
_BEFORE: Final = 2
"""How many samples before a window, of each measurement, it is computed with."""
_FIRST_LOOK: Final = 64
"""Samples to look through for a neighbour at first."""
IntArray = NDArray[np.int64]


def answer(store: SeriesStore, request: RestateRequest) -> Iterator[RestateAnswer]:
    """Answer `request` from `store`, which holds what followed from its records, a frame's worth at a time.

    A window is computed from its own samples and the nearest outside on either
    side that hold each measurement. So samples that came late change not only
    their own windows, but all up to the neighbours of what they hold.

    Raises
    ------
    store.protocol.StoreError
        The store cannot be read; the same call may succeed later.
    """
    if request.networks:
        yield from _of_networks(store, request)
        return
    packs = [p for c in sorted({s.device_class for s in request.spans}) for p in _of_class(store, request, c)]
    if not packs:
        yield RestateAnswer(request.name, last=True)
    for at, pack in enumerate(packs):
        said = {
            kind.measurement: table
            for kind in request.results
            if pack.device_class in kind.reads and (table := _said(store, kind, pack.windows)) is not None
        }
        yield RestateAnswer(
            request.name, at == len(packs) - 1, pack.windows, {pack.device_class: pack.samples}, said, at
        )


def _of_networks(store: SeriesStore, request: RestateRequest) -> Iterator[RestateAnswer]:
    """Rows that the networks of `request` rest on, and their own, a frame's worth at a time."""
    found = [
        (source.measurement, rows.slice(at, _MOST_ROWS))
        for span in request.networks
        for source in request.sources
        if (rows := _rows(store, source, span)) is not None
        for at in range(0, rows.num_rows, _MOST_ROWS)
    ]
    parts: list[dict[str, pa.Table]] = [{}]
    held = 0
    for name, table in found:
        if held + table.num_rows > _MOST_ROWS and parts[-1]:
            parts.append({})
            held = 0
        held += table.num_rows
        before = parts[-1].get(name)
        parts[-1][name] = table if before is None else pa.concat_tables([before, table])
    for at, said in enumerate(parts):
        yield RestateAnswer(request.name, at == len(parts) - 1, said=said, part=at)


def _rows(store: SeriesStore, source: RowSource, span: NetworkSpan) -> pa.Table | None:
    keys = span.devices if source.subject == "device" else (span.network,)
    from_ms = span.rows_from_ms - (_LEARNT_MS if source.learnt else 0)
    rows = store.select(
        Select(source.measurement, keys=keys, from_ms=from_ms, to_ms=span.rows_to_ms, withdrawn=True)
    )
    if not rows.num_rows:
        return None
    rows = _usable(rows, span.rows_from_ms) if source.learnt else rows
    return rows.drop_columns(["unit", "region", "stream", "model"])


def _usable(rows: pa.Table, from_ms: int) -> pa.Table:
    """Of what was learnt the newest row of each key that could be used by `from_ms`, and all after it."""
    usable = np.asarray(rows["window_start"].to_numpy() + rows["window_ms"].to_numpy() + _DAY_MS)
    keys = rows["key"].to_pylist()
    newest: dict[str, int] = {}
    for at in np.flatnonzero(usable <= from_ms).tolist():
        if keys[at] not in newest or usable[at] > usable[newest[keys[at]]]:
            newest[keys[at]] = at
    return rows.take(np.union1d(np.flatnonzero(usable > from_ms), np.array([*newest.values()], np.int64)))


@dataclass(frozen=True, slots=True)
class _Pack:
    """What goes into one frame."""

    device_class: str
    windows: tuple[Span, ...]
    samples: pa.RecordBatch


def _of_class(store: SeriesStore, request: RestateRequest, device_class: str) -> Iterator[_Pack]:
    spans = sorted((s for s in request.spans if s.device_class == device_class), key=lambda s: s.device)
    history = _History(store, device_class, request.before_ms)
    history.load(spans)
    pieces = []
    for _, mine in groupby(spans, key=lambda s: s.device):
        wider = [history.widened(s) for s in mine]
        pieces += [p for span in _merged(wider) for p in _cut(span)]
    pieces.sort(key=lambda p: (p.from_ms, p.device))
    held: list[tuple[Span, pa.Table]] = []
    for piece in pieces:
        samples = history.samples(piece)
        full = held and (
            sum(t.num_rows for _, t in held) + samples.num_rows > _MOST_SAMPLES
            or sum(p.to_ms - p.from_ms for p, _ in held) > (_MOST_WINDOWS - 24) * _BUCKET_MS
        )
        if full:
            yield _pack(device_class, held)
            held = []
        held.append((piece, samples))
    if held:
        yield _pack(device_class, held)


def _pack(device_class: str, held: Sequence[tuple[Span, pa.Table]]) -> _Pack:
    schema = telemetry_schema(device_class)
    table = pa.concat_tables([t for _, t in held]).select(schema.names).cast(schema)
    empty = [name for name in schema.names if table[name].null_count == table.num_rows]
    table = table.drop_columns([n for n in empty if schema.field(n).nullable]).combine_chunks()
    batches = table.to_batches()
    batch = batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
    return _Pack(device_class, tuple(p for p, _ in held), batch)


class _History:
    """Readings of one class around the spans of a request.

    Parameters
    ----------
    store : SeriesStore
    device_class : str
    before_ms : int
        Windows from here on are not restated. [ms UTC]
    """

    def __init__(self, store: SeriesStore, device_class: str, before_ms: int):
        self._store = store
        self._class = device_class
        self._before_ms = before_ms
        self._columns = tuple(telemetry_schema(device_class).names[5:-1])
        self._near: dict[str, pa.Table] = {}
        self._repeats: dict[str, pa.Table] = {}
        self._from_ms = self._to_ms = 0

    def load(self, spans: Sequence[Span]) -> None:
        """Read what lies in and near `spans`, of all devices at once."""
        keys = tuple(sorted({s.device for s in spans}))
        self._from_ms = min(s.from_ms for s in spans) - _NEAR_MS
        self._to_ms = max(s.to_ms for s in spans) + _NEAR_MS
        bounds = {"keys": keys, "device_class": self._class, "from_ms": self._from_ms, "to_ms": self._to_ms}
        self._near = _by_key(self._store.select(Select(READING, **bounds)))  # type: ignore[arg-type]
        self._repeats = _by_key(self._store.select(Select(READING_REPEAT, **bounds)))  # type: ignore[arg-type]

    def widened(self, span: Span) -> Span:
        """`span` with all windows that rest on a sample in it: up to the neighbours of what they hold."""
        held = self._held(span)
        low, high = span.from_ms, span.to_ms
        if held:
            before = self._neighbours(span, span.from_ms, held, _BEFORE, earlier=True)
            after = self._neighbours(span, span.to_ms, held, _BEFORE, earlier=False)
            low = min([low, *(max(t) // _BUCKET_MS * _BUCKET_MS for t in before.values())])
            ends = [max(t) // _BUCKET_MS * _BUCKET_MS + _BUCKET_MS for t in after.values()]
            # What too little follows yet stays among the nearest samples of every window after it.
            lacking = any(len(after.get(name, ())) < _BEFORE for name in held)
            high = max([high, *ends, *([self._before_ms] if lacking else [])])
        return replace(span, from_ms=low, to_ms=min(high, self._before_ms))

    def _held(self, span: Span) -> tuple[str, ...]:
        """Measurements that a sample in `span` holds, or one that lost to another there."""
        held: set[str] = set()
        for tables in (self._near, self._repeats):
            rows = _between(tables.get(span.device), span.from_ms, span.to_ms)
            if rows is not None:
                held |= {c for c in span.has if c in rows.column_names and rows[c].null_count < rows.num_rows}
        return tuple(c for c in span.has if c in held)

    def samples(self, piece: Span) -> pa.Table:
        """Samples in `piece`, with the nearest on either side that hold each measurement that it ever had."""
        times: set[int] = set()
        before = self._neighbours(piece, piece.from_ms, piece.has, _BEFORE, earlier=True)
        after = self._neighbours(piece, piece.to_ms, piece.has, 1, earlier=False)
        times.update(t for found in (before, after) for each in found.values() for t in each)
        rows = self._read(piece.device, piece.from_ms, piece.to_ms)
        parts = [rows, *(self._read(piece.device, t, t + 1) for t in sorted(times))]
        return pa.concat_tables(parts, promote_options="default")

    def _read(self, device: str, from_ms: int, to_ms: int) -> pa.Table:
        """Readings of one device in [from, to), as telemetry has them."""
        if self._from_ms <= from_ms and to_ms <= self._to_ms:
            found = _between(self._near.get(device), from_ms, to_ms)
        else:
            found = self._store.select(
                Select(READING, keys=(device,), device_class=self._class, from_ms=from_ms, to_ms=to_ms)
            )
        schema = telemetry_schema(self._class)
        if found is None or not found.num_rows:
            return schema.empty_table()
        columns = {
            name: found[_STORED.get(name, name)]
            if _STORED.get(name, name) in found.column_names
            else pa.nulls(found.num_rows, schema.field(name).type)
            for name in schema.names
        }
        return pa.table(columns).cast(schema)

    def _neighbours(
        self, span: Span, edge_ms: int, wanted: Iterable[str], count: int, *, earlier: bool
    ) -> dict[str, list[int]]:
        """Times of the nearest samples before `edge_ms`, or from it on, that hold each of `wanted`."""
        found: dict[str, list[int]] = {}
        lacking = list(wanted)
        near = self._near.get(span.device)
        if self._from_ms <= edge_ms <= self._to_ms:
            look = _between(near, self._from_ms, edge_ms) if earlier else _between(near, edge_ms, self._to_ms)
            lacking = _nearest(look, lacking, found, count, earlier=earlier)
        for reach_ms in _WIDER_MS:
            limit = _FIRST_LOOK
            while lacking:
                from_ms, to_ms = (None, edge_ms) if earlier else (edge_ms, None)
                if reach_ms is not None:
                    from_ms, to_ms = (
                        (edge_ms - reach_ms, edge_ms) if earlier else (edge_ms, edge_ms + reach_ms)
                    )
                look = self._store.select(
                    Select(
                        READING, fields=tuple(lacking), keys=(span.device,), device_class=self._class,
                        from_ms=from_ms, to_ms=to_ms, newest_first=earlier, limit=limit,
                    )
                )  # fmt: skip
                lacking = _nearest(look, lacking, found, count, earlier=earlier)
                if look.num_rows < limit:
                    break
                limit *= 16
        return found


def _nearest(
    rows: pa.Table | None, wanted: Sequence[str], found: dict[str, list[int]], count: int, *, earlier: bool
) -> list[str]:
    """Note the nearest times that hold each of `wanted`; which of them have fewer than `count`."""
    if rows is not None and rows.num_rows:
        for name in wanted:
            if name in rows.column_names:
                times = rows["window_start"].to_numpy()[_plausible(rows[name], name)]
                nearest = np.sort(times)[-count:] if earlier else np.sort(times)[:count]
                if len(nearest):
                    found[name] = [int(t) for t in nearest]
    return [name for name in wanted if len(found.get(name, ())) < count]


def _plausible(column: pa.ChunkedArray, name: str) -> NDArray[np.bool_]:
    """Which values count: the stream masks those outside their range, which then are no neighbours."""
    values = np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    return ~np.isnan(values) & ~outside(values, known[name].low, known[name].high)


_STORED: Final = {"device": "key", "t": "window_start"}
"""Names in the store of what telemetry calls otherwise."""


def _by_key(table: pa.Table) -> dict[str, pa.Table]:
    """Rows by key, each sorted by time."""
    table = table.sort_by([("key", "ascending"), ("window_start", "ascending")]).combine_chunks()
    keys = table["key"].to_pylist()
    out: dict[str, pa.Table] = {}
    at = 0
    for key, group in groupby(keys):
        count = sum(1 for _ in group)
        out[key] = table.slice(at, count)
        at += count
    return out


def _between(rows: pa.Table | None, from_ms: int, to_ms: int) -> pa.Table | None:
    """Of rows sorted by time those in [from, to)."""
    if rows is None:
        return None
    times = np.asarray(rows["window_start"].to_numpy())
    low, high = np.searchsorted(times, [from_ms, to_ms])
    return rows.slice(int(low), int(high - low))


def _merged(spans: Sequence[Span]) -> list[Span]:
    """Spans of one device that overlap or touch, put together."""
    merged: list[Span] = []
    for span in sorted((s for s in spans if s.from_ms < s.to_ms), key=lambda s: (s.from_ms, s.to_ms)):
        if merged and span.from_ms <= merged[-1].to_ms and span.why == merged[-1].why:
            has = tuple(dict.fromkeys((*merged[-1].has, *span.has)))
            merged[-1] = replace(merged[-1], to_ms=max(merged[-1].to_ms, span.to_ms), has=has)
        else:
            merged.append(span)
    return merged


def _cut(span: Span) -> Iterator[Span]:
    """Pieces of a span that are short enough for a frame."""
    for from_ms in range(span.from_ms, span.to_ms, _LONGEST_MS):
        yield replace(span, from_ms=from_ms, to_ms=min(from_ms + _LONGEST_MS, span.to_ms))


def _said(store: SeriesStore, kind: ResultKind, windows: Sequence[Span]) -> pa.Table | None:
    """Rows that the store has of the windows of one frame; None where it has none."""
    first = min(w.from_ms for w in windows) // kind.every_ms * kind.every_ms
    last = max(w.to_ms for w in windows)
    rows = store.select(
        Select(
            kind.measurement, keys=tuple(sorted({w.device for w in windows})), from_ms=first, to_ms=last,
            withdrawn=True,
        )
    )  # fmt: skip
    return rows.drop_columns(["unit", "region", "stream", "model"]) if rows.num_rows else None
