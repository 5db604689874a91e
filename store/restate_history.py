"""Readings around the windows that a stream asks to restate, read of many devices at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.frame import telemetry_schema
from models.measurements import known
from models.quality import outside
from models.restate import Span
from models.results import READING, READING_REPEAT
from store.protocol import Select, SeriesStore

__all__ = ["BUCKET_MS", "DAY_MS", "History"]

BUCKET_MS: Final = 900_000
_NEAR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
_WIDER_MS: Final = (DAY_MS, 30 * DAY_MS, None)
"""How far to look for a neighbour that is not near, one after the other; None is as far as the store goes."""
_BEFORE: Final = 2
"""How many samples before a window, of each measurement, it is computed with."""
_FIRST_LOOK: Final = 64
"""Samples to look through for a neighbour at first."""


class History:
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
        self._near = _Table()
        self._wide = _Table()
        self._repeats: Mapping[str, pa.Table] = {}
        self._all: dict[tuple[str, str, bool], tuple[int, list[int]]] = {}
        self._last: dict[str, _Last] = {}

    def load(self, spans: Sequence[Span]) -> None:
        """Read what lies in and near `spans`, of all devices at once."""
        keys = {s.device for s in spans}
        from_ms, to_ms = min(s.from_ms for s in spans) - _NEAR_MS, max(s.to_ms for s in spans) + _NEAR_MS
        self._near = self._table(READING, keys, from_ms, to_ms)
        self._repeats = self._table(READING_REPEAT, keys, from_ms, to_ms).rows
        lacking = {
            s.device
            for s in spans
            if s.own and self._near.nearest(s.device, s.to_ms, s.has, {}, _BEFORE, earlier=False)
        }
        self._wide = _Table()
        if lacking:
            self._wide = self._ended(self._table(READING, lacking, from_ms, to_ms + DAY_MS))

    def prepare(self, pieces: Sequence[Span]) -> None:
        """Read what `pieces` of about the same time are computed with, as far as it is within a day."""
        from_ms, to_ms = min(p.from_ms for p in pieces), max(p.to_ms for p in pieces)
        keys = {p.device for p in pieces}
        self._near = self._table(READING, keys, from_ms - _NEAR_MS, to_ms + _NEAR_MS)
        lacking = {
            p.device
            for p in pieces
            if not self._same_neighbours(p)
            and (
                self._near.nearest(p.device, p.from_ms, p.has, {}, _BEFORE, earlier=True)
                or (not p.own and self._near.nearest(p.device, p.to_ms, p.has, {}, 1, earlier=False))
            )
        }
        self._wide = _Table()
        if lacking:
            self._wide = self._ended(self._table(READING, lacking, from_ms - DAY_MS, to_ms + DAY_MS))

    def _table(self, measurement: str, keys: set[str], from_ms: int, to_ms: int) -> _Table:
        rows = self._store.select(
            Select(
                measurement, keys=tuple(sorted(keys)), device_class=self._class, from_ms=from_ms, to_ms=to_ms
            )
        )
        return _Table(frozenset(keys), _by_key(rows), from_ms, to_ms)

    def _ended(self, table: _Table) -> _Table:
        """`table`, knowing which of its devices have nothing before it and which nothing after it."""
        keys = tuple(sorted(table.keys))
        newest = Select(READING, keys=keys, device_class=self._class, latest=True)
        sides = replace(newest, to_ms=table.from_ms), replace(newest, from_ms=table.to_ms)
        beyond = (self._store.select(side)["key"].to_pylist() for side in sides)
        first, last = (table.keys.difference(there) for there in beyond)
        return replace(table, first=first, last=last)

    def widened(self, span: Span) -> Span:
        """`span` with all windows that rest on a sample in it: up to the neighbours of what they hold."""
        held = self._held(span)
        low, high = span.from_ms, span.to_ms
        if held:
            before = {} if span.own else self._neighbours(span, span.from_ms, held, _BEFORE, earlier=True)
            after = self._neighbours(span, span.to_ms, held, _BEFORE, earlier=False)
            low = min([low, *(max(t) // BUCKET_MS * BUCKET_MS for t in before.values())])
            ends = [max(t) // BUCKET_MS * BUCKET_MS + BUCKET_MS for t in after.values()]
            # What too little follows yet stays among the nearest samples of every window after it.
            lacking = any(len(after.get(name, ())) < _BEFORE for name in held)
            high = max([high, *ends, *([self._before_ms] if lacking else [])])
        return replace(span, from_ms=low, to_ms=min(high, self._before_ms))

    def occupied(self, span: Span) -> list[int]:
        """Starts of the buckets of `span` in which its device has samples. [ms UTC]"""
        rows = self._rows(span.device, span.from_ms, span.to_ms)
        if rows is None:
            return []
        return [int(s) for s in np.unique(rows["window_start"].to_numpy() // BUCKET_MS * BUCKET_MS)]

    def _held(self, span: Span) -> tuple[str, ...]:
        """Measurements that a sample in `span` holds, or one that lost to another there."""
        held: set[str] = set()
        for tables in (self._near.rows, self._repeats):
            rows = _between(tables.get(span.device), span.from_ms, span.to_ms)
            if rows is not None:
                held |= {c for c in span.has if c in rows.column_names and rows[c].null_count < rows.num_rows}
        return tuple(c for c in span.has if c in held)

    def samples(self, piece: Span) -> pa.Table:
        """Samples in `piece`, with the nearest on either side that hold each measurement that it ever had.

        Pieces of a device are asked for in order of time.
        """
        rows = self._read(piece.device, piece.from_ms, piece.to_ms)
        if self._same_neighbours(piece):
            last = self._last[piece.device]
            after_ms, beside = last.after_ms, last.beside
        else:
            before = self._neighbours(piece, piece.from_ms, piece.has, _BEFORE, earlier=True)
            after = {} if piece.own else self._neighbours(piece, piece.to_ms, piece.has, 1, earlier=False)
            after_ms = min((t for each in after.values() for t in each), default=None)
            times = {t for found in (before, after) for each in found.values() for t in each}
            beside = [self._read(piece.device, t, t + 1) for t in sorted(times)]
        self._last[piece.device] = _Last(piece, rows.num_rows == 0, after_ms, beside)
        return pa.concat_tables([rows, *beside], promote_options="default")

    def _same_neighbours(self, piece: Span) -> bool:
        """Whether the piece before it held nothing and what follows lies beyond both, as in a long gap."""
        last = self._last.get(piece.device)
        return (
            last is not None
            and last.empty
            and (last.piece.to_ms, last.piece.has) == (piece.from_ms, piece.has)
            and (last.after_ms is None or last.after_ms >= piece.to_ms)
        )

    def _rows(self, device: str, from_ms: int, to_ms: int) -> pa.Table | None:
        """Readings of one device in [from, to), as the store has them."""
        for table in (self._near, self._wide):
            if device in table.keys and table.from_ms <= from_ms and to_ms <= table.to_ms:
                return _between(table.rows.get(device), from_ms, to_ms)
        return self._store.select(
            Select(READING, keys=(device,), device_class=self._class, from_ms=from_ms, to_ms=to_ms)
        )

    def _read(self, device: str, from_ms: int, to_ms: int) -> pa.Table:
        """Readings of one device in [from, to), as telemetry has them."""
        found = self._rows(device, from_ms, to_ms)
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
        for table in (self._near, self._wide):
            lacking = table.nearest(span.device, edge_ms, lacking, found, count, earlier=earlier)
        lacking = [name for name in lacking if not self._known(span.device, name, edge_ms, found, earlier)]
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
        for name in lacking:  # all that there is on this side
            self._all[span.device, name, earlier] = edge_ms, found.get(name, [])
        return found

    def _known(
        self, device: str, name: str, edge_ms: int, found: dict[str, list[int]], earlier: bool
    ) -> bool:
        """Note what is left of all on a side that was once found to be too little, nearer its end."""
        edge, times = self._all.get((device, name, earlier), (None, []))
        if edge is None or (edge_ms > edge if earlier else edge_ms < edge):
            return False
        left = [t for t in times if (t < edge_ms if earlier else t >= edge_ms)]
        if left:
            found[name] = left
        return True


@dataclass(frozen=True, slots=True)
class _Last:
    """The last piece of a device: whether it held nothing, what follows first, and all neighbours."""

    piece: Span
    empty: bool
    after_ms: int | None
    beside: list[pa.Table]


@dataclass(frozen=True, slots=True)
class _Table:
    """Readings of devices `keys`, those of each sorted by time, in [from_ms, to_ms).

    Of those in `first` there is nothing before it, of those in `last` nothing after it.
    """

    keys: frozenset[str] = frozenset()
    rows: Mapping[str, pa.Table] = field(default_factory=dict)
    from_ms: int = 0
    to_ms: int = 0
    first: frozenset[str] = frozenset()
    last: frozenset[str] = frozenset()

    def nearest(
        self,
        device: str,
        edge_ms: int,
        wanted: Sequence[str],
        found: dict[str, list[int]],
        count: int,
        *,
        earlier: bool,
    ) -> list[str]:
        """Note the nearest times on one side of `edge_ms`; which of `wanted` have fewer than `count`."""
        rows = self.rows.get(device)
        if not wanted or not self.from_ms <= edge_ms <= self.to_ms:
            return list(wanted)
        low, high = (self.from_ms, edge_ms) if earlier else (edge_ms, self.to_ms)
        lacking = _nearest(_between(rows, low, high), wanted, found, count, earlier=earlier)
        return [] if device in (self.first if earlier else self.last) else lacking  # that is all there is


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
