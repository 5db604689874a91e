"""What stands around a row's fields, half a character, and columns that nobody declared end no stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from alerts.condition import conditions_of
from models.anomaly import ANOMALY, Anomaly, Severity, anomaly_table
from streams.core.declared import Declared
from streams.core.entity import EntityRow
from streams.core.operator import Operator, discovered, learner
from streams.core.pipeline import Pipeline
from tests.laws.test_what_is_odd_is_refused_alone import UNIT
from tests.support.crash_road import road_stream
from tests.support.crash_unit import HOUR_MS
from tests.support.poisoned import of_the_road

pytestmark = pytest.mark.contained

HALF = "\ud83d"
"""The first of the two halves of a character: a text in Python, and in no table."""


def _named(name: str) -> Any:
    (operator,) = (o for o in discovered() if o.name == name)
    return operator


def _lived(operators: list[Operator], records: Any = UNIT, stream: str = "u1") -> tuple[Pipeline, list[Any]]:
    """A stream that keeps a checkpoint at its end, and has conditions made of its anomalies."""
    pipeline, heard = Pipeline(stream, operators, provisional_every_ms=400_000), list[Any]()
    for record in records:
        outputs = pipeline.step(record)
        heard.append(outputs)
        conditions_of(outputs.rows.get(ANOMALY, ()), record.offset)
    pipeline.checkpoint()
    return pipeline, heard


@pytest.fixture(scope="module")
def road() -> list[Any]:
    from tests.laws.test_what_is_odd_is_refused_alone import _journal

    return _journal(road_stream(1), "h1")[:40]


@pytest.mark.parametrize(("name", "value", "instead"), [
    ("key", HALF, False), ("key", 5, False), ("unit", 5, False), ("reason", 5, False), ("model", 5, False),
    ("coverage", "1", False), ("start_ms", 0.5, False), ("start_ms", 2**70, False), ("window_ms", 0.5, False),
    ("settles_ms", 0.5, False), ("again_ms", 0.5, False), ("fields", {"ticket": HALF}, False),
    ("key", 5, True), ("fields", {"ticket": HALF}, True),
])  # fmt: skip
def test_a_row_with_an_odd_header_is_its_entitys_matter(road, name, value, instead) -> None:
    operator = _named("weighing")
    measurement = next(m for m in operator.writes if m not in operator.hidden)

    def function(entity: Any) -> Iterator[EntityRow]:
        yield from operator.function(entity)
        now_ms = entity.now_ms
        row = EntityRow(measurement, "odd", now_ms, 0, "u1", {}, now_ms + HOUR_MS)
        if name == "start_ms" and value == 0.5:
            row = replace(row, start_ms=now_ms + 0.5)
        else:
            row = replace(row, **{name: value})
        yield row

    def failing(entity: Any) -> Iterator[EntityRow]:
        raise ZeroDivisionError(entity.name)
        yield

    spoilt = (
        replace(operator, function=failing, instead=function)
        if instead
        else replace(operator, function=function)
    )
    pipeline, heard = _lived([spoilt if o is operator else o for o in of_the_road(discovered())], road, "h1")
    mine = [f.error for f in pipeline.all_failures if f.operator == operator.name]
    assert mine
    why = (
        "ZeroDivisionError"
        if instead
        else "expected ticket of"
        if name == "fields"
        else f"expected {name} of "
    )
    assert all(why in error for error in mine)
    rows = [r for o in heard for table in o.rows.get(measurement, ()) for r in table.to_pylist()]
    assert not [r for r in rows if r["key"] == "odd"]


@pytest.mark.parametrize("as_array", [True, False])
def test_half_a_character_as_a_reason_is_its_devices_matter(as_array) -> None:
    operator = _named("device_heat")

    def function(samples: Any, site: Any) -> Any:
        result = operator.function(samples, site)
        reason = [HALF if site.ids[d] == "sub-2" else "" for d in samples.devices]
        return replace(result, reason=np.array(reason, dtype=str if as_array else object))

    pipeline, _ = _lived([replace(operator, function=function)])
    assert {(f.operator, f.subject) for f in pipeline.all_failures} == {("device_heat", "sub-2")}


@pytest.mark.parametrize(
    "more",
    [
        {"by": pa.array([b"bytes"])},
        {"by": pa.array([datetime(2026, 1, 1, tzinfo=UTC)])},
        {"evidence": pa.array(["[" * 100_000])},
    ],
    ids=["bytes", "time", "deep"],
)
def test_columns_and_evidence_of_a_learner_end_neither_checkpoints_nor_alarms(more) -> None:
    @learner(reads=("device_heat",), version=1, writes=ANOMALY, subject="network")
    def watching(state, settled):
        found = Anomaly(
            "network:n1",
            "leak",
            Severity.MAJOR,
            2.0,
            {},
            settled.start_ms,
            settled.end_ms,
            900_000,
            "u1",
            "r1",
        )
        table = anomaly_table([found], settled.stream)
        for name, column in more.items():
            at = table.schema.get_field_index(name)
            table = table.append_column(name, column) if at < 0 else table.set_column(at, name, column)
        if state == 3:  # so that the former are ended by another version
            raise ZeroDivisionError
        return (state or 0) + 1, table

    pipeline, heard = _lived([_named("device_heat"), watching])
    assert any(o.rows.get(ANOMALY) for o in heard)
    after = Pipeline(
        "u1", [_named("device_heat"), replace(watching, version=2)], provisional_every_ms=400_000
    )
    assert after.offset < pipeline.offset


def test_halves_of_samples_may_have_columns_of_different_types_that_nobody_declared() -> None:
    operator = _named("reading")

    def function(accepted: Any) -> pa.Table:
        devices = accepted.batch.column("device").to_pylist()
        if "sub-2" in devices and len(devices) > 1:
            raise ZeroDivisionError
        table = operator.function(accepted)
        odd = ["x" if devices[0] < "sub-2" else 1] * table.num_rows
        return table.append_column("more", pa.array(odd))

    pipeline, heard = _lived([replace(operator, function=function)])
    assert not pipeline.all_failures
    assert {r["key"] for o in heard for t in o.readings for r in t.to_pylist()} > {"sub-1", "sub-2"}


def test_a_column_that_is_there_twice_is_refused() -> None:
    declared = Declared(pa.schema([pa.field("a", pa.int64()), pa.field("b", pa.int64())]))
    twice = pa.table([pa.array(["x"]), pa.array([1]), pa.array([2])], names=["a", "a", "b"])
    with pytest.raises(ValueError, match=r"expected columns \['a'\], each once"):
        declared.of(twice, pytest.fail)
