"""Series in InfluxDB 2: every write is an upsert by (measurement, tags, time).

What it cannot do that DuckDB can: a write is not one transaction. Nothing is
lost or doubled by that, since a write that failed half way is written again
and gives the same points; losers of a repeat are written before the winner
overwrites them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from models.measurements import CLASSES, EVENT_CLASSES, known
from models.results import READING, READING_REPEAT, RESULT_HEADER, RESULT_TRAILER, Outputs
from store import flux, sql
from store.buckets import Buckets
from store.catalogue import check_name
from store.duckdb_write import Job, jobs
from store.influx_http import InfluxHttp, RefusedLinesError
from store.line_protocol import ABSENT, EVENT, batches, lines, misfits
from store.protocol import Select, StoreError
from store.repeats import flagged, settle
from store.rows import (
    INTERNAL,
    READING_TRAILER,
    Refusal,
    boolean,
    by_class,
    identity,
    identity_columns,
    keep_last,
    separate,
)

__all__ = ["InfluxSeries"]

_KEYS_AT_ONCE: Final = 200
_TYPES: Final = {
    "double": pa.float64(),
    "long": pa.int64(),
    "unsignedLong": pa.uint64(),
    "boolean": pa.bool_(),
}
_MAX_CELL: Final = 64 * 1024 * 1024
_FIXED: Final = {f.name: f.type for f in (*RESULT_HEADER, *RESULT_TRAILER, *READING_TRAILER)}


class InfluxSeries:
    """Series in the buckets of an InfluxDB 2.

    Parameters
    ----------
    url, org, bucket, token : str
    readings_bucket : str, optional
        Where readings go, so that they can be kept for a shorter time; the same bucket unless given.
    refused : callable, optional
        Given rows that InfluxDB refuses, and why; without one they are in `refusals`.
    timeout_s, patience_s : float
        Of one request, and how long a call goes on trying a server that is busy.
    batch_lines, batch_bytes : int
        Bounds of one request.
    """

    def __init__(
        self,
        url: str,
        org: str,
        bucket: str,
        token: str,
        *,
        readings_bucket: str = "",
        refused: Callable[[Refusal], None] | None = None,
        timeout_s: float = 10.0,
        patience_s: float = 30.0,
        batch_lines: int = 5000,
        batch_bytes: int = 4_000_000,
    ) -> None:
        self._buckets = Buckets(bucket, readings_bucket)
        self._bounds = (batch_lines, batch_bytes)
        self.refusals: list[Refusal] = []
        self._refused = refused or self.refusals.append
        shown = " and ".join(self._buckets.all())
        self._http = InfluxHttp(url, org, shown, token, timeout_s, patience_s)
        self._arithmetic = duckdb.connect()  # in memory; to make one for each question takes longer than most

    def write(self, outputs: Sequence[Outputs]) -> None:
        """Keep all of it; durable when this returns, as far as InfluxDB's own write-ahead log is."""
        todo = jobs(outputs, {})
        for job in [j for j in todo if j.measurement == READING_REPEAT]:
            self._put_repeats(job.rows)
        for job in todo:
            if job.measurement == READING:
                self._put_readings(job)
            elif job.measurement != READING_REPEAT:
                check_name(job.measurement)
                self._put(job.measurement, keep_last(job.rows), absent=True)

    def select(self, query: Select) -> pa.Table:
        """Rows that answer `query`; steps are made here from the rows of the range."""
        if query.every_ms is not None:
            return self._steps(query)
        table, spoken = self._ask(flux.rows(query, self._buckets.of(query.measurement)))
        ties = ["boot", "seq", "pos"] if sql.is_reading(query.measurement) else []
        way = "descending" if query.newest_first else "ascending"
        order = [("window_start", way), ("key", way), *((t, way) for t in ties)]
        return _shaped(query, table, spoken).sort_by(order)

    def counts(self) -> dict[str, int]:
        """How many rows each measurement has."""
        wanted = {READING: "offset", READING_REPEAT: "offset"}
        found: dict[str, int] = {}
        for bucket in self._buckets.all():
            table, _ = self._ask(flux.counts(bucket))
            found |= {
                row["_measurement"]: row["_value"]
                for row in table.to_pylist()
                if row["_field"] == wanted.get(row["_measurement"], "revision")
            }
        return found

    def close(self) -> None:
        """Release connections; a call that waits ends."""
        self._http.close()
        self._arithmetic.close()

    def _put_readings(self, job: Job) -> None:
        rows, doubtful = job.rows, flagged(job.rows).any()
        if doubtful:
            late = rows.filter(pa.array(boolean(rows, "late")))
            settled = settle(rows, self._stored(late, job.device_class), job.device_class)
            rows = settled.append
            self._put_repeats(settled.repeats)
            rows = _completed(rows, job.device_class)
        if job.device_class in EVENT_CLASSES:
            rows = _with_event(rows, job.device_class)
        self._put(READING, rows, absent=bool(doubtful))

    def _put_repeats(self, rows: pa.Table) -> None:
        if rows.num_rows:
            for device_class, part in by_class(rows).items():
                self._put(READING_REPEAT, _with_event(_completed(part, device_class), None), absent=True)

    def _stored(self, rows: pa.Table, device_class: str) -> pa.Table:
        """Stored readings that may be the same as one of `rows`."""
        found: list[pa.Table] = []
        keys = pc.unique(rows["key"]).to_pylist()
        span = pc.min_max(rows["window_start"]).as_py() if rows.num_rows else {}
        whole = device_class in EVENT_CLASSES  # an event keeps its name whatever its time
        for first in range(0, len(keys), _KEYS_AT_ONCE):
            query = Select(
                READING,
                keys=tuple(keys[first : first + _KEYS_AT_ONCE]),
                device_class=device_class,
                from_ms=None if whole else span["min"],
                to_ms=None if whole else span["max"] + 1,
            )
            found.append(self.select(query))
        if not found:
            return rows.slice(0, 0).drop_columns([c for c in INTERNAL if c in rows.column_names])
        stored = pa.concat_tables(found, promote_options="default")
        columns = [c for c in identity_columns(device_class) if c in stored.column_names]
        if set(columns) != set(identity_columns(device_class)) or not stored.num_rows:
            return stored.slice(0, 0)
        names = set(zip(*(rows[c].to_pylist() for c in columns if c in rows.column_names), strict=True))
        same = [name in names for name in zip(*(stored[c].to_pylist() for c in columns), strict=True)]
        return stored.filter(pa.array(same, pa.bool_()))

    def _put(self, measurement: str, rows: pa.Table, *, absent: bool) -> None:
        if not rows.num_rows:
            return
        if measurement in (READING, READING_REPEAT):  # a result may have a field of that name
            rows = rows.drop_columns([c for c in INTERNAL if c in rows.column_names])
        rows, broken = separate(rows, {})
        for misfit, reason in broken:
            self._refused(Refusal(measurement, misfit, reason))
        bad = misfits(rows)
        if pc.any(bad).as_py():
            reason = (
                "expected a key, no control character or ambiguous backslash in a tag, a time before 2262"
            )
            self._refused(Refusal(measurement, rows.filter(bad), reason))
            rows = rows.filter(pc.invert(bad))
        given = lines(measurement, rows, absent=absent)
        for first, end in batches(given, *self._bounds):
            self._send(measurement, rows, given, first, end)

    def _send(self, measurement: str, rows: pa.Table, given: list[str], first: int, end: int) -> None:
        """Send lines [first, end); when they are refused, send halves until it is single rows."""
        try:
            self._http.write(self._buckets.of(measurement), "\n".join(given[first:end]).encode())
        except RefusedLinesError as error:
            if end - first == 1:
                self._refused(Refusal(measurement, rows.slice(first, 1), str(error)))
                return
            middle = (first + end) // 2
            self._send(measurement, rows, given, first, middle)
            self._send(measurement, rows, given, middle, end)

    def _steps(self, query: Select) -> pa.Table:
        """Down-sample with the same SQL as the embedded store, so that both give the same numbers."""
        plain = Select(
            query.measurement,
            fields=query.fields,
            keys=query.keys,
            units=query.units,
            regions=query.regions,
            device_class=query.device_class,
            key_prefix=query.key_prefix,
            from_ms=query.from_ms,
            to_ms=query.to_ms,
            withdrawn=query.withdrawn,
        )
        rows = self.select(plain)
        table = (
            f"reading_{query.device_class or 'any'}" if query.measurement == READING else query.measurement
        )
        built = sql.build(query, {table: {f.name: f.type for f in rows.schema}})
        assert built is not None
        with self._arithmetic.cursor() as cursor:  # what is registered is this cursor's own
            cursor.register(table, rows)
            return cursor.sql(built.text, params=built.parameters).to_arrow_table()

    def _ask(self, text: str) -> tuple[pa.Table, set[str]]:
        """The one table that `text` gives, what is absent made null; also every field that was spoken of."""
        blocks = list(_blocks(self._http.ask(text)))
        table = pa.concat_tables(blocks, promote_options="default") if blocks else pa.table({})
        spoken = set(table.column_names) - {ABSENT}
        if ABSENT in table.column_names:
            gone = [frozenset((text or "").strip(",").split(",")) for text in table[ABSENT].to_pylist()]
            table = table.drop_columns([ABSENT])
            for name in frozenset().union(*gone) - {""}:
                spoken.add(name)
                if name in table.column_names:
                    keep = pa.array([name not in names for names in gone])
                    column = pc.if_else(keep, table[name], pa.scalar(None, table[name].type))
                    table = table.set_column(table.column_names.index(name), name, column)
        return table, spoken


