"""What an operator is, how one is declared, and how all of them are found."""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

import pyarrow as pa

from models.anomaly import ANOMALY, ANOMALY_SCHEMA
from models.results import result_schema
from streams.core.declared import Declared
from streams.core.entity_operator import EntityOperator, MarkOperator

if TYPE_CHECKING:
    from streams.core.deliveries import LedgerCounts
    from streams.core.network_rows import NetworkRows, Settled
    from streams.core.samples import Samples
    from streams.core.stream_site import StreamSite

__all__ = [
    "Learner", "Learnt", "LedgerOperator", "NetworkOperator", "Operator", "SampleOperator", "WindowOperator",
    "discovered", "in_order_of_reading", "learner", "ledger_operator", "network_operator", "sample_operator",
    "window_operator",
]  # fmt: skip

_NOT_FIELDS = frozenset({"coverage", "reason", "model"})


@cache
def _fields_of(writes: Hashable) -> tuple[str, ...]:
    return tuple(f.name for f in fields(cast("Any", writes)) if f.name not in _NOT_FIELDS)


@cache
def _floats(fields: tuple[str, ...]) -> Declared:
    return Declared(result_schema([pa.field(f, pa.float64()) for f in fields]))


_ANOMALIES = Declared(ANOMALY_SCHEMA)


@dataclass(frozen=True, slots=True)
class WindowOperator:
    """Samples of a window → one row a device.

    Attributes
    ----------
    name : str
        Name of the operator and of the measurement that it writes.
    reads : tuple of str
        Device classes whose samples it is given.
    every_s : int
        Length of its windows, a multiple of 900. [s]
    writes : type
        Dataclass of arrays, one element a device of ``samples.devices``: the
        float fields, `coverage` (0 to 1) and `reason` (empty when the row may
        become final, else why it is unknown).
    function : callable
        ``function(samples, site) -> writes``; pure.
    """

    name: str
    reads: tuple[str, ...]
    every_s: int
    writes: type[Any]
    function: Callable[[Samples, StreamSite], Any]

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the float fields that it writes."""
        return _fields_of(cast("Hashable", self.writes))


@dataclass(frozen=True, slots=True)
class SampleOperator:
    """Accepted samples of one record → rows that are appended, one a sample."""

    name: str
    function: Callable[..., pa.Table]


@dataclass(frozen=True, slots=True)
class LedgerOperator:
    """Delivery counts of devices → one row a device and local day, cumulative."""

    name: str
    fields: tuple[str, ...]
    function: Callable[[Sequence[LedgerCounts]], dict[str, list[int]]]


@dataclass(frozen=True, slots=True)
class NetworkOperator:
    """Rows of a network's window, and of some time before it → a row, or one a device.

    Its windows are the network's own, `window_s` long.

    Attributes
    ----------
    name : str
        Name of the operator and of the measurement that it writes.
    reads : tuple of str
        Measurements of window operators, of network operators, and of learners
        (of which it sees rows that ended a day or more before the window).
    history_s : int
        How long before a window's start the rows that it reads may lie, a multiple of 900. [s]
    subject : str
        What a row is about: `network`, or `device` for one row each of the network's devices.
    writes : type
        Dataclass of arrays, one element a subject: the float fields, `coverage` and
        `reason` as of a window operator; if it reads what was learnt, `model` (text): what of it was used.
    function : callable
        ``function(rows) -> writes``; pure. None while ``rows.filling`` and nothing can be said yet.
    optional : tuple of str
        What it reads besides where something writes it; ``rows.has`` says whether.
    """

    name: str
    reads: tuple[str, ...]
    history_s: int
    subject: str
    writes: type[Any]
    function: Callable[[NetworkRows], Any]
    optional: tuple[str, ...] = ()

    def reading(self, written: Container[str]) -> NetworkOperator:
        """The operator that reads of its optional measurements those `written`."""
        more = tuple(name for name in self.optional if name in written and name not in self.reads)
        return replace(self, reads=self.reads + more)

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the float fields that it writes."""
        return _fields_of(cast("Hashable", self.writes))


