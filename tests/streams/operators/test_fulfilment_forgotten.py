"""Contracts' quarters, years and coming months where a stream was computed anew, or goes on from before."""

import json

from models.frame import Frame, Record
from streams.core.checkpoint import Checkpoint
from streams.core.operator import discovered
from streams.core.pipeline import Pipeline
from tests.streams.operators.test_fulfilment_unknown import DAY_MS, TEXTS, journal, of_contract
from tests.support.road import STREAM, Told, road_journal, trips
from tests.support.telemetry import T0


def made():
    return Pipeline(STREAM, discovered(), provisional_every_ms=600_000)


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
