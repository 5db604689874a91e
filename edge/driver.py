"""What a driver is: the one thing that knows how a device is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

__all__ = ["Driver", "DriverError", "Reading", "RecordError", "Recording"]


class DriverError(RuntimeError):
    """A device could not be read; says where, what was expected and what came."""


class RecordError(DriverError):
    """A record is cut off, damaged or none at all; nothing of it is used.

    Attributes
    ----------
    offset : int
        Byte of the record, from 0, at which that shows.
    """

    def __init__(self, offset: int, what: str):
        super().__init__(f"byte {offset}: {what}")
        self.offset = offset


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


@runtime_checkable
class Recording(Driver, Protocol):
    """A driver that plays something recorded earlier, whose times are not those of the clock."""

    @property
    def fast(self) -> bool:
        """Whether it plays as fast as it goes: `read` is then called with recorded times."""
        ...

    def next_ms(self) -> int | None:
        """Recorded time of the next reading in ms UTC, None at the end."""
        ...

    def due_ms(self, now_ms: int) -> int:
        """When `read` has something to give, in ms UTC of the clock; for one that is not fast."""
        ...

    def position(self) -> str:
        """Where it stands: what `resume` understands. Kept with the last reading in one transaction."""
        ...

    def resume(self, position: str) -> bool:
        """Go on after `position`; False, and from the beginning, if it is none of this recording."""
        ...
