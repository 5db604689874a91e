"""Tables from CSV text, with the place of every fault."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from models.site_cells import shown
from models.site_table import Column, Fault, Report, Row, Table

__all__ = ["read_csv"]


def read_csv(name: str, file: str, columns: tuple[Column, ...], text: str, report: Report) -> Table:
    """Read a CSV file with a header; its first column names a row.

    Parameters
    ----------
    name : str
        Name of the table.
    file : str
        Name of the file, for faults.
    columns : tuple of Column
        What it may hold, in any order.
    text : str
    report : Report
        Takes the faults and warnings.

    Returns
    -------
    Table
        Every row that has as many cells as the header.
    """
    table = Table(name, file, columns[0].name)
    lines = list(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    records = _records(lines)
    try:
        header = [cell.strip() for cell in next(records, (1, []))[1]]
        present = _header(table, header, columns, report)
        index = {column.name: i for i, column in present}
        table.place = lambda row, column: (
            row.line,
            _cell_position(lines[row.line - 1], index.get(column, 0)),
        )
        if present:
            _rows(table, records, len(header), present, report)
    except _BrokenRecordError as error:
        table.complete = table.whole = False
        report.faults.append(Fault(file, error.line, 1, f"expected CSV: {error}"))
    return table


class _BrokenRecordError(Exception):
    """A record that is no CSV; nothing after it can be read."""

    def __init__(self, line: int, message: str):
        super().__init__(message)
        self.line = line


def _records(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line that it begins on."""
    reader = csv.reader(lines, strict=True)
    end = 0
    try:
        for cells in reader:
            yield end + 1, cells
            end = reader.line_num
    except csv.Error as error:
        raise _BrokenRecordError(end + 1, str(error)) from error


def _header(
    table: Table, header: list[str], columns: tuple[Column, ...], report: Report
) -> list[tuple[int, Column]]:
    """Index and column of each known column, in the file's order."""
    known = {column.name: column for column in columns}
    present: dict[str, tuple[int, Column]] = {}
    if not known.keys() & set(header):
        message = f"expected a header of {', '.join(known)}, got {shown(','.join(header))}"
        report.faults.append(Fault(table.file, 1, 1, message))
        table.complete = table.whole = False
        return []
    for i, name in enumerate(header):
        at = 1 + sum(len(h) + 1 for h in header[:i])
        if name in present:
            report.faults.append(Fault(table.file, 1, at, f"{name}: expected the column once, got it again"))
        elif name in known:
            present[name] = (i, known[name])
        else:
            report.warnings.append(Fault(table.file, 1, at, f"unknown column {shown(name)} is not read"))
    for column in columns:
        if column.required and column.name not in present:
            message = f"{column.name}: expected this column, the header has none"
            report.faults.append(Fault(table.file, 1, 1, message))
            table.complete = table.complete and column.name != table.key
            table.whole = False
    return list(present.values())


def _rows(
    table: Table,
    records: Iterator[tuple[int, list[str]]],
    width: int,
    present: list[tuple[int, Column]],
    report: Report,
) -> None:
    plan = [(i, column.name, column.read.text, column.required) for i, column in present]
    key_at = next((i for i, column in present if column.name == table.key), None)
    for line, cells in records:
        if not any(cell and not cell.isspace() for cell in cells):
            continue
        if key_at is not None:
            key = cells[key_at].strip() if key_at < len(cells) else ""
            table.named.add(key)
            table.complete = table.complete and bool(key)
        if len(cells) != width:
            table.whole = False
            message = f"expected {width} cells as in the header, got {len(cells)}"
            report.faults.append(Fault(table.file, line, 1, message))
            continue
        row = Row(line, len(table.rows))
        for i, name, read, required in plan:
            cell = cells[i].strip()
            if cell:
                try:
                    row.values[name] = read(cell)
                except ValueError as error:
                    report.cell(table, row, name, str(error))
            elif required:
                report.cell(table, row, name, "expected a value, got an empty cell")
        table.rows.append(row)


def _cell_position(line: str, index: int) -> int:
    """Character, from 1, at which cell `index` of a line begins."""
    quoted = False
    for at, character in enumerate(line):
        if index == 0:
            return at + 1
        quoted ^= character == '"'
        index -= character == "," and not quoted
    return len(line.rstrip("\r\n")) + 1
