"""A real Faust worker on a Kafka in memory: whatever happens to it, its rows are those of a plain run."""

from __future__ import annotations

import random
import signal
import time
from types import SimpleNamespace

import psutil
import pytest

from streams.runtime.faust_app import EXIT_RESTART
from streams.runtime.faust_settings import WorkerSettings
from streams.runtime.faust_topics import KafkaUnavailableError, TopicError, check_topics
from tests.support.chain_feed import CHANGELOG, GROUP, T0, TOPIC, Feed, caught_up, expected_rows
from tests.support.chain_pipeline import rows_of
from tests.support.faust_worker import WorkerProcess
from tests.support.mock_kafka import MockKafka
from tests.support.waiting import PATIENCE_S


@pytest.fixture
def kafka():
    cluster = MockKafka()
    cluster.make_topics(TOPIC, CHANGELOG)
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


def unexplained(worker):
    """How it left, less where a machine that stood still had kept it from its group for too long."""
    late = worker.log.read_text(errors="replace").count("another worker may own the partitions")
    return worker.exits[min(late, worker.exits.count(EXIT_RESTART)) :]


@pytest.fixture
def feed(kafka):
    return Feed(kafka)


def test_a_worker_gives_the_rows_of_a_plain_run(kafka, feed, start, tmp_path):
    feed.send(2000)
    worker = start()
    worker.wait_until(caught_up(kafka))
    ports = [
        c for c in psutil.Process(worker.process.pid).net_connections() if c.status == psutil.CONN_LISTEN
    ]
    assert ports == [], "a worker listens nowhere"
    feed.send(500)
    worker.wait_until(caught_up(kafka))
    assert worker.stop() == 0
    rows = rows_of(tmp_path / "rows.db")
    assert rows == expected_rows(kafka)
    assert sum(row["records"] for row in rows.values()) == 2500
    assert unexplained(worker) == []


def test_a_clean_stop_leaves_nothing_to_be_done_again(kafka, feed, start, tmp_path):
    feed.send(300)
    worker = start(checkpoint_s=600)
    worker.wait_until(lambda: sum(row["records"] for row in rows_of(tmp_path / "rows.db").values()) == 300)
    assert worker.stop() == 0
    markers = [value for _, _, key, value, _ in kafka.read(CHANGELOG) if b"/marker/" in key]
    assert len(markers) == len(kafka.ends(TOPIC))


def test_kill_9_in_mid_stream_changes_no_row(kafka, feed, start, tmp_path):
    worker = start(checkpoint_s=0.5, rebalance_s=4)
    feed.send(200)
    worker.wait_until(lambda: bool(rows_of(tmp_path / "rows.db")))
    for seed in range(5):
        until = time.monotonic() + random.Random(seed).uniform(0.3, 3.0)
        while time.monotonic() < until:
            feed.send(40)
            time.sleep(0.02)
        worker.kill()
        feed.send(100)
        worker.start()
        worker.wait_until(caught_up(kafka))
        assert rows_of(tmp_path / "rows.db") == expected_rows(kafka), f"seed {seed}; {worker.tail()}"
    worker.stop()
    assert unexplained(worker) == [], worker.tail()


def test_a_store_that_is_away_holds_the_source_back_and_loses_nothing(kafka, feed, start, tmp_path):
    away = tmp_path / "rows.db.away"
    feed.send(100)
    worker = start(checkpoint_s=0.5)
    worker.wait_until(caught_up(kafka))
    away.touch()
    feed.send(3000)
    worker.wait_until(lambda: "degraded: the store is away" in worker.tail())
    time.sleep(3)
    assert kafka.committed(GROUP, TOPIC) != kafka.ends(TOPIC)
    away.unlink()
    worker.wait_until(caught_up(kafka))
    worker.stop()
    assert rows_of(tmp_path / "rows.db") == expected_rows(kafka)
    assert unexplained(worker) == []
    assert "the store answers again" in worker.tail()


def test_a_checkpoint_of_an_unknown_version_is_computed_anew_from_the_records(kafka, feed, start, tmp_path):
    feed.send(200)
    first = start()
    first.wait_until(caught_up(kafka))
    assert first.stop() == 0
    for partition, _, key, value, _ in kafka.read(CHANGELOG):
        if b"/marker/" in key and value:
            newer = value.replace(b'"version": 1', b'"version": 9')
            kafka.append(CHANGELOG, key.decode(), newer, T0, partition=partition)
    feed.send(100)
    worker = start("later")
    worker.wait_until(caught_up(kafka))  # two starts, and a session between them
    assert worker.stop() == 0
    assert rows_of(tmp_path / "rows.db") == expected_rows(kafka)
    assert unexplained(worker) == [75], "once, for all partitions"
    assert "expected a marker of version 1, got 9" in worker.tail()
    assert "it is computed anew from its first record" in worker.tail()


