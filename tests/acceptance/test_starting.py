"""Starting wrongly is one clear line and exit code 2; a broker that is away is waited for."""

from __future__ import annotations

import socket
import time

import pytest

from tests.support.mosquitto import Mosquitto
from tests.support.system import Program, Publisher, Server, device_rows, run, write_site
from tests.support.waiting import PATIENCE_S, until

SITE = {
    "site.toml": (
        '[site]\nname = "one"\ntimezone = "UTC"\n[[region]]\nid = "r1"\nname = "r"\n'
        '[[unit]]\nid = "u1"\nregion = "r1"\nname = "u"\n'
    ),
    "devices.csv": "device,class,unit,interval_s\nmeter-1,meter,u1,10\n",
}
TEN_MISTAKES = {
    "site.toml": (
        '[site]\nname = "wrong"\ntimezone = "Asia/Shanhai"\nlateness_s = -1\n'
        '[[region]]\nid = "r 1"\nname = "north"\n[[unit]]\nid = "u1"\nregion = "r1"\nname = "one"\n'
    ),
    "devices.csv": (
        "device,class,unit,lat_deg,lon_deg,mounting,interval_s\n"
        "sub-1,substatoin,u1,,,,10\n"
        "sub-2,substation,u9,,,,10\n"
        "sub-3,substation,u1,95,10,,10\n"
        "sub-4,substation,u1,,,top,10\n"
        "sub-5,substation,u1,,,,ten\n"
        "sub-5,substation,u1,,,,10\n"
    ),
}


@pytest.fixture
def site(tmp_path):
    return write_site(tmp_path / "site", SITE)


@pytest.fixture
def taken():
    """A port that somebody listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def up(site, data, *options):
    return ("up", "--site", site, "--data-dir", data, "--mqtt-port", 0, "--port", 0, *options)


def one_line(*words, says):
    done = run(*words, code=2)
    print(done.stderr.strip())
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    for part in says:
        assert str(part) in done.stderr


def test_a_site_with_ten_mistakes_is_ten_lines(tmp_path):
    wrong = write_site(tmp_path / "wrong", TEN_MISTAKES)
    checked = run("site", "check", wrong, code=2)
    lines = checked.stdout.splitlines()
    print(checked.stdout)
    assert len(lines) == 10
    assert all(line.split(":")[0] in TEN_MISTAKES and line.split(":")[1].isdigit() for line in lines)
    started = run(*up(wrong, tmp_path / "data"), code=2)
    assert started.stderr.splitlines() == lines
    assert not (tmp_path / "data").exists()


def test_a_port_in_use(tmp_path, site, taken):
    one_line(*up(site, tmp_path / "a", "--port", taken), says=["port", taken])
    one_line(*up(site, tmp_path / "b", "--mqtt-port", taken), says=["port", taken])
    words = ("demo", "--for", 5, "--port", taken, "--data-dir", tmp_path / "demo")
    one_line(*words, says=["port", taken, "--port takes another, 0 any free one"])


def test_a_directory_that_cannot_be_written(tmp_path, site):
    file = tmp_path / "file"
    file.write_text("in the way")
    one_line(*up(site, file / "below"), says=["data-dir", file / "below"])
    one_line("demo", "--for", 5, "--port", 0, "--data-dir", file / "below", says=["data-dir", file / "below"])
    config = collector(tmp_path, "mqtt://127.0.0.1:1", outbox=file / "below")
    one_line("edge", "--config", config, says=["outbox", file / "below"])


def test_a_second_server_or_collector_on_the_same_data(tmp_path, site):
    with Server(tmp_path / "up", site, None, executed=True) as server:
        one_line(*up(site, server.data), says=["data-dir", server.data])
        config = collector(tmp_path, server.broker, rows=1000, pace=1.0)
        with Program(tmp_path / "edge", "edge", "--config", config, executed=True) as first:
            until((tmp_path / "outbox" / "outbox.sqlite").exists, "the first collector's outbox")
            until(lambda: server.status()["rows"].get("reading"), "a reading")
            one_line("edge", "--config", config, says=["outbox"])
            first.stop()
        server.stop()


def collector(home, url, *, outbox="outbox", rows=5, pace="fast"):
    """A collector of one meter whose recording begins now."""
    begin = int(time.time()) * 1000
    lines = [f"{begin + 1000 * i},{i / 100}" for i in range(rows)]
    (home / "meter.csv").write_text("\n".join(["t,energy", *lines, ""]))
    given = f'"{pace}"' if isinstance(pace, str) else pace
    path = home / "collector.toml"
    path.write_text(
        f'[mqtt]\nurl = "{url}"\n[outbox]\ndir = "{outbox}"\n[[device]]\nid = "meter-1"\nregion = "r1"\nunit = "u1"\n'
        f'class = "meter"\ninterval_s = 10\ndriver = "csv"\n[device.csv]\npath = "meter.csv"\ntime_column = "t"\n'
        f'time_format = "unix_ms"\npace = {given}\n[device.csv.columns]\nenergy_gj = "energy"\n'
    )
    return path


def test_an_unreachable_broker_is_waited_for(tmp_path, site):
    broker = Mosquitto()
    config = collector(tmp_path, broker.url)
    assert run("edge", "--config", config, "--check", "--json", code=1)
    with (
        Program(
            tmp_path / "check", *up(site, tmp_path / "checked", "--mqtt", broker.url, "--check")
        ) as check,
        Server(tmp_path / "up", site, broker.url, executed=True) as server,
        Program(tmp_path / "edge", "edge", "--config", config, executed=True) as edge,
    ):
        until(lambda: server.states()["ingest"] == "degraded", "ingest is degraded")
        until(lambda: "degraded" in server.err and "degraded" in edge.err, "both say so")
        assert run("status", "--data-dir", server.data, "--check", code=1)
        check.wait(PATIENCE_S, code=1)
        assert check.err.count("degraded") == 1
        time.sleep(1)
        assert server.running
        assert edge.running
        with broker:
            server.ready_for_messages()
            edge.wait(PATIENCE_S)
            until(lambda: server.status()["ledger"]["stored"] > 0, "the recording stored")
            with Publisher(broker.url) as publish:
                sample = {"t": time.time_ns() // 1_000_000, "supply_c": 80.0}
                publish("hearthline/v1/r1/u1/meter-1/telemetry", {"boot": 5, "seq": 1, "samples": [sample]})
            until(
                lambda: server.rows("reading", "--field", "supply_c")[-1].get("supply_c"),
                "a message stored",
            )
            server.stop()
        print(server.err.strip(), edge.err.strip(), sep="\n")
        assert "all parts ok again" in server.err
    assert len(device_rows(server.data, "reading")) == 6
