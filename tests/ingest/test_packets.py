"""Cutting a connection's bytes into packets: as paho's own reader does, in whatever pieces they come."""

import itertools
import socket
import struct
import threading

import paho.mqtt.client as mqtt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from ingest.client import BulkClient
from ingest.packets import MalformedError, PacketCutter, Publishes, pubacks
from ingest.packets import publish as build
from tests.support.waiting import PATIENCE_S


def length(n):
    out = bytearray()
    while True:
        n, digit = divmod(n, 128)
        out.append(digit | 0x80 if n else digit)
        if not n:
            return bytes(out)


def packet(first, body):
    return bytes([first]) + length(len(body)) + body


def publish(topic, payload, mid, qos=1, *, retain=False, dup=False):
    number = struct.pack("!H", mid) if qos else b""
    first = 0x30 | qos << 1 | retain | dup << 3
    return packet(first, struct.pack("!H", len(topic)) + topic + number + payload)


publishes = st.builds(
    publish,
    st.one_of(st.text(min_size=1, max_size=8).map(str.encode), st.binary(min_size=1, max_size=5)),
    st.one_of(st.binary(max_size=9), st.integers(100, 40_000).map(bytes)),
    st.integers(1, 65_535),
    st.sampled_from([0, 1]),
    retain=st.booleans(),
    dup=st.booleans(),
)
others = st.sampled_from([b"\x40\x02\x00\x07", b"\xd0\x00", b"\x90\x03\x00\x01\x01", b"\x20\x02\x00\x00"])


def by_paho(data):
    """Topic, payload, number and retained of each message, as paho's own reader gives them to a callback."""
    got = []

    def on_message(_client, _data, message):
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = "\N{REPLACEMENT CHARACTER}"
        got.append((topic, message.payload, message.mid, message.retain))

    client = mqtt.Client(CallbackAPIVersion.VERSION2, manual_ack=True)
    client.on_message = on_message
    ours, theirs = socket.socketpair()
    with ours, theirs:
        client._sock = theirs
        theirs.setblocking(False)
        writer = threading.Thread(target=lambda: (ours.sendall(data), ours.shutdown(socket.SHUT_WR)))
        writer.start()
        while client._packet_read() != MQTTErrorCode.MQTT_ERR_CONN_LOST:
            pass
        writer.join()
        client._sock = None
    return got


def by_cutter(data, cuts):
    cutter, got, rest = PacketCutter(), [], []
    edges = [0, *sorted(c % (len(data) + 1) for c in cuts), len(data)]
    for start, stop in itertools.pairwise(edges):
        parts, confirmed = cutter.feed(data[start:stop])
        rest += [b"\x40\x02" + struct.pack("!H", mid) for mid in confirmed]
        for part in parts:
            if isinstance(part, Publishes):
                got += zip(part.topics, part.payloads, part.mids, part.retained, strict=True)
            else:
                rest.append(part)
    return got, rest


@settings(max_examples=60, deadline=None)
@given(st.lists(publishes, max_size=8), st.lists(st.integers(0, 10**6), max_size=6))
def test_messages_are_those_that_paho_reads(packets, cuts):
    data = b"".join(packets)
    assert by_cutter(data, cuts)[0] == by_paho(data)


@given(st.lists(st.one_of(publishes, others), max_size=12), st.lists(st.integers(0, 10**6), max_size=30))
def test_nothing_is_lost_and_the_order_stays(packets, cuts):
    got, rest = by_cutter(b"".join(packets), cuts)
    assert sorted(rest) == sorted(p for p in packets if p[0] & 0xF0 != 0x30)
    assert [p for p in rest if p[0] != 0x40] == [p for p in packets if p[0] & 0xF0 not in (0x30, 0x40)]
    assert [payload for _, payload, _, _ in got] == [
        payload for p in packets if p[0] & 0xF0 == 0x30 for _, payload, _, _ in by_cutter(p, [])[0]
    ]
    assert len(got) == len(packets) - len(rest)


def test_another_packet_stands_between_the_messages_around_it():
    data = publish(b"a", b"1", 1) + b"\x20\x02\x00\x00" + publish(b"a", b"2", 2)
    (before, other, after), _ = PacketCutter().feed(data)
    assert (before.mids, other, after.mids) == ([1], b"\x20\x02\x00\x00", [2])


