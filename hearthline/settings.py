"""Settings of the server's commands: flags, then environment, then a TOML file, then defaults."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from hearthline.cli import UsageError

if TYPE_CHECKING:
    from ingest.endpoint import Endpoint

__all__ = ["ENV_PREFIX", "SECRETS", "Settings", "load_settings"]

ENV_PREFIX: Final = "HEARTHLINE_"
SECRETS: Final = ("influx_token", "kafka_password", "mqtt_password", "records_password")
"""Fields that come from the environment or from a file of their own, and are never printed."""


def _url(schemes: tuple[str, ...], value: str) -> str:
    expected = f"{schemes[0]}://host:port"
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        msg = f"expected {expected}: {error}"
        raise ValueError(msg) from error
    if parts.scheme not in schemes or not parts.hostname or port == 0:
        msg = f"expected {expected} with a scheme of {', '.join(schemes)}"
        raise ValueError(msg)
    if parts.password is not None:
        msg = f"expected {expected} without a password, which belongs in the environment or a file"
        raise ValueError(msg)
    return value


def _mqtt_url(value: str) -> str:
    return _url(("mqtt", "mqtts"), value)


def _http_url(value: str) -> str:
    return _url(("http", "https"), value)


def _records_url(value: str) -> str:
    return _url(("postgresql",), value)


def _bootstrap(value: str) -> str:
    for server in value.split(","):
        host, colon, port = server.strip().rpartition(":")
        if not (host and colon and port.isdecimal() and 0 < int(port) < 65_536):
            msg = "expected host:port, or several with commas between"
            raise ValueError(msg)
    return value


def _is_local(value: str) -> bool:
    try:
        return value == "localhost" or ip_address(value).is_loopback
    except ValueError:
        return False


def _loopback(value: str) -> str:
    # Closed by default: what other machines can reach needs TLS and logins.
    if not _is_local(value):
        msg = "expected a loopback address such as 127.0.0.1; anything else needs TLS and logins"
        raise ValueError(msg)
    return value


class Settings(BaseSettings):
    """What `up`, `ingest` and `worker` need to know.

    Attributes
    ----------
    data_dir : Path
        Journal, results and checkpoints of the embedded mode.
    site : Path or None
        Site directory.
    mqtt : str or None
        URL of the broker; None is the broker inside the process.
    mqtt_user, mqtt_password, mqtt_password_file
        Login at the broker.
    mqtt_ca_file, mqtt_cert_file, mqtt_key_file
        Authority of the broker's certificate, and what to show it (PEM, with ``mqtts://``).
    door_host, door_port
        Where devices reach the broker inside, by TLS, with the certificates in `pki`.
    pki : Path or None
        Directory that ``hearthline pki init`` made; opens the broker inside for devices.
    clock : {"wall", "data"}
        What a stream's now is made of.
    host, port
        Where the board listens; port 0 takes any free one.
    influx_url, influx_org, influx_bucket, influx_token, influx_token_file
        InfluxDB 2 of the distributed mode.
    influx_readings_bucket : str or None
        Where readings go, to be kept for a shorter time than results; None is the same bucket.
    kafka : str
        Bootstrap servers of the distributed mode.
    kafka_user, kafka_password, kafka_password_file
        SASL login at the brokers (SCRAM-SHA-512); none when there is no user.
    kafka_ca_file : Path or None
        Authority of the brokers' certificates; turns TLS on.
    records, records_password, records_password_file
        PostgreSQL of the distributed mode, ``postgresql://user@host:port/database``, for alarms and what was
        said of them; None is a file in `data_dir`. What libpq knows may follow, as ``?sslmode=verify-full``.
    checkpoint_s : float
        Between two checkpoints of a stream. [s]
    most_behind : int
        Records of the journal that may wait for the streams before ingest holds back, embedded.
    metrics_host, metrics_port
        Where `ingest` and `worker` answer /health, /ready and /metrics; without a port nowhere.
    log_level : str
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    data_dir: Path = Path("hearthline-data")
    site: Path | None = None
    mqtt: Annotated[str, AfterValidator(_mqtt_url)] | None = None
    mqtt_user: str | None = None
    mqtt_password: SecretStr | None = None
    mqtt_password_file: Path | None = None
    mqtt_ca_file: Path | None = None
    mqtt_cert_file: Path | None = None
    mqtt_key_file: Path | None = None
    door_host: str = "127.0.0.1"
    door_port: Annotated[int, Field(ge=0, le=65_535)] = 8883
    pki: Path | None = None
    clock: Literal["wall", "data"] = "wall"
    host: Annotated[str, AfterValidator(_loopback)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    influx_url: Annotated[str, AfterValidator(_http_url)] | None = None
    influx_org: str = "hearthline"
    influx_bucket: str = "hearthline"
    influx_readings_bucket: str | None = None
    influx_token: SecretStr | None = None
    influx_token_file: Path | None = None
    kafka: Annotated[str, AfterValidator(_bootstrap)] = "127.0.0.1:9092"
    kafka_user: str | None = None
    kafka_password: SecretStr | None = None
    kafka_password_file: Path | None = None
    kafka_ca_file: Path | None = None
    records: Annotated[str, AfterValidator(_records_url)] | None = None
    records_password: SecretStr | None = None
    records_password_file: Path | None = None
    checkpoint_s: Annotated[float, Field(ge=0.1, le=3600, allow_inf_nan=False)] = 30.0
    most_behind: Annotated[int, Field(ge=1_000, le=100_000_000)] = 100_000
    metrics_host: Annotated[str, AfterValidator(_loopback)] = "127.0.0.1"
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def endpoint(self) -> Endpoint:
        """The broker, with what to show it; UsageError for files that cannot be used or belong together."""
        from ingest.endpoint import Endpoint

        if self.mqtt is None:
            raise UsageError("mqtt: expected a broker in --mqtt or HEARTHLINE_MQTT, got none")
        files = (self.mqtt_cert_file, self.mqtt_key_file)
        if (files[0] is None) != (files[1] is None):
            raise UsageError("mqtt_cert_file: expected it and mqtt_key_file together, got one of them")
        password = self.mqtt_password.get_secret_value() if self.mqtt_password else None
        pair = (files[0], files[1]) if files[0] and files[1] else None
        endpoint = Endpoint.parse(self.mqtt, self.mqtt_user, password, self.mqtt_ca_file, pair)
        if not _is_local(endpoint.host) and not (endpoint.tls and (pair or endpoint.username)):
            raise UsageError(
                f"mqtt: expected mqtts:// and a certificate or a user for a broker that is not on loopback, "
                f"got {self.mqtt}"
            )
        try:
            if endpoint.tls:
                endpoint.tls_context()
        except ValueError as error:
            raise UsageError(error) from error
        return endpoint

    def influx_login(self) -> tuple[str, str]:
        """URL and token of InfluxDB; UsageError when they name none, or no token."""
        if self.influx_url is None:
            raise UsageError("influx: expected a server in --influx or HEARTHLINE_INFLUX_URL, got none")
        if self.influx_token is None:
            raise UsageError(
                "influx_token: expected a token in HEARTHLINE_INFLUX_TOKEN or in the file that"
                " HEARTHLINE_INFLUX_TOKEN_FILE names, got none"
            )
        return self.influx_url, self.influx_token.get_secret_value()

    def kafka_login(self) -> dict[str, str]:
        """How a librdkafka client proves itself to the brokers; empty when it need not."""
        login: dict[str, str] = {}
        tls = self.kafka_ca_file is not None
        if self.kafka_user:
            login = {
                "sasl.username": self.kafka_user,
                "sasl.password": self.kafka_password.get_secret_value() if self.kafka_password else "",
                "sasl.mechanism": "SCRAM-SHA-512",
                "security.protocol": "sasl_ssl" if tls else "sasl_plaintext",
            }
        elif tls:
            login = {"security.protocol": "ssl"}
        if tls:
            login["ssl.ca.location"] = str(self.kafka_ca_file)
        return login

    file_values: ClassVar[dict[str, Any]] = {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  a .env file is one place too many
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  secrets name their files
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags before environment before file."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, cls.file_values)


def load_settings(flags: Mapping[str, Any], config: Path | None = None) -> Settings:
    """Put the settings together; a wrong one is a UsageError that names field, expectation, value and place.

    Parameters
    ----------
    flags : mapping of str to Any
        What the command line gave, by field name; None is a flag that was not given.
    config : Path or None
        TOML file with the same names; paths in it are relative to it.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    for name in SECRETS:
        if name in given:
            raise UsageError(_misplaced(name, _flag(name)))
    values = {} if config is None else _read_toml(config)
    bound = type("Settings", (Settings,), {"file_values": values, "__module__": __name__})
    try:
        settings: Settings = bound(**given)
    except ValidationError as error:
        raise UsageError(
            "; ".join(_explain(dict(e), given, values, config) for e in error.errors())
        ) from error
    return _with_secrets(settings)


def _read_toml(config: Path) -> dict[str, Any]:
    try:
        with config.open("rb") as file:
            values = tomllib.load(file)
    except OSError as error:
        msg = f"--config: expected a readable TOML file, got {config}: {error.strerror}"
        raise UsageError(msg) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{config}: expected TOML, got: {error}"
        raise UsageError(msg) from error
    for name in SECRETS:
        if name in values:
            raise UsageError(_misplaced(name, str(config)))
    for name, field in Settings.model_fields.items():
        if isinstance(values.get(name), str) and Path in (field.annotation, *_args(field.annotation)):
            values[name] = str(config.parent / values[name])
    return values


def _args(annotation: Any) -> tuple[Any, ...]:
    return getattr(annotation, "__args__", ())


def _with_secrets(settings: Settings) -> Settings:
    """Read each secret whose file is named and whose value is not given."""
    found: dict[str, SecretStr] = {}
    for name in SECRETS:
        path: Path | None = getattr(settings, f"{name}_file")
        if path is None or getattr(settings, name) is not None:
            continue
        try:
            text = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            msg = f"{name}_file: expected a readable text file, got {path}: {error}"
            raise UsageError(msg) from error
        if not text:
            msg = f"{name}_file: expected a secret in {path}, got an empty file"
            raise UsageError(msg)
        found[name] = SecretStr(text)
    return settings.model_copy(update=found)


def _misplaced(name: str, where: str) -> str:
    return (
        f"{name}: expected it in {ENV_PREFIX}{name.upper()} or in the file that {name}_file names, "
        f"got it in {where}"
    )


def _flag(name: str) -> str:
    return "--influx" if name == "influx_url" else "--" + name.replace("_", "-")


def _explain(
    error: dict[str, Any], flags: Mapping[str, Any], values: Mapping[str, Any], config: Path | None
) -> str:
    """One fault: field, what was expected, what came, where it came from."""
    name = str(error["loc"][0])
    expected = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    if error["type"] == "extra_forbidden":
        near = get_close_matches(name, Settings.model_fields, n=1)
        expected = f"a known setting{f' (perhaps {near[0]})' if near else ''}"
    if not expected.startswith("expected"):
        expected = f"expected {expected}"
    variable = ENV_PREFIX + name.upper()
    if name in flags:
        got, where = flags[name], _flag(name)
    elif os.environ.get(variable):
        got, where = os.environ[variable], variable
    else:
        got, where = values.get(name), str(config)
    shown = "a value that is not shown" if name in SECRETS or _has_password(got) else repr(got)
    return f"{name}: {expected}, got {shown} in {where}"


def _has_password(value: Any) -> bool:
    return isinstance(value, str) and "://" in value and "@" in value
