"""A value of another type than declared is refused by name, alone, whichever operator gives it; all else goes on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from models.anomaly import ANOMALY_SCHEMA
from models.frame import Frame, Record
from models.results import result_schema
from streams.core.containing import FAILED
from streams.core.deliveries import LedgerCounts
from streams.core.entity import EntityRow
from streams.core.entity_operator import EntityOperator, MarkOperator, Marks
from streams.core.operator import (
    Learner,
    LedgerOperator,
    NetworkOperator,
    Operator,
    SampleOperator,
    WindowOperator,
    discovered,
)
from streams.core.pipeline import Pipeline
from tests.support.crash_road import road_stream
from tests.support.crash_unit import HOUR_MS, unit_stream
from tests.support.poisoned import of_the_road
from tests.support.road import Told

pytestmark = pytest.mark.contained

OF_ROWS = WindowOperator | NetworkOperator | Learner | SampleOperator | LedgerOperator
EVERY = [pytest.param(o, id=o.name) for o in discovered()]
Name = tuple[str, int]


@dataclass
class Heard:
    """All that a stream said."""

    told: Told = field(default_factory=Told)
    readings: list[dict[str, Any]] = field(default_factory=list)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)

    def rows(self, operator: Any) -> dict[Name, dict[str, Any]]:
        """Those of one that is no entity operator, readings too."""
        if isinstance(operator, SampleOperator):
            return {(r["key"], n): r for n, r in enumerate(self.readings)}
        return self.told.of(getattr(operator, "measurement", operator.name))


def _lived(records: Iterable[Record], operators: Sequence[Operator], stream: str) -> Heard:
    pipeline, heard = Pipeline(stream, operators, provisional_every_ms=400_000), Heard()
    for record in records:
        outputs = pipeline.step(record)
        heard.told.take(outputs)
        heard.readings += [r for table in outputs.readings for r in table.to_pylist()]
    heard.told.take(pipeline.finish())
    heard.failures = {(f.operator, f.subject): f.error for f in pipeline.all_failures}
    return heard


def _journal(framed: Iterable[tuple[int, Frame]], stream: str) -> list[Record]:
    records = [Record(stream, n, at_ms, frame.encode()) for n, (at_ms, frame) in enumerate(framed)]
    last_ms = records[-1].timestamp_ms
    beats = [(last_ms + hours * HOUR_MS, Frame.heartbeat()) for hours in (2, 4)]
    return records + [Record(stream, len(records) + n, at, f.encode()) for n, (at, f) in enumerate(beats)]


UNIT = _journal(unit_stream(1, 2.0), "u1")


@cache
def _road() -> list[Record]:
    return _journal(road_stream(1), "h1")


def _read_by(operator: Any) -> set[str]:
    """Names of all that rows of an operator rest on, and its own."""
    by_name = {o.name: o for o in discovered() if isinstance(o, OF_ROWS)}
    names = {operator.name}
    for name in getattr(operator, "reads", ()):
        if name in by_name and name not in names:
            names |= _read_by(by_name[name])
    return names


def _unit(operator: Any, spoilt: Any) -> tuple[Heard, Heard]:
    """What a unit's stream says with `spoilt` in the place of `operator`, and with that itself."""
    needed = [spoilt if o.name == operator.name else o for o in _needed(operator.name)]
    return _lived(UNIT, needed, "u1"), _sound(operator.name)


def _needed(name: str) -> list[Operator]:
    (operator,) = (o for o in discovered() if o.name == name)
    return [o for o in discovered() if o.name in _read_by(operator)]


@cache
def _sound(name: str) -> Heard:
    return _lived(UNIT, _needed(name), "u1")


