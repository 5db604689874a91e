"""A message on an MQTT topic, for what sounds or flashes on the spot."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from alerts.channels import Fate, Message, Outcome
from alerts.rules import Channel

__all__ = ["Broker", "Siren", "make"]


@dataclass(frozen=True, slots=True, repr=False)
class Broker:
    """The server's own broker, for channels that name none."""

    url: str
    user: str = ""
    password: str = ""


class Siren:
    """Publishes at QoS 1 and waits until the broker has it."""

    def __init__(self, channel: Channel, broker: Broker | None):
        self._channel = channel
        own = Broker(channel.url, channel.user, channel.secret) if channel.url else broker
        if own is None:
            raise ValueError("expected a url for a channel of kind mqtt, got none, and no broker of our own")
        self._broker = own
        self._lock = threading.Lock()
        self._client: mqtt.Client | None = None

    def send(self, message: Message) -> Outcome:
        """Publish it once."""
        try:
            with self._lock:
                client = self._connected()
                told = client.publish(
                    self._channel.topic,
                    json.dumps({"id": message.id, **message.facts}, ensure_ascii=False),
                    qos=1,
                )
            told.wait_for_publish(self._channel.timeout_s)
            if told.is_published():
                return Outcome(Fate.SENT)
        except (OSError, ValueError, RuntimeError) as error:
            self._drop()
            return Outcome(Fate.REFUSED, f"expected a broker that takes it: {error or type(error).__name__}")
        self._drop()
        return Outcome(Fate.UNCONFIRMED, "expected the broker to confirm it")

    def _connected(self) -> mqtt.Client:
        if self._client is not None and self._client.is_connected():
            return self._client
        self._drop()
        parts = urlsplit(self._broker.url)
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        connected = threading.Event()
        client.on_connect = lambda *_: connected.set()
        if self._broker.user:
            client.username_pw_set(self._broker.user, self._broker.password)
        if parts.scheme == "mqtts":
            client.tls_set()
        client.connect_timeout = self._channel.timeout_s  # for the handshake of TLS too
        client.connect(parts.hostname or "", parts.port or 1883)
        client.loop_start()
        self._client = client
        if not connected.wait(self._channel.timeout_s) or not client.is_connected():
            raise OSError("no answer to our connection")
        return client

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            with suppress(AttributeError):  # paho: its thread may end while it looks for it
                client.loop_stop()

    def close(self) -> None:
        """Leave the broker."""
        self._drop()


def make(channel: Channel, broker: Broker | None = None) -> Siren:
    """The sender of a channel."""
    return Siren(channel, broker)
