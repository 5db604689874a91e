"""What sample operators give of a record's samples, and which of these they cannot give."""

from __future__ import annotations

from functools import cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.frame import telemetry_schema
from streams.core.accepted import Accepted
from streams.core.containing import Failures, in_halves
from streams.core.declared import Declared
from streams.core.operator import SampleOperator

__all__ = ["reading_schema", "sampled"]

IntArray = NDArray[np.int64]
_Part = tuple[pa.Table, IntArray]
_OF_A_MESSAGE = ("boot", "seq", "pos")


@cache
def reading_schema(device_class: str) -> pa.Schema:
    """Columns of readings of a class, all of its measurements among them."""
    of_class = telemetry_schema(device_class)
    header = {n: of_class.field(n) for n in (*_OF_A_MESSAGE, "extra")}
    texts = [pa.field(n, pa.string(), nullable=False) for n in ("key", "unit", "region", "stream", "class")]
    whole = ("window_start", "window_ms", "offset", "received_ms")
    flags = [pa.field(n, pa.bool_(), nullable=False) for n in ("replaces", "late")]
    own = [f for f in of_class if f.name not in {"device", "t", *header}]
    return pa.schema([
        *texts, *(pa.field(n, pa.int64(), nullable=False) for n in whole), *header.values(),
        pa.field("quality", pa.string()), *flags, *own,
    ])  # fmt: skip


@cache
def _declared(device_class: str, columns: tuple[str, ...]) -> Declared:
    """What is declared of a table that has some of the measurements."""
    whole = reading_schema(device_class)
    measured = {*telemetry_schema(device_class).names}
    return Declared(pa.schema([f for f in whole if f.name not in measured or f.name in columns]))


def sampled(operator: SampleOperator, accepted: Accepted, failures: Failures) -> tuple[pa.Table, IntArray]:
    """Rows that an operator gives, and of which of the samples they are.

    A sample of which it cannot give a row, or one with a value of another type than declared, has none: that
    is noted of its device.
    """
    n = accepted.batch.num_rows

    def note(at: int, error: Exception) -> None:
        failures.note(operator.name, accepted.batch.column("device")[at].as_py(), error)

    def compute(of: IntArray) -> _Part:
        table = operator.function(accepted if len(of) == n else accepted.of(of))
        if table.num_rows != len(of):
            raise ValueError(f"expected {len(of)} rows, one a sample, got {table.num_rows}")
        refused: dict[int, Exception] = {}
        declared = _declared(accepted.device_class, tuple(table.column_names))
        table = declared.of(table, refused.setdefault)
        for at, error in refused.items():
            note(int(of[at]), error)
        return table, np.delete(of, list(refused)) if refused else of

    def failed(of: IntArray, error: Exception) -> None:
        for at in of.tolist():
            note(at, error)

    parts: list[_Part] = [part for part in in_halves(np.arange(n), compute, failed) if part is not None]
    if len(parts) == 1:
        return parts[0]
    tables = [table for table, _ in parts]
    places = [of for _, of in parts]
    return pa.concat_tables(tables) if tables else pa.table({}), np.concatenate([*places, np.arange(0)])
