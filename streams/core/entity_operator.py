"""What operators over the events of a truck, a contract or a unit are, and how one is declared."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.site import Site
from streams.core.entity import ANOMALY_FIELDS, Entity, EntityRow, Item, Stands, anomaly_row

if TYPE_CHECKING:
    from streams.core.samples import Samples
    from streams.core.stream_site import StreamSite

__all__ = [
    "ANOMALY_FIELDS", "MARK_WINDOW_S", "Entity", "EntityOperator", "EntityRow", "Item", "MarkOperator",
    "Marks", "Stands", "anomaly_row", "by_bridge", "by_contract", "by_device", "by_plate", "by_ticket",
    "by_unit", "entity_operator", "mark_operator",
]  # fmt: skip

MARK_WINDOW_S: Final = 900
"""Length of the windows that marks are made of. [s]"""


@dataclass(frozen=True, slots=True)
class Marks:
    """What is left of the samples of a window: so many marks, in columns of one length.

    Attributes
    ----------
    device : ndarray of int64
        Index of the device.
    t : ndarray of int64
        [ms UTC]
    values : mapping of str to sequence
        What JSON can hold; None and NaN are absent.
    """

    device: NDArray[np.int64]
    t: NDArray[np.int64]
    values: Mapping[str, Sequence[Any] | NDArray[Any]] = field(default_factory=dict)


Grows = Literal["", "more", "instead"]
By = Callable[[Item, Site], Iterable[str]]
"""Names of the entities that an item concerns."""


@dataclass(frozen=True, slots=True)
class MarkOperator:
    """Samples of a window → marks, which entities keep in place of the samples.

    It is given the devices that have samples in the window, with the nearest before it and none after it.
    So a window without samples has no marks, and a year of silence costs nothing.

    Attributes
    ----------
    name : str
    reads : tuple of str
        Device classes.
    function : callable
        ``function(samples, site) -> Marks``; pure.
    every_s : int
        Length of its windows. [s]
    grows : {"", "more", "instead"}
        What its marks are where a window's samples so far have theirs and later ones came. It rests on
        `believed_fixes` and `new_from_ms` alone, and its marks are ``more`` of them, or all, ``instead`` of
        those; empty where it is given the whole window again.
    """

    name: str
    reads: tuple[str, ...]
    function: Callable[[Samples, StreamSite], Marks]
    every_s: int = MARK_WINDOW_S
    grows: Grows = ""


@dataclass(frozen=True, slots=True)
class EntityOperator:
    """Sorted events, marks and rows of one entity → rows.

    Attributes
    ----------
    name : str
    by : callable
        ``by(item, site)``: names of the entities that an item concerns.
    events : tuple of str
        Device classes whose events it is given.
    marks : tuple of str
        Mark operators.
    reads : tuple of str
        Measurements: rows of entity operators as they stand, and settled rows of
        window and network operators and of learners.
    writes : mapping of str to mapping of str to pyarrow.DataType
        Fields by measurement.
    horizon_s : int
        How long after their start rows may change; older ones are sealed. [s]
    reach_s : int
        How long before its start the items may lie that a row rests on. [s]
    every_s : int
        It is computed at most once in so much of now. [s]
    function : callable
        ``function(entity) -> rows``; pure. Among them `Stands`, for what it cannot know.
    names : callable
        ``names(site)``: entities that are there without any item.
    forward : callable or None
        ``forward(row's values, site)``: the other stream that is to know of a row, or empty.
    hidden : tuple of str
        Measurements of its own that only other operators read: they are not told, and name no fields.
    optional : tuple of str
        Of its marks and reads those that it does without where nothing makes them.
    keys : mapping of str to callable
        ``keys[measurement](site)``: of settled rows of window and network operators and of learners only
        those of these keys are kept for it, where there are many that it does not need.
    spares : bool
        Whether it sees by itself to rows that could not be computed (`Entity.failed`); else it is not
        computed while there is one.
    instead : callable or None
        ``instead(entity) -> rows`` of whom nothing was said before it could not be computed: what names
        them, so that those who read them know that something lacks.
    """

    name: str
    by: By
    events: tuple[str, ...]
    marks: tuple[str, ...]
    reads: tuple[str, ...]
    writes: Mapping[str, Mapping[str, pa.DataType]]
    horizon_s: int
    reach_s: int
    every_s: int
    function: Callable[[Entity], Iterable[EntityRow | Stands]]
    names: Callable[[Site], Iterable[str]]
    forward: Callable[[Mapping[str, Any], Site], str] | None = None
    hidden: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    keys: Mapping[str, Callable[[Site], Iterable[str]]] = field(default_factory=dict)
    spares: bool = False
    instead: Callable[[Entity], Iterable[EntityRow]] | None = None

    def reading(self, made: Container[str]) -> EntityOperator:
        """The operator that reads of what is optional only what is `made`."""
        marks, reads = (
            tuple(n for n in names if n in made or n not in self.optional)
            for names in (self.marks, self.reads)
        )
        return replace(self, marks=marks, reads=reads)

    @property
    def sources(self) -> tuple[str, ...]:
        """Everything that it reads."""
        return (*self.events, *self.marks, *self.reads)


def _nobody(_site: Site) -> Iterable[str]:
    return ()


def entity_operator(
    *,
    by: By,
    writes: Mapping[str, Mapping[str, pa.DataType]],
    horizon_s: int,
    reach_s: int,
    events: Sequence[str] = (),
    marks: Sequence[str] = (),
    reads: Sequence[str] = (),
    every_s: int = 10,
    names: Callable[[Site], Iterable[str]] = _nobody,
    forward: Callable[[Mapping[str, Any], Site], str] | None = None,
    hidden: Sequence[str] = (),
    optional: Sequence[str] = (),
    keys: Mapping[str, Callable[[Site], Iterable[str]]] | None = None,
    spares: bool = False,
    instead: Callable[[Entity], Iterable[EntityRow]] | None = None,
) -> Callable[[Callable[[Entity], Iterable[EntityRow | Stands]]], EntityOperator]:
    """Declare the decorated function an entity operator of its own name."""
    if horizon_s <= 0 or reach_s < 0 or every_s <= 0:
        msg = f"expected a horizon, a reach and a pace in seconds, got {horizon_s}, {reach_s} and {every_s}"
        raise ValueError(msg)

    def declare(function: Callable[[Entity], Iterable[EntityRow | Stands]]) -> EntityOperator:
        return EntityOperator(
            function.__name__, by, tuple(events), tuple(marks), tuple(reads), writes, horizon_s, reach_s,
            every_s, function, names, forward, tuple(hidden),
            tuple(optional), keys or {}, spares, instead,
        )  # fmt: skip

    return declare


def mark_operator(
    *, reads: Sequence[str], grows: Grows = ""
) -> Callable[[Callable[[Samples, StreamSite], Marks]], MarkOperator]:
    """Declare the decorated function a mark operator of its own name."""

    def declare(function: Callable[[Samples, StreamSite], Marks]) -> MarkOperator:
        return MarkOperator(function.__name__, tuple(reads), function, grows=grows)

    return declare


def _named(item: Item, name: str) -> tuple[str, ...]:
    value = item.values.get(name)
    return (value,) if value else ()


def by_plate(item: Item, site: Site) -> Iterable[str]:
    """The plate that an item names, or that the truck which reported it bears."""
    named = _named(item, "plate")
    if named:
        return named
    plate = site.plates.get(item.device)
    return (plate,) if plate else ()


def by_ticket(item: Item, _site: Site) -> Iterable[str]:
    """The ticket that an item names."""
    return _named(item, "ticket")


def by_contract(item: Item, _site: Site) -> Iterable[str]:
    """The contract that an item names."""
    return _named(item, "contract")


def by_device(item: Item, _site: Site) -> Iterable[str]:
    """The device that reported an item; of a row its key."""
    return (item.device,)


by_bridge = by_device
"""The weighbridge that reported an event."""


def by_unit(item: Item, site: Site) -> Iterable[str]:
    """The unit of an item's device, of its row or of its contract."""
    device = site.devices.get(item.device)
    if device is not None:
        return (device.unit,)
    contract = site.contracts.get(item.values.get("contract", ""))
    return (contract.unit,) if contract is not None else _named(item, "unit")
