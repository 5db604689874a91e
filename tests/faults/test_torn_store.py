"""A store's file that is gone or damaged: it is made anew from the journal, or is said to be damaged."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

import duckdb
import pytest

from hearthline.alerting import RECORDS_FILE
from hearthline.cli import UsageError
from hearthline.server import CHECKPOINTS_FILE, ServerConfig
from hearthline.server import Server as ServerInProcess
from hearthline.site_dir import read_site
from ingest.clock import wall_clock
from journal.protocol import JournalError
from journal.sqlite import SqliteJournal
from models.results import Outputs
from store.duckdb_series import SERIES_FILE, DuckdbSeries
from store.protocol import Select, StoreError
from streams.runtime.sqlite_checkpoints import SqliteCheckpoints
from tests.faults.test_torn_server import part
from tests.support.payloads import TEXTS
from tests.support.series import output, readings, sample
from tests.support.system import Publisher, Server, run, write_site
from tests.support.waiting import until

BLOCK_BYTES, HEAD_BYTES = 262_144, 12_288
"""Of DuckDB's file: a head of three pages, then blocks, each with a sum of its own."""


def answered(server: Server) -> list[str]:
    said = run("query", "reading", "--data-dir", server.data, "--format", "jsonl").stdout
    return said.splitlines()


def filled(server: Server, began_ms: int, first: int, last: int) -> list[str]:
    """Publish messages of these numbers; all readings of the store, once `last` of them are there."""
    server.ready_for_messages()
    with Publisher(server.broker) as publish:
        for seq in range(first, last + 1):
            sent = [{"t": began_ms + seq, "supply_c": 90.0 + seq}]
            publish("hearthline/v1/r1/u1/sub-1/telemetry", {"boot": 1, "seq": seq, "samples": sent})
        until(lambda: publish.acknowledged().get("sub-1", set()) >= {first, last}, "acknowledged")
    return until(lambda: len(found := answered(server)) == last and found, "stored")


def test_results_that_are_gone_come_back_from_the_journal(tmp_path):
    site, began_ms = write_site(tmp_path / "site", TEXTS), round(time.time() * 1000) - 60_000
    with Server(tmp_path / "one", site, None) as server:
        before = filled(server, began_ms, 1, 3)
        server.stop()
        (server.data / SERIES_FILE).unlink()
    with Server(tmp_path / "one", site, None) as server:
        assert until(lambda: len(found := answered(server)) == 3 and found, "computed anew") == before
        assert "computed anew from the journal" in server.err
        server.stop()
    with Server(tmp_path / "one", site, None) as server:
        assert answered(server) == before
        assert "computed anew" not in server.err, "what is there is gone on from"
        server.stop()
        path = server.data / SERIES_FILE
        path.write_bytes(b"x" * 4096 + path.read_bytes()[4096:])
        refused = run("up", "--site", site, "--data-dir", server.data, "--port", 0, "--mqtt-port", 0, code=2)
        assert "move it away and start again, it is made anew from the journal" in refused.stderr


def test_an_older_copy_of_the_results_is_seen_and_made_anew(tmp_path):
    site, began_ms = write_site(tmp_path / "site", TEXTS), round(time.time() * 1000) - 60_000
    with Server(tmp_path / "one", site, None) as server:
        filled(server, began_ms, 1, 3)
        server.stop()
        path = server.data / SERIES_FILE
        copy = path.read_bytes()
    with Server(tmp_path / "one", site, None) as server:
        before = filled(server, began_ms, 4, 6)
        server.stop()
        assert "computed anew" not in server.err
    path.write_bytes(copy)
    with Server(tmp_path / "one", site, None) as server:
        assert until(lambda: len(found := answered(server)) == 6 and found, "computed anew") == before
        assert "as an older copy: checkpoints that go on" in server.err
        server.stop()
    with Server(tmp_path / "one", site, None) as server:
        assert answered(server) == before
        assert "computed anew" not in server.err
        server.stop()


def test_a_file_of_a_release_that_told_it_nothing_is_that_of_its_checkpoints(tmp_path):
    site, began_ms = write_site(tmp_path / "site", TEXTS), round(time.time() * 1000) - 60_000
    with Server(tmp_path / "one", site, None) as server:
        before = filled(server, began_ms, 1, 3)
        server.stop()
        with duckdb.connect(str(server.data / SERIES_FILE)) as connection:
            connection.execute('UPDATE store_progress SET "offset" = "offset" - 1')
            connection.execute("COMMENT ON TABLE store_progress IS NULL")
    with Server(tmp_path / "one", site, None) as server:
        assert answered(server) == before
        server.stop()
        assert "computed anew" not in server.err
    store = DuckdbSeries(server.data / SERIES_FILE)
    assert store.behind({"u1": 10**9}), "it is told of what is kept from now on"
    store.close()


