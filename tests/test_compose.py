"""The compose file, without a container engine: its schema, and the rules that keep doors closed."""

from __future__ import annotations

import copy
import itertools
import json
import re
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from hearthline.cli import build

ROOT = Path(__file__).parents[1]
_OURS = {"ingest", "worker-1", "worker-2", "board", "alerts", "influx-init"}
_ONE_SHOT = {"kafka-init", "influx-init", "postgres-init"}
_INSIDE = {
    "kafka",
    "kafka-init",
    "influxdb",
    "influx-init",
    "postgres",
    "postgres-init",
    "worker-1",
    "worker-2",
}
# PostgreSQL's own versions have two numbers, all others three.
_LONG_RUNNING_IMAGES = re.compile(
    r"^([a-z0-9./-]+:\d+\.\d+\.\d+|postgres:\d+\.\d+-[a-z]+)(@sha256:[0-9a-f]{64})?$"
)
_SECRETIVE = re.compile(r"PASSWORD|TOKEN|SECRET|_KEY", re.IGNORECASE)


_OF_ONE = [
    "influx_worker_token", "influx_alerts_token", "influx_board_token", "influx_grafana_token", "influx_admin_token",
    "kafka_admin_password", "postgres_admin_password",
]  # fmt: skip
"""Each service has its own; who makes things ready beside a server counts as that server."""


def _compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def _networks(compose: dict[str, Any], name: str) -> set[str]:
    service = compose["services"][name]
    mode = service.get("network_mode", "")
    if mode.startswith("service:"):
        return _networks(compose, mode.removeprefix("service:"))
    return set(service.get("networks", ()))


def _hardening(compose: dict[str, Any]) -> list[str]:
    found = []
    for name, service in compose["services"].items():
        if service.get("read_only") is not True:
            found.append(f"{name}: read_only")
        if service.get("cap_drop") != ["ALL"] or service.get("cap_add"):
            found.append(f"{name}: cap_drop")
        if service.get("security_opt") != ["no-new-privileges:true"]:
            found.append(f"{name}: no-new-privileges")
        if service.get("privileged") or service.get("devices") or service.get("pid") or service.get("ipc"):
            found.append(f"{name}: privileged")
        if not re.fullmatch(r"[1-9]\d*(:\d+)?", str(service.get("user", ""))):
            found.append(f"{name}: user")
        if service.get("network_mode", "service:") == "host":
            found.append(f"{name}: host network")
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if "docker.sock" in volume or (
                source.startswith(("/", "./", "${")) and not volume.endswith(":ro")
            ):
                found.append(f"{name}: volume {volume}")
    return found


def _images(compose: dict[str, Any]) -> list[str]:
    return [
        f"{name}: image {service['image']}"
        for name, service in compose["services"].items()
        if name not in _OURS and not _LONG_RUNNING_IMAGES.match(service["image"])
    ]


def _zones(compose: dict[str, Any]) -> list[str]:
    found = []
    for name in compose["services"]:
        networks = _networks(compose, name)
        if not networks:
            found.append(f"{name}: default network")
        if {"edge", "web"} <= networks:
            found.append(f"{name}: on edge and web")
    if not (compose["networks"]["data"] or {}).get("internal"):
        found.append("data: not internal")
    for name in sorted(_INSIDE):
        if _networks(compose, name) != {"data"}:
            found.append(f"{name}: beyond data")
        if compose["services"][name].get("ports"):
            found.append(f"{name}: published")
    return found


def _ports(compose: dict[str, Any]) -> list[str]:
    """Published where the operator says, or on loopback; never on every address."""
    return [
        f"{name}: port {port}"
        for name, service in compose["services"].items()
        for port in service.get("ports", ())
        if not re.match(r"^(127\.0\.0\.1|\$\{[A-Z_]+:\?[^}]+\}):\d+:\d+$", str(port))
    ]


