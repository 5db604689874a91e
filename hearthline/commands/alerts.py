"""`hearthline alerts`: alarms and messages of distributed mode."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from threading import Event

    from alerts.channels.siren import Broker
    from hearthline.alerts_service import AlertsConfig, AlertsService
    from hearthline.settings import Settings

__all__ = ["register"]

_CHECK_S = 15.0
_RETRY_S = 5.0


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def alerts(
        site: Annotated[
            Path | None, typer.Option(help="Site directory; its alerts.toml are the rules.")
        ] = None,
        kafka: Annotated[str | None, typer.Option(help="Kafka's bootstrap servers.")] = None,
        influx: Annotated[str | None, typer.Option(help="InfluxDB 2, http(s)://host:port.")] = None,
        duckdb: Annotated[
            Path | None, typer.Option(help="DuckDB file of its own in place of InfluxDB.")
        ] = None,
        records: Annotated[
            str | None,
            typer.Option(help="PostgreSQL for the records, postgresql://user@host:port/database."),
        ] = None,
        data_dir: Annotated[
            Path | None, typer.Option(help="Keeps the records: what was told to whom.")
        ] = None,
        mqtt: Annotated[
            str | None, typer.Option(help="Broker for sirens whose channel has no url, mqtt(s)://host:port.")
        ] = None,
        port: Annotated[
            int, typer.Option(min=0, help="Port of its board on loopback; 0 takes a free one.")
        ] = 8081,
        clock: Annotated[str | None, typer.Option(help="wall, or data for recorded telemetry.")] = None,
        config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
        check: Annotated[
            bool, typer.Option("--check", help="Start, say whether all is well, and end.")
        ] = False,
    ) -> None:
        """Make alarms of the conditions that workers put into Kafka, and have people told.

        One such process runs for a site; a second one on the same PostgreSQL waits for its end. Its board,
        at --port, has the Alarms page on which something can be done, and /health, /ready and /metrics;
        `hearthline alarms` finds it by --data-dir. Logins come from the environment as for `hearthline
        worker`; the broker's from HEARTHLINE_MQTT_USER and HEARTHLINE_MQTT_PASSWORD, that of the records
        from HEARTHLINE_RECORDS_PASSWORD. It goes on while Kafka, InfluxDB or a channel is away. Ctrl-C
        stops cleanly.

        Example: hearthline alerts --site site --kafka 127.0.0.1:9092 --influx http://127.0.0.1:8086
        """
        from hearthline.settings import load_settings

        flags = {
            "site": site, "kafka": kafka, "influx_url": influx, "data_dir": data_dir, "mqtt": mqtt,
            "clock": clock, "port": port, "records": records,
        }  # fmt: skip
        raise typer.Exit(_serve(load_settings(flags, config), duckdb, check=check))


def _serve(settings: Settings, duckdb: Path | None, *, check: bool) -> int:
    import logging

    from hearthline.alerting import load_rules
    from hearthline.alerts_service import AlertsConfig, AlertsService
    from hearthline.cli import UsageError
    from hearthline.commands.worker import open_store
    from hearthline.site_dir import open_site
    from hearthline.stopping import stop_on_signals
    from store.protocol import StoreError

    if settings.site is None:
        raise UsageError("site: expected a site directory in --site or HEARTHLINE_SITE, got none")
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(message)s")
    site = open_site(settings.site)
    config = AlertsConfig(
        settings.data_dir, site, load_rules(settings.site, site), settings.kafka, settings.kafka_login(),
        settings.clock == "data", _broker(settings), settings.host, settings.port, settings.records,
        settings.records_password.get_secret_value() if settings.records_password else None,
    )  # fmt: skip
    stop = stop_on_signals()
    if not _answering(config, stop, once=check):
        return 1 if check else 0
    try:
        store = open_store(settings, duckdb)
    except StoreError as error:
        raise UsageError(str(error)) from error
    try:
        service = AlertsService(config, store)
        try:
            service.start()
            typer.echo(f"board    {service.board.url}")
            if check:
                return _checked(service)
            return 0 if service.wait(stop, lambda line: typer.echo(line, err=True)) else 1
        finally:
            service.close()
    finally:
        store.close()


def _answering(config: AlertsConfig, stop: Event, *, once: bool) -> bool:
    """Wait until the database of the records answers and no other desk keeps them; whether it is so.

    A second desk waits here for the end of the first, and goes on where that one stopped.
    """
    from store.records import Records, RecordsError

    said = ""
    while config.records is not None:
        try:
            Records(config.records, config.password, alone=True).close()
        except RecordsError as error:
            if said != str(error):
                said = str(error)
                typer.echo(f"degraded: {said}", err=True)
            if once or stop.wait(_RETRY_S):
                return False
        else:
            break
    return True


def _checked(service: AlertsService) -> int:
    """Whether all is well within a while."""
    import time

    until = time.monotonic() + _CHECK_S
    while True:
        bad = [p for p in service.components() if p["state"] != "ok"]
        if not bad or time.monotonic() > until or any(p["state"] == "failed" for p in bad):
            break
        time.sleep(0.2)
    for part in bad:
        typer.echo(f"hearthline: {part['name']} {part['state']}: {part['detail']}", err=True)
    if not bad:
        typer.echo("ok")
    return 1 if bad else 0


def _broker(settings: Settings) -> Broker | None:
    from alerts.channels.siren import Broker

    if settings.mqtt is None:
        return None
    endpoint = settings.endpoint()  # says what is wrong with it
    return Broker(str(endpoint), endpoint.username or "", endpoint.password or "", endpoint.tls_context)
