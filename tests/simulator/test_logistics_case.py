import json
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from hearthline.cli import UsageError, build
from models import wire
from models.measurements import CLASSES
from models.site_files import parse_site
from simulator.case import CaseError, parse
from simulator.coal import CoalReadings
from simulator.fleet import SimulatedUnit
from simulator.kinds import KINDS as HEAT_KINDS
from simulator.logistics.case_reader import COAL as COAL_OF_PLACE
from simulator.logistics.case_reader import DISORDER, GPS, PLACE, PLAN, SIZE, TRAIN
from simulator.logistics.kinds import KINDS
from simulator.simulate import run, write_site
from simulator.unit import demo_plan, texts

CASES = Path(__file__).parents[2] / "examples" / "cases"
COAL = """seed = 4
start = 2026-01-05T00:00:00+08:00
hours = 30
interval_s = 300
[unit]
substations = 4
[telemetry]
duplicate_share = 0.01
late_share = 0.02
[logistics]
mines = 2
plants = 2
stations = 1
trucks = 10
contracts = 4
lane_km = [30, 60]
wagons = 6
sampling = "both"
[logistics.gps]
interval_s = 60
parked_interval_s = 300
fixes_a_message = 4
stale_share = 0.3
stale_years_share = 0.0
outage_share = 0.02
[logistics.disorder]
late_share = 0.05
swapped_share = 0.05
bad_moisture_share = 0.05
[[fault]]
kind = "theft"
place = "仿A10034"
size = 2000
[[fault]]
kind = "leak"
place = "n-02"
size = 2.0
"""


def no_site(name):
    raise AssertionError(name)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coal") / "run"
    folder.mkdir()
    done = run(parse("coal.toml", COAL, no_site), folder)
    assert done.closes
    assert done.coal.residual_kg == 0
    return folder


def rows(folder, name):
    return pq.read_table(folder / f"{name}.parquet").to_pylist()


def samples(folder, device):
    """Samples of a device as received: (received_ms, seq, sample)."""
    found = []
    for row in rows(folder, "telemetry"):
        if row["topic"].endswith(f"/{device}/telemetry"):
            payload = json.loads(row["payload"])
            found += [(row["received_ms"], payload["seq"], s) for s in payload["samples"]]
    return found


def test_messages_are_valid_in_order_and_leave_nothing_unaccounted(out):
    site, warnings = parse_site({p.name: p.read_text(encoding="utf-8") for p in (out / "site").iterdir()})
    assert warnings == ()
    last, seen, told = 0, defaultdict(set), {}
    kinds = Counter()
    for row in rows(out, "telemetry"):
        assert row["received_ms"] >= last
        last = row["received_ms"]
        topic = wire.parse_topic(row["topic"])
        device = site.devices[topic.device]
        assert (topic.region, topic.unit) == (site.region_of(device), device.unit)
        payload = wire.PAYLOADS[topic.kind].model_validate_json(row["payload"])
        kinds[topic.kind, device.device_class] += 1
        if topic.kind == wire.TELEMETRY:
            seen[topic.device].add(payload.seq)
            for sample in json.loads(row["payload"])["samples"]:
                assert set(sample) - {"t"} <= set(CLASSES[device.device_class])
                assert sample["t"] <= last
        if topic.kind == wire.STATE:
            told[topic.device] = payload.next_seq
    assert set(told) == set(site.devices)
    for name, next_seq in told.items():
        assert seen[name] == set(range(1, next_seq)), name
    for device_class in ("truck", "weighbridge", "lab", "office", "yard", "plant", "substation"):
        assert kinds[wire.TELEMETRY, device_class] > 0
        assert kinds[wire.BIRTH, device_class] > 0


def test_tickets_on_the_wire_are_those_of_the_truth(out):
    site, _ = parse_site({p.name: p.read_text(encoding="utf-8") for p in (out / "site").iterdir()})
    true = {(w["bridge"], w["paper_ms"]): w for w in rows(out, "truth_weighing")}
    told = {}
    for device in site.devices.values():
        if device.device_class == "weighbridge":
            told |= {(device.device, s["t"]): s for _, _, s in samples(out, device.device)}
    assert set(told) == {k for k, w in true.items() if w["t_ms"] <= 1_767_542_400_000 + 30 * 3_600_000}
    for key, sample in told.items():
        for name, column in (
            ("ticket", "ticket"),
            ("plate", "plate"),
            ("step", "step"),
            ("mass_kg", "shown_kg"),
        ):
            assert sample[name] == true[key][column]


