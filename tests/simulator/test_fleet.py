import json
import time
from itertools import pairwise

import pyarrow.parquet as pq
import pytest

from models import wire
from models.measurements import CLASSES
from models.site_files import parse_site
from simulator.bulk import bulk_parquet
from simulator.fleet import SimulatedUnit
from simulator.haulage import Haulage
from simulator.telemetry import messages, write
from simulator.unit import demo_plan, demo_site

START = 1_768_000_000_000


def test_same_seed_same_bytes(tmp_path):
    for name in ("a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet"):
        first, second, other = tmp_path / name, tmp_path / f"again-{name}", tmp_path / f"other-{name}"
        for path, seed in ((first, 1), (second, 1), (other, 2)):
            assert write(path, messages(seed, START, 0.1, substations=2, trucks=1)) > 100
        assert first.read_bytes() == second.read_bytes()
        assert first.read_bytes() != other.read_bytes()
    assert demo_site(3) == demo_site(3)


def test_unknown_file_ending_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"expected a name ending in .*got 'a\.csv'"):
        write(tmp_path / "a.csv", [])


def test_messages_are_valid_ordered_and_leave_nothing_unaccounted():
    site = demo_plan(2, 6, 3, START)
    known = {name: set(CLASSES[device.device_class]) for name, device in site.devices.items()}
    seen: dict[str, set[int]] = {name: set() for name in site.devices}
    next_seq, born, received = {}, set(), 0
    duplicates = 0
    for row in messages(2, START, 1.0, substations=6, trucks=3, duplicate_share=0.05, late_share=0.1):
        assert row["received_ms"] >= received
        received = row["received_ms"]
        topic = wire.parse_topic(row["topic"])
        payload = wire.PAYLOADS[topic.kind].model_validate_json(json.dumps(row["payload"]))
        if topic.kind == wire.TELEMETRY:
            assert topic.device in born
            duplicates += payload.seq in seen[topic.device]
            seen[topic.device].add(payload.seq)
            assert row["payload"]["samples"][0]["t"] <= received
            assert set(row["payload"]["samples"][0]) - {"t"} <= known[topic.device]
        elif topic.kind == wire.BIRTH:
            born.add(topic.device)
        elif topic.kind == wire.STATE:
            assert topic.device in born
            next_seq[topic.device] = payload.next_seq
    assert born == set(site.devices)
    assert duplicates > 50
    for name, numbers in seen.items():
        assert numbers == set(range(1, next_seq[name]))


def test_counters_never_fall_and_grow_with_the_power():
    energy, integral, last = {}, {}, {}
    for row in messages(4, START, 1.0, substations=5, trucks=0):
        device = row["topic"].split("/")[4]
        if not row["topic"].endswith("telemetry"):
            continue
        sample = row["payload"]["samples"][0]
        if device in last:
            assert sample["energy_gj"] >= last[device]["energy_gj"]
            assert sample["volume_m3"] >= last[device]["volume_m3"]
            integral[device] = integral.get(device, 0.0) + sample["heat_kw"] * 10.0 * 1e-6
            energy[device] = energy.get(device, 0.0) + sample["energy_gj"] - last[device]["energy_gj"]
        last[device] = sample
    for device, gj in energy.items():
        assert gj == pytest.approx(integral[device], abs=0.003, rel=1e-3)


def test_fleet_gives_each_reading_once_on_the_grid_whatever_the_order_of_reading():
    slow = SimulatedUnit(3, START, substations=4, trucks=2)
    fast = SimulatedUnit(3, START, substations=4, trucks=2)
    names = [d.id for d in slow.devices()]
    one = dict(zip(names, slow.drivers(), strict=True))
    two = dict(zip(reversed(names), reversed(fast.drivers()), strict=True))
    step_by_step = {name: [] for name in names}
    for now in range(START + 3_000, START + 900_001, 7_000):
        for name in names:
            step_by_step[name] += one[name].read(now)
    at_once = {name: list(two[name].read(START + 900_000)) for name in reversed(names)}
    step_by_step = {n: v + list(one[n].read(START + 900_000)) for n, v in step_by_step.items()}
    assert at_once == step_by_step
    assert [r.t_ms for r in at_once["sub-01"]] == list(range(START + 10_000, START + 900_001, 10_000))
    assert all(not driver.exhausted for driver in one.values())


