"""Answers a stream's request to restate: the samples and rows of the windows concerned, from the store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import Final

import numpy as np
import pyarrow as pa

from models.frame import telemetry_schema
from models.restate import NetworkSpan, RestateAnswer, RestateRequest, ResultKind, RowSource, Span
from store.protocol import Select, SeriesStore
from store.restate_history import BUCKET_MS, DAY_MS, History
from store.restate_table import Run, telemetry_of

__all__ = ["answer"]

_MOST_SAMPLES: Final = 4_000
"""Of one frame, which has to stay under 512 KiB."""
_MOST_WINDOWS: Final = 960
"""Buckets of all devices of one frame."""
_MOST_TIMES: Final = 120
"""Different buckets of one frame, and so the windows that a stream computes at once."""
_MOST_ROWS: Final = 3_000
"""Of one frame that tells of networks."""
_LEARNT_MS: Final = 40 * 86_400_000
"""How old what was learnt may be and still be used."""
_LONGEST_MS: Final = 24 * BUCKET_MS
"""Of one piece of a device's time."""
_AT_ONCE: Final = 200
"""Pieces that are read at once, which bounds the memory."""


def answer(store: SeriesStore, request: RestateRequest) -> Iterator[RestateAnswer]:
    """Answer `request` from `store`, which holds what followed from its records, a frame's worth at a time.

    A window is computed from its own samples and the nearest outside on either
    side that hold each measurement. So samples that came late change not only
    their own windows, but all up to the neighbours of what they hold. Of what
    rests on its own samples and those before alone, windows without samples are
    passed over: a year between two samples is two windows.

    Raises
    ------
    store.protocol.StoreError
        The store cannot be read; the same call may succeed later.
    """
    if request.networks:
        yield from _of_networks(store, request)
        return
    classes = sorted({s.device_class for s in request.spans})
    packs = (p for c in classes for p in _of_class(store, request, c))
    pack = next(packs, None)
    if pack is None:
        yield RestateAnswer(request.name, last=True)
    at = 0
    while pack is not None:
        said = {
            kind.measurement: table
            for kind in request.results
            if pack.device_class in kind.reads and (table := _said(store, kind, pack.windows)) is not None
        }
        following = next(packs, None)
        yield RestateAnswer(
            request.name, following is None, pack.windows, {pack.device_class: pack.samples}, said, at
        )
        pack, at = following, at + 1


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
    usable = np.asarray(rows["window_start"].to_numpy() + rows["window_ms"].to_numpy() + DAY_MS)
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
    history = History(store, device_class, request.before_ms)
    history.load(spans)
    pieces: list[Span] = []
    for _, mine in groupby(spans, key=lambda s: s.device):
        wider = [history.widened(s) for s in mine]
        for span in _merged(wider):
            pieces += _cut(span, history.occupied(span) if span.own else None)
    history.keep()
    pieces.sort(key=lambda p: (p.from_ms, p.device))
    held: list[tuple[Span, list[Run]]] = []
    rows = lasts_ms = 0
    times: set[int] = set()
    for piece, runs in _sampled(history, pieces):
        more = sum(map(len, runs))
        full = lasts_ms > (_MOST_WINDOWS - 24) * BUCKET_MS or len(times) > _MOST_TIMES - 24
        if held and (rows + more > _MOST_SAMPLES or full):
            yield _pack(device_class, held)
            held = []
            rows = lasts_ms = 0
            times.clear()
        times.update(range(piece.from_ms, piece.to_ms, BUCKET_MS))
        held.append((piece, runs))
        rows += more
        lasts_ms += piece.to_ms - piece.from_ms
    if held:
        yield _pack(device_class, held)


def _sampled(history: History, pieces: Sequence[Span]) -> Iterator[tuple[Span, list[Run]]]:
    """Pieces with their samples; those of one time are read of many devices at once."""
    for _, slot in groupby(pieces, key=lambda p: p.from_ms // _LONGEST_MS):
        while some := list(islice(slot, _AT_ONCE)):
            history.prepare(some)
            yield from ((piece, history.samples(piece)) for piece in some)


def _pack(device_class: str, held: Sequence[tuple[Span, Sequence[Run]]]) -> _Pack:
    schema = telemetry_schema(device_class)
    table = telemetry_of([run for _, runs in held for run in runs], device_class)
    empty = [name for name in schema.names if table[name].null_count == table.num_rows]
    table = table.drop_columns([n for n in empty if schema.field(n).nullable]).combine_chunks()
    batches = table.to_batches()
    batch = batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
    return _Pack(device_class, tuple(p for p, _ in held), batch)


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


def _cut(span: Span, occupied: Sequence[int] | None) -> Iterator[Span]:
    """Pieces of a span that are short enough for a frame; from one occupied bucket to the next if given."""
    if occupied is None:
        for from_ms in range(span.from_ms, span.to_ms, _LONGEST_MS):
            yield replace(span, from_ms=from_ms, to_ms=min(from_ms + _LONGEST_MS, span.to_ms))
        return
    run: list[int] = []
    for start in occupied:
        if run and start + BUCKET_MS > run[0] + _LONGEST_MS:
            yield replace(span, from_ms=run[0], to_ms=run[-1] + BUCKET_MS)
            run = []
        run.append(start)
    if run:
        yield replace(span, from_ms=run[0], to_ms=run[-1] + BUCKET_MS)


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