def test_records_without_rows_are_told_to_the_store_before_a_checkpoint(tmp_path):
    """Or a store that is as it was left would pass for an older copy."""
    config = ServerConfig(
        tmp_path / "data", read_site(write_site(tmp_path / "site", TEXTS)), wall_clock, broker=0, port=0
    )
    server = ServerInProcess(config)
    server.start()
    until(lambda: server.status()["now"], "heartbeats of streams that have no rows")
    server.close()
    offsets = SqliteCheckpoints(tmp_path / "data" / CHECKPOINTS_FILE).offsets()
    store = DuckdbSeries(tmp_path / "data" / SERIES_FILE)
    assert offsets
    assert store.behind(offsets) == {}
    assert store.behind({"u1": offsets["u1"] + 1}) == {"u1": offsets["u1"]}
    store.close()


def many(offset: int) -> Outputs:
    return output(
        offset, readings=[readings(*(sample("a", 1000 * n + offset, n, offset, supply_c=n / 7) for n in range(6_000)))]
    )  # fmt: skip


@pytest.fixture
def unreadable(tmp_path):
    """A file that opens, and of which some readings are not as they were written."""
    path = tmp_path / SERIES_FILE
    store = DuckdbSeries(path)
    for offset in range(1, 5):
        store.write([many(offset)])
    store.close()
    whole = path.read_bytes()
    for at in range(HEAD_BYTES + BLOCK_BYTES // 2, len(whole), BLOCK_BYTES):
        path.write_bytes(whole[:at] + b"\x55" * 64 + whole[at + 64 :])
        try:
            with duckdb.connect(str(path)) as connection:
                connection.execute("FROM reading_meter").fetchall()
        except duckdb.Error:
            try:
                duckdb.connect(str(path)).close()
            except duckdb.Error:
                continue
            return path
    raise AssertionError("expected a block whose damage is met only when it is read")


def test_damage_that_is_met_while_writing_is_told(tmp_path):
    store = DuckdbSeries(tmp_path / SERIES_FILE)
    with pytest.raises(StoreError), store._transaction():
        raise duckdb.FatalException("Corrupt database file: computed checksum 1 does not match 2")
    assert store.damage.startswith("Corrupt database file"), "though the file was opened again"
    store.close()


def test_a_start_that_ends_before_results_are_made_anew_leaves_that_to_the_next(tmp_path, monkeypatch):
    site, data = write_site(tmp_path / "site", TEXTS), tmp_path / "data"
    config = ServerConfig(data, read_site(site), wall_clock, broker=0, port=0)
    server = ServerInProcess(config)
    server.start()
    until(lambda: server.status()["now"], "the streams have a now")
    server.close()
    (data / SERIES_FILE).unlink()
    with monkeypatch.context() as patch:
        patch.setattr(SqliteJournal, "cover", lambda *_: (_ for _ in ()).throw(JournalError("disk full")))
        with pytest.raises(UsageError, match="disk full"):
            ServerInProcess(config)
    assert SqliteCheckpoints(data / CHECKPOINTS_FILE).offsets(), "what the journal does not cover yet"
    ServerInProcess(config).close()
    assert not SqliteCheckpoints(data / CHECKPOINTS_FILE).offsets(), "or it would go on from the checkpoints"


def test_damage_that_is_met_is_told(unreadable):
    store = DuckdbSeries(unreadable)
    assert store.damage == ""
    with pytest.raises(StoreError, match="Corrupt database file"):
        store.select(Select("reading"))
    assert store.damage.startswith("Corrupt database file")
    store.close()


def test_a_server_says_that_its_store_is_damaged_and_what_to_do(tmp_path, unreadable):
    site = write_site(tmp_path / "site", TEXTS)
    (tmp_path / "one" / "data").mkdir(parents=True)
    unreadable.rename(tmp_path / "one" / "data" / SERIES_FILE)
    with Server(tmp_path / "one", site, None) as server:
        run("query", "reading", "--data-dir", server.data, "--limit", 10**6, "--format", "csv", code=1)
        store = part(server, "store")
        assert store["state"] == "degraded"
        assert "the file is damaged: Corrupt database file" in store["detail"]
        assert "move the file away and start again" in store["advice"]


@pytest.mark.parametrize("table", ["", "alembic_version", "alarm"])
def test_damaged_records_refuse_the_start_and_say_what_to_do(tmp_path, table):
    config = ServerConfig(
        tmp_path / "data", read_site(write_site(tmp_path / "site", TEXTS)), wall_clock, broker=0, port=0
    )
    ServerInProcess(config).close()
    path = tmp_path / "data" / RECORDS_FILE
    with closing(sqlite3.connect(path)) as records:
        (page_bytes,) = records.execute("PRAGMA page_size").fetchone()
        places = dict(records.execute("SELECT name, rootpage FROM sqlite_master").fetchall())
    from_byte = page_bytes * (places.get(table, 1) - 1)  # of no table: the head of the file
    whole = path.read_bytes()
    path.write_bytes(whole[:from_byte] + b"\xff" * page_bytes + whole[from_byte + page_bytes :])
    with pytest.raises(
        UsageError, match=r"records\.sqlite3: .*: move it away and start again, it is made anew"
    ):
        ServerInProcess(config)
    path.rename(tmp_path / "aside")
    ServerInProcess(config).close()
