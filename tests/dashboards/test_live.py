import asyncio
import gc
import threading
import weakref
from dataclasses import replace
from types import SimpleNamespace

import pyarrow as pa
import pytest

from dashboards.live import Hub, changes, rows_of
from dashboards.panels import Feed, Page, Panel, Text
from dashboards.scope import Scope
from store.protocol import Select, StoreUnavailableError
from tests.support.waiting import PATIENCE_S

FEED = Feed("seen", Select("reading", latest=True), recent_ms=60_000)
PAGE = Page(
    "p", "/", Text("p", "p"), Text("q", "q"), 1, (),
    panels=(Panel("c", Text("c", "c"), "components", feeds=("status",)),), feeds=(FEED,),
)  # fmt: skip


class Store:
    """Answers with `rows`, and notes every question and the thread that asked it."""

    def __init__(self) -> None:
        self.rows = {"a": 1.0, "b": 2.0}
        self.questions = []
        self.threads = set()
        self.broken = False

    def select(self, query):
        self.questions.append(query)
        self.threads.add(threading.current_thread())
        if self.broken:
            raise StoreUnavailableError("the disk is away")
        keys = [k for k in self.rows if not query.regions or k in query.regions]
        return pa.table({
            "key": keys, "window_start": [1] * len(keys), "seq": [7] * len(keys), "v": [self.rows[k] for k in keys],
            "null": pa.nulls(len(keys), pa.float64()),
        })  # fmt: skip


def hub_of(store):
    return Hub(store, lambda: 1000, lambda: {"components": [{"name": "store", "state": "ok", "detail": ""}]})


class Viewer:
    def __init__(self):
        self.messages = []
        self.first, self.three = asyncio.Event(), asyncio.Event()

    async def __call__(self, message):
        self.messages.append(message)
        self.first.set()
        if len(self.messages) == 3:
            self.three.set()


async def until(condition):
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  of what sets no event
            await asyncio.sleep(0.01)


class Ring:
    """What refers to itself, as a page does."""

    def __init__(self):
        self.me = self


def test_changes_name_only_what_changed_what_vanished_and_which_rows_went():
    before = {"a": {"x": 1, "y": 2}, "b": {"x": 1}, "c": {"x": 1}}
    after = {"a": {"x": 1, "y": 3}, "b": {}, "d": {"x": 5}, "c": {"x": 1}}
    assert changes(before, after) == ({"a": {"y": 3}, "b": {"x": None}, "d": {"x": 5}}, [])
    assert changes(after, before)[1] == ["d"]


def test_rows_leave_out_absent_values_and_what_no_page_shows():
    table = pa.table(
        {"key": ["a", "a"], "window_start": [1, 2], "offset": [3, 4], "v": [None, 2.5], "raw": [b"x", b"y"]}
    )
    assert rows_of(table, latest=False) == {
        "a@1": {"key": "a", "window_start": 1}, "a@2": {"key": "a", "window_start": 2, "v": 2.5},
    }  # fmt: skip


def test_a_viewer_gets_everything_once_and_then_only_what_changed():
    async def run():
        store, viewer = Store(), Viewer()
        hub = hub_of(store)
        hub.join("v", PAGE, Scope(), viewer)
        await hub.tick()
        store.rows["b"] = 2.5
        await hub.tick()
        await hub.tick()
        return viewer.messages

    first, second, third = asyncio.run(run())
    assert first["all"]["seen"] == {
        k: {"key": k, "window_start": 1, "v": v} for k, v in (("a", 1.0), ("b", 2.0))
    }
    assert first["all"]["status"] == {"store": {"state": "ok", "detail": ""}}
    assert second["set"] == {"seen": {"b": {"v": 2.5}}}
    assert "set" not in third
    assert third["now"] == 1000


