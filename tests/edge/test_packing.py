"""Packed messages: the same bytes again, whatever they were, and far fewer of them on disk."""

from __future__ import annotations

import random
from itertools import islice, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.outbox import OutboxFile
from edge.outbox_message import Message, encode_sample, payload_of
from edge.packing import pack, read_numbers, unpack, write_numbers

values = st.dictionaries(
    st.sampled_from(["supply_c", "return_c", "note", "é", "t2"]),
    st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(10**30), 10**30)
    | st.text(st.characters(exclude_categories=["Cs"])),
)
samples = st.lists(st.tuples(st.integers(0, 2**53), values), min_size=1, max_size=4)


def message(seq: int, part) -> Message:
    return Message(
        seq, min(t for t, _ in part), payload_of(1_700_000_000_000, seq, [encode_sample(*s) for s in part])
    )


@settings(max_examples=60)
@given(st.lists(samples, min_size=1, max_size=6), st.integers(1, 2**39))
def test_what_was_packed_comes_back_byte_for_byte(parts, first):
    messages = [message(first + 2 * n, part) for n, part in enumerate(parts)]
    assert unpack(pack(messages)) == messages


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4))
def test_so_does_what_is_no_message(payloads):
    messages = [Message(n + 1, n, payload) for n, payload in enumerate(payloads)]
    assert unpack(pack(messages)) == messages


def test_so_does_what_another_program_wrote():
    payload = b'{ "seq":1, "boot":7,"samples":[{"supply_c":1.50,"t":3,"t":4}]}'
    assert unpack(pack([Message(1, 3, payload)])) == [Message(1, 3, payload)]


@given(st.sets(st.integers(1, 400), min_size=1))
def test_numbers_are_read_as_they_were_written(numbers):
    from edge.ranges import of_numbers

    assert read_numbers(write_numbers(of_numbers(numbers))) == of_numbers(numbers)


def walk(rng: random.Random, count: int):
    """A device whose eighteen values move a little from sample to sample."""
    now = [rng.uniform(20, 90) for _ in range(18)]
    for k in range(count):
        now = [v + rng.gauss(0, 0.05) for v in now]
        yield 1_767_225_600_000 + 10_000 * k, {f"measurement_{n}_c": round(v, 2) for n, v in enumerate(now)}


def test_a_device_that_waits_takes_a_sixth_of_the_room(tmp_path):
    """One sample a message, as a collector without `batch_s` keeps them; all of it comes out as it went in."""
    file = OutboxFile(tmp_path / "o", boot_ms=1, max_bytes=10**9, say=lambda _: None, pack_bytes=24_000)
    box, given, samples = file.outbox("m"), [], walk(random.Random(5), 3000)
    for _ in range(15):
        with file.group():
            for t_ms, sample in islice(samples, 200):
                given += box.put([(t_ms, sample)])
    assert box.size < sum(len(m.payload) for m in given) / 6
    found, last = [], 0
    while part := box.after(last, 64):
        found += part
        last = part[-1].seq
    assert found == given
    assert box.ack(1, [(1, 3000)]) == 3000
    assert (box.count, box.size) == (0, 0)
    file.close()


def test_what_is_packed_is_thinned_evenly(tmp_path):
    """However long it goes on: no part of the older half is more than twice as sparse as another."""
    said: list[str] = []
    file = OutboxFile(tmp_path / "o", boot_ms=1, max_bytes=60_000, say=said.append, pack_bytes=2_000)
    box, rng = file.outbox("m"), random.Random(6)
    for start in range(0, 6000, 100):
        with file.group():
            for k in range(start, start + 100):
                box.put([(k, {"x": rng.random()})])
    assert said
    assert file.bytes <= 60_000
    waiting = {n for a, b in box.waiting() for n in range(a, b + 1)}
    thinned = {n for a, b in box.thinned for n in range(a, b + 1)}
    assert waiting | thinned == set(range(1, 6001))
    assert not waiting & thinned
    newest = sorted(waiting)[-len(waiting) // 2 :]
    assert newest == list(range(newest[0], 6001)) or len(newest) / (6001 - newest[0]) > 0.6
    shares = [len(waiting & set(range(n, n + 500))) for n in range(1, 5500, 500)]
    assert min(shares) > 0
    assert all(later >= 0.4 * sooner for sooner, later in pairwise(shares)), shares
    file.close()
