import numpy as np
import pytest

from models.site import Place
from simulator.logistics.boxes import FAULTS, Boxes
from simulator.logistics.chance import normals, uniforms
from simulator.logistics.kinds import Wrong
from simulator.logistics.plan import Gps, LaneTerms
from simulator.logistics.roads import Road
from simulator.logistics.tracks import Spot, Tracks

START = 1_768_000_000_000
MINE = Place("mine", None, "mine", "", 46.2, 126.9, 600.0)
PLANT = Place("plant", "u", "plant", "", 45.8, 126.6, 400.0)


def fleet(count=40, hours=30.0, **gps):
    """Trucks that stand for two hours, drive the road in one, and so on."""
    road = Road(1, 0, MINE, PLANT, LaneTerms())
    begin = START / 1000.0
    tracks = Tracks([road], begin - 10_000.0)
    for n in range(count):
        tracks.add(begin - 5_000.0, Spot(0, 0.0))
        now, end = begin - 60.0 * n, 0.0
        while now < begin + hours * 3600.0:
            tracks.go(n, now + 7_200.0, Spot(0, end), 1_000.0)
            end = road.length_m - end
            tracks.go(n, now + 10_800.0, Spot(0, end), 31_000.0)
            now += 10_800.0
    devices = [f"truck-{n}" for n in range(count)]
    return road, Boxes(1, Gps(**gps), tracks, devices, ()), tracks


def test_fixes_are_the_same_whatever_pieces_they_are_asked_in():
    _, boxes, _ = fleet(
        interval_s=30.0, parked_interval_s=300.0, stale_share=0.5, outage_share=0.05, zero_share=0.01
    )
    whole = boxes.between(START, START + 6 * 3_600_000)
    pieces = [boxes.between(START + k * 7_000_00, START + (k + 1) * 7_000_00) for k in range(31)]
    for name in ("truck", "taken_ms", "t_ms", "sent_ms", "lat_deg", "lon_deg", "speed_m_s", "fault"):
        joined = np.concatenate([getattr(p, name) for p in pieces])
        order = np.lexsort(
            (np.concatenate([p.taken_ms for p in pieces]), np.concatenate([p.truck for p in pieces]))
        )
        keep = np.concatenate([p.taken_ms for p in pieces])[order] <= START + 6 * 3_600_000
        assert (joined[order][keep] == getattr(whole, name)).all(), name


def test_noise_is_as_large_as_said_and_fixes_lie_on_the_road():
    road, boxes, tracks = fleet(interval_s=60.0, parked_interval_s=60.0, outage_share=0.0, noise_m=5.0)
    fixes = boxes.between(START, START + 12 * 3_600_000)
    where = tracks.where(fixes.truck, fixes.taken_ms / 1000.0)
    north = np.radians(fixes.lat_deg - where.lat_deg) * 6_371_000
    east = np.radians(fixes.lon_deg - where.lon_deg) * 6_371_000 * np.cos(np.radians(where.lat_deg))
    assert north.std() == pytest.approx(5.0, rel=0.05)
    assert east.std() == pytest.approx(5.0, rel=0.05)
    assert abs(np.corrcoef(north, east)[0, 1]) < 0.05
    middle = where.moving
    assert fixes.speed_m_s[middle].mean() == pytest.approx(road.length_m / 3600.0, rel=0.01)
    assert (fixes.speed_m_s[~middle] == 0.0).all()
    for lat, lon in list(zip(where.lat_deg[middle], where.lon_deg[middle], strict=True))[:200]:
        away = np.hypot(road.lat - lat, (road.lon - lon) * np.cos(np.radians(lat))) * 111_195
        assert away.min() < 800.0  # a point of the road each 1.2 km


def test_a_standing_truck_sends_seldom_and_a_stale_box_its_first_fix_again():
    _, boxes, _ = fleet(
        interval_s=30.0, parked_interval_s=300.0, stale_share=1.0, stale_years_share=0.2, outage_share=0.0
    )
    fixes = boxes.between(START, START + 20 * 3_600_000)
    stale, years = (fixes.fault == FAULTS.index(name) for name in ("stale", "stale_years"))
    assert stale.any()
    assert years.any()
    first = {}
    for truck, t, lat, lon, load in zip(
        *(
            c[fixes.fault == 0].tolist()
            for c in (fixes.truck, fixes.t_ms, fixes.lat_deg, fixes.lon_deg, fixes.load_kg)
        ),
        strict=True,
    ):
        first[truck, t] = lat, lon, load
    checked = 0
    for truck, t, taken, lat, lon, load in zip(
        *(
            c[stale].tolist()
            for c in (fixes.truck, fixes.t_ms, fixes.taken_ms, fixes.lat_deg, fixes.lon_deg, fixes.load_kg)
        ),
        strict=True,
    ):
        assert t < taken
        if (truck, t) in first:
            checked += 1
            assert first[truck, t] == (lat, lon, load)
    assert checked > 0.8 * stale.sum()
    assert (fixes.taken_ms[years] - fixes.t_ms[years] > 300 * 86_400_000).all()
    gaps = np.diff(fixes.taken_ms)[
        (np.diff(fixes.truck) == 0) & (fixes.speed_m_s[1:] == 0) & (fixes.speed_m_s[:-1] == 0)
    ]
    assert np.median(gaps) == 300_000


