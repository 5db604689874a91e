"""Operators over entities: what each is given, when it is computed, and what is said of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.restate import RESTATEMENT
from models.results import Outputs, Status
from models.site import Site
from streams.core.beginning import Beginning
from streams.core.containing import FAILED, RETRY_MS, Failures, SourceError, contained
from streams.core.declared import expect_declared
from streams.core.entity import Entity, EntityRow, Item
from streams.core.entity_beyond import Beyond
from streams.core.entity_events import events_of
from streams.core.entity_forwarding import forwarded
from streams.core.entity_items import ItemStore, Name
from streams.core.entity_operated import Operated, concerned, floor_ms, in_order
from streams.core.entity_operator import EntityOperator, MarkOperator
from streams.core.entity_said import Said, entity_restated, entity_table
from streams.core.marking import Marking

__all__ = ["EntityEngine"]

_VERSION: Final = 1
_WHY: Final = "source"
_SETTLED: Final = frozenset({Status.FINAL, Status.UNKNOWN})
_BESIDE: Final = frozenset({"key", "region", "stream", "window_start", "model"})


class EntityEngine:
    """Entity operators of one stream, and the marks that they read.

    Parameters
    ----------
    stream : str
    operators : sequence of EntityOperator
    marks : sequence of MarkOperator
    others : collection of str
        Measurements of other operators of the stream, which may be read.
    failures : Failures
        Takes note of what cannot be computed.

    Attributes
    ----------
    beginning : Beginning
        Since when the stream knows what happened; `know` is to be called where that changed.
    """

    def __init__(
        self,
        stream: str,
        operators: Sequence[EntityOperator],
        marks: Sequence[MarkOperator],
        others: Iterable[str],
        failures: Failures,
    ):
        self.stream = stream
        self._failures = failures
        self._declared = {m: fields for o in operators for m, fields in o.writes.items()}
        self._written = frozenset[str]().union(*(o.writes for o in operators))
        made = self._written.union(others, (m.name for m in marks))
        ordered = in_order([o.reading(made) for o in operators], [m.name for m in marks], set(others))
        self._operated = [Operated(o) for o in ordered]
        self._readers: dict[str, list[Operated]] = {}
        for each in self._operated:
            for source in each.operator.sources:
                self._readers.setdefault(source, []).append(each)
        self._items = ItemStore()
        self.marking = Marking(
            [m for m in marks if m.name in self._readers], self._items, self._put, failures
        )
        self._site = Site(id="", name="", timezone="UTC")
        self.beginning = Beginning()
        self._beyond = Beyond()
        self._others = frozenset(others) & self._readers.keys()
        self._keys: dict[str, pa.Array] = {}

    @property
    def idle(self) -> bool:
        """Whether there is no such operator."""
        return not self._operated

    # -- what comes in -----------------------------------------------------------------

    def register(self, site: Site) -> None:
        """Take a version of the registry: by it items may concern others than before."""
        self._site = site
        self._keys = {m: keys for m in self._others if (keys := self._kept_keys(m)) is not None}
        for each in self._operated:
            each.index.clear()
            each.dirty.update(each.said.entities(), each.operator.names(site))
            for source in each.operator.sources:
                for name, item in self._items.of(source):
                    for entity in concerned(each.operator, item, site):
                        each.index.setdefault(entity, {})[source, name] = item
                        each.dirty.add(entity)

    def know(self) -> None:
        """Have everybody computed again, since the stream knows otherwise of its beginning."""
        for each in self._operated:
            each.dirty.update(each.said.entities(), each.operator.names(self._site), each.index)

    def take_events(
        self, batch: pa.RecordBatch, device_class: str, flags: Mapping[int, str], now_ms: int
    ) -> list[int]:
        """Take in accepted samples of a class; positions of those that came beyond a horizon."""
        readers = self._readers.get(device_class)
        if not readers:
            return []
        sealed_ms = max(floor_ms(each.operator, now_ms) for each in readers)
        oldest_ms = min(floor_ms(e.operator, now_ms) - 1000 * e.operator.reach_s for e in readers)
        beyond = []
        for at, (name, event) in enumerate(events_of(batch, device_class, flags)):
            if event.t < sealed_ms:
                beyond.append(at)
                self._beyond.count(event.device, now_ms)
            if event.t < oldest_ms:
                continue
            before = self._items.get(device_class, name)
            stands = event if before is None else _standing(before, event)
            if stands is not before:
                self._put(name, stands, device_class)
        return beyond

    def take_rows(self, outputs: Outputs) -> None:
        """Take in settled rows of the stream's other operators."""
        for measurement in sorted(self._others & outputs.rows.keys()):
            for table in outputs.rows[measurement]:
                if measurement in self._keys:
                    table = table.filter(pc.is_in(table["key"], self._keys[measurement]))  # noqa: PLW2901
                for row in table.to_pylist():
                    name = (row["key"], row["window_start"])
                    if row["status"] in _SETTLED:
                        values = {n: v for n, v in row.items() if v is not None and n not in _BESIDE}
                        self._put(name, Item(measurement, *name, values), measurement)
                    elif row["status"] == Status.WITHDRAWN:
                        self._put(name, None, measurement)

    def _kept_keys(self, measurement: str) -> pa.Array | None:
        """Keys of which its readers need the rows; None where one of them needs all."""
        readers = [each.operator for each in self._readers[measurement]]
        if not all(measurement in o.keys for o in readers):
            return None
        return pa.array(sorted({k for o in readers for k in o.keys[measurement](self._site)}), pa.string())

    def take_forwarded(self, payload: str) -> None:
        """Take in a row of another stream, unless a later word on it is known.

        ValueError if it is no row as the operators here declare it.
        """
        about = json.loads(payload)
        try:
            measurement, name = about["measurement"], (about["key"], about["start_ms"], about["stream"])
            values, told = about["values"], about["told"]
            kinds = [type(x) for x in (measurement, *name, told, values)]
        except (KeyError, TypeError) as error:
            raise ValueError(f"expected a row of another stream, got one without {error}") from error
        if kinds != [str, str, int, str, int, dict]:
            raise ValueError(f"expected a row of another stream, got {payload[:200]!r}")
        if measurement not in self._readers:
            return
        declared = self._declared.get(measurement, {})
        expect_declared({n: v for n, v in values.items() if n in declared}, declared, measurement)
        before = self._items.get(measurement, name)
        if before is None or before.seq < told:
            self._put(name, _of_row(measurement, *name[:2], values, told), measurement)

    def _put(self, name: Name, item: Item | None, source: str) -> None:
        before = self._items.get(source, name)
        if item is None:
            self._items.remove(source, name)
        else:
            self._items.put(name, item)
        for each in self._readers.get(source, ()):
            if before is not None:
                for entity in concerned(each.operator, before, self._site):
                    of_entity = each.index.get(entity, {})
                    of_entity.pop((source, name), None)
                    each.dirty.add(entity)
            if item is not None:
                for entity in concerned(each.operator, item, self._site):
                    each.index.setdefault(entity, {})[source, name] = item
                    each.dirty.add(entity)

    # -- what goes out -----------------------------------------------------------------

    def run(self, now_ms: int, outputs: Outputs, *, always: bool = False) -> None:
        """Compute entities of which something changed, or whose time has come, and say what is new.

        Each operator at most once in its `every_s`, but for `always`.
        """
        for each in self._operated:
            every_ms = 1000 * each.operator.every_s
            if not always and each.computed_ms is not None and now_ms - each.computed_ms < every_ms:
                continue
            each.computed_ms = now_ms
            each.floor_ms = floor_ms(each.operator, now_ms)
            changed = [c for name in sorted(each.due(now_ms)) for c in self._compute(each, name, now_ms)]
            self._tell(each.operator, changed, now_ms, outputs)
        self._beyond.tell(outputs, self._site, self.stream)
        self._forget(now_ms)

    def _compute(self, each: Operated, name: str, now_ms: int) -> list[tuple[Said | None, Said]]:
        operator = each.operator
        from_ms = each.floor_ms - 1000 * operator.reach_s
        items = [i for i in each.index.get(name, {}).values() if i.t >= from_ms]
        items.sort(key=_order)

        entity = Entity(name, items, self._site, self.stream, now_ms, from_ms, self.beginning)

        def compute() -> list[tuple[Said | None, Said]]:
            if not operator.spares:
                self._expect_computed(items)
            given = list(operator.function(entity))
            rows = [r for r in given if isinstance(r, EntityRow)]
            times = [t for r in rows for t in (r.settles_ms, r.again_ms) if t is not None and t > now_ms]
            changed = each.said.say(name, given, now_ms, each.floor_ms)
            each.wake(name, min(times, default=None))
            self._failures.forget(operator.name, name)
            return changed

        def failed(error: Exception) -> list[tuple[Said | None, Said]]:
            self._failures.note(operator.name, name, error)
            each.wake(name, now_ms + RETRY_MS)
            instead = operator.instead
            rows = [] if instead is None else contained(lambda: list(instead(entity)), lambda _: [])
            return each.said.unknown(name, now_ms, each.floor_ms, rows)

        return cast("list[tuple[Said | None, Said]]", contained(compute, failed))

    def _expect_computed(self, items: Iterable[Item]) -> None:
        """Raise SourceError where an item is a row of an entity that cannot be computed.

        A sum without it would be a number that looks right.
        """
        for item in items:
            if item.source in self._written and item.failed:
                raise SourceError(f"{item.source} of {item.device}, which it reads, cannot be computed")

    def _tell(
        self, operator: EntityOperator, changed: list[tuple[Said | None, Said]], now_ms: int, outputs: Outputs
    ) -> None:
        for measurement in sorted(operator.writes.keys() - operator.hidden):
            rows = [now for _, now in changed if now.name[0] == measurement]
            if rows:
                outputs.add(measurement, entity_table(operator, measurement, rows, self._site, self.stream))
        told = [c for c in changed if c[1].name[0] not in operator.hidden]
        outputs.add(RESTATEMENT, entity_restated(told, now_ms, _WHY, self._site, self.stream))
        for _, row in changed:
            measurement, key, start_ms = row.name
            if measurement in self._readers:
                withdrawn = row.status == Status.WITHDRAWN
                item = None if withdrawn else _of_row(measurement, key, start_ms, row.values)
                self._put((key, start_ms), item, measurement)
        if operator.forward is not None:
            outputs.forwards.extend(forwarded(operator, changed, self._site, self.stream))

    def _forget(self, now_ms: int) -> None:
        for source, readers in self._readers.items():
            oldest_ms = min(floor_ms(e.operator, now_ms) - 1000 * e.operator.reach_s for e in readers)
            for name, item in self._items.drop_before(source, oldest_ms):
                for each in readers:
                    for entity in concerned(each.operator, item, self._site):
                        of_entity = each.index.get(entity, {})
                        of_entity.pop((source, name), None)
                        if not of_entity:
                            each.index.pop(entity, None)
        for each in self._operated:
            each.said.seal_before(each.floor_ms)

    # -- keeping -----------------------------------------------------------------------

    def parts(self) -> dict[str, bytes]:
        """State as parts of a checkpoint; `load` reads them."""
        about = {
            "version": _VERSION,
            "dirty_from_ms": self.marking.dirty_from_ms,
            "beginning": self.beginning.asdict(),
            "beyond": self._beyond.to_json(),
            "operators": {e.operator.name: [sorted(e.dirty), e.wakes, e.computed_ms] for e in self._operated},
        }
        parts = {"entities": json.dumps(about, ensure_ascii=False).encode(), **self._items.parts()}
        for each in self._operated:
            parts.update(each.said.parts())
        return parts

    def load(self, parts: Mapping[str, bytes], site: Site, devices: int) -> None:
        """Read what `parts` gave; nothing where there is none. `devices` is how many the stream knows."""
        if "entities" not in parts:
            self.beginning = Beginning.load(None)
            self.register(site)
            return
        about = json.loads(parts["entities"])
        if about["version"] != _VERSION:
            raise ValueError(f"entities of version {about['version']}")
        self._items.load(parts)
        for each in self._operated:
            each.said.load(parts)
        self.register(site)
        if about["dirty_from_ms"] is not None:  # which devices is not kept: of others the same marks are made
            self.marking.touch(np.arange(devices), about["dirty_from_ms"])
        self.beginning = Beginning.load(about.get("beginning"))
        self._beyond.load(about["beyond"])
        for each in self._operated:
            kept = about["operators"].get(each.operator.name)
            if kept is not None:  # of one that is new everything is to be computed
                dirty, wakes, each.computed_ms = kept
                # A version of before may not have seen to what is waited for now: all is computed once.
                each.dirty = set(dirty) if "beginning" in about else each.dirty.union(dirty)
                for name, at_ms in wakes.items():
                    each.wake(name, at_ms)


def _of_row(measurement: str, key: str, start_ms: int, values: Mapping[str, Any], told: int = 0) -> Item:
    """A row of an entity as others are given it."""
    flags = (FAILED,) if values.get("reason") == FAILED else ()
    return Item(measurement, key, start_ms, values, flags, seq=told)


def _order(item: Item) -> tuple[Any, ...]:
    return item.order


def _standing(before: Item, event: Item) -> Item:
    """Of two events of one name the one that stands, flagged where they differ."""
    later, other = (event, before) if _message(event) > _message(before) else (before, event)
    differ = (later.t, later.values) != (other.t, other.values)
    if "repeat" in later.flags or not (differ or "repeat" in other.flags):
        return later
    flags = (*later.flags, "repeat")
    return Item(later.source, later.device, later.t, later.values, flags, later.boot, later.seq, later.pos)


def _message(item: Item) -> tuple[int, int, int]:
    return (item.boot, item.seq, item.pos)
