"""What is taken, what is refused and why, and that neighbours of a refused message are stored."""

import json

import pyarrow as pa
import pytest

from ingest.decode import Decoder
from ingest.messages import Address, ClockMode, Message, Reason
from ingest.routes import Router
from models.frame import MAX_FRAME_BYTES, MAX_FRAME_SAMPLES, REFUSED_STREAM, Frame, FrameKind
from tests.support.payloads import (
    BOOT,
    NOW,
    acks,
    decode,
    event,
    refusals,
    rows_of,
    site,
    state,
    telemetry,
    topic,
)  # fmt: skip

DAY = 86_400_000
SUB1 = Address("r1", "u1", "sub-1")


def bad(reason):
    """A message that is refused for `reason`, and where its dead letter belongs."""
    cases = {
        Reason.NOT_JSON: (Message(topic("sub-1"), b"\x00\xffnot json"), REFUSED_STREAM, None),
        Reason.SCHEMA: (telemetry("sub-1", 7, supply_c=float("nan")), "u1", 7),
        Reason.UNKNOWN_DEVICE: (telemetry("nobody", 7), REFUSED_STREAM, 7),
        Reason.WRONG_CLASS: (telemetry("sub-1", 7, lat_deg=30.0), "u1", 7),
        Reason.FUTURE: (telemetry("sub-1", 7, [{"t": NOW + 600_001, "supply_c": 1}]), "u1", 7),
        Reason.TOO_OLD: (telemetry("sub-1", 7, [{"t": NOW - 30 * DAY - 1, "supply_c": 1}]), "u1", 7),
        Reason.TOO_LARGE: (
            Message(topic("sub-1"), b'{"boot": 1, "seq": 7, "samples": []' + b" " * 300 * 1024 + b"}"),
            "u1",
            7,
        ),
        Reason.TOPIC_MISMATCH: (
            Message(topic("sub-1", unit="u2"), telemetry("sub-1", 7).payload), REFUSED_STREAM, 7,
        ),
        Reason.RETAINED: (telemetry("sub-1", 7, retained=True), REFUSED_STREAM, 7),
    }  # fmt: skip
    return cases[reason]


@pytest.mark.parametrize("reason", list(Reason))
def test_each_reason_goes_to_its_dead_letter_and_neighbours_are_stored(reason):
    message, stream, seq = bad(reason)
    decoded = decode([telemetry("sub-1", 1), message, telemetry("sub-2", 2)])
    assert [(r["device"], r["seq"]) for r in rows_of(decoded)] == [("sub-1", 1), ("sub-2", 2)]
    (row,) = rows_of(decoded, FrameKind.REFUSAL)
    assert (row["stream"], row["reason"], row.get("seq")) == (stream, reason, seq)
    assert row["payload"] == message.payload
    assert row["topic"] == message.topic
    assert row["detail"].startswith("expected") or "got" in row["detail"]
    assert decoded.refused == {reason: 1}


def test_all_reasons_at_once_leave_the_neighbours():
    messages = [m for reason in Reason for m in (telemetry("sub-2", len(reason)), bad(reason)[0])]
    decoded = decode(messages)
    assert len(rows_of(decoded)) == len(Reason)
    assert dict(decoded.refused) == dict.fromkeys(Reason, 1)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", Reason.NOT_JSON),
        (b"\xef\xbb\xbf{}", Reason.NOT_JSON),
        (b"[" * 100_000, Reason.NOT_JSON),
        (b'{"boot":1,"seq":1,"samples":[{"t":1}]}{}', Reason.NOT_JSON),
        (b"[]", Reason.SCHEMA),
        (b"null", Reason.SCHEMA),
        (b'{"boot":1,"seq":1,"samples":[]}', Reason.SCHEMA),
        (b'{"boot":1,"seq":0,"samples":[{"t":1}]}', Reason.SCHEMA),
        (b'{"boot":1,"seq":1.0,"samples":[{"t":1}]}', Reason.SCHEMA),
        (b'{"boot":1,"seq":1,"samples":[{"t":1,"supply_c":null}]}', Reason.SCHEMA),
        (b'{"boot":1,"seq":1,"samples":[{"t":1,"supply_c":true}]}', Reason.SCHEMA),
        (b'{"boot":1,"seq":1,"samples":[{"t":1,"supply_c":"90"}]}', Reason.SCHEMA),
        (b'{"boot":1,"seq":1,"samples":[{"t":1,"supply_c":1e999}]}', Reason.SCHEMA),
        (b'{"boot":9223372036854775808,"seq":1,"samples":[{"t":1}]}', Reason.SCHEMA),
    ],
)
def test_what_is_no_telemetry(payload, reason):
    decoded = decode([Message(topic("sub-1"), payload)])
    assert dict(decoded.refused) == {reason: 1}
    assert not rows_of(decoded)


