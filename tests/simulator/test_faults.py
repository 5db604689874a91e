from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from models.site import Pipe
from models.site_files import parse_site
from simulator.kinds import GROWING, KINDS
from simulator.unit import demo_plan
from tests.support.simulated_cases import (
    EXAMPLES,
    example,
    faults_told,
    network_truth,
    samples,
    simulated,
    warm_up_once,
)

__all__ = ["warm_up_once"]  # a fixture
pytestmark = pytest.mark.usefixtures("warm_up_once")

SUB = "sub-02"


def ringed(_name):
    """A site with a ring: two junctions of the tree joined by one pipe more."""
    plan = demo_plan(3, 6, 0, 1_768_003_200_000, interval_s=60.0)
    pipes = dict(plan.pipes)
    pipes["tie"] = Pipe("tie", "sim-net-1", "n-01", "n-03", 500.0, 0.15, 0.3)
    return replace(plan, pipes=pipes)


@pytest.fixture(scope="module")
def sound(tmp_path_factory, warm_up_once):
    return simulated(tmp_path_factory.mktemp("sound") / "run")


def column(out, name, device=SUB):
    said = {s["t"]: s[name] for s in samples(out, device) if name in s}
    return np.array([said[t] for t in sorted(said)])


def test_there_is_an_example_of_every_kind():
    assert set(EXAMPLES) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_mass_and_energy_close_whatever_goes_wrong(tmp_path, kind):
    ramp = {"ramp_h": 0.3} if kind in GROWING else {}
    out = simulated(tmp_path / "tree", example(kind, onset_h=0.5, **ramp), hours=1.2)
    told = faults_told(out)[0]
    assert told["deadline_ms"] >= told["onset_ms"] + KINDS[kind].deadline_h * 3_600_000
    assert told["shows"]
    assert (told["first_ms"] or told["onset_ms"]) >= told["onset_ms"]
    assert told["first_ms"] is not None or told["kind"] == "draw_off"  # it comes in bursts


@pytest.mark.parametrize("kind", [
    "leak", "pump_trip",
    *(pytest.param(k, marks=pytest.mark.soak) for k in ("supply_leak", "flushing", "internal_leak", "air")),
])  # fmt: skip
def test_mass_and_energy_close_in_a_ring_too(tmp_path, kind):
    out = simulated(
        tmp_path / "ring", example(kind, onset_h=0.3), hours=0.8, read_site=ringed, top='site = "ring"'
    )
    assert len(samples(out, SUB)) == 48


def test_a_flushing_is_booked_by_the_office_and_made_up(tmp_path, sound):
    out = simulated(tmp_path / "run", example("flushing", onset_h=0.5, until_h=1.5))
    booked = samples(out, "office-sim-unit-1")
    assert [(b["event"], b["network"], b["volume_m3"]) for b in booked] == [("flush", "sim-net-1", 40.0)]
    assert booked[0]["t"] == faults_told(out)[0]["until_ms"]
    drained = network_truth(out, "flushing_kg")
    assert drained.sum() == pytest.approx(40.0 * 999.1, rel=1e-9)
    assert (drained[30:90] > 0.0).all()
    extra = network_truth(out, "leaked_kg") - network_truth(sound, "leaked_kg")
    assert extra == pytest.approx(drained, abs=1e-6)
    lost = column(out, "makeup_m3", "plant-1") - column(out, "tank_m3", "plant-1")
    assert lost[-1] - lost[0] > 39.0
    site, faults = parse_site({p.name: p.read_text(encoding="utf-8") for p in (out / "site").iterdir()})
    assert faults == ()
    assert site.devices["office-sim-unit-1"].device_class == "office"


def test_a_draw_off_comes_in_short_bursts_in_the_busy_hours(tmp_path):
    # 24 h from 08:00 local: the evening's busy hours are 18 to 22, the morning's 6 to 8.
    out = simulated(tmp_path / "run", example("draw_off", onset_h=0.0), hours=24)
    drawn = network_truth(out, "draw_off_kg") > 0.0
    local_h = (network_truth(out, "t") / 3_600_000.0 + 8.0) % 24.0
    busy = ((local_h > 6.0) & (local_h <= 8.0)) | ((local_h > 18.0) & (local_h <= 22.0))
    assert drawn[busy].sum() > 4 * drawn[~busy].sum() > 0
    edges = np.flatnonzero(np.diff(np.concatenate([[0], drawn.astype(int), [0]])))
    lengths = edges[1::2] - edges[::2]
    assert lengths.min() >= 2
    assert np.median(lengths) <= 9
    assert len(lengths) > 10


