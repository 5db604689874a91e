"""`hearthline worker`: its health on a port of its own, and what becomes of rows that InfluxDB refuses."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hearthline.metrics import METRICS
from hearthline.parts_told import PART
from hearthline.refusals import Refusals
from hearthline.worker_health import WorkerHealth
from ingest.clock import wall_clock
from journal.kafka_log import CONDITIONS, PARTS
from models.frame import Frame
from store.duckdb_series import DuckdbSeries
from store.influx_series import InfluxSeries
from store.protocol import Select
from store.rows import REFUSED
from streams.core.containing import Failure
from streams.runtime.faust_standing import WorkerStanding
from tests.support.chain_feed import caught_up
from tests.support.commands import run_command
from tests.support.forked import ForkedProgram
from tests.support.influx_stub import TOKEN, InfluxStub
from tests.support.mock_kafka import MockKafka
from tests.support.mosquitto import free_port
from tests.support.series import heat, heats, output
from tests.support.system import ended
from tests.support.telemetry import STREAM, T0, history, registry_frame, telemetry_frames
from tests.support.waiting import PATIENCE_S, until

COMMAND = [str(Path(sys.executable).with_name("hearthline")), "worker"]
PART_OF_INGEST = b'{"v": 1, "parts": [{"name": "broker", "state": "degraded", "detail": "gone"}]}'


@pytest.fixture
def stub():
    made = InfluxStub()
    yield made
    made.close()


@pytest.fixture
def kafka():
    cluster = MockKafka()
    cluster.make_topics("frames", "hearthline-checkpoints-changelog", CONDITIONS, PARTS)
    yield cluster
    cluster.close()


def connect(stub, refusals):
    store = InfluxSeries(stub.url, "o", "b", TOKEN, refused=refusals, timeout_s=2.0, patience_s=2.0)
    refusals.store = store
    return store


def test_health_readiness_and_metrics_on_a_port_of_its_own(kafka, tmp_path):
    port = free_port()
    words = [
        "--kafka", kafka.bootstrap, "--duckdb", tmp_path / "series.duckdb", "--partitions", "4",
        "--metrics-port", port, "--checkpoint-s", "1",
    ]  # fmt: skip
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(
        [*COMMAND, *map(str, words)], stdout=log, stderr=log
    ) as worker, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as probe:  # fmt: skip
        try:
            until(lambda: answers(probe, "/health"), "it answers")
            until(lambda: answers(probe, "/ready"), "it owns its partitions")
            for n in range(5):
                kafka.append("frames", "u1", Frame.heartbeat().encode(), wall_clock(), n % 4)
            kafka.flush()

            def served():
                text = probe.get("/metrics").text
                return {f.name: f for f in text_string_to_metric_families(text)}

            def value(name, **labels):
                samples = [s for f in served().values() for s in f.samples if s.name == name]
                return next((s.value for s in samples if s.labels == labels), None)

            until(lambda: value("hearthline_stepped_records_total") == 5, "five records are stepped")
            until(lambda: value("hearthline_lag_records", stage="stored") == 0, "their results are stored")

            def checkpointed():
                kafka.append(PARTS, "ingest front 1", PART_OF_INGEST, 0, 0)
                kafka.flush()
                return (value("hearthline_checkpoint_seconds_count") or 0) > 0

            until(checkpointed, "a checkpoint")
            assert value("hearthline_lag_records", stage="stepped") == 0
            assert value("hearthline_component_ok", component="store") == 1
            expected = {n.removesuffix("_total") for n, m in METRICS.items() if "worker" in m.where}
            assert {n for n in served() if n.startswith("hearthline_")} == expected
            for path in ("/health", "/ready", "/metrics"):
                assert probe.get(path, headers={"host": "evil.example"}).status_code == 421
                assert probe.get(path, headers={"origin": "http://evil.example"}).status_code == 403
            told = run_command("status", "--url", f"http://127.0.0.1:{port}").stdout
            assert "not yet stepped (streams): 0 records" in told
            assert "not yet stored (store): 0 records" in told
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(PATIENCE_S) == 0
        finally:
            print((tmp_path / "log").read_text())
            worker.kill()
    store = DuckdbSeries(tmp_path / "series.duckdb")
    kept = {r["process"].split()[0]: r["state"] for r in store.select(Select(PART)).to_pylist()}
    store.close()
    assert kept == {"worker": "stopped", "ingest": "degraded"}, "what ingest said last, by Kafka"


def test_topics_with_another_number_of_partitions_are_named_with_what_to_do(kafka, tmp_path):
    words = ["--kafka", kafka.bootstrap, "--duckdb", tmp_path / "series.duckdb", "--partitions", "12"]
    done = ended("worker", *words)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert f"topic frames on {kafka.bootstrap}: expected 12 partitions, got 4; set --partitions 4" in line


def test_a_token_without_rights_ends_the_worker_with_one_line_and_loses_nothing(kafka, stub, tmp_path):
    registry = registry_frame().encode()
    kafka.append("frames", STREAM, registry, T0)
    messages = sorted(history(1, hours=0.2), key=lambda m: m.newest_t)
    for frame in telemetry_frames(messages):
        kafka.append("frames", STREAM, frame.encode(), messages[-1].newest_t)
    kafka.flush()
    stub.may_write = False
    with worker(kafka, stub, tmp_path / "first") as refused:
        assert refused.wait(PATIENCE_S) == 75, (tmp_path / "first").read_text()
    [line] = [each for each in (tmp_path / "first").read_text().splitlines() if "HTTP 403" in each]
    assert "the store refuses: " in line
    assert (
        "the token lacks rights here: `hearthline store prepare --tokens` writes ones that have them" in line
    )
    assert line.endswith("leaving (a new process goes on from the last checkpoint)")
    assert "Traceback" not in (tmp_path / "first").read_text()
    assert TOKEN not in (tmp_path / "first").read_text()
    assert not stub.points
    stub.may_write = True
    with worker(kafka, stub, tmp_path / "second") as again:
        until(caught_up(kafka), "everything is under a checkpoint")
        again.terminate()
        assert again.wait(PATIENCE_S) == 0
    kept = [t for (name, _, t), _ in stub.contents().items() if name == "reading"]
    assert len(kept) == sum(len(m.samples) for m in messages)


@contextlib.contextmanager
def worker(kafka, stub, log):
    """A worker over InfluxDB's stub; ended with the block."""
    settings = {"TOKEN": TOKEN, "ORG": "o", "BUCKET": "b"}
    environment = os.environ | {f"HEARTHLINE_INFLUX_{name}": value for name, value in settings.items()}
    words = ["--kafka", kafka.bootstrap, "--influx", stub.url, "--partitions", "4", "--checkpoint-s", "0.5"]
    words += ["--clock", "data"]
    with log.open("wb") as out:
        program = ForkedProgram([*COMMAND, *words], stdout=out, stderr=out, env=environment)
    try:
        yield program
    finally:
        program.kill()