def test_text_for_a_number_and_a_number_for_text():
    decoded = decode([telemetry("bridge-1", 1, plate=7.0), telemetry("bridge-1", 2, mass_kg="7", plate="A")])
    assert refusals(decoded) == [("haul", "bridge-1", "schema", 1), ("haul", "bridge-1", "schema", 2)]


def test_unknown_and_foreign_measurements_are_kept_in_extra():
    decoded = decode(
        [telemetry("sub-1", 1, supply_c=90.0, colour="red", lat_deg=1.5), telemetry("sub-1", 2, odd=3)]
    )
    first, second = rows_of(decoded)
    assert json.loads(first["extra"]) == {"colour": "red", "lat_deg": 1.5}
    assert first["supply_c"] == 90.0
    assert json.loads(second["extra"]) == {"odd": 3.0}


def test_classes_and_streams_have_frames_of_their_own():
    messages = [
        telemetry("sub-1"),
        telemetry("sub-3"),
        telemetry("meter-1"),
        telemetry("truck-1", lat_deg=1.0),
    ]
    decoded = decode([*messages, telemetry("bridge-1", ticket="T1", step="gross", mass_kg=40_000)])
    frames = [(p.stream, p.frame.device_class, p.frame.batch.num_rows) for p in decoded.placed]
    assert sorted(frames) == [
        ("haul", "truck", 1), ("haul", "weighbridge", 1), ("u1", "meter", 1), ("u1", "substation", 1),
        ("u2", "substation", 1),
    ]  # fmt: skip
    assert rows_of(decoded)[-1]["ticket"] == "T1"
    for placed in decoded.placed:
        assert Frame.decode(placed.frame.encode()).batch.equals(placed.frame.batch)


def test_events_follow_telemetry_and_carry_the_payload_as_it_came():
    birth = event(
        "sub-1", "birth", retained=True, at=NOW, **{"class": "substation"}, interval_s=10, later="kept"
    )
    decoded = decode([state("sub-1"), birth, event("sub-2", "death"), telemetry("sub-1")])
    assert [p.frame.kind for p in decoded.placed] == [FrameKind.TELEMETRY, FrameKind.EVENT]
    rows = rows_of(decoded, FrameKind.EVENT)
    assert [(r["device"], r["kind"]) for r in rows] == [
        ("sub-1", "state"),
        ("sub-1", "birth"),
        ("sub-2", "death"),
    ]
    assert json.loads(rows[1]["payload"])["later"] == "kept"
    assert decoded.accepted.events == 3


def test_a_retained_will_and_a_wrong_state_are_refused():
    decoded = decode([event("sub-1", "death", retained=True), event("sub-1", "state", at=NOW, next_seq="2")])
    assert refusals(decoded) == [
        (REFUSED_STREAM, "sub-1", "retained", None), (REFUSED_STREAM, "sub-1", "schema", None),
    ]  # fmt: skip


def test_the_servers_own_kinds_are_passed_over_and_odd_topics_are_dead_letters():
    messages = [
        Message(topic("sub-1", "ack"), b"{}"),
        Message(topic("sub-1", "command"), b"{}"),
        Message("hearthline/v1/r1/u1/换热站/telemetry", b"{}"),
        Message(topic("sub-1", "telemetri"), b"{}"),
    ]
    decoded = decode(messages)
    assert decoded.ignored == 2
    assert [r[2] for r in refusals(decoded)] == ["unknown_device", "schema"]


def test_acks_cover_accepted_and_refused_but_not_retained():
    messages = [telemetry("sub-1", n) for n in (3, 1, 2, 5)]
    messages += [bad(Reason.SCHEMA)[0], telemetry("sub-1", 9, retained=True), telemetry("sub-2", 1)]
    decoded = decode([*messages, telemetry("nobody", 4), telemetry("sub-1", 1, boot=BOOT + 1)])
    assert acks(decoded) == {
        SUB1: {BOOT: [(1, 3), (5, 5), (7, 7)], BOOT + 1: [(1, 1)]},
        Address("r1", "u1", "sub-2"): {BOOT: [(1, 1)]},
        Address("r1", "u1", "nobody"): {BOOT: [(4, 4)]},
    }


