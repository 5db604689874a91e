"""Rows of samples, as checkpoints keep them."""

import numpy as np
import pyarrow as pa
import pytest

from streams.core.rows import Rows


@pytest.fixture
def rows() -> Rows:
    names = np.arange(20, dtype=np.int64).reshape(5, 4)
    return Rows(*names, np.array([[1.5, np.nan, 3.0, -0.0], [4.0, 5.0, np.nan, 7.0]]))


def test_what_is_written_is_read_to_the_bit(rows: Rows) -> None:
    assert_equal(Rows.from_bytes(rows.to_bytes()), rows)


@pytest.mark.parametrize("columns", [0, 3])
def test_no_samples_keep_their_measurements(columns: int) -> None:
    assert Rows.from_bytes(Rows.none(columns).to_bytes()).values.shape == (columns, 0)


def test_what_a_release_wrote_that_kept_the_record_of_each_sample_is_read(rows: Rows) -> None:
    with pa.ipc.open_stream(rows.to_bytes()) as reader:
        now = reader.read_next_batch()
    names = now.schema.names
    assert names == ["device", "t", "boot", "seq", "pos", "v0", "v1"]
    columns = [*now.columns[:5], pa.array([9] * 4, pa.int64()), *now.columns[5:]]
    then = pa.RecordBatch.from_arrays(columns, [*names[:5], "offset", *names[5:]])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, then.schema) as writer:
        writer.write_batch(then)
    assert_equal(Rows.from_bytes(sink.getvalue().to_pybytes()), rows)


def assert_equal(got: Rows, expected: Rows) -> None:
    """Every column the same, to the bit."""
    for name in ("device", "t", "boot", "seq", "pos", "values"):
        assert getattr(got, name).tobytes() == getattr(expected, name).tobytes(), name
