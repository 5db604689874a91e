"""A message that gathers samples is on disk from its first one, and is sent only once it is complete."""

from __future__ import annotations

import json
import random

import pytest

from edge.outbox import OutboxFile


def open_file(path, **kw):
    return OutboxFile(path / "o.sqlite", **{"boot_ms": 1000, "max_bytes": 10**9, "say": lambda _: None, **kw})


def times(message):
    return [sample["t"] for sample in json.loads(message.payload)["samples"]]


def test_samples_join_the_open_message_and_leave_with_it(tmp_path):
    box = open_file(tmp_path).outbox("a")
    assert box.put([(1, {"x": 1.0})], open_until=3) == []
    assert box.put([(2, {"x": 1.0})], open_until=3) == []
    assert (box.count, box.next_seq, box.last_seq) == (1, 2, 0)
    assert box.after(0, 10) == []
    assert box.get(1) is None, "it is not complete"
    assert box.waiting() == [(1, 1)], "but it waits, and the state says so"
    (full,) = box.put([(3, {"x": 1.0}), (4, {"x": 1.0})], open_until=3)
    assert (full.seq, times(full)) == (1, [1, 2, 3])
    (rest,) = box.seal()
    assert (rest.seq, times(rest)) == (2, [4])
    assert box.seal() == []
    assert box.after(0, 10) == [full, rest]


def test_an_ack_of_an_open_message_does_not_lose_what_it_gathers(tmp_path):
    box = open_file(tmp_path).outbox("a")
    box.put([(1, {})], open_until=9)
    assert box.ack(1000, [(1, 50)]) == 0, "nobody can know it yet"
    box.put([(2, {})], open_until=9)
    (message,) = box.seal()
    assert times(message) == [1, 2]


def test_a_process_that_ended_leaves_a_complete_message(tmp_path):
    file = open_file(tmp_path)
    file.outbox("a").put([(1, {}), (2, {})], open_until=9)
    file.close()
    file = open_file(tmp_path)
    (message,) = file.outbox("a").after(0, 9)
    assert times(message) == [1, 2]
    assert file.outbox("a").put([(3, {})])[0].seq == 2
    file.close()


def test_a_write_that_failed_may_be_tried_again(tmp_path):
    file = open_file(tmp_path)
    box = file.outbox("a")
    box.put([(1, {})], open_until=9)

    def fail():
        with file.group():
            box.put([(2, {})], open_until=9)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    box.put([(2, {})], open_until=9)
    box.seal()
    assert [t for message in box.after(0, 9) for t in times(message)] == [1, 2]
    assert box.count == len(box.after(0, 9))


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_every_sample_is_in_one_message_and_a_sent_one_never_changes(seed, tmp_path):
    rng = random.Random(seed)
    file, sent, given = open_file(tmp_path), {}, 0
    for _ in range(120):
        box = file.outbox("a")
        what = rng.choice(["put", "put", "put", "seal", "plain", "read", "reopen"])
        new = [(given + n + 1, {"x": rng.random()}) for n in range(rng.randint(1, 4))]
        if what in ("put", "plain"):
            given += len(new)
            told = box.put(new, open_until=rng.randint(2, 6) if what == "put" else 0)
        else:
            told = box.seal() if what == "seal" else box.after(0, 10_000)
        if what == "reopen":
            file.close()
            file = open_file(tmp_path)
            box = file.outbox("a")
        for message in told:
            assert sent.setdefault(message.seq, message) == message
        assert (
            box.size == box._file._db.execute("SELECT sum(length(payload) + 100) FROM message").fetchone()[0]
            or not given
        )
    box.seal()
    assert [t for message in box.after(0, 10_000) for t in times(message)] == list(range(1, given + 1))
    assert [message.seq for message in box.after(0, 10_000)] == list(range(1, box.next_seq))
    file.close()
