"""Last rows of thinned steps, of several keys at one time."""

import pyarrow as pa
import pytest

from dashboards.steps import at_newest

KEPT = ("key", "window_start", "v", "status")


def rows(*made):
    names = ("key", "window_start", "window_ms", "v", "status")
    types = (pa.string(), pa.int64(), pa.int64(), pa.float64(), pa.string())
    columns = zip(*made, strict=True) if made else ((),) * 5
    return pa.table({n: pa.array(c, t) for n, c, t in zip(names, columns, types, strict=True)})


def together(table, newest=None):
    def ask():
        assert newest is not None, "nothing has to be asked"
        return newest

    found = at_newest(table, ask, "v", 100)
    return [tuple(row[n] for n in KEPT) for row in found.to_pylist()]


def test_keys_that_all_go_on_need_no_second_question():
    table = rows(("a", 90, 10, 1.0, "final"), ("b", 90, 10, 2.0, "provisional"), ("a", 190, 10, 3.0, "final"))
    assert together(table) == [
        ("a", 90, 1.0, "final"), ("b", 90, 2.0, "provisional"), ("a", 190, 3.0, "final"),
    ]  # fmt: skip


def test_one_that_ended_is_not_of_it_and_one_that_goes_on_unknown_is_unknown():
    last = rows(("over", 20, 10, 1.0, "final"), ("dark", 30, 10, 2.0, "final"), ("on", 90, 10, 3.0, "final"))
    newest = rows(("over", 20, 10, None, None), ("dark", 90, 10, None, None), ("on", 90, 10, None, None))
    assert sorted(together(last, newest)) == [("dark", 90, None, "unknown"), ("on", 90, 3.0, "final")]


def test_what_covers_the_time_counts_though_it_began_before():
    table = rows(("west", 70, 24, 1.0, "final"), ("east", 90, 24, 2.0, "final"))
    assert together(table) == [("west", 90, 1.0, "final"), ("east", 90, 2.0, "final")]


def test_a_row_after_the_newest_that_is_known_has_no_number_then():
    table = rows(("a", 50, 10, 1.0, "final"), ("b", 90, 10, None, "unknown"))
    assert sorted(together(table, table)) == [("a", 50, 1.0, "final"), ("b", 50, None, "unknown")]


@pytest.mark.parametrize("length", [0, None])
def test_an_event_is_of_its_moment(length):
    table = rows(("a", 90, length, 1.0, "final"), ("b", 80, length, 2.0, "final"))
    assert together(table, table) == [("a", 90, 1.0, "final")]


def test_where_nobody_has_a_number_the_newest_row_says_so():
    table = rows(("a", 50, 10, None, "unknown"), ("b", 90, 10, None, "unknown"))
    assert together(table, table) == [("b", 90, None, "unknown")]
    assert together(rows()) == []
