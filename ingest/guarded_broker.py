"""amqtt with a bound on what waits for its subscribers, and a door for devices."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import defaultdict, deque
from functools import partial
from typing import Any, Final

from amqtt.adapters import StreamWriterAdapter
from amqtt.broker import Broker
from amqtt.contexts import Action

from ingest.door import Allowance, Denied, Door
from ingest.paced_server import PacedServer, Strangers
from ingest.porter import DEVICE_PREFIX, Porter
from ingest.subscriptions import Subscriptions
from models.wire import ACK, COMMAND, DEATH, TELEMETRY

__all__ = ["DOOR", "INSIDE", "GuardedBroker"]

INSIDE: Final = "default"
DOOR: Final = "devices"
"""Names of the two listeners."""
_FROM_SERVER: Final = (f"/{ACK}", f"/{COMMAND}")
_NEVER_RETAINED: Final = (*_FROM_SERVER, f"/{TELEMETRY}", f"/{DEATH}")
_REVOKED_S: Final = 5.0
_NOT_GRANTED: Final = 0x80
_log = logging.getLogger(__name__)


def _device_of(session: Any) -> str | None:
    """Name of the device that a session belongs to; None for one of this machine."""
    name = str(session.client_id or "")
    return name.removeprefix(DEVICE_PREFIX) if name.startswith(DEVICE_PREFIX) else None


async def _give_out(handler: Any, topic: str, data: Any, qos: int) -> None:
    """Send a message to a subscriber and wait for its PUBACK, which amqtt does for five seconds.

    One that comes later is as good: the subscriber has the message. amqtt would write a trace for each.
    """
    try:
        await handler.mqtt_publish(topic, data, qos, retain=False)
    except TimeoutError:
        _log.debug("%s: no PUBACK within five seconds", topic)


class GuardedBroker(Broker):  # type: ignore[misc]  # amqtt has no types
    """amqtt with a bound on what waits for its subscribers.

    Its own queues have none. What finds no room is dropped, as Mosquitto drops what its
    `max_queued_messages` does not allow: the sender's outbox keeps it until ingest has it.
    """

    def __init__(
        self, config: dict[str, Any], most_messages: int, most_bytes: int, door: Door | None, porter: Porter
    ) -> None:
        super().__init__(config)
        self._subscriptions = Subscriptions()
        self._filters_of: defaultdict[str, set[str]] = defaultdict(set)
        self._door = door
        self._paced: PacedServer | None = None
        self._porter = porter
        self._allowances: dict[str, Allowance] = {}
        self.throttled = 0
        self._strangers = Strangers(_log.warning)
        self._most = (most_messages, most_bytes)
        self._sizes: deque[int] = deque()  # of what waits to be given out, in order
        self.waiting = self.waiting_bytes = self.dropped = 0

    # -- the door -------------------------------------------------------------------

    def _create_ssl_context(self, _listener: Any) -> ssl.SSLContext:
        assert self._door is not None
        return self._door.open()

    async def _create_server_instance(
        self,
        listener_name: str,
        _type: Any,
        address: str | None,
        port: int,
        ssl_context: ssl.SSLContext | None,
    ) -> asyncio.Server | PacedServer:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self.stream_connected(reader, writer, listener_name)

        if ssl_context is not None:
            enter_s, most = self._porter.enter_s, self._porter.most_entering
            self._paced = PacedServer(
                str(address), port or 0, connected, ssl_context, enter_s, most, self._strangers.add
            )
            return self._paced
        return await asyncio.start_server(connected, address, port, reuse_address=True, backlog=1024)

    async def stream_connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener_name: str
    ) -> None:
        """Let a client in, or not."""
        stream = await self._porter.admit(reader, writer, outside=listener_name == DOOR)
        if stream is not None:
            await self._client_connected(listener_name, stream, StreamWriterAdapter(writer))

    async def _topic_filtering(self, session: Any, topic: str, action: Action) -> bool:
        device = _device_of(session)
        if device is None or self._door is None:
            return True
        if action is Action.PUBLISH:
            why = self._door.rules.publishing(device, topic, retained=False)
        else:
            why = self._door.rules.subscribing(device, topic)
        if why and action is not Action.RECEIVE:
            self._door.denied(Denied(device, str(action.value), topic, why))
        return not why

    async def _handle_message_delivery(self, client_session: Any, handler: Any, wait_deliver: Any) -> bool:
        message, device = wait_deliver.result(), _device_of(client_session)
        # What this machine itself keeps at the broker, ingest refuses and counts when it is given out.
        if device is not None and self._door is not None and message is not None and message.topic:
            packet = message.publish_packet
            if packet is not None and packet.retain_flag and message.topic.endswith(_NEVER_RETAINED):
                why = "expected it not to be retained"
                self._door.denied(Denied(device, "publish", message.topic, why))
                return True
            if not self._within_allowance(device, len(message.data or b"")):
                self.throttled += 1
                return True
        return bool(await super()._handle_message_delivery(client_session, handler, wait_deliver))

    def _within_allowance(self, device: str, size: int) -> bool:
        assert self._door is not None
        if device not in self._allowances:
            self._allowances[device] = self._door.allowance()
        return self._allowances[device].take(size, self._door.clock())

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Any
    ) -> None:
        """Give what was kept to who subscribed: at a connect amqtt gives it to the newcomer, whoever did.

        Nothing that is kept is for a device.
        """
        if _device_of(session) is not None:
            return
        if any(s.client_id == session.client_id for s, _ in self._subscriptions.get(subscription[0], ())):
            await super()._publish_retained_messages_for_subscription(subscription, session)

    # -- subscriptions ----------------------------------------------------------------

    async def add_subscription(self, subscription: tuple[str, int], session: Any) -> int:
        """Note that somebody hears a topic; which quality of service was granted, or 0x80."""
        granted = int(await super().add_subscription(subscription, session))
        if granted != _NOT_GRANTED:
            self._filters_of[str(session.client_id)].add(subscription[0])
        return granted

    async def _del_all_subscriptions(self, session: Any) -> None:
        for name in self._filters_of.pop(str(session.client_id), ()):
            self._del_subscription(name, session)
            if not self._subscriptions.get(name, True):
                del self._subscriptions[name]

    async def mind_certificates(self) -> None:
        """Take a new list of what is revoked, and part from whoever is on it; take a renewed certificate.

        Both are for newcomers too: a list that was read at the start ends some day, and then lets nobody in.
        What cannot be taken leaves the door as it was, and is tried again.
        """
        door = self._door
        if door is None:
            return
        read: tuple[int, ...] = ()
        failed = ""
        while True:
            await asyncio.sleep(_REVOKED_S)
            try:
                changed = door.files.changed()
                if changed != read:
                    door.take_revocations()
                    await self._part_from(door)
                    if self._paced is not None:
                        self._paced.context = door.open()
                    read = changed
            except (OSError, ValueError) as error:
                why = str(error)
            else:
                why = ""
            # Not the first time: key and certificate are replaced one after the other.
            told = why if why == failed else ""
            if told and told != door.untaken:
                _log.warning("certificates: %s; those of before are shown until this is mended", told)
            elif door.untaken and not why:
                _log.info("certificates: taken as they are now")
            failed, door.untaken = why, told or (door.untaken if why else "")

    async def _part_from(self, door: Door) -> None:
        for session, handler in list(self._sessions.values()):
            certificate = session.ssl_object.getpeercert() if session.ssl_object is not None else None
            if door.has_revoked(certificate) and handler.writer is not None:
                _log.warning("device %s: its certificate was revoked", _device_of(session))
                await handler.handle_connection_closed()
                await handler.stop()

    # -- the bound ------------------------------------------------------------------

    async def _broadcast_message(
        self, session: Any, topic: Any, data: Any, force_qos: int | None = None
    ) -> None:
        size = len(data or b"")
        # What the server says of what is safe makes room: it may take as much again.
        times = 2 if str(topic).endswith(_FROM_SERVER) else 1
        if self.waiting >= times * self._most[0] or self.waiting_bytes + size > times * self._most[1]:
            self.dropped += 1
            return
        self._sizes.append(size)
        self._take(size)
        await super()._broadcast_message(session, topic, data, force_qos)

    async def _run_broadcast(self, running_tasks: deque[Any]) -> None:
        """Give out one message; amqtt's own compares it with every filter there is."""
        message = await self._broadcast_queue.get()
        size, topic = self._sizes.popleft(), message["topic"]
        for session, granted in self._subscriptions.hearers(topic, self._matches):
            qos = message.get("qos", granted)
            handler = self._get_handler(session)
            if not await self._topic_filtering(session, topic, Action.RECEIVE):
                continue
            if session.transitions.state != "connected":
                if not (session.clean_session or session.is_anonymous) and qos:
                    await self._retain_broadcast_message(message, qos, session)
            elif handler is not None:
                task = asyncio.ensure_future(_give_out(handler, topic, message["data"], qos))
                running_tasks.append(task)
                self._take(size)  # until its PUBACK
                task.add_done_callback(partial(self._give, size))
        self._give(size)

    def _take(self, size: int) -> None:
        self.waiting += 1
        self.waiting_bytes += size

    def _give(self, size: int, _task: Any = None) -> None:
        self.waiting -= 1
        self.waiting_bytes -= size
