"""`hearthline journal`: what the journal holds, as a recording."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from models.frame import Record

__all__ = ["register"]

_SUFFIXES = (".jsonl", ".gz", ".zst", ".parquet")


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    example = "hearthline journal export --data-dir hearthline-data --out day.jsonl.zst"
    group = typer.Typer(no_args_is_help=True, help=f"The journal. Example: {example}")
    app.add_typer(group, name="journal")

    @group.callback()
    def root() -> None:
        pass

    @group.command()
    def export(
        data_dir: Annotated[Path, typer.Option(help="Data directory of a server, which may be running.")],
        out: Annotated[Path, typer.Option(help="File to write: .jsonl, .gz, .zst or .parquet.")],
        as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    ) -> None:
        """Write the journal in the format that `hearthline replay` reads, so that any run can be replayed.

        Example: hearthline journal export --data-dir hearthline-data --out day.jsonl.zst
        """
        from hearthline.cli import UsageError
        from journal.protocol import JournalError

        if out.suffix not in _SUFFIXES:
            msg = f"--out: expected a name that ends in {', '.join(_SUFFIXES)}, got {out}"
            raise UsageError(msg)
        began = time.perf_counter()
        try:
            lines = _export(data_dir, out)
        except OSError as error:
            msg = f"--out: expected a writable file, got {out}: {error.strerror}"
            raise UsageError(msg) from error
        except JournalError as error:
            typer.echo(f"hearthline: {error}", err=True)
            raise typer.Exit(1) from error
        seconds = round(time.perf_counter() - began, 3)
        if as_json:
            typer.echo(json.dumps({"lines": lines, "seconds": seconds, "out": str(out)}))
        else:
            typer.echo(f"{lines:,} lines in {seconds:.1f} s into {out}")


def _export(data_dir: Path, out: Path) -> int:
    from hearthline.cli import UsageError
    from ingest.clock import wall_clock
    from journal.export import export_lines, places_of, write_recording
    from journal.sqlite import FILE_NAME, SqliteJournal

    path = data_dir / FILE_NAME
    if not path.is_file():
        msg = f"--data-dir: expected a directory with {FILE_NAME}, got {data_dir}"
        raise UsageError(msg)
    journal = SqliteJournal(path, wall_clock, mends=False)
    try:
        records = _watched(journal.scan(), journal.count())
        return write_recording(export_lines(records, places_of(journal)), out)
    finally:
        journal.close()


def _watched(records: Iterator[Record], total: int) -> Iterator[Record]:
    """`records`, with a progress bar on a terminal."""
    if not sys.stderr.isatty():
        yield from records
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(records, "export", total, console=Console(stderr=True), transient=True)
