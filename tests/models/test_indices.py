"""Heat indices and effects on the return, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models.heat_index import heat_index
from models.return_effect import rank_of, return_effect


def test_an_index_is_the_same_in_a_mild_winter_and_a_cold_one() -> None:
    for outdoor in (np.linspace(-20.0, -5.0, 40), np.linspace(-5.0, 10.0, 40)):
        power = 2.0 * (18.0 - outdoor)[:, None]
        found = heat_index(power, outdoor, [1000.0], -10.0, -2.0, 100.0)
        assert found.w_m2[0] == pytest.approx(56.0)
        assert found.gj_m2[0] == pytest.approx(2.0 * 20.0 * 100.0 * 86_400.0 / 1000.0 * 1e-6)


def test_what_an_index_lacks_leaves_it_absent() -> None:
    outdoor = np.linspace(-10.0, 0.0, 30)
    power = np.repeat(2.0 * (18.0 - outdoor)[:, None], 4, axis=1)
    power[10:, 1] = np.nan
    found = heat_index(power, outdoor, [1000.0, 1000.0, np.nan, 0.0], -10.0)
    assert np.isnan(found.w_m2).tolist() == [False, True, True, True]
    assert np.isnan(found.gj_m2).all()
    assert np.isnan(heat_index(power, outdoor + 30.0, [1000.0] * 4, -10.0).w_m2).all(), "summer"
    assert np.isnan(heat_index(power, np.full(30, np.nan), [1000.0] * 4, -10.0).w_m2).all()


def test_effects_are_those_of_mixing_without_the_substation() -> None:
    flow, back = np.array([30.0, 10.0, 20.0]), np.array([40.0, 62.0, 45.0])
    excess = np.array([-2.0, 6.0, 0.0])
    found = return_effect(flow, back, excess, 42.0)
    mixed = (flow * back).sum() / flow.sum()
    for at in range(3):
        rest = np.delete(np.arange(3), at)
        without = (flow[rest] * back[rest]).sum() / flow[rest].sum()
        assert found.effect_k[at] == pytest.approx(mixed - without)
        needed = flow[at] - excess[at]
        mended = ((flow[rest] * back[rest]).sum() + needed * 42.0) / (flow[rest].sum() + needed)
        assert found.gain_k[at] == pytest.approx(mixed - mended)


def test_effects_say_nothing_of_what_is_not_known_and_no_less_of_the_others() -> None:
    found = return_effect([30.0, np.nan, 10.0, -1.0], [40.0, 50.0, 60.0, 50.0], [0.0, 0.0, np.nan, 0.0], 40.0)
    assert np.isnan(found.effect_k).tolist() == [False, True, False, True]
    assert found.effect_k[0] == pytest.approx(-5.0 - 15.0 + 5.0)
    assert np.isnan(found.gain_k).tolist() == [False, True, True, True]
    assert np.isnan(return_effect([30.0], [40.0], [1.0]).effect_k).all(), "one alone has nothing to mix with"
    assert np.isnan(return_effect([30.0, 5.0], [40.0, 50.0], [1.0, 1.0]).gain_k).all(), "no reference"
    assert np.isnan(return_effect([0.0, 0.0], [40.0, 50.0], [0.0, 0.0], 40.0).effect_k).all()


def test_ranks() -> None:
    assert rank_of([1.0, 5.0, np.nan, 5.0, -3.0]) == pytest.approx([3.0, 1.0, np.nan, 2.0, 4.0], nan_ok=True)
    assert len(rank_of([])) == 0
