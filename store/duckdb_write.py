"""One write to DuckDB: from outputs to jobs, and a job's statements inside the write's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from models.measurements import CLASSES, Kind, known
from models.results import READING, READING_REPEAT, RESULT_HEADER, Outputs
from store.catalogue import PROGRESS, Catalogue, check_name, growth, quoted, reading_table
from store.repeats import flagged, settle
from store.rows import (
    INTERNAL,
    READING_TRAILER,
    REFUSED,
    Refusal,
    by_class,
    combine,
    dead_rows,
    identity_columns,
    joined,
    keep_last,
    plain,
    separate,
    with_header,
)

# ruff: noqa: S608  values are parameters; identifiers are constants or quoted

__all__ = ["Job", "Writing", "halves", "jobs", "reached"]

_ROWS: Final = "incoming_rows"
_ROWID: Final = "stored_rowid"


@dataclass(frozen=True, slots=True)
class Job:
    """Rows for one table.

    Attributes
    ----------
    measurement : str
    device_class : str
        For readings their class, else empty.
    rows : pyarrow.Table
    """

    measurement: str
    device_class: str
    rows: pa.Table


def jobs(outputs: Sequence[Outputs], progress: Mapping[str, int]) -> list[Job]:
    """What there is to do, in order; readings of offsets that `progress` covers are left out."""
    results: dict[str, list[pa.Table]] = {}
    readings: dict[str, list[pa.Table]] = {}
    repeats: list[pa.Table] = []
    for output in outputs:
        done = progress.get(output.stream, -1)
        for measurement, tables in output.rows.items():
            check_name(measurement)
            results.setdefault(measurement, []).extend(with_header(plain(t)) for t in joined(tables))
        for table in output.readings:
            for device_class, rows in by_class(_after(table, done)).items():
                readings.setdefault(device_class, []).append(plain(rows))
        repeats += [plain(_after(table, done)) for table in output.repeats]
    return [
        *(Job(m, "", t) for m, tables in results.items() for t in combine(tables)),
        *(Job(READING, c, t) for c, tables in readings.items() for t in combine(tables) if t.num_rows),
        *(Job(READING_REPEAT, "", t) for t in combine(repeats) if t.num_rows),
    ]


def _after(table: pa.Table, offset: int) -> pa.Table:
    return table if offset < 0 else table.filter(pc.greater(table["offset"], offset))


def reached(outputs: Sequence[Outputs], progress: Mapping[str, int]) -> dict[str, int]:
    """How far each stream's readings are kept after this write."""
    after = dict(progress)
    for output in outputs:
        last = [output.offset]
        last += [pc.max(t["offset"]).as_py() for t in (*output.readings, *output.repeats) if t.num_rows]
        offset = max(v for v in last if v is not None)
        if offset > after.get(output.stream, -1):
            after[output.stream] = offset
    return after