def _completed(rows: pa.Table, device_class: str) -> pa.Table:
    """Add what the class may have and these rows lack, so that all of an overwritten point becomes absent."""
    for name in (*CLASSES.get(device_class, ()), *(f.name for f in READING_TRAILER)):
        if name not in rows.column_names:
            rows = rows.append_column(name, pa.nulls(rows.num_rows, _FIXED.get(name) or sql.kind_of(name)))
    return rows


def _with_event(rows: pa.Table, device_class: str | None) -> pa.Table:
    """Add the tag that tells rows of one key and time apart: an event's name, or the message."""
    if device_class is None:
        parts = zip(*(rows[c].to_pylist() for c in ("boot", "seq", "pos")), strict=True)
        names = [":".join(map(str, p)) for p in parts]
    else:
        names = [":".join(str(p) for p in name[1:] if p != "") for name in identity(rows, device_class)]
    return rows.append_column(EVENT, pa.array(names, pa.string()))


def _shaped(query: Select, table: pa.Table, spoken: set[str]) -> pa.Table:
    """`table` in the columns of a store's answer."""
    empty = sql.empty_schema(query)
    if not table.num_rows:
        return empty.empty_table()
    time = table["_time"].cast(pa.timestamp("ns", "UTC")).cast(pa.int64())
    table = table.append_column("window_start", pc.divide(time, 1_000_000))
    header = [f.name for f in RESULT_HEADER]
    trailer = [n for n in empty.names if n in _FIXED and n not in header]
    hidden = {*header, *trailer, EVENT, "result", "table", "_time", ""}
    for name in query.fields:
        reading = sql.is_reading(query.measurement) and name in known
        if name not in spoken and name not in _FIXED and not reading:
            expected = ", ".join(sorted(spoken - hidden)) or "none"
            msg = f"{query.measurement}: expected a field of {expected}; got {name!r}"
            raise StoreError(msg)
    fields = [n for n in query.fields if n not in hidden] or sorted(spoken - hidden)
    columns = {}
    for name in (*header, *fields, *trailer):
        kind = _FIXED.get(name)
        if name in table.column_names:
            columns[name] = table[name] if kind is None else table[name].cast(kind)
        else:
            columns[name] = pa.nulls(table.num_rows, kind or sql.kind_of(name))
    for name in ("unit", "region", "stream"):  # an empty tag is no tag
        columns[name] = pc.fill_null(columns[name], "")
    return pa.table(columns)


