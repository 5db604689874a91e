"""Readings around the windows that a stream asks to restate, read of many devices at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from models.counter_line import READINGS_AFTER, READINGS_BEFORE
from models.restate import Span, measured
from models.results import READING, READING_REPEAT
from store.protocol import Select, SeriesStore
from store.restate_table import Readings, Run

__all__ = ["BUCKET_MS", "DAY_MS", "History"]

BUCKET_MS: Final = 900_000
_NEAR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
_WIDER_MS: Final = (DAY_MS, 30 * DAY_MS, None)
"""How far to look for a neighbour that is not near, one after the other; None is as far as the store goes."""
_OWN_BEFORE: Final = 2
"""How many samples of each measurement before a window it is computed with, if it rests on none after it."""
_FIRST_LOOK: Final = 64
"""Samples to look through for a neighbour at first."""
_MOST_HELD: Final = 500_000
"""Readings around a whole request that stay in memory until it is answered; more are read again in parts."""


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
        self._tables: tuple[Readings, ...] = ()
        self._loaded: tuple[Readings, ...] = ()
        self._repeats = Readings(device_class)
        self._all: dict[tuple[str, str, bool], tuple[int, list[int]]] = {}
        self._last: dict[str, _Last] = {}

    def load(self, spans: Sequence[Span]) -> None:
        """Read what lies in and near `spans`, of all devices at once."""
        keys = {s.device for s in spans}
        from_ms, to_ms = min(s.from_ms for s in spans) - _NEAR_MS, max(s.to_ms for s in spans) + _NEAR_MS
        near = self._table(READING, keys, from_ms, to_ms)
        self._repeats = self._table(READING_REPEAT, keys, from_ms, to_ms)
        lacking = {
            s.device
            for s in spans
            if s.own and near.nearest(s.device, s.to_ms, s.has, {}, _OWN_BEFORE, earlier=False)
        }
        self._tables = (near,)
        if lacking:
            self._tables = near, self._ended(self._table(READING, lacking, from_ms, to_ms + DAY_MS))

    def prepare(self, pieces: Sequence[Span]) -> None:
        """Read what `pieces` of about the same time are computed with, as far as it is within a day.

        Those that what was loaded for the whole request is enough for have it already.
        """
        loaded = tuple(t for t in self._tables if t in self._loaded)
        pieces = [p for p in pieces if self._lacks(p, loaded)]
        self._tables = loaded
        if not pieces:
            return
        from_ms, to_ms = min(p.from_ms for p in pieces), max(p.to_ms for p in pieces)
        keys = {p.device for p in pieces}
        near = self._table(READING, keys, from_ms - _NEAR_MS, to_ms + _NEAR_MS)
        self._tables += (near,)
        lacking = {p.device for p in pieces if self._lacks(p, self._tables)}
        if lacking:
            wide = self._table(READING, lacking, from_ms - DAY_MS, to_ms + DAY_MS)
            self._tables += (self._ended(wide),)

    def _lacks(self, piece: Span, tables: Sequence[Readings]) -> bool:
        """Whether anything that `piece` is computed with is not in `tables`."""
        if not any(t.covers(piece.device, piece.from_ms, piece.to_ms) for t in tables):
            return True
        if self._same_neighbours(piece):
            return False
        before = after = list(piece.has)
        for table in tables:
            before = table.nearest(piece.device, piece.from_ms, before, {}, _before(piece), earlier=True)
            if not piece.own:
                after = table.nearest(piece.device, piece.to_ms, after, {}, READINGS_AFTER, earlier=False)
        return bool(before or (after and not piece.own))

    def _table(self, measurement: str, keys: set[str], from_ms: int, to_ms: int) -> Readings:
        rows = self._store.select(
            Select(
                measurement, keys=tuple(sorted(keys)), device_class=self._class, from_ms=from_ms, to_ms=to_ms
            )
        )
        return Readings(self._class, frozenset(keys), rows, from_ms, to_ms)

    def _ended(self, table: Readings) -> Readings:
        """`table`, knowing which of its devices have nothing before it and which nothing after it."""
        keys = tuple(sorted(table.keys))
        newest = Select(READING, keys=keys, device_class=self._class, latest=True)
        sides = replace(newest, to_ms=table.from_ms), replace(newest, from_ms=table.to_ms)
        beyond = (self._store.select(side)["key"].to_pylist() for side in sides)
        table.first, table.last = (table.keys.difference(there) for there in beyond)
        return table

    def widened(self, span: Span) -> Span:
        """`span` with all windows that rest on a sample in it: up to the neighbours of what they hold."""
        held = self._held(span)
        low, high = span.from_ms, span.to_ms
        if held:
            before = (
                {} if span.own else self._neighbours(span, span.from_ms, held, _before(span), earlier=True)
            )
            after = self._neighbours(span, span.to_ms, held, _before(span), earlier=False)
            low = min([low, *(max(t) // BUCKET_MS * BUCKET_MS for t in before.values())])
            ends = [max(t) // BUCKET_MS * BUCKET_MS + BUCKET_MS for t in after.values()]
            # What too little follows yet stays among the nearest samples of every window after it.
            lacking = any(len(after.get(name, ())) < _before(span) for name in held)
            high = max([high, *ends, *([self._before_ms] if lacking else [])])
        return replace(span, from_ms=low, to_ms=min(high, self._before_ms))

    def occupied(self, span: Span) -> list[int]:
        """Starts of the buckets of `span` in which its device has samples. [ms UTC]"""
        run = self._read(span.device, span.from_ms, span.to_ms)
        return [int(start) for start in np.unique(run.of.times(run) // BUCKET_MS * BUCKET_MS)]

    def keep(self) -> None:
        """Have what was loaded at hand for all pieces of the request, unless it is too much."""
        self._loaded = self._tables if sum(t.n for t in self._tables) <= _MOST_HELD else ()

    def _held(self, span: Span) -> tuple[str, ...]:
        """Measurements that a sample in `span` holds, or one that lost to another there."""
        runs = [t.between(span.device, span.from_ms, span.to_ms) for t in (self._tables[0], self._repeats)]
        return tuple(c for c in span.has if any(run.of.holds(run, c) for run in runs))

    def samples(self, piece: Span) -> list[Run]:
        """Samples in `piece`, with the nearest on either side that hold each measurement that it ever had.

        Pieces of a device are asked for in order of time.
        """
        run = self._read(piece.device, piece.from_ms, piece.to_ms)
        if self._same_neighbours(piece):
            last = self._last[piece.device]
            after_ms, beside = last.after_ms, last.beside
        else:
            before = self._neighbours(piece, piece.from_ms, piece.has, _before(piece), earlier=True)
            after = (
                {}
                if piece.own
                else self._neighbours(piece, piece.to_ms, piece.has, READINGS_AFTER, earlier=False)
            )
            after_ms = min((t for each in after.values() for t in each), default=None)
            times = {t for found in (before, after) for each in found.values() for t in each}
            beside = [self._read(piece.device, t, t + 1) for t in sorted(times)]
        self._last[piece.device] = _Last(piece, len(run) == 0, after_ms, beside)
        return [run, *beside]

    def _same_neighbours(self, piece: Span) -> bool:
        """Whether the piece before it held nothing and what follows lies beyond both, as in a long gap."""
        last = self._last.get(piece.device)
        return (
            last is not None
            and last.empty
            and (last.piece.to_ms, last.piece.has) == (piece.from_ms, piece.has)
            and (last.after_ms is None or last.after_ms >= piece.to_ms)
        )

    def _read(self, device: str, from_ms: int, to_ms: int) -> Run:
        """Readings of one device in [from, to)."""
        for table in self._tables:
            if table.covers(device, from_ms, to_ms):
                return table.between(device, from_ms, to_ms)
        return self._table(READING, {device}, from_ms, to_ms).between(device, from_ms, to_ms)

    def _neighbours(
        self, span: Span, edge_ms: int, wanted: Iterable[str], count: int, *, earlier: bool
    ) -> dict[str, list[int]]:
        """Times of the nearest samples before `edge_ms`, or from it on, that hold each of `wanted`."""
        found: dict[str, list[int]] = {}
        lacking = list(wanted)
        for table in self._tables:
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
                columns = tuple({measured(name)[0]: None for name in lacking})
                look = self._store.select(
                    Select(
                        READING, fields=columns, keys=(span.device,), device_class=self._class,
                        from_ms=from_ms, to_ms=to_ms, newest_first=earlier, limit=limit,
                    )
                )  # fmt: skip
                seen = Readings(self._class, frozenset({span.device}), look, edge_ms, edge_ms)
                lacking = seen.nearest(span.device, edge_ms, lacking, found, count, earlier=earlier)
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


def _before(span: Span) -> int:
    """How many samples before a window those of `span` are computed with."""
    return _OWN_BEFORE if span.own else READINGS_BEFORE


@dataclass(frozen=True, slots=True)
class _Last:
    """The last piece of a device: whether it held nothing, what follows first, and all neighbours."""

    piece: Span
    empty: bool
    after_ms: int | None
    beside: list[Run]
