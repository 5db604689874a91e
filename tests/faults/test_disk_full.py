"""A disk without room: what is promised is there, nothing is corrupt, it is said, and it goes on by itself."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from edge.config import DeviceConfig, MqttConfig
from edge.driver import Reading
from edge.outbox import OutboxFile
from edge.run import Fleet, wall_ms
from journal.protocol import Append, JournalError
from journal.sqlite import SqliteJournal
from models.results import Outputs
from store.duckdb_series import DuckdbSeries
from store.protocol import StoreUnavailableError
from streams.core.checkpoint import Checkpoint, CheckpointError
from streams.core.pipeline import Pipeline
from streams.runtime.local import LocalRuntime
from streams.runtime.sqlite_checkpoints import SqliteCheckpoints
from tests.support.damage import copied
from tests.support.full_disk import full, full_disk, room
from tests.support.mosquitto import free_port
from tests.support.payloads import NOW, TEXTS
from tests.support.system import Publisher, Server, write_site
from tests.support.telemetry import T0, Message, registry_frame, telemetry_frames
from tests.support.waiting import PATIENCE_S, until

SEED = 20_260_106
LIMIT = 200_000


class NoPages:
    """No room by SQLite's own count of pages: its FULL, where the other way is a failed write."""

    def __init__(self, db: sqlite3.Connection):
        self._db = db

    def __enter__(self):
        pages = self._db.execute("PRAGMA page_count").fetchone()[0]
        self._db.execute(f"PRAGMA max_page_count = {pages + 3}")

    def __exit__(self, *_):
        self._db.execute("PRAGMA max_page_count = 1000000")


def no_room(kind: str, db: sqlite3.Connection):
    return NoPages(db) if kind == "pages" else full_disk(LIMIT)


@pytest.mark.parametrize("kind", ["pages", "writes"])
def test_the_journal_keeps_what_it_promised(tmp_path, kind):
    rng = random.Random(SEED)
    path = tmp_path / "j.sqlite3"
    journal = SqliteJournal(path, lambda: NOW)
    promised = journal.append([Append("u1", b"first")])
    refused = 0
    with no_room(kind, journal._writer):
        for _ in range(200):
            batch = [
                Append(rng.choice(("u1", "u2")), rng.randbytes(rng.choice((50, 9000)))) for _ in range(3)
            ]
            try:
                promised += journal.append(batch)
            except JournalError as error:
                refused += "cannot append" in str(error)
                if refused == 5:
                    break
        assert refused == 5, "it never became full"
        assert _all(journal) == sorted(promised, key=_place), "readable, and nothing of what was refused"
        killed = copied(path, tmp_path / "killed while full")
    promised += journal.append(batch)
    assert _all(journal) == sorted(promised, key=_place)
    assert journal.condition[0]
    journal.close()
    for left, expected in ((path, promised), (killed, promised[:-3])):
        again = SqliteJournal(left, lambda: NOW)
        assert _all(again) == sorted(expected, key=_place)
        assert again.condition[0], again.condition
        again.close()


def _place(record):
    return record.stream, record.offset


def _all(journal):
    return sorted((r for s in journal.streams() for r in journal.read(s, -1, 10_000)), key=_place)


def test_a_journal_that_cannot_be_mended_for_want_of_room_says_so_and_then_is(tmp_path):
    path = tmp_path / "j.sqlite3"
    journal = SqliteJournal(path, lambda: NOW)
    rng = random.Random(SEED)
    promised = journal.append([Append("u1", rng.randbytes(5000)) for _ in range(30)])
    journal.close()
    raw = bytearray(path.read_bytes())
    raw[raw.index(promised[7].frame[:50]) + 9] ^= 1
    path.write_bytes(raw)
    with (
        full_disk(40_000),
        pytest.raises(JournalError, match=r"record 7 .*expected room to build it anew \(\d+ bytes\)"),
    ):
        SqliteJournal(path, lambda: NOW)
    assert path.read_bytes() == raw, "it is left as it is"
    journal = SqliteJournal(path, lambda: NOW)
    assert _all(journal) == promised[:7] + promised[8:]
    journal.close()


