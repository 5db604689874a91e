"""A message on an MQTT topic, for what sounds or flashes on the spot."""

from __future__ import annotations

import json
import math
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from alerts.channels import Fate, Message, Outcome
from alerts.channels.trust import trusted
from alerts.rules import Channel

__all__ = ["Broker", "Siren", "make"]

_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_TOO_NEW: Final = "Unsupported protocol version"
_ASK_AGAIN_S: Final = 600.0
"""When a broker that did not answer in MQTT 5 is asked in it again, if we connect anew."""


class _NotInFiveError(Exception):
    """The broker does not answer in MQTT 5."""


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
        self._line: _Line | None = None
        self._ask_again_s = 0.0 if own.says_why else math.inf

    def send(self, message: Message) -> Outcome:
        """Publish it once."""
        try:
            with self._lock:
                line = self._connected()
                told = line.client.publish(
                    self._channel.topic,
                    json.dumps({"id": message.id, **message.facts}, ensure_ascii=False),
                    qos=1,
                )
            told.wait_for_publish(self._channel.timeout_s)
            if told.is_published():
                if why := line.refused.pop(told.mid, ""):
                    topic = self._channel.topic
                    return Outcome(Fate.REFUSED, f"expected a broker that lets us publish on {topic}: {why}")
                return Outcome(Fate.SENT)
        except (OSError, ValueError, RuntimeError) as error:
            self._drop()
            return Outcome(Fate.REFUSED, f"expected a broker that takes it: {error or type(error).__name__}")
        self._drop()
        return Outcome(Fate.UNCONFIRMED, "expected the broker to confirm it")

    def _connected(self) -> _Line:
        if self._line is not None and self._line.client.is_connected():
            return self._line
        self._drop()
        if time.monotonic() >= self._ask_again_s:
            try:
                self._line = self._connect(mqtt.MQTTv5)
            except _NotInFiveError:
                pass
            else:
                return self._line
            self._line = self._connect(mqtt.MQTTv311)
            self._ask_again_s = time.monotonic() + _ASK_AGAIN_S
            return self._line
        self._line = self._connect(mqtt.MQTTv311)
        return self._line

    def _connect(self, protocol: MQTTProtocolVersion) -> _Line:
        parts = urlsplit(self._broker.url)
        line = _Line(mqtt.Client(CallbackAPIVersion.VERSION2, protocol=protocol))
        client = line.client
        if self._broker.user:
            client.username_pw_set(self._broker.user, self._broker.password)
        if parts.scheme == "mqtts":
            client.tls_set_context(self._broker.tls())
        client.connect_timeout = self._channel.timeout_s  # for the handshake of TLS too
        try:
            client.connect(parts.hostname or "", parts.port or _PORTS[parts.scheme])
            client.loop_start()
            answered = line.answered.wait(self._channel.timeout_s)
            # A broker of before MQTT 5 may refuse it, or close the connection, or not answer at all.
            if protocol == mqtt.MQTTv5 and (not line.said or line.said[0] == _TOO_NEW):
                raise _NotInFiveError
            if not answered or not line.said:
                raise OSError("no answer to our connection")
            if line.said[0].is_failure:
                raise OSError(f"it does not let us in: {line.said[0]}")
        except BaseException:
            line.end()
            raise
        return line

    def _drop(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.end()

    def close(self) -> None:
        """Leave the broker."""
        self._drop()


class _Line:
    """One connection, with what the broker said on it.

    Attributes
    ----------
    client : Client
    answered : Event
        It let us in or not, or closed the connection.
    said : list of ReasonCode
        Its answer to our connection, if it gave one.
    refused : dict of int to str
        Why it did not take a message, by packet.
    """

    def __init__(self, client: mqtt.Client):
        self.client = client
        self.answered = threading.Event()
        self.said: list[ReasonCode] = []
        self.refused: dict[int, str] = {}
        client.on_connect = self._hear
        client.on_disconnect = lambda *_: self.answered.set()
        client.on_publish = self._confirmed

    def _hear(self, _client: object, _: object, _flags: object, reason: ReasonCode, *_more: object) -> None:
        self.said.append(reason)
        self.answered.set()

    def _confirmed(self, _client: object, _: object, mid: int, reason: ReasonCode, *_more: object) -> None:
        if reason.is_failure:
            self.refused[mid] = str(reason)

    def end(self) -> None:
        self.client.disconnect()
        with suppress(AttributeError):  # paho: its thread may end while it looks for it
            self.client.loop_stop()


def make(channel: Channel, broker: Broker | None = None) -> Siren:
    """The sender of a channel."""
    return Siren(channel, broker)
