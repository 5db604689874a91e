"""`hearthline alerts` beside `hearthline worker`: from a reading in Kafka to a person, killed and started anew."""

from __future__ import annotations

import json
import re
import signal
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hearthline.alerting import load_fast
from hearthline.commands.alerts import _answering
from hearthline.condition_feed import ConditionFeed
from hearthline.metrics import METRICS
from hearthline.parts_told import PART, parts_table
from hearthline.site_dir import open_site
from ingest.clock import wall_clock
from journal.kafka_log import ACTIONS, CONDITIONS, PARTS, KafkaLog
from models.anomaly import ANOMALY, Anomaly, Severity, State, anomaly_table
from models.frame import Frame
from models.results import Outputs
from models.wording import worded
from store.duckdb_series import DuckdbSeries
from store.protocol import Select
from store.records import Records
from tests.support.mock_kafka import MockKafka
from tests.support.real_kafka import RealKafka
from tests.support.system import Program, run, write_site
from tests.support.telemetry import SITE_TEXTS, T0, Message, registry_frame, telemetry_frames
from tests.support.waiting import PATIENCE_S, until

RULES = """
[[channel]]
id = "hook"
kind = "webhook"
url = "{url}"
timeout_s = 60
[[person]]
id = "li"
language = "en"
channels = ["hook"]
[[route]]
id = "duty"
steps = ["li"]
group_wait_s = 0
[[fast]]
code = "too_hot"
measurement = "supply_c"
classes = ["substation"]
above = 120
severity = "critical"
[[rule]]
route = "duty"
"""


@pytest.fixture(params=["mock", pytest.param("real", marks=pytest.mark.soak)])
def kafka(request, tmp_path):
    if request.param == "real":
        (tmp_path / "kafka").mkdir()
        cluster = RealKafka(tmp_path / "kafka")
        missing = run(
            "worker", "--kafka", cluster.bootstrap, "--duckdb", tmp_path / "x", "--partitions", 4, code=2
        )
        assert "--create-topics" in missing.stderr
        made = run(
            "worker", "--kafka", cluster.bootstrap, "--partitions", 4, "--create-topics", "--clock", "data"
        ).stdout
        assert {CONDITIONS, ACTIONS, PARTS} < set(made.replace(",", " ").split())
    else:
        cluster = MockKafka()
        cluster.make_topics("frames", "hearthline-checkpoints-changelog", CONDITIONS, ACTIONS)
    yield cluster
    cluster.close()


@pytest.fixture
def hook():
    heard = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            heard.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.heard = heard
    server.notes = lambda: [(a["subject"], a["note"]) for m in heard for a in m["alarms"]]
    yield server
    server.shutdown()


@pytest.fixture
def site(tmp_path, hook):
    rules = RULES.format(url=f"http://127.0.0.1:{hook.server_port}/")
    return write_site(tmp_path / "site", {**SITE_TEXTS, "alerts.toml": rules})


class Desk(Program):
    """The command, over a data directory that outlives it."""

    def __init__(self, tmp_path, kafka, site, *more):
        self.data = tmp_path / "alerts"
        super().__init__(
            tmp_path / "out", "alerts", "--site", site, "--kafka", kafka, "--duckdb", tmp_path / "alerts.duckdb",
            "--data-dir", self.data, "--port", 0, *more,
        )  # fmt: skip
        until(lambda: "board" in self.out or not self.running, "the board is said")
        assert self.running, self.err
        self.url = re.search(r"board\s+(http\S+)", self.out)[1]

    def ready(self):
        until(lambda: httpx.get(f"{self.url}/ready", timeout=PATIENCE_S).status_code == 200, "it is ready")


def reading(seq, t, supply_c):
    return telemetry_frames(
        [Message("sub-1", T0 - 5, seq, ((t, {"supply_c": supply_c, "flow_m3_h": 5.0}),))]
    )[0]


