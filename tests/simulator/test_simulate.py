import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from hearthline.cli import UsageError, build
from simulator.case import CaseError, parse
from simulator.simulate import run
from simulator.unit import demo_plan, demo_site

HEAD = """seed = 3
start = 2026-01-10T00:00:00Z
hours = {hours}
interval_s = {interval}
[unit]
substations = 6
trucks = {trucks}
"""


def no_site(name):
    raise AssertionError(name)


def simulated(tmp_path, *faults, hours=3, interval=60, trucks=0, name="run"):
    text = HEAD.format(hours=hours, interval=interval, trucks=trucks)
    for fault in faults:
        text += "[[fault]]\n" + "".join(f"{k} = {v!r}\n" for k, v in fault.items())
    out = tmp_path / name
    done = run(parse("case.toml", text, no_site), out)
    assert done.closure.closes
    assert max(done.closure.energy_error, done.closure.mass_error) < 1e-9
    return out


def column(out, device, name):
    rows = pq.read_table(out / "telemetry.parquet").to_pylist()
    samples = [
        sample
        for row in rows
        if row["topic"].endswith(f"/{device}/telemetry")
        for sample in json.loads(row["payload"])["samples"]
    ]
    samples.sort(key=lambda s: s["t"])
    return np.array([s["t"] for s in samples]), np.array([s[name] for s in samples])


def truth(out, device, name):
    table = pq.read_table(out / "truth_device.parquet").to_pylist()
    return np.array([row[name] for row in table if row["device"] == device])


@pytest.fixture(scope="module")
def sound_run(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("sound"))


def test_a_leak_is_in_the_truth_and_in_the_make_up(tmp_path, sound_run):
    sound = sound_run
    out = simulated(
        tmp_path,
        {"kind": "leak", "place": "n-02", "size": 4.0, "onset_h": 1.0, "ramp_h": 0.5},
        {"kind": "supply_leak", "place": "n-sub-01", "size": 1.0, "onset_h": 2.0},
    )
    leaked = [
        np.array(pq.read_table(o / "truth_network.parquet")["leaked_kg"].to_pylist()) for o in (sound, out)
    ]
    extra = leaked[1] - leaked[0]
    assert extra[:58] == pytest.approx(0.0, abs=1e-9)
    assert extra[95:115] == pytest.approx(240.0)
    assert extra[125:] == pytest.approx(300.0)
    assert column(out, "plant-1", "makeup_m3")[1][-1] > column(sound, "plant-1", "makeup_m3")[1][-1] + 10.0
    told = json.loads((out / "truth_faults.json").read_text())
    assert [f["kind"] for f in told["faults"]] == ["leak", "supply_leak"]
    assert told["faults"][0]["onset_ms"] == told["start_ms"] + 3_600_000


@pytest.mark.parametrize(
    ("fault", "name", "expected"),
    [
        ({"kind": "flow_bias", "size": 0.2}, "flow_m3_h", 1.2),
        ({"kind": "supply_bias", "size": -5.0}, "supply_c", None),
        ({"kind": "stuck_valve", "size": 0.2}, "flow_m3_h", None),
        ({"kind": "fouling", "size": 0.6}, "return_c", None),
        ({"kind": "sensors_swapped"}, "supply_c", None),
        ({"kind": "hunting", "size": 0.4}, "flow_m3_h", None),
        ({"kind": "wrong_mounting"}, "heat_kw", None),
        ({"kind": "flow_drift", "size": 3.0}, "flow_m3_h", None),
    ],
)
def test_a_fault_shows_where_it_should_and_nowhere_before(tmp_path, sound_run, fault, name, expected):
    sound = column(sound_run, "sub-02", name)[1]
    out = simulated(tmp_path, {**fault, "place": "sub-02", "onset_h": 1.5})
    broken = column(out, "sub-02", name)[1]
    assert (broken[:89] == sound[:89]).all()
    assert np.abs(broken[100:] / sound[100:] - 1.0).mean() > 0.02
    if expected:
        assert np.median(broken[100:] / sound[100:]) == pytest.approx(expected, rel=1e-3)


def test_meter_faults_leave_the_truth_alone_and_physical_ones_do_not(tmp_path, sound_run):
    sound = truth(sound_run, "sub-02", "heat_kw")
    biased = simulated(tmp_path, {"kind": "flow_bias", "place": "sub-02", "size": 0.2}, name="bias")
    fouled = simulated(tmp_path, {"kind": "fouling", "place": "sub-02", "size": 0.6}, name="foul")
    assert (truth(biased, "sub-02", "heat_kw") == sound).all()
    assert (
        np.abs(truth(fouled, "sub-02", "flow_kg_s")[60:]).mean()
        > 1.2 * np.abs(truth(biased, "sub-02", "flow_kg_s")[60:]).mean()
    )


