"""A checkpoint counts whole or not at all, wherever its writes are torn."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.checkpoint import Checkpoint, CheckpointError
from streams.runtime import checkpoint_slots
from streams.runtime.checkpoint_slots import CheckpointSlots, Marker

_PARTITION = 3

_parts = st.dictionaries(
    st.sampled_from(["now", "deliveries", "ledger", "segment/1", "segment/2", "segment/3", "segment/4"]),
    st.binary(max_size=400),
    max_size=7,
)
_state = st.dictionaries(st.sampled_from(["east", "west", "yard"]), _parts, min_size=1, max_size=3)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(checkpoint_slots, "CHUNK_BYTES", 32)


def _checkpoints(offset, state):
    return {stream: Checkpoint(stream, offset, parts) for stream, parts in state.items()}


def _writes(slots, plan):
    """Every write of a checkpoint in the order in which the runtime sends them."""
    writes = [*plan.parts, plan.marker]
    return writes, [(key, b"") for key in slots.confirm(plan)]


def _apply(entries, writes):
    for key, value in writes:
        if value:
            entries[key] = value
        else:
            entries.pop(key, None)


@settings(max_examples=150, deadline=None)
@given(states=st.lists(_state, min_size=1, max_size=6), data=st.data())
def test_a_crash_at_any_write_leaves_the_previous_or_the_new_checkpoint(states, data):
    entries: dict[bytes, bytes] = {}
    expected = (-1, {})
    for number, state in enumerate(states):
        slots = CheckpointSlots.load(_PARTITION, entries)
        assert (slots.offset, slots.take()) == expected
        slots.own(generation=1)
        offset = 10 * number
        plan = slots.prepare(offset, _checkpoints(offset, state).values())
        writes, sweep = _writes(slots, plan)
        # The parts go out together, so any of them may be missing; the marker follows all of them.
        if data.draw(st.booleans(), label="torn"):
            kept = data.draw(st.sets(st.integers(0, len(plan.parts) - 1)), label="kept")
            _apply(entries, [plan.parts[i] for i in kept])
        else:
            _apply(entries, writes)
            _apply(entries, sweep[: data.draw(st.integers(0, len(sweep)), label="swept")])
            expected = (offset, _checkpoints(offset, state))
    slots = CheckpointSlots.load(_PARTITION, entries)
    assert (slots.offset, slots.take()) == expected


@settings(max_examples=100, deadline=None)
@given(states=st.lists(_state, min_size=2, max_size=5), data=st.data())
def test_a_damaged_value_is_never_read_as_state(states, data):
    entries: dict[bytes, bytes] = {}
    valid = [(-1, {})]
    slots = CheckpointSlots(_PARTITION)
    slots.own(1)
    for number, state in enumerate(states):
        plan = slots.prepare(number, _checkpoints(number, state).values())
        writes, sweep = _writes(slots, plan)
        _apply(entries, writes + sweep)
        valid.append((number, _checkpoints(number, state)))
    key = data.draw(st.sampled_from(sorted(k for k in entries if b"/marker/" not in k)))
    value = bytearray(entries[key])
    at = data.draw(st.integers(0, len(value) - 1))
    value[at] ^= 1 << data.draw(st.integers(0, 7))
    entries[key] = bytes(value)
    loaded = CheckpointSlots.load(_PARTITION, entries)
    assert (loaded.offset, loaded.take()) in valid


def test_two_checkpoints_use_two_slots_and_the_farthest_offset_wins():
    entries: dict[bytes, bytes] = {}
    slots = CheckpointSlots(_PARTITION)
    slots.own(4)
    used = []
    for offset in (5, 9, 12):
        plan = slots.prepare(offset, _checkpoints(offset, {"east": {"now": b"x"}}).values())
        used.append(plan.slot)
        writes, _ = _writes(slots, plan)
        _apply(entries, writes)
    assert used == [0, 1, 0]
    assert CheckpointSlots.load(_PARTITION, entries).offset == 12
    # A stale owner, who wrote later but had come less far, does not take recovery back.
    stale = CheckpointSlots.load(_PARTITION, entries)
    stale.own(9)
    plan = stale.prepare(7, _checkpoints(7, {"east": {"now": b"old"}}).values())
    writes, _ = _writes(stale, plan)
    _apply(entries, writes)
    loaded = CheckpointSlots.load(_PARTITION, entries)
    assert loaded.offset == 12
    assert loaded.take()["east"].parts == {"now": b"x"}


def test_segments_are_written_once_and_deleted_when_neither_slot_needs_them():
    slots = CheckpointSlots(_PARTITION)
    slots.own(1)
    entries: dict[bytes, bytes] = {}
    kept = {"segment/a": b"a" * 50, "segment/b": b"b" * 50}

    def checkpoint(offset, parts):
        plan = slots.prepare(offset, [Checkpoint("east", offset, parts)])
        writes, sweep = _writes(slots, plan)
        _apply(entries, writes + sweep)
        return [key for key, _ in plan.parts if b"/segment/" in key], sweep

    first, _ = checkpoint(1, kept)
    assert len(first) >= 2
    second, sweep = checkpoint(2, kept)
    assert (second, sweep) == ([], [])
    without_b = {"segment/a": kept["segment/a"]}
    assert checkpoint(3, without_b) == ([], [])  # the other slot still refers to b
    _, sweep = checkpoint(4, without_b)
    assert {hashlib.sha256(b"b" * 50).hexdigest() in key.decode() for key, _ in sweep} == {True}
    assert CheckpointSlots.load(_PARTITION, entries).take()["east"].parts == without_b


def test_segments_of_a_torn_checkpoint_are_swept_by_the_next_owner():
    slots = CheckpointSlots(_PARTITION)
    slots.own(1)
    torn = slots.prepare(5, [Checkpoint("east", 5, {"segment/lost": b"l" * 40})])
    entries = dict(torn.parts)
    later = CheckpointSlots.load(_PARTITION, entries)
    later.own(2)
    plan = later.prepare(6, [Checkpoint("east", 6, {"now": b"6"})])
    writes, sweep = _writes(later, plan)
    _apply(entries, writes + sweep)
    assert not [key for key in entries if b"/segment/" in key]


def test_epochs_rise_even_when_the_groups_generation_starts_again():
    entries: dict[bytes, bytes] = {}
    for generation, epoch in ((7, 7), (1, 8), (8, 9), (20, 20)):
        slots = CheckpointSlots.load(_PARTITION, entries)
        slots.own(generation)
        assert slots.epoch == epoch
        _apply(entries, _writes(slots, slots.prepare(epoch, [Checkpoint("east", epoch, {})]))[0])


def test_partitions_do_not_see_each_other():
    slots = CheckpointSlots(1)
    slots.own(1)
    entries: dict[bytes, bytes] = {}
    _apply(entries, _writes(slots, slots.prepare(5, [Checkpoint("east", 5, {"segment/1": b"s"})]))[0])
    assert CheckpointSlots.load(1, entries).offset == 5
    other = CheckpointSlots.load(11, entries)
    other.own(1)
    assert other.offset == -1
    assert other.confirm(other.prepare(1, [Checkpoint("west", 1, {})])) == []


def test_a_marker_of_another_version_is_an_error_and_not_an_empty_state():
    marker = Marker(1, 1, 5, 1, "00").encode().replace(b'"version": 1', b'"version": 2')
    with pytest.raises(CheckpointError, match="expected a marker of version 1, got 2"):
        CheckpointSlots.load(0, {b"1/0/marker/0": marker})
    with pytest.raises(CheckpointError, match="expected a checkpoint marker"):
        CheckpointSlots.load(0, {b"1/0/marker/0": b"no marker"})
