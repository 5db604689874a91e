"""A real meter through collector, broker and server: nothing lost, nothing doubled, heat as counted.

The gate sends a week with the change to summer time in them, the soak the whole half-year.
"""

from __future__ import annotations

import csv
import json
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow.parquet as pq
import pytest

from models.heat import heat_power_kw
from tests.support.mosquitto import Mosquitto
from tests.support.system import Program, Server, device_rows, recordings, run, write_site
from tests.support.waiting import until

ZONE = ZoneInfo("Europe/Tallinn")
GJ_PER_MWH = 3.6
SPANS = {"a week": ("2019-03-28", "2019-04-04"), "half-year": ("2019-01-01", "2019-07-01")}
REPEATED = {"a week": 23, "half-year": 143}
SITE = {
    "site.toml": (
        '[site]\nname = "one building"\ntimezone = "Europe/Tallinn"\n'
        '[[region]]\nid = "ee"\nname = "Tallinn"\n[[unit]]\nid = "house"\nregion = "ee"\nname = "house"\n'
    ),
    "devices.csv": (
        "device,class,unit,mounting,interval_s,qp_m3_h,accuracy_class,dt_min_k\n"
        "meter-10259,meter,house,return,3600,1.5,2,3\n"
    ),
}
COLLECTOR = """
[mqtt]
url = "{url}"
[outbox]
dir = "outbox"
[[device]]
id = "meter-10259"
region = "ee"
unit = "house"
class = "meter"
interval_s = 3600
driver = "csv"
[device.csv]
path = "{path}"
time_column = "READ_DATE"
time_format = "%Y-%m-%d %H:%M:%S"
timezone = "Europe/Tallinn"
pace = "fast"
[device.csv.columns]
energy_gj = {{ column = "ENERGY", unit = "MWh" }}
volume_m3 = "VOLUME"
operating_h = "HOURS"
heat_kw = "POWER1"
flow_m3_h = {{ column = "FLOW", unit = "l/h" }}
supply_c = "FLOW_TEMP"
return_c = "RETURN_TEMP"
"""


def _ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp() * 1000)


@pytest.fixture(scope="module", params=["a week", pytest.param("half-year", marks=pytest.mark.soak)])
def recording(request, tmp_path_factory):
    """A span of the file: where it is, its rows as a spreadsheet would show them, how many are said twice."""
    path = recordings("heat_meter/meter_10259_2019_h1.csv")
    first, until_day = SPANS[request.param]
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = [row for row in reader if first <= row["READ_DATE"] < until_day]
    part = tmp_path_factory.mktemp("recording") / path.name
    with part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, reader.fieldnames)
        writer.writeheader()
        writer.writerows(rows)
    return part, rows, REPEATED[request.param]


@pytest.fixture(scope="module")
def ran(recording, tmp_path_factory):
    """The recording sent by a collector to a server on the data's clock, then both stopped."""
    path, rows, repeated = recording
    home = tmp_path_factory.mktemp("heat_meter")
    site = write_site(home / "site", SITE)
    with Mosquitto() as broker, Server(home / "up", site, broker.url, "--clock", "data") as server:
        server.ready_for_messages()
        config = home / "collector.toml"
        config.write_text(COLLECTOR.format(url=broker.url, path=path), encoding="utf-8")
        with Program(home / "edge", "edge", "--config", config, "--json") as collector:
            collector.wait(300)
            sent = json.loads(collector.out)
        until(
            lambda: server.status()["rows"].get("reading", 0) >= len(rows) - repeated,
            "every reading stored",
            seconds=240,
        )
        status = server.status()
        server.stop()
    return {"home": home, "site": site, "data": server.data, "collector": sent, "status": status}


def test_every_message_is_accounted_for_and_repeats_double_nothing(recording, ran):
    _, rows, repeated = recording
    final = json.loads(run("status", "--data-dir", ran["data"], "--json").stdout)
    ledger = final["ledger"]
    print(f"ledger {ledger}, rows {final['rows']}, collector {ran['collector']}")
    assert ledger["unaccounted"] == ledger["waiting"] == ledger["thinned"] == ledger["dead_lettered"] == 0
    assert ledger["sent"] == ledger["stored"] > 0
    assert len(rows) - len({row["READ_DATE"] for row in rows}) == repeated
    assert ledger["repeat"] == repeated
    assert final["rows"]["reading"] == len(rows) - repeated
    days = [row["window_start"] for row in device_rows(ran["data"], "ledger")]
    assert min(days) >= _ms(rows[0]["READ_DATE"]), "a day before the first sample"
    readings = device_rows(ran["data"], "reading")
    assert sorted(r["window_start"] for r in readings) == sorted({_ms(row["READ_DATE"]) for row in rows})
    assert sum("repeat" in (r["quality"] or "") for r in readings) <= repeated


