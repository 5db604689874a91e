"""What a case file may say, and what is said of one that is wrong."""

import hashlib
import json
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from simulator.case import CaseError, parse
from simulator.faults import Faults
from simulator.fleet import SimulatedUnit, UnitReadings
from simulator.truth import NetworkTruth
from simulator.unit import demo_plan
from tests.support.simulated_cases import EXAMPLES, case_text, example, samples, simulated

START = 1_768_003_200_000  # 2026-01-10T00:00:00Z


def mistakes(text, read_site=None, read_text=None):
    with pytest.raises(CaseError) as error:
        parse("bad.toml", text, read_site, **({"read_text": read_text} if read_text else {}))
    return str(error.value).splitlines()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sed = 1\n", "bad.toml:1: sed: expected one of "),
        ("hours = 2\n\n[unit]\ntruks = 2\n", "bad.toml:4: truks: expected one of substations, trucks"),
        ("[telemetry]\nlate = 1\n", "bad.toml:2: late: expected one of "),
        ("[telemetry]\ndrop_share = 2\n", "bad.toml:2: drop_share: expected a number from 0 to 1, got 2"),
        ("[weather]\nmean = 1\n", "bad.toml:2: mean: expected one of csv, mean_c, seed, swing_k"),
        ("[weather]\nmean_c = 99\n", "bad.toml:2: mean_c: expected a number of under 30, got 99"),
        ("weather = 3\n", "bad.toml:1: weather: expected a table [weather], got 3"),
        ("seed = 1.5\n", "bad.toml:1: seed: expected a whole number of at least 0, got 1.5"),
        ("hours = 1\nhours = 2\n", "bad.toml:2: expected TOML, got: "),
        ("start = 2026-01-10\n", "bad.toml:1: start: expected a time with its offset "),
        (
            "[unit]\nsubstations = 0\n",
            "bad.toml:2: substations: expected a whole number of at least 1, got 0",
        ),
        (
            "[unit]\nsubstations = 100000000\n",
            "bad.toml:2: substations: expected a whole number of at most 20000, got 100000000",
        ),
        (
            "[unit]\ntrucks = 30000\n",
            "bad.toml:2: trucks: expected a whole number of at most 20000, got 30000",
        ),
        ("unit.substations = -3\n", "bad.toml:1: substations: expected a whole number of at least 1, got -3"),
        ("[[unit]]\ntrucks = 1\n", "bad.toml:1: unit: expected a table [unit], got [{'trucks': 1}]"),
        ("\n'seed' = -1\n", "bad.toml:2: seed: expected a whole number of at least 0, got -1"),
        ("\nweather = { mean_c = 99 }\n", "bad.toml:2: mean_c: expected a number of under 30, got 99"),
        (
            '[weather]\ncsv = "w.csv"\nmean_c = 3\n',
            "bad.toml:3: mean_c: expected none beside a csv, got 3",
        ),
        ("hours = nan\n", "bad.toml:1: hours: expected a number of at least 0.001, got nan"),
        ("hours = 0.01\ninterval_s = 60\n", "bad.toml:1: hours: expected at least one interval of 60 s, got"),
        ("\ninterval_s = 1.0004\n", "bad.toml:2: interval_s: expected whole milliseconds, got 1.0004"),
        ("start = 1960-01-01T00:00:00Z\n", "bad.toml:1: start: expected a year from 1971 to 2199, got 1960"),
        ("start = 9999-12-31T23:00:00Z\n", "bad.toml:1: start: expected a year from 1971 to 2199, got 9999"),
        ('start = "today"\n', "bad.toml:1: start: expected a time with its offset "),
        ("\nsite = 3\n", "bad.toml:2: site: expected the name of a directory, got 3"),
        ("interval_s = 301\n", "bad.toml:1: interval_s: expected a number of under 301, got 301"),
        ("interval_s = 900\n", "bad.toml:1: interval_s: expected a number of under 301, got 900"),
        ("fault = 3\n", "bad.toml:1: fault: expected tables [[fault]]"),
        ('site = "x"\n[unit]\ntrucks = 1\n', "bad.toml:2: unit: expected either a site or a made-up unit"),
    ],
)
def test_a_mistake_is_named_with_its_line(text, told):
    assert mistakes(text, lambda _: demo_plan(1, 3, 0))[0].startswith(told)


