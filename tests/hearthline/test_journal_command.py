"""`hearthline journal export`, run as a program."""

import json
import sqlite3

import pytest

from hearthline import journal_care
from ingest.service import Ingest
from journal.protocol import JournalError
from journal.sqlite import FILE_NAME, SqliteJournal
from tests.support.payloads import NOW, site, state, telemetry
from tests.support.system import ended


def run(*arguments):
    return ended("journal", "export", *arguments)


@pytest.fixture
def data_dir(tmp_path):
    directory = tmp_path / "data"
    directory.mkdir()
    journal = SqliteJournal(directory / FILE_NAME, lambda: NOW)
    ingest = Ingest(journal, site(), None, lambda: NOW)
    ingest.submit([telemetry("sub-1", 1), telemetry("sub-3", 1), state("sub-1")])
    yield directory  # the server still has it open
    journal.close()


def test_export(data_dir, tmp_path):
    done = run("--data-dir", data_dir, "--out", tmp_path / "out.jsonl", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["lines"] == 3
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["topic"].split("/")[3:] for line in lines] == [
        ["u1", "sub-1", "telemetry"], ["u1", "sub-1", "state"], ["u2", "sub-3", "telemetry"],
    ]  # fmt: skip
    assert "3 lines" in run("--data-dir", data_dir, "--out", tmp_path / "out.parquet").stdout


def test_wrong_usage_is_one_line_and_exit_2(data_dir, tmp_path):
    for arguments, message in [
        (("--data-dir", tmp_path, "--out", tmp_path / "o.jsonl"), f"expected a directory with {FILE_NAME}"),
        (("--data-dir", data_dir, "--out", tmp_path / "o.csv"), "expected a name that ends in .jsonl, .gz"),
        (("--data-dir", data_dir, "--out", tmp_path / "no" / "o.jsonl"), "expected a writable file"),
    ]:
        done = run(*arguments)
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_journal_of_a_newer_program_is_exit_1(data_dir, tmp_path):
    with sqlite3.connect(data_dir / FILE_NAME) as c:
        c.execute("PRAGMA user_version = 99")
        c.execute("UPDATE about SET format = 99")
    done = run("--data-dir", data_dir, "--out", tmp_path / "o.jsonl")
    assert done.returncode == 1
    assert "newer hearthline" in done.stderr


def test_a_journal_that_cannot_be_opened_here_is_not_said_to_be_damaged(data_dir, monkeypatch):
    def refuse(_path):  # as in a directory that is read-only, where SQLite cannot keep its log beside it
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorname = "SQLITE_CANTOPEN"
        raise error

    assert journal_care.checked(data_dir)["sound"]
    monkeypatch.setattr(journal_care, "connect", refuse)
    with pytest.raises(JournalError, match=r"unable to open database file; where its directory is read-only"):
        journal_care.checked(data_dir)
