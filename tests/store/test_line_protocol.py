"""Lines say what the columns say, whatever the text: read back by a parser of our own."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.line_protocol import batches, lines, misfits
from tests.support.influx_stub import parse
from tests.support.series import heat, heats


def test_a_line_says_what_its_row_says():
    table = heats(heat("a", 5, 1.5, status="final", coverage=0.25))
    (line,) = lines("device_heat", table, absent=True)
    assert line == (
        "device_heat,key=a,region=r1,stream=s1,unit=u1 window_ms=900000i,heat_gj=1.5,coverage=0.25,"
        'status="final",revision=0i,absent=",supply_c,reason,model," 5'
    )


def test_a_row_without_any_value_still_has_its_status():
    table = heats(heat("a", 5, None, status="unknown", coverage=None))
    assert parse(*lines("m", table, absent=False))[2] == {
        "window_ms": 900_000,
        "status": "unknown",
        "revision": 0,
    }


def test_an_empty_tag_is_left_out():
    (line,) = lines("m", heats(heat("a", 5, 1.0, unit="", region="")), absent=False)
    assert parse(line)[1] == {"key": "a", "stream": "s1"}


TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)


@given(TEXT, TEXT, NUMBER, st.integers(-(2**53), 2**53), st.integers(-9_223_372_036_854, 9_223_372_036_854))
def test_every_row_is_one_point_with_its_own_values_or_refused(key, reason, number, window_ms, t):
    row = heat(key, t, number, reason=reason, window_ms=window_ms)
    table = heats(row)
    if misfits(table)[0].as_py():
        assert not key or re.search(r"[\x00-\x1f\x7f]|\\([\\,= ]|$)", key)
        return
    (line,) = lines("a b,c", table, absent=True)
    measurement, tags, values, time = parse(line)
    assert (measurement, time) == ("a b,c", t)
    assert tags == {"key": key, "region": "r1", "stream": "s1", "unit": "u1"}
    assert (values["heat_gj"], values["reason"], values["window_ms"]) == (number, reason, window_ms)
    assert values["absent"] == ",supply_c,model,"


@pytest.mark.parametrize("key", ["a\nb,key=c x=1", "a\\", "a\\ b", "a\\\\b", "\x00", "\x7f", ""])
def test_a_tag_that_cannot_be_said_is_refused(key):
    assert misfits(heats(heat(key, 0, 1.0))).to_pylist() == [True]


def test_a_time_beyond_64_bits_of_ns_is_refused():
    table = heats(heat("a", 2**53, 1.0), heat("b", 0, 1.0), heat("c", -(2**53), 1.0))
    assert misfits(table).to_pylist() == [True, False, True]


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 9), st.integers(1, 120))
def test_batches_cover_all_lines_within_bounds(sizes, most, size):
    given_lines = ["x" * n for n in sizes]
    ranges = list(batches(given_lines, most, size))
    assert [n for first, end in ranges for n in range(first, end)] == list(range(len(sizes)))
    for first, end in ranges:
        assert end - first <= most
        assert end - first == 1 or sum(sizes[first:end]) + end - first <= size


def test_chunked_columns_are_taken_whole():
    table = pa.concat_tables([heats(heat("a", 1, 1.0)), heats(heat("b", 2, None))])
    assert [parse(line)[3] for line in lines("m", table, absent=True)] == [1, 2]
    assert pc.any(misfits(table)).as_py() is False
