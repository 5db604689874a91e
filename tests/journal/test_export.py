"""An exported journal, decoded again, gives the frames that went in."""

import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.decode import Decoder
from ingest.history import read_history
from ingest.messages import ClockMode, Message, Reason
from ingest.service import registry_frame
from journal.export import Line, export_lines, places_of, write_recording
from journal.protocol import Append, JournalError
from journal.replay_files import ReplayError, read_recordings
from journal.sqlite import SqliteJournal
from models.frame import Frame, FrameKind, Record
from models.measurements import known, of_class
from tests.support.payloads import NOW, decode, event, rows_of, site, state, telemetry, topic

SUFFIXES = [".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet"]


def journal_of(tmp_path, *batches, mode=ClockMode.WALL):
    """A journal with the registry and with what was decoded of each batch, a second apart."""
    journal = SqliteJournal(tmp_path / "journal.sqlite3", lambda: NOW)
    streams = site().streams
    journal.append([Append(s, registry_frame(site()).encode(), NOW - 10_000) for s in streams])
    now = dict.fromkeys(streams, NOW - 10_000)
    for n, batch in enumerate(batches):
        decoded = decode(batch, now, mode, wall_ms=NOW + 1000 * n)
        for record in journal.append(
            [Append(p.stream, p.frame.encode(), p.timestamp_ms) for p in decoded.placed]
        ):
            now[record.stream] = record.timestamp_ms
    return journal


def contents(records):
    """What records say: by stream, kind and class, each row with its record's time."""
    found = {}
    for record in records:
        frame = Frame.decode(record.frame)
        if frame.kind in (FrameKind.REGISTRY, FrameKind.HEARTBEAT):
            continue
        for row in frame.batch.to_pylist():
            if frame.kind is FrameKind.EVENT:
                row["payload"] = json.loads(row["payload"])
            key = (record.stream, frame.kind, frame.device_class)
            present = {k: v for k, v in row.items() if v is not None}
            found.setdefault(key, []).append((record.timestamp_ms, present))
    return found


def said(records):
    """What records say, whenever: how a recording is read decides how far a record's time lags."""
    return {key: [row for _, row in rows] for key, rows in contents(records).items()}


def records_of(path, chapter=20_000):
    chapters = list(read_history(read_recordings([path], chapter), Decoder(site())))
    placed = [p for c in chapters for p in c.placed]
    return [Record(p.stream, n, p.timestamp_ms, p.frame.encode()) for n, p in enumerate(placed)], chapters


def export(journal, path):
    return write_recording(export_lines(journal.scan(), places_of(journal)), path)


ALL = [
    telemetry("sub-1", 1, supply_c=90.1, flow_m3_h=1 / 3, colour="red", odd=1e-300),
    telemetry("sub-1", 2, [{"t": NOW - i, "energy_gj": 0.1 + i} for i in range(50)]),
    telemetry("sub-1", 1, supply_c=90.1, flow_m3_h=1 / 3, colour="red", odd=1e-300),
    telemetry("bridge-1", 1, ticket="磅单-1", plate="京A12345", step="gross", mass_kg=49_000),
    state("sub-1", 3),
    event("sub-2", "birth", retained=True, at=NOW, **{"class": "substation"}, interval_s=10),
    event("sub-2", "death"),
    Message(topic("sub-1"), b"\xff\x00 not utf-8"),
    Message(topic("sub-1"), b"not json\nbut two lines"),
    Message(topic("sub-1"), b'{"boot": 1, "seq": 7, "samples": [{"t": 1, "t": 2, "supply_c": NaN}]}'),
    Message(topic("sub-1"), b'{"boot":1,"seq":8,"samples":[{"t":1e30}]}'),
    Message(topic("sub-1"), b'{"boot":1,"seq":9,"samples":[]' + b" " * 300_000 + b"}"),
    Message(topic("sub-1"), b'{"boot":1,"seq":10,"samples":[]' + b" " * 1_000_000 + b"}"),
    telemetry("sub-1", 11, [{"t": NOW + 700_000, "supply_c": 1}]),
    telemetry("sub-1", 12, [{"t": NOW - 31 * 86_400_000, "supply_c": 1}]),
    telemetry("sub-1", 13, retained=True),
    telemetry("sub-1", 14, lat_deg=1.0),
    telemetry("nobody", 15),
    Message("hearthline/v1/r1/u1/换热站/telemetry", b"{}"),
    Message(topic("sub-1", unit="u2"), b"{}"),
]  # fmt: skip


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("mode", [ClockMode.WALL, ClockMode.DATA])
def test_everything_comes_back(tmp_path, suffix, mode):
    journal = journal_of(tmp_path, ALL[:3], ALL[3:], [telemetry("sub-3", 1)], mode=mode)
    path = tmp_path / f"out{suffix}"
    assert export(journal, path) == len(ALL) + 1
    assert not list(tmp_path.glob("*.part"))
    records, chapters = records_of(path, chapter=1)
    assert contents(records) == contents(journal.scan())
    assert sum(c.messages for c in chapters) == len(ALL) + 1
    refused = sum((c.refused for c in chapters), start=chapters[0].refused.__class__())
    assert set(refused) == set(Reason)
    assert chapters[-1].progress == 1.0
    journal.close()


