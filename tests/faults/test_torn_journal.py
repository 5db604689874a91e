"""A journal cut at every byte of its end and with every bit flipped: never a wrong record, no silent loss."""

from __future__ import annotations

import itertools
import logging
import random
import shutil
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from ingest.service import registry_frame
from journal.protocol import Append, JournalError
from journal.sqlite import SqliteJournal
from models.frame import Frame
from tests.support.damage import copied, flip, flip_everywhere, judge, pieces
from tests.support.payloads import NOW, site

SEED = 20_260_101
BEAT = Frame.heartbeat().encode()
IN_GATE = 80
SPARSE = b"begin" + bytes(4_200) + b"end"
"""More than a page holds, and little to flip in it."""


def fill(path: Path, rounds: int = 6, big: bytes | None = None) -> tuple[SqliteJournal, dict]:
    """A journal with small records, a long one (over several pages) and a registry, still open."""
    rng = random.Random(SEED)
    big = rng.randbytes(9_000) if big is None else big
    journal = SqliteJournal(path, lambda: NOW)
    truth: dict = {"u1": [], "u2": []}
    registry = registry_frame(site()).encode()
    batches = [[Append("u1", registry), Append("u2", registry)]]
    batches += [
        [Append("u1", BEAT, NOW + n), Append("u2", rng.randbytes(40), NOW + n)] for n in range(rounds)
    ]
    batches += [[Append("u1", big, NOW + rounds)], [Append("u1", BEAT, NOW + rounds)]]
    for batch in batches:
        for record in journal.append(batch):
            truth[record.stream].append(record)
    return journal, truth


@pytest.fixture(autouse=True)
def _quiet():
    """Thousands of files are mended: what is said of each is not kept."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    """A journal that was closed cleanly: one file."""
    path = tmp_path_factory.mktemp("closed") / "journal.sqlite3"
    journal, truth = fill(path)
    journal.close()
    assert pieces(path) == [path]
    return path, truth


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A journal as a killed server leaves it: everything is in the log."""
    path = tmp_path_factory.mktemp("killed") / "journal.sqlite3"
    journal, truth = fill(path)
    copy = copied(path, path.parent / "copy")
    journal.close()
    assert copy.with_name("journal.sqlite3-wal").stat().st_size > 40_000
    return copy, truth


