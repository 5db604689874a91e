"""Files of a data directory, and an outbox, that belong to another user."""

from __future__ import annotations

import os
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from edge.outbox import OutboxError, OutboxFile
from hearthline.cli import UsageError
from hearthline.owning import own

FILES = (
    "journal.sqlite3", "journal.sqlite3-wal", "records.sqlite3", "checkpoints.sqlite3", "series.duckdb",
    "series.duckdb.wal", "audit.jsonl",
)  # fmt: skip


@pytest.fixture
def taken(monkeypatch):
    """Have a file be another user's, which root that runs the tests cannot see by itself."""

    def take(name, *also):
        held, access = {name, *also}, os.access
        monkeypatch.setattr("os.access", lambda path, mode: path.name not in held and access(path, mode))
        monkeypatch.setattr("os.geteuid", lambda: 54_321)
        users = {os.getuid(): "alice", 54_321: "hearthline"}
        monkeypatch.setattr("edge.whose.pwd.getpwuid", lambda uid: SimpleNamespace(pw_name=users[uid]))

    return take


@pytest.mark.parametrize("name", FILES)
def test_a_server_names_the_file_its_owner_and_the_cure(name, tmp_path, taken):
    for file in (name, "journal.sqlite3.damaged-1", "notes.txt"):
        (tmp_path / file).touch()
    taken("journal.sqlite3.damaged-1", "notes.txt")
    with ExitStack() as stack:
        own(tmp_path, stack)
    taken(name)
    with pytest.raises(UsageError) as refused, ExitStack() as stack:
        own(tmp_path, stack)
    assert (
        f"{tmp_path / name} is alice's, and this is hearthline: start as alice, or sudo chown -R hearthline "
        f"{tmp_path}"
    ) in str(refused.value)


def test_a_lock_of_another_is_named(tmp_path, taken, monkeypatch):
    (tmp_path / "owner.lock").touch()
    taken("owner.lock")

    def denied(*_words, **_more):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", denied)
    with (
        pytest.raises(UsageError, match=r"owner\.lock is alice's, and this is hearthline"),
        ExitStack() as stack,
    ):
        own(tmp_path, stack)


def test_what_is_ones_own_is_told_apart(tmp_path, taken, monkeypatch):
    (tmp_path / "records.sqlite3").touch()
    taken("records.sqlite3")
    monkeypatch.setattr("os.geteuid", os.getuid)
    with pytest.raises(UsageError, match=r"is alice's own: chmod u\+rw"), ExitStack() as stack:
        own(tmp_path, stack)


@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_an_outbox_of_another_is_named_and_let_be(suffix, tmp_path, taken):
    path = tmp_path / "outbox.sqlite"
    path.with_name(path.name + suffix).write_bytes(b"somebody's")
    taken(path.name + suffix)
    with pytest.raises(OutboxError) as refused:
        OutboxFile(path, boot_ms=1, max_bytes=10**6)
    held = path.with_name(path.name + suffix)
    assert str(refused.value).endswith(
        f"{held} is alice's, and this is hearthline: start as alice, or sudo chown hearthline {held}"
    ), "not all that lies beside it"
    assert path.with_name(path.name + suffix).read_bytes() == b"somebody's", "not moved aside as damaged"


def test_a_data_directory_of_another_is_given_away_without_what_is_around_it(tmp_path, taken, monkeypatch):
    (data := tmp_path / "data").mkdir()
    taken("data")

    def denied(*_words, **_more):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", denied)
    with pytest.raises(UsageError) as refused, ExitStack() as stack:
        own(data, stack)
    assert str(refused.value).endswith(f"or sudo chown -R hearthline {data}")


def test_each_file_of_an_outbox_that_is_anothers_is_named(tmp_path, taken):
    path = tmp_path / "outbox.sqlite"
    names = [path.name, f"{path.name}-wal"]
    for name in names:
        path.with_name(name).touch()
    taken(*names)
    with pytest.raises(OutboxError) as refused:
        OutboxFile(path, boot_ms=1, max_bytes=10**6)
    assert [f"chown hearthline {path.with_name(name)}" in str(refused.value) for name in names] == [
        True,
        True,
    ]


def test_a_name_with_a_space_is_one_name_of_the_command(tmp_path, taken):
    path = tmp_path / "my outbox.sqlite"
    path.write_bytes(b"somebody's")
    taken(path.name)
    with pytest.raises(OutboxError) as refused:
        OutboxFile(path, boot_ms=1, max_bytes=10**6)
    assert str(refused.value).endswith(f"sudo chown hearthline '{path}'")
