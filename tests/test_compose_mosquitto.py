"""The stack's own mosquitto.conf in a real Mosquitto: who comes in, and what they may do."""

from __future__ import annotations

import ssl
import subprocess
import threading
import time
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.mosquitto import _binary, free_port

ROOT = Path(__file__).parents[1]
_PASSWORD = "a-password-for-ingest"


def _openssl(directory, *arguments):
    done = subprocess.run(["openssl", *arguments], cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _authority(directory, name):
    _openssl(
        directory, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2", "-subj", f"/CN={name}",
    )  # fmt: skip


def _certificate(directory, name, authority, *, days="2"):
    (directory / f"{name}.ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    _openssl(
        directory, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}",
    )  # fmt: skip
    _openssl(
        directory, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key",
        "-CAcreateserial", "-out", f"{name}.pem", "-days", days, "-extfile", f"{name}.ext",
    )  # fmt: skip


def _revocations(directory, authority, revoked):
    (directory / "index.txt").write_text("")
    (directory / "crlnumber").write_text("01\n")
    (directory / "ca.cnf").write_text(
        "[ca]\ndefault_ca=x\n[x]\ndatabase=index.txt\ncrlnumber=crlnumber\ndefault_md=sha256\ndefault_crl_days=2\n"
    )
    ca = ["ca", "-config", "ca.cnf", "-cert", f"{authority}.pem", "-keyfile", f"{authority}.key"]
    _openssl(directory, *ca, "-revoke", f"{revoked}.pem")
    _openssl(directory, *ca, "-gencrl", "-out", "mqtt_device_crl")


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    """The configuration as it is committed; only paths and ports are this machine's."""
    directory = tmp_path_factory.mktemp("mosquitto")
    for authority in ("devices", "servers", "strangers"):
        _authority(directory, authority)
    _certificate(directory, "server", "servers")
    for device in ("meter-a", "meter-b", "revoked", "expired"):
        _certificate(directory, device, "devices", days="-1" if device == "expired" else "2")
    _certificate(directory, "stranger", "strangers")
    _revocations(directory, "devices", "revoked")
    for secret, file in {
        "mqtt_server_cert": "server.pem", "mqtt_server_key": "server.key", "mqtt_device_ca": "devices.pem",
    }.items():  # fmt: skip
        (directory / secret).write_bytes((directory / file).read_bytes())
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", str(directory / "mqtt_users"), "ingest", _PASSWORD], check=True
    )
    devices_port, server_port = free_port(), free_port()
    text = (ROOT / "deploy/mosquitto/mosquitto.conf").read_text()
    for old, new in (
        ("/run/secrets/", f"{directory}/"), ("/mosquitto/config/", f"{ROOT}/deploy/mosquitto/"),
        ("/mosquitto/data", str(directory)), ("listener 8883", f"listener {devices_port} 127.0.0.1"),
        ("listener 8884", f"listener {server_port} 127.0.0.1"),
    ):  # fmt: skip
        assert old in text
        text = text.replace(old, new)
    for path in directory.iterdir():
        path.chmod(0o644)
    directory.chmod(0o777)
    config = directory / "mosquitto.conf"
    config.write_text(f"user {_user()}\n{text}")
    log = directory / "log"
    with log.open("wb") as out:
        process = subprocess.Popen([_binary(), "-c", str(config)], stderr=out, stdout=out)
    yield directory, devices_port, server_port
    process.kill()
    process.wait()


def _user():
    import getpass

    return getpass.getuser()


class _Client:
    """A connection that collects what it is told."""

    def __init__(self, broker, *, certificate=None, password=None, newest=None):
        directory, devices_port, server_port = broker
        self.heard: list[str] = []
        self.subscribed = threading.Event()
        self.connected = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        context = ssl.create_default_context(cafile=str(directory / "servers.pem"))
        if newest:
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = newest
        if certificate:
            context.load_cert_chain(directory / f"{certificate}.pem", directory / f"{certificate}.key")
        self._client.tls_set_context(context)
        if password:
            self._client.username_pw_set("ingest", password)
        self._client.on_connect = self._on_connect
        self._client.on_message = lambda _c, _u, message: self.heard.append(message.topic)
        self._client.on_subscribe = lambda *_: self.subscribed.set()
        self._port = server_port if password else devices_port

    def _on_connect(self, _client, _data, _flags, reason, _properties):
        if not reason.is_failure:
            self.connected.set()

    def __enter__(self):
        deadline = time.monotonic() + 5
        while True:
            try:
                self._client.connect("127.0.0.1", self._port)
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        self._client.loop_start()
        return self

    def __exit__(self, *_):
        self._client.disconnect()
        self._client.loop_stop()

    def subscribe(self, *topics):
        assert self.connected.wait(5)
        for topic in topics:
            self.subscribed.clear()
            self._client.subscribe(topic, 1)
            assert self.subscribed.wait(5)

    def publish(self, topic, payload=b"{}"):
        assert self.connected.wait(5)
        self._client.publish(topic, payload, 1).wait_for_publish(5)


