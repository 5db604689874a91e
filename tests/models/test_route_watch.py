"""Corridors learnt from past trips, and trucks that leave them."""

import math
from dataclasses import fields

import numpy as np
import pytest

from models.corridor import LEAST_TRIPS, Corridor, along, given, learnt
from models.position_filter import EARTH_M
from models.route_watch import LANE_PATHS, LEARN_SHARE, OFF_M, SETTLED, RouteWatch

M = math.degrees(1.0 / EARTH_M)
USUAL = LEAST_TRIPS + SETTLED
EAST = M / math.cos(math.radians(38.0))


def way(seed=0, noise_m=20.0, off_m=0.0, between=(0.4, 0.6), n=60):
    """A winding way of 30 km to the north, off it by so much to the east in the middle: metres north and east."""
    rng = np.random.default_rng(seed)
    share = np.linspace(0.0, 1.0, n) if seed is None else np.sort(np.append(rng.random(n - 2), [0.0, 1.0]))
    north = 30_000 * share
    east = 3_000 * np.sin(2 * np.pi * share) + noise_m * rng.standard_normal(n)
    aside = (share > between[0]) & (share < between[1])
    return north, east + off_m * aside


def path(**more):
    north, east = way(**more)
    return 38.0 + north * M, 112.0 + east * EAST


def trip(t0, to="b", **more):
    """Points of a trip from a to b, or to c in the east, at both ends inside."""
    north, east = way(**more)
    if to == "c":
        north, east = east, north
    lat, lon = 38.0 + north * M, 112.0 + east * EAST
    t = t0 + 60_000 * np.arange(len(lat))
    places = ["a", *[""] * (len(lat) - 2), to]
    return list(zip(t.tolist(), lat.tolist(), lon.tolist(), places, strict=True))


def test_a_corridor_lies_on_the_way_and_one_that_strayed_does_not_move_it():
    paths = [path(seed=s) for s in range(8)]
    corridor = learnt([*paths, path(seed=9, off_m=4_000.0)])
    assert corridor is not None
    assert corridor.trips == 9
    assert corridor.length_m == pytest.approx(31_500, rel=0.05)
    true = path(seed=10, noise_m=0.0, n=300)
    _, off, over = along(corridor, *true)
    assert off.max() < 200.0
    assert over.max() < 1.0
    _, off, over = along(corridor, *path(seed=11, off_m=4_000.0, n=300))
    assert off.max() == pytest.approx(4_000.0, rel=0.15)
    assert over.max() > 1.0


def test_too_few_trips_make_no_corridor():
    assert learnt([path(seed=s) for s in range(LEAST_TRIPS - 1)]) is None


def test_how_far_along_a_given_line():
    line = given(np.array([38.0, 38.0 + 10_000 * M]), np.array([112.0, 112.0]), 200.0)
    at, off, over = along(line, np.array([38.0 + 2_500 * M, np.nan]), np.array([112.0 + 100 * EAST, 112.0]))
    assert at[0] == pytest.approx(2_500, rel=1e-3)
    assert off[0] == pytest.approx(100, rel=1e-2)
    assert over[0] == pytest.approx(0.5, rel=1e-2)
    assert np.isnan([at[1], off[1], over[1]]).all()


@pytest.mark.parametrize("seed", range(4))
def test_neighbours_give_what_all_legs_would_to_the_bit(seed, monkeypatch):
    # Ways that turn back on themselves, stand still and stray far: nearest pieces tie and lie far along.
    rng = np.random.default_rng(seed)
    north, east = (np.cumsum(rng.normal(0.0, 900.0, (2, 150)), axis=1).T[::, k] for k in (0, 1))
    paths = [
        (38.0 + (north + rng.normal(0, 20, 150)) * M, 112.0 + (east + rng.normal(0, 20, 150)) * EAST)
        for _ in range(6)
    ]
    paths.append((np.repeat(paths[0][0], 3), np.repeat(paths[0][1], 3)))
    points = 38.0 + rng.normal(0, 30_000, 400) * M, 112.0 + rng.normal(0, 30_000, 400) * EAST
    found = []
    for worth in (0, 10**12):
        monkeypatch.setattr("models.corridor._WORTH_A_TREE", worth)
        corridor = learnt(paths)
        found.append((*(getattr(corridor, f.name) for f in fields(corridor)), *along(corridor, *points)))
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))


