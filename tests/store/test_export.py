"""Files and text: no cell is a formula, no text drives a terminal, nothing is lost in Parquet or JSON."""

from __future__ import annotations

import csv
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.export import text_lines, write_csv, write_jsonl, write_parquet
from tests.support.series import heat, heats


def as_csv(table):
    out = io.BytesIO()
    write_csv(table, out)
    return list(csv.DictReader(io.StringIO(out.getvalue().decode(), newline="")))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1+1"])
def test_text_that_a_spreadsheet_would_run_is_escaped(text):
    (row,) = as_csv(heats(heat(text, 0, -1.5, reason=text)))
    assert row["key"] == row["reason"] == f"'{text}"
    assert row["heat_gj"] == "-1.5"


@given(st.text(st.characters(codec="utf-8"), max_size=20))
def test_csv_gives_text_back(text):
    (row,) = as_csv(heats(heat(text, 0)))
    assert row["key"] in (text, f"'{text}")
    assert row["key"][:1] not in tuple("=+-@\t\r\n")


def test_absent_is_empty_in_csv_and_left_out_in_json():
    table = heats(heat("a", 5, None), heat("b", 5, 0.1))
    assert [r["heat_gj"] for r in as_csv(table)] == ["", "0.1"]
    out = io.BytesIO()
    write_jsonl(table, out)
    first, second = map(json.loads, out.getvalue().splitlines())
    assert "heat_gj" not in first
    assert (second["heat_gj"], second["window_start"]) == (0.1, 5)


def test_bytes_are_text_with_what_is_none_escaped():
    table = pa.table({"key": ["a"], "payload": pa.array([b"=\xff{}"], pa.binary())})
    assert as_csv(table) == [{"key": "a", "payload": "'=\\xff{}"}]
    out = io.BytesIO()
    write_jsonl(table, out)
    assert json.loads(out.getvalue()) == {"key": "a", "payload": "=\\xff{}"}


def test_parquet_gives_the_table_back():
    table = heats(heat("a", 5, None), heat("=b", 5, 0.1))
    out = io.BytesIO()
    write_parquet(table, out)
    assert pq.read_table(io.BytesIO(out.getvalue())).equals(table)


def test_a_table_is_aligned_and_its_times_are_utc():
    rows = [heat("热网1", 1_767_225_600_000, 1.25), heat("b", 1_767_225_600_500, 1234567.0, status="unknown")]
    lines = list(text_lines(heats(*rows)))
    assert lines == [
        "key    window_start              heat_gj  coverage  status   revision",
        "热网1  2026-01-01T00:00:00Z         1.25         1  final           0",
        "b      2026-01-01T00:00:00.500Z  1234567         1  unknown         0",
    ]


def test_text_cannot_drive_a_terminal():
    text = "\n".join(text_lines(heats(heat("\x1b[2J\x07\u202e", 0, 1.0))))
    assert "\\x1b[2J\\x07\\u202e" in text
    assert "\x1b" not in text
