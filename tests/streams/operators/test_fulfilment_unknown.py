"""`fulfilment` of months that a stream cannot know: it began later, or its beginning is forgotten."""

import pytest

from models.frame import Frame, Record
from streams.core.operator import discovered
from streams.core.pipeline import Pipeline
from tests.support.road import (
    HOUR_MS,
    ROAD_TEXTS,
    STREAM,
    Told,
    road_frame,
    road_journal,
    run_road,
    trips,
    weighing,
)
from tests.support.telemetry import T0

DAY_MS = 24 * HOUR_MS
TEXTS = ROAD_TEXTS | {
    "contracts.csv": ROAD_TEXTS["contracts.csv"]
    + "C0,Seller A,Buyer,u1,mine,plant-yard,5500,2025-12,1000,600,23,h1\n"
    + "C3,Seller A,Buyer,u1,mine,plant-yard,5500,2026-02,1000,600,23,h1\n"
}
SUMS = ("received_kg", "loaded_kg", "released_kg", "rate_pct", "forecast_pct", "shortfall_p")
MONTH_END = T0 + 31 * DAY_MS
UNTIL = T0 + 44 * DAY_MS


def journal(events, from_day, to_day, late=(), late_day=None):
    """Records of each day's events at its end, from one day on; of late ones all at once."""
    batches, arrivals = [], []
    for day in range(from_day, to_day):
        batches.append([e for e in events if (e.t - T0) // DAY_MS == day])
        arrivals.append(T0 + (day + 1) * DAY_MS)
        if day == late_day:
            batches.append(list(late))
            arrivals.append(T0 + (day + 1) * DAY_MS)
    records = road_journal(batches, arrivals, TEXTS)
    first = Record(STREAM, records[0].offset, T0 + from_day * DAY_MS, records[0].frame)
    return [first, *records[1:]]


def of_contract(told, name, *without):
    rows = told.of("fulfilment", *without).items()
    return {start: row for (key, start), row in rows if key.startswith(f"{name}:")}


def settled(rows):
    return {start: row for start, row in rows.items() if row["status"] != "provisional"}


def run(records, until_ms=UNTIL, **more):
    return run_road(records, discovered(), until_ms=until_ms, **more)


@pytest.fixture(scope="module")
def events():
    return sorted(trips(5, days=20.0), key=lambda e: e.t)


@pytest.fixture(scope="module")
def always(events):
    """What a stream says that was there all the month."""
    return run(journal(events, 0, 20))


def test_a_month_before_the_stream_is_unknown_and_nobody_is_alarmed(always):
    rows = of_contract(always, "C0")
    assert {(r["status"], r["reason"]) for r in rows.values()} == {("unknown", "begun_later")}
    assert all(r[name] is None for r in rows.values() for name in SUMS)
    assert all(r["planned_kg"] == 1_000_000 for r in rows.values())
    alarms = [r for r in always.of("anomaly").values() if "shortfall" in r["code"]]
    assert not [r for r in alarms if r["subject"] == "contract:C0" or "2025" in r["evidence"]]
    quarter = [r for r in always.of("fulfilment_period").values() if r["name"] == "2025-Q4"]
    assert quarter
    for row in quarter:
        assert row["reason"] == "begun_later"
        assert (row["received_kg"], row["rate_pct"], row["warned"]) == (None, None, None)


def test_a_stream_that_heard_nothing_knows_no_month():
    empty = run(journal([], 0, 1), until_ms=T0 + 9 * DAY_MS)
    assert {r["reason"] for r in of_contract(empty, "C1").values()} == {"begun_later"}
    assert not [r for r in empty.of("anomaly").values() if "shortfall" in r["code"]]


def test_the_first_message_makes_the_month_known_though_it_is_no_paper_of_the_contract():
    (registry,) = road_journal([], [], TEXTS)
    other = road_frame("weighbridge", [weighing(1, T0 + 60_000, "X", "tare", 15e3, contract="C2")])
    frames = [Frame.heartbeat(), other, Frame.heartbeat(), Frame.heartbeat()]
    records = [registry] + [
        Record(STREAM, n, T0 + n * HOUR_MS, frame.encode()) for n, frame in enumerate(frames, 1)
    ]
    pipeline, told = Pipeline(STREAM, discovered(), provisional_every_ms=600_000), Told()
    seen = []
    for record in records:
        told.take(pipeline.step(record))
        (row,) = of_contract(told, "C1").values()
        seen.append((row["reason"], row["received_kg"], row["status"]))
    assert seen[:2] == [("begun_later", None, "provisional")] * 2
    assert seen[-1] == (None, 0, "provisional")


def test_a_month_that_the_stream_began_amid_is_unknown_and_the_next_is_known(events):
    told = run([*journal([e for e in events if e.t >= T0 + 10 * DAY_MS], 10, 20)], crash_at=(9, 30))
    rows = of_contract(told, "C1")
    assert {r["status"] for s, r in rows.items() if s < MONTH_END} == {"unknown"}
    assert {r["reason"] for r in rows.values()} == {"begun_later"}
    assert not [s for s in rows if s >= MONTH_END]
    known = of_contract(told, "C3")
    assert {r["reason"] for r in known.values()} == {None}
    assert {r["received_kg"] for r in known.values()} == {0}
    year = told.of("fulfilment_period")["h1:year", min(s for k, s in told.of("fulfilment_period"))]
    assert (year["reason"], year["received_kg"]) == ("begun_later", None)


def test_tickets_that_are_brought_in_later_make_the_month_known(events, always):
    old = [e for e in events if e.t < T0 + 10 * DAY_MS]
    new = [e for e in events if e.t >= T0 + 10 * DAY_MS]
    told = run(journal(new, 10, 20, old, 15), crash_at=(9, 30))
    for name in ("C1", "C2"):
        rows = settled(of_contract(told, name, "revision"))
        assert rows == settled(of_contract(always, name, "revision"))
        assert {r["status"] for r in rows.values()} == {"final"}
        assert max(r["received_kg"] for r in rows.values()) > 0


def test_what_collectors_held_back_is_not_the_month(events):
    held = [e for e in events if T0 + 9 * DAY_MS <= e.t < T0 + 10 * DAY_MS]
    assert held
    told = run(journal([e for e in events if e.t >= T0 + 10 * DAY_MS], 10, 20, held, 10))
    assert {r["reason"] for r in of_contract(told, "C1").values()} == {"begun_later"}


def test_of_a_forgotten_beginning_what_was_said_stands_and_the_rest_is_unknown(events):
    """Its last record before is that of the 15th day; the tickets of the first ten are gone."""
    records = journal([e for e in events if e.t >= T0 + 10 * DAY_MS], 10, 20)
    anew_to = max(r.offset for r in records if r.timestamp_ms <= T0 + 15 * DAY_MS)
    pipeline, told = Pipeline(STREAM, discovered(), provisional_every_ms=600_000), Told()
    pipeline.begin_anew(anew_to)
    heartbeats = [
        Record(STREAM, records[-1].offset + 1 + n, T0 + day * DAY_MS, Frame.heartbeat().encode())
        for n, day in enumerate(range(21, 45, 2))
    ]
    for record in (*records, *heartbeats):
        told.take(pipeline.step(record))
        if record.offset == anew_to - 1:
            assert not of_contract(told, "C1"), "right rows would be written over"
            assert not [k for k in told.of("fulfilment_period") if k[0].startswith("h1:year")]
        pipeline = Pipeline.restore(pipeline.checkpoint(), discovered(), provisional_every_ms=600_000)
    rows = of_contract(told, "C1")
    assert min(rows) >= T0 + 14 * DAY_MS
    assert {r["reason"] for r in rows.values()} == {"forgotten"}
    assert {r["status"] for r in rows.values()} == {"unknown"}
    assert {r["reason"] for r in of_contract(told, "C3").values()} == {None}
    years = [r for (k, _), r in told.of("fulfilment_period").items() if k == "h1:year"]
    assert {(r["reason"], r["received_kg"]) for r in years if r["name"] == "2026"} == {("forgotten", None)}
