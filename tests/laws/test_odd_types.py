"""A field of another type than declared is one record's, one ticket's or one row's matter; neighbours go on."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from models.frame import ROW_OF_ANOTHER_STREAM, Frame, FrameError, FrameKind, Record, telemetry_schema
from streams.core.declared import expect_declared
from streams.core.entity import EntityRow
from streams.core.operator import discovered
from streams.core.pipeline import Pipeline
from tests.support.poisoned import of_the_road
from tests.support.road import HOUR_MS, MINUTE_MS, ROAD_TEXTS, STREAM, Told, road_journal, trips, weighing
from tests.support.telemetry import T0, registry_frame

pytestmark = pytest.mark.contained


def _rows(records: Iterable[Record], operators: Any) -> tuple[Told, Pipeline]:
    pipeline, told = Pipeline(STREAM, operators, provisional_every_ms=600_000), Told()
    for record in records:
        told.take(pipeline.step(replace(record, offset=pipeline.offset + 1)))
    told.take(pipeline.finish())
    return told, pipeline


def _without_letters(told: Told) -> dict[str, Any]:
    return {m: rows for m, rows in told.rows.items() if m not in {"dead_letter", "delivery"}}


def _weighed(**columns: pa.Array) -> Frame:
    """A frame of a weighing, some columns of it as given."""
    at_ms = T0 + 5 * HOUR_MS
    row = {
        "device": "bridge-m",
        "boot": 5,
        "seq": 900,
        "pos": 0,
        "t": at_ms,
        **weighing(1, at_ms, "Z1", "gross", 45e3).values,
    }
    batch = pa.RecordBatch.from_pylist([row], schema=telemetry_schema("weighbridge"))
    for name, column in columns.items():
        at = batch.schema.get_field_index(name)
        batch = batch.set_column(at, pa.field(name, column.type), column)
    return Frame(FrameKind.TELEMETRY, "weighbridge", batch)


def _events() -> list[Record]:
    events = sorted(trips(1, days=1.0), key=lambda e: e.t)
    return road_journal([[e] for e in events], [e.t + MINUTE_MS for e in events])


@pytest.mark.parametrize(
    ("column", "told"),
    [
        ({"ticket": pa.array([5])}, "expected ticket as string, got int64"),
        ({"plate": pa.array([["P1"]])}, "expected plate as string, got list"),
        ({"mass_kg": pa.array(["45 t"])}, "expected mass_kg as double, got string"),
        ({"t": pa.array(["noon"])}, "expected t as int64, got string"),
        ({"t": pa.array([None], pa.int64())}, "expected t in every row, got 1 without"),
        ({"extra": pa.array([7.0])}, "expected extra as string, got double"),
    ],
)  # fmt: skip
def test_a_record_with_a_column_of_another_type_is_a_dead_letter_and_neighbours_are_as_ever(
    column, told
) -> None:
    operators, records = of_the_road(discovered()), _events()
    half = len(records) // 2
    odd = Record(STREAM, 0, records[half].timestamp_ms, _weighed(**column).encode())
    with_it, _ = _rows([*records[:half], odd, *records[half:]], operators)
    without, _ = _rows(records, operators)
    assert _without_letters(with_it) == _without_letters(without)
    (letter,) = with_it.rows["dead_letter"].values()
    assert told in letter["detail"]
    assert (letter["reason"], letter["state"]) == ("frame", "open")


@pytest.mark.parametrize("column", [
    {"mass_kg": pa.array([45_000])}, {"seq": pa.array([900], pa.int32())}, {"seq": pa.array([900], pa.uint32())},
    {"device": pa.array(["bridge-m"]).dictionary_encode()}, {"tag": pa.nulls(1)},
])  # fmt: skip
def test_a_number_and_a_text_in_other_clothes_are_taken(column) -> None:
    assert Frame.decode(_weighed(**column).encode()).device_class == "weighbridge"


@pytest.mark.parametrize(("column", "told"), [
    ({"seq": pa.array([2**63 + 1], pa.uint64())}, "expected seq as int64, got uint64"),
    ({"device": pa.DictionaryArray.from_arrays([0], [None])}, "expected device"),
    ({"device": pa.DictionaryArray.from_arrays([0], pa.array([None], pa.string()))}, "expected device in every row"),
])  # fmt: skip
def test_what_would_end_a_stream_after_it_was_taken_is_no_frame(column, told) -> None:
    with pytest.raises(FrameError, match=told):
        Frame.decode(_weighed(**column).encode())


def test_a_frame_with_a_column_twice_is_none() -> None:
    batch = _weighed().batch
    twice = batch.append_column("mass_kg", pa.array([1.0]))
    with pytest.raises(FrameError, match="expected each column once"):
        Frame.decode(Frame(FrameKind.TELEMETRY, "weighbridge", twice).encode())


def test_a_frame_without_a_column_that_every_row_has_or_of_an_unknown_class_is_none() -> None:
    frame = _weighed()
    for odd in (
        Frame(frame.kind, frame.device_class, frame.batch.drop_columns(["seq"])),
        Frame(frame.kind, "submarine", frame.batch),
        Frame(
            FrameKind.EVENT, "", pa.RecordBatch.from_pylist([{"device": "a", "kind": "birth", "payload": 1}])
        ),
    ):
        with pytest.raises(FrameError, match="expected"):
            Frame.decode(odd.encode())


def test_a_ticket_of_which_a_field_is_of_another_type_is_unknown_alone() -> None:
    def with_odd(operator: Any) -> Any:
        def odd(entity: Any) -> Iterable[EntityRow]:
            for row in operator.function(entity):
                mine = entity.name == "MP1-1" and row.measurement == "weighing"
                yield replace(row, fields={**row.fields, "tag": 5}) if mine else row

        return replace(operator, function=odd) if operator.name == "weighing" else operator

    told, pipeline = _rows(_events(), [with_odd(o) for o in of_the_road(discovered())])
    sound, _ = _rows(_events(), of_the_road(discovered()))
    failure = {f.subject: f for f in pipeline.all_failures if f.operator == "weighing"}
    assert failure.keys() == {"MP1-1"}
    assert "expected tag of weighing as string, got 5" in failure["MP1-1"].error
    rows, as_ever = told.of("weighing"), sound.of("weighing")
    assert rows.keys() == as_ever.keys()
    unlike = {name[0].split(":")[1] for name in rows if rows[name] != as_ever[name]}
    assert unlike == {"MP1-1"}


@pytest.mark.parametrize(
    ("value", "kind", "sound"),
    [
        ("a", pa.string(), True), (5, pa.string(), False), (5, pa.float64(), True), (2.5, pa.float64(), True),
        ("5", pa.float64(), False), (5, pa.int64(), True), (5.0, pa.int64(), True), (5.5, pa.int64(), False),
        (np.float64(5.5), pa.int64(), False), (-0.5, pa.int64(), False), (np.int64(5), pa.int64(), True),
        (2**63, pa.int64(), False), ([1], pa.int64(), False), ({}, pa.string(), False),
    ],
)  # fmt: skip
def test_what_cannot_be_told_as_declared_is_known_before_it_is(value, kind, sound) -> None:
    try:
        assert pa.array([value], kind).to_pylist() == [value]
    except (AssertionError, pa.ArrowException, OverflowError, TypeError, ValueError):
        assert not sound
        with pytest.raises(ValueError, match="expected x of m as"):
            expect_declared({"x": value}, {"x": kind}, "m")
    else:
        assert sound
        expect_declared({"x": value}, {"x": kind}, "m")


def test_a_row_of_another_stream_that_is_none_is_a_dead_letter_and_the_next_is_taken() -> None:
    values = {
        "contract": "C1", "unit": "u1", "status": "final", "reason": "", "state": "closed", "plate": "P1",
        "origin_ticket": "M1", "destination_ticket": "Y1", "loaded_kg": 30_000, "received_kg": 29_900,
        "received_ms": T0 + HOUR_MS,
    }  # fmt: skip
    about = {"measurement": "trip", "key": "M1", "start_ms": T0, "stream": "h1", "told": 1, "values": values}
    odd = [
        about | {"key": "M2", "values": values | {"received_kg": "many"}}, about | {"start_ms": "noon"},
        about | {"values": []}, {"measurement": "trip"}, [],
    ]  # fmt: skip
    payloads = [*(json.dumps(x) for x in odd), "{", json.dumps(about)]
    rows = [{"device": "", "kind": ROW_OF_ANOTHER_STREAM, "payload": p} for p in payloads]
    records = [
        Record("u1", 0, T0, registry_frame(ROAD_TEXTS).encode()),
        Record("u1", 1, T0 + 2 * HOUR_MS, Frame.events(rows, FrameKind.ACTION).encode()),
    ]
    pipeline, told = Pipeline("u1", of_the_road(discovered())), Told()
    for record in records:
        told.take(pipeline.step(record))
    letters = told.rows["dead_letter"].values()
    assert [x["payload"] for x in letters] == payloads[:-1], "each has a name of its own"
    assert not pipeline.all_failures