def test_the_store_is_read_once_a_tick_however_many_look_and_never_on_the_loops_thread():
    async def run():
        store = Store()
        hub = hub_of(store)
        viewers = [Viewer() for _ in range(50)]
        for i, viewer in enumerate(viewers):
            hub.join(str(i), PAGE, Scope(), viewer)
        for _ in range(3):
            await hub.tick()
        return store, viewers

    store, viewers = asyncio.run(run())
    assert len(store.questions) == 3
    assert threading.main_thread() not in store.threads
    assert all(len(v.messages) == 3 for v in viewers)
    assert [q.from_ms for q in store.questions] == [
        None,
        -59_000,
        -59_000,
    ]  # all of it, then only what is recent


def test_who_comes_while_the_store_is_read_gets_the_whole_page_at_once():
    async def run():
        store, first, second = Store(), Viewer(), Viewer()
        hub = hub_of(store)
        hub.join("f", PAGE, Scope(), first)
        ask = store.select

        def select(question):
            if "s" not in hub._viewers:
                hub.join("s", PAGE, Scope(region="a"), second)
            return ask(question)

        store.select = select
        await hub.tick()
        early = list(second.messages)
        await hub.tick()
        return first.messages, early, second.messages

    first, early, second = asyncio.run(run())
    assert len(first) == 2
    assert early == []
    assert set(second[0]["all"]["seen"]) == {"a"}


def test_who_joins_after_the_page_was_asked_for_has_it_at_once_without_another_reading():
    async def run():
        store, viewer = Store(), Viewer()
        hub = hub_of(store)
        hub.expect(PAGE, Scope())
        await hub.tick()
        read = len(store.questions)
        hub.join("v", PAGE, Scope(), viewer)
        await asyncio.wait_for(viewer.first.wait(), PATIENCE_S)
        assert len(store.questions) == read == 1
        store.rows["b"] = 2.5
        await hub.tick()
        return viewer.messages

    first, second = asyncio.run(run())
    assert set(first["all"]["seen"]) == {"a", "b"}
    assert first["now"] == 1000
    assert second["set"] == {"seen": {"b": {"v": 2.5}}}


def test_a_page_that_was_asked_for_and_never_comes_is_forgotten(monkeypatch):
    now_s = 1000.0
    monkeypatch.setattr("dashboards.live.time", SimpleNamespace(monotonic=lambda: now_s))

    async def run():
        nonlocal now_s
        store = Store()
        hub = Hub(store, lambda: 1000, dict, tick_s=0.01)
        task = asyncio.create_task(hub.run())
        hub.expect(PAGE, Scope())
        await until(lambda: len(store.questions) >= 2)
        now_s += 6.0
        await until(lambda: not hub._topics)
        read = len(store.questions)
        await asyncio.sleep(0.3)
        task.cancel()
        return read, len(store.questions)

    read, later = asyncio.run(run())
    assert read == later >= 2


def test_nothing_is_read_while_nobody_looks():
    async def run():
        store, viewer = Store(), Viewer()
        hub = Hub(store, lambda: 1000, dict, tick_s=0.01)
        task = asyncio.create_task(hub.run())
        await asyncio.sleep(0.2)
        quiet = len(store.questions)
        hub.join("v", PAGE, Scope(), viewer)
        await asyncio.wait_for(viewer.three.wait(), PATIENCE_S)
        hub.leave("v")
        await until(lambda: not hub._topics)
        left = len(store.questions)
        await asyncio.sleep(0.3)
        task.cancel()
        return quiet, left, len(store.questions)

    quiet, left, end = asyncio.run(run())
    assert quiet == 0
    assert end == left >= 3


def test_memory_is_given_back_once_after_the_last_page_has_left():
    class Stored(Store):
        rests = 0

        def rest(self):
            self.rests += 1

    async def run():
        store, viewer, gone = Stored(), Viewer(), Viewer()
        hub = Hub(store, lambda: 1000, dict, tick_s=0.01, rest_s=0.3)
        task = asyncio.create_task(hub.run())
        await asyncio.sleep(0.5)
        before = store.rests
        hub.join("v", PAGE, Scope(), viewer)
        hub.join("w", PAGE, Scope(), gone)
        await asyncio.wait_for(viewer.three.wait(), PATIENCE_S)
        hub.leave("w")
        await asyncio.sleep(0.5)
        looked = store.rests
        garbage = weakref.ref(Ring())
        hub.leave("v")
        await until(lambda: store.rests)
        await asyncio.sleep(0.5)
        task.cancel()
        return before, looked, store.rests, garbage()

    gc.disable()
    try:
        assert asyncio.run(run()) == (0, 0, 1, None)
    finally:
        gc.enable()