@pytest.mark.parametrize("chapter", [1, 20_000])
def test_a_batch_that_ran_far_ahead_of_the_data_clock_comes_back_whole(tmp_path, chapter):
    hour = 3_600_000
    journal = SqliteJournal(tmp_path / "journal.sqlite3", lambda: NOW)
    journal.append([Append(s, registry_frame(site()).encode(), 0) for s in site().streams])
    for n in range(1, 4):
        t = NOW + (n - 20) * hour
        batch = [telemetry(d, n, [{"t": t, "supply_c": 50.0}]) for d in ("meter-1", "sub-1", "sub-3")]
        future = telemetry("sub-1", n + 9, [{"t": NOW + hour}])
        now = {stream: ms for stream, (_, ms) in journal.streams().items()}
        placed = decode([*batch, future], now, ClockMode.DATA).placed
        journal.append([Append(p.stream, p.frame.encode(), p.timestamp_ms) for p in placed])
    export(journal, tmp_path / "out.jsonl")
    records, chapters = records_of(tmp_path / "out.jsonl", chapter)
    said = [
        {key: [row for _, row in rows] for key, rows in contents(of).items()}
        for of in (records, journal.scan())
    ]
    assert said[0] == said[1]
    assert sum(c.accepted.messages for c in chapters) == 9
    assert sum((c.refused for c in chapters), start=type(chapters[0].refused)()) == {Reason.FUTURE: 3}
    journal.close()


def test_chapters_do_not_change_what_is_said(tmp_path):
    journal = journal_of(tmp_path, ALL)
    export(journal, tmp_path / "out.jsonl")
    one, _ = records_of(tmp_path / "out.jsonl", chapter=1)
    all_at_once, _ = records_of(tmp_path / "out.jsonl")
    assert said(one) == said(all_at_once)
    journal.close()


def test_payloads_that_are_json_stand_as_objects(tmp_path):
    journal = journal_of(tmp_path, [telemetry("sub-1", 1, supply_c=90.5), state("sub-1", 2)])
    export(journal, tmp_path / "out.jsonl")
    first, second = (json.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().splitlines())
    assert first["payload"]["samples"] == [{"t": NOW, "supply_c": 90.5}]
    assert second == {"topic": topic("sub-1", "state"), "payload": second["payload"], "received_ms": NOW}
    assert second["payload"]["next_seq"] == 2
    journal.close()


def test_heartbeats_are_kept_where_they_moved_now(tmp_path):
    journal = journal_of(tmp_path, [telemetry("sub-1", 1)])
    beat = Frame.heartbeat().encode()
    for ms in range(NOW + 1000, NOW + 10_000, 1000):
        journal.append([Append("u1", beat, ms)])
    late = decode([telemetry("sub-1", 2)], {"u1": NOW + 9000}, wall_ms=NOW + 9500)
    journal.append([Append(p.stream, p.frame.encode(), p.timestamp_ms) for p in late.placed])
    journal.append([Append("u1", beat, NOW + 9500), Append("u2", beat, NOW + 60_000)])
    assert export(journal, tmp_path / "out.parquet") == 4
    records, chapters = records_of(tmp_path / "out.parquet")
    kinds = [(r.stream, Frame.decode(r.frame).kind, r.timestamp_ms) for r in records]
    assert kinds == [
        ("u1", FrameKind.TELEMETRY, NOW), ("u1", FrameKind.HEARTBEAT, NOW + 9000),
        ("u1", FrameKind.TELEMETRY, NOW + 9500), ("u2", FrameKind.HEARTBEAT, NOW + 60_000),
    ]  # fmt: skip
    assert [c.messages for c in chapters] == [2]
    journal.close()


def test_actions_are_carried_on(tmp_path):
    journal = journal_of(tmp_path)
    rows = [{"device": "sub-1", "kind": "write_off", "payload": '{"boot":1}'}]
    journal.append([Append("u1", Frame.events(rows, FrameKind.ACTION).encode(), NOW)])
    export(journal, tmp_path / "out.jsonl")
    records, _ = records_of(tmp_path / "out.jsonl")
    assert contents(records) == contents(journal.scan())
    assert records[0].stream == "u1"
    journal.close()


