"""Loads foretold from the past alone, with a spread that holds, and nothing where nothing is known."""

from __future__ import annotations

import os
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from benchmarks.load_forecast import (
    CHOSEN_H,
    GOAL_PCT,
    HOUR_MS,
    WARM_H,
    calendar,
    covered_pct,
    foretell,
    houses,
    mape_pct,
)
from models.forecast_weather import HOURS, HourlyWeather, Issue
from models.load_forecast import AHEAD_H, LoadModel

RECORDINGS = os.environ.get("HEARTHLINE_RECORDINGS", "")
UTC = ZoneInfo("UTC")
H0 = 480_000
RNG = np.random.default_rng(4)
N = 24 * 12
ENDS = [(H0 + at) * HOUR_MS for at in range(N)]
OUTDOOR = -4.0 + 5.0 * np.sin(np.arange(N) / 40.0) + 3.0 * np.sin(2 * np.pi * np.arange(N) / 24.0)
INDOORS = np.array(
    [OUTDOOR[at] if at < 24 else OUTDOOR[at - 23 : at + 1] @ np.full(24, 1 / 24) for at in range(N)]
)
LOAD = 40.0 - 1.5 * INDOORS + 4.0 * np.cos(2 * np.pi * np.arange(N) / 24.0) + RNG.normal(0.0, 1.0, N)


def issues(outdoor: np.ndarray, off_k: float = 0.0) -> list[Issue]:
    """Forecasts as issued each hour, right but for an offset; NaN where the record ends."""
    padded = np.append(outdoor, np.full(HOURS, np.nan))
    return [Issue(ms, padded[at + 1 : at + 1 + HOURS] + off_k) for at, ms in enumerate(ENDS)]


@pytest.mark.skipif(not RECORDINGS, reason="HEARTHLINE_RECORDINGS is not set")
def test_recorded_houses_are_foretold_better_than_the_goal() -> None:
    record = houses(Path(RECORDINGS))
    said = [Issue(ms, ahead) for ms, ahead in zip(record.end_ms, record.ahead_c, strict=True)]
    told = foretell(record.end_ms, record.load_kw, record.outdoor_c, said, UTC)
    p10, p50, p90, same = (f[23] for f in (told.p10_kw, told.p50_kw, told.p90_kw, told.persistence_kw))
    whole, after = slice(WARM_H, None), slice(CHOSEN_H, None)
    mean = record.load_kw[:, 0]
    assert mape_pct(p50[:, 0], mean, whole) < GOAL_PCT - 0.3
    assert mape_pct(same[:, 0], mean, whole) == pytest.approx(9.79, abs=0.01)
    for device in (0, 1):
        load = record.load_kw[:, device]
        assert mape_pct(p50[:, device], load, after) < 0.8 * mape_pct(same[:, device], load, after)
        for span in (whole, after):
            assert 75.0 < covered_pct(p10[:, device], p90[:, device], load, span) < 85.0


def test_what_comes_later_changes_nothing_said_before() -> None:
    changed, warmer = LOAD.copy(), OUTDOOR.copy()
    changed[200:], warmer[200:] = 7.0, 30.0
    runs = [
        foretell(ENDS[:230], load[:230, None], outdoor[:230], [None] * 230, UTC)
        for load, outdoor in ((LOAD, OUTDOOR), (changed, warmer))
    ]
    for ahead in (1, 24, 72):
        before = slice(0, 200 + ahead - 1)  # said by the end of hour 199, at index 199
        a, b = (r.p50_kw[ahead - 1, before] for r in runs)
        assert np.array_equal(a, b, equal_nan=True)
        assert np.isfinite(a[-1]).all()
    assert not np.array_equal(runs[0].p50_kw[0, 201:], runs[1].p50_kw[0, 201:], equal_nan=True)


def test_a_device_is_foretold_alike_alone_and_among_others() -> None:
    others = np.stack([LOAD, 1000.0 * LOAD, np.full(N, 5.0), np.zeros(N), np.full(N, np.nan)], axis=1)
    together = foretell(ENDS, others, OUTDOOR, issues(OUTDOOR), UTC)
    alone = foretell(ENDS, LOAD[:, None], OUTDOOR, issues(OUTDOOR), UTC)
    known = slice(100, None)
    assert together.p50_kw[:, known, 0] == pytest.approx(alone.p50_kw[:, known, 0], nan_ok=True, rel=1e-9)
    # In other units it is the same forecast.
    assert together.p90_kw[23, known, 1] == pytest.approx(
        1000.0 * together.p90_kw[23, known, 0], nan_ok=True, rel=1e-4
    )
    # A constant load is foretold as that, a device that takes nothing as nothing, a silent one not at all.
    assert together.p50_kw[23, -20:, 2] == pytest.approx(5.0, rel=0.01)
    assert (together.p50_kw[23, -20:, 3] == 0.0).all()
    for f in (together.p10_kw, together.p50_kw, together.p90_kw, together.persistence_kw):
        assert np.isnan(f[:, :, 4]).all()


