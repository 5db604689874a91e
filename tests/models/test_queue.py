"""Queues at a place with two bridges, counted by hand."""

import math

import numpy as np
import pytest

from models.queue import NOT_YET, order_of, queued, visits_of

MIN = 60_000


def place():
    """Three trucks: one done, one between the bridges, one that has just entered."""
    crossings = [("a", 0, True), ("a", 40 * MIN, False), ("b", 10 * MIN, True), ("c", 28 * MIN, True)]
    weighings = [("a", 5 * MIN, "gross"), ("a", 35 * MIN, "tare"), ("b", 20 * MIN, "gross")]
    return visits_of(crossings, weighings)


def test_stays_have_their_weighings():
    a, b, c = place()
    assert (a.entered_ms, a.left_ms, a.weighed) == (0, 40 * MIN, ((5 * MIN, "gross"), (35 * MIN, "tare")))
    assert (b.left_ms, b.weighed) == (NOT_YET, ((20 * MIN, "gross"),))
    assert (c.left_ms, c.weighed) == (NOT_YET, ())


def test_who_waits_for_which_bridge():
    visits = place()
    assert (order_of("gross", visits), order_of("tare", visits)) == (0, 1)
    gross = queued("gross", visits, 1, 15 * MIN, 30 * MIN)
    assert gross.waiting == 1  # c
    assert gross.waiting_mean == pytest.approx((5 + 2) / 15)  # b until 20, c from 28
    assert gross.wait_s == 600.0
    assert gross.waiting_little == pytest.approx(10 / 15)
    assert math.isnan(gross.turnaround_s)
    tare = queued("tare", visits, 1, 30 * MIN, 45 * MIN)
    assert tare.waiting == 1  # b
    assert tare.wait_s == 30 * 60.0
    assert tare.turnaround_s == 40 * 60.0


def test_who_entered_days_ago_has_left_unseen():
    visits = visits_of([("a", 0, True)], [])
    assert queued("gross", visits, 0, 48 * 60 * MIN, 48 * 60 * MIN + 15 * MIN).waiting == 0
    assert queued("gross", visits, 0, 47 * 60 * MIN, 47 * 60 * MIN + 15 * MIN).waiting == 1


def test_littles_law_holds_over_a_long_time():
    rng = np.random.default_rng(4)
    enter = np.sort(rng.integers(0, 24 * 60 * MIN, 300))
    done = np.maximum.accumulate(enter + rng.integers(1 * MIN, 20 * MIN, 300))
    crossings = [(f"t{n}", int(t), True) for n, t in enumerate(enter)]
    crossings += [(f"t{n}", int(t) + 10 * MIN, False) for n, t in enumerate(done)]
    weighings = [(f"t{n}", int(t), "gross") for n, t in enumerate(done)]
    visits = visits_of(crossings, weighings)
    inside = sum(t < 24 * 60 * MIN for t in done)
    found = queued("gross", visits, int(inside), 0, 24 * 60 * MIN)
    assert found.waiting_mean == pytest.approx(found.waiting_little, rel=0.03)
    twice = queued("gross", visits, 2 * int(inside), 0, 24 * 60 * MIN)  # as many trucks without a position
    assert twice.waiting_little == pytest.approx(2 * found.waiting_little)