def test_a_reading_in_kafka_reaches_a_person_through_worker_and_desk(tmp_path, kafka, hook, site):
    worker = Program(
        tmp_path / "worker", "worker", "--kafka", kafka.bootstrap, "--duckdb", tmp_path / "series.duckdb",
        "--partitions", 4, "--clock", "data", "--checkpoint-s", 1, "--site", site,
    )  # fmt: skip
    with worker, Desk(tmp_path, kafka.bootstrap, site, "--clock", "data") as desk:
        desk.ready()

        def feed(frame, at_ms):
            kafka.append("frames", "u1", frame.encode(), at_ms, 1)
            kafka.flush()

        feed(registry_frame(), T0)
        feed(reading(1, T0 + 1000, 90.0), T0 + 1000)
        feed(reading(2, T0 + 11_000, 125.0), T0 + 11_000)
        until(lambda: hook.notes() == [("sub-1", "raised")], "the hook heard of it")
        feed(reading(3, T0 + 21_000, 95.0), T0 + 21_000)
        feed(Frame.heartbeat(), T0 + 30_000)
        until(lambda: hook.notes()[1:] == [("sub-1", "cleared")], "the hook heard of its end")
        assert hook.heard[0]["alarms"][0]["at_ms"] <= T0 + 21_000
        desk.stop()
        worker.stop()


def anomaly(subject, first, *, state=State.ACTIVE):
    return Anomaly(
        subject, "pump_trip", Severity.CRITICAL, 2.0, {"rule": "Δp to 0"}, first, first, 900_000, "u1", "r1", state
    )  # fmt: skip


def outputs(offset, *anomalies):
    made = Outputs("u1", offset)
    made.add(ANOMALY, anomaly_table(anomalies, "u1"))
    return made


class _Nowhere:
    def write(self, _outputs):
        pass


def settings(tmp_path, server, url):
    (tmp_path / "password").write_text(server.password)
    plain = url.replace(f":{server.password}@", "@")
    (tmp_path / "desk.toml").write_text(f'records = "{plain}"\nrecords_password_file = "password"\n')
    return tmp_path / "desk.toml"


@pytest.fixture(params=["file", pytest.param("postgresql", marks=pytest.mark.soak)])
def kept(request, tmp_path):
    """What says where the records are: nothing, or a file of settings that names a PostgreSQL."""
    if request.param == "file":
        yield ()
        return
    server = request.getfixturevalue("postgres")
    url = server.database()
    yield ("--config", settings(tmp_path, server, url))
    with server.connect(url.rpartition("/")[2]) as connection:
        assert connection.execute("SELECT count(*) FROM alarm").fetchone() == (2,)
    server.drop(url)


def test_killed_and_started_anew_it_tells_nothing_twice_and_takes_deeds(tmp_path, kafka, hook, site, kept):
    log = KafkaLog(kafka.bootstrap, CONDITIONS)
    feed = ConditionFeed(_Nowhere(), log, load_fast(site, open_site(site)))
    now = wall_clock()
    with Desk(tmp_path, kafka.bootstrap, site, *kept) as desk:
        desk.ready()
        feed.write([outputs(5, anomaly("sub-1", now))])
        until(lambda: hook.notes() == [("sub-1", "raised")], "the hook heard of it")
        name = f"sub-1:pump_trip:{now}"
        run("alarms", "ack", name, "--who", "Li", "--data-dir", desk.data)
        refused = run("alarms", "ack", name, "--who", "Wang", "--data-dir", desk.data, code=1)
        assert "acknowledged by Li" in refused.stderr
        desk.kill()
    feed.write([outputs(5, anomaly("sub-1", now))])  # a worker says again what it said
    feed.write([outputs(7, anomaly("sub-2", now))])
    with Desk(tmp_path, kafka.bootstrap, site, *kept) as desk:
        until(lambda: len(hook.notes()) >= 2, "the hook heard of what came meanwhile")
        desk.ready()
        listed = json.loads(run("alarms", "list", "--json", "--data-dir", desk.data).stdout)
        assert {(r["subject"], r["state"], r.get("acknowledged_by")) for r in listed} == {
            ("sub-1", "acknowledged", "Li"), ("sub-2", "raised", None)
        }  # fmt: skip
        assert hook.notes() == [("sub-1", "raised"), ("sub-2", "raised")]
        assert httpx.get(f"{desk.url}/health", timeout=PATIENCE_S).status_code == 200

        def figures():
            text = httpx.get(f"{desk.url}/metrics", timeout=PATIENCE_S).text
            return {f.name: f for f in text_string_to_metric_families(text)}

        def values():
            return {(s.name, *s.labels.values()): s.value for f in figures().values() for s in f.samples}

        until(lambda: values()["hearthline_lag_records", "conditions"] == 0, values)
        families = figures()
        expected = {n.removesuffix("_total") for n, m in METRICS.items() if "alerts" in m.where}
        assert {n for n in families if n.startswith("hearthline_")} == expected
        assert values()["hearthline_open_alarms", "critical"] == 2
        assert values()["hearthline_conditions_total",] == 2
        taken = run(
            "alerts", "--site", site, "--data-dir", desk.data, "--duckdb", tmp_path / "x.duckdb", code=2
        )
        assert "no other server uses" in taken.stderr
        desk.stop(signal.SIGTERM)
    log.close()


