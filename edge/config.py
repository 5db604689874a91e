"""The collector's configuration file: what it reads, and where it sends it."""

from __future__ import annotations

import os
import ssl
import tomllib
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from models.wire import Id

__all__ = [
    "ConfigError",
    "DeviceConfig",
    "EdgeConfig",
    "MqttConfig",
    "OutboxConfig",
    "PlaybackConfig",
    "ReportConfig",
    "explain",
    "is_loopback",
    "load",
]

PASSWORD_VARIABLE: Final = "HEARTHLINE_MQTT_PASSWORD"  # noqa: S105  the name of the variable, not a secret
_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
EVENTS: Final = ("weighbridge", "lab", "office")
"""Classes whose samples are events, and no values that go on until the next."""
DEVICE_PLACE: Final = "{device}"
"""Stands in `cert_file` and `key_file` for the name of each device: a certificate is one device's."""


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class ConfigError(ValueError):
    """The configuration is wrong: a line a fault, with file, table, field, what was expected and came."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class MqttConfig(_Table):
    """How the broker is reached. The password comes from the environment or a file, never from here."""

    url: str = "mqtt://127.0.0.1:1883"
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    keepalive_s: Annotated[int, Field(ge=5, le=3600)] = 30

    @field_validator("url")
    @classmethod
    def _is_broker(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError("expected mqtt://HOST[:PORT] or mqtts://HOST[:PORT]")
        if parts.password is not None:
            raise ValueError(f"expected no password in the URL: set {PASSWORD_VARIABLE} or password_file")
        _ = parts.port  # a port that is none raises here
        return url

    @model_validator(mode="after")
    def _pairs(self) -> MqttConfig:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("expected cert_file and key_file together, got one of them")
        if not self.tls and (self.ca_file or self.cert_file):
            raise ValueError(f"expected mqtts:// with ca_file or cert_file, got {self.url}")
        if not is_loopback(self.host):
            # Closed by default: off this machine nobody reads along, and nobody speaks for a device.
            if not self.tls:
                raise ValueError(
                    f"url: expected mqtts:// for a broker that is not on loopback, got {self.url}"
                )
            if self.cert_file is None and self.user is None:
                raise ValueError(
                    f"expected cert_file and key_file (or a username) for a broker that is not on loopback, "
                    f"got neither with {self.url}"
                )
        return self

    @property
    def host(self) -> str:
        """Name or address of the broker."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """TCP port of the broker."""
        parts = urlsplit(self.url)
        return parts.port or _PORTS[parts.scheme]

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return urlsplit(self.url).scheme == "mqtts"

    @property
    def user(self) -> str | None:
        """Name to log in with."""
        return self.username or urlsplit(self.url).username

    def password(self) -> str | None:
        """Read the password from the environment or the file; ConfigError if the file cannot be read."""
        if (given := os.environ.get(PASSWORD_VARIABLE)) is not None:
            return given
        if self.password_file is None:
            return None
        try:
            return self.password_file.read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            raise ConfigError(f"[mqtt]: password_file: expected a readable file, got: {error}") from error

    def tls_context(self, device: str = "") -> ssl.SSLContext | None:
        """Certificates to trust, and to show for `device`; None without TLS. ConfigError if not usable."""
        if not self.tls:
            return None
        pair = [str(f).replace(DEVICE_PLACE, device) for f in (self.cert_file, self.key_file) if f]
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if pair:
                context.load_cert_chain(*pair)
        except (OSError, ssl.SSLError) as error:
            named = ", ".join(str(f) for f in (self.ca_file, *pair) if f)
            raise ConfigError(
                f"[mqtt]: expected PEM files of a certificate and its key in {named}, got: {error}"
            ) from error
        return context


class OutboxConfig(_Table):
    """Where unacknowledged messages rest, and how much may."""

    dir: Path = Path("outbox")
    max_mb: Annotated[float, Field(ge=1, le=1_000_000)] = 64


class PlaybackConfig(_Table):
    """How recordings are played as fast as they go.

    Attributes
    ----------
    ahead_s : float or None
        With several recordings, how far the foremost may run ahead of what the server has made safe
        of the others. [s] None: so far that with the server's default lateness (900 s, at least 1.5
        intervals) no window ends before every device has been heard.
    """

    ahead_s: Annotated[float, Field(ge=0)] | None = None


class ReportConfig(_Table):
    """Which samples of a device are worth sending; without this table all of them are.

    Attributes
    ----------
    heartbeat_s : float
        A sample is sent at least so often. [s]
    dead_band : dict of str to float
        How far a measurement may move from what was last sent, in its own unit; without an entry not
        at all, with `inf` as far as it likes.
    """

    heartbeat_s: Annotated[float, Field(gt=0, le=86_400)]
    dead_band: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)


class DeviceConfig(_Table):
    """One device: its place in the fleet and the driver that reads it."""

    id: Id
    region: Id
    unit: Id
    device_class: Annotated[str, Field(alias="class", min_length=1, max_length=64)]
    interval_s: Annotated[float, Field(gt=0, le=604_800, allow_inf_nan=False)]
    driver: str = ""
    batch_s: Annotated[float, Field(ge=0, le=3600)] = 0.0
    max_samples: Annotated[int, Field(ge=1, le=1000)] = 250
    report: ReportConfig | None = None
    options: dict[str, Any] = Field(default_factory=dict, description="The driver's own table")
    _base: Path = PrivateAttr(default=Path())

    @model_validator(mode="before")
    @classmethod
    def _take_options(cls, raw: Any) -> Any:
        if (
            isinstance(raw, dict)
            and isinstance(name := raw.get("driver"), str)
            and isinstance(raw.get(name), dict)
        ):
            raw = {**raw, "options": raw[name]}
            del raw[name]
        return raw

    @model_validator(mode="after")
    def _reports(self) -> DeviceConfig:
        if self.report is not None and self.device_class in EVENTS:
            raise ValueError(
                f"report: expected none for the class {self.device_class}: two of its samples that are alike "
                "are two events"
            )
        return self

    @property
    def base(self) -> Path:
        """The directory that relative paths of the driver's options start from."""
        return self._base


