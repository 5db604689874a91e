"""Places on a straight road: when a truck is said to cross their circles."""

import math

import numpy as np
import pytest

from models.places import EDGE_M, crossings, place_at
from models.position_filter import EARTH_M, Fixes
from models.site import Place

M = math.degrees(1.0 / EARTH_M)
PLACES = [
    Place("a", None, "mine", "A", 38.0, 112.0, 300.0),
    Place("b", "u", "plant", "B", 38.0 + 20_000 * M, 112.0, 400.0),
]


def northward(metres, t_s=None, trucks=1):
    """Fixes on the road north of place a, so many metres from its middle."""
    metres = np.asarray(metres, float)
    t = np.arange(len(metres)) * 10 if t_s is None else np.asarray(t_s)
    truck = np.repeat(np.arange(trucks), len(metres))
    return Fixes(
        truck, np.tile(1000 * t, trucks), np.tile(38.0 + metres * M, trucks), np.full(len(truck), 112.0)
    )


def told(fixes, **more):
    c = crossings(PLACES, fixes, **more)
    return [
        (int(k), PLACES[p].place, "in" if e else "out", int(t))
        for k, p, e, t in zip(c.truck, c.place, c.enters, c.t_ms, strict=True)
    ]


def test_a_trip_leaves_one_place_and_enters_the_other_between_two_fixes():
    fixes = northward(np.arange(0, 20_001, 150))
    assert told(fixes) == [
        (0, "a", "in", 0),
        (0, "a", "out", 20_000),
        (0, "b", "in", pytest.approx(1_306_667, abs=2)),
    ]
    assert told(northward(np.arange(0, 20_001, 150), trucks=3))[3:6] == [(1, *x[1:]) for x in told(fixes)]


def test_noise_at_the_edge_is_no_coming_and_going():
    fixes = northward([0, 290, 310, 295, 320, 299, 250, 310, 300 + EDGE_M + 20, 500])
    assert [x[2] for x in told(fixes)] == ["in", "out"]
    # It crossed where it was last inside.
    assert told(fixes)[1][3] == pytest.approx(60_000 + 10_000 * 50 / 60, abs=1)
    assert len(told(fixes, edge_m=0.0)) == 6


def test_who_was_never_inside_neither_enters_nor_leaves():
    assert told(northward([2_000, 310, 305, 2_000])) == []


def test_the_nearest_of_overlapping_places_counts():
    two = [PLACES[0], Place("c", None, "yard", "C", 38.0 + 100 * M, 112.0, 500.0)]
    lat = 38.0 + np.array([0.0, 90.0, 550.0, 700.0]) * M
    assert place_at(two, lat, np.full(4, 112.0)).tolist() == [0, 1, 1, -1]
    assert place_at([], lat, np.full(4, 112.0)).tolist() == [-1] * 4


def test_without_places_or_fixes_there_is_nothing():
    assert told(northward([])) == []
    assert len(crossings([], northward([1.0, 2.0])).truck) == 0


def test_each_truck_and_each_place_by_itself_cross_as_all_together_do():
    rng = np.random.default_rng(5)
    trucks, each = 30, 60
    places = [
        Place(
            f"p{k}", None, "mine", "P", 38.0 + rng.uniform(-0.1, 0.1), 112.0 + rng.uniform(-0.1, 0.1), radius
        )
        for k, radius in enumerate(rng.uniform(50.0, 4_000.0, 12))
    ]
    walk = rng.normal(0.0, 0.004, (2, trucks, each)).cumsum(axis=2) + rng.uniform(-0.1, 0.1, (2, trucks, 1))
    lat, lon = 38.0 + walk[0], 112.0 + walk[1]
    t = 10_000 * np.arange(each)
    every = Fixes(np.repeat(np.arange(trucks), each), np.tile(t, trucks), lat.ravel(), lon.ravel())

    def crossed(some, fixes, number):
        c = crossings(some, fixes)
        return {
            (int(k), some[p].place, bool(e), *map(int, ends))
            for k, p, e, *ends in zip(
                number[c.truck], c.place, c.enters, c.t_ms, c.from_ms, c.to_ms, strict=True
            )
        }

    together = crossed(places, every, np.arange(trucks))
    assert len(together) > 50
    alone = [
        crossed([place], Fixes(np.zeros(each, np.int64), t, lat[k], lon[k]), np.array([k]))
        for k in range(trucks)
        for place in places
    ]
    assert together == set().union(*alone)
    at = place_at(places, every.lat_deg, every.lon_deg)
    one = [place_at(places, every.lat_deg[n : n + 1], every.lon_deg[n : n + 1])[0] for n in range(0, 1800, 7)]
    assert at[::7].tolist() == one
