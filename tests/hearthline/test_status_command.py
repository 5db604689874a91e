"""`hearthline status`: of a running server, of one that is not well, and of a directory that nobody owns."""

from __future__ import annotations

import json

import pytest

from hearthline.commands.status import _text
from hearthline.health import Part, Watch, leap_figures, leaping, leaps_told
from hearthline.server import Server, ServerConfig
from hearthline.site_dir import read_site
from ingest.clock import wall_clock
from ingest.endpoint import Endpoint
from models.wording import worded
from streams.core.leap import Leap
from tests.acceptance.test_starting import SITE
from tests.support.system import run, write_site
from tests.support.waiting import PATIENCE_S, until


@pytest.fixture
def home(tmp_path):
    site = read_site(write_site(tmp_path / "site", SITE))
    server = Server(ServerConfig(tmp_path / "data", site, wall_clock, broker=0, port=0))
    server.start()
    try:
        until(lambda: {p["state"] for p in server.components()} == {"ok"}, "every part ok")
        until(lambda: server.status()["now"], "the streams have a now")
        yield tmp_path / "data", server
    finally:
        server.close()


def test_of_a_running_server_and_then_of_what_it_left(home):
    data, server = home
    said = json.loads(run("status", "--data-dir", data, "--json").stdout)
    assert {p["name"]: p["state"] for p in said["components"]} == dict.fromkeys(
        ("broker", "ingest", "journal", "streams", "store", "alerts", "board", "clocks"), "ok"
    )
    assert set(said["lag"]) == {"journalled", "stepped", "stored"}
    assert all({"messages", "seconds"} <= set(wait) for wait in said["lag"].values())
    assert said["now"]["u1"]["age_s"] < PATIENCE_S
    assert said["restating"]["u1"] == 0
    assert said["leaps"] == {}
    assert (said["degraded"], said["held_back"]) == ([], False)
    assert said["ledger"]["unaccounted"] == 0
    assert 0 < said["ready_s"] < PATIENCE_S
    told = run("status", "--data-dir", data, "--check").stdout
    assert "not yet stored: 0 messages" in told
    assert "now of u1: 20" in told
    server.close()
    stopped = json.loads(run("status", "--data-dir", data, "--json").stdout)
    assert [(p["name"], p["state"]) for p in stopped["components"]] == [("server", "stopped")]
    assert stopped["ledger"]["unaccounted"] == 0
    assert "server     stopped" in run("status", "--data-dir", data).stdout
    assert run("status", "--data-dir", data, "--check", code=1)


def test_a_broker_of_somebody_else_is_as_ingest_finds_it(tmp_path):
    site = read_site(write_site(tmp_path / "site", SITE))
    server = Server(
        ServerConfig(tmp_path / "data", site, wall_clock, broker=Endpoint("127.0.0.1", 9), port=0)
    )
    server.start()
    try:
        parts = until(
            lambda: (of := {p["name"]: p for p in server.components()})["ingest"]["state"] != "ok" and of,
            "it found nobody there",
        )
    finally:
        server.close()
    assert {name for name, part in parts.items() if part["state"] == "degraded"} == {"broker", "ingest"}
    assert "no connection" in parts["broker"]["detail"]
    assert parts["broker"]["advice"] == parts["ingest"]["advice"]


def test_a_part_that_is_not_ok_says_why_since_when_how_far_and_what_to_do():
    now = [1_767_225_600_000]
    watch = Watch(lambda: now[0])
    texts = ("an append takes longer than 5 s", "1,200 messages, 34 s behind", "look at the disk")
    trouble = [tuple(worded(text) for text in texts)]
    [first] = watch.see([Part.judged("journal", trouble, worded("2 streams"))])
    now[0] += 60_000
    [later] = watch.see([Part.judged("journal", trouble, worded("2 streams"))])
    assert first == later == {
        "name": "journal", "state": "degraded", "since": 1_767_225_600_000,
        "what": "an append takes longer than 5 s; 1,200 messages, 34 s behind",
        "reason": "an append takes longer than 5 s", "advice": "look at the disk",
        "detail": "an append takes longer than 5 s; 1,200 messages, 34 s behind; since 2026-01-01 00:00:00 UTC",
    }  # fmt: skip
    assert watch.ready_s is None
    text = _text({"components": [], "lag": {}, "restating": {"u1": 1200, "u2": 0}, "ledger": {}, "rows": {}})
    assert "yet to be restated in u1: 1,200 quarters of an hour" in text
    assert "u2" not in text
    waiting = {
        "name": "streams · worker a 7",
        "state": "ok",
        "detail": "",
        "stage": "stepped",
        "queued": 1234.0,
    }
    unheard = {"name": "store · worker a 7", "state": "degraded", "detail": "silent", "stage": "stored"}
    text = _text({"components": [{**waiting, "lag_s": 7_300.0}, unheard], "ledger": {"sent": 1}, "rows": {}})
    assert "not yet stepped (streams · worker a 7): 1,234 records, 2 h" in text
    assert "not yet stored (store · worker a 7): unknown" in text
    text = _text({"components": [later], "degraded": [later], "ledger": {"sent": 1}, "rows": {}})
    assert "34 s behind; since 2026-01-01 00:00:00 UTC" in text
    assert "to do      look at the disk" in text
    [well] = watch.see([Part.judged("journal", [], worded("2 streams"))])
    assert well == {"name": "journal", "state": "ok", "detail": "2 streams"}
    assert watch.ready_s is not None
    now[0] += 60_000
    [again] = watch.see([Part.judged("journal", trouble, worded("2 streams"))])
    assert again["since"] == 1_767_225_720_000


def test_a_leap_of_now_says_from_where_to_where_and_how_far_the_longest_first():
    day_ms = 86_400_000
    leaps = {
        "u1": Leap(7, 1_767_225_600_000, 1_767_225_600_000 + day_ms, 1_767_225_600_000 + day_ms // 2),
        "u2": Leap(9, 1_767_225_600_000, 1_767_225_600_000 + 9 * day_ms, 1_767_225_600_000),
    }
    assert leaping({}) == ""
    assert leaping(leaps) == (
        "u2 catches up from 2026-01-01 00:00:00 UTC to 2026-01-10 00:00:00 UTC: "
        "windows are closed to 2026-01-01 00:00:00 UTC"
    )
    away = {"name": "broker", "state": "degraded", "detail": "lost", "since": 1, "advice": "start it"}
    told = _text({"components": [away, {"name": "ingest", "state": "ok", "detail": ""}]})
    assert "to do      start it" in told
    text = _text({"components": [], "lag": {}, "leaps": leaps_told(leaps), "ledger": {}, "rows": {}})
    assert (
        "u1 catches up from 2026-01-01 00:00:00 UTC to 2026-01-02 00:00:00 UTC: "
        "windows are closed to 2026-01-01 12:00:00 UTC"
    ) in text
    figures = {f.labels: f.value for f in leap_figures(leaps)}
    assert figures == {("u1",): 43_200.0, ("u2",): 9 * 86_400.0}
