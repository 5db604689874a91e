"""Alarms of a running server: records, rules, channels and the desk, put together."""

from __future__ import annotations

import logging
import math
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from alerts.action import Action, ActionError, Deed
from alerts.channels import Sender, email, service, siren, webhook
from alerts.condition import Condition, conditions_of
from alerts.desk import Desk
from alerts.messages import Writer, names_of
from alerts.post import Post, unsent
from alerts.rehearsal import fast_conditions
from alerts.rows import ALARM
from alerts.rules import Channel, FastRule, RuleSet, SitePolicy
from alerts.rules_file import FILE, RulesError, Secrets, read_fast, read_rules
from dashboards.api import ActionRefusedError
from hearthline.cli import UsageError
from hearthline.health import Part, Trouble
from hearthline.metrics import Figure, labelled
from hearthline.site_dir import undecodable
from ingest.clock import wall_clock
from journal.protocol import Journal, JournalError
from models.anomaly import ANOMALY, Severity
from models.results import Outputs, SinkError
from models.site import Site
from models.wording import NOTHING, reported, worded
from store.protocol import Select, SeriesStore
from store.records import Records, RecordsError

__all__ = [
    "RECORDS_FILE", "AlertedSink", "Alerting", "Doings", "check_rules", "load_fast", "load_rules",
    "senders_of",
]  # fmt: skip

RECORDS_FILE: Final = "records.sqlite3"
_DAY_MS: Final = 86_400_000
_log = logging.getLogger(__name__)


def load_rules(directory: Path, site: Site, file: Path | None = None) -> RuleSet:
    """The rules of a site directory, or of `file`; none of them tells nobody. Faults are a UsageError."""
    path = directory / FILE if file is None else file
    try:
        text = _rules_text(path, needed=file is not None)
        return read_rules(text, site, Secrets(os.environ, path.parent), path.name)
    except RulesError as error:
        raise UsageError(str(error)) from error


class _OfTheServer(Mapping[str, str]):
    """Variables of the machine that will run the server: each is taken to be set there."""

    def __getitem__(self, name: str) -> str:
        return "set there"

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def check_rules(directory: Path, site: Site | None) -> None:
    """Look at the rules of a site directory before a server does; without a site all but their scopes.

    A secret in a variable is not looked for, since the server has it; one in a file is.

    Raises
    ------
    RulesError
        With every fault that would stop a start.
    UsageError
        If the file is there and cannot be read.
    """
    read_rules(_rules_text(directory / FILE, needed=False), site, Secrets(_OfTheServer(), directory))


def load_fast(directory: Path, site: Site) -> tuple[FastRule, ...]:
    """The fast rules of a site directory, for a process that knows no secret of a channel."""
    try:
        return read_fast(_rules_text(directory / FILE, needed=False), site)
    except RulesError as error:
        raise UsageError(str(error)) from error


def _rules_text(path: Path, *, needed: bool) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        if not needed:
            return ""
        msg = f"rules: expected a readable {path}, got no such file"
        raise UsageError(msg) from error
    except OSError as error:
        msg = f"rules: expected a readable text file {path}, got: {error}"
        raise UsageError(msg) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RulesError([undecodable(path.name, data, error)]) from error


def senders_of(rules: RuleSet, broker: siren.Broker | None) -> dict[str, Sender]:
    """An open way for each channel; one that cannot be is a UsageError."""
    makers: dict[str, Callable[[Channel], Sender]] = {
        "email": email.make, "webhook": webhook.make, "mqtt": lambda channel: siren.make(channel, broker),
    }  # fmt: skip
    made: dict[str, Sender] = {}
    for channel in rules.channels.values():
        try:
            made[channel.id] = makers.get(channel.kind, service.make)(channel)
        except ValueError as error:
            msg = f"{FILE}: channel {channel.id}: {error}"
            raise UsageError(msg) from error
    return made


class AlertedSink:
    """A store that hands conditions on to the desk once it holds them; all else is the store's own."""

    def __init__(self, store: Any, desk: Desk):
        self._store = store
        self._desk = desk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(self, outputs: Sequence[Outputs]) -> None:
        """Write, then tell; what fails is tried again whole, and writing twice equals writing once."""
        self._store.write(outputs)
        self._desk.receive(outputs)


class _Retry(Protocol):
    def retry(self, dead_letter: str) -> None: ...


class _Entries(Protocol):
    def enter(self, asked: Mapping[str, Any]) -> str: ...


class Doings:
    """All that people may do from the board."""

    def __init__(self, letters: _Retry, alerting: Alerting, entries: _Entries):
        self.retry = letters.retry
        self.enter = entries.enter
        self.act = alerting.act
        self.unsent = alerting.unsent
        self.channels = alerting.channels


@dataclass(frozen=True, slots=True)
class _Base:
    data_dir: Path
    site: Site
    rules: RuleSet
    journal: Journal
    store: SeriesStore
    clock: Callable[[], int]