def test_late_and_swapped_tickets_arrive_so(out):
    disorder = rows(out, "truth_disorder")
    fates = {d["name"]: d["kind"] for d in disorder if d["kind"] != "bad_moisture"}
    assert {"late", "swapped"} <= set(fates.values())
    arrivals = defaultdict(list)
    for device in {d["device"] for d in disorder if d["kind"] != "bad_moisture"} | {"bridge-mine-1-tare"}:
        place = device.rsplit("-", 1)[0]
        for step in ("tare", "gross", "rail"):
            for received, _, s in samples(out, f"{place}-{step}"):
                arrivals[s["ticket"]].append((received, s["t"]))
    delayed = [max(r - t for r, t in arrivals[n]) for n, k in fates.items() if k == "late" and n in arrivals]
    assert max(delayed) > 600_000
    swapped = [sorted(arrivals[n])[:2] for n, k in fates.items() if k == "swapped" and len(arrivals[n]) > 1]
    assert any(a[1] > b[1] for a, b in swapped)


def test_a_moisture_of_130_is_told_and_marked(out):
    bad = [d for d in rows(out, "truth_disorder") if d["kind"] == "bad_moisture"]
    assert bad
    for d in bad:
        assert 130.0 in {s["moisture_pct"] for _, _, s in samples(out, d["device"]) if s["t"] == d["t_ms"]}


def test_the_network_burns_from_the_yard_what_its_plant_counts(out):
    fuel = sorted((s["t"], s["fuel_kg"]) for _, _, s in samples(out, "plant-1"))
    burnt = -sum(
        y["true_kg"] for y in rows(out, "truth_yard") if y["unit"] == "sim-unit-1" and y["event"] == "burn"
    )
    first = -sum(
        y["true_kg"]
        for y in rows(out, "truth_yard")
        if y["unit"] == "sim-unit-1" and y["event"] == "burn" and y["t_ms"] <= fuel[0][0]
    )
    assert fuel[-1][1] - fuel[0][1] == pytest.approx(burnt - first, abs=2.0)
    assert burnt > 1_000
    boiler = sorted((s["t"], s["fuel_kg"], s["energy_gj"]) for _, _, s in samples(out, "boiler-2"))
    other = -sum(
        y["true_kg"] for y in rows(out, "truth_yard") if y["unit"] == "sim-unit-2" and y["event"] == "burn"
    )
    assert boiler[-1][1] - boiler[0][1] == pytest.approx(other, rel=0.02)
    mj_kg = (boiler[-1][2] - boiler[0][2]) * 1000.0 / (boiler[-1][1] - boiler[0][1])
    assert 0.82 * 17.0 < mj_kg < 0.82 * 24.0


def test_truth_says_what_was_done_to_whom(out):
    told = json.loads((out / "truth_faults.json").read_text(encoding="utf-8"))["faults"]
    assert {f["kind"] for f in told} == {"theft", "leak"}
    theft = next(f for f in told if f["kind"] == "theft")
    assert (theft["code"], theft["subject"], theft["size"]) == ("transit_loss", "plate:仿A10034", 2000.0)
    touched = rows(out, "truth_injected")
    assert touched
    trips = {t["trip"]: t for t in rows(out, "truth_trip")}
    for i in touched:
        trip = trips[i["trip"]]
        assert (trip["plate"], trip["origin_ticket"]) == ("仿A10034", i["ticket"])
        assert trip["taken_kg"] == 2000
        assert trip["wrongs"] == "theft"
    assert all((t["taken_kg"] > 0) == ("theft" in t["wrongs"]) for t in trips.values())


def test_trips_are_whole_in_the_truth_and_open_ones_have_no_end(out):
    trips = rows(out, "truth_trip")
    assert {t["state"] for t in trips} == {"open", "closed"}
    for t in trips:
        if t["state"] == "closed":
            lost = t["true_loaded_kg"] - t["true_received_kg"]
            assert lost == t["spilt_kg"] + t["taken_kg"] - t["water_kg"]
            assert t["tare_destination_ms"] > t["gross_destination_ms"] >= (t["arrived_ms"] or 0)
        else:
            assert t["received_kg"] is None
            assert t["tare_destination_ms"] is None


