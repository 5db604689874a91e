"""The embedded server's health: lag by stage, who is to blame for it, and every figure of `/metrics`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hearthline.door_health import BrokerHealth
from hearthline.health import (
    NOT_READY,
    SLOW_APPEND_S,
    SLOW_WAIT_S,
    Kept,
    Part,
    Trouble,
    Watch,
    failing_figures,
    failing_told,
    failing_troubles,
    how_far,
    journal_part,
    leap_figures,
    leap_trouble,
    leaping,
    leaps_told,
    ledger_totals,
    slow_write,
    standing_troubles,
    taken_in,
)
from hearthline.ingest_figures import door_figures
from hearthline.metrics import Figure, labelled
from hearthline.timing import TimedCheckpoints, WatchedSink
from ingest.broker import EmbeddedBroker
from ingest.service import Ingest
from ingest.stages import Behind, StageLog
from ingest.status import IngestStatus
from journal.protocol import JournalError
from models.wording import NOTHING, Worded, lasting, listed, reported, worded
from store.duckdb_series import DuckdbSeries
from store.protocol import StoreError
from streams.runtime.local import LocalRuntime

__all__ = ["HoldBack", "ServerHealth", "Sources"]

_STEPPED_BACK_S: Final = 5.0
_RESUME: Final = 0.8
_ASK_S: Final = 15.0
_NONE: Final = Behind(0, 0.0)
_SEE_BROKER: Final = worded("see that the broker runs and lets this server in")


class HoldBack:
    """Whether ingest has to wait for the streams: from `most` records behind until a fifth of it is done.

    What was behind already, such as at a start that computes everything anew, is not held against
    what comes: only what is added to the least that was ever behind.

    Parameters
    ----------
    behind : callable
        Records in the journal whose results are not stored; None while that is not known.
    most : int
    """

    def __init__(self, behind: Callable[[], int | None], most: int) -> None:
        self._behind = behind
        self._least: int | None = None
        self.most = most
        self.held = False

    def __call__(self) -> str:
        """Why nothing may be journalled now; empty while it may."""
        behind = self._behind()
        if behind is None:
            return ""
        self._least = behind if self._least is None else min(self._least, behind)
        added = behind - self._least
        self.held = added >= (_RESUME * self.most if self.held else self.most)
        if not self.held:
            return ""
        return worded("held back: the streams are {n} records or more behind", n=f"{self.most:,}")


@dataclass(slots=True)
class Sources:
    """What the server's health is read from."""

    store: DuckdbSeries
    sink: WatchedSink
    checkpoints: TimedCheckpoints
    runtime: LocalRuntime
    stages: StageLog
    hold: HoldBack
    broker: EmbeddedBroker | None
    mqtt_url: str
    wall_clock: bool
    clock: Callable[[], int]
    failure: Callable[[], str]
    journal: Callable[[], tuple[bool, str]]
    alerts: Callable[[], Part]


