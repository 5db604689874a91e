"""The secrets of the compose stack: what each file is, how it is made, and what changing it asks for.

Nothing here has a default. Passwords come from the operating system's generator; certificates from
`hearthline.pki`; tokens of InfluxDB from InfluxDB itself (`hearthline store prepare`), which lets nobody
choose them.
"""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hearthline.pki import Pki, utc_now

__all__ = ["INFLUX_TOKENS", "SECRETS", "SecretsError", "Store", "Wanted", "write_secret"]

INFLUX_TOKENS: Final = (
    "influx_worker_token",
    "influx_alerts_token",
    "influx_board_token",
    "influx_grafana_token",
)
"""Made by InfluxDB; `hearthline store prepare --tokens` writes them beside the others."""

_IN_CONTAINERS: Final = 0o444
"""Readable by whoever gets to the file. Each service runs as a user of its own, which is none of this
machine, and Compose mounts a secret with the owner and mode that it has here. So it is the directory, 0700,
that keeps others out; a container sees only the files that it is given."""
_HERE_ONLY: Final = 0o600
"""What no container gets."""
_ALPHABET: Final = (
    "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"  # nothing that looks like another
)
_LENGTH: Final = 32


class SecretsError(ValueError):
    """It cannot be done; says where, what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One secret file.

    Attributes
    ----------
    make : callable
        Gives a new value.
    after : str
        What has to be done for a new value to be used.
    once : str
        Why it cannot be changed here; empty when it can.
    """

    make: Callable[[], str]
    after: str = ""
    once: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the operator says.

    Attributes
    ----------
    names : sequence of str
        Of the broker, as devices reach it.
    web_name : str
        Of the board, as people type it.
    user : str
        Who may look at the board.
    days : int
        How long certificates hold.
    """

    names: Sequence[str]
    web_name: str
    user: str = "operator"
    days: int = 825


@dataclass(slots=True)
class Done:
    """What was written, what was there already, and what to do now."""

    written: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    next: list[str] = field(default_factory=list)


def password() -> str:
    """32 letters and digits: 185 bits, which every service takes and nobody has to quote."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))


def cluster_id() -> str:
    """A name for a Kafka cluster: 16 bytes in base64, not beginning with what looks like an option."""
    while True:
        name = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
        if not name.startswith("-"):
            return name


_KAFKA: Final = "docker compose up -d --force-recreate kafka-init {services}"
_POSTGRES: Final = "docker compose up -d --force-recreate postgres-init {services}"
SECRETS: Final = {
    "kafka_cluster_id": Kind(cluster_id, once="it is the name of the data that Kafka holds"),
    "kafka_admin_password": Kind(
        password, once="Kafka would not know itself: kafka-configs.sh changes it first, then write it here"
    ),
    "kafka_ingest_password": Kind(password, after=_KAFKA.format(services="ingest")),
    "kafka_worker_password": Kind(password, after=_KAFKA.format(services="worker-1 worker-2")),
    "kafka_alerts_password": Kind(password, after=_KAFKA.format(services="alerts")),
    "influx_admin_password": Kind(
        password, once="InfluxDB keeps its own: influx user password changes it, then write it here"
    ),
    "influx_admin_token": Kind(password, once="InfluxDB keeps its own: influx auth create makes another"),
    "grafana_admin_password": Kind(
        password, once="Grafana keeps its own: grafana cli admin reset-admin-password changes it"
    ),
    "grafana_secret_key": Kind(password, once="Grafana's stored passwords are encrypted with it"),
    "postgres_admin_password": Kind(
        password, once="PostgreSQL keeps its own: ALTER ROLE postgres PASSWORD, then write it here"
    ),
    "postgres_records_password": Kind(password, after=_POSTGRES.format(services="alerts")),
}
"""Secrets of one file each, by the file's name."""


