"""Certificates made by the product, and brokers that devices enter with them: Mosquitto, and the one inside."""

from __future__ import annotations

import getpass
import os
import socket
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt.enums import CallbackAPIVersion

from hearthline.audit import AuditLog, denied_in
from hearthline.mosquitto_files import Places, files
from hearthline.pki import Pki
from ingest.broker import EmbeddedBroker
from ingest.door import Door, DoorFiles, Rules
from ingest.endpoint import Endpoint
from ingest.polling_client import PollingClient
from tests.support.mosquitto import _binary, free_port
from tests.support.payloads import site, topic
from tests.support.waiting import PATIENCE_S, until

DEVICES = ("sub-1", "sub-2", "truck-1")
ODD_NAMES = ("a+b", "a#b", "a/b", "+", "#")


def now() -> datetime:
    return datetime.now(UTC)


def forged(pki: Path, name: str, *, authority="devices-ca", days=2, file=None) -> None:
    """A certificate such as the product would not issue, signed by its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    ca = x509.load_pem_x509_certificate((pki / f"{authority}.pem").read_bytes())
    ca_key = serialization.load_pem_private_key((pki / f"{authority}.key").read_bytes(), None)
    begins = now() - timedelta(days=10)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(now() + timedelta(days=days))
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    path = pki / "devices" / (file or name)
    path.with_suffix(".pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    path.with_suffix(".key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def make_pki(directory: Path) -> Path:
    """Authorities, certificates of three devices, and some that must not help."""
    pki = Pki(directory / "pki", now)
    pki.init(["localhost", "127.0.0.1"], 2)
    for device in (*DEVICES, "gone"):
        pki.issue(device, 2)
    pki.revoke(["gone"])
    forged(pki.directory, "sub-1", days=-1, file="expired")
    forged(pki.directory, "sub-1", authority="servers-ca", file="stranger")
    for number, name in enumerate(ODD_NAMES):
        forged(pki.directory, name, file=f"odd{number}")
    return pki.directory


class Gate:
    """A broker with a door for devices; `audit` is what it kept of what was denied."""

    def __init__(self, kind: str, pki: Path, port: int, endpoint: Endpoint, log: Path, audit: Path):
        self.kind, self.pki, self.port, self.endpoint = kind, pki, port, endpoint
        self.log, self.audit = log, audit

    def denied(self) -> list[tuple[str, str]]:
        """(device, topic) of what was denied so far."""
        if self.kind == "mosquitto":  # as `hearthline pki watch` reads it from a pipe
            found = [denied_in(line) for line in self.log.read_text(errors="replace").splitlines()]
            return [(d.device, d.topic) for d in found if d is not None]
        import json

        lines = self.audit.read_text().splitlines() if self.audit.exists() else []
        return [(e["device"], e["topic"]) for e in map(json.loads, lines)]

    def context(self, certificate: str | None, newest=None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.pki / "servers-ca.pem"))
        if newest is not None:
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = newest
        if certificate is not None:
            path = self.pki / "devices" / certificate
            context.load_cert_chain(f"{path}.pem", f"{path}.key")
        return context


class Client:
    """A connection that collects what it is told; use as a context manager."""

    def __init__(
        self, gate: Gate, certificate: str | None = None, *, server=False, newest=None, client_id=""
    ):
        self.heard: list[tuple[str, bytes, bool]] = []
        self.subscribed, self.connected = threading.Event(), threading.Event()
        self.client = PollingClient(CallbackAPIVersion.VERSION2, client_id=client_id)
        endpoint = gate.endpoint
        self._port = endpoint.port if server else gate.port
        if server and endpoint.username:
            self.client.username_pw_set(endpoint.username, endpoint.password)
        if not server or endpoint.tls:
            self.client.tls_set_context(
                endpoint.tls_context() if server else gate.context(certificate, newest)
            )
        self.client.on_connect = self._on_connect
        self.client.on_message = lambda _c, _u, m: self.heard.append((m.topic, m.payload, m.retain))
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.reconnect_delay_set(60, 60)

    def _on_connect(self, _client, _data, _flags, reason, _properties):
        if not reason.is_failure:
            self.connected.set()

    def __enter__(self):
        self.client.connect("127.0.0.1", self._port)
        self.client.loop_start()
        return self

    def __exit__(self, *_):
        self.client.disconnect()
        self.client.loop_stop()

    def subscribe(self, *topics):
        assert self.connected.wait(PATIENCE_S)
        for place in topics:
            self.subscribed.clear()
            self.client.subscribe(place, 1)
            assert self.subscribed.wait(PATIENCE_S)

    def publish(self, topic, payload=b"{}", *, retain=False):
        assert self.connected.wait(PATIENCE_S)
        self.client.publish(topic, payload, 1, retain=retain).wait_for_publish(PATIENCE_S)

    @property
    def topics(self) -> list[str]:
        return [topic for topic, _, _ in self.heard]


def refused(gate: Gate, certificate: str | None, **options) -> bool:
    """Whether a client does not get in: its handshake fails, or it is closed without a word."""
    client = Client(gate, certificate, **options)
    gone = threading.Event()
    client.client.on_disconnect = lambda *_: gone.set()
    try:
        with client:
            until(lambda: client.connected.is_set() or gone.is_set())
            return not client.connected.is_set()
    except (ssl.SSLError, OSError):
        return True


def say_too_much(gate: Gate) -> None:
    """Say what is too large for ingest, which tells why, and then what is too large for the door."""
    with Client(gate, "sub-1") as device:
        device.publish(topic("sub-1"), b"x" * 300 * 1024)
        device.client.publish(topic("sub-1"), b"y" * 1_100_000, 1)
        until(lambda: not device.client.is_connected())


def listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=0.5).close()
    except OSError:
        return False
    return True


@contextmanager
def gate(kind: str, directory: Path, pki: Path | None = None, *, the_site=None, **door):
    """A broker of one kind with the product's own configuration."""
    pki = pki or make_pki(directory)
    the_site = the_site or site()
    log, audit = directory / "log", directory / "audit.jsonl"
    if kind == "embedded":
        rules = Door(
            DoorFiles.of(pki),
            Rules(the_site),
            AuditLog(audit, lambda: int(time.time() * 1000)),
            port=0,
            **door,
        )
        with EmbeddedBroker(door=rules) as broker:
            yield Gate(kind, pki, rules.port, Endpoint.parse(broker.url, *(broker.login or ())), log, audit)
        return
    places = Places(
        pki=str(pki), out=str(directory), data=str(directory / "data"), address="127.0.0.1",
        port=free_port(), server_port=free_port(),
    )  # fmt: skip
    (directory / "data").mkdir(exist_ok=True)
    for name, text in files(the_site, places).items():
        (directory / name).write_text(text)
    endpoint = Endpoint(
        "127.0.0.1", places.server_port, True, None, None, pki / "servers-ca.pem",
        (pki / "ingest.pem", pki / "ingest.key"),
    )  # fmt: skip
    with started(directory / "mosquitto.conf", log, (places.port, places.server_port)):
        yield Gate(kind, pki, places.port, endpoint, log, audit)


@contextmanager
def started(config: Path, log: Path, ports: tuple[int, ...]):
    """A Mosquitto with a configuration, once it listens; what it says goes to `log`."""
    if os.getuid() == 0:
        config.write_text(f"user {getpass.getuser()}\n{config.read_text()}")
    with (
        log.open("wb") as out,
        subprocess.Popen([_binary(), "-c", str(config)], stderr=out, stdout=out) as process,
    ):
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not all(listening(port) for port in ports):
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(
                        f"mosquitto did not start: {log.read_text()[-2000:] if log.is_file() else log}"
                    )
                time.sleep(0.02)
            yield process
        finally:
            process.kill()
