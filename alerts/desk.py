"""The desk: takes conditions and deeds, keeps the book of alarms, and has people told.

Whoever gives it a condition may forget it when `receive` returns: it is on disk. What happened to an alarm,
the letters about it and how far its sources were taken are one transaction, so a crash between any two steps
neither loses a letter nor writes one twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import pyarrow as pa

from alerts.action import ALARM_STREAM, Action, actions_of, encode
from alerts.actors import ACTORS_MS, REMEMBERED, heard_again
from alerts.alarm import Alarm
from alerts.book import KEEP_MS, Book, Happened
from alerts.condition import Condition, conditions_of
from alerts.fast import FastWatch
from alerts.feed import Said
from alerts.letters import letters_of, withdrawn_by
from alerts.measured import Measured
from alerts.post import Post
from alerts.rebuild import deeds_of, rebuild, standing
from alerts.rows import alarm_tables
from alerts.rules import SitePolicy
from alerts.subjects import check_maintained
from journal.protocol import Append, Journal, JournalError
from models.anomaly import ANOMALY
from models.frame import Frame
from models.results import Outputs, SinkError
from store.records import Batch, Records, RecordsError

__all__ = ["Desk"]

_TICK_S: Final = 0.5
_ACTIONS: Final = "actions"
_BEGUN: Final = "begun"
_HEARD: Final = "heard:"
DAY_MS: Final = 86_400_000
KEEP_MESSAGES_MS: Final = 90 * DAY_MS
_log = logging.getLogger(__name__)


class _Sink(Protocol):
    def write(self, outputs: Sequence[Outputs]) -> None: ...


class Desk:
    """The alarms of a running server.

    Parameters
    ----------
    records : Records
    policy : SitePolicy
    journal : Journal
        Keeps what people do.
    clock, wall : callable
        The site's now, and the time that messages go by. [ms UTC]
    sink : object with `write`
        Given alarms as rows, for boards.
    post : Post or None
        Sends messages; without it nobody is told.
    """

    def __init__(
        self,
        records: Records,
        policy: SitePolicy,
        journal: Journal,
        clock: Callable[[], int],
        wall: Callable[[], int],
        sink: _Sink,
        post: Post | None = None,
    ):
        self._records = records
        self.policy = policy
        self._journal = journal
        self._clock = clock
        self._wall = wall
        self._sink = sink
        self.post = post
        self._lock = threading.RLock()
        self._bell = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._unsaved: Batch | None = None
        self.detail = ""
        """Why the desk is degraded; empty when it is not."""
        self.book = Book(policy, self._recall)
        newest_ms = records.newest_ms()
        self._now_ms = max(0, newest_ms)
        self.book.restore(map(Alarm.from_json, records.alarms(newest_ms - KEEP_MS)), records.maintenance())
        self._kept = {id_: len(alarm.events) for id_, alarm in self.book.alarms.items()}
        self._unshown = set(self.book.alarms)  # a crash may have come between records and boards
        self._maintained = set(self.book.maintenance)
        self._fast = FastWatch(
            policy.rules.fast, self.book.alarms.values(),
            [Condition.from_json(body) for _, body in records.inbox(10**9)] if policy.rules.fast else (),
            records.progresses(_HEARD),
        )  # fmt: skip
        self._said: list[Condition] = []
        self._expired_on = 0
        self._measured = Measured(policy.rules.desks)
        for heard in heard_again(records.notes(newest_ms - ACTORS_MS, newest_ms + 1, REMEMBERED)):
            self._measured.note(heard)

    def _recall(self, key: str) -> Alarm | None:
        row = self._records.alarm_of_key(key)
        if row is None:
            return None
        alarm = Alarm.from_json(row)
        self._kept[alarm.id] = len(alarm.events)
        return alarm

    # -- conditions ------------------------------------------------------------------------------

    def receive(self, outputs: Sequence[Outputs]) -> None:
        """Take what the streams gave; on disk when this returns. RecordsError when it cannot be kept now."""
        found: list[Condition] = []
        for output in outputs:
            found += conditions_of(output.rows.get(ANOMALY, ()), output.offset)
            self._look(output.stream, output.offset, output.readings)
        self._receive(found, {})

    def receive_said(self, said: Sequence[Said], progress: Mapping[str, int]) -> None:
        """Take what streams of another process said; on disk when this returns, with how far it goes."""
        for one in said:
            self._look(one.stream, one.offset, one.readings, more=one.more)
        self._receive([condition for one in said for condition in one.conditions], progress)

    def _look(self, stream: str, offset: int, readings: Sequence[pa.Table], *, more: bool = False) -> None:
        if self.policy.rules.fast and readings:
            self._said += self._fast.take(stream, offset, readings, more=more)

    def _receive(self, found: Sequence[Condition], progress: Mapping[str, int]) -> None:
        # The watch says a thing once: what could not be kept is kept with what comes next. What it has looked
        # at is kept with what it said, so that what is given again after a crash is not said again.
        heard = {_HEARD + stream: offset for stream, offset in self._fast.heard.items()} if self._said else {}
        self.receive_conditions([*self._said, *found], {**heard, **progress})
        self._said.clear()

    def receive_conditions(
        self, found: Sequence[Condition], progress: Mapping[str, int] | None = None
    ) -> None:
        """Take conditions; on disk when this returns."""
        self._records.receive([condition.to_json() for condition in found], progress)
        if found:
            self._bell.set()

    def progress(self, source: str) -> int | None:
        """How far a source was taken in; None when nothing of it was."""
        return self._records.progress(source)

    @property
    def fresh(self) -> bool:
        """Whether the records have never seen this data directory's past."""
        return self._records.progress(_BEGUN) is None

    # -- deeds -------------------------------------------------------------------------------------

    def act(self, action: Action) -> None:
        """Do what a person asked for: in the journal first, then in the book.

        Raises
        ------
        alerts.action.ActionError
            It cannot be done, or would do nothing to anybody; says why.
        journal.protocol.JournalError
            It cannot be kept now.
        """
        with self._lock:
            self._flush()
            self._catch_up()  # what a journal elsewhere may have kept although it did not say so
            self.book.check(action)
            check_maintained(action, self.policy, self.book.alarms.values())
            known = self._journal.streams().get(ALARM_STREAM)
            stamp = max(action.at_ms, known[1]) if known else action.at_ms
            record = self._journal.append([Append(ALARM_STREAM, encode(action), stamp)])[0]
            self._take_action(action, record.offset, record.timestamp_ms)
        self._bell.set()

    def _take_action(self, action: Action, offset: int, now_ms: int) -> None:
        self._now_ms = max(self._now_ms, now_ms)
        happened = self.book.act(action, self._now_ms)
        batch = self._batch(happened)
        batch.progress[_ACTIONS] = offset
        self._save(batch)

    def _catch_up(self) -> None:
        """Do again what stands in the journal and not in the records."""
        after = self._records.progress(_ACTIONS)
        offset = -1 if after is None else after
        while records := self._journal.read(ALARM_STREAM, offset, 1000):
            for record in records:
                offset = record.offset
                for action in actions_of(Frame.decode(record.frame)):
                    self._take_action(action, offset, record.timestamp_ms)

    # -- the loop ----------------------------------------------------------------------------------

    def start(self, past: Callable[[], Sequence[Condition]] = tuple) -> None:
        """Go on where the records stop, then keep going in a thread.

        Parameters
        ----------
        past : callable
            Gives the conditions that are stored; asked when the records know nothing, because they are new
            or were lost. Then everything is told again that still is.
        """
        with self._lock:
            if self.fresh:
                self._rebuild(past())
            else:
                self._catch_up()
        if self.post is not None:
            self.post.start()
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
        self._thread.start()

    def _rebuild(self, conditions: Sequence[Condition]) -> None:
        """Make the alarms again from stored conditions and the deeds of the journal."""
        deeds = deeds_of(self._journal)
        self._now_ms = rebuild(self.book, conditions, deeds, max(self._now_ms, self._clock()))
        again = standing(self.book, self._now_ms)
        batch = self._batch([])
        batch.progress = {_BEGUN: self._now_ms, _ACTIONS: max((o for _, o, _ in deeds), default=-1)}
        batch.letters = letters_of(again, self.policy, self._now_ms, self._wall())
        self._save(batch)

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self.turn()
                self.detail = ""
            except (RecordsError, JournalError, SinkError) as error:
                if self.detail != str(error):
                    _log.warning("alerts degraded: %s", error)
                self.detail = str(error)
                self._stop.wait(1.0)
            except Exception as error:  # noqa: BLE001  alarms must not end for good
                _log.exception("alerts failed in one turn and go on")
                self.detail = f"{type(error).__name__}: {error}"
                self._stop.wait(1.0)
            self._bell.wait(max(0.05, _TICK_S - (time.monotonic() - began)))
            self._bell.clear()

    def turn(self) -> None:
        """Take what came, let time pass, write it down, have letters sent, show it."""
        with self._lock:
            self._flush()
            inbox = self._records.inbox()
            self._now_ms = now_ms = max(self._now_ms, self._clock())
            happened = self.book.take([Condition.from_json(body) for _, body in inbox], now_ms)
            happened += self.book.tick(now_ms)
            if happened or inbox or self.book.changed:
                batch = self._batch(happened)
                batch.taken = inbox[-1][0] if inbox else 0
                self._save(batch)
            for one in happened:
                self._measured.hear(one)
        if self.post is not None:
            self.post.gather()
        if (today := self._wall() // DAY_MS) != self._expired_on:
            self._records.expire(self._wall() - KEEP_MESSAGES_MS)
            self._expired_on = today
        self._show(now_ms)

    def _batch(self, happened: Sequence[Happened]) -> Batch:
        """What changed since the last batch, as rows."""
        batch = Batch()
        alarms = [self.book.alarms[i] for i in sorted(self.book.changed) if i in self.book.alarms]
        self.book.changed.clear()
        for alarm in alarms:
            body = alarm.to_json()
            body.pop("events")
            batch.alarms.append({
                "id": alarm.id, "subject": alarm.subject, "code": alarm.code, "phase": str(alarm.phase),
                "since_ms": alarm.since_ms, "body": body,
            })  # fmt: skip
            batch.keys.update(dict.fromkeys(alarm.members, alarm.id))
            batch.events += [self._event(alarm.id, e) for e in alarm.events[self._kept.get(alarm.id, 0) :]]
            self._kept[alarm.id] = len(alarm.events)
        standing = self.book.maintenance
        batch.maintenance = dict.fromkeys(self._maintained - standing.keys())
        batch.maintenance |= {n: standing[n].to_json() for n in standing.keys() - self._maintained}
        self._maintained = set(standing)
        batch.letters = letters_of(happened, self.policy, self._now_ms, self._wall())
        batch.withdrawn = withdrawn_by(happened)
        self._unshown |= {alarm.id for alarm in alarms}
        return batch

    @staticmethod
    def _event(alarm: str, event: Any) -> dict[str, Any]:
        body = {name: getattr(event, name) for name in event.__slots__}
        return {"alarm_id": alarm, "n": event.n, "at_ms": event.at_ms, "body": body}

    def _save(self, batch: Batch) -> None:
        """Write a batch; one that cannot be written is written before anything else happens."""
        self._unsaved = batch
        self._flush()

    def _flush(self) -> None:
        if self._unsaved is not None:
            self._records.save(self._unsaved)
            self._unsaved = None

    def _show(self, now_ms: int) -> None:
        """Give boards what changed; what cannot be given now is given later."""
        with self._lock:
            ids, self._unshown = self._unshown, set()
            alarms = [self.book.alarms[i] for i in sorted(ids) if i in self.book.alarms]
            rows = (
                {name: [table] for name, table in alarm_tables(alarms, ALARM_STREAM).items()}
                if alarms
                else {}
            )
            measured = self._measured.due(now_ms, self.book.alarms.values(), self.policy.site)
            if measured is not None:
                rows.update({name: [table] for name, table in measured.items()})
        try:
            if rows:
                self._sink.write([Outputs(ALARM_STREAM, rows=rows)])
        except SinkError as error:
            # People are told all the same; that the store is away, its own state says.
            _log.debug("alarms are not on the boards: %s", error)
            with self._lock:
                self._unshown |= ids

    def stop(self) -> None:
        """Take what has come, write it down, and stop."""
        self._stop.set()
        self._bell.set()
        if self._thread is not None:
            self._thread.join(10.0)
        try:
            self.turn()
        except (RecordsError, SinkError) as error:
            _log.warning("alerts at the stop: %s; the next start goes on from what is written", error)
        if self.post is not None:
            self.post.stop()