@pytest.mark.parametrize("kind", ["pages", "writes"])
def test_an_outbox_keeps_what_it_promised_and_gives_no_number_twice(tmp_path, kind):
    path = tmp_path / "o"
    file = OutboxFile(path, boot_ms=1, max_bytes=10**9)
    box = file.outbox("a")
    promised = box.put([(0, {})])
    texts = {f"n{n}": "x" * 900 for n in range(8)}
    refused = 0
    with no_room(kind, file._db):
        for t in range(1, 200):
            try:
                promised += box.put([(t, texts)])
            except sqlite3.OperationalError:
                refused += 1
                if refused == 5:
                    break
        assert refused == 5, "it never became full"
        assert box.after(0, 1000) == promised
        assert box.next_seq == promised[-1].seq + 1
        killed = copied(path, tmp_path / "killed while full")
    promised += box.put([(t, texts)])
    file.close()
    for left, expected in ((path, promised), (killed, promised[:-1])):
        said: list = []
        again = OutboxFile(left, boot_ms=9, max_bytes=10**9, say=said.append)
        assert again.outbox("a").after(0, 1000) == expected
        assert again.outbox("a").boot == 1
        again.close()
        assert not any("DAMAGED" in line for line in said)


class Counting:
    exhausted = False

    def __init__(self):
        self.n = 0

    def read(self, now_ms):
        self.n += 1
        return [Reading(now_ms, {"supply_c": float(self.n), **{f"n{k}": "x" * 900 for k in range(8)}})]

    def close(self):
        pass


def test_a_collector_says_that_its_disk_is_full_and_loses_no_reading(tmp_path):
    driver, said = Counting(), []
    given = {"id": "a", "region": "r1", "unit": "u1", "class": "substation", "interval_s": 0.02}
    mqtt = MqttConfig(url=f"mqtt://127.0.0.1:{free_port()}")
    fleet = Fleet(
        [(DeviceConfig.model_validate(given), driver)], mqtt, tmp_path, clock=wall_ms, say=said.append
    )
    fleet.start()
    try:
        with full_disk(LIMIT):
            until(
                lambda: any("degraded" in line and "expected room to write" in line for line in said),
                "said",
            )
            stuck = fleet.units[0].outbox.next_seq
        until(lambda: fleet.units[0].outbox.next_seq > stuck + 10, "it goes on by itself")
    finally:
        fleet.stop()
    file = OutboxFile(tmp_path / "outbox.sqlite", boot_ms=1, max_bytes=10**9)
    messages = file.outbox("a").after(0, 10_000)
    file.close()
    assert [m.seq for m in messages] == list(range(1, len(messages) + 1))
    assert len(messages) == driver.n, "each reading is kept once"


@pytest.mark.parametrize("kind", ["pages", "writes"])
def test_checkpoints_stay_as_they_were(tmp_path, kind):
    path = tmp_path / "c.sqlite3"
    checkpoints = SqliteCheckpoints(path)
    rng = random.Random(SEED)
    number, refused = 0, 0
    segments: dict = {}
    with no_room(kind, checkpoints._db):
        while refused < 3:
            state = {**segments, f"segment/{number + 1}": rng.randbytes(5000)}
            assert number < 200, "it never became full"
            try:
                checkpoints.save([Checkpoint(s, number + 1, state) for s in ("u1", "u2")])
            except CheckpointError:
                refused += 1
            else:
                number, segments = number + 1, state
        assert checkpoints.load() == {s: Checkpoint(s, number, segments) for s in ("u1", "u2") if number}
    checkpoints.save([Checkpoint(s, number + 1, state) for s in ("u1", "u2")])
    checkpoints.close()
    again = SqliteCheckpoints(path)
    assert again.load()["u2"] == Checkpoint("u2", number + 1, state)
    again.close()


def outputs(count: int) -> list[Outputs]:
    """What a stream says of so many messages of 1,000 samples."""
    pipeline = Pipeline("u1")
    said = []
    frames = [(registry_frame(), T0)]
    for n in range(count):
        samples = tuple((T0 + 1000 * (1000 * n + k), {"supply_c": 0.1 * k + n}) for k in range(1000))
        frames += [(f, samples[-1][0]) for f in telemetry_frames([Message("sub-1", T0, n + 1, samples)])]
    from models.frame import Record

    for offset, (frame, at) in enumerate(frames):
        said.append(pipeline.step(Record("u1", offset, at, frame.encode())))
    return said