class EdgeConfig(_Table):
    """One collector process."""

    mqtt: MqttConfig = Field(default_factory=MqttConfig)
    outbox: OutboxConfig = Field(default_factory=OutboxConfig)
    playback: PlaybackConfig = Field(default_factory=PlaybackConfig)
    device: list[DeviceConfig] = Field(min_length=1)

    @model_validator(mode="after")
    def _unique(self) -> EdgeConfig:
        seen: set[str] = set()
        for device in self.device:
            if device.id in seen:
                raise ValueError(f"[[device]]: id: expected each device once, got {device.id!r} twice")
            seen.add(device.id)
        shown = self.mqtt.cert_file
        if len(seen) > 1 and shown is not None and DEVICE_PLACE not in str(shown):
            raise ValueError(
                f"[mqtt]: cert_file: expected {DEVICE_PLACE} in it, because each of {len(seen)} devices has "
                f"a certificate of its own, got {str(shown)!r}"
            )
        return self

    def check_secrets(self) -> None:
        """ConfigError, a line each, for every password or certificate that cannot be used."""
        faults = []
        for name in ("", *(device.id for device in self.device)):
            try:
                if name:
                    self.mqtt.tls_context(name)
                else:
                    self.mqtt.password()
            except ConfigError as error:
                faults.append(str(error))
        if faults:
            raise ConfigError("\n".join(dict.fromkeys(faults)))


def explain(error: ValidationError, where: str, raw: Any = None) -> str:
    """Turn a validation error into lines that name table, field, what was expected and what came."""
    lines: list[str] = []
    for fault in error.errors():
        table, field = _locate(fault["loc"], raw)
        message = str(fault["msg"]).removeprefix("Value error, ")
        message = message.replace("Input should be ", "expected ").replace(
            "Field required", "expected a value"
        )
        message = message.replace("Extra inputs are not permitted", "expected a known field or table")
        if fault["type"] == "model_type":
            message = "expected a table"  # pydantic names the class, which nobody knows who writes a file
        came = "" if fault["type"] == "missing" else f", got {fault['input']!r:.120}"
        if ", got " in message or isinstance(fault["input"], BaseModel):
            came = ""
        lines.append(": ".join(part for part in (where, table, field, message + came) if part))
    return "\n".join(lines)


def _locate(loc: tuple[int | str, ...], raw: Any) -> tuple[str, str]:
    if len(loc) >= 2 and loc[0] == "device" and isinstance(loc[1], int):
        try:
            name = f" ({raw['device'][loc[1]]['id']})"
        except (KeyError, IndexError, TypeError):
            name = ""
        return f"[[device]] number {loc[1] + 1}{name}", ".".join(str(part) for part in loc[2:])
    if len(loc) >= 2:
        return f"[{loc[0]}]", ".".join(str(part) for part in loc[1:])
    return "", ".".join(str(part) for part in loc)


def _driver_faults(raw: Any, where: str) -> list[str]:
    """A line for each device whose driver there is not: what else is wrong may only follow from that."""
    from edge.drivers import available  # noqa: PLC0415  drivers read this module's tables

    known = available()
    devices = raw.get("device")
    faults = []
    for number, device in enumerate(devices if isinstance(devices, list) else (), 1):
        if isinstance(device, dict) and device.get("driver") not in known:
            got = repr(device["driver"]) if "driver" in device else "none"
            faults.append(
                f"{where}: [[device]] number {number} ({device.get('id', '')}): "
                f"driver: expected one of {', '.join(known)}, got {got:.120}"
            )
    return faults


def load(path: Path) -> EdgeConfig:
    """Read and check a configuration file.

    Raises
    ------
    ConfigError
        With every fault, a line each.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: expected a readable file, got: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: expected TOML, got: {error}") from error
    if isinstance(table := raw.get("mqtt"), dict) and "password" in table:
        raise ConfigError(
            f"{path}: [mqtt]: password: expected none in this file: set {PASSWORD_VARIABLE} or password_file"
        )
    try:
        config = EdgeConfig.model_validate(raw)
    except ValidationError as error:
        lines = [*_driver_faults(raw, str(path)), explain(error, str(path), raw)]
        raise ConfigError("\n".join(lines)) from error
    base = path.resolve().parent
    files = {
        name: base / value
        for name in ("password_file", "ca_file", "cert_file", "key_file")
        if (value := getattr(config.mqtt, name)) is not None
    }
    for device in config.device:
        device._base = base  # noqa: SLF001  where the file lies is no field of it
    return config.model_copy(
        update={
            "mqtt": config.mqtt.model_copy(update=files),
            "outbox": config.outbox.model_copy(update={"dir": base / config.outbox.dir}),
        }
    )
