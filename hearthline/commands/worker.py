"""`hearthline worker`: the operators of distributed mode, over Kafka."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from alerts.rules import FastRule
    from hearthline.settings import Settings
    from hearthline.worker_health import WorkerHealth
    from store.protocol import SeriesStore
    from store.rows import Refusal
    from streams.runtime.faust_settings import WorkerSettings

__all__ = ["open_influx", "open_store", "register"]

_RETRY_S = 5.0


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def worker(
        site: Annotated[
            Path | None, typer.Option(help="Site directory; the fast rules of its alerts.toml are watched.")
        ] = None,
        kafka: Annotated[str | None, typer.Option(help="Kafka's bootstrap servers.")] = None,
        influx: Annotated[str | None, typer.Option(help="InfluxDB 2, http(s)://host:port.")] = None,
        duckdb: Annotated[
            Path | None, typer.Option(help="DuckDB file in place of InfluxDB, for a single worker.")
        ] = None,
        partitions: Annotated[int, typer.Option(min=1, help="Partitions of the topics.")] = 12,
        group: Annotated[
            str, typer.Option(help="Consumer group; state is kept under its name.")
        ] = "hearthline",
        checkpoint_s: Annotated[
            float | None, typer.Option(help="Seconds between checkpoints, 30 unless set.")
        ] = None,
        health_file: Annotated[Path | None, typer.Option(help="Touched while all is well.")] = None,
        metrics_port: Annotated[
            int | None, typer.Option(help="Port for /health, /ready and /metrics; 0 takes a free one.")
        ] = None,
        create_topics: Annotated[
            bool, typer.Option("--create-topics", help="Make the topics that are missing, then end.")
        ] = False,
        replication: Annotated[int, typer.Option(min=1, help="Copies of each new topic.")] = 1,
        clock: Annotated[str | None, typer.Option(help="wall, or data for recorded telemetry.")] = None,
        config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
        check: Annotated[
            bool, typer.Option("--check", help="Try Kafka and the store once, then end.")
        ] = False,
    ) -> None:
        """Run the operators over the frames that ingest put into Kafka, and write results to InfluxDB.

        What is wrong goes to topic conditions, for `hearthline alerts`.
        Several workers of one group share the partitions. The token of InfluxDB comes from
        HEARTHLINE_INFLUX_TOKEN (or a file, HEARTHLINE_INFLUX_TOKEN_FILE), Kafka's login from
        HEARTHLINE_KAFKA_USER and HEARTHLINE_KAFKA_PASSWORD. A worker that can no longer be sure of its
        partitions ends with status 75, for its supervisor to start it again.

        Example: hearthline worker --kafka 127.0.0.1:9092 --influx http://127.0.0.1:8086
        """
        from hearthline.settings import load_settings
        from streams.runtime.faust_settings import WorkerSettings

        flags = {
            "kafka": kafka, "influx_url": influx, "clock": clock, "checkpoint_s": checkpoint_s,
            "metrics_port": metrics_port, "site": site,
        }  # fmt: skip
        settings = load_settings(flags, config)
        worker_settings = WorkerSettings(
            settings.kafka,
            group=group,
            partitions=partitions,
            checkpoint_s=settings.checkpoint_s,
            health_file=health_file,
            login=settings.kafka_login(),
        )
        if create_topics:
            _create(worker_settings, append_time=settings.clock == "wall", replication=replication)
            return
        if check:
            _check(worker_settings, settings, duckdb)
            return
        raise typer.Exit(_serve(worker_settings, settings, duckdb))


def _create(settings: WorkerSettings, *, append_time: bool, replication: int) -> None:
    from hearthline.cli import UsageError
    from streams.runtime.faust_topics import KafkaUnavailableError, TopicError
    from streams.runtime.faust_topics import check_topics as agree
    from streams.runtime.faust_topics import create_topics as make

    try:
        made = make(settings, append_time=append_time, replication=replication)
        agree(settings)
    except KafkaUnavailableError as error:
        typer.echo(f"hearthline: {error}", err=True)
        raise typer.Exit(1) from error
    except TopicError as error:
        raise UsageError(str(error)) from error
    typer.echo(f"made {', '.join(made)}" if made else "all topics are there")


def _check(worker: WorkerSettings, settings: Settings, duckdb: Path | None) -> None:
    """Exit 1 unless Kafka and the store answer."""
    from hearthline.cli import UsageError
    from store.protocol import StoreError
    from streams.runtime.faust_topics import KafkaUnavailableError, TopicError, check_topics

    try:
        check_topics(worker)
        store = open_store(settings, duckdb)
        try:
            store.counts()
        finally:
            store.close()
    except (KafkaUnavailableError, StoreError) as error:
        typer.echo(f"hearthline: {error}", err=True)
        raise typer.Exit(1) from error
    except TopicError as error:
        raise UsageError(str(error)) from error
    typer.echo(f"ok: {worker.partitions} partitions on {worker.kafka}, and the store answers")


def _serve(worker: WorkerSettings, settings: Settings, duckdb: Path | None) -> int:
    from hearthline.cli import UsageError
    from hearthline.condition_feed import ConditionFeed
    from hearthline.probing import answering
    from hearthline.refusals import Refusals
    from hearthline.unheard import outlive_readers
    from hearthline.worker_health import WorkerHealth
    from ingest.clock import wall_clock
    from journal.kafka_log import CONDITIONS, KafkaLog, MissingTopicError
    from journal.protocol import JournalError
    from models.results import SinkUnavailableError
    from store.protocol import StoreError
    from store.restate import answer
    from streams.core.pipeline import Pipeline
    from streams.runtime.faust_partition import Pipelines
    from streams.runtime.faust_program import run_worker
    from streams.runtime.faust_topics import KafkaUnavailableError, TopicError, check_topics

    outlive_readers()
    refusals = Refusals()
    health = WorkerHealth(wall_clock, wall_clock=settings.clock == "wall", refusals=refusals)
    try:
        store = open_store(settings, duckdb, refusals)
    except StoreError as error:
        raise UsageError(str(error)) from error
    refusals.store = store
    probes = ExitStack()
    log = KafkaLog(worker.kafka, CONDITIONS, login=dict(worker.login))
    probes.callback(log.close)
    try:
        feed = ConditionFeed(
            health.sink(store), log, _fast(settings), health.now_ms if settings.clock == "data" else None
        )
        probes.enter_context(answering(health, settings.metrics_host, settings.metrics_port))
        probes.enter_context(_told(worker, health, store))
        while True:
            try:
                check_topics(worker)
                log.bounds()
                break
            except MissingTopicError as error:
                raise UsageError(str(error)) from error
            except (KafkaUnavailableError, JournalError) as error:
                typer.echo(f"degraded: {error}; trying again in {_RETRY_S:g} s", err=True)
                time.sleep(_RETRY_S)
        return run_worker(
            worker,
            Pipelines(Pipeline, Pipeline.restore, partial(answer, store)),
            feed,
            unavailable=(SinkUnavailableError,),
            watch=health.watch,
        )
    except TopicError as error:
        raise UsageError(str(error)) from error
    finally:
        probes.close()
        store.close()


@contextmanager
def _told(worker: WorkerSettings, health: WorkerHealth, store: SeriesStore) -> Iterator[None]:
    """Keep in the store how this worker fares, and what ingests say of themselves in Kafka."""
    from hearthline.parts_relayed import PartsRelay
    from hearthline.parts_told import PartsTold, process_name
    from ingest.clock import wall_clock
    from journal.kafka_log import PARTS, KafkaLog

    log = KafkaLog(worker.kafka, PARTS, login=dict(worker.login))
    try:
        with PartsTold(health, store, process_name("worker"), wall_clock), PartsRelay(log, store, wall_clock):
            yield
    finally:
        log.close()


def _fast(settings: Settings) -> tuple[FastRule, ...]:
    """The fast rules of the site, none without one."""
    from hearthline.alerting import load_fast
    from hearthline.site_dir import open_site

    return () if settings.site is None else load_fast(settings.site, open_site(settings.site))


def open_store(
    settings: Settings, duckdb: Path | None, refused: Callable[[Refusal], None] | None = None
) -> SeriesStore:
    """InfluxDB, or the DuckDB file in its place."""
    if duckdb is None:
        return open_influx(settings, refused)
    from store.duckdb_series import DuckdbSeries

    return DuckdbSeries(duckdb)


def open_influx(
    settings: Settings, refused: Callable[[Refusal], None] | None = None, patience_s: float = 30.0
) -> SeriesStore:
    """The InfluxDB that `settings` name; UsageError when they name none, or no token.

    `refused` is given rows that it refuses for good; without it they are only logged. A call goes on trying a
    server that is away for `patience_s`.
    """
    from hearthline.refusals import Refusals
    from store.influx_series import InfluxSeries

    url, token = settings.influx_login()
    return InfluxSeries(
        url,
        settings.influx_org,
        settings.influx_bucket,
        token,
        readings_bucket=settings.influx_readings_bucket or "",
        refused=refused or Refusals(),
        patience_s=patience_s,
    )