def test_a_secondary_leak_is_made_up_and_an_internal_one_is_not(tmp_path, sound):
    rate = {}
    pressure = {}
    for kind, size in (("secondary_leak", 0.1), ("internal_leak", 0.1)):
        out = simulated(tmp_path / kind, example(kind, size=size))
        made = column(out, "secondary_makeup_m3")
        rate[kind] = (made[-1] - made[70]) / (made[55] - made[0]) * 55.0 / 109.0
        pressure[kind] = column(out, "secondary_return_kpa")[-1]
    assert rate["secondary_leak"] > 1.5
    assert rate["internal_leak"] == 0.0
    assert abs(pressure["secondary_leak"] - column(sound, "secondary_return_kpa")[-1]) < 5.0
    assert pressure["internal_leak"] > 400.0
    burst = simulated(tmp_path / "burst", example("secondary_leak", size=5.0))
    assert column(burst, "secondary_return_kpa")[-1] < 100.0


def test_a_pump_trip_befalls_one_substation_or_all_behind_a_pipe(tmp_path, sound):
    one = simulated(tmp_path / "one", example("pump_trip"))
    heat = column(one, "heat_kw")
    assert heat[70] < 0.25 * heat[59]
    lift = column(one, "secondary_supply_kpa") - column(one, "secondary_return_kpa")
    assert lift[59] > 50.0
    assert abs(lift[61]) < 5.0
    branch = simulated(tmp_path / "branch", example("pump_trip", place="pipe-02"))
    tripped = [f"sub-{n:02d}" for n in range(1, 7) if column(branch, "pump_hz", f"sub-{n:02d}")[-1] == 0.0]
    assert 2 <= len(tripped) < 6
    for n in range(1, 7):
        name = f"sub-{n:02d}"
        share = column(branch, "heat_kw", name)[-1] / column(sound, "heat_kw", name)[-1]
        assert (share < 0.3) == (name in tripped)


def test_a_clogged_strainer_opens_the_valve_and_caps_the_flow(tmp_path, sound):
    mild = simulated(tmp_path / "mild", example("clogged_strainer", size=0.55))
    assert column(mild, "valve_pct")[-1] > 1.2 * column(sound, "valve_pct")[-1]
    assert column(mild, "flow_m3_h")[-1] == pytest.approx(column(sound, "flow_m3_h")[-1], rel=0.03)
    bad = simulated(tmp_path / "bad", example("clogged_strainer", size=0.8))
    assert column(bad, "flow_m3_h")[-1] < 0.75 * column(sound, "flow_m3_h")[-1]
    assert column(bad, "valve_pct")[-1] > 99.0


def test_air_scatters_flow_and_pressure_and_lowers_the_secondary(tmp_path, sound):
    out = simulated(tmp_path / "run", example("air"))

    def scatter(run, part):
        flow = column(run, "flow_m3_h")[part]
        dp = (column(run, "supply_kpa") - column(run, "return_kpa"))[part]
        return np.var(np.diff(flow)), np.var(np.diff(dp))

    before, during = slice(0, 60), slice(61, None)
    quiet = scatter(sound, during)
    assert scatter(out, before) == scatter(sound, before)
    assert all(loud > 3.0 * q for loud, q in zip(scatter(out, during), quiet, strict=True))
    assert column(out, "secondary_return_kpa")[-1] < column(sound, "secondary_return_kpa")[-1] - 20.0


def test_an_exchanged_meter_is_away_for_the_work_and_counts_from_nothing(tmp_path):
    out = simulated(tmp_path / "run", example("counter_exchange"))
    said = samples(out, SUB)
    assert sum("energy_gj" not in s for s in said) == 30
    assert all("secondary_supply_c" in s for s in said)
    energy = column(out, "energy_gj")
    assert energy[59] > 1000.0
    assert 0.0 <= energy[60] < 1.0
    assert energy[-1] > energy[60]


