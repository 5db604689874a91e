"""Tables from TOML text, with the place of every fault."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final

from models.site_cells import shown
from models.site_table import Column, Fault, Report, Row, Table

__all__ = ["read_toml"]

_SINGLE: Final = "site"
_TOML_ERROR: Final = re.compile(r"(.*?) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)
_TOML_TABLE: Final = re.compile(r"\s*\[(\[?)\s*([A-Za-z0-9_-]+)\s*\]?\]\s*(#.*)?$")
_TOML_KEY: Final = re.compile(r"""(\s*)["']?([A-Za-z0-9_-]+)["']?\s*=""")


def read_toml(
    file: str,
    specs: Mapping[str, tuple[Column, ...]],
    text: str,
    report: Report,
    single: tuple[str, ...] = (_SINGLE,),
) -> dict[str, Table]:
    """Read a TOML file of single tables, such as ``site``, and arrays of tables.

    Parameters
    ----------
    file : str
        Name of the file, for faults.
    specs : mapping of str to tuple of Column
        Keys of each table; the first names an entry.
    text : str
    report : Report
        Takes the faults and warnings.
    single : tuple of str
        Tables that stand once; all but ``site`` may be left out.

    Returns
    -------
    dict of str to Table
        One for each of `specs`, whatever the file holds.
    """
    tables = {name: Table(name, file, columns[0].name) for name, columns in specs.items()}
    try:
        data = tomllib.loads(text.removeprefix("\ufeff").replace("\r\n", "\n"))
    except tomllib.TOMLDecodeError as error:
        report.faults.append(_syntax_fault(file, text, str(error)))
        for table in tables.values():
            table.complete = table.whole = False
        return tables
    places = _Places(text)
    for name in sorted(data.keys() - tables.keys()):
        message = f"unknown {'table' if isinstance(data[name], dict | list) else 'key'} {name!r} is not read"
        report.warnings.append(Fault(file, *places.of(name, 0, ""), message))
    for name, table in tables.items():
        entries = _entries(table, data, places, report, single=name in single)
        for entry in entries:
            _read_entry(table, entry, specs[name], places, report)
    return tables


def _entries(
    table: Table, data: dict[str, Any], places: _Places, report: Report, *, single: bool
) -> list[dict[str, Any]]:
    """Entries of one table; none, and a fault, where it has another shape."""
    name = table.name
    found = [data.get(name)] if single and (name == _SINGLE or name in data) else data.get(name, [])
    table.place = lambda row, column: places.of(name, row.number, column)
    if isinstance(found, list) and all(isinstance(entry, dict) for entry in found):
        return found
    table.complete = table.whole = False
    form = f"[{name}]" if single else f"[[{name}]]"
    came = shown(data[name]) if name in data else "none"
    report.faults.append(Fault(table.file, *places.of(name, 0, ""), f"{name}: expected {form}, got {came}"))
    return []


def _read_entry(
    table: Table, entry: dict[str, Any], columns: tuple[Column, ...], places: _Places, report: Report
) -> None:
    number = len(table.rows)
    row = Row(places.of(table.name, number, "")[0], number)
    table.rows.append(row)
    key = entry.get(table.key)
    table.named.add(str(key))
    table.complete = table.complete and key not in (None, "")
    for column in columns:
        if column.name in entry:
            try:
                row.values[column.name] = column.read.toml(entry[column.name])
            except ValueError as error:
                report.cell(table, row, column.name, str(error))
        elif column.required:
            report.cell(table, row, column.name, "expected this key, got none")
    for name in sorted(entry.keys() - {column.name for column in columns}):
        where = places.of(table.name, number, name)
        report.warnings.append(Fault(table.file, *where, f"unknown key {name!r} is not read"))


def _syntax_fault(file: str, text: str, message: str) -> Fault:
    found = _TOML_ERROR.fullmatch(message)
    if found is None or found[2] is None:
        return Fault(file, text.count("\n") + 1, 1, f"expected TOML: {found[1] if found else message}")
    return Fault(file, int(found[2]), int(found[3]), f"expected TOML: {found[1]}")


class _Places:
    """Where tables and keys of a TOML text stand: the parser of the standard library does not say."""

    def __init__(self, text: str):
        self._places: dict[tuple[str, int, str], tuple[int, int]] = {}
        counts: dict[str, int] = {}
        table, number, closing = "", 0, ""
        for line, content in enumerate(text.split("\n"), 1):
            if closing:
                closing = "" if closing in content else closing
                continue
            if found := _TOML_TABLE.match(content):
                table = found[2]
                number = counts.get(table, -1) + 1
                counts[table] = number
                self._places[table, number, ""] = (line, 1 + content.index("["))
            elif found := _TOML_KEY.match(content):
                self._places.setdefault((table, number, found[2]), (line, 1 + len(found[1])))
                closing = next((q for q in ('"""', "'''") if content.count(q) % 2), "")

    def of(self, table: str, number: int, key: str) -> tuple[int, int]:
        """Line and column of a key, or else of its table, or else of the key that holds it."""
        for where in ((table, number, key), (table, number, ""), ("", 0, table)):
            if where in self._places:
                return self._places[where]
        return 1, 1
