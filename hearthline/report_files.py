"""Reports as CSV, XLSX and JSON, and the other side's files read."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from models.contract_periods import PeriodLine
from models.contract_report import ContractLine, Difference, MonthlyReport

__all__ = ["LARGEST_BYTES", "ReportFileError", "differences_bytes", "monthly_bytes", "read_table"]

LARGEST_BYTES: Final = 50_000_000
_MOST_ROWS: Final = 1_000_000
_FORMULA: Final = re.compile(r"^[=+\-@\t\r\n＝＋－＠]")


class ReportFileError(ValueError):
    """A file that cannot be read as a table; says where, what was expected and what came."""


def monthly_bytes(report: MonthlyReport, shape: str) -> bytes:
    """The monthly report as a file: "csv", "xlsx" or "json"."""
    columns = list(ContractLine.model_fields)
    lines = [line.model_dump() for line in report.contracts]
    if shape == "json":
        return _json(report.model_dump())
    if shape == "csv":
        return _csv(columns, lines)
    about = [{"what": k, "value": v} for k, v in {"form": report.form, "month": report.month,
             "until_ms": report.until_ms, **report.totals.model_dump()}.items()]  # fmt: skip
    left_out = [each.model_dump() for each in report.not_counted]
    return _xlsx(
        {
            "contracts": (columns, lines),
            "totals": (["what", "value"], about),
            "not counted": (["contract", "refused", "reason"], left_out),
            "periods": (list(PeriodLine.model_fields), [each.model_dump() for each in report.periods]),
        }
    )


def differences_bytes(found: Sequence[Difference], shape: str) -> bytes:
    """A list of differences as a file: "csv", "xlsx" or "json"."""
    columns, lines = list(Difference.model_fields), [each.model_dump() for each in found]
    if shape == "json":
        return _json({"differences": lines})
    return _csv(columns, lines) if shape == "csv" else _xlsx({"differences": (columns, lines)})


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode() + b"\n"


def _csv(columns: Sequence[str], lines: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(line[c]) for c in columns] for line in lines)
    return text.getvalue().encode("utf-8-sig")  # spreadsheets take a file without the mark for another code


def _cell(value: Any) -> Any:
    """Text that a spreadsheet would take for a formula begins with an apostrophe."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def _xlsx(sheets: Mapping[str, tuple[Sequence[str], Sequence[Mapping[str, Any]]]]) -> bytes:
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    for name, (columns, lines) in sheets.items():
        sheet = book.create_sheet(name)
        sheet.freeze_panes = "B2"
        sheet.append(list(columns))
        for line in lines:
            sheet.append([_cell(line[c]) for c in columns])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV, XLSX or JSON file as text by column; the first sheet of a workbook.

    Raises
    ------
    ReportFileError
        It is no such file, or has no header.
    """
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= LARGEST_BYTES else b""
    except OSError as error:
        msg = f"{path}: expected a file that can be read: {error.strerror}"
        raise ReportFileError(msg) from error
    if size > LARGEST_BYTES:
        msg = f"{path}: expected at most {LARGEST_BYTES} bytes, got {size}"
        raise ReportFileError(msg)
    if data[:2] == b"PK":
        return _from_xlsx(path, data)
    if data.lstrip()[:1] in (b"{", b"["):
        return _from_json(path, data)
    return _from_csv(path, data)


def _from_csv(path: Path, data: bytes) -> list[dict[str, str]]:
    for code in ("utf-8-sig", "gb18030"):  # the latter is what spreadsheets in China write
        try:
            text = data.decode(code)
        except UnicodeDecodeError:
            continue
        reader = csv.reader(io.StringIO(text, newline=""))
        try:
            return _rows(path, list(reader))
        except csv.Error as error:
            msg = f"{path}:{reader.line_num}: expected comma-separated values: {error}"
            raise ReportFileError(msg) from error
    msg = f"{path}: expected text in UTF-8 or GB 18030, got bytes of neither"
    raise ReportFileError(msg)


def _from_json(path: Path, data: bytes) -> list[dict[str, str]]:
    try:
        read = json.loads(data)
    except ValueError as error:
        msg = f"{path}: expected JSON: {error}"
        raise ReportFileError(msg) from error
    rows = read
    if isinstance(read, dict):
        rows = next((read[k] for k in ("contracts", "tickets", "differences") if k in read), None)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        msg = f"{path}: expected a list of objects, or one under contracts or tickets"
        raise ReportFileError(msg)
    return [{str(k): _text(v) for k, v in row.items()} for row in rows]


def _from_xlsx(path: Path, data: bytes) -> list[dict[str, str]]:
    from openpyxl import load_workbook

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
        if unpacked > 10 * LARGEST_BYTES:
            msg = (
                f"{path}: expected a workbook of at most {10 * LARGEST_BYTES} bytes unpacked, got {unpacked}"
            )
            raise ReportFileError(msg)
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        sheet = book.worksheets[0]
        rows = [[_text(v) for v in row] for row in sheet.iter_rows(max_row=_MOST_ROWS, values_only=True)]
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, IndexError) as error:
        if isinstance(error, ReportFileError):
            raise
        msg = f"{path}: expected an XLSX workbook: {error}"
        raise ReportFileError(msg) from error
    return _rows(path, rows)


def _rows(path: Path, lines: Sequence[Sequence[str]]) -> list[dict[str, str]]:
    filled = [line for line in lines if any(cell.strip() for cell in line)]
    if not filled:
        msg = f"{path}: expected a header with contract or ticket, got an empty file"
        raise ReportFileError(msg)
    header = [cell.strip().lstrip("'").lower() for cell in filled[0]]
    return [
        dict(zip(header, (c.strip().removeprefix("'") for c in line), strict=False)) for line in filled[1:]
    ]


def _text(value: Any) -> str:
    return "" if value is None else str(value)
