"""Payloads on the wire: the only definition of what MQTT messages carry.

Collectors import this module and nothing else of the server's rooms.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "ACK", "BIRTH", "COMMAND", "DEATH", "FUTURE_MS", "MAX_PAYLOAD_BYTES", "PAYLOADS", "ROOT", "STATE",
    "TELEMETRY", "Ack", "Birth", "Command", "Death", "Range", "Sample", "State", "Telemetry", "Topic",
    "check_id", "parse_topic",
]  # fmt: skip

MAX_PAYLOAD_BYTES: Final = 256 * 1024
FUTURE_MS: Final = 600_000
"""How far a sample's time may be ahead of the clock. [ms]"""
ROOT: Final = "hearthline/v1"
TELEMETRY: Final = "telemetry"
BIRTH: Final = "birth"
STATE: Final = "state"
DEATH: Final = "death"
ACK: Final = "ack"
COMMAND: Final = "command"

_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_MAX_INT = 2**63 - 1


def check_id(value: str) -> str:
    """Return `value` if it may name a device, unit or region; raise ValueError if not."""
    if not _ID.fullmatch(value):
        msg = f"expected 1 to 64 of A-Z a-z 0-9 _ . -, got {value[:80]!r}"
        raise ValueError(msg)
    return value


class Topic(NamedTuple):
    """Where a message was published: ``hearthline/v1/<region>/<unit>/<device>/<kind>``."""

    region: str
    unit: str
    device: str
    kind: str

    def __str__(self) -> str:
        return f"{ROOT}/{self.region}/{self.unit}/{self.device}/{self.kind}"


def parse_topic(topic: str) -> Topic:
    """Split a topic into its levels; ValueError if it is none of Hearthline's."""
    levels = topic.split("/")
    if len(levels) != 6 or levels[0] != "hearthline" or levels[1] != "v1":
        msg = f"expected {ROOT}/<region>/<unit>/<device>/<kind>, got {topic[:200]!r}"
        raise ValueError(msg)
    return Topic(check_id(levels[2]), check_id(levels[3]), check_id(levels[4]), levels[5])


Positive = Annotated[int, Field(strict=True, ge=1, le=_MAX_INT)]
TimeMs = Annotated[int, Field(strict=True, ge=-_MAX_INT, le=_MAX_INT)]
Id = Annotated[str, AfterValidator(check_id)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Text = Annotated[str, Field(strict=True, max_length=1024)]


def _ordered(bounds: tuple[int, int]) -> tuple[int, int]:
    if bounds[0] > bounds[1]:
        msg = f"expected first <= last, got {list(bounds)}"
        raise ValueError(msg)
    return bounds


Range = Annotated[tuple[Positive, Positive], AfterValidator(_ordered)]
"""An inclusive interval of sequence numbers."""


class _Payload(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Sample(BaseModel):
    """What one device measured at one instant; every other key is a measurement."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, Number | Text] = Field(init=False)

    t: TimeMs = Field(description="When the sample was taken, ms UTC")


class Telemetry(_Payload):
    """One message of samples; (device, boot, seq) names it for ever."""

    boot: Positive = Field(description="When the outbox was created, ms UTC")
    seq: Positive = Field(description="1, 2, 3 … without a gap within a boot")
    samples: list[Sample] = Field(min_length=1, max_length=1000)


class Birth(_Payload):
    """What a device is, said after each connect (retained)."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)
    boot: Positive
    at: TimeMs
    device_class: str = Field(alias="class", min_length=1, max_length=64)
    interval_s: Annotated[float, Field(strict=True, gt=0, le=604_800, allow_inf_nan=False)]
    collector: str = Field(default="", max_length=200)


class State(_Payload):
    """What a collector has sent and what still waits in its outbox (retained)."""

    boot: Positive
    at: TimeMs
    next_seq: Positive
    waiting: list[Range] = Field(default_factory=list, max_length=1000)
    waiting_from: TimeMs | None = None
    thinned: list[Range] = Field(default_factory=list, max_length=1000)
    command: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="Id of the command that was obeyed last"
    )
    diagnosis: dict[str, Any] | None = Field(default=None, description="What `diagnose` asked for")


class Death(_Payload):
    """The device's will: the broker says that the collector went away."""

    boot: Positive


class Ack(_Payload):
    """Numbers that are journalled or dead-lettered and may leave the outbox."""

    boot: Positive
    ranges: list[Range] = Field(max_length=100_000)


class Command(_Payload):
    """A request of the server to one device."""

    id: str = Field(max_length=64)
    at: TimeMs
    do: Literal["resend", "set-interval", "diagnose"]
    ranges: list[Range] = Field(default_factory=list, max_length=1000)
    boot: Positive | None = Field(
        default=None, description="Whose `ranges` they are; of another boot it is ignored"
    )
    interval_s: Annotated[float, Field(ge=1, le=604_800, allow_inf_nan=False)] | None = Field(
        default=None, description="How often the device is read from now on; of `set-interval`"
    )

    @model_validator(mode="before")
    @classmethod
    def _is_object(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            msg = "expected a JSON object"
            raise ValueError(msg)  # noqa: TRY004
        return value

    @model_validator(mode="after")
    def _has_interval(self) -> Command:
        if (self.do == "set-interval") != (self.interval_s is not None):
            msg = "expected interval_s with set-interval, and with nothing else"
            raise ValueError(msg)
        return self


PAYLOADS: Final[dict[str, type[BaseModel]]] = {
    TELEMETRY: Telemetry, BIRTH: Birth, STATE: State, DEATH: Death, ACK: Ack, COMMAND: Command,
}  # fmt: skip
"""The payload of each kind of topic."""
