"""States of trucks from their positions: as a plain computation over all fixes says, however they came."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.track_data import states_of
from models.frame import Frame, Record
from models.position_filter import in_order
from streams.core.checkpoint import Checkpoint
from streams.core.operator import discovered
from streams.core.pipeline import Pipeline
from streams.operators.data_quality import data_quality
from streams.operators.track import TrackState, track
from tests.support.results import Said
from tests.support.telemetry import T0, Message
from tests.support.trucks import STEP_MS, TRUCK_STREAM, disordered, minutes, truck_history, truck_journal

OPERATORS = (track, data_quality)


def run(records, *, every=None, crash=frozenset(), until_ms=None):
    pipeline = Pipeline(TRUCK_STREAM, OPERATORS, provisional_every_ms=every)
    said = Said()
    for at, record in enumerate(records):
        said.take([pipeline.step(record)])
        if at in crash:
            kept = pipeline.checkpoint()
            again = Checkpoint(kept.stream, kept.offset, dict(kept.parts))
            pipeline = Pipeline.restore(again, OPERATORS, provisional_every_ms=every)
    if until_ms is not None:
        said.take(
            [
                pipeline.step(
                    Record(TRUCK_STREAM, records[-1].offset + 1, until_ms, Frame.heartbeat().encode())
                )
            ]
        )
    return said.rows.get("track", {})


def batch(messages):
    """States by device, over everything at once."""
    names = sorted({m.device for m in messages})
    rows = [(names.index(m.device), t, v["lat_deg"], v["lon_deg"]) for m in messages for t, v in m.samples]
    truck, t, lat, lon = (np.array(column) for column in zip(*rows, strict=True))
    found = states_of(in_order(truck, t, lat, lon))
    return {names[at]: runs for at, runs in found.items()}


END_MS = T0 + 8 * 3_600_000


def test_it_is_found_with_the_others():
    assert track in discovered()


def test_rows_are_those_of_a_plain_computation_over_all_fixes():
    messages = truck_history(1)
    rows = {
        k: r
        for k, r in run(truck_journal(*minutes(messages)), until_ms=END_MS).items()
        if r["status"] != "withdrawn"
    }
    for device, runs in batch(messages).items():
        mine = sorted((r for (key, _), r in rows.items() if key == device), key=lambda r: r["window_start"])
        *over, silent = mine
        assert silent["state"] == "offline"  # nothing came for hours
        assert (silent["window_start"], silent["status"]) == (runs[-1].to_ms, "provisional")
        assert [(r["state"], r["window_start"], r["until"]) for r in over] == [
            (run.motion.name.lower(), run.from_ms, run.to_ms) for run in runs
        ]
        assert [r["distance_m"] for r in over] == pytest.approx([run.metres for run in runs])
        assert {r["status"] for r in over[:-1]} == {"final"}
        at_ends = {
            r["place"] for r in over if r["state"] == "stopped" and r["until"] - r["window_start"] > 240_000
        }
        assert at_ends == {"mine", "plant-yard"}
        assert all(r["place"] is None for r in over if r["state"] != "stopped")
        assert sum(r["rejected"] for r in over) > 0


def test_a_stop_in_progress_is_told_and_grows():
    messages = [m for m in truck_history(2, bad=False) if m.device == "truck-1"]
    stop = next(
        r
        for r in batch(messages)["truck-1"][1:]
        if r.motion.name == "STOPPED" and r.to_ms - r.from_ms > 1_200_000
    )
    cut = [m for m in messages if m.newest_t < stop.from_ms + 1_000_000]
    records = truck_journal(*minutes(cut))
    rows = run(records, until_ms=cut[-1].newest_t + 2 * STEP_MS)
    row = rows["truck-1", stop.from_ms]
    assert (row["state"], row["status"], row["place"] is not None) == ("stopped", "provisional", True)
    assert row["until"] == cut[-1].newest_t
    later = run(truck_journal(*minutes(messages)), until_ms=END_MS)["truck-1", stop.from_ms]
    assert (later["state"], later["status"], later["until"]) == ("stopped", "final", stop.to_ms)


@pytest.mark.parametrize("seed", [3, pytest.param(4, marks=pytest.mark.soak)])
def test_order_duplication_splitting_and_crashes_change_nothing(seed):
    messages = truck_history(seed, hours=3.0)
    clean = run(truck_journal(*minutes(messages)), until_ms=END_MS)
    rng = random.Random(seed)
    records = truck_journal(*disordered(messages, rng))
    crashes = frozenset(rng.sample(range(len(records)), 6))
    found = run(records, crash=crashes, until_ms=END_MS)
    assert {k: r for k, r in found.items() if r["status"] != "withdrawn"} == {
        k: r for k, r in clean.items() if r["status"] != "withdrawn"
    }


def test_a_fix_later_than_the_lateness_changes_no_state():
    messages = truck_history(5, trucks=1)
    late = Message("truck-1", T0 - 5, 9_999, ((T0 + 3_600_000 + 7, {"lat_deg": 39.5, "lon_deg": 110.5}),))
    batches, times = minutes(messages)
    clean = run(truck_journal(batches, times), until_ms=END_MS)
    found = run(truck_journal([*batches, [late]], [*times, times[-1] + 10]), until_ms=END_MS)
    assert found == clean


@pytest.mark.parametrize(("days", "told"), [(6, True), (8, False)])
def test_a_first_fix_of_a_wrong_clock_is_no_state_of_years(days, told):
    old = T0 - days * 86_400_000
    late = Message("truck-1", T0 - 5, 1, ((old, {"lat_deg": 39.5, "lon_deg": 110.5}),))
    messages = [m for m in truck_history(5, trucks=2) if m.device != "truck-1"]
    batches, times = minutes(messages)
    found = run(truck_journal([*batches, [late]], [*times, times[-1] + 10]), until_ms=END_MS)
    assert any(key == "truck-1" for key, _ in found) == told


def beaten(records, *, at):
    """The records with a heartbeat before the one at a place: what comes then comes late."""
    beat = Record(TRUCK_STREAM, at, END_MS, Frame.heartbeat().encode())
    return [*records[:at], beat, *(replace(r, offset=r.offset + 1) for r in records[at:])]


def as_told(rows):
    """Rows without how many fixes of which state were not believed: of several that is told with the first."""
    return {
        key: row | {"rejected": 0, "distance_m": pytest.approx(row["distance_m"])}
        for key, row in rows.items()
        if row["status"] != "withdrawn"
    }


@pytest.mark.parametrize(
    ("from_ms", "crash"),
    [
        (T0, True),
        (T0 + 3_600_000, False),
        pytest.param(T0, False, marks=pytest.mark.soak),
        pytest.param(T0 + 3_600_000, True, marks=pytest.mark.soak),
    ],
)
def test_what_a_truck_out_of_reach_sends_later_in_its_order_is_told_as_if_it_had_come_at_once(from_ms, crash):
    """Also where the stream heard nothing else: its first word is hours old."""
    messages = truck_history(8, trucks=1)
    batches, times = minutes([m for m in messages if m.newest_t < from_ms])
    held = [m for m in messages if m.newest_t >= from_ms]
    held = [held[at : at + 90] for at in range(0, len(held), 90)]
    records = truck_journal([*batches, *held], [*times, *(END_MS + n for n in range(len(held)))])
    records = beaten(records, at=1 + len(batches))
    until_ms = END_MS + 3 * STEP_MS
    crashes = frozenset(range(len(records))) if crash else frozenset()
    found = run(records, every=60_000, crash=crashes, until_ms=until_ms)
    clean = run(truck_journal(*minutes(messages)), until_ms=until_ms)
    assert len(as_told(clean)) > 5
    assert as_told(found) == as_told(clean)
    count = [sum(r["rejected"] or 0 for r in rows.values()) for rows in (found, clean)]
    assert count[0] == count[1] > 0


def test_what_comes_late_is_put_in_order_and_told_once():
    messages = truck_history(9, trucks=2)
    mixed = random.Random(9).sample(messages, len(messages))
    wrong = {"lat_deg": 39.01, "lon_deg": 110.0}
    again = [replace(m, boot=m.boot - 1, samples=((m.newest_t, wrong),)) for m in mixed[:20]]
    records = beaten(truck_journal([mixed[:300], [*mixed[300:], *again]], [END_MS, END_MS + 5]), at=1)
    clean = run(truck_journal(*minutes(messages)), until_ms=END_MS + 3 * STEP_MS)
    assert as_told(run(records, until_ms=END_MS + 3 * STEP_MS)) == as_told(clean)


def test_what_was_told_and_is_not_so_is_withdrawn():
    """Out of reach while it moves, says the silence; what comes within the lateness of the next step says no."""
    messages = truck_history(6, trucks=1, bad=False)
    told: dict[tuple[str, int], set[str]] = {}
    pipeline = Pipeline(TRUCK_STREAM, OPERATORS, provisional_every_ms=None)
    for record in truck_journal(*minutes(messages)):
        for table in pipeline.step(record).rows.get("track", []):
            for row in table.to_pylist():
                told.setdefault((row["key"], row["window_start"]), set()).add(row["status"])
    for statuses in told.values():
        assert statuses <= {"provisional", "final"} or "withdrawn" in statuses
    # Nothing stays provisional but what is in progress.
    open_ = [key for key, statuses in told.items() if statuses == {"provisional"}]
    assert len(open_) <= 1


def test_state_goes_through_bytes():
    pipeline = Pipeline(TRUCK_STREAM, OPERATORS, provisional_every_ms=None)
    for record in truck_journal(*minutes(truck_history(7, hours=2.0))):
        pipeline.step(record)
    data = pipeline.checkpoint().parts["learnt/track"][4:]
    again = TrackState.from_bytes(data)
    assert again.to_bytes() == data
    assert len(again.tracking.standing) == 3