FAULTS = {
    'kind = "leak"\nplace = "n-99"\nsize = 1\n': "3: place: expected a node of the site, got 'n-99'",
    'kind = "leak"\nplace = "n-01"\n': "2: size: expected a number (lost from the return, kg/s), got none",
    'kind = "leak"\nplace = "n-01"\nsize = -1\n': "4: size: expected a number of at least 0, got -1",
    'kind = "leak"\nplace = "n-01"\nsize = 1\nonset_h = -2\n': "5: onset_h: expected a number of at least 0",
    'kind = "leak"\nplace = "n-01"\nsize = 1\nonset_h = 30\n': "5: onset_h: expected a time before the end",
    'kind = "leak"\nplace = "n-01"\nsize = 1\nonset_h = 3\nuntil_h = 2\n': "6: until_h: expected a number of at",
    'kind = "leak"\nplace = "n-01"\nsize = 1\nonset = 3\n': "5: onset: expected one of channel, kind, onset_h",
    'kind = "fouling"\nplace = "sub-01"\nsize = 1\n': "4: size: expected a number of under 1, got 1",
    'kind = "fouling"\nplace = "plant-1"\nsize = 0.5\n': "3: place: expected a substation of the site",
    'kind = "insulation_loss"\nplace = "x"\nsize = 2\n': "3: place: expected a pipe of the site, got 'x'",
    'kind = "pump_trip"\nplace = "n-01"\n': "3: place: expected a substation or pipe of the site, got 'n-01'",
    'kind = "pump_trip"\nplace = "sub-01"\nsize = 1\n': "4: size: expected none of a pump_trip, got 1",
    'kind = "frozen"\nplace = "sub-01"\nchannel = "x"\n': "4: channel: expected one of supply_c, ",
    'kind = "outage"\nplace = "sub-01"\nchannel = "x"\n': "4: channel: expected none of a outage, got 'x'",
    'kind = "flushing"\nplace = "n-01"\nsize = 1\nramp_h = 1\n': "5: ramp_h: expected none of a flushing",
    'kind = "sensors_swapped"\nplace = "sub-01"\nramp_h = 1\n': "4: ramp_h: expected none of a sensors_swapped",
    'kind = "leak"\nplace = ["n-01"]\nsize = 1\n': "3: place: expected a node of the site, got ['n-01']",
    'kind = "leak"\nplace = "n-01"\nsize = nan\n': "4: size: expected a number of at least 0, got nan",
    'kind = "leak"\nplace = "n-01"\nsize = 1e8\n': "4: size: expected a number of under 1000, got 1",
    'kind = "leak"\nplace = "n-01"\nsize = true\n': "4: size: expected a number of at least 0, got True",
    'kind = "leak"\nplace = "n-01"\nsize = 1\nuntil_h = inf\n': "5: until_h: expected a number of under",
    'kind = "leak"\nplace = "n-01"\nsize = 1\nramp_h = -1\n': "5: ramp_h: expected a number of at least 0",
    'kind = "pump_trip"\nplace = "plant-1"\n': "3: place: expected a substation or pipe of the site",
    'kind = ["leak"]\nplace = "n-01"\nsize = 1\n': "2: kind: expected one of leak, ",
    'kind = 3\nplace = "n-01"\n': "2: kind: expected one of leak, ",
}


@pytest.mark.parametrize("table", FAULTS)
def test_a_fault_that_cannot_be_is_named_with_its_line(table):
    found = mistakes(f"[[fault]]\n{table}")
    assert len(found) == 1
    assert found[0].startswith(f"bad.toml:{FAULTS[table]}"), found


