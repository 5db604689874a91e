"""A checkpoint file with any bit flipped or its end cut: the state that was saved, or none, never another."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from streams.core.checkpoint import Checkpoint, CheckpointError
from streams.runtime.sqlite_checkpoints import SqliteCheckpoints
from tests.support.damage import copied, flip, flip_everywhere, pieces

SEED = 20_260_102
IN_GATE = 100


def saves():
    """Two saves of two streams; a segment is written once and kept, over two pages."""
    rng = random.Random(SEED)
    segment, other = rng.randbytes(300) + bytes(4_100) + rng.randbytes(100), rng.randbytes(100)
    return [
        [
            Checkpoint("u1", 5, {"meta": b"five", "segment/a": segment}),
            Checkpoint("u2", 3, {"meta": b"three"}),
        ],
        [Checkpoint("u1", 9, {"meta": b"nine", "segment/a": segment, "segment/b": other})],
    ]


def states():
    """What may be read: nothing, the state after each save."""
    held: dict = {}
    allowed = [{}]
    for save in saves():
        held = {**held, **{c.stream: c for c in save}}
        allowed.append(held)
    return allowed


@pytest.fixture(scope="module", params=["closed", "killed"])
def kept(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param) / "checkpoints.sqlite3"
    checkpoints = SqliteCheckpoints(path)
    for save in saves():
        checkpoints.save(save)
    if request.param == "killed":
        path = copied(path, path.parent / "copy")
    checkpoints.close()
    return path


def taken(path, where):
    """How the runtime takes it up: as it was saved, or put aside and computed anew."""
    checkpoints = SqliteCheckpoints(path)
    try:
        found = checkpoints.load()
    except CheckpointError:
        checkpoints.clear()
        found = checkpoints.load()
        assert found == {}, where
    # A stream whose row is gone is computed anew from the journal; one that is there is as it was saved.
    allowed = [set(_frozen(state).items()) for state in states()]
    assert any(set(_frozen(found).items()) <= state for state in allowed), f"{where}: {found}"
    checkpoints.save([Checkpoint("u1", 11, {"meta": b"eleven"})])
    checkpoints.close()
    again = SqliteCheckpoints(path)
    assert again.load()["u1"] == Checkpoint("u1", 11, {"meta": b"eleven"}), where
    again.close()
    return "whole" if found == states()[-1] else "older" if found else "anew"


def _frozen(state):
    return {stream: (c.offset, tuple(sorted(c.parts.items()))) for stream, c in state.items()}


def flips(kept, tmp_path, count):
    verdicts: Counter = Counter()
    rng = random.Random(SEED)
    for piece in pieces(kept):
        total = piece.stat().st_size * 8
        some = {*rng.sample(range(800), count // 2), *rng.sample(range(total), count)}
        for bit in sorted(some):
            path = copied(kept, tmp_path / "x")
            flip(path.with_name(piece.name), bit)
            verdicts[taken(path, f"seed {SEED}, bit {bit} of {piece.name}")] += 1
    return verdicts


def test_any_flipped_bit(kept, tmp_path):
    verdicts = flips(kept, tmp_path, IN_GATE)
    assert verdicts["whole"] > 0
    assert verdicts["anew"] + verdicts["older"] > 0


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_every_flipped_bit(kept):
    print(kept.parent.name, flip_everywhere(kept, taken))


def test_its_end_cut_anywhere(kept, tmp_path):
    rng = random.Random(SEED)
    piece = pieces(kept)[-1]
    length = piece.stat().st_size
    for at in [0, *rng.sample(range(length), 25), length - 1]:
        path = copied(kept, tmp_path / "x")
        with path.with_name(piece.name).open("r+b") as file:
            file.truncate(at)
        taken(path, f"seed {SEED}, {piece.name} cut at {at} of {length}")


def test_a_schema_that_is_no_text_any_more(tmp_path):
    path = tmp_path / "checkpoints.sqlite3"
    SqliteCheckpoints(path).close()
    flip(path, (path.read_bytes().index(b"CREATE TABLE part") + 3) * 8 + 7)
    assert taken(path, "schema") == "anew"


@pytest.mark.parametrize("damage", ["checkpoint SET stream", "part SET name"])
def test_text_that_is_read_as_bytes(tmp_path, damage):
    """One bit in the head of a row does it, and the row is found all the same."""
    path = tmp_path / "checkpoints.sqlite3"
    checkpoints = SqliteCheckpoints(path)
    for save in saves():
        checkpoints.save(save)
    column = damage.split()[-1]
    checkpoints._db.execute(f"UPDATE {damage} = CAST({column} AS BLOB) WHERE stream = 'u2'")
    assert checkpoints.offsets() == {"u1": 9}
    checkpoints.close()
    assert taken(path, damage) == "anew"


def test_a_segment_that_lies_under_its_name_is_written_again(tmp_path):
    """Left by a checkpoint that was lost: a stream that is computed anew may have other segments of that name."""
    checkpoints = SqliteCheckpoints(tmp_path / "checkpoints.sqlite3")
    checkpoints.save([Checkpoint("u1", 5, {"segment/a": b"old"})])
    checkpoints._db.execute("DELETE FROM checkpoint")
    assert checkpoints.load() == {}
    saved = Checkpoint("u1", 2, {"segment/a": b"new"})
    checkpoints.save([saved])
    assert checkpoints.load() == {"u1": saved}
    checkpoints.close()