def test_frozen_reset_skew_and_outage(tmp_path):
    out = simulated(
        tmp_path,
        {"kind": "frozen", "place": "sub-01", "onset_h": 1.0, "until_h": 2.0},
        {"kind": "counter_reset", "place": "sub-02", "onset_h": 1.0},
        {"kind": "clock_skew", "place": "sub-03", "size": -90.0, "onset_h": 0.0},
        {"kind": "outage", "place": "sub-04", "onset_h": 1.0, "until_h": 2.0},
    )
    _, flow = column(out, "sub-01", "flow_m3_h")
    assert len(set(flow[60:119])) == 1
    assert len(set(flow[:58])) > 40
    _, energy = column(out, "sub-02", "energy_gj")
    assert (np.diff(energy) < 0.0).sum() == 1
    assert energy[-1] < 100.0
    right, _ = column(out, "sub-01", "flow_m3_h")
    skewed, _ = column(out, "sub-03", "flow_m3_h")
    assert (right - skewed == 90_000).all()
    rows = pq.read_table(out / "telemetry.parquet").to_pylist()
    late = [
        row["received_ms"] - json.loads(row["payload"])["samples"][0]["t"]
        for row in rows
        if row["topic"].endswith("/sub-04/telemetry")
    ]
    assert len(late) == 180
    assert max(late) > 3_500_000
    assert sum(delay > 1_000 for delay in late) == 59


def test_insulation_loss_is_lost_through_the_pipe(tmp_path):
    lost = []
    for size in (1.0, 8.0):
        out = simulated(
            tmp_path, {"kind": "insulation_loss", "place": "pipe-01", "size": size}, name=f"run{size}"
        )
        lost.append(sum(pq.read_table(out / "truth_network.parquet")["lost_kj"].to_pylist()))
    assert lost[1] > 2.0 * lost[0]


def test_same_case_same_bytes(tmp_path):
    fault = {"kind": "leak", "place": "n-02", "size": 4.0}
    one = simulated(tmp_path, fault, hours=1, trucks=3, name="one")
    two = simulated(tmp_path, fault, hours=1, trucks=3, name="two")
    names = sorted(p.name for p in one.iterdir() if p.is_file())
    assert names == [
        "telemetry.parquet",
        "truth_device.parquet",
        "truth_faults.json",
        "truth_network.parquet",
        "truth_weighing.parquet",
    ]
    for name in names:
        assert (one / name).read_bytes() == (two / name).read_bytes()


BAD = """seed = 1
hours = 2
[unit]
substations = 4
[[fault]]
kind = "insulation_loss"
place = "pipe-99"
size = 2.0
[[fault]]
kind = "leak"
place = "n-01"
size = -3.0
[[fault]]
kind = "leak"
place = "n-01"
size = 1.0
onset_h = -1.0
[[fault]]
kind = "gremlins"
place = "n-01"
"""


def test_every_mistake_of_a_case_is_named_by_file_and_line():
    with pytest.raises(CaseError) as error:
        parse("bad.toml", BAD, no_site)
    lines = str(error.value).splitlines()
    assert lines[:3] == [
        "bad.toml:7: place: expected a pipe of the site, got 'pipe-99'",
        "bad.toml:12: size: expected a number of at least 0, got -3.0",
        "bad.toml:17: onset_h: expected a number of at least 0, got -1.0",
    ]
    assert lines[3].startswith("bad.toml:19: kind: expected one of leak, ")
    assert len(lines) == 4


def test_a_network_without_a_plant_is_named():
    plan = demo_plan(1, 3, 0)
    broken = replace(plan, devices={n: d for n, d in plan.devices.items() if d.device_class != "plant"})
    with pytest.raises(CaseError, match=r"case\.toml:1: network 'sim-net-1': expected one plant, got 0"):
        parse("case.toml", 'site = "x"\n', lambda _: broken)


def test_command_runs_a_site_directory_and_says_what_closed(tmp_path):
    (tmp_path / "site").mkdir()
    for name, text in demo_site(5, 3, 0, interval_s=60.0).items():
        (tmp_path / "site" / name).write_text(text, encoding="utf-8")
    case = tmp_path / "case.toml"
    case.write_text('hours = 0.5\ninterval_s = 60\nsite = "site"\n', encoding="utf-8")
    result = CliRunner().invoke(
        build(), ["simulate", "--case", str(case), "--out", str(tmp_path / "o"), "--json"]
    )
    assert result.exit_code == 0, result.output
    summary = json.loads(result.output)
    assert summary["simulated"]
    assert summary["closes"]
    assert summary["steps"] == 30
    case.write_text("hours = -1\n", encoding="utf-8")
    result = CliRunner().invoke(build(), ["simulate", "--case", str(case), "--out", str(tmp_path / "o")])
    assert isinstance(result.exception, UsageError)
    assert "case.toml:1: hours: expected a number of at least 0.001, got -1" in str(result.exception)
