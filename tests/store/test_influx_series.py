"""The InfluxDB store against a stub that fails in every way the real one may."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.results import result_schema
from store import flux
from store.influx_series import InfluxSeries
from store.protocol import Select, SeriesStore, StoreError, StoreUnavailableError
from tests.support.influx_stub import TOKEN, InfluxStub
from tests.support.series import column, heat, heats, output, readings, rows, sample
from tests.support.waiting import PATIENCE_S


@pytest.fixture
def stub():
    running = InfluxStub()
    yield running
    running.close()


@pytest.fixture
def store(stub):
    opened = connect(stub)
    yield opened
    opened.close()


def connect(stub, **more):
    options = {"timeout_s": PATIENCE_S, "patience_s": PATIENCE_S} | more
    return InfluxSeries(stub.url, "o", "b", TOKEN, **options)


def keys(stub):
    return sorted(dict(tags)["key"] for _, tags, _ in stub.points)


def test_is_a_series_store(store):
    assert isinstance(store, SeriesStore)


def test_rows_are_points_in_bounded_batches(stub):
    store = connect(stub, batch_lines=30)
    table = heats(*(heat("a", n, float(n)) for n in range(100)))
    store.write([output(0, rows={"device_heat": [table]})])
    assert stub.requests == [30, 30, 30, 10]
    assert len(stub.points) == 100
    assert column(store, "device_heat", "heat_gj") == [float(n) for n in range(100)]


@pytest.mark.parametrize("wait", ["0", "1"])
def test_a_busy_server_is_given_the_time_that_it_asks_for(stub, store, wait):
    stub.script = [(429, {"Retry-After": wait}), (503, {"Retry-After": wait})]
    before = time.monotonic()
    store.write([output(0, rows={"device_heat": [heats(heat("a", 0, 1.0))]})])
    assert time.monotonic() - before >= 2 * float(wait)
    assert (stub.tries, stub.requests) == (3, [1])


def test_a_server_that_asks_for_more_than_our_patience_is_unavailable_and_left_alone(stub, store):
    stub.script = [(429, {"Retry-After": "3600"})]
    given_rows = [output(0, rows={"device_heat": [heats(heat("a", 0, 1.0))]})]
    for _ in range(3):
        with pytest.raises(StoreUnavailableError, match="not available"):
            store.write(given_rows)
    assert stub.tries == 1


@pytest.mark.parametrize("failure", [(503, {}), (500, {}), "hang", "drop"])
def test_a_failure_is_tried_again_and_nothing_is_lost_or_doubled(stub, failure):
    store = connect(stub, **({"timeout_s": 2.0} if failure == "hang" else {}))
    stub.script = [failure]
    store.write([output(0, rows={"device_heat": [heats(heat("a", 0, 1.0), heat("b", 0, 2.0))]})])
    assert (stub.tries, len(stub.points)) == (2, 2)
    store.close()


def test_a_server_that_stays_away_is_unavailable(stub):
    stub.script = [(503, {})] * 10
    store = connect(stub, patience_s=1.0)
    with pytest.raises(StoreUnavailableError, match=r"HTTP 503 .*told to fail"):
        store.write([output(0, rows={"device_heat": [heats(heat("a", 0, 1.0))]})])
    stub.close()
    with pytest.raises(StoreUnavailableError):
        connect(stub, patience_s=0.1).select(Select("device_heat"))


@pytest.mark.parametrize("status", [400, 422, 413])
def test_only_poison_rows_are_refused_and_the_stream_goes_on(stub, status):
    stub.poison, stub.poison_status = "poison", status
    refused = []
    store = connect(stub, refused=refused.append)
    table = heats(*(heat("poison" if n in (7, 70) else f"d{n:02}", n, 1.0) for n in range(100)))
    store.write([output(0, rows={"device_heat": [table]}, readings=[readings(sample("m", 1))])])
    assert [(r.measurement, r.rows["window_start"].to_pylist()) for r in refused] == [
        ("device_heat", [7]),
        ("device_heat", [70]),
    ]
    assert "unable to parse: poison" in refused[0].reason
    assert len(stub.points) == 99


def test_a_request_that_is_too_large_is_halved_until_it_is_not(stub, store):
    stub.most_lines = 3
    store.write([output(0, rows={"device_heat": [heats(*(heat("a", n, 1.0) for n in range(20)))]})])
    assert len(stub.points) == 20
    assert not store.refusals


def test_what_line_protocol_cannot_say_is_refused(stub, store):
    table = heats(heat("a\nb,key=x v=1 1", 0, 1.0), heat("good", 0, 1.0), heat("c\\", 0, 1.0))
    store.write([output(0, rows={"device_heat": [table]})])
    assert keys(stub) == ["good"]
    assert sum(r.rows.num_rows for r in store.refusals) == 2


@pytest.mark.parametrize(
    ("url_path", "token", "said"), [("b", "wrong", "HTTP 401"), ("no", TOKEN, "HTTP 404")]
)
def test_a_wrong_token_or_bucket_is_an_error_at_once_and_shows_no_secret(stub, url_path, token, said):
    store = InfluxSeries(stub.url, "o", url_path, token, patience_s=30)
    with pytest.raises(StoreError, match=said) as caught:
        store.write([output(0, rows={"device_heat": [heats(heat("a", 0, 1.0))]})])
    assert not isinstance(caught.value, StoreUnavailableError)
    assert token not in str(caught.value)


def test_a_refused_query_is_an_error(stub, store):
    stub.query_status = 400
    with pytest.raises(StoreError, match=r"the query was refused: .*no such thing"):
        store.select(Select("device_heat"))


@pytest.mark.parametrize("every_ms", [None, 60_000])
def test_the_server_is_asked_only_for_keys_that_begin_so(stub, store, every_ms):
    store.select(Select("device_heat", key_prefix="unit:u1:", every_ms=every_ms))
    assert "r.key =~ /^unit:u1:/" in stub.queries[-1]


def test_closing_ends_a_wait(stub):
    import threading

    stub.script = [(503, {"Retry-After": "20"})]
    store, said = connect(stub, patience_s=60.0), []

    def write() -> None:
        try:
            store.write([output(0, rows={"device_heat": [heats(heat("a", 0, 1.0))]})])
        except StoreError as error:
            said.append(str(error))

    thread = threading.Thread(target=write)
    thread.start()
    while not stub.tries:
        time.sleep(0.01)
    time.sleep(0.1)
    store.close()
    thread.join(PATIENCE_S)
    assert said
    assert said[0].endswith("the store is closed")


def test_a_field_that_became_absent_is_absent(store):
    for value in (1.0, None, 3.0, None):
        store.write([output(0, rows={"device_heat": [heats(heat("a", 0, value))]})])
        (row,) = rows(store, "device_heat")
        assert row.get("heat_gj") == value


def test_answers_have_the_shape_of_every_store(store):
    store.write([output(0, rows={"device_heat": [heats(heat("a", 0, 1.0, unit=""))]})])
    table = store.select(Select("device_heat", fields=("heat_gj",)))
    assert table.column_names == [
        "key", "unit", "region", "stream", "window_start", "window_ms", "heat_gj",
        "coverage", "status", "reason", "revision", "model",
    ]  # fmt: skip
    assert (str(table.schema.field("revision").type), table["unit"].to_pylist()) == ("int32", [""])
    with pytest.raises(StoreError, match="expected a field of heat_gj, supply_c; got 'heat_kw'"):
        store.select(Select("device_heat", fields=("heat_kw",)))
    assert store.select(Select("nothing")).num_rows == 0


def test_text_with_line_breaks_quotes_and_commas_comes_back(store):
    text = 'first\n\n#datatype,"second"\\'
    schema = result_schema([])
    store.write([output(0, rows={"note": [heats(heat("a", 0, reason=text), schema=schema)]})])
    assert column(store, "note", "reason") == [text]


def test_late_readings_are_settled_against_what_is_stored(store):
    store.write([output(0, readings=[readings(sample("a", 10, 5, 0, supply_c=1.0))])])
    late = [output(1, readings=[readings(sample("a", 10, 9, 1, supply_c=2.0, late=True))])]
    for _ in range(2):  # written twice, it is the same
        store.write(late)
        assert column(store, "reading", "seq") == [9]
        assert column(store, "reading", "quality") == ["repeat"]
        assert column(store, "reading_repeat", "seq") == [5]
    store.write([output(2, readings=[readings(sample("a", 10, 3, 2, supply_c=7.0, late=True))])])
    assert column(store, "reading", "seq") == [9]
    assert sorted(column(store, "reading_repeat", "seq")) == [3, 5]


def test_a_reading_that_is_replaced_leaves_nothing_of_itself(store):
    first = readings(sample("a", 10, 1, 0, supply_c=1.0, return_c=0.5))
    second = readings(sample("a", 10, 2, 1, supply_c=2.0, replaces=True))
    for out in (output(0, readings=[first]), output(1, readings=[second], repeats=[first])):
        store.write([out])
    (row,) = rows(store, "reading")
    assert (row["seq"], row["supply_c"], row.get("return_c")) == (2, 2.0, None)
    (row,) = rows(store, "reading_repeat")
    assert (row["seq"], row["supply_c"], row["return_c"]) == (1, 1.0, 0.5)


def test_fifty_events_of_one_time_are_fifty_points(stub, store):
    table = readings(
        *(sample("o", 10, 1, 0, pos=p, event="release", **{"class": "office"}) for p in range(50))
    )
    store.write([output(0, readings=[table])])
    assert len(stub.points) == 50


HOSTILE = st.text(max_size=20) | st.sampled_from(['") |> drop() //', "${r.key}", "\\", '\\"', "a\nb", "日本"])


def unquoted(text):
    """Flux text without its string literals; they have no quote inside, since quotes are hexadecimal."""
    import re

    return re.sub(r'"[^"]*"', '""', text)


@given(HOSTILE, HOSTILE, HOSTILE)
def test_no_value_is_query_text(key, field, bucket):
    query = Select(key, fields=(field,), keys=(key,), units=(field,), regions=(bucket,), device_class=key)
    tame = Select("m", fields=("f",), keys=("k",), units=("u",), regions=("r",), device_class="c")
    if key not in ("reading", "reading_repeat"):
        assert unquoted(flux.rows(query, bucket)) == unquoted(flux.rows(tame, "b"))
        assert unquoted(flux.series(query, bucket)) == unquoted(flux.series(tame, "b"))


@given(HOSTILE)
def test_a_literal_is_printable_and_says_only_its_text(text):
    written = flux.literal(text)
    assert written[0] == written[-1] == '"'
    assert not any(c in written[1:-1] for c in '"$\n\r')
    assert written[1:-1].encode().decode("unicode_escape").encode("latin-1").decode() == text
