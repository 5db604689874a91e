"""Runs a server in the foreground until it is told to stop."""

from __future__ import annotations

import logging
import threading

import typer

from hearthline.alerting import load_rules
from hearthline.cli import UsageError
from hearthline.server import Server, ServerConfig
from hearthline.settings import Settings
from hearthline.site_dir import open_site
from hearthline.stopping import stop_on_signals
from ingest.clock import wall_clock
from ingest.messages import ClockMode

__all__ = ["serve", "up_config"]

_CHECK_S = 10.0
_SAY_EVERY_S = 1.0


def up_config(settings: Settings, mqtt_port: int) -> ServerConfig:
    """What `hearthline up` runs; UsageError when something is missing."""
    if settings.site is None:
        raise UsageError("site: expected a site directory in --site or HEARTHLINE_SITE, got none")
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(message)s")
    if settings.pki is None and settings.door_host != "127.0.0.1":
        raise UsageError(
            f"door_host: expected --pki with the certificates of devices to listen on {settings.door_host}, "
            "got none: hearthline pki init makes it"
        )
    site = open_site(settings.site)
    return ServerConfig(
        data_dir=settings.data_dir,
        site=site,
        rules=load_rules(settings.site, site),
        clock=wall_clock,
        clock_mode=ClockMode(settings.clock),
        broker=settings.endpoint() if settings.mqtt else mqtt_port,
        pki=settings.pki,
        door_host=settings.door_host,
        door_port=settings.door_port,
        host=settings.host,
        port=settings.port,
        checkpoint_s=settings.checkpoint_s,
        most_behind=settings.most_behind,
    )


def serve(config: ServerConfig, *, check: bool) -> None:
    """Run a server until Ctrl-C or SIGTERM; with `check` only see whether it comes up well.

    A part that fails for good ends the process with exit code 1, for its
    supervisor to start anew; one that is degraded is said and waited for.
    """
    stop = stop_on_signals()
    server = Server(config, say=lambda line: typer.echo(line, err=True))
    try:
        server.start()
        typer.echo(f"board    {server.board.url}")
        typer.echo(f"broker   {server.mqtt_url}")
        if server.door_url:
            typer.echo(f"devices  {server.door_url}")
        typer.echo(f"data     {config.data_dir.resolve()}")
        if check:
            _check(server, stop)
        else:
            _watch(server, stop)
    finally:
        server.close()


def _troubles(server: Server) -> dict[str, str]:
    """What is said of parts that are not ok, once where several say it, by what stays the same meanwhile."""
    found: dict[str, str] = {}
    for part in server.components():
        if part["state"] != "ok":
            what = f"{part['state']}: {part.get('reason', part['detail'])}"
            found.setdefault(what, f"{part['name']} {part['state']}: {part['detail']}")
    return found


def _check(server: Server, stop: threading.Event) -> None:
    troubles: dict[str, str] = {}
    for _ in range(int(_CHECK_S / 0.2)):
        troubles = _troubles(server)
        if not troubles or stop.wait(0.2):
            break
    for trouble in troubles.values():
        typer.echo(f"hearthline: {trouble}", err=True)
    if troubles:
        raise typer.Exit(1)
    typer.echo("ok")


def _watch(server: Server, stop: threading.Event) -> None:
    said: set[str] = set()
    while not stop.wait(_SAY_EVERY_S):
        troubles = {
            name: told for name, told in _troubles(server).items() if not name.startswith("starting: ")
        }
        for told in (told for name, told in troubles.items() if name not in said):
            typer.echo(told, err=True)
        if said and not troubles:
            typer.echo("all parts ok again", err=True)
        said = set(troubles)
        if any(name.startswith("failed: ") for name in troubles):
            raise typer.Exit(1)
