"""One device on the wire: birth, state and will, live messages first, the backlog as acks come."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Final

from pydantic import ValidationError

from edge.config import DeviceConfig
from edge.network import Link
from edge.outbox import Message, Outbox
from edge.pacing import Pacer
from edge.say import Complaints
from models import wire

__all__ = ["COLLECTOR", "Collector"]

COLLECTOR: Final = "hearthline-edge 0.1.0"
STATE_EVERY_S: Final = 60.0
STATE_SETTLED_S: Final = 5.0


class Collector:
    """Sends the outbox of one device and forgets what the server has made safe.

    All methods run in the network thread.

    Parameters
    ----------
    device : DeviceConfig
        Its place in the fleet.
    outbox : Outbox
        What it has to send.
    clock : callable
        Time now, ms UTC.
    acked : callable
        Takes an `ack` to be committed with others soon.
    complaints : Complaints
        Told of messages that are none.

    Attributes
    ----------
    introduced : bool
        Whether birth and state were said since the process started.
    """

    def __init__(
        self,
        device: DeviceConfig,
        outbox: Outbox,
        *,
        clock: Callable[[], int],
        acked: Callable[[Outbox, wire.Ack], None],
        complaints: Complaints,
    ):
        self.device = device
        self.outbox = outbox
        self.pacer = Pacer()
        self._clock = clock
        self._acked = acked
        self._complaints = complaints
        self.introduced = False
        self._state_s = float("-inf")
        self._stated: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """Name of the device."""
        return self.device.id

    def topic(self, kind: str) -> str:
        """Where this device speaks or listens."""
        return str(wire.Topic(self.device.region, self.device.unit, self.device.id, kind))

    def will(self) -> tuple[str, bytes]:
        """What the broker says for the device when its connection breaks."""
        return self.topic(wire.DEATH), json.dumps({"boot": self.outbox.boot}).encode()

    def subscriptions(self) -> list[str]:
        """What the server says to this device."""
        return [self.topic(wire.ACK), self.topic(wire.COMMAND)]

    def ready(self, link: Link, now_s: float) -> None:
        """Introduce the device after a connect; then everything that waits is sent again."""
        birth = wire.Birth.model_validate(
            {
                "boot": self.outbox.boot,
                "at": self._clock(),
                "class": self.device.device_class,
                "interval_s": self.device.interval_s,
                "collector": COLLECTOR,
            }
        )
        link.publish(self.topic(wire.BIRTH), birth.model_dump_json(by_alias=True).encode(), retain=True)
        self._publish_state(link, now_s)
        self.introduced = True
        self.pacer.restart()

    def heard(self, topic: str, payload: bytes, now_s: float) -> None:
        """Take an `ack` or a `command` of the server; anything else is said and passed over."""
        kind = topic.rpartition("/")[2]
        try:
            if kind == wire.ACK:
                ack = wire.Ack.model_validate_json(payload)
                if ack.boot == self.outbox.boot:
                    self._acked(self.outbox, ack)
                    self.pacer.acked(ack.ranges, now_s)
            elif kind == wire.COMMAND:
                self.pacer.resend(wire.Command.model_validate_json(payload).ranges)
        except ValidationError as error:
            fault = error.errors()[0]
            self._complaints.add(
                f"heard {kind}",
                f"{topic}: expected a payload of `{kind}`, got: {fault['msg']} {payload[:80]!r}",
            )

    def live(self, link: Link, messages: Sequence[Message], now_s: float) -> None:
        """Send messages that were just kept, ahead of the backlog; without a connection they wait."""
        if not link.ready:
            return
        for message in messages:
            if self.pacer.knows(message.seq):
                continue  # the backlog came by between its keeping and now
            if not link.publish(self.topic(wire.TELEMETRY), message.payload):
                return  # the rest waits: the backlog finds it, for it was not noted as live
            self.pacer.live(message.seq, now_s)

    def work(self, link: Link, now_s: float) -> None:
        """Send again what is due, more of the backlog if there is room, and the state when it is time."""
        for seq in self.pacer.expire(now_s):
            message = self.outbox.get(seq)
            if message is None:
                self.pacer.lost(seq)
            elif not link.publish(self.topic(wire.TELEMETRY), message.payload):
                break
        if self.pacer.cursor < self.outbox.next_seq - 1 and self.pacer.room:
            self._send_backlog(link, now_s)
        since_s = now_s - self._state_s
        settled = self.outbox.count == 0 and self._stated != (self.outbox.next_seq, 0)
        if since_s >= STATE_EVERY_S or (settled and since_s >= STATE_SETTLED_S):
            self._publish_state(link, now_s)

    def _send_backlog(self, link: Link, now_s: float) -> None:
        for message in self.outbox.after(self.pacer.cursor, self.pacer.room + self.pacer.under_way):
            if not self.pacer.room:
                return
            if not self.pacer.wanted(message.seq):
                continue
            if not link.publish(self.topic(wire.TELEMETRY), message.payload):
                self.pacer.cursor = message.seq - 1
                return
            self.pacer.backlog(message.seq, now_s)

    def _publish_state(self, link: Link, now_s: float) -> None:
        standing = self.outbox.standing()
        state = wire.State(at=self._clock(), **standing._asdict())
        if link.publish(self.topic(wire.STATE), state.model_dump_json().encode(), retain=True):
            self._state_s = now_s
            self._stated = (standing.next_seq, self.outbox.count)

    def farewell(self, link: Link) -> None:
        """Leave the last state behind, and say what the broker says when a connection breaks."""
        self._publish_state(link, self._state_s)
        link.publish(*self.will())
