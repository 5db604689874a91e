"""A real Faust worker on a Kafka in memory: whatever happens to it, its rows are those of a plain run."""

from __future__ import annotations

import random
import signal
import time

import psutil
import pytest

from models.frame import Record
from streams.runtime.faust_app import EXIT_RESTART
from streams.runtime.faust_settings import WorkerSettings
from streams.runtime.faust_topics import KafkaUnavailableError, TopicError, check_topics
from tests.support.chain_pipeline import ChainPipeline, rows_of
from tests.support.faust_worker import WorkerProcess
from tests.support.mock_kafka import MockKafka

pytestmark = pytest.mark.timeout(180)

_GROUP, _TOPIC, _CHANGELOG = "hearthline", "frames", "hearthline-checkpoints-changelog"
_T0 = 1_767_225_600_000


@pytest.fixture
def kafka():
    cluster = MockKafka()
    cluster.make_topics(_TOPIC, _CHANGELOG)
    yield cluster
    cluster.close()


@pytest.fixture
def start(kafka, tmp_path):
    """Start workers; they end with the test, however it ends."""
    workers = []

    def one(name="worker", **options):
        worker = WorkerProcess(kafka.bootstrap, tmp_path / "rows.db", tmp_path / f"{name}.log", **options)
        workers.append(worker)
        return worker

    yield one
    for worker in workers:
        if worker.process.poll() is None:
            worker.kill()


class _Feed:
    """Numbers for eight streams, a steady trickle or all at once."""

    def __init__(self, kafka):
        self._kafka = kafka
        self.sent = 0

    def send(self, count):
        for _ in range(count):
            self._kafka.append(_TOPIC, f"s{self.sent % 8}", b"%d" % self.sent, _T0 + 100 * self.sent)
            self.sent += 1
        self._kafka.flush()


@pytest.fixture
def feed(kafka):
    return _Feed(kafka)


def _expected(kafka):
    """Rows of stepping each stream's records in one go, as they lie in the topic."""
    pipelines, rows = {}, {}
    for _, offset, key, value, timestamp_ms in kafka.read(_TOPIC):
        stream = key.decode()
        pipeline = pipelines.setdefault(stream, ChainPipeline(stream))
        for tables in pipeline.step(Record(stream, offset, timestamp_ms, value)).rows.values():
            for row in tables[0].to_pylist():
                rows["chain", stream, row["window_start"]] = row
    return rows


def _caught_up(kafka):
    """Whether every record is under a confirmed checkpoint, told by the commits that follow it."""
    return lambda: kafka.committed(_GROUP, _TOPIC) == kafka.ends(_TOPIC)


def test_a_worker_gives_the_rows_of_a_plain_run(kafka, feed, start, tmp_path):
    feed.send(2000)
    worker = start()
    worker.wait_until(_caught_up(kafka))
    ports = [
        c for c in psutil.Process(worker.process.pid).net_connections() if c.status == psutil.CONN_LISTEN
    ]
    assert ports == [], "a worker listens nowhere"
    feed.send(500)
    worker.wait_until(_caught_up(kafka))
    assert worker.stop() == 0
    rows = rows_of(tmp_path / "rows.db")
    assert rows == _expected(kafka)
    assert sum(row["records"] for row in rows.values()) == 2500
    assert worker.exits == []


def test_a_clean_stop_leaves_nothing_to_be_done_again(kafka, feed, start, tmp_path):
    feed.send(300)
    worker = start(checkpoint_s=600)
    worker.wait_until(lambda: sum(row["records"] for row in rows_of(tmp_path / "rows.db").values()) == 300)
    assert worker.stop() == 0
    markers = [value for _, _, key, value, _ in kafka.read(_CHANGELOG) if b"/marker/" in key]
    assert len(markers) == len(kafka.ends(_TOPIC))


@pytest.mark.parametrize("seed", range(5))
def test_kill_9_in_mid_stream_changes_no_row(kafka, feed, start, tmp_path, seed):
    chance = random.Random(seed)
    worker = start(checkpoint_s=0.5)
    feed.send(200)
    worker.wait_until(lambda: bool(rows_of(tmp_path / "rows.db")))
    for _ in range(2):
        until = time.monotonic() + chance.uniform(0.3, 2.0)
        while time.monotonic() < until:
            feed.send(40)
            time.sleep(0.02)
        worker.kill()
        feed.send(100)
        worker.start()
        before = kafka.committed(_GROUP, _TOPIC)
        worker.wait_until(lambda before=before: kafka.committed(_GROUP, _TOPIC) != before)
    worker.wait_until(_caught_up(kafka))
    worker.stop()
    assert rows_of(tmp_path / "rows.db") == _expected(kafka), f"seed {seed}; {worker.tail()}"
    assert worker.exits == [], worker.tail()


