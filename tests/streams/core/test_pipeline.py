"""The pipeline by example: repeats, duplicates, reused numbers, refusals, days, late data."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from models.frame import REFUSAL_SCHEMA, Frame, FrameKind, Record
from streams.core.checkpoint import Checkpoint, CheckpointError
from streams.core.pipeline import Pipeline, PipelineError
from tests.support.results import Said
from tests.support.telemetry import SITE_TEXTS, T0, Log, Message, registry_frame, telemetry_frames

MINUTE = 60_000


def telemetry(device: str, seq: int, *samples: tuple[int, dict[str, float]], boot: int = T0 - 5) -> Message:
    return Message(device, boot, seq, samples)


class Run:
    """A pipeline over a log in memory, with everything that it said."""

    def __init__(self) -> None:
        self.log = Log()
        self.pipeline = Pipeline("u1")
        self.said = Said()
        self.step(registry_frame(), T0)

    def step(self, frame: Frame, at: int) -> None:
        self.said.take([self.pipeline.step(self.log.append(frame, at))])

    def take(self, at: int, *messages: Message) -> None:
        for frame in telemetry_frames(messages):
            self.step(frame, at)

    def beat(self, at: int) -> None:
        self.step(Frame.heartbeat(), at)

    def ledger(self, device: str) -> dict[str, int]:
        self.said.take([self.pipeline.report()])
        rows = [
            r
            for (key, _), r in sorted(self.said.rows["ledger"].items(), key=lambda x: x[0][1])
            if key == device
        ]
        return rows[-1]

    def heat(self, device: str, start: int = T0) -> dict[str, object]:
        return self.said.rows["device_heat"][device, start]


def test_the_higher_number_of_two_readings_of_one_time_stands_whichever_comes_first():
    low, high = (
        telemetry("sub-1", 1, (T0, {"supply_c": 90.0})),
        telemetry("sub-1", 2, (T0, {"supply_c": 91.0})),
    )
    for order in ([low, high], [high, low]):
        run = Run()
        for number, message in enumerate(order):
            run.take(T0 + 1000 + number, message)
        assert run.said.readings["sub-1", T0]["supply_c"] == 91.0
        assert [r["supply_c"] for r in run.said.repeats] == [90.0]
        assert run.said.repeats[0]["quality"] == "repeat"
        counts = run.ledger("sub-1")
        assert (counts["stored"], counts["repeat"], counts["duplicate"], counts["unaccounted"]) == (
            2,
            1,
            0,
            0,
        )


def test_a_reading_that_replaces_an_equal_one_is_not_flagged():
    run = Run()
    for number in (1, 2):
        run.take(T0 + 1000 * number, telemetry("sub-1", number, (T0, {"supply_c": 90.0})))
    assert run.said.readings["sub-1", T0]["quality"] is None
    run.take(T0 + 3000, telemetry("sub-1", 3, (T0, {"supply_c": 95.0})))
    assert run.said.readings["sub-1", T0]["quality"] == "repeat"
    assert run.ledger("sub-1")["repeat"] == 2


@pytest.mark.parametrize("values", [(90.0, 95.0), (95.0, 90.0, 90.0), (90.0, 90.0)])
def test_of_readings_of_one_time_in_one_frame_the_one_that_stands_is_flagged_where_they_differ(values):
    run = Run()
    run.take(T0 + 1000, telemetry("sub-1", 1, *((T0, {"supply_c": value}) for value in values)))
    said = run.said.readings["sub-1", T0]
    assert said["supply_c"] == values[-1]
    assert said["quality"] == ("repeat" if len(set(values)) > 1 else None)
    assert {r["quality"] for r in run.said.repeats} == {"repeat"}


def test_two_readings_of_one_time_in_one_frame_count_once():
    run = Run()
    run.take(T0 + 1000, telemetry("sub-1", 1, (T0, {"supply_c": 90.0}), (T0, {"supply_c": 90.0})))
    assert len(run.said.readings) == 1
    assert len(run.said.repeats) == 1
    assert run.ledger("sub-1")["repeat"] == 1


def test_what_comes_after_its_windows_had_ended_is_counted_as_late_on_the_day_it_came():
    run = Run()
    minute, day = 60_000, 86_400_000
    first = T0 - 8 * 3_600_000  # midnight in Asia/Shanghai
    run.take(T0 + 1000, telemetry("sub-1", 1, (T0, {"supply_c": 90.0})))
    run.take(T0 + 29 * minute, telemetry("sub-1", 2, (T0 + minute, {"supply_c": 90.0})))
    assert run.ledger("sub-1")["late"] == 0
    bundle = [(T0 + n * minute, {"supply_c": 90.0}) for n in (2, 3, 28, 29)]
    run.take(T0 + 30 * minute, telemetry("sub-1", 3, *bundle))
    assert run.ledger("sub-1")["late"] == 2
    run.take(T0 + 31 * minute, telemetry("sub-1", 3, *bundle))  # a duplicate is late for nothing
    run.take(T0 + day, telemetry("sub-2", 1, (T0 + 4 * minute, {"supply_c": 90.0})))
    run.beat(T0 + 2 * day)
    rows = run.said.rows["ledger"]
    assert [rows["sub-1", first + n * day]["late"] for n in (0, 1)] == [2, 2]
    assert [rows["sub-2", first + n * day]["late"] for n in (0, 1)] == [0, 1]


def test_the_same_message_twice_is_a_duplicate_and_stored_once():
    run = Run()
    message = telemetry("sub-1", 1, (T0, {"supply_c": 90.0}))
    run.take(T0 + 1000, message, message)
    run.take(T0 + 2000, message)
    assert len(run.said.readings) == 1
    assert run.said.repeats == []
    counts = run.ledger("sub-1")
    assert (counts["sent"], counts["stored"], counts["duplicate"]) == (1, 1, 2)


def test_a_known_number_with_newer_samples_is_refused_as_reused():
    run = Run()
    run.take(T0 + 1000, telemetry("sub-1", 1, (T0, {"supply_c": 90.0})))
    run.take(T0 + 2 * MINUTE, telemetry("sub-1", 1, (T0 + MINUTE, {"supply_c": 80.0})))
    (letter,) = run.said.rows["dead_letter"].values()
    assert (letter["reason"], letter["device"], letter["seq"]) == ("seq_reused", "sub-1", 1)
    assert json.loads(letter["payload"])["samples"] == [{"t": T0 + MINUTE, "supply_c": 80.0}]
    assert ("sub-1", T0 + MINUTE) not in run.said.readings


def test_an_implausible_value_is_stored_flagged_and_kept_out_of_results():
    run = Run()
    samples = [(T0 + k * MINUTE, {"flow_m3_h": 6.0, "supply_c": 90.0, "return_c": 50.0}) for k in range(16)]
    samples[7][1]["flow_m3_h"] = 1e6
    run.take(T0 + 16 * MINUTE, telemetry("sub-2", 1, *samples))
    reading = run.said.readings["sub-2", T0 + 7 * MINUTE]
    assert reading["flow_m3_h"] == 1e6
    assert reading["quality"] == "implausible:flow_m3_h"
    run.beat(T0 + 31 * MINUTE)
    assert run.heat("sub-2")["status"] == "final"
    assert run.heat("sub-2")["volume_m3"] == pytest.approx(1.5)


def refusal(reason: str, seq: int = 1) -> Frame:
    row = {
        "topic": "hearthline/v1/r1/u1/sub-1/telemetry", "device": "sub-1", "boot": T0 - 5, "seq": seq,
        "reason": reason, "detail": "expected something else", "payload": b"{}", "retained": False,
    }  # fmt: skip
    return Frame(FrameKind.REFUSAL, "", pa.RecordBatch.from_pylist([row], schema=REFUSAL_SCHEMA))


def test_a_refused_message_that_comes_again_is_a_duplicate_and_one_dead_letter():
    run = Run()
    for at in range(3):
        run.step(refusal("wrong_class"), T0 + 1000 + at)
    assert [letter["seq"] for letter in run.said.rows["dead_letter"].values()] == [1]
    run.step(refusal("wrong_class", seq=2), T0 + 2000)
    assert [letter["seq"] for letter in run.said.rows["dead_letter"].values()] == [1, 2]
    counts = run.ledger("sub-1")
    assert (counts["sent"], counts["dead_lettered"], counts["duplicate"], counts["unaccounted"]) == (
        2,
        2,
        2,
        0,
    )


def test_a_stored_message_that_comes_again_too_late_is_no_dead_letter():
    run = Run()
    run.take(T0 + 1000, telemetry("sub-1", 1, (T0, {"supply_c": 90.0})))
    run.step(refusal("too_old"), T0 + 2000)
    assert "dead_letter" not in run.said.rows
    counts = run.ledger("sub-1")
    assert (counts["stored"], counts["dead_lettered"], counts["duplicate"]) == (1, 0, 1)
    run.step(refusal("schema"), T0 + 3000)  # what is stored has no such fault: this is another message
    assert [letter["reason"] for letter in run.said.rows["dead_letter"].values()] == ["schema"]


def test_a_refusal_counts_as_dead_lettered_and_a_retry_moves_it_to_stored():
    run = Run()
    run.step(refusal("schema"), T0 + 1000)
    counts = run.ledger("sub-1")
    assert (counts["sent"], counts["dead_lettered"], counts["stored"], counts["unaccounted"]) == (1, 1, 0, 0)
    run.take(T0 + 2000, telemetry("sub-1", 1, (T0, {"supply_c": 90.0})))
    counts = run.ledger("sub-1")
    assert (counts["sent"], counts["dead_lettered"], counts["stored"], counts["unaccounted"]) == (1, 0, 1, 0)


def state(device: str, **fields: object) -> Frame:
    payload = {"boot": T0 - 5, "at": T0, "next_seq": 1, "waiting": [], "thinned": [], **fields}
    return Frame.events([{"device": device, "kind": "state", "payload": json.dumps(payload)}])


def test_the_ledger_names_what_is_nowhere():
    run = Run()
    run.take(T0 + 1000, telemetry("sub-1", 1, (T0, {"supply_c": 90.0})))
    run.step(state("sub-1", next_seq=11, waiting=[[4, 6]], thinned=[[6, 8]]), T0 + 2000)
    counts = run.ledger("sub-1")
    assert {k: counts[k] for k in ("sent", "stored", "waiting", "thinned", "unaccounted")} == {
        "sent": 10, "stored": 1, "waiting": 2, "thinned": 3, "unaccounted": 4,
    }  # fmt: skip


def test_what_an_older_boot_reported_as_waiting_becomes_unaccounted():
    run = Run()
    run.step(state("sub-1", next_seq=4, waiting=[[1, 3]]), T0 + 1000)
    assert run.ledger("sub-1")["unaccounted"] == 0
    run.step(state("sub-1", boot=T0, next_seq=1), T0 + 2000)
    assert run.ledger("sub-1")["unaccounted"] == 3


def test_an_older_state_takes_nothing_back():
    run = Run()
    run.step(state("sub-1", at=T0 + 9, next_seq=9, waiting=[[1, 8]]), T0 + 1000)
    run.step(state("sub-1", at=T0 + 1, next_seq=3, waiting=[]), T0 + 2000)
    assert run.ledger("sub-1")["waiting"] == 8


def test_the_ledger_of_a_local_day_is_settled_when_the_next_begins():
    run = Run()
    run.take(T0 + 1000, telemetry("sub-1", 1, (T0, {"supply_c": 90.0})))
    run.beat(T0 + 86_400_000)
    days = {start: row["status"] for (key, start), row in run.said.rows["ledger"].items() if key == "sub-1"}
    first = T0 - 8 * 3_600_000  # midnight in Asia/Shanghai of the day that T0 lies in
    assert days[first] == "final"


def test_a_registry_without_a_time_of_its_own_turns_no_day_back():
    run = Run()
    run.take(T0 + 1000, telemetry("sub-1", 2, (T0, {"supply_c": 90.0})))
    fewer = {**SITE_TEXTS, "devices.csv": SITE_TEXTS["devices.csv"].replace("sub-2,", "sub-9,")}
    run.step(registry_frame(fewer), 0)  # as an ingest on the data's clock says it when it starts
    run.take(T0 + 2000, telemetry("sub-1", 1, (T0 + 1, {"supply_c": 90.0})))
    assert run.ledger("sub-1")["unaccounted"] == 0
    assert min(start for _, start in run.said.rows["ledger"]) > T0 - 86_400_000


@pytest.mark.parametrize("at_ms", [0, T0 + 61_000])
def test_a_device_that_leaves_has_its_last_rows_whatever_the_time_of_the_registry(at_ms):
    run = Run()
    values = {"flow_m3_h": 6.0, "supply_c": 90.0, "return_c": 50.0}
    for n in range(1, 7):
        run.take(T0 + n * 10_000, telemetry("sub-2", n, (T0 + n * 10_000, values)))
    fewer = {**SITE_TEXTS, "devices.csv": SITE_TEXTS["devices.csv"].replace("sub-2,", "sub-9,")}
    run.step(registry_frame(fewer), at_ms)
    last = run.said.rows["device_heat"]["sub-2", T0 // 900_000 * 900_000]
    assert last["status"] == "unknown", "a minute of a quarter of an hour, and nothing more will come"


def test_a_row_is_provisional_while_its_window_fills_then_final_with_revision_0():
    run = Run()
    values = {"flow_m3_h": 6.0, "supply_c": 90.0, "return_c": 50.0}
    for k in range(16):
        run.take(T0 + k * MINUTE + 500, telemetry("sub-2", k + 1, (T0 + k * MINUTE, values)))
    assert run.heat("sub-2")["status"] == "provisional"
    run.beat(T0 + 30 * MINUTE - 1)
    assert run.heat("sub-2")["status"] == "provisional"
    run.beat(T0 + 30 * MINUTE)
    assert (run.heat("sub-2")["status"], run.heat("sub-2")["revision"]) == ("final", 0)


def test_a_heartbeat_that_does_not_move_now_has_everything_said():
    """On the data clock, where now stands still when nothing comes: a worker hears of quiet by its journal."""
    run = Run()
    values = {"flow_m3_h": 6.0, "supply_c": 90.0, "return_c": 50.0}
    run.take(T0 + MINUTE, telemetry("sub-2", 1, (T0, values)))
    run.take(T0 + MINUTE + 9000, telemetry("sub-2", 2, (T0 + MINUTE, values)))  # too soon for a rewrite
    before = run.heat("sub-2")["volume_m3"] if ("sub-2", T0) in run.said.rows.get("device_heat", {}) else None
    now_ms = run.pipeline.now_ms
    run.beat(1)  # what forwards it knows no time of this stream
    assert run.pipeline.now_ms == now_ms
    said = run.heat("sub-2")
    assert said["volume_m3"] is not None
    assert said["volume_m3"] != before
    run.said.take([run.pipeline.report()])
    assert run.heat("sub-2") == said


def test_a_silent_device_has_unknown_rows_without_a_heat():
    run = Run()
    values = {"flow_m3_h": 6.0, "supply_c": 90.0, "return_c": 50.0}
    run.take(T0 + 1000, telemetry("sub-2", 1, (T0, values)))
    run.beat(T0 + 60 * MINUTE)
    row = run.heat("sub-2", T0 + 15 * MINUTE)
    assert (row["status"], row["reason"], row["coverage"]) == ("unknown", "gap", 0.0)
    assert row["heat_gj"] is None
    assert row["flow_m3_h"] is None


def test_late_data_beyond_the_lateness_is_kept_as_a_late_reading():
    run = Run()
    run.take(T0 + 1000, telemetry("sub-1", 1, (T0, {"supply_c": 90.0})))
    run.beat(T0 + 120 * MINUTE)
    run.take(T0 + 120 * MINUTE + 1, telemetry("sub-1", 2, (T0 + MINUTE, {"supply_c": 91.0})))
    assert run.said.readings["sub-1", T0 + MINUTE]["late"] is True
    assert run.ledger("sub-1")["unaccounted"] == 0


def test_a_frame_that_cannot_be_read_is_a_dead_letter_and_the_stream_goes_on():
    run = Run()
    run.said.take([run.pipeline.step(Record("u1", run.pipeline.offset + 1, T0 + 1000, b"no frame"))])
    run.log.records.append(Record("u1", run.pipeline.offset, T0 + 1000, b"no frame"))
    (letter,) = run.said.rows["dead_letter"].values()
    assert letter["reason"] == "frame"
    run.take(T0 + 2000, telemetry("sub-1", 1, (T0, {"supply_c": 90.0})))
    assert ("sub-1", T0) in run.said.readings


def test_a_record_out_of_turn_is_refused():
    run = Run()
    with pytest.raises(PipelineError, match="after offset 0"):
        run.pipeline.step(Record("u1", 0, T0, Frame.heartbeat().encode()))
    with pytest.raises(PipelineError, match="stream 'u1'"):
        run.pipeline.step(Record("u2", 5, T0, Frame.heartbeat().encode()))


def test_a_checkpoint_of_another_version_is_refused_with_its_place():
    kept = Run().pipeline.checkpoint()
    meta = json.loads(kept.parts["meta"])
    parts = {**kept.parts, "meta": json.dumps({**meta, "version": 99}).encode()}
    with pytest.raises(CheckpointError, match=r"stream 'u1' at offset 0.*version 99"):
        Pipeline.restore(Checkpoint("u1", 0, parts))
    with pytest.raises(CheckpointError, match="ledger"):
        Pipeline.restore(Checkpoint("u1", 0, {k: v for k, v in kept.parts.items() if k != "ledger"}))


def test_a_later_registry_holds_from_its_record_on():
    run = Run()
    texts = {
        **SITE_TEXTS,
        "devices.csv": SITE_TEXTS["devices.csv"].replace("sub-2,substation,u1", "sub-9,substation,u1"),
    }
    run.step(registry_frame(texts), T0 + 10)
    run.take(T0 + 1000, telemetry("sub-1", 1, (T0, {"supply_c": 90.0})))
    assert run.said.readings["sub-1", T0]["unit"] == "u1"
