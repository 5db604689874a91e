"""A leap of now over many windows: how far it has got, and what may be handed out before its end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from models.anomaly import ANOMALY
from models.results import Outputs

__all__ = ["SLICE_S", "Leap", "part_of", "utc"]

SLICE_S: Final = 0.25
"""How long who steps a leap does so until others have their turn. [s]"""
_LONG_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Leap:
    """A record in the midst of being stepped.

    Attributes
    ----------
    offset : int
        Of the last record that is wholly stepped, -1 where there is none.
    from_ms, to_ms : int
        Now before the record and after it. [ms UTC]
    done_ms : int
        Windows that ended by then are closed. [ms UTC]
    """

    offset: int
    from_ms: int
    to_ms: int
    done_ms: int

    def __str__(self) -> str:
        """For people."""
        done = utc(self.done_ms)
        return f"now leaps from {utc(self.from_ms)} to {utc(self.to_ms)}, windows are closed to {done}"

    @property
    def long(self) -> bool:
        """Whether it is over many windows, so that people are told."""
        return self.to_ms - self.from_ms >= _LONG_MS

    @property
    def left_ms(self) -> int:
        """How much of it has windows that are yet to be closed. [ms]"""
        return max(0, self.to_ms - self.done_ms)


def utc(ms: int) -> str:
    """A time for people. [ms UTC]"""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def part_of(outputs: Outputs, offset: int, held: Outputs) -> Outputs:
    """What of `outputs` may be stored while their record is not wholly stepped; the rest goes to `held`.

    Rows of windows are written again under their keys when the record is stepped again after a crash.
    Readings are stored with the record's own offset, and what other streams are told goes with it. An
    anomaly may end in the leap that it began in: nobody is to be told of it before.

    Parameters
    ----------
    outputs : Outputs
        Left without what is handed out.
    offset : int
        Of the last record that is wholly stepped.
    held : Outputs
    """
    rows = {name: tables for name, tables in outputs.rows.items() if name != ANOMALY}
    outputs.rows = {name: tables for name, tables in outputs.rows.items() if name == ANOMALY}
    held.merge(outputs)
    return Outputs(outputs.stream, offset, rows)
