"""A store or a disk that is slow slows what is acknowledged: memory stays bounded, collectors keep the rest."""

from __future__ import annotations

import contextlib
import threading
import time

import httpx
import psutil

from edge.config import DeviceConfig, MqttConfig
from edge.driver import Reading
from edge.run import Fleet
from hearthline.health import ledger_totals
from hearthline.server import Server, ServerConfig
from hearthline.site_dir import read_site
from ingest.clock import wall_clock
from store.protocol import Select
from tests.support.system import write_site
from tests.support.waiting import PATIENCE_S, until

DEVICES = 20
LONG_S = 400.0
"""Longer than what is looked at meanwhile takes anywhere; `recover` ends it."""
MB = 1_000_000


class Steady:
    """A meter that gives a reading at each look, whose number grows by one."""

    exhausted = False

    def __init__(self):
        self.given = 0

    def read(self, now_ms):
        self.given += 1
        return [Reading(now_ms, {"energy_gj": float(self.given), "supply_c": 80.0})]

    def close(self):
        pass


class Slow:
    """Something's method that sleeps first, as long as it is told to."""

    def __init__(self, owner, name):
        self.seconds = 0.0
        self.within = 0
        self._awake = threading.Event()
        inner = getattr(owner, name)

        def slow(*args, **more):
            if self.seconds:
                self.within += 1
                self._awake.wait(self.seconds)
                self.within -= 1
            return inner(*args, **more)

        setattr(owner, name, slow)

    def recover(self):
        self.seconds = 0.0
        self._awake.set()


@contextlib.contextmanager
def running(tmp_path, **config):
    """A server, and a fleet of twenty meters that are read twenty times a second."""
    devices = "".join(f"m{i},meter,u1,0.05\n" for i in range(DEVICES))
    site = read_site(
        write_site(
            tmp_path / "site",
            {
                "site.toml": (
                    '[site]\nname = "one"\ntimezone = "UTC"\n[[region]]\nid = "r1"\nname = "r"\n'
                    '[[unit]]\nid = "u1"\nregion = "r1"\nname = "u"\n'
                ),
                "devices.csv": f"device,class,unit,interval_s\n{devices}",
            },
        )
    )
    server = Server(ServerConfig(tmp_path / "data", site, wall_clock, broker=0, port=0, **config))
    server.start()
    meters = [
        DeviceConfig.model_validate(
            {"id": f"m{i}", "region": "r1", "unit": "u1", "class": "meter", "interval_s": 0.05}
        )
        for i in range(DEVICES)
    ]
    fleet = Fleet(
        [(m, Steady()) for m in meters],
        MqttConfig(url=server.mqtt_url),
        tmp_path / "edge",
        say=lambda _l: None,
    )
    try:
        fleet.start()
        until(lambda: server.ingest.status.journalled > 200, "messages are journalled")
        yield server, fleet
    finally:
        with contextlib.suppress(Exception):
            fleet.stop()
        server.close()


def parts(server):
    return {p["name"]: p for p in server.components()}


def waiting(fleet):
    return sum(last - first + 1 for s in fleet.standings().values() for first, last in s["waiting"])


def figure(server, name, **labels):
    from prometheus_client.parser import text_string_to_metric_families

    text = httpx.get(f"{server.board.url}/metrics", timeout=PATIENCE_S).text
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return None


def nothing_lost(server, fleet):
    """Stop the meters; all that they gave is stored once, in order."""
    for unit in fleet.units:
        unit.driver.exhausted = True
    until(lambda: waiting(fleet) == 0, "the outboxes are empty")
    time.sleep(6)  # the last states
    until(lambda: server.idle() and ledger_totals(server.store)["waiting"] == 0, "all is stored")
    rows = server.store.select(Select("reading")).to_pylist()
    for unit in fleet.units:
        seen = [r["energy_gj"] for r in rows if r["key"] == unit.device.id]
        assert seen == [float(n) for n in range(1, len(seen) + 1)]
        assert len(seen) >= unit.driver.given - 1
    ledger = ledger_totals(server.store)
    assert ledger["unaccounted"] == ledger["dead_lettered"] == ledger["thinned"] == 0
    return ledger


