"""What stands beside a configuration that is not taken, or that takes a device out, goes on."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from edge.config import EdgeConfig, MqttConfig
from edge.driver import Reading
from edge.intake import Batch
from edge.reload import Changes
from edge.run import Fleet, _Reloader, make_drivers
from edge.simulators.jt808 import Terminal, location
from models.wire import Command
from tests.edge.test_collector import Counting, device
from tests.support.driving import driving
from tests.support.mosquitto import free_port
from tests.support.waiting import PATIENCE_S, until

NOW = 1_767_225_600_000
PHONE = "013912345678"


def config(**devices):
    given = {"region": "r", "unit": "u", "class": "truck", "interval_s": 60}
    return EdgeConfig.model_validate(
        {
            "mqtt": {"url": "mqtt://127.0.0.1:1"},
            "device": [
                {**given, "id": name, "driver": driver, driver: options}
                for name, (driver, options) in devices.items()
            ],
        }
    )


class Reloaded:
    """A fleet that does not run, and what is said when it is to go on with another configuration."""

    def __init__(self, directory, before):
        self.said = []
        made = make_drivers(before, "c.toml")
        self.fleet = Fleet(made, before.mqtt, directory, say=self.said.append)
        self.before = before

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for unit in self.fleet.units:
            unit.driver.close()
        self.fleet.file.close()

    def read_again(self, after):
        _Reloader(self.fleet, self.before, "c.toml", lambda: after, self.said.append)()


def login(line, terminal, driver):
    line.sendall(terminal.authenticate(driver.token))
    assert line.recv(1000)


def test_a_terminal_outlives_a_configuration_that_is_not_taken(tmp_path):
    options = {"listen": f"127.0.0.1:{free_port()}", "phone": PHONE, "datum": "wgs84", "timeout_s": 0}
    with Reloaded(tmp_path, config(a=("jt808", options))) as running:
        (unit,) = running.fleet.units
        terminal = Terminal(PHONE)
        with socket.create_connection(unit.driver.options.where, 30) as line:
            login(line, terminal, unit.driver)
            running.read_again(
                config(a=("jt808", {**options, "idle_s": 60}), b=("jt808", {**options, "datum": "gcj02"}))
            )
            assert "configuration not taken" in running.said[-1]
            line.sendall(terminal.message(0x0200, location(NOW, 39.9, 116.4, 5.0, 0)))
            found = []
            until(lambda: found.extend(unit.driver.read(NOW)) or found)
            assert [reading.t_ms for reading in found] == [NOW]


def test_a_meter_that_is_there_already_is_not_added(tmp_path):
    options = {"address": "tcp://127.0.0.1:9", "meter": 7}
    with Reloaded(tmp_path, config(a=("mbus", options))) as running:
        running.read_again(config(a=("mbus", options), b=("mbus", options)))
        assert "expected another one than a, got the same" in running.said[-1]
        running.read_again(config(b=("mbus", options)))
        assert "1 added: b; 0 changed; 1 removed: a" in running.said[-1]


def test_a_device_that_was_taken_out_and_still_has_to_send_may_be_told_something(tmp_path):
    fleet = Fleet(
        [(device(n), Counting()) for n in "ab"], MqttConfig(url="mqtt://127.0.0.1:1"), tmp_path, say=print
    )
    fleet.units[0].outbox.put([(NOW, {"supply_c": 1.0})])
    fleet.apply(Changes(removed=("a",)), [], MqttConfig(url="mqtt://127.0.0.1:1"))
    collector = fleet._lines["a"][0]
    for number, do in enumerate(("diagnose", "resend")):
        told = Command(id=f"c{number}", at=int(time.time() * 1000), do=do).model_dump_json(exclude_none=True)
        collector.heard(collector.topic("command"), told.encode(), 0.0, retained=False)
    assert fleet._book.of("a").ids == ("c0", "c1")
    assert not fleet.complaints.counts
    fleet.file.close()


def test_two_terminals_of_one_number_are_told_apart_by_who_came_last():
    given = {"listen": f"127.0.0.1:{free_port()}", "phone": PHONE, "datum": "wgs84", "timeout_s": 0}
    with driving("jt808", given, device_class="truck") as driver:
        one, two = Terminal(PHONE), Terminal(PHONE)
        with (
            socket.create_connection(driver.options.where, 30) as first,
            socket.create_connection(driver.options.where, 30) as second,
        ):
            login(first, one, driver)
            login(second, two, driver)
            first.sendall(one.message(0x0200, location(NOW, 39.9, 116.4, 5.0, 0)))
            assert first.recv(1000) == b"", "hung up on, and not answered: it calls again with its position"
            second.sendall(two.message(0x0200, location(NOW + 1000, 30.0, 110.0, 5.0, 0)))
            found = []
            until(lambda: found.extend(driver.read(NOW)) or found)
        assert [reading.t_ms for reading in found] == [NOW + 1000]
        assert driver.complaints.counts == {"d1 two terminals": 1}


class Mixed:
    """Gives some readings once; one has a text that no message carries."""

    exhausted = False

    def __init__(self, *texts):
        self.texts = list(texts)

    def read(self, _now_ms):
        texts, self.texts = self.texts, []
        return [Reading(NOW + i, {"mass_kg": float(i), "plate": text}) for i, text in enumerate(texts)]

    def close(self):
        pass


@pytest.mark.parametrize(
    ("text", "why"), [("x" * 1025, "at most 1024 characters"), ("\ud800", "expected UTF-8")]
)
def test_a_text_that_cannot_be_sent_costs_nothing_but_itself(tmp_path, text, why):
    said = []
    fleet = Fleet([(device("a"), Mixed("ok", text, "ök"))], MqttConfig(url="mqtt://127.0.0.1:1"), tmp_path,
                  say=said.append)  # fmt: skip
    stop = threading.Event()
    thread = threading.Thread(target=fleet.run, args=(stop,))
    thread.start()
    try:
        outbox = fleet.units[0].outbox
        until(lambda: outbox.count)
        (message,) = outbox.after(0, 9)
    finally:
        stop.set()
        thread.join(PATIENCE_S)
    assert message.payload.decode().count('"t":') == 3
    assert message.payload.decode().count('"plate"') == 2
    assert any(line.startswith("a: plate: ") and why in line for line in said)


def test_a_sample_that_is_too_large_costs_the_others_nothing(tmp_path):
    fleet = Fleet([(device("a"), Counting())], MqttConfig(url="mqtt://127.0.0.1:1"), tmp_path, say=print)
    large = {f"text_{i}": "x" * 1000 for i in range(400)}
    readings = [Reading(NOW + i, large if i == 1 else {"mass_kg": 1.0}) for i in range(3)]
    fleet._intake.commit([Batch(fleet.units[0], readings)])
    kept = b"".join(m.payload for m in fleet.units[0].outbox.after(0, 9))
    assert (kept.count(b'"t":'), fleet.complaints.counts) == (2, {"refused a": 1})
    fleet.file.close()
