"""A case played live: collectors, a broker and a server, as an operator starts them."""

import json
import time

import pyarrow.parquet as pq

from tests.support.simulated_cases import case_text
from tests.support.system import Program, Server, run
from tests.support.waiting import until


def test_a_case_is_played_through_collectors_and_arrives_whole(tmp_path):
    case = tmp_path / "case.toml"
    fault = {"kind": "sensor_broken", "place": "sub-02", "size": 850.0, "onset_h": 0.125}
    held = {"kind": "outage", "place": "sub-03", "onset_h": 0.05, "until_h": 0.1}
    case.write_text(case_text(fault, held, hours=0.25, interval=10, substations=3), encoding="utf-8")
    out = tmp_path / "run"
    # The site is known before the first message: a run of no moment writes it.
    short = tmp_path / "short.toml"
    short.write_text(case_text(hours=0.01, interval=10, substations=3), encoding="utf-8")
    run("simulate", "--case", short, "--out", tmp_path / "short")
    with Server(tmp_path / "server", tmp_path / "short" / "site", None) as server:
        words = (
            "--live",
            "--mqtt",
            f"mqtt://{server.broker}" if "://" not in server.broker else server.broker,
            "--speed",
            60,
            "--json",
        )
        began_ms = time.time() * 1000.0
        with Program(tmp_path / "live", "simulate", "--case", case, "--out", out, *words) as live:
            live.wait(240)
            summary = json.loads(live.out)
        assert summary["simulated"]
        assert summary["closes"]
        assert (summary["devices"], summary["steps"], summary["waiting"]) == (4, 90, 0)

        def of(device):
            rows = [r for r in server.rows("reading") if r["key"] == device]
            return sorted(rows, key=lambda r: r["window_start"])

        rows = until(lambda: (r := of("sub-02")) and len(r) >= 90 and r, "90 readings", every=1.0)
        assert [row["supply_c"] == 850.0 for row in rows] == [False] * 45 + [True] * 45
        assert len(of("sub-03")) == 90
        # Fifteen minutes in one quarter of a minute, and nothing of it is refused as ahead of the clock.
        assert rows[0]["window_start"] < began_ms - 600_000.0
        assert rows[-1]["window_start"] <= time.time() * 1000.0
        ledger = until(
            lambda: (told := server.status()["ledger"]) and told["stored"] == told["sent"] > 90 and told, "everything to be stored", every=1.0,
        )  # fmt: skip
        assert (ledger["dead_lettered"], ledger["waiting"], ledger["unaccounted"]) == (0, 0, 0)
    assert pq.read_table(out / "truth_device.parquet").num_rows == 90 * 4
    told = json.loads((out / "truth_faults.json").read_text(encoding="utf-8"))
    assert [f["kind"] for f in told["faults"]] == ["sensor_broken", "outage"]


def test_an_address_that_is_no_broker_is_named(tmp_path):
    case = tmp_path / "case.toml"
    case.write_text(case_text(hours=0.05), encoding="utf-8")
    words = ("--out", tmp_path / "o", "--live", "--mqtt", "http://x")
    done = run("simulate", "--case", case, *words, code=2)
    assert "mqtt: " in done.stderr
    assert "expected mqtt://HOST[:PORT] or mqtts://HOST[:PORT], got 'http://x'" in done.stderr
