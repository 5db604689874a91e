"""The only SQL that answers questions: a `Select` becomes one parameterised DuckDB query.

Values are always parameters. Identifiers come from the catalogue and are quoted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from models.measurements import Kind, known
from models.results import READING, READING_REPEAT, RESULT_HEADER, RESULT_TRAILER, Status
from store.catalogue import META, PROGRESS, READING_PREFIX, Catalogue, quoted, reading_table
from store.protocol import Select, StoreError, extremes_of
from store.rows import KEY, READING_TRAILER

# ruff: noqa: S608  values are parameters; identifiers are constants or quoted

__all__ = ["Query", "build", "empty_schema", "is_reading", "kind_of"]

_HEADER: Final = tuple(f.name for f in RESULT_HEADER)
_TRAILER: Final = tuple(f.name for f in RESULT_TRAILER)
_READING: Final = tuple(f.name for f in READING_TRAILER)
_AGGREGATES: Final = {"mean": "avg", "min": "min", "max": "max", "sum": "sum"}
_OF_A_STEP: Final = ("coverage", "status", "reason", "revision", "model")
_FAR_MS: Final = 2**62
"""Longer than all times together, and no sum of it with one is too large for 64 bits."""
_REASON: Final = "any_value(reason) FILTER (WHERE status <> 'final') AS reason"
_WITHDRAWN: Final = Status.WITHDRAWN.value


@dataclass(slots=True)
class Query:
    """Query text and its named parameters."""

    text: str = ""
    parameters: dict[str, object] = field(default_factory=dict)

    def value(self, name: str, value: object) -> str:
        """Bind `value` and return its placeholder."""
        self.parameters[name] = value
        return f"${name}"


def is_reading(measurement: str) -> bool:
    """Whether rows of `measurement` are readings rather than results."""
    return measurement in (READING, READING_REPEAT)


def empty_schema(query: Select) -> pa.Schema:
    """Columns of an answer without rows, when nothing is known of the measurement."""
    trailer = READING_TRAILER if is_reading(query.measurement) else RESULT_TRAILER
    names = {f.name for f in (*RESULT_HEADER, *trailer)}
    fields = [pa.field(f, kind_of(f)) for f in dict.fromkeys(query.fields) if f not in names]
    return pa.schema([*RESULT_HEADER, *fields, *trailer])


def build(query: Select, catalogue: Catalogue) -> Query | None:
    """Write the query, or None when the store has no such measurement.

    Raises
    ------
    StoreError
        A field that the measurement does not have, or a step or limit that is none.
    """
    _check(query)
    tables = _tables(query, catalogue)
    if not tables:
        return None
    columns: dict[str, pa.DataType] = {}
    for table in tables:
        columns.update(catalogue[table])
    fields = _fields(query, columns)
    out = Query()
    wanted = [*_header(query), *fields, *_trailer(query), *_ties_of(query)]
    rows = " UNION ALL BY NAME ".join(
        _rows_of(query, table, catalogue[table], wanted, columns, out) for table in tables
    )
    if query.every_ms is None:
        shown = ", ".join(quoted(c) for c in (*_header(query), *fields, *_trailer(query)))
        body = f"SELECT {shown} FROM ({rows}) AS r"
        source, ties = f"rows AS NOT MATERIALIZED ({body})", "".join(f", {c}" for c in _ties_of(query))
    else:
        source, ties = f"rows AS ({_steps(query, fields, columns, rows, out)})", ""
    out.text = f"WITH {source} SELECT * FROM rows{_newest(query, ties)}{_order(query, ties, out)}"
    return out


def _check(query: Select) -> None:
    if query.every_ms is not None and query.every_ms <= 0:
        msg = f"every_ms: expected a step above 0 ms, got {query.every_ms}"
        raise StoreError(msg)
    if query.limit is not None and query.limit < 0:
        msg = f"limit: expected 0 or more rows, got {query.limit}"
        raise StoreError(msg)
    if query.aggregate not in (*_AGGREGATES, "last"):
        msg = f"aggregate: expected one of {', '.join((*_AGGREGATES, 'last'))}, got {query.aggregate!r}"
        raise StoreError(msg)


def _narrow(query: Select) -> bool:
    """Whether little is wanted; readings as they came are put in order by what else they have."""
    return query.narrow and not (is_reading(query.measurement) and query.every_ms is None)


def _header(query: Select) -> tuple[str, ...]:
    return _wanted(query, _HEADER)


def _trailer(query: Select) -> tuple[str, ...]:
    return _wanted(query, _READING if is_reading(query.measurement) else _TRAILER)


def _wanted(query: Select, names: tuple[str, ...]) -> tuple[str, ...]:
    if not _narrow(query):
        return names
    return tuple(n for n in names if n in (*KEY, "status", *query.fields))


def _tables(query: Select, catalogue: Catalogue) -> list[str]:
    """Tables that hold the measurement: one, or for readings one a class."""
    if query.measurement in (META, PROGRESS):
        return []
    if query.measurement != READING:
        hidden = query.measurement.startswith(READING_PREFIX) and query.measurement != READING_REPEAT
        return [query.measurement] if query.measurement in catalogue and not hidden else []
    if query.device_class:
        return [t for t in (reading_table(query.device_class),) if t in catalogue and t != READING_REPEAT]
    return sorted(t for t in catalogue if t.startswith(READING_PREFIX) and t != READING_REPEAT)


def _fields(query: Select, columns: dict[str, pa.DataType]) -> list[str]:
    """Fields besides header and trailer, in the order asked for; all of them when none is."""
    reading = is_reading(query.measurement)
    around = (*_HEADER, *(_READING if reading else _TRAILER))
    every = [c for c in columns if c not in around]
    for name in query.fields:
        if name not in columns and name not in around and not (reading and name in known):
            expected = ", ".join(every) or "none"
            msg = f"{query.measurement}: expected a field of {expected}; got {name!r}"
            raise StoreError(msg)
    wanted = [f for f in dict.fromkeys(query.fields) if f not in around] if query.fields else every
    return wanted if query.every_ms is None else _numeric(query, wanted, columns)


def _numeric(query: Select, wanted: Sequence[str], columns: dict[str, pa.DataType]) -> list[str]:
    """Of `wanted` what can be down-sampled; text can only be taken as it was last."""
    if query.aggregate == "last":
        return list(wanted)
    numbers = [f for f in wanted if _is_number(columns.get(f, kind_of(f)))]
    if query.fields and len(numbers) != len(wanted):
        text = ", ".join(f for f in wanted if f not in numbers)
        msg = f"{query.measurement}: expected numeric fields for {query.aggregate!r}, got {text}"
        raise StoreError(msg)
    return numbers


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def kind_of(name: str) -> pa.DataType:
    """Type of a measurement that no row has had yet."""
    measurement = known.get(name)
    return pa.string() if measurement is not None and measurement.kind is Kind.TEXT else pa.float64()


def _rows_of(
    query: Select,
    table: str,
    stored: Mapping[str, pa.DataType],
    wanted: Sequence[str],
    columns: dict[str, pa.DataType],
    out: Query,
) -> str:
    """Rows of one table that the question is about; columns that it lacks are null."""
    shown = []
    for name in dict.fromkeys(wanted):
        if name in stored:
            shown.append(quoted(name))
        elif name not in columns:
            kind = "VARCHAR" if kind_of(name) == pa.string() else "DOUBLE"
            shown.append(f"CAST(NULL AS {kind}) AS {quoted(name)}")
    conditions = _conditions(query, stored, out)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT {', '.join(shown)} FROM {quoted(table)}{where}"


def _conditions(query: Select, stored: Mapping[str, pa.DataType], out: Query) -> list[str]:
    conditions = []
    for column, wanted in (("key", query.keys), ("unit", query.units), ("region", query.regions)):
        if wanted:
            conditions.append(f"{column} IN (SELECT unnest({out.value(column, list(wanted))}))")
    if query.key_prefix:
        conditions.append(f"starts_with(key, {out.value('key_prefix', query.key_prefix)})")
    if query.from_ms is not None:
        conditions.append(f"window_start >= {out.value('from_ms', query.from_ms)}")
    if query.to_ms is not None:
        conditions.append(f"window_start < {out.value('to_ms', query.to_ms)}")
    if is_reading(query.measurement):
        if query.device_class:
            conditions.append(f"class = {out.value('class', query.device_class)}")
    elif not query.withdrawn and "status" in stored:
        conditions.append(f"status IS DISTINCT FROM {out.value('withdrawn', _WITHDRAWN)}")
    return conditions


def _steps(
    query: Select, fields: Sequence[str], columns: dict[str, pa.DataType], rows: str, out: Query
) -> str:
    """A row a key and step, at the step's begin.

    `coverage` is the mean of the rows'. A step with a provisional row is
    provisional; it is unknown when all its rows are, and a sum already when one is.
    """
    every = out.value("every_ms", query.every_ms)
    # Steps are aligned to the epoch, before 1970 too: the remainder is made positive.
    step = f"window_start - ((window_start % {every}) + {every}) % {every}"
    extremes = [f for f in fields if query.extremes and _is_number(columns.get(f, kind_of(f)))]
    if query.aggregate == "last":
        return f"{_last_rows(query, fields, extremes, rows)} GROUP BY key, {step}"
    unknown = "bool_or" if query.aggregate == "sum" else "bool_and"
    made = {
        "key": "key",
        "window_start": f"{step} AS window_start",
        "window_ms": f"CAST({every} AS BIGINT) AS window_ms",
        **{name: f"any_value({name}) AS {name}" for name in ("unit", "region", "stream", "class")},
        "coverage": "avg(coverage) AS coverage",
        "status": f"""CASE WHEN bool_or(status = 'provisional') THEN 'provisional'
            WHEN {unknown}(status = 'unknown') THEN 'unknown' ELSE 'final' END AS status""",
        "reason": _REASON,
        "revision": "max(revision) AS revision",
        "model": "arg_max(model, window_start) AS model",
    }
    shown = [
        *(made[name] for name in _header(query)),
        *(_aggregate(query, f, columns.get(f, kind_of(f))) for f in fields),
        *(_extremes(f) for f in extremes),
        *(made[name] for name in _trailer(query) if name in _OF_A_STEP),
    ]
    return f"SELECT {', '.join(shown)} FROM ({rows}) AS r GROUP BY key, {step}"


def _last_rows(query: Select, fields: Sequence[str], extremes: Sequence[str], rows: str) -> str:
    """Of each step the newest row that has any of `fields`, as it stands; if none has, the newest."""
    known = " OR ".join(f"{quoted(f)} IS NOT NULL" for f in fields) or "true"
    # One number, where no ties have to be broken: DuckDB compares several in twice the time.
    time = f"window_start - CASE WHEN {known} THEN 0 ELSE {_FAR_MS} END"
    ties = _ties_of(query)
    newest = f"({', '.join((time, *ties))})" if ties else time
    names = [*_header(query), *fields, *(name for name in _trailer(query) if name in _OF_A_STEP)]
    # Aggregated rather than picked by a window function, which sorts all rows of a year.
    shown = [f"arg_max_null({quoted(n)}, {newest}) AS {quoted(n)}" for n in names if n != "key"]
    return f"SELECT key, {', '.join((*shown, *map(_extremes, extremes)))} FROM ({rows}) AS r"


def _aggregate(query: Select, name: str, kind: pa.DataType) -> str:
    column = quoted(name)
    total = f"{_AGGREGATES[query.aggregate]}({column})"
    if query.aggregate == "sum":  # DuckDB sums whole numbers into 128 bits, which Arrow has as decimals
        total = f"CAST({total} AS {'BIGINT' if pa.types.is_integer(kind) else 'DOUBLE'})"
    return f"{total} AS {column}"


def _extremes(name: str) -> str:
    low, high = extremes_of(name)
    return f"min({quoted(name)}) AS {quoted(low)}, max({quoted(name)}) AS {quoted(high)}"


def _ties_of(query: Select) -> tuple[str, ...]:
    """What orders rows of one key and time: events may share both."""
    unordered = query.every_ms is not None and query.aggregate != "last"
    return ("boot", "seq", "pos") if is_reading(query.measurement) and not unordered else ()


def _newest(query: Select, ties: str) -> str:
    if not query.latest:
        return ""
    # The maximum reads two columns only; the rows themselves are then picked by key and time.
    text = " SEMI JOIN (SELECT key, max(window_start) AS window_start FROM rows GROUP BY key) AS n"
    text += " USING (key, window_start)"
    if ties:
        order = ", ".join(f"{c} DESC" for c in ties.strip(", ").split(", "))
        text += f" QUALIFY row_number() OVER (PARTITION BY key ORDER BY {order}) = 1"
    return text


def _order(query: Select, ties: str, out: Query) -> str:
    way = " DESC" if query.newest_first else ""
    # Turned round as a whole, so that every store cuts off the same rows of one time.
    columns = ["window_start", "key", *(c for c in ties.strip(", ").split(", ") if c)]
    text = f" ORDER BY {', '.join(f'{c}{way}' for c in columns)}"
    return text if query.limit is None else f"{text} LIMIT {out.value('limit', query.limit)}"
