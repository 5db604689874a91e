"""Settings: the order of sources, and an error for each thing that may be wrong."""

from pathlib import Path

import pytest

from hearthline.cli import UsageError
from hearthline.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"HEARTHLINE_{name.upper()}", raising=False)


def config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "hearthline.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_need_nothing():
    settings = load_settings({})
    assert (settings.host, settings.port, settings.clock, settings.mqtt) == ("127.0.0.1", 8080, "wall", None)


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = config(tmp_path, 'port = 1001\nkafka = "file:9092"\ninflux_org = "file"\n')
    monkeypatch.setenv("HEARTHLINE_PORT", "1002")
    monkeypatch.setenv("HEARTHLINE_KAFKA", "environment:9092")
    settings = load_settings({"port": 1003, "kafka": None}, path)
    assert settings.port == 1003
    assert settings.kafka == "environment:9092"
    assert settings.influx_org == "file"
    assert settings.influx_bucket == "hearthline"


def test_one_load_leaves_nothing_to_the_next(tmp_path: Path):
    assert load_settings({}, config(tmp_path, "port = 1001")).port == 1001
    assert load_settings({}).port == 8080


def test_paths_in_the_file_are_relative_to_it(tmp_path: Path):
    settings = load_settings({"site": Path("here")}, config(tmp_path, 'data_dir = "data"\nsite = "/site"\n'))
    assert settings.data_dir == tmp_path / "data"
    assert settings.site == Path("here")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("port = 70000", "port: expected less than or equal to 65535, got 70000 in {path}"),
        ('port = "x"', "port: expected a valid integer, unable to parse string as an integer, got 'x' in {path}"),
        ('clock = "sun"', "clock: expected 'wall' or 'data', got 'sun' in {path}"),
        ('mqtt = "http://h:1"', "mqtt: expected mqtt://host:port with a scheme of mqtt, mqtts, got 'http://h:1' in {path}"),
        ('mqtt = "mqtt://h:99999"', "mqtt: expected mqtt://host:port: Port out of range 0-65535, got 'mqtt://h:99999' in {path}"),
        ('kafka = "h"', "kafka: expected host:port, or several with commas between, got 'h' in {path}"),
        ('kafka = "a:1,b:0"', "kafka: expected host:port, or several with commas between, got 'a:1,b:0' in {path}"),
        ('records = "sqlite:///x"', "records: expected postgresql://host:port with a scheme of postgresql, got 'sqlite:///x' in {path}"),
        ('records = "postgresql://u:p@h/d"', "records: expected postgresql://host:port without a password, which belongs in the environment or a file, got a value that is not shown in {path}"),
        ('influx_url = "h:8086"', "influx_url: expected http://host:port with a scheme of http, https, got 'h:8086' in {path}"),
        ('host = "0.0.0.0"', "host: expected a loopback address such as 127.0.0.1; anything else needs TLS and logins, got '0.0.0.0' in {path}"),
        ('host = "board.example"', "host: expected a loopback address such as 127.0.0.1; anything else needs TLS and logins, got 'board.example' in {path}"),
        ("prot = 1", "prot: expected a known setting (perhaps port), got 1 in {path}"),
        ("zzz = 1", "zzz: expected a known setting, got 1 in {path}"),
        ("port = 1\nhost = nope", "{path}: expected TOML, got: Invalid value (at line 2, column 8)"),
        ('port = 0\nlog_level = "loud"\nclock = "sun"', "clock: expected 'wall' or 'data', got 'sun' in {path}; log_level: expected 'debug', 'info', 'warning' or 'error', got 'loud' in {path}"),
    ],
)  # fmt: skip
def test_a_wrong_file_says_what_where_and_why(tmp_path: Path, text: str, said: str):
    path = config(tmp_path, text)
    with pytest.raises(UsageError) as error:
        load_settings({}, path)
    assert str(error.value) == said.format(path=path)


def test_a_wrong_flag_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match=r"^clock: expected 'wall' or 'data', got 'sun' in --clock$"):
        load_settings({"clock": "sun"}, config(tmp_path, 'clock = "data"'))


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEARTHLINE_PORT", "many")
    with pytest.raises(UsageError, match=r"got 'many' in HEARTHLINE_PORT$"):
        load_settings({})


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(
        UsageError, match=r"--config: expected a readable TOML file, got .*none.toml: No such file"
    ):
        load_settings({}, tmp_path / "none.toml")


CANARY = "canary-7f3a"


def test_secrets_come_from_the_environment_and_are_not_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEARTHLINE_INFLUX_TOKEN", CANARY)
    settings = load_settings({})
    assert settings.influx_token is not None
    assert settings.influx_token.get_secret_value() == CANARY
    assert CANARY not in repr(settings) + str(settings) + settings.model_dump_json()


def test_secrets_come_from_files_of_their_own(tmp_path: Path):
    (tmp_path / "token").write_text(CANARY + "\n")
    settings = load_settings({}, config(tmp_path, 'influx_token_file = "token"'))
    assert settings.influx_token is not None
    assert settings.influx_token.get_secret_value() == CANARY
    assert CANARY not in repr(settings)


def test_a_missing_or_empty_secret_file_is_named(tmp_path: Path):
    path = config(tmp_path, 'mqtt_password_file = "token"')
    with pytest.raises(UsageError, match=r"mqtt_password_file: expected a readable text file, got .*token"):
        load_settings({}, path)
    (tmp_path / "token").write_text("\n")
    with pytest.raises(
        UsageError, match=r"mqtt_password_file: expected a secret in .*token, got an empty file"
    ):
        load_settings({}, path)


@pytest.mark.parametrize("name", ["influx_token", "mqtt_password"])
def test_a_secret_in_the_file_or_on_the_command_line_is_refused_unseen(tmp_path: Path, name: str):
    path = config(tmp_path, f'{name} = "{CANARY}"')
    for flags, file, where in (({}, path, str(path)), ({name: CANARY}, None, "--" + name.replace("_", "-"))):
        with pytest.raises(UsageError) as error:
            load_settings(flags, file)
        assert str(error.value).endswith(f"got it in {where}")
        assert f"HEARTHLINE_{name.upper()}" in str(error.value)
        assert CANARY not in str(error.value)


def test_a_password_in_a_url_is_refused_unseen():
    with pytest.raises(UsageError) as error:
        load_settings({"mqtt": f"mqtt://user:{CANARY}@broker:1883"})
    assert "without a password" in str(error.value)
    assert CANARY not in str(error.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_is_open(host: str):
    assert load_settings({"host": host}).host == host
