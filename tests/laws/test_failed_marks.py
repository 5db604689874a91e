"""A quarter of an hour whose positions could not be marked says unknown, and nobody takes it for an absence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from models.anomaly import ANOMALY
from models.frame import Frame, Record
from models.site_files import parse_site
from streams.core.entity import Entity, EntityRow, Item, Stands
from streams.core.operator import discovered
from streams.core.pipeline import Pipeline
from streams.operators.trip_match import haul
from streams.operators.truck_checks import truck_checks
from streams.operators.visit import FREE_MS, visit
from streams.operators.weighing import WEIGHED
from tests.support.crashing import uncrashed
from tests.support.poisoned import crashes, of_the_road, raising, told_of
from tests.support.road import MINUTE_MS, ROAD_TEXTS, STREAM, Event, Told, road_journal, weighing
from tests.support.telemetry import T0

pytestmark = pytest.mark.contained

SITE = parse_site(ROAD_TEXTS)[0]
YARD, MINE = (39.5, 111.0), (39.0, 110.0)
WAY = [(0, YARD), (20, YARD), (200, MINE), (285, MINE), (300, (39.02, 110.0)), (480, (39.3, 110.6))]
"""Where the truck is at which minute, evenly between."""


def _fixes(every: int = 5) -> list[Event]:
    at = np.arange(0, 480, every)
    lat, lon = (np.interp(at, [m for m, _ in WAY], [where[n] for _, where in WAY]) for n in (0, 1))
    return [
        Event("truck-1", 10 * n + 10, T0 + int(m) * MINUTE_MS, {"lat_deg": float(a), "lon_deg": float(b)})
        for n, (m, a, b) in enumerate(zip(at, lat, lon, strict=True))
    ]


def _ticket(minute: int) -> Event:
    return weighing(1, T0 + minute * MINUTE_MS, "M1", "gross", 45e3)


def _phantoms(events: Sequence[Event], poison: Callable[..., bool], crash: int = 0) -> list[str]:
    """Each word on the ticket, as the events come."""
    ordered = sorted(events, key=lambda e: e.t)
    records = road_journal([[e] for e in ordered], [e.t + MINUTE_MS for e in ordered])
    offset = records[-1].offset
    records += [
        Record(STREAM, offset + n, T0 + (600 + 5 * n) * MINUTE_MS, Frame.heartbeat().encode())
        for n in range(1, 6)
    ]
    operators = of_the_road(raising({"visits": poison}))
    pipeline, words = Pipeline(STREAM, operators), list[str]()
    for at, record in enumerate(records):
        told = Told()
        told.take(pipeline.step(record))
        words += [
            f"{r['subject']} {r['status']}"
            for r in told.rows.get(ANOMALY, {}).values()
            if r["code"] == "phantom_ticket"
        ]
        if crash and at % crash == 0:
            pipeline = Pipeline.restore(pipeline.checkpoint(), operators)
    return words


def _never(*_given: Any) -> bool:
    return False


def _coming(samples: Any, _site: Any) -> bool:
    """Whether it is about the quarter in which the truck comes into the mine."""
    return bool(samples.start_ms == T0 + 195 * MINUTE_MS)


@pytest.mark.parametrize("crash", [0, 1, 7])
def test_a_quarter_that_cannot_be_marked_makes_no_phantom_of_its_ticket(crash) -> None:
    events = [*_fixes(), _ticket(205)]
    assert _phantoms(events, _never) == []
    assert _phantoms(events, _coming, crash=crash) == []
    assert _phantoms([*_fixes(), _ticket(100)], _never) == ["ticket:M1 final"], "on the way it was not there"
    assert _phantoms([*_fixes(), _ticket(100)], _coming) == ["ticket:M1 final"], "which no later quarter says"


def test_a_quarter_that_cannot_be_marked_any_more_takes_no_phantom_back(tmp_path) -> None:
    """It left the mine and was weighed there hours later; then a fix of when it left comes late."""
    late = Event("truck-1", 9_000, T0 + 296 * MINUTE_MS, {"lat_deg": 39.0149, "lon_deg": 110.00001})

    def odd(samples: Any, _site: Any) -> bool:
        return samples.start_ms == T0 + 285 * MINUTE_MS and bool((samples["lon_deg"] == 110.00001).any())

    events = sorted([*_fixes(), _ticket(475)], key=lambda e: e.t)
    arrivals = [*(e.t + MINUTE_MS for e in events), T0 + 640 * MINUTE_MS]
    records = road_journal([[e] for e in [*events, late]], arrivals)
    frames = [(r.timestamp_ms, Frame.decode(r.frame)) for r in records]
    said = []
    for poison in (_never, odd):
        operators = of_the_road(raising({"visits": poison}))
        run = uncrashed(
            frames, tmp_path / poison.__name__, stream=STREAM, operators=operators, every_ms=10_000
        )
        told, failures = told_of(run)
        assert [f.subject for f in failures] == ["truck-1"] * (poison is odd)
        said.append([
            (r["subject"], r["status"], r["revision"])
            for r in told.rows[ANOMALY].values()
            if r["code"] == "phantom_ticket"
        ])  # fmt: skip
        assert crashes(run) == []
    assert said == [[("ticket:M1", "final", 0)]] * 2


def _mark(minute: float, what: str, place: str = "plant-yard") -> Item:
    return Item("visits", "truck-1", T0 + int(minute * MINUTE_MS), {"what": what, "place": place})


def _lacks(minute: int) -> Item:
    at_ms = T0 + minute * MINUTE_MS
    return Item("visits", "truck-1", at_ms, {"to_ms": at_ms + 15 * MINUTE_MS}, ("computing_failed",))


def _given(items: Sequence[Item], minute: int = 600) -> tuple[list[EntityRow], list[Stands]]:
    ordered = sorted(items, key=lambda i: i.order)
    found = list(visit.function(Entity("P1", ordered, SITE, "h1", T0 + minute * MINUTE_MS, 0)))
    rows = [r for r in found if isinstance(r, EntityRow)]
    return rows, [s for s in found if isinstance(s, Stands)]


def _loaded() -> Item:
    return Item("weighbridge", "bridge-m", T0 - MINUTE_MS, {"step": "gross", "ticket": "M1"})


def test_whether_a_truck_left_in_a_quarter_that_cannot_be_marked_is_unknown() -> None:
    waits = [_loaded(), _mark(5, "enter")]
    rows, stands = _given(waits)
    assert [(r.measurement, r.reason) for r in rows] == [("visit", ""), (ANOMALY, "")]
    assert not stands
    first_ms = T0 + 5 * MINUTE_MS + FREE_MS
    rows, stands = _given([*waits, _lacks(30)])
    assert [(r.measurement, r.reason) for r in rows] == [("visit", "computing_failed")]
    assert any(s.has((ANOMALY, "any", first_ms)) for s in stands)
    rows, stands = _given([*waits, _lacks(30), _mark(100, "leave")])
    assert [(r.reason, r.fields.get("dwell_s")) for r in rows] == [("computing_failed", None)], "two, perhaps"
    assert not any(s.has((ANOMALY, "any", first_ms)) for s in stands), "it left in time"
    rows, _ = _given([*waits, _mark(300, "leave"), _lacks(400)])
    assert [r.fields.get("state") for r in rows] == [None, "ended"], "what comes after says nothing of it"
    assert [r.fields.get("dwell_s") for r in rows] == [295 * 60.0, None]
    rows, _ = _given([*waits, _lacks(30), _mark(100, "enter"), _mark(120, "leave")])
    assert [(r.start_ms, r.reason) for r in rows] == [
        (T0 + 5 * MINUTE_MS, "computing_failed"), (T0 + 100 * MINUTE_MS, ""),
    ]  # fmt: skip


def test_a_stay_that_began_in_such_a_quarter_stands() -> None:
    _, stands = _given([_loaded(), _lacks(0), _mark(300, "leave")])
    entered_ms = T0 + 5 * MINUTE_MS
    for name in (("visit", "P1:plant-yard", entered_ms), (ANOMALY, "any", entered_ms + FREE_MS)):
        assert any(s.has(name) for s in stands)
        assert not any(s.has((*name[:2], name[2] + 15 * MINUTE_MS)) for s in stands)


def _weighed(ticket: str, step: str, minute: int, bridge: str, place: str, kg: float) -> Item:
    values = {
        "bridge": bridge, "ticket": ticket, "step": step, "plate": "P1", "tag": "T1", "contract": "C1",
        "place": place, "mass_kg": kg, "flags": [],
    }  # fmt: skip
    return Item(WEIGHED, f"{bridge}:{ticket}:{step}", T0 + minute * MINUTE_MS, values)


def test_a_trip_is_not_said_to_be_unseen_where_positions_cannot_be_marked() -> None:
    tickets = [
        _weighed("M1", "tare", 10, "bridge-m", "mine", 15e3), _weighed("M1", "gross", 40, "bridge-m", "mine", 45e3),
        _weighed("Y1", "gross", 400, "bridge-p", "plant-yard", 45e3),
        _weighed("Y1", "tare", 420, "bridge-p", "plant-yard", 15e3),
    ]  # fmt: skip
    seen = [_mark(0, "enter", "mine"), _mark(60, "leave", "mine"), _mark(390, "enter")]

    def flags(*marks: Item) -> list[str]:
        items = sorted([*tickets, *marks], key=lambda i: i.order)
        (row,) = haul.function(Entity("P1", items, SITE, "h1", T0 + 600 * MINUTE_MS, 0))
        assert isinstance(row, EntityRow)
        return list(row.fields["flags"])

    assert flags(*seen) == []
    assert flags(*seen[:2]) == ["not_seen_at_destination"]
    assert flags(*seen[:2], _lacks(390)) == ["no_positions"]
    assert flags(*seen[:2], _lacks(420)) == ["not_seen_at_destination"], "it had come by then"
    assert flags(seen[0], seen[2], _lacks(60)) == ["no_positions"]
    assert flags(*seen, _lacks(100)) == []


def test_it_matters_until_the_truck_is_seen_at_that_place_or_at_one_apart_from_it() -> None:
    left = [*_fixes(), _ticket(475)]
    assert _phantoms(left, _coming) == ["ticket:M1 final"], "it left the mine since, where all can be marked"
    ticket = _weighed("M1", "gross", 500, "bridge-m", "mine", 45e3)

    def said(*marks: Item) -> bool:
        items = sorted([ticket, *marks], key=lambda i: i.order)
        found = list(truck_checks.function(Entity("P1", items, SITE, "h1", T0 + 900 * MINUTE_MS, 0)))
        stands = any(
            isinstance(r, Stands) and r.has((ANOMALY, "ticket:M1:phantom_ticket:0", 0)) for r in found
        )
        assert stands != any(isinstance(r, EntityRow) for r in found)
        return not stands

    there = _mark(0, "enter", "mine")
    assert not said(there, _lacks(285))
    assert said(there, _lacks(285), _mark(400, "enter")), "at the yard it is not at the mine"
    assert not said(there, _lacks(285), _mark(400, "enter"), _lacks(450))
    assert said(there, _mark(30, "leave", "mine"), _lacks(540)), "which is more than half an hour later"


def test_every_reader_of_marks_is_known_here() -> None:
    readers = {o.name for o in discovered() if getattr(o, "marks", ())}
    assert readers == {"haul", "truck_checks", "visit", "queue", "way"}
