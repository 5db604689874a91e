"""Servers that take a connection and never finish the handshake of TLS are cut by the channel's time."""

import contextlib
import socket
import threading
import time

import paho.mqtt.client as mqtt
import pytest

from alerts.channels import Fate, Message, email, siren, webhook
from alerts.rules import Channel
from tests.support.waiting import PATIENCE_S

MADE = {
    "smtps": lambda url: email.make(
        Channel("c", "email", url, to=("li@example.org",), sender="a@example.org", timeout_s=1)
    ),
    "https": lambda url: webhook.make(Channel("c", "webhook", url, timeout_s=1)),
    "mqtts": lambda url: siren.make(Channel("c", "mqtt", url, topic="sirens/hall", timeout_s=1)),
}
PAHO_S = 2 * PATIENCE_S
"""What paho waits here unless told otherwise."""


@pytest.fixture(params=["silent", "trickles"])
def server(request):
    """Says nothing, or begins a record of TLS that has no end."""
    over, taken = threading.Event(), []
    listening = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                taken.append(connection)
                if request.param == "trickles":
                    threading.Thread(target=trickle, args=(connection,), daemon=True).start()

    def trickle(connection):
        with contextlib.suppress(OSError):
            connection.sendall(b"\x16\x03\x03\x40\x00")
            while not over.wait(0.2):
                connection.sendall(b"\x02")

    threading.Thread(target=serve, daemon=True).start()
    yield f"127.0.0.1:{listening.getsockname()[1]}", taken
    over.set()
    listening.close()
    for connection in taken:
        connection.close()


@pytest.mark.parametrize("scheme", MADE)
def test_a_handshake_that_has_no_end_is_cut(server, scheme, monkeypatch):
    where, taken = server
    make = mqtt.Client.__init__

    def patient(client, *args, **more):
        make(client, *args, **more)
        client.connect_timeout = PAHO_S

    monkeypatch.setattr(mqtt.Client, "__init__", patient)
    sender = MADE[scheme](f"{scheme}://{where}")
    began = time.monotonic()
    outcome = sender.send(Message("m1", "s", "t", 0, {}))
    took_s = time.monotonic() - began
    sender.close()
    assert taken, "it never connected"
    assert outcome.fate is Fate.REFUSED
    assert 0.5 < took_s < PATIENCE_S
