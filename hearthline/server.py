"""The embedded server: broker, ingest, journal, pipelines, store and board in one process."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final

from alerts.channels.siren import Broker
from alerts.rules import RuleSet
from dashboards.board import create_app
from dashboards.serve import BindError, BoardServer
from hearthline.alerting import Alerting, Doings
from hearthline.audit import AuditLog
from hearthline.cli import UsageError
from hearthline.entering import Entries
from hearthline.housekeeping import Housekeeping
from hearthline.metrics import Figure, Metrics
from hearthline.owning import announce, own
from hearthline.retrying import DeadLetterRetry
from hearthline.server_health import HoldBack, ServerHealth, Sources
from hearthline.threads import share_fairly
from hearthline.timing import TimedCheckpoints, WatchedSink
from ingest.broker import EmbeddedBroker
from ingest.clock import wall_clock
from ingest.door import Door, DoorFiles, Rules
from ingest.endpoint import Endpoint
from ingest.messages import ClockMode
from ingest.service import Ingest
from ingest.stages import StageLog
from ingest.status import Meter
from journal.protocol import JournalError
from journal.sqlite import SqliteJournal
from models.site import Site
from store import restate
from store.duckdb_series import DuckdbSeries
from store.protocol import StoreError
from streams.core.checkpoint import CheckpointError
from streams.runtime.local import LocalRuntime
from streams.runtime.sqlite_checkpoints import SqliteCheckpoints

__all__ = ["JOURNAL_FILE", "SERIES_FILE", "Server", "ServerConfig"]

JOURNAL_FILE: Final = "journal.sqlite3"
SERIES_FILE: Final = "series.duckdb"
CHECKPOINTS_FILE: Final = "checkpoints.sqlite3"
AUDIT_FILE: Final = "audit.jsonl"
_STOP_S: Final = 30.0
_SAY_AFTER_S: Final = 2.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """What a server is to do.

    Attributes
    ----------
    data_dir : Path
        Made when there is none; one server owns it at a time.
    site : Site
    clock : callable
        Wall or simulated time. [ms UTC]
    clock_mode : ClockMode
        What a stream's now is made of.
    broker : Endpoint or int
        A broker, or the port of one inside this process (0 takes a free one).
    host, port
        Where the board listens.
    simulated : bool
        Whether the telemetry is made up; every page says so.
    checkpoint_s : float
        Between two checkpoints: what a crash has computed again. [s]
    most_behind : int
        Records of the journal whose results may wait before ingest holds back.
    pki : Path or None
        Certificates of devices: with them the broker inside has a door for devices, with TLS.
    door_host, door_port
        Where that door is.
    rules : RuleSet
        Which alarms matter, and whom they go to.
    """

    data_dir: Path
    site: Site
    clock: Callable[[], int]
    clock_mode: ClockMode = ClockMode.WALL
    broker: Endpoint | int = 1883
    host: str = "127.0.0.1"
    port: int = 8080
    simulated: bool = False
    checkpoint_s: float = 30.0
    most_behind: int = 100_000
    pki: Path | None = None
    door_host: str = "127.0.0.1"
    door_port: int = 8883
    rules: RuleSet = field(default_factory=RuleSet)


class Server:
    """Everything of the embedded mode, started and stopped together.

    Starting takes what can be in use (directory, ports) before anything runs;
    what is in use is a UsageError.

    Parameters
    ----------
    config : ServerConfig
    say : callable
        Told what takes long at the stop.
    """

    def __init__(self, config: ServerConfig, say: Callable[[str], None] = _log.warning):
        self.config = config
        self._say = say
        self._stack = ExitStack()
        self._stop = threading.Event()
        self._failure = ""
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise

    def _open(self) -> None:
        config = self.config
        own(config.data_dir, self._stack)
        try:
            self.journal = SqliteJournal(config.data_dir / JOURNAL_FILE, config.clock)
            self._stack.callback(self.journal.close)
            checkpoints = SqliteCheckpoints(config.data_dir / CHECKPOINTS_FILE)
            self._stack.callback(checkpoints.close)
            there = (config.data_dir / SERIES_FILE).exists()
            self.store = DuckdbSeries(config.data_dir / SERIES_FILE)
            self._stack.callback(self.store.close)
            if self.store.behind(checkpoints.offsets()):
                # Covered first: a start that ends here is begun anew by the next one.
                self.journal.cover(checkpoints.offsets(), "a checkpoint")
                _log.warning(
                    "%s %s: checkpoints that go on from what it held are put aside, and every stream is "
                    "computed anew from the journal",
                    config.data_dir / SERIES_FILE,
                    "was never told of its checkpoints, as an older copy" if there else "is not there",
                )
                checkpoints.clear()
            for seen in (self.store.progress(), checkpoints.offsets()):
                self.journal.cover(seen, "the store or a checkpoint")
        except (JournalError, StoreError, CheckpointError) as error:
            raise UsageError(str(error)) from error
        self._metrics = Metrics("server", self._figures)
        self._checkpoints = TimedCheckpoints(
            checkpoints, self._metrics.duration("hearthline_checkpoint_seconds")
        )
        self._sink = WatchedSink(self.store, self._metrics.duration("hearthline_store_write_seconds"))
        self.alerting = Alerting(
            config.data_dir, config.site, config.rules, self.journal, self.store, self._now
        )
        self._stack.callback(self.alerting.close)
        self.runtime = LocalRuntime(
            self.journal,
            self.alerting.sink(self._sink),
            self._checkpoints,
            answer=partial(restate.answer, self.store),
            checkpoint_every_s=config.checkpoint_s,
        )
        self.broker: EmbeddedBroker | None = None
        if isinstance(config.broker, int):
            try:
                self.broker = EmbeddedBroker(config.broker, door=self._door())
            except ValueError as error:
                raise UsageError(f"pki: {error}") from error
        self.stages = StageLog()
        self.stages.begin({stream: last for stream, (last, _) in self.journal.streams().items()})
        self.hold = HoldBack(
            lambda: None if self.runtime.status.state == "starting" else self._behind(), config.most_behind
        )
        self.health = ServerHealth(self._sources(), wall_clock)
        self.token = secrets.token_urlsafe(32)
        self._runtime_thread = threading.Thread(target=self._run_runtime, name="runtime", daemon=True)

    def _door(self) -> Door | None:
        config = self.config
        if config.pki is None:
            return None
        return Door(
            DoorFiles.of(config.pki),
            Rules(config.site),
            AuditLog(config.data_dir / AUDIT_FILE, config.clock),
            host=config.door_host,
            port=config.door_port,
        )

    @property
    def door_url(self) -> str:
        """Where devices of elsewhere connect; empty without a door."""
        door = self.broker.door if self.broker is not None else None
        return f"mqtts://{door.host}:{door.port}" if door is not None else ""

    def _sources(self) -> Sources:
        return Sources(
            store=self.store,
            sink=self._sink,
            checkpoints=self._checkpoints,
            runtime=self.runtime,
            stages=self.stages,
            hold=self.hold,
            broker=self.broker,
            mqtt_url=self.mqtt_url if self.broker is None else "",
            wall_clock=self.config.clock_mode is ClockMode.WALL,
            clock=self.config.clock,
            failure=lambda: self._failure,
            journal=lambda: self.journal.condition,
            alerts=self.alerting.part,
        )

    def _figures(self) -> Iterable[Figure]:
        return chain(self.health.figures(), self.alerting.figures())

    def _behind(self) -> int:
        """Records of the journal whose results are not stored."""
        done = self.runtime.offsets()
        stand_still = self.runtime.status.standing  # they would hold back all others
        return sum(
            max(0, last - done.get(stream, -1))
            for stream, last in self.stages.tails.items()
            if stream not in stand_still
        )

    def start(self) -> None:
        """Start every part; returns when the board answers."""
        config = self.config
        share_fairly()
        try:
            endpoint = self._start_broker()
            self.ingest = Ingest(
                self.journal,
                config.site,
                endpoint,
                config.clock,
                clock_mode=config.clock_mode,
                meter=Meter(self.stages, self._metrics.duration("hearthline_journal_append_seconds")),
                no_room=self.hold,
            )
            self.health.ingest = self.ingest
            retry = DeadLetterRetry(
                self.store, self.journal, self.ingest, config.site, config.clock, config.clock_mode
            )
            app = create_app(
                self.store,
                config.site,
                self._now,
                self.status,
                Doings(
                    retry,
                    self.alerting,
                    Entries(config.site, self.journal, self.ingest, self._now, config.clock_mode),
                ),
                simulated=config.simulated,
                tour=config.simulated,
                token=self.token,
                probes=self,
            )
            self.board = BoardServer(app, config.host, config.port)
            self.health.board_url = self.board.url
            self._stack.callback(self.board.stop)
        except (BindError, OSError, ValueError) as error:
            self.close()
            told = error.strerror if isinstance(error, OSError) else None  # without its number
            raise UsageError(told or str(error)) from error
        self._start_alerting()
        self._runtime_thread.start()
        self.ingest.start()
        housekeeping = Housekeeping(self.store, self.journal, config.site.retention_days, self._now)
        housekeeping.start()
        self._stack.callback(housekeeping.stop)
        self.board.start()
        self._announce()

    def _start_broker(self) -> Endpoint:
        if self.broker is None:
            assert isinstance(self.config.broker, Endpoint)
            return self.config.broker
        self.broker.start()
        self._stack.callback(self.broker.stop)
        return Endpoint.parse(self.broker.url, *(self.broker.login or ()))

    def _start_alerting(self) -> None:
        if self.broker is not None:
            broker = Broker(self.broker.url, *(self.broker.login or ("", "")), says_why=False)
        else:
            assert isinstance(self.config.broker, Endpoint)
            at = self.config.broker
            broker = Broker(str(at), at.username or "", at.password or "", at.tls_context)
        try:
            self.alerting.start(broker, self.board.url)
        except UsageError:
            self.close()
            raise
        self._stack.callback(self.alerting.stop)

    def _announce(self) -> None:
        """Tell commands on this machine who owns the directory; token and login allow changes."""
        said: dict[str, Any] = {"url": self.board.url, "token": self.token}
        if self.broker is not None:
            username, password = self.broker.login or (None, None)
            said["mqtt"] = {"url": self.broker.url, "username": username, "password": password}
        announce(self.config.data_dir, said, self._stack)

    def _now(self) -> int:
        """The site's now: the clock's, or on the data clock the newest of any stream. [ms UTC]"""
        if self.config.clock_mode is ClockMode.DATA:
            return max(self.runtime.status.now_ms.values(), default=0)
        return self.config.clock()

    def _run_runtime(self) -> None:
        try:
            self.runtime.run(self._stop)
        except BaseException as error:
            self._failure = f"{type(error).__name__}: {error}"
            raise

    @property
    def mqtt_url(self) -> str:
        """Where collectors connect."""
        return self.broker.url if self.broker is not None else str(self.config.broker)

    def idle(self) -> bool:
        """Whether everything that has come is journalled, computed and stored."""
        return self.ingest.status.queued == 0 and not any(self.runtime.status.lag.values())

    def status(self) -> dict[str, Any]:
        """Health, ledger and counts of rows, as `hearthline status` prints them."""
        return {"simulated": self.config.simulated, **self.health.status()}

    def components(self) -> list[Mapping[str, Any]]:
        """State and detail of each part."""
        return self.health.components()

    def metrics(self) -> bytes:
        """Every figure, in Prometheus' text format."""
        return self._metrics.text()

    def close(self) -> None:
        """Stop cleanly: what came is journalled, computed, stored and checkpointed."""
        try:
            self.drain()
        except Exception:  # not a second wish to stop, which ends at once
            self._stop.set()
            self._stack.close()
            raise
        self._stack.close()

    def drain(self) -> None:
        """Stop taking messages, and let the streams take and store what ingest journalled last.

        Bounded; what takes longer than two seconds is said, and what is left at the end too.
        """
        if hasattr(self, "ingest"):
            with self._saying(lambda: f"{self.ingest.status.queued:,} messages to journal"):
                self.ingest.stop()
        if not self._runtime_thread.is_alive():
            self._stop.set()
            return
        with self._saying(lambda: f"{self._behind():,} records to compute and store"):
            self._catch_up()
            self._stop.set()
            self._runtime_thread.join(_STOP_S)
        if self._runtime_thread.is_alive() or self._behind():
            self._say(f"stopped with {self._behind():,} records not stored: the next start goes on from them")

    @contextmanager
    def _saying(self, what: Callable[[], str]) -> Iterator[None]:
        """While this takes long, say every two seconds what it waits for."""
        done = threading.Event()

        def say() -> None:
            while not done.wait(_SAY_AFTER_S):
                self._say(f"stopping: {what()}; at most {_STOP_S:.0f} s")

        teller = threading.Thread(target=say, name="stopping", daemon=True)
        teller.start()
        try:
            yield
        finally:
            done.set()
            teller.join()

    def _catch_up(self) -> None:
        until = time.monotonic() + _STOP_S
        while time.monotonic() < until and self._runtime_thread.is_alive():
            done, stand_still = self.runtime.offsets(), self.runtime.status.standing
            behind = any(
                done.get(stream, -1) < last
                for stream, (last, _) in self.journal.streams().items()
                if stream not in stand_still
            )
            if self._failure or self.runtime.status.state == "degraded" or not behind:
                return
            time.sleep(0.05)
