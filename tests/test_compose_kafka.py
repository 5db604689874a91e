"""The stack's own Kafka scripts with a real Kafka: users, rights, topics, and a worker that logs in."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from journal.kafka_log import PARTS
from streams.runtime.faust_settings import WorkerSettings
from streams.runtime.faust_topics import check_topics
from tests.support.chain_feed import ROOT, TOPIC
from tests.support.mosquitto import free_port
from tests.support.real_kafka import JAVA_OPTIONS, kafka_libraries
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.soak

_PROGRAMS = {
    "kafka-storage.sh": "kafka.tools.StorageTool",
    "kafka-server-start.sh": "kafka.Kafka",
    "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
    "kafka-acls.sh": "kafka.admin.AclCommand",
    "kafka-configs.sh": "kafka.admin.ConfigCommand",
}


def _login(user, password):
    return {
        "sasl.username": user, "sasl.password": password, "sasl.mechanism": "SCRAM-SHA-512",
        "security.protocol": "sasl_plaintext",
    }  # fmt: skip


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """Kafka started and furnished by deploy/kafka/*.sh, with the image's programs stood in for."""
    directory = tmp_path_factory.mktemp("kafka")
    (directory / "bin").mkdir()
    for name, program in _PROGRAMS.items():
        script = directory / "bin" / name
        script.write_text(
            f'#!/bin/sh\nexec java {" ".join(JAVA_OPTIONS)} -cp "{kafka_libraries()}/*" {program} "$@"\n'
        )
        script.chmod(0o755)
    passwords = {name: secrets.token_urlsafe(18) for name in ("admin", "ingest", "worker", "alerts")}
    for name, password in passwords.items():
        (directory / f"kafka_{name}_password").write_text(f"{password}\n")
    (directory / "kafka_cluster_id").write_text("4L6g3nShT-eMCtK--X86sw\n")
    (directory / "data").mkdir()
    port = free_port()
    environment = os.environ | {
        "KAFKA_HOME": str(directory), "KAFKA_DATA": str(directory / "data"), "SECRETS": str(directory),
        "KAFKA_NAME": "127.0.0.1", "KAFKA_PORT": str(port), "KAFKA_CONTROLLER_PORT": str(free_port()),
        "KAFKA": f"127.0.0.1:{port}", "PARTITIONS": "3", "TMPDIR": str(directory),
    }  # fmt: skip
    log = directory / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["bash", str(ROOT / "deploy/kafka/start.sh")],
            env=environment,
            stdout=out,
            stderr=out,
            cwd=directory,
        )
    try:
        _wait_for(port, passwords["admin"], process, log)
        for turn in range(2):  # the second time gives a user another password, and changes nothing else
            if turn:
                passwords["gone"], passwords["ingest"] = passwords["ingest"], secrets.token_urlsafe(18)
                (directory / "kafka_ingest_password").write_text(passwords["ingest"])
                rights = directory / "bin" / "kafka-acls.sh"  # ten starts of Java: see the test of them
                rights.rename(rights.with_suffix(".kept"))
                rights.symlink_to("/bin/true")
            _furnish(directory, environment)
        rights.with_suffix(".kept").rename(rights)
        yield f"127.0.0.1:{port}", passwords, lambda: _furnish(directory, environment)
    finally:
        process.kill()
        process.wait()
    assert not [p for p in passwords.values() if p in log.read_text(errors="replace")], (
        "a password in the log"
    )


def _furnish(directory, environment):
    done = subprocess.run(
        ["bash", str(ROOT / "deploy/kafka/init.sh")],
        env=environment, capture_output=True, text=True, cwd=directory, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def _wait_for(port, password, process, log):
    admin = AdminClient(
        {"bootstrap.servers": f"127.0.0.1:{port}", "log_level": 0, **_login("admin", password)}
    )
    deadline = time.monotonic() + 90
    while True:
        try:
            admin.list_topics(timeout=2)
            break
        except KafkaException:
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, log.read_text()[-3000:]


def _produce(bootstrap, login, topic):
    """The error of one record, or None."""
    said = []
    producer = Producer({"bootstrap.servers": bootstrap, "message.timeout.ms": 4000, "log_level": 0, **login})
    producer.produce(topic, b"x", "u1", on_delivery=lambda error, _: said.append(error))
    producer.flush(15)
    return said[0].name() if said[0] else None


def test_each_service_may_do_its_own_work_only(stack):
    bootstrap, passwords, _ = stack
    ingest, worker = (_login(name, passwords[name]) for name in ("ingest", "worker"))
    changelog = "hearthline-checkpoints-changelog"
    assert _produce(bootstrap, ingest | {"enable.idempotence": True}, TOPIC) is None
    assert _produce(bootstrap, worker, changelog) is None
    assert _produce(bootstrap, ingest, changelog) == "TOPIC_AUTHORIZATION_FAILED"
    assert _produce(bootstrap, worker, TOPIC) == "TOPIC_AUTHORIZATION_FAILED"
    assert _produce(bootstrap, ingest, PARTS) is None
    assert _produce(bootstrap, worker, PARTS) == "TOPIC_AUTHORIZATION_FAILED"


def test_nobody_comes_in_without_a_login(stack):
    bootstrap, passwords, _ = stack
    strangers = (
        ("worker", "a-wrong-password-x"),
        ("nobody", passwords["worker"]),
        ("ingest", passwords["gone"]),
    )
    for login in ({}, *(_login(*one) for one in strangers)):
        assert _produce(bootstrap, login, TOPIC) == "_MSG_TIMED_OUT"


def test_topics_are_what_the_worker_needs(stack):
    bootstrap, passwords, _ = stack
    check_topics(WorkerSettings(bootstrap, partitions=3, login=_login("worker", passwords["worker"])))


def test_a_worker_logs_in_and_joins(stack, tmp_path):
    bootstrap, passwords, _ = stack
    secret = tmp_path / "password"
    secret.write_text(passwords["worker"])
    health, log = tmp_path / "alive", tmp_path / "log"
    environment = os.environ | {
        "HEARTHLINE_KAFKA": bootstrap,
        "HEARTHLINE_KAFKA_USER": "worker",
        "HEARTHLINE_KAFKA_PASSWORD_FILE": str(secret),
    }
    command = [
        sys.executable, "-m", "hearthline", "worker", "--partitions", "3", "--health-file", str(health),
        "--duckdb", str(tmp_path / "s.duckdb"),
    ]  # fmt: skip
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + 60
        while not health.exists():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        _produce(bootstrap, _login("ingest", passwords["ingest"]), TOPIC)
        while "goes on after record" not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        process.terminate()
        assert process.wait(PATIENCE_S) == 0, log.read_text()
    finally:
        process.kill()
    assert passwords["worker"] not in log.read_text()


def test_rights_may_be_given_again(stack):
    bootstrap, passwords, furnish = stack
    furnish()
    assert _produce(bootstrap, _login("worker", passwords["worker"]), TOPIC) == "TOPIC_AUTHORIZATION_FAILED"


def test_a_weak_secret_stops_the_start(tmp_path):
    for name in ("admin", "ingest", "worker"):
        (tmp_path / f"kafka_{name}_password").write_text("changeme")
    environment = os.environ | {
        "SECRETS": str(tmp_path),
        "KAFKA_HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
    }
    done = subprocess.run(
        ["bash", str(ROOT / "deploy/kafka/start.sh")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "kafka_admin_password: expected 16 or more of" in done.stderr
    assert "changeme" not in done.stderr