def test_the_line_is_that_of_its_own_table():
    text = case_text(example("leak"), {**example("leak"), "size": -1.0}, {"kind": "nothing"})
    found = mistakes(text)
    lines = text.splitlines()
    assert [lines[int(f.split(":")[1]) - 1] for f in found] == ["size = -1.0", 'kind = "nothing"']


def test_sites_that_cannot_be_simulated_are_named():
    plan = demo_plan(1, 3, 0)
    subs = {n: d for n, d in plan.devices.items() if d.device_class == "substation"}
    plant = plan.devices["plant-1"]
    cut = {n: p for n, p in plan.pipes.items() if n != "service-02"}
    bare = {**plan.devices, "sub-02": replace(plan.devices["sub-02"], area_m2=None)}
    second = {**plan.devices, "plant-2": replace(plant, device="plant-2", node="n-01")}
    sites = {
        "device 'sub-02': expected an area_m2, got none": replace(plan, devices=bare),
        "network 'sim-net-1': expected one plant, got 2": replace(plan, devices=second),
        "network 'sim-net-1': expected one plant, got 0": replace(plan, devices=subs),
        "network 'sim-net-1': expected a substation, got none": replace(plan, devices={"plant-1": plant}),
        "device 'sub-02': expected a node of its network's pipes, got 'n-sub-02'": replace(plan, pipes=cut),
        "expected a network, got a site without one": replace(plan, networks={}),
        "network 'sim-net-1': expected every node to be joined to the plant, got": replace(
            plan, pipes={n: p for n, p in plan.pipes.items() if n != "pipe-01"} | _island(plan)
        ),
    }
    for told, site in sites.items():
        found = mistakes('seed = 1\nsite = "x"\n', lambda _, site=site: site)
        assert found[0].startswith(f"bad.toml:2: {told}"), found


def _island(plan):
    pipe = next(iter(plan.pipes.values()))
    return {"island": replace(pipe, pipe="island", from_node="n-plant", to_node="n-nowhere")}


def test_a_pipe_in_a_ring_feeds_no_branch():
    plan = demo_plan(3, 6, 0)
    first = plan.pipes["pipe-01"]
    other = replace(first, pipe="other-way")  # beside the first one: the two are a ring
    site = replace(plan, pipes={**plan.pipes, "other-way": other})
    text = 'site = "x"\n[[fault]]\nkind = "pump_trip"\nplace = "{}"\n'
    for pipe in ("pipe-01", "other-way"):
        assert mistakes(text.format(pipe), lambda _: site) == [
            f"bad.toml:4: place: expected a pipe that alone feeds a branch, got '{pipe}' in a ring"
        ]
    parse("good.toml", text.format("pipe-02"), lambda _: site)
    parse("good.toml", text.format("pipe-01"), lambda _: plan)


def test_a_counter_is_full_once():
    table = '[[fault]]\nkind = "counter_rollover"\nplace = "sub-01"\nsize = {}\n'
    assert mistakes(table.format(1000) + table.format(5000)) == [
        "bad.toml:7: place: expected one counter_rollover of a device, got 'sub-01' again"
    ]


def test_a_site_that_is_not_there_is_named_with_the_line_of_the_case():
    def missing(name):
        raise OSError(f"expected a directory with site.toml, got {name}: no such directory")

    assert mistakes('\nsite = "moon"\n', missing) == [
        "bad.toml:2: site: expected a directory with site.toml, got moon: no such directory"
    ]


def two_networks():
    """The made-up network twice in one site; the second's devices and pipes end in b, its nodes do not."""
    plan = demo_plan(3, 4, 0)
    other = replace(plan.networks["sim-net-1"], id="net-b")
    devices = {f"{n}b": replace(d, device=f"{n}b", network="net-b") for n, d in plan.devices.items()}
    pipes = {f"{n}b": replace(p, pipe=f"{n}b", network="net-b") for n, p in plan.pipes.items()}
    # A pipe that is called like a node of the first network.
    pipes["n-02"] = replace(pipes.pop("pipe-01b"), pipe="n-02")
    return replace(
        plan, networks={**plan.networks, "net-b": other}, devices={**plan.devices, **devices},
        pipes={**plan.pipes, **pipes}, texts={},
    )  # fmt: skip