def _topic(device, kind="telemetry"):
    return f"hearthline/v1/north/u1/{device}/{kind}"


def _refused(broker, **options):
    client = _Client(broker, **options)
    try:
        with client:
            return not client.connected.wait(1.5)
    except (ssl.SSLError, OSError):
        return True


def test_only_devices_with_a_certificate_of_their_authority_come_in(broker):
    with _Client(broker, certificate="meter-a") as known:
        assert known.connected.wait(5)
    for certificate in (None, "stranger", "expired", "revoked"):
        assert _refused(broker, certificate=certificate), certificate


def test_old_tls_is_refused(broker):
    assert _refused(broker, certificate="meter-a", newest=ssl.TLSVersion.TLSv1_1)


def test_the_servers_door_asks_for_the_password(broker):
    assert _refused(broker, password="a-wrong-password")
    with _Client(broker, password=_PASSWORD) as server:
        assert server.connected.wait(5)


def test_a_device_writes_as_itself_only(broker):
    with _Client(broker, password=_PASSWORD) as server, _Client(broker, certificate="meter-a") as device:
        server.subscribe("hearthline/v1/+/+/+/telemetry", "hearthline/v1/+/+/+/ack")
        device.publish(_topic("meter-b"))
        device.publish(_topic("meter-a", "ack"))
        device.publish(_topic("meter-a", "command"))
        device.publish(_topic("meter-a"))
        deadline = time.monotonic() + 5
        while not server.heard and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)
        assert server.heard == [_topic("meter-a")]


def test_a_device_hears_what_is_meant_for_it_and_nothing_else(broker):
    with (
        _Client(broker, password=_PASSWORD) as server,
        _Client(broker, certificate="meter-a") as device,
        _Client(broker, certificate="meter-b") as other,
    ):
        device.subscribe("#", "+/#", "$SYS/#", "$share/g/#", "hearthline/v1/+/+/+/ack")
        other.publish(_topic("meter-b"))
        server.publish(_topic("meter-b", "ack"))
        server.publish(_topic("meter-a", "command"))
        deadline = time.monotonic() + 5
        while not device.heard and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)
        assert set(device.heard) == {_topic("meter-a", "command")}


def _heard(client, topics):
    """Wait until `client` has heard all `topics`, and a little for what else may come."""
    deadline = time.monotonic() + 5
    while not topics <= set(client.heard) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    return set(client.heard)


def test_every_kind_reaches_the_one_that_it_is_for(broker):
    with _Client(broker, password=_PASSWORD) as server, _Client(broker, certificate="meter-a") as device:
        kinds = ("telemetry", "birth", "state", "death")
        server.subscribe(*(f"hearthline/v1/+/+/+/{kind}" for kind in kinds))
        device.subscribe(_topic("meter-a", "ack"), _topic("meter-a", "command"))
        for kind in kinds:
            device.publish(_topic("meter-a", kind))
        for kind in ("ack", "command"):
            server.publish(_topic("meter-a", kind))
        assert _heard(server, {_topic("meter-a", kind) for kind in kinds}) == {
            _topic("meter-a", kind) for kind in kinds
        }
        answers = {_topic("meter-a", "ack"), _topic("meter-a", "command")}
        assert _heard(device, answers) == answers


def test_the_server_writes_nothing_in_a_devices_name_and_hears_nothing_else(broker):
    with _Client(broker, password=_PASSWORD) as server, _Client(broker, password=_PASSWORD) as other:
        server.subscribe("#", "$SYS/#")
        other.publish(_topic("meter-a"))
        other.publish("somewhere/else")
        other.publish(_topic("meter-a", "ack"))
        assert _heard(server, set()) == set()


def test_a_packet_of_a_mebibyte_is_the_largest(broker):
    with _Client(broker, password=_PASSWORD) as server, _Client(broker, certificate="meter-b") as device:
        server.subscribe("hearthline/v1/+/+/+/telemetry")
        device.publish(_topic("meter-b"), b"x" * 300 * 1024)  # too large for ingest, which says so
        device._client.publish(_topic("meter-b"), b"x" * 1_100_000, 1)
        time.sleep(1)
        assert server.heard == [_topic("meter-b")]
