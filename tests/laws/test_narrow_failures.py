"""One ticket that cannot be computed takes nothing with it that does not rest on it."""

from __future__ import annotations

from typing import Any

import pytest

from models.anomaly import ANOMALY
from models.site_files import parse_site
from streams.core.entity import Entity, EntityRow, Item, Stands
from streams.core.entity_items import ItemStore
from streams.core.entity_said import SaidRows
from streams.core.operator import discovered
from streams.operators.haulage_verdicts import haulage_verdicts
from streams.operators.trip_match import HAUL, haul
from streams.operators.truck_checks import truck_checks
from streams.operators.weighing import weighing as weighing_operator
from tests.support.poisoned import crashes, of_the_road, raising, road, told_of
from tests.support.road import (
    HOUR_MS,
    MINUTE_MS,
    ROAD_TEXTS,
    Event,
    Told,
    road_journal,
    run_road,
    weighing,
)
from tests.support.telemetry import T0

pytestmark = pytest.mark.contained

DAY_MS = 24 * HOUR_MS
SITE = parse_site(ROAD_TEXTS)[0]
TICKET = "MP1-2"


def _once_whole(entity: Any) -> bool:
    return entity.name == TICKET and len(entity.of("weighbridge")) > 1


def _ever(entity: Any) -> bool:
    return entity.name == TICKET


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Told:
    told, failures = told_of(road(discovered(), tmp_path_factory.mktemp("sound")))
    assert not failures
    return told


@pytest.mark.parametrize("poison", [_once_whole, pytest.param(_ever, marks=pytest.mark.soak)])
def test_a_ticket_takes_its_trip_and_its_contracts_month_with_it_alone(poison, sound, tmp_path) -> None:
    run = road(raising({"weighing": poison}), tmp_path)
    told, failures = told_of(run)
    (mine,) = [row for (key, _), row in sound.of("trip").items() if key == TICKET]
    trips = told.of("trip")
    (row,) = [r for (key, _), r in trips.items() if key == TICKET]
    assert (row["status"], row["reason"], row["loaded_kg"]) == ("unknown", "computing_failed", None)
    assert (row["plate"], row["contract"]) == ("P1", mine["contract"])
    assert row["destination_ticket"] == mine["destination_ticket"] is not None
    for measurement in ("trip", "visit", "queue", ANOMALY):
        rows, as_ever = told.of(measurement), sound.of(measurement)
        assert rows.keys() <= as_ever.keys()
        assert {n: r for n, r in rows.items() if TICKET not in n[0]} == {
            n: r for n, r in as_ever.items() if TICKET not in n[0]
        }
    months, as_ever = told.of("fulfilment"), sound.of("fulfilment")
    assert months.keys() == as_ever.keys()
    for name, month in months.items():
        if month["contract"] != mine["contract"]:
            assert month == as_ever[name]
        else:
            assert (month["status"], month["received_kg"]) == ("unknown", None)
    assert {(f.operator, f.subject) for f in failures} == {
        ("weighing", TICKET), ("fulfilment", mine["contract"]), ("contract_quality", mine["contract"]),
        ("fulfilment_period", "2026"), ("fulfilment_period", "2026-Q1"), ("fuel_heat", "u1"),
    }  # fmt: skip
    assert crashes(run) == []


def _trucks_first(entity: Any) -> bool:
    return entity.name == "P1"


def _second_day(entity: Any) -> bool:
    return entity.name == "C2|2026-01-02"


@pytest.mark.parametrize(
    ("operator", "poison"),
    [pytest.param("haul", _trucks_first, marks=pytest.mark.soak), ("trip", _second_day)],
)
def test_no_sum_passes_over_what_failed_at_its_first_event(operator, poison, sound, tmp_path) -> None:
    told, _ = told_of(road(raising({operator: poison}), tmp_path))
    trips, as_ever = told.of("trip"), sound.of("trip")
    lost = {name for name, row in trips.items() if row["reason"] == "computing_failed"}
    assert lost
    assert {n: r for n, r in as_ever.items() if n not in lost and n in trips} == {
        n: r for n, r in trips.items() if n not in lost
    }
    assert {key for key, _ in as_ever} <= {key for key, _ in trips}
    about = {as_ever[name]["contract"] for name in lost if name in as_ever}
    for name, month in told.of("fulfilment").items():
        if month["contract"] in about:
            assert month["status"] != "final"
        else:
            assert month == sound.of("fulfilment")[name]


def test_failed_rows_of_a_checkpoint_of_before_they_were_flagged_are_known_as_such() -> None:
    store, again = ItemStore(), ItemStore()
    store.put(("M1", T0), Item("weighed", "M1", T0, {"reason": "computing_failed"}))
    store.put(("M2", T0), Item("weighed", "M2", T0, {"reason": "other"}))
    again.load(store.parts())
    assert [i.failed for _, i in again.of("weighed")] == [True, False]


def _haul(ticket: str, at_h: int, *, failed: bool = False, **more: Any) -> Item:
    """A load and its receipt six hours later."""
    values: dict[str, Any] = {
        "plate": "P1", "truck": "P1", "contract": "C1", "origin": "mine", "destination": "plant-yard",
        "origin_ticket": ticket, "unit": "u1",
    }  # fmt: skip
    at_ms = T0 + at_h * HOUR_MS
    if failed:
        return Item(HAUL, ticket, at_ms, values | {"reason": "computing_failed"}, ("computing_failed",))
    values |= {
        "flags": [], "tares_kg": [15_000.0, 15_000.0], "grosses_kg": [45_000.0, 45_000.0],
        "bridges": ["bridge-m"] * 2 + ["bridge-p"] * 2, "gross_ms": at_ms, "received_ms": at_ms + 6 * HOUR_MS,
    }  # fmt: skip
    return Item(HAUL, ticket, at_ms, values | more)


