"""The desk of distributed mode: alarms of what workers say on Kafka, in one process of its own."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from alerts.channels.siren import Broker
from alerts.rules import RuleSet
from dashboards.api import ActionRefusedError
from dashboards.board import create_app
from dashboards.serve import BindError, BoardServer
from hearthline.alerting import Alerting, Doings
from hearthline.alerts_intake import Intake
from hearthline.cli import UsageError
from hearthline.health import Part, Watch
from hearthline.metrics import Figure, Metrics, labelled
from hearthline.owning import announce, own
from hearthline.parts_told import PartsTold, process_name
from hearthline.store_looks import StoreLooks
from ingest.clock import wall_clock
from journal.kafka_log import ACTIONS, CONDITIONS, KafkaLog, MissingTopicError
from journal.protocol import JournalError
from models.results import SinkError
from models.site import Site
from models.wording import NOTHING, reported, worded
from store.protocol import SeriesStore
from store.records import RecordsError

__all__ = ["AlertsConfig", "AlertsService"]

_RETRY_S: Final = 2.0
_STOP_S: Final = 10.0
_log = logging.getLogger("hearthline.alerts")


@dataclass(frozen=True, slots=True)
class AlertsConfig:
    """What the desk stands on.

    Attributes
    ----------
    data_dir : Path
        Keeps the records; one process owns it at a time.
    site : Site
    rules : RuleSet
    kafka : str
        Bootstrap servers.
    login : mapping of str to str
        How a client proves itself to them, in librdkafka's words.
    data_clock : bool
        Whether now is the streams' own, as for recorded telemetry, or the wall's.
    broker : Broker or None
        For sirens whose channel names none.
    host, port
        Where the board listens.
    records, password : str or None
        URL of a database in place of a file in `data_dir`, and its password.
    """

    data_dir: Path
    site: Site
    rules: RuleSet
    kafka: str
    login: Mapping[str, str] = field(default_factory=dict, repr=False)
    data_clock: bool = False
    broker: Broker | None = None
    host: str = "127.0.0.1"
    port: int = 8081
    records: str | None = None
    password: str | None = field(default=None, repr=False)


class _NoIngest:
    """Dead letters are retried, and entries made, where ingest is."""

    def retry(self, _dead_letter: str) -> None:
        raise ActionRefusedError(worded("dead letters cannot be retried here: no ingest in this process"))

    def enter(self, _asked: Mapping[str, Any]) -> str:
        raise ActionRefusedError(worded("nothing can be entered here: no ingest in this process"))


_NO_INGEST: Final = _NoIngest()


class AlertsService:
    """Reads conditions, keeps alarms, tells people, and answers a board on which something can be done.

    What is in use (directory, port) or wrong (a channel) is a UsageError before anything runs. Kafka or a
    store that is away is said, and waited for.

    Parameters
    ----------
    config : AlertsConfig
    store : SeriesStore
        Holds stored conditions, and takes alarms as rows.
    """

    def __init__(self, config: AlertsConfig, store: SeriesStore):
        self.config = config
        self._store = store
        self._stack = ExitStack()
        self._stop = threading.Event()
        self._waits = "Kafka"
        self._failure = ""
        self.process = process_name("alerts")
        self._looks = StoreLooks(store, self.process)
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise

    def _open(self) -> None:
        config = self.config
        own(config.data_dir, self._stack)
        self._feed = KafkaLog(config.kafka, CONDITIONS, login=dict(config.login))
        self._stack.callback(self._feed.close)
        deeds = KafkaLog(config.kafka, ACTIONS, login=dict(config.login))
        self._stack.callback(deeds.close)
        self._deeds = deeds
        self.alerting = Alerting(
            config.data_dir, config.site, config.rules, deeds, self._store, self._now,
            records=config.records, password=config.password,
        )  # fmt: skip
        self._stack.callback(self.alerting.close)
        self.intake = Intake(self._feed, self.alerting.desk, config.rules)
        self._watch = Watch(wall_clock)
        self._metrics = Metrics("alerts", self._figures)
        self.token = secrets.token_urlsafe(32)
        self._thread = threading.Thread(target=self._run, name="conditions", daemon=True)
        app = create_app(
            self._store, config.site, self._now, self.status, Doings(_NO_INGEST, self.alerting, _NO_INGEST),
            token=self.token, probes=self,
        )  # fmt: skip
        try:
            self.board = BoardServer(app, config.host, config.port)
        except BindError as error:
            raise UsageError(str(error)) from error
        self._stack.callback(self.board.stop)

    def start(self) -> None:
        """Answer, and go on as soon as Kafka and the store do."""
        self.alerting.prepare(self.config.broker, self.board.url)
        self.board.start()
        announce(self.config.data_dir, {"url": self.board.url, "token": self.token}, self._stack)
        self._thread.start()
        self._stack.enter_context(PartsTold(self, self._store, self.process, wall_clock))

    def _now(self) -> int:
        """The site's now: the wall's, or on the data clock the newest that a worker said. [ms UTC]"""
        return self.intake.now_ms if self.config.data_clock else wall_clock()

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stop.is_set() and not self.alerting.begun:
                self._begin()
            self.intake.run(self._stop)
        except BaseException as error:
            self._failure = f"{type(error).__name__}: {error}"
            raise

    def _begin(self) -> None:
        try:
            self._deeds.bounds()
            self.intake.begin()
            self.alerting.begin(insist=True)
        except MissingTopicError as error:
            self._failure = str(error)
            raise
        except (JournalError, RecordsError, SinkError) as error:
            if self._waits != str(error):
                _log.warning("degraded: %s", error)
            self._waits = str(error)
            self._stop.wait(_RETRY_S)

    # -- what it says of itself ------------------------------------------------------------------

    def _parts(self) -> Sequence[Part]:
        if self._failure:
            failure = reported(self._failure)
            return [Part("conditions", "failed", failure, failure, worded("see the log"))]
        if not self.alerting.begun:
            advice = worded("look at Kafka and the store; what workers say is kept in Kafka meanwhile")
            waits = worded("waits for it")
            return [Part.judged("conditions", [(reported(self._waits), waits, advice)], NOTHING)]
        return [self.intake.part(), self.alerting.part()]

    def components(self) -> list[Mapping[str, Any]]:
        """State and detail of each part."""
        return self._watch.see(self._parts())

    def metrics(self) -> bytes:
        """Every figure, in Prometheus' text format."""
        return self._metrics.text()

    def _figures(self) -> Iterator[Figure]:
        parts = self.components()
        yield Figure("hearthline_start_time_seconds", self._watch.started_ms / 1000)
        if self._watch.ready_s is not None:
            yield Figure("hearthline_ready_seconds", self._watch.ready_s)
        yield from labelled("hearthline_component_ok", {p["name"]: float(p["state"] == "ok") for p in parts})
        yield Figure("hearthline_conditions_total", self.intake.conditions)
        if self.intake.lag is not None:
            yield from labelled("hearthline_lag_records", {"conditions": self.intake.lag})
        yield from self.alerting.figures()

    def status(self) -> dict[str, Any]:
        """Health, that of workers as the store has it, its ledger and rows, looked at now and then."""
        seen = self._looks.status()
        return {**seen, "components": [*self.components(), *seen["components"]]}

    def lag(self) -> dict[str, dict[str, Any]]:
        """Nothing of it is a stage of a message's way."""
        return {}

    def close(self) -> None:
        """Stop cleanly: what came is in the alarms or waits in the records, and the next start goes on."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_S)
        self.alerting.stop()
        self._stack.close()

    def wait(self, stop: threading.Event, say: Callable[[str], None]) -> bool:
        """Until `stop`, say what is not well; whether it goes on, or failed for good."""
        said: set[str] = set()
        while not stop.wait(1.0):
            parts = [p for p in self.components() if p["state"] not in {"ok", "starting"}]
            troubles = {str(p.get("reason", "")): f"{p['name']} {p['state']}: {p['detail']}" for p in parts}
            for reason in troubles.keys() - said:
                say(troubles[reason])
            if said and not troubles:
                say("all parts ok again")
            said = set(troubles)
            if self._failure:
                return False
        return True
