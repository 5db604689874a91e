"""`hearthline query`: results and readings, as text or as files."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Final

import typer

from hearthline.cli import UsageError
from hearthline.client import ServerError, ServerUnreachableError
from hearthline.series_source import DataDir, Url, fail, server, source

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from store.protocol import Select

_TABLE_ROWS: Final = 1000


class Format(StrEnum):
    """How rows are written."""

    TABLE = "table"
    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


Many = list[str] | None


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def query(
        measurement: Annotated[str, typer.Argument(help="reading, device_heat, ledger, dead_letter …")],
        key: Annotated[Many, typer.Option(help="Only this key, such as a device; may be repeated.")] = None,
        key_prefix: Annotated[str, typer.Option(help="Only keys that begin so.")] = "",
        field: Annotated[Many, typer.Option(help="Only this field; may be repeated.")] = None,
        unit: Annotated[Many, typer.Option(help="Only this unit; may be repeated.")] = None,
        region: Annotated[Many, typer.Option(help="Only this region; may be repeated.")] = None,
        since: Annotated[
            str | None, typer.Option("--from", help="First time: ISO 8601 (UTC unless it says) or ms.")
        ] = None,
        until: Annotated[str | None, typer.Option("--to", help="End of the range, itself left out.")] = None,
        limit: Annotated[int | None, typer.Option(min=0, help="At most so many rows.")] = None,
        shape: Annotated[Format, typer.Option("--format", help="How rows are written.")] = Format.TABLE,
        out: Annotated[Path | None, typer.Option(help="File to write instead of standard output.")] = None,
        data_dir: DataDir = None,
        url: Url = None,
        *,
        latest: Annotated[bool, typer.Option("--latest", help="Only the newest row of each key.")] = False,
        newest_first: Annotated[bool, typer.Option("--newest-first", help="Newest rows first.")] = False,
        withdrawn: Annotated[bool, typer.Option("--withdrawn", help="Withdrawn rows too.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="The same as --format jsonl.")] = False,
    ) -> None:
        """Print rows of a measurement.

        Example: hearthline query device_heat --latest --data-dir hearthline-data
        """
        from hearthline.absence import strange_names
        from store.protocol import Select

        notes: list[str] = []
        if as_json:
            shape = Format.JSONL
        if shape is Format.PARQUET and out is None:
            msg = "--format parquet: expected --out FILE too, got none"
            raise UsageError(msg)
        from_ms, to_ms = _time("--from", since), _time("--to", until)
        if from_ms is not None and to_ms is not None and from_ms > to_ms:
            msg = f"--to: expected no time before --from {since}, got {until}"
            raise UsageError(msg)
        asked = Select(
            measurement,
            fields=tuple(field or ()),
            keys=tuple(key or ()),
            key_prefix=key_prefix,
            units=tuple(unit or ()),
            regions=tuple(region or ()),
            from_ms=from_ms,
            to_ms=to_ms,
            latest=latest,
            withdrawn=withdrawn,
            newest_first=newest_first,
            # One more than is shown tells that there are more.
            limit=_TABLE_ROWS + 1 if limit is None and shape is Format.TABLE and out is None else limit,
        )
        with source(data_dir, url) as select:
            table = _answered(select, asked)
            if not table.num_rows:
                _check(measurement, data_dir, url)
                notes = list(strange_names(select, asked, server(data_dir, url)))
        cut = limit is None and shape is Format.TABLE and out is None and table.num_rows > _TABLE_ROWS
        try:
            _write(table.slice(0, _TABLE_ROWS) if cut else table, shape, out)
        except BrokenPipeError:
            # Whoever reads has had enough; keep Python's own flush at the end from complaining.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
        except OSError as error:
            fail(f"--out: expected a file that can be written: {error}")
        for note in notes:
            typer.echo(f"No rows: {note}", err=True)
        if cut:
            typer.echo(f"The first {_TABLE_ROWS} rows; --limit or --format gives more.", err=True)


def _answered(select: Callable[[Select], pa.Table], asked: Select) -> pa.Table:
    """Rows; a field that there is not is wrong usage, whoever refuses it."""
    from hearthline.absence import strange_fields
    from store.protocol import StoreError, StoreUnavailableError

    try:
        return select(asked)
    except (StoreUnavailableError, ServerUnreachableError):
        raise
    except (StoreError, ServerError) as error:
        if asked.fields and strange_fields(select, asked):
            msg = f"--field: {error}"
            raise UsageError(msg) from error
        raise


def _check(measurement: str, data_dir: Path | None, url: str | None) -> None:
    """Tell a measurement without such rows from one that does not exist: UsageError."""
    from hearthline.measurements import measurement_names

    names = measurement_names(data_dir, url)
    if measurement not in names:
        msg = f"expected one of {', '.join(names)}, got {measurement[:80]!r}"
        raise UsageError(msg)


def _time(option: str, text: str | None) -> int | None:
    from store.params import ParameterError, parse_time_ms

    try:
        return None if text is None else parse_time_ms(text)
    except ParameterError as error:
        msg = f"{option}: {error}"
        raise UsageError(msg) from error


def _write(table: pa.Table, shape: Format, out: Path | None) -> None:
    if out is None:
        sys.stdout.flush()
        _write_to(table, shape, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    part = out.with_name(f"{out.name}.part")  # so that a file under its name is a whole one
    with part.open("wb") as file:
        _write_to(table, shape, file)
    part.replace(out)


def _write_to(table: pa.Table, shape: Format, file: IO[bytes]) -> None:
    from store import export

    if shape is Format.TABLE:
        for line in export.text_lines(table) if table.num_rows else ["no rows"]:
            file.write(line.encode() + b"\n")
    elif shape is Format.CSV:
        export.write_csv(table, file)
    elif shape is Format.JSONL:
        export.write_jsonl(table, file)
    else:
        export.write_parquet(table, file)
