"""An operator that fails, in a running server: one device is unknown and people are told; all else goes on."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from hearthline.server import Server, ServerConfig
from hearthline.site_dir import read_site
from ingest.clock import wall_clock
from models.frame import Frame
from store.protocol import Select
from streams.core.arriving import Arriving
from streams.core.operator import discovered
from tests.support.system import Publisher, run, write_site
from tests.support.waiting import PATIENCE_S, until

pytestmark = pytest.mark.contained

SITE_TOML = (
    '[site]\nname = "two"\ntimezone = "UTC"\n[[region]]\nid = "r1"\nname = "r"\n'
    '[[unit]]\nid = "u1"\nregion = "r1"\nname = "one"\n[[unit]]\nid = "u2"\nregion = "r1"\nname = "two"\n'
)
DEVICES = "device,class,unit,interval_s\nm1,meter,u1,10\nm2,meter,u1,10\nm3,meter,u2,10\n"
UNIT_OF = {"m1": "u1", "m2": "u1", "m3": "u2"}


@contextmanager
def running(home: Path) -> Iterator[tuple[Server, Publisher]]:
    """A server, and somebody who publishes to it."""
    site = read_site(write_site(home / "site", {"site.toml": SITE_TOML, "devices.csv": DEVICES}))
    server = Server(ServerConfig(home / "data", site, wall_clock, broker=0, port=0))
    server.start()
    try:
        with Publisher(server.mqtt_url) as publish:
            yield server, publish
    finally:
        server.close()


def failing(monkeypatch: pytest.MonkeyPatch, name: str, about: Callable[..., bool]) -> None:
    """Have an operator raise where it is given what it is to raise about."""
    operators = []
    for operator in discovered():
        if operator.name == name:

            def function(*given: Any, inner: Callable[..., Any] = operator.function) -> Any:
                if about(*given):
                    raise ZeroDivisionError("of a test")
                return inner(*given)

            operator = replace(operator, function=function)  # noqa: PLW2901
        operators.append(operator)
    monkeypatch.setattr("streams.core.pipeline.discovered", lambda: tuple(operators))


def send(publish: Publisher, seq: int, devices: tuple[str, ...] = ("m1", "m2", "m3")) -> None:
    now = wall_clock()
    for device in devices:
        values = {"supply_c": 90.0, "return_c": 50.0, "flow_m3_h": 1.0}
        samples = [{"t": now - 2000, **values}, {"t": now - 1000, **values}]
        message = {"boot": 1_700_000_000_001, "seq": seq, "samples": samples}
        publish(f"hearthline/v1/r1/{UNIT_OF[device]}/{device}/telemetry", message)


def stored(server: Server) -> dict[str, int]:
    rows = server.store.select(Select("reading")).to_pylist()
    return {device: sum(r["key"] == device for r in rows) for device in UNIT_OF}


def streams_part(server: Server) -> dict[str, Any]:
    return next(dict(p) for p in server.components() if p["name"] == "streams")


def metric(server: Server, name: str, stream: str) -> float | None:
    text = httpx.get(f"{server.board.url}/metrics", timeout=PATIENCE_S).text
    lines = [x for x in text.splitlines() if x.startswith(f'{name}{{stream="{stream}"}}')]
    return float(lines[0].split()[-1]) if lines else None


def test_a_device_that_cannot_be_computed_is_told_of_and_its_neighbours_are_computed(
    monkeypatch, tmp_path, caplog
) -> None:
    failing(monkeypatch, "device_heat", lambda s, site: any(site.ids[d] == "m1" for d in s.devices))
    with caplog.at_level(logging.ERROR), running(tmp_path) as (server, publish):
        send(publish, 1)
        until(lambda: server.status()["failing"], "it is told")
        until(
            lambda: {r["key"] for r in server.store.select(Select("device_heat")).to_pylist()} >= set(UNIT_OF)
        )
        part = streams_part(server)
        assert part["state"] == "degraded"
        assert part["what"].startswith("device_heat cannot compute m1 of u1: ZeroDivisionError: of a test (")
        assert part["what"].endswith("; 1 unknown, all else goes on")
        assert "m1" in part["advice"]
        (told,) = server.status()["failing"]["u1"]
        assert (told["operator"], told["subject"]) == ("device_heat", "m1")
        assert server.status()["failing"].keys() == {"u1"}
        assert metric(server, "hearthline_failing_subjects", "u1") == 1
        assert metric(server, "hearthline_failing_subjects", "u2") == 0
        said = run("status", "--data-dir", str(tmp_path / "data")).stdout
        assert "device_heat cannot compute m1 of u1 since " in said
        as_json = json.loads(run("status", "--json", "--data-dir", str(tmp_path / "data")).stdout)
        assert as_json["failing"]["u1"][0]["subject"] == "m1"
        heat = {r["key"]: r for r in server.store.select(Select("device_heat")).to_pylist()}
        assert (heat["m1"]["heat_gj"], heat["m1"]["reason"]) == (None, "computing_failed")
        assert heat["m2"]["reason"] != "computing_failed"
    logged = [r.getMessage() for r in caplog.records if "cannot compute m1" in r.getMessage()]
    assert len(logged) == 1, "expected it to be logged once"
    assert "Traceback" in logged[0]


def test_a_stream_that_cannot_go_on_stands_still_alone_and_goes_on_after_a_start(
    monkeypatch, tmp_path
) -> None:
    whole = Arriving.telemetry

    def broken(self: Arriving, frame: Frame, *more: Any) -> None:  # outside of operators, which are contained
        if "m1" in frame.batch.column("device").to_pylist():
            raise ZeroDivisionError("of a test")
        whole(self, frame, *more)

    monkeypatch.setattr(Arriving, "telemetry", broken)
    with running(tmp_path) as (server, publish):
        until(lambda: "u1" in server.status()["now"], "its registry is stepped")
        send(publish, 1)
        until(lambda: streams_part(server)["state"] == "degraded", "it is told")
        send(publish, 2)
        until(lambda: stored(server)["m3"] == 4, "the other stream goes on")
        assert stored(server) == {"m1": 0, "m2": 0, "m3": 4}
        what = streams_part(server)["what"]
        assert what.startswith("u1 stands still, all others go on: after record ")
        assert "ZeroDivisionError: of a test" in what
        said = server.status()
        assert "u1" in said["now"], "its now grows old in sight"
        until(
            lambda: all(server.status()["lag"][stage]["records"] == 0 for stage in ("stepped", "stored")),
            "what stands still waits for no stage",
        )
        assert server.runtime.offsets()["u1"] == server.runtime.stepped()["u1"] >= 0
        until(lambda: publish.acknowledged() == {d: {1, 2} for d in UNIT_OF}, "all is journalled")
    monkeypatch.undo()
    with running(tmp_path) as (server, publish):
        until(lambda: stored(server) == dict.fromkeys(UNIT_OF, 4), "what stood still is computed")
        assert streams_part(server)["state"] == "ok"