def bits(path: Path, count: int) -> list[int]:
    """Bits to flip: `count` of them, with every byte of the head and each page's first bytes likelier."""
    total = path.stat().st_size * 8
    rng = random.Random(SEED)
    heads = [page * 4096 * 8 + bit for page in range(total // 32768) for bit in range(160)]
    return sorted(
        {
            *rng.sample(range(800), count // 4),
            *rng.sample(heads, count // 4),
            *rng.sample(range(total), count),
        }
    )


def flip_all(source: Path, truth, name: str, count: int, tmp_path: Path) -> Counter:
    verdicts: Counter = Counter()
    piece = source.with_name(name)
    for bit in bits(piece, count):
        path = copied(source, tmp_path / "x")
        flip(path.with_name(name), bit)
        verdicts[judge(path, truth, f"seed {SEED}, bit {bit} of {name}")] += 1
    return verdicts


def test_any_flipped_bit_of_a_closed_journal(closed, tmp_path):
    path, truth = closed
    verdicts = flip_all(path, truth, path.name, IN_GATE, tmp_path)
    assert verdicts["stated"] > 0
    assert verdicts["whole"] > 0
    assert not verdicts["torn"], "nothing was torn: a closed journal has no log"


def test_a_record_under_the_key_of_no_stream_finds_its_place(closed, tmp_path):
    """What it says of itself is proved; the number in its key is not."""
    source, truth = closed
    path = copied(source, tmp_path / "x")
    with sqlite3.connect(path) as db:
        db.execute("UPDATE record SET id = id + (1 << 41) WHERE stream = 'u2' AND id & 7 = 3")
    assert judge(path, truth, "key") == "whole"


def test_a_schema_that_is_no_text_any_more(closed, tmp_path):
    """Python cannot even say what SQLite says of it."""
    source, truth = closed
    for word in (b"CREATE TABLE record", b"timestamp_ms", b"CREATE TABLE stream"):
        path = copied(source, tmp_path / "x")
        flip(path, (path.read_bytes().index(word) + 3) * 8 + 7)
        assert judge(path, truth, str(word)) == "whole"
        assert "damaged" in "".join(p.name for p in path.parent.iterdir())


def test_any_flipped_bit_of_a_log(killed, tmp_path):
    path, truth = killed
    verdicts = flip_all(path, truth, f"{path.name}-wal", IN_GATE, tmp_path)
    assert verdicts["whole"] > IN_GATE / 2, "records beyond the damage are saved"


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("killed", [False, True], ids=["closed", "killed"])
def test_every_bit(killed, tmp_path):
    """Of a journal as small as one that has everything: two streams, a registry, a record over two pages."""
    path = tmp_path / "journal.sqlite3"
    journal, truth = fill(path, rounds=1, big=SPARSE)
    if killed:
        path = copied(path, tmp_path / "copy")
    journal.close()
    print("killed" if killed else "closed", flip_everywhere(path, lambda p, where: judge(p, truth, where)))


def cuts(length: int, last: int, count: int | None) -> list[int]:
    rng = random.Random(SEED)
    everything = range(last, length)
    return (
        list(everything)
        if count is None
        else sorted({last, last + 1, length - 1, *rng.sample(everything, count)})
    )


def last_record(path: Path, tmp_path: Path) -> tuple[Path, dict, int]:
    """A killed journal, and where in its log the transaction of its last record begins."""
    journal, truth = fill(path, rounds=2)
    log = path.with_name(f"{path.name}-wal")
    before = log.stat().st_size
    (record,) = journal.append([Append("u1", b"last" * 300, NOW + 99)])
    truth["u1"].append(record)
    copy = copied(path, tmp_path / "copy")
    journal.close()
    return copy, truth, before


def cut_all(tmp_path: Path, count: int | None) -> Counter:
    source, truth, begins = last_record(tmp_path / "journal.sqlite3", tmp_path)
    log = f"{source.name}-wal"
    length = source.with_name(log).stat().st_size
    verdicts: Counter = Counter()
    for at in cuts(length, begins, count):
        path = copied(source, tmp_path / "x")
        with path.with_name(log).open("r+b") as file:
            file.truncate(at)
        journal = SqliteJournal(path, lambda: NOW)
        torn = [loss.bytes for loss in journal.losses]
        assert journal.streams()["u1"][0] == len(truth["u1"]) - 2, at
        assert sum(torn) == at - begins, f"cut at {at}: said {torn}"
        assert ("torn end" in journal.condition[1]) == (at > begins)
        journal.close()
        # Cut exactly between two transactions it is a whole journal, of a moment before.
        short = {**truth, "u1": truth["u1"][:-1]} if at == begins else truth
        verdicts[judge(path, short, f"cut at {at} of {length}")] += 1
    return verdicts


def test_the_last_record_cut_at_any_byte(tmp_path):
    assert set(cut_all(tmp_path, 30)) == {"torn", "whole"}


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_the_last_record_cut_at_every_byte(tmp_path):
    print(cut_all(tmp_path, None))


def test_a_file_cut_anywhere(closed, tmp_path):
    """As a file system leaves it that lost its end: what is missing is said."""
    source, truth = closed
    length = source.stat().st_size
    rng = random.Random(SEED)
    for at in sorted({4096, 8192, length - 1, *rng.sample(range(4096, length), 15)}):
        path = copied(source, tmp_path / "x")
        with path.open("r+b") as file:
            file.truncate(at)
        judge(path, truth, f"seed {SEED}, cut at {at} of {length}")


def test_what_is_no_journal_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "journal.sqlite3"
    for junk in (b"hello" * 2000, bytes(8192), b"SQLite format 3\0" + b"x" * 5000):
        path.write_bytes(junk)
        with pytest.raises(JournalError, match="cannot open"):
            SqliteJournal(path, lambda: NOW)
        assert path.read_bytes() == junk
        assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_whole_pages_gone_bad(closed, tmp_path):
    source, truth = closed
    for page, junk in itertools.product(
        range(1, source.stat().st_size // 4096), (bytes(4096), b"\xff" * 4096)
    ):
        path = copied(source, tmp_path / "x")
        with path.open("r+b") as file:
            file.seek(page * 4096)
            file.write(junk)
        judge(path, truth, f"page {page + 1} of {junk[:1]!r}")


def test_damage_found_while_it_runs_is_mended_at_once(tmp_path, monkeypatch):
    """A large file is not read through at the start: what is read later is proved then."""
    monkeypatch.setattr("journal.sound_file._CHECKED_WHOLE", 0)
    path = tmp_path / "journal.sqlite3"
    journal, truth = fill(path)
    journal.close()
    raw = path.read_bytes()
    at = raw.index(truth["u2"][2].frame)
    flip(path, at * 8 + 3)
    journal = SqliteJournal(path, lambda: NOW)
    assert journal.condition[0], "not seen yet"
    held = [r.offset for r in journal.read("u2", -1)]
    assert held == [o for o in range(len(truth["u2"])) if o != 2]
    ok, said = journal.condition
    assert not ok
    assert "1 records lost (u2 2–2), 40 damaged bytes" in said
    assert journal.read("u1", -1) == truth["u1"]
    aside = next(tmp_path.glob("journal.sqlite3.damaged-*"))
    assert aside.name in said
    assert aside.stat().st_size == len(raw)
    assert journal.accept_losses() == 2
    assert journal.condition[0]
    journal.close()


def test_a_scrub_finds_what_nobody_reads(tmp_path, monkeypatch):
    monkeypatch.setattr("journal.sound_file._CHECKED_WHOLE", 0)
    path = tmp_path / "journal.sqlite3"
    journal, truth = fill(path)
    journal.close()
    flip(path, path.read_bytes().index(truth["u2"][2].frame) * 8)
    journal = SqliteJournal(path, lambda: NOW)
    journal.scrub()
    assert not journal.condition[0]
    journal.close()


def test_a_reader_of_another_process_mends_nothing(closed, tmp_path):
    source, truth = closed
    path = copied(source, tmp_path / "x")
    flip(path, path.read_bytes().index(truth["u2"][2].frame) * 8)
    before = path.read_bytes()
    reader = SqliteJournal(path, lambda: NOW, mends=False)
    with pytest.raises(
        JournalError, match=r"record 2 of stream 'u2': expected its checksum.*journal recover"
    ):
        reader.read("u2", -1)
    reader.close()
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*damaged*"))


def test_a_stop_between_the_two_files_of_a_mending(closed, tmp_path):
    """However far it got, the next start finds the damaged file or the whole new one."""
    source, truth = closed
    path = copied(source, tmp_path / "x")
    flip(path, path.read_bytes().index(truth["u2"][2].frame) * 8)
    SqliteJournal(path, lambda: NOW).close()
    whole = path.read_bytes()
    # Stopped after the new file was finished, before the log of the old one was removed.
    path = copied(source, tmp_path / "y")
    path.with_name(f"{path.name}.mended").write_bytes(whole)
    path.with_name(f"{path.name}-wal").write_bytes(b"the log of the damaged file" * 10_000)
    judge(path, truth, "finished by the next start")
    # Stopped while it was built.
    path = copied(source, tmp_path / "z")
    flip(path, path.read_bytes().index(truth["u2"][2].frame) * 8)
    path.with_name(f"{path.name}.mending").write_bytes(whole[:5000])
    judge(path, truth, "begun again")
    assert not list(path.parent.glob("*.mending*"))


def test_offsets_that_were_seen_are_not_given_again(tmp_path):
    """The journal is replaced by an older copy: the store would pass over what came under the same offsets."""
    path = tmp_path / "journal.sqlite3"
    journal, truth = fill(path)
    journal.close()
    old = tmp_path / "old"
    shutil.copyfile(path, old)
    journal = SqliteJournal(path, lambda: NOW)
    journal.append([Append("u2", b"seen"), Append("u2", b"seen too"), Append("u3", b"seen")])
    seen = {stream: offset for stream, (offset, _) in journal.streams().items()}
    journal.close()
    shutil.copyfile(old, path)
    journal = SqliteJournal(path, lambda: NOW)
    noted = journal.cover(seen, "the store")
    assert [(x.stream, x.records) for x in noted] == [("u2", 2), ("u3", 1)]
    assert [r.offset for r in journal.append([Append("u2", b"new"), Append("u3", b"new")])] == [
        seen["u2"] + 1,
        seen["u3"] + 1,
    ]
    assert [r.frame for r in journal.read("u2", seen["u2"])] == [b"new"]
    assert len(journal.read("u2", -1)) == len(truth["u2"]) + 1, "the gap is known"
    assert "had seen them" in journal.condition[1]
    assert journal.cover(seen, "the store") == []
    journal.close()
