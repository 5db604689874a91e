"""What an entity operator said last of each entity: only changes are said, what is no more is taken back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from models.anomaly import ANOMALY
from models.results import Status, result_schema
from models.site import Site
from streams.core.containing import FAILED
from streams.core.declared import expect_declared
from streams.core.entity import EntityRow, Stands
from streams.core.entity_items import DAY_MS, DayParts
from streams.core.entity_operator import EntityOperator
from streams.core.tables import RESTATEMENT_SCHEMA

__all__ = ["Said", "SaidRows", "entity_restated", "entity_table"]

RowName = tuple[str, str, int]
"""Measurement, key and start of the window (ms UTC)."""


@dataclass(frozen=True, slots=True)
class Said:
    """A row as it was said.

    Attributes
    ----------
    name : tuple of str, str and int
        Measurement, key and start (ms UTC).
    entity : str
        Whose it is.
    window_ms : int
    unit : str
    fields : mapping
        What is present.
    coverage : float or None
    status, reason : str
    revision : int
    settled : bool
        Whether it ever was final or unknown.
    told : int
        How many times it was said: a greater number is a later word.
    model : str or None
    """

    name: RowName
    entity: str
    window_ms: int
    unit: str
    fields: Mapping[str, Any]
    coverage: float | None
    status: str
    reason: str
    revision: int
    settled: bool
    told: int
    model: str | None

    @property
    def values(self) -> dict[str, Any]:
        """As those who read rows are given it."""
        return {
            **self.fields, "unit": self.unit, "window_ms": self.window_ms, "status": self.status,
            "reason": self.reason, "revision": self.revision,
            **({} if self.coverage is None else {"coverage": self.coverage}),
        }  # fmt: skip

    def same(self, other: Said) -> bool:
        """Whether `other` says nothing new."""
        return self._compared == other._compared

    @property
    def _compared(self) -> tuple[Any, ...]:
        return (
            self.status, self.fields, self.reason, self.coverage, self.settled, self.entity, self.unit,
            self.window_ms, self.model, self.name,
        )  # fmt: skip


class SaidRows:
    """Rows of one operator that are not sealed yet."""

    def __init__(self, operator: EntityOperator):
        self._operator = operator
        self._rows: dict[RowName, Said] = {}
        self._of: dict[str, set[RowName]] = {}
        self._days: dict[int, set[RowName]] = {}
        self._parts = DayParts(f"said/{operator.name}")

    def say(
        self, entity: str, given: Iterable[EntityRow | Stands], now_ms: int, floor_ms: int
    ) -> list[tuple[Said | None, Said]]:
        """Take in all rows of an entity; those that differ from what was said, each with what that was.

        Rows that start before `floor_ms` are sealed: nothing is said of them any more. Of rows with one
        name the second has ``#2`` after its key, and so on. What is given no more is taken back, but for
        what `Stands` among the given say.
        """
        said: dict[RowName, Said] = {}
        rows, stand = list[EntityRow](), list[Stands]()
        for each in given:
            (stand if isinstance(each, Stands) else rows).append(each)  # type: ignore[arg-type]
        for row in rows:
            # Odd events, such as a ticket weighed on two bridges at once, may give rows of one name. None is
            # lost and no stream ends: items are in order, so that each gets its number whenever computed.
            name, number = (row.measurement, row.key, row.start_ms), 1
            while name in said:
                number += 1
                name = (row.measurement, f"{row.key}#{number}", row.start_ms)
            if row.start_ms >= floor_ms:
                said[name] = self._said(entity, name, row, now_ms)
        self._given_no_more(entity, said, stand, floor_ms)
        changed: list[tuple[Said | None, Said]] = []
        for name, now in said.items():
            then = self._rows.get(name)
            if then is None or not then.same(now):
                changed.append((then, now))
                self._keep(now)
        return changed

    def _given_no_more(
        self, entity: str, said: dict[RowName, Said], stand: Sequence[Stands], floor_ms: int
    ) -> None:
        """Put into `said` what becomes of rows that are not in it."""
        for name in sorted(self._of.get(entity, set()) - said.keys()):
            before = self._rows[name]
            if before.status == Status.WITHDRAWN or name[2] < floor_ms:
                continue
            stands = [each for each in stand if each.has(name)]
            if not stands:
                said[name] = replace(
                    before, status=str(Status.WITHDRAWN), reason="",
                    revision=before.revision + before.settled, told=before.told + 1,
                )  # fmt: skip
            elif name[0] != ANOMALY:
                said[name] = _without_numbers(before)
            else:
                for other in [n for n in said if any(each.has(n) for each in stands)]:
                    if not self._stood(other):
                        del said[other]

    def unknown(
        self, entity: str, now_ms: int, floor_ms: int, instead: Iterable[EntityRow] = ()
    ) -> list[tuple[Said | None, Said]]:
        """Take back the numbers of an entity that cannot be computed; its rows that changed, as of `say`.

        Names stay, for those who read such a row, and anomalies as they are: no alarm ends for this. Of
        `instead` what was not said yet is said, without numbers.
        """
        changed: list[tuple[Said | None, Said]] = []
        for name in sorted(self._of.get(entity, set())):
            before = self._rows[name]
            if name[0] == ANOMALY or before.status == Status.WITHDRAWN or name[2] < floor_ms:
                continue
            now = _without_numbers(before)
            if not before.same(now):
                changed.append((before, now))
                self._keep(now)
        for row in instead:
            name = (row.measurement, row.key, row.start_ms)
            if row.start_ms >= floor_ms and not self._stood(name):
                then = self._rows.get(name)
                named = {n: v for n, v in row.fields.items() if isinstance(v, str)}
                now = self._said(entity, name, replace(row, fields=named, reason=FAILED), now_ms)
                changed.append((then, now))
                self._keep(now)
        return changed

    def _stood(self, name: RowName) -> bool:
        """Whether a row was said and not taken back."""
        before = self._rows.get(name)
        return before is not None and before.status != Status.WITHDRAWN

    def _said(self, entity: str, name: RowName, row: EntityRow, now_ms: int) -> Said:
        before = self._rows.get(name)
        settled = now_ms >= row.settles_ms or (before is not None and before.settled)
        status = (Status.UNKNOWN if row.reason else Status.FINAL) if settled else Status.PROVISIONAL
        if row.reason == FAILED:
            status = Status.UNKNOWN
        if row.withdrawn:
            status = Status.WITHDRAWN
        fields = {n: v for n, v in ((n, _plain(v)) for n, v in row.fields.items()) if v is not None}
        if row.measurement not in self._operator.hidden:
            expect_declared(fields, self._operator.writes[row.measurement], row.measurement)
        now = Said(
            name, entity, row.window_ms, row.unit, fields, _plain(row.coverage), str(status),
            row.reason if settled or row.at_once or row.reason == FAILED else "", 0, settled, 1, row.model,
        )  # fmt: skip
        if before is None:
            return now
        if before.same(now):
            return before
        return replace(now, revision=before.revision + before.settled, told=before.told + 1)

    def _keep(self, row: Said) -> None:
        before = self._rows.get(row.name)
        if before is not None and before.entity != row.entity:
            self._of[before.entity].discard(row.name)
        self._rows[row.name] = row
        self._of.setdefault(row.entity, set()).add(row.name)
        self._days.setdefault(row.name[2] // DAY_MS, set()).add(row.name)
        self._parts.touch("", row.name[2])

    def entities(self) -> Iterable[str]:
        """Everybody of whom something was said."""
        return self._of.keys()

    def all(self) -> Iterable[Said]:
        """Everything that is not sealed."""
        return self._rows.values()

    def seal_before(self, floor_ms: int) -> None:
        """Forget rows of days that ended by then."""
        for day in [d for d in self._days if (d + 1) * DAY_MS <= floor_ms]:
            for name in self._days.pop(day):
                row = self._rows.pop(name)
                mine = self._of[row.entity]
                mine.discard(name)
                if not mine:
                    del self._of[row.entity]

    def parts(self) -> dict[str, bytes]:
        """State as parts of a checkpoint; `load` reads them."""
        return self._parts.make(
            {
                ("", day): (
                    [getattr(self._rows[name], field) for field in Said.__slots__] for name in sorted(names)
                )
                for day, names in self._days.items()
            }
        )

    def load(self, parts: Mapping[str, bytes]) -> None:
        """Read what `parts` gave."""
        for _, (name, *rest) in self._parts.read(parts):
            row = Said(tuple(name), *rest)
            self._rows[row.name] = row
            self._of.setdefault(row.entity, set()).add(row.name)
            self._days.setdefault(row.name[2] // DAY_MS, set()).add(row.name)


def _without_numbers(row: Said) -> Said:
    """A row that cannot be computed any more: what names it stays."""
    named = {n: v for n, v in row.fields.items() if isinstance(v, str)}
    coverage = None if row.coverage is None else 0.0
    now = replace(row, fields=named, coverage=coverage, status=str(Status.UNKNOWN), reason=FAILED)
    return row if row.same(now) else replace(now, revision=row.revision + row.settled, told=row.told + 1)


def _plain(value: Any) -> Any:
    """As Python has it, None for NaN."""
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and value != value else value  # noqa: PLR0124  NaN


def entity_table(
    operator: EntityOperator, measurement: str, rows: Sequence[Said], site: Site, stream: str
) -> pa.Table:
    """Rows of one measurement as a result table."""
    schema = result_schema([pa.field(n, kind) for n, kind in operator.writes[measurement].items()])
    return pa.Table.from_pylist([_row(r, site, stream) for r in rows], schema=schema)


def _row(row: Said, site: Site, stream: str) -> dict[str, Any]:
    unit = site.units.get(row.unit)
    return {
        **row.fields, "key": row.name[1], "unit": row.unit, "region": unit.region if unit else "",
        "stream": stream, "window_start": row.name[2], "window_ms": row.window_ms, "coverage": row.coverage,
        "status": row.status, "reason": row.reason or None, "revision": row.revision, "model": row.model,
    }  # fmt: skip


def entity_restated(
    changed: Sequence[tuple[Said | None, Said]], now_ms: int, why: str, site: Site, stream: str
) -> pa.Table:
    """For people: of each row that takes back a settled one, what it was, what it is, why and when.

    An anomaly that goes on, grows or ends is none of them.
    """
    listed = []
    for before, now in changed:
        goes_on = now.name[0] == ANOMALY and now.status != Status.WITHDRAWN
        if before is None or not before.settled or goes_on:
            continue
        was = {**before.fields, "coverage": before.coverage, "status": before.status}
        became = {**now.fields, "coverage": now.coverage, "status": now.status}
        names = [n for n in {**was, **became} if was.get(n) != became.get(n)]
        measurement, key, _ = now.name
        listed.append(
            _row(now, site, stream)
            | {
                "key": f"{measurement}:{key}:{now.revision}", "measurement": measurement, "subject": key,
                "was": json.dumps({n: was.get(n) for n in names}, ensure_ascii=False),
                "became": json.dumps({n: became.get(n) for n in names}, ensure_ascii=False),
                "restated_ms": now_ms, "coverage": None, "status": str(Status.FINAL), "reason": why,
                "model": None,
            }
        )  # fmt: skip
    return pa.Table.from_pylist(listed, schema=RESTATEMENT_SCHEMA)