def test_heat_is_the_counters(recording, ran):
    _, rows, _ = recording
    counted_gj = (float(rows[-1]["ENERGY"]) - float(rows[0]["ENERGY"])) * GJ_PER_MWH
    counted_m3 = float(rows[-1]["VOLUME"]) - float(rows[0]["VOLUME"])
    windows = device_rows(ran["data"], "device_heat")
    heat_gj = sum(w["heat_gj"] or 0.0 for w in windows)
    volume_m3 = sum(w["volume_m3"] or 0.0 for w in windows)
    print(f"heat {heat_gj:.6f} GJ, counter {counted_gj:.6f} GJ, off by {heat_gj / counted_gj - 1:.2e}")
    assert heat_gj == pytest.approx(counted_gj, rel=1e-4)
    assert volume_m3 == pytest.approx(counted_m3, rel=1e-4)
    assert all(w["heat_u_gj"] is None or 0 <= w["heat_u_gj"] <= 0.3 * w["heat_gj"] + 1e-6 for w in windows)


def test_the_hour_that_summer_time_skips_leaves_no_gap_and_no_jump(ran):
    windows = device_rows(ran["data"], "device_heat")
    starts = [w["window_start"] for w in windows]
    assert starts == list(range(starts[0], starts[-1] + 1, 900_000)), "a window is missing or twice"
    heat_gj = np.array([np.nan if w["heat_gj"] is None else w["heat_gj"] for w in windows])
    inside = ~np.isnan(heat_gj)
    assert inside[:-1].all()
    assert heat_gj[inside].min() >= 0.0
    near = [
        i for i, start in enumerate(starts)
        if _ms("2019-03-31 00:00:00") <= start < _ms("2019-03-31 06:00:00")
    ]  # fmt: skip
    assert len(near) == 5 * 4, "the local morning of 31 March has 23 hours"
    print(f"heat around the change: {heat_gj[near].round(4).tolist()} GJ a window")
    assert heat_gj[near].max() < 1.5 * np.median(heat_gj[near])
    assert {windows[i]["status"] for i in near} == {"final"}
    assert {windows[i]["coverage"] for i in near} == {1.0}


@pytest.mark.parametrize("mounting", ["return", "supply"])
def test_power_from_flow_and_temperatures_against_the_meters_own(recording, ran, mounting):
    _, rows, _ = recording
    readings = device_rows(ran["data"], "reading")
    flow, supply, back, own = (
        np.array([np.nan if r[name] is None else r[name] for r in readings])
        for name in ("flow_m3_h", "supply_c", "return_c", "heat_kw")
    )
    ours_kw = heat_power_kw(flow, supply, back, np.full(len(flow), mounting == "supply"))
    running = (own > 5.0) & np.isfinite(ours_kw)
    low, middle, high = np.percentile(ours_kw[running] / own[running], [5, 50, 95])
    print(
        f"power from flow and temperatures over POWER1, meter on the {mounting}: "
        f"median {middle:.4f}, 5 to 95 % {low:.4f} to {high:.4f}, {running.sum()} hours over 5 kW"
    )
    assert running.sum() > 0.65 * len(rows)
    assert middle == pytest.approx(1.0, abs=0.03)
    assert 0.9 < low < high < 1.1


def test_the_exported_journal_replays_to_the_same_rows(recording, ran):
    _, rows, _ = recording
    home = ran["home"]
    exported = json.loads(
        run(
            "journal", "export", "--data-dir", ran["data"], "--out", home / "journal.parquet", "--json"
        ).stdout
    )
    out = home / "replayed"
    words = ("--site", ran["site"], "--out", out, "--json")
    replayed = json.loads(run("replay", home / "journal.parquet", *words, timeout=300).stdout)
    print(f"exported {exported}, replayed {replayed}")
    assert replayed["dead_letters"] == 0
    ours = {w["window_start"]: w for w in device_rows(ran["data"], "device_heat")}
    theirs = {w["window_start"]: w for w in pq.read_table(out / "device_heat.parquet").to_pylist()}
    settled = {t for t, w in ours.items() if w["status"] != "provisional"}
    assert len(settled) > 3.8 * len({row["READ_DATE"] for row in rows}), "four windows an hour"
    assert settled <= theirs.keys()
    for start in settled:
        assert {k: v for k, v in ours[start].items() if k != "revision"} == {
            k: v for k, v in theirs[start].items() if k != "revision"
        }
    assert all(ours[t]["heat_gj"] == theirs[t]["heat_gj"] for t in ours)
    mine, again = (
        {r["window_start"]: r for r in rows}
        for rows in (device_rows(ran["data"], "reading"), pq.read_table(out / "reading.parquet").to_pylist())
    )
    left_out = ("offset", "received_ms")
    assert mine.keys() == again.keys()
    for start, row in mine.items():
        assert {k: v for k, v in row.items() if k not in left_out} == {
            k: v for k, v in again[start].items() if k not in left_out
        }