def test_a_second_desk_waits_for_the_end_of_the_first(tmp_path, site, postgres):
    where = postgres.database()
    words = (
        "alerts", "--site", site, "--kafka", "127.0.0.1:1", "--duckdb", tmp_path / "alerts.duckdb",
        "--data-dir", tmp_path / "alerts", "--port", 0,
        "--config", settings(tmp_path, postgres, where),
    )  # fmt: skip
    with Records(where, alone=True):
        refused = run(*words, "--check", code=1)
        assert "the only one that keeps these records, got one on 127.0.0.1" in refused.stderr
        second = Program(tmp_path / "out", *words)
        until(lambda: "stop that one first" in second.err, "it says why it waits")
    with second:
        until(lambda: "board" in second.out, "it took over")
        second.stop()
    postgres.drop(where)


def test_why_a_desk_waits_is_said_once_however_often_it_looks(postgres, capsys):
    where = postgres.database()
    looks = iter([False, False, True])
    with Records(where, alone=True):
        stop = SimpleNamespace(wait=lambda _s: next(looks))
        assert not _answering(SimpleNamespace(records=where, password=None), stop, once=False)
    assert capsys.readouterr().err.count("stop that one first") == 1
    postgres.drop(where)


def test_kafka_that_is_away_is_said_and_waited_for(tmp_path, site):
    with Desk(tmp_path, "127.0.0.1:1", site) as desk:
        until(lambda: "degraded" in desk.err, "it says so")
        assert httpx.get(f"{desk.url}/health", timeout=PATIENCE_S).status_code == 200
        assert httpx.get(f"{desk.url}/ready", timeout=PATIENCE_S).status_code == 503
        refused = run("alarms", "ack", "x", "--who", "Li", "--data-dir", desk.data, code=1)
        assert "waits for its parts" in refused.stderr
        desk.stop()


def test_its_board_shows_how_workers_fare_and_others_show_how_it_does(tmp_path, site):
    path = tmp_path / "alerts.duckdb"
    behind = {"name": "streams", "state": "ok", "detail": worded("{n} streams", n="3")}
    with closing(DuckdbSeries(path)) as store:
        told = parts_table("worker w 1", [behind], {"streams": {"stage": "stepped"}}, wall_clock())
        store.write([Outputs("_parts", rows={PART: [told]})])
    with Desk(tmp_path, "127.0.0.1:1", site) as desk:
        parts = httpx.get(f"{desk.url}/api/status", timeout=PATIENCE_S).json()["components"]
        assert [p["name"] for p in parts] == ["conditions", "streams · worker w 1"]
        desk.stop()
    with closing(DuckdbSeries(path, read_only=True)) as store:
        said = {
            (r["process"].split()[0], r["part"], r["state"]) for r in store.select(Select(PART)).to_pylist()
        }
    assert said == {("worker", "streams", "ok"), ("alerts", "conditions", "stopped")}


def test_bad_rules_stop_the_start_by_file_line_and_field(tmp_path, site):
    rules = site / "alerts.toml"
    rules.write_text(rules.read_text().replace('route = "duty"', 'codes = ["pump_trap"]\nroute = "duty"'))
    for command in ("alerts", "--data-dir", tmp_path / "d"), ("up", "--data-dir", tmp_path / "e"):
        done = run(*command, "--site", site, code=2)
        assert re.search(r"alerts\.toml:\d+:\d+: codes: expected known codes, got 'pump_trap'", done.stderr)
