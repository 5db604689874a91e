"""Files of every format there ever was open, an upgrade may be stopped anywhere, and newer files are refused."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import shutil
import sqlite3
import threading
import zipfile
from pathlib import Path

import duckdb
import pytest

from edge import outbox_format
from edge.outbox import OutboxError, OutboxFile
from ingest.decode import Decoder
from ingest.messages import ClockMode, Message
from journal import sqlite_format
from journal.protocol import Append, JournalError
from journal.sqlite import FILE_NAME, SqliteJournal
from models.frame import Frame
from store.catalogue import LAYOUT
from store.duckdb_series import SERIES_FILE, DuckdbSeries
from store.protocol import Select, StoreError
from streams.core.checkpoint import Checkpoint, CheckpointError
from streams.runtime import sqlite_checkpoints
from streams.runtime.local import LocalRuntime
from streams.runtime.sqlite_checkpoints import SqliteCheckpoints
from tests.support.make_formats import CHECKPOINTS_FILE, FORMATS, OUTBOX_FILE
from tests.support.payloads import BOOT, NOW, acks, site, telemetry, topic
from tests.support.power import Recorder, disk_at

SEED = 20_260_105
ALL = sorted(FORMATS.glob("*.zip"), key=lambda path: int(path.stem))
CUTS, CUTS_IN_SOAK = 15, 200


def unpacked(archive: Path, into: Path) -> dict:
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(into)
    return json.loads((into / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture(params=ALL, ids=[f"format {path.stem}" for path in ALL])
def data(request, tmp_path):
    """A data directory as a killed server and collector of that format left it, and what is in it."""
    return tmp_path / "data", unpacked(request.param, tmp_path / "data")


def see_journal(path: Path, expected: dict) -> None:
    journal = SqliteJournal(path, lambda: NOW)
    try:
        found = [
            [r.stream, r.offset, r.timestamp_ms, hashlib.sha256(r.frame).hexdigest()] for r in journal.scan()
        ]
        assert found == expected["records"]
        assert len(journal.registries()) == expected["registries"]
        assert journal.condition[0], journal.condition
        for record in journal.read("u1", -1):
            Frame.decode(record.frame)
    finally:
        journal.close()


def see_checkpoints(path: Path, expected: dict) -> None:
    checkpoints = SqliteCheckpoints(path)
    found = {
        s: [c.offset, {n: hashlib.sha256(d).hexdigest() for n, d in sorted(c.parts.items())}]
        for s, c in checkpoints.load().items()
    }
    checkpoints.close()
    assert found == expected["checkpoints"]


def see_outbox(path: Path, expected: dict) -> None:
    said: list[str] = []
    file = OutboxFile(path, boot_ms=NOW, max_bytes=10**9, say=said.append)
    try:
        for device, told in expected["outbox"].items():
            box = file.outbox(device)
            found = [[m.seq, m.t_ms, base64.b64encode(m.payload).decode()] for m in box.after(0, 1000)]
            standing = json.loads(json.dumps(box.standing()._asdict()))
            assert {"messages": found, "position": box.position, **standing} == told
        assert not [line for line in said if "torn end" not in line], said
    finally:
        file.close()


SEEN = {FILE_NAME: see_journal, CHECKPOINTS_FILE: see_checkpoints, OUTBOX_FILE: see_outbox}


@pytest.mark.parametrize("name", SEEN)
def test_a_file_of_an_older_format_opens_and_goes_on(data, name):
    directory, expected = data
    SEEN[name](directory / name, expected)
    SEEN[name](directory / name, expected)  # now of the present format, and closed cleanly
    if name == FILE_NAME:
        journal = SqliteJournal(directory / name, lambda: NOW)
        last = journal.streams()["u1"][0]
        assert journal.append([Append("u1", b"next")])[0].offset == last + 1
        journal.close()
    elif name == CHECKPOINTS_FILE:
        checkpoints = SqliteCheckpoints(directory / name)
        checkpoints.save([Checkpoint("u1", 10**6, {"meta": b"x"})])
        assert checkpoints.load()["u1"].offset == 10**6
        checkpoints.close()
    else:
        file = OutboxFile(directory / name, boot_ms=NOW, max_bytes=10**9)
        box = file.outbox("sub-1")
        assert (box.boot, box.put([(1, {})])[0].seq) == (BOOT, 9)
        file.close()


def test_a_server_goes_on_with_an_older_data_directory(data):
    """Nothing is lost or doubled: what was stored is not stored again, what comes is."""
    directory, expected = data
    journal = SqliteJournal(directory / FILE_NAME, lambda: NOW)
    store, checkpoints = (
        DuckdbSeries(directory / SERIES_FILE),
        SqliteCheckpoints(directory / CHECKPOINTS_FILE),
    )
    assert store.select(Select("reading")).num_rows == expected["readings"]
    assert journal.cover(store.progress(), "the store") == []
    assert journal.cover(checkpoints.offsets(), "a checkpoint") == []
    later = NOW + 20 * 60_000
    sample = {"t": later, "supply_c": 99.0}
    placed = Decoder(site()).decode(
        [telemetry("sub-1", 13, [sample])], mode=ClockMode.WALL, wall_ms=later, now_ms={}
    )
    journal.append([Append(p.stream, p.frame.encode(), p.timestamp_ms) for p in placed.placed])
    runtime = LocalRuntime(journal, store, checkpoints)
    runtime.load()
    while runtime.pass_once(threading.Event()):
        pass
    runtime.report(threading.Event())
    runtime.save()
    assert store.select(Select("reading")).num_rows == expected["readings"] + 1
    ledger = store.select(Select("ledger", keys=("sub-1",), latest=True)).to_pylist()[0]
    assert (ledger["stored"], ledger["unaccounted"], ledger["duplicate"]) == (13, 0, 0)
    for part in (journal, store, checkpoints):
        part.close()


@pytest.mark.parametrize(
    ("name", "number"),
    [
        (FILE_NAME, sqlite_format.FORMAT),
        (CHECKPOINTS_FILE, sqlite_checkpoints._VERSION),
        (OUTBOX_FILE, outbox_format.FORMAT),
    ],
)
def test_the_present_format_is_kept_for_later_versions(tmp_path, name, number):
    """Whoever changes a format commits a file of it: ``python -m tests.support.make_formats N``."""
    found = set()
    for archive in ALL:
        unpacked(archive, tmp_path / archive.stem)
        with sqlite3.connect(tmp_path / archive.stem / name) as db:
            found.add(db.execute("PRAGMA user_version").fetchone()[0])
    assert number in found


def test_the_present_layout_of_series_is_kept_for_later_versions(tmp_path):
    unpacked(ALL[-1], tmp_path / "x")
    with duckdb.connect(str(tmp_path / "x" / SERIES_FILE), read_only=True) as db:
        tables = [name for (name,) in db.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        (meta,) = [name for name in tables if "meta" in name]
        assert db.execute(f'SELECT max(layout) FROM "{meta}"').fetchone() == (LAYOUT,)


def stopped_upgrades(tmp_path: Path, name: str, count: int, seed: int) -> None:
    """Stop the first start on a file of format 1 at any write of it, as a power cut does, and start again."""
    expected = unpacked(ALL[0], tmp_path / "old")
    before = {p.name: p.read_bytes() for p in (tmp_path / "old").glob(f"{name}*")}
    (tmp_path / "work").mkdir()
    for file, content in before.items():
        (tmp_path / "work" / file).write_bytes(content)
    with Recorder(tmp_path / "work") as disk:
        SEEN[name](tmp_path / "work" / name, expected)
    assert sum(event.what == "write" for event in disk.events) > 5
    for number in range(count):
        rng = random.Random(seed * 1000 + number)
        cut = rng.randint(0, len(disk.events))
        left = tmp_path / f"cut-{number}"
        disk_at(disk.events, cut, rng, left, before)
        try:
            SEEN[name](left / name, expected)
        except Exception as error:
            raise AssertionError(f"seed {seed}, cut {number} before event {cut}: {error}") from error
        shutil.rmtree(left)


@pytest.mark.parametrize("name", SEEN)
def test_an_upgrade_may_be_stopped_anywhere(tmp_path, name):
    stopped_upgrades(tmp_path, name, CUTS, SEED)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", SEEN)
def test_an_upgrade_is_stopped_200_times(tmp_path, name):
    stopped_upgrades(tmp_path, name, CUTS_IN_SOAK, random.SystemRandom().randrange(10**6))


def sql(path: Path, *statements: str) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        db.execute(statement)
    db.close()


def test_newer_files_are_refused_by_both_numbers_and_left_alone(tmp_path):
    journal, checkpoints, outbox, series = (tmp_path / n for n in ("j", "c", "o", "s"))
    SqliteJournal(journal, lambda: NOW).close()
    SqliteCheckpoints(checkpoints).close()
    OutboxFile(outbox, boot_ms=1, max_bytes=9).close()
    DuckdbSeries(series).close()
    sql(journal, "PRAGMA user_version = 7", "UPDATE about SET format = 7")
    sql(checkpoints, "PRAGMA user_version = 7", f"PRAGMA application_id = {sqlite_checkpoints._MARK | 7}")
    sql(outbox, "PRAGMA user_version = 7", f"PRAGMA application_id = {outbox_format._MARK | 7}")
    with duckdb.connect(str(series)) as db:
        (meta,) = [
            n for (n,) in db.execute("SELECT table_name FROM duckdb_tables()").fetchall() if "meta" in n
        ]
        db.execute(f'UPDATE "{meta}" SET layout = 7')
    before = {p.name: p.read_bytes() for p in (journal, checkpoints, outbox)}
    newer = r"expected \w+ {} or older, got 7: it was written by a newer hearthline; install that version again, or"
    with pytest.raises(JournalError, match=newer.format(sqlite_format.FORMAT)):
        SqliteJournal(journal, lambda: NOW)
    with pytest.raises(CheckpointError, match=newer.format(sqlite_checkpoints._VERSION)):
        SqliteCheckpoints(checkpoints)
    with pytest.raises(OutboxError, match=newer.format(outbox_format.FORMAT)):
        OutboxFile(outbox, boot_ms=1, max_bytes=9)
    with pytest.raises(
        StoreError, match=rf"expected layout {LAYOUT}, got 7: it was written by a newer hearthline"
    ):
        DuckdbSeries(series)
    assert {p.name: p.read_bytes() for p in (journal, checkpoints, outbox)} == before
    assert not [p.name for p in tmp_path.iterdir() if "damaged" in p.name or "corrupt" in p.name]


# The first version's payloads, with no field that could be left out; and a later version's, with more.
OLDER = {
    "telemetry": {"boot": BOOT, "seq": 1, "samples": [{"t": NOW, "supply_c": 90.0}]},
    "birth": {"boot": BOOT, "at": NOW, "class": "substation", "interval_s": 10},
    "state": {"boot": BOOT, "at": NOW, "next_seq": 2},
    "death": {"boot": BOOT},
}
NEWER = {
    "telemetry": {
        **OLDER["telemetry"],
        "unit_system": "si",
        "samples": [{"t": NOW, "supply_c": 90.0, "vortex_hz": 3.0}],
    },
    "birth": {**OLDER["birth"], "firmware": "9.1"},
    "state": {**OLDER["state"], "battery_pct": 80, "waiting": [[1, 1]]},
    "death": {**OLDER["death"], "why": "power"},
}


@pytest.mark.parametrize("payloads", [OLDER, NEWER], ids=["older", "newer"])
def test_collectors_of_other_versions_are_understood(payloads):
    messages = [Message(topic("sub-1", k), json.dumps(p).encode(), False, NOW) for k, p in payloads.items()]
    decoded = Decoder(site()).decode(messages, mode=ClockMode.WALL, wall_ms=NOW, now_ms={})
    assert not decoded.refused, decoded.refused
    assert (decoded.accepted.messages, decoded.accepted.events) == (1, 3)
    assert acks(decoded)


@pytest.mark.parametrize("kind", OLDER)
def test_what_the_first_version_sent_is_all_that_may_be_asked_for(kind):
    """Each of those fields is needed: a field added later has to have a default."""
    for field in OLDER[kind]:
        short = {k: v for k, v in OLDER[kind].items() if k != field}
        message = Message(topic("sub-1", kind), json.dumps(short).encode(), False, NOW)
        assert Decoder(site()).decode([message], mode=ClockMode.WALL, wall_ms=NOW, now_ms={}).refused, field