def test_a_node_of_two_networks_is_named_and_a_fault_befalls_its_own_network_only():
    site = two_networks()
    leak = '[[fault]]\nkind = "leak"\nplace = "n-02"\nsize = 1\n'
    assert mistakes(f'site = "x"\n{leak}', lambda _: site) == [
        "bad.toml:4: place: expected a node of one network, got 'n-02' of net-b, sim-net-1"
    ]
    worn = {"kind": "insulation_loss", "place": "n-02", "size": 9.0, "onset_h": 0.0}
    case = parse("c", case_text(worn, hours=0.1, top='site = "x"'), lambda _: site)
    readings = UnitReadings.of(case)
    readings.step()
    worse = [
        (
            h.truth.supply.content.loss_w_k / (h.truth.supply.pipes.u_w_m_k * h.truth.supply.pipes.length_m)
        ).max()
        for h in readings.heat
    ]
    assert worse == pytest.approx([1.0, 9.0])


def test_a_site_gets_the_interval_of_the_case():
    plan = demo_plan(3, 4, 0, interval_s=10.0)
    case = parse("c", 'interval_s = 60\nsite = "x"\n', lambda _: plan)
    assert {d.interval_s for d in case.site.devices.values()} == {60.0}


def test_habits_follow_the_clock_on_the_wall_through_summer_time():
    plan = replace(demo_plan(3, 4, 0), timezone="Europe/Berlin", texts={})
    drawn = {}
    for start in ("2026-03-27T23:00:00Z", "2026-03-28T23:00:00Z"):  # the second day has 23 hours
        top = f'start = {start}\nsite = "x"'
        text = case_text(
            {"kind": "draw_off", "place": "n-02", "size": 2.0}, hours=24, interval=120, top=top
        ).replace("start = 2026-01-10T00:00:00Z\n", "")
        case = parse("c", text, lambda _: plan)
        assert case.weather.offset_h == 1.0
        truth, faults = NetworkTruth(plan, "sim-net-1", 3, case.start_ms), Faults(case.faults, case.seed)
        hours = []
        for t_ms in range(case.start_ms + 60_000, case.end_ms + 1, 60_000):
            faults.in_truth(truth, t_ms)
            if faults.taken_kg_s("sim-net-1"):
                hours.append((t_ms - case.start_ms) / 3_600_000.0)
        drawn[start] = np.array(hours)
    day, short = drawn.values()
    assert ((day > 5.9) & (day < 8.2)).sum() > 5  # 6 to 8 by the clock
    assert ((short > 4.9) & (short < 7.2)).sum() > 5
    assert ((short > 16.9) & (short < 21.2)).sum() > 2 * ((short > 7.2) & (short < 16.9)).sum()


CSV = "t,outdoor_c\n2026-01-10T00:00:00Z,-5\n2026-01-10T02:00:00+00:00,-15\n1768014000000,-15\n"


def test_measured_weather_is_what_the_devices_see(tmp_path):
    asked = []

    def read_text(name):
        asked.append(name)
        return CSV

    tables = '[weather]\ncsv = "w.csv"\n'
    out = simulated(tmp_path / "run", tables=tables, read_text=read_text)
    assert asked == ["w.csv"]
    outdoor = pq.read_table(out / "truth_network.parquet")["outdoor_c"].to_numpy()
    assert outdoor[59] == pytest.approx(-10.0)
    assert outdoor[119:] == pytest.approx(-15.0)
    shown = [s["outdoor_c"] for s in samples(out, "plant-1")]
    assert np.abs(np.array(shown) - outdoor).max() < 1.0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("time,x\n", "w.csv:1: expected the columns t and outdoor_c, got time,x"),
        (CSV.replace("-5", "warm"), "w.csv:2: outdoor_c: expected a number, got 'warm'"),
        (CSV.replace("-5", "-500"), "w.csv:2: outdoor_c: expected -60 to 60, got -500"),
        (CSV.replace("2026-01-10T02", "2026-01-09T02"), "w.csv:3: expected times that rise, got 2026-01-09"),
        (CSV.replace("Z", ""), "w.csv:2: t: expected ms UTC or a time such as "),
        (
            CSV.replace("1768014000000", "1768013000000"),
            "w.csv:1: expected weather from 2026-01-10T00:00:00Z to",
        ),
    ],
)
def test_weather_that_cannot_be_is_named_with_its_line(text, told):
    found = mistakes(case_text(tables='[weather]\ncsv = "w.csv"\n'), read_text=lambda _: text)
    assert found[0].startswith(told), found


