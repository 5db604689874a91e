"""One device on the wire: birth, state and will, live messages first, the backlog as acks come."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from pydantic import ValidationError

from edge.commands import AGE_MS, CommandBook, refusal
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
        Told of messages that are none, and of commands that are not obeyed.
    book : CommandBook
        What was obeyed before.
    obey : callable
        Does what is more than sending again; what it returns is reported as `diagnosis`.
    age_ms : int
        How far a command's time may be from the clock. [ms]

    Attributes
    ----------
    interval_s : float
        How often the device is read, as its birth says. [s]
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
        book: CommandBook,
        obey: Callable[[wire.Command], dict[str, Any] | None],
        age_ms: int = AGE_MS,
    ):
        self.device = device
        self.outbox = outbox
        self.pacer = Pacer()
        self._clock = clock
        self._acked = acked
        self._complaints = complaints
        self._book = book
        self._obey = obey
        self._age_ms = age_ms
        self.interval_s = book.interval_s(device.id, device.interval_s)
        self._born_s = self.interval_s
        self._command_id: str | None = None
        self._diagnosis: dict[str, Any] | None = None
        self.introduced = False
        self._state_s = float("-inf")
        self._stated: tuple[int, int] | None = None

    def become(self, device: DeviceConfig) -> None:
        """Speak for the device as another configuration describes it."""
        self.device = device
        self.interval_s = self._book.interval_s(device.id, device.interval_s)

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
        self._publish_birth(link)
        self._publish_state(link, now_s)
        self.introduced = True
        self.pacer.restart()

    def _publish_birth(self, link: Link) -> None:
        birth = wire.Birth.model_validate(
            {
                "boot": self.outbox.boot,
                "at": self._clock(),
                "class": self.device.device_class,
                "interval_s": self.interval_s,
                "collector": COLLECTOR,
            }
        )
        if link.publish(self.topic(wire.BIRTH), birth.model_dump_json(by_alias=True).encode(), retain=True):
            self._born_s = self.interval_s

    def heard(self, topic: str, payload: bytes, now_s: float, *, retained: bool) -> None:
        """Take an `ack` or a `command` of the server; anything else is said and passed over."""
        kind = topic.rpartition("/")[2]
        try:
            if kind == wire.ACK:
                ack = wire.Ack.model_validate_json(payload)
                if ack.boot == self.outbox.boot:
                    self._acked(self.outbox, ack)
                    self.pacer.acked(ack.ranges, now_s)
            elif kind == wire.COMMAND:
                self._take_command(topic, wire.Command.model_validate_json(payload), retained=retained)
        except ValidationError as error:
            fault = error.errors()[0]
            self._complaints.add(
                f"heard {kind}",
                f"{topic}: expected a payload of `{kind}`, got: {fault['msg']} {payload[:80]!r}",
            )

    def _take_command(self, topic: str, command: wire.Command, *, retained: bool) -> None:
        """Obey a command that is new and meant for this device; what is not obeyed is said."""
        name = self.device.id
        if topic == self.topic(wire.COMMAND):
            why = refusal(
                command,
                self._book.of(name),
                boot=self.outbox.boot,
                now_ms=self._clock(),
                retained=retained,
                age_ms=self._age_ms,
            )
        else:
            why = f"expected one for {name}, got one on {topic}"
        try:
            if not why:
                self._book.note(name, command, self.device.interval_s)
        except OSError as error:
            why = f"expected room to note it, got: {error}"
        if why:
            self._complaints.add(f"command {name}", f"{name}: command {command.do!r} not obeyed: {why}")
            return
        if command.do == "resend":
            self.pacer.resend(command.ranges)
        self._diagnosis = self._obey(command)
        self.interval_s = self._book.interval_s(name, self.device.interval_s)
        self._command_id = command.id
        self._state_s = float("-inf")

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
        if self.pacer.cursor < self.outbox.last_seq and self.pacer.room:
            self._send_backlog(link, now_s)
        if self.interval_s != self._born_s:
            self._publish_birth(link)
        since_s = now_s - self._state_s
        settled = self.outbox.count == 0 and self._stated != (self.outbox.next_seq, 0)
        if since_s >= STATE_EVERY_S or (settled and since_s >= STATE_SETTLED_S):
            self._publish_state(link, now_s)

    def _send_backlog(self, link: Link, now_s: float) -> None:
        most = self.pacer.room
        while self.pacer.room:
            messages = self.outbox.after(self.pacer.cursor, most)
            for message in messages:
                if not self.pacer.room:
                    return
                if not self.pacer.wanted(message.seq):
                    continue
                if not link.publish(self.topic(wire.TELEMETRY), message.payload):
                    self.pacer.cursor = message.seq - 1
                    return
                self.pacer.backlog(message.seq, now_s)
            if len(messages) < most:
                return
            most *= 2  # many that are under way already lie ahead

    def _publish_state(self, link: Link, now_s: float) -> None:
        standing = self.outbox.standing()
        answer: dict[str, Any] = {"command": self._command_id, "diagnosis": self._diagnosis}
        state = wire.State(at=self._clock(), **standing._asdict(), **answer)
        absent = {name for name, value in answer.items() if value is None}
        if link.publish(self.topic(wire.STATE), state.model_dump_json(exclude=absent).encode(), retain=True):
            self._diagnosis = None
            self._state_s = now_s
            self._stated = (standing.next_seq, self.outbox.count)

    def farewell(self, link: Link) -> None:
        """Leave the last state behind, and say what the broker says when a connection breaks."""
        self._publish_state(link, self._state_s)
        link.publish(*self.will())
