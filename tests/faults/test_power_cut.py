"""Power cuts at any point of the order in which SQLite writes: what was promised is there, and nothing false.

A cut loses everything since the last fsync of a file, or any subset of its sectors. The harness can
fail: without the fsyncs that the product asks for, each of these turns red.
"""

from __future__ import annotations

import itertools
import json
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.outbox import OutboxFile
from ingest.service import registry_frame
from journal.protocol import Append
from journal.sqlite import SqliteJournal
from streams.core.checkpoint import Checkpoint
from streams.runtime.sqlite_checkpoints import SqliteCheckpoints
from tests.support.payloads import NOW, site
from tests.support.power import Recorder, disk_at

SEED = 20_260_104
IN_GATE, IN_SOAK = 20, 200


class _Journal:
    """Appends of all sizes, a pruning, logs that are copied back and begun again, a second start."""

    file = "journal.sqlite3"

    def work(self, directory: Path, disk: Recorder) -> None:
        rng = random.Random(SEED)
        registry = registry_frame(site()).encode()
        times = itertools.count(NOW, 1000)
        for session in range(2):
            journal = SqliteJournal(directory / self.file, lambda: next(times))
            journal._writer.execute("PRAGMA wal_autocheckpoint = 25")
            for step in range(40):
                batch = [Append("u1", registry)] if step == 0 else []
                batch += [
                    Append(rng.choice(("u1", "u2")), rng.randbytes(rng.choice((10, 300, 9000))))
                    for _ in range(rng.randint(1, 4))
                ]
                disk.promise(("kept", journal.append(batch)))
                if session and step == 20:
                    disk.promise(("pruning", NOW + 20_000))
                    journal.prune(NOW + 20_000)
            journal.close()

    def judge(self, directory: Path, promised: list) -> None:
        journal = SqliteJournal(directory / self.file, lambda: NOW)
        sound, said = journal.condition
        assert sound, f"a power cut is no damage: {said}"
        kept = [record for what, records in promised if what == "kept" for record in records]
        pruned = max((ms for what, ms in promised if what == "pruning"), default=0)
        held = {(r.stream, r.offset): r for s in ("u1", "u2") for r in journal.read(s, -1, 10_000)}
        for record in kept:
            found = held.get((record.stream, record.offset))
            assert found == record or (found is None and record.timestamp_ms < pruned), f"promised: {record}"
        for stream, (last, _) in journal.streams().items():
            (added,) = journal.append([Append(stream, b"next")])
            assert added.offset == last + 1
        journal.close()
        SqliteJournal(directory / self.file, lambda: NOW).close()


class _Outbox:
    """Puts of two devices in one transaction, packing, acknowledgements, thinning, a second start."""

    file = "outbox.sqlite"

    def work(self, directory: Path, disk: Recorder) -> None:
        rng = random.Random(SEED)
        for _ in range(2):
            file = OutboxFile(
                directory / self.file, boot_ms=NOW, max_bytes=30_000, say=lambda _: None, pack_bytes=5_000
            )
            file._db.execute("PRAGMA wal_autocheckpoint = 25")
            for step in range(40):
                with file.group():
                    samples = {
                        f"n{n}": rng.randbytes(rng.randint(1, 400)).hex() for n in range(rng.randint(1, 5))
                    }
                    given = {d: file.outbox(d).put([(step, samples)], position=str(step)) for d in ("a", "b")}
                thinned = {d: file.outbox(d).thinned for d in given}
                disk.promise(("kept", given, thinned))
                if step % 7 == 3:
                    ranges = [(step - 3, step)]
                    disk.promise(("acknowledging", ranges))
                    file.outbox("a").ack(NOW, ranges)
            file.close()

    def judge(self, directory: Path, promised: list) -> None:
        said: list[str] = []
        file = OutboxFile(directory / self.file, boot_ms=NOW + 1, max_bytes=10**9, say=said.append)
        assert not any("DAMAGED" in line for line in said), f"a power cut is no damage: {said}"
        acknowledged = {
            n
            for what, *told in promised
            if what == "acknowledging"
            for a, b in told[0]
            for n in range(a, b + 1)
        }
        for device in ("a", "b"):
            outbox = file.outbox(device)
            held = {m.seq: m for m in outbox.after(0, 10_000)}
            gone = {n for a, b in outbox.thinned for n in range(a, b + 1)}
            for what, *told in promised:
                for message in told[0].get(device, []) if what == "kept" else []:
                    if message.seq in gone or (device == "a" and message.seq in acknowledged):
                        continue
                    assert held.get(message.seq) == message, f"promised: {device} {message.seq}"
                    assert outbox.boot == NOW, "no new boot"
                    assert outbox.next_seq > message.seq, f"number {message.seq} of {device} is given again"
            before = outbox.next_seq
            assert outbox.put([(1, {})])[0].seq == before
        file.close()


