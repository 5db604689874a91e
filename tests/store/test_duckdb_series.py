"""The DuckDB store: upserts, appends exactly once, repeats, refusals, files of others."""

from __future__ import annotations

import struct
import subprocess
import sys
import threading
from itertools import count

import duckdb
import pyarrow as pa
import pytest

from models.results import result_schema
from store.duckdb_series import DuckdbSeries
from store.protocol import Select, SeriesStore, StoreError, StoreUnavailableError
from tests.support.series import column, heat, heats, output, readings, rows, sample
from tests.support.waiting import PATIENCE_S


@pytest.fixture
def store(tmp_path):
    opened = DuckdbSeries(tmp_path / "data" / "series.duckdb")
    yield opened
    opened.close()


def test_is_a_series_store(store):
    assert isinstance(store, SeriesStore)


def test_a_later_row_of_a_window_replaces_all_of_the_earlier_one(store):
    store.write(
        [output(1, rows={"device_heat": [heats(heat("a", 0, 1.0, supply_c=90.0), heat("a", 900, 2.0))]})]
    )
    store.write(
        [output(2, rows={"device_heat": [heats(heat("a", 0, None, status="unknown", reason="gap"))]})]
    )
    first, second = rows(store, "device_heat")
    assert "heat_gj" not in first
    assert "supply_c" not in first
    assert (first["status"], first["reason"]) == ("unknown", "gap")
    assert second["heat_gj"] == 2.0


def test_within_one_write_the_last_row_of_a_window_stands(store):
    early, late = heats(heat("a", 0, 1.0), heat("a", 0, 2.0)), heats(heat("a", 0, 3.0), heat("b", 0, 4.0))
    store.write([output(1, rows={"device_heat": [early]}), output(2, rows={"device_heat": [late]})])
    assert column(store, "device_heat", "heat_gj") == [3.0, 4.0]


def test_a_schema_that_grows_adds_columns_and_older_rows_lack_them(store):
    wider = result_schema([pa.field("heat_gj", pa.float64()), pa.field("excess_m3", pa.float64())])
    store.write([output(1, rows={"device_heat": [heats(heat("a", 0, 1.0))]})])
    store.write([output(2, rows={"device_heat": [heats(heat("a", 900, 2.0, excess_m3=0.5), schema=wider)]})])
    assert column(store, "device_heat", "excess_m3") == [None, 0.5]
    assert column(store, "device_heat", "heat_gj") == [1.0, 2.0]


def test_not_a_number_is_absent(store):
    store.write(
        [output(1, rows={"device_heat": [heats(heat("a", 0, float("nan")), heat("b", 0, float("inf")))]})]
    )
    assert column(store, "device_heat", "heat_gj") == [None, None]


def test_readings_of_offsets_already_kept_are_passed_over(store):
    first = readings(sample("a", 10, 1, 0, supply_c=1.0), sample("a", 20, 2, 1, supply_c=2.0))
    overlap = readings(sample("a", 20, 2, 1, supply_c=2.0), sample("a", 30, 3, 2, supply_c=3.0))
    store.write([output(1, readings=[first], repeats=[readings(sample("a", 10, 9, 1))])])
    store.write([output(2, readings=[overlap], repeats=[readings(sample("a", 10, 9, 1))])])
    assert column(store, "reading", "window_start") == [10, 20, 30]
    assert store.counts() == {"reading": 3, "reading_repeat": 1}
    assert store.progress() == {"s1": 2}


def test_progress_is_kept_for_each_stream_and_across_opening(store, tmp_path):
    store.write([output(5, readings=[readings(sample("a", 10, offset=5))])])
    store.close()
    again = DuckdbSeries(tmp_path / "data" / "series.duckdb")
    again.write([output(5, readings=[readings(sample("a", 10, offset=5))])])
    again.write([output(5, stream="s2", readings=[readings(sample("b", 10, offset=5, stream="s2"))])])
    assert column(again, "reading", "key") == ["a", "b"]
    assert again.progress() == {"s1": 5, "s2": 5}
    again.close()


def test_readings_of_all_classes_are_one_measurement(store):
    meter = readings(sample("a", 10, indoor_c=21.0, supply_c=80.0))
    truck = readings(sample("t", 11, **{"class": "truck"}, lat_deg=40.0))
    store.write([output(1, readings=[meter, truck])])
    table = store.select(Select("reading", fields=("supply_c", "lat_deg")))
    assert table["supply_c"].to_pylist() == [80.0, None]
    assert table["lat_deg"].to_pylist() == [None, 40.0]
    assert column(store, "reading", "key", device_class="truck") == ["t"]
    assert "replaces" not in store.select(Select("reading")).column_names


