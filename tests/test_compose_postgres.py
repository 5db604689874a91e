"""The stack's own PostgreSQL files with a real PostgreSQL: who comes in, to what, and with which password."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import psycopg
import pytest
import yaml

from hearthline.secret_files import password, write_secret
from store.records import Batch, Records, RecordsError
from tests.support.postgres import Postgres, program

ROOT = Path(__file__).parents[1]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


class Stack:
    """A server started as the image starts it; only port, places and the memory of the container differ."""

    def __init__(self):
        words = shlex.split(COMPOSE["postgres"]["environment"]["POSTGRES_INITDB_ARGS"])
        self.server = server = Postgres({}, words)
        self.files = server.take(ROOT / "deploy" / "postgres")
        server._options += [
            "-c", f"config_file={self.files}/postgresql.conf", "-c", f"hba_file={self.files}/pg_hba.conf",
        ]  # fmt: skip
        self.secrets = server.directory / "secrets"
        self.secrets.mkdir()
        write_secret(self.secrets / "postgres_admin_password", server.password)
        write_secret(self.secrets / "postgres_records_password", password())

    @property
    def secret(self):
        return (self.secrets / "postgres_records_password").read_text().strip()

    def init(self):
        """What the service postgres-init does; its paths are this machine's."""
        return subprocess.run(
            ["sh", ROOT / "deploy/postgres/init.sh"], capture_output=True, text=True, check=False,
            env={
                **os.environ, "PATH": f"{Path(program('psql')).parent}:{os.environ['PATH']}",
                "SECRETS": str(self.secrets), "PGHOST": "127.0.0.1", "PGPORT": str(self.server.port),
            },
        )  # fmt: skip

    def records(self):
        return Records(self.server.url("hearthline", "hearthline", ""), self.secret)


@pytest.fixture(scope="module")
def stack():
    made = Stack()
    with made.server:
        yield made
        log, secrets = made.server.log.read_text(), (made.server.password, made.secret)
    assert "database system is ready" in log
    assert not any(secret in log for secret in secrets), "a password in the log"


def test_compose_names_the_files_and_mounts_them():
    service, init = COMPOSE["postgres"], COMPOSE["postgres-init"]
    for one in (service, init):
        assert "./deploy/postgres:/etc/postgresql:ro" in one["volumes"]
    assert "config_file=/etc/postgresql/postgresql.conf" in service["command"]
    assert init["entrypoint"] == ["sh", "/etc/postgresql/init.sh"]
    assert (
        "hba_file = '/etc/postgresql/pg_hba.conf'" in (ROOT / "deploy/postgres/postgresql.conf").read_text()
    )
    assert service["image"] == init["image"]
    assert service["image"].startswith("postgres:15."), "the version that the tests start: Debian 12's"


def test_the_role_is_made_once_and_its_password_is_that_of_now(stack):
    for _ in range(2):
        done = stack.init()
        assert (done.returncode, done.stdout, done.stderr) == (0, "role and database are there\n", "")
    with stack.records() as kept:
        kept.save(Batch(progress={"p": 1}))
    old = stack.secret
    write_secret(stack.secrets / "postgres_records_password", password())
    with pytest.raises(RecordsError, match="password authentication failed"):
        stack.records()
    assert stack.init().returncode == 0
    with stack.records() as kept:
        assert kept.progress("p") == 1
    with pytest.raises(RecordsError, match="password authentication failed"):
        Records(stack.server.url("hearthline", "hearthline", ""), old)


