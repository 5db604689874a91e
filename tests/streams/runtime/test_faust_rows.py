"""The operators through Faust give what stepping the pipelines gives, in either store, killed or not."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pyarrow as pa
import pytest

from hearthline.parts_told import PART
from journal.kafka_log import CONDITIONS
from models.frame import Frame, FrameKind, Record
from store.duckdb_series import DuckdbSeries
from store.influx_series import InfluxSeries
from store.protocol import Select
from streams.core.pipeline import Pipeline
from tests.support.chain_feed import CHANGELOG, GROUP, TOPIC, caught_up
from tests.support.forked import ForkedProgram
from tests.support.influx_stub import TOKEN, InfluxStub
from tests.support.mock_kafka import MockKafka
from tests.support.system import HEARTHLINE
from tests.support.telemetry import SITE_TEXTS, T0, history, registry_frame, telemetry_frames
from tests.support.waiting import PATIENCE_S

_ROOT = Path(__file__).parents[3]
_STREAMS = ("u1", "u2", "u3")
_HOUR_MS = 3_600_000


@pytest.fixture
def kafka():
    cluster = MockKafka()
    cluster.make_topics(TOPIC, CHANGELOG, CONDITIONS)
    yield cluster
    cluster.close()


def _renamed(frame: Frame, stream: str) -> Frame:
    devices = pa.array([f"{stream}-{device}" for device in frame.batch.column("device").to_pylist()])
    return Frame(
        frame.kind, frame.device_class, frame.batch.set_column(0, frame.batch.schema.field(0), devices)
    )


def _records(stream: str, seed: int, *, late_ms: int = 0) -> list[tuple[int, bytes]]:
    """An hour of a unit with some frames twice or late, a poisoned one, and time for all to be final."""
    texts = dict(SITE_TEXTS)
    texts["devices.csv"] = "\n".join(
        line
        if line.startswith("device,") or not line
        else f"{stream}-{line}".replace(",u1,n1,", f",{stream},{stream}-n1,")
        for line in texts["devices.csv"].split("\n")
    )
    # A network lies in one stream: each has its own.
    texts["site.toml"] = texts["site.toml"].replace('"u1"', f'"{stream}"').replace('"n1"', f'"{stream}-n1"')
    messages = sorted(history(seed, hours=1.0), key=lambda m: m.newest_t)
    records = [(T0, registry_frame(texts).encode())]
    for at in range(0, len(messages), 6):
        group = messages[at : at + 6]
        for frame in telemetry_frames(group):
            data = _renamed(frame, stream).encode()
            held_ms = late_ms if at % 42 == 0 else 0
            records += [(group[-1].newest_t + held_ms + 2000, data)] * (2 if at % 30 == 0 else 1)
    records.sort(key=lambda r: r[0])
    records.insert(len(records) // 2, (records[len(records) // 2][0], b"no frame at all"))
    settled = [T0 + _HOUR_MS + step * 180_000 for step in range(1, 14)]
    return records + [(at, Frame.heartbeat().encode()) for at in settled]


def _interleaved(late_ms: int) -> list[tuple[str, int, bytes]]:
    feeds = {stream: _records(stream, seed, late_ms=late_ms) for seed, stream in enumerate(_STREAMS)}
    merged = [(at, stream, n, data) for stream, feed in feeds.items() for n, (at, data) in enumerate(feed)]
    return [(stream, at, data) for at, stream, _, data in sorted(merged, key=lambda x: (x[0], x[1], x[2]))]


def _worker(kafka: MockKafka, log: Path, *options: str) -> ForkedProgram:
    command = [HEARTHLINE, "worker", "--kafka", kafka.bootstrap, "--partitions", "4"]
    environment = os.environ | {
        "HEARTHLINE_INFLUX_TOKEN": TOKEN,
        "HEARTHLINE_INFLUX_ORG": "o",
        "HEARTHLINE_INFLUX_BUCKET": "b",
    }
    with log.open("ab") as out:
        return ForkedProgram(
            [*command, "--checkpoint-s", "0.5", *options], cwd=_ROOT, stdout=out, stderr=out, env=environment
        )


def _run(kafka: MockKafka, log: Path, *options: str, late_ms: int = 0) -> int:
    """A worker over the whole recording, killed in the middle of it; the number of the process that ended it."""
    records = _interleaved(late_ms)
    half = len(records) // 2
    worker = _worker(kafka, log, *options)
    try:
        for n, (stream, at, data) in enumerate(records):
            kafka.append(TOPIC, stream, data, at)
            if n == half:
                kafka.flush()
                _wait(lambda: bool(kafka.committed(GROUP, TOPIC)), worker, log)
            if n == half + 40:
                kafka.flush()
                time.sleep(0.2)  # some of it stepped, little of it under a checkpoint
                worker.send_signal(signal.SIGKILL)
                worker.wait()
                worker = _worker(kafka, log, *options)
        kafka.flush()
        ends = None
        while ends != kafka.ends(TOPIC):  # what is stepped last may ask, and be answered, once more
            ends = kafka.ends(TOPIC)
            _wait(caught_up(kafka), worker, log)
            time.sleep(4.0)
        worker.terminate()
        assert worker.wait(PATIENCE_S) == 0, log.read_text()
    finally:
        worker.kill()
    return worker.pid


def _wait(condition, worker: ForkedProgram, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert worker.poll() is None, log.read_text()[-4000:]
        assert time.monotonic() < deadline, log.read_text()[-4000:]
        time.sleep(0.1)


def _step_all(kafka: MockKafka, store) -> None:
    """The same topic, stepped in this process, stored in one go."""
    pipelines = {stream: Pipeline(stream) for stream in _STREAMS}
    whole = {}
    for _, offset, key, value, at in kafka.read(TOPIC):
        stream = key.decode()
        outputs = pipelines[stream].step(Record(stream, offset, at, value))
        if stream in whole:
            whole[stream].merge(outputs)
        else:
            whole[stream] = outputs
    store.write(list(whole.values()))


def _rows(store, measurement: str) -> list[dict[str, object]]:
    table = store.select(Select(measurement, withdrawn=True))
    return sorted(table.to_pylist(), key=lambda row: (row["key"], row["window_start"]))


def test_rows_in_duckdb_equal_those_of_stepping(kafka, tmp_path):
    pid = _run(kafka, tmp_path / "log", "--duckdb", str(tmp_path / "worker.duckdb"), late_ms=_HOUR_MS)
    direct = DuckdbSeries(tmp_path / "direct.duckdb")
    _step_all(kafka, direct)
    through = DuckdbSeries(tmp_path / "worker.duckdb", read_only=True)
    try:
        counts = direct.counts()
        assert {m: n for m, n in through.counts().items() if m != PART} == counts
        # As it said at its end; one that was killed had no end, and may have lived long enough to say something.
        said = through.select(Select(PART)).to_pylist()
        assert {p["state"] for p in said if p["process"].endswith(f" {pid}")} == {"stopped"}
        assert {"reading", "device_heat", "ledger", "dead_letter"} <= set(counts)
        assert counts["dead_letter"] == len(_STREAMS)
        assert counts["device_heat"] >= 3 * 4 * 4
        assert counts["restatement"] > 10
        kinds = {Frame.decode(r[3]).kind for r in kafka.read(TOPIC) if r[3][:2] != b"no"}
        assert FrameKind.RESTATE in kinds
        for measurement in counts:
            assert _rows(through, measurement) == _rows(direct, measurement), measurement
    finally:
        through.close()
        direct.close()
    assert {row["status"] for row in _last_status(tmp_path)} <= {"final", "unknown"}


def _last_status(tmp_path: Path) -> list[dict[str, object]]:
    store = DuckdbSeries(tmp_path / "worker.duckdb", read_only=True)
    try:
        rows = _rows(store, "device_heat")
    finally:
        store.close()
    return [row for row in rows if row["window_start"] < T0 + _HOUR_MS]


def test_points_in_influxdb_equal_those_of_stepping(kafka, tmp_path):
    through, direct = InfluxStub(), InfluxStub()
    try:
        through.script = [(503, {"Retry-After": "0"}), None, "drop", (429, {"Retry-After": "0"}), None]
        _run(kafka, tmp_path / "log", "--influx", through.url)
        store = InfluxSeries(direct.url, "o", "b", TOKEN)
        _step_all(kafka, store)
        store.close()
        said = {point: fields for point, fields in through.contents().items() if point[0] != PART}
        assert said.keys() == direct.contents().keys()
        assert said == direct.contents()
        assert {measurement for measurement, _, _ in direct.contents()} >= {
            "device_heat",
            "ledger",
            "dead_letter",
        }
    finally:
        through.close()
        direct.close()


def test_registry_frames_name_the_streams_devices():
    frame = Frame.decode(_records("u2", 1)[0][1])
    assert frame.kind is FrameKind.REGISTRY
    assert "u2-sub-1,substation,u2,u2-n1" in frame.batch.column("payload")[0].as_py()