class _Gathering:
    """Samples one by one into messages that stay open, as a collector with `batch_s` takes them."""

    file = "outbox.sqlite"

    def work(self, directory: Path, disk: Recorder) -> None:
        rng = random.Random(SEED)
        for session in range(2):
            file = OutboxFile(directory / self.file, boot_ms=NOW, max_bytes=10**9, say=lambda _: None)
            file._db.execute("PRAGMA wal_autocheckpoint = 25")
            for step in range(60):
                t_ms = 1000 * session + step
                file.outbox("a").put([(t_ms, {"x": "y" * rng.randint(1, 300)})], open_until=7)
                disk.promise(("kept", t_ms))
                if rng.random() < 0.1:
                    file.outbox("a").seal()
            file.close()

    def judge(self, directory: Path, promised: list) -> None:
        said: list[str] = []
        file = OutboxFile(directory / self.file, boot_ms=NOW + 1, max_bytes=10**9, say=said.append)
        assert not any("DAMAGED" in line for line in said), f"a power cut is no damage: {said}"
        messages = file.outbox("a").after(0, 10_000)
        held = [sample["t"] for m in messages for sample in json.loads(m.payload)["samples"]]
        kept = [t_ms for _, t_ms in promised]
        assert held[: len(kept)] == kept, "promised: each sample taken, once"
        assert len(held) <= len(kept) + 1, "and at most the one being taken"
        file.close()


class _Checkpoints:
    """Saves of two streams with segments that stay and go."""

    file = "checkpoints.sqlite3"

    def work(self, directory: Path, disk: Recorder) -> None:
        rng = random.Random(SEED)
        for session in range(2):
            checkpoints = SqliteCheckpoints(directory / self.file)
            checkpoints._db.execute("PRAGMA wal_autocheckpoint = 25")
            segments: dict[str, bytes] = {}
            for step in range(30):
                segments[f"segment/{session}-{step}"] = rng.randbytes(rng.choice((50, 7000)))
                if step % 5 == 4:
                    segments.pop(next(iter(segments)))
                number = session * 1000 + step
                save = [Checkpoint(s, number, {"meta": rng.randbytes(100), **segments}) for s in ("u1", "u2")]
                disk.promise(("saving", save))
                checkpoints.save(save)
                disk.promise(("saved", save))
            checkpoints.close()

    def judge(self, directory: Path, promised: list) -> None:
        checkpoints = SqliteCheckpoints(directory / self.file)
        found = checkpoints.load()
        states = [{c.stream: c for c in save} for _, save in promised]
        safe = max((n for n, (what, _) in enumerate(promised) if what == "saved"), default=-1)
        assert found in (states[safe:] if safe >= 0 else [{}, *states]), (
            f"{sorted(found)}: {promised[safe][0]}"
        )
        assert not list(directory.glob("*.damaged")), "a power cut is no damage"
        checkpoints.save([Checkpoint("u1", 99_999, {"meta": b""})])
        checkpoints.close()


FILES: list = [_Journal(), _Outbox(), _Gathering(), _Checkpoints()]
NAMES = ["journal", "outbox", "gathering", "checkpoints"]


def cut_often(file, tmp_path: Path, count: int, seed: int = SEED) -> list[str]:
    """Faults of `count` power cuts spread over the whole of the work."""
    (directory := tmp_path / "work").mkdir(parents=True)
    with Recorder(directory) as disk:
        file.work(directory, disk)
    syncs = sum(event.what == "sync" for event in disk.events)
    assert len(disk.events) > 300, f"only {len(disk.events)} writes seen: the recorder does not see SQLite"
    faults = []
    for number in range(count):
        rng = random.Random(seed * 1000 + number)
        cut = rng.randint(1, len(disk.events))
        left = tmp_path / f"cut-{number}"
        promised = disk_at(disk.events, cut, rng, left)
        try:
            file.judge(left, promised)
        except Exception as error:  # noqa: BLE001  whatever it is, the promise is broken
            faults.append(
                f"seed {seed}, cut {number} before event {cut} of {len(disk.events)}, {syncs} syncs: {error!r:.300}"
            )
    return faults


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_nothing_promised_is_lost(file, tmp_path):
    assert not cut_often(file, tmp_path, IN_GATE)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_nothing_promised_is_lost_by_200_power_cuts(file, tmp_path):
    assert not cut_often(file, tmp_path, IN_SOAK, random.SystemRandom().randrange(10**6))


def careless(level: str) -> Callable[..., sqlite3.Connection]:
    """`sqlite3.connect` for programs that ask for fsyncs and get fewer."""

    class Careless(sqlite3.Connection):
        def execute(self, sql: str, *values):
            if "synchronous" in sql:
                sql = f"PRAGMA synchronous = {level}"
            return super().execute(sql, *values)

    real = sqlite3.connect
    return lambda *words, **named: real(*words, factory=Careless, **named)


@pytest.mark.parametrize("level", ["OFF", "NORMAL"])
@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_without_the_fsync_it_turns_red(file, level, tmp_path, monkeypatch):
    """A harness that cannot fail proves nothing: with less than FULL something promised is lost."""
    with monkeypatch.context() as altered:
        altered.setattr(sqlite3, "connect", careless(level))
        faults = cut_often(file, tmp_path, IN_GATE)
    assert any("promised" in fault or "saved" in fault for fault in faults), faults