@pytest.mark.parametrize(
    ("user", "secret", "database"),
    [
        ("hearthline", None, "postgres"), ("hearthline", None, "template1"), ("hearthline", "", "hearthline"),
        ("postgres", "postgres", "postgres"), ("postgres", "", "hearthline"), ("nobody", None, "hearthline"),
    ],
)  # fmt: skip
def test_nobody_else_comes_in_and_nobody_without_a_password(stack, user, secret, database):
    stack.init()
    with pytest.raises(
        psycopg.OperationalError, match=r"rejects connection|authentication failed|no password"
    ):
        psycopg.connect(
            host="127.0.0.1", port=stack.server.port, user=user, dbname=database, connect_timeout=5,
            password=stack.secret if secret is None else secret, passfile="/nonexistent",
        )  # fmt: skip


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE ROLE other",
        "CREATE DATABASE other",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "ALTER ROLE hearthline SUPERUSER",
    ],
)
def test_the_records_role_owns_its_database_and_nothing_else(stack, statement):
    stack.init()
    url = stack.server.url("hearthline", "hearthline", stack.secret)
    with (
        psycopg.connect(url, autocommit=True) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement)


def test_what_is_promised_is_set(stack):
    wanted = {
        "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "data_checksums": "on",
        "password_encryption": "scram-sha-256", "log_statement": "none", "server_encoding": "UTF8",
    }  # fmt: skip
    with stack.server.connect() as connection:
        assert {n: connection.execute(f"SHOW {n}").fetchone()[0] for n in wanted} == wanted
        kinds = connection.execute("SELECT auth_method, error FROM pg_hba_file_rules").fetchall()
    assert set(kinds) == {("scram-sha-256", None), ("reject", None)}


def test_the_health_check_sees_the_server(stack):
    words = COMPOSE["postgres"]["healthcheck"]["test"]
    assert words[0] == "CMD"
    said = subprocess.run(
        [program(words[1]), *words[2:], "--port", str(stack.server.port)], check=False, capture_output=True
    )
    assert said.returncode == 0


@pytest.mark.parametrize("value", ["changeme", "", "with spaces and more of them", "quote'quote'quote'quote"])
def test_a_weak_secret_stops_the_start(stack, value, tmp_path, monkeypatch):
    write_secret(tmp_path / "postgres_admin_password", stack.server.password)
    write_secret(tmp_path / "postgres_records_password", value)
    monkeypatch.setattr(stack, "secrets", tmp_path)
    done = stack.init()
    assert done.returncode == 2
    assert "postgres_records_password: expected 16 or more of" in done.stderr
    assert not value or value not in done.stderr


def test_records_are_backed_up_and_restored_by_the_commands_of_the_manual(stack):
    """What docs/deploy.md has the operator type, without the container around it."""
    stack.init()
    manual = (ROOT / "docs" / "deploy.md").read_text()
    words = dict(
        re.findall(r"PGPASSWORD=\$\(cat /run/secrets/postgres_admin_password\) (pg_\w+) ([^']+)'", manual)
    )
    assert words.keys() == {"pg_dump", "pg_restore"}
    dump = stack.server.directory / "records.dump"

    def run(name, **pipes):
        done = subprocess.run(
            [program(name), *shlex.split(words[name]), "--port", str(stack.server.port)], check=False,
            env={**os.environ, "PGPASSWORD": stack.server.password}, stderr=subprocess.PIPE, text=True, **pipes,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")

    row = {"id": "a", "subject": "a", "code": "c", "phase": "raised", "since_ms": 1, "body": {"id": "a"}}
    with stack.records() as kept:
        kept.save(Batch([row], keys={"k": "a"}, progress={"backup": 7}))
        kept.receive([{"n": 1}, {"n": 2}])
        before = (kept.alarms(0), [b for _, b in kept.inbox()])
        with dump.open("wb") as file:
            run("pg_dump", stdout=file)
        kept.save(Batch([{**row, "phase": "closed"}], progress={"backup": 8}, taken=1))
    with dump.open("rb") as file:
        run("pg_restore", stdin=file)
    with stack.records() as kept:
        assert (kept.alarms(0), [b for _, b in kept.inbox()], kept.progress("backup")) == (*before, 7)
        kept.receive([{"n": 3}])
        assert [b for _, b in kept.inbox()] == [{"n": 1}, {"n": 2}, {"n": 3}]
