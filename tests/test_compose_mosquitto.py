"""The stack's own Mosquitto files in a real Mosquitto: who comes in, and what they may do."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hearthline.cli import build
from ingest.endpoint import Endpoint
from tests.support.door import Client, Gate, forged, refused, say_too_much, started
from tests.support.mosquitto import free_port
from tests.support.payloads import TEXTS, topic
from tests.support.waiting import until


def run(*words):
    done = CliRunner().invoke(build(), ["pki", *map(str, words)])
    assert done.exit_code == 0, (done.output, done.exception)


def made(directory: Path) -> Path:
    """What deploy/README.md has the operator do; returns its `secrets`."""
    (site := directory / "site").mkdir()
    for name, text in TEXTS.items():
        (site / name).write_text(text)
    secrets = directory / "secrets"
    pki = secrets / "pki"
    run("init", "--dir", pki, "--name", "localhost", "--name", "127.0.0.1")
    run("issue", "--dir", pki, "--site", site)
    run("issue", "--dir", pki, "gone")
    run("revoke", "--dir", pki, "gone", "sub-3")
    forged(pki, "sub-1", days=-1, file="expired")
    forged(pki, "sub-1", authority="servers-ca", file="stranger")
    run("mosquitto", "--dir", pki, "--site", site, "--out", secrets / "mosquitto", "--compose")
    return secrets


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    """The files as they are made; only paths and ports are this machine's."""
    directory = tmp_path_factory.mktemp("stack")
    secrets = made(directory)
    pki, port, server_port = secrets / "pki", free_port(), free_port()
    data = directory / "data"
    data.mkdir()
    text = (secrets / "mosquitto" / "mosquitto.conf").read_text()
    for old, new in (
        ("/run/secrets/", f"{pki}/"), ("/mosquitto/config/", f"{secrets}/mosquitto/"),
        ("/mosquitto/data", str(data)), ("listener 8883 0.0.0.0", f"listener {port} 127.0.0.1"),
        ("listener 8884 0.0.0.0", f"listener {server_port} 127.0.0.1"),
    ):  # fmt: skip
        assert old in text
        text = text.replace(old, new)
    config = directory / "mosquitto.conf"
    config.write_text(text)
    pair = (pki / "ingest.pem", pki / "ingest.key")
    endpoint = Endpoint("127.0.0.1", server_port, True, None, None, pki / "servers-ca.pem", pair)
    with started(config, directory / "log", (port, server_port)):
        yield Gate("mosquitto", pki, port, endpoint, directory / "log", directory / "audit.jsonl")


def settled(server, device):
    """Wait until everything that was said before has come, or never will."""
    device.publish(topic("sub-1", "state"), b"last")
    until(lambda: (topic("sub-1", "state"), b"last") in [h[:2] for h in server.heard])
    heard = [h[:2] for h in server.heard if h[1] != b"last"]
    server.heard.clear()
    return heard


def listen(server):
    server.subscribe(*(f"hearthline/v1/+/+/+/{kind}" for kind in ("telemetry", "birth", "state", "death")))


def test_only_devices_with_a_certificate_of_their_authority_come_in(door):
    assert not refused(door, "sub-1")
    for certificate in (None, "stranger", "expired", "gone", "sub-3"):
        assert refused(door, certificate), certificate
    assert refused(door, "sub-1", newest=ssl.TLSVersion.TLSv1_1)


def test_the_servers_door_asks_for_its_certificate(door):
    assert not refused(door, None, server=True)
    other = Gate(door.kind, door.pki, door.endpoint.port, door.endpoint, door.log, door.audit)
    for certificate in (None, "sub-1"):
        assert refused(other, certificate), certificate


def test_a_device_writes_as_itself_only(door):
    with Client(door, server=True) as server, Client(door, "sub-1", client_id="sub-2") as device:
        listen(server)
        for place in (
            topic("sub-2"), topic("sub-1", "ack"), topic("sub-1", "command"), "else",
            *(topic("sub-1", kind) for kind in ("telemetry", "birth", "state", "death")),
        ):  # fmt: skip
            device.publish(place, b"x")
        kinds = {topic("sub-1", kind) for kind in ("telemetry", "birth", "state", "death")}
        assert {place for place, _ in settled(server, device)} == kinds


def test_a_device_hears_what_is_meant_for_it_and_nothing_else(door):
    with (
        Client(door, server=True) as server,
        Client(door, "sub-1") as device,
        Client(door, "sub-2", client_id="hearthline-sub-1") as other,
    ):
        listen(server)
        device.subscribe("#", "+/#", "$SYS/#", "$share/g/#", "hearthline/v1/+/+/+/ack")
        device.subscribe(topic("sub-1", "ack"), topic("sub-1", "command"))
        other.publish(topic("sub-2"))
        for place in (topic("sub-2", "ack"), topic("sub-1", "ack"), topic("sub-1", "command")):
            server.publish(place)
        until(lambda: {topic("sub-1", "ack"), topic("sub-1", "command")} <= set(device.topics))
        settled(server, device)
        assert set(device.topics) == {topic("sub-1", "ack"), topic("sub-1", "command")}
        assert device.connected.is_set()
        assert device.client.is_connected(), "nobody took its session over"


def test_the_server_writes_nothing_in_a_devices_name_and_hears_nothing_else(door):
    with Client(door, server=True) as server, Client(door, "sub-1") as device:
        listen(server)
        server.subscribe("#", "$SYS/#")
        for place in (topic("sub-2"), "somewhere/else", topic("sub-1", "ack")):
            server.publish(place)
        assert settled(server, device) == []


def test_a_packet_of_a_mebibyte_is_the_largest(door):
    with Client(door, server=True) as server:
        listen(server)
        say_too_much(door)
        with Client(door, "sub-1") as device:
            assert [payload[:1] for place, payload in settled(server, device) if place == topic("sub-1")] == [
                b"x"
            ]


def test_files_for_the_stack_are_made_again_over_old_ones(tmp_path):
    secrets = made(tmp_path)
    before = {p.name: p.read_text() for p in (secrets / "mosquitto").iterdir()}
    assert before.keys() == {"mosquitto.conf", "devices.acl", "server.acl"}
    run(
        "mosquitto", "--dir", secrets / "pki", "--site", tmp_path / "site", "--out", secrets / "mosquitto",
        "--compose",
    )  # fmt: skip
    assert {p.name: p.read_text() for p in (secrets / "mosquitto").iterdir()} == before
    shutil.rmtree(secrets)