class Alerting:
    """What a server has of alarms.

    Parameters
    ----------
    data_dir : Path
        Keeps the records.
    site : Site
    rules : RuleSet
    journal : Journal
    store : SeriesStore
    clock : callable
        The site's now. [ms UTC]
    records, password : str or None
        URL of a database in place of a file in `data_dir`, and its password.
    """

    def __init__(
        self,
        data_dir: Path,
        site: Site,
        rules: RuleSet,
        journal: Journal,
        store: SeriesStore,
        clock: Callable[[], int],
        *,
        records: str | None = None,
        password: str | None = None,
    ):
        self._base = _Base(data_dir, site, rules, journal, store, clock)
        self.begun = False
        self._stack = ExitStack()
        self.policy = SitePolicy(rules, site)
        try:
            self.records = Records(records or data_dir / RECORDS_FILE, password, alone=True)
            self._stack.callback(self.records.close)
            self.desk = Desk(self.records, self.policy, journal, clock, wall_clock, store)
        except RecordsError as error:
            self._stack.close()
            raise UsageError(str(error)) from error

    def sink(self, store: Any) -> AlertedSink:
        """`store`, with the desk behind it."""
        return AlertedSink(store, self.desk)

    def start(self, broker: siren.Broker | None, board_url: str) -> None:
        """Open the channels and go on."""
        self.prepare(broker, board_url)
        try:
            self.begin()
        except (RecordsError, JournalError) as error:
            raise UsageError(str(error)) from error

    def prepare(self, broker: siren.Broker | None, board_url: str) -> None:
        """Open the channels; one that cannot be is a UsageError."""
        base = self._base
        url = base.rules.board_url or board_url
        writer = Writer(names_of(base.site), self.policy.zone, url)
        if base.rules.channels:
            made = senders_of(base.rules, broker)
            self.desk.post = Post(self.records, base.rules, made, writer, wall_clock)

    def begin(self, *, insist: bool = False) -> None:
        """Go on where the records stop; what cannot be done now may be tried again.

        Parameters
        ----------
        insist : bool
            New records do not begin without the stored past, when a SinkError says that it cannot be had now.
        """
        self.desk.start(lambda: self._past(insist=insist))
        self.begun = True

    def _past(self, *, insist: bool) -> list[Condition]:
        """Conditions that the store holds: what the alarms are made of again when the records are new."""
        base = self._base
        try:
            since = max(0, base.clock() - 30 * _DAY_MS)
            found = conditions_of([base.store.select(Select(ANOMALY, from_ms=since))], -1)
            shown = base.store.select(Select(ALARM, from_ms=since))
            return [*found, *(fast_conditions(shown) if shown.num_rows else ())]
        except SinkError as error:
            if insist:
                raise
            _log.warning("alarms begin without a past: %s", error)
            return []

    def act(self, asked: Mapping[str, Any]) -> None:
        """Do what a person asks of an alarm: ``alarm``, ``do``, ``who``, ``reason``, ``hours``, ``code``.

        ActionRefusedError says why it cannot be done.
        """
        if not self.begun:
            raise ActionRefusedError(
                worded("expected alarms that are in hand, got a start that waits for its parts")
            )
        try:
            deed = Deed(str(asked.get("do", "")))
        except ValueError as error:
            got = repr(str(asked.get("do"))[:40])
            raise ActionRefusedError(
                worded("do: expected one of {among}, got {got}", among=", ".join(Deed), got=got)
            ) from error
        hours = asked.get("hours")
        if hours is not None and (isinstance(hours, bool) or not isinstance(hours, int | float)):
            raise ActionRefusedError(worded("hours: expected a number, got {got}", got=repr(str(hours)[:40])))
        now_ms = self._base.clock()
        until = None if hours is None or not math.isfinite(hours) else now_ms + round(3_600_000 * hours)
        texts = {name: str(asked.get(name) or "") for name in ("alarm", "who", "reason", "code")}
        action = Action(uuid.uuid4().hex, deed, at_ms=now_ms, until_ms=until, **texts)
        try:
            self.desk.act(action)
        except (ActionError, JournalError, RecordsError) as error:
            raise ActionRefusedError(reported(error)) from error

    def unsent(self) -> list[dict[str, Any]]:
        """Messages of the last week that did not arrive for certain."""
        rows = unsent(self.records, wall_clock() - 7 * _DAY_MS)
        names = ("id", "recipient", "channel", "state", "made_ms", "attempts", "error")
        return [{n: row[n] for n in names} | {"subject": row["body"]["subject"]} for row in rows]

    def channels(self) -> list[dict[str, str]]:
        """Ways by which people are told, without their secrets."""
        return [{"id": c.id, "kind": c.kind} for c in self._base.rules.channels.values()]

    def part(self) -> Part:
        """How alarms fare, for health."""
        book = self.desk.book
        standing = sum(a.open for a in list(book.alarms.values()))
        troubles: list[Trouble] = []
        if self.desk.detail:
            advice = worded("look at the records in the data directory and its disk")
            troubles.append((reported(self.desk.detail), NOTHING, advice))
        try:
            missing = len(self.unsent())
        except RecordsError as error:
            advice = worded("look at the disk of the data directory")
            troubles, missing = [(reported(error), NOTHING, advice)], 0
        if missing:
            advice = worded("see hearthline alarms unsent, and the channel that does not take them")
            troubles.append((worded("{n} messages are not sent", n=str(missing)), NOTHING, advice))
        return Part.judged("alerts", troubles, worded("{n} open alarms", n=str(standing)))

    def figures(self) -> Iterator[Figure]:
        """Open alarms, and messages that did not arrive, for metrics."""
        alarms = [a for a in list(self.desk.book.alarms.values()) if a.open]
        counts = {str(s): float(sum(a.severity is s for a in alarms)) for s in Severity}
        yield from labelled("hearthline_open_alarms", counts)
        try:
            yield Figure("hearthline_unsent_messages", len(self.unsent()))
        except RecordsError as error:
            _log.debug("messages cannot be counted: %s", error)

    def stop(self) -> None:
        """Write down what came, and stop."""
        if self.begun:
            self.desk.stop()
        self._stack.close()

    def close(self) -> None:
        """Release the records of a server that never started."""
        self._stack.close()
