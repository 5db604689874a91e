"""A collector's outbox with any bit flipped or its end cut: no wrong sample, no number given twice, all of it said."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from edge.outbox import OutboxError, OutboxFile
from edge.outbox_message import SEQ_BITS
from tests.support.damage import copied, flip, flip_everywhere, pieces

SEED = 20_260_103
IN_GATE = 60
BOOT, LATER = 1000, 2000
DEVICES = ("sub-1", "bridge-1")
LONG = 7
ACKNOWLEDGED = 5  # after it, the first three


def values(k: int) -> dict:
    """What was measured at `k`; once so much that it spans pages."""
    return {"supply_c": k / 3} | ({f"note_{n}": "x" * 840 for n in range(5)} if k == LONG else {})


def open_file(path, said, **kw):
    return OutboxFile(path, **{"boot_ms": LATER, "max_bytes": 10**9, "say": said.append, **kw})


def fill(path: Path, last: int = 12, at_once: int = 1, **kw) -> tuple[OutboxFile, dict]:
    """An outbox of two devices, with long messages and acknowledged ones; what waits in it."""
    file = open_file(path, [], boot_ms=BOOT, **kw)
    for first in range(1, last + 1, at_once):
        with file.group():
            for k in range(first, min(first + at_once, last + 1)):
                for device in DEVICES:
                    file.outbox(device).put([(k, values(k))], position=f"line {k}")
        if first <= ACKNOWLEDGED < first + at_once:
            file.outbox("sub-1").ack(BOOT, [(1, 3)])
    return file, {d: waiting(file, d) for d in DEVICES}


def waiting(file: OutboxFile, device: str) -> dict:
    """Samples that wait, by their time, which names them here."""
    found = {}
    for message in file.outbox(device).after(0, 1000):
        told = json.loads(message.payload)
        assert (told["boot"], told["seq"]) == (file.outbox(device).boot, message.seq)
        for sample in told["samples"]:
            found[sample.pop("t")] = sample
    return found


@pytest.fixture(scope="module", params=["closed", "killed", "packed, closed", "packed, killed"])
def kept(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("outbox") / "outbox.sqlite"
    file, truth = fill(path, **({"pack_bytes": 300} if "packed" in request.param else {}))
    packed = file._db.execute("SELECT count(*) FROM pack").fetchone()[0]
    assert packed > 4 if "packed" in request.param else packed == 0
    if "killed" in request.param:
        path = copied(path, path.parent / "copy")
    file.close()
    return path, truth


def judge(path: Path, truth: dict, where: str) -> str:
    said: list[str] = []
    file = open_file(path, said)
    verdict = "whole"
    for device in DEVICES:
        outbox = file.outbox(device)
        found = waiting(file, device)
        acknowledged = {1, 2, 3} if device == "sub-1" else set()
        for t, sample in found.items():
            assert sample == values(t), f"{where}: {device} {t}: {sample}"
            assert t in truth[device] or (t in acknowledged and said), f"{where}: {device} {t} came back"
        missing = truth[device].keys() - found.keys()
        assert not missing or said, f"{where}: {device} {sorted(missing)} are lost in silence"
        # Nothing that a server may know is named again: a new boot, or numbers that follow on.
        (message,) = outbox.put([(99, {"supply_c": 1.0})])
        if outbox.boot == BOOT and not any("torn end" in line for line in said):
            assert message.seq == max(truth[device]) + 1, f"{where}: {device} {message.seq}: {said}"
        assert outbox.boot in (BOOT, LATER), where
        if missing:
            verdict = "torn" if outbox.boot == BOOT else "saved"
        assert outbox.standing().waiting_from == min([99, *found]), f"{where}: {device}"
    file.close()
    if said and verdict == "whole":
        verdict = "all saved"
    return verdict


def flips(kept, tmp_path, count):
    path, truth = kept
    verdicts: Counter = Counter()
    rng = random.Random(SEED)
    for piece in pieces(path):
        total = piece.stat().st_size * 8
        some = {*rng.sample(range(min(total, 800)), count // 2), *rng.sample(range(total), count)}
        for bit in sorted(some):
            damaged = copied(path, tmp_path / "x")
            flip(damaged.with_name(piece.name), bit)
            verdicts[judge(damaged, truth, f"seed {SEED}, bit {bit} of {piece.name}")] += 1
    return verdicts


def test_any_flipped_bit(kept, tmp_path):
    verdicts = flips(kept, tmp_path, IN_GATE)
    assert verdicts["whole"] > 0
    assert verdicts["saved"] + verdicts["all saved"] > 0


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("packed", [False, True], ids=["loose", "packed"])
@pytest.mark.parametrize("killed", [False, True], ids=["closed", "killed"])
def test_every_flipped_bit(killed, packed, tmp_path):
    """Of an outbox as small as one that has everything: two devices, acknowledged messages, long ones."""
    path = tmp_path / "outbox.sqlite"
    file, truth = fill(path, last=LONG, at_once=3, **({"pack_bytes": 300} if packed else {}))
    if killed:
        path = copied(path, tmp_path / "copy")
    file.close()
    print("killed" if killed else "closed", flip_everywhere(path, lambda p, where: judge(p, truth, where)))


def test_the_last_message_cut_at_any_byte(tmp_path):
    path = tmp_path / "outbox.sqlite"
    file, _ = fill(path)
    log = path.with_name("outbox.sqlite-wal")
    begins = log.stat().st_size
    file.outbox("sub-1").put([(13, values(13))])
    truth = {d: waiting(file, d) for d in DEVICES}
    source = copied(path, tmp_path / "copy")
    length = source.with_name(log.name).stat().st_size
    file.close()
    rng = random.Random(SEED)
    for at in sorted({begins + 1, length - 1, *rng.sample(range(begins + 1, length), 30)}):
        cut = copied(source, tmp_path / "x")
        with cut.with_name(log.name).open("r+b") as torn:
            torn.truncate(at)
        assert judge(cut, truth, f"seed {SEED}, cut at {at} of {length}") == "torn"


def test_its_end_cut_anywhere(kept, tmp_path):
    path, truth = kept
    rng = random.Random(SEED)
    piece = pieces(path)[-1]
    length = piece.stat().st_size
    for at in [*rng.sample(range(1, length), 25), length - 1]:
        cut = copied(path, tmp_path / "x")
        with cut.with_name(piece.name).open("r+b") as torn:
            torn.truncate(at)
        if at <= 4120:
            continue  # nothing of it is left that could say what it was
        judge_cut(cut, truth, f"seed {SEED}, {piece.name} cut at {at} of {length}")


def judge_cut(path, truth, where):
    """A file cut behind whole transactions is an outbox of a moment before: only wrong samples would be wrong."""
    said: list[str] = []
    file = open_file(path, said)
    for device in DEVICES:
        for t, sample in waiting(file, device).items():
            assert sample == values(t), where
    file.close()


def test_a_stop_in_the_middle_of_mending(tmp_path):
    path = tmp_path / "outbox.sqlite"
    file, truth = fill(path)
    file.close()
    flip(path, path.read_bytes().index(b'"seq":9,') * 8)
    mended = copied(path, tmp_path / "a")
    said: list[str] = []
    open_file(mended, said).close()
    assert "OUTBOX DAMAGED" in said[0]
    stopped = copied(path, tmp_path / "b")
    stopped.with_name("outbox.sqlite.mended").write_bytes(mended.read_bytes())
    stopped.with_name("outbox.sqlite-wal").write_bytes(b"the log of the damaged file" * 1000)
    judge_cut(stopped, truth, "finished by the next start")
    begun = copied(path, tmp_path / "c")
    begun.with_name("outbox.sqlite.mending").write_bytes(mended.read_bytes()[:5000])
    assert judge(begun, truth, "begun again") == "saved"


def test_damage_while_it_runs_ends_it_and_the_next_start_saves_the_rest(tmp_path):
    path = tmp_path / "outbox.sqlite"
    file, truth = fill(path)
    file._db.execute("UPDATE message SET payload = replace(payload, '3.0', '4.0') WHERE t_ms = 9")
    with pytest.raises(OutboxError, match="message 9 of sub-1: expected its checksum, got another"):
        file.outbox("sub-1").after(0, 100)
    file.close()
    assert judge(path, truth, "next start") == "saved"


def test_a_schema_that_is_no_text_any_more(tmp_path):
    path = tmp_path / "outbox.sqlite"
    file, truth = fill(path)
    file.close()
    flip(path, (path.read_bytes().index(b"CREATE TABLE outbox") + 3) * 8 + 7)
    assert judge(path, truth, "schema") == "all saved"


def test_keys_that_are_none_any_more(tmp_path):
    """One bit in the schema, and the key is a column like others: empty."""
    path = tmp_path / "outbox.sqlite"
    file, truth = fill(path)
    file.close()
    raw = path.read_bytes()
    flip(path, (raw.index(b"PRIMARY KEY, outbox INTEGER") - 2) * 8)
    assert judge(path, truth, "schema") in {"whole", "all saved"}


@pytest.mark.parametrize("table", ["message", "pack"])
@pytest.mark.parametrize(
    "moved",
    [
        f"id = id + {1 << SEQ_BITS}",
        f"id = id + {1 << 60}",
        "outbox = outbox + 1",
        f"id = id + {1 << SEQ_BITS}, outbox = outbox + 1",
    ],
)
def test_rows_that_lie_where_nobody_looks(table, moved, tmp_path):
    """One bit of a key makes a message another outbox's; its checksum, of device and number, is as it was."""
    path = tmp_path / "outbox.sqlite"
    file, truth = fill(path, pack_bytes=300)
    file._db.execute(f"UPDATE {table} SET {moved} WHERE id = (SELECT max(id) FROM {table})")
    file.close()
    assert judge(path, truth, moved) == "all saved"


def test_damage_of_what_is_packed_while_it_runs(tmp_path):
    path = tmp_path / "outbox.sqlite"
    file, truth = fill(path, pack_bytes=300)
    file._db.execute("UPDATE pack SET crc = crc + 1 WHERE t_ms BETWEEN 4 AND 6")
    with pytest.raises(
        OutboxError, match=r"messages \d+ to \d+ of sub-1: expected their checksum, got another"
    ):
        file.outbox("sub-1").after(0, 100)
    file.close()
    assert judge(path, truth, "next start") == "saved"