def test_weather_that_is_not_there_is_named():
    text = case_text(tables='[weather]\ncsv = "w.csv"\n')

    def missing(name):
        raise FileNotFoundError(f"no {name}")

    line = text.splitlines().index('csv = "w.csv"') + 1
    assert mistakes(text, read_text=missing) == [
        f"bad.toml:{line}: csv: expected a readable file of UTF-8 text, got: no w.csv"
    ]


def test_the_heat_of_a_unit_can_be_put_aside_and_goes_on_as_if_it_had_not():
    unit, other = (SimulatedUnit(3, START, substations=4, trucks=0) for _ in range(2))
    for each in (unit, other):
        each.read("sub-01", START + 60_000)
    again = pickle.loads(pickle.dumps(unit))
    for device in ("sub-01", "plant-1"):
        assert again.read(device, START + 120_000) == other.read(device, START + 120_000)


def test_an_outage_holds_what_is_read_live_too():
    case = parse("c", case_text(example("outage", onset_h=0.5, until_h=1.0), hours=2), None)
    unit = SimulatedUnit(1, case.start_ms, readings=UnitReadings.of(case), end_ms=case.end_ms)
    driver = dict(zip([d.id for d in unit.devices()], unit.drivers(), strict=True))["sub-02"]
    counts = [len(driver.read(case.start_ms + minutes * 60_000)) for minutes in range(10, 131, 10)]
    assert counts == [10, 10, 10, 0, 0, 40 - 10, 10, 10, 10, 10, 10, 10, 0]
    assert driver.exhausted
    assert not driver.read(case.end_ms + 10_000_000)


def test_the_same_case_gives_the_same_bytes_in_another_process(tmp_path):
    kinds = [k for k in EXAMPLES if k not in ("counter_rollover", "counter_exchange")]
    faults = [example(k, onset_h=0.2) for k in kinds]
    tables = "[telemetry]\njitter_s = 1\ndrop_share = 0.05\nresend_share = 0.05\noutages_a_day = 9\n"
    case = tmp_path / "case.toml"
    case.write_text(case_text(*faults, hours=1, trucks=2, tables=tables), encoding="utf-8")
    sums = []
    for name, seed in (("a", "1"), ("b", "2")):
        out = tmp_path / name
        subprocess.run(
            [sys.executable, "-m", "hearthline", "simulate", "--case", case, "--out", out],
            check=True, capture_output=True, timeout=120, env={"PYTHONHASHSEED": seed, "PATH": ""},
        )  # fmt: skip
        files = sorted(p for p in out.rglob("*") if p.is_file())
        sums.append({str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files})
    assert len(sums[0]) >= 10
    assert sums[0] == sums[1]


@pytest.mark.soak
def test_six_thousand_substations_close(tmp_path):
    text = case_text(example("leak", onset_h=0.0), hours=0.05, substations=6_000)
    case = parse("c", text, None)
    assert len(case.site.devices) == 6_001
    out = simulated(tmp_path / "run", example("leak", onset_h=0.0), hours=0.05, substations=6_000)
    assert pq.read_table(out / "truth_device.parquet").num_rows == 3 * 6_001
    told = json.loads((out / "truth_faults.json").read_text(encoding="utf-8"))
    assert told["faults"][0]["kind"] == "leak"
