"""What operators over the events of a truck, a contract or a unit are, and how one is declared."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.anomaly import ANOMALY, ANOMALY_SCHEMA, Anomaly
from models.results import RESULT_HEADER, RESULT_TRAILER
from models.site import Site
from streams.core.beginning import Beginning

if TYPE_CHECKING:
    from streams.core.samples import Samples
    from streams.core.stream_site import StreamSite

__all__ = [
    "ANOMALY_FIELDS", "MARK_WINDOW_S", "Entity", "EntityOperator", "EntityRow", "Item", "MarkOperator",
    "Marks", "anomaly_row", "by_bridge", "by_contract", "by_device", "by_plate", "by_ticket", "by_unit",
    "entity_operator", "mark_operator",
]  # fmt: skip

MARK_WINDOW_S: Final = 900
"""Length of the windows that marks are made of. [s]"""
_AROUND: Final = frozenset(f.name for f in (*RESULT_HEADER, *RESULT_TRAILER))
ANOMALY_FIELDS: Final[Mapping[str, pa.DataType]] = {
    f.name: f.type for f in ANOMALY_SCHEMA if f.name not in _AROUND
}
"""Fields of `anomaly`, for operators that write it."""


@dataclass(slots=True, eq=False)
class Item:
    """One thing that an entity's rows rest on: an event, a mark or a row. Not to be written to.

    Attributes
    ----------
    source : str
        Device class of an event, mark operator of a mark, measurement of a row.
    device : str
        What reported it; of a row its key.
    t : int
        When it was; of a row the start of its window. [ms UTC]
    values : mapping
        What is present. Of a row its fields and `unit`, `status`, `reason`, `coverage`, `window_ms`,
        `revision`.
    flags : tuple of str
        Quality of an event: `implausible:` and a measurement whose value is therefore absent,
        `repeat` where one with the same name came with other values.
    boot, seq, pos : int
        Name of an event's message and place in it.
    """

    source: str
    device: str
    t: int
    values: Mapping[str, Any]
    flags: tuple[str, ...] = ()
    boot: int = 0
    seq: int = 0
    pos: int = 0

    @property
    def order(self) -> tuple[Any, ...]:
        """Place among other items: by time, then by name."""
        return (self.t, self.source, self.device, self.boot, self.seq, self.pos)


class Entity:
    """One truck, contract or unit with all that concerns it.

    Parameters
    ----------
    name : str
    items : sequence of Item
        In order of time, repeats removed, withdrawn rows left out.
    site : Site
    stream : str
    now_ms : int
        The stream's now. [ms UTC]
    from_ms : int
        Earlier items are not at hand. [ms UTC]
    beginning : Beginning, optional
        Since when the stream knows what happened; always, if not given.
    """

    def __init__(
        self,
        name: str,
        items: Sequence[Item],
        site: Site,
        stream: str,
        now_ms: int,
        from_ms: int,
        beginning: Beginning | None = None,
    ):
        self.name = name
        self.items = tuple(items)
        self.site = site
        self.stream = stream
        self.now_ms = now_ms
        self.from_ms = from_ms
        self.beginning = Beginning.load(None) if beginning is None else beginning
        self._by_source: dict[str, list[Item]] | None = None

    def of(self, source: str) -> Sequence[Item]:
        """Items of one device class, mark operator or measurement, in order of time."""
        if self._by_source is None:
            self._by_source = {}
            for item in self.items:
                self._by_source.setdefault(item.source, []).append(item)
        return self._by_source.get(source, ())


@dataclass(frozen=True, slots=True)
class EntityRow:
    """One row as it follows from an entity's items and now.

    Attributes
    ----------
    measurement, key : str
    start_ms, window_ms : int
        [ms UTC], [ms]
    unit : str
        Where it belongs; may be empty.
    fields : mapping
        None and NaN are absent.
    settles_ms : int
        From this now on it is `final` (or `unknown`), and does not depend on now. [ms UTC]
    again_ms : int or None
        The entity is to be computed again when now has come to this. [ms UTC]
    coverage : float or None
    reason : str
        Why it is unknown once it is settled; empty when it is final.
    model : str or None
    at_once : bool
        Whether the reason is said before, too.
    withdrawn : bool
        Whether it is taken back, though it may have been said before the stream began.
    """

    measurement: str
    key: str
    start_ms: int
    window_ms: int
    unit: str
    fields: Mapping[str, Any]
    settles_ms: int
    again_ms: int | None = None
    coverage: float | None = None
    reason: str = ""
    model: str | None = None
    at_once: bool = False
    withdrawn: bool = False


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
        ``function(entity) -> rows``; pure.
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
    function: Callable[[Entity], Iterable[EntityRow]]
    names: Callable[[Site], Iterable[str]]
    forward: Callable[[Mapping[str, Any], Site], str] | None = None
    hidden: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    keys: Mapping[str, Callable[[Site], Iterable[str]]] = field(default_factory=dict)

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
) -> Callable[[Callable[[Entity], Iterable[EntityRow]]], EntityOperator]:
    """Declare the decorated function an entity operator of its own name."""
    if horizon_s <= 0 or reach_s < 0 or every_s <= 0:
        msg = f"expected a horizon, a reach and a pace in seconds, got {horizon_s}, {reach_s} and {every_s}"
        raise ValueError(msg)

    def declare(function: Callable[[Entity], Iterable[EntityRow]]) -> EntityOperator:
        return EntityOperator(
            function.__name__, by, tuple(events), tuple(marks), tuple(reads), writes, horizon_s, reach_s,
            every_s, function, names, forward, tuple(hidden),
            tuple(optional), keys or {},
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


def anomaly_row(anomaly: Anomaly, again_ms: int | None = None) -> EntityRow:
    """An anomaly as a row of `ANOMALY`: said for good at once, as alarms want it; its state may end."""
    return EntityRow(
        ANOMALY, anomaly.key, anomaly.first_ms, anomaly.window_ms, anomaly.unit, anomaly.fields,
        anomaly.first_ms, again_ms, model=anomaly.model,
    )  # fmt: skip
