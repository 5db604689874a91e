"""`hearthline ingest`, run as a program between a real Mosquitto and a Kafka in memory."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from prometheus_client.parser import text_string_to_metric_families

from hearthline.metrics import METRICS
from hearthline.parts_relayed import relayed
from journal.kafka_log import PARTS
from models.frame import Frame, FrameKind
from tests.support.commands import run_command
from tests.support.mock_kafka import kafka
from tests.support.mosquitto import Mosquitto, free_port
from tests.support.payloads import TEXTS, telemetry
from tests.support.system import Program, ended
from tests.support.waiting import PATIENCE_S, until

__all__ = ["kafka"]  # fixtures

COMMAND = [str(Path(sys.executable).with_name("hearthline")), "ingest"]


@pytest.fixture
def site_dir(tmp_path):
    for name, text in TEXTS.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def mosquitto():
    with Mosquitto() as started:
        yield started


def flags(site_dir, mqtt_url, kafka):
    return ["--site", str(site_dir), "--mqtt", mqtt_url, "--kafka", kafka, "--clock", "data"]


def test_from_mqtt_to_kafka_until_told_to_stop(site_dir, kafka, mosquitto):
    with subprocess.Popen(
        [*COMMAND, *flags(site_dir, mosquitto.url, kafka.bootstrap)], stdout=subprocess.PIPE, text=True
    ) as program:
        for line in program.stdout:
            if line.startswith("ok"):
                break
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", mosquitto.port)
        client.loop_start()
        message = telemetry("sub-1", 1)
        client.publish(message.topic, message.payload, 1).wait_for_publish(PATIENCE_S)

        def kinds():  # a stream that is quiet for a second is told so, wherever the machine makes it one
            found = [Frame.decode(k.value).kind for k in kafka.read("frames") if k.key == b"u1"]
            return [kind for kind in found if kind is not FrameKind.HEARTBEAT]

        until(lambda: FrameKind.TELEMETRY in kinds(), kinds)
        client.disconnect()
        client.loop_stop()
        program.send_signal(signal.SIGTERM)
        assert program.wait(PATIENCE_S) == 0
    assert kinds() == [FrameKind.REGISTRY, FrameKind.TELEMETRY]
    last = kafka.read(PARTS)[-1]
    said = relayed(last.key.decode(), last.value, 0).to_pylist()
    assert {r["part"]: r["state"] for r in said} == dict.fromkeys(("broker", "ingest", "journal"), "stopped")


def test_check(site_dir, kafka, mosquitto):
    good = flags(site_dir, mosquitto.url, kafka.bootstrap)
    done = ended("ingest", *good, "--check")
    assert (done.returncode, done.stdout[:3]) == (0, "ok:")
    bad = flags(site_dir, f"mqtt://127.0.0.1:{free_port()}", kafka.bootstrap)
    done = ended("ingest", *bad, "--check")
    assert done.returncode == 1
    assert done.stdout.startswith("degraded")
    assert "expected a broker there" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "site: expected a site directory"),
        (["--site", "."], "mqtt: expected a broker"),
        (["--site", ".", "--mqtt", "http://h:1"], "mqtt: expected mqtt://host:port"),
        (["--site", ".", "--mqtt", "mqtt://u:secret@h:1"], "without a password"),
        (["--site", "/nowhere", "--mqtt", "mqtt://127.0.0.1:1"], "/nowhere"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run_command("ingest", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr


def test_health_readiness_and_metrics_on_a_port_of_its_own(site_dir, kafka, mosquitto, tmp_path):
    port = free_port()
    words = [*flags(site_dir, mosquitto.url, kafka.bootstrap), "--metrics-port", port]
    with Program(tmp_path / "ingest", "ingest", *words) as program:
        until(lambda: "\nok" in f"\n{program.out}", "it listens")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as probe:
            assert probe.get("/health").text == "ok\n"
            until(lambda: probe.get("/ready").status_code == 200, lambda: probe.get("/ready").text)
            ready = probe.get("/ready").json()
            assert {p["name"]: p["state"] for p in ready["components"]} == dict.fromkeys(
                ("broker", "ingest", "journal"), "ok"
            )
            served = {f.name: f for f in text_string_to_metric_families(probe.get("/metrics").text)}
            assert served["hearthline_journal_append_seconds"].samples
            for path in ("/health", "/ready", "/metrics", "/api/status"):
                assert probe.get(path, headers={"host": "evil.example"}).status_code == 421
                assert probe.get(path, headers={"origin": "http://evil.example"}).status_code == 403
                assert "default-src 'none'" in probe.get(path).headers["content-security-policy"]
            assert probe.get("/api/query").status_code == 404
            told = run_command("status", "--url", f"http://127.0.0.1:{port}")
            assert told.exit_code == 0
            assert "not yet journalled (ingest): 0 messages, 0 s" in told.stdout
            assert "ledger" not in told.stdout
            mosquitto.stop()
            until(lambda: probe.get("/ready").status_code == 503, "it says that the broker is away")
            answer = probe.get("/ready")
            broker = answer.json()["components"][0]
            assert (broker["name"], broker["state"]) == ("broker", "degraded")
            assert broker["since"] / 1000 == pytest.approx(time.time(), abs=PATIENCE_S)
            assert (
                probe.get("/health").status_code == 200
            )  # it goes on by itself: nobody has to start it again
        program.stop()
    names = {n for n, m in METRICS.items() if "ingest" in m.where}
    assert {_family(n) for n in names} == {n for n in served if n.startswith("hearthline")}


def _family(name):
    return name.removesuffix("_total")


def test_check_without_kafka_is_one_line(site_dir, mosquitto):
    nowhere = f"127.0.0.1:{free_port()}"
    good = ["--site", str(site_dir), "--mqtt", mosquitto.url, "--clock", "data", "--kafka", nowhere]
    done = ended("ingest", *good, "--check")
    assert done.returncode == 1
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    assert done.stdout.startswith("degraded")
    assert f"journal {nowhere}" in done.stdout


def test_a_metrics_port_in_use_or_open_to_others_is_refused(site_dir, mosquitto):
    taken = ["--site", str(site_dir), "--mqtt", mosquitto.url, "--metrics-port", str(mosquitto.port)]
    done = ended("ingest", *taken)
    assert done.returncode == 2
    assert "metrics_port: expected a free port" in done.stderr
    assert "; --metrics-port takes another, 0 any free one" in done.stderr
    open_to_all = {**os.environ, "HEARTHLINE_METRICS_HOST": "0.0.0.0"}
    done = ended("ingest", *taken, env=open_to_all)
    assert done.returncode == 2
    assert "metrics_host: expected a loopback address" in done.stderr