def _secrets(compose: dict[str, Any]) -> list[str]:
    found = []
    for name, service in compose["services"].items():
        for key, value in service.get("environment", {}).items():
            if (
                _SECRETIVE.search(key)
                and not str(value).startswith("/run/secrets/")
                and value not in ("true", "false")
            ):
                found.append(f"{name}: {key} in the environment")
            if (
                str(value).startswith("/run/secrets/")
                and value.removeprefix("/run/secrets/") not in service["secrets"]
            ):
                found.append(f"{name}: {key} names a secret that it is not given")
        found += [
            f"{name}: unknown secret {s}" for s in service.get("secrets", ()) if s not in compose["secrets"]
        ]
        if re.search(r"password|token", json.dumps(service.get("command", "")), re.IGNORECASE):
            found.append(f"{name}: secret on a command line")
    used = {secret for service in compose["services"].values() for secret in service.get("secrets", ())}
    found += [f"{secret}: for nobody" for secret in compose["secrets"] if secret not in used]
    found += [
        f"{secret}: not a file under ./secrets"
        for secret, source in compose["secrets"].items()
        if set(source) != {"file"} or not source["file"].startswith("./secrets/")
    ]
    for secret in _OF_ONE:
        owners = {
            re.sub("-init$", "db" if name == "influx-init" else "", name.rstrip("-12"))
            for name, s in compose["services"].items()
            if secret in s.get("secrets", ())
        }
        if len(owners) != 1:
            found.append(f"{secret}: shared by {sorted(owners)}")
    return found


def _health(compose: dict[str, Any]) -> list[str]:
    return [
        f"{name}: no health check"
        for name, service in compose["services"].items()
        if name not in _ONE_SHOT and not service.get("healthcheck", {}).get("test")
    ]


_RULES = (_hardening, _images, _zones, _ports, _secrets, _health)


@pytest.mark.parametrize("rule", _RULES)
def test_the_rules_hold(rule):
    assert rule(_compose()) == []


_BREACHES = [
    ("kafka: read_only", lambda c: c["services"]["kafka"].update(read_only=False)),
    ("grafana: cap_drop", lambda c: c["services"]["grafana"].update(cap_add=["NET_ADMIN"])),
    ("ingest: no-new-privileges", lambda c: c["services"]["ingest"].pop("security_opt")),
    ("board: user", lambda c: c["services"]["board"].update(user="0:0")),
    ("board: user", lambda c: c["services"]["board"].update(user="root")),
    ("influxdb: user", lambda c: c["services"]["influxdb"].pop("user")),
    ("kafka: privileged", lambda c: c["services"]["kafka"].update(privileged=True)),
    (
        "grafana: volume /var/run/docker.sock:/var/run/docker.sock",
        lambda c: c["services"]["grafana"]["volumes"].append("/var/run/docker.sock:/var/run/docker.sock"),
    ),
    (
        "kafka: image apache/kafka:latest",
        lambda c: c["services"]["kafka"].update(image="apache/kafka:latest"),
    ),
    ("influxdb: image influxdb:2.7", lambda c: c["services"]["influxdb"].update(image="influxdb:2.7")),
    ("ingest: on edge and web", lambda c: c["services"]["ingest"]["networks"].append("web")),
    ("board-door: on edge and web", lambda c: c["services"]["board"]["networks"].append("edge")),
    ("mosquitto: default network", lambda c: c["services"]["mosquitto"].pop("networks")),
    ("data: not internal", lambda c: c["networks"].update(data={})),
    ("worker-1: beyond data", lambda c: c["services"]["worker-1"]["networks"].append("web")),
    ("kafka: published", lambda c: c["services"]["kafka"].update(ports=["127.0.0.1:9092:9092"])),
    ("grafana: port 3000:3000", lambda c: c["services"]["grafana"].update(ports=["3000:3000"])),
    (
        "grafana: GF_SECURITY_ADMIN_PASSWORD in the environment",
        lambda c: c["services"]["grafana"]["environment"].update(GF_SECURITY_ADMIN_PASSWORD="admin"),
    ),
    (
        "grafana: GF_SECURITY_ADMIN_PASSWORD__FILE names a secret that it is not given",
        lambda c: c["services"]["grafana"]["secrets"].remove("grafana_admin_password"),
    ),
    ("kafka_cluster_id: for nobody", lambda c: c["services"]["kafka"]["secrets"].remove("kafka_cluster_id")),
    (
        "influx_worker_token: shared by ['board', 'worker']",
        lambda c: c["services"]["board"]["secrets"].append("influx_worker_token"),
    ),
    (
        "postgres: image postgres:15-bookworm",
        lambda c: c["services"]["postgres"].update(image="postgres:15-bookworm"),
    ),
    ("postgres: published", lambda c: c["services"]["postgres"].update(ports=["127.0.0.1:5432:5432"])),
    (
        "postgres: POSTGRES_PASSWORD in the environment",
        lambda c: c["services"]["postgres"]["environment"].update(POSTGRES_PASSWORD="postgres"),
    ),
    (
        "postgres_admin_password: shared by ['board', 'postgres']",
        lambda c: c["services"]["board"]["secrets"].append("postgres_admin_password"),
    ),
    ("board: no health check", lambda c: c["services"]["board"].pop("healthcheck")),
]


