"""However late data comes, the rows end as if everything had come in order, and say that they were restated."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import strategies as st

from streams.core.operator import WindowOperator, discovered
from tests.laws.test_pipeline_laws import batch_rows, journal
from tests.support.examples import SEEDS, law
from tests.support.restating import StoredStream, run_all
from tests.support.telemetry import T0, history

WINDOWS = [o for o in discovered() if isinstance(o, WindowOperator)]
HOUR_MS = 3_600_000


def late_journal(messages, rng: random.Random, share: float, longest_ms: int, repeated: float = 0.02):
    """Most messages at once, a share held back by up to `longest_ms`, some sent again."""
    arrivals = []
    for m in messages:
        at = m.newest_t + 500
        if rng.random() < share:
            at += rng.randint(60_000, longest_ms)
        arrivals.append((at, m))
        if rng.random() < repeated:
            arrivals.append((at + rng.randint(0, longest_ms), m))
    arrivals.sort(key=lambda a: (a[0], a[1].device, a[1].seq))
    return journal([[m] for _, m in arrivals], [at for at, _ in arrivals])


def assert_equals_batch(stream: StoredStream, messages) -> None:
    for operator in WINDOWS:
        expected = batch_rows(operator, messages)
        rows = stream.rows(operator.name)
        assert {r["status"] for k, r in rows.items() if k in expected} <= {"final", "unknown"}
        got = {k: {c: row[c] for c in expected[k]} for k, row in rows.items() if k in expected}
        assert got == expected, operator.name


@law(gate=1, soak=5, seed=SEEDS)
def test_hours_of_lateness_change_nothing_but_the_revision(seed: int, tmp_path_factory) -> None:
    messages = history(seed, hours=4.0, longest_gap_ms=2 * HOUR_MS)
    home = tmp_path_factory.mktemp("late")
    stream = run_all(
        StoredStream(home / "a.duckdb"), late_journal(messages, random.Random(seed), 0.3, 3 * HOUR_MS)
    )
    assert_equals_batch(stream, messages)


def test_a_device_that_comes_back_after_hours_gets_its_counter_differences(tmp_path) -> None:
    messages = sorted(history(7, hours=6.0, longest_gap_ms=0), key=lambda m: (m.newest_t, m.device))
    gone = (T0 + HOUR_MS, T0 + int(4.5 * HOUR_MS))
    there = [m for m in messages if m.device != "sub-1" or not gone[0] <= m.newest_t < gone[1]]
    stream = run_all(
        StoredStream(tmp_path / "a.duckdb"), journal([[m] for m in there], [m.newest_t + 500 for m in there])
    )
    assert_equals_batch(stream, there)
    rows = stream.rows("device_heat")
    in_gap = [
        r
        for (key, start), r in rows.items()
        if key == "sub-1" and gone[0] + HOUR_MS <= start < gone[1] - HOUR_MS
    ]
    assert in_gap
    assert all(r["status"] == "unknown" and r["volume_m3"] is not None and r["revision"] >= 1 for r in in_gap)
    listed = stream.rows("restatement")
    windows = {o.name for o in discovered() if isinstance(o, WindowOperator)}
    assert {r["reason"] for r in listed.values() if r["measurement"] in windows} == {"gap"}
    assert {r["reason"] for r in listed.values() if r["measurement"] not in windows} <= {"source"}
    one = next(r for r in listed.values() if r["window_start"] == in_gap[0]["window_start"]
               and r["measurement"] == "device_heat")  # fmt: skip
    assert json.loads(one["was"])["volume_m3"] is None
    assert json.loads(one["became"])["volume_m3"] == in_gap[0]["volume_m3"]
    assert one["restated_ms"] >= gone[1]


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_what_was_said_late_is_listed_with_old_and_new(tmp_path, seed: int) -> None:
    messages = history(seed, hours=3.0, longest_gap_ms=0)
    held = [m for m in messages if m.device == "sub-1" and T0 + HOUR_MS <= m.newest_t < T0 + 1.5 * HOUR_MS]
    live = [m for m in messages if m not in held]
    arrivals = [(m.newest_t + 500, m) for m in live] + [(T0 + 4 * HOUR_MS, m) for m in held]
    arrivals.sort(key=lambda a: a[0])
    stream = run_all(
        StoredStream(tmp_path / "a.duckdb"), journal([[m] for _, m in arrivals], [a for a, _ in arrivals])
    )
    assert_equals_batch(stream, messages)
    rows = stream.rows("device_heat")
    for (key, start), row in rows.items():
        revisions = [r for r in stream.rows("restatement").values()
                     if (r["measurement"], r["subject"], r["window_start"]) == ("device_heat", key, start)]  # fmt: skip
        assert len(revisions) == row["revision"]
    assert {k for (k, _), r in rows.items() if r["revision"]} == {"sub-1"}


@law(gate=1, soak=5, seed=SEEDS, crashes=st.sampled_from([5, 1, 3]))
def test_crashes_between_request_and_answer_change_nothing(seed: int, crashes: int, tmp_path_factory) -> None:
    messages = history(seed, hours=3.0, longest_gap_ms=2 * HOUR_MS)
    rng = random.Random(seed)
    records = late_journal(messages, rng, 0.3, 3 * HOUR_MS)
    stream = StoredStream(tmp_path_factory.mktemp("crash") / "a.duckdb", write_every=7)
    at = set(rng.sample(range(2, len(records)), crashes))
    for i, record in enumerate(records):
        stream.step(record.frame, record.timestamp_ms)
        if i in at:
            stream.crash()
    stream.settle()
    assert_equals_batch(stream, messages)


def test_the_journal_with_its_answers_is_enough_to_compute_again(tmp_path) -> None:
    messages = history(11, hours=3.0, longest_gap_ms=2 * HOUR_MS)
    records = late_journal(messages, random.Random(11), 0.3, 3 * HOUR_MS)
    stream = run_all(StoredStream(tmp_path / "a.duckdb", write_every=20), records)
    again = StoredStream(tmp_path / "b.duckdb", write_every=10**9)
    for record in stream.journal:
        again.step(record.frame, record.timestamp_ms)
    again.store.write(again._unwritten)
    for measurement in ("device_heat", "restatement", "reading"):
        assert again.rows(measurement) == stream.rows(measurement)


def test_a_device_that_says_it_has_a_backlog_holds_its_windows(tmp_path) -> None:
    from models.frame import Frame

    messages = [m for m in history(3, hours=3.0, longest_gap_ms=0) if m.device in {"sub-1", "sub-2"}]
    cut = T0 + HOUR_MS
    back = T0 + HOUR_MS + 1_200_000
    held = [m for m in messages if m.device == "sub-1" and cut <= m.newest_t < back]

    def state(at: int, waiting_from: int | None) -> bytes:
        said = {
            "boot": T0 - 5,
            "at": at,
            "next_seq": 1,
            "waiting": [],
            "thinned": [],
            "waiting_from": waiting_from,
        }
        return Frame.events([{"device": "sub-1", "kind": "state", "payload": json.dumps(said)}]).encode()

    stream = StoredStream(tmp_path / "a.duckdb", write_every=1)
    live = sorted(
        ((m.newest_t + 500, m) for m in messages if m not in held), key=lambda a: (a[0], a[1].device)
    )
    said = False
    log = journal([[m] for _, m in live], [at for at, _ in live])
    done = T0 + 2.5 * HOUR_MS
    for record in log:
        if not said and record.timestamp_ms > back:
            stream.step(state(back, min(t for t, _ in held[0].samples)), record.timestamp_ms)
            said = True
        if record.timestamp_ms > done:
            break
        stream.step(record.frame, record.timestamp_ms)
    rows = stream.rows("device_heat")
    waiting = rows["sub-1", cut]
    assert (waiting["status"], waiting["reason"]) == ("provisional", "backlog")
    assert rows["sub-2", cut]["status"] in {"final", "unknown"}
    assert rows["sub-1", cut - 1_800_000]["status"] in {"final", "unknown"}
    for record in journal([held], [int(done)])[1:]:
        stream.step(record.frame, record.timestamp_ms)
    stream.step(state(int(done), None), int(done) + 1000)
    row = stream.rows("device_heat")["sub-1", cut]
    assert row["status"] in {"final", "unknown"}
    assert row["revision"] == 0, "what waited was not restated"


def test_a_backlog_that_never_comes_holds_windows_for_two_hours_only(tmp_path) -> None:
    from models.frame import Frame

    messages = [m for m in history(3, hours=1.0, longest_gap_ms=0) if m.device == "sub-1"]
    stream = StoredStream(tmp_path / "a.duckdb", write_every=1)
    for record in journal([[m] for m in messages], [m.newest_t + 500 for m in messages]):
        stream.step(record.frame, record.timestamp_ms)
    said = {
        "boot": T0 - 5,
        "at": T0,
        "next_seq": 99,
        "waiting": [[90, 98]],
        "thinned": [],
        "waiting_from": T0 + 2_700_000,
    }
    event = Frame.events([{"device": "sub-1", "kind": "state", "payload": json.dumps(said)}]).encode()
    stream.step(event, T0 + HOUR_MS)
    end, lateness, hold = T0 + HOUR_MS, 900_000, 7_200_000
    for second in range(14):  # what a step looks at does not grow with each of them
        stream.step(Frame.heartbeat().encode(), end + lateness + 1000 * second)
    assert len(stream.pipeline._state.engine.latenesses_ms) == 2
    stream.step(Frame.heartbeat().encode(), end + lateness + hold - 1000)
    assert stream.rows("device_heat")["sub-1", end - 900_000]["status"] == "provisional"
    stream.step(Frame.heartbeat().encode(), end + lateness + hold)
    assert stream.rows("device_heat")["sub-1", end - 900_000]["status"] in {"final", "unknown"}


def test_a_sample_overtaken_within_the_lateness_is_the_neighbour_of_what_is_settled(tmp_path) -> None:
    messages = sorted(history(4, hours=3.0, longest_gap_ms=0), key=lambda m: (m.newest_t, m.device))
    cut = T0 + HOUR_MS
    # Nothing of sub-1 around the cut; a sample after it before what ends there is settled, else that is
    # restated for want of one; and late, but in time, the one at the cut.
    gone = [m for m in messages if m.device == "sub-1" and cut - 120_000 <= m.newest_t < cut + 540_000]
    there = [m for m in messages if m not in gone]
    first = next(m for m in gone if all(cut <= t for t, _ in m.samples))
    arrivals = [(m.newest_t + 500, m) for m in there] + [(cut + 1_020_000, first)]
    arrivals.sort(key=lambda a: (a[0], a[1].device))
    stream = StoredStream(tmp_path / "a.duckdb", write_every=5)
    run_all(stream, journal([[m] for _, m in arrivals], [at for at, _ in arrivals]))
    assert_equals_batch(stream, [*there, first])
