"""The command line: finds the commands and turns known errors into one line."""

from __future__ import annotations

import sys
from importlib import import_module
from pkgutil import iter_modules
from typing import Annotated

import typer

import hearthline
from hearthline import commands

__all__ = ["UsageError", "build", "main"]


class UsageError(Exception):
    """Wrong usage or configuration: one line that says what was expected, what came and where."""


def _version(value: bool) -> None:
    if value:
        typer.echo(f"hearthline {hearthline.__version__}")
        raise typer.Exit


def build() -> typer.Typer:
    """Assemble the program; each module of `hearthline.commands` has ``register(app)`` and imports lazily."""
    app = typer.Typer(
        name="hearthline",
        help="A streaming monitor for coal-fired district heating and the logistics that feed it.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )

    @app.callback()
    def root(
        _version_flag: Annotated[
            bool,
            typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit."),
        ] = False,
    ) -> None:
        pass

    for module in sorted(m.name for m in iter_modules(commands.__path__)):
        import_module(f"hearthline.commands.{module}").register(app)
    return app


def main() -> None:
    """Run the command line: exit 0 done, 1 failed, 2 wrong usage or configuration."""
    try:
        # Not standalone, an exit code comes back as the value; nothing else does.
        sys.exit(build()(standalone_mode=False))
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except (typer.TyperException, UsageError) as error:
        told = error.format_message() if isinstance(error, typer.TyperException) else str(error)
        # Typer's error for no command at all is the help itself.
        print(told if told.startswith("Usage:") else f"hearthline: {told}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
