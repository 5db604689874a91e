"""paho's MQTT client, made to read and acknowledge many messages at a time."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from ingest.packets import MalformedError, PacketCutter, Publishes, pubacks, publish
from ingest.polling_client import PollingClient

__all__ = ["BulkClient"]

_READ_BYTES: Final = 256 * 1024
_PUBLISH: Final = 0x30
_PUBACK: Final = 0x40


class BulkClient(PollingClient):
    """MQTT 3.1.1 with late acknowledgement; connecting, keeping alive and sending are paho's own.

    paho reads a packet in three or more system calls and takes half a dozen
    locks on the way. Here one call reads whatever is there; PUBLISH packets of
    QoS 0 and 1 go to `on_publishes` as columns, every other packet to paho.
    Callbacks for single messages (`on_message`) are not called. What is sent
    by `publish_all` is kept until the broker confirms it, and sent again
    after a reconnect.

    Parameters
    ----------
    client_id : str
    on_publishes : callable
        Takes what one read brought, on the connection's thread; blocking it holds back the broker.

    Attributes
    ----------
    met : OSError or None
        What reading met last, as a broker that refuses the certificate.
    """

    def __init__(self, client_id: str, on_publishes: Callable[[Publishes], None]) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False, manual_ack=True
        )
        self._on_publishes = on_publishes
        self._cutter = PacketCutter()
        self._cut_from: Any = None
        self._given = b""
        self._open_lock = threading.Lock()
        self._open: dict[int, tuple[str, bytes]] = {}
        self.met: OSError | None = None

    def take(self, context: ssl.SSLContext) -> None:
        """Connect by `context` from the next connection on."""
        self._ssl_context = context
        self._ssl = True

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:  # noqa: ARG002  as many as there are
        """Take what the socket has: paho's network loop calls it when there is something."""
        sock = self._sock
        if sock is None:
            return MQTTErrorCode.MQTT_ERR_NO_CONN
        if sock is not self._cut_from:  # half a packet of a connection that is gone is worth nothing
            self._cut_from, self._cutter, self._given = sock, PacketCutter(), b""
        try:
            data = super()._sock_recv(_READ_BYTES)
        except BlockingIOError:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        except OSError as error:
            self.met, data = error, b""
        if not data:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        with self._msgtime_mutex:
            self._last_bytes_received = time.monotonic()
        rc = self._handle(sock, data)
        return self._loop_rc_handle(rc) if rc > 0 else MQTTErrorCode.MQTT_ERR_SUCCESS

    def _handle(self, sock: Any, data: bytes) -> MQTTErrorCode:
        """Hand on the packets that `data` completes, until something closes the connection."""
        try:
            parts, confirmed = self._cutter.feed(data)
        except MalformedError:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        if confirmed:
            with self._open_lock:
                for mid in confirmed:
                    self._open.pop(mid, None)
        for part in parts:
            rc = self._take(part)
            if rc > 0 or self._sock is not sock:
                return rc
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _take(self, part: Publishes | bytes) -> MQTTErrorCode:
        if isinstance(part, Publishes):
            self._on_publishes(part)
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        self._given = part
        return self._packet_read()

    def _sock_recv(self, bufsize: int) -> bytes:
        """What paho's own reader gets: the packet that it is to handle, piece by piece."""
        data, self._given = self._given[:bufsize], self._given[bufsize:]
        return data

    def ack_all(self, mids: Sequence[int]) -> None:
        """PUBACK `mids` in the order given, in one write; numbers that are 0 are left out."""
        packets = pubacks(mids)
        if packets:
            self._packet_queue(_PUBACK, packets, 0, 1)

    @property
    def unconfirmed(self) -> int:
        """How many messages of `publish_all` the broker has not confirmed."""
        return len(self._open)

    def publish_all(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Publish (topic, payload) at QoS 1, not retained, in one write."""
        packets = bytearray()
        with self._open_lock:
            for topic, payload in messages:
                mid = self._mid_generate()
                while mid in self._open:
                    mid = self._mid_generate()
                self._open[mid] = (topic, payload)
                packets += publish(topic, payload, mid, again=False)
        self._send(packets)

    def publish_again(self) -> None:
        """Send what was not confirmed on the connection before: paho forgets queued packets with it."""
        with self._open_lock:
            packets = bytearray().join(
                publish(topic, payload, mid, again=True) for mid, (topic, payload) in self._open.items()
            )
        self._send(packets)

    def _send(self, packets: bytearray) -> None:
        if packets and self._sock is not None:
            self._packet_queue(_PUBLISH, packets, 0, 1)
