"""The embedded runtime: idle streams speak, a store that is away is waited for, a stop loses nothing."""

from __future__ import annotations

import threading

import pytest

from journal.protocol import Append, JournalError
from journal.sqlite import SqliteJournal
from models.frame import Frame
from models.results import SinkUnavailableError
from store.duckdb_series import DuckdbSeries
from store.protocol import Select
from store.restate import answer
from streams.runtime.local import LocalRuntime
from streams.runtime.sqlite_checkpoints import SqliteCheckpoints
from tests.support.road import STREAM, road_journal, trips
from tests.support.telemetry import T0, Message, registry_frame, telemetry_frames
from tests.support.waiting import PATIENCE_S, until


class Running:
    def __init__(self, directory, store=None):
        self.journal = SqliteJournal(directory / "j.sqlite3", lambda: T0)
        self.store = store or DuckdbSeries(directory / "s.duckdb")
        self.checkpoints = SqliteCheckpoints(directory / "c.sqlite3")
        self.runtime = LocalRuntime(
            self.journal, self.store, self.checkpoints, answer=lambda request: answer(self.store, request)
        )
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.runtime.run, args=(self.stop,))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(PATIENCE_S)
        self.journal.close()
        self.checkpoints.close()
        self.store.close()

    def append(self, frame: Frame, at: int) -> None:
        self.journal.append([Append("u1", frame.encode(), at)])

    def wait(self, what) -> None:
        until(what)


def message(seq: int, minute: int) -> Frame:
    (frame,) = telemetry_frames([Message("sub-1", T0, seq, ((T0 + minute * 60_000, {"supply_c": 90.0}),))])
    return frame


def stored(store) -> int:
    rows = store.select(Select("ledger", latest=True))
    return sum(rows.column("stored").to_pylist()) if "stored" in rows.column_names else 0


def test_an_idle_stream_says_what_it_counted_though_now_stands_still(tmp_path):
    with Running(tmp_path) as running:
        running.append(registry_frame(), T0)
        running.append(message(1, 0), T0 + 1000)
        running.wait(lambda: stored(running.store) == 1)
        running.append(message(2, 0), T0 + 1000)
        running.append(message(3, 0), T0 + 1001)
        running.wait(lambda: stored(running.store) == 3)


def restated(store) -> int:
    return store.counts().get("restatement", 0)


def test_what_comes_last_and_late_is_restated_though_now_stands_still(tmp_path):
    """As at the end of a recording, whose last message is an old one that waited."""
    now = T0 + 120 * 60_000
    with Running(tmp_path) as running:
        running.append(registry_frame(), T0)
        for seq, minute in enumerate((0, 1, 119, 120), 1):
            running.append(message(seq, minute), T0 + minute * 60_000)
        running.wait(lambda: stored(running.store) == 4)
        running.append(message(5, 2), now)
        running.wait(lambda: restated(running.store))


def test_what_was_late_at_a_stop_is_restated_by_the_next_start(tmp_path):
    with Running(tmp_path) as running:
        running.append(registry_frame(), T0)
        for seq, minute in enumerate((0, 1, 119, 120), 1):
            running.append(message(seq, minute), T0 + minute * 60_000)
        running.wait(lambda: stored(running.store) == 4)
        running.wait(lambda: running.runtime.status.restating == {"u1": 0})
        before = restated(running.store)
        running.runtime._answer = None  # it is stopped before there is an answer
        running.append(message(5, 2), T0 + 120 * 60_000)
        running.wait(lambda: stored(running.store) == 5)
        waiting = running.runtime.status.restating
        assert waiting["u1"] >= 1, "expected the quarter of an hour of what came late to wait"
        assert restated(running.store) == before
    running = Running(tmp_path)
    running.runtime.load()
    assert running.runtime.status.restating == waiting, "known before anything is computed"
    with running:
        running.wait(lambda: running.runtime.status.restating == {"u1": 0})
        assert restated(running.store) > before


def test_a_second_start_goes_on_and_doubles_nothing(tmp_path):
    with Running(tmp_path) as running:
        running.append(registry_frame(), T0)
        running.append(message(1, 0), T0 + 1000)
        running.wait(lambda: stored(running.store) == 1)
    with Running(tmp_path) as running:
        running.append(message(2, 1), T0 + 61_000)
        running.wait(lambda: stored(running.store) == 2)
        assert running.store.counts()["reading"] == 2


def test_a_stream_whose_beginning_is_forgotten_is_computed_anew_with_its_registry(tmp_path):
    """The journal keeps the registry aside: without it no device would be known until the site is edited."""
    day_ms = 86_400_000
    with Running(tmp_path) as running:
        running.append(registry_frame(), T0 - 40 * day_ms)
        running.append(Frame.heartbeat(), T0 - 20 * day_ms)
        running.append(message(1, 0), T0 + 1000)
        running.wait(lambda: stored(running.store) == 1)
    (tmp_path / "s.duckdb").unlink()
    (tmp_path / "c.sqlite3").unlink()
    journal = SqliteJournal(tmp_path / "j.sqlite3", lambda: T0)
    assert journal.prune(T0 - 30 * day_ms) == 1
    journal.close()
    with Running(tmp_path) as running:
        running.wait(lambda: stored(running.store) == 1)
        until(lambda: running.store.select(Select("device_heat")).num_rows or running.append(
            Frame.heartbeat(), T0 + 3_600_000))  # fmt: skip