def test_a_slow_store_holds_ingest_back_and_recovers_by_itself(tmp_path):
    with running(tmp_path, most_behind=100) as (server, fleet):
        slow = Slow(server.store, "write")
        slow.seconds = LONG_S
        until(lambda: server.hold.held, "ingest holds back")
        journalled = server.ingest.status.journalled
        memory = psutil.Process().memory_info().rss
        began = time.monotonic()
        until(lambda: waiting(fleet) > 1500, "collectors keep what comes")
        assert server.ingest.status.journalled <= journalled + 500, "what is held back is not acknowledged"
        until(lambda: parts(server)["store"]["state"] == "degraded")
        said = parts(server)
        assert "a write takes longer than 5 s" in said["store"]["detail"]
        assert "records" in said["store"]["detail"]
        assert said["ingest"]["reason"].startswith("held back: the streams are 100 records or more behind")
        assert said["ingest"]["since"] <= wall_clock()
        assert said["ingest"]["advice"]
        assert figure(server, "hearthline_held_back") == 1
        assert figure(server, "hearthline_queue_messages", queue="journal") <= 150
        until(lambda: figure(server, "hearthline_lag_seconds", stage="stored") > 5)
        assert httpx.get(f"{server.board.url}/ready", timeout=PATIENCE_S).status_code == 503
        assert httpx.get(f"{server.board.url}/health", timeout=PATIENCE_S).status_code == 200
        grown = psutil.Process().memory_info().rss - memory
        print(
            f"held for {time.monotonic() - began:.1f} s, memory {grown / MB:+.1f} MB, {waiting(fleet)} wait outside"
        )
        assert grown < 60 * MB
        slow.recover()
        until(lambda: {p["state"] for p in server.components()} == {"ok"}, "every part ok")
        assert figure(server, "hearthline_held_back") == 0
        print(nothing_lost(server, fleet))


def test_a_slow_journal_slows_acknowledgement_and_recovers_by_itself(tmp_path):
    with running(tmp_path) as (server, fleet):
        slow = Slow(server.journal, "append")
        memory = psutil.Process().memory_info().rss
        slow.seconds = LONG_S
        until(lambda: server.ingest.status.appending_s > 6, "an append hangs")
        journalled = server.ingest.status.journalled
        until(lambda: waiting(fleet) > 2000, "collectors keep what comes")
        assert server.ingest.status.journalled == journalled
        until(lambda: parts(server)["journal"]["state"] == "degraded")
        said = parts(server)
        assert said["journal"]["reason"] == "an append takes longer than 5 s"
        assert " s behind" in said["journal"]["detail"]
        assert "since 20" in said["journal"]["detail"]
        assert figure(server, "hearthline_queue_messages", queue="intake") <= 20_000
        until(lambda: figure(server, "hearthline_lag_seconds", stage="journalled") > 5)
        grown = psutil.Process().memory_info().rss - memory
        print(f"memory {grown / MB:+.1f} MB, {waiting(fleet)} wait outside")
        assert grown < 60 * MB
        slow.recover()
        until(lambda: {p["state"] for p in server.components()} == {"ok"}, "every part ok")
        print(nothing_lost(server, fleet))


def test_a_stop_says_what_it_waits_for_and_what_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr("hearthline.server._STOP_S", 4.0)
    said = []
    with running(tmp_path) as (server, _fleet):
        server._say = said.append
        slow = Slow(server.store, "write")
        slow.seconds = LONG_S
        until(lambda: slow.within, "a slow write")
        server.drain()
        assert slow.within, "it waited for the write"
        slow.recover()
    print(said)
    assert any("records to compute and store; at most 4 s" in line for line in said)
    assert any("the next start goes on from them" in line for line in said)


def test_a_look_does_not_wait_for_the_store(tmp_path):
    with running(tmp_path) as (server, _fleet):
        slow = Slow(server.store, "write")
        slow.seconds = LONG_S
        until(lambda: slow.within, "a slow write")
        for path in ("/health", "/ready", "/metrics"):
            took = []
            for _ in range(10):
                began = time.monotonic()
                assert httpx.get(f"{server.board.url}{path}", timeout=PATIENCE_S).status_code in (200, 503)
                took.append(time.monotonic() - began)
            print(f"{path}: {sorted(took)[5] * 1000:.1f} ms, at most {max(took) * 1000:.0f} ms")
            assert slow.within, f"{path} waited for the write"
        slow.recover()
