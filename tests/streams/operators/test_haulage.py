"""Weighings and trips of a haulage group: states, flags, corrections, and what may enter no sum."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from models.frame import Frame, Record
from streams.core.entity_operator import (
    Entity,
    EntityRow,
    Marks,
    by_plate,
    entity_operator,
    mark_operator,
)
from streams.core.pipeline import Pipeline
from streams.core.samples import Samples
from streams.core.stream_site import StreamSite
from streams.operators.haulage_verdicts import haulage_verdicts
from streams.operators.reading import reading
from streams.operators.trip import trip
from streams.operators.trip_match import HAUL
from streams.operators.trip_match import haul as haul_operator
from streams.operators.truck_checks import truck_checks
from streams.operators.weighing import weighing as weighing_operator
from tests.support.road import (
    HOUR_MS,
    MINUTE_MS,
    ROAD_TEXTS,
    STREAM,
    Event,
    Told,
    road_journal,
    run_road,
    weighing,
)
from tests.support.telemetry import T0, registry_frame


@mark_operator(reads=("truck",))
def visits(samples: Samples, site: StreamSite) -> Marks:
    """Where a fix lies in another place than the one before it."""
    inside = np.array(
        [_place_at(site, *at) for at in zip(samples["lat_deg"], samples["lon_deg"], strict=True)]
    )
    found = []
    for at, t in enumerate(samples.t.tolist()):
        before = inside[at - 1] if at and samples.group[at - 1] == samples.group[at] else ""
        if samples.start_ms <= t < samples.end_ms and before != inside[at]:
            found += [(samples.device[at], t, "leave", before)] if before else []
            found += [(samples.device[at], t, "enter", inside[at])] if inside[at] else []
    device, t, what, place = (list(x) for x in zip(*found, strict=True)) if found else ([], [], [], [])
    values = {"what": what, "place": [str(p) for p in place]}
    return Marks(np.array(device, np.int64), np.array(t, np.int64), values)


def _place_at(site: StreamSite, lat_deg: float, lon_deg: float) -> str:
    near = [
        p.place
        for p in site.site.places.values()
        if abs(p.lat_deg - lat_deg) + abs(p.lon_deg - lon_deg) < 0.01
    ]
    return near[0] if near else ""


@entity_operator(
    by=by_plate, reads=(HAUL,), horizon_s=5 * 86_400, reach_s=86_400, every_s=300,
    writes={"eta": dict.fromkeys(("eta", "eta_p10", "eta_p90"), pa.int64()) | {"contract": pa.string()}},
)  # fmt: skip
def eta(entity: Entity):
    """Six hours after each load, give or take one."""
    for haul in entity.of(HAUL):
        if haul.values["state"] == "open":
            at_ms = haul.t + 6 * HOUR_MS
            fields = {"eta": at_ms, "eta_p10": at_ms - HOUR_MS, "eta_p90": at_ms + HOUR_MS, "contract": "C1"}
            yield EntityRow("eta", haul.device, haul.t, 0, "u1", fields, at_ms)


OPERATORS = (
    reading, weighing_operator, haul_operator, trip, truck_checks, haulage_verdicts, visits, eta,
)  # fmt: skip
DAY_MS = 24 * HOUR_MS


def trip_events(net_kg: float = 30_000.0, back_kg: float = 29_900.0, **more) -> list[Event]:
    """Four weighings of one trip that takes six hours."""
    plant = {"device": "bridge-p", **more}
    return [
        weighing(1, T0, "M1", "tare", 15_000.0, **more),
        weighing(2, T0 + 40 * MINUTE_MS, "M1", "gross", 15_000.0 + net_kg, **more),
        weighing(1, T0 + 400 * MINUTE_MS, "Y1", "gross", 14_960.0 + back_kg, **plant),
        weighing(2, T0 + 430 * MINUTE_MS, "Y1", "tare", 14_960.0, **plant),
    ]


def play(events: list[Event], until_ms: int = T0 + 10 * DAY_MS, arrivals: list[int] | None = None):
    ordered = sorted(zip(arrivals or [e.t for e in events], events, strict=True), key=lambda x: x[0])
    records = road_journal([[e] for _, e in ordered], [at + 500 for at, _ in ordered])
    return run_road(records, OPERATORS, until_ms=until_ms)


def only(rows):
    assert len(rows) == 1, rows
    return next(iter(rows.values()))


def test_a_trip_with_its_loss_by_the_moisture_at_both_ends() -> None:
    lab = [
        Event("lab-m", 1, T0 + 25 * HOUR_MS, {"lot": "C1-260101", "contract": "C1", "end": "origin",
                                              "moisture_pct": 10.0, "q_net_ar_mj_kg": 22.0}),
        Event("lab-p", 1, T0 + 26 * HOUR_MS, {"lot": "C1-260101", "contract": "C1", "end": "destination",
                                              "moisture_pct": 11.0, "q_net_ar_mj_kg": 21.0}),
    ]  # fmt: skip
    row = only(play([*trip_events(), *lab]).of("trip"))
    assert (row["key"], row["window_start"], row["unit"]) == ("M1", T0 + 40 * MINUTE_MS, "u1")
    assert (row["loaded_kg"], row["received_kg"], row["destination_ticket"]) == (30_000, 29_900, "Y1")
    assert row["loss_pct"] == pytest.approx(100.0 * (1.0 - 29_900.0 * 89.0 / (30_000.0 * 90.0)))
    assert row["loss_u_pct"] == pytest.approx(2 * 100 * (2 * 400 / 30_000**2 + 0.5 / 89.5**2) ** 0.5)
    assert (row["state"], row["status"], row["flags"]) == ("unverified", "final", "no_positions")
    assert (row["loaded_moisture_pct"], row["q_mj_kg"]) == (10.0, 21.0)


def fixes(device: str, from_ms: int, until_ms: int, lat_deg: float, lon_deg: float, seq: int) -> list[Event]:
    """A truck that stands, with a fix a minute."""
    return [
        Event(device, seq + n, t, {"lat_deg": lat_deg + 1e-5 * (n % 3), "lon_deg": lon_deg, "speed_m_s": 0.0})
        for n, t in enumerate(range(from_ms, until_ms, MINUTE_MS))
    ]


MINE, WAY, YARD = (39.0, 110.0), (39.25, 110.5), (39.5, 111.0)


def driven(at_mine_ms: int, at_yard_ms: int) -> list[Event]:
    """At the mine until then, on the way, and at the yard from then on."""
    legs = [(T0 - HOUR_MS, at_mine_ms, MINE), (at_mine_ms + 2 * HOUR_MS, at_mine_ms + 3 * HOUR_MS, WAY),
            (at_yard_ms, at_yard_ms + 2 * HOUR_MS, YARD)]  # fmt: skip
    return [e for n, (a, b, at) in enumerate(legs) for e in fixes("truck-1", a, b, *at, 1 + 1000 * n)]


def test_a_trip_that_fences_confirm_is_closed_and_one_elsewhere_is_a_phantom() -> None:
    seen = play([*trip_events(), *driven(T0 + 50 * MINUTE_MS, T0 + 380 * MINUTE_MS)])
    row = only(seen.of("trip"))
    assert (row["state"], row["flags"]) == ("closed", "no_moisture")
    assert T0 + 49 * MINUTE_MS <= row["departed"] <= T0 + 170 * MINUTE_MS
    assert T0 + 230 * MINUTE_MS <= row["arrived"] <= T0 + 380 * MINUTE_MS
    assert seen.of("anomaly") == {}
    away = play([*trip_events(), *driven(T0 + 50 * MINUTE_MS, T0 + 20 * HOUR_MS)])
    row = only(away.of("trip"))
    assert row["state"] == "unverified"
    assert "not_seen_at_destination" in row["flags"]
    assert {(a["code"], a["subject"]) for a in away.of("anomaly").values()} == {
        ("phantom_ticket", "ticket:Y1")
    }


def test_an_open_trip_has_the_arrival_that_is_foretold() -> None:
    row = only(play(trip_events()[:2], until_ms=T0 + 2 * HOUR_MS).of("trip"))
    assert row["state"] == "open"
    assert row["eta_p90"] - row["eta"] == row["eta"] - row["eta_p10"] == HOUR_MS
    assert only(play(trip_events()).of("trip"))["eta"] is None


@pytest.mark.parametrize("moisture_pct", [130.0, 100.0])
def test_a_moisture_that_leaves_no_coal_is_not_used(moisture_pct) -> None:
    lab = Event("lab-m", 1, T0 + 25 * HOUR_MS, {"lot": "C1-260101", "contract": "C1", "end": "origin",
                                                "moisture_pct": moisture_pct})  # fmt: skip
    told = play([*trip_events(), lab])
    row = only(told.of("trip"))
    assert row["loaded_moisture_pct"] is None
    assert "no_moisture" in row["flags"]
    assert row["loss_pct"] == pytest.approx(100.0 / 300.0)


def test_open_then_lost_then_found_after_all() -> None:
    load = trip_events()[:2]
    open_ = only(play(load, until_ms=T0 + DAY_MS).of("trip"))
    assert (open_["state"], open_["status"], open_["received_kg"]) == ("open", "provisional", None)
    lost = only(play(load).of("trip"))
    assert (lost["state"], lost["status"], lost["revision"]) == ("lost", "final", 0)
    events = trip_events()
    told = play(
        events, until_ms=T0 + 12 * DAY_MS, arrivals=[T0, T0 + HOUR_MS, T0 + 8 * DAY_MS, T0 + 8 * DAY_MS]
    )
    found = only(told.of("trip"))
    assert (found["state"], found["received_kg"]) == ("unverified", 29_900)


def test_a_receipt_without_a_load_counts_and_goes_when_the_load_comes() -> None:
    orphan = only(play(trip_events()[2:]).of("trip"))
    assert (orphan["key"], orphan["received_kg"], orphan["loaded_kg"]) == ("Y1", 29_900, None)
    assert "orphan_receipt" in orphan["flags"]
    late = play(trip_events(), arrivals=[T0 + 20 * HOUR_MS] * 2 + [T0 + 7 * HOUR_MS] * 2)
    assert only(late.of("trip"))["key"] == "M1"
    assert late.rows["trip"]["Y1", T0 + 400 * MINUTE_MS]["status"] == "withdrawn"


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        ({"plate": "nobody", "tag": None}, "unknown_plate"),
        ({"contract": "C1-X"}, "unknown_contract"),
        ({"tag": None}, "no_tag"),
        ({"tag": "T2"}, "tag_mismatch"),
        ({"tag": "T-NOBODYS"}, "tag_mismatch"),
    ],
)
def test_what_is_unknown_keeps_its_flag(change, flag) -> None:
    told = play(trip_events(**change))
    assert all(flag in r["flags"] for r in told.of("weighing").values())
    assert flag in only(told.of("trip"))["flags"]


def test_a_gross_under_its_tare_has_no_net_and_is_in_no_total() -> None:
    events = trip_events(net_kg=-5_000.0)
    row = only(play(events).of("trip"))
    assert "gross_under_tare" in row["flags"]
    assert (row["loaded_kg"], row["loss_pct"], row["state"]) == (None, None, "unverified")
    negative = trip_events()
    negative[1] = weighing(2, negative[1].t, "M1", "gross", -45_000.0)
    told = play(negative)
    assert "implausible_mass" in told.of("weighing")["bridge-m:M1:gross", negative[1].t]["flags"]
    assert only(told.of("trip"))["loaded_kg"] is None


def test_a_ticket_number_that_comes_twice_with_other_values_counts_once() -> None:
    events = trip_events()
    events.append(weighing(3, events[1].t + 120_000, "M1", "gross", 46_000.0))
    row = only(play(events).of("trip"))
    assert row["loaded_kg"] == 31_000, "the later message stands"
    assert "repeat" in row["flags"]


def test_a_correction_stands_beside_the_ticket() -> None:
    by = {
        "ref": "K1",
        "event": "correct",
        "ticket": "M1",
        "step": "gross",
        "mass_kg": 44_000.0,
        "note": "misread",
    }
    unsigned = Event("desk", 1, T0 + 2 * DAY_MS, by)
    signed = Event("desk", 2, T0 + 3 * DAY_MS, {**by, "ref": "K2", "person": "Li Wei"})
    told = play([*trip_events(), unsigned, signed])
    row = told.of("weighing")["bridge-m:M1:gross", T0 + 40 * MINUTE_MS]
    assert (row["mass_kg"], row["corrected_kg"]) == (45_000.0, 44_000.0)
    assert "correction_unsigned" in row["flags"]
    assert [(c["person"], c["reason"]) for c in json.loads(row["correction"])] == [("Li Wei", "misread")]
    assert only(told.of("trip"))["loaded_kg"] == 29_000
    assert only(play([*trip_events(), unsigned]).of("trip"))["loaded_kg"] == 30_000


@pytest.mark.parametrize(
    ("ticket", "step", "unmatched"),
    [
        ("M1", "gross", False),
        ("M1", None, False),
        ("M9", "gross", True),
        ("M9", None, True),
        ("M1", "net", True),
    ],
)
def test_a_correction_of_what_no_bridge_told_of_is_said_until_one_does(ticket, step, unmatched) -> None:
    by = {
        "ref": "K1",
        "event": "correct",
        "ticket": ticket,
        "step": step,
        "note": "misread",
        "person": "Li Wei",
    }
    entered = Event("desk", 1, T0 + DAY_MS, {n: v for n, v in by.items() if v})
    found = unmatched_of(play([*trip_events(), entered]))
    assert [(r["subject"], r["severity"], r["unit"]) for r in found] == [
        (f"ticket:{ticket}", "minor", "h1")
    ] * unmatched
    if unmatched:
        assert json.loads(found[0]["evidence"])["ref"] == "K1"
        assert found[0]["state"] == "ended", "nobody is to see it for ever"
        late = weighing(90, T0 + DAY_MS + 5 * MINUTE_MS, ticket, step or "gross", 45_000.0)
        assert not unmatched_of(play([*trip_events(), entered, late]))


def unmatched_of(told) -> list:
    return [r for r in told.of("anomaly").values() if r["code"] == "correction_unmatched"]


def test_it_is_said_at_once_and_not_of_a_stream_that_forgot_its_tickets() -> None:
    by = {"ref": "K1", "event": "correct", "ticket": "M9", "note": "misread", "person": "Li Wei"}
    records = road_journal([[Event("desk", 1, T0 + DAY_MS, by)]], [T0 + DAY_MS + 500])
    records.append(Record(STREAM, 2, T0 + DAY_MS + 11_000, Frame.heartbeat().encode()))
    for anew in (False, True):
        pipeline, told = Pipeline(STREAM, OPERATORS, provisional_every_ms=10_000), Told()
        if anew:
            pipeline.begin_anew(0)
        for record in records:
            told.take(pipeline.step(record))
        assert [r["state"] for r in unmatched_of(told)] == ([] if anew else ["active"])


@pytest.mark.parametrize("age_d", [1, 40, 74])
def test_a_ticket_that_a_bridge_told_of_is_never_said_to_be_unknown(age_d) -> None:
    """Neither when it is corrected nor later, when its weighings are old and the site is edited."""
    by = {"ref": "K1", "event": "correct", "ticket": "M1", "step": "gross", "note": "misread",
          "person": "Li Wei", "mass_kg": 44_000.0}  # fmt: skip
    at = T0 + age_d * DAY_MS
    legs = [weighing(1, T0, "M1", "tare", 15e3), weighing(2, T0 + HOUR_MS, "M1", "gross", 45e3)]
    records = road_journal([legs, [Event("desk", 1, at, by)]], [T0 + 2 * HOUR_MS, at + 500])
    pipeline, told = Pipeline(STREAM, OPERATORS, provisional_every_ms=10_000), Told()
    for record in records:
        told.take(pipeline.step(record))
    offset = records[-1].offset
    for day in range(age_d + 1, age_d + 47, 3):
        for frame in (registry_frame(ROAD_TEXTS), Frame.heartbeat()):
            offset += 1
            told.take(pipeline.step(Record(STREAM, offset, T0 + day * DAY_MS + offset, frame.encode())))
            assert not unmatched_of(told), f"day {day}"


def test_a_tag_that_is_nobodys_accuses_nobody() -> None:
    told = play(trip_events(tag="T-NOBODYS"))
    assert "plate_swapped" not in {r["code"] for r in told.of("anomaly").values()}


def test_anomalies_name_who_and_why() -> None:
    events = trip_events(net_kg=36_000.0, back_kg=35_900.0, tag="T2")
    events[2:] = [
        weighing(1, T0 + 60 * MINUTE_MS, "Y1", "gross", 50_860.0, device="bridge-p", tag="T2"),
        weighing(2, T0 + 90 * MINUTE_MS, "Y1", "tare", 14_960.0, device="bridge-p", tag="T2"),
    ]
    told = play(events)
    found = {(r["code"], r["subject"]) for r in told.of("anomaly").values()}
    assert ("plate_swapped", "plate:P2") in found
    assert ("impossible_time", "ticket:M1") in found
    honest = play(trip_events())
    # One honest load is no fraud, and far less than the plan of its contract.
    assert {r["code"] for r in honest.of("anomaly").values()} <= {"contract_shortfall"}


def test_open_trips_and_their_ends_go_to_the_receiving_unit() -> None:
    told = play(trip_events())
    assert {stream for stream, _ in told.forwards} == {"u1"}
    pipeline = Pipeline("u1", OPERATORS)
    values = []
    for n, (_, frame) in enumerate(told.forwards):
        assert Frame.decode(frame).kind == "action"
        pipeline.step(Record("u1", n, T0 + n, frame))
        payloads = Frame.decode(frame).batch.column("payload").to_pylist()
        values += [json.loads(payload)["values"] for payload in payloads]
    assert values[0]["state"] == "open"
    assert values[-1]["received_kg"] == 29_900
    assert STREAM != "u1"
