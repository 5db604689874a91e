"""Report by exception: what is left out can be drawn again from what is sent, to within the dead band."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.config import ReportConfig
from edge.driver import Reading
from edge.exceptions import Exceptions


def select(values, *, step_ms=1000, heartbeat_s=10.0, **dead_band):
    exceptions = Exceptions(ReportConfig(heartbeat_s=heartbeat_s, dead_band=dead_band))
    readings = [Reading(n * step_ms, v if isinstance(v, dict) else {"x": v}) for n, v in enumerate(values)]
    return [r.t_ms // step_ms for r in exceptions.select(readings)]


def test_a_step_is_sent_with_the_sample_before_it():
    assert select([5.0, 5.1, 5.0, 5.1, 9.0, 9.0, 9.0], x=0.2) == [0, 3, 4]


def test_without_a_dead_band_any_change_is_sent_and_inf_never_is():
    assert select([{"x": 1.0, "y": float(n)} for n in range(5)]) == [0, 1, 2, 3, 4]
    assert select([{"x": 1.0, "y": float(n)} for n in range(5)], y=float("inf")) == [0]


def test_a_heartbeat_comes_without_a_change():
    assert select([1.0] * 25, x=0.5) == [0, 10, 20]


def test_a_measurement_that_comes_or_goes_is_sent():
    assert select([{"x": 1.0}, {"x": 1.0}, {"x": 1.0, "y": 2.0}, {"x": 1.0}]) == [0, 1, 2, 3]


def test_text_that_changes_is_sent():
    assert select([{"s": "tare"}, {"s": "tare"}, {"s": "gross"}], s=9.0) == [0, 1, 2]


def test_a_clock_that_was_set_back_holds_nothing_back():
    exceptions = Exceptions(ReportConfig(heartbeat_s=10))
    assert exceptions.select([Reading(9_000, {"x": 1.0}), Reading(2_000, {"x": 1.0})])[1].t_ms == 2_000


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=60), st.floats(0.01, 20))
def test_the_line_between_samples_sent_is_within_twice_the_dead_band(values, band):
    sent = select(values, x=band, heartbeat_s=7.0)
    assert sent == sorted(set(sent))
    assert all(b - a <= 7 for a, b in pairwise(sent)), "the heartbeat"
    drawn = np.interp(np.arange(sent[-1] + 1), sent, [values[n] for n in sent])
    assert np.all(np.abs(drawn - values[: sent[-1] + 1]) <= 2 * band + 1e-9)