def test_a_contract_whose_tickets_are_forgotten_keeps_what_was_said_of_it(tmp_path):
    """Without them it would be said anew, final and too small; later days are unknown."""
    day_ms = 86_400_000
    events = sorted(trips(5, days=12.0), key=lambda e: e.t)
    records = road_journal(
        [[e for e in events if (e.t - T0) // day_ms == day] for day in range(12)],
        [T0 + (day + 1) * day_ms for day in range(12)],
    )

    def said(running):
        rows = running.store.select(Select("fulfilment")).to_pylist()
        return {r["window_start"]: r for r in rows if r["key"].startswith("C1:")}

    def computed(running, offset):
        until(lambda: running.runtime.offsets().get(STREAM) == offset)

    with Running(tmp_path) as running:
        running.journal.append([Append(STREAM, r.frame, r.timestamp_ms) for r in records])
        computed(running, records[-1].offset)
        running.wait(lambda: len(said(running)) > 10)
    with Running(tmp_path) as running:
        before = said(running)
        assert max(r["received_kg"] for r in before.values()) > 0
    (tmp_path / "c.sqlite3").unlink()
    journal = SqliteJournal(tmp_path / "j.sqlite3", lambda: T0)
    assert journal.prune(T0 + 8 * day_ms) > 0
    journal.close()
    with Running(tmp_path) as running:
        computed(running, records[-1].offset)
        heartbeat = Frame.heartbeat().encode()
        running.journal.append([Append(STREAM, heartbeat, T0 + (13 + n) * day_ms) for n in range(3)])
        computed(running, records[-1].offset + 3)
        after = said(running)
    settled = {start for start, row in before.items() if row["status"] == "final"}
    assert len(settled) > 9
    assert {start: after[start] for start in settled} == {start: before[start] for start in settled}
    later = [row for start, row in after.items() if start >= T0 + 12 * day_ms]
    assert {(row["reason"], row["received_kg"]) for row in later} == {("forgotten", None)}


class Away(DuckdbSeries):
    """A store that cannot be reached at first."""

    refusals = 2

    def write(self, outputs):
        if outputs and self.refusals:
            self.refusals -= 1
            raise SinkUnavailableError("the disk is away")
        super().write(outputs)


def test_a_store_that_is_away_is_said_and_waited_for(tmp_path):
    with Running(tmp_path, Away(tmp_path / "s.duckdb")) as running:
        running.append(registry_frame(), T0)
        running.append(message(1, 0), T0 + 1000)
        running.wait(lambda: running.runtime.status.state == "degraded")
        assert running.runtime.status.detail == "the disk is away"
        running.wait(lambda: stored(running.store) == 1)
        running.wait(lambda: running.runtime.status.state == "ok")


def test_a_poisoned_record_is_one_dead_letter_and_a_restart_does_not_loop(tmp_path):
    """The second start has no checkpoint, and comes to the record once more."""
    for _ in range(2):
        with Running(tmp_path) as running:
            running.runtime.save = lambda *_: None
            if not running.journal.count():
                running.append(registry_frame(), T0)
                running.journal.append([Append("u1", b"no frame", T0 + 500)])
                running.append(message(1, 0), T0 + 1000)
            running.wait(lambda r=running: r.runtime.offsets().get("u1") == 2)
            letters = running.store.select(Select("dead_letter")).to_pylist()
            assert [(x["reason"], x["payload"]) for x in letters] == [("frame", "no frame")]
            assert running.store.counts()["reading"] == 1
            running.wait(lambda r=running: r.runtime.status.state == "ok")


class Full(Away):
    """A store without room for what is said when nothing is at hand."""

    refusals = refused = 0
    full = False

    def write(self, outputs):
        if self.full and not any(o.readings for o in outputs):
            self.refusals, self.refused = 1, self.refused + 1
        super().write(outputs)


def test_a_store_that_is_full_while_nothing_comes_is_waited_for_too(tmp_path):
    with Running(tmp_path, Full(tmp_path / "s.duckdb")) as running:
        running.append(registry_frame(), T0)
        running.append(message(1, 0), T0 + 1000)
        running.wait(lambda: stored(running.store) == 1)
        running.store.full = True
        running.append(message(2, 0), T0 + 1000)
        running.wait(lambda: running.store.refused)
        running.wait(lambda: running.runtime.status.state == "degraded")
        running.store.full = False
        running.wait(lambda: stored(running.store) == 2)
        running.append(message(3, 0), T0 + 1000)
        running.wait(lambda: stored(running.store) == 3)


class Unreadable(SqliteJournal):
    """A journal of which one stream cannot be read now and then."""

    refuses = ""

    def read(self, stream, after, limit=1000):
        if stream == self.refuses:
            self.refuses = ""
            raise JournalError("the disk does not answer")
        return super().read(stream, after, limit)


def test_what_was_computed_is_stored_though_the_next_stream_cannot_be_read(tmp_path):
    journal = Unreadable(tmp_path / "j.sqlite3", lambda: T0)
    store, checkpoints = DuckdbSeries(tmp_path / "s.duckdb"), SqliteCheckpoints(tmp_path / "c.sqlite3")
    runtime, stop = LocalRuntime(journal, store, checkpoints), threading.Event()
    journal.append([Append(s, registry_frame().encode(), T0) for s in ("u1", "u2")])
    runtime.pass_once(stop)
    journal.append([Append("u1", message(1, 0).encode(), T0), Append("u2", registry_frame().encode(), T0)])
    journal.refuses = "u2"
    with pytest.raises(JournalError):
        runtime.pass_once(stop)
    assert runtime.offsets()["u1"] == 0
    runtime.pass_once(stop)
    runtime.save()
    assert (runtime.offsets(), checkpoints.offsets()) == ({"u1": 1, "u2": 1},) * 2
    assert store.counts()["reading"] == 1
    for part in (journal, store, checkpoints):
        part.close()
