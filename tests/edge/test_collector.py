"""Collectors against a real broker."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from itertools import count, pairwise
from pathlib import Path

import pytest

from edge.config import DeviceConfig, MqttConfig
from edge.driver import DriverError, Reading
from edge.network import reach
from edge.pacing import WINDOW
from edge.run import Fleet, wall_ms
from models.wire import State
from tests.support.edge_server import FakeServer
from tests.support.mosquitto import Mosquitto, free_port
from tests.support.waiting import PATIENCE_S, until

ROOT = Path(__file__).parents[2]


class Counting:
    """Gives 1, 2, 3 … one reading a call, or what `give` says."""

    def __init__(self, last=10**9):
        self.n = 0
        self.last = last
        self.hang = threading.Event()
        self.hang.set()
        self.fail = False
        self.closed = False

    def read(self, now_ms):
        self.hang.wait()
        if self.fail:
            raise DriverError("expected an answer of /dev/ttyS0, got none")
        self.n += 1
        return [Reading(now_ms, {"supply_c": float(self.n)})]

    @property
    def exhausted(self):
        return self.n >= self.last

    def close(self):
        self.closed = True


def device(name, **kw):
    given = {"id": name, "region": "r1", "unit": "u1", "class": "substation", "interval_s": 0.02}
    return DeviceConfig.model_validate({**given, **kw})


@pytest.fixture
def broker():
    with Mosquitto() as running:
        yield running


@pytest.fixture
def server(broker):
    running = FakeServer(broker.port)
    yield running
    running.close()


class Running:
    """A fleet that runs in a thread of the test."""

    def __init__(self, port, directory, units, *, mqtt=None, **kw):
        self.said = []
        mqtt = mqtt or MqttConfig(url=f"mqtt://127.0.0.1:{port}")
        self.fleet = Fleet(units, mqtt, directory, say=self.said.append, **kw)
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.fleet.run, args=(self.stop,))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()


def values(server, name):
    return [s["supply_c"] for s in server.samples(name)]


def test_introduces_itself_sends_and_forgets_on_ack(server, broker, tmp_path):
    drivers = {name: Counting(last=30) for name in ("a", "b")}
    with Running(broker.port, tmp_path, [(device(n), d) for n, d in drivers.items()]) as running:
        until(lambda: not running.thread.is_alive())
    for name, driver in drivers.items():
        assert values(server, name) == [float(n) for n in range(1, 31)]
        (birth,) = server.births[name]
        assert birth["class"] == "substation"
        assert birth["boot"] == running.fleet.final[name]["boot"]
        assert birth["interval_s"] == 0.02
        assert birth["collector"].startswith("hearthline-edge")
        until(lambda name=name: server.deaths[name])
        last = State.model_validate(server.states[name][-1])
        assert (last.next_seq, last.waiting, last.waiting_from, last.thinned) == (31, [], None, [])
        assert server.deaths[name] == [{"boot": birth["boot"]}]
        assert driver.closed
    assert running.said == [f"connected: broker mqtt://127.0.0.1:{broker.port}: 2 devices connected"]


def test_nothing_leaves_the_outbox_without_ack(broker, tmp_path):
    server = FakeServer(broker.port, acking=False)
    with Running(broker.port, tmp_path, [(device("a"), Counting(last=5))]) as running:
        until(lambda: len(server.stored["a"]) == 5)
        time.sleep(0.3)
        assert running.thread.is_alive()
    assert running.fleet.final["a"]["waiting"] == [(1, 5)]
    until(lambda: server.states["a"] and server.states["a"][-1]["waiting"] == [[1, 5]])
    server.acking = True
    with Running(broker.port, tmp_path, [(device("a"), Counting(last=1))]) as running:
        until(lambda: not running.thread.is_alive())
    assert len(server.stored["a"]) == 6
    assert running.fleet.final["a"]["waiting"] == []
    assert server.births["a"][0]["boot"] == server.births["a"][1]["boot"]
    server.close()


def test_what_was_lost_is_sent_again_on_command_and_by_itself(server, broker, tmp_path, monkeypatch):
    monkeypatch.setattr("edge.pacing.FIRST_RETRY_S", 0.5)
    lost = {3, 4, 9}
    server.lose = lambda seq: seq in lost
    with Running(broker.port, tmp_path, [(device("a"), Counting(last=12))]) as running:
        until(lambda: len(server.stored["a"]) == 9)
        lost -= {3, 4}
        server.command("r1", "u1", "a", [[3, 4]])
        until(lambda: len(server.stored["a"]) == 11)
        lost.clear()
        until(lambda: not running.thread.is_alive())
    assert values(server, "a") == [float(n) for n in range(1, 13)]


def test_broker_restarts_lose_nothing(server, broker, tmp_path):
    with Running(broker.port, tmp_path, [(device("a"), Counting()), (device("b"), Counting())]) as running:
        for round_ in range(3):
            before = len(server.stored["a"])
            until(lambda before=before: len(server.stored["a"]) > before + 10)
            broker.kill()
            until(lambda round_=round_: sum("degraded" in s for s in running.said) == round_ + 1)
            broker.restart(wipe=True)
            until(lambda round_=round_: sum("recovered" in s for s in running.said) == round_ + 1)
        drivers = [unit.driver for unit in running.fleet.units]
        for driver in drivers:
            driver.last = 0
        until(lambda: not running.thread.is_alive())
    for name, driver in zip(("a", "b"), drivers, strict=True):
        assert values(server, name) == [float(n) for n in range(1, driver.n + 1)]
        assert running.fleet.final[name]["waiting"] == []
    assert len(running.said) == 7, running.said
    assert running.said[0].startswith("connected")


def test_an_unreachable_broker_is_said_once_and_reading_goes_on(tmp_path):
    port = free_port()
    with Running(port, tmp_path, [(device("a"), Counting()), (device("b"), Counting())]) as running:
        until(lambda: running.fleet.units[0].outbox.count > 60)
    assert len(running.said) == 1
    assert f"degraded: broker mqtt://127.0.0.1:{port}: " in running.said[0]
    assert "refused" in running.said[0]


def test_live_data_is_not_delayed_behind_a_backlog(broker, tmp_path):
    quick = Counting(last=3000)
    quick.read = lambda now_ms, d=quick: [
        Reading(now_ms, {"supply_c": float(d.n + k)}) for k in range(100) if not setattr(d, "n", d.n + 1)
    ]
    with Running(free_port(), tmp_path, [(device("a", max_samples=1), quick)]) as running:
        until(lambda: running.fleet.units[0].outbox.last_seq >= 3000)
    server = FakeServer(broker.port, acking=False)
    with Running(broker.port, tmp_path, [(device("a"), Counting())]):
        until(lambda: any(seq > 3000 for _, seq in server.order))
        until(lambda: sum(seq > 3000 for _, seq in server.order) > 20)
        until(lambda: sum(seq <= 3000 for _, seq in server.order) >= WINDOW)
        backlog = {seq for _, seq in server.order if seq <= 3000}
        assert backlog == set(range(1, WINDOW + 1)), "a window of the oldest, paced by acks that do not come"
    server.close()


def test_a_hung_driver_delays_nobody_and_a_failing_one_is_said(server, broker, tmp_path):
    hung, failing, well = Counting(), Counting(), Counting()
    hung.hang.clear()
    failing.fail = True
    units = [(device("hung"), hung), (device("failing"), failing), (device("well"), well)]
    with Running(broker.port, tmp_path, units) as running:
        until(lambda: len(server.stored["well"]) > 50)
        assert any("failing: expected an answer of /dev/ttyS0, got none" in s for s in running.said)
        failing.fail = False
        until(lambda: len(server.stored["failing"]) > 5)
        assert not server.stored["hung"]
        hung.hang.set()
        until(lambda: len(server.stored["hung"]) > 5)
    assert len(running.said) < 15, "said ten times, then rarely"


def test_what_is_being_read_at_a_stop_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.fleet.RETIRE_S", PATIENCE_S)
    slow, asked = Counting(), threading.Event()
    read = slow.read

    def late(now_ms):
        asked.set()
        fleet._stop.wait()
        time.sleep(0.3)
        return read(now_ms)

    slow.read = late
    fleet = Fleet(
        [(device("a"), slow)], MqttConfig(url=f"mqtt://127.0.0.1:{free_port()}"), tmp_path, say=print
    )
    fleet.start()
    assert asked.wait(PATIENCE_S)
    fleet.stop()
    assert (slow.n, fleet.final["a"]["waiting"]) == (1, [(1, 1)])


def test_samples_can_be_batched(server, broker, tmp_path):
    with Running(broker.port, tmp_path, [(device("a", batch_s=0.5), Counting(last=60))]) as running:
        until(lambda: not running.thread.is_alive())
    assert values(server, "a") == [float(n) for n in range(1, 61)]
    times = [s["t"] for s in server.samples("a")]
    # The sixty take 1.2 s, and longer where the machine is slow.
    assert 2 <= len(server.stored["a"]) <= (times[-1] - times[0]) / 500 + 2


def test_schedules_follow_the_clock_that_is_passed(server, broker, tmp_path):
    start, looks, units = 1_700_000_025_000, count(), []
    now = [start]

    def clock():
        """Goes on by a second at each look, and stands while the device is read: no machine is too slow for it."""
        if units and units[0].busy_since_s is None:
            now[0] = start + 1000 * next(looks)
        return now[0]

    given = [(device("a", interval_s=60), Counting(last=6))]
    with Running(broker.port, tmp_path, given, clock=clock, speed=1e6) as running:
        units += running.fleet.units
        until(lambda: not running.thread.is_alive())
    times = [s["t"] for s in server.samples("a")]
    assert all(t % 60_000 < 30_000 for t in times[1:]), "on the minute of that clock, but for the first"
    assert [b // 60_000 - a // 60_000 for a, b in pairwise(times[1:])] == [1] * 4
    assert start <= server.births["a"][0]["at"] < start + 600_000


def test_forged_and_broken_messages_do_no_harm(server, broker, tmp_path):
    with Running(broker.port, tmp_path, [(device("a"), Counting())]) as running:
        until(lambda: len(server.stored["a"]) > 3)
        boot = server.births["a"][0]["boot"]
        server.acking = False
        base = "hearthline/v1/r1/u1/a/"
        for payload in (b"", b"{", b"[]", b'{"boot":1}', b"\xff" * 10, b'{"boot":1,"ranges":[[9,1]]}'):
            server.client.publish(base + "ack", payload, qos=1)
            server.client.publish(base + "command", payload, qos=1)
        server.client.publish(base + "ack", json.dumps({"boot": boot + 1, "ranges": [[1, 10**9]]}), qos=1)
        until(lambda: any("expected a payload of `ack`" in s for s in running.said))
        before = len(server.stored["a"])
        until(lambda: len(server.stored["a"]) > before + 10)
        assert running.fleet.units[0].outbox.count > 10
        assert running.thread.is_alive()


TOML = """
[mqtt]
url = "{url}"
"""
DEVICE = """
[[device]]
id = "{name}"
region = "r1"
unit = "u1"
class = "meter"
interval_s = {interval}
driver = "csv"
max_samples = {most}
[device.csv]
path = "{name}.csv"
time_column = "t"
time_format = "unix_s"
pace = {pace}
[device.csv.columns]
supply_c = "a"
"""


def write_csv(directory, name, times):
    text = "t,a\n" + "".join(f"{t},{k}.5\n" for k, t in enumerate(times))
    (directory / f"{name}.csv").write_text(text)


def edge(path, *more):
    command = [
        sys.executable,
        "-c",
        "from hearthline.cli import main; main()",
        "edge",
        "--config",
        str(path),
        *more,
    ]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_recordings_advance_together(server, broker, tmp_path):
    """No device is journalled further ahead of another than the lateness lets it."""
    times = {"a": range(0, 36_000, 10), "b": range(0, 36_000, 300), "c": range(7200, 36_000, 60)}
    text = TOML.format(url=broker.url)
    for (name, seconds), interval in zip(times.items(), (10, 300, 60), strict=True):
        write_csv(tmp_path, name, seconds)
        text += DEVICE.format(name=name, interval=interval, most=100, pace='"fast"')
    (tmp_path / "e.toml").write_text(text)
    process = edge(tmp_path / "e.toml", "--json")
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert json.loads(out)["ok"]
    reached: dict[str, int] = {}
    now = 0
    for name, seq in server.order:
        ((_, samples),) = [(k, v) for k, v in server.stored[name].items() if k[1] == seq]
        assert samples[0]["t"] >= now - 600_000, f"{name} came {now - samples[0]['t']} ms late"
        reached[name] = samples[-1]["t"]
        now = max(now, reached[name])
    for name, seconds in times.items():
        assert [s["t"] // 1000 for s in server.samples(name)] == list(seconds)


def test_killed_in_mid_recording_every_row_comes_exactly_once(server, broker, tmp_path):
    write_csv(tmp_path, "a", range(0, 200_000, 10))
    (tmp_path / "e.toml").write_text(
        TOML.format(url=broker.url) + DEVICE.format(name="a", interval=10, most=20, pace='"fast"')
    )
    for round_ in range(3):
        process = edge(tmp_path / "e.toml")
        before = len(server.stored["a"])
        until(lambda before=before, round_=round_: len(server.stored["a"]) > before + 50 + 20 * round_)
        process.kill()
        process.communicate()
    process = edge(tmp_path / "e.toml", "--json")
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert "goes on after message" in err
    assert [s["t"] for s in server.samples("a")] == [t * 1000 for t in range(0, 200_000, 10)]
    assert len(server.births["a"]) == 4
    (box,) = json.loads(out)["devices"].values()
    assert box["next_seq"] == len(server.stored["a"]) + 1
    assert len({boot for boot, _ in server.stored["a"]}) == 1


def test_a_server_that_is_away_pauses_the_playback(broker, tmp_path):
    server = FakeServer(broker.port, acking=False)
    write_csv(tmp_path, "a", range(0, 100_000, 10))
    (tmp_path / "e.toml").write_text(
        TOML.format(url=broker.url) + DEVICE.format(name="a", interval=10, most=100, pace='"fast"')
    )
    process = edge(tmp_path / "e.toml")
    until(lambda: len(server.stored["a"]) >= 17)
    time.sleep(0.7)
    assert len(server.stored["a"]) <= 40
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    until(lambda: server.deaths["a"])
    server.close()


def test_a_damaged_record_is_named_and_ends_with_1(server, broker, tmp_path):
    (tmp_path / "a.csv").write_text("t,a\n10,1.5\n20,2.5,9\n30,3.5\n40,4.")
    (tmp_path / "e.toml").write_text(
        TOML.format(url=broker.url) + DEVICE.format(name="a", interval=10, most=100, pace='"fast"')
    )
    process = edge(tmp_path / "e.toml")
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "a.csv:3 (byte 11): expected 2 fields, got 3" in err
    assert "a.csv:5 (byte 27): expected a line end" in err
    assert [s["supply_c"] for s in server.samples("a")] == [1.5, 3.5]


def test_check_reads_each_driver_and_reaches_the_broker(broker, tmp_path):
    write_csv(tmp_path, "a", range(5))
    path = tmp_path / "e.toml"
    path.write_text(TOML.format(url=broker.url) + DEVICE.format(name="a", interval=10, most=9, pace="60"))
    process = edge(path, "--check", "--json")
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    result = json.loads(out)
    assert result["devices"]["a"] == {"ok": True, "readings": 1, "first": {"t": 0, "supply_c": 0.5}}
    assert result["broker"] == {"url": broker.url, "ok": True}
    assert result["outbox"] == {"dir": str(tmp_path / "outbox"), "ok": True}
    broker.kill()
    process = edge(path, "--check")
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "refused" in out
    assert not (tmp_path / "outbox").exists()


GOOD_DEVICE = DEVICE.format(name="m1", interval=10, most=9, pace='"fast"').replace(
    '[device.csv.columns]\nsupply_c = "a"\n', 'columns = { supply_c = "a" }\n'
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[device]]\nid = 'a b'\n", "e.toml: [[device]] number 1 (a b): id: expected 1 to 64 of"),
        ("", "device: expected a value"),
        (2 * GOOD_DEVICE, "[[device]]: id: expected each device once, got 'm1' twice"),
        (GOOD_DEVICE + "colour = 1\n", "(m1): csv: colour: expected a known field"),
        (
            "[mqtt]\nurl = 'mqtts://127.0.0.1:1'\nca_file = 'none.pem'\n" + GOOD_DEVICE,
            "[mqtt]: expected PEM files of a certificate and its key in",
        ),
    ],
)
def test_a_wrong_configuration_ends_with_2(tmp_path, text, expected):
    (tmp_path / "e.toml").write_text(text)
    process = edge(tmp_path / "e.toml")
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert expected in err
    assert "Traceback" not in err


def test_the_will_is_published_when_the_collector_is_killed(server, broker, tmp_path):
    write_csv(tmp_path, "a", range(0, 100_000, 10))
    path = tmp_path / "e.toml"
    path.write_text(TOML.format(url=broker.url) + DEVICE.format(name="a", interval=10, most=1, pace="10"))
    process = edge(path)
    until(lambda: len(server.stored["a"]) > 1)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    until(lambda: server.deaths["a"] == [{"boot": server.births["a"][0]["boot"]}])


def test_a_collector_stays_small():
    """Neither numpy nor pyarrow is loaded: a collector runs on small boxes."""
    code = (
        "import sys, hearthline.cli, edge.run, edge.drivers.csv, hearthline.commands.edge\n"
        "hearthline.cli.build()\n"
        "heavy = {'numpy', 'pyarrow', 'scipy', 'duckdb', 'faust', 'nicegui', 'models.frame'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_wall_clock_is_utc_ms():
    before = time.time_ns() // 1_000_000
    assert before <= wall_ms() <= time.time_ns() // 1_000_000


def test_tls_and_password(tmp_path, monkeypatch):
    """Over TLS, with large messages whose remains TLS keeps from `select`."""
    openssl, passwd = shutil.which("openssl"), shutil.which("mosquitto_passwd")
    if openssl is None or passwd is None:
        pytest.skip("openssl or mosquitto_passwd is not installed: apt-get install openssl mosquitto")
    key, cert, users = tmp_path / "key.pem", tmp_path / "cert.pem", tmp_path / "users"
    make = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    more = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*make, *more], check=True, capture_output=True)
    subprocess.run([passwd, "-c", "-b", str(users), "collector", "secret"], check=True, capture_output=True)
    port = free_port()
    lines = ["per_listener_settings true", f"listener {port} 127.0.0.1", "allow_anonymous false"]
    lines += [f"password_file {users}", f"certfile {cert}", f"keyfile {key}"]
    wordy = Counting(last=40)
    wordy.read = lambda now_ms, d=wordy: [
        Reading(now_ms, {f"note_{k}": "y" * 1000 for k in range(150)} | {"supply_c": float(d.n)})
        for _ in range(1)
        if not setattr(d, "n", d.n + 1)
    ]
    # Its first listener keeps the server's side plain; settings are each listener's own.
    with Mosquitto() as plain:
        config = plain.config.read_text().replace("allow_anonymous true\n", "")
        head = f"per_listener_settings true\nlistener {plain.port} 127.0.0.1\nallow_anonymous true\n"
        rest = [line for line in config.splitlines() if not line.startswith("listener")]
        plain.config.write_text("\n".join([head, *lines[1:], *rest, ""]))
        plain.restart()
        server = FakeServer(plain.port)
        for password, works in (("wrong", False), ("secret", True)):
            monkeypatch.setenv("HEARTHLINE_MQTT_PASSWORD", password)
            mqtt = MqttConfig(url=f"mqtts://127.0.0.1:{port}", username="collector", ca_file=cert)
            with Running(port, tmp_path / "box", [(device("a"), wordy)], mqtt=mqtt) as running:
                if works:
                    until(lambda running=running: not running.thread.is_alive())
                else:
                    until(lambda running=running: running.said)
                    assert "refused the connection" in running.said[0]
        assert values(server, "a") == [float(n) for n in range(1, wordy.n + 1)]
        mqtt = MqttConfig(url=f"mqtts://127.0.0.1:{port}", username="collector")
        assert "certificate verify failed" in (reach(mqtt) or "")
        server.close()