class Writing:
    """Runs jobs on a connection that is in a transaction.

    `catalogue` is the tables as they are after the jobs so far; the store takes
    it over when the transaction is committed.
    """

    def __init__(self, connection: Any, catalogue: Catalogue) -> None:
        self.catalogue = {table: dict(columns) for table, columns in catalogue.items()}
        self._connection = connection

    def run(self, job: Job) -> None:
        """Keep the rows of one job; those that do not fit their columns become `store_refused` rows."""
        table = reading_table(job.device_class) if job.measurement == READING else job.measurement
        rows, misfits = separate(job.rows, self.catalogue.get(table, {}))
        if rows.num_rows:
            if job.measurement == READING:
                self._append_readings(table, rows, job.device_class)
            elif job.measurement == READING_REPEAT:
                self._append(table, rows)
            else:
                self._upsert(table, rows)
        for misfit, reason in misfits:
            self.refuse(Refusal(job.measurement, misfit, reason))

    def refuse(self, refusal: Refusal) -> None:
        """Keep rows that cannot be kept where they belong, with the reason."""
        self._upsert(REFUSED, plain(dead_rows(refusal)))

    def advance(self, progress: Mapping[str, int]) -> None:
        """Note how far each stream's readings are kept."""
        for stream, offset in progress.items():
            self._connection.execute(
                f"INSERT INTO {PROGRESS} VALUES (?, ?) "
                'ON CONFLICT (stream) DO UPDATE SET "offset" = excluded."offset"',
                [stream, offset],
            )

    def _upsert(self, table: str, rows: pa.Table) -> None:
        """A row replaces all of the row before it: a field that is absent now is absent."""
        rows = keep_last(rows)
        self._grow(table, rows.schema)
        columns = self.catalogue[table]
        values = [quoted(c) if c in rows.column_names else "NULL" for c in columns]
        updates = [f"{quoted(c)} = excluded.{quoted(c)}" for c in columns if c not in ("key", "window_start")]
        self._insert(
            f"INSERT INTO {quoted(table)} ({', '.join(map(quoted, columns))}) "
            f"SELECT {', '.join(values)} FROM {_ROWS} "
            f"ON CONFLICT (key, window_start) DO UPDATE SET {', '.join(updates)}",
            rows,
        )

    def _append(self, table: str, rows: pa.Table) -> None:
        if not rows.num_rows:
            return
        rows = rows.drop_columns([c for c in INTERNAL if c in rows.column_names])
        self._grow(table, rows.schema)
        names = ", ".join(map(quoted, rows.column_names))
        self._insert(f"INSERT INTO {quoted(table)} ({names}) SELECT {names} FROM {_ROWS}", rows)

    def _append_readings(self, table: str, rows: pa.Table, device_class: str) -> None:
        if table not in self.catalogue:
            self._grow(table, _reading_schema(device_class))
            rows, _ = separate(rows, self.catalogue[table])
        mask = flagged(rows)
        if not mask.any():
            self._append(table, rows)
            return
        stored = self._stored(table, rows.filter(pa.array(mask)), device_class)
        rowids = stored[_ROWID].to_pylist()
        settled = settle(rows, stored.drop_columns([_ROWID]), device_class)
        if settled.delete:
            gone = pa.table({_ROWID: pa.array([rowids[i] for i in settled.delete], pa.int64())})
            self._insert(
                f"DELETE FROM {quoted(table)} WHERE rowid IN (SELECT {_ROWID} FROM {_ROWS})",
                gone,
            )
        self._append(table, settled.append)
        self._append(READING_REPEAT, settled.repeats)

    def _stored(self, table: str, rows: pa.Table, device_class: str) -> pa.Table:
        """Stored readings that may be the same as one of `rows`."""
        shared = [c for c in identity_columns(device_class) if c in rows.column_names]
        bounds = ""
        if "window_start" in shared:  # lets DuckDB pass over the row groups of other times
            span = pc.min_max(rows["window_start"]).as_py()
            bounds = f" WHERE s.window_start BETWEEN {int(span['min'])} AND {int(span['max'])}"
        self._connection.register(_ROWS, rows.select(shared))
        stored = self._connection.sql(
            f"SELECT s.rowid AS {_ROWID}, s.* FROM {quoted(table)} AS s "
            f"SEMI JOIN {_ROWS} AS n USING ({', '.join(map(quoted, shared))}){bounds} ORDER BY s.rowid"
        ).to_arrow_table()
        self._connection.unregister(_ROWS)
        return stored

    def _grow(self, table: str, schema: pa.Schema) -> None:
        for statement in growth(table, schema, self.catalogue):
            self._connection.execute(statement)
        columns = self.catalogue.setdefault(table, {})
        for field in schema:
            columns.setdefault(field.name, field.type)

    def _insert(self, statement: str, rows: pa.Table) -> None:
        # A failed statement spoils the transaction; the rollback then forgets the rows too.
        self._connection.register(_ROWS, rows)
        self._connection.execute(statement)
        self._connection.unregister(_ROWS)


def halves(job: Job) -> tuple[Job, Job]:
    """The two halves of a job, to find the row that a store cannot take."""
    middle = job.rows.num_rows // 2
    return replace(job, rows=job.rows.slice(0, middle)), replace(job, rows=job.rows.slice(middle))


def _reading_schema(device_class: str) -> pa.Schema:
    """Columns of a class from the start, in the table's order, so that few are added later."""
    fields = [
        pa.field(name, pa.string() if known[name].kind is Kind.TEXT else pa.float64())
        for name in CLASSES.get(device_class, ())
    ]
    return pa.schema([*RESULT_HEADER, *fields, *READING_TRAILER])
