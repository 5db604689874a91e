"""`hearthline up`: the server on a real site, embedded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def up(
        site: Annotated[Path | None, typer.Option(help="Site directory.")] = None,
        data_dir: Annotated[Path | None, typer.Option(help="Journal, results and checkpoints.")] = None,
        mqtt: Annotated[
            str | None, typer.Option(help="Broker by URL; without it one inside this process, on port 1883.")
        ] = None,
        clock: Annotated[str | None, typer.Option(help="wall, or data for recorded telemetry.")] = None,
        port: Annotated[int | None, typer.Option(help="Port of the board; 0 takes a free one.")] = None,
        host: Annotated[str | None, typer.Option(help="Loopback address of the board.")] = None,
        mqtt_port: Annotated[int, typer.Option(help="Port of the broker inside; 0 takes a free one.")] = 1883,
        pki: Annotated[
            Path | None,
            typer.Option(help="Certificates (hearthline pki): opens the broker inside for devices."),
        ] = None,
        door_host: Annotated[str | None, typer.Option(help="Address of that door; needs --pki.")] = None,
        checkpoint_s: Annotated[
            float | None, typer.Option(help="Seconds between checkpoints, 30 unless set.")
        ] = None,
        config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
        check: Annotated[
            bool, typer.Option("--check", help="Start, say whether all is well, and end.")
        ] = False,
    ) -> None:
        """Run broker, ingest, operators, store and live board on a site, in one process.

        It goes on while broker or store are away, says so, and resumes where it
        stopped. Ctrl-C stops cleanly.

        Example: hearthline up --site site --data-dir hearthline-data
        """
        from hearthline.serving import serve, up_config
        from hearthline.settings import load_settings

        flags = {
            "site": site, "data_dir": data_dir, "mqtt": mqtt, "clock": clock, "port": port, "host": host,
            "checkpoint_s": checkpoint_s, "pki": pki, "door_host": door_host,
        }  # fmt: skip
        settings = load_settings(flags, config)
        serve(up_config(settings, mqtt_port), check=check)
