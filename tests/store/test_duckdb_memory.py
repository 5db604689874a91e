"""What DuckDB keeps of its tables in memory does not grow with them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from models.results import Outputs
from store import duckdb_series
from store.duckdb_series import SERIES_FILE, DuckdbSeries
from store.protocol import Resting, Select

ROWS = 20_000


def readings(offset: int, rows: int = ROWS) -> Outputs:
    rng = np.random.default_rng(offset)
    t = np.arange(rows, dtype=np.int64) + offset * ROWS
    none = pa.nulls(rows, pa.string())
    columns = {
        "key": pa.array(["d"] * rows), "unit": pa.array(["u"] * rows), "region": pa.array(["r"] * rows),
        "stream": pa.array(["u"] * rows), "window_start": t, "window_ms": np.zeros(rows, np.int64),
        "class": pa.array(["substation"] * rows), "boot": t, "seq": t, "pos": np.zeros(rows, np.int32),
        "offset": np.full(rows, offset), "received_ms": t, "quality": none, "extra": none,
        **{f"v{i}": rng.random(rows) for i in range(12)}, "replaces": np.zeros(rows, bool),
        "late": np.zeros(rows, bool),
    }  # fmt: skip
    return Outputs("u", offset, readings=[pa.table(columns)])


def cached_mb(store: DuckdbSeries) -> float:
    cursor = store._root.cursor()
    (found,) = cursor.execute(
        "SELECT memory_usage_bytes FROM duckdb_memory() WHERE tag = 'BASE_TABLE'"
    ).fetchone()
    return found / 2**20


@pytest.mark.parametrize("bounded", [True, False])
def test_blocks_are_forgotten_and_rows_are_not(tmp_path, monkeypatch, bounded: bool) -> None:
    store = DuckdbSeries(tmp_path / SERIES_FILE, cached_mb=0 if bounded else 1_000)
    store.write([readings(0)])
    store._root.cursor().execute("CHECKPOINT")
    assert cached_mb(store) > 0.5
    monkeypatch.setattr(duckdb_series, "_LOOK_EVERY_ROWS", 1)
    store.write([readings(1, 10)])
    assert (cached_mb(store) == 0) is bounded
    (limit,) = store._root.cursor().execute("SELECT current_setting('memory_limit')").fetchone()
    assert limit == "488.2 MiB", "as before"
    assert store.counts()["reading"] == ROWS + 10
    found = store.select(Select("reading", keys=("d",), from_ms=ROWS - 2, to_ms=ROWS + 2))
    assert found["window_start"].to_pylist() == [ROWS - 2, ROWS - 1, ROWS, ROWS + 1]
    store.close()


@pytest.mark.parametrize("bounded", [True, False])
def test_what_was_read_is_forgotten_too(tmp_path, monkeypatch, bounded: bool) -> None:
    store = DuckdbSeries(tmp_path / SERIES_FILE)
    store.write([readings(0)])
    store.close()
    store = DuckdbSeries(tmp_path / SERIES_FILE, cached_mb=0 if bounded else 1_000)
    monkeypatch.setattr(duckdb_series, "_LOOK_EVERY_READS", 2)
    assert store.select(Select("reading")).num_rows == ROWS
    assert cached_mb(store) > 0.5
    assert store.select(Select("reading")).num_rows == ROWS
    assert (cached_mb(store) == 0) is bounded
    store.close()


def test_a_store_at_rest_keeps_no_blocks_and_still_answers(tmp_path) -> None:
    store = DuckdbSeries(tmp_path / SERIES_FILE)
    assert isinstance(store, Resting)
    store.write([readings(0)])
    store._root.cursor().execute("CHECKPOINT")
    assert cached_mb(store) > 1.5
    store.rest()
    assert cached_mb(store) <= 1
    assert store.select(Select("reading")).num_rows == ROWS
    store.close()
    store.rest()
