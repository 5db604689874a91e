"""`hearthline ingest`, run as a program between a real Mosquitto and a Kafka in memory."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from models.frame import Frame, FrameKind
from tests.support.mock_kafka import MockKafka
from tests.support.mosquitto import Mosquitto, free_port
from tests.support.payloads import TEXTS, telemetry

COMMAND = [str(Path(sys.executable).with_name("hearthline")), "ingest"]


@pytest.fixture
def site_dir(tmp_path):
    for name, text in TEXTS.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def kafka():
    cluster = MockKafka()
    cluster.make_topics("frames")
    yield cluster
    cluster.close()


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
        client.publish(message.topic, message.payload, 1).wait_for_publish(5)
        deadline = time.monotonic() + 20
        kinds = []
        while FrameKind.TELEMETRY not in kinds and time.monotonic() < deadline:
            time.sleep(0.2)
            kinds = [Frame.decode(k.value).kind for k in kafka.read("frames") if k.key == b"u1"]
        client.disconnect()
        client.loop_stop()
        program.send_signal(signal.SIGTERM)
        assert program.wait(30) == 0
    assert kinds == [FrameKind.REGISTRY, FrameKind.TELEMETRY]


def test_check(site_dir, kafka, mosquitto):
    good = flags(site_dir, mosquitto.url, kafka.bootstrap)
    done = subprocess.run(
        [*COMMAND, *good, "--check"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout[:3]) == (0, "ok:")
    bad = flags(site_dir, f"mqtt://127.0.0.1:{free_port()}", kafka.bootstrap)
    done = subprocess.run(
        [*COMMAND, *bad, "--check"], capture_output=True, text=True, timeout=60, check=False
    )
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
        (["--site", "/nowhere", "--mqtt", "mqtt://h:1"], "/nowhere"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(arguments, message, tmp_path):
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr
