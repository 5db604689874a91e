"""`hearthline board`: the live board of distributed mode, which only reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from hearthline.settings import Settings
    from store.protocol import SeriesStore

__all__ = ["register"]

_RECOUNT_S = 30.0
_ASK_S: Final = 5.0
_PATIENCE_S: Final = 2.0  # somebody waits before the page


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def board(
        site: Annotated[Path | None, typer.Option(help="Site directory.")] = None,
        influx: Annotated[str | None, typer.Option(help="InfluxDB 2, http(s)://host:port.")] = None,
        port: Annotated[int | None, typer.Option(help="Port on loopback; 0 takes any free one.")] = None,
        config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
    ) -> None:
        """Show what workers wrote to InfluxDB, and how they fare; nothing can be changed here.

        It listens on loopback only: other machines reach it through a proxy that has TLS and logins.

        Example: hearthline board --site site --influx http://127.0.0.1:8086
        """
        from hearthline.settings import load_settings

        _serve(load_settings({"site": site, "influx_url": influx, "port": port}, config))


def _serve(settings: Settings) -> None:
    from dashboards.board import create_app
    from dashboards.serve import BindError, BoardServer
    from hearthline.cli import UsageError
    from hearthline.commands.worker import open_influx
    from hearthline.site_dir import open_site
    from hearthline.stopping import stop_on_signals
    from ingest.clock import wall_clock

    if settings.site is None:
        raise UsageError("site: expected a site directory in --site or HEARTHLINE_SITE, got none")
    known = open_site(settings.site)
    stop = stop_on_signals()
    store = open_influx(settings, patience_s=_PATIENCE_S)
    try:
        server = BoardServer(
            create_app(store, known, wall_clock, _status(store, str(settings.influx_url))),
            settings.host,
            settings.port,
        )
    except BindError as error:
        store.close()
        raise UsageError(str(error)) from error
    try:
        server.start()
        typer.echo(f"board    http://{settings.host}:{server.port}")
        stop.wait()
    finally:
        server.stop()
        store.close()


def _status(store: SeriesStore, url: str) -> Callable[[], Mapping[str, Any]]:
    """What can be known here, looked at now and then: the store, and what other processes said in it."""
    import time

    from hearthline.health import ledger_totals
    from hearthline.parts_told import parts_elsewhere
    from ingest.clock import wall_clock
    from models.wording import listed, reported
    from store.protocol import StoreError

    last: dict[str, Any] = {"components": [], "ledger": {}, "rows": {}}
    counted = asked = float("-inf")
    elsewhere: list[dict[str, Any]] = []

    def status() -> Mapping[str, Any]:
        nonlocal counted, asked, elsewhere
        if time.monotonic() - asked < _ASK_S:
            return last
        asked = time.monotonic()
        try:
            if asked - counted >= _RECOUNT_S:
                last.update(ledger=ledger_totals(store), rows=store.counts())
                counted = asked
            elsewhere = parts_elsewhere(store, wall_clock())
            component = {"name": "store", "state": "ok", "detail": listed([url])}
        except StoreError as error:
            component = {"name": "store", "state": "degraded", "detail": reported(error)}
        last["components"] = [component, *elsewhere]
        return last

    return status
