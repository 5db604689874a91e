"""Sparkplug B in: the metrics of an edge node or of a device behind it, from the broker that it speaks to.

The node introduces itself with births; data refer to them by alias. Where a birth is missing, a sequence
number is skipped or an alias is unknown, the node is asked to introduce itself again, and nothing is
guessed meanwhile. Buffered data (`is_historical`) are samples of their own time like all others.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

from pydantic import Field, field_validator, model_validator

from edge.clock import wall_ms
from edge.config import ConfigError, DeviceConfig, MqttConfig
from edge.driver import DriverError, Reading
from edge.live import Live, Table, check_units, checked, need
from edge.say import Complaints
from edge.sparkplug import MetricPoint, Node, rebirth_request

__all__ = ["Options", "SparkplugDriver", "make"]

MOST_WAITING: Final = 10_000
_NODE_KINDS: Final = ("NBIRTH", "NDATA", "NDEATH")
_DEVICE_KINDS: Final = ("DBIRTH", "DDATA", "DDEATH")


class Options(Table):
    """The table ``[device.sparkplug]``.

    Attributes
    ----------
    broker : str
        ``mqtt://HOST[:PORT]`` or ``mqtts://``; the one that the edge node speaks to.
    username, password_file, ca_file, cert_file, key_file
        As in ``[mqtt]``, for that broker.
    private_network : bool
        That the broker can be reached from a closed network alone, so that it may be spoken to in plain.
    group, node, device
        As in its topics; without `device` the node's own metrics.
    metrics : dict
        Measurement to metric.
    rebirth_s : float
        No more often than that is the node asked for its births. [s]
    timeout_s : float
        How long the first call waits for a sample. [s]
    """

    broker: str
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    private_network: bool = False
    group: Annotated[str, Field(pattern=r"^[^/+#]+$")]
    node: Annotated[str, Field(pattern=r"^[^/+#]+$")]
    device: Annotated[str, Field(pattern=r"^[^/+#]+$")] | None = None
    metrics: dict[str, MetricPoint] = Field(min_length=1)
    rebirth_s: Annotated[float, Field(ge=1, le=3600)] = 10.0
    timeout_s: Annotated[float, Field(ge=0, le=60)] = 10.0

    @field_validator("broker")
    @classmethod
    def _is_broker(cls, broker: str) -> str:
        parts = urlsplit(broker)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError("expected mqtt://HOST[:PORT] or mqtts://HOST[:PORT]")
        return broker

    @model_validator(mode="after")
    def _fits(self) -> Options:
        check_units(self.metrics)
        _ = self.mqtt  # what is wrong in it is wrong here
        return self

    @property
    def mqtt(self) -> MqttConfig:
        """The broker, as the collector's own would be described."""
        plain = self.private_network and self.broker.startswith("mqtt://")
        config = MqttConfig(
            url="mqtt://127.0.0.1" if plain else self.broker,
            username=self.username,
            password_file=self.password_file,
            ca_file=self.ca_file,
            cert_file=self.cert_file,
            key_file=self.key_file,
        )
        return config.model_copy(update={"url": self.broker}) if plain else config


