"""What can be asked of the DuckDB store, and that no value is ever query text."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.results import RESULT_HEADER, RESULT_TRAILER
from store import sql
from store.duckdb_series import DuckdbSeries
from store.protocol import Select, StoreError, extremes_of
from tests.support.series import column, heat, heats, output, readings, rows, sample

HOUR = 3_600_000


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    opened = DuckdbSeries(tmp_path_factory.mktemp("sql") / "series.duckdb")
    table = heats(
        *(heat("a", n * HOUR, float(n), unit="u1", region="north") for n in range(6)),
        *(heat("b", n * HOUR, 10.0 * n, unit="u2", region="south") for n in range(4)),
        heat("a", 6 * HOUR, None, status="unknown", reason="gap", coverage=0.0, region="north"),
        heat("b", 4 * HOUR, 99.0, status="withdrawn", unit="u2", region="south"),
        heat("a", 7 * HOUR, 7.0, status="provisional", coverage=0.5, region="north"),
    )
    first = readings(*(sample("m", t, t, 0, supply_c=float(t), energy_gj=100.0 + t) for t in range(10)))
    events = readings(
        sample("w", 5, 1, 0, ticket="T1", mass_kg=1.0, **{"class": "weighbridge"}),
        sample("w", 5, 2, 0, ticket="T2", mass_kg=2.0, **{"class": "weighbridge"}),
    )
    opened.write([output(0, rows={"device_heat": [table]}, readings=[first, events])])
    yield opened
    opened.close()


def ask(store, name="heat_gj", measurement="device_heat", **more):
    return column(store, measurement, name, **more)


def test_an_answer_has_header_fields_and_trailer(store):
    table = store.select(Select("device_heat"))
    header, trailer = [f.name for f in RESULT_HEADER], [f.name for f in RESULT_TRAILER]
    assert table.column_names == [*header, "heat_gj", "supply_c", *trailer]
    table = store.select(Select("device_heat", fields=("supply_c", "coverage")))
    assert table.column_names == [*header, "supply_c", *trailer]


@pytest.mark.parametrize(
    ("measurement", "fields", "more"),
    [
        ("device_heat", ("heat_gj",), {}), ("device_heat", ("heat_gj",), {"every_ms": 2 * HOUR}),
        ("device_heat", ("heat_gj",), {"latest": True}), ("device_heat", ("coverage",), {"every_ms": 2 * HOUR}),
        ("reading", ("supply_c",), {"every_ms": 3}), ("reading", ("energy_gj",), {}),
    ],
)  # fmt: skip
def test_a_narrow_answer_has_the_same_rows_without_what_no_chart_shows(store, measurement, fields, more):
    whole = store.select(Select(measurement, fields=fields, **more))
    narrow = store.select(Select(measurement, fields=fields, narrow=True, **more))
    assert narrow.num_rows
    assert narrow.equals(whole.select(narrow.column_names))
    wanted = {"key", "window_start", *fields, *(("status",) if measurement == "device_heat" else ())}
    if measurement == "device_heat" or more:
        assert set(narrow.column_names) == wanted
    else:  # readings as they came are ordered by their message
        assert narrow.equals(whole)


@pytest.mark.parametrize(
    ("measurement", "field", "more"),
    [
        ("reading", "supply_c", {"every_ms": 3}),
        ("device_heat", "heat_gj", {"every_ms": 2 * HOUR, "narrow": True}),
    ],
)
def test_extremes_stand_beside_the_mean_of_every_step(store, measurement, field, more):
    asked = Select(measurement, fields=(field,), **more)
    table = store.select(replace(asked, extremes=True))
    for name, aggregate in zip(extremes_of(field), ("min", "max"), strict=True):
        alone = store.select(replace(asked, aggregate=aggregate))
        assert table[name].to_pylist() == alone[field].to_pylist()
    assert table.drop_columns(list(extremes_of(field))).equals(store.select(asked))


def test_readings_have_their_message_instead(store):
    names = store.select(Select("reading", fields=("supply_c",))).column_names
    message = ["class", "boot", "seq", "pos", "offset", "received_ms", "quality", "extra"]
    assert names == [*(f.name for f in RESULT_HEADER), "supply_c", *message]


def test_range_is_half_open_and_oldest_first(store):
    assert ask(store, keys=("a",), from_ms=HOUR, to_ms=3 * HOUR) == [1.0, 2.0]
    assert ask(store, keys=("a",), from_ms=HOUR, to_ms=4 * HOUR, newest_first=True, limit=2) == [3.0, 2.0]
    assert ask(store, limit=3) == [0.0, 0.0, 1.0]
    assert ask(store, limit=0) == []


def test_scopes_and_keys(store):
    assert set(ask(store, "key", units=("u2",))) == {"b"}
    assert set(ask(store, "key", regions=("north", "south"))) == {"a", "b"}
    assert ask(store, "key", regions=("north",), units=("u2",)) == []
    assert ask(store, "key", keys=("nobody",)) == []


def test_withdrawn_rows_are_left_out_unless_asked_for(store):
    assert 99.0 not in ask(store)
    assert 99.0 in ask(store, withdrawn=True)
    assert ask(store, latest=True, keys=("b",)) == [30.0]
    assert ask(store, latest=True, keys=("b",), withdrawn=True) == [99.0]


def test_latest_is_the_newest_row_of_each_key_in_the_range(store):
    assert ask(store, "key", latest=True) == ["b", "a"]
    assert ask(store, latest=True, to_ms=3 * HOUR) == [2.0, 20.0]


def test_latest_of_events_at_one_time_is_the_last_given(store):
    assert ask(store, "ticket", "reading", keys=("w",), latest=True) == ["T2"]


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [
        ("mean", [1.0, 4.0]),
        ("min", [0.0, 3.0]),
        ("max", [2.0, 5.0]),
        ("sum", [3.0, 12.0]),
        ("last", [2.0, 5.0]),
    ],
)
def test_down_sampling(store, aggregate, expected):
    query = Select("device_heat", keys=("a",), to_ms=6 * HOUR, every_ms=3 * HOUR, aggregate=aggregate)
    table = store.select(query)
    assert table["heat_gj"].to_pylist() == expected
    if aggregate == "last":  # the row stands where it stood
        assert table["window_start"].to_pylist() == [2 * HOUR, 5 * HOUR]
        assert set(table["window_ms"].to_pylist()) == {900_000}
    else:
        assert table["window_start"].to_pylist() == [0, 3 * HOUR]
        assert set(table["window_ms"].to_pylist()) == {3 * HOUR}
    assert set(table["status"].to_pylist()) == {"final"}


def test_a_step_whose_last_row_has_no_number_stands_where_its_newest_number_does(store):
    query = Select(
        "device_heat", ("heat_gj",), keys=("a",), from_ms=3 * HOUR, to_ms=7 * HOUR, every_ms=9 * HOUR,
        aggregate="last",
    )  # fmt: skip
    (row,) = store.select(query).to_pylist()
    assert (row["window_start"], row["heat_gj"]) == (5 * HOUR, 5.0)
    (row,) = store.select(replace(query, from_ms=6 * HOUR)).to_pylist()
    assert (row["window_start"], row["heat_gj"]) == (6 * HOUR, None)


def test_a_step_says_what_its_rows_are_worth(store):
    def step(**more):
        (row,) = rows(store, "device_heat", keys=("a",), from_ms=4 * HOUR, every_ms=4 * HOUR, **more)
        return row

    assert (step()["status"], step()["coverage"]) == ("provisional", pytest.approx(0.625))
    assert step(to_ms=7 * HOUR)["status"] == "final"
    assert step(to_ms=7 * HOUR)["heat_gj"] == 4.5
    summed = step(to_ms=7 * HOUR, aggregate="sum")
    assert (summed["status"], summed["reason"], summed["heat_gj"]) == ("unknown", "gap", 9.0)


def test_steps_before_1970_are_aligned_to_the_epoch_too(tmp_path):
    store = DuckdbSeries(tmp_path / "s.duckdb")
    store.write(
        [
            output(
                0, rows={"device_heat": [heats(heat("a", -1, 1.0), heat("a", -1001, 2.0), heat("a", 0, 3.0))]}
            )
        ]
    )
    assert ask(store, "window_start", every_ms=1000) == [-2000, -1000, 0]
    store.close()


def test_text_can_only_be_taken_as_it_was_last(store):
    with pytest.raises(StoreError, match="expected numeric fields for 'mean', got ticket"):
        store.select(Select("reading", fields=("ticket",), every_ms=10))
    assert ask(store, "ticket", "reading", fields=("ticket",), keys=("w",), every_ms=10, aggregate="last")[
        0
    ] in ("T1", "T2")
    assert "ticket" not in store.select(Select("reading", every_ms=10)).column_names


def test_an_unknown_measurement_has_no_rows(store):
    table = store.select(Select("nothing", fields=("heat_gj",)))
    assert table.num_rows == 0
    assert "heat_gj" in table.column_names
    for own in ("store_progress", "store_meta", "reading_meter", "duckdb_tables"):
        assert store.select(Select(own)).num_rows == 0


def test_an_unknown_field_is_an_error(store):
    with pytest.raises(
        StoreError, match=r"device_heat: expected a field of heat_gj, supply_c; got 'heat_kw'"
    ):
        store.select(Select("device_heat", fields=("heat_kw",)))
    with pytest.raises(StoreError, match="got 'nonsense'"):
        store.select(Select("reading", fields=("nonsense",)))


def test_a_measurement_that_nobody_has_sent_is_a_column_of_nulls(store):
    table = store.select(Select("reading", fields=("tank_m3", "plate")))
    assert set(table["tank_m3"].to_pylist()) == {None}
    assert str(table.schema.field("plate").type) == "string"


@pytest.mark.parametrize(
    "query",
    [Select("reading", every_ms=0), Select("reading", limit=-1), Select("reading", aggregate="median")],
)
def test_nonsense_is_an_error(store, query):
    with pytest.raises(StoreError, match="expected"):
        store.select(query)


HOSTILE = st.sampled_from(
    ["'; DROP TABLE device_heat; --", '" OR 1=1 --', "$key", "?", "\x00", "a' OR 'a'='a"]
) | st.text(max_size=30)


@given(HOSTILE, HOSTILE, HOSTILE)
def test_no_value_is_query_text(store, key, unit, measurement):
    for name in ("device_heat", measurement):
        query = Select(name, keys=(key,), units=(unit,), regions=(unit,), device_class=key)
        built = sql.build(query, store._catalogue)
        if built is not None:
            assert (
                built.text
                == sql.build(Select(name, keys=("k",), units=("u",), regions=("r",)), store._catalogue).text
            )
        assert store.select(query).num_rows == 0


TAKEN = {*(f.name for f in (*RESULT_HEADER, *RESULT_TRAILER)), "heat_gj", "supply_c"}


@given(HOSTILE.filter(lambda f: f not in TAKEN))
def test_no_field_is_query_text(store, field):
    with pytest.raises(StoreError, match="expected a field"):
        store.select(Select("device_heat", fields=(field,)))


@given(
    key=HOSTILE.filter(lambda k: "\x00" not in k),
    name=st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12),
)
@settings(max_examples=15, deadline=None)
def test_a_hostile_name_is_kept_and_found_as_it_is(tmp_path_factory, key, name):
    import pyarrow as pa

    from models.results import result_schema

    taken = {f.name for f in (*RESULT_HEADER, *RESULT_TRAILER)}
    if name.lower() in taken:
        return
    store = DuckdbSeries(tmp_path_factory.mktemp("hostile") / "s.duckdb")
    table = heats(heat(key, 0, **{name: 1.5}), schema=result_schema([pa.field(name, pa.float64())]))
    store.write([output(0, rows={f"m {name}": [table]})])
    assert column(store, f"m {name}", name, keys=(key,), fields=(name,)) == [1.5]
    store.close()
