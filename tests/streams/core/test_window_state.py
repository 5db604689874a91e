"""What a row says of itself while its window fills and after."""

from __future__ import annotations

import numpy as np
import pytest

from streams.core.window_state import FINAL, PROVISIONAL, UNKNOWN, WindowState

COMPLETE, LACKING = (1.5, 2.5), (1.5, np.nan)


@pytest.mark.parametrize(
    ("values", "reason", "closed", "said"),
    [
        (COMPLETE, "", False, (PROVISIONAL, "")),
        (COMPLETE, "coverage", False, (PROVISIONAL, "")),
        (LACKING, "plant_gap", False, (PROVISIONAL, "plant_gap")),
        (LACKING, "", False, (PROVISIONAL, "")),
        (LACKING, "plant_gap", True, (UNKNOWN, "plant_gap")),
        (COMPLETE, "", True, (FINAL, "")),
    ],
)
def test_a_row_without_a_number_says_why_from_its_first_word_on(values, reason, closed, said):
    state = WindowState(2)
    rows = state.say(
        np.array([0]),
        np.array(values)[:, None],
        np.array([0.4]),
        np.array([reason], object),
        np.array([closed]),
    )
    assert [(int(s), r) for s, r in zip(rows.status, rows.reason, strict=True)] == [said]


def test_a_reason_that_is_over_is_taken_back_while_the_window_still_fills():
    state = WindowState(1)
    at, open_ = np.array([0]), np.array([False])
    state.say(at, np.array([[np.nan]]), np.array([0.1]), np.array(["plant_gap"], object), open_)
    rows = state.say(at, np.array([[3.0]]), np.array([0.6]), np.array([""], object), open_)
    assert (rows.reason.tolist(), rows.status.tolist(), rows.revision.tolist()) == ([""], [PROVISIONAL], [0])


def test_rows_of_an_operator_that_has_got_a_field_more_are_read():
    state = WindowState(2)
    at, closed = np.array([0]), np.array([True])
    state.say(at, np.array(COMPLETE)[:, None], np.array([1.0]), np.array([""], object), closed)
    read = WindowState.from_bytes(state.to_bytes(), 3)
    names = ("a", "b", "new")
    assert [read.values_of(name, names, at)[0] for name in names] == [
        *COMPLETE,
        pytest.approx(np.nan, nan_ok=True),
    ]
    rows = read.say(at, np.array([[1.5], [2.5], [7.0]]), np.array([1.0]), np.array([""], object), closed)
    assert rows.revision.tolist() == [1]
