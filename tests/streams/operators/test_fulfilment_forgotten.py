"""Contracts' quarters, years and coming months where a stream was computed anew, or goes on from before."""

import json

import pytest

from models.frame import Frame, Record
from streams.core.checkpoint import Checkpoint
from streams.core.operator import discovered
from streams.core.pipeline import Pipeline
from streams.operators.fulfilment_period import SHORTFALLS
from tests.streams.operators.test_fulfilment_unknown import DAY_MS, TEXTS, journal, of_contract
from tests.support.road import HOUR_MS, MINUTE_MS, STREAM, Told, road_journal, run_road, trips, weighing
from tests.support.telemetry import T0


def made():
    return Pipeline(STREAM, discovered(), provisional_every_ms=600_000)


def by_days(count):
    """Trips of so many days, each day's at its end, and when those are."""
    events = trips(5, days=float(count))
    days = [sorted((e for e in events if (e.t - T0) // DAY_MS == d), key=lambda e: e.t) for d in range(count)]
    return days, [T0 + (d + 1) * DAY_MS for d in range(count)]


def beats(pipeline, told, offset, days):
    """Heartbeats at those days after T0."""
    for n, day in enumerate(days, 1):
        record = Record(STREAM, offset + n, int(T0 + day * DAY_MS), Frame.heartbeat().encode())
        told.take(pipeline.step(record))


def test_when_all_is_computed_anew_quarters_and_years_are_unknown_at_once():
    """They are nobody's by name, and the rows that they rest on may stay as they are."""
    events = sorted(trips(5, days=12.0), key=lambda e: e.t)
    records = journal([e for e in events if e.t >= T0 + 6 * DAY_MS], 6, 12)
    pipeline, told = made(), Told()
    pipeline.begin_anew(records[-1].offset)
    for record in records:
        told.take(pipeline.step(record))
    beats(pipeline, told, records[-1].offset, [12.1])
    reasons = {k: r["reason"] for (k, _), r in told.of("fulfilment_period").items() if ":Seller" not in k}
    assert reasons == {"h1:quarter": "forgotten", "h1:year": "forgotten"}


def test_a_coming_month_wakes_its_contract_though_a_checkpoint_of_before_did_not_know_of_it():
    records = road_journal([sorted(trips(5, days=3.0), key=lambda e: e.t)], [T0 + 3 * DAY_MS], TEXTS)
    pipeline = made()
    for record in records:
        pipeline.step(record)
    kept = pipeline.checkpoint()
    about = json.loads(kept.parts["entities"])
    del about["beginning"]
    dirty, wakes, _ = about["operators"]["fulfilment"]
    assert "C3" not in dirty
    assert wakes.pop("C3")
    parts = {**kept.parts, "entities": json.dumps(about).encode()}
    restored, told = (
        Pipeline.restore(
            Checkpoint(kept.stream, kept.offset, parts), discovered(), provisional_every_ms=600_000
        ),
        Told(),
    )
    beats(restored, told, kept.offset, [4, 20, 31, 33])
    assert {r["reason"] for r in of_contract(told, "C3").values()} == {None}
    assert of_contract(told, "C3")


def test_a_day_that_was_over_but_not_settled_is_unknown_in_the_end():
    """Five minutes after midnight: nobody would ever settle what was said of it."""
    midnight = T0 + 13 * DAY_MS + 16 * HOUR_MS
    records = journal(sorted(trips(5, days=12.0), key=lambda e: e.t), 0, 12)
    last = Record(STREAM, records[-1].offset + 1, midnight + 5 * MINUTE_MS, Frame.heartbeat().encode())
    told, pipeline = Told(), made()
    for record in [*records, last]:
        told.take(pipeline.step(record))
    days = of_contract(told, "C1")
    assert days[midnight - DAY_MS]["status"] == "provisional"
    pipeline = made()
    pipeline.begin_anew(last.offset)
    kept = [r for r in records[1:] if r.timestamp_ms > T0 + 6 * DAY_MS]
    for record in [Record(STREAM, 0, kept[0].timestamp_ms, records[0].frame), *kept, last]:
        told.take(pipeline.step(record))
    beats(pipeline, told, last.offset, [14.1, 15.2, 20, 40])
    anew = of_contract(told, "C1")
    assert (anew[midnight - DAY_MS]["status"], anew[midnight - DAY_MS]["reason"]) == ("unknown", "forgotten")
    assert anew[midnight - 2 * DAY_MS] == days[midnight - 2 * DAY_MS]
    assert {r["status"] for r in anew.values()} == {"final", "unknown"}


def test_one_ticket_of_a_clock_that_was_wrong_makes_no_month_known():
    events = [e for e in sorted(trips(5, days=20.0), key=lambda e: e.t) if e.t >= T0 + 10 * DAY_MS]
    odd = [weighing(5000, T0 + 6 * DAY_MS, "MZ", "tare", 15e3, contract="C1")]
    told = run_road(journal(events, 10, 20, odd, 12), discovered(), until_ms=T0 + 44 * DAY_MS)
    assert {r["reason"] for r in of_contract(told, "C1").values()} == {"begun_later"}


PLAN = {"contracts.csv": TEXTS["contracts.csv"].replace("1000,600", "100000,600")}


def test_a_period_whose_contracts_are_forgotten_warns_nobody_any_more():
    records = road_journal(*by_days(12), TEXTS | PLAN)
    told, pipeline = Told(), made()
    for record in records:
        told.take(pipeline.step(record))
    warned = {k for k, r in told.of("anomaly").items() if r["code"] in SHORTFALLS.values()}
    assert {k[0].split(":")[0] for k in warned} == {"haulage", "supplier"}
    pipeline = made()
    pipeline.begin_anew(records[-1].offset)
    kept = [r for r in records[1:] if r.timestamp_ms > T0 + 6 * DAY_MS]
    for record in [Record(STREAM, 0, kept[0].timestamp_ms, records[0].frame), *kept]:
        told.take(pipeline.step(record))
        assert warned <= told.of("anomaly").keys() or record is kept[-1]
    beats(pipeline, told, records[-1].offset, [12.1, 12.2])
    assert {told.rows["anomaly"][k]["status"] for k in warned} == {"withdrawn"}
    restored = Pipeline.restore(pipeline.checkpoint(), discovered(), provisional_every_ms=600_000)
    beats(restored, told, records[-1].offset + 2, [12.3, 13, 14])
    assert not [r for r in told.of("anomaly").values() if r["code"] in SHORTFALLS.values()]


@pytest.mark.parametrize("anew", [False, True])
def test_a_year_is_unknown_with_a_month_too_old_to_be_told_of(anew):
    """June's contract is known, January's is of long before the stream began."""
    june = "C9,Seller A,Buyer,u1,mine,plant-yard,5500,2026-06,1000,600,23,h1\n"
    texts = TEXTS | {"contracts.csv": TEXTS["contracts.csv"] + june}
    event = weighing(1, T0 + 140 * DAY_MS, "X", "tare", 15e3, contract="C9")
    first, second = road_journal([[event]], [event.t + 500], texts)
    told, pipeline = Told(), made()
    if anew:
        pipeline.begin_anew(second.offset)
    for record in (Record(STREAM, 0, event.t, first.frame), second):
        told.take(pipeline.step(record))
    beats(pipeline, told, second.offset, [145, 152, 160])
    years = {s: r for (k, s), r in told.of("fulfilment_period").items() if k == "h1:year"}
    row = years[max(years)]
    assert (row["reason"], row["received_kg"]) == ("forgotten" if anew else "begun_later", None)
    assert (row["contracts"], row["first_month"]) == (4, "2026-01")
