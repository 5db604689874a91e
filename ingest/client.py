"""paho's MQTT client, made to read and acknowledge many messages at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from ingest.packets import MalformedError, PacketCutter, Publishes, pubacks

__all__ = ["BulkClient"]

_READ_BYTES: Final = 256 * 1024
_PUBACK: Final = 0x40


class BulkClient(mqtt.Client):
    """MQTT 3.1.1 with late acknowledgement; connecting, keeping alive and sending are paho's own.

    paho reads a packet in three or more system calls and takes half a dozen
    locks on the way. Here one call reads whatever is there; PUBLISH packets of
    QoS 0 and 1 go to `on_publishes` as columns, every other packet to paho.
    Callbacks for single messages (`on_message`) are not called.

    Parameters
    ----------
    client_id : str
    on_publishes : callable
        Takes what one read brought, on the connection's thread; blocking it holds back the broker.
    """

    def __init__(self, client_id: str, on_publishes: Callable[[Publishes], None]) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False, manual_ack=True
        )
        self._on_publishes = on_publishes
        self._cutter = PacketCutter()
        self._cut_from: Any = None
        self._given = b""

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
        except OSError:
            data = b""
        if not data:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        with self._msgtime_mutex:
            self._last_bytes_received = time.monotonic()
        try:
            parts = self._cutter.feed(data)
        except MalformedError:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_PROTOCOL)
        for part in parts:
            rc = self._take(part)
            if rc > 0:
                return self._loop_rc_handle(rc)
            if self._sock is not sock:
                break
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
