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
    from models.site import Site
    from simulator.case import Case
    from simulator.logistics.recording import Recorded

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def simulate(
        out: Annotated[
            Path, typer.Option(help="Directory for telemetry, site and truth; with --gallery, the file.")
        ],
        case: Annotated[Path | None, typer.Option(help="The case, a TOML file.")] = None,
        live: Annotated[
            bool, typer.Option("--live", help="Play it through collectors to a broker, at the present time.")
        ] = False,
        mqtt: Annotated[str, typer.Option(help="The broker of --live.")] = "mqtt://127.0.0.1:1883",
        mqtt_user: Annotated[str | None, typer.Option(help="Name at the broker of --live.")] = None,
        speed: Annotated[
            float,
            typer.Option(min=0.1, max=600, help="Simulated seconds a second of --live; over 1 it ends now."),
        ] = 1,
        gallery: Annotated[
            bool,
            typer.Option("--gallery", help="Draw every fault as an operator would see it into one page."),
        ] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    ) -> None:
        """Simulate a unit with whatever goes wrong in it; exit 1 if its truth does not close.

        A case says which unit, which weather, how long and what goes wrong; ready ones lie in examples/cases,
        docs/simulator.md has every key. The directory gets telemetry.parquet for `hearthline replay`, the
        site/ that it belongs to, and truth_*.parquet and truth_faults.json beside them.

        Example: hearthline simulate --case examples/cases/heat_leak.toml --out run

        With --live: hearthline simulate --case examples/cases/heat_leak.toml --out run --live --mqtt
        mqtt://127.0.0.1:1883

        With --gallery: hearthline simulate --gallery --out faults.html
        """
        from hearthline.cli import UsageError

        if gallery == (case is not None):
            raise UsageError(
                "expected either --case FILE or --gallery, got " + ("both" if case else "neither")
            )
        if case is None:
            _draw(out)
        elif live:
            _play(case, out, mqtt, mqtt_user, speed, as_json=as_json)
        else:
            _run(case, out, as_json=as_json)


def _run(case: Path, out: Path, *, as_json: bool) -> None:
    """Simulate into files."""
    from hearthline.cli import UsageError
    from simulator.logistics.yards import YardEmptyError
    from simulator.network.hydraulics import NetworkError
    from simulator.simulate import run

    read = _read(case, out)
    try:
        with _progress() as progress:
            done = run(read, out, progress=progress)
    except (NetworkError, YardEmptyError) as error:
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
    _closed(closes=done.closes)


def _play(case: Path, out: Path, mqtt: str, user: str | None, speed: float, *, as_json: bool) -> None:
    """Simulate live."""
    from hearthline.cli import UsageError
    from hearthline.simulating_live import Live, live_start_ms, play

    try:
        summary = play(
            _read(case, out, begin_ms=lambda hours: live_start_ms(hours, speed)), out,
            Live(mqtt, speed, user),
            lambda line: typer.echo(line, err=True),
        )  # fmt: skip
    except OSError as error:
        raise UsageError(f"{out}: expected a directory that can be written, got: {error}") from error
    typer.echo(
        json.dumps(summary)
        if as_json
        else f"{summary['steps']:,} simulated steps of {summary['devices']:,} devices, "
        f"{summary['waiting']:,} messages still waiting; the truth is in {out}"
    )
    _closed(closes=summary["closes"])


def _draw(out: Path) -> None:
    """Draw the page of all faults."""
    from hearthline.cli import UsageError

    try:
        from simulator.gallery import draw
    except ModuleNotFoundError as error:
        raise UsageError(
            f"gallery: expected {error.name} to be installed (pip install 'hearthline[gallery]')"
        ) from error
    try:
        with _progress() as progress:
            count = draw(out, progress=progress)
    except OSError as error:
        raise UsageError(f"{out}: expected a file that can be written, got: {error}") from error
    typer.echo(f"{count} kinds of faults, all simulated, in {out}")


def _closed(*, closes: bool) -> None:
    if not closes:
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


def _read(path: Path, out: Path | None = None, *, begin_ms: Callable[[float], int] | None = None) -> Case:
    """The case in a file; a site that it names lies beside it."""
    from hearthline.cli import UsageError
    from models.site_files import SiteError
    from simulator.case import CaseError, parse
    from simulator.network.hydraulics import NetworkError

    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: expected a readable file of UTF-8 text, got: {error}") from error
    try:
        return parse(
            str(path),
            text,
            lambda name: _site(path.parent / name, out),
            read_text=lambda name: (path.parent / name).read_text(encoding="utf-8-sig"),
            begin_ms=begin_ms,
        )
    except (CaseError, SiteError, NetworkError) as error:
        raise UsageError(str(error)) from error


def _site(path: Path, out: Path | None) -> Site:
    """The site in a directory; OSError where there is none, so that the case's line can be named."""
    from hearthline.cli import UsageError
    from hearthline.site_dir import read_site

    try:
        if out is not None and path.resolve() == (out / "site").resolve():
            raise OSError(f"expected a directory other than the run's own {out / 'site'}, got {path}")
        return read_site(path)
    except ValueError as error:
        raise OSError(f"expected the name of a directory, got: {error}") from error
    except UsageError as error:
        raise OSError(str(error).removeprefix("site: ")) from error


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
