"""A real network's days through collectors, broker and server: every window equals plain arithmetic over the file.

The recording is a week; the gate has its first three days, the soak all of it.
The recording has the plant's flow and supply temperature and those at three substations, but no return
temperatures. So the four devices give flow, volume and supply temperature and no heat. Three more say what
the recording can give of heat: each is a substation's branch, with the plant's temperature as its supply and
the substation's as its return, so that its heat is what the pipes lose on the way there.
"""

from __future__ import annotations

import csv
import json
import math

import pytest

from models.water_table import DENSITY_KG_M3, ENTHALPY_KJ_KG
from tests.support.mosquitto import Mosquitto
from tests.support.system import Program, Server, device_rows, recordings, write_site
from tests.support.waiting import until

EPOCH = "2018-01-15T00:06:40Z"  # between windows, so that their edges have to be interpolated
EPOCH_MS = 1_515_974_800_000
STEP_MS = WINDOW_MS = 900_000
GAP_MS = 3 * STEP_MS
DAY_MS = 96 * STEP_MS
KELVIN = 273.15
REL = 1e-9
FIELDS = ("heat_gj", "volume_m3", "supply_c", "return_c", "flow_m3_h")
# Device: class, its mass flow, its supply temperature, its return temperature.
DEVICES = {
    "supply": ("plant", "m1_kgs", "T1_K", None),
    "p2": ("substation", "m2_kgs", "T2_K", None),
    "p3": ("substation", "m3_kgs", "T3_K", None),
    "p4": ("substation", "m4_kgs", "T4_K", None),
    "branch2": ("meter", "m2_kgs", "T1_K", "T2_K"),
    "branch3": ("meter", "m3_kgs", "T1_K", "T3_K"),
    "branch4": ("meter", "m4_kgs", "T1_K", "T4_K"),
}
SITE = {
    "site.toml": (
        # A long lateness lets the recordings be played hours at a time.
        '[site]\nname = "Pongau"\ntimezone = "Europe/Vienna"\nlateness_s = 86400\n'
        '[[region]]\nid = "at"\nname = "Salzburg"\n[[unit]]\nid = "pongau"\nregion = "at"\nname = "Pongau"\n'
    ),
    "devices.csv": "device,class,unit,mounting,interval_s\n"
    + "".join(f"{name},{spec[0]},pongau,supply,900\n" for name, spec in DEVICES.items()),
}


def _collector(url: str, path: object) -> str:
    tables = [f'[mqtt]\nurl = "{url}"\n[outbox]\ndir = "outbox"\n[playback]\nahead_s = 80000\n']
    for name, (device_class, flow, supply, back) in DEVICES.items():
        tables.append(
            f'[[device]]\nid = "{name}"\nregion = "at"\nunit = "pongau"\nclass = "{device_class}"\n'
            f'interval_s = 900\ndriver = "csv"\n[device.csv]\npath = "{path}"\npace = "fast"\n'
            f'time_column = "t_s"\ntime_format = "seconds_from"\nepoch = "{EPOCH}"\n[device.csv.columns]\n'
            f'supply_c = {{ column = "{supply}", unit = "K" }}\n'
            f'flow_m3_h = {{ column = "{flow}", unit = "kg/s", density_at = "supply_c" }}\n'
            + (f'return_c = {{ column = "{back}", unit = "K" }}\n' if back else "")
        )
    return "".join(tables)


