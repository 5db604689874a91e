"""What a driver is: the one thing that knows how a device is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

__all__ = ["Driver", "DriverError", "Reading"]


class DriverError(RuntimeError):
    """A device could not be read; says where, what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one device gave at one instant.

    Attributes
    ----------
    t_ms : int
        When it was taken, ms UTC.
    values : mapping of str to float or str
        Measurements by wire name, in the units of their names; what was not taken is absent.
    """

    t_ms: int
    values: Mapping[str, float | str]


@runtime_checkable
class Driver(Protocol):
    """Reads one device. A file in `edge/drivers/` with a function ``make(device, options) -> Driver``."""

    def read(self, now_ms: int) -> Sequence[Reading]:
        """Everything taken since the last call, up to `now_ms`; DriverError if the device cannot be read."""
        ...

    @property
    def exhausted(self) -> bool:
        """Whether nothing will ever come again (a file that has been read to its end)."""
        ...

    def close(self) -> None:
        """Release ports and files."""
        ...
