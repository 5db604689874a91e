"""One partition: streams side by side, in order, from the checkpoint on."""

import json
from dataclasses import replace

import pytest

from models.frame import EMPTIED_STREAMS, Frame, FrameKind
from streams.core.checkpoint import CheckpointError
from streams.runtime.checkpoint_slots import CheckpointSlots
from streams.runtime.faust_partition import OffsetGapError, PartitionRun, Pipelines
from streams.runtime.faust_standing import standing_of
from tests.support.chain_pipeline import ChainPipeline

_PIPELINES = Pipelines(ChainPipeline, ChainPipeline.restore)


def _run(entries=None, log_start=0, generation=1):
    return PartitionRun.load(2, generation, entries or {}, log_start, _PIPELINES)


def _fold(outputs, rows):
    for each in outputs:
        for tables in each.rows.values():
            for table in tables:
                for row in table.to_pylist():
                    rows[row["key"], row["window_start"]] = row


def _save(run, entries):
    plan = run.plan()
    entries.update([*plan.parts, plan.marker])
    for key in run.slots.confirm(plan):
        entries.pop(key, None)


def test_going_on_from_a_checkpoint_gives_the_rows_of_an_uninterrupted_run():
    records = [(f"s{i % 3}".encode(), i, 1000 * i, b"%d" % i) for i in range(90)]
    whole, pieced = {}, {}
    clean = _run()
    for record in records:
        clean.step(*record)
    _fold(clean.take_outputs(), whole)

    entries: dict[bytes, bytes] = {}
    for generation, (first, last) in enumerate([(0, 31), (20, 60), (59, 90)]):
        run = _run(entries, generation=generation)
        assert run.offset == first - 1
        for record in records[first:last]:
            run.step(*record)
            if record[1] in (19, 58):  # what comes after is lost in the crash, but the sink has it
                _save(run, entries)
        _fold(run.take_outputs(), pieced)
    assert pieced == whole
    assert len(whole) == 3 * 9


@pytest.mark.parametrize("offset", [0, 4, 6, 100])
def test_a_record_that_is_not_the_next_one_is_an_error(offset):
    run = _run()
    for i in range(5):
        run.step(b"east", i, 1000, b"1")
    run.take_outputs()
    with pytest.raises(OffsetGapError, match=f"partition 2: expected record 5, got {offset}"):
        run.step(b"east", offset, 1000, b"1")
    assert run.take_outputs() == []


def test_records_that_kafka_no_longer_keeps_are_passed_over():
    assert _run(log_start=40).offset == 39
    entries: dict[bytes, bytes] = {}
    run = _run()
    for i in range(10):
        run.step(b"east", i, 1000, b"1")
    _save(run, entries)
    assert _run(entries, log_start=4).offset == 9
    assert _run(entries, log_start=25).offset == 24


def test_streams_whose_first_records_kafka_no_longer_keeps_know_up_to_where_they_were_computed():
    run = PartitionRun.load(2, 1, {}, 40, _PIPELINES, 50)
    for offset, stream in ((40, b"east"), (49, b"west"), (50, b"new")):
        run.offset = offset - 1
        run.step(stream, offset, 1000, b"1")
    anew_to = {stream: pipeline.anew_to for stream, pipeline in run._running.items()}
    assert anew_to == {"east": 49, "west": 49, "new": None}
    entries: dict[bytes, bytes] = {}
    run = PartitionRun.load(2, 1, {}, 40, _PIPELINES, 50)
    run.step(b"east", 40, 1000, b"1")
    _save(run, entries)
    again = PartitionRun.load(2, 2, entries, 40, _PIPELINES, 60)
    for offset, stream in ((41, b"west"), (50, b"new")):
        again.offset = offset - 1
        again.step(stream, offset, 1000, b"1")
    anew_to = {stream: pipeline.anew_to for stream, pipeline in again._running.items()}
    assert anew_to == {"east": 49, "west": 49, "new": None}
    whole = _run()
    whole.step(b"east", 0, 1000, b"1")
    assert whole._running["east"].anew_to is None
    entries: dict[bytes, bytes] = {}
    _save(whole, entries)  # with a checkpoint what follows is known, whatever Kafka keeps of before
    assert PartitionRun.load(2, 1, entries, 1, _PIPELINES, 50).anew_to is None


def test_a_poisoned_record_is_a_dead_letter_and_its_neighbours_are_taken():
    run = _run()
    run.step(b"east", 0, 1000, b"1")
    run.step(b"east", 1, 1500, b"\xff not a number")
    run.step(None, 2, 1600, b"5")
    run.step(b"\xfe\xff", 3, 1700, None)
    run.step(b"east", 4, 2000, b"2")
    rows = {}
    _fold(run.take_outputs(), rows)
    assert rows["east", 0]["total"] == 3
    letters = {key: row for (key, _), row in rows.items() if row.get("reason") == "frame"}
    assert set(letters) == {"east:2:1", "_refused:2:2", "\\xfe\\xff:2:3"}
    assert "expected a number" in letters["east:2:1"]["detail"]
    assert "expected a stream as the record's key" in letters["_refused:2:2"]["detail"]
    assert (run.poisoned, run.offset) == (3, 4)


def test_a_checkpoint_covers_every_stream_at_one_boundary():
    entries: dict[bytes, bytes] = {}
    run = _run()
    for i in range(7):
        run.step(b"busy", i, 1000 * i, b"1")
    run.step(b"idle", 7, 8000, b"1")
    run.step(b"busy", 8, 9000, b"1")
    _save(run, entries)
    slots = CheckpointSlots.load(2, entries)
    assert slots.offset == 8
    assert {stream: c.offset for stream, c in slots.take().items()} == {"busy": 8, "idle": 7}


