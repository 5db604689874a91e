"""What a store of series is, and what can be asked of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import pyarrow as pa

from models.results import Outputs, SinkError, SinkUnavailableError

__all__ = [
    "Aggregate",
    "Resting",
    "Select",
    "SeriesStore",
    "StoreError",
    "StoreUnavailableError",
    "extremes_of",
]

Aggregate = Literal["mean", "min", "max", "sum", "last"]


class StoreError(SinkError):
    """The store refused something; says what and why."""


class StoreUnavailableError(StoreError, SinkUnavailableError):
    """The store cannot be reached now; the same call may succeed later."""


@dataclass(frozen=True, slots=True)
class Select:
    """A question to a store, free of query text.

    Attributes
    ----------
    measurement : str
        `reading`, `device_heat`, `ledger`, `dead_letter` …
    fields : tuple of str
        Fields wanted besides key, window_start and status; empty means all.
    keys : tuple of str
        Only these keys; empty means all.
    units, regions : tuple of str
        Only these scopes; empty means all.
    device_class : str
        For readings, only this class; empty means all.
    from_ms, to_ms : int or None
        Windows that start in [from_ms, to_ms). [ms UTC]
    latest : bool
        Only the newest row of each key (within the range).
    every_ms : int or None
        Down-sample numeric fields to steps of this many ms with `aggregate`, a row a key and step.
    aggregate : {"mean", "min", "max", "sum", "last"}
        Of a step; its row stands at its begin. With "last" it is the newest row that has any of the fields,
        as it stands; if none has, the newest.
    withdrawn : bool
        Include withdrawn rows.
    limit : int or None
        At most so many rows by time, then key, oldest first; `newest_first` turns the order round.
    narrow : bool
        Of what is no field only key, window_start and status are wanted, as for a chart: others cost as much
        again. A store may give them all the same.
    extremes : bool
        Beside each number of a step its least and its greatest, in columns that `extremes_of` names. A store
        may leave them out.
    key_prefix : str
        Only keys that begin so; empty means all.
    """

    measurement: str
    fields: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    device_class: str = ""
    from_ms: int | None = None
    to_ms: int | None = None
    latest: bool = False
    every_ms: int | None = None
    aggregate: Aggregate = "mean"
    withdrawn: bool = False
    newest_first: bool = False
    limit: int | None = None
    narrow: bool = False
    extremes: bool = False
    key_prefix: str = ""


def extremes_of(field: str) -> tuple[str, str]:
    """Columns of the least and the greatest value of `field` in a step: no field's own name has a point."""
    return f"{field}.low", f"{field}.high"


@runtime_checkable
class SeriesStore(Protocol):
    """Keeps result rows by (measurement, key, window_start) and readings by (device, t)."""

    def write(self, outputs: Sequence[Outputs]) -> None:
        """Keep all of it, durably when this returns; writing twice equals writing once.

        Readings of records whose offset the store already holds for the stream are passed over.
        """
        ...

    def select(self, query: Select) -> pa.Table:
        """Rows that answer `query`; an unknown measurement has none; an unknown field is a StoreError."""
        ...

    def counts(self) -> dict[str, int]:
        """How many rows each measurement has."""
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...


@runtime_checkable
class Resting(Protocol):
    """A store that can let go of memory which only makes answers quick."""

    def rest(self) -> None:
        """Let it go: nobody is expected to ask for a while. Whoever asks all the same is answered."""
        ...