class Store:
    """A directory of secrets.

    Parameters
    ----------
    directory : Path
        Mode 0700 when this has been here.
    """

    def __init__(self, directory: Path):
        self.directory = directory
        self.pki = Pki(directory / "pki", utc_now)

    def init(self, wanted: Wanted, rotate: Sequence[str] = ()) -> Done:
        """Write what is missing, and anew what `rotate` names; nothing else is touched."""
        self._agree(rotate)
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        done = Done()
        for name, kind in SECRETS.items():
            if self._wanted(name, rotate, done):
                write_secret(self.directory / name, kind.make())
                done.next += [kind.after] if name in rotate else []
        self._certificates(wanted, rotate, done)
        if self._wanted("board_users", rotate, done):
            self._board_user(wanted.user)
            done.next += (
                ["docker compose up -d --force-recreate board-door"] if "board_users" in rotate else []
            )
        if missing := [name for name in INFLUX_TOKENS if not (self.directory / name).exists()]:
            done.next.append(f"hearthline store prepare --tokens writes {', '.join(missing)}")
        return done

    def _agree(self, rotate: Sequence[str]) -> None:
        for name in rotate:
            if name not in SECRETS and name not in _CERTIFICATES and name != "board_users":
                known = [n for n, k in SECRETS.items() if not k.once] + [*_CERTIFICATES, "board_users"]
                raise SecretsError(f"--rotate: expected one of {', '.join(known)}, got {name}")
            if name in SECRETS and SECRETS[name].once:
                raise SecretsError(f"--rotate: {name} cannot be made anew here: {SECRETS[name].once}")

    def _wanted(self, name: str, rotate: Sequence[str], done: Done) -> bool:
        there = (self.directory / name).exists()
        if there and name not in rotate:
            if not (self.directory / name).read_text(encoding="utf-8").strip():
                raise SecretsError(
                    f"{self.directory / name}: expected a secret, got an empty file: delete it"
                )
            done.kept.append(name)
            return False
        done.written.append(name)
        return True

    def _certificates(self, wanted: Wanted, rotate: Sequence[str], done: Done) -> None:
        pki = self.pki
        if not (pki.directory / "devices-ca.pem").exists():
            pki.init([*wanted.names, "mosquitto"], wanted.days)
            done.written += [f"pki/{name}" for name in _CERTIFICATES if name != "board_cert"]
        else:
            for name in ("server", "ingest"):
                if name not in rotate:
                    done.kept.append(f"pki/{name}")
                    continue
                pki.renew(name, [*wanted.names, "mosquitto"] if name == "server" else [], wanted.days)
                done.written.append(f"pki/{name}")
                done.next.append(_CERTIFICATES[name])
        if self._wanted("board_cert.pem", ["board_cert.pem"] if "board_cert" in rotate else [], done):
            pki.renew("board", [wanted.web_name], wanted.days)
            for ours, theirs in (("board_cert.pem", "board.pem"), ("board_key.pem", "board.key")):
                write_secret(self.directory / ours, (pki.directory / theirs).read_text(encoding="utf-8"))
            done.next += [_CERTIFICATES["board_cert"]] if "board_cert" in rotate else []
        for name in ("server.key", "ingest.key"):
            (pki.directory / name).chmod(_IN_CONTAINERS)
        for name in ("board_key.pem", *(f"pki/{file}" for file in _PKI_FILES)):
            if not (self.directory / name).is_file():
                raise SecretsError(f"{self.directory / name}: expected it beside what is there, got none")

    def _board_user(self, user: str) -> None:
        """A line of Caddy's, and the password for whoever may look: to be handed over, then deleted."""
        import bcrypt

        secret = password()
        hashed = bcrypt.hashpw(secret.encode(), bcrypt.gensalt(12)).decode()
        write_secret(self.directory / "board_users", f"{user} {hashed}")
        write_secret(self.directory / f"board_password_of_{user}", secret, _HERE_ONLY)


_CERTIFICATES: Final = {
    "server": "docker compose up -d --force-recreate mosquitto",
    "ingest": "docker compose up -d --force-recreate ingest",
    "board_cert": "docker compose up -d --force-recreate board-door",
}
"""Certificates that can be made anew, and what has to be done for them to be used."""
_PKI_FILES: Final = (
    "devices-ca.pem", "devices.crl.pem", "servers-ca.pem", "server.pem", "server.key", "ingest.pem",
    "ingest.key",
)  # fmt: skip


def write_secret(path: Path, value: str, mode: int = _IN_CONTAINERS) -> None:
    """Write a secret whole or not at all; never readable with a wider mode, not even meanwhile."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _HERE_ONLY)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(value.rstrip("\n") + "\n")
        os.fchmod(file.fileno(), mode)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
