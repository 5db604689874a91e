"""What drivers of devices that are read now, not from a recording, have in common."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.config import ConfigError, explain
from edge.driver import DriverError
from edge.say import Complaints, to_stderr
from edge.units import conversion

__all__ = ["Live", "Point", "Table", "check_units", "checked", "convert", "in_time", "need"]

T = TypeVar("T", bound=BaseModel)
MOST_KINDS: Final = 100


class Table(BaseModel):
    """A table of options; a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Point(Table):
    """How a number of a device becomes a measurement.

    Attributes
    ----------
    unit : str or None
        Unit of ``raw * scale + offset``; None: that of the measurement's name.
    scale, offset : float
        What the device's manual gives.
    low, high : float or None
        In the measurement's unit: what lies beyond cannot be, and is left out and said. A register
        whose scale jumped is caught by this alone, for Modbus and JSON carry no units.
    """

    unit: str | None = None
    scale: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    offset: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    low: float | None = None
    high: float | None = None


def convert(measurement: str, point: Point, raw: float) -> float:
    """One number in the unit of `measurement`.

    Raises
    ------
    ValueError
        If it is not finite or beyond what the configuration says can be.

    Examples
    --------
    >>> convert("supply_c", Point(scale=0.1), 921)
    92.10000000000001
    """
    value = conversion(measurement, point.unit)(raw * point.scale + point.offset)
    if not abs(value) < float("inf"):
        raise ValueError(f"expected a finite number, got {raw!r}")
    if point.low is not None and value < point.low:
        raise ValueError(f"expected at least {point.low:g}, got {value:g} (raw {raw!r})")
    if point.high is not None and value > point.high:
        raise ValueError(f"expected at most {point.high:g}, got {value:g} (raw {raw!r})")
    return value


def in_time(t_ms: int) -> int:
    """Give back a time that can be one; ValueError for what lies before 1970 or beyond year 9999. [ms UTC]"""
    if not 0 < t_ms < 253_402_300_800_000:
        raise ValueError(f"expected a time in ms since 1970, got {t_ms}")
    return t_ms


def check_units(points: dict[str, Any]) -> None:
    """Raise ValueError unless the unit of every point leads to that of its measurement."""
    for name, point in points.items():
        if conversion(name, point.unit).by_density:
            raise ValueError(f"{name}: expected a volume flow, got the mass flow {point.unit}")


def checked(model: type[T], options: dict[str, Any], table: str) -> T:
    """Validate the table of a driver; ConfigError names what is wrong in it."""
    try:
        return model.model_validate(options)
    except ValidationError as error:
        raise ConfigError(explain(error, table)) from error


def need(module: str, package: str, extra: str) -> Any:
    """Import what a driver stands on, or say in one line what to install.

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"expected the package {package}, got: {error}; pip install 'hearthline[{extra}]'"
        ) from error


class Live:
    """A device that is read now.

    Parameters
    ----------
    device : str
        Name for messages.
    complaints : Complaints, optional
        Counts what is wrong with single values and records while the rest stands; the collector
        puts its own here.
    """

    def __init__(self, device: str, complaints: Complaints | None = None):
        self.device = device
        self.complaints = complaints or Complaints(to_stderr)
        self._kinds: set[str] = set()

    @property
    def exhausted(self) -> bool:
        """A device is never at its end."""
        return False

    @property
    def whom(self) -> str:
        """Whom it reads, where no two devices can be one; else empty."""
        return ""

    def glance(self) -> str:
        """What a person who wires it up wants to see though it is no sample; empty if there is nothing."""
        return ""

    def complain(self, kind: str, what: object) -> None:
        """Count one fault of `kind`, and say it if it is time.

        Some kinds are named by what came: past `MOST_KINDS` of them all others are one.
        """
        if len(self._kinds) < MOST_KINDS:
            self._kinds.add(kind)
        elif kind not in self._kinds:
            kind = "others"
        self.complaints.add(f"{self.device} {kind}", f"{self.device}: {what}")

    def troubled(self, troubles: Sequence[tuple[str, DriverError]], *, anything: bool) -> None:
        """Count what was wrong with single records; raise the last of it if there was nothing else."""
        last = len(troubles) if anything else len(troubles) - 1
        for kind, error in troubles[: max(0, last)]:
            self.complain(kind, error)
        if troubles and not anything:
            raise troubles[-1][1]