def test_a_replacing_row_removes_the_one_before_it(store):
    store.write([output(0, readings=[readings(sample("a", 10, 1, 0, supply_c=1.0), sample("b", 10, 1, 0))])])
    winner = readings(sample("a", 10, 2, 1, supply_c=2.0, replaces=True), sample("a", 20, 3, 1, supply_c=3.0))
    loser = readings(sample("a", 10, 1, 1, supply_c=1.0))
    store.write([output(1, readings=[winner], repeats=[loser])])
    assert column(store, "reading", "seq", keys=("a",)) == [2, 3]
    assert column(store, "reading", "seq", keys=("b",)) == [1]
    assert column(store, "reading_repeat", "seq") == [1]


def test_a_replacing_row_removes_one_of_the_same_write(store):
    table = readings(sample("a", 10, 1, 0, supply_c=1.0), sample("a", 10, 2, 1, supply_c=2.0, replaces=True))
    store.write([output(1, readings=[table])])
    assert column(store, "reading", "supply_c") == [2.0]


@pytest.mark.parametrize(("late_seq", "stands"), [(9, 9), (2, 5)])
def test_of_a_late_row_and_a_stored_one_the_higher_message_stands(store, late_seq, stands):
    store.write([output(0, readings=[readings(sample("a", 10, 5, 0, supply_c=1.0))])])
    store.write([output(1, readings=[readings(sample("a", 10, late_seq, 1, supply_c=2.0, late=True))])])
    assert column(store, "reading", "seq") == [stands]
    assert column(store, "reading_repeat", "seq") == [5 + late_seq - stands]
    assert column(store, "reading", "quality") == ["repeat"]
    assert column(store, "reading_repeat", "quality") == ["repeat"]


def test_a_late_row_of_equal_values_counts_once_and_leaves_the_standing_one_unflagged(store):
    store.write([output(0, readings=[readings(sample("a", 10, 5, 0, supply_c=1.0))])])
    store.write([output(1, readings=[readings(sample("a", 10, 6, 1, supply_c=1.0, late=True))])])
    assert column(store, "reading", "seq") == [6]
    assert column(store, "reading", "quality") == [""]
    assert store.counts() == {"reading": 1, "reading_repeat": 1}


def test_late_rows_that_meet_nobody_are_readings(store):
    store.write([output(0, readings=[readings(sample("a", 10, 5, 0, supply_c=1.0))])])
    late = readings(*(sample("a", t, t, 1, supply_c=1.0, late=True) for t in (8, 9, 11)))
    store.write([output(1, readings=[late])])
    assert column(store, "reading", "window_start") == [8, 9, 10, 11]


def test_events_of_one_time_are_told_apart_by_their_names(store):
    bridge = {"class": "weighbridge"}
    first = [
        sample("w", 10, n, 0, ticket=f"T{n}", step="gross", mass_kg=float(n), **bridge) for n in (1, 2, 3)
    ]
    store.write([output(0, readings=[readings(*first)])])
    again = sample("w", 10, 9, 1, ticket="T2", step="gross", mass_kg=7.0, replaces=True, **bridge)
    other = sample("w", 10, 10, 1, ticket="T2", step="tare", mass_kg=8.0, late=True, **bridge)
    store.write([output(1, readings=[readings(again, other)])])
    kept = {(r["ticket"], r["step"]): r["mass_kg"] for r in rows(store, "reading")}
    assert kept == {("T1", "gross"): 1.0, ("T2", "gross"): 7.0, ("T3", "gross"): 3.0, ("T2", "tare"): 8.0}


def test_fifty_events_without_a_name_stay_fifty(store):
    office = {"class": "office"}
    table = readings(*(sample("o", 10, 1, 0, pos=p, event="release", late=True, **office) for p in range(50)))
    store.write([output(0, readings=[table])])
    assert store.counts()["reading"] == 50


def test_a_value_of_another_type_is_refused_and_its_neighbours_are_kept(store):
    store.write([output(0, rows={"device_heat": [heats(heat("a", 0, 1.0))]})])
    text = result_schema([pa.field("heat_gj", pa.string()), pa.field("supply_c", pa.float64())])
    odd = heats(heat("a", 900, "much"), heat("b", 900, None, supply_c=5.0), schema=text)
    for _ in range(2):
        store.write([output(1, rows={"device_heat": [odd, heats(heat("c", 900, 3.0))]})])
    assert column(store, "device_heat", "key") == ["a", "b", "c"]
    (refused,) = rows(store, "store_refused")
    assert refused["measurement"] == "device_heat"
    assert refused["key"] == "device_heat:a"
    assert '"heat_gj": "much"' in refused["row"]
    assert refused["reason"] == "heat_gj: expected double as in the rows stored before, got string"


