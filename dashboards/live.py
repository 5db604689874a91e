"""The hub: reads the store once for every page that is open, and sends each only what changed.

One task ticks once a second while somebody looks, and sleeps while nobody does. Some time after the last
page has left it lets go of what pages needed.
Store calls run in one thread of their own, never on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import pyarrow as pa

from dashboards.panels import Feed, Page
from dashboards.scope import Scope, narrowed
from models.site import Site
from models.wording import tellable, worded
from store.protocol import Resting, Select, SeriesStore, StoreError, StoreUnavailableError

__all__ = ["Hub", "Rows", "changes", "rows_of"]

Rows = dict[str, dict[str, Any]]
"""Rows by their key; a value that is absent is not in its row."""
Topic = tuple[Feed, Scope]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Topics = tuple[Topic, ...]
Answers = tuple[dict[Topic, tuple[Rows, bool] | str], Rows, int]
Clock = Callable[[], int]

_FULL_EVERY_S: Final = 30.0
_EXPECTED_S: Final = 5.0
_NEVER: Final = float("-inf")
_UNSENT: Final = frozenset(
    {"region", "stream", "offset", "received_ms", "boot", "seq", "pos", "model", "class", "payload"}
)
_PART_OF: Final = {"journalled": "ingest", "stepped": "streams", "stored": "store"}
"""Which component does what messages wait for."""
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Viewer:
    topics: frozenset[Topic]
    status: bool
    send: Send
    fresh: bool = False  # has had the whole state of its topics


@dataclass(slots=True)
class _Topic:
    rows: Rows
    read_full: float
    trouble: str = ""


@dataclass(slots=True)
class _Change:
    changed: Rows
    gone: list[str]
    first: bool = False  # pages do not have the feed yet, be it empty


def rows_of(table: pa.Table, *, latest: bool) -> Rows:
    """A table as rows by key, or by key and time where a key has several."""
    names = [n for n in table.column_names if n not in _UNSENT]
    rows: Rows = {}
    for row in table.select(names).to_pylist():
        name = row["key"] if latest else f"{row['key']}@{row['window_start']}"
        rows[name] = {c: v for c, v in row.items() if v is not None and not isinstance(v, bytes)}
    return rows


def changes(before: Rows, after: Rows) -> tuple[Rows, list[str]]:
    """What turns `before` into `after`: changed fields by row (None: gone), and rows that are gone."""
    changed: Rows = {}
    for name, row in after.items():
        old = before.get(name)
        if old is None:
            changed[name] = row
        elif old != row:
            delta = {c: v for c, v in row.items() if old.get(c) != v or c not in old}
            delta.update({c: None for c in old if c not in row})
            changed[name] = delta
    return changed, [name for name in before if name not in after]


class Hub:
    """One reader for all open pages.

    Parameters
    ----------
    store : SeriesStore
    clock : callable
        The site's now, ms UTC.
    status : callable
        Health of the components: ``{"components": [{"name", "state", "detail"}, …], …}``, and ``lag``:
        by stage ``messages`` that wait for it and ``seconds`` that the oldest has.
    site : Site or None
        Whose networks a feed's keys may name.
    tick_s, rest_s, slow_s : float
        Between two ticks; from the last page's leaving until memory is given back, later than its server
        forgets a page that does not come back; and for how long a store may read before pages are told:
        sooner than they take their connection for lost.
    """

    def __init__(
        self,
        store: SeriesStore,
        clock: Clock,
        status: Callable[[], Mapping[str, Any]],
        site: Site | None = None,
        *,
        tick_s: float = 1.0,
        rest_s: float = 40.0,
        slow_s: float = 3.0,
    ) -> None:
        self._store = store
        self._clock = clock
        self._status = status
        self._site = site
        self._tick_s, self._rest_s, self._slow_s = tick_s, rest_s, slow_s
        self._viewers: dict[str, _Viewer] = {}
        self._topics: dict[Topic, _Topic] = {}
        self._status_rows: Rows = {}
        self._number = 0
        self._expected: dict[Topic, float] = {}
        self._greetings: set[asyncio.Task[None]] = set()
        self._now = 0
        self._wake = asyncio.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="board-hub")
        self.reads = 0
        """Store calls so far."""

    @property
    def viewers(self) -> int:
        """How many pages are open."""
        return len(self._viewers)

    def join(self, viewer: str, page: Page, scope: Scope, send: Send) -> None:
        """Send `viewer` the feeds of `page`, all of them first, then what changes."""
        topics = _topics(page, scope)
        self._viewers[viewer] = _Viewer(topics, any("status" in p.feeds for p in page.panels), send)
        if not topics or not topics <= self._topics.keys():
            self._wake.set()
            return
        # Read within the last tick, for this page or another: the next one comes by itself.
        greeting = asyncio.create_task(self._deliver({}, _Change({}, []), self._now, viewer))
        self._greetings.add(greeting)
        greeting.add_done_callback(self._greetings.discard)

    def expect(self, page: Page, scope: Scope) -> None:
        """Read the feeds of `page` now: somebody asked for it, and will join once the browser has it."""
        until = time.monotonic() + _EXPECTED_S
        self._expected.update(dict.fromkeys(_topics(page, scope), until))
        self._wake.set()

    def leave(self, viewer: str) -> None:
        """Send `viewer` nothing more."""
        self._viewers.pop(viewer, None)

    async def run(self) -> None:
        """Tick until cancelled."""
        rested = True
        while True:
            self._wake.clear()
            if not self._viewers and not self._awaited():
                self._topics.clear()
                rested = await self._idle(rested)
                continue
            rested = False
            began = time.monotonic()
            try:
                await self.tick()
            except Exception:  # noqa: BLE001  what fails for one tick must not end the board
                _log.exception("the board's hub failed in one tick and goes on")
            pause = max(0.05, self._tick_s - (time.monotonic() - began))
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause)

    async def _idle(self, rested: bool) -> bool:
        """Wait until somebody comes, and rest when nobody does for a while; whether that was done."""
        try:
            await asyncio.wait_for(self._wake.wait(), None if rested else self._rest_s)
        except TimeoutError:
            await asyncio.get_running_loop().run_in_executor(self._pool, self._rest)
            return True
        return rested

    def _rest(self) -> None:
        """In the hub's thread: give back what pages took. Python finds what refers to itself only later."""
        gc.collect()
        if isinstance(self._store, Resting):
            self._store.rest()

    async def tick(self) -> None:
        """Read what is watched once, and send every viewer one message."""
        watched = self._awaited().union(*{v.topics for v in self._viewers.values()})
        for topic in [t for t in self._topics if t not in watched]:
            del self._topics[topic]
        answers, status, now = await self._patiently(self._read, tuple(watched))
        changed = {topic: self._take(topic, answer) for topic, answer in answers.items()}
        status_change = _Change(*changes(self._status_rows, status))
        self._status_rows = status
        self._number += 1
        self._now = now
        await self._deliver(changed, status_change, now)

    async def _patiently(self, read: Callable[[Topics], Answers], topics: Topics) -> Answers:
        """What the store answers; while it takes its time, pages hear that: the server is not gone."""
        reading = asyncio.get_running_loop().run_in_executor(self._pool, read, topics)
        began = time.monotonic()
        while not (await asyncio.wait({reading}, timeout=self._slow_s))[0]:
            waited = worded("no answer for {n} s", n=f"{time.monotonic() - began:.0f}")
            now = await asyncio.to_thread(self._clock)
            for name, viewer in list(self._viewers.items()):  # those that have nothing yet, too
                await self._send(name, viewer, {"n": self._number, "now": now, "trouble": [tellable(waited)]})
        return await reading

    @staticmethod
    async def _send(name: str, viewer: _Viewer, message: dict[str, Any]) -> bool:
        try:
            await viewer.send(message)
        except Exception:  # noqa: BLE001  one broken page must not keep the others waiting
            _log.warning("the board could not send to page %s", name, exc_info=True)
            return False
        return True

    def close(self) -> None:
        """Release the reading thread; returns when it asks no more, so that the store may be closed."""
        self._pool.shutdown(cancel_futures=True)

    def _awaited(self) -> set[Topic]:
        """Topics of pages that somebody has just asked for."""
        now = time.monotonic()
        self._expected = {topic: until for topic, until in self._expected.items() if until > now}
        return set(self._expected)

    def _read(self, topics: Topics) -> Answers:
        """In the hub's thread: newest rows of every topic, or why there are none."""
        now = self._clock()
        answers: dict[Topic, tuple[Rows, bool] | str] = {}
        away = ""
        for topic in topics:
            if away:
                answers[topic] = away
                continue
            select, full = self._question(topic, now)
            try:
                self.reads += 1
                answers[topic] = (rows_of(self._store.select(select), latest=select.latest), full)
            except StoreUnavailableError as error:
                # It took its time to say so: asked a dozen times, pages would take it for a lost connection.
                answers[topic] = away = str(error)
            except StoreError as error:
                answers[topic] = str(error)
        return answers, _status_rows(self._status()), now

    def _question(self, topic: Topic, now: int) -> tuple[Select, bool]:
        feed, scope = topic
        select = narrowed(feed.select, scope, to_device=feed.scope == "device", site=self._site)
        known = self._topics.get(topic)
        if feed.recent_ms is None or known is None or time.monotonic() - known.read_full > _FULL_EVERY_S:
            return select, True
        return replace(select, from_ms=now - feed.recent_ms), False

    def _take(self, topic: Topic, answer: tuple[Rows, bool] | str) -> _Change:
        state = self._topics.get(topic)
        if isinstance(answer, str):
            if state is None:
                state = self._topics[topic] = _Topic({}, _NEVER)
            state.trouble = answer
            return _Change({}, [])
        rows, full = answer
        if state is None:
            self._topics[topic] = _Topic(rows, time.monotonic())
            return _Change(rows, [])
        state.trouble = ""
        after = rows if full else {**state.rows, **rows}
        change = _Change(*changes(state.rows, after), first=state.read_full == _NEVER)
        state.rows = after
        if full:
            state.read_full = time.monotonic()
        return change

    async def _deliver(
        self, changed: Mapping[Topic, _Change], status: _Change, now: int, only: str | None = None
    ) -> None:
        shared: dict[tuple[frozenset[Topic], bool, bool], dict[str, Any]] = {}
        whole = {v.topics: v.topics <= self._topics.keys() for v in self._viewers.values()}
        for name, viewer in list(self._viewers.items()):
            if only not in (None, name):
                continue
            if not whole.get(viewer.topics):
                continue  # came while the store was being read: half a page would look like missing data
            kind = (viewer.topics, viewer.status, viewer.fresh)
            if kind not in shared:
                shared[kind] = self._message(viewer, changed, status, now)
            if await self._send(name, viewer, shared[kind]):
                viewer.fresh = True

    def _message(
        self, viewer: _Viewer, changed: Mapping[Topic, _Change], status: _Change, now: int
    ) -> dict[str, Any]:
        message: dict[str, Any] = {"n": self._number, "now": now}
        trouble = sorted({self._topics[t].trouble for t in viewer.topics if t in self._topics} - {""})
        if trouble:
            message["trouble"] = [tellable(text) for text in trouble]
        if not viewer.fresh:
            # A feed that was never read is left out: no row of it would look like a plant that is silent.
            topics = ((t[0].name, self._topics.get(t)) for t in viewer.topics)
            rows = {
                name: topic.rows for name, topic in topics if topic is not None and topic.read_full > _NEVER
            }
            message["all"] = {**rows, "status": self._status_rows} if viewer.status else rows
            return message
        known = [(t[0].name, changed[t]) for t in viewer.topics if t in changed]
        if viewer.status:
            known.append(("status", status))
        if some := {name: c.changed for name, c in known if c.changed or c.first}:
            message["set"] = some
        if gone := {name: c.gone for name, c in known if c.gone}:
            message["gone"] = gone
        return message


@lru_cache(maxsize=256)
def _topics(page: Page, scope: Scope) -> frozenset[Topic]:
    """One object for all who look at the same: it is compared for each of them at every tick."""
    return frozenset((feed, _scope_of(feed, scope)) for feed in page.feeds)


def _scope_of(feed: Feed, scope: Scope) -> Scope:
    """The part of `scope` that matters to `feed`, so that pages share what they can."""
    return Scope(device=scope.device) if feed.scope == "device" else Scope(scope.region, scope.unit)


def _status_rows(status: Mapping[str, Any]) -> Rows:
    rows = {
        str(c["name"]): {k: tellable(v) if isinstance(v, str) else v for k, v in c.items() if k != "name"}
        for c in status.get("components", ())
    }
    for stage, lag in status.get("lag", {}).items():
        if (row := rows.get(_PART_OF.get(stage, ""))) is not None:
            row.update(stage=stage, lag_s=lag["seconds"], queued=lag["messages"])
    return rows
