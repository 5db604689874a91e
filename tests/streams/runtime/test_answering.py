"""A device's first sample of long ago: its windows are made in turns, and what comes live goes on meanwhile."""

from __future__ import annotations

import threading

from journal.protocol import Append
from journal.sqlite import SqliteJournal
from models.frame import Frame, FrameKind
from models.restate import RestateAnswer, Span
from store import restate
from store.duckdb_series import DuckdbSeries
from store.protocol import Select
from streams.runtime import answering
from streams.runtime.answering import Answering
from streams.runtime.local import LocalRuntime
from streams.runtime.sqlite_checkpoints import SqliteCheckpoints
from tests.support.telemetry import T0, Message, registry_frame, telemetry_frames

STEP_MS = 900_000
DAY_MS = 86_400_000
NOW = T0 + 3_600_000
ROWS = ("device_heat", "data_quality", "secondary_heat", "network_heat", "network_water", "reconciled_heat")


def spans(first, *lengths):
    """Of one device, one after the other."""
    starts = [T0 + STEP_MS * (first + sum(lengths[:n])) for n in range(len(lengths))]
    return [Span("a", "meter", at, at + STEP_MS * length) for at, length in zip(starts, lengths, strict=True)]


def test_frames_go_together_up_to_a_second_of_work():
    parts = [
        RestateAnswer("r", False, (span,), part=n) for n, span in enumerate(spans(0, 90, 90, 90, 500, 1))
    ]
    parts.append(RestateAnswer("r", True, (), part=5))
    work = Answering("r", iter(parts))
    taken = []
    done = False
    while not done:
        turn = work.turn()
        assert work.turn() == turn, "the same until they are handed out"
        taken.append([RestateAnswer.decode(Frame.decode(frame)).part for frame in turn])
        done = work.handed_out(len(taken))
    assert taken == [[0, 1], [2], [3], [4, 5]]
    assert work.until == 4


class Stream:
    """A runtime whose passes the test makes."""

    def __init__(self, directory):
        directory.mkdir(exist_ok=True)
        self.journal = SqliteJournal(directory / "j.sqlite3", lambda: NOW)
        self.store = DuckdbSeries(directory / "s.duckdb")
        self.checkpoints = SqliteCheckpoints(directory / "c.sqlite3")
        self.begin()

    def begin(self):
        """Start anew from the last checkpoint."""
        self.runtime = LocalRuntime(
            self.journal, self.store, self.checkpoints,
            answer=lambda request: restate.answer(self.store, request),
        )  # fmt: skip
        self.runtime.load()

    def append(self, frame, at=NOW):
        self.journal.append([Append("u1", frame.encode(), at)])

    def go(self):
        self.runtime.pass_once(threading.Event())

    def step_all(self):
        """Step what the journal has, a leap's slices too."""
        for _ in range(100):
            self.go()
            if not self.runtime.status.lag["u1"]:
                return
        raise AssertionError("expected all records to be stepped")

    def answer(self, turns):
        """Go on until so many turns of an answer are in the journal."""
        for _ in range(20):
            if len(answers(self)) >= turns:
                return
            self.go()
        raise AssertionError(f"expected an answer of {turns} turns, got {len(answers(self))}")

    def settle(self):
        pipeline = self.runtime._pipelines["u1"]
        for _ in range(60):
            self.go()
            if not self.runtime.status.lag["u1"] and pipeline.request is None and pipeline.ask() is None:
                return
        raise AssertionError("expected restatement to end")

    def close(self):
        for each in (self.journal, self.checkpoints, self.store):
            each.close()

    def rows(self):
        found = {}
        for name in ROWS:
            table = self.store.select(Select(name, withdrawn=True))
            found |= {(name, r["key"], r["window_start"]): r for r in table.to_pylist()}
        return found


def message(device, seq, t):
    values = {"flow_m3_h": 10.0, "supply_c": 90.0, "return_c": 50.0}
    (frame,) = telemetry_frames([Message(device, T0, seq, ((t, values),))])
    return frame


def long_ago(stream, days=5):
    """A stream in its first hour, to which a sample of days ago comes."""
    stream.append(registry_frame(), T0)
    for minute in range(1, 61):
        at = T0 + 60_000 * minute
        stream.append(message("sub-1", minute, at - 500), at)
    stream.step_all()
    stream.append(message("sub-2", 1, NOW - days * DAY_MS))
    stream.step_all()
    stream.runtime._pipelines["u1"].ask()
    return stream


def answers(stream):
    """Frames of the journal that answer a request for devices."""
    frames = [Frame.decode(r.frame) for r in stream.journal.read("u1", -1, 10_000)]
    found = [RestateAnswer.decode(f) for f in frames if f.kind is FrameKind.RESTATE]
    return [a for a in found if a.windows]


def test_what_comes_live_goes_on_between_the_turns(tmp_path):
    stream = long_ago(Stream(tmp_path))
    pipeline = stream.runtime._pipelines["u1"]
    stream.answer(1)
    asked = pipeline.request
    for n in range(2):
        stream.append(message("sub-1", 61 + n, NOW + 1000 * n), NOW + 1000 * n)
        stream.go()
        live = stream.store.select(Select("reading", keys=("sub-1",), latest=True)).to_pylist()
        assert live[0]["seq"] == 61 + n
        assert pipeline.request == asked, "amid the answer"
    stream.settle()
    assert sum(w.to_ms - w.from_ms for a in answers(stream) for w in a.windows) >= 5 * DAY_MS - DAY_MS // 8
    assert all(len(range(a.windows[0].from_ms, a.windows[-1].to_ms, STEP_MS)) <= 120 for a in answers(stream))
    stream.close()


def test_turns_and_crashes_amid_them_change_no_row(tmp_path, monkeypatch):
    days, rows = 2, []
    with monkeypatch.context() as paced:
        paced.setattr(answering, "_MOST_WINDOWS", 60)
        paced.setattr(restate, "_MOST_TIMES", 40)
        for crash in (False, True):
            stream = long_ago(Stream(tmp_path / str(crash)), days)
            stream.runtime.save()
            stream.answer(2)
            if crash:
                stream.begin()  # from before the answer, some of which is in the journal
            stream.settle()
            rows.append(stream.rows())
            stream.close()
    monkeypatch.setattr(answering, "_MOST_WINDOWS", 10**9)
    monkeypatch.setattr(restate, "_MOST_TIMES", 10**9)
    at_once = long_ago(Stream(tmp_path / "at once"), days)
    at_once.settle()
    assert len(answers(at_once)) == 1
    assert len(at_once.rows()) > days * 96 * 3
    assert rows == [at_once.rows()] * 2
    at_once.close()