def test_of_pieces_as_near_as_each_other_the_first_counts(monkeypatch):
    """On a way back along the way there each turn of the road begins two pieces."""
    there = path(n=80)
    lat, lon = (np.concatenate([part, part[-2::-1]]) for part in there)
    line = Corridor(lat, lon, np.arange(len(lat)) * 100.0, np.full(len(lat), 200.0), 0)
    found = []
    for worth in (0, 10**12):
        monkeypatch.setattr("models.corridor._WORTH_A_TREE", worth)
        found.append(along(line, lat, lon))
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))
    at, off, _ = found[0]
    assert off.max() < 1e-6
    assert at.max() <= line.at_m[len(there[0]) - 1]


def test_a_lane_is_learnt_anew_when_a_third_of_its_paths_is_new():
    watch, before, learnt_at = RouteWatch(), None, []
    for k in range(1, LANE_PATHS + 2 * LANE_PATHS // LEARN_SHARE):
        watch, _, _ = watch.after({f"t{k}": trip(10_000_000 * k, seed=k)})
        if (corridor := watch.corridors.get(("a", "b"))) is not before:
            learnt_at.append(k)
        before = corridor
    assert learnt_at == [5, 6, 8, 10, 13, 17, 22]
    assert before.trips == LANE_PATHS
    assert watch.fresh == {("a", "b"): 2}


def watched(trips, *, piece=7):
    """Every trip by a truck of its own, in pieces; what was told."""
    watch, told, over = RouteWatch(), [], []
    for name, points in trips:
        for low in range(0, len(points), piece):
            watch, off, ended = watch.after({name: points[low : low + piece]})
            told += [(name, d) for d in off.values()]
            over += [(name, d) for d in ended.values()]
    return watch, told, over


def test_a_truck_off_the_way_is_told_until_it_is_back():
    usual = [(f"t{k}", trip(10_000_000 * k, seed=k)) for k in range(USUAL)]
    watch, told, over = watched([*usual, ("x", trip(10**9, seed=50, off_m=2_500.0))])
    assert {name for name, _ in told} == {"x"}
    assert [name for name, _ in over] == ["x"]
    deviation = over[0][1]
    assert deviation.driven_m >= OFF_M
    assert deviation.off_m == pytest.approx(2_500.0, rel=0.3)
    assert 38.0 + 11_000 * M < deviation.lat_deg < 38.0 + 19_000 * M
    taught, _, _ = watched(usual)
    assert np.array_equal(watch.paths["a", "b"][-1][0], taught.paths["a", "b"][-1][0])  # it teaches nothing


def test_a_short_cut_aside_and_a_jump_are_no_deviation():
    usual = [(f"t{k}", trip(10_000_000 * k, seed=k)) for k in range(USUAL)]
    points = trip(10**9, seed=60, n=200)
    t, lat, lon, place = points[100]
    points[100] = (t, lat, lon + 3_000 * EAST, place)
    _, told, over = watched([*usual, ("x", points)])
    assert not told
    assert not over


def test_a_new_destination_is_told_once_and_then_learnt():
    usual = [(f"t{k}", trip(10_000_000 * k, seed=k)) for k in range(USUAL)]
    new = [(f"n{k}", trip(10**9 + 10_000_000 * k, "c", seed=100 + k)) for k in range(LEAST_TRIPS + SETTLED)]
    watch, told, over = watched([*usual, *new])
    assert {name for name, _ in told} | {name for name, _ in over} == {"n0"}
    assert watch.corridors["a", "c"].trips >= 2 * LEAST_TRIPS
    stray = ("x", trip(2 * 10**9, "c", seed=50, off_m=2_500.0))
    _, told, _ = watched([*usual, *new, stray])
    assert {name for name, _ in told} == {"n0", "x"}


def test_before_all_ways_of_a_place_are_known_nobody_deviates():
    """The trips of a long lane are under way while a short one is learnt from the same place."""
    watch = RouteWatch()
    long = {f"n{k}": trip(0, "c", seed=100 + k) for k in range(LEAST_TRIPS)}
    for k in range(LEAST_TRIPS + SETTLED - 1):
        watch, off, ended = watch.after({f"t{k}": trip(10_000_000 * k, seed=k)})
        part = {name: points[3 * k : 3 * k + 3] for name, points in long.items()}
        watch, off, ended = watch.after(part)
        assert not off
        assert not ended


def test_from_a_place_without_a_known_way_nobody_deviates():
    _, told, over = watched([("x", trip(0, seed=1, off_m=5_000.0)), ("y", trip(0, seed=2))])
    assert not told
    assert not over