def test_scopes_see_their_own_part():
    async def run():
        store, group, region = Store(), Viewer(), Viewer()
        hub = hub_of(store)
        hub.join("g", PAGE, Scope(), group)
        hub.join("r", PAGE, Scope(region="a"), region)
        await hub.tick()
        return group.messages[0]["all"]["seen"], region.messages[0]["all"]["seen"]

    group, region = asyncio.run(run())
    assert set(group) == {"a", "b"}
    assert set(region) == {"a"}


def test_a_store_that_is_away_is_said_and_the_page_recovers_by_itself():
    async def run():
        store, viewer = Store(), Viewer()
        hub = hub_of(store)
        hub.join("v", PAGE, Scope(), viewer)
        await hub.tick()
        store.broken = True
        await hub.tick()
        store.broken = False
        store.rows["a"] = 9.0
        await hub.tick()
        return viewer.messages

    _, broken, back = asyncio.run(run())
    assert broken["trouble"] == ["the disk is away"]
    assert "trouble" not in back
    assert back["set"] == {"seen": {"a": {"v": 9.0}}}


def test_a_store_that_is_away_is_asked_once_a_tick_and_a_page_that_comes_then_is_told():
    feeds = tuple(
        replace(FEED, name=f"seen{n}", select=replace(FEED.select, units=(f"u{n}",))) for n in range(9)
    )

    async def run():
        store, viewer = Store(), Viewer()
        store.broken = True
        hub = hub_of(store)
        hub.join("v", replace(PAGE, feeds=feeds), Scope(), viewer)
        await hub.tick()
        return len(store.questions), viewer.messages

    questions, messages = asyncio.run(run())
    assert questions == 1
    assert [m["trouble"] for m in messages] == [["the disk is away"]]


@pytest.mark.parametrize("at", ["first", "later"])
def test_one_broken_viewer_keeps_nobody_else_waiting(at):
    async def run():
        viewer = Viewer()
        hub = hub_of(Store())

        async def broken(message):
            raise ConnectionError("gone")

        if at == "first":
            hub.join("x", PAGE, Scope(), broken)
        hub.join("v", PAGE, Scope(), viewer)
        if at == "later":
            hub.join("x", PAGE, Scope(), broken)
        await hub.tick()
        return viewer.messages

    assert len(asyncio.run(run())) == 1


def test_a_store_that_takes_its_time_is_said_and_is_no_lost_connection():
    """A page takes five silent seconds for a lost connection; one that came meanwhile stays unread."""

    async def go():
        store, had, came = Store(), Viewer(), Viewer()
        go_on, asks = threading.Event(), store.select
        hub = Hub(store, lambda: 1000, lambda: {"components": []}, tick_s=0.01, slow_s=0.05)
        hub.join("had", PAGE, Scope(), had)
        await hub.tick()
        store.select = lambda query: go_on.wait(PATIENCE_S) and asks(query)
        reading = asyncio.create_task(hub.tick())
        await until(lambda: len(had.messages) > 2)
        hub.join("came", replace(PAGE, feeds=(replace(FEED, name="other"),)), Scope(), came)
        await until(lambda: came.messages)
        go_on.set()
        await reading
        await hub.tick()
        hub.close()
        return had.messages, came.messages

    had, came = asyncio.run(go())
    told = had[1]
    assert (told["now"], told["trouble"]) == (1000, [{"say": "no answer for {n} s", "with": {"n": "0"}}])
    assert not {"all", "set", "gone"} & told.keys()
    assert "trouble" not in had[-1]
    assert "all" not in came[0]
    assert came[-1]["all"]["other"]["a"]["v"] == 1.0