def test_same_case_same_bytes(tmp_path):
    text = COAL.replace("hours = 30", "hours = 8")
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        run(parse("coal.toml", text, no_site), folder)
    names = sorted(p.name for p in folders[0].iterdir() if p.is_file())
    assert len(names) >= 13
    for name in names:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name
    other = tmp_path / "three"
    other.mkdir()
    run(parse("coal.toml", text.replace("seed = 4", "seed = 5"), no_site), other)
    assert (other / "telemetry.parquet").read_bytes() != (folders[0] / "telemetry.parquet").read_bytes()


@pytest.mark.parametrize("share", [0.1, pytest.param(1.0, marks=pytest.mark.soak)])
def test_replay_reads_it_whole(out, tmp_path, share):
    table = pq.read_table(out / "telemetry.parquet")
    recording = table.slice(0, int(share * table.num_rows))
    pq.write_table(recording, tmp_path / "telemetry.parquet")
    command = [
        "replay",
        str(tmp_path / "telemetry.parquet"),
        "--site",
        str(out / "site"),
        "--out",
        str(tmp_path / "r"),
    ]
    result = CliRunner().invoke(build(), [*command, "--json"])
    assert result.exit_code == 0, result.output
    said = json.loads(result.output)
    assert said["dead_letters"] == 0
    assert said["messages"] == recording.num_rows
    told = {
        (r["topic"].split("/")[4], s["t"])
        for r in recording.to_pylist()
        if r["topic"].endswith("/telemetry")
        for s in json.loads(r["payload"])["samples"]
    }
    assert said["rows"]["reading"] == len(told)


def test_live_readings_are_those_of_the_file_but_for_what_is_on_its_way(out, tmp_path):
    case = parse("coal.toml", COAL, no_site)
    readings = CoalReadings(case, tmp_path)
    live = SimulatedUnit(case.seed, case.start_ms, interval_s=case.interval_s, readings=readings)
    drivers = dict(zip([d.id for d in live.devices()], live.drivers(), strict=True))
    end = case.start_ms + 10 * 3_600_000
    for device in ("truck-0002", "bridge-mine-1-gross", "yard-1", "office-coal", "plant-1"):
        now = {(r.t_ms, tuple(r.values.items())) for r in drivers[device].read(end)}
        told = ((s.pop("t"), tuple(s.items())) for _, _, s in samples(out, device))
        file = {(t, values) for t, values in told if t <= end - 3 * 3_600_000}
        assert file
        late = file - now
        assert len(late) <= 0.1 * len(file), device
    drivers["plant-1"].read(case.end_ms)
    assert readings.now_ms == case.end_ms
    assert readings.close() == 0
    for name in ("trip", "weighing", "stop", "flow", "yard", "lab", "injected", "outage", "fix"):
        told, filed = (sorted(map(repr, rows(folder, f"truth_{name}"))) for folder in (tmp_path, out))
        assert told == filed, name
        assert told or name == "fix"


def test_a_site_directory_with_its_own_places_is_hauled_in(tmp_path):
    plan = demo_plan(6, 3, 4, 1_767_542_400_000)
    text = 'hours = 6\nstart = 2026-01-05T00:00:00+08:00\ninterval_s = 300\nsite = "x"\n[logistics]\nspread_h = 1\n'
    text += '[[logistics.place]]\nplace = "plant-yard-1"\nstock_t = 9000\n'
    text += '[[logistics.lane]]\norigin = "mine-1"\ndestination = "plant-yard-1"\npoints = [[45.9, 126.9]]\n'
    case = parse("case.toml", text, lambda _: plan)
    folder = tmp_path / "run"
    folder.mkdir()
    done = run(case, folder)
    assert done.closes
    assert done.coal.trips > 3
    lats = [s["lat_deg"] for _, _, s in samples(folder, "truck-1")]
    assert max(lats) > 46.0
    flows = rows(folder, "truth_flow")
    assert {f["event"] for f in flows} >= {"release", "load"}  # nobody's office: all of it at the start


def test_an_empty_yard_stops_the_run_and_says_which(tmp_path):
    text = COAL + '[[logistics.place]]\nplace = "plant-yard-1"\nstock_t = 0.001\n'
    case = tmp_path / "case.toml"
    case.write_text(text, encoding="utf-8")
    result = CliRunner().invoke(build(), ["simulate", "--case", str(case), "--out", str(tmp_path / "o")])
    assert isinstance(result.exception, UsageError)
    assert "yard of unit 'sim-unit-1': expected coal to burn" in str(result.exception)


