"""`hearthline command` against a collector at a real broker."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from typer.testing import CliRunner

from edge.config import MqttConfig
from hearthline.cli import UsageError, build
from hearthline.commands.command import _DOINGS
from models.wire import Command
from tests.edge.test_collector import Counting, Running, device
from tests.support.edge_server import FakeServer
from tests.support.mosquitto import Mosquitto
from tests.support.payloads import TEXTS
from tests.support.waiting import until


@pytest.fixture
def site(tmp_path):
    (tmp_path / "site").mkdir()
    for name, text in TEXTS.items():
        (tmp_path / "site" / name).write_text(text)
    return tmp_path / "site"


def test_it_is_obeyed_and_answered(site, tmp_path):
    with Mosquitto() as broker:
        server = FakeServer(broker.port)

        def say(*words):
            words = [*words, *([] if "--wait-s" in words else ["--wait-s", "60"])]
            return CliRunner().invoke(build(), ["command", *words, "--site", str(site), "--mqtt", broker.url])

        with Running(broker.port, tmp_path / "edge", [(device("sub-1"), Counting())]):
            until(lambda: server.stored["sub-1"])
            done = say("sub-1", "diagnose", "--json")
            assert done.exit_code == 0, done.output
            assert json.loads(done.output)["diagnosis"]["interval_s"] == 0.02
            done = say("sub-1", "set-interval", "--interval-s", "60")
            assert done.output == "sub-1: obeyed set-interval\n"
            until(lambda: server.births["sub-1"][-1]["interval_s"] == 60)
            assert "interval_s: 60" in say("sub-1", "diagnose").output
            done = say("sub-2", "resend", "--wait-s", "0.5")
            assert done.exit_code == 1
            assert "sub-2: expected it to obey within 0.5 s, got no answer" in done.output
        server.close()


@pytest.mark.parametrize("door", [False, True])
def test_the_broker_inside_is_opened_by_the_data_directory(site, tmp_path, door):
    """Beside a door the loopback port lets nobody in who has not read what only its owner may read."""
    import time

    from hearthline.server import Server, ServerConfig
    from hearthline.site_dir import open_site
    from tests.support.door import make_pki

    pki = make_pki(tmp_path) if door else None
    config = ServerConfig(
        data_dir=tmp_path / "data",
        site=open_site(site),
        clock=lambda: int(time.time() * 1000),
        broker=0,
        pki=pki,
        door_port=0,
        port=0,
    )
    server = Server(config)
    try:
        server.start()
        mqtt = None
        if pki is not None:
            mqtt = MqttConfig(
                url=server.door_url, ca_file=pki / "servers-ca.pem",
                cert_file=pki / "devices" / "{device}.pem", key_file=pki / "devices" / "{device}.key",
            )  # fmt: skip
        with Running(server.broker.port, tmp_path / "edge", [(device("sub-1"), Counting())], mqtt=mqtt) as it:
            until(lambda: it.fleet.connected == 1)
            words = ["command", "sub-1", "diagnose", "--site", str(site), "--wait-s", "60"]
            done = CliRunner().invoke(build(), [*words, "--data-dir", str(tmp_path / "data")])
            assert done.exit_code == 0, (done.output, done.exception)
            assert "interval_s: " in done.output
            if door:
                done = CliRunner().invoke(build(), [*words, "--mqtt", server.broker.url])
                assert "with --pki is opened by --data-dir, not by --mqtt" in str(done.exception)
                assert (tmp_path / "data" / "server.json").stat().st_mode & 0o077 == 0
    finally:
        server.close()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nobody", "resend"], "device: expected a device of"),
        (["sub-1", "reboot"], "do: expected resend, set-interval or diagnose, got 'reboot'"),
        (["sub-1", "set-interval"], "--interval-s: expected 1 to 604,800 s between readings, got none"),
        (["sub-1", "set-interval", "--interval-s", "0.5"], "expected 1 to 604,800 s between readings, got 0.5"),
        (["sub-1", "set-interval", "--interval-s", "nan"], "expected 1 to 604,800 s between readings, got nan"),
        (["sub-1", "resend", "--interval-s", "60"], "--interval-s: expected it of set-interval alone, got it of resend"),
        (["sub-1", "resend", "--data-dir", "/nowhere"], "broker inside, got none in /nowhere"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_one_line(site, words, expected):
    done = CliRunner().invoke(build(), ["command", *words, "--site", str(site)])
    assert isinstance(done.exception, UsageError)
    assert expected in str(done.exception)
    assert "\n" not in str(done.exception)


def test_the_words_of_a_command_are_those_of_the_wire():
    assert get_args(Command.model_fields["do"].annotation) == _DOINGS


def test_a_broker_that_does_not_answer_is_exit_1(site):
    words = ["command", "sub-1", "resend", "--site", str(site), "--mqtt", "mqtt://127.0.0.1:1"]
    done = CliRunner().invoke(build(), words)
    assert done.exit_code == 1
    assert done.stderr.startswith("hearthline: mqtt: expected a broker at mqtt://127.0.0.1:1, got: ")
    assert done.stderr.count("\n") == 1