def test_what_is_not_saved_is_counted():
    run = _run()
    for i in range(3):
        run.step(b"east", i, 1000, b"1")
    assert run.unsaved == 3


def test_a_marker_of_another_version_stops_the_run():
    entries: dict[bytes, bytes] = {}
    run = _run()
    run.step(b"east", 0, 1000, b"1")
    _save(run, entries)
    key = next(k for k in entries if b"marker" in k)
    entries[key] = entries[key].replace(b'"version": 1', b'"version": 9')
    with pytest.raises(CheckpointError, match="version 1, got 9"):
        _run(entries)


class Noting(ChainPipeline):
    """Notes which records it is given, whatever they are."""

    @property
    def site_id(self):
        return "another" if self.stream == "theirs" else "s"

    def steps(self, record):
        self.given = [*getattr(self, "given", ()), record.offset]
        yield from super().steps(replace(record, frame=b"1"))


def test_a_registry_for_emptied_streams_is_stepped_by_those_that_it_lacks():
    run = PartitionRun.load(2, 1, {}, 0, Pipelines(Noting, Noting.restore))
    for offset, key in enumerate((b"u1", b"gone", b"_refused", b"theirs")):
        run.step(key, offset, 1000, b"1")
    payload = json.dumps({
        "site.toml": '[site]\nid = "s"\nname = "test"\ntimezone = "UTC"\n[[region]]\nid = "r1"\nname = "r"\n'
        '[[unit]]\nid = "u1"\nregion = "r1"\nname = "one"\n',
        "devices.csv": "device,class,unit,stream\nsub-1,substation,u1,\n",
    })  # fmt: skip
    frame = Frame.events([{"device": "", "kind": "registry", "payload": payload}], FrameKind.REGISTRY)
    run.step(EMPTIED_STREAMS.encode(), 4, 2000, frame.encode())
    for offset, wrong in ((5, b"no frame"), (6, Frame.heartbeat().encode())):
        run.step(EMPTIED_STREAMS.encode(), offset, 2000, wrong)
    run.step(b"u1", 7, 3000, b"1")
    given = {stream: pipeline.given for stream, pipeline in run._running.items()}
    assert given == {"u1": [0, 7], "gone": [1, 4], "_refused": [2], "theirs": [3]}
    assert (run.poisoned, run.offset) == (2, 7)


class Failing(ChainPipeline):
    """One that cannot take in what is odd, or cannot give its state any more."""

    def steps(self, record):
        if record.frame == b"odd":
            raise KeyError("of a test")
        if record.frame == b"memory":
            raise MemoryError
        yield from super().steps(record)
        self.newest_ms = record.timestamp_ms

    @property
    def now_ms(self):
        return getattr(self, "newest_ms", None)

    def checkpoint(self):
        if self.stream == "dumb":
            raise TypeError("not to be written")
        return super().checkpoint()


_FAILING = Pipelines(Failing, Failing.restore)


def _failing(records, entries=None):
    run = PartitionRun.load(2, 1, entries or {}, 0, _FAILING)
    for record in records:
        run.step(*record)
    return run


def test_a_stream_that_cannot_go_on_stands_still_alone_until_the_next_start(caplog):
    sound = [(f"s{i % 3}".encode(), i, 1000 * i, b"%d" % i) for i in range(60)]
    records = [*sound[:31], (b"s1", 31, 31_000, b"odd"), *sound[32:]]
    run, clean = _failing(records), _failing(sound)
    rows, as_ever = {}, {}
    _fold(run.take_outputs(), rows)
    _fold(clean.take_outputs(), as_ever)
    assert {k: r for k, r in rows.items() if k[0] != "s1"} == {
        k: r for k, r in as_ever.items() if k[0] != "s1"
    }
    assert run.offset == 59, "what it cannot take in holds nobody up"
    assert run.standing == {"s1": "after record 30: KeyError: 'of a test'"}
    assert "stream s1 stands still until the next start" in caplog.text
    assert clean.now_ms().keys() == run.now_ms().keys()
    assert run.now_ms()["s1"] <= 31_000 < run.now_ms()["s0"]
    assert run.plan() is None, "a checkpoint would pass over what it lacks"
    look = standing_of([run], assigned=1, stepped=60, unstepped=0, now_s=0.0, degraded="")
    assert look.standing == run.standing


def test_the_next_start_begins_with_the_checkpoint_of_before_and_reads_what_it_lacks():
    sound = [(f"s{i % 3}".encode(), i, 1000 * i, b"%d" % i) for i in range(60)]
    entries: dict[bytes, bytes] = {}
    run = _failing(sound[:20])
    _save(run, entries)
    for record in [*sound[20:31], (b"s1", 31, 31_000, b"odd"), *sound[32:]]:
        run.step(*record)
    again = PartitionRun.load(2, 2, entries, 0, _FAILING)
    assert (again.offset, again.standing) == (19, {})
    for record in sound[20:]:
        again.step(*record)
    clean, rows, as_ever = _failing(sound), {}, {}
    _fold(run.take_outputs() + again.take_outputs(), rows)
    _fold(clean.take_outputs(), as_ever)
    assert rows == as_ever
    assert again.plan() is not None


def test_a_stream_whose_state_cannot_be_written_stands_still_too():
    run = _failing([(b"s0", 0, 0, b"0"), (b"dumb", 1, 1000, b"1"), (b"s0", 2, 2000, b"2")])
    assert run.plan() is None
    assert run.standing == {"dumb": "after record 2: TypeError: not to be written"}


def test_a_lack_of_memory_is_not_a_streams_matter():
    with pytest.raises(MemoryError):
        _failing([(b"s0", 0, 0, b"memory")])
