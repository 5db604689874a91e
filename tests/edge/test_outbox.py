"""Laws of the outbox: numbers without a gap, nothing forgotten but by `ack` or counted thinning."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from edge.outbox import OVERHEAD_BYTES, OutboxError, OutboxFile, TooLargeError
from models.wire import MAX_PAYLOAD_BYTES, State, Telemetry

DEVICES = ("a", "b")


def open_file(path, **kw):
    return OutboxFile(path, **{"boot_ms": 1000, "max_bytes": 10**9, "say": lambda _: None, **kw})


def numbers(ranges):
    return {n for first, last in ranges for n in range(first, last + 1)}


class OutboxMachine(RuleBasedStateMachine):
    """Puts, acks of anything, and crashes, against a model of plain sets."""

    max_bytes = 6_000
    pack_bytes = 10**9

    def open(self, **more):
        return open_file(self.path, max_bytes=self.max_bytes, pack_bytes=self.pack_bytes, **more)

    @initialize()
    def begin(self):
        self.dir = Path(tempfile.mkdtemp(prefix="outbox-"))
        self.path = self.dir / "o.sqlite"
        self.given = dict.fromkeys(DEVICES, 0)
        self.payloads = {d: {} for d in DEVICES}
        self.acked = {d: set() for d in DEVICES}
        self.file = self.open()

    def teardown(self):
        self.file.close()
        shutil.rmtree(self.dir)

    @rule(device=st.sampled_from(DEVICES), count=st.integers(1, 6), size=st.integers(0, 700))
    def put(self, device, count, size):
        with self.file.group():
            for k in range(count):
                samples = [(k, {"note": "x" * size})]
                for message in self.file.outbox(device).put(samples, position=f"{self.given[device]}"):
                    self.given[device] += 1
                    assert message.seq == self.given[device], "without a gap"
                    self.payloads[device][message.seq] = message.payload

    @rule(
        device=st.sampled_from(DEVICES),
        ranges=st.lists(st.tuples(st.integers(1, 80), st.integers(0, 20)), max_size=4),
        boot=st.sampled_from([1000, 1000, 1000, 7]),
    )
    def ack(self, device, ranges, boot):
        ranges = [(first, first + more) for first, more in ranges]
        waiting = numbers(self.file.outbox(device).waiting())
        gone = self.file.outbox(device).ack(boot, ranges)
        expected = waiting & numbers(ranges) if boot == 1000 else set()
        assert gone == len(expected)
        self.acked[device] |= expected

    @rule(copy=st.booleans())
    def crash(self, copy):
        """The process ends; `copy`: as a power cut leaves the files, without a clean close."""
        if copy:
            other = Path(tempfile.mkdtemp(prefix="outbox-"))
            for part in self.dir.iterdir():
                shutil.copy(part, other / part.name)
            self.file.close()
            shutil.rmtree(self.dir)
            self.dir, self.path = other, other / "o.sqlite"
        else:
            self.file.close()
        self.file = self.open(boot_ms=5000)

    @rule()
    def failing_group(self):
        """A group that fails leaves nothing behind, in memory or on disk."""
        before = {d: self.file.outbox(d).standing() for d in DEVICES}

        def put_and_fail():
            with self.file.group():
                for device in DEVICES:
                    self.file.outbox(device).put([(1, {"supply_c": 1.0})])
                raise InterruptedError

        with pytest.raises(InterruptedError):
            put_and_fail()
        assert before == {d: self.file.outbox(d).standing() for d in DEVICES}

    @invariant()
    def every_number_is_somewhere(self):
        for device in DEVICES:
            outbox = self.file.outbox(device)
            assert outbox.boot in (1000, 5000)
            waiting = numbers(outbox.waiting())
            thinned = numbers(outbox.thinned)
            assert outbox.next_seq == self.given[device] + 1
            assert waiting | self.acked[device] | thinned == set(range(1, self.given[device] + 1))
            assert not waiting & (self.acked[device] | thinned)
            assert outbox.count == len(waiting)
            kept = {m.seq: m.payload for m in outbox.after(0, 10_000)}
            assert kept == {seq: self.payloads[device][seq] for seq in waiting}
            assert outbox.after(3, 2) == [m for m in outbox.after(0, 10_000) if m.seq > 3][:2]
            assert outbox.size == self.on_disk(outbox)
            if waiting:
                assert outbox.standing().waiting_from == min(m.t_ms for m in outbox.after(0, 10_000))
        assert self.file.bytes <= self.max_bytes or all(self.file.outbox(d).count <= 1 for d in DEVICES)

    def on_disk(self, outbox):
        whose = "FROM {} WHERE outbox = (SELECT id FROM outbox WHERE device = ?)"
        sizes = {"message": "length(payload)", "pack": "length(packed) + length(numbers)"}
        return sum(
            self.file._db.execute(
                f"SELECT coalesce(sum({size} + ?), 0) {whose.format(table)}", (OVERHEAD_BYTES, outbox.device)
            ).fetchone()[0]
            for table, size in sizes.items()
        )


class PackedOutboxMachine(OutboxMachine):
    """The same with most of it packed."""

    max_bytes = 2_500
    pack_bytes = 700


OutboxMachine.TestCase.settings = PackedOutboxMachine.TestCase.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestOutboxLaws = OutboxMachine.TestCase
TestPackedOutboxLaws = PackedOutboxMachine.TestCase


def test_payload_is_what_the_wire_defines(tmp_path):
    outbox = open_file(tmp_path / "o").outbox("m")
    (message,) = outbox.put([(20, {"supply_c": 92.1}), (10, {"plate": "京A12345"})])
    told = Telemetry.model_validate_json(message.payload)
    assert (told.boot, told.seq, message.t_ms) == (1000, 1, 10)
    assert [s.model_dump() for s in told.samples] == [
        {"t": 20, "supply_c": 92.1},
        {"t": 10, "plate": "京A12345"},
    ]


def test_many_or_large_samples_are_split_below_the_limit(tmp_path):
    outbox = open_file(tmp_path / "o").outbox("m")
    texts = {f"note_{k}": "y" * 1000 for k in range(40)}
    messages = outbox.put([(t, texts) for t in range(20)])
    assert len(messages) > 1
    assert all(len(m.payload) <= MAX_PAYLOAD_BYTES for m in messages)
    assert sum(len(json.loads(m.payload)["samples"]) for m in messages) == 20
    assert [len(json.loads(m.payload)["samples"]) for m in outbox.put([(t, {}) for t in range(1500)])] == [
        1000,
        500,
    ]


def test_a_sample_over_the_limit_never_enters(tmp_path):
    outbox = open_file(tmp_path / "o").outbox("m")
    with pytest.raises(TooLargeError, match=r"m: expected a sample below 262144 bytes, got \d+ at t 7"):
        outbox.put([(6, {}), (7, {f"n{k}": "y" * 1024 for k in range(300)})])
    assert (outbox.next_seq, outbox.count) == (1, 0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, True, [1.0], "x" * 1025])
def test_what_the_wire_cannot_carry_is_refused(tmp_path, value):
    outbox = open_file(tmp_path / "o").outbox("m")
    with pytest.raises(ValueError):  # noqa: PT011  json's own message for NaN
        outbox.put([(1, {"supply_c": value})])
    assert outbox.next_seq == 1


def test_thinning_is_even_counted_and_said(tmp_path):
    said: list[str] = []
    file = open_file(tmp_path / "o", max_bytes=100 * (40 + OVERHEAD_BYTES), say=said.append)
    outbox = file.outbox("m")
    while not said:
        outbox.put([(outbox.next_seq, {})])
    thinned = numbers(outbox.thinned)
    last = outbox.next_seq - 1
    assert thinned == set(range(1, last // 2 + 1, 2)), "every second of the older half"
    assert "outbox full" in said[0]
    assert f"{len(thinned)} of the oldest messages of m" in said[0]


def test_state_stays_within_the_wire_and_accounts_for_every_number(tmp_path):
    """Thousands of thinned ranges do not fit in one state; those that do not are told as waiting."""
    file = open_file(tmp_path / "o", max_bytes=9000 * (45 + OVERHEAD_BYTES), pack_bytes=10**9)
    outbox = file.outbox("m")
    with file.group():
        for k in range(9500):
            outbox.put([(5000 + k, {})])
    assert len(outbox.thinned) > 2000
    alive = numbers(outbox.waiting())
    dropped = set(range(1, 9501)) - alive
    heard: set[int] = set()
    while heard != dropped:
        standing = outbox.standing()
        State(at=1, **standing._asdict())
        told = numbers(standing.thinned)
        assert told <= dropped
        assert told - heard, "each state tells the server more"
        assert alive | dropped == heard | told | numbers(standing.waiting)
        assert standing.waiting_from == min(alive) + 4999
        outbox.ack(outbox.boot, standing.thinned)
        heard |= told
    assert outbox._thinned == []
    assert numbers(outbox.waiting()) == alive, "acknowledging thinned numbers deletes nothing that waits"


def test_what_a_damaged_file_still_proves_waits_again_and_it_is_said(tmp_path):
    path = tmp_path / "o"
    file = open_file(path, pack_bytes=10**9)
    with file.group():
        for k in range(2000):
            file.outbox("m").put([(k, {"note": "z" * 200})])
    file.close()
    raw = bytearray(path.read_bytes())
    raw[8192:200_000] = b"\xff" * (200_000 - 8192)
    path.write_bytes(raw)
    said: list[str] = []
    file = open_file(path, boot_ms=2000, say=said.append)
    saved = file.outbox("m").next_seq - 1
    assert file.outbox("m").boot == 2000, "a new boot: the numbers given last may be among what is lost"
    assert 1000 < saved < 2000
    assert {m.payload[-201:] for m in file.outbox("m").after(0, 2000)} == {b"z" * 197 + b'"}]}'}
    assert len(said) == 1
    assert said[0].startswith("OUTBOX DAMAGED")
    assert f"{saved} messages of it are sent again as boot 2000" in said[0]
    assert (tmp_path / "o.corrupt-2000").read_bytes() == raw
    file.close()


def test_a_clock_that_stands_still_gives_no_boot_twice(tmp_path):
    path = tmp_path / "o"
    boots = []
    for _ in range(3):
        path.write_bytes(b"no database at all, but long enough to be looked at" * 100)
        file = open_file(path, boot_ms=2000)
        boots.append(file.outbox("m").boot)
        file.close()
    assert boots == [2000, 2001, 2002]


def test_boot_survives_and_later_clocks_do_not_change_it(tmp_path):
    file = open_file(tmp_path / "o")
    file.outbox("m").put([(1, {})], position="p")
    file.close()
    again = open_file(tmp_path / "o", boot_ms=9).outbox("m")
    assert (again.boot, again.next_seq, again.position) == (1000, 2, "p")


def test_a_second_process_is_refused(tmp_path):
    file = open_file(tmp_path / "o")
    code = (
        "import sys; from pathlib import Path; from edge.outbox import *\n"
        "try: OutboxFile(Path(sys.argv[1]), boot_ms=1, max_bytes=9)\n"
        "except OutboxError as e: print(e)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "o")], capture_output=True, text=True, check=True
    )
    assert "expected an outbox of this collector alone, got one that another process holds" in out.stdout
    file.close()


def test_an_unwritable_place_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutboxError, match="expected a writable"):
        open_file(tmp_path / "file" / "o")


def test_killed_in_mid_put_loses_no_number(tmp_path):
    """A child puts and prints each number after the commit; killed, everything it printed is there."""
    code = (
        "import sys; from pathlib import Path; from edge.outbox import *\n"
        "box = OutboxFile(Path(sys.argv[1]), boot_ms=1, max_bytes=10**9).outbox('m')\n"
        "while True: print(box.put([(1, {'supply_c': 1.5})])[0].seq, flush=True)"
    )
    for round_ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "o")], stdout=subprocess.PIPE, text=True
        )
        printed = [child.stdout.readline() for _ in range(20 + round_)]
        child.kill()
        printed += [line for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        last = int(printed[-1])
        child.stdout.close()
        child.wait()
        file = open_file(tmp_path / "o")
        outbox = file.outbox("m")
        assert outbox.next_seq - 1 in (last, last + 1), "the one that was committed and not yet printed"
        assert outbox.waiting() == [(1, outbox.next_seq - 1)]
        file.close()


def test_synchronous_and_wal(tmp_path):
    file = open_file(tmp_path / "o")
    assert file._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert file._db.execute("PRAGMA synchronous").fetchone()[0] == 2
    with pytest.raises(sqlite3.IntegrityError), file.group() as db:
        db.execute("INSERT INTO outbox (device, boot, next_seq) VALUES ('m', 1, 1), ('m', 2, 1)")
