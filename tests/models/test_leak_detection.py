"""What makes a loss a loss, since when, and in what way; on windows that are made up by hand."""

import numpy as np
import pytest

from models.leak_detection import DRAW_OFF, ENOUGH, LEAK, by_norm, find_loss, loss_since, manner_of, side_of
from models.water_usual import LEAST_DAYS, WaterWindow, columns, day_of, summed_u_m3, usual_of

HOUR_MS = 3_600_000
USUAL_M3_H = 1.5


def hours(leaks, *, floors=None, u=0.1, start_ms=0, makeup=None):
    """A window for each hour's loss. [m³]"""
    floors = leaks if floors is None else floors
    return [
        WaterWindow(start_ms + n * HOUR_MS, 1.0, lost if makeup is None else makeup, 0.0, 0.0, 0.0, lost, u, floor,
                    1000.0, 2.0, 0.0, 0.5)
        for n, (lost, floor) in enumerate(zip(leaks, floors, strict=True))
    ]  # fmt: skip


def days(number, rng, u=0.1):
    made = []
    for n in range(number):
        lost = USUAL_M3_H + 0.05 * rng.standard_normal(24)
        made.append(day_of(hours(lost, start_ms=n * 24 * HOUR_MS, u=u), n * 24 * HOUR_MS))
    return made


@pytest.fixture
def usual():
    return usual_of(days(10, np.random.default_rng(1)))


def test_the_usual_is_learnt_from_three_days_on():
    rng = np.random.default_rng(2)
    assert usual_of(days(LEAST_DAYS - 1, rng)) is None
    few, many = usual_of(days(LEAST_DAYS, rng)), usual_of(days(14, rng))
    assert many.rate_m3_h == pytest.approx(USUAL_M3_H, abs=0.02)
    assert many.floor_m3_h == pytest.approx(USUAL_M3_H, abs=0.03)
    assert many.night_m3_h < many.floor_m3_h
    assert many.bias_pct == pytest.approx(0.2)
    assert few.rate_u_m3_h >= many.rate_u_m3_h >= 0.03 * many.rate_m3_h
    assert few.days == LEAST_DAYS


def test_a_day_of_which_little_is_known_is_none():
    assert day_of(hours([1.0] * 17), 0) is None
    assert day_of(hours([1.0] * 18), 0) is not None


def test_one_bad_day_among_many_changes_little(usual):
    rng = np.random.default_rng(1)
    spoilt = days(10, rng)
    spoilt[4] = spoilt[4]._replace(rate_m3_h=50.0)
    assert usual_of(spoilt).rate_m3_h == pytest.approx(usual.rate_m3_h, abs=0.05)


@pytest.mark.parametrize("size", [0.4, 2.0])
def test_a_step_is_found_where_it_is_and_as_large_as_it_is(usual, size):
    rng = np.random.default_rng(3)
    lost = USUAL_M3_H + 0.05 * rng.standard_normal(48)
    assert find_loss(hours(lost), usual).score < ENOUGH
    lost[30:] += size
    found = find_loss(hours(lost), usual)
    assert found.score > ENOUGH
    assert abs(found.onset_ms - 30 * HOUR_MS) <= HOUR_MS
    assert found.onset_from_ms <= found.onset_ms <= found.onset_to_ms
    assert abs(found.size_m3_h - size) <= found.size_u_m3_h
    assert found.volume_m3 == pytest.approx(18 * size, rel=0.15)
    assert found.size_u_m3_h < size


def test_nothing_is_found_while_less_is_lost_than_usual(usual):
    assert find_loss(hours([0.2] * 24), usual).score < 0.0


def test_what_is_booked_after_it_was_taken_is_no_loss(usual):
    lost = np.full(24, USUAL_M3_H)
    lost[10:13] += 20.0
    lost[13] -= 60.0
    assert find_loss(hours(lost[:13]), usual).score > ENOUGH
    assert find_loss(hours(lost), usual).score < ENOUGH


def test_before_anything_is_learnt_only_the_norm_bounds_it():
    norm = by_norm(5.0)
    assert find_loss(hours([4.9] * 10), norm).score < ENOUGH
    assert find_loss(hours([12.0] * 10), norm).score > ENOUGH


def test_what_is_a_meters_own_does_not_average_down():
    u = 0.2
    own = [w._replace(makeup_m3=10.0, leak_u_m3=2.0 * 10.0 * 0.02 / np.sqrt(3.0)) for w in hours([1.0] * 9)]
    assert summed_u_m3(columns(own))[0] == pytest.approx(9 * own[0].leak_u_m3 / 2.0)
    scattered = hours([1.0] * 9, u=u, makeup=0.0)
    assert summed_u_m3(columns(scattered))[0] == pytest.approx(3 * u / 2.0)


def test_a_leak_lifts_the_floor_and_draw_off_does_not(usual):
    size, clock = 2.0, list(range(24))
    lost = np.full(24, USUAL_M3_H + size)
    leak = manner_of(hours(lost), usual, size, clock)
    assert (leak.code, leak.floor_share) == (LEAK, pytest.approx(1.0, abs=0.1))
    bursts = np.full(24, USUAL_M3_H)
    bursts[[6, 7, 18, 19]] += 6.0 * size
    drawn = manner_of(hours(bursts, floors=np.full(24, USUAL_M3_H)), usual, size, clock)
    assert (drawn.code, drawn.floor_share) == (DRAW_OFF, pytest.approx(0.0, abs=0.1))
    assert set(drawn.busiest_h) <= {6, 7, 18, 19}
    assert min(leak.confidence, drawn.confidence) > 0.95


def test_the_window_in_which_a_loss_begins_accuses_nobody(usual):
    """A leak that begins within it leaves its floor as it was; only what comes next tells."""
    lost = np.append(12.0, np.full(3, 20.0))
    floors = USUAL_M3_H + np.append(0.0, np.full(3, 20.0))
    first = manner_of(hours(lost[:1], floors=floors[:1]), usual, 12.0, [3])
    assert (first.code, first.confidence) == (LEAK, 0.5)
    later = [manner_of(hours(lost[:n], floors=floors[:n]), usual, 18.0, [3, 4, 5, 6][:n]) for n in (2, 3, 4)]
    assert {m.code for m in later} == {LEAK}
    assert later[-1].confidence > 0.95
    bursts = manner_of(hours(lost[:3], floors=np.full(3, USUAL_M3_H)), usual, 17.0, [3, 4, 5])
    assert bursts.code == DRAW_OFF
    assert bursts.confidence > 0.95


def test_the_side_is_said_only_where_the_meters_can_tell(usual):
    windows = hours([3.5] * 10)
    metered = [w._replace(unbiased_m3=2.0) for w in windows]
    assert side_of(metered, 20.0) == "metered"
    assert side_of(windows, 20.0) == "other"
    assert side_of([w._replace(unbiased_m3=1.0) for w in windows], 20.0) == ""
    assert side_of([w._replace(unbiased_u_m3=9.0) for w in windows], 20.0) == ""
    assert side_of([w._replace(unbiased_m3=np.nan) for w in windows], 20.0) == ""


def test_a_loss_over_all_windows_is_their_mean_excess(usual):
    rate, score = loss_since(hours([USUAL_M3_H + 1.0] * 6), usual)
    assert rate == pytest.approx(1.0, abs=0.02)
    assert score > ENOUGH
