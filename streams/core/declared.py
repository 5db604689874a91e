"""Whether what operators give is of the types that they declared, value by value: what is not is refused.

Nothing is made to fit: no text is read as a number, and no number loses its fraction.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["Declared", "expect_declared", "expect_kept", "expect_whole", "numbers", "texts"]

Odd = Callable[[int, Exception], object]
"""Takes note of the place of a value, or of a row, that is none, and why."""
_PYTHON: Final[Mapping[pa.DataType, tuple[type, ...]]] = {
    pa.string(): (str,), pa.float64(): (float,), pa.bool_(): (bool,),
}  # fmt: skip
"""What needs no closer look at whether it can be told as declared."""
_INT64: Final = pa.int64()
_Placed = tuple[tuple[int, pa.Field], ...]
_NUMERIC: Final = "biuf"
_TEXT: Final = frozenset({str, np.str_})
_KEPT: Final = frozenset({str, int, float, bool, type(None)})


def expect_declared(fields: Mapping[str, Any], declared: Mapping[str, pa.DataType], measurement: str) -> None:
    """ValueError where a row has a field that its operator did not declare, or of another type."""
    unknown = fields.keys() - declared.keys()
    if unknown:
        raise ValueError(f"expected fields of {measurement} that are declared, got {sorted(unknown)}")
    for name, value in fields.items():
        kind = declared[name]
        if type(value) not in _PYTHON.get(kind, ()) and not (type(value) is int and _fits(value, kind)):
            _expect(value, kind, f"{name} of {measurement}")


def _fits(value: int, kind: pa.DataType) -> bool:
    return bool(kind == _INT64 and -(2**63) <= value < 2**63)


def _expect(value: Any, kind: pa.DataType, what: str) -> Any:
    """`value` as a scalar of a type; ValueError where it is none, or has a fraction that would be cut off."""
    try:
        scalar = pa.scalar(value, kind)
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"expected {what} as {kind}, got {value!r:.60}") from error
    if pa.types.is_integer(kind) and scalar.as_py() not in (None, value):
        raise ValueError(f"expected {what} as {kind}, got {value!r:.60}")
    return scalar.as_py()


def numbers(column: Any, n: int, name: str, odd: Odd) -> NDArray[np.float64]:
    """A field of `n` subjects, or one value for all; NaN where it is no number, which `odd` is told."""
    array = np.asarray(column)
    if array.dtype.kind in _NUMERIC:
        return np.asarray(array, dtype=np.float64)
    out = np.full(n, np.nan)
    for at, value in enumerate(np.broadcast_to(_objects(column), n).tolist()):
        if value is not None:
            try:
                out[at] = _expect(value, pa.float64(), name)
            except ValueError as error:
                odd(at, error)
    return out


def texts(column: Any, n: int, name: str, odd: Odd) -> NDArray[np.object_]:
    """Texts of `n` subjects, or one for all; empty where it is none, which `odd` is told."""
    out = np.empty(n, dtype=object)
    out[:] = _objects(column)
    if {*map(type, out)} <= _TEXT:
        return out
    for at, value in enumerate(out.tolist()):
        if value is not None and not isinstance(value, str):
            odd(at, ValueError(f"expected {name} as text, got {value!r:.60}"))
        out[at] = value if isinstance(value, str) else ""
    return out


def _objects(column: Any) -> NDArray[np.object_]:
    array = np.asarray(column)
    return array if array.dtype == object else np.asarray(column, dtype=object)


def expect_whole(counts: Mapping[str, Sequence[Any]], n: int) -> None:
    """ValueError where there are not `n` whole numbers of each name."""
    for name, column in counts.items():
        if len(column) != n:
            raise ValueError(f"expected {n} of {name}, got {len(column)}")
        for value in column:
            if type(value) is not int and (isinstance(value, bool) or int(value) != value):
                raise ValueError(f"expected {name} as a whole number, got {value!r:.60}")


def expect_kept(columns: Mapping[str, Sequence[Any]], n: int) -> None:
    """ValueError where there are not `n` values of each name, or one is not what JSON can hold."""
    for name, column in columns.items():
        if len(column) != n:
            raise ValueError(f"expected {n} of {name}, got {len(column)}")
        for value in [] if {*map(type, column)} <= _KEPT else column:
            try:
                json.dumps(value)
            except (TypeError, ValueError) as error:
                raise ValueError(f"expected {name} as JSON holds it, got {value!r:.60}") from error


class Declared:
    """What is declared of the columns of tables: their types, and which have a value in every row.

    Parameters
    ----------
    schema : pyarrow.Schema
    """

    def __init__(self, schema: pa.Schema):
        self._schema = schema
        self._placed: dict[tuple[str, ...], _Placed] = {}

    def of(self, table: pa.Table, odd: Odd) -> pa.Table:
        """`table` without the rows of which a value is of another type, of which `odd` is told.

        Columns that are not declared stay as they are; ValueError where one that is lacks.

        Parameters
        ----------
        table : pyarrow.Table
        odd : callable
            Takes the place of a row that is refused, and why.
        """
        schema, columns = table.schema, table.columns
        placed = self._placed.get(tuple(schema.names)) or self._place(schema)
        types, refused = schema.types, dict[int, Exception]()
        for place, field in placed:
            if types[place] != field.type:
                told = _cast(columns[place], field, refused)
                table = table.set_column(place, field, told)
            if not field.nullable and columns[place].null_count:
                for at, value in enumerate(columns[place].to_pylist()):
                    if value is None:
                        refused.setdefault(at, ValueError(f"expected {field.name} in every row, got none"))
        if not refused:
            return table
        for at, why in refused.items():
            odd(at, why)
        return table.filter(pa.array([at not in refused for at in range(table.num_rows)]))

    def _place(self, schema: pa.Schema) -> _Placed:
        """Place and field of each column that is declared."""
        lacking = [name for name in self._schema.names if name not in schema.names]
        if lacking:
            raise ValueError(f"expected columns {lacking}, got {schema.names}")
        placed = tuple((schema.get_field_index(field.name), field) for field in self._schema)
        self._placed[tuple(schema.names)] = placed
        return placed


def _cast(column: pa.ChunkedArray, field: pa.Field, refused: dict[int, Exception]) -> pa.Array:
    told: list[Any] = []
    for at, value in enumerate(column.to_pylist()):
        try:
            told.append(None if value is None else _expect(value, field.type, field.name))
        except ValueError as error:
            told.append(None)
            refused.setdefault(at, error)
    return pa.array(told, field.type)
