"""The whole system with a simulated unit, as a newcomer starts it."""

from __future__ import annotations

import json
from dataclasses import replace
from urllib.request import urlopen

import pyarrow.parquet as pq
import pytest

from models.fulfilment import RESIDUALS
from simulator.demo_case import demo_case
from simulator.simulate import run as simulate
from tests.support.system import Program, run
from tests.support.waiting import PATIENCE_S, until


@pytest.mark.parametrize("seconds", [20, pytest.param(60, marks=pytest.mark.soak)])
def test_a_demo_fills_its_board_and_accounts_for_everything(tmp_path, seconds):
    home = tmp_path / "demo"
    words = ("demo", "--for", seconds, "--port", 0, "--data-dir", home / "data", "--json")
    with Program(home, *words, executed=True) as demo:
        said = until(lambda: [x for x in demo.err.splitlines() if "live board" in x], "the board's address")
        url = said[0].split()[-1]
        page = urlopen(url, timeout=PATIENCE_S).read().decode()  # somebody looks while it runs
        assert "<html" in page
        demo.wait(seconds + 2 * PATIENCE_S)
        summary = json.loads(demo.out)
    print(json.dumps(summary))
    assert summary["simulated"] is True
    assert seconds - 1 <= summary["seconds"] <= seconds + PATIENCE_S
    ledger = summary["ledger"]
    assert ledger["unaccounted"] == 0
    assert ledger["dead_lettered"] == ledger["thinned"] == 0
    assert (
        ledger["sent"] == ledger["stored"] + ledger["waiting"] > 8 * seconds
    )  # 8,000 in a minute of a quiet machine
    assert summary["devices"]["device_heat"] == 31  # a plant and 30 substations
    # Of windows of 15 minutes at 60 times real time; how many end before the demo does is the machine's business.
    assert summary["rows"]["device_heat"] >= 31
    assert summary["board"]["answering"] is True
    assert summary["board"]["first_data_s"] <= summary["seconds"]  # 5 on a quiet machine


def test_what_the_tour_speaks_of_comes_within_six_simulated_hours(tmp_path):
    start_ms = 1_790_001_900_000  # a quarter to: half an hour later is amid an hour
    done = simulate(replace(demo_case(1, start_ms), hours=5.5), tmp_path / "run")
    assert done.closes
    out = tmp_path / "results"
    run("replay", tmp_path / "run" / "telemetry.parquet", "--site", tmp_path / "run" / "site", "--out", out)
    found = {row["code"]: row for row in pq.read_table(out / "anomaly.parquet").to_pylist()}
    assert found.keys() >= {"pump_trip", "sensor_broken", "primary_leak", "detention"}
    assert found["pump_trip"]["subject"] == "sub-12"
    assert found["sensor_broken"]["subject"] == "sub-25"
    assert found["primary_leak"]["severity"] == "critical"
    assert "water_theft" not in found
    restated = pq.read_table(out / "restatement.parquet").to_pylist()
    assert {r["subject"] for r in restated if r["measurement"] == "device_heat"} == {"sub-07"}
    # It begins on the 21st of a month: papers of the days before make its contracts known.
    rows = [r for r in pq.read_table(out / "fulfilment.parquet").to_pylist() if r["month"] == "2026-09"]
    assert {r["status"] for r in rows} == {"final", "provisional"}
    newest = [r for r in rows if r["window_start"] == max(r["window_start"] for r in rows)]
    assert len(newest) == 2
    assert all(0.9 < r["received_kg"] / r["planned_to_date_kg"] < 1.1 for r in newest)
    assert not any(r[name] for r in rows for name in RESIDUALS)
    periods = pq.read_table(out / "fulfilment_period.parquet").to_pylist()
    assert {r["period"] for r in periods if r["received_kg"]} == {"quarter", "year"}
    assert not found.keys() & {"contract_shortfall", "quarter_shortfall", "year_shortfall", "phantom_ticket"}