def test_frames_are_bounded_and_no_message_is_cut():
    samples = [{"t": NOW - i, "supply_c": 1.0, "flow_m3_h": 2.0} for i in range(700)]
    decoded = decode([telemetry("sub-1", n + 1, samples) for n in range(60)])
    frames = [p.frame for p in decoded.placed]
    assert sum(f.batch.num_rows for f in frames) == 42_000
    for frame in frames:
        assert frame.batch.num_rows <= MAX_FRAME_SAMPLES
        assert len(frame.encode()) <= MAX_FRAME_BYTES
        assert frame.batch.num_rows % 700 == 0
        assert frame.batch.column("pos").to_pylist()[:2] == [0, 1]


def test_refusal_frames_are_bounded():
    decoded = decode([Message(topic("sub-1"), b'{"boot": 1, "seq": 1,' + b"x" * 400_000) for _ in range(5)])
    frames = [p.frame for p in decoded.placed]
    assert len(frames) == 5
    assert all(len(frame.encode()) <= MAX_FRAME_BYTES for frame in frames)


def test_a_giant_is_cut_and_decoded_the_same_from_what_was_kept():
    giant = Message(topic("sub-1"), b'{"seq": 3, "boot": 5, "samples": "' + b"x" * 2_000_000)
    (row,) = rows_of(decode([giant]), FrameKind.REFUSAL)
    (again,) = rows_of(decode([Message(giant.topic, row["payload"])]), FrameKind.REFUSAL)
    assert len(row["payload"]) < MAX_FRAME_BYTES
    assert (row["boot"], row["seq"], row["stream"]) == (5, 3, "u1")
    assert again == row


def test_the_data_clock_is_the_newest_sample_and_future_still_means_the_wall():
    messages = [
        telemetry("sub-1", 1, [{"t": NOW - DAY, "supply_c": 1}]),
        telemetry("sub-3", 1, [{"t": 5, "supply_c": 1}]),
    ]
    decoded = decode([*messages, bad(Reason.FUTURE)[0]], mode=ClockMode.DATA)
    times = {(p.stream, p.frame.kind): p.timestamp_ms for p in decoded.placed}
    assert times == {
        ("u1", FrameKind.TELEMETRY): NOW - DAY,
        ("u1", FrameKind.REFUSAL): NOW - DAY,
        ("u2", FrameKind.TELEMETRY): 5,
    }
    later = decode([telemetry("sub-1", 2, [{"t": 6, "supply_c": 1}])], {"u1": NOW}, ClockMode.DATA)
    assert dict(later.refused) == {Reason.TOO_OLD: 1}


def test_records_of_the_wall_clock_never_go_back():
    (placed,) = decode([telemetry("sub-1")], {"u1": NOW + 5}).placed
    assert placed.timestamp_ms == NOW + 5


def test_a_recording_judges_each_message_by_its_own_time():
    topics = pa.array([topic("sub-1")] * 2)
    early = [{"t": NOW, "supply_c": 1.0}]
    payloads = pa.array([telemetry("sub-1", n, early).payload for n in (1, 2)], pa.binary())
    decoded = Decoder(site()).decode_columns(
        topics, payloads, received_ms=pa.array([NOW, NOW - 600_001]).to_numpy(), mode=ClockMode.RECEIVED,
        wall_ms=None, now_ms={},
    )  # fmt: skip
    assert refusals(decoded) == [("u1", "sub-1", "future", 2)]
    assert [p.timestamp_ms for p in decoded.placed] == [NOW, NOW]  # a batch moves now once, to its newest


def test_nothing_in_nothing_out():
    assert decode([]).placed == []


@pytest.mark.parametrize("t", [NOW * 1000, 2**63 - 1, -(2**63) + 1], ids=["microseconds", "largest", "least"])
def test_a_recording_without_times_takes_no_sample_that_no_calendar_has(t):
    message = telemetry("sub-1", 1, [{"t": t, "supply_c": 1}])
    decoded = Decoder(site()).decode([message], mode=ClockMode.DATA, wall_ms=None, now_ms={})
    assert decoded.accepted.messages == 0
    assert sum(decoded.refused.values()) == 1


def test_invented_topics_make_no_more_groups_of_routes():
    router = Router(site())
    known = router.places([topic("sub-1"), topic("sub-2")])
    before = {*router.groups}
    invented = [topic("sub-1", kind=f"k{n}") for n in range(50)]
    invented += [topic(f"nobody-{n}") for n in range(50)] + [f"other/{n}" for n in range(50)]
    places = router.places([*invented, topic("sub-1")])
    assert places[-1] == known[0]
    assert all(router.groups[g].refused for g in router.known.group[places[:-1]])
    assert len({*router.groups} - before) <= 3, "of a kind that is none, of no device, of no topic of ours"