def test_a_large_packet_may_come_byte_by_byte_and_in_thousands_of_pieces():
    data = publish(b"t", bytes(3_000_000), 9)
    assert by_cutter(data[:200], range(200))[0] == []
    (message,) = by_cutter(data, range(0, 3_000_000, 1000))[0]
    assert message == ("t", bytes(3_000_000), 9, False)


@pytest.mark.parametrize(
    "data",
    [
        b"\x32\xff\xff\xff\xff\x01",  # a length of five bytes
        packet(0x32, b""),
        packet(0x32, b"\x00"),
        packet(0x32, b"\x00\x00\x00\x01x"),  # without a topic
        packet(0x32, b"\x00\x09abc"),  # a topic longer than the packet
        packet(0x32, b"\x00\x03abc\x01"),  # half an identifier
    ],
)
def test_what_is_no_mqtt_is_refused(data):
    with pytest.raises(MalformedError, match="expected a"):
        PacketCutter().feed(data)


def test_publishes_of_qos_2_are_left_to_paho():
    data = publish(b"t", b"x", 5, qos=2)
    assert PacketCutter().feed(data) == ([data], [])


@pytest.mark.parametrize("size", [0, 1, 100, 200, 20_000])
def test_what_we_publish_is_what_a_reader_reads(size):
    data = build("a/b/换热站", bytes(size), 513, again=False)
    assert by_paho(data) == [("a/b/换热站", bytes(size), 513, False)]
    again = build("a/b/换热站", bytes(size), 513, again=True)
    assert again[0] == data[0] | 0x08
    assert again[1:] == data[1:]


def test_a_puback_does_not_part_the_messages_around_it():
    data = publish(b"a", b"1", 1) + b"\x40\x02\x01\x02" + publish(b"a", b"2", 2)
    (run,), confirmed = PacketCutter().feed(data)
    assert (run.mids, confirmed) == ([1, 2], [258])


@given(st.lists(st.integers(0, 65_535), max_size=50))
def test_pubacks(mids):
    expected = b"".join(b"\x40\x02" + struct.pack("!H", mid) for mid in mids if mid)
    assert pubacks(mids) == expected


def test_a_connection_that_sends_no_mqtt_is_closed_and_one_that_ends_too():
    """Through paho's own loop: the reader's answer must be one that paho acts on."""
    for data, expected in ((b"\x32\xff\xff\xff\xff\x01", "Protocol"), (b"\x32\x7f\x00", "")):
        why = []
        client = BulkClient("c", lambda _publishes: None)
        client.on_disconnect = lambda _c, _d, _f, reason, _p, why=why: why.append(str(reason))
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        client._sock = theirs
        with ours:
            ours.sendall(data)
            client.loop(0.5)
        client.loop(0.5)
        assert client.socket() is None
        assert len(why) == 1
        assert expected.lower() in why[0].lower()


def connected(client):
    """The other end of a connection that `client` takes for its own."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    client._sock = theirs
    ours.settimeout(PATIENCE_S)
    return ours


def test_what_was_not_confirmed_is_sent_again_on_the_next_connection():
    client = BulkClient("c", lambda _publishes: None)
    messages = [(f"t/{n}", b"x" * n) for n in range(3)]
    with connected(client) as broker:
        client.publish_all(messages)
        first = broker.recv(1000)
        assert first == b"".join(build(t, p, n + 1, again=False) for n, (t, p) in enumerate(messages))
        broker.sendall(b"\x40\x02\x00\x02")  # the second one only
        client.loop(0.5)
        assert client.unconfirmed == 2
    with connected(client) as broker:
        client.publish_again()
        assert broker.recv(1000) == build("t/0", b"", 1, again=True) + build("t/2", b"xx", 3, again=True)
        broker.sendall(b"\x40\x02\x00\x03\x40\x02\x00\x01")
        client.loop(0.5)
        assert client.unconfirmed == 0
        client.publish_again()
        broker.setblocking(False)
        with pytest.raises(BlockingIOError):
            broker.recv(1)


def test_what_paho_is_relied_on_for():
    """Names that `BulkClient` uses of paho, which promises none of them."""
    for name in (
        "_sock_recv", "_packet_read", "_packet_queue", "_loop_rc_handle", "_mid_generate", "_loop", "loop_read",
    ):  # fmt: skip
        assert callable(getattr(mqtt.Client, name))
    fields = vars(mqtt.Client(CallbackAPIVersion.VERSION2))
    assert {"_sock", "_sockpairR", "_state", "_msgtime_mutex", "_last_bytes_received"} <= fields.keys()