def test_a_counter_starts_again_at_its_full_scale_and_loses_nothing(tmp_path, sound):
    out = simulated(tmp_path / "run", example("counter_rollover"))
    energy, whole = column(out, "energy_gj"), column(sound, "energy_gj")
    assert energy[0] > 9_990.0
    assert (np.diff(energy) < 0.0).sum() == 1
    rise = np.where(np.diff(energy) < 0.0, np.diff(energy) + 10_000.0, np.diff(energy))
    assert rise.sum() == pytest.approx(whole[-1] - whole[0], abs=0.002)
    told = faults_told(out)[0]
    assert abs(told["first_ms"] - told["onset_ms"]) < 15 * 60_000
    assert told["deadline_ms"] - told["first_ms"] == 24 * 3_600_000
    devices = (out / "site" / "devices.csv").read_text(encoding="utf-8").splitlines()
    assert sum(",10000," in line for line in devices) == 1


def test_spikes_stand_alone(tmp_path, sound):
    out = simulated(tmp_path / "run", example("counter_spike", onset_h=0.0), hours=3)
    off = column(out, "energy_gj") - column(sound, "energy_gj")
    assert set(np.round(off, 6)) == {0.0, 50.0}
    assert 3 <= (off > 0.0).sum() <= 20


def test_one_channel_may_freeze_alone(tmp_path, sound):
    out = simulated(tmp_path / "run", example("frozen", channel="supply_c"))
    assert len(set(column(out, "supply_c")[60:])) == 1
    assert (column(out, "return_c") == column(sound, "return_c")).all()


def test_broken_sensors_and_calculators_show_in_their_own_values_only(tmp_path, sound):
    out = simulated(tmp_path / "broken", example("sensor_broken"))
    assert (column(out, "supply_c")[60:] == 850.0).all()
    assert (column(out, "flow_m3_h") == column(sound, "flow_m3_h")).all()
    out = simulated(tmp_path / "calculator", example("calculator_bias"))
    assert column(out, "heat_kw")[60:] == pytest.approx(1.15 * column(sound, "heat_kw")[60:], abs=0.2)
    assert (column(out, "supply_c") == column(sound, "supply_c")).all()


def test_drop_outs_leave_gaps_that_no_number_fills(tmp_path):
    out = simulated(tmp_path / "run", example("drop_out", onset_h=0.0))
    said = samples(out, SUB)
    assert 90 < len(said) < 160
    assert sorted(s["seq"] for s in said) == list(range(1, len(said) + 1))


def test_a_device_that_is_off_is_not_filled_in_and_a_broken_line_is(tmp_path):
    off = samples(simulated(tmp_path / "off", example("device_off", until_h=2.0)), SUB)
    assert len(off) == 120
    assert max(b["t"] - a["t"] for a, b in pairwise(off)) == 61 * 60_000
    held = samples(simulated(tmp_path / "held", example("outage", until_h=2.0)), SUB)
    assert len(held) == 180
    assert max(s["received_ms"] - s["t"] for s in held) > 58 * 60_000


def test_what_comes_again_is_the_same_message(tmp_path):
    out = simulated(tmp_path / "run", example("resend", onset_h=0.0))
    said = samples(out, SUB)
    first = {}
    again = 0
    for s in said:
        kept = first.setdefault(s["seq"], s)
        again += kept is not s
        assert {k: v for k, v in kept.items() if k != "received_ms"} == {
            k: v for k, v in s.items() if k != "received_ms"
        }
    assert len(first) == 180
    assert 30 < again < 90


def test_clocks_and_lines_of_a_whole_fleet(tmp_path):
    tables = (
        "[telemetry]\nskew_s = 20\njitter_s = 2\ndrop_share = 0.1\nresend_share = 0.1\n"
        "outages_a_day = 20\noutage_s = 900\n"
    )
    out = simulated(tmp_path / "run", hours=6, tables=tables)
    skews = []
    for device in ("plant-1", *(f"sub-{n:02d}" for n in range(1, 7))):
        said = samples(out, device)
        numbers = {s["seq"] for s in said}
        assert numbers == set(range(1, len(numbers) + 1))
        assert 290 < len(numbers) < 350
        assert len(said) > len(numbers)
        off = [(s["t"] + 30_000) % 60_000 - 30_000 for s in said]
        skews.append(np.mean(off) / 1000.0)
        assert 1.0 < np.std(off) / 1000.0 < 3.0
        assert max(s["received_ms"] - s["t"] for s in said) > 120_000
    assert max(map(abs, skews)) <= 20.5
    assert np.std(skews) > 3.0