@pytest.mark.parametrize(("expected", "breach"), _BREACHES, ids=[name for name, _ in _BREACHES])
def test_each_rule_can_fail(expected, breach):
    compose = copy.deepcopy(_compose())
    breach(compose)
    assert expected in [fault for rule in _RULES for fault in rule(compose)]


def _schema() -> dict[str, Any]:
    package = find_spec("check_jsonschema")  # found, not imported: only the schema that it ships is wanted
    assert package
    assert package.origin
    return json.loads((Path(package.origin).parent / "builtin_schemas/vendor/compose-spec.json").read_text())


def test_the_file_is_valid_by_the_compose_specification():
    schema = _schema()
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(_compose())] == []
    broken = _compose()
    broken["services"]["kafka"]["cap_drp"] = ["ALL"]
    assert list(validator.iter_errors(broken)), "the schema sees a misspelt key"


def test_every_variable_has_a_default_or_stops_the_start():
    text = (ROOT / "docker-compose.yml").read_text()
    variables = re.findall(r"\$\{([A-Z_]+)([^}]*)\}", text)
    assert len(variables) >= 6
    assert [name for name, rest in variables if not rest.startswith((":?", ":-"))] == []


def test_files_that_are_mounted_exist():
    for name, service in _compose()["services"].items():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("./") and not source.startswith("./secrets/"):
                assert (ROOT / source).exists(), f"{name}: {source}"


def test_the_brokers_files_name_what_compose_mounts():
    """Made by the same code as those of a broker elsewhere; here only the places are others."""
    from hearthline.mosquitto_files import IN_COMPOSE, files
    from tests.support.payloads import site

    service = _compose()["services"]["mosquitto"]
    mounted = {volume.split(":")[1] for volume in service["volumes"]}
    assert mounted == {IN_COMPOSE.out, IN_COMPOSE.data}
    made = files(site(), IN_COMPOSE)
    words = made["mosquitto.conf"].split()
    assert {w.removeprefix("/run/secrets/") for w in words if w.startswith("/run/")} == set(
        service["secrets"]
    )
    named = {w.removeprefix("/mosquitto/config/") for w in words if w.startswith("/mosquitto/config/")}
    assert named == made.keys() - {"mosquitto.conf"}
    ports = [words[n + 1] for n, word in enumerate(words) if word == "listener"]
    assert f":{ports[0]}:{ports[0]}" in service["ports"][0]
    ingest = _compose()["services"]["ingest"]["environment"]
    assert ingest["HEARTHLINE_MQTT"] == f"mqtts://mosquitto:{ports[1]}"


def test_dependencies_wait_for_health():
    services = _compose()["services"]
    for name, service in services.items():
        for other, terms in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if other in _ONE_SHOT else "service_healthy"
            if name == "board-door":  # the door stands in the board's own network
                expected = "service_started"
            assert terms["condition"] == expected, f"{name} -> {other}"


