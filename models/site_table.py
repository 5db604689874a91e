"""Tables of a site's text files: rows with their places, and the faults found in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from models.site_cells import Reader

__all__ = ["Column", "Fault", "Report", "Row", "Table"]


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One mistake in a site file, or a warning.

    Attributes
    ----------
    file : str
    line, column : int
        Where it is, both from 1; the column counts characters.
    message : str
        What was expected and what came.
    """

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table, or key of a TOML table.

    Attributes
    ----------
    name : str
    read : Reader
    required : bool
        An empty cell is a fault.
    refers : str
        Name of the table whose key it must be; empty for none.
    """

    name: str
    read: Reader
    required: bool = False
    refers: str = ""


@dataclass(slots=True)
class Row:
    """What could be read of one row.

    Attributes
    ----------
    line : int
        Line that it begins on, from 1.
    number : int
        Place among the rows of its table, from 0.
    values : dict
        By column; empty cells are not there.
    bad : set of str
        Columns whose cell is a fault: no further rule looks at them.
    """

    line: int
    number: int
    values: dict[str, Any] = field(default_factory=dict)
    bad: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Table:
    """The rows of one kind of thing.

    Attributes
    ----------
    name, file : str
    key : str
        Column that names a row.
    rows : list of Row
    named : set of str
        Every key that was written, in rows with faults too: who refers to
        these makes no mistake of his own.
    complete : bool
        False if a row has no readable key: a reference to no row may be to that one.
    whole : bool
        False if a row was left out or has a fault.
    place : callable
        Line and column of a row's value.
    """

    name: str
    file: str
    key: str
    rows: list[Row] = field(default_factory=list)
    named: set[str] = field(default_factory=set)
    complete: bool = True
    whole: bool = True
    place: Callable[[Row, str], tuple[int, int]] = lambda row, _: (row.line, 1)


@dataclass(slots=True)
class Report:
    """Faults and warnings found so far."""

    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)

    def cell(self, table: Table, row: Row, column: str, message: str) -> None:
        """Add the fault of one cell; a second one of the same cell would be an echo."""
        table.whole = False
        if column not in row.bad:
            row.bad.add(column)
            self.faults.append(Fault(table.file, *table.place(row, column), f"{column}: {message}"))