def test_a_device_without_a_registry_is_an_error(tmp_path):
    journal = SqliteJournal(tmp_path / "j", lambda: NOW)
    journal.append([Append(p.stream, p.frame.encode(), NOW) for p in decode([telemetry("sub-1")]).placed])
    with pytest.raises(JournalError, match=r"record 0 of stream u1: expected a device .* got 'sub-1'"):
        export(journal, tmp_path / "out.jsonl")
    assert not list(tmp_path.glob("out*"))
    journal.close()


values = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(codec="utf-8"), max_size=8)
unknown = st.from_regex(r"x_[a-z]{1,5}", fullmatch=True)


@st.composite
def generated(draw):
    device, device_class = draw(
        st.sampled_from(
            [("sub-1", "substation"), ("meter-1", "meter"), ("bridge-1", "weighbridge"), ("lab-1", "lab")]
        )
    )
    table = of_class(device_class)
    sample = st.tuples(
        st.integers(NOW - 10**9, NOW),
        st.lists(st.sampled_from([m.name for m in table]), unique=True, max_size=4),
        st.dictionaries(unknown, st.one_of(values, texts), max_size=2),
    ).flatmap(
        lambda s: st.fixed_dictionaries({n: texts if known[n].kind == "text" else values for n in s[1]}).map(
            lambda got: {"t": s[0], **got, **s[2]}
        )
    )
    samples = draw(st.lists(sample, min_size=1, max_size=4))
    return telemetry(device, draw(st.integers(1, 50)), samples, boot=draw(st.integers(1, 3)))


@settings(max_examples=80, deadline=None)
@given(st.lists(generated(), min_size=1, max_size=12), st.sampled_from([".jsonl", ".parquet"]))
def test_round_trip_of_any_telemetry(tmp_path_factory, messages, suffix):
    directory = tmp_path_factory.mktemp("round")
    decoded = decode(messages)
    assert not decoded.refused
    places = {d.device: ("r1", d.unit) for d in site().devices.values()}
    records = [Record(p.stream, n, NOW, p.frame.encode()) for n, p in enumerate(decoded.placed)]
    write_recording(export_lines(records, places), directory / f"out{suffix}")
    again, _ = records_of(directory / f"out{suffix}")
    assert said(again) == said(records)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"topic":"a","payload":{},"received_ms":1}\nnope\n', r"bad.jsonl:2: expected a JSON object"),
        (b"[]\n", r":1: expected an object with a \"topic\""),
        (b'\n{"topic":"a","payload":3}\n', r':2: expected "payload" as an object or text, got \'3\''),
        (b'{"topic":"a","payload":{},"received_ms":"now"}\n', r':1: expected "received_ms" in whole ms'),
        (
            b'{"topic":"a","payload":{},"received_ms":1767225600000000}\n',
            ":1: expected .* the year 9000, got",
        ),
        (b'{"topic":"a","payload":{},"received_ms":-99999999999999}\n', ":1: expected .* from the year 1"),
        (b'{"topic":"a","payload_base64":"?"}\n', ":1: expected base64"),
        (
            b'{"topic":"a","payload":{}}\n{"topic":"a","payload":{},"received_ms":1}\n',
            ":2: expected received_ms on all",
        ),
    ],
)
def test_a_bad_line_is_named(tmp_path, content, message):
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    with pytest.raises(ReplayError, match=message):
        list(read_recordings([path]))


def test_damaged_and_missing_files_are_named(tmp_path):
    lines = [Line("a", b"{}", n) for n in range(10_000)]
    for suffix in (".gz", ".zst", ".parquet"):
        path = tmp_path / f"cut{suffix}"
        write_recording(lines, path)
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(ReplayError, match=f"cut{suffix}"):
            list(read_recordings([path]))
    with pytest.raises(ReplayError, match=r"none.jsonl: expected a readable recording, got: No such file"):
        list(read_recordings([tmp_path / "none.jsonl"]))


