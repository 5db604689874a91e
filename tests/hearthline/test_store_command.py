"""`hearthline store prepare`, against a stub that speaks InfluxDB 2's interface: influxd 1.8 has none of it.

What the tasks compute is asked of a real influxd in tests/store/test_influxd.py.
"""

from __future__ import annotations

import json
import stat

import pytest

from hearthline.secret_files import INFLUX_TOKENS
from hearthline.settings import Settings
from tests.support.commands import run_command
from tests.support.influx_admin_stub import ADMIN, WEAK, InfluxAdminStub

DAY = 86_400


@pytest.fixture
def stub():
    running = InfluxAdminStub()
    yield running
    running.close()


@pytest.fixture
def prepare(stub, monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"HEARTHLINE_{name.upper()}", raising=False)
    monkeypatch.setenv("HEARTHLINE_INFLUX_URL", stub.url)
    monkeypatch.setenv("HEARTHLINE_INFLUX_TOKEN", ADMIN)
    monkeypatch.setenv("HEARTHLINE_INFLUX_READINGS_BUCKET", "hearthline_readings")
    return lambda *words: run_command("store", "prepare", *words)


def kept(stub):
    return {n: [r["everySeconds"] for r in b["retentionRules"]] for n, b in stub.buckets.items()}


def test_buckets_retention_and_tasks_are_made_once(stub, prepare):
    done = prepare("--json", "--hourly-for", "520w")
    assert done.exit_code == 0, done.stderr
    assert kept(stub) == {
        "hearthline": [], "hearthline_readings": [400 * DAY], "hearthline_hourly": [3640 * DAY],
    }  # fmt: skip
    said = json.loads(done.stdout)
    assert set(said.values()) == {"made"}
    assert len(stub.tasks) == len(said) - 3 >= 12
    for task in stub.tasks.values():
        assert (task["every"], task["offset"], task["status"]) == ("1h", "20m", "active")
        assert 'from(bucket: "hearthline_readings")' in task["flux"]
        assert '|> to(bucket: "hearthline_hourly")' in task["flux"]
    stub.writes.clear()
    again = prepare("--json", "--hourly-for", "520w")
    assert set(json.loads(again.stdout).values()) == {"there"}
    assert stub.writes == []


def test_what_differs_is_brought_to_what_was_asked_for(stub, prepare):
    prepare()
    next(iter(stub.tasks.values()))["flux"] = "something of an older version"
    bucket = stub.buckets["hearthline_readings"]["id"]
    stub.writes.clear()
    done = json.loads(prepare("--json", "--readings-for", "90d").stdout)
    assert kept(stub)["hearthline_readings"] == [90 * DAY]
    assert [how for how in done.values() if how != "there"] == ["retention changed", "changed"]
    assert f"PATCH /api/v2/buckets/{bucket}" in stub.writes
    assert len(stub.writes) == 2


def test_each_service_gets_a_token_that_may_do_what_it_has_to(stub, prepare, tmp_path):
    directory = tmp_path / "secrets"
    done = prepare("--tokens", str(directory))
    assert done.exit_code == 0, done.stderr
    tokens = {name: (directory / name).read_text().strip() for name in INFLUX_TOKENS}
    both = ["hearthline", "hearthline_readings"]
    reads = [("read", name) for name in both]
    assert stub.rights(tokens["influx_worker_token"]) == sorted([*reads, *(("write", name) for name in both)])
    assert stub.rights(tokens["influx_alerts_token"]) == sorted([*reads, ("write", "hearthline")])
    assert stub.rights(tokens["influx_board_token"]) == reads
    assert stub.rights(tokens["influx_grafana_token"]) == sorted([*reads, ("read", "hearthline_hourly")])
    assert not any(token in done.stdout + done.stderr for token in (*tokens.values(), ADMIN))
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    again = prepare("--tokens", str(directory))
    assert again.exit_code == 0
    assert {name: (directory / name).read_text().strip() for name in INFLUX_TOKENS} == tokens
    assert len(stub.authorizations) == len(INFLUX_TOKENS)


def test_one_bucket_for_all_keeps_readings_as_long_as_results(stub, prepare, monkeypatch):
    monkeypatch.delenv("HEARTHLINE_INFLUX_READINGS_BUCKET")
    prepare("--results-for", "72h")
    assert kept(stub) == {"hearthline": [3 * DAY], "hearthline_hourly": []}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"TOKEN": "unknown"},
            "HTTP 401 .*unauthorized access.*`hearthline store prepare --tokens` writes new",
        ),
        ({"TOKEN": WEAK}, "HTTP 403 .*insufficient permissions.*the token lacks rights here"),
        (
            {"ORG": "other"},
            "HTTP 404 .*organization name .*other.* not found.*does influx_org name the organization",
        ),
        ({"URL": "http://127.0.0.1:9"}, "http://127.0.0.1:9: not available"),
    ],
)
def test_a_refusal_is_one_line_that_says_what_to_do(prepare, monkeypatch, changes, said):
    import re

    for name, value in changes.items():
        monkeypatch.setenv(f"HEARTHLINE_INFLUX_{name}", value)
    done = prepare()
    assert done.exit_code == 1
    assert re.search(said, done.stderr), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert ADMIN not in done.stderr
    assert WEAK not in done.stderr


def test_a_server_that_is_busy_is_not_called_a_refusal(stub, prepare):
    stub.fail = 503
    done = prepare()
    assert (done.exit_code, "not available: HTTP 503" in done.stderr) == (1, True)


@pytest.mark.parametrize("words", [("--readings-for", "1y"), ("--results-for", "-3d"), ("--hourly-for", "")])
def test_a_time_that_is_none_is_wrong_usage(prepare, words):
    done = prepare(*words)
    assert done.exit_code == 2
    assert f"{words[0]}: expected hours, days or weeks" in done.stderr
