"""The connections to the broker: one thread drives those of every device of a process.

Each connection gets a new paho client, so nothing of an old one (queued messages, message
ids, late callbacks) can leak into it; what has to be sent again is the outbox's business.
"""

from __future__ import annotations

import contextlib
import os
import random
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, Protocol

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from edge.config import MqttConfig
from edge.handshake import UNANSWERED, LastError, in_words
from edge.say import Say
from edge.workers import Workers

__all__ = ["Link", "Network", "Peer", "broker_client", "reach"]

FIRST_DELAY_S: Final = 0.5
LAST_DELAY_S: Final = 30.0
STEADY_S: Final = 10.0
HANDSHAKE_S: Final = 15.0
MAX_PENDING: Final = 200  # messages handed to paho that the broker has not confirmed
TICK_S: Final = 0.5
MOST_TOLD: Final = 10  # reasons of one trouble
BETWEEN_S: Final = 0.05
MAX_CALLS: Final = 10_000  # messages given out live that the thread has not come to; they wait in the outbox


class Peer(Protocol):
    """What speaks over a link; called in the network thread only."""

    @property
    def name(self) -> str:
        """Name of the device."""
        ...

    def will(self) -> tuple[str, bytes]:
        """Topic and payload that the broker publishes when the connection breaks."""
        ...

    def subscriptions(self) -> list[str]:
        """Topics to hear."""
        ...

    def ready(self, link: Link, now_s: float) -> None:
        """The connection stands and is subscribed."""
        ...

    def heard(self, topic: str, payload: bytes, now_s: float, *, retained: bool) -> None:
        """A message came; `retained`: the broker had kept it, who knows since when."""
        ...

    def work(self, link: Link, now_s: float) -> None:
        """Send what may be sent now."""
        ...

    def farewell(self, link: Link) -> None:
        """Last words before a clean stop."""
        ...


def broker_client(settings: MqttConfig, client_id: str, device: str) -> mqtt.Client:
    """Make a client of the broker that is not yet connected, with the certificate of `device`.

    MQTT 3.1.1, clean session.
    """
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=True, protocol=mqtt.MQTTv311
    )
    client.connect_timeout = 5.0
    client.max_inflight_messages_set(MAX_PENDING)
    if settings.user is not None:
        client.username_pw_set(settings.user, settings.password())
    if (context := settings.tls_context(device)) is not None:
        client.tls_set_context(context)
    return client


