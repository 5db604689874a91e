"""Arrivals foretold from past trips of a lane."""

import math

import numpy as np
import pytest

from models.eta import LEAST_TRIPS, Eta, LaneTimes, PastTrip, arrival, late_risk

HOUR = 3_600_000
T0 = 1_768_000_000_000 // HOUR * HOUR


def trips(n, seed=1, pace_sd=0.1, rest=0.15):
    """Trips of some three hours: a driver's own pace over all of it, and chance on each part of the way."""
    rng = np.random.default_rng(seed)
    found = []
    for k in range(n):
        parts = 540_000 * np.exp(pace_sd * rng.standard_normal() + rest * rng.standard_normal(20))
        at = T0 + k * HOUR + np.concatenate([[0.0], np.cumsum(parts)])
        found.append(PastTrip(T0 + k * HOUR, int(at[-1]), at.astype(np.int64), np.linspace(0.0, 1.0, 21)))
    return found


def test_p10_to_p90_holds_four_of_five_and_half_way_knows_the_driver():
    past, later = trips(300), trips(400, seed=2)
    lane = LaneTimes.of(past)
    inside, off, plain = [], [], []
    for trip in later:
        now = int(trip.at_ms[10])
        eta = arrival(lane, trip.departed_ms, now, 0.5)
        assert now < eta.p10_ms <= eta.p50_ms <= eta.p90_ms
        inside.append(eta.p10_ms <= trip.arrived_ms <= eta.p90_ms)
        off.append(abs(eta.p50_ms - trip.arrived_ms))
        plain.append(abs(now + np.median([t.arrived_ms - t.at_ms[10] for t in past]) - trip.arrived_ms))
    assert 0.75 <= np.mean(inside) <= 0.85
    assert np.mean(off) < 0.85 * np.mean(plain)


@pytest.mark.parametrize("n", [5, 8, 15])
def test_few_trips_give_honest_quantiles_too(n):
    inside = []
    for seed in range(40):
        lane, later = LaneTimes.of(trips(n, seed)), trips(5, seed + 1_000)
        for trip in later:
            eta = arrival(lane, trip.departed_ms, int(trip.at_ms[10]), 0.5)
            inside.append(eta.p10_ms <= trip.arrived_ms <= eta.p90_ms)
    assert 0.7 <= np.mean(inside) <= 0.92


def test_too_few_trips_say_nothing():
    eta = arrival(LaneTimes.of(trips(LEAST_TRIPS - 1)), T0, T0 + HOUR, 0.5)
    assert all(math.isnan(x) for x in (eta.p10_ms, eta.p50_ms, eta.p90_ms))
    assert math.isnan(late_risk(eta, T0))


def test_the_order_of_trips_does_not_matter():
    past = trips(100)
    lane = LaneTimes.of(past[::-1])
    assert arrival(lane, T0, T0 + HOUR, 0.4) == arrival(LaneTimes.of(past), T0, T0 + HOUR, 0.4)


def test_without_a_position_time_alone_says_when():
    past = trips(200)
    lane = LaneTimes.of(past)
    total = np.array([t.arrived_ms - t.departed_ms for t in past])
    fresh = arrival(lane, T0, T0, math.nan)
    assert fresh.p50_ms - T0 == pytest.approx(np.median(total), rel=1e-6)
    long = int(np.quantile(total, 0.8))
    late = arrival(lane, T0, T0 + long, math.nan)
    assert late.p10_ms > T0 + long
    assert math.isnan(arrival(lane, T0, T0 + 10 * HOUR, math.nan).p50_ms)  # longer than any


def test_a_queue_is_waited_for_and_the_end_of_the_way_is_near():
    lane = LaneTimes.of(trips(100))
    now = T0 + 3 * HOUR
    assert arrival(lane, T0, now, 0.7, queue_s=600.0).p50_ms == arrival(lane, T0, now, 0.7).p50_ms + 600_000
    assert arrival(lane, T0, now, 1.0).p90_ms == now
    assert arrival(lane, T0, now, 0.99).p50_ms - now < 300_000


def test_a_record_that_begins_half_way_says_nothing_of_before():
    half = [PastTrip(int(t.at_ms[10]), t.arrived_ms, t.at_ms[10:], t.share[10:], 0.5) for t in trips(60)]
    lane = LaneTimes.of(half)
    assert math.isnan(arrival(lane, T0, T0 + HOUR, 0.2).p50_ms)
    assert arrival(lane, T0, T0 + HOUR, 0.6).p50_ms > T0 + HOUR


def test_quantiles_of_an_hour_of_the_day_are_its_own():
    calm, jammed = trips(600, pace_sd=0.02, rest=0.02), trips(600, seed=3, pace_sd=0.02, rest=0.6)
    mixed = []
    for k in range(600):  # arrivals in the first half of the day are steady, in the other half not
        trip = (calm if k % 24 < 12 else jammed)[k]
        shift = T0 // (24 * HOUR) * 24 * HOUR + k * HOUR - trip.arrived_ms
        mixed.append(
            PastTrip(trip.departed_ms + shift, trip.arrived_ms + shift, trip.at_ms + shift, trip.share)
        )
    lane = LaneTimes.of(mixed)
    day = T0 // (24 * HOUR) * 24 * HOUR + 40 * 24 * HOUR

    def spread(hour):
        eta = arrival(lane, day + hour * HOUR - HOUR, day + hour * HOUR, 0.5)
        return eta.p90_ms - eta.p10_ms

    assert spread(15) > 1.5 * spread(3)


def test_risk_of_being_late_is_a_probability_that_falls():
    eta = Eta(100.0, 200.0, 400.0)
    risks = [late_risk(eta, due) for due in range(-500, 1500, 50)]
    assert all(0.0 <= r <= 1.0 for r in risks)
    assert risks == sorted(risks, reverse=True)
    assert late_risk(eta, 400.0) == pytest.approx(0.1)
    assert late_risk(eta, 100.0) == pytest.approx(0.9)