def test_a_fraction_never_becomes_a_whole_number(store):
    whole = result_schema([pa.field("until", pa.int64())])
    part = result_schema([pa.field("until", pa.float64())])
    store.write([output(0, rows={"track": [heats(heat("a", 0, until=1), schema=whole)]})])
    given = heats(heat("b", 0, until=2.0), heat("c", 0, until=2.5), heat("d", 0, until=1e300), schema=part)
    store.write([output(1, rows={"track": [given]})])
    assert column(store, "track", "until") == [1, 2]
    assert column(store, "store_refused", "key") == ["track:c", "track:d"]


def test_text_that_is_no_utf8_is_refused(store):
    offsets = struct.pack("<4i", 0, 1, 4, 5)
    broken = pa.Array.from_buffers(
        pa.string(), 3, [None, pa.py_buffer(offsets), pa.py_buffer(b"a\xff\xfe!b")]
    )
    table = readings(*(sample(k, 10, n) for n, k in enumerate("xyz"))).set_column(0, "key", broken)
    store.write([output(0, readings=[table])])
    assert column(store, "reading", "key") == ["a", "b"]
    (refused,) = rows(store, "store_refused")
    assert refused["reason"] == "key: expected text in UTF-8"


def test_a_row_that_duckdb_itself_refuses_is_found_among_its_neighbours(tmp_path):
    path = tmp_path / "series.duckdb"
    DuckdbSeries(path).close()
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "CREATE TABLE device_heat (key VARCHAR NOT NULL, unit VARCHAR, region VARCHAR, stream VARCHAR, "
            "window_start BIGINT NOT NULL, window_ms BIGINT, heat_gj DOUBLE CHECK (heat_gj < 100), "
            "supply_c DOUBLE, coverage DOUBLE, status VARCHAR, reason VARCHAR, revision INTEGER, "
            "model VARCHAR, PRIMARY KEY (key, window_start))"
        )
    store = DuckdbSeries(path)
    table = heats(*(heat(f"d{n}", 0, 500.0 if n in (3, 17) else float(n)) for n in range(40)))
    store.write([output(0, rows={"device_heat": [table]}, readings=[readings(sample("a", 1))])])
    assert len(rows(store, "device_heat")) == 38
    assert column(store, "store_refused", "key") == ["device_heat:d17", "device_heat:d3"]
    assert "CHECK" in rows(store, "store_refused")[0]["reason"]
    assert store.counts()["reading"] == 1
    store.close()


def test_a_file_owned_by_another_process_is_a_clear_error(store):
    program = (
        "import sys\nfrom store.duckdb_series import DuckdbSeries\nfrom store.protocol import StoreError\n"
        "try:\n DuckdbSeries(sys.argv[1])\nexcept StoreError as e:\n print(e)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(store.path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert done.stdout.startswith(f"{store.path}: expected a DuckDB file that this process may own: ")
    assert "lock" in done.stdout


def test_a_file_of_a_newer_layout_is_a_clear_error(store):
    store.close()
    with duckdb.connect(str(store.path)) as connection:
        connection.execute("UPDATE store_meta SET layout = 99")
    with pytest.raises(
        StoreError, match="expected layout 1, got 99: it was written by a newer hearthline; install"
    ):
        DuckdbSeries(store.path)


def test_a_file_that_is_no_database_is_a_clear_error(tmp_path):
    path = tmp_path / "series.duckdb"
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError, match="expected a DuckDB file"):
        DuckdbSeries(path)


def test_a_closed_store_says_so(store):
    store.close()
    store.close()
    with pytest.raises(StoreError, match="the store is closed"):
        store.select(Select("device_heat"))
    with pytest.raises(StoreError, match="the store is closed"):
        store.write([])


@pytest.mark.parametrize("name", ["reading", "reading_meter", "store_progress", ""])
def test_results_cannot_take_the_name_of_the_stores_own_tables(store, name):
    with pytest.raises(StoreError, match="expected the name of a result measurement"):
        store.write([output(0, rows={name: [heats(heat("a", 0, 1.0))]})])


def test_expire_deletes_readings_and_refusals_and_keeps_results(store):
    table = readings(*(sample("a", t, t, 0) for t in (10, 20, 30)))
    letters = heats(heat("s1:0:0", 10), heat("s1:1:0", 30))
    given = {"device_heat": [heats(heat("a", 0, 1.0))], "dead_letter": [letters]}
    store.write([output(0, readings=[table], repeats=[readings(sample("a", 10, 99, 0))], rows=given)])
    assert store.expire(20) == 3
    assert store.counts() == {"device_heat": 1, "dead_letter": 1, "reading": 2, "reading_repeat": 0}
    assert store.progress() == {"s1": 0}


