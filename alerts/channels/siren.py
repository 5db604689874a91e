"""A message on an MQTT topic, for what sounds or flashes on the spot."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from alerts.channels import Fate, Message, Outcome
from alerts.channels.trust import trusted
from alerts.rules import Channel

__all__ = ["Broker", "Siren", "make"]

_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_TOO_NEW: Final = "Unsupported protocol version"


class _TooNewError(Exception):
    """The broker does not know MQTT 5."""


@dataclass(frozen=True, slots=True, repr=False)
class Broker:
    """Where a siren hears.

    Attributes
    ----------
    url, user, password : str
    tls : callable
        Makes what is trusted and shown there; ValueError where it cannot.
    says_why : bool
        Whether it may be asked in MQTT 5, in which it says what it lets nobody publish: a broker of before
        confirms that, too.
    """

    url: str
    user: str = ""
    password: str = ""
    tls: Callable[[], ssl.SSLContext] = ssl.create_default_context
    says_why: bool = True


class Siren:
    """Publishes at QoS 1 and waits until the broker has it."""

    def __init__(self, channel: Channel, broker: Broker | None):
        self._channel = channel
        own = broker
        if channel.url:
            own = Broker(channel.url, channel.user, channel.secret, lambda: trusted(channel))
        if own is None:
            raise ValueError("expected a url for a channel of kind mqtt, got none, and no broker of our own")
        self._broker = own
        self._lock = threading.Lock()
        self._client: mqtt.Client | None = None
        self._protocol = mqtt.MQTTv5 if own.says_why else mqtt.MQTTv311
        self._refused: dict[int, str] = {}

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
                if why := self._refused.pop(told.mid, ""):
                    topic = self._channel.topic
                    return Outcome(Fate.REFUSED, f"expected a broker that lets us publish on {topic}: {why}")
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
        try:
            return self._connect()
        except _TooNewError:
            self._protocol = mqtt.MQTTv311
            return self._connect()

    def _connect(self) -> mqtt.Client:
        parts = urlsplit(self._broker.url)
        client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=self._protocol)
        answered, said = threading.Event(), list[ReasonCode]()

        def hear(_client: mqtt.Client, _: object, _flags: object, reason: ReasonCode, *_more: object) -> None:
            said.append(reason)
            answered.set()

        def confirmed(_client: mqtt.Client, _: object, mid: int, reason: ReasonCode, *_more: object) -> None:
            if reason.is_failure:
                self._refused[mid] = str(reason)

        client.on_connect, client.on_publish = hear, confirmed
        if self._broker.user:
            client.username_pw_set(self._broker.user, self._broker.password)
        if parts.scheme == "mqtts":
            client.tls_set_context(self._broker.tls())
        client.connect_timeout = self._channel.timeout_s  # for the handshake of TLS too
        client.connect(parts.hostname or "", parts.port or _PORTS[parts.scheme])
        client.loop_start()
        self._client = client
        if not answered.wait(self._channel.timeout_s):
            self._drop()
            raise OSError("no answer to our connection")
        if said[0].is_failure:
            self._drop()
            if self._protocol == mqtt.MQTTv5 and said[0] == _TOO_NEW:
                raise _TooNewError
            raise OSError(f"it does not let us in: {said[0]}")
        return client

    def _drop(self) -> None:
        client, self._client = self._client, None
        self._refused = {}
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
