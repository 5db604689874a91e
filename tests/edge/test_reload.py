"""Another configuration while the collector runs: nothing lost, nobody else disturbed, a wrong one refused."""

from __future__ import annotations

import signal
import socket

import pytest

from edge.config import EdgeConfig
from edge.reload import changes
from edge.supervisor import Notifier, Supervisor
from tests.edge.test_collector import DEVICE, TOML, broker, edge, server, write_csv  # noqa: F401  fixtures
from tests.support.waiting import PATIENCE_S, until


def config(*names, url="mqtt://127.0.0.1:1", directory="outbox", **kw):
    given = {"region": "r", "unit": "u", "class": "meter", "interval_s": 10, "driver": "csv"}
    return EdgeConfig.model_validate({
        "mqtt": {"url": url}, "outbox": {"dir": directory}, "device": [{**given, "id": n, **kw} for n in names],
    })  # fmt: skip


def test_what_lies_between_two_configurations():
    change = changes(config("a", "b"), config("b", "c"))
    assert ([d.id for d in change.added], change.altered, change.removed, change.broker) == (
        ["c"],
        (),
        ("a",),
        False,
    )
    change = changes(config("a"), config("a", interval_s=20, url="mqtt://127.0.0.1:2"))
    assert ([d.id for d in change.altered], change.broker) == (["a"], True)
    assert str(change) == "0 added; 1 changed: a; 0 removed; broker settings changed"


def test_what_needs_a_new_start_is_refused():
    with pytest.raises(ValueError, match=r"\[outbox\]: dir: expected outbox as at the start, got other"):
        changes(config("a"), config("a", directory="other"))
    with pytest.raises(ValueError, match=r"\(a\): expected it unchanged"):
        changes(config("a"), config("a", interval_s=20), ["a"])


def test_devices_come_change_and_go_without_loss(server, broker, tmp_path, monkeypatch):  # noqa: F811
    manager = Manager(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    path = tmp_path / "e.toml"
    began = 1_700_000_000
    for name in "abcd":
        write_csv(tmp_path, name, range(began, began + 100_000, 10))

    def write(**intervals):
        text = TOML.format(url=broker.url)
        for name, interval in intervals.items():
            text += DEVICE.format(name=name, interval=interval, most=1, pace="200")
        path.write_text(text)

    write(a=10, b=10, c=10)
    process = edge(path)
    try:
        until(lambda: all(len(server.stored[name]) > 5 for name in "abc"))
        path.write_text(path.read_text() + "\n[[device]]\nid = 'x y'\n")
        process.send_signal(signal.SIGHUP)
        told = [manager.heard()[0] for _ in range(3)]  # the wrong file was read before the next is written
        before = len(server.stored["a"])
        until(lambda: len(server.stored["a"]) > before + 20, "a wrong file changes nothing")
        births = {name: len(server.births[name]) for name in "abc"}
        write(a=10, b=20, d=10)
        process.send_signal(signal.SIGHUP)
        until(lambda: len(server.births["b"]) > births["b"])
        until(lambda: len(server.stored["d"]) > 5 and server.deaths["c"])
        assert server.births["b"][-1]["interval_s"] == 20
        assert len(server.births["a"]) == births["a"], "not disturbed"
        count, other = len(server.stored["c"]), len(server.stored["b"])
        until(lambda: len(server.stored["b"]) > other + 10)
        assert len(server.stored["c"]) == count, "read no more"
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=PATIENCE_S)
    assert "configuration not taken, the old one holds: " in said
    assert "id: expected 1 to 64" in said
    assert "configuration read again: 1 added: d; 1 changed: b; 1 removed: c" in said
    for name in "abcd":
        times = [s["t"] // 1000 for s in server.samples(name)]
        assert times == list(range(began, began + 10 * len(times), 10)), name
        assert len({boot for boot, _ in server.stored[name]}) == 1
    told += [manager.heard()[0] for _ in range(3)]
    assert told == ["READY=1", *["RELOADING=1", "READY=1"] * 2, "STOPPING=1"]


class Manager:
    """The service manager's end of the socket."""

    def __init__(self, path, **more):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(PATIENCE_S)
        self.notifier = Notifier({"NOTIFY_SOCKET": str(path), **more})

    def heard(self):
        return self.socket.recv(4096).decode().splitlines()


class Watched:
    def __init__(self, turned_s):
        self.turned_s = turned_s


def test_the_service_manager_is_told(tmp_path, monkeypatch):
    now = 1000.0
    monkeypatch.setattr("edge.supervisor.time.monotonic", lambda: now)
    manager = Manager(tmp_path / "notify", WATCHDOG_USEC="20000000")
    said, read = [], []
    supervisor = Supervisor(said.append, reload=lambda: read.append(1), notifier=manager.notifier)
    supervisor.turn(Watched(now))
    assert manager.heard()[0] == "READY=1"
    now += 6
    supervisor.turn(Watched(now))
    assert manager.heard() == ["WATCHDOG=1"]
    supervisor._asked.set()
    supervisor.turn(Watched(now))
    assert manager.heard()[0] == "RELOADING=1"
    assert manager.heard() == ["READY=1"]
    assert read == [1]
    now += 21
    supervisor.turn(Watched(now - 21))
    manager.socket.settimeout(0.1)
    with pytest.raises(TimeoutError):
        manager.heard()
    assert said == ["stuck: a thread has not come around for 21 s"]


def test_without_a_service_manager_nothing_is_sent():
    notifier = Notifier({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"})
    assert notifier.watchdog_s is None, "meant for another process"
    notifier.tell("READY=1")