class Link:
    """The connection of one device, made again whenever it breaks."""

    def __init__(self, network: Network, peer: Peer):
        self.peer = peer
        self.ready = False
        self.pending = 0
        self.trouble: str | None = "not yet connected"
        self._network = network
        self._client: mqtt.Client | None = None
        self._connecting: Future[mqtt.Client] | None = None
        self._next_try_s = 0.0
        self._failures = 0
        self._since_s = 0.0
        self._reason = ""
        self._met = LastError()
        self._answered = False
        self._socket: Any = None
        self._interest = 0

    def _connect(self) -> mqtt.Client:
        """Runs in a helper thread: name resolution, TCP and TLS may block."""
        settings = self._network.settings
        client = broker_client(settings, f"hearthline-{self.peer.name}", self.peer.name)
        topic, payload = self.peer.will()
        client.will_set(topic, payload, qos=1)
        # With this callback set paho leaves all writing to the network thread.
        client.on_socket_register_write = lambda *_: None
        client.connect(settings.host, settings.port, keepalive=settings.keepalive_s)
        return client

    def _adopt(self, client: mqtt.Client, now_s: float) -> None:
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        client.on_socket_close = lambda *_: self._unregister()
        self._met.why, self._answered = "", False
        client.enable_logger(self._met.logger)
        self._client, self._since_s, self._reason, self.pending = client, now_s, "", 0
        self._socket, self._interest = client.socket(), selectors.EVENT_READ
        self._network.selector.register(self._socket, self._interest, self)

    def _unregister(self) -> None:
        if self._socket is not None:
            self._network.selector.unregister(self._socket)
            self._socket = None

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        self._answered = True
        if code.is_failure:
            self._reason = f"broker refused the connection: {code}"
            return
        client.subscribe([(topic, 1) for topic in self.peer.subscriptions()])

    def _on_subscribe(
        self, _client: mqtt.Client, _data: Any, _mid: int, codes: list[Any], _properties: Any
    ) -> None:
        if any(code.is_failure for code in codes):
            self._reason = f"broker refused to subscribe {self.peer.name} to its ack and command topics"
            self.close()
            return
        self.ready, self.trouble, self._since_s = True, None, time.monotonic()
        self.peer.ready(self, self._since_s)

    def _on_publish(self, *_: Any) -> None:
        self.pending -= 1

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        with contextlib.suppress(UnicodeDecodeError):  # a topic that is no text is none of ours
            self.peer.heard(message.topic, bytes(message.payload), time.monotonic(), retained=message.retain)

    def _on_disconnect(
        self, _client: mqtt.Client, _data: Any, _flags: Any, code: Any, _properties: Any
    ) -> None:
        lost = f"connection lost: {self._met.why or code}"
        unanswered = self._network.settings.tls and not (self.ready or self._answered or self._met.why)
        self._reason = self._reason or (UNANSWERED if unanswered else lost)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Hand a message to the broker; False if it has too many unconfirmed already."""
        if self._client is None or not self.ready or self.pending >= MAX_PENDING:
            return False
        if self._client.publish(topic, payload, qos=1, retain=retain).rc != mqtt.MQTT_ERR_SUCCESS:
            return False
        self.pending += 1
        return True

    def io(self, events: int) -> None:
        """Read and write what the socket allows."""
        if (client := self._client) is None:
            return
        if events & selectors.EVENT_READ:
            client.loop_read()
            # TLS may hold decrypted bytes that select does not see.
            while (sock := client.socket()) is not None and getattr(sock, "pending", int)() > 0:
                client.loop_read()
        if events & selectors.EVENT_WRITE:
            client.loop_write()

    def turn(self, now_s: float, *, tick: bool) -> None:
        """Advance: connect when it is time, let the peer work, flush, and notice a broken connection."""
        if self._client is None:
            self._reconnect(now_s)
            return
        if tick:
            self._client.loop_misc()
            if not self.ready and now_s - self._since_s > HANDSHAKE_S:
                self._reason = f"no answer of the broker within {HANDSHAKE_S:.0f} s"
                self.close()
        if self.ready:
            self.peer.work(self, now_s)
        self.flush()
        if self._client is not None and self._client.socket() is None:
            self._lost(now_s)

    def flush(self) -> None:
        """Write what is queued, and ask to be woken if the socket takes no more."""
        client = self._client
        if client is None or client.socket() is None:
            return
        if client.want_write():
            client.loop_write()
        interest = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.want_write() else 0)
        if self._socket is not None and interest != self._interest:
            self._network.selector.modify(self._socket, interest, self)
            self._interest = interest

    def _reconnect(self, now_s: float) -> None:
        if self._connecting is None:
            if now_s >= self._next_try_s and not self._network.stopping:
                self._connecting = self._network.pool.submit(self._connect)
                self._connecting.add_done_callback(lambda _: self._network.wake())
            return
        if not self._connecting.done():
            return
        attempt, self._connecting = self._connecting, None
        try:
            client = attempt.result()
        except Exception as error:  # noqa: BLE001  whatever the resolver, TCP, TLS or a bad file raises: try again
            self._reason = in_words(error)
            self._lost(now_s)
            return
        self._adopt(client, now_s)
        self.flush()

    def _lost(self, now_s: float) -> None:
        steady = self.ready and now_s - self._since_s > STEADY_S
        self._failures = 1 if steady else self._failures + 1
        delay_s = min(LAST_DELAY_S, FIRST_DELAY_S * 2 ** min(self._failures - 1, 16))
        # Half of the delay is chance, so that a thousand collectors do not come back at once.
        self._next_try_s = now_s + delay_s * (0.5 + random.random() / 2)  # noqa: S311
        self._unregister()
        self.ready, self._client = False, None
        self.trouble = self._reason or "connection lost"

    def close(self) -> None:
        """Say goodbye to the broker, which then does not publish the will."""
        if self._client is not None:
            self._client.disconnect()
            self.flush()

    def again(self) -> None:
        """Last words, then a clean goodbye; `turn` connects again while the link is kept."""
        if self.ready:
            self.peer.farewell(self)
            self.flush()
        self._failures = 0
        self.close()


class Network:
    """The thread that drives every link.

    Parameters
    ----------
    settings : MqttConfig
        The broker.
    between : callable
        Run once a round in the network thread, at most every 50 ms, before links send: the place
        to commit the acknowledgements that came.
    say : callable
        Told when the broker becomes unreachable or is back.
    """

    def __init__(self, settings: MqttConfig, *, between: Callable[[], None], say: Say):
        self.settings = settings
        self.selector = selectors.DefaultSelector()
        self.pool = Workers("connect", 4)
        self.stopping = False
        self.failure: BaseException | None = None
        self.turned_s = time.monotonic()
        self._between = between
        self._say = say
        self._links: dict[str, Link] = {}
        self._calls: deque[tuple[Link | None, Callable[[], None]]] = deque()
        self._wake_r, self._wake_w = os.pipe()
        os.set_blocking(self._wake_r, False)
        os.set_blocking(self._wake_w, False)
        self.selector.register(self._wake_r, selectors.EVENT_READ, None)
        self._degraded: bool | None = None
        self._told: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    def add(self, peer: Peer) -> Link:
        """Make the link of one device, before the start."""
        link = Link(self, peer)
        self._links[peer.name] = link
        return link

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def add_later(self, peer: Peer) -> Link:
        """Make the link of one more device while the thread runs; it connects by itself."""
        link = Link(self, peer)
        self._tell(lambda: self._links.__setitem__(peer.name, link))
        return link

    def part(self, link: Link) -> None:
        """Let a device say goodbye and close its link for good."""

        def leave() -> None:
            link.again()
            self._links.pop(link.peer.name, None)

        self._tell(leave)

    def renew(self, link: Link, change: Callable[[], None] = lambda: None) -> None:
        """Let a device say goodbye, change something about it, and connect it again as it is then."""

        def again() -> None:
            link.again()
            change()

        self._tell(again)

    def _tell(self, function: Callable[[], None]) -> None:
        self._calls.append((None, function))
        self.wake()

    def call(self, link: Link, function: Callable[[], None]) -> None:
        """Run something in the network thread and let `link` work after it.

        Passed over while too many wait: what they would send is in the outbox, and `link` finds it there.
        """
        if len(self._calls) < MAX_CALLS:
            self._calls.append((link, function))
        self.wake()

    def wake(self) -> None:
        """Make the thread look around."""
        with contextlib.suppress(OSError):  # it is awake already, or has ended
            os.write(self._wake_w, b"\0")

    @property
    def connected(self) -> int:
        """How many devices have a standing connection."""
        return sum(link.ready for link in self._links.values())

    def _run(self) -> None:
        try:
            next_tick_s = next_between_s = 0.0
            heard = False
            while not self.stopping:
                due_s = min(next_tick_s, next_between_s) if heard else next_tick_s
                touched = self._wait(max(0.0, due_s - time.monotonic()))
                now_s = self.turned_s = time.monotonic()
                heard = heard or bool(touched)
                if heard and now_s >= next_between_s:
                    self._between()
                    heard, next_between_s = False, now_s + BETWEEN_S
                tick = now_s >= next_tick_s
                if tick:
                    next_tick_s = now_s + TICK_S
                for link in self._links.values() if tick else touched:
                    link.turn(now_s, tick=tick)
                self._report()
            self._part()
        except BaseException as error:  # noqa: BLE001  the fleet ends with it: a collector without network is none
            self.failure = error

    def _wait(self, timeout_s: float) -> set[Link]:
        touched: set[Link] = set()
        for key, events in self.selector.select(timeout_s):
            if key.data is None:
                os.read(self._wake_r, 65536)
                touched.update(link for link in self._links.values() if link._connecting is not None)  # noqa: SLF001
            else:
                key.data.io(events)
                touched.add(key.data)
        while self._calls:
            link, function = self._calls.popleft()
            function()
            if link is not None:
                touched.add(link)
        return touched

    def _report(self) -> None:
        troubled = [link for link in self._links.values() if link.trouble not in (None, "not yet connected")]
        # A line that breaks is said once; a certificate, which does not mend itself, after that too.
        fresh = [
            link
            for link in troubled
            if not self._degraded or ("certificate" in str(link.trouble) and link.trouble not in self._told)
        ]
        if fresh and len(self._told) < MOST_TOLD:
            self._degraded = True
            self._told.add(str(fresh[0].trouble))
            self._say(
                f"degraded: broker {self.settings.url}: {fresh[0].trouble} "
                f"({fresh[0].peer.name}; {self.connected} of {len(self._links)} devices connected); "
                "keeps trying, samples wait in the outbox"
            )
        elif self._degraded is not False and self.connected == len(self._links):
            word = "recovered" if self._degraded else "connected"
            self._say(f"{word}: broker {self.settings.url}: {self.connected} devices connected")
            self._degraded = False
            self._told.clear()

    def _part(self) -> None:
        """Last words of every device, then a clean goodbye; bounded to 2 s."""
        self._wait(0.0)
        self._between()
        for link in self._links.values():
            if link.ready:
                link.peer.farewell(link)
                link.flush()
        end_s = time.monotonic() + 2.0
        while (
            any(link.ready and link.pending > 0 for link in self._links.values()) and time.monotonic() < end_s
        ):
            for link in self._wait(0.05):
                link.flush()
                link.ready = link.ready and link._socket is not None  # noqa: SLF001
        self._between()
        for link in self._links.values():
            link.close()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Part cleanly and end the thread."""
        self.stopping = True
        self.wake()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        self.pool.close()
        if not self._thread.is_alive():
            self.selector.close()
            os.close(self._wake_r)
            os.close(self._wake_w)


def reach(settings: MqttConfig, timeout_s: float = 5.0, *, device: str = "") -> str | None:
    """Try the broker once under a name of its own, so that a running collector is not thrown out.

    A broker that names clients after their certificate throws it out all the same, for a second.

    Returns
    -------
    str or None
        What went wrong; None if it let us in.
    """
    client = broker_client(settings, f"hearthline-check-{random.randrange(2**32):08x}", device)  # noqa: S311
    met = LastError()
    client.enable_logger(met.logger)
    answers: list[Any] = []
    client.on_connect = lambda _client, _data, _flags, code, _properties: answers.append(code)
    try:
        client.connect(settings.host, settings.port, keepalive=settings.keepalive_s)
        end_s = time.monotonic() + timeout_s
        while not answers and time.monotonic() < end_s:
            if client.loop(0.1) != mqtt.MQTT_ERR_SUCCESS and not answers:
                return met.why or (
                    UNANSWERED if settings.tls else "connection closed before the broker answered"
                )
        client.disconnect()
    except (OSError, ValueError) as error:
        return in_words(error)
    if not answers:
        return f"expected an answer within {timeout_s:g} s, got none"
    return f"broker refused the connection: {answers[0]}" if answers[0].is_failure else None