def test_the_store_is_left_as_it_was_and_written_when_there_is_room(tmp_path):
    store = DuckdbSeries(tmp_path / "s.duckdb")
    said = outputs(30)
    store.write(said[:3])
    refused = None
    with full_disk(60_000):
        for n in range(3, len(said)):
            before = store.counts()
            try:
                store.write([said[n]])
            except StoreUnavailableError as error:
                refused = str(error)
                break
        assert refused, "it never became full"
        assert "cannot be written now" in refused
    assert store.counts() == before
    store.write(said[n:])
    store.write(said)
    assert store.counts()["reading"] == 30_000
    store.close()
    again = DuckdbSeries(tmp_path / "s.duckdb")
    assert again.counts()["reading"] == 30_000
    again.close()


def test_the_runtime_is_degraded_while_the_disk_is_full(tmp_path):
    """Store and checkpoints on a full disk: it says why, forgets nothing and goes on."""
    journal = SqliteJournal(tmp_path / "j.sqlite3", lambda: T0)
    store, checkpoints = DuckdbSeries(tmp_path / "s.duckdb"), SqliteCheckpoints(tmp_path / "c.sqlite3")
    frames = [registry_frame()]
    for n in range(20):
        samples = tuple((T0 + 1000 * (1000 * n + k), {"supply_c": 0.1 * k + n}) for k in range(1000))
        frames += telemetry_frames([Message("sub-1", T0, n + 1, samples)])
    journal.append([Append("u1", frame.encode(), T0 + n * 10**6) for n, frame in enumerate(frames)])
    runtime, stop = LocalRuntime(journal, store, checkpoints, checkpoint_every_s=0.2), threading.Event()
    thread = threading.Thread(target=runtime.run, args=(stop,))
    try:
        with full_disk(30_000):
            thread.start()
            until(lambda: runtime.status.state == "degraded", "degraded")
            assert "cannot be written now" in runtime.status.detail
        until(lambda: runtime.status.state == "ok" and not any(runtime.status.lag.values()), "ok again")
        assert store.counts()["reading"] == 20_000
        journal.append([Append("u1", registry_frame().encode(), T0 + 3 * 10**7)])
        until(lambda: checkpoints.offsets().get("u1") == len(frames), "checkpointed")
        with full_disk(4096):
            journal_end = journal.streams()["u1"][0]
            time.sleep(0.3)
        assert journal.streams()["u1"][0] == journal_end
    finally:
        stop.set()
        thread.join(PATIENCE_S)
        for part in (journal, store, checkpoints):
            part.close()


def test_a_server_with_a_full_disk_acknowledges_nothing_and_goes_on(tmp_path):
    site = write_site(tmp_path / "site", TEXTS)
    with Server(tmp_path, site, None) as server, Publisher(server.broker) as publish:
        server.ready_for_messages()

        def send(numbers):
            for seq in numbers:
                sample = {"t": wall_ms(), "supply_c": 90.0 + seq}
                publish("hearthline/v1/r1/u1/sub-1/telemetry", {"boot": 1, "seq": seq, "samples": [sample]})

        send(range(1, 6))
        until(lambda: publish.acknowledged().get("sub-1") == {1, 2, 3, 4, 5}, "acknowledged")
        log = Path(server.data / "journal.sqlite3-wal").stat().st_size
        assert log > 20_000
        full(server.process.pid, 20_000)
        try:
            send(range(6, 11))
            parts = until(
                lambda: [p for p in server.status()["components"] if p["state"] == "degraded"], "degraded"
            )
            journal = next(p for p in parts if p["name"] in ("journal", "ingest"))
            assert "cannot append" in journal["detail"], parts
            assert "advice" in journal
            time.sleep(1)
            assert publish.acknowledged()["sub-1"] == {1, 2, 3, 4, 5}, "nothing is promised"
            assert server.running
        finally:
            room(server.process.pid)
        until(lambda: publish.acknowledged().get("sub-1") == set(range(1, 11)), "acknowledged")
        server.ready_for_messages()
        until(lambda: server.status()["ledger"]["stored"] == 10, "stored")
        assert server.status()["ledger"]["unaccounted"] == 0
