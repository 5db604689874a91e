"""Readings of many devices at once, in which single ones are looked up by their place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.frame import telemetry_schema
from models.measurements import known
from models.quality import outside
from models.restate import measured

__all__ = ["Readings", "Run", "telemetry_of"]

IntArray = NDArray[np.int64]
_STORED: Final = {"device": "key", "t": "window_start"}
"""Names in the store of what telemetry calls otherwise."""


class Readings:
    """Readings of devices `keys` of one class in [from_ms, to_ms), those of each sorted by time.

    What is asked of one device costs a search or two: nothing is cut out of the rows before it is sent.

    Parameters
    ----------
    device_class : str
    keys : frozenset of str
        Devices of which `rows` holds all there is in that time.
    rows : pyarrow.Table, optional
        As the store gives them, in any order.
    from_ms, to_ms : int
        [ms UTC]
    first, last : frozenset of str
        Devices of which there is nothing before it, and nothing after it.
    """

    def __init__(
        self,
        device_class: str,
        keys: frozenset[str] = frozenset(),
        rows: pa.Table | None = None,
        from_ms: int = 0,
        to_ms: int = 0,
    ):
        self.device_class = device_class
        self.keys = keys
        self.from_ms, self.to_ms = from_ms, to_ms
        self.first: frozenset[str] = frozenset()
        self.last: frozenset[str] = frozenset()
        self._rows = pa.table({}) if rows is None else rows
        self._of: dict[str, tuple[int, int]] = {}
        self._times: IntArray = np.empty(0, np.int64)
        if self._rows.num_rows:
            ordered = self._rows.sort_by([("key", "ascending"), ("window_start", "ascending")])
            self._rows = ordered.combine_chunks()
            self._times = np.asarray(self._rows["window_start"].to_numpy(), dtype=np.int64)
            encoded = pc.dictionary_encode(self._rows["key"]).combine_chunks()
            place = encoded.indices.to_numpy()
            cuts = [0, *(np.flatnonzero(np.diff(place)) + 1).tolist(), len(place)]
            names = encoded.dictionary.to_pylist()
            self._of = {names[place[a]]: (a, b) for a, b in pairwise(cuts)}
        self._columns = frozenset(self._rows.column_names)
        self._believed: dict[str, IntArray] = {}
        self._counted: dict[str, IntArray] = {}

    @property
    def n(self) -> int:
        """How many readings it holds."""
        return int(self._rows.num_rows)

    def covers(self, device: str, from_ms: int, to_ms: int) -> bool:
        """Whether all readings of a device in [from, to) are here."""
        return device in self.keys and self.from_ms <= from_ms and to_ms <= self.to_ms

    def between(self, device: str, from_ms: int, to_ms: int) -> Run:
        """The readings of a device in [from, to)."""
        low, high = self._of.get(device, (0, 0))
        a, b = self._times[low:high].searchsorted((from_ms, to_ms)).tolist()
        return Run(self, low + a, low + b)

    def times(self, run: Run) -> IntArray:
        """When the readings of a run were taken. [ms UTC]"""
        return self._times[run.low : run.high]

    def holds(self, run: Run, name: str) -> bool:
        """Whether a reading of a run has a value of a name of `Span.has`, a plausible one or not."""
        column, not_zero = measured(name)
        if column not in self._columns or run.low == run.high:
            return False
        if name not in self._counted:
            there = self._rows[column].is_valid().to_numpy()
            if not_zero:
                there = there & (self._values(column) != 0.0)
            self._counted[name] = np.concatenate([[0], np.cumsum(there)])
        counted = self._counted[name]
        return bool(counted[run.high] > counted[run.low])

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
        if not wanted or device not in self.keys or not self.from_ms <= edge_ms <= self.to_ms:
            return list(wanted)
        low, high = self._of.get(device, (0, 0))
        edge = low + int(self._times[low:high].searchsorted(edge_ms))
        low, high = (low, edge) if earlier else (edge, high)
        lacking = []
        for name in wanted:
            places = self._plausible(name)
            a, b = places.searchsorted((low, high)).tolist()
            near = places[max(a, b - count) : b] if earlier else places[a : min(a + count, b)]
            if len(near):
                found[name] = self._times[near].tolist()
            if len(found.get(name, ())) < count:
                lacking.append(name)
        return [] if device in (self.first if earlier else self.last) else lacking  # that is all there is

    def _plausible(self, name: str) -> IntArray:
        """Places of the readings that count: the stream masks those outside their range."""
        if name not in self._believed:
            places: IntArray = np.empty(0, np.int64)
            column, not_zero = measured(name)
            if column in self._columns:
                values = self._values(column)
                bad = np.isnan(values) | outside(values, known[column].low, known[column].high)
                if not_zero:
                    bad |= values == 0.0
                places = np.flatnonzero(~bad)
            self._believed[name] = places
        return self._believed[name]

    def _values(self, column: str) -> NDArray[np.float64]:
        values = self._rows[column].cast(pa.float64())
        return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)

    @cached_property
    def telemetry(self) -> pa.Table:
        """The readings as telemetry has them."""
        schema = telemetry_schema(self.device_class)
        if not self.n:
            return schema.empty_table()
        columns = {}
        for name in schema.names:
            stored = _STORED.get(name, name)
            there = stored in self._columns
            columns[name] = self._rows[stored] if there else pa.nulls(self.n, schema.field(name).type)
        return pa.table(columns).cast(schema)


@dataclass(frozen=True, slots=True)
class Run:
    """Readings of one device that follow each other: places [low, high) in `of`."""

    of: Readings
    low: int
    high: int

    def __len__(self) -> int:
        return self.high - self.low


def telemetry_of(runs: Sequence[Run], device_class: str) -> pa.Table:
    """Readings of `runs`, in their order, as telemetry has them."""
    parts: list[pa.Table] = [telemetry_schema(device_class).empty_table()]
    taken: list[IntArray] = []
    for at, run in enumerate(runs):
        taken.append(np.arange(run.low, run.high))
        if at + 1 == len(runs) or runs[at + 1].of is not run.of:
            parts.append(run.of.telemetry.take(pa.array(np.concatenate(taken))))
            taken = []
    return pa.concat_tables(parts)
