"""Metrics: one table, in code, in the document and on the wire."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hearthline.metrics import METRICS, Figure, Metrics, labelled
from hearthline.server import Server, ServerConfig
from hearthline.server_health import HoldBack
from hearthline.site_dir import read_site
from ingest.clock import wall_clock
from tests.acceptance.test_starting import SITE
from tests.support.system import write_site
from tests.support.waiting import PATIENCE_S, until

OPERATION = (Path(__file__).parents[2] / "docs/operation.md").read_text(encoding="utf-8")


def test_the_document_has_the_same_table():
    rows = re.findall(
        r"^\| `(hearthline_\w+)` \| (\w+) \| (.*?) ?\| ([\w, ]+) \| (.*) \|$", OPERATION, re.MULTILINE
    )
    assert [
        (name, kind, tuple(re.findall(r"`(\w+)`", labels)), tuple(where.split(", ")), says)
        for name, kind, labels, where, says in rows
    ] == [(m.name, m.kind, m.labels, m.where, m.help) for m in METRICS.values()]


def test_names_follow_prometheus():
    for m in METRICS.values():
        assert re.fullmatch(r"hearthline_[a-z_]+", m.name)
        assert m.name.endswith("_total") == (m.kind == "counter"), m.name
        assert m.kind != "histogram" or m.name.endswith("_seconds")
        assert not re.search(r"_(ms|minutes|kb|mb)(_|$)", m.name), "expected base units"
        assert m.help.endswith(".")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home = tmp_path_factory.mktemp("server")
    site = read_site(write_site(home / "site", SITE))
    started = Server(ServerConfig(home / "data", site, wall_clock, broker=0, port=0, checkpoint_s=0.5))
    started.start()
    until(lambda: {p["state"] for p in started.components()} == {"ok"}, "every part ok")
    assert started.runtime._checkpoint_every_s == 0.5
    until(lambda: started._checkpoints.age_s is not None, "a checkpoint")
    yield started
    started.close()


def families(server):
    answer = httpx.get(f"{server.board.url}/metrics", timeout=PATIENCE_S)
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {f.name: f for f in text_string_to_metric_families(answer.text)}


def test_a_server_serves_what_the_table_says_and_nothing_else(server):
    served = families(server)
    expected = {n.removesuffix("_total") for n, m in METRICS.items() if "server" in m.where}
    assert {n for n in served if n.startswith("hearthline_")} == expected
    for name, family in served.items():
        if not name.startswith("hearthline_"):
            assert name.startswith("process_"), name
            continue
        metric = METRICS.get(name) or METRICS[f"{name}_total"]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(metric.labels), sample
    assert served["hearthline_journal_append_seconds"].samples[-2].value > 0
    assert served["hearthline_checkpoint_seconds"].samples[-2].value > 0
    assert {s.labels["count"]: s.value for s in served["hearthline_ledger_messages"].samples}[
        "unaccounted"
    ] == 0
    assert served["hearthline_stream_now_age_seconds"].samples[0].value < PATIENCE_S
    bounds = {s.labels["queue"]: s.value for s in served["hearthline_queue_limit_messages"].samples}
    depths = {s.labels["queue"]: s.value for s in served["hearthline_queue_messages"].samples}
    assert set(bounds) == set(depths) == {"acks", "broker", "intake", "journal"}
    assert all(depths[queue] <= bounds[queue] for queue in bounds)
    for queue in bounds:
        assert f"`{queue}`" in OPERATION


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics"])
def test_the_doors_are_those_of_every_route(server, path):
    url = f"{server.board.url}{path}"
    assert httpx.get(url, timeout=PATIENCE_S).status_code == 200
    assert httpx.get(url, headers={"host": "evil.example"}, timeout=PATIENCE_S).status_code == 421
    assert httpx.get(url, headers={"origin": "http://evil.example"}, timeout=PATIENCE_S).status_code == 403
    assert httpx.post(url, timeout=PATIENCE_S).status_code in (404, 405)
    headers = httpx.get(url, timeout=PATIENCE_S).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"


def test_health_fails_only_for_good_and_ready_whenever_a_part_is_not_ok(server, monkeypatch):
    url = server.board.url
    monkeypatch.setattr(server.runtime.status, "state", "degraded")
    monkeypatch.setattr(server.runtime.status, "detail", "the store is away")
    until(lambda: httpx.get(f"{url}/ready", timeout=PATIENCE_S).status_code in (200, 503), "an answer")
    monkeypatch.setattr(server, "_failure", "PipelineError: it broke")
    answer = httpx.get(f"{url}/ready", timeout=PATIENCE_S)
    assert answer.status_code == 503
    streams = next(p for p in answer.json()["components"] if p["name"] == "streams")
    assert (streams["state"], streams["reason"]) == ("failed", "PipelineError: it broke")
    dead = httpx.get(f"{url}/health", timeout=PATIENCE_S)
    assert (dead.status_code, dead.text) == (503, "failed: streams\n")
    assert httpx.get(f"{url}/healthz", timeout=PATIENCE_S).status_code == 200  # as before


def test_a_figure_that_the_table_does_not_have_is_an_error():
    metrics = Metrics("ingest", lambda: [Figure("hearthline_unheard_of", 1.0)])
    with pytest.raises(KeyError, match="unheard_of"):
        metrics.text()


def test_labels_of_any_text_are_served_as_such():
    odd = 'a"b\\c\nd'
    metrics = Metrics("server", lambda: labelled("hearthline_stream_now_timestamp_seconds", {odd: 1.0}))
    [family] = [
        f
        for f in text_string_to_metric_families(metrics.text().decode())
        if f.name.endswith("now_timestamp_seconds")
    ]
    assert family.samples[0].labels == {"stream": odd}


def test_ingest_is_held_from_the_bound_until_a_fifth_is_done_and_not_for_what_was_there_before():
    behind = None
    hold = HoldBack(lambda: behind, 100)
    assert not hold()
    said = {}
    for step, behind in enumerate((5_000, 5_099, 5_100, 5_081, 5_079, 0, 99, 100, 80, 79)):  # noqa: B007  it is read
        said[step] = bool(hold())
    assert [step for step, held in said.items() if held] == [2, 3, 7, 8]