BAD = [
    ("[logistics]\ntrucks = -3\n", 2, "trucks: expected a number from 0 to 20000, got -3"),
    ("[logistics]\nmines = 1.5\n", 2, "mines: expected a whole number, got 1.5"),
    ("[logistics]\n\nnonsense = 1\n", 3, "nonsense: expected one of bridge_error,"),
    ("[logistics]\nlane_km = [90, 40]\n", 2, "lane_km: expected [shortest, longest] from 5 to 2000"),
    ('[logistics]\nsampling = "none"\n', 2, "sampling: expected 'lot', 'ticket' or 'both', got 'none'"),
    ("[logistics]\nstations = 2\ncontracts = 2\n", 2, "stations: expected fewer than the 2 contracts, got 2"),
    ("[logistics]\n[logistics.gps]\nstale_share = 1.5\n", 3, "stale_share: expected a number from 0 to 1"),
    ("[logistics]\n[logistics.gps]\nspeed = 1\n", 3, "speed: expected one of backfill_share,"),
    ('[logistics]\n[logistics.disorder]\nlate_share = "x"\n', 3, "late_share: expected a number, got 'x'"),
    (
        "[logistics]\n[logistics.disorder]\nlate_share = 0.6\nmissing_share = 0.6\n", 2,
        "shares of tickets: expected 1 at most together, got 1.2",
    ),
    ("[logistics]\ngps = 3\n", 2, "gps: expected a table [logistics.gps], got 3"),
    ("[logistics]\nlane = 3\n", 2, "lane: expected [[logistics.lane]] tables, got 3"),
    ('[logistics]\n[[logistics.place]]\nplace = "moon"\n', 3, "place: expected a place of the site, got 'moon'"),
    (
        '[logistics]\n[[logistics.place]]\nplace = "mine-1"\nopens_h = 20\ncloses_h = 6\n', 4,
        "opens_h: expected an hour before closes_h, got 20 and 6",
    ),
    (
        '[logistics]\n[[logistics.place]]\nplace = "mine-1"\nmoisture_pct = 130\n', 4,
        "moisture_pct: expected a number from 0.5 to 40, got 130",
    ),
    (
        '[logistics]\n[[logistics.lane]]\norigin = "mine-1"\ndestination = "plant-yard-1"\npoints = [[95, 1]]\n', 5,
        "points: expected [[latitude, longitude], …]",
    ),
    (
        '[logistics]\n[[logistics.contract]]\ncontract = "A"\norigin = "mine-1"\nmonth = "2026-13"\n', 5, "month: expected YYYY-MM such as 2026-01, got '2026-13'",
    ),
    (
        '[logistics]\n[[logistics.contract]]\ncontract = "A"\norigin = "mine-9"\nplanned_t = -9\n', 4, "origin: expected a place of the site, got 'mine-9'",
    ),
    (
        '[logistics]\n[[logistics.train]]\ncontract = "A"\n', 3, "contract: expected a contract, got 'A'",
    ),
    (
        '[logistics]\n[[fault]]\nkind = "theft"\nplace = "P1"\nsize = 5\n', 4,
        "place: expected a plate of the site, got 'P1'",
    ),
    (
        '[logistics]\n[[fault]]\nkind = "theft"\nplace = "仿A10017"\nsize = -5\n', 5,
        "size: expected a number from 0 to 1e+06, got -5",
    ),
    ('[logistics]\n[[fault]]\nkind = "theft"\nplace = "仿A10017"\n', 3, "size: expected a number (coal taken"),
    (
        '[logistics]\n[[fault]]\nkind = "theft"\nplace = "仿A10017"\nsize = 5\nonset_h = -1\n', 6,
        "onset_h: expected a number from 0 to 1e+06, got -1",
    ),
    (
        '[logistics]\n[[fault]]\nkind = "theft"\nplace = "仿A10017"\nsize = 5\nonset_h = 99\n', 6,
        "onset_h: expected a time before the end at 24 h, got 99",
    ),
    (
        '[logistics]\n[[fault]]\nkind = "theft"\nplace = "仿A10017"\nsize = 5\nonset_h = 9\nuntil_h = 3\n', 7,
        "until_h: expected a time after onset_h, got 3",
    ),
    (
        '[logistics]\n[[fault]]\nkind = "plate_swapped"\nplace = "仿A10017"\nother = "仿A10017"\n', 5,
        "other: expected another plate than '仿A10017'",
    ),
    ('[logistics]\n[[fault]]\nkind = "gremlins"\nplace = "x"\n', 3, "kind: expected one of leak,"),
    ('[[fault]]\nkind = "theft"\nplace = "x"\n', 2, "kind: expected one of leak,"),
    ("logistics = 3\n", 1, "logistics: expected a table [logistics], got 3"),
    ("[unit]\ntrucks = 4\n[logistics]\n", 2, "trucks: expected none beside [logistics]"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "message"), BAD, ids=[m[:40] for _, _, m in BAD])