def test_loads_that_hang_on_the_weather_are_foretold_to_their_noise() -> None:
    told = foretell(ENDS, LOAD[:, None], OUTDOOR, issues(OUTDOOR), UTC)
    off = (told.p50_kw[23, 160:-72, 0] - LOAD[160:-72]) / LOAD[160:-72]
    same = (told.persistence_kw[23, 160:-72, 0] - LOAD[160:-72]) / LOAD[160:-72]
    assert np.abs(off).mean() < 0.03
    assert np.abs(off).mean() < 0.75 * np.abs(same).mean()


def test_a_summer_without_load_does_not_spoil_the_spread_of_the_season() -> None:
    load = np.where(np.arange(N) < 100, 0.0, LOAD)
    told = foretell(ENDS, load[:, None], OUTDOOR, issues(OUTDOOR), UTC)
    p10, p50, p90 = (f[0, 200:-1, 0] for f in (told.p10_kw, told.p50_kw, told.p90_kw))
    assert (p90 - p10).max() < p50.min(), "heat began four days ago"


def test_a_forecast_that_is_always_off_is_set_right() -> None:
    weather = HourlyWeather()
    for at, issue in enumerate(issues(np.full(N, -5.0), off_k=2.0)):
        outlook = weather.after(ENDS[at], -5.0, issue)
    assert weather.bias_k == pytest.approx(-2.0, abs=0.1)
    assert outlook.now_c == -5.0
    assert not outlook.forecast.any(), "the record ends"
    assert outlook.ahead_c == pytest.approx(np.full(HOURS, -5.0))


def test_without_a_forecast_the_mean_of_the_last_day_stands_and_without_a_day_nothing() -> None:
    weather = HourlyWeather()
    for at in range(5):
        assert np.isnan(weather.after(ENDS[at], 1.0).ahead_c).all()
    outlook = weather.after(ENDS[5], 4.0)
    assert outlook.ahead_c == pytest.approx(np.full(HOURS, 1.5))
    ahead = np.full(HOURS, np.nan)
    ahead[:12] = 7.0
    outlook = weather.after(ENDS[6], 4.0, Issue(ENDS[6], ahead))
    assert outlook.forecast.tolist() == [True] * 12 + [False] * 60
    late = weather.after(ENDS[16], np.nan, None)
    assert late.forecast.sum() == 2, "of a forecast ten hours old two hours are left"
    assert late.now_c == pytest.approx(7.0, abs=0.3)
    older = weather.after(ENDS[17], np.nan, Issue(ENDS[0], np.full(HOURS, 99.0)))
    assert older.forecast.sum() == 1, "an older forecast than is known is passed over"


def test_gaps_say_so_and_pass() -> None:
    load, outdoor = np.stack([LOAD, LOAD], axis=1), OUTDOOR.copy()
    load[120:150, 1] = np.nan
    outdoor[200:210] = np.nan
    model, weather = LoadModel.new(2), HourlyWeather()
    reasons = []
    for at in range(N):
        outlook = weather.after(ENDS[at], outdoor[at])
        told = model.after(H0 + at, load[at], outlook, calendar(ENDS[at], UTC))
        reasons.append(told.reason.tolist())
        unknown = told.reason != ""
        assert np.array_equal(np.isnan(told.p50_kw).all(axis=0), unknown), at
        assert np.array_equal(np.isfinite(told.p50_kw).all(axis=0), ~unknown), at
    assert reasons[70] == ["warming_up"] * 2
    assert reasons[100] == ["", ""]
    assert reasons[142] == ["", ""]
    assert reasons[143] == ["", "gap"], "a day without a load"
    assert reasons[150] == ["", ""]
    assert reasons[205] == ["", ""], "six hours may pass"
    assert reasons[207] == ["no_outdoor"] * 2
    assert reasons[210] == ["", ""]


def test_devices_that_join_and_leave_take_what_was_learnt_with_them() -> None:
    both, one = LoadModel.new(2), LoadModel.new(1)
    weather = HourlyWeather()
    for at in range(150):
        outlook = weather.after(ENDS[at], OUTDOOR[at])
        both.after(H0 + at, np.array([5.0 * LOAD[at], LOAD[at]]), outlook, calendar(ENDS[at], UTC))
        one.after(H0 + at, LOAD[at : at + 1], outlook, calendar(ENDS[at], UTC))
    swapped = both.of(np.array([1, -1]))
    outlook = weather.after(ENDS[150], OUTDOOR[150])
    later = calendar(ENDS[150], UTC)
    a = swapped.after(H0 + 150, np.array([LOAD[150], 3.0]), outlook, later)
    b = one.after(H0 + 150, LOAD[150:151], outlook, later)
    assert a.p90_kw[:, 0] == pytest.approx(b.p90_kw[:, 0], nan_ok=True)
    assert a.reason.tolist() == ["", "warming_up"]
    assert len(swapped.pending_kw[0]) == sum(AHEAD_H)


def test_weather_that_stands_still_is_not_forgotten_without_end() -> None:
    model, weather = LoadModel.new(1), HourlyWeather()
    days = [calendar(ms, UTC) for ms in ENDS[: 7 * 24]]
    for at in range(1_500):
        outlook = weather.after((H0 + at) * HOUR_MS, 2.0)
        told = model.after(H0 + at, np.array([30.0]), outlook, days[at % len(days)])
    assert np.isfinite(model.covariance).all()
    assert np.abs(model.covariance).max() < 1e3
    assert told.p50_kw == pytest.approx(np.full((HOURS, 1), 30.0), rel=0.01)