@pytest.mark.parametrize("cut", [3, 10, 500, 2_000], ids=lambda n: f"by {n} bytes")
def test_a_zstandard_file_that_lacks_its_end_is_refused(tmp_path, cut):
    path = tmp_path / "cut.zst"
    rng = np.random.default_rng(5)
    write_recording([Line("a", json.dumps({"x": rng.random()}).encode(), n) for n in range(400)], path)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(ReplayError, match=r"cut\.zst"):
        list(read_recordings([path]))


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e400", "1" + "0" * 400, r'"\ud800"'])
def test_a_poisoned_payload_is_refused_at_the_door_and_the_file_goes_on(tmp_path, value):
    path = tmp_path / "poison.jsonl"
    good = [json.loads(telemetry("sub-1", n).payload) for n in (1, 3)]
    bad = f'{{"boot":{good[0]["boot"]},"seq":2,"samples":[{{"t":{NOW},"supply_c":{value}}}]}}'
    payloads = [json.dumps(good[0]), bad, json.dumps(good[1])]
    path.write_text(
        "\ufeff"
        + "".join(f'{{"topic":"{topic("sub-1")}","payload":{p},"received_ms":{NOW}}}\n' for p in payloads)
    )
    _, chapters = records_of(path)
    assert sum((c.refused for c in chapters), Counter()) in ({Reason.SCHEMA: 1}, {Reason.NOT_JSON: 1})
    assert sum(c.messages for c in chapters) == 3
    assert sum(c.accepted.messages for c in chapters) == 2


def test_what_was_taken_before_1970_by_the_clock_of_its_data_can_be_read_again(tmp_path):
    path = tmp_path / "old.jsonl"
    path.write_text('{"topic":"a","payload":{},"received_ms":-1000}\n')
    [recording] = read_recordings([path])
    assert recording.received_ms.tolist() == [-1000]


def test_a_time_of_receipt_beyond_the_calendar_is_named_by_its_row(tmp_path):
    path = tmp_path / "far.parquet"
    rows = {"topic": ["a"] * 2, "payload": ["{}"] * 2, "received_ms": [NOW, NOW * 1000]}
    pq.write_table(pa.table(rows), path)
    with pytest.raises(ReplayError, match=r"expected received_ms in whole ms .* in row 1"):
        list(read_recordings([path]))


def test_files_with_and_without_times_do_not_mix(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"topic":"a","payload":{},"received_ms":1}\n')
    (tmp_path / "b.jsonl").write_text('{"topic":"a","payload":{}}\n')
    with pytest.raises(ReplayError, match=r"b.jsonl: expected messages with received_ms as in .*a.jsonl"):
        list(read_recordings([tmp_path / "a.jsonl", tmp_path / "b.jsonl"]))


def test_without_times_the_clock_is_the_newest_sample(tmp_path):
    path = tmp_path / "h.jsonl"
    messages = [telemetry("sub-1", n + 1, [{"t": 1000 * n, "supply_c": 1.0}]) for n in range(5)]
    bad = Message(topic("sub-1"), b"no")
    path.write_text(
        "".join(
            json.dumps({"topic": m.topic, "payload": m.payload.decode()}) + "\n" for m in [*messages, bad]
        )
    )
    records, chapters = records_of(path, chapter=2)
    telemetry_times = [r.timestamp_ms for r in records if r.stream == "u1"]
    assert telemetry_times == [1000, 3000, 4000]
    assert records[-1].timestamp_ms == 4000
    assert np.isclose(chapters[-1].progress, 1.0)
    assert rows_of(decode(messages, mode=ClockMode.DATA))[0]["t"] == 0


def history(tmp_path, times, latest_ms=None):
    """What a recording without times of receipt, a sample a message, becomes."""
    path = tmp_path / "h.jsonl"
    path.write_text(
        "".join(
            json.dumps({"topic": topic("sub-1"), "payload": {"boot": 1, "seq": n, "samples": [{"t": t, "supply_c": 1.0}]}})
            + "\n"
            for n, t in enumerate(times, 1)
        )
    )  # fmt: skip
    chapters = list(read_history(read_recordings([path]), Decoder(site()), latest_ms))
    refused = sum((c.refused for c in chapters), Counter())
    return sum(c.accepted.messages for c in chapters), refused, chapters


def test_one_sample_of_a_wrong_year_is_not_the_clock_of_a_recording_without_times(tmp_path):
    times = [NOW + 60_000 * n for n in range(20)]
    times[7] = 4_102_444_800_000
    taken, refused, chapters = history(tmp_path, times, latest_ms=NOW + 3_600_000)
    assert (taken, refused) == (19, {Reason.FUTURE: 1})
    assert max(p.timestamp_ms for c in chapters for p in c.placed) == times[-1]


def test_a_recording_without_times_that_spans_years_is_kept_whole(tmp_path):
    day_ms = 86_400_000
    assert history(tmp_path, [NOW + day_ms * n for n in range(1200)])[:2] == (1200, {})


def test_what_comes_beyond_the_retention_in_a_recording_without_times_is_too_old(tmp_path):
    day_ms = 86_400_000
    late = [NOW, NOW + 401 * day_ms, NOW + 60_000, NOW + 402 * day_ms]
    assert history(tmp_path, late)[:2] == (3, {Reason.TOO_OLD: 1})