def test_a_unit_at_60_times_real_time_costs_under_a_tenth_of_a_core():
    unit = SimulatedUnit(1, START)
    drivers = unit.drivers()
    assert len(drivers) == 38
    begin = time.process_time()
    for now in range(START + 60_000, START + 3_600_001, 60_000):  # a minute each second, for a minute
        for driver in drivers:
            driver.read(now)
    assert time.process_time() - begin < 6.0


def test_every_delivery_is_weighed_four_times_and_no_bridge_holds_two_trucks():
    site = demo_plan(5, 2, 5, START)
    haulage = Haulage(site, 5, START)
    taken = haulage.taken(START, START + 24 * 3_600_000)
    assert len(taken) > 100
    for bridge in ("bridge-mine", "bridge-plant"):
        times = [w.t_ms for w in taken if w.bridge == bridge]
        assert min(b - a for a, b in pairwise(times)) >= 90_000 - 1
    steps: dict[str, dict[str, float]] = {}
    for weighing in taken:
        steps.setdefault(weighing.values["ticket"], {})[weighing.values["step"]] = weighing.values["mass_kg"]
    whole = [s for s in steps.values() if len(s) == 2]
    assert len(whole) > 40
    assert all(28_000 < s["gross"] - s["tare"] < 33_500 for s in whole)


def test_trucks_drive_along_the_lane_between_the_places():
    site = demo_plan(5, 2, 3, START)
    haulage = Haulage(site, 5, START)
    low, high = sorted(p.lat_deg for p in site.places.values())
    seen = []
    for t_ms in range(START, START + 6 * 3_600_000, 60_000):
        for fix in haulage.positions(t_ms).values():
            seen.append(fix["lat_deg"])
            assert low - 0.05 < fix["lat_deg"] < high + 0.05
            assert 0.0 <= fix["speed_m_s"] < 30.0
    assert min(seen) < low + 0.001
    assert max(seen) > high - 0.001


def test_bulk_messages_are_valid_and_count_up(tmp_path):
    folder = bulk_parquet(tmp_path / "bulk.parquet", 40, 1_010, 10.0, 1)
    rows = pq.read_table(tmp_path / "bulk.parquet").to_pylist()
    assert len(rows) == 1_010
    assert [r["received_ms"] for r in rows] == sorted(r["received_ms"] for r in rows)
    last = {}
    for row in rows:
        payload = wire.Telemetry.model_validate_json(row["payload"])
        topic = wire.parse_topic(row["topic"])
        sample = json.loads(row["payload"])["samples"][0]
        assert set(sample) - {"t"} == set(CLASSES["substation"])
        if topic.device in last:
            before = last[topic.device]
            assert payload.seq == before[0] + 1
            assert sample["energy_gj"] >= before[1]
        last[topic.device] = payload.seq, sample["energy_gj"]
    assert len(last) == 40
    assert {p.name for p in folder.iterdir()} >= {"site.toml", "devices.csv", "pipes.csv"}


def test_the_made_up_site_is_a_sound_registry_and_says_that_it_is_simulated():
    written = demo_site(3)
    site, faults = parse_site(written)
    assert faults == ()
    plan = demo_plan(3)
    assert site.devices == plan.devices
    assert site.pipes == plan.pipes
    assert site.contracts == plan.contracts
    assert site.vehicles == plan.vehicles
    for thing in (
        *site.devices.values(),
        *site.units.values(),
        *site.networks.values(),
        *site.places.values(),
    ):
        assert "仿真" in thing.name
    assert len(parse_site(demo_site(3, substations=1, trucks=0))[0].devices) == 2
