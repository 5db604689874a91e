"""The door for devices: who comes in and what they may do, at Mosquitto and at the broker inside alike."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import statistics
import threading
import time
from datetime import timedelta
from functools import partial
from types import SimpleNamespace

import pytest
from amqtt.broker import Broker
from hypothesis import given
from hypothesis import strategies as st

from hearthline.audit import AuditLog, verify
from hearthline.health import ledger_totals
from hearthline.server import Server, ServerConfig
from ingest.door import Allowance, Denied, peer_name
from ingest.subscriptions import Subscriptions
from tests.support.door import ODD_NAMES, Client, gate, make_pki, refused, say_too_much
from tests.support.payloads import decode, event, refusals, site, telemetry, topic
from tests.support.waiting import PATIENCE_S, until

KINDS = ("mosquitto", "embedded")


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module", params=KINDS)
def door(request, pki, tmp_path_factory):
    with gate(request.param, tmp_path_factory.mktemp(request.param), pki) as opened:
        yield opened


def settle(server, device_client, device="sub-1"):
    """Wait until everything that was said before has come, or never will."""
    mark = f"mark-{time.monotonic_ns()}".encode()
    device_client.publish(topic(device, "state"), mark)
    until(lambda: any(payload == mark for _, payload, _ in server.heard))


def listen(server):
    server.subscribe(*(f"hearthline/v1/+/+/+/{kind}" for kind in ("telemetry", "birth", "state", "death")))


@pytest.mark.parametrize("certificate", [None, "stranger", "expired", "gone"])
def test_who_has_no_good_certificate_stays_outside(door, certificate):
    assert refused(door, certificate)


def test_who_has_one_comes_in(door):
    assert not refused(door, "sub-1")


def test_old_tls_is_refused(door):
    assert refused(door, "sub-1", newest=ssl.TLSVersion.TLSv1_1)
    assert not refused(door, "sub-1", newest=ssl.TLSVersion.TLSv1_2)


def test_a_device_that_publishes_as_another_leaves_one_audit_entry_and_no_message(door):
    before = len(door.denied())
    with Client(door, server=True) as server, Client(door, "sub-1") as device:
        listen(server)
        device.publish(topic("sub-2"))
        settle(server, device)
        assert topic("sub-2") not in server.topics
    until(lambda: len(door.denied()) > before)
    assert door.denied()[before:] == [("sub-1", topic("sub-2"))]


@pytest.mark.parametrize("kind", ["ack", "command", "telemetry"])
def test_a_device_writes_to_no_place_but_its_own(door, kind):
    others = [
        topic("sub-2", kind),
        topic("sub-1", kind, unit="u2"),
        f"hearthline/v1/r1/u1/sub-1/x/{kind}",
        "else",
    ]
    if kind != "telemetry":  # only the server says these, to whomever
        others.append(topic("sub-1", kind))
    with (
        Client(door, server=True) as server,
        Client(door, "sub-1") as device,
        Client(door, "sub-2") as other,
    ):
        listen(server)
        other.subscribe(topic("sub-2", "ack"), topic("sub-2", "command"))
        device.subscribe(topic("sub-1", "ack"), topic("sub-1", "command"))
        for place in others:
            device.publish(place)
        settle(server, device)
        settle(server, other, "sub-2")
        assert not [t for t in server.topics if not t.endswith("/state")]
        assert other.topics == device.topics == []


@pytest.mark.parametrize("number", range(len(ODD_NAMES)))
def test_a_name_with_a_wildcard_or_a_level_may_do_nothing(door, number):
    """Its own authority signed it: whoever holds that key could, and still nothing comes of it."""
    name = ODD_NAMES[number]
    with Client(door, server=True) as server, Client(door, "sub-1") as device:
        listen(server)
        if not refused(door, f"odd{number}"):
            with Client(door, f"odd{number}") as odd:
                own = [f"hearthline/v1/r1/u1/{name}/ack"] if name in ("+", "a/b") else []
                odd.subscribe(*own, "hearthline/v1/r1/u1/+/ack", "#")
                odd.publish(f"hearthline/v1/r1/u1/{name.replace('+', 'x').replace('#', 'x')}/telemetry")
                odd.publish(topic("sub-1"))
                server.publish(topic("sub-1", "ack"))
                settle(server, device)
                assert odd.heard == []
        settle(server, device)
        assert not [t for t in server.topics if t.endswith("telemetry")]


def test_a_device_hears_nothing_of_others(door):
    with (
        Client(door, server=True) as server,
        Client(door, "sub-1") as device,
        Client(door, "sub-2") as other,
    ):
        listen(server)
        device.subscribe(
            "#", "+/#", "$SYS/#", "$share/g/#", "$share/g/hearthline/v1/+/+/+/ack", "hearthline/v1/+/+/+/ack",
            "hearthline/v1/r1/u1/sub-2/command", topic("sub-1", "ack"),
        )  # fmt: skip
        other.publish(topic("sub-2"))
        server.publish(topic("sub-2", "ack"))
        server.publish(topic("sub-2", "command"))
        settle(server, other, "sub-2")
        server.publish(topic("sub-1", "ack"), b"mine")
        until(lambda: device.heard)
        assert {t for t, _, _ in device.heard} == {topic("sub-1", "ack")}


def test_who_connects_hears_nothing_that_was_kept_of_others(door):
    """amqtt hands what is retained to whoever comes, if anybody at all has subscribed to it."""
    with Client(door, server=True) as server, Client(door, "sub-2") as other:
        listen(server)
        other.publish(topic("sub-2", "birth"), b"{}", retain=True)
        settle(server, other, "sub-2")
        with Client(door, "sub-1", client_id="x") as device:
            device.subscribe(topic("sub-1", "ack"))
            server.publish(topic("sub-1", "ack"), b"mine")
            until(lambda: device.heard)
            assert [payload for _, payload, _ in device.heard] == [b"mine"]
        other.publish(topic("sub-2", "birth"), b"", retain=True)


def test_many_connect_while_others_subscribe(door):
    """A storm of connections: each comes in and is heard."""
    with Client(door, server=True) as server:
        listen(server)
        for _ in range(3):
            clients = [Client(door, name) for name in ("sub-1", "sub-2", "truck-1")]
            for name, client in zip(("sub-1", "sub-2", "truck-1"), clients, strict=True):
                client.client.on_connect = lambda c, *_, name=name, own=client: (
                    c.subscribe([(topic(name, "ack"), 1), (topic(name, "command"), 1)]),
                    own.connected.set(),
                )
                client.__enter__()
            try:
                until(lambda clients=clients: all(c.subscribed.is_set() for c in clients))
            finally:
                for client in clients:
                    client.__exit__()


def test_a_table_may_change_while_it_is_walked_through():
    table = Subscriptions()
    table["a"], table["b"] = [(1, 1)], [(2, 1)]
    for key in table:
        table[key + "x"] = [(3, 1)]
    for key, _ in table.items():  # noqa: PERF102  the pairs are what is walked through
        del table[key]
    assert not table


@given(
    st.lists(st.sampled_from(["a/b", "a/c", "a/+", "+/b", "#", "a/#", "a", "b/b/b"]), max_size=8),
    st.lists(st.sampled_from(["a/b", "a/+", "#", "a"]), max_size=4),
    st.sampled_from(["a/b", "a/c", "a", "b/b", "b/b/b"]),
)
def test_who_hears_a_topic_is_who_a_walk_through_all_would_find(filters, gone, said):
    matches = partial(Broker._matches, SimpleNamespace())
    table = Subscriptions()
    for number, name in enumerate(filters):
        table[name] = [*table.get(name, []), (number, 1)]
    for name in gone:
        if name in table:
            del table[name]
    walked = [pair for name, pairs in table.items() for pair in pairs if matches(said, name)]
    assert sorted(table.hearers(said, matches)) == sorted(walked)


def test_a_will_for_another_is_not_said(door):
    with Client(door, server=True) as server, Client(door, "sub-2") as witness:
        listen(server)
        rogue = Client(door, "sub-1")
        rogue.client.will_set(topic("sub-2", "death"), b"rogue", 1)
        with rogue:
            rogue.connected.wait(1)
            if (sock := rogue.client.socket()) is not None:
                sock.shutdown(socket.SHUT_RDWR)
        settle(server, witness, "sub-2")
        time.sleep(0.2)
        assert topic("sub-2", "death") not in server.topics


def test_nobody_takes_over_the_session_of_another(door):
    with Client(door, "sub-2", client_id="hearthline-sub-2") as own:
        assert own.connected.wait(PATIENCE_S)
        gone = threading.Event()
        own.client.on_disconnect = lambda *_: gone.set()
        for name in ("hearthline-sub-2", "sub-2", "device:sub-2", "hearthline-ingest"):
            with Client(door, "sub-1", client_id=name) as other:
                other.connected.wait(5)
        assert not gone.wait(0.3)


def test_retained_telemetry_is_not_taken(door, tmp_path):
    """The broker inside drops it; Mosquitto keeps it and marks it, and ingest refuses what is so marked."""
    message = telemetry("sub-1", seq=9)
    with Client(door, "sub-1") as device:
        device.publish(message.topic, message.payload, retain=True)
        device.publish(topic("sub-1", "birth"), b"{}", retain=True)
    with Client(door, server=True) as server, Client(door, "sub-1") as device:
        listen(server)
        settle(server, device)
        until(lambda: topic("sub-1", "birth") in server.topics)
        kept = [retained for t, _, retained in server.heard if t == message.topic]
        assert kept == ([] if door.kind == "embedded" else [True])
        device.publish(message.topic, b"", retain=True)
    found = refusals(decode([telemetry("sub-1", seq=9, retained=True)]))
    assert [row[1:] for row in found] == [("sub-1", "retained", 9)]


def test_a_packet_above_the_limit_ends_its_connection_and_the_next_good_one_comes(door):
    with Client(door, server=True) as server:
        listen(server)
        say_too_much(door)
        with Client(door, "sub-1") as device:
            device.publish(topic("sub-1"), b"good")
            until(lambda: any(payload == b"good" for _, payload, _ in server.heard))
        assert not any(payload.startswith(b"y") for _, payload, _ in server.heard)


@pytest.mark.parametrize("kind", KINDS)
def test_frames_played_again_make_no_row(kind, pki, tmp_path):
    """A thousand messages, recorded and said again, by their device and by another: no new row."""
    now = int(time.time() * 1000)
    frames = [telemetry("sub-1", seq=n, boot=now - 10**7, samples=[{"t": now - 10_000_000 + 1000 * n, "supply_c": 80.0}]) for n in range(1, 1001)]  # fmt: skip
    with running(kind, tmp_path, pki) as (server, opened):
        for round_ in range(2):
            with Client(opened, "sub-1") as device, Client(opened, "sub-2") as other:
                for message in frames:
                    device.client.publish(message.topic, message.payload, 1)
                    if round_:
                        other.client.publish(message.topic, message.payload, 1)
                said = event("sub-1", "state", at=now, next_seq=1001)
                device.publish(
                    said.topic, json.dumps({**json.loads(said.payload), "boot": now - 10**7}).encode()
                )
                until(lambda most=1000 * (round_ + 1): server.ingest.status.journalled >= most)
                until(lambda: server.store.counts().get("reading") == 1000 and server.idle())
        until(lambda: ledger_totals(server.store)["duplicate"] == 1000)
        assert server.store.counts()["reading"] == 1000
        assert ledger_totals(server.store)["unaccounted"] == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "many", [pytest.param(30, id="few"), pytest.param(500, id="many", marks=pytest.mark.soak)]
)
def test_dribbling_clients_and_a_loud_device_hold_nobody_up(kind, many, pki, tmp_path):
    """Clients that send a byte now and then, a device at 100 times its rate: others are heard (many: in a second)."""
    with gate(kind, tmp_path, pki) as opened, Client(opened, server=True) as server:
        listen(server)
        stop = threading.Event()
        slow = [socket.create_connection(("127.0.0.1", opened.port)) for _ in range(many)]
        threads = [
            threading.Thread(target=dribble, args=(slow, stop)),
            threading.Thread(target=shout, args=(opened, stop)),
        ]
        for thread in threads:
            thread.start()
        try:
            late_s = []
            with Client(opened, "sub-1") as device:
                for n in range(60 if many < 100 else 400):
                    began, mark = time.monotonic(), f"n{n}".encode()
                    device.publish(topic("sub-1"), mark)
                    until(lambda mark=mark: any(p == mark for _, p, _ in server.heard[-2000:]))
                    late_s.append(time.monotonic() - began)
        finally:
            stop.set()
            for thread in threads:
                thread.join(PATIENCE_S)
            for sock in slow:
                sock.close()
    p99_s = statistics.quantiles(late_s, n=100)[98]
    print(f"{kind}: {many} dribbling, p99 {p99_s:.3f} s, median {statistics.median(late_s):.4f} s")
    if many > 100:
        assert p99_s < 1.0, "in the gate, where the machine may be busy, each is heard at all"


def dribble(sockets, stop):
    while not stop.is_set():
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.send(b"\x16")
        stop.wait(0.5)


def shout(opened, stop):
    with Client(opened, "truck-1") as loud:
        loud.connected.wait(10)
        while not stop.wait(0.1):  # a sample every 0.1 s instead of every 10 s
            loud.client.publish(topic("truck-1"), b"{}", 1)


class running:  # noqa: N801  used as a function
    """A server on the site of the payloads, with one broker or the other."""

    def __init__(self, kind, directory, pki):
        self.kind, self.directory, self.pki = kind, directory, pki

    def __enter__(self):
        config = {
            "data_dir": self.directory / "data",
            "site": site(),
            "clock": lambda: int(time.time() * 1000),
            "port": 0,
        }
        self.gate = None
        if self.kind == "mosquitto":
            self.gate = gate("mosquitto", self.directory, self.pki)
            opened = self.gate.__enter__()
            self.server = Server(ServerConfig(**config, broker=opened.endpoint))
            self.server.start()
        else:
            self.server = Server(ServerConfig(**config, broker=0, pki=self.pki, door_port=0))
            self.server.start()
            context = gate_like(self.pki)
            opened = SimpleNamespace(
                kind="embedded",
                pki=self.pki,
                port=self.server.broker.door.port,
                endpoint=None,
                context=context,
            )
        until(lambda: self.server.ingest.status.state == "ok")
        return self.server, opened

    def __exit__(self, *exc):
        self.server.close()
        if self.gate is not None:
            self.gate.__exit__(*exc)


def gate_like(pki):
    from tests.support.door import Gate

    return lambda certificate, newest=None: Gate.context(SimpleNamespace(pki=pki), certificate, newest)


@pytest.mark.parametrize("kind", KINDS)
def test_a_collector_comes_in_with_its_devices_certificates(kind, pki, tmp_path):
    """Two devices of one collector, each with its own; everything is stored, nothing waits."""
    from edge.config import MqttConfig
    from tests.edge.test_collector import Counting, Running, device

    with running(kind, tmp_path, pki) as (server, opened):
        mqtt = MqttConfig(
            url=f"mqtts://127.0.0.1:{opened.port}",
            ca_file=pki / "servers-ca.pem",
            cert_file=pki / "devices" / "{device}.pem",
            key_file=pki / "devices" / "{device}.key",
        )
        units = [(device(name), Counting(last=20)) for name in ("sub-1", "sub-2")]
        with Running(opened.port, tmp_path / "edge", units, mqtt=mqtt) as collector:
            until(lambda: not collector.thread.is_alive())
        assert all(box["waiting"] == [] for box in collector.fleet.final.values())
        until(lambda: server.store.counts().get("reading") == 40)


def test_the_loopback_port_beside_a_door_lets_nobody_else_in(pki, tmp_path):
    import paho.mqtt.client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion

    with gate("embedded", tmp_path, pki) as opened:
        for login in (None, ("ingest", "guessed")):
            client = mqtt.Client(CallbackAPIVersion.VERSION2)
            if login:
                client.username_pw_set(*login)
            answers, gone = [], threading.Event()
            client.on_connect = lambda *words, answers=answers: answers.append(words)
            client.on_disconnect = lambda *_, gone=gone: gone.set()
            client.connect("127.0.0.1", opened.endpoint.port)
            client.loop_start()
            assert gone.wait(PATIENCE_S)
            client.loop_stop()
            assert not answers


def test_a_device_is_parted_from_when_it_is_revoked(tmp_path, monkeypatch):
    from hearthline.pki import Pki
    from tests.support.door import now

    monkeypatch.setattr("ingest.guarded_broker._REVOKED_S", 0.1)
    own = make_pki(tmp_path)
    with gate("embedded", tmp_path, own) as opened, Client(opened, "sub-2") as device:
        assert device.connected.wait(PATIENCE_S)
        with Client(opened, "sub-1") as other:
            assert other.connected.wait(PATIENCE_S)
            Pki(own, now).revoke(["sub-2"])
            until(lambda: not device.client.is_connected())
            assert other.client.is_connected()
        assert refused(opened, "sub-2")


def test_a_list_signed_anew_lets_devices_in_when_the_one_of_the_start_has_ended(tmp_path, monkeypatch):
    from hearthline.pki import CRL_DAYS, Pki
    from tests.support.door import now

    monkeypatch.setattr("ingest.guarded_broker._REVOKED_S", 0.1)
    own = make_pki(tmp_path)
    ends = now() + timedelta(seconds=4)
    Pki(own, lambda: ends - timedelta(days=CRL_DAYS)).revoke([])
    with gate("embedded", tmp_path, own) as opened:
        assert not refused(opened, "sub-1")
        until(lambda: now() > ends and refused(opened, "sub-1"))
        Pki(own, now).revoke([])
        until(lambda: not refused(opened, "sub-1"))
        assert refused(opened, "gone")


def test_a_renewed_certificate_of_the_broker_is_shown_to_newcomers(tmp_path, monkeypatch):
    from hearthline.pki import Pki
    from tests.support.door import now

    monkeypatch.setattr("ingest.guarded_broker._REVOKED_S", 0.1)
    own = make_pki(tmp_path)
    with gate("embedded", tmp_path, own) as opened, Client(opened, "sub-2") as device:
        assert device.connected.wait(PATIENCE_S)
        before = ssl.get_server_certificate(("127.0.0.1", opened.port))
        Pki(own, now).renew("server", ["localhost", "127.0.0.1"], 2)
        until(lambda: ssl.get_server_certificate(("127.0.0.1", opened.port)) != before)
        assert not refused(opened, "sub-1")
        assert device.client.is_connected()


def test_the_allowance_of_a_device():
    allowance = Allowance(messages_per_s=10, bytes_per_s=1000)
    assert sum(allowance.take(1, 0.0) for _ in range(100)) == 40, "four seconds at once"
    assert sum(allowance.take(1, 1.0) for _ in range(100)) == 10
    assert not allowance.take(10_000, 100.0)
    assert allowance.take(1, 100.0)


def test_a_certificate_with_several_names_has_none():
    name = (("commonName", "a"),)
    assert peer_name({"subject": (name,)}) == "a"
    assert peer_name({"subject": (name, (("commonName", "b"),))}) == ""
    assert peer_name(None) == peer_name({}) == ""


def test_the_audit_is_chained_and_bounded(tmp_path):
    path = tmp_path / "audit.jsonl"
    now = [0]
    log = AuditLog(path, lambda: now[0])
    for n in range(200):
        log(Denied("sub-1", "publish", f"t/{n}", "no"))
    log(Denied("sub-2", "publish", "t", "no"))
    assert verify(path) == 61, "a device cannot fill the disk"
    now[0] += 60_000
    again = AuditLog(path, lambda: now[0])
    log(Denied("sub-1", "publish", "t", "no"))
    assert json.loads(path.read_text().splitlines()[-1])["unwritten"] == 140
    assert verify(path) == 62
    assert AuditLog(path, lambda: 0).head == log.head != again.head
    lines = path.read_text().splitlines(keepends=True)
    for damaged in (lines[:5] + lines[6:], [*lines[:5], lines[5].replace("sub-1", "sub-9"), *lines[6:]]):
        path.write_text("".join(damaged))
        with pytest.raises(ValueError, match=r"audit.jsonl:6: expected a line that follows"):
            verify(path)
