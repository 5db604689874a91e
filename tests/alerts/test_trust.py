"""Sirens and servers whose certificates an authority of one's own has signed, and a broker that refuses a topic."""

import contextlib
import http.server
import json
import socket
import ssl
import threading
from datetime import UTC, datetime

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from alerts.channels import Fate, Message, email, siren, webhook
from alerts.channels.siren import Broker
from alerts.rules import Channel
from hearthline.pki import Pki
from tests.support.mosquitto import Mosquitto
from tests.support.waiting import PATIENCE_S

MESSAGE = Message("m1", "subject", "text", 0, {"alarms": []})
ACL = "topic readwrite sirens/#\n"


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """Directory with an authority for servers, and one's certificate for 127.0.0.1."""
    directory = tmp_path_factory.mktemp("pki")
    Pki(directory, lambda: datetime.now(UTC)).init(["127.0.0.1"], 30)
    return directory


@contextlib.contextmanager
def broker(tmp_path, pki=None):
    """A broker that lets anybody publish on topics of sirens alone."""
    (tmp_path / "acl").write_text(ACL)
    (tmp_path / "acl").chmod(0o700)
    tls = f"certfile {pki}/server.pem\nkeyfile {pki}/server.key\n" if pki else ""
    with Mosquitto(f"acl_file {tmp_path}/acl\n{tls}") as mosquitto:
        yield mosquitto.port


@contextlib.contextmanager
def listening(port, topic, ca_file=None):
    """What is heard on a topic, and when something was."""
    heard, came, ready = [], threading.Event(), threading.Event()
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    if ca_file:
        client.tls_set(str(ca_file))

    def hear(_client, _, message):
        heard.append(json.loads(message.payload))
        came.set()

    client.on_message, client.on_subscribe = hear, lambda *_: ready.set()
    client.on_connect = lambda client, *_: client.subscribe(topic, 1)
    client.connect("127.0.0.1", port)
    client.loop_start()
    assert ready.wait(PATIENCE_S)
    yield heard, came
    client.disconnect()
    client.loop_stop()


def sent(channel, own=None):
    sender = siren.make(channel, own)
    try:
        return sender.send(MESSAGE)
    finally:
        sender.close()


def test_a_siren_behind_an_authority_of_ones_own_is_heard_and_not_without_it(tmp_path, pki):
    ca_file = pki / "servers-ca.pem"
    with broker(tmp_path, pki) as port, listening(port, "sirens/#", ca_file) as (heard, came):
        url = f"mqtts://127.0.0.1:{port}"
        assert sent(Channel("hall", "mqtt", url, topic="sirens/hall")).fate is Fate.REFUSED
        assert sent(Channel("hall", "mqtt", url, topic="sirens/hall", ca_file=str(ca_file))).fate is Fate.SENT
        own = Broker(url, tls=lambda: ssl.create_default_context(cafile=ca_file))
        assert sent(Channel("hall", "mqtt", topic="sirens/hall"), own).fate is Fate.SENT
        assert came.wait(PATIENCE_S)
        assert [each["id"] for each in heard][:1] == ["m1"]


def test_a_siren_that_the_broker_lets_nobody_publish_for_is_refused_and_not_called_sent(tmp_path):
    with broker(tmp_path) as port:
        url = f"mqtt://127.0.0.1:{port}"
        outcome = sent(Channel("hall", "mqtt", url, topic="elsewhere/hall"))
        assert outcome.fate is Fate.REFUSED
        assert "expected a broker that lets us publish on elsewhere/hall: Not authorized" in outcome.detail
        assert sent(Channel("hall", "mqtt", url, topic="sirens/hall")).fate is Fate.SENT


def old_broker(listening, levels, polite):
    """Takes MQTT 3.1.1, and confirms what is published; of 5 it says that it has it not, or hangs up.

    Both are as MQTT 3.1.1 has it (3.1.2.2).
    """
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listening.accept()
            with connection:
                levels.append(connection.recv(4096)[8])  # the second byte after the protocol's name
                if levels[-1] == 4 or polite:
                    connection.sendall(b"\x20\x02\x00" + (b"\x00" if levels[-1] == 4 else b"\x01"))
                while levels[-1] == 4 and (packet := connection.recv(4096)) and packet[0] == 0x32:
                    at = (
                        4 + int.from_bytes(packet[2:4])
                        if packet[1] < 128
                        else 5 + int.from_bytes(packet[3:5])
                    )
                    connection.sendall(b"\x40\x02" + packet[at : at + 2])


@pytest.mark.parametrize("polite", [True, False])
def test_a_broker_that_does_not_know_mqtt_5_is_told_all_the_same(polite):
    levels = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=old_broker, args=(listening, levels, polite), daemon=True).start()
        url = f"mqtt://127.0.0.1:{listening.getsockname()[1]}"
        sender = siren.make(Channel("hall", "mqtt", url, topic="sirens/hall"))
        assert [sender.send(MESSAGE).fate for _ in range(2)] == [Fate.SENT] * 2
        sender.close()
    assert levels == [5, 4]


def test_a_broker_that_lets_nobody_in_says_why(tmp_path):
    (tmp_path / "passwords").write_text("")
    (tmp_path / "passwords").chmod(0o700)
    with Mosquitto(f"allow_anonymous false\npassword_file {tmp_path}/passwords\n") as mosquitto:
        channel = Channel("hall", "mqtt", mosquitto.url, user="li", secret="wrong", topic="sirens/a")
        outcome = sent(channel)
    assert outcome.fate is Fate.REFUSED
    assert "does not let us in: Not authorized" in outcome.detail


class Taking(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_a_webhook_behind_an_authority_of_ones_own_is_reached(pki):
    server = http.server.HTTPServer(("127.0.0.1", 0), Taking)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pki / "server.pem", pki / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url, ca_file = f"https://127.0.0.1:{server.server_port}/", str(pki / "servers-ca.pem")
    try:
        fates = [
            webhook.make(Channel("w", "webhook", url, ca_file=ca)).send(MESSAGE).fate for ca in ("", ca_file)
        ]
    finally:
        server.shutdown()
        server.server_close()
    assert fates == [Fate.REFUSED, Fate.SENT]


def test_a_file_of_certificates_that_is_gone_refuses_a_message_and_ends_nothing(tmp_path):
    gone = str(tmp_path / "gone.pem")
    for made in (
        webhook.make(Channel("w", "webhook", "https://127.0.0.1:9/", ca_file=gone)),
        email.make(Channel("m", "email", "smtps://127.0.0.1:9", ca_file=gone, sender="a@b.c", to=("a@b.c",))),
        siren.make(Channel("s", "mqtt", "mqtts://127.0.0.1:9", ca_file=gone, topic="sirens/a"), None),
    ):
        outcome = made.send(MESSAGE)
        assert outcome.fate is Fate.REFUSED
        assert f"certificates to trust in {gone}" in outcome.detail
