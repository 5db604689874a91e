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