@pytest.fixture(
    scope="module",
    params=[pytest.param(3, id="three days"), pytest.param(7, id="a week", marks=pytest.mark.soak)],
)
def recording(request, tmp_path_factory):
    lines = recordings("pipes/ait_pongau_dh_15min.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    path = tmp_path_factory.mktemp("recording") / "pongau.csv"
    path.write_text("".join(lines[: 1 + request.param * DAY_MS // STEP_MS]), encoding="utf-8")
    with path.open(encoding="utf-8") as file:
        return path, [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def windows(recording, tmp_path_factory):
    """The rows of `device_heat` by device and window."""
    path, rows = recording
    home = tmp_path_factory.mktemp("pongau")
    site = write_site(home / "site", SITE)
    with Mosquitto() as broker, Server(home / "up", site, broker.url, "--clock", "data") as server:
        server.ready_for_messages()
        config = home / "collector.toml"
        config.write_text(_collector(broker.url, path), encoding="utf-8")
        with Program(home / "edge", "edge", "--config", config, "--json") as collector:
            collector.wait(300)
            assert json.loads(collector.out)["complaints"] == {}
        until(
            lambda: server.status()["rows"].get("reading", 0) == len(rows) * len(DEVICES), "every reading stored", every=1,
        )  # fmt: skip
        ledger = server.status()["ledger"]
        server.stop()
    assert (ledger["unaccounted"], ledger["dead_lettered"], ledger["repeat"]) == (0, 0, 0)
    return {(w["key"], w["window_start"]): w for w in device_rows(server.data, "device_heat")}


def _in_table(table: tuple[float, ...], t_c: float) -> float:
    low = int(t_c)
    return table[low] + (table[low + 1] - table[low]) * (t_c - low)


def _expected(rows, flow, supply, back):
    """Every window of one device, by the plainest of loops."""
    t_ms = [EPOCH_MS + round(1000 * row["t_s"]) for row in rows]
    supply_c = [row[supply] - KELVIN for row in rows]
    density = [_in_table(DENSITY_KG_M3, t) for t in supply_c]
    q_m3_h = [3600 * row[flow] / rho for row, rho in zip(rows, density, strict=True)]
    return_c = [row[back] - KELVIN for row in rows] if back else None
    series = {"q": q_m3_h, "qs": [q * t for q, t in zip(q_m3_h, supply_c, strict=True)]}
    if return_c is not None:
        series["qr"] = [q * t for q, t in zip(q_m3_h, return_c, strict=True)]
        series["kw"] = [
            q * rho * (_in_table(ENTHALPY_KJ_KG, s) - _in_table(ENTHALPY_KJ_KG, r)) / 3600
            for q, rho, s, r in zip(q_m3_h, density, supply_c, return_c, strict=True)
        ]
    for start in range(t_ms[0] // WINDOW_MS * WINDOW_MS, t_ms[-1] + 1, WINDOW_MS):
        yield start, _window(t_ms, series, start, start + WINDOW_MS)


def _window(t_ms, series, start, end):
    area = dict.fromkeys(series, 0.0)
    covered_ms = 0.0
    first = max(0, (start - t_ms[0]) // STEP_MS - 1)  # no step of the file is longer: see the test of it
    for i in range(first, min(first + 4, len(t_ms) - 1)):
        a, b = t_ms[i], t_ms[i + 1]
        low, high = max(a, start), min(b, end)
        if high <= low or b - a > GAP_MS:
            continue
        covered_ms += high - low
        for name, v in series.items():
            at_low = v[i] + (v[i + 1] - v[i]) * (low - a) / (b - a)
            at_high = v[i] + (v[i + 1] - v[i]) * (high - a) / (b - a)
            area[name] += (at_low + at_high) / 2 * (high - low) / 1000
    coverage = covered_ms / WINDOW_MS
    flowed = area["q"] > 0
    enough = coverage >= 0.9
    return {
        "volume_m3": area["q"] / 3600,
        "flow_m3_h": area["q"] / (covered_ms / 1000),
        "supply_c": area["qs"] / area["q"] if flowed else None,
        "return_c": area["qr"] / area["q"] if flowed and "qr" in area else None,
        "heat_gj": area["kw"] / 1e6 if enough and "kw" in area else None,
        "coverage": coverage if "kw" in area else 0.0,
    }


def test_the_recording_is_as_the_plain_arithmetic_takes_it(recording):
    _, rows = recording
    assert [row["t_s"] for row in rows] == [900.0 * i for i in range(len(rows))]
    assert len(rows) in {288, 672}


@pytest.mark.parametrize("device", DEVICES)
def test_every_window_equals_plain_arithmetic(recording, windows, device):
    _, rows = recording
    _, flow, supply, back = DEVICES[device]
    expected = dict(_expected(rows, flow, supply, back))
    ours = {start: w for (key, start), w in windows.items() if key == device}
    assert ours.keys() == expected.keys()
    assert len(ours) == len(rows)
    worst = 0.0
    compared = 0
    for start, want in expected.items():
        got = ours[start]
        assert got["coverage"] == pytest.approx(want["coverage"], rel=REL)
        for field in FIELDS:
            assert (got[field] is None) == (want[field] is None), (start, field, got, want)
            if want[field] is not None:
                assert got[field] == pytest.approx(want[field], rel=REL, abs=1e-15), (start, field)
                compared += 1
                if want[field]:
                    worst = max(worst, math.fabs(got[field] / want[field] - 1))
    heat_gj = sum(w["heat_gj"] or 0.0 for w in ours.values())
    print(
        f"{device}: {compared} values in {len(ours)} windows, the worst off by {worst:.1e}; "
        + (f"heat {heat_gj:.4f} GJ" if back else "heat unknown")
    )
    settled = [w["status"] for w in ours.values() if w["status"] != "provisional"]
    assert len(settled) > 0.6 * len(rows), "what may still come, a day late, is provisional"
    if back is None:
        assert set(settled) == {"unknown"}, "without a return temperature heat is not known, and never zero"
        assert {w["heat_gj"] for w in ours.values()} == {None}
    else:
        assert settled.count("final") >= len(settled) - 1
        assert heat_gj > 0
