"""Laws of sinks: writing twice equals writing once, and any splitting of outputs gives the same rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.results import Outputs, result_schema
from store.duckdb_series import DuckdbSeries
from store.influx_series import InfluxSeries
from store.protocol import Select, SeriesStore
from tests.support.influx_stub import TOKEN, InfluxStub
from tests.support.series import HEAT, heat, heats, output, readings, sample


@dataclass(frozen=True)
class Sink:
    """A fresh store, and everything that it holds in a form that can be compared."""

    store: SeriesStore
    contents: Callable[[], Any]


@contextmanager
def duckdb_sink(directory) -> Iterator[Sink]:
    store = DuckdbSeries(directory / "series.duckdb")

    def contents() -> Any:
        kept = {}
        for measurement in store.counts():
            found = store.select(Select(measurement, withdrawn=True)).to_pylist()
            kept[measurement] = sorted(
                sorted((k, v) for k, v in row.items() if v is not None) for row in found
            )
        return {m: rows for m, rows in kept.items() if rows}

    yield Sink(store, contents)
    store.close()


@contextmanager
def influx_sink(_directory) -> Iterator[Sink]:
    stub = InfluxStub()
    store = InfluxSeries(stub.url, "o", "b", TOKEN, batch_lines=7)
    yield Sink(store, stub.contents)
    assert not store.refusals
    store.close()
    stub.close()


SINKS = {"duckdb": duckdb_sink, "influxdb": influx_sink}
LETTER = result_schema([pa.field("detail", pa.string())])
_KEYS = st.sampled_from("abc")
_VALUE = st.none() | st.floats(-1e6, 1e6, width=32)


@st.composite
def recordings(draw: st.DrawFn) -> list[Outputs]:
    """What a pipeline gives record by record: rows rewritten, readings once, some late or replaced."""
    given_outputs: list[Outputs] = []
    taken: dict[tuple[str, int], dict[str, Any]] = {}
    aged: set[tuple[str, int]] = set()  # what the pipeline no longer has at hand, and never will again
    for offset in range(draw(st.integers(1, 8))):
        out = output(offset)
        windows = draw(st.lists(st.tuples(_KEYS, st.integers(0, 3), _VALUE), max_size=5))
        out.add("device_heat", heats(*(heat(k, w * 900_000, v, revision=offset) for k, w, v in windows)))
        if draw(st.booleans()):
            out.add("dead_letter", heats(heat(f"s1:{offset}:0", offset, detail="expected"), schema=LETTER))
        new, lost = [], []
        for pos, (key, t, value) in enumerate(
            draw(st.lists(st.tuples(_KEYS, st.integers(0, 9), _VALUE), max_size=6))
        ):
            row = sample(key, t, offset + 1, offset, pos=pos, supply_c=value)
            before = taken.get((key, t))  # numbers grow, so the last one given is the one that stands
            taken[key, t] = row
            if before is None or (key, t) in aged:
                late = (key, t) in aged or draw(st.booleans())
                new.append({**row, "late": late, "replaces": False})
                if late:
                    aged.add((key, t))
            elif draw(st.booleans()):  # the pipeline saw the other one, and gives it as a repeat
                new.append({**row, "late": False, "replaces": True})
                lost.append({**before, "offset": offset, "quality": "repeat"})
            else:  # only the store can see it
                new.append({**row, "late": True, "replaces": False})
                aged.add((key, t))
        if new:
            out.readings.append(readings(*new))
        if lost:
            out.repeats.append(readings(*lost))
        given_outputs.append(out)
    return given_outputs


def keep(make: Any, directory: Any, writes: list[list[Outputs]]) -> Any:
    with make(directory) as sink:
        for write in writes:
            sink.store.write(write)
        return sink.contents()


def law(test: Any) -> Any:
    slow = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    test = settings(max_examples=5, deadline=None, suppress_health_check=slow)(test)
    return pytest.mark.parametrize("make", SINKS.values(), ids=SINKS.keys())(test)


@law
@given(given_outputs=recordings(), data=st.data())
def test_writing_twice_equals_writing_once(make, tmp_path_factory, given_outputs, data):
    """A crash repeats what was written since some record; what is written again is equal."""
    once = keep(make, tmp_path_factory.mktemp("once"), [[o] for o in given_outputs])
    writes, back = [], data.draw(st.lists(st.integers(0, len(given_outputs)), max_size=3))
    for start in [0, *back]:
        writes += [[o] for o in given_outputs[start:]]
    assert keep(make, tmp_path_factory.mktemp("twice"), writes) == once


@law
@given(given_outputs=recordings(), data=st.data())
def test_any_splitting_gives_the_same_rows(make, tmp_path_factory, given_outputs, data):
    """Records may come one by one, all in one write, merged into one, or anything between."""
    once = keep(make, tmp_path_factory.mktemp("one"), [[o] for o in given_outputs])
    writes: list[list[Outputs]] = [[]]
    for out in given_outputs:
        how = data.draw(st.sampled_from(["new write", "same write", "merged"]))
        copy = Outputs(
            out.stream,
            out.offset,
            {m: list(t) for m, t in out.rows.items()},
            list(out.readings),
            list(out.repeats),
        )
        if how == "merged" and writes[-1]:
            writes[-1][-1].merge(copy)
        elif how == "new write":
            writes.append([copy])
        else:
            writes[-1].append(copy)
    assert keep(make, tmp_path_factory.mktemp("split"), [w for w in writes if w]) == once


@pytest.mark.parametrize("make", SINKS.values(), ids=SINKS.keys())
def test_a_sink_that_forgets_breaks_the_law(make, tmp_path_factory):
    """The comparison can fail: one row less is seen."""
    rows = [
        output(0, rows={"device_heat": [heats(heat("a", 0, 1.0))]}),
        output(1, readings=[readings(sample("a", 1))]),
    ]
    whole = keep(make, tmp_path_factory.mktemp("whole"), [rows])
    assert keep(make, tmp_path_factory.mktemp("less"), [rows[:1]]) != whole
    other = heats(heat("a", 0, 1.0 + 1e-9), schema=HEAT)
    changed = [output(0, rows={"device_heat": [other]}), rows[1]]
    assert keep(make, tmp_path_factory.mktemp("changed"), [changed]) != whole
