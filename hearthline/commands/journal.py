"""`hearthline journal`: what the journal holds, as a recording; whether it is sound, and what it lost."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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

    _register_care(group)


@contextmanager
def _said_in_one_line() -> Iterator[None]:
    """What is wrong with a journal in one line, and exit code 1."""
    from journal.protocol import JournalError

    try:
        yield
    except JournalError as error:
        typer.echo(f"hearthline: {error}", err=True)
        raise typer.Exit(1) from error


def _register_care(group: typer.Typer) -> None:
    @group.command()
    def check(
        data_dir: Annotated[Path, typer.Option(help="Data directory of a server, which may be running.")],
        as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    ) -> None:
        """Read the whole journal and say whether every record is as it was written; exit 1 if not.

        It changes nothing. Losses that were noted before are listed; they do not count as faults.

        Example: hearthline journal check --data-dir hearthline-data
        """
        from hearthline.journal_care import checked

        with _said_in_one_line():
            said = checked(data_dir)
        if as_json:
            typer.echo(json.dumps(said))
        else:
            records = "" if said["records"] is None else f", {said['records']:,} records"
            torn = f", a torn end of {said['torn_bytes']:,} bytes" if said["torn_bytes"] else ""
            typer.echo(f"{'sound' if said['sound'] else 'DAMAGED'}: {said['bytes']:,} bytes{records}{torn}")
            for fault in said["faults"]:
                typer.echo(f"  {fault}")
            _show(said["losses"])
        if not said["sound"]:
            raise typer.Exit(1)

    @group.command()
    def recover(
        data_dir: Annotated[Path, typer.Option(help="Data directory that no server uses now.")],
        as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    ) -> None:
        """Mend a damaged journal as a server's start does: built anew from all that can be proved.

        The damaged file is kept beside it as journal.sqlite3.damaged-…; that needs as much room again.

        Example: hearthline journal recover --data-dir hearthline-data
        """
        from hearthline.journal_care import recovered

        with _said_in_one_line():
            said = recovered(data_dir)
        if as_json:
            typer.echo(json.dumps(said))
        else:
            typer.echo(f"{said['records']:,} records")
            _show(said["losses"])

    @group.command()
    def accept(
        data_dir: Annotated[Path, typer.Option(help="Data directory of a server, which may be running.")],
        as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    ) -> None:
        """Say that what the journal has lost is known: `status` is ok again, the notes are kept.

        Example: hearthline journal accept --data-dir hearthline-data
        """
        from hearthline.journal_care import accept as accept_losses

        with _said_in_one_line():
            count = accept_losses(data_dir)
        typer.echo(json.dumps({"accepted": count}) if as_json else f"{count} losses accepted")


def _show(losses: list[dict[str, Any]]) -> None:
    for loss in losses:
        where = f"{loss['stream']} {loss['first_offset']}–{loss['last_offset']}" if loss["stream"] else "file"
        known = ", accepted" if loss["accepted"] else ""
        typer.echo(
            f"  {where}: {loss['records']:,} records, {loss['bytes']:,} bytes: {loss['reason']}{known}"
        )


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
