"""`hearthline secrets init`: every secret of the compose file, each of its own, none by default."""

from __future__ import annotations

import json
import re
import ssl
import stat
from pathlib import Path

import bcrypt
import pytest
import yaml
from cryptography import x509

from hearthline.secret_files import INFLUX_TOKENS, SECRETS
from tests.support.commands import run_command

COMPOSE = yaml.safe_load((Path(__file__).parents[2] / "docker-compose.yml").read_text())
ONCE = sorted(name for name, kind in SECRETS.items() if kind.once)
ANEW = sorted(name for name, kind in SECRETS.items() if not kind.once)


def init(directory, *words, name="broker.example"):
    return run_command(
        "secrets", "init", "--dir", directory, "--name", name, "--web-name", "board.example", *words
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    directory = tmp_path_factory.mktemp("stack") / "secrets"
    done = init(directory, "--name", "10.0.0.5")
    assert done.exit_code == 0, done.stderr
    return directory, done


def contents(directory):
    return {p.relative_to(directory): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def test_every_secret_that_compose_names_is_written(made):
    directory, done = made
    named = {source["file"].removeprefix("./secrets/") for source in COMPOSE["secrets"].values()}
    missing = {name for name in named if not (directory / name).is_file()}
    assert missing == set(INFLUX_TOKENS), "which InfluxDB makes"
    assert all((directory / name).read_text().strip() for name in named - missing)
    assert f"hearthline store prepare --tokens writes {', '.join(INFLUX_TOKENS)}" in done.stdout


def test_nothing_that_is_written_is_for_nobody(made):
    named = {source["file"].removeprefix("./secrets/") for source in COMPOSE["secrets"].values()}
    assert set(SECRETS) <= named


def test_passwords_are_long_different_and_not_shown(made):
    directory, done = made
    values = [(directory / name).read_text() for name in SECRETS]
    assert len(set(values)) == len(values)
    for name, value in zip(SECRETS, values, strict=True):
        length = 22 if name == "kafka_cluster_id" else 32
        assert re.fullmatch(rf"[A-Za-z0-9_][A-Za-z0-9_-]{{{length - 1}}}\n", value), name
        assert value.strip() not in done.stdout + done.stderr


def test_only_the_directory_is_for_the_operators_eyes_and_what_no_container_gets(made):
    """A service's user is none of this machine: what keeps others out is the directory."""
    directory, _ = made
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    mounted = {directory / s["file"].removeprefix("./secrets/") for s in COMPOSE["secrets"].values()}
    for path in directory.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        if path in mounted:
            assert mode & 0o444 == 0o444, path
        elif path.suffix == ".key" or path.name.startswith("board_password_of"):
            assert mode == 0o600, path
        assert not mode & 0o022, path


def test_certificates_name_what_is_to_be_reached(made):
    directory, _ = made
    for file, names in (
        ("pki/server.pem", ["broker.example", "mosquitto", "10.0.0.5"]),
        ("board_cert.pem", ["board.example"]),
    ):
        certificate = x509.load_pem_x509_certificate((directory / file).read_bytes())
        said = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert [
            str(n)
            for n in (*said.get_values_for_type(x509.DNSName), *said.get_values_for_type(x509.IPAddress))
        ] == names
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
        directory / "board_cert.pem", directory / "board_key.pem"
    )


def test_the_board_lets_its_user_in_by_the_password_that_is_kept_for_them(made):
    directory, _ = made
    name, hashed = (directory / "board_users").read_text().split()
    secret = (directory / "board_password_of_operator").read_text().strip()
    assert name == "operator"
    assert bcrypt.checkpw(secret.encode(), hashed.encode())
    assert int(hashed.split("$")[2]) >= 12


def test_running_it_again_changes_nothing_and_adds_what_is_missing(made):
    directory, _ = made
    before = contents(directory)
    done = init(directory, "--json", name="another.example")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["written"] == []
    assert contents(directory) == before
    (directory / "kafka_ingest_password").unlink()
    assert json.loads(init(directory, "--json").stdout)["written"] == ["kafka_ingest_password"]
    changed = contents(directory)
    assert {p.name for p in before if changed[p] != before[p]} == {"kafka_ingest_password"}


@pytest.mark.parametrize("name", [*ANEW, "server", "ingest", "board_cert", "board_users"])
def test_one_secret_is_made_anew_and_what_to_do_is_said(made, name):
    directory, _ = made
    before = contents(directory)
    done = init(directory, "--rotate", name)
    assert done.exit_code == 0, done.stderr
    changed = {p.name for p, text in contents(directory).items() if before[p] != text}
    assert changed == {
        "server": {"server.key", "server.pem"},
        "ingest": {"ingest.key", "ingest.pem"},
        "board_cert": {"board_cert.pem", "board_key.pem", "board.pem", "board.key"},
        "board_users": {"board_users", "board_password_of_operator"},
    }.get(name, {name})
    steps = [
        line.removeprefix("then: ") for line in done.stdout.splitlines() if line.startswith("then: docker")
    ]
    assert len(steps) == 1
    assert set(steps[0].removeprefix("docker compose up -d --force-recreate ").split()) <= set(
        COMPOSE["services"]
    )


@pytest.mark.parametrize("name", ONCE)
def test_what_cannot_be_made_anew_is_refused_with_the_reason(made, name):
    directory, _ = made
    before = contents(directory)
    done = init(directory, "--rotate", name)
    assert done.exit_code == 2
    assert SECRETS[name].once in done.stderr
    assert contents(directory) == before


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda d: (d / "grafana_secret_key").chmod(0o600) or (d / "grafana_secret_key").write_text("\n"),
         "grafana_secret_key: expected a secret, got an empty file"),
        (lambda d: (d / "pki" / "ingest.pem").unlink(), "ingest.pem: expected it beside what is there, got none"),
        (lambda d: (d / "board_key.pem").unlink(), "board_key.pem: expected it beside what is there, got none"),
    ],
)  # fmt: skip
def test_what_is_half_there_is_told_and_not_made_up(tmp_path, harm, said):
    directory = tmp_path / "secrets"
    init(directory)
    harm(directory)
    done = init(directory)
    assert done.exit_code == 2
    assert said in done.stderr


def test_wrong_usage_is_one_line(tmp_path):
    done = init(tmp_path / "secrets", "--rotate", "nothing")
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert "--rotate: expected one of" in done.stderr
    (tmp_path / "file").write_text("")
    done = init(tmp_path / "file")
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert "expected a directory that can be written" in done.stderr
