"""`hearthline report`: what is reported upward, and how it differs from the other side's file."""

from __future__ import annotations

import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from hearthline.cli import UsageError
from hearthline.series_source import DataDir, Url, fail, source

if TYPE_CHECKING:
    from models.contract_report import MonthlyReport

_MONTH: Final = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")


class Shape(StrEnum):
    """How a report is written."""

    CSV = "csv"
    XLSX = "xlsx"
    JSON = "json"


Month = Annotated[str, typer.Option(help="The month, YYYY-MM in the site's time zone.")]
Out = Annotated[Path | None, typer.Option(help="File to write instead of standard output.")]


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Reports of contracts. Example: hearthline report monthly --month 2026-01 --data-dir data",
    )
    app.add_typer(group, name="report")

    @group.command()
    def monthly(
        month: Month,
        data_dir: DataDir = None,
        url: Url = None,
        shape: Annotated[Shape | None, typer.Option("--format", help="By the file's name without.")] = None,
        out: Out = None,
        site: Annotated[
            Path | None, typer.Option(help="Site directory; its rules judge quarter and year.")
        ] = None,
        *,
        as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    ) -> None:
        """Write a month of contracts as CSV, XLSX or JSON; every form has the same columns.

        Example: hearthline report monthly --month 2026-01 --data-dir hearthline-data --out january.xlsx
        """
        from hearthline.report_files import monthly_bytes

        chosen = _shape(Shape.JSON if as_json else shape, out)
        report = _report(_checked(month), data_dir, url, site)
        _write(monthly_bytes(report, chosen), out)

    @group.command()
    def differences(
        month: Month,
        other: Annotated[Path, typer.Option(help="The other side's CSV, XLSX or JSON file.")],
        data_dir: DataDir = None,
        url: Url = None,
        tolerance_kg: Annotated[int, typer.Option(min=0, help="What is no difference.")] = 0,
        shape: Annotated[Shape | None, typer.Option("--format", help="By the file's name without.")] = None,
        out: Out = None,
        *,
        as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    ) -> None:
        """List where the other side's file differs: by ticket where it has tickets, else by contract.

        Example: hearthline report differences --month 2026-01 --other mine.xlsx --data-dir hearthline-data
        """
        from hearthline.report_files import ReportFileError, differences_bytes, read_table
        from models.contract_report import compare, compare_tickets

        chosen = _shape(Shape.JSON if as_json else shape, out)
        try:
            theirs = read_table(other)
        except ReportFileError as error:
            msg = f"--other: {error}"
            raise UsageError(msg) from error
        columns = {name for row in theirs for name in row}
        if not columns & {"contract", "ticket"}:
            got = ", ".join(sorted(columns)) or "no rows"
            msg = f"--other: expected a column contract or ticket, got {got}"
            raise UsageError(msg)
        if "ticket" in columns:
            found = compare_tickets(_tickets(_checked(month), data_dir, url), theirs, tolerance_kg)
        else:
            found = compare(_report(_checked(month), data_dir, url), theirs, tolerance_kg)
        _write(differences_bytes(found, chosen), out)

    @group.command()
    def schema() -> None:
        """Print the JSON Schema of the monthly report.

        Example: hearthline report schema
        """
        import json

        from models.contract_report import MonthlyReport

        typer.echo(json.dumps(MonthlyReport.model_json_schema(), ensure_ascii=False, indent=1))


def _checked(month: str) -> str:
    if not _MONTH.fullmatch(month):
        msg = f"--month: expected a month as YYYY-MM, got {month[:40]!r}"
        raise UsageError(msg)
    return month


def _shape(given: Shape | None, out: Path | None) -> Shape:
    if given is not None:
        chosen = given
    else:
        ending = "" if out is None else out.suffix.removeprefix(".").lower()
        if ending and ending not in set(Shape):
            msg = f"--out: expected a name that ends in .csv, .xlsx or .json, or --format too, got {out}"
            raise UsageError(msg)
        chosen = Shape(ending) if ending else Shape.CSV
    if chosen is Shape.XLSX and out is None:
        msg = "--format xlsx: expected --out FILE too, got none"
        raise UsageError(msg)
    return chosen


def _report(month: str, data_dir: Path | None, url: str | None, site: Path | None = None) -> MonthlyReport:
    from hearthline.site_dir import open_site
    from models.contract_report import monthly_report
    from models.fulfilment_forecast import rules_of
    from store.protocol import Select

    rules = None if site is None else rules_of(open_site(site))
    with source(data_dir, url) as select:
        rows = select(Select("fulfilment", latest=True)).to_pylist()
    report = monthly_report(rows, month, rules)
    if not report.contracts and not report.not_counted:
        fail(f"month {month}: expected contracts with results, got none")
    return report


def _tickets(month: str, data_dir: Path | None, url: str | None) -> dict[str, tuple[str, int | None]]:
    """Contract and net mass of every ticket of the month's contracts."""
    from store.protocol import Select

    with source(data_dir, url) as select:
        keys = select(Select("fulfilment", fields=("contract", "month"), latest=True)).to_pylist()
        trips = select(Select("trip", latest=True)).to_pylist()
    mine = {row["contract"] for row in keys if row["month"] == month}
    found: dict[str, tuple[str, int | None]] = {}
    for trip in trips:
        if trip.get("contract") not in mine:
            continue
        for ticket, mass in (("origin_ticket", "loaded_kg"), ("destination_ticket", "received_kg")):
            if trip.get(ticket):
                kg = trip.get(mass)
                found[trip[ticket]] = (trip["contract"], None if kg is None else round(kg))
    return found


def _write(data: bytes, out: Path | None) -> None:
    if out is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    part = out.with_name(f"{out.name}.part")  # so that a file under its name is a whole one
    try:
        part.write_bytes(data)
        part.replace(out)
    except OSError as error:
        fail(f"--out: expected a file that can be written: {error}")
    typer.echo(f"{out}: {len(data):,} bytes", err=True)
