"""Against a real Kafka: several workers, workers that stop and resume, and a broker that dies."""

from __future__ import annotations

import random
import signal
import time

import pytest

from journal.kafka_log import ACTIONS, CONDITIONS, PARTS
from streams.runtime.faust_app import EXIT_RESTART
from streams.runtime.faust_settings import WorkerSettings
from streams.runtime.faust_topics import TopicError, check_topics, create_topics
from tests.support.chain_feed import T0, TOPIC, Feed, caught_up, expected_rows
from tests.support.chain_pipeline import rows_of
from tests.support.faust_worker import WorkerProcess
from tests.support.real_kafka import RealKafka

pytestmark = pytest.mark.soak


@pytest.fixture
def kafka(tmp_path):
    cluster = RealKafka(tmp_path)
    settings = WorkerSettings(cluster.bootstrap, partitions=cluster.partitions)
    with pytest.raises(TopicError, match="got none; make it with `hearthline worker --create-topics`"):
        check_topics(settings)
    assert create_topics(settings) == [TOPIC, settings.changelog, CONDITIONS, ACTIONS, PARTS]
    assert create_topics(settings) == []
    check_topics(settings)
    yield cluster
    cluster.close()


@pytest.fixture
def feed(kafka):
    return Feed(kafka)


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


def test_the_brokers_time_is_the_records_time(kafka, feed):
    feed.send(1)
    (kept,) = kafka.read(TOPIC)
    assert abs(kept.timestamp_ms / 1000 - time.time()) < 60 < abs(T0 / 1000 - time.time())


def test_a_worker_added_and_another_killed(kafka, feed, start, tmp_path):
    first = start("first", checkpoint_s=0.5)
    feed.send(400)
    first.wait_until(caught_up(kafka))
    second = start("second", checkpoint_s=0.5)
    for _ in range(60):
        feed.send(20)
        time.sleep(0.1)
        first.keep_up()
        second.keep_up()
    second.wait_until(lambda: "goes on after" in second.tail())
    first.kill()
    feed.send(400)
    second.wait_until(caught_up(kafka), timeout_s=120)
    second.stop()
    assert rows_of(tmp_path / "rows.db") == expected_rows(kafka), first.tail() + second.tail()


def test_a_worker_stopped_past_its_session_writes_nothing_when_it_resumes(kafka, feed, start, tmp_path):
    first = start("first", checkpoint_s=0.5, session_s=6)
    feed.send(400)
    first.wait_until(caught_up(kafka))
    first.send(signal.SIGSTOP)
    feed.send(400)  # delivered to nobody yet, or to the one that is stopped
    second = start("second", checkpoint_s=0.5, session_s=6)
    second.wait_until(caught_up(kafka), timeout_s=120)
    feed.send(400)
    second.wait_until(caught_up(kafka), timeout_s=120)
    first.send(signal.SIGCONT)
    until = time.monotonic() + 8
    while time.monotonic() < until:
        feed.send(10)
        first.keep_up()
        second.keep_up()
        time.sleep(0.1)
    second.wait_until(lambda: first.keep_up() or caught_up(kafka)(), timeout_s=120)
    assert set(first.exits) <= {EXIT_RESTART}, first.tail()
    first.stop()
    second.stop()
    assert rows_of(tmp_path / "rows.db") == expected_rows(kafka), first.tail() + second.tail()


def test_a_rebalance_while_the_store_is_away_strands_nobody(kafka, feed, start, tmp_path):
    away = tmp_path / "rows.db.away"
    feed.send(100)
    first = start("first", checkpoint_s=0.5)
    first.wait_until(caught_up(kafka))
    away.touch()
    feed.send(200)
    first.wait_until(lambda: "degraded" in first.tail())
    second = start("second", checkpoint_s=0.5)
    second.wait_until(lambda: "goes on after" in second.tail() and "given up" in first.tail())
    away.unlink()
    feed.send(200)
    second.wait_until(lambda: first.keep_up() or caught_up(kafka)(), timeout_s=120)
    first.stop()
    second.stop()
    assert rows_of(tmp_path / "rows.db") == expected_rows(kafka), first.tail() + second.tail()


def test_kill_9_of_kafka_in_mid_stream_changes_no_row(kafka, feed, start, tmp_path):
    worker = start(checkpoint_s=0.5)
    feed.send(400)
    worker.wait_until(caught_up(kafka))
    for seed in range(2):
        until = time.monotonic() + random.Random(seed).uniform(0.3, 2.0)
        while time.monotonic() < until:
            feed.send(40)
            time.sleep(0.02)
        kafka.kill()
        time.sleep(2)
        kafka.start()
        feed.send(400)
        worker.wait_until(caught_up(kafka), timeout_s=120)
        assert rows_of(tmp_path / "rows.db") == expected_rows(kafka), f"seed {seed}; {worker.tail()}"
    worker.stop()
    assert set(worker.exits) <= {EXIT_RESTART}


def test_a_kafka_that_freezes_past_the_session_changes_no_row(kafka, feed, start, tmp_path):
    worker = start(checkpoint_s=0.5)
    feed.send(400)
    worker.wait_until(caught_up(kafka))
    feed.send(400)
    kafka.send(signal.SIGSTOP)
    time.sleep(10)
    kafka.send(signal.SIGCONT)
    feed.send(400)
    worker.wait_until(caught_up(kafka), timeout_s=120)
    worker.stop()
    assert rows_of(tmp_path / "rows.db") == expected_rows(kafka), worker.tail()