def test_a_worker_stopped_past_its_session_writes_nothing_when_it_resumes(kafka, feed, start, tmp_path):
    """What it had computed and not yet written is old by then: another has gone on, and written newer rows."""
    feed.send(400)
    held = start("held", checkpoint_s=600, flush_s=8, session_s=4, rebalance_s=3)
    held.wait_until(lambda: held.tail().count("goes on after") >= len(kafka.ends(TOPIC)))
    time.sleep(0.5)
    held.send(signal.SIGSTOP)
    stopped = time.monotonic()
    feed.send(400)
    other = start("other", checkpoint_s=0.5, session_s=4, rebalance_s=3)
    other.wait_until(caught_up(kafka))
    newer = rows_of(tmp_path / "rows.db")
    assert newer == expected_rows(kafka), other.tail()
    time.sleep(max(0.0, stopped + 9 - time.monotonic()))  # past what it waits before it writes
    held.send(signal.SIGCONT)
    # It leaves by its own lease, or its client is told first that the group went on, and joins it anew.
    other.wait_until(lambda: held.process.poll() is not None or "given up after" in held.tail())
    if held.process.poll() is None:
        held.kill()
    else:
        assert held.process.returncode == EXIT_RESTART, held.tail()
        assert "another worker may own the partitions" in held.tail()
    assert rows_of(tmp_path / "rows.db") == newer, held.tail()
    assert other.stop() in {0, EXIT_RESTART}
    assert set(other.exits) <= {EXIT_RESTART}


def test_topics_that_kafka_knew_not_when_the_group_met_are_asked_for_again(kafka, feed, start, tmp_path):
    feed.send(100)
    worker = start(topics_unknown_s=10)
    worker.wait_until(caught_up(kafka))
    assert "Ignoring missing topic" in worker.tail()
    assert worker.stop() == 0
    assert rows_of(tmp_path / "rows.db") == expected_rows(kafka)


def test_poisoned_records_are_dead_letters(kafka, feed, start, tmp_path):
    feed.send(80)
    kafka.append(TOPIC, "s3", b"\x00poison", T0)
    kafka.append(TOPIC, None, b"7", T0, partition=0)
    feed.send(80)
    worker = start()
    worker.wait_until(caught_up(kafka))
    worker.stop()
    rows = rows_of(tmp_path / "rows.db")
    letters = [row for (measurement, _, _), row in rows.items() if measurement == "dead_letter"]
    assert sorted(row["stream"] for row in letters) == ["_refused", "s3"]
    assert sum(row["records"] for (measurement, _, _), row in rows.items() if measurement == "chain") == 160
    assert unexplained(worker) == []


def test_a_stream_that_cannot_go_on_stands_still_and_holds_nobody_up(kafka, feed, start, tmp_path):
    feed.send(200)
    before = {name: row for name, row in expected_rows(kafka).items() if name[1] == "s3"}
    kafka.append(TOPIC, "s3", b"odd", T0 + 20_000)
    feed.send(400)
    kafka.flush()
    worker = start(checkpoint_s=0.5)
    worker.wait_until(caught_up(kafka))  # what is stored is let go, though no checkpoint covers it
    feed.send(100)
    worker.wait_until(caught_up(kafka))
    numbers = [each for each in kafka.read(TOPIC) if each[3] != b"odd"]
    sound = expected_rows(SimpleNamespace(read=lambda _topic: numbers))
    rows = rows_of(tmp_path / "rows.db")
    assert {n: r for n, r in rows.items() if n[1] != "s3"} == {n: r for n, r in sound.items() if n[1] != "s3"}
    assert {n: r for n, r in rows.items() if n[1] == "s3"} == before
    assert worker.stop() == 0
    assert unexplained(worker) == []
    assert worker.log.read_text(errors="replace").count("stream s3 stands still until the next start") == 1
    later = start("later")  # which reads again from before it, and meets it again
    later.wait_until(lambda: "stream s3 stands still" in later.tail())
    later.wait_until(lambda: rows_of(tmp_path / "rows.db") == rows)
    assert later.stop() == 0
    assert unexplained(later) == []


def test_sigterm_while_kafka_is_gone_ends_in_time(kafka, feed, start):
    feed.send(100)
    worker = start(stop_s=5)
    worker.wait_until(caught_up(kafka))
    kafka.close()
    time.sleep(1)
    worker.send(signal.SIGTERM)
    worker.process.wait(PATIENCE_S)  # without an end of its own it would wait for Kafka for ever


def test_a_worker_whose_kafka_is_gone_again_as_it_starts_is_to_be_started_again(kafka, start, tmp_path):
    kafka.close()
    worker = start()
    assert worker.process.wait(PATIENCE_S) == EXIT_RESTART, worker.tail()
    assert "Kafka did not answer in time" in worker.tail()


def test_topics_are_checked_before_a_worker_joins(kafka):
    check_topics(WorkerSettings(kafka.bootstrap, partitions=4))
    with pytest.raises(TopicError, match="expected 12 partitions, got 4; set --partitions 4"):
        check_topics(WorkerSettings(kafka.bootstrap))


def test_no_broker_is_said_to_be_no_broker():
    with pytest.raises(KafkaUnavailableError, match="expected a Kafka broker that answers within 1 s"):
        check_topics(WorkerSettings("127.0.0.1:9"), timeout_s=1)
