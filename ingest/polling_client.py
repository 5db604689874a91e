"""paho's MQTT client, waiting in a way that knows no highest descriptor."""

from __future__ import annotations

import contextlib
import select
from typing import Any, Final

import paho.mqtt.client as mqtt
from paho.mqtt.enums import MQTTErrorCode, _ConnectionState

__all__ = ["PollingClient"]

_POLLS: Final = hasattr(select, "poll")  # not on Windows, whose select() has no highest descriptor either
_TO_READ: Final = select.POLLIN | select.POLLHUP | select.POLLERR if _POLLS else 0

_LEAVING: Final = (_ConnectionState.MQTT_CS_DISCONNECTING, _ConnectionState.MQTT_CS_DISCONNECTED)


class PollingClient(mqtt.Client):
    """paho's client, whose network loop waits with poll().

    Its own waits with select(), which refuses descriptors above 1023: in a process that serves a thousand
    devices a connection made anew would be lost at once, again and again, and nothing would say why.
    """

    def _loop(self, timeout: float = 1.0) -> MQTTErrorCode:
        sock: Any = self._sock
        if sock is None or not _POLLS:
            return super()._loop(timeout)
        pending = sock.pending() if hasattr(sock, "pending") else 0  # bytes that TLS has read already
        waker: Any = self._sockpairR
        try:
            poll = select.poll()
            poll.register(sock, select.POLLIN | (select.POLLOUT if self.want_write() else 0))
            if waker is not None:
                poll.register(waker, select.POLLIN)
            ready = dict(poll.poll(0 if pending else 1000.0 * timeout))
            events, woken = ready.get(sock.fileno(), 0), waker is not None and waker.fileno() in ready
        except (TypeError, ValueError, OSError):  # closed in between
            if self._state not in _LEAVING:
                self._state = _ConnectionState.MQTT_CS_CONNECTION_LOST
            return MQTTErrorCode.MQTT_ERR_CONN_LOST
        if events & _TO_READ or pending:
            rc = self.loop_read()
            if rc or self._sock is None:
                return rc
        if woken:
            with contextlib.suppress(BlockingIOError):
                waker.recv(10_000)
        if events & select.POLLOUT or woken:
            rc = self.loop_write()
            if rc or self._sock is None:
                return rc
        return self.loop_misc()
