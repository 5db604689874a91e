"""Waiting for work is not being stuck; having work and moving nothing is."""

import asyncio
import logging
import logging.config

import faust
import pytest
from aiokafka.errors import KafkaTimeoutError
from faust.types import TP

from streams.runtime.faust_app import EXIT_RESTART, FrameWorker
from streams.runtime.faust_partition import PartitionRun, Pipelines
from streams.runtime.faust_program import run_worker
from streams.runtime.faust_settings import WorkerSettings
from streams.runtime.faust_watch import StallWatch
from tests.support.chain_pipeline import ChainPipeline, FileSink


class _Clock:
    now = 0.0

    def __call__(self):
        return self.now


def _seen(watch, clock, steps):
    out = []
    for at, mark, idle in steps:
        clock.now = at
        out.append(watch.see(mark, idle=idle))
    return out


def test_without_work_nothing_stalls():
    clock = _Clock()
    assert _seen(StallWatch(clock), clock, [(10, 1, True), (100, 1, True)]) == [0, 0]


def test_work_that_does_not_move_is_counted_from_when_it_last_did():
    clock = _Clock()
    steps = [(10, 1, False), (20, 1, False), (25, 2, False), (40, 2, False), (41, 2, True), (50, 2, False)]
    assert _seen(StallWatch(clock), clock, steps) == [0, 10, 0, 15, 0, 9]


def test_a_restore_that_moves_is_progress():
    clock = _Clock()
    steps = [(10, (0, frozenset({("c", 1)})), False), (50, (0, frozenset({("c", 9)})), False)]
    assert _seen(StallWatch(clock), clock, steps) == [0, 0]


@pytest.fixture
def stuck(tmp_path):
    """A worker outside any group, its clock, and the reasons for which it would leave."""
    reasons, clock = [], _Clock()
    settings = WorkerSettings("127.0.0.1:9", group="watched", stall_s=30, health_file=tmp_path / "alive")
    worker = FrameWorker(
        settings,
        Pipelines(ChainPipeline, ChainPipeline.restore),
        FileSink(tmp_path / "rows"),
        leave=reasons.append,
    )
    worker._lease._clock = worker._stall._clock = clock
    worker._started = worker._stall._since = 0.0
    return worker, clock, reasons


def _watch(worker, clock, at, *, heartbeat=True):
    clock.now = at
    if heartbeat:
        worker._lease.renew(at)
    asyncio.run(worker._watch())


def test_a_restore_that_hangs_ends_the_worker(stuck):
    worker, clock, reasons = stuck
    worker.app.in_recovery = True
    for at in (1, 20, 31):
        _watch(worker, clock, at)
    assert reasons == []
    _watch(worker, clock, 33)
    assert reasons == ["nothing moved for 32 s (restoring checkpoints)"]


class _Consumer:
    """Owns a partition in which Kafka has `end` records."""

    def __init__(self, tp, end):
        self._tp, self._end = tp, end

    def assignment(self):
        return {self._tp}

    def highwater(self, _tp):
        return self._end


def test_records_under_a_checkpoint_do_not_wait_for_who_takes_their_partition_over(stuck):
    worker, clock, reasons = stuck
    before = PartitionRun.load(2, 1, {}, 0, worker._pipelines)
    for offset in range(5):
        before.step(b"east", offset, 1000, b"1")
    plan = before.plan()
    worker._table.data.update([*plan.parts, plan.marker])
    tp = TP(worker.settings.topic, 2)
    assert worker._starts({tp: 0}) == {tp: 5}
    worker.app.consumer = _Consumer(tp, end=5)
    assert worker._lags() == {2: 0}
    for at in (1, 100, 200):
        _watch(worker, clock, at)
    assert reasons == []
    worker.app.consumer = _Consumer(tp, end=7)
    assert worker._lags() == {2: 2}


def test_a_slow_store_is_not_a_stall(stuck):
    worker, clock, reasons = stuck
    worker.app.rebalancing = worker._writing = True
    _watch(worker, clock, 1)
    _watch(worker, clock, 100)
    assert reasons == []


def test_a_worker_outside_its_group_shows_no_life_and_leaves(stuck):
    worker, clock, reasons = stuck
    worker._writing = True
    _watch(worker, clock, 29, heartbeat=False)
    assert reasons == []
    assert not worker.settings.health_file.exists()
    _watch(worker, clock, 31, heartbeat=False)
    assert reasons == ["no heartbeat answered for 31 s"]
    _watch(worker, clock, 40)
    assert worker.settings.health_file.exists()


def test_a_worker_whose_store_is_away_shows_no_life(stuck):
    worker, clock, _ = stuck
    worker._writing, worker.degraded = True, "away"
    _watch(worker, clock, 5)
    assert not worker.settings.health_file.exists()


def test_an_unreadable_checkpoint_whose_first_records_are_gone_is_kept_and_named(stuck):
    worker, clock, _ = stuck
    worker._lease.renew(clock.now)
    said = []
    worker._leave = lambda reason, status=75: said.append((reason, status))
    marker = b'{"version": 9}'
    worker._table.data[b"1/2/marker/0"] = marker
    tp = TP(worker.settings.topic, 2)
    assert worker._starts({tp: 40}) == {tp: 40}
    asyncio.run(worker._begin_anew())
    [(reason, status)] = said
    assert status == 2
    assert "partition 2: expected a marker of version 1, got 9" in reason
    assert "records from 40 on only. Run the release that wrote it" in reason
    assert worker._table.data[b"1/2/marker/0"] == marker


def _with_a_later_marker(stuck):
    """A worker that starts over a checkpoint of a later release; what it says on leaving, and what it sends."""
    worker, clock, _ = stuck
    said, sent = [], []
    worker._leave = lambda reason, status=75: said.append((reason, status))
    worker._table.send_changelog = lambda *args: sent.append(args)
    worker._table.data[b"1/2/marker/0"] = b'{"version": 9}'
    worker._starts({TP(worker.settings.topic, 2): 0})
    return worker, clock, said, sent


def test_a_worker_past_its_session_forgets_no_checkpoint(stuck):
    worker, clock, said, sent = _with_a_later_marker(stuck)
    worker._lease.renew(0.0)
    clock.now = worker.settings.session_s + 1
    asyncio.run(worker._begin_anew())
    assert (said, sent) == ([("another worker may own the partitions", 75)], [])


def test_a_session_that_ends_while_checkpoints_are_read_forgets_none(stuck):
    worker, clock, said, sent = _with_a_later_marker(stuck)
    worker._lease.renew(clock.now)
    read = worker._unreadable

    def slowly():
        clock.now += worker.settings.session_s + 1
        return read()

    worker._unreadable = slowly
    asyncio.run(worker._begin_anew())
    assert (said, sent) == ([("another worker may own the partitions", 75)], [])


def test_a_kafka_that_answers_too_late_while_a_worker_restores_asks_for_a_new_process(
    tmp_path, monkeypatch, caplog
):
    """As where the process was stopped meanwhile: the library ends the whole worker with its own error."""

    def restoring(_program):
        raise KafkaTimeoutError("Failed to get offsets by times in 12000 ms")

    monkeypatch.setattr(faust.Worker, "execute_from_commandline", restoring)
    monkeypatch.setattr(logging.config, "dictConfig", lambda _lines: None)
    settings = WorkerSettings("127.0.0.1:9", group="late")
    pipelines = Pipelines(ChainPipeline, ChainPipeline.restore)
    assert run_worker(settings, pipelines, FileSink(tmp_path / "rows")) == EXIT_RESTART
    assert "Kafka did not answer in time: KafkaTimeoutError: Failed to get offsets" in caplog.text
