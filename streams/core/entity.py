"""One truck, contract or unit: what its rows rest on, what follows from that, and what cannot be known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from models.anomaly import ANOMALY, ANOMALY_SCHEMA, Anomaly
from models.results import RESULT_HEADER, RESULT_TRAILER
from models.site import Site
from streams.core.beginning import Beginning
from streams.core.containing import FAILED

__all__ = ["ANOMALY_FIELDS", "Entity", "EntityRow", "Item", "Stands", "anomaly_row"]

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
        `repeat` where one with the same name came with other values. Of what could not be computed `FAILED`.
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

    @property
    def failed(self) -> bool:
        """Whether it is an entity's row, or a window of marks, that could not be computed.

        A row has its names (texts) alone, a window from `t` on when it ends, as `to_ms`.
        """
        return FAILED in self.flags


class Entity:
    """One truck, contract or unit with all that concerns it.

    Parameters
    ----------
    name : str
    items : sequence of Item
        In order of time, repeats removed, withdrawn rows left out. Those that could not be computed
        are not among `items`.
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
        self.items = tuple(i for i in items if not i.failed)
        self.site = site
        self.stream = stream
        self.now_ms = now_ms
        self.from_ms = from_ms
        self.beginning = Beginning.load(None) if beginning is None else beginning
        self._by_source: dict[str, list[Item]] | None = None
        self._failed = tuple(i for i in items if i.failed)

    def failed(self, source: str) -> Sequence[Item]:
        """Rows or windows of marks of a source that could not be computed, in order of time."""
        return tuple(i for i in self._failed if i.source == source)

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
class Stands:
    """What an operator cannot know now, since something that it rests on could not be computed.

    Of rows that were said and are given no more, an anomaly stays as it was, and another keeps its names
    alone; while one stays, no other anomaly begins that is meant by the same.

    Attributes
    ----------
    measurement : str
    key : str
        What the keys of rows that are meant begin with.
    from_ms, to_ms : int
        They start then, or up to that time. [ms UTC]
    """

    measurement: str
    key: str = ""
    from_ms: int = 0
    to_ms: int = 1 << 62

    def has(self, name: tuple[str, str, int]) -> bool:
        """Whether a row of that measurement, key and start is meant."""
        measurement, key, start_ms = name
        return (
            measurement == self.measurement
            and key.startswith(self.key)
            and self.from_ms <= start_ms < self.to_ms
        )


def anomaly_row(anomaly: Anomaly, again_ms: int | None = None) -> EntityRow:
    """An anomaly as a row of `ANOMALY`: said for good at once, as alarms want it; its state may end."""
    return EntityRow(
        ANOMALY, anomaly.key, anomaly.first_ms, anomaly.window_ms, anomaly.unit, anomaly.fields,
        anomaly.first_ms, again_ms, model=anomaly.model,
    )  # fmt: skip
