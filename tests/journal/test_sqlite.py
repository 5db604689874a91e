"""The embedded journal: gapless, ordered, all or nothing, and still there after kill -9."""

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ingest.service import registry_frame
from journal.protocol import Append, Journal, JournalError
from journal.sqlite import SqliteJournal
from models.frame import Frame
from tests.support.payloads import site
from tests.support.waiting import PATIENCE_S

BEAT = Frame.heartbeat().encode()


class Clock:
    def __init__(self, now=1000):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def journal(tmp_path, clock):
    opened = SqliteJournal(tmp_path / "j.sqlite3", clock)
    yield opened
    opened.close()


def places(records):
    return [(r.stream, r.offset, r.timestamp_ms) for r in records]


def test_it_is_a_journal(journal):
    assert isinstance(journal, Journal)


def test_offsets_have_no_gap_and_times_never_go_back(journal, clock):
    assert places(journal.append([Append("a", b"1"), Append("b", b"2"), Append("a", b"3")])) == [
        ("a", 0, 1000), ("b", 0, 1000), ("a", 1, 1000),
    ]  # fmt: skip
    clock.now = 500
    given = [Append("a", b"4"), Append("a", b"5", 2000), Append("a", b"6", 1500), Append("c", b"7", -5)]
    assert places(journal.append(given)) == [("a", 2, 1000), ("a", 3, 2000), ("a", 4, 2000), ("c", 0, -5)]
    assert journal.streams() == {"a": (4, 2000), "b": (0, 1000), "c": (0, -5)}
    assert [r.frame for r in journal.read("a", 1, limit=2)] == [b"4", b"5"]
    assert journal.read("nobody", -1) == []
    assert journal.append([]) == []


def test_scan_is_ordered_by_time_then_stream_then_offset(journal):
    for n in range(200):
        journal.append([Append("ab"[n % 2], bytes([n]), n // 3)])
    found = [(r.timestamp_ms, r.stream, r.offset) for r in journal.scan()]
    assert found == sorted(found)
    assert len(found) == 200


def test_another_open_goes_on_where_it_was(tmp_path, clock):
    path = tmp_path / "j.sqlite3"
    first = SqliteJournal(path, clock)
    first.append([Append("a", b"1", 5000)])
    first.close()
    second = SqliteJournal(path, clock)
    assert places(second.append([Append("a", b"2")])) == [("a", 1, 5000)]
    second.close()


def test_each_commit_is_fsynced(journal):
    assert journal._writer.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert journal._writer.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_a_newer_file_and_a_foreign_one_are_refused(tmp_path, clock):
    newer, foreign, text = (tmp_path / name for name in ("newer", "foreign", "text"))
    with sqlite3.connect(newer) as c:
        c.execute("PRAGMA user_version = 9")
    with sqlite3.connect(foreign) as c:
        c.execute("CREATE TABLE x (y)")
    text.write_bytes(b"hello" * 1000)
    with pytest.raises(JournalError, match=r"newer: expected format 2 or older, got 9: .* newer hearthline"):
        SqliteJournal(newer, clock)
    with pytest.raises(JournalError, match="foreign: expected a journal, got another program's"):
        SqliteJournal(foreign, clock)
    with pytest.raises(JournalError, match="text: cannot open"):
        SqliteJournal(text, clock)
    with pytest.raises(JournalError, match="unable to open"):
        SqliteJournal(tmp_path / "no" / "where", clock)


def test_a_full_disk_keeps_nothing_of_the_batch(journal):
    journal.append([Append("a", b"x" * 1000)])
    pages = journal._writer.execute("PRAGMA page_count").fetchone()[0]
    journal._writer.execute(f"PRAGMA max_page_count = {pages + 4}")
    with pytest.raises(JournalError, match=r"cannot append: .*full"):
        journal.append([Append("a", b"small"), Append("new", b"small"), Append("a", b"x" * 1_000_000)])
    assert journal.streams() == {"a": (0, 1000)}
    assert journal.count() == 1
    journal._writer.execute(f"PRAGMA max_page_count = {pages + 4000}")
    assert places(journal.append([Append("a", b"x" * 1_000_000)])) == [("a", 1, 1000)]


def test_a_locked_file_is_an_error_and_then_it_goes_on(journal, tmp_path):
    journal._writer.execute("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(tmp_path / "j.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalError, match="locked"):
        journal.append([Append("a", b"1")])
    other.execute("ROLLBACK")
    other.close()
    assert places(journal.append([Append("a", b"1")])) == [("a", 0, 1000)]


def test_wait_wakes_at_an_append_and_not_before(journal):
    assert not journal.wait({}, 0.01)
    journal.append([Append("a", b"1")])
    assert journal.wait({}, 0)
    assert not journal.wait({"a": 0}, 0.01)
    woken = []
    waiter = threading.Thread(target=lambda: woken.append(journal.wait({"a": 0}, 2 * PATIENCE_S)))
    waiter.start()
    time.sleep(0.1)
    assert not woken
    journal.append([Append("b", b"2")])
    waiter.join(PATIENCE_S)
    assert woken == [True]


def test_readers_and_a_writer_at_once(journal):
    done = threading.Event()
    faults = []

    def read():
        while not done.is_set():
            records = journal.read("a", -1, 10_000)
            if [r.offset for r in records] != list(range(len(records))):
                faults.append([r.offset for r in records])

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(100):
        journal.append([Append("a", bytes([n])), Append("a", bytes([n]))])
    done.set()
    for thread in threads:
        thread.join()
    assert not faults
    assert journal.count() == 200


def test_prune_forgets_the_start_and_no_offset(journal):
    registry = registry_frame(site()).encode()
    journal.append(
        [Append("a", registry, 0), *(Append("a", BEAT, n) for n in range(1, 10)), Append("b", BEAT, 1)]
    )
    assert journal.prune(5) == 5
    assert [r.offset for r in journal.read("a", -1)] == [5, 6, 7, 8, 9]
    assert [r.offset for r in journal.read("b", -1)] == [0]
    assert [(r.stream, r.offset, r.frame) for r in journal.registries()] == [("a", 0, registry)]
    assert places(journal.append([Append("a", BEAT, 20)])) == [("a", 10, 20)]


WRITER = """
import sys
from pathlib import Path
from journal.protocol import Append
from journal.sqlite import SqliteJournal
journal = SqliteJournal(Path(sys.argv[1]), lambda: 7)
n = 0
while True:
    journal.append([Append("a", b"%d" % n + b"x" * 20_000), Append("b", b"%d" % n)])
    print(n, flush=True)
    n += 1
"""


@pytest.mark.parametrize("after", [3, 40, 150])
def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path, clock, after):
    path = tmp_path / "j.sqlite3"
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, cwd=root
    ) as writer:
        for line in writer.stdout:
            if int(line) >= after:
                writer.send_signal(signal.SIGKILL)
                break
        said = max([after, *(int(line) for line in writer.stdout if line.endswith(b"\n"))])
    journal = SqliteJournal(path, clock)
    tails = journal.streams()
    assert tails["a"] == tails["b"]
    assert tails["a"][0] >= said
    for stream in "ab":
        records = journal.read(stream, -1, 10_000)
        assert [r.offset for r in records] == list(range(tails[stream][0] + 1))
        assert [int(r.frame.rstrip(b"x")) for r in records] == [r.offset for r in records]
    assert places(journal.append([Append("a", b"next")])) == [("a", tails["a"][0] + 1, 1000)]
    journal.close()