def _codes(*items: Item) -> set[str]:
    found = truck_checks.function(Entity("P1", items, SITE, "h1", T0 + 10 * DAY_MS, 0))
    return {str(r.fields["code"]) for r in found if isinstance(r, EntityRow)}


def test_deliveries_on_both_sides_of_one_that_nobody_knows_are_not_in_a_row() -> None:
    hauls = [_haul(f"M{n}", 10 * n) for n in range(4)]
    other = {"grosses_kg": [45_000.0, 44_000.0]}
    assert _codes(*hauls) == {"repeated_weight"}
    assert _codes(*hauls[:2], _haul("M2", 20, **other), hauls[3]) == set()
    assert _codes(*hauls[:2], _haul("M2", 20, failed=True), hauls[3]) == set()
    assert _codes(*hauls[:3], _haul("M3", 30, failed=True)) == {"repeated_weight"}


def test_what_rests_on_a_load_that_nobody_knows_stands_and_nothing_else_does() -> None:
    items = [_haul("M1", 10), _haul("M2", 20, failed=True)]
    for operator, name, keys in (
        (truck_checks, "P1", {"plate:P1:tare_drift:", "plate:P1:repeated_weight:", "ticket:M2:impossible_time:"}),
        (haulage_verdicts, "fleet", {"contract:C1:transit_loss:", "plate:P1:transit_loss:", "bridge:bridge-m:",
                                     "supplier:Seller A:supplier_short_quality:"}),
    ):  # fmt: skip
        given = list(operator.function(Entity(name, items, SITE, "h1", T0 + 10 * DAY_MS, 0)))
        found = {s.key for s in given if isinstance(s, Stands)}
        assert found >= keys
        assert not any("C2" in key or "M1" in key or "P2" in key for key in found)
        assert not [
            s for s in operator.function(Entity(name, items[:1], SITE, "h1", T0, 0)) if isinstance(s, Stands)
        ]


def _anomaly(subject: str, first_ms: int) -> EntityRow:
    key = f"{subject}:overload:{first_ms}"
    return EntityRow(ANOMALY, key, first_ms, 0, "u1", {"subject": subject, "state": "active"}, first_ms)


def test_what_stands_is_neither_taken_back_nor_said_a_second_time() -> None:
    said = SaidRows(truck_checks)

    def say(*given: EntityRow | Stands) -> list[tuple[str, str]]:
        return [(now.name[1], now.status) for _, now in said.say("P1", given, T0, 0)]

    first, second, other = _anomaly("plate:P1", 1000), _anomaly("plate:P1", 2000), _anomaly("plate:P2", 1000)
    say(first, other)
    stands = Stands(ANOMALY, "plate:P1:overload:")
    assert say(second, other, stands) == [], "the second is meant by what stands"
    assert say(stands) == [("plate:P2:overload:1000", "withdrawn")], "the other one stood without it"
    assert say(second) == [
        ("plate:P1:overload:2000", "final"), ("plate:P1:overload:1000", "withdrawn"),
    ]  # fmt: skip
    assert say(second, stands) == []
    assert say(first, second, stands) == [("plate:P1:overload:1000", "final")], (
        "none stands that is not given"
    )


def test_a_row_that_stands_keeps_its_names_alone() -> None:
    said = SaidRows(haul)
    row = EntityRow(HAUL, "M1", T0, 0, "u1", {"plate": "P1", "loaded_kg": 1}, T0)
    said.say("P1", [row], T0, 0)
    for _ in range(2):
        changed = said.say("P1", [Stands(HAUL, "M1", T0, T0 + 1)], T0, 0)
        if not _:
            ((_before, now),) = changed
            assert (now.fields, now.status, now.revision) == ({"plate": "P1"}, "unknown", 1)
    assert changed == []


def test_the_verdict_on_a_ticket_stays_when_the_ticket_cannot_be_computed_any_more() -> None:
    """Over its truck's rated mass by far; then a correction comes that cannot be taken in."""
    heavy = [weighing(1, T0, "M1", "tare", 15e3), weighing(2, T0 + HOUR_MS, "M1", "gross", 60e3)]
    light = [
        weighing(3, T0 + 9 * HOUR_MS, "M2", "tare", 15e3), weighing(4, T0 + 10 * HOUR_MS, "M2", "gross", 45e3),
    ]  # fmt: skip
    by = {"ref": "K", "event": "correct", "ticket": "M1", "step": "gross", "person": "Li", "note": "n"}
    odd = Event("desk", 1, T0 + 20 * HOUR_MS, by | {"mass_kg": 45_000.0})
    operators = of_the_road(raising({"weighing": lambda e: bool(e.of("office"))}))

    def overloads(*events: Event) -> list[tuple[str, str]]:
        records = road_journal([[e] for e in events], [e.t + MINUTE_MS for e in events])
        told = run_road(records, operators, until_ms=T0 + 40 * HOUR_MS)
        rows = told.rows.get(ANOMALY, {}).values()
        return [(r["key"].split(":")[1], r["status"]) for r in rows if r["code"] == "overload"]

    assert overloads(*heavy, *light) == [("P1", "final")]
    assert overloads(*heavy, *light, odd) == [("P1", "final")]
    assert weighing_operator.instead is not None
