"""Stopped by SIGTERM or Ctrl-C, in mid-stream, system and collector end cleanly and resume where they were."""

from __future__ import annotations

import signal

from tests.support.mosquitto import free_port
from tests.support.system import Program, Server, device_rows, run, write_site
from tests.support.waiting import PATIENCE_S, until

ROWS = 3000
T0 = 1_767_225_600_000
INTERVAL_MS = 10_000
PACE = 2000.0
"""Recorded seconds a second: the recording lasts 15 s."""
GJ_A_ROW = 0.005
REGISTER_GJ = 40.0  # the first step from zero of a meter without a nominal flow may be its whole register
SITE = {
    "site.toml": (
        '[site]\nname = "one"\ntimezone = "UTC"\n[[region]]\nid = "r1"\nname = "r"\n'
        '[[unit]]\nid = "u1"\nregion = "r1"\nname = "u"\n'
    ),
    "devices.csv": "device,class,unit,interval_s,mounting\nmeter-1,meter,u1,10,return\n",
}


def write_collector(home, url):
    lines = [f"{T0 + INTERVAL_MS * i},{REGISTER_GJ + GJ_A_ROW * i:.3f},{80 + i % 7}" for i in range(ROWS)]
    (home / "meter.csv").write_text("\n".join(["t,energy,supply", *lines, ""]))
    path = home / "collector.toml"
    path.write_text(
        f'[mqtt]\nurl = "{url}"\n[outbox]\ndir = "outbox"\n[[device]]\nid = "meter-1"\nregion = "r1"\nunit = "u1"\n'
        'class = "meter"\ninterval_s = 10\nmax_samples = 10\ndriver = "csv"\n[device.csv]\npath = "meter.csv"\n'
        f'time_column = "t"\ntime_format = "unix_ms"\npace = {PACE}\n[device.csv.columns]\nenergy_gj = "energy"\n'
        'supply_c = "supply"\n'
    )
    return path


def test_a_stop_of_either_loses_and_doubles_nothing(tmp_path):
    site = write_site(tmp_path / "site", SITE)
    port = free_port()
    config = write_collector(tmp_path, f"mqtt://127.0.0.1:{port}")
    taken: list[float] = []

    def server():
        return Server(tmp_path / "up", site, None, "--clock", "data", "--mqtt-port", port)

    def edge():
        return Program(tmp_path / "edge", "edge", "--config", config)

    def stored(running, least):
        until(lambda: running.status()["rows"].get("reading", 0) >= least, f"{least} readings", every=0.1)

    with server() as first, edge() as collector:
        stored(first, 300)
        taken.append(collector.stop(signal.SIGINT))
        taken.append(first.stop(signal.SIGTERM))
    kept = len(device_rows(first.data, "reading"))
    assert 300 <= kept < ROWS
    one = counts(first.data)
    assert one["unaccounted"] == 0
    assert not (first.data / "server.json").exists()
    with server() as second, edge() as collector:
        stored(second, kept + 300)
        taken.append(second.stop(signal.SIGINT))  # the broker goes with it, the collector stays
        assert collector.running
        two = counts(second.data)
        assert all(two[name] >= one[name] for name in ("sent", "stored"))
        with server() as third:
            stored(third, kept + 900)
            taken.append(collector.stop(signal.SIGTERM))
            with edge() as last:
                last.wait(2 * PATIENCE_S)
            assert "goes on after message" in last.err
            stored(third, ROWS)
            taken.append(third.stop(signal.SIGTERM))
    three = counts(third.data)
    print(f"stops took {[round(s, 1) for s in taken]} s; ledgers {one}, {two}, {three}")
    assert max(taken) < 60, "a stop that waits for something that does not come"
    assert three["unaccounted"] == three["waiting"] == three["dead_lettered"] == three["thinned"] == 0
    assert three["sent"] == three["stored"]
    assert three["repeat"] == 0
    readings = device_rows(third.data, "reading")
    assert [(r["window_start"], r["energy_gj"], r["supply_c"]) for r in readings] == [
        (T0 + INTERVAL_MS * i, round(REGISTER_GJ + GJ_A_ROW * i, 3), 80.0 + i % 7) for i in range(ROWS)
    ]
    windows = device_rows(third.data, "device_heat")
    starts = [w["window_start"] for w in windows]
    assert starts == list(range(T0, T0 + INTERVAL_MS * ROWS, 900_000))
    assert abs(sum(w["heat_gj"] or 0.0 for w in windows) - GJ_A_ROW * (ROWS - 1)) < 1e-9
    # Live data goes first: what waited while the server was away restates what its lateness had settled.
    assert {w["status"] for w in windows} <= {"final", "provisional"}


def counts(data):
    [row] = device_rows(data, "ledger", "--latest")
    names = ("sent", "stored", "dead_lettered", "waiting", "thinned", "unaccounted", "duplicate", "repeat")
    return {name: row[name] for name in names}


def test_a_collector_that_waits_for_its_server_still_stops(tmp_path):
    config = write_collector(tmp_path, f"mqtt://127.0.0.1:{free_port()}")
    assert run("edge", "--config", config, "--check", code=1)
    with Program(tmp_path / "edge", "edge", "--config", config) as edge:
        until(lambda: "degraded" in edge.err, "it says that the broker is away")
        edge.stop(signal.SIGTERM)