def test_readers_see_whole_writes_while_a_writer_works(store):
    """Each write gives every device the same value: a reader that sees two has seen half a write."""
    stop, seen, failed = threading.Event(), [], []

    def read() -> None:
        while not stop.is_set():
            try:
                values = set(column(store, "device_heat", "heat_gj", fields=("heat_gj",)))
            except Exception as error:  # noqa: BLE001 the main thread asserts on it
                failed.append(error)
                return
            seen.append(values)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for n in count():
        if failed or (n >= 30 and len(seen) > 3):
            break
        table = heats(*(heat(f"d{k}", 0, float(n)) for k in range(500)))
        store.write([output(n, rows={"device_heat": [table]}, readings=[readings(sample("a", n, n, n))])])
    stop.set()
    for reader in readers:
        reader.join(PATIENCE_S)
    assert not failed
    assert all(len(values) <= 1 for values in seen)


def test_a_write_that_fails_half_way_leaves_nothing(store, monkeypatch):
    from store.duckdb_write import Writing

    def fail(*_: object) -> None:
        raise OSError("pulled the plug")

    store.write([output(0, rows={"device_heat": [heats(heat("a", 0, 1.0))]})])
    with monkeypatch.context() as patch:
        patch.setattr(Writing, "advance", fail)
        with pytest.raises(OSError, match="pulled the plug"):
            store.write(
                [output(1, rows={"device_heat": [heats(heat("a", 0, 2.0))], "new": [heats(heat("n", 0))]})]
            )
    assert column(store, "device_heat", "heat_gj") == [1.0]
    assert "new" not in store.counts()
    store.write([output(1, rows={"new": [heats(heat("n", 0, 5.0))]})])
    assert column(store, "new", "heat_gj") == [5.0]


def test_a_store_left_by_a_killed_process_is_read_as_it_was_committed(tmp_path):
    path = tmp_path / "series.duckdb"
    program = (
        "import os, sys\nfrom store.duckdb_series import DuckdbSeries\n"
        "from tests.support.series import heat, heats, output, readings, sample\n"
        "store = DuckdbSeries(sys.argv[1])\n"
        "for n in range(3):\n"
        "    store.write([output(n, rows={'device_heat': [heats(heat('a', n, float(n)))]},"
        " readings=[readings(sample('a', n, n, n))])])\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False, timeout=PATIENCE_S)
    assert done.returncode == -9
    with pytest.raises(StoreError, match="expected a DuckDB file"):
        DuckdbSeries(tmp_path / "nowhere.duckdb", read_only=True)
    looking = DuckdbSeries(path, read_only=True)
    assert column(looking, "device_heat", "heat_gj") == [0.0, 1.0, 2.0]
    with pytest.raises(StoreError, match="open for reading only"):
        looking.write([output(3, readings=[readings(sample("a", 3, 3, 3))])])
    looking.close()
    again = DuckdbSeries(path)
    again.write([output(3, readings=[readings(*(sample("a", n, n, n) for n in range(4)))])])
    assert column(again, "reading", "window_start") == [0, 1, 2, 3]
    assert not (tmp_path / "nowhere.duckdb").exists()
    again.close()


@pytest.mark.parametrize("kept", [False, True], ids=["commit lost", "commit kept"])
def test_a_disk_that_fails_at_the_commit_and_at_opening_again_is_taken_up_once_it_works(
    store, monkeypatch, kept
):
    outputs = [output(3, readings=[readings(sample("a", 0, supply_c=1.0, offset=3))])]
    real, writer = duckdb.connect, store._writer

    class Failing:
        def execute(self, text, *parameters):
            if text == "COMMIT":
                if kept:
                    writer.execute("COMMIT")
                raise duckdb.FatalException("the disk is gone")
            return writer.execute(text, *parameters)

        def __getattr__(self, name):
            return getattr(writer, name)

    def gone(*_args, **_kwargs):
        raise duckdb.IOException("no space left")

    store._writer = Failing()
    monkeypatch.setattr(duckdb, "connect", gone)
    for _ in range(2):
        with pytest.raises(StoreUnavailableError, match="no space left"):
            store.write(outputs)
    monkeypatch.setattr(duckdb, "connect", real)
    store.write(outputs)
    assert column(store, "reading", "supply_c") == [1.0]