class SparkplugDriver(Live):
    """Follows one edge node.

    Parameters
    ----------
    device : str
        Name for messages.
    options : Options
        With absolute paths.
    complaints : Complaints, optional
        Told of what is wrong with single metrics and messages.
    """

    def __init__(self, device: str, options: Options, complaints: Complaints | None = None):
        super().__init__(device, complaints)
        rebirth_request(0)  # loads protobuf, or says what is missing
        self.options = options
        self._node = Node(options.device, options.metrics)
        self._heard: deque[tuple[str, bytes]] = deque(maxlen=MOST_WAITING)
        self._something = threading.Event()
        self._connected = threading.Event()
        self._asked_s = float("-inf")
        self._wants_birth = False
        self._first_s = options.timeout_s
        self._trouble = "no connection yet"
        self._client = self._make_client()

    def _make_client(self) -> Any:
        paho = need("paho.mqtt.client", "paho-mqtt", "sparkplug")
        version = need("paho.mqtt.enums", "paho-mqtt", "sparkplug").CallbackAPIVersion.VERSION2
        mqtt = self.options.mqtt
        client = paho.Client(version, client_id=f"hearthline-{uuid4().hex[:12]}")
        # The variable that holds the password of the collector's own broker is not for this one.
        if mqtt.user is not None:
            client.username_pw_set(mqtt.user, self._password())
        if (context := mqtt.tls_context()) is not None:
            client.tls_set_context(context)
        client.reconnect_delay_set(1, 30)
        client.on_connect, client.on_message = self._on_connect, self._on_message
        client.on_disconnect = self._on_disconnect
        client.connect_async(mqtt.host, mqtt.port, keepalive=30)
        client.loop_start()
        return client

    def _password(self) -> str | None:
        file = self.options.password_file
        try:
            return None if file is None else file.read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            raise ConfigError(f"sparkplug: password_file: expected a readable file, got: {error}") from error

    def _topic(self, kind: str) -> str:
        return f"spBv1.0/{self.options.group}/{kind}/{self.options.node}"

    def _on_connect(self, client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._trouble = str(reason)
            return
        client.subscribe([(self._topic(kind), 1) for kind in _NODE_KINDS])
        client.subscribe([(f"{self._topic(kind)}/+", 1) for kind in _DEVICE_KINDS])
        self._connected.set()
        # What was said before is not known: births are not retained.
        client.publish(self._topic("NCMD"), rebirth_request(wall_ms()))

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._connected.clear()
        self._trouble = str(reason)

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError as error:
            self.complain("topic", f"expected a topic in UTF-8, got: {error}")
            return
        if len(self._heard) == MOST_WAITING:
            self.complain(
                "full", f"expected to be read, got {MOST_WAITING} messages that wait; the oldest goes"
            )
        self._heard.append((topic, message.payload))
        self._something.set()

    def read(self, now_ms: int) -> Sequence[Reading]:
        """Samples since the last call; DriverError while there is no connection to the broker."""
        until_s = time.monotonic() + self._first_s
        self._first_s = 0.0
        readings = self._take_all(now_ms)
        while not readings and (left_s := until_s - time.monotonic()) > 0:
            self._something.wait(left_s)
            readings = self._take_all(now_ms)
        if not readings and not self._connected.is_set():
            raise DriverError(f"{self.options.broker}: expected a connection, got: {self._trouble}")
        return readings

    def _take_all(self, now_ms: int) -> list[Reading]:
        """Follow what was heard; ask for births if something of it cannot be understood without."""
        self._something.clear()
        readings: list[Reading] = []
        while self._heard:
            topic, payload = self._heard.popleft()
            parts = topic.split("/")
            taken = self._node.take(parts[2], parts[4] if len(parts) > 4 else None, payload)
            readings += taken.readings
            self._wants_birth = taken.rebirth or (self._wants_birth and parts[2] != "NBIRTH")
            for kind, what in taken.faults:
                self.complain(kind, what)
        if self._wants_birth and time.monotonic() - self._asked_s >= self.options.rebirth_s:
            self._asked_s = time.monotonic()
            self._client.publish(self._topic("NCMD"), rebirth_request(now_ms))
        return readings

    def close(self) -> None:
        """Leave the broker."""
        self._client.disconnect()
        with suppress(AttributeError):  # paho: its thread may end while it looks for it
            self._client.loop_stop()


def make(device: DeviceConfig, options: dict[str, Any]) -> SparkplugDriver:
    """Make the driver from the table ``[device.sparkplug]``."""
    given = checked(Options, options, "sparkplug")
    names = ("password_file", "ca_file", "cert_file", "key_file")
    files = {n: device.base / path for n in names if (path := getattr(given, n)) is not None}
    return SparkplugDriver(device.id, given.model_copy(update=files))
