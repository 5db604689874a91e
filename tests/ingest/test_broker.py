"""The broker inside the process, with real clients."""

import json
import os
import resource
import threading
import time
from contextlib import suppress
from itertools import count

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from ingest.broker import EmbeddedBroker
from ingest.endpoint import Endpoint
from ingest.subscriber import Subscriber
from tests.support.waiting import PATIENCE_S, until


@pytest.fixture
def broker():
    with EmbeddedBroker() as started:
        yield started


@pytest.fixture
def connect(broker):
    clients = []

    def make(client_id, topic=None, **options):
        got, ready = [], threading.Event()
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, **options)
        client.on_message = lambda _c, _d, m: got.append((m.topic, m.payload, m.qos, m.retain))
        client.on_subscribe = lambda *_: ready.set()
        client.max_inflight_messages_set(200)
        client.will_set(f"will/{client_id}", b"gone", 1)
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        clients.append(client)
        if topic:
            client.subscribe(topic, 1)
            assert ready.wait(PATIENCE_S)
        return client, got

    yield make
    for client in clients:
        client.disconnect()
        with suppress(AttributeError):  # paho: its thread may end while it looks for it
            client.loop_stop()


def test_qos_1_retained_and_the_flag_that_tells_them_apart(connect):
    sender, _ = connect("sender")
    sender.publish("a/birth", b"kept", 1, retain=True).wait_for_publish(PATIENCE_S)
    _, got = connect("hearer", "a/#")
    until(lambda: got == [("a/birth", b"kept", 1, True)])
    sender.publish("a/now", b"x", 1, retain=True).wait_for_publish(PATIENCE_S)
    until(lambda: got[1:] == [("a/now", b"x", 1, False)])


def test_a_will_is_sent_when_a_client_vanishes(connect):
    _, got = connect("hearer", "will/#")
    client, _ = connect("victim")
    client._sock_close()
    client.loop_stop()
    until(lambda: ("will/victim", b"gone", 1, False) in got)


@pytest.mark.parametrize("size", [300 * 1024, 1024 * 1024])
def test_large_messages_pass(connect, size):
    _, got = connect("hearer", "a/#")
    sender, _ = connect("sender")
    sender.publish("a/large", b"x" * size, 1).wait_for_publish(PATIENCE_S)
    until(lambda: [len(m[1]) for m in got] == [size])


def test_thousands_of_messages_pass(connect):
    _, got = connect("hearer", "a/#")
    sender, _ = connect("sender")
    payload = json.dumps({"x": "y" * 400}).encode()
    for _ in range(2000):
        sender.publish("a/t", payload, 1)
    until(lambda: len(got) == 2000)


def test_a_taken_port_is_named(broker):
    with pytest.raises(
        OSError, match=rf"expected a free port, got 127.0.0.1:{broker.port}: Address already in use"
    ):
        EmbeddedBroker(broker.port).start()


def test_it_starts_again_on_the_port_that_it_left():
    first = EmbeddedBroker()
    first.start()
    first.stop()
    assert not first.running
    with EmbeddedBroker(first.port) as second:
        assert second.port == first.port
        assert second.running


def test_only_loopback():
    with pytest.raises(ValueError, match=r"expected a loopback address, got 0.0.0.0"):
        EmbeddedBroker(host="0.0.0.0")


def test_more_connections_than_allowed_wait():
    with EmbeddedBroker(max_connections=2) as broker:
        clients = []
        for n in range(3):
            client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"c{n}")
            client.connect("127.0.0.1", broker.port)
            client.loop_start()
            clients.append(client)
        until(lambda: sum(c.is_connected() for c in clients) == 2)
        time.sleep(0.5)
        assert sum(c.is_connected() for c in clients) == 2
        next(c for c in clients if c.is_connected()).disconnect()
        until(clients[2].is_connected)
        for client in clients:
            client.disconnect()
            client.loop_stop()


def test_what_waits_for_a_subscriber_is_bounded_in_messages_and_bytes():
    """A subscriber that acknowledges nothing makes the broker drop, not grow; what it has it gives out again."""
    held, got = [], threading.Event()
    with EmbeddedBroker(most_messages=50, most_bytes=100_000) as broker:
        listener = mqtt.Client(CallbackAPIVersion.VERSION2, manual_ack=True)
        listener.on_message = lambda _c, _d, m: (held.append(m.mid), got.set())
        subscribed = threading.Event()
        listener.on_connect = lambda c, *_: c.subscribe("a/#", qos=1)
        listener.on_subscribe = lambda *_: subscribed.set()
        listener.connect("127.0.0.1", broker.port)
        listener.loop_start()
        assert subscribed.wait(PATIENCE_S)
        sender = mqtt.Client(CallbackAPIVersion.VERSION2)
        sender.connect("127.0.0.1", broker.port)
        sender.loop_start()

        def send(count, size, dropped):
            sent = [sender.publish("a/b", b"x" * size, qos=1) for _ in range(count)]
            for message in sent:
                message.wait_for_publish(PATIENCE_S)
            # A sender is answered before the last is dropped.
            until(lambda: broker.dropped >= dropped)

        send(80, 10, dropped=30)
        assert got.wait(PATIENCE_S)
        assert (broker.queued, broker.dropped) == (50, 30)
        for done in count():  # what is acknowledged makes room for more
            until(lambda done=done: len(held) > done or not broker.queued)
            if len(held) == done:
                break
            listener.ack(held[done], 1)
        assert (broker.queued, broker.queued_bytes) == (0, 0)
        send(30, 10_000, dropped=50)
        assert broker.queued_bytes <= 100_000
        assert (broker.queued, broker.dropped) == (10, 30 + 20)
        for client in (sender, listener):
            client.disconnect()
            client.loop_stop()


def test_ingest_hears_on_a_descriptor_above_1023(broker, connect):
    """As many as a thousand devices take; select() knows no such descriptor."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard >= 2048, "ulimit -Hn"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1024)]
    came: list[bytes] = []
    subscriber = Subscriber(
        Endpoint("127.0.0.1", broker.port), "ingest", ["a/#"], lambda m: came.extend(m.publishes.payloads)
    )
    try:
        subscriber.start()
        until(lambda: not subscriber.trouble)
        assert subscriber._client.socket().fileno() > 1023
        for file in held:
            os.close(file)
        sender, _ = connect("sender")
        sender.publish("a/now", b"x", 1).wait_for_publish(PATIENCE_S)
        until(lambda: came == [b"x"])
        assert subscriber.publish([("b/now", b"y")]) == 1
        until(lambda: subscriber._client.unconfirmed == 0)
    finally:
        subscriber.stop()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
