"""The connection to the broker: messages in, the broker's own acknowledgement only when told."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import paho.mqtt.client as mqtt

from ingest.client import BulkClient
from ingest.endpoint import Endpoint, of_certificates
from ingest.packets import Publishes
from models.wording import worded

__all__ = ["Delivered", "Subscriber"]

_KEEPALIVE_S: Final = 12
_OUTGOING: Final = 1000
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Delivered:
    """Messages as the broker delivered them on one connection, with what is needed to acknowledge them.

    Attributes
    ----------
    epoch : int
        Of the connection.
    publishes : Publishes
    size : int
        Of the payloads. [bytes]
    """

    epoch: int
    publishes: Publishes
    size: int

    @classmethod
    def of(cls, epoch: int, publishes: Publishes) -> Delivered:
        """`publishes` of the connection `epoch`."""
        return cls(epoch, publishes, sum(map(len, publishes.payloads)))

    def __len__(self) -> int:
        return len(self.publishes)


class Subscriber:
    """A persistent MQTT session that acknowledges late, in order, and only on the connection it read from.

    A number that the broker gave to a message is worth nothing after a
    reconnect: it may then stand for another one. So each message carries the
    epoch of its connection, and acknowledgements of an older one are dropped;
    the broker sends those messages again.

    Parameters
    ----------
    endpoint : Endpoint
    client_id : str
        Fixed, because the broker keeps the session under it.
    filters : sequence of str
        Topic filters, at QoS 1.
    on_messages : callable
        Takes what came at once, on the connection's own thread; blocking it holds back the broker.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        client_id: str,
        filters: Sequence[str],
        on_messages: Callable[[Delivered], None],
    ) -> None:
        self._endpoint = endpoint
        self._filters = [(topic, 1) for topic in filters]
        self._deliver = on_messages
        self._lock = threading.Lock()
        self._epoch = 0
        self._connected = False
        self._detail: str = worded("not connected yet")
        self._client = self._make(client_id)

    def _make(self, client_id: str) -> BulkClient:
        client = BulkClient(client_id, self._on_publishes)
        client.reconnect_delay_set(1, 10)
        if self._endpoint.username is not None:
            client.username_pw_set(self._endpoint.username, self._endpoint.password)
        if self._endpoint.tls:
            client.take(self._endpoint.tls_context())
            client.on_pre_connect = self._on_pre_connect
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        return client

    def start(self) -> None:
        """Connect and go on trying."""
        self._client.connect_async(self._endpoint.host, self._endpoint.port, keepalive=_KEEPALIVE_S)
        self._client.loop_start()

    def stop(self) -> None:
        """Send what waits, say goodbye; the broker keeps the session."""
        self._client.disconnect()
        with suppress(AttributeError):  # paho: its thread may end while it looks for it
            self._client.loop_stop()

    @property
    def trouble(self) -> str:
        """Why nothing comes; empty while connected and subscribed."""
        if self._connected:
            return ""
        return worded("{where}: {why}", where=str(self._endpoint), why=self._detail)

    @property
    def forgotten(self) -> bool:
        """Whether the broker knew no session of ours at the last connect: what came before it is dropped."""
        return self._forgotten

    def acknowledge(self, messages: Sequence[Delivered]) -> None:
        """PUBACK `messages` in the order given, less those of a connection that is gone.

        The lock keeps a reconnect from coming in between: paho forgets queued packets on reconnect,
        but does not check that a packet belongs to the connection.
        """
        with self._lock:
            for delivered in messages:
                if delivered.epoch == self._epoch:
                    self._client.ack_all(delivered.publishes.mids)

    def publish(self, messages: Sequence[tuple[str, bytes]]) -> int:
        """Publish (topic, payload) at QoS 1, not retained; how many of them, from the first.

        Fewer than all while many wait for the broker's word, none while it is away.
        """
        with self._lock:
            room = _OUTGOING - self._client.unconfirmed if self._connected else 0
            taken = messages[: max(0, room)]
            if taken:
                self._client.publish_all(taken)
        return len(taken)

    def _next_epoch(self, connected: bool, detail: str) -> None:
        with self._lock:
            self._epoch += 1
            self._connected = connected
            self._detail = detail

    def _on_pre_connect(self, _client: Any, _data: Any) -> None:
        """Have the certificates that are there by now: those of the start end some day, or are replaced."""
        self._client.met = None
        try:
            self._client.take(self._endpoint.tls_context())
        except ValueError as error:  # as between a certificate and its key; those of before are as good
            _log.warning("%s", error)

    def _on_connect(self, client: mqtt.Client, _data: Any, flags: Any, reason: Any, _props: Any) -> None:
        if reason.is_failure:
            self._next_epoch(
                connected=False, detail=worded("the broker refused the connection: {why}", why=str(reason))
            )
            return
        self._forgotten = not flags.session_present
        self._next_epoch(connected=False, detail=worded("waiting for the subscription"))
        client.subscribe(self._filters)
        self._client.publish_again()

    def _on_subscribe(self, _client: Any, _data: Any, _mid: int, reasons: Sequence[Any], _props: Any) -> None:
        refused = [topic for (topic, _), r in zip(self._filters, reasons, strict=False) if r.is_failure]
        with self._lock:
            self._connected = not refused
            told = worded("the broker refused to subscribe to {topics}", topics=", ".join(refused))
            self._detail = told if refused else ""
        _log.log(
            logging.WARNING if refused else logging.INFO,
            "%s: %s",
            self._endpoint,
            self._detail or "subscribed",
        )

    def _on_connect_fail(self, _client: Any, _data: Any) -> None:
        told = of_certificates(sys.exception())  # paho calls while it handles it, and does not hand it on
        self._detail = told or worded("expected a broker there, got no connection")

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _props: Any) -> None:
        if "refused" not in self._detail:
            lost = of_certificates(self._client.met) or worded("connection lost: {why}", why=str(reason))
            self._next_epoch(connected=False, detail=lost)
        else:  # keep the reason that the broker gave
            self._next_epoch(connected=False, detail=self._detail)

    def _on_publishes(self, publishes: Publishes) -> None:
        self._deliver(Delivered.of(self._epoch, publishes))
