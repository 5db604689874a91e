"""A real Kafka on loopback: fetched by Maven, started with plain ``java -cp``, killed at will."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.support.mock_kafka import KafkaClient
from tests.support.needs import missing

__all__ = ["JAVA_OPTIONS", "RealKafka", "kafka_libraries"]

JAVA_OPTIONS = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
_POM = Path(__file__).parents[1] / "kafka" / "pom.xml"
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={directory}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
log.retention.check.interval.ms=1000
"""


def kafka_libraries() -> Path:
    """Kafka's jars, fetched once; skips where Java or Maven is missing (`needs.missing`)."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            missing(program, "apt-get install default-jre-headless maven")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hearthline-tests"
    libraries = cache / f"kafka-{hashlib.sha256(_POM.read_bytes()).hexdigest()[:12]}"
    if not libraries.exists():
        fetched = libraries.with_name(f"{libraries.name}.{os.getpid()}")
        command = ["mvn", "-q", "-B", "-f", str(_POM), _COPY, f"-DoutputDirectory={fetched}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            pytest.fail(f"Maven could not fetch Kafka: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        with contextlib.suppress(OSError):  # another process was as quick
            fetched.rename(libraries)
    return libraries


class RealKafka(KafkaClient):
    """One broker and controller in one JVM; its data outlives `kill`."""

    def __init__(self, directory: Path):
        self._directory = directory
        self._libraries = kafka_libraries()
        port, controller = _free_ports(2)
        self._config = directory / "server.properties"
        self._config.write_text(_PROPERTIES.format(port=port, controller=controller, directory=directory))
        self._java(
            "kafka.tools.StorageTool", "format", "-t", "4L6g3nShT-eMCtK--X86sw", "-c", str(self._config)
        )
        super().__init__(f"127.0.0.1:{port}")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        command = self._command("kafka.Kafka", str(self._config))
        with (self._directory / "kafka.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._directory)
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        deadline = time.monotonic() + 180
        while True:
            try:
                admin.list_topics(timeout=2)
                break
            except KafkaException:
                assert self._process.poll() is None, (self._directory / "kafka.log").read_text()[-3000:]
                assert time.monotonic() < deadline, "Kafka was not up in 180 s"

    @property
    def pid(self) -> int:
        """Its process, while it runs."""
        assert self._process
        return self._process.pid

    def send(self, sign: int) -> None:
        assert self._process
        self._process.send_signal(sign)

    def kill(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(180)

    def close(self) -> None:
        self.kill()
        super().close()

    def _java(self, *arguments: str) -> None:
        done = subprocess.run(
            self._command(*arguments),
            capture_output=True,
            text=True,
            timeout=180,
            cwd=self._directory,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _command(self, *arguments: str) -> list[str]:
        return ["java", *JAVA_OPTIONS, "-cp", f"{self._libraries}/*", *arguments]


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports
