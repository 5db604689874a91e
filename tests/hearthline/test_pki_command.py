"""`hearthline pki`, as a person types it."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner

from hearthline.cli import UsageError, build
from hearthline.door_health import BrokerHealth
from hearthline.pki import Pki, PkiError
from hearthline.serving import up_config
from hearthline.settings import load_settings
from ingest.broker import EmbeddedBroker
from ingest.door import Door, DoorFiles, Rules
from tests.support.payloads import TEXTS
from tests.support.payloads import site as made_site
from tests.support.waiting import PATIENCE_S, until


def run(*words, code=0):
    done = CliRunner().invoke(build(), [str(word) for word in words])
    if isinstance(done.exception, UsageError):
        return str(done.exception)
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


@pytest.fixture
def pki(tmp_path):
    run("pki", "init", "--dir", tmp_path / "pki", "--name", "broker.example", "--name", "10.0.0.5")
    return tmp_path / "pki"


@pytest.fixture
def site(tmp_path):
    (tmp_path / "site").mkdir()
    for name, text in TEXTS.items():
        (tmp_path / "site" / name).write_text(text)
    return tmp_path / "site"


def load(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_two_authorities_and_a_certificate_for_the_broker(pki):
    devices, servers, server = (load(pki / f"{name}.pem") for name in ("devices-ca", "servers-ca", "server"))
    server.verify_directly_issued_by(servers)
    with pytest.raises(ValueError, match="Issuer"):
        server.verify_directly_issued_by(devices)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["broker.example"]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.5"]
    for key in pki.glob("*.key"):
        assert key.stat().st_mode & 0o077 == 0, f"{key}: others may read it"
    assert "expected no authority there yet" in run("pki", "init", "--dir", pki, "--name", "x")


def test_certificates_are_issued_for_a_site_listed_and_revoked(pki, site):
    run("pki", "issue", "--dir", pki, "--site", site)
    certificate = load(pki / "devices" / "sub-1.pem")
    certificate.verify_directly_issued_by(load(pki / "devices-ca.pem"))
    assert [a.value for a in certificate.subject] == ["sub-1"]
    assert run("pki", "issue", "--dir", pki, "--site", site) == "", "each has one already"
    assert "sub-1: expected none yet, got a good certificate" in run("pki", "issue", "--dir", pki, "sub-1")
    run("pki", "issue", "--dir", pki, "sub-1", "--renew")
    gone = json.loads(run("pki", "revoke", "--dir", pki, "sub-1", "--json"))
    assert len(gone) == 2, "the old one too"
    listed = json.loads(run("pki", "list", "--dir", pki, "--json"))
    states = {(c["device"], c["state"]) for c in listed["certificates"]}
    assert ("sub-1", "revoked") in states
    assert ("sub-2", "good") in states
    crl = x509.load_pem_x509_crl((pki / "devices.crl.pem").read_bytes())
    assert {f"{entry.serial_number:x}" for entry in crl} == {c["serial"] for c in gone}
    assert "sub-1\trevoked" in run("pki", "list", "--dir", pki)
    run("pki", "issue", "--dir", pki, "sub-1")


def test_the_broker_and_ingest_are_renewed_under_their_names(pki):
    before = {name: load(pki / f"{name}.pem") for name in ("server", "ingest")}
    told = run("pki", "renew", "--dir", pki, "--days", "10")
    assert re.findall(r"(\w+)\.pem until ", told) == ["server", "ingest"]
    for name, old in before.items():
        new = load(pki / f"{name}.pem")
        new.verify_directly_issued_by(load(pki / "servers-ca.pem"))
        assert new.subject == old.subject
        assert new.public_key() != old.public_key()
        of = x509.ExtendedKeyUsage
        assert new.extensions.get_extension_for_class(of) == old.extensions.get_extension_for_class(of)
        assert (pki / f"{name}.key").stat().st_mode & 0o077 == 0
    (pki / "server.key").chmod(0o444)  # for a container whose user is not of this machine
    run("pki", "renew", "--dir", pki)
    assert (pki / "server.key").stat().st_mode & 0o777 == 0o444
    of = x509.SubjectAlternativeName
    names = [c.extensions.get_extension_for_class(of) for c in (before["server"], load(pki / "server.pem"))]
    assert names[0] == names[1]
    run("pki", "renew", "--dir", pki, "--name", "other.example")
    renamed = load(pki / "server.pem").extensions.get_extension_for_class(of).value
    assert renamed.get_values_for_type(x509.DNSName) == ["other.example"]
    assert "expected a certificate, got none: hearthline pki init" in run(
        "pki", "renew", "--dir", pki / "none"
    )


def test_what_ends_soon_is_said_with_its_cure(tmp_path, site):
    pki = Pki(tmp_path / "pki", lambda: datetime.now(UTC) - timedelta(days=750))
    pki.init(["localhost"], 825)
    for device in ("sub-1", "sub-2", "meter-1"):
        pki.issue(device, 825)
    told = CliRunner().invoke(build(), ["pki", "list", "--dir", str(pki.directory)]).stderr.splitlines()
    assert [line.partition(" ")[0] for line in told] == ["revocation"], "75 days are enough"
    pki = Pki(tmp_path / "later", lambda: datetime.now(UTC) - timedelta(days=800))
    pki.init(["localhost"], 825)
    for device in ("sub-1", "sub-2", "meter-1"):
        pki.issue(device, 825)
    pki.revoke(["sub-2"])
    assert run("pki", "issue", "--dir", pki.directory, "sub-1", "--renew").startswith("sub-1: ")
    told = CliRunner().invoke(build(), ["pki", "list", "--dir", str(pki.directory)]).stderr
    assert "server.pem ends on " in told
    assert told.count(": hearthline pki renew\n") == 2
    assert "meter-1 ends on " in told
    assert "sub-" not in told, "one that was renewed, and one that was revoked"
    run("pki", "renew", "--dir", pki.directory)
    run("pki", "revoke", "--dir", pki.directory)
    renewed = run("pki", "issue", "--dir", pki.directory, "--site", site, "--renew")
    assert re.findall(r"^(\S+): ", renewed, re.MULTILINE) == ["meter-1"]
    assert CliRunner().invoke(build(), ["pki", "list", "--dir", str(pki.directory)]).stderr == ""


def test_a_server_says_when_nobody_can_come_in_any_more(tmp_path):
    def health(now):
        door = Door(DoorFiles.of(tmp_path), Rules(made_site()), lambda _denied: None, port=0)
        broker = EmbeddedBroker(door=door)
        broker.start()
        try:
            part = BrokerHealth(broker, lambda: round(now.timestamp() * 1000)).part()
        finally:
            broker.stop()
        return part.state, part.reason, part.advice

    made = datetime.now(UTC)
    pki = Pki(tmp_path, lambda: made)
    pki.init(["localhost"], 825)
    assert health(made + timedelta(days=380)) == ("ok", "", "")
    state, reason, advice = health(made + timedelta(days=390))
    assert (state, reason.partition(" on ")[0]) == ("degraded", "devices.crl.pem ends")
    assert "hearthline pki list" in advice
    assert health(made + timedelta(days=401))[1].startswith("devices.crl.pem ended on ")
    later = Pki(tmp_path, lambda: made + timedelta(days=401))
    later.revoke([])
    assert health(made + timedelta(days=402))[0] == "ok"
    assert health(made + timedelta(days=820))[1].startswith("devices.crl.pem ended on ")


def test_nothing_outlives_its_authority(tmp_path):
    made = datetime.now(UTC) - timedelta(days=3600)
    Pki(tmp_path, lambda: made).init(["localhost"], 10)
    run("pki", "renew", "--dir", tmp_path)
    run("pki", "issue", "--dir", tmp_path, "sub-1")
    for name, authority in (("server", "servers"), ("ingest", "servers"), ("devices/sub-1", "devices")):
        ends = [load(tmp_path / f"{f}.pem").not_valid_after_utc for f in (name, f"{authority}-ca")]
        assert ends[0] == ends[1], name
    (listed,) = json.loads(run("pki", "list", "--dir", tmp_path, "--json"))["certificates"]
    assert datetime.fromisoformat(listed["ends"]) == ends[1]
    later = Pki(tmp_path, lambda: made + timedelta(days=3651))
    with pytest.raises(
        PkiError, match=r"servers-ca\.pem: expected an authority that holds, got one that ended"
    ):
        later.renew("ingest", [], 10)


def test_keys_of_authorities_that_were_moved_away_are_to_be_brought_back(pki):
    for name in ("servers-ca.key", "devices-ca.key"):
        (pki / name).rename(pki.parent / name)
    for words in (("renew",), ("issue", "sub-1"), ("revoke",)):
        said = run("pki", *words, "--dir", pki)
        assert "-ca.key: expected an authority, got none: bring it back" in said
        assert "pki init" not in said
    assert "authority" not in run("pki", "list", "--dir", pki)
    (pki / "servers-ca.pem").rename(pki.parent / "servers-ca.pem")
    assert "servers-ca.pem: expected a certificate, got none: bring it back" in run(
        "pki", "list", "--dir", pki
    )


def test_what_cannot_be_read_hides_nothing_else(pki):
    run("pki", "issue", "--dir", pki, "sub-1")
    (pki / "ingest.pem").unlink()
    (pki / "devices.crl.pem").write_text("none")
    done = CliRunner().invoke(build(), ["pki", "list", "--dir", str(pki)])
    assert re.findall(r"^(\S+)(?: until|\tgood)", done.output, re.MULTILINE) == [
        "sub-1", "server.pem", "servers-ca.pem", "devices-ca.pem",
    ]  # fmt: skip
    said = str(done.exception).splitlines()
    assert len(said) == 2
    assert "ingest.pem: expected a certificate, got none: hearthline pki renew --name" in said[0]
    assert "devices.crl.pem: expected a revocation list" in said[1]
    run("pki", "renew", "--dir", pki)
    run("pki", "revoke", "--dir", pki)
    assert "revocation list until" in run("pki", "list", "--dir", pki)


def test_the_stack_has_a_certificate_of_its_board_and_cures_of_its_own(tmp_path):
    pki = Pki(tmp_path / "pki", lambda: datetime.now(UTC) - timedelta(days=800))
    pki.init(["localhost"], 825)
    pki.renew("board", ["board.example"], 825)
    (pki.directory / "board.pem").rename(tmp_path / "board_cert.pem")
    told = CliRunner().invoke(build(), ["pki", "list", "--dir", str(pki.directory)]).stderr
    cures = re.findall(r"^(\S+) ends on \S+: hearthline secrets init --rotate (\w+),", told, re.MULTILINE)
    assert cures == [("server.pem", "server"), ("ingest.pem", "ingest"), ("board_cert.pem", "board_cert")]
    assert "docker compose up -d --force-recreate mosquitto ingest" in run(
        "pki", "renew", "--dir", pki.directory
    )
    assert run("pki", "revoke", "--dir", pki.directory).endswith(
        "then: docker compose up -d --force-recreate mosquitto\n"
    )


def test_what_was_renewed_is_said_though_the_next_cannot_be(pki, monkeypatch):
    real = Pki.renew

    def once(self, file, names, days):
        if file == "ingest":
            raise PkiError("no room")
        real(self, file, names, days)

    monkeypatch.setattr(Pki, "renew", once)
    done = CliRunner().invoke(build(), ["pki", "renew", "--dir", str(pki)])
    assert "server.pem until " in done.output
    assert str(done.exception) == "no room"


def test_a_renewal_that_cannot_be_taken_is_said_and_what_is_shown_counts(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("ingest.guarded_broker._REVOKED_S", 0.05)
    pki = Pki(tmp_path, lambda: datetime.now(UTC) - timedelta(days=815))
    pki.init(["localhost"], 825)
    Pki(tmp_path, lambda: datetime.now(UTC)).revoke([])
    door = Door(DoorFiles.of(tmp_path), Rules(made_site()), lambda _denied: None, port=0)

    def said():
        part = BrokerHealth(broker, lambda: round(datetime.now(UTC).timestamp() * 1000)).part()
        return part.state, part.reason, part.advice

    with EmbeddedBroker(door=door) as broker:
        context = door.files.certificate.read_bytes()
        assert said()[1].startswith("server.pem ends on ")
        key = (tmp_path / "server.key").read_bytes()
        pki.renew("server", ["localhost"], 3000)
        (tmp_path / "server.key").write_bytes(key)
        until(lambda: door.untaken)
        state, reason, advice = said()
        assert (state, "hearthline pki list" in advice) == ("degraded", True)
        assert "new certificates of its door are not taken: " in reason
        assert "server.key: expected the key of server.pem, got another: hearthline pki renew" in reason
        assert door.ends is not None
        assert door.ends != door.files.first_to_end(), (
            "of the one that is shown, not of the one that lies there"
        )
        assert ssl.get_server_certificate(("127.0.0.1", door.port)).encode() == context
        Pki(tmp_path, lambda: datetime.now(UTC)).renew("server", ["localhost"], 825)
        until(lambda: not door.untaken)
        assert said() == ("ok", "", "")
    told = [r.message for r in caplog.records if "certificates: " in r.message]
    assert len([m for m in told if "expected the key" in m]) == 1


@pytest.mark.parametrize("name", ["a+b", "a#b", "a/b", "+", "", "x" * 65, "a b"])
def test_no_certificate_names_what_is_no_device(pki, name):
    assert "expected 1 to 64 of A-Z a-z 0-9" in run("pki", "issue", "--dir", pki, name)
    assert not list((pki / "devices").iterdir())


def test_a_device_may_keep_its_key(pki, tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody-else")])
    )
    path = tmp_path / "a.csr"
    path.write_bytes(request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    run("pki", "issue", "--dir", pki, "sub-1", "--csr", path)
    certificate = load(pki / "devices" / "sub-1.pem")
    assert certificate.public_key() == key.public_key()
    assert [a.value for a in certificate.subject] == ["sub-1"], "the authority says who it is"
    assert not (pki / "devices" / "sub-1.key").exists()
    path.write_text("none")
    assert "--csr: expected a PEM signing request" in run(
        "pki", "issue", "--dir", pki, "sub-2", "--csr", path
    )
    assert "--csr: expected one device, got 2" in run("pki", "issue", "--dir", pki, "a", "b", "--csr", path)


def test_what_is_expired_is_said(tmp_path):
    past = datetime.now(UTC) - timedelta(days=30)
    pki = Pki(tmp_path, lambda: past)
    pki.init(["localhost"], 10)
    pki.issue("sub-1", 10)
    assert (
        json.loads(run("pki", "list", "--dir", tmp_path, "--json"))["certificates"][0]["state"] == "expired"
    )


@pytest.mark.parametrize("name", ["", "bücher.example", "a" * 65])
def test_a_name_that_cannot_be_leaves_nothing_behind(tmp_path, name):
    assert "--name: expected an address, or a name" in run("pki", "init", "--dir", tmp_path, "--name", name)
    run("pki", "init", "--dir", tmp_path, "--name", "localhost")


def test_of_certificates_issued_at_once_none_is_forgotten(pki):
    code = (
        "import sys; from pathlib import Path; from hearthline.pki import Pki, utc_now\n"
        "pki = Pki(Path(sys.argv[1]), utc_now); sys.stdin.read()\n"
        "for i in range(5): pki.issue(f'{sys.argv[2]}-{i}', 10)"
    )
    issuing = [
        subprocess.Popen([sys.executable, "-c", code, str(pki), name], stdin=subprocess.PIPE)
        for name in "abc"
    ]
    for process in issuing:
        process.stdin.close()
    assert [process.wait(PATIENCE_S) for process in issuing] == [0, 0, 0]
    listed = {c["serial"] for c in json.loads(run("pki", "list", "--dir", pki, "--json"))["certificates"]}
    made = {f"{load(path).serial_number:x}" for path in (pki / "devices").glob("*.pem")}
    assert made == listed
    assert len(made) == 15


def test_a_certificate_is_on_the_list_before_it_is_there(pki, monkeypatch):
    def crash(*_):
        raise OSError("no space left")

    monkeypatch.setattr(Pki, "_write_pair", crash)
    assert "no space left" in run("pki", "issue", "--dir", pki, "sub-1")
    monkeypatch.setattr(Pki, "_write_crl", crash)
    assert "no space left" in run("pki", "revoke", "--dir", pki, "sub-1")
    monkeypatch.undo()
    run("pki", "revoke", "--dir", pki)
    crl = x509.load_pem_x509_crl((pki / "devices.crl.pem").read_bytes())
    assert len(list(crl)) == 1, "what was noted is revoked by the next list"


@pytest.mark.parametrize("fault", ["encrypted", "another kind", "another's", "list", "crl", "entry"])
def test_damaged_files_are_named(pki, fault):
    key, words = ec.generate_private_key(ec.SECP256R1()), ("issue", "sub-1")
    encoding, how = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    plain = serialization.NoEncryption()
    if fault == "encrypted":
        secret = serialization.BestAvailableEncryption(b"x")
        (pki / "devices-ca.key").write_bytes(key.private_bytes(encoding, how, secret))
    elif fault == "another kind":
        other = ed25519.Ed25519PrivateKey.generate()
        (pki / "devices-ca.key").write_bytes(other.private_bytes(encoding, how, plain))
    elif fault == "another's":
        (pki / "devices-ca.key").write_bytes(key.private_bytes(encoding, how, plain))
    else:
        words = ("list",)
        entry = '[{"device": "a", "serial": "zz", "begins": "2026-01-01", "ends": "2027-01-01"}]'
        name = "devices.crl.pem" if fault == "crl" else "issued.json"
        (pki / name).write_text({"list": "5", "crl": "x", "entry": entry}[fault])
    said = run("pki", *words, "--dir", pki)
    assert re.search(r"(devices-ca\.key|issued\.json|devices\.crl\.pem): expected ", said)


def test_without_an_authority_each_command_says_so(tmp_path):
    for words in (("issue", "a"), ("revoke", "a"), ("list",)):
        assert "hearthline pki init makes it" in run("pki", *words, "--dir", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "hearthline", "pki", "list", "--dir", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_mosquittos_files_name_each_device_and_its_place(pki, site, tmp_path):
    run("pki", "mosquitto", "--dir", pki, "--site", site, "--out", tmp_path / "mosquitto")
    rules = (tmp_path / "mosquitto" / "devices.acl").read_text()
    assert "user sub-3\ntopic write hearthline/v1/r1/u2/sub-3/telemetry\n" in rules
    assert "topic read hearthline/v1/r1/u2/sub-3/command\n" in rules
    assert "+" not in rules
    assert "%" not in rules
    conf = (tmp_path / "mosquitto" / "mosquitto.conf").read_text()
    assert conf.count("require_certificate true") == conf.count("\nlistener ") == 2
    assert "allow_anonymous true" not in conf


def test_the_broker_inside_opens_to_others_only_with_certificates(site, tmp_path):
    flags = {"site": site, "door_host": "0.0.0.0"}
    with pytest.raises(UsageError, match=r"door_host: expected --pki .* got none"):
        up_config(load_settings(flags), 0)
    config = up_config(load_settings({**flags, "pki": tmp_path}), 0)
    assert (config.door_host, config.pki) == ("0.0.0.0", tmp_path)
    command = [
        sys.executable,
        "-m",
        "hearthline",
        "up",
        "--site",
        site,
        "--data-dir",
        tmp_path / "d",
        "--port",
        "0",
    ]
    done = subprocess.run(
        [*map(str, command), "--mqtt-port", "0", "--pki", str(tmp_path / "none")],
        capture_output=True, text=True, check=False, env=dict(os.environ), timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 2
    assert "pki: expected PEM files in" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"mqtt": "mqtt://10.0.0.5"}, "mqtt: expected mqtts:// and a certificate or a user"),
        ({"mqtt": "mqtts://10.0.0.5"}, "mqtt: expected mqtts:// and a certificate or a user"),
        ({"mqtt": "mqtts://10.0.0.5", "mqtt_cert_file": "x"}, "mqtt_cert_file: expected it and mqtt_key_file together"),
        ({"mqtt": "mqtts://10.0.0.5", "mqtt_cert_file": "/no/c", "mqtt_key_file": "/no/k"}, "mqtt: expected PEM files of a certificate and its key in /no/c, /no/k"),
    ],
)  # fmt: skip
def test_a_broker_elsewhere_needs_tls_and_credentials(flags, expected):
    with pytest.raises(UsageError, match="^" + expected.replace("(", r"\(")):
        load_settings(flags).endpoint()
