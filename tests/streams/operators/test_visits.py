"""Stays at places and queues at bridges from positions and tickets, however these came."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from models.anomaly import ANOMALY
from models.frame import Frame, Record
from models.position_filter import follow
from streams.core.pipeline import Pipeline
from streams.operators.data_quality import data_quality
from streams.operators.queue import queue
from streams.operators.visit import FREE_MS, visit
from streams.operators.visits import visits
from tests.support.results import Said
from tests.support.telemetry import T0, Message
from tests.support.trucks import (
    DEGREE_M,
    FAR_DEG,
    STEP_MS,
    TRUCK_STREAM,
    disordered,
    minutes,
    truck_history,
    truck_journal,
    weighings,
)

OPERATORS = (visits, visit, queue, data_quality)
HOUR_MS = 3_600_000


def run(records, *, every=300_000, crash=frozenset(), until_ms=T0 + 9 * HOUR_MS):
    pipeline, said = Pipeline(TRUCK_STREAM, OPERATORS, provisional_every_ms=every), Said()
    for at, record in enumerate(records):
        said.take([pipeline.step(record)])
        if at in crash:
            pipeline = Pipeline.restore(pipeline.checkpoint(), OPERATORS, provisional_every_ms=every)
    offset = records[-1].offset
    for now in range(records[-1].timestamp_ms, until_ms + 1, STEP_MS):  # time goes on without a message
        offset += 1
        said.take([pipeline.step(Record(TRUCK_STREAM, offset, now, Frame.heartbeat().encode()))])
    return said


def stands(rows):
    return {k: r for k, r in rows.items() if r["status"] != "withdrawn"}


def fixes(device, moves, every_s=30):
    """Fixes of one truck on the road: (seconds, metres north of the mine) between which it moves evenly."""
    import numpy as np

    t = np.arange(moves[0][0], moves[-1][0], every_s)
    north = np.interp(t, [m[0] for m in moves], [m[1] for m in moves])
    return [
        Message(
            device,
            T0 - 5,
            n + 1,
            ((T0 + 1000 * int(s), {"lat_deg": 39.0 + float(x) / DEGREE_M, "lon_deg": 110.0}),),
        )
        for n, (s, x) in enumerate(zip(t.tolist(), north.tolist(), strict=True))
    ]


def ticket(bridge, seq, second, plate, step, name):
    values = {
        "ticket": name,
        "plate": plate,
        "step": step,
        "mass_kg": 46_000.0 if step == "gross" else 15_000.0,
    }
    return Message(bridge, T0 - 5, seq, ((T0 + 1000 * second, values),))


def test_a_stay_is_entered_left_and_long():
    moves = [(0, 0.0), (1_800, 0.0), (3_000, 12_000.0), (4_800, 12_000.0), (6_000, 0.0), (7_200, 0.0)]
    rows = sorted(
        stands(run(truck_journal(*minutes(fixes("truck-1", moves)))).rows["visit"]).values(),
        key=lambda r: r["window_start"],
    )
    assert [(r["key"], r["place"], r["unit"]) for r in rows] == [
        ("P1:mine", "mine", ""),
        ("P1:plant-yard", "plant-yard", "u1"),
        ("P1:mine", "mine", ""),
    ]
    # It crosses the circles of 500 m at 10 m/s.
    assert [(r["window_start"] - T0) / 1000 for r in rows] == pytest.approx([0, 2_950, 5_950], abs=12)
    assert rows[0]["dwell_s"] == pytest.approx(1_850, abs=12)
    assert rows[1]["dwell_s"] == pytest.approx(4_850 - 2_950, abs=15)
    assert [r["status"] for r in rows] == ["final", "final", "provisional"]
    assert (rows[2]["until"], rows[2]["dwell_s"]) == (None, None)


def test_a_message_of_positions_costs_what_it_holds_and_not_its_quarter_of_an_hour_again(monkeypatch):
    followed = []

    def counted(state, fixes):
        followed.append(len(fixes.t_ms))
        return follow(state, fixes)

    for module in ("samples", "following"):
        monkeypatch.setattr(f"streams.core.{module}.follow", counted)
    records = truck_journal(*minutes(fixes("truck-1", [(0, 0.0), (840, 8_400.0)], every_s=10)))
    run(records, every=10_000, until_ms=records[-1].timestamp_ms)
    assert len(followed) >= 14
    assert 84 <= sum(followed) <= 90


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_order_duplication_splitting_and_crashes_change_nothing(seed):
    messages = truck_history(seed, hours=3.0)
    messages += weighings(messages)
    clean = run(truck_journal(*minutes(messages)))
    rng = random.Random(seed)
    records = truck_journal(*disordered(messages, rng))
    found = run(records, crash=frozenset(rng.sample(range(len(records)), 5)))
    for name in ("visit", "queue"):
        assert stands(found.rows[name]), name
        settled = [
            {k: {c: v for c, v in r.items() if c != "revision"} for k, r in stands(x.rows[name]).items()}
            for x in (found, clean)
        ]
        assert settled[0] == settled[1], name


def test_fixes_that_come_hours_late_make_the_stay_that_they_tell_of():
    moves = [(0, 0.0), (1_800, 0.0), (3_000, 12_000.0), (4_800, 12_000.0), (6_000, 0.0), (7_200, 0.0)]
    messages = fixes("truck-1", moves)
    clean = run(truck_journal(*minutes(messages)))
    kept = [m for m in messages if not T0 + 600_000 < m.newest_t < T0 + 900_000]
    assert (
        stands(run(truck_journal(*minutes(kept))).rows["visit"]).keys() == stands(clean.rows["visit"]).keys()
    )


def test_who_waits_and_for_how_long():
    """Two trucks in the yard: one weighed and gone, one that has not been weighed."""
    one = fixes(
        "truck-1", [(0, 6_000.0), (600, 12_000.0), (2_400, 12_000.0), (3_000, 6_000.0), (7_000, 6_000.0)]
    )
    two = fixes("truck-2", [(0, 0.0), (1_200, 12_000.0), (7_000, 12_000.0)])
    tickets = [
        ticket("bridge-p", 1, 900, "P1", "gross", "A"),
        ticket("bridge-p", 2, 2_100, "P1", "tare", "A"),
    ]
    rows = stands(
        run(truck_journal(*minutes([*one, *two, *tickets])), until_ms=T0 + 3 * HOUR_MS).rows["queue"]
    )
    at = {r["window_start"]: r for (key, _), r in rows.items() if key == "bridge-p"}
    row = at[T0 + 2 * STEP_MS]  # 1,800 to 2,700 s: the one leaves at 2,450, the other waits all the time
    assert (row["waiting"], row["tickets"], row["status"]) == (1, 1, "final")
    assert row["turnaround_s"] == pytest.approx(2_450 - 550, abs=20)
    assert row["waiting_mean"] >= 1.0
    assert at[T0]["waiting"] == 1
    assert "bridge-m" in {key for key, _ in rows}


@pytest.mark.parametrize("unloaded_s", [None, 20_000])
def test_a_loaded_truck_that_is_kept_waiting_is_detained(unloaded_s):
    moves = [(0, 0.0), (1_200, 0.0), (2_400, 12_000.0), (25_000, 12_000.0)]
    tickets = [
        ticket("bridge-m", 1, 300, "P1", "tare", "M1"),
        ticket("bridge-m", 2, 900, "P1", "gross", "M1"),
    ]
    if unloaded_s is not None:
        tickets.append(ticket("bridge-p", 1, unloaded_s, "P1", "tare", "Y1"))
    said = run(truck_journal(*minutes([*fixes("truck-1", moves, 60), *tickets])))
    (row,) = [r for r in stands(said.rows[ANOMALY]).values() if r["code"] == "detention"]
    assert (row["subject"], row["unit"]) == ("ticket:M1", "u1")
    assert row["window_start"] == pytest.approx(T0 + 2_350_000 + FREE_MS, abs=60_000)
    assert row["state"] == ("active" if unloaded_s is None else "ended")
    if unloaded_s is not None:
        assert json.loads(row["evidence"])["hours"] == pytest.approx((unloaded_s - 2_350) / 3_600, abs=0.03)


def test_an_empty_truck_or_a_quick_one_is_not_detained():
    moves = [(0, 0.0), (1_200, 0.0), (2_400, 12_000.0), (25_000, 12_000.0)]
    tare = ticket("bridge-m", 1, 300, "P1", "tare", "M1")
    gross = ticket("bridge-m", 2, 900, "P1", "gross", "M1")
    done = ticket("bridge-p", 1, 9_000, "P1", "tare", "Y1")
    for tickets in ([tare], [tare, gross, done], []):
        said = run(truck_journal(*minutes([*fixes("truck-1", moves, 60), *tickets])))
        assert not stands(said.rows.get(ANOMALY, {}))


def test_zero_jumps_and_the_pole_make_no_stay():
    moves = [(0, 6_000.0), (7_200, 6_000.0)]
    messages = fixes("truck-1", moves)
    for at, (lat, lon) in (
        (30, (0.0, 0.0)),
        (60, (39.0, 110.0)),
        (90, (95.0, 110.0)),
        (120, (FAR_DEG, 110.0)),
    ):
        t = messages[at].newest_t
        messages[at] = replace(messages[at], samples=((t, {"lat_deg": lat, "lon_deg": lon}),))
    assert not stands(run(truck_journal(*minutes(messages))).rows.get("visit", {}))
