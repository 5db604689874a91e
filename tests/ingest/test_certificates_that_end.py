"""Certificates that run out, begin later, or lose their authority while devices are connected."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from datetime import timedelta

import pytest

from edge.config import MqttConfig
from hearthline.pki import Pki
from ingest.paced_server import Strangers
from ingest.subscriber import Subscriber
from tests.edge.test_collector import Counting, Running, device
from tests.ingest.test_doors import KINDS, running
from tests.support.door import forged, gate, make_pki, now, refused, started
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr("ingest.guarded_broker._REVOKED_S", 0.05)
    monkeypatch.setattr("edge.network.LAST_DELAY_S", 0.5)


def collecting(opened, directory, driver, **files):
    """A collector of sub-1 that comes in with its certificate."""
    pki = opened.pki
    named = {
        "ca_file": pki / "servers-ca.pem",
        "cert_file": pki / "devices" / "{device}.pem",
        "key_file": pki / "devices" / "{device}.key",
    }
    mqtt = MqttConfig(url=f"mqtts://127.0.0.1:{opened.port}", **{**named, **files})
    return Running(opened.port, directory / "edge", [(device("sub-1"), driver)], mqtt=mqtt)


def broken(collector):
    """Have it connect anew, as after a cut line; what it said before is forgotten."""
    collector.said.clear()
    network = collector.fleet._network
    for link in list(network._links.values()):
        network.renew(link)


def told(collector, what):
    return until(
        lambda: any(what in line for line in collector.said), lambda: (what, collector.said), seconds=60
    )


def all_stored(server, collector, driver):
    """Let the driver come to its end, and see that every reading of it is stored once."""
    driver.last = driver.n + 5
    until(lambda: not collector.thread.is_alive())
    assert all(box["waiting"] == [] for box in collector.fleet.final.values())
    until(lambda: server.store.counts().get("reading") == driver.n)


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_ends_while_its_device_is_connected(kind, tmp_path, caplog):
    pki, driver = make_pki(tmp_path), Counting()
    with running(kind, tmp_path, pki) as (server, opened):
        ends = now() + timedelta(seconds=3)
        forged(pki, "sub-1", days=(ends - now()) / timedelta(days=1))
        with collecting(opened, tmp_path, driver) as collector:
            until(lambda: collector.fleet.connected == 1)
            until(lambda: now() > ends + timedelta(seconds=1))
            stored = server.store.counts()["reading"]
            until(lambda: server.store.counts()["reading"] > stored + 5)
            assert collector.fleet.connected == 1, "nobody is parted from for it"
            broken(collector)
            told(collector, "certificate expired" if kind == "mosquitto" else "does not take the certificate")
            if kind == "embedded":  # asyncio closes without a word
                until(lambda: "127.0.0.1 was not let in: certificate has expired" in caplog.text)
            Pki(pki, now).issue("sub-1", 2, renew=True)
            told(collector, "recovered")
            all_stored(server, collector, driver)


def test_a_device_whose_clock_is_before_the_brokers_certificate(tmp_path):
    pki, driver = make_pki(tmp_path), Counting()
    good = [(pki / name).read_bytes() for name in ("server.pem", "server.key")]
    Pki(pki, lambda: now() + timedelta(hours=1)).renew("server", ["127.0.0.1"], 1)
    with (
        running("embedded", tmp_path, pki) as (server, opened),
        collecting(opened, tmp_path, driver) as collector,
    ):
        told(collector, "certificate is not yet valid")
        told(collector, "clock")
        for name, data in zip(("server.pem", "server.key"), good, strict=True):
            (pki / name).write_bytes(data)
        told(collector, "recovered")
        all_stored(server, collector, driver)


def test_strangers_are_said_once_a_minute_for_each_reason():
    said, now_s = [], [0.0]
    strangers = Strangers(lambda text, *of: said.append(text % of), lambda: now_s[0])
    for at, why in ((0, "expired"), (1, "expired"), (2, "revoked"), (59, "expired"), (61, "expired")):
        now_s[0] = at
        strangers.add("10.0.0.7", why)
    assert said == [
        f"a device from 10.0.0.7 was not let in: {why} ({n} since last said)"
        for why, n in (("expired", 1), ("revoked", 1), ("expired", 3))
    ]


@pytest.mark.parametrize("file", ["ingest", "server"])
def test_ingest_says_which_certificate_has_ended_and_takes_a_new_one_by_itself(file, tmp_path):
    pki = make_pki(tmp_path)
    names = ["localhost", "127.0.0.1"] if file == "server" else []
    Pki(pki, lambda: now() - timedelta(days=10)).renew(file, names, 1)
    ours = "the broker does not take our certificate: certificate expired"
    theirs = "the broker's certificate is not taken: certificate has expired"
    with ExitStack() as stack:
        with gate("mosquitto", tmp_path, pki) as opened:
            subscriber = Subscriber(opened.endpoint, "ingest", ["hearthline/v1/#"], lambda _: None)
            subscriber.start()
            stack.callback(subscriber.stop)
            said = ours if file == "ingest" else theirs
            until(lambda: said in subscriber.trouble, lambda: subscriber.trouble, seconds=60)
            Pki(pki, now).renew(file, names, 2)
            if file == "ingest":
                until(lambda: not subscriber.trouble, lambda: subscriber.trouble, seconds=60)
                return
        # Mosquitto reads its own at its start.
        config, ports = tmp_path / "mosquitto.conf", (opened.port, opened.endpoint.port)
        config.write_text(config.read_text().partition("\n")[2] if os.getuid() == 0 else config.read_text())
        stack.enter_context(started(config, tmp_path / "log", ports))
        until(lambda: not subscriber.trouble, lambda: subscriber.trouble, seconds=60)


@pytest.mark.parametrize("kind", KINDS)
def test_authorities_that_are_replaced_while_a_device_is_connected(kind, tmp_path):
    pki, driver = make_pki(tmp_path), Counting()
    (tmp_path / "new").mkdir()
    new = make_pki(tmp_path / "new")

    def replaced(*names):
        for name in names:
            (pki / name).write_bytes((new / name).read_bytes())

    system = running(kind, tmp_path, pki)
    with ExitStack() as stack:
        stack.push(system)
        server, opened = system.__enter__()
        shutil.copy(pki / "servers-ca.pem", tmp_path / "known.pem")
        collector = collecting(opened, tmp_path, driver, ca_file=tmp_path / "known.pem")
        stack.enter_context(collector)
        until(lambda: collector.fleet.connected == 1)
        replaced("devices-ca.pem", "devices.crl.pem", "servers-ca.pem", "server.pem", "server.key")
        replaced("ingest.pem", "ingest.key")
        if kind == "mosquitto":  # reads its files at its start
            system.gate.__exit__(None, None, None)
            system.gate = None
            config = tmp_path / "mosquitto.conf"
            config.write_text("".join(config.read_text().splitlines(True)[os.getuid() == 0 :]))
            ports = (opened.port, opened.endpoint.port)
            stack.enter_context(started(config, tmp_path / "log", ports))
        else:
            stored = server.store.counts().get("reading", 0)
            until(lambda: server.store.counts().get("reading", 0) > stored + 5)
            assert collector.fleet.connected == 1, "nobody is parted from for it"
            until(lambda: refused(opened, "sub-2"), "what the old authority signed is not taken any more")
            broken(collector)
        told(collector, "ca_file has another authority than the broker's")
        (tmp_path / "known.pem").write_bytes((new / "servers-ca.pem").read_bytes())
        told(collector, "unknown ca" if kind == "mosquitto" else "does not take the certificate")
        replaced("devices/sub-1.pem", "devices/sub-1.key")
        told(collector, "recovered")
        all_stored(server, collector, driver)
