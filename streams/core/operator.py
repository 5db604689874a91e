"""What an operator is, how one is declared, and how all of them are found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from streams.core.deliveries import LedgerCounts
    from streams.core.samples import Samples
    from streams.core.stream_site import StreamSite

__all__ = ["LedgerOperator", "Operator", "SampleOperator", "WindowOperator", "discovered", "ledger_operator",
           "sample_operator", "window_operator"]  # fmt: skip

_NOT_FIELDS = frozenset({"coverage", "reason"})


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
        return tuple(f.name for f in fields(self.writes) if f.name not in _NOT_FIELDS)


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


Operator = WindowOperator | SampleOperator | LedgerOperator


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
            if isinstance(value, WindowOperator | SampleOperator | LedgerOperator):
                found[value.name] = value
    return tuple(found[name] for name in sorted(found))