def _in_turns(operators: Sequence[Any], cases: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Each operator with the first case and one more in turns; the soak has every one with every case."""
    return [
        pytest.param(
            *p.values, *case,
            id=f"{p.id}-{'-'.join(map(str, case))}",
            marks=() if n in (0, 1 + at % (len(cases) - 1)) else pytest.mark.soak,
        )
        for at, p in enumerate(operators) for n, case in enumerate(cases)
    ]  # fmt: skip


def _others(rows: dict[Name, dict[str, Any]], *keys: str) -> dict[Name, dict[str, Any]]:
    return {name: row for name, row in rows.items() if name[0] not in keys}


def _of_one(operator: Any, name: str, value: Any) -> tuple[Any, str]:
    """The operator with `value` as a field of one subject, and whose it is."""
    of_network = getattr(operator, "subject", "device") == "network"
    whose = (
        "n1"
        if of_network
        else {"fuel_burnt": "plant", "device_water": "plant", "weather": "met"}.get(operator.name, "sub-2")
    )

    def function(given: Any, *site: Any) -> Any:
        result = operator.function(given, *site)
        if result is None:
            return None
        ids = [given.network.id] if of_network else [(site or (given.site,))[0].ids[d] for d in given.devices]
        column = np.array(np.broadcast_to(np.asarray(getattr(result, name), object), len(ids)))
        column[[i == whose for i in ids]] = value
        return replace(result, **{name: column})

    return replace(operator, function=function), whose


ROWS = [p for p in EVERY if isinstance(p.values[0], WindowOperator | NetworkOperator)]


@pytest.mark.parametrize(
    ("operator", "of", "value"),
    _in_turns(ROWS, [("", "odd"), ("", "5"), ("", 1j), ("coverage", "1"), ("reason", 5)]),
)
def test_a_device_or_network_of_which_a_value_is_odd_is_unknown_alone(operator, of, value) -> None:
    name = of or operator.fields[0]
    spoilt, whose = _of_one(operator, name, value)
    heard, sound = _unit(operator, spoilt)
    rows, as_ever = heard.rows(operator), sound.rows(operator)
    assert rows.keys() >= as_ever.keys()
    assert _others(rows, whose) == _others(as_ever, whose)
    mine = [row for key, row in rows.items() if key[0] == whose]
    assert mine
    for row in mine:
        assert (row["status"] in {"unknown", "provisional"}, row["reason"], row["coverage"]) == (
            True,
            FAILED,
            0.0,
        )
        assert {row[f] for f in operator.fields} == {None}
    assert {n for n in heard.failures if n[0] == operator.name} == {(operator.name, whose)}
    assert f"expected {name} as " in heard.failures[operator.name, whose]
    assert repr(value) in heard.failures[operator.name, whose]


LEARNERS = [p for p in EVERY if isinstance(p.values[0], Learner)]


def _own(learner: Learner) -> str | None:
    """A field that it declares of its own."""
    return {"anomaly": "score"}.get(learner.writes) or next(iter(learner.fields), None)


@pytest.mark.parametrize(
    ("learner", "of"),
    [
        *_in_turns([p for p in LEARNERS if _own(p.values[0])], [("field",), ("window_ms",), ("key",)]),
        *_in_turns([p for p in LEARNERS if not _own(p.values[0])], [("window_ms",), ("key",)]),
    ],
)
def test_a_row_of_a_learner_of_which_a_value_is_odd_is_not_told_and_the_next_one_is(learner, of) -> None:
    name, odd = {
        "field": (_own(learner), pa.array(["5", None])),
        "window_ms": ("window_ms", pa.array([900_000.5, 900_000.0])),
        "key": ("key", pa.array([None, "whole"])),
    }[of]  # fmt: skip
    heard, sound = _unit(learner, _with_two(learner, name, odd))
    rows, as_ever = heard.rows(learner), sound.rows(learner)
    assert _others(rows, "whole") == as_ever
    mine = [r for key, r in rows.items() if key[0] == "whole"]
    assert len(mine) > 3
    assert {(r["window_ms"], r["model"]) for r in mine} == {(900_000, f"{learner.name}/{learner.version}")}
    whose = "u1" if of == "key" else "odd"
    assert {n for n in heard.failures if n[0] == learner.name} == {(learner.name, whose)}
    assert f"expected {name} " in heard.failures[learner.name, whose]


def _schema(learner: Learner) -> pa.Schema:
    return (
        ANOMALY_SCHEMA
        if learner.writes
        else result_schema([pa.field(f, pa.float64()) for f in learner.fields])
    )


def _with_two(learner: Learner, name: str, odd: pa.Array) -> Learner:
    """The learner telling every hour in which it says nothing else of two, of which one has an odd value."""

    def function(state: Any, settled: Any) -> Any:
        after, rows = learner.function(state, settled)
        if settled.start_ms % HOUR_MS == 0 and rows is None:
            row = {
                "unit": "u1", "region": "r1", "stream": settled.stream, "window_start": settled.start_ms,
                "window_ms": 900_000, "status": "final", "revision": 0,
            }  # fmt: skip
            row |= {n: v for n, v in (("state", "ended"), ("evidence", "{}")) if n in _schema(learner).names}
            rows = pa.Table.from_pylist([row | {"key": k} for k in ("odd", "whole")], schema=_schema(learner))
            rows = rows.set_column(rows.schema.get_field_index(name), name, odd)
        return after, rows

    return replace(learner, function=function)


SAMPLERS = [p for p in EVERY if isinstance(p.values[0], SampleOperator)]


def _device_at(batch: pa.RecordBatch) -> list[int]:
    return [at for at, d in enumerate(batch.column("device").to_pylist()) if d == "sub-2"]


def _fraction(accepted: Any, table: pa.Table) -> pa.Table:
    seq = table["seq"].to_numpy() + 0.0
    seq[_device_at(accepted.batch)] += 0.5
    return table.set_column(table.schema.get_field_index("seq"), "seq", pa.array(seq))


def _nothing(accepted: Any, table: pa.Table) -> pa.Table:
    if _device_at(accepted.batch):
        raise ZeroDivisionError("of a test")
    return table


def _one_less(accepted: Any, table: pa.Table) -> pa.Table:
    return table.slice(1) if _device_at(accepted.batch) else table


@pytest.mark.parametrize("operator", SAMPLERS)
@pytest.mark.parametrize(
    ("odd", "why"),
    [(_fraction, "expected seq as int64"), (_nothing, "of a test"), (_one_less, "one a sample")],
)
def test_a_sample_of_which_there_is_no_reading_is_not_stored_and_those_beside_it_are(
    operator, odd: Callable[[Any, pa.Table], pa.Table], why
) -> None:
    spoilt = replace(operator, function=lambda accepted: odd(accepted, operator.function(accepted)))
    heard, sound = _unit(operator, spoilt)
    assert heard.readings == [r for r in sound.readings if r["key"] != "sub-2"]
    assert len(heard.readings) < len(sound.readings)
    assert heard.failures.keys() == {(operator.name, "sub-2")}
    assert why in heard.failures[operator.name, "sub-2"]


LEDGERS = [p for p in EVERY if isinstance(p.values[0], LedgerOperator)]


@pytest.mark.parametrize("operator", LEDGERS)
@pytest.mark.parametrize("odd", [5.5, "5", ZeroDivisionError("of a test")])
def test_a_device_that_cannot_be_counted_has_no_row_and_those_beside_it_have(operator, odd) -> None:
    def mine(counts: LedgerCounts) -> bool:
        return counts.stored % 3 == 1

    def function(counts: Sequence[LedgerCounts]) -> Any:
        said = operator.function(counts)
        if isinstance(odd, Exception) and any(map(mine, counts)):
            raise odd
        return said | {"sent": [odd if mine(c) else n for c, n in zip(counts, said["sent"], strict=True)]}

    spoilt = replace(operator, function=function)
    lives = [Pipeline("u1", (o,), provisional_every_ms=400_000) for o in (spoilt, operator)]
    left_out = 0
    for record in UNIT:
        heard, sound = (
            [r for t in life.step(record).rows.get(operator.name, ()) for r in t.to_pylist()]
            for life in lives
        )
        assert heard == [r for r in sound if r["stored"] % 3 != 1]
        left_out += len(sound) - len(heard)
    assert left_out > 3
    whose = {f.subject for f in lives[0].all_failures if f.operator == operator.name}
    assert len(whose) > 1
    assert not lives[1].all_failures


MARKS = [p for p in EVERY if isinstance(p.values[0], MarkOperator)]


@pytest.mark.parametrize("operator", MARKS)
@pytest.mark.parametrize("odd", [object(), {1, 2}, None])
def test_marks_of_which_a_value_is_odd_are_of_their_device_alone(operator, odd) -> None:
    def function(samples: Any, site: Any) -> Marks:
        marks = operator.function(samples, site)
        n = len(marks.device)
        return replace(marks, values={**marks.values, "odd": [odd] * n if odd is not None else [1] * (n + 1)})

    operators = [replace(o, function=function) if o is operator else o for o in of_the_road(discovered())]
    heard = _lived(_road(), operators, "h1")
    assert re.search(r"expected (odd|\d+ of odd)", heard.failures[operator.name, "truck-1"])
    assert heard.told.of("weighing") == _sound_road().told.of("weighing")


def _wrong(kind: pa.DataType) -> Any:
    """What is of another type, though Arrow would make it fit: a fraction for a whole number."""
    return {"int64": 5.5, "double": "odd", "string": 5}[str(kind)]


ENTITIES = [p for p in EVERY if isinstance(p.values[0], EntityOperator)]
UNTOLD = {p.id for p in ENTITIES if {*p.values[0].writes} <= {*p.values[0].hidden}}
"""Who give rows to other operators alone: no result of theirs is told."""


@cache
def _sound_road() -> Heard:
    return _lived(_road(), of_the_road(discovered()), "h1")


@cache
def _sound_unit() -> Heard:
    return _lived(UNIT, discovered(), "u1")


@pytest.mark.parametrize("operator", [p for p in ENTITIES if p.id not in UNTOLD])
def test_an_entity_of_which_a_value_is_odd_is_unknown_alone(operator) -> None:
    of_unit = operator.name == "fuel_heat"
    sound = _sound_unit() if of_unit else _sound_road()
    measurement = next(m for m in operator.writes if m not in operator.hidden)
    kinds = operator.writes[measurement]
    name = next((n for n, kind in kinds.items() if kind == pa.int64()), next(iter(kinds)))
    whose, mine = list[str](), set[Name]()

    def function(entity: Any) -> Iterator[Any]:
        if not whose:
            whose.append(entity.name)
        if entity.name != whose[0]:
            yield from operator.function(entity)
            return
        for row in operator.function(entity):
            mine.add((row.key, row.start_ms))
            yield row
        odd = {name: _wrong(kinds[name])}
        yield EntityRow(measurement, "odd", entity.now_ms, 0, "u1", odd, entity.now_ms + HOUR_MS)

    operators = discovered() if of_unit else of_the_road(discovered())
    with_it = [replace(o, function=function) if o is operator else o for o in operators]
    heard = _lived(UNIT if of_unit else _road(), with_it, "u1" if of_unit else "h1")
    assert {n for n in heard.failures if n[0] == operator.name} == {(operator.name, whose[0])}
    assert f"expected {name} of {measurement} as " in heard.failures[operator.name, whose[0]]
    rows, as_ever = (_others_than(h.told.of(measurement), mine) for h in (heard, sound))
    if measurement != "anomaly":  # which others tell of, too, who read these rows
        assert rows == as_ever


def _others_than(rows: dict[Name, dict[str, Any]], names: set[Name]) -> dict[Name, dict[str, Any]]:
    return {name: row for name, row in rows.items() if name not in names}


def test_every_kind_of_operator_is_tried() -> None:
    assert len(UNTOLD) < 4
    tried = [*ROWS, *LEARNERS, *SAMPLERS, *LEDGERS, *MARKS, *ENTITIES]
    assert {p.id for p in tried} == {p.id for p in EVERY}