def test_zeros_jumps_and_outages_come_at_their_share_and_are_marked():
    _, boxes, tracks = fleet(
        interval_s=30.0,
        parked_interval_s=30.0,
        zero_share=0.01,
        jump_share=0.005,
        outage_share=0.1,
        backfill_share=0.5,
    )
    fixes = boxes.between(START, START + 24 * 3_600_000)
    zero, jump = (fixes.fault == FAULTS.index(name) for name in ("zero", "jump"))
    assert zero.mean() == pytest.approx(0.01, abs=0.002)
    assert jump.mean() == pytest.approx(0.005, abs=0.0015)
    assert (fixes.lat_deg[zero] == 0.0).all()
    where = tracks.where(fixes.truck, fixes.taken_ms / 1000.0)
    assert (np.abs(fixes.lat_deg - where.lat_deg)[jump] > 4.0).all()
    assert (np.abs(fixes.lat_deg - where.lat_deg)[fixes.fault == 0] < 0.001).all()
    late = fixes.sent_ms > fixes.taken_ms
    assert late.mean() == pytest.approx(0.05, abs=0.02)
    assert len(fixes.truck) / (40 * 24 * 120) == pytest.approx(0.95, abs=0.02)
    outages = boxes.outages(START, START + 24 * 3_600_000)
    assert len(outages) == pytest.approx(0.1 * 40 * 48, rel=0.25)
    for device, begin, until, filled in outages[:50]:
        truck = int(device.split("-")[1])
        inside = (fixes.truck == truck) & (fixes.taken_ms >= begin) & (fixes.taken_ms < until)
        assert inside.any() == filled
        assert (fixes.sent_ms[inside] >= until).all()


def test_an_offline_truck_is_silent_in_its_time():
    _, sound, tracks = fleet(count=2, outage_share=0.0)
    out = Wrong("offline", "truck-1", 1.0, START + 3_600_000, START + 7_200_000, START)
    boxes = Boxes(1, Gps(outage_share=0.0), tracks, ["truck-0", "truck-1"], (out,))
    before, after = sound.between(START, START + 9_000_000), boxes.between(START, START + 9_000_000)
    missing = set(zip(before.truck.tolist(), before.taken_ms.tolist(), strict=True)) - set(
        zip(after.truck.tolist(), after.taken_ms.tolist(), strict=True)
    )
    assert len(missing) == 360
    assert all(truck == 1 and START + 3_600_000 <= t < START + 7_200_000 for truck, t in missing)


def test_a_truck_without_a_box_says_nothing():
    _, _, tracks = fleet(count=2)
    boxes = Boxes(1, Gps(outage_share=0.0), tracks, [None, "truck-1"], ())
    assert set(boxes.between(START, START + 600_000).truck.tolist()) == {1}


def test_given_points_are_the_road():
    points = ((46.1, 126.95), (45.9, 126.5))
    road = Road(1, 0, MINE, PLANT, LaneTerms(points))
    assert road.lat.tolist() == [46.2, 46.1, 45.9, 45.8]
    assert road.lon.tolist() == [126.9, 126.95, 126.5, 126.6]
    assert 0.0 < road.leaves_m < 800.0
    assert road.length_m - 600.0 < road.enters_m < road.length_m


def test_chance_is_even_normal_and_asked_by_name():
    draws = uniforms(1, 2, np.arange(200_000))
    assert draws.min() >= 0.0
    assert draws.max() < 1.0
    assert np.histogram(draws, 10)[0] == pytest.approx(20_000, rel=0.03)
    one, two = normals(1, 2, np.arange(200_000))
    assert (one.mean(), one.std(), two.std()) == pytest.approx((0.0, 1.0, 1.0), abs=0.01)
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.01
    assert (uniforms(1, 3, np.arange(100)) != draws[:100]).all()
    assert (uniforms(2, 2, np.arange(100)) != draws[:100]).all()
    assert (uniforms(1, 2, np.arange(50, 100)) == draws[50:100]).all()