def answers(probe, path):
    try:
        return probe.get(path).status_code == 200
    except httpx.HTTPError:
        return False


def test_rows_that_influx_refuses_are_kept_counted_and_shown(stub):
    refusals = Refusals()
    store = connect(stub, refusals)
    stub.poison = "heat_gj=2"
    rows = heats(heat("m1", 0, 1.0), heat("m1", 900_000, 2.0), heat("m1", 1_800_000, 3.0))
    for _ in range(2):  # as after a crash: the same rows again
        store.write([output(1, rows={"device_heat": [rows]})])
    kept = [(name[0], fields) for name, fields in stub.contents().items()]
    assert sorted(f["heat_gj"] for measurement, f in kept if measurement == "device_heat") == [1.0, 3.0]
    [refused] = [f for measurement, f in kept if measurement == REFUSED]
    assert json.loads(refused["row"])["heat_gj"] == 2.0
    assert (refused["measurement"], "poison" in refused["reason"]) == ("device_heat", True)
    health = WorkerHealth(wall_clock, wall_clock=True, refusals=refusals)
    part = next(p for p in health.components() if p["name"] == "store")
    assert part["state"] == "degraded"
    assert "rows of device_heat were refused" in part["reason"]
    assert "store_refused" in part["advice"]
    assert b'hearthline_store_refused_rows_total{measurement="device_heat"} 2.0' in health.metrics()
    store.close()


def test_a_worker_tells_what_its_operators_cannot_compute():
    def failed(subject, last_ms):
        return Failure("device_heat", subject, "ValueError: odd (x.py:1)", "", 1_767_225_600_000, last_ms)

    found = failed("m1", 2_000_000_000_000), failed("m2", 2_000_000_000_001)
    again = replace(found[0], operator="data_quality")
    follows = replace(
        found[1], operator="trip", last_ms=found[1].last_ms + 1, error="SourceError: haul (y.py:2)"
    )
    failing = {"u1": (*found, again, follows)}
    standing = WorkerStanding(
        assigned=1, stepped=1, stepped_ms=0, unstepped=0, unstored=0, unstored_s=0.0, checkpoint_age_s=None,
        now_ms={"u1": 2_000_000_000_001, "u2": 1}, failing=failing,
    )  # fmt: skip
    health = WorkerHealth(wall_clock, wall_clock=False, refusals=Refusals())
    health.watch(SimpleNamespace(standing=lambda: standing))
    part = next(p for p in health.components() if p["name"] == "streams")
    assert part["state"] == "degraded"
    assert part["reason"] == "device_heat cannot compute m2 of u1: ValueError: odd (x.py:1)"
    assert part["what"].endswith("; 2 unknown, all else goes on")
    assert "m2 sent since 2026-01-01" in part["advice"]
    figures = health.metrics()
    assert b'hearthline_failing_subjects{stream="u1"} 2.0' in figures
    assert b'hearthline_failing_subjects{stream="u2"} 0.0' in figures


def test_a_worker_tells_which_stream_stands_still_and_why():
    standing = WorkerStanding(
        assigned=1, stepped=1, stepped_ms=0, unstepped=0, unstored=0, unstored_s=0.0, checkpoint_age_s=None,
        now_ms={"u1": 1, "u2": 2}, standing={"u1": "after record 3: KeyError: 'x'"},
    )  # fmt: skip
    health = WorkerHealth(wall_clock, wall_clock=False, refusals=Refusals())
    health.watch(SimpleNamespace(standing=lambda: standing))
    part = next(p for p in health.components() if p["name"] == "streams")
    assert part["state"] == "degraded"
    assert part["reason"] == "u1 stands still, all others go on: after record 3: KeyError: 'x'"
    told = "Kafka keeps what comes; report the error with the log, and start the worker again"
    assert part["advice"] == told, "not the server, which is another program"


def test_a_row_that_is_refused_as_a_refusal_too_is_counted_and_does_not_go_round(stub):
    refusals = Refusals()
    store = connect(stub, refusals)
    stub.poison = "poison"
    store.write([output(1, rows={"device_heat": [heats(heat("poison", 0, 1.0), heat("m1", 0, 1.0))]})])
    assert refusals.rows() == {"device_heat": 1, REFUSED: 1}
    assert {name[0] for name in stub.contents()} == {"device_heat"}
    store.close()
