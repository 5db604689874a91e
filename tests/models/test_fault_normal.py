"""Lines that devices learn: found again, not bent by what is wrong, and begun anew with another meter."""

from __future__ import annotations

import numpy as np
import pytest

from models.fault_normal import LEARNING_DAYS, Line, Normals

LINES = (Line("sloped", 4.0, 1.0, 0.3), Line("mean", 4.0))


def week(
    normal: Normals, days: int, rng: np.random.Generator, *, shift: float = 0.0, clean: bool = True
) -> Normals:
    """Days of two devices: y = 2 + 3x, and a mean of 5; the second device has no data."""
    for _ in range(days):
        for _ in range(96):
            x = np.array([[rng.normal(0, 1.0), np.nan], [0.0, 0.0]])
            y = np.array([[2.0 + shift, np.nan], [5.0 + shift, np.nan]]) + rng.normal(0, 0.1, (2, 2))
            y[0] += 3.0 * x[0]
            known = ~np.isnan(x + y)
            normal = normal.taken(LINES, x, y, known & clean, known)
        normal = normal.day_over(LINES, np.array([clean, True]))
    return normal


def test_a_line_is_found_and_known_after_seven_days_only() -> None:
    rng = np.random.default_rng(1)
    normal = week(Normals.none(2).grown(2), LEARNING_DAYS - 1, rng)
    assert np.isnan(normal.sd).all()
    normal = week(normal, 1, rng)
    assert normal.expected(0, np.array([1.0, 1.0]))[0] == pytest.approx(
        5.0, abs=0.08
    )  # it leans to its prior
    assert normal.slope[0, 0] == pytest.approx(3.0, abs=0.1)
    assert normal.sd[:, 0] == pytest.approx([0.1, 0.1], rel=0.3)
    assert np.isnan(normal.sd[:, 1]).all()
    assert normal.days.tolist() == [7.0, 0.0]


def test_a_slope_leans_to_what_is_known_where_days_do_not_show_it() -> None:
    normal = Normals.none(1).grown(1)
    rng = np.random.default_rng(2)
    line = (LINES[0],)
    for _ in range(7):
        for _ in range(96):
            x = np.array([[rng.normal(0, 0.001)]])
            known = np.array([[True]])
            normal = normal.taken(line, x, 7.0 + rng.normal(0, 0.1, (1, 1)), known, known)
        normal = normal.day_over(line, np.array([True]))
    assert normal.slope[0, 0] == pytest.approx(1.0, abs=0.05)


def test_how_far_off_it_is_follows_a_step_in_hours() -> None:
    rng = np.random.default_rng(3)
    normal = week(Normals.none(2).grown(2), 8, rng)
    before = normal.off.copy()
    for _ in range(4 * 12):
        x, y = np.array([[0.0, np.nan], [0.0, 0.0]]), np.array([[3.0, np.nan], [6.0, np.nan]])
        known = ~np.isnan(x + y)
        normal = normal.taken(LINES, x, y, known & False, known)
    assert np.abs(before[:, 0]).max() < 0.1
    assert normal.off[:, 0] == pytest.approx([0.95, 0.95], abs=0.06)


@pytest.mark.parametrize("clean", [True, False])
def test_what_comes_later_waits_a_week_and_is_dropped_when_something_was_wrong(clean: bool) -> None:
    rng = np.random.default_rng(4)
    normal = week(Normals.none(2).grown(2), 7, rng)
    normal = week(normal, 13, rng, shift=1.0)
    assert normal.expected(1, np.zeros(2))[0] == pytest.approx(5.0, abs=0.02)
    normal = week(normal, 1, rng, shift=1.0, clean=clean)
    if clean:  # a week of the two is learned now
        assert normal.expected(1, np.zeros(2))[0] == pytest.approx(5.5, abs=0.02)
    else:
        normal = week(normal, 13, rng)
        assert normal.expected(1, np.zeros(2))[0] == pytest.approx(5.0, abs=0.02)


def test_another_meter_begins_anew() -> None:
    normal = week(Normals.none(2).grown(2), 8, np.random.default_rng(5)).anew(np.array([True, False]))
    assert np.isnan(normal.sd).all()
    assert normal.days[0] == 0.0
    assert normal.base[:, :, 0].sum() == 0.0