def test_every_mistake_is_named_by_file_and_line(text, line, message):
    with pytest.raises(CaseError) as error:
        parse("bad.toml", text, no_site)
    assert any(found.startswith(f"bad.toml:{line}: {message}") for found in str(error.value).splitlines()), (
        error.value
    )


def test_a_contract_without_bridges_is_named():
    plan = demo_plan(6, 3, 4, 1_767_542_400_000)
    bare = {n: d for n, d in plan.devices.items() if n != "bridge-mine"}
    site = parse_site(texts(plan))[0]
    broken = replace(site, devices=bare, texts={})
    with pytest.raises(
        CaseError, match=r"case\.toml:2: contract .*: expected a weighbridge at 'mine-1', got none"
    ):
        parse("case.toml", 'site = "x"\n[logistics]\n', lambda _: broken)
    with pytest.raises(CaseError, match=r"case\.toml:3: trucks: expected none beside a site"):
        parse("case.toml", 'site = "x"\n[logistics]\ntrucks = 3\n', lambda _: plan)


def test_kinds_of_heat_and_of_the_road_have_names_of_their_own_and_known_codes():
    assert not set(KINDS) & set(HEAT_KINDS)
    codes = {
        "tare_drift", "tare_inflated", "repeated_weight", "overload", "plate_swapped", "phantom_ticket",
        "impossible_time", "bridge_drift", "transit_loss", "supplier_short_quality", "route_deviation", "detention",
    }  # fmt: skip
    assert {k.code for k in KINDS.values()} == codes | {""}


@pytest.mark.parametrize("name", ["coal_small.toml", "coal_month.toml"])
def test_ready_cases_are_sound_and_a_first_piece_of_them_runs(tmp_path, name):
    text = (CASES / name).read_text(encoding="utf-8")
    case = parse(name, text, no_site)
    assert case.logistics is not None
    write_site(case, tmp_path)
    site, warnings = parse_site(
        {p.name: p.read_text(encoding="utf-8") for p in (tmp_path / "site").iterdir()}
    )
    assert warnings == ()
    assert (site.contracts, site.vehicles) == (case.site.contracts, case.site.vehicles)
    if name == "coal_month.toml":
        assert len(case.site.contracts) == 40
        assert sum(v.device is not None for v in case.site.vehicles.values()) == 2000
        assert {w.kind for w in case.logistics.plan.wrongs} == set(KINDS)


def test_months_touch_what_they_touch():
    text = "start = 2026-01-31T00:00:00+08:00\nhours = 48\n[logistics]\nstations = 1\ncontracts = 3\nwagons = 5\n"
    case = parse("case.toml", text, no_site)
    assert Counter(c.month for c in case.site.contracts.values()) == {"2026-01": 3, "2026-02": 3}
    assert len(case.logistics.plan.trains) == 2
    assert not case.site.networks


def test_page_names_every_key_kind_and_file(out):
    page = (CASES.parents[1] / "docs" / "simulator-logistics.md").read_text(encoding="utf-8")
    keys = {
        *PLAN,
        *SIZE,
        *GPS,
        *DISORDER,
        *PLACE,
        *COAL_OF_PLACE,
        *TRAIN,
        "lane_km",
        "sampling",
        "points",
        "speed_km_h",
    }
    files = {p.name for p in out.iterdir() if p.suffix in (".parquet", ".json")}
    heat = {"telemetry.parquet", "truth_network.parquet", "truth_device.parquet"}
    for name in keys | set(KINDS) | (files - heat):
        assert f"`{name}`" in page, name