@pytest.mark.parametrize("name", sorted(_OURS))
def test_commands_and_settings_are_ones_that_the_program_knows(name):
    from hearthline.settings import ENV_PREFIX, Settings

    service = _compose()["services"][name]
    options = service["command"]
    command = list(itertools.takewhile(lambda word: not word.startswith("--"), options))
    shown = CliRunner().invoke(build(), [*command, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    for option in options:
        if option.startswith("--"):
            assert re.search(rf"{option}\b", shown.output), f"{command} {option}"
    for key in service["environment"]:
        if key.startswith(ENV_PREFIX):
            assert key.removeprefix(ENV_PREFIX).lower() in Settings.model_fields, key


def test_the_image_runs_as_nobody_in_particular():
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    stages = [line for line in lines if line.startswith("FROM ")]
    assert len(stages) == 2
    assert all(re.fullmatch(r"FROM python:3\.11\.\d+-slim-[a-z]+( AS build)?", line) for line in stages)
    last = lines[lines.index(stages[1]) :]
    assert "USER 10001:10001" in last
    assert last.index("USER 10001:10001") < next(
        i for i, line in enumerate(last) if line.startswith("ENTRYPOINT")
    )
    assert json.loads(last[-2].removeprefix("ENTRYPOINT ")) == ["hearthline"]
    assert not [line for line in lines if re.search(r"curl|wget|ADD http", line)]


def test_the_image_is_built_from_what_the_wheel_needs_and_nothing_else():
    import tomllib

    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert ignored[0] == "*"
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    assert let_in == {*wheel["packages"], "LICENSE", "README.md", "pyproject.toml", "requirements.lock"}


def test_grafanas_provisioning_names_what_compose_mounts():
    source = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/influxdb.yml").read_text())
    (influx,) = source["datasources"]
    grafana = _compose()["services"]["grafana"]
    token = influx["secureJsonData"]["token"]
    assert token == "$__file{/run/secrets/influx_grafana_token}"
    assert "influx_grafana_token" in grafana["secrets"]
    boards = yaml.safe_load((ROOT / "deploy/grafana/provisioning/dashboards/hearthline.yml").read_text())
    path = boards["providers"][0]["options"]["path"]
    assert f"./dashboards/generated:{path}:ro" in grafana["volumes"]
    influxdb = _compose()["services"]["influxdb"]["environment"]
    assert influx["jsonData"]["organization"] == influxdb["DOCKER_INFLUXDB_INIT_ORG"]
    assert influx["jsonData"]["defaultBucket"] == influxdb["DOCKER_INFLUXDB_INIT_BUCKET"]


def test_grafanas_alert_rules_ask_known_sources_and_tell_silence_and_errors():
    folder = ROOT / "deploy/grafana/provisioning"
    (source,) = yaml.safe_load((folder / "datasources/influxdb.yml").read_text())["datasources"]
    alerting = yaml.safe_load((folder / "alerting/hearthline.yml").read_text())
    (point,), (policy,) = alerting["contactPoints"], alerting["policies"]
    assert policy["receiver"] == point["name"]
    (receiver,) = point["receivers"]
    variable = receiver["settings"]["addresses"].removeprefix("$")
    assert variable in _compose()["services"]["grafana"]["environment"], (
        "an empty address keeps Grafana from starting"
    )
    rules = [rule for group in alerting["groups"] for rule in group["rules"]]
    assert len({rule["uid"] for rule in rules} | {receiver["uid"]}) == len(rules) + 1 >= 4
    for rule in rules:
        assert (rule["noDataState"] in {"Alerting", "OK"}, rule["execErrState"]) == (True, "Alerting")
        steps = {step["refId"]: step for step in rule["data"]}
        assert rule["condition"] in steps
        asked = [s for s in steps.values() if s["datasourceUid"] != "__expr__"]
        assert {s["datasourceUid"] for s in asked} == {source["uid"]}
        for step in steps.values():
            assert step["model"]["refId"] == step["refId"]
            assert step["model"].get("expression", step["refId"]) in steps
    assert any(rule["noDataState"] == "Alerting" for rule in rules), "silence is told"


@pytest.mark.parametrize("script", sorted((ROOT / "deploy").rglob("*.sh")), ids=lambda path: path.name)
def test_scripts_are_sound_and_stop_at_the_first_error(script):
    import subprocess

    text = script.read_text()
    shell = shlex.split(text.splitlines()[0][2:])[-1]
    assert re.search(r"^set -eu", text, re.MULTILINE)
    assert subprocess.run([shell, "-n", str(script)], check=False).returncode == 0
