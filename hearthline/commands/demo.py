"""`hearthline demo`: the whole system on this machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]

_BEGAN = time.monotonic()


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def demo(
        seconds: Annotated[
            float | None, typer.Option("--for", min=1, help="Stop by itself after so many seconds.")
        ] = None,
        speed: Annotated[float, typer.Option(min=0.1, max=600, help="Simulated seconds a second.")] = 30,
        port: Annotated[
            int, typer.Option(min=0, max=65535, help="Port of the board; 0 takes a free one.")
        ] = 8080,
        data_dir: Annotated[
            Path, typer.Option(help="Where everything is kept; a second demo there goes on.")
        ] = Path("hearthline-data/demo"),
        as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    ) -> None:
        """Show the whole system with a simulated unit: broker, collectors, ingest, operators, store, board.

        Everything that it shows is made up, and every page says so.

        Example: hearthline demo --for 60
        """
        from hearthline.demonstration import Demo, demonstrate

        demonstrate(Demo(data_dir, seconds, speed, port, as_json, _BEGAN))