class Learnt(Protocol):
    """State of a learner that is too much for JSON. Never changed in place: each step gives another."""

    def to_bytes(self) -> bytes:
        """The whole of it; the same state gives the same bytes."""
        ...

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote."""
        ...


@dataclass(frozen=True, slots=True)
class Learner:
    """What is settled, a quarter of an hour after the other → state that grows, and rows that tell of it.

    It is never taken back: what is restated later is not learnt again.

    Attributes
    ----------
    name : str
        Name of the operator and of the measurement that it writes.
    version : int
        Of the state's form; one of another version begins anew.
    reads : tuple of str
        Measurements of window and network operators.
    fields : tuple of str
        Float fields that it writes, for those who read them.
    subject : str
        What a row is about: `network` or `device`.
    function : callable
        ``function(state, settled) -> (state, rows or None)``; pure. `state` is what
        JSON holds or of the type `state`, None at the beginning; `rows` a result table.
    writes : str
        The measurement of its rows where that is not its name, such as `anomaly`: nobody reads them.
    samples : tuple of str
        Device classes whose samples of the step it is given.
    state : type or None
        Of a state that makes bytes of itself.
    late : bool
        Whether it is also given, with the step that ends next, samples of those classes that came too late
        for their own.
    """

    name: str
    version: int
    reads: tuple[str, ...]
    fields: tuple[str, ...]
    subject: str
    function: Callable[[Any, Settled], tuple[Any, pa.Table | None]]
    writes: str = ""
    samples: tuple[str, ...] = ()
    state: type[Learnt] | None = None
    late: bool = False

    @property
    def measurement(self) -> str:
        """What its rows are rows of."""
        return self.writes or self.name

    @property
    def declared(self) -> Declared:
        """What it declares of its rows; others of its columns may be of any type."""
        return _ANOMALIES if self.writes == ANOMALY else _floats(self.fields)


Operator = (
    WindowOperator
    | SampleOperator
    | LedgerOperator
    | NetworkOperator
    | Learner
    | EntityOperator
    | MarkOperator
)


def window_operator(
    *, reads: Sequence[str], every_s: int, writes: type[Any]
) -> Callable[[Callable[[Samples, StreamSite], Any]], WindowOperator]:
    """Declare the decorated function a window operator of its own name."""
    if every_s <= 0 or every_s % 900:
        msg = f"expected every_s to be a multiple of 900, got {every_s}"
        raise ValueError(msg)

    def declare(function: Callable[[Samples, StreamSite], Any]) -> WindowOperator:
        return WindowOperator(function.__name__, tuple(reads), every_s, writes, function)

    return declare


def sample_operator(function: Callable[..., pa.Table]) -> SampleOperator:
    """Declare the decorated function a sample operator of its own name."""
    return SampleOperator(function.__name__, function)


def network_operator(
    *,
    reads: Sequence[str],
    writes: type[Any],
    history_s: int = 0,
    subject: str = "network",
    optional: Sequence[str] = (),
) -> Callable[[Callable[[NetworkRows], Any]], NetworkOperator]:
    """Declare the decorated function a network operator of its own name."""
    if history_s < 0 or history_s % 900:
        msg = f"expected history_s to be a multiple of 900, got {history_s}"
        raise ValueError(msg)
    if subject not in {"network", "device"}:
        msg = f"expected a subject of network or device, got {subject!r}"
        raise ValueError(msg)

    def declare(function: Callable[[NetworkRows], Any]) -> NetworkOperator:
        name = function.__name__
        return NetworkOperator(name, tuple(reads), history_s, subject, writes, function, tuple(optional))

    return declare


def learner(
    *,
    version: int,
    reads: Sequence[str] = (),
    fields: Sequence[str] = (),
    subject: str = "device",
    writes: str = "",
    samples: Sequence[str] = (),
    state: type[Learnt] | None = None,
    late: bool = False,
) -> Callable[[Callable[[Any, Settled], tuple[Any, pa.Table | None]]], Learner]:
    """Declare the decorated function a learner of its own name."""
    if writes and fields:
        msg = f"expected no fields of a learner that writes {writes}: rows of another name are not read"
        raise ValueError(msg)

    def declare(function: Callable[[Any, Settled], tuple[Any, pa.Table | None]]) -> Learner:
        name = function.__name__
        return Learner(
            name, version, tuple(reads), tuple(fields), subject, function, writes, tuple(samples), state,
            late,
        )  # fmt: skip

    return declare


def in_order_of_reading(operators: Sequence[NetworkOperator]) -> tuple[NetworkOperator, ...]:
    """`operators`, each after those whose rows it reads; ValueError where they read each other in a ring."""
    by_name = {o.name: o for o in operators}
    graph = {o.name: [r for r in o.reads if r in by_name] for o in operators}
    try:
        return tuple(by_name[name] for name in TopologicalSorter(graph).static_order())
    except CycleError as error:
        msg = f"expected network operators that do not read each other in a ring, got {error.args[1]}"
        raise ValueError(msg) from error


def ledger_operator(
    *, fields: Sequence[str]
) -> Callable[[Callable[[Sequence[LedgerCounts]], dict[str, list[int]]]], LedgerOperator]:
    """Declare the decorated function a ledger operator of its own name."""

    def declare(function: Callable[[Sequence[LedgerCounts]], dict[str, list[int]]]) -> LedgerOperator:
        return LedgerOperator(function.__name__, tuple(fields), function)

    return declare


def discovered() -> tuple[Operator, ...]:
    """Every operator declared in `streams.operators`, by name."""
    import streams.operators as room  # noqa: PLC0415  operators import this module

    found: dict[str, Operator] = {}
    for module_info in sorted(iter_modules(room.__path__), key=lambda m: m.name):
        module = import_module(f"{room.__name__}.{module_info.name}")
        for value in vars(module).values():
            if isinstance(value, Operator):
                found[value.name] = value
    return tuple(found[name] for name in sorted(found))
