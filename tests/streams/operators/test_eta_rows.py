"""Arrivals of open trips from the hauls and positions of their lane."""

from __future__ import annotations

import numpy as np
import pytest

from models.site_files import parse_site
from streams.core.entity_operator import Entity, Item
from streams.operators.eta import EVERY_MS, eta
from streams.operators.trip_match import HAUL
from streams.operators.way import WAY, way
from tests.support.telemetry import T0
from tests.support.trucks import DEGREE_M, ROAD_M, TRUCK_TEXTS

HOUR_MS = 3_600_000
SITE = parse_site(TRUCK_TEXTS)[0]


def haul(ticket, gross_ms, arrived=None, **more):
    values = {
        "plate": "P1", "truck": "P1", "contract": "C1", "origin": "mine", "destination": "plant-yard",
        "origin_ticket": ticket, "departed": gross_ms + 60_000, "arrived": arrived, "state": "open",
        "gross_ms": gross_ms, "unit": "u1", "flags": [], **more,
    }  # fmt: skip
    return Item(HAUL, ticket, gross_ms, {k: v for k, v in values.items() if v is not None})


def seen(t_ms, share):
    return Item(
        "whereabouts", "truck-1", t_ms, {"lat_deg": 39.0 + share * ROAD_M / DEGREE_M, "lon_deg": 110.0}
    )


def computed(operator, name, items, now_ms):
    items = sorted(items, key=lambda i: i.order)
    return list(operator.function(Entity(name, items, SITE, "h1", now_ms, 0)))


def ways(n, hours=2.0, spread=0.1):
    """Rows of trips that have arrived, one an hour, and had half of the way behind them half-way."""
    rng = np.random.default_rng(1)
    found = []
    for k in range(n):
        took = int(hours * HOUR_MS * np.exp(spread * rng.standard_normal()))
        begin = T0 + k * HOUR_MS
        values = {
            "lane": "mine|plant-yard", "contract": "C1", "departed": begin, "arrived": begin + took, "unit": "u1",
            "at_ms": [begin + took // 2], "share": [0.5],
        }  # fmt: skip
        found.append(Item(WAY, f"M{k}", begin, values))
    return found


def open_way(begin, at_ms=(), share=()):
    values = {
        "lane": "mine|plant-yard", "contract": "C1", "departed": begin, "unit": "u1", "at_ms": list(at_ms),
        "share": list(share),
    }  # fmt: skip
    return Item(WAY, "X", begin, values)


def test_positions_are_laid_on_the_trip_in_which_they_were():
    items = [
        haul("A", T0, T0 + 2 * HOUR_MS), haul("B", T0 + 5 * HOUR_MS),
        seen(T0 + HOUR_MS, 0.5), seen(T0 + 3 * HOUR_MS, 0.4), seen(T0 + 6 * HOUR_MS, 0.25),
    ]  # fmt: skip
    a, b = computed(way, "P1", items, T0 + 6 * HOUR_MS)
    assert (a.key, a.fields["lane"], a.fields["at_ms"]) == ("A", "mine|plant-yard", [T0 + HOUR_MS])
    assert a.fields["share"] == [pytest.approx(0.5, abs=1e-3)]
    assert (b.fields["at_ms"], b.fields["arrived"]) == ([T0 + 6 * HOUR_MS], None)
    assert a.settles_ms == T0 + 2 * HOUR_MS + 900_000


def test_an_open_trip_that_another_follows_is_not_under_way():
    rows = computed(way, "P1", [haul("A", T0), haul("B", T0 + 5 * HOUR_MS)], T0 + 6 * HOUR_MS)
    assert [r.key for r in rows] == ["B"]
    assert not computed(way, "P1", [haul("A", T0, origin="nowhere")], T0 + HOUR_MS)


def test_an_open_trip_has_an_arrival_with_quantiles():
    begin = T0 + 40 * HOUR_MS
    now = begin + HOUR_MS
    (row,) = computed(eta, "mine|plant-yard", [*ways(30), open_way(begin, [now - 60_000], [0.5])], now)
    f = row.fields
    assert (row.measurement, row.key, row.start_ms, row.unit) == ("eta", "X", begin, "u1")
    assert now < f["eta_p10"] <= f["eta"] <= f["eta_p90"]
    assert f["eta"] == pytest.approx(now + HOUR_MS, abs=0.15 * HOUR_MS)
    assert f["trips"] == 30
    assert 0.0 < f["late_p"] < 0.6
    assert row.again_ms == now + EVERY_MS
    assert row.settles_ms > now


def test_who_is_slow_is_more_likely_late():
    begin = T0 + 40 * HOUR_MS
    quick, slow = (
        computed(
            eta,
            "mine|plant-yard",
            [*ways(30), open_way(begin, [begin + m * 60_000], [0.5])],
            begin + m * 60_000,
        )[0]
        for m in (50, 110)
    )
    assert slow.fields["late_p"] > quick.fields["late_p"]


def test_without_a_position_time_alone_says_and_without_trips_nothing_does():
    begin = T0 + 40 * HOUR_MS
    (row,) = computed(eta, "mine|plant-yard", [*ways(30), open_way(begin)], begin + HOUR_MS)
    assert row.fields["eta"] == pytest.approx(begin + 2 * HOUR_MS, abs=0.2 * HOUR_MS)
    (row,) = computed(eta, "mine|plant-yard", [*ways(3), open_way(begin)], begin + HOUR_MS)
    assert row.fields["eta"] is None
    assert np.isnan(row.fields["late_p"])


def test_a_silent_truck_has_not_arrived_in_the_past():
    begin = T0 + 40 * HOUR_MS
    now = begin + 5 * HOUR_MS
    (row,) = computed(eta, "mine|plant-yard", [*ways(30), open_way(begin, [begin + HOUR_MS], [0.5])], now)
    assert row.fields["eta_p10"] == row.fields["eta_p90"] == now


def test_a_lane_whose_trips_have_all_arrived_has_no_rows():
    assert not computed(eta, "mine|plant-yard", ways(10), T0 + 100 * HOUR_MS)