def test_a_worker_added_and_another_killed(kafka, feed, start, tmp_path):
    first = start("first", checkpoint_s=0.5)
    feed.send(400)
    first.wait_until(_caught_up(kafka))
    second = start("second", checkpoint_s=0.5)
    for _ in range(60):
        feed.send(20)
        time.sleep(0.1)
        first.keep_up()
        second.keep_up()
    second.wait_until(lambda: "goes on after" in second.tail())
    first.kill()
    feed.send(400)
    second.wait_until(_caught_up(kafka))
    second.stop()
    assert rows_of(tmp_path / "rows.db") == _expected(kafka), first.tail() + second.tail()


def test_a_worker_stopped_past_its_session_writes_nothing_when_it_resumes(kafka, feed, start, tmp_path):
    first = start("first", checkpoint_s=0.5, session_s=6)
    feed.send(400)
    first.wait_until(_caught_up(kafka))
    first.send(signal.SIGSTOP)
    feed.send(400)  # delivered to nobody yet, or to the one that is stopped
    second = start("second", checkpoint_s=0.5, session_s=6)
    second.wait_until(_caught_up(kafka))
    feed.send(400)
    second.wait_until(_caught_up(kafka))
    first.send(signal.SIGCONT)
    until = time.monotonic() + 8
    while time.monotonic() < until:
        feed.send(10)
        first.keep_up()
        second.keep_up()
        time.sleep(0.1)
    second.wait_until(lambda: first.keep_up() or _caught_up(kafka)())
    assert set(first.exits) <= {EXIT_RESTART}, first.tail()
    first.stop()
    second.stop()
    assert rows_of(tmp_path / "rows.db") == _expected(kafka), first.tail() + second.tail()


def test_a_store_that_is_away_holds_the_source_back_and_loses_nothing(kafka, feed, start, tmp_path):
    away = tmp_path / "rows.db.away"
    feed.send(100)
    worker = start(checkpoint_s=0.5)
    worker.wait_until(_caught_up(kafka))
    away.touch()
    feed.send(3000)
    worker.wait_until(lambda: "degraded: the store is away" in worker.tail())
    time.sleep(3)
    assert kafka.committed(_GROUP, _TOPIC) != kafka.ends(_TOPIC)
    away.unlink()
    worker.wait_until(_caught_up(kafka))
    worker.stop()
    assert rows_of(tmp_path / "rows.db") == _expected(kafka)
    assert worker.exits == []
    assert "the store answers again" in worker.tail()


def test_a_rebalance_while_the_store_is_away_strands_nobody(kafka, feed, start, tmp_path):
    away = tmp_path / "rows.db.away"
    feed.send(100)
    first = start("first", checkpoint_s=0.5)
    first.wait_until(_caught_up(kafka))
    away.touch()
    feed.send(200)
    first.wait_until(lambda: "degraded" in first.tail())
    second = start("second", checkpoint_s=0.5)
    second.wait_until(lambda: "goes on after" in second.tail() and "given up" in first.tail())
    away.unlink()
    feed.send(200)
    second.wait_until(lambda: first.keep_up() or _caught_up(kafka)())
    first.stop()
    second.stop()
    assert rows_of(tmp_path / "rows.db") == _expected(kafka), first.tail() + second.tail()


def test_poisoned_records_are_dead_letters(kafka, feed, start, tmp_path):
    feed.send(80)
    kafka.append(_TOPIC, "s3", b"\x00poison", _T0)
    kafka.append(_TOPIC, None, b"7", _T0, partition=0)
    feed.send(80)
    worker = start()
    worker.wait_until(_caught_up(kafka))
    worker.stop()
    rows = rows_of(tmp_path / "rows.db")
    letters = [row for (measurement, _, _), row in rows.items() if measurement == "dead_letter"]
    assert sorted(row["stream"] for row in letters) == ["_refused", "s3"]
    assert sum(row["records"] for (measurement, _, _), row in rows.items() if measurement == "chain") == 160
    assert worker.exits == []


def test_sigterm_while_kafka_is_gone_ends_in_time(kafka, feed, start):
    feed.send(100)
    worker = start(stop_s=5)
    worker.wait_until(_caught_up(kafka))
    kafka.close()
    time.sleep(1)
    began = time.monotonic()
    worker.send(signal.SIGTERM)
    worker.process.wait(15)
    assert time.monotonic() - began < 12


def test_topics_are_checked_before_a_worker_joins(kafka):
    check_topics(WorkerSettings(kafka.bootstrap, partitions=4))
    with pytest.raises(TopicError, match="expected 12 partitions, got 4; set --partitions 4"):
        check_topics(WorkerSettings(kafka.bootstrap))


def test_no_broker_is_said_to_be_no_broker():
    with pytest.raises(KafkaUnavailableError, match="expected a Kafka broker that answers within 1 s"):
        check_topics(WorkerSettings("127.0.0.1:9"), timeout_s=1)
