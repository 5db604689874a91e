"""`hearthline ingest`: the front door of distributed mode."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hearthline.stopping import stop_on_signals

if TYPE_CHECKING:
    from hearthline.ingest_health import IngestHealth
    from hearthline.settings import Settings
    from ingest.service import Ingest
    from ingest.status import IngestStatus, Meter
    from journal.kafka import KafkaJournal

__all__ = ["register"]

_SAY_EVERY_S = 10.0
_CHECK_S = 10.0
_KAFKA_S = 30.0
_PARTS_S = 5.0


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def ingest(
        site: Annotated[Path | None, typer.Option(help="Site directory.")] = None,
        mqtt: Annotated[
            str | None, typer.Option(help="Broker, mqtt://host:port or mqtts://host:port.")
        ] = None,
        kafka: Annotated[str | None, typer.Option(help="Kafka's bootstrap servers.")] = None,
        clock: Annotated[str | None, typer.Option(help="wall, or data for recorded telemetry.")] = None,
        group: Annotated[
            str | None, typer.Option(help="Share the load with other ingests of this group (Mosquitto).")
        ] = None,
        client_id: Annotated[str | None, typer.Option(help="Name of the broker's session; fixed.")] = None,
        config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
        health_file: Annotated[Path | None, typer.Option(help="Touched while all is well.")] = None,
        metrics_port: Annotated[
            int | None, typer.Option(help="Port for /health, /ready and /metrics; 0 takes a free one.")
        ] = None,
        check: Annotated[bool, typer.Option("--check", help="Try broker and Kafka once, then end.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Status lines as JSON.")] = False,
    ) -> None:
        """Take telemetry from an MQTT broker and append it to Kafka, for workers to read.

        The broker's login comes from HEARTHLINE_MQTT_USER and HEARTHLINE_MQTT_PASSWORD (or a file,
        HEARTHLINE_MQTT_PASSWORD_FILE); Kafka's in the same way from HEARTHLINE_KAFKA_USER and
        HEARTHLINE_KAFKA_PASSWORD.

        Example: hearthline ingest --site site --mqtt mqtt://127.0.0.1:1883 --kafka 127.0.0.1:9092
        """
        from hearthline.cli import UsageError
        from hearthline.ingest_health import IngestHealth
        from hearthline.probing import answering
        from hearthline.settings import load_settings
        from ingest.clock import wall_clock

        flags = {
            "site": site, "mqtt": mqtt, "kafka": kafka, "clock": clock, "metrics_port": metrics_port
        }  # fmt: skip
        settings = load_settings(flags, config)
        if settings.site is None:
            raise UsageError("site: expected a site directory in --site or HEARTHLINE_SITE, got none")
        settings.endpoint()
        logging.basicConfig(level=settings.log_level.upper(), format="%(levelname)s %(message)s")
        if check:  # its own answer says what is wrong, in one line
            logging.getLogger("hearthline.kafka").setLevel(logging.CRITICAL)
            logging.getLogger("ingest").setLevel(logging.CRITICAL)
        health = IngestHealth(wall_clock)
        service, journal = _build(
            settings, group, client_id, health.meter, patience_s=_CHECK_S / 2 if check else _KAFKA_S
        )
        health.ingest = service
        try:
            if check:
                _check(service, settings.kafka, as_json=as_json)
            else:
                with (
                    answering(health, settings.metrics_host, settings.metrics_port),
                    _telling(health, settings),
                ):
                    _serve(service, health_file, as_json=as_json)
        finally:
            journal.close()


def _build(
    settings: Settings, group: str | None, client_id: str | None, meter: Meter, patience_s: float
) -> tuple[Ingest, KafkaJournal]:
    from hearthline.site_dir import open_site
    from ingest.clock import wall_clock
    from ingest.messages import ClockMode
    from ingest.service import Ingest
    from journal.kafka import KafkaJournal

    assert settings.site is not None
    journal = KafkaJournal(settings.kafka, timeout_s=patience_s, config=settings.kafka_login())
    service = Ingest(
        journal,
        open_site(settings.site),
        settings.endpoint(),
        wall_clock,
        clock_mode=ClockMode(settings.clock),
        # Members of a group need sessions of their own, each the same after a restart.
        client_id=client_id
        or (f"hearthline-ingest-{socket.gethostname()}" if group else "hearthline-ingest"),
        share_group=group,
        meter=meter,
        say_quiet=True,
    )
    return service, journal


@contextmanager
def _telling(health: IngestHealth, settings: Settings) -> Iterator[None]:
    """Say by Kafka how it fares: a worker keeps that for boards, as ingest has no login at the store."""
    from hearthline.parts_relayed import PartsByKafka
    from hearthline.parts_told import PartsTold, process_name
    from ingest.clock import wall_clock
    from journal.kafka import KafkaJournal
    from journal.kafka_log import PARTS

    name = process_name("ingest")
    journal = KafkaJournal(
        settings.kafka, PARTS, timeout_s=_PARTS_S, config=settings.kafka_login(), partition=0
    )
    try:
        with PartsTold(health, PartsByKafka(journal, name), name, wall_clock):
            yield
    finally:
        journal.close()


def _say(status: IngestStatus, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(status)))
        return
    refused = sum(status.refused.values())
    counts = f"{status.journalled:,} messages journalled, {refused:,} refused, {status.rate_per_s:,.0f}/s"
    typer.echo(f"{status.state}: {counts}{f': {status.detail}' if status.detail else ''}")


def _check(service: Ingest, kafka: str, *, as_json: bool) -> None:
    """Exit 1 unless broker and journal answer soon."""
    service.start()
    try:
        deadline = time.monotonic() + _CHECK_S
        while time.monotonic() < deadline and not (service.ready and service.status.state == "ok"):
            time.sleep(0.1)
        ready, status = service.ready, service.status
    finally:
        service.stop()
    if not ready and not status.troubles.get("journal"):
        silent = f"journal {kafka}: expected Kafka to answer within {_CHECK_S:g} s, got no answer"
        detail = "; ".join(filter(None, (status.detail, silent)))
        troubles = {**status.troubles, "journal": silent}
        status = replace(status, state="degraded", detail=detail, troubles=troubles)
    _say(status, as_json=as_json)
    if status.state != "ok" or not ready:
        raise typer.Exit(1)


def _serve(service: Ingest, health_file: Path | None, *, as_json: bool) -> None:
    """Work until told to stop; say how it fares now and then, and whenever that changes."""
    stop = stop_on_signals()
    service.start()
    said, state = -_SAY_EVERY_S, ""
    try:
        while not stop.wait(0.5):
            status = service.status
            if health_file and status.state == "ok":
                health_file.touch()
            if status.state != state or time.monotonic() - said >= _SAY_EVERY_S:
                _say(status, as_json=as_json)
                said, state = time.monotonic(), status.state
    finally:
        service.stop()
