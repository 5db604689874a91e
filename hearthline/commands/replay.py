"""`hearthline replay`: history through the same pipeline."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def replay(
        files: Annotated[list[Path], typer.Argument(help="JSON lines (plain, .gz, .zst) or Parquet.")],
        site: Annotated[Path, typer.Option(help="Site directory.")],
        out: Annotated[Path, typer.Option(help="Directory for the results, one Parquet file a measurement.")],
        as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    ) -> None:
        """Run recorded messages through every operator, offline, as fast as it goes.

        Example: hearthline replay day.jsonl.zst --site site --out results
        """
        from hearthline.cli import UsageError
        from hearthline.replaying import replay as run
        from hearthline.site_dir import open_site
        from ingest.clock import wall_clock
        from journal.replay_files import ReplayError
        from store.protocol import StoreError

        registry = open_site(site)
        try:
            with _progress() as progress:
                done = run(files, registry, out, latest_ms=wall_clock(), progress=progress)
        except ReplayError as error:
            raise UsageError(str(error)) from error
        except OSError as error:
            raise UsageError(f"--out: expected a writable directory, got {out}: {error.strerror}") from error
        except StoreError as error:
            typer.echo(f"hearthline: {error}", err=True)
            raise typer.Exit(1) from error
        summary = {
            "messages": done.messages, "dead_letters": done.dead_letters,
            "seconds": done.seconds, "rows": done.rows, "failing": done.failing,
        }  # fmt: skip
        if as_json:
            typer.echo(json.dumps(summary))
        else:
            typer.echo(
                f"{done.messages:,} messages in {done.seconds:.1f} s, "
                f"{done.dead_letters:,} dead letters, into {out}"
            )
            for measurement, rows in sorted(done.rows.items()):
                typer.echo(f"  {measurement:<16} {rows:>12,} rows")
        for line in done.failing:
            typer.echo(f"hearthline: {line}", err=True)
        if done.failing:
            raise typer.Exit(1)


@contextmanager
def _progress() -> Iterator[Callable[[float, int], None]]:
    """A progress bar, on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda _share, _messages: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(
        TextColumn("replay"), BarColumn(), TextColumn("{task.fields[messages]:,} messages"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as bar:  # fmt: skip
        task = bar.add_task("replay", total=1.0, messages=0)
        yield lambda share, messages: bar.update(task, completed=share, messages=messages)
