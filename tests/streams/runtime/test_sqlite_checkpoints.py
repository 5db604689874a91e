"""Checkpoints in SQLite: whole or not at all, and damage is put aside."""

from __future__ import annotations

import sqlite3

import pytest

from streams.core.checkpoint import Checkpoint, CheckpointError
from streams.runtime.sqlite_checkpoints import SqliteCheckpoints


def test_keeps_the_last_checkpoint_of_each_stream(tmp_path):
    kept = SqliteCheckpoints(tmp_path / "c.sqlite3")
    kept.save([Checkpoint("a", 1, {"meta": b"1", "segment/x": b"s"}), Checkpoint("b", 5, {"meta": b"b"})])
    kept.save([Checkpoint("a", 2, {"meta": b"2", "segment/y": b"t"})])
    kept.close()
    found = SqliteCheckpoints(tmp_path / "c.sqlite3").load()
    assert found["a"] == Checkpoint("a", 2, {"meta": b"2", "segment/y": b"t"})
    assert found["b"].offset == 5


def test_a_save_that_fails_leaves_the_one_before(tmp_path):
    kept = SqliteCheckpoints(tmp_path / "c.sqlite3")
    kept.save([Checkpoint("a", 1, {"meta": b"1"})])
    with pytest.raises(CheckpointError):
        kept.save([Checkpoint("a", 2, {"meta": b"2"}), Checkpoint("b", 1, {"meta": None})])  # type: ignore[dict-item]
    assert kept.load() == {"a": Checkpoint("a", 1, {"meta": b"1"})}


def test_a_newer_file_is_refused(tmp_path):
    SqliteCheckpoints(tmp_path / "c.sqlite3").close()
    with sqlite3.connect(tmp_path / "c.sqlite3") as db:
        db.execute("PRAGMA user_version = 99")
        db.execute(f"PRAGMA application_id = {0x48434B00 | 99}")
    with pytest.raises(CheckpointError, match=r"expected version 2 or older, got 99: .* newer hearthline"):
        SqliteCheckpoints(tmp_path / "c.sqlite3")


def test_a_damaged_file_is_put_aside(tmp_path):
    path = tmp_path / "c.sqlite3"
    kept = SqliteCheckpoints(path)
    kept.save([Checkpoint("a", n, {"meta": bytes(20_000)}) for n in range(3)])
    kept.close()
    data = bytearray(path.read_bytes())
    for at in range(4096, len(data), 512):
        data[at : at + 256] = bytes(reversed(range(256)))
    path.write_bytes(bytes(data))
    damaged = SqliteCheckpoints(path)
    assert damaged.load() == {}
    damaged.save([Checkpoint("a", 1, {"meta": b"1"})])
    assert path.with_name("c.sqlite3.damaged").exists()


def test_a_file_that_may_not_be_written_is_no_damaged_one(tmp_path, monkeypatch):
    """As after a start by another user; to be put aside would have all computed anew."""
    path = tmp_path / "c.sqlite3"
    SqliteCheckpoints(path).close()
    monkeypatch.setattr("streams.runtime.sqlite_checkpoints.os.access", lambda *_: False)
    with pytest.raises(
        CheckpointError, match=r"c\.sqlite3: expected a checkpoint file that this process may"
    ):
        SqliteCheckpoints(path)
    assert not list(tmp_path.glob("*.damaged"))
