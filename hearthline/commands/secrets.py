"""`hearthline secrets`: the passwords, keys and certificates of the compose stack."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    group = typer.Typer(no_args_is_help=True, help="Secrets of the compose stack.", rich_markup_mode=None)
    app.add_typer(group, name="secrets")
    group.command(name="init")(_init)


def _init(
    name: Annotated[
        list[str],
        typer.Option("--name", help="Name or address of the broker, as devices reach it; several times."),
    ],
    web_name: Annotated[str, typer.Option(help="Name of the board, as people type it.")],
    directory: Annotated[Path, typer.Option("--dir", help="Where the files go.")] = Path("secrets"),
    board_user: Annotated[str, typer.Option(help="Who may look at the board.")] = "operator",
    rotate: Annotated[
        list[str] | None, typer.Option(help="Write this one anew, though it is there; several times.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long certificates hold.")] = 825,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Write every secret that docker-compose.yml names, each of its own, none by default.

    What is there already stays as it is, so that running it again after an upgrade adds what is new. No
    secret is ever printed: who may look at the board finds a password in board_password_of_USER. The
    directory is for your eyes only (0700); the files in it can be read by the services' users.

    Example: hearthline secrets init --name broker.example --name 10.0.0.5 --web-name board.example

    Example: hearthline secrets init --name broker.example --web-name board.example --rotate server
    """
    from hearthline.cli import UsageError
    from hearthline.pki import PkiError
    from hearthline.secret_files import SecretsError, Store, Wanted

    try:
        done = Store(directory).init(Wanted(name, web_name, board_user, days), rotate or [])
    except (SecretsError, PkiError, ValueError) as error:
        raise UsageError(error) from error
    except OSError as error:
        raise UsageError(
            f"--dir: expected a directory that can be written, got {directory}: {error}"
        ) from error
    if as_json:
        typer.echo(json.dumps(asdict(done)))
        return
    for title, entries in (("written", done.written), ("already there", done.kept)):
        if entries:
            typer.echo(f"{title}: {', '.join(entries)}")
    for step in done.next:
        typer.echo(f"then: {step}")
