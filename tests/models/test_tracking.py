"""Following trucks: what is believed, what it is said to have done, whatever way the fixes are cut."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks import track_data
from models.motion import Motion, runs_of, steps
from models.position_filter import EARTH_M, Fault, FilterState, Fixes, believed, follow, in_order
from models.standing import Standing, states
from models.tracking import Tracking

T0 = 1_768_000_000_000
LAT, LON = 38.0, 112.0
M = math.degrees(1.0 / EARTH_M)


def drive(seed=1, interval_s=10, trucks=1, legs=((600, 15.0), (600, 0.0), (600, 15.0), (1800, 0.0))):
    """Trucks that drive north and stand in turn, with 4 m of noise: fixes, and from when until when each stands."""
    rng = np.random.default_rng(seed)
    ends = np.cumsum([0, *(s for s, _ in legs)])
    speed = np.array([v for _, v in legs])
    t = np.arange(0, ends[-1], interval_s)
    along = np.interp(t, ends, np.concatenate([[0.0], np.cumsum(speed * np.diff(ends))]))
    truck = np.repeat(np.arange(trucks), len(t))
    noise = 4.0 * rng.standard_normal((2, len(truck)))
    lat = LAT + (np.tile(along, trucks) + noise[0]) * M
    lon = LON + 0.1 * truck + noise[1] * M / math.cos(math.radians(LAT))
    stands = [
        (T0 + 1000 * int(a), T0 + 1000 * int(b))
        for a, b, v in zip(ends, ends[1:], speed, strict=False)
        if v == 0
    ]
    return Fixes(truck, T0 + 1000 * np.tile(t, trucks), lat, lon), stands


def states_of(fixes):
    return track_data.states_of(fixes).get(0, [])


def with_fix(fixes, t_ms, lat, lon):
    n = len(np.atleast_1d(t_ms))
    return in_order(
        np.append(fixes.truck, np.zeros(n, np.int64)), np.append(fixes.t_ms, t_ms),
        np.append(fixes.lat_deg, lat), np.append(fixes.lon_deg, lon),
    )  # fmt: skip


@pytest.mark.parametrize("interval_s", [5, 10, 30, 60])
def test_stands_begin_and_end_where_they_do(interval_s):
    fixes, stands = drive(interval_s=interval_s)
    found = [r for r in states_of(fixes) if r.motion is Motion.STOPPED]
    assert len(found) == len(stands)
    for run, (begin, end) in zip(found, stands, strict=True):
        assert abs(run.from_ms - begin) <= 1000 * max(20, interval_s)
        assert abs(run.to_ms - end) <= 1000 * max(20, interval_s)  # the last is in progress at the end
    assert found[-1].to_ms == fixes.t_ms[-1]


def test_a_drive_is_as_long_as_it_is():
    fixes, _ = drive(interval_s=10)
    driven = sum(r.metres for r in states_of(fixes) if r.motion is Motion.DRIVING)
    assert driven == pytest.approx(2 * 600 * 15.0, rel=0.02)


@pytest.mark.parametrize(
    ("lat", "lon", "fault"),
    [(math.nan, LON, Fault.ABSENT), (95.0, LON, Fault.RANGE), (0.0, 0.0, Fault.ZERO), (LAT + 4.5, LON, Fault.JUMP)],
    ids=["nan", "latitude 95", "zero", "500 km"],
)  # fmt: skip
@pytest.mark.parametrize("at_s", [0, 455, 3_305])
def test_a_bad_fix_makes_no_movement_and_no_stop(lat, lon, fault, at_s):
    fixes, _ = drive()
    bad = with_fix(fixes, T0 + 1000 * at_s + 500, lat, lon)
    _, _, faults = believed(bad)
    assert faults.tolist().count(fault) == 1
    assert (faults != Fault.NONE).sum() == 1
    good, said = states_of(fixes), states_of(bad)
    assert [(r.motion, r.from_ms, r.to_ms) for r in said] == [(r.motion, r.from_ms, r.to_ms) for r in good]
    assert [r.metres for r in said] == pytest.approx([r.metres for r in good], abs=30.0)


def test_a_first_fix_that_is_wrong_is_left_behind():
    fixes, _ = drive()
    said = states_of(with_fix(fixes, T0 - 10_000, LAT + 4.5, LON))
    assert sum(r.metres for r in said) < 19_000
    assert all(r.from_ms > T0 for r in said)


def test_a_truck_that_really_is_elsewhere_is_believed_there_after_three_fixes():
    fixes, _ = drive(legs=((600, 0.0),))
    t = fixes.t_ms[-1] + 10_000 * np.arange(1, 60)
    moved = with_fix(fixes, t, np.full(59, LAT + 4.5), np.full(59, LON))
    kept, broken, fault = believed(moved)
    assert (fault == Fault.JUMP).sum() == 2
    assert kept.lat_deg[-1] == pytest.approx(LAT + 4.5, abs=1e-4)
    assert broken.sum() == 1
    assert sum(r.metres for r in states_of(moved)) == 0.0


def test_stale_repeats_change_nothing_however_often_and_late():
    fixes, _ = drive()
    rng = np.random.default_rng(5)
    again = rng.integers(0, len(fixes.t_ms), 2_000)
    repeated = in_order(
        *(np.append(c, c[again]) for c in (fixes.truck, fixes.t_ms, fixes.lat_deg, fixes.lon_deg))
    )
    assert states_of(repeated) == states_of(fixes)


def test_a_fix_that_is_years_old_makes_neither_movement_nor_stop():
    fixes, _ = drive()
    said = states_of(with_fix(fixes, T0 - 2 * 365 * 86_400_000, LAT - 0.03, LON + 0.05))
    assert said[0].motion is Motion.OFFLINE
    assert [(r.motion, r.from_ms, r.to_ms) for r in said[1:]] == [
        (r.motion, r.from_ms, r.to_ms) for r in states_of(fixes)
    ]


def test_a_short_gap_is_bridged_a_long_one_is_out_of_reach():
    fixes, stands = drive(legs=((3000, 15.0), (9000, 0.0)))
    kept = ~((fixes.t_ms > T0 + 600_000) & (fixes.t_ms < T0 + 1_500_000))  # on the move, a quarter of an hour
    kept &= ~((fixes.t_ms > T0 + 4_000_000) & (fixes.t_ms < T0 + 6_500_000))  # at a stand, 40 minutes
    said = states_of(Fixes(*(c[kept] for c in (fixes.truck, fixes.t_ms, fixes.lat_deg, fixes.lon_deg))))
    assert [r.motion for r in said] == [Motion.DRIVING, Motion.OFFLINE, Motion.DRIVING, Motion.STOPPED]
    assert said[1].from_ms == T0 + 600_000
    assert said[1].to_ms == T0 + 1_500_000
    assert abs(said[3].from_ms - stands[0][0]) <= 20_000


@pytest.mark.parametrize("seed", range(8))
def test_cutting_the_fixes_up_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    legs = [(int(rng.integers(10, 900)), float(rng.choice([0.0, 0.0, 3.0, 15.0]))) for _ in range(14)]
    fixes, _ = drive(seed, int(rng.choice([5, 10, 60])), trucks=3, legs=legs)
    kept = rng.random(len(fixes.t_ms)) > 0.1
    kept &= ~((fixes.t_ms > T0 + 900_000) & (fixes.t_ms < T0 + 900_000 + int(rng.integers(0, 2_000_000))))
    lat = np.where(rng.random(len(kept)) < 0.01, 0.0, fixes.lat_deg)
    lat = np.where(rng.random(len(kept)) < 0.01, lat + 4.5, lat)
    fixes = Fixes(fixes.truck[kept], fixes.t_ms[kept], lat[kept], fixes.lon_deg[kept])
    whole = track_data.states_of(fixes)
    cuts = np.sort(rng.integers(T0, int(fixes.t_ms.max()) + 1, 9))
    part = np.searchsorted(cuts, fixes.t_ms, side="right")
    tracking, ended = Tracking(), {}
    for n in range(len(cuts) + 1):
        mine = part == n
        piece = Fixes(fixes.truck[mine], fixes.t_ms[mine], fixes.lat_deg[mine], fixes.lon_deg[mine])
        tracking, over, _ = tracking.after(piece)
        tracking = Tracking.from_bytes(tracking.to_bytes())
        for truck, runs in over.items():
            ended.setdefault(truck, []).extend(runs)
    for truck, rest in tracking.at(int(fixes.t_ms.max())).items():
        ended.setdefault(truck, []).extend(
            r for r in rest if r.to_ms <= fixes.t_ms[fixes.truck == truck].max()
        )
    for truck, runs in whole.items():
        assert [(r.motion, r.from_ms, r.to_ms) for r in ended[truck]] == [
            (r.motion, r.from_ms, r.to_ms) for r in runs
        ], f"seed {seed}"
        assert [r.metres for r in ended[truck]] == pytest.approx([r.metres for r in runs])


def test_silence_is_told_while_it_lasts():
    fixes, _ = drive(legs=((900, 15.0),))
    tracking, _, _ = Tracking().after(fixes)
    last = int(fixes.t_ms[-1])
    (soon,) = tracking.at(last + 500_000).values()
    (later,) = tracking.at(last + 700_000).values()
    assert [r.motion for r in soon] == [Motion.DRIVING]
    assert [(r.motion, r.from_ms, r.to_ms) for r in later][1:] == [(Motion.OFFLINE, last, last + 700_000)]


def test_the_gate_lets_999_of_1000_of_its_own_noise_pass():
    fixes, _ = drive(3, legs=((1_000, 0.0),), trucks=200)
    _, filtered = follow(FilterState.none(), fixes)
    assert (filtered.fault != Fault.NONE).mean() < 0.002


RECORDINGS = os.environ.get("HEARTHLINE_RECORDINGS")
recorded = pytest.mark.skipif(
    RECORDINGS is None, reason="HEARTHLINE_RECORDINGS is not set: see docs/recordings.md"
)


@recorded
def test_every_plain_stop_of_the_heavy_trucks_is_found_and_repeats_change_nothing():
    recording = track_data.trucks_of(Path(RECORDINGS))
    fixes = recording.fixes()
    known = track_data.states_of(fixes)
    again = np.sort(np.append(np.arange(len(recording.truck)), track_data.resent(recording, 20_000)))
    assert track_data.states_of(recording.fixes(again)) == known
    plain = track_data.plain_stops(fixes)
    assert len(plain) > 200
    last = {int(k): int(fixes.t_ms[fixes.truck == k].max()) for k in np.unique(fixes.truck)}
    for who, begin, end in plain:
        assert track_data.stood_s(known[who], begin, end) >= 0.5 * (end - begin) / 1000.0, (who, begin, end)
        if end == last[who]:
            assert known[who][-1].motion is Motion.STOPPED


def test_states_are_of_runs_that_were_cut_anywhere():
    fixes, _ = drive(7)
    kept, broken, _ = believed(fixes)
    _, runs = runs_of(steps(kept, broken))
    standing, ended = Standing(), []
    for run in runs:
        standing, over = standing.after([run])
        ended += over
    assert [*ended, standing.current] == states(runs)
