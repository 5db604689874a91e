"""The InfluxDB store on a real server: the same answers as the embedded store gives.

`tests/support/influxd.py` says which server, and what it is not.
"""

from __future__ import annotations

import re
from datetime import datetime

import pyarrow as pa
import pytest

from models.results import result_schema
from store import downsampling, flux, flux_panels
from store.duckdb_series import DuckdbSeries
from store.influx_series import InfluxSeries
from store.params import time_text
from store.protocol import Select
from tests.support.influxd import Influxd
from tests.support.series import column, heat, heats, output, readings, sample

HOUR = 3_600_000
T0 = 1_767_225_600_000
HOSTILE = ['a"${r.key}', "a b,c=d", 'x") |> drop() //', "煤场1号", "a'b", "\\n"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Influxd(tmp_path_factory.mktemp("influxd")) as running:
        yield running


@pytest.fixture(scope="module")
def url(server):
    return server.url


@pytest.fixture(scope="module")
def stores(url, tmp_path_factory):
    """Both stores with the same rows, written twice to each."""
    influx = InfluxSeries(url, "o", "h/autogen", "user:password", batch_lines=50)
    embedded = DuckdbSeries(tmp_path_factory.mktemp("duckdb") / "s.duckdb")
    table = heats(
        *(heat("a", T0 + n * HOUR, float(n), region="north", supply_c=1e15 / 3 * n) for n in range(60)),
        *(
            heat("b", T0 + n * HOUR, status="unknown", reason="gap", unit="u2", coverage=0.0)
            for n in range(9)
        ),
        *(heat(k, T0, 1.25, unit="u3", reason=k) for k in HOSTILE),
        heat("c", T0, 9.0, status="withdrawn"),
        heat("c", -HOUR, 8.0),
    )
    again = heats(
        heat("a", T0, None, status="unknown", region="north"), heat("a", T0 + HOUR, 1.5, region="north")
    )
    bridge = {"class": "weighbridge", "step": "gross"}
    meters = readings(*(sample("m", T0 + n, n + 1, 0, supply_c=n / 3, energy_gj=1e6 + n) for n in range(40)))
    tickets = readings(
        *(sample("w", T0, n + 1, 0, ticket=f"T{n}", mass_kg=n / 7, **bridge) for n in range(5))
    )
    late = readings(
        sample("m", T0 + 3, 99, 1, supply_c=50.0, late=True),
        sample("m", T0 + 4, 0, 1, supply_c=51.0, late=True),
    )
    given = [
        output(0, rows={"device_heat": [table], "ledger": [_ledger()]}, readings=[meters, tickets]),
        output(1, rows={"device_heat": [again]}, readings=[late]),
    ]
    for one in given * 2:
        for store in (influx, embedded):
            store.write([one])
    assert influx.refusals == []
    yield influx, embedded
    influx.close()
    embedded.close()


def _ledger():
    """Rows with a field of the name by which a reading tells a store what to do."""
    fields = [pa.field(name, pa.int64()) for name in ("stored", "late", "replaces")]
    rows = [
        {"key": k, "unit": "u", "region": "r", "stream": "u", "window_start": T0, "window_ms": 24 * HOUR,
         "stored": 9, "late": n, "replaces": n + 1, "status": "final", "revision": 0}
        for n, k in enumerate("ab")
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=result_schema(fields))


def test_what_steers_a_store_in_readings_is_a_field_like_any_other_in_results(stores):
    for store in stores:
        assert column(store, "ledger", "late") == [0, 1]
        assert column(store, "ledger", "replaces") == [1, 2]
        assert not {"late", "replaces"} & set(store.select(Select("reading")).column_names)


AGGREGATES = ("mean", "min", "max", "sum", "last")
QUESTIONS = [
    Select("device_heat"),
    Select("device_heat", fields=("heat_gj",), keys=("a",), from_ms=T0 + HOUR, to_ms=T0 + 5 * HOUR),
    Select("device_heat", keys=("a", "b"), latest=True),
    Select("device_heat", withdrawn=True, keys=("c",)),
    Select("device_heat", units=("u2",), regions=("r1",)),
    Select("device_heat", keys=("a",), limit=7),
    Select("device_heat", keys=("a",), limit=7, newest_first=True),
    Select("device_heat", keys=("nobody",)),
    Select("nothing"),
    *(Select("device_heat", keys=(k,)) for k in HOSTILE),
    *(Select("device_heat", key_prefix=k) for k in ("a", "a.", "a b,", ".", "|", "^", *HOSTILE)),
    Select("device_heat", keys=tuple(HOSTILE) + tuple(f"k{n}" for n in range(300))),
    *(Select("device_heat", keys=("a",), every_ms=7 * HOUR, aggregate=a) for a in AGGREGATES),
    Select("device_heat", fields=("heat_gj",), every_ms=24 * HOUR, latest=True),
    Select("reading", device_class="meter"),
    Select("reading", keys=("w",)),
    Select("reading", fields=("supply_c",), keys=("m",), from_ms=T0 + 2, to_ms=T0 + 6),
    Select("reading", latest=True),
    Select("reading_repeat", fields=("supply_c",)),
]  # fmt: skip


def plain(store, query):
    """Rows without what is null; an empty text is no text to InfluxDB's tags."""
    return [
        {
            k: pytest.approx(v, rel=1e-12) if isinstance(v, float) else v
            for k, v in row.items()
            if v not in (None, "")
        }
        for row in store.select(query).to_pylist()
    ]


@pytest.mark.parametrize("query", QUESTIONS)
def test_both_stores_give_the_same_answer(stores, query):
    influx, embedded = stores
    assert plain(influx, query) == plain(embedded, query)


def test_both_stores_count_the_same(stores):
    influx, embedded = stores
    assert influx.counts() == embedded.counts()


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_charts_in_flux_agree_with_the_embedded_store(stores, aggregate):
    """The query that Grafana sends leaves out withdrawn rows and fields that became absent."""
    influx, embedded = stores
    query = Select(
        "device_heat", ("heat_gj", "supply_c"), ("a", "b", "c"), every_ms=7 * HOUR, aggregate=aggregate,
        from_ms=T0 // (7 * HOUR) * 7 * HOUR, to_ms=T0 + 100 * HOUR,
    )  # fmt: skip
    table, _ = influx._ask(flux.series(query, "h/autogen"))
    told = {(r["key"], r["_field"], r["_time"]): r["_value"] for r in table.to_pylist()}
    expected = {
        (row["key"], name, time_text(row["window_start"])): pytest.approx(row[name], rel=1e-12)
        for row in embedded.select(query).to_pylist()
        for name in ("heat_gj", "supply_c")
        if row[name] is not None
    }
    assert told == expected
    array = flux.series(query, "h/autogen", key_set='["b", "a"]')
    assert {r["key"] for r in influx._ask(array)[0].to_pylist()} == {"a"}


def test_charts_of_readings_leave_out_what_a_later_sample_has_no_longer(stores):
    influx, embedded = stores
    query = Select("reading", ("supply_c", "energy_gj"), ("m",), from_ms=T0, to_ms=T0 + 100)
    table, _ = influx._ask(flux.series(query, "h/autogen"))
    told = {(r["_field"], datetime.fromisoformat(r["_time"])): r["_value"] for r in table.to_pylist()}
    expected = {
        (name, datetime.fromisoformat(time_text(row["window_start"]))): row[name]
        for row in embedded.select(query).to_pylist()
        for name in ("supply_c", "energy_gj")
        if row[name] is not None
    }
    assert told == expected
    assert len(told) == 2 * 40 - 1, "the late sample at T0 + 3 has no energy"


def test_a_limit_cuts_off_the_same_rows_of_one_time(stores):
    for query in (
        Select("device_heat", limit=3),
        Select("device_heat", limit=5, from_ms=T0, to_ms=T0 + 2 * HOUR, newest_first=True),
        Select("reading", keys=("w",), limit=2),
        Select("reading", keys=("w",), limit=2, newest_first=True),
    ):
        influx, embedded = (plain(store, query) for store in stores)
        assert influx == embedded
        assert len(influx) == query.limit


def test_a_type_conflict_refuses_the_row_and_keeps_its_neighbours(url):
    import pyarrow as pa

    from models.results import result_schema

    store = InfluxSeries(url, "o", "h/autogen", "user:password")
    number, text = (result_schema([pa.field("x", kind)]) for kind in (pa.float64(), pa.string()))
    store.write([output(0, rows={"conflict": [heats(heat("a", T0, x=1.0), schema=number)]})])
    odd = heats(heat("b", T0, x="much"), heat("c", T0, x=None), schema=text)
    store.write([output(1, rows={"conflict": [odd]})])
    assert column(store, "conflict", "key") == ["a", "c"]
    (refusal,) = store.refusals
    assert refusal.rows["key"].to_pylist() == ["b"]
    assert re.search("conflict", refusal.reason)
    store.close()


def test_a_payload_of_the_largest_message_is_kept(url):
    import pyarrow as pa

    from models.results import result_schema

    store = InfluxSeries(url, "o", "h/autogen", "user:password")
    payload = '{"x": "\\\\"\n' * 20_000
    table = heats(
        heat("s:1:0", T0, payload=payload), schema=result_schema([pa.field("payload", pa.string())])
    )
    store.write([output(0, rows={"dead_letter": [table]})])
    assert column(store, "dead_letter", "payload") == [payload]
    store.close()


@pytest.fixture(scope="module")
def apart(server, tmp_path_factory):
    """Both stores with readings of a few hours; InfluxDB's in a bucket of their own."""
    results, readings_bucket = server.database("results"), server.database("readings")
    influx = InfluxSeries(server.url, "o", results, "user:password", readings_bucket=readings_bucket)
    embedded = DuckdbSeries(tmp_path_factory.mktemp("duckdb") / "s.duckdb")
    station = {"class": "substation"}
    hours = readings(
        *(
            sample(d, T0 + n * 300_000, n + 1, 0, supply_c=50 + n % 7 + k, energy_gj=10.0 * k + n / 3, **station)
            for k, d in enumerate(("s1", "s2")) for n in range(72) if (k, n // 12) != (1, 3)
        )
    )  # fmt: skip
    late = readings(sample("s1", T0 + 300_000, 99, 1, energy_gj=0.5, late=True, **station))
    for out in (
        output(0, readings=[hours], rows={"device_heat": [heats(heat("s1", T0, 1.0))]}),
        output(1, readings=[late]),
    ):
        for store in (influx, embedded):
            store.write([out])
    yield influx, embedded, readings_bucket
    influx.close()
    embedded.close()


def test_readings_and_results_rest_in_buckets_of_their_own(apart, server):
    influx, embedded, readings_bucket = apart
    for query in (Select("reading"), Select("reading_repeat"), Select("device_heat")):
        assert plain(influx, query) == plain(embedded, query)
    assert influx.counts() == embedded.counts()
    other = InfluxSeries(server.url, "o", readings_bucket, "user:password")
    assert set(other.counts()) == {"reading", "reading_repeat"}
    other.close()


def test_hourly_figures_are_those_of_the_readings(apart):
    """What the tasks of `hearthline store prepare` ask; 1.8 has no tasks, so they are asked once, as of then."""
    influx, embedded, readings_bucket = apart
    asked = [t for t in downsampling.tasks(readings_bucket, "hourly") if t.name.endswith("of substation")]
    assert [t.measurement.removeprefix("reading_hourly_") for t in asked] == ["mean", "min", "max", "last"]
    end = T0 + 6 * HOUR  # half an hour later it is the hour that is over which counts
    now = f"option now = () => {time_text(end + HOUR // 2)}"
    for task in asked:
        imports, rest = task.query.split("\n\n", 1)
        table, _ = influx._ask(f"{imports}\n\n{now}\n\n{rest}")
        told = {(r["key"], r["_field"], r["_time"]): r["_value"] for r in table.to_pylist()}
        assert {r["_measurement"] for r in table.to_pylist()} == {task.measurement}
        aggregate = task.measurement.rpartition("_")[2]
        field = "energy_gj" if aggregate == "last" else "supply_c"
        query = Select(
            "reading", (field,), device_class="substation", every_ms=HOUR, aggregate=aggregate,
            from_ms=end - 3 * HOUR, to_ms=end,
        )  # fmt: skip
        assert told == {
            (row["key"], field, time_text(row["window_start"] // HOUR * HOUR)): pytest.approx(
                row[field], rel=1e-12
            )
            for row in embedded.select(query).to_pylist()
        }
        assert len(told) == 5, "two devices, three hours, one of them silent for one"


def test_the_script_of_a_task_is_its_question_with_options_and_an_end():
    for task in downsampling.tasks("readings", 'x") |> drop() //'):
        head, options, rest = task.script.split("\n\n", 2)
        assert all(line.startswith("import ") for line in head.splitlines())
        assert options == f'option task = {{name: "{task.name}", every: 1h, offset: 20m}}'
        assert f"{head}\n\n{rest}".startswith(task.query)
        assert rest.endswith('\n  |> to(bucket: "x\\x22) |> drop() //")\n')


def test_marks_are_a_row_a_moment_with_words(stores):
    influx, _ = stores
    select = Select("device_heat", fields=("status", "reason"))
    told = []
    for at in ("", "revision"):
        text = flux_panels.marks(select, "h/autogen", at=at)
        for name, ms in (("v.timeRangeStart", T0), ("v.timeRangeStop", T0 + 9 * HOUR)):
            text = text.replace(name, time_text(ms))
        told.append({(r["_time"], r["text"]) for r in influx._ask(text)[0].to_pylist()})
    assert (time_text(T0 + HOUR), "unknown gap") in told[0]
    assert (time_text(T0), "final 煤场1号") in told[0]
    assert {at for at, _ in told[1]} == {time_text(0)}, "the moment that the field holds"
    assert {text for _, text in told[1]} == {text for _, text in told[0]}


@pytest.mark.parametrize("function", ["sum", "mean", "min", "max"])
def test_last_rows_of_many_are_put_together_as_they_are_at_the_newest_known_time(stores, function):
    """Of weeks: a contract's month that is over is not in it, nor a number of a day after which one is unknown."""
    influx, _ = stores
    day, first = 24 * HOUR, T0 // (7 * 24 * HOUR) * 7 * 24 * HOUR
    known = {"C1": [1, 2, None], "C2": [None, None, None, 10, 20, 30, None], "C3": [0] * 5 + [5, None]}
    fields = [pa.field("received_kg", pa.int64())]
    made = [
        {"key": key, "unit": "u", "region": "r", "stream": "u", "window_start": first + n * day,
         "window_ms": day, "received_kg": kg, "status": "unknown" if kg is None else "final", "revision": 0}
        for key, days in known.items() for n, kg in enumerate(days)
    ]  # fmt: skip
    influx.write(
        [output(2, rows={"contract_days": [pa.Table.from_pylist(made, schema=result_schema(fields))]})]
    )
    query = Select(
        "contract_days", ("received_kg",), every_ms=7 * day, aggregate="last", from_ms=first,
        to_ms=first + 7 * day,
    )  # fmt: skip
    text = flux_panels.across(flux.series(query, "h/autogen"), function, lasts=True)
    (row,) = influx._ask(text)[0].to_pylist()
    assert datetime.fromisoformat(row["_time"]) == datetime.fromisoformat(time_text(first + 5 * day))
    assert row["_value"] == {"sum": 35, "mean": 17.5, "min": 5, "max": 30}[function]