def _blocks(text: str) -> Iterator[pa.Table]:
    """Tables of annotated CSV; a blank row ends one."""
    kinds: list[str] = []
    names: list[str] | None = None
    rows: list[list[str]] = []
    csv.field_size_limit(
        max(csv.field_size_limit(), _MAX_CELL)
    )  # a payload may be longer than Python's default
    for row in csv.reader(io.StringIO(text, newline="")):
        if not row or row[0] == "#datatype":
            if names and rows:
                yield _block(kinds, names, rows)
            names, rows = None, []
            kinds = row or kinds
        elif names is None:
            names = row
        elif "error" in names and names[1:2] == ["error"]:
            msg = f"the query failed: {row[1]}"
            raise StoreError(msg)
        else:
            rows.append(row)
    if names and rows:
        yield _block(kinds, names, rows)


def _block(kinds: list[str], names: list[str], rows: list[list[str]]) -> pa.Table:
    columns: dict[str, Any] = {}
    for kind, name, values in zip(kinds, names, zip(*rows, strict=True), strict=True):
        if name in ("", "result", "table"):
            continue
        # InfluxDB's CSV writes every line break inside a text as CR LF, and drops a CR of its own.
        texts = pa.array([v.replace("\r\n", "\n") or None for v in values], pa.string())
        columns[name] = texts.cast(_TYPES.get(kind, pa.string()))
    return pa.table(columns)
