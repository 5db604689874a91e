"""Calculators set for the other pipe against sound ones, and against meters too rough to judge."""

from __future__ import annotations

import numpy as np

from models.meter_setting import LEAST_DAYS, computed_heat_gj, judged_setting

METERS = 200


def judged(rng, *, wrong: bool, days: int = 7, rough: float = 0.001):
    """Verdict on meters of many differences of temperature, each with a calculator's error of its own."""
    supply = rng.uniform(75.0, 110.0, METERS) + rng.uniform(-3.0, 3.0, (days, METERS))
    back = rng.uniform(35.0, 50.0, METERS)
    own = computed_heat_gj(np.ones_like(supply), supply, back, np.zeros(METERS, dtype=bool))
    other = computed_heat_gj(np.ones_like(supply), supply, back, np.ones(METERS, dtype=bool))
    limits = 0.005 + 3.0 * 0.01 / (supply - back)
    error = 1.0 + limits * rng.uniform(-0.9, 0.9, METERS) + rough * rng.standard_normal(supply.shape)
    counted = np.where(wrong, other, own) * error
    return judged_setting(
        np.log(counted / own), np.log(other / own), (supply - back).mean(axis=0), np.full(METERS, 3.0)
    )


def test_a_wrong_setting_is_told_and_a_right_one_is_not():
    rng = np.random.default_rng(1)
    assert judged(rng, wrong=True).wrong.mean() > 0.9
    sound = judged(rng, wrong=False)
    assert not sound.wrong.any()
    assert (sound.score < 0.0).mean() > 0.95
    wrong = judged(rng, wrong=True)
    assert np.abs(wrong.ratio - wrong.expected).max() < 0.01
    assert (np.abs(wrong.expected) > 0.012).all()


def test_too_few_days_and_rough_meters_say_nothing():
    rng = np.random.default_rng(2)
    early = judged(rng, wrong=True, days=LEAST_DAYS - 1)
    assert not early.wrong.any()
    assert np.isnan(early.ratio).all()
    assert not judged(rng, wrong=True, rough=0.057).wrong.any(), "as rough as a real meter read by the hour"