class ServerHealth:
    """Reads the counts of every part; never holds up what it reads.

    Parameters
    ----------
    sources : Sources
    wall_ms : callable
        Time now, for people. [ms UTC]
    """

    def __init__(self, sources: Sources, wall_ms: Callable[[], int]) -> None:
        self._from = sources
        self.watch = Watch(wall_ms)
        self.ingest: Ingest | None = None
        self.board_url = ""
        self._inside = BrokerHealth(sources.broker, wall_ms) if sources.broker is not None else None
        self._ledger = Kept(lambda: ledger_totals(sources.store), _ASK_S)
        self._rows = Kept(sources.store.counts, _ASK_S)

    # -- lag ----------------------------------------------------------------------

    def lag(self) -> dict[str, dict[str, float]]:
        """By stage: messages and records that wait for it, and how long the oldest has waited. [s]"""
        source = self._from
        tails = source.stages.tails
        # What stands still waits for a start and not for a stage; `status` says so.
        standing = {stream: tails[stream] for stream in source.runtime.status.standing if stream in tails}
        stepped, stored = source.runtime.stepped() | standing, source.runtime.offsets() | standing
        source.stages.forget(stored)
        status = self.ingest.status if self.ingest is not None else None
        waiting = Behind(status.queued, status.waiting_s) if status else _NONE
        unstepped, unstored = source.stages.behind(stepped), source.stages.behind(stored)
        records = sum(max(0, last - stepped.get(stream, -1)) for stream, last in tails.items())
        writing = sum(max(0, offset - stored.get(stream, -1)) for stream, offset in stepped.items())
        return {
            "journalled": {"messages": waiting.messages, "seconds": round(waiting.seconds, 3)},
            "stepped": {
                "messages": unstepped.messages,
                "records": records,
                "seconds": round(unstepped.seconds, 3),
            },
            "stored": {
                "messages": max(0, unstored.messages - unstepped.messages),
                "records": writing,
                "seconds": round(unstored.seconds, 3) if writing else 0.0,
            },
        }

    def now(self) -> dict[str, dict[str, float | None]]:
        """Each stream's now [ms UTC] and its age [s]; no age on the data clock."""
        source = self._from
        clock_ms = source.clock()
        return {
            stream: {
                "now": ms,
                "age_s": round(max(0, clock_ms - ms) / 1000, 3) if source.wall_clock else None,
            }
            for stream, ms in sorted(source.runtime.status.now_ms.items())
        }

    # -- parts --------------------------------------------------------------------

    def components(self) -> list[Mapping[str, Any]]:
        """State and detail of each part; of one that is not ok also why, since when and what to do."""
        assert self.ingest is not None
        status, lag = self.ingest.status, self.lag()
        parts = [
            self._broker(status),
            self._ingest(status),
            self._journal(status),
            self._streams(lag),
            self._store(lag),
            self._from.alerts(),
            Part("board", "ok", listed([self.board_url])),
            self._device_clocks(),
        ]
        return self.watch.see(parts)

    def _device_clocks(self) -> Part:
        """Devices whose clocks are over a minute wrong, the worst first."""
        assert self.ingest is not None
        wrong = sorted(self.ingest.device_clocks.wrong_s().items(), key=lambda x: -abs(x[1]))
        named = [_by_how_much(device, s) for device, s in wrong[:3]]
        more = [worded("{n} more", n=str(len(wrong) - 3))] if len(wrong) > 3 else []
        advice = worded("set the time of these devices, best by NTP")
        troubles = [(listed([*named, *more]), NOTHING, advice)] if wrong else []
        return Part.judged("clocks", troubles, worded("none is known to be over a minute wrong"))

    def _broker(self, status: IngestStatus) -> Part:
        if self._inside is None:  # somebody else's: it is as ingest finds it
            away = status.troubles.get("broker")
            found = [(reported(away), NOTHING, _SEE_BROKER)] if away else []
            return Part.judged("broker", found, listed([self._from.mqtt_url]))
        return self._inside.part()

    def _ingest(self, status: IngestStatus) -> Part:
        far = how_far(status.queued, status.waiting_s)
        advice = {
            "broker": _SEE_BROKER,
            "streams": worded("wait, or see why the streams are slow; collectors keep what comes meanwhile"),
            "journal": worded("see the journal"),
        }
        troubles = [(reported(what), far, advice[where]) for where, what in status.troubles.items()]
        if not troubles and status.waiting_s > SLOW_WAIT_S:
            troubles = [(worded("messages wait for the journal"), far, advice["journal"])]
        if not troubles and self.ingest is not None and not self.ingest.ready:
            return NOT_READY
        return Part.judged("ingest", troubles, taken_in(status))

    def _journal(self, status: IngestStatus) -> Part:
        try:
            sound, said = self._from.journal()
        except JournalError as error:
            sound, said = False, str(error)
        streams = worded("{n} streams", n=str(len(self._from.stages.tails)))
        told = worded("{reason}; {far}", reason=streams, far=said)
        detail = told if sound and said else streams
        return journal_part(status, detail, damage="" if sound else said)

    def _streams(self, lag: Mapping[str, Mapping[str, float]]) -> Part:
        runtime, failure = self._from.runtime.status, self._from.failure()
        if failure:
            advice = worded("start the server again; it goes on by itself")
            return Part("streams", "failed", reported(failure), reported(failure), advice)
        if runtime.state == "starting":
            return Part("streams", "starting", reported(runtime.detail))
        wait = lag["stepped"]
        far, leap = _records(wait), leaping(runtime.leaps)
        troubles: list[Trouble] = []
        if (ahead_s := self._ahead_s()) > _STEPPED_BACK_S:
            reason = worded("this machine's clock is behind the newest record: now stands still")
            advice = worded("set the clock right; if it is right, now goes on when that time has come")
            troubles.append((reason, lasting(ahead_s), advice))
        troubles += standing_troubles(runtime.standing, far)
        if runtime.state != "ok":
            advice = worded("it is tried again by itself; see the store and its disk")
            troubles.append((reported(runtime.detail), far, advice))
        elif wait["seconds"] > SLOW_WAIT_S:
            troubles.append(
                leap_trouble(leap, far)
                if leap
                else (worded("waits for the store"), far, worded("see the store"))
                if self._slow_store()
                else (
                    worded("computing is behind the journal"),
                    far,
                    worded("wait if it shrinks; else the machine is too small"),
                )
            )
        troubles += failing_troubles(runtime.failing)
        # What people do and what nobody sends has no heartbeat: only streams of the site have an age.
        ages = [age for s, n in self.now().items() if (age := n["age_s"]) is not None and s[:1] != "_"]
        old = worded("now is {time} old", time=lasting(max(ages, default=0)))
        now = old if self._from.wall_clock else worded("data clock")
        detail = worded("behind by {n} records; {now}", n=f"{wait['records']:.0f}", now=now)
        told = worded("{reason}; {far}", reason=leap, far=detail) if leap else detail
        return Part.judged("streams", troubles, told)

    def _ahead_s(self) -> float:
        """How far the newest now is ahead of this machine's clock: it was set back. [s]"""
        source = self._from
        newest = max(source.runtime.status.now_ms.values(), default=0)
        return (newest - source.clock()) / 1000 if source.wall_clock else 0.0

    def _slow_store(self) -> bool:
        return self._from.sink.writing_s > SLOW_APPEND_S

    def _store(self, lag: Mapping[str, Mapping[str, float]]) -> Part:
        wait = lag["stored"]
        far = _records(wait)
        advice = worded("look at the disk of the data directory: room, speed")
        troubles: list[Trouble] = []
        if self._from.store.damage:
            anew = worded("stop, move the file away and start again: it is made anew from the journal")
            damaged = worded("the file is damaged: {why}", why=self._from.store.damage)
            troubles.append((damaged, far, anew))
        elif self._from.sink.failing:
            troubles.append((reported(self._from.sink.failing), far, advice))
        if self._slow_store():
            troubles.append((slow_write(), far, advice))
        elif wait["seconds"] > SLOW_WAIT_S:
            troubles.append((worded("writing is behind"), far, advice))
        return Part.judged("store", troubles, listed([self._from.store.path.name]))

    # -- all of it ----------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Health, ledger and counts of rows, as `hearthline status` prints them."""
        components = self.components()
        return {
            "components": components,
            "ledger": ledger_totals(self._from.store),
            "rows": self._from.store.counts(),
            "lag": self.lag(),
            "now": self.now(),
            "restating": dict(sorted(self._from.runtime.status.restating.items())),
            "failing": failing_told(self._from.runtime.status.failing),
            "leaps": leaps_told(self._from.runtime.status.leaps),
            "degraded": [
                {"component": c["name"], **{k: c[k] for k in ("state", "reason", "since", "advice")}}
                for c in components
                if "since" in c
            ],
            "held_back": self._from.hold.held,
            "started": self.watch.started_ms,
            "ready_s": None if self.watch.ready_s is None else round(self.watch.ready_s, 3),
        }

    def figures(self) -> Iterator[Figure]:
        """Every figure of `/metrics`; what has to be asked of the store is asked every 15 s at most."""
        assert self.ingest is not None
        source, lag = self._from, self.lag()
        components = self.components()
        yield Figure("hearthline_start_time_seconds", self.watch.started_ms / 1000)
        if self.watch.ready_s is not None:
            yield Figure("hearthline_ready_seconds", self.watch.ready_s)
        yield from labelled(
            "hearthline_component_ok", {c["name"]: float(c["state"] == "ok") for c in components}
        )
        yield from door_figures(self.ingest)
        yield Figure("hearthline_held_back", float(source.hold.held))
        for measure in ("messages", "records", "seconds"):
            values = {s: v[measure] for s, v in lag.items() if measure in v and (s, measure) not in _DOOR}
            yield from labelled(f"hearthline_lag_{measure}", values)
        yield from self._queue_figures(lag)
        yield Figure("hearthline_stepped_records_total", source.runtime.status.records)
        yield from labelled("hearthline_stored_rows_total", source.sink.rows())
        yield from labelled("hearthline_dead_letters_total", source.sink.dead_letters())
        yield Figure("hearthline_store_failed_writes_total", source.sink.failed)
        yield from labelled("hearthline_open_windows", source.sink.open_windows())
        for stream, now in self.now().items():
            yield Figure("hearthline_stream_now_timestamp_seconds", (now["now"] or 0) / 1000, (stream,))
            if now["age_s"] is not None:
                yield Figure("hearthline_stream_now_age_seconds", now["age_s"], (stream,))
        yield from labelled("hearthline_restating_quarters", source.runtime.status.restating)
        yield from leap_figures(source.runtime.status.leaps)
        runtime = source.runtime.status
        yield from failing_figures(runtime.failing, runtime.now_ms)
        if (age_s := source.checkpoints.age_s) is not None:
            yield Figure("hearthline_checkpoint_age_seconds", age_s)
        try:
            yield from labelled("hearthline_ledger_messages", self._ledger())
            yield from labelled("hearthline_stored_rows", self._rows())
        except StoreError:  # the store's own state says so; the other figures are worth having
            return

    def _queue_figures(self, lag: Mapping[str, Mapping[str, float]]) -> Iterator[Figure]:
        behind = lag["stepped"]["records"] + lag["stored"]["records"]
        yield Figure("hearthline_queue_messages", behind, ("journal",))
        yield Figure("hearthline_queue_limit_messages", self._from.hold.most, ("journal",))
        if (broker := self._from.broker) is not None:
            yield Figure("hearthline_broker_dropped_messages_total", broker.dropped)
            yield Figure("hearthline_queue_messages", broker.queued, ("broker",))
            yield Figure("hearthline_queue_bytes", broker.queued_bytes, ("broker",))
            yield Figure("hearthline_queue_limit_messages", broker.most_queued, ("broker",))
            yield Figure("hearthline_queue_limit_bytes", broker.most_queued_bytes, ("broker",))


def _records(wait: Mapping[str, float]) -> Worded:
    records = worded("{n} records", n=f"{wait['records']:,.0f}")
    return listed([records, how_far(wait["messages"], wait["seconds"])])


def _by_how_much(device: str, wrong_s: float) -> Worded:
    how = {"device": device, "time": lasting(wrong_s)}
    return worded("{device} {time} ahead", **how) if wrong_s > 0 else worded("{device} {time} behind", **how)


_DOOR: Final = frozenset({("journalled", "messages"), ("journalled", "seconds")})
"""What `door_figures` gives already."""
