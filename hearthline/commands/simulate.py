"""`hearthline simulate`: telemetry with known truth."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from simulator.case import Case
    from simulator.logistics.recording import Recorded

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def simulate(
        case: Annotated[Path, typer.Option(help="The case, a TOML file.")],
        out: Annotated[Path, typer.Option(help="Directory for telemetry, its site and the truth.")],
        as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    ) -> None:
        """Simulate a unit with whatever goes wrong in it; exit 1 if its truth does not close.

        Example: hearthline simulate --case leak.toml --out run
        """
        from hearthline.cli import UsageError
        from simulator.logistics.yards import YardEmptyError
        from simulator.simulate import run

        read = _read(case)
        try:
            with _progress() as progress:
                done = run(read, out, progress=progress)
        except YardEmptyError as error:
            raise UsageError(f"{case}: {error}") from error
        except OSError as error:
            raise UsageError(f"{out}: expected a directory that can be written, got: {error}") from error
        closure = done.closure
        worst = max(closure.energy_error, closure.mass_error)
        summary = {
            "simulated": True, "messages": done.messages, "steps": closure.steps, "closes": done.closes,
            "energy_error": closure.energy_error, "mass_error": closure.mass_error,
        }  # fmt: skip
        if done.coal:
            summary |= {
                "trips": done.coal.trips, "tickets": done.coal.tickets, "fixes": done.coal.fixes,
                "books_residual_kg": done.coal.residual_kg,
            }  # fmt: skip
        typer.echo(
            json.dumps(summary)
            if as_json
            else f"{done.messages:,} simulated messages of {closure.steps:,} steps into {out}; "
            f"balances miss at most {worst:.1e} of what passed the plant{_coal(done.coal)}"
        )
        if not done.closes:
            typer.echo(
                "hearthline: expected mass and energy to close to 1e-6 at every step, coal to the kilogram",
                err=True,
            )
            raise typer.Exit(1)


def _coal(coal: Recorded | None) -> str:
    """What to say of coal on the road."""
    if coal is None:
        return ""
    return (
        f"; {coal.trips:,} trips on {coal.tickets:,} tickets with {coal.fixes:,} positions, "
        f"books miss {coal.residual_kg:,} kg"
    )


def _read(path: Path) -> Case:
    """The case in a file; a site that it names lies beside it."""
    from hearthline.cli import UsageError
    from hearthline.site_dir import read_site
    from models.site_files import SiteError
    from simulator.case import CaseError, parse
    from simulator.network.hydraulics import NetworkError

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: expected a readable file of UTF-8 text, got: {error}") from error
    try:
        return parse(
            str(path),
            text,
            lambda site: read_site(path.parent / site),
            read_text=lambda name: (path.parent / name).read_text(encoding="utf-8"),
        )
    except (CaseError, SiteError, NetworkError) as error:
        raise UsageError(str(error)) from error


@contextmanager
def _progress() -> Iterator[Callable[[float], None]]:
    """A progress bar, on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda _share: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("simulate", total=1.0)
        yield lambda share: progress.update(task, completed=share)
