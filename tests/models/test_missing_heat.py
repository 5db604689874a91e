"""Heat of devices that say nothing: by signature where there is one, by share until then."""

from __future__ import annotations

import numpy as np
import pytest

from models.missing_heat import Expected, estimated_heat

SIZE = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
LEVEL = np.array([0.8, 1.0, 1.3, 1.1])
NO_AREA = np.full(5, np.nan)


def measured(*, scatter: float = 0.0) -> np.ndarray:
    """Four steps of five devices that swing together; the last says nothing."""
    rng = np.random.default_rng(3)
    heat = LEVEL[:, None] * SIZE * (1.0 + scatter * rng.standard_normal(5))
    heat[:, 4] = np.nan
    return heat


def test_a_signature_is_raised_by_what_the_others_take_over_theirs() -> None:
    found = estimated_heat(measured(), NO_AREA, slice(0, 4), Expected(SIZE, 0.02 * SIZE))
    assert found.heat_gj[:, 4] == pytest.approx(5.0 * LEVEL)
    assert found.by_signature.tolist() == [False] * 4 + [True]
    assert found.u_gj[:4].tolist() == [0.0] * 4
    days, hours = 4 * 0.1, 0.05 * 5.0 * LEVEL.sum()
    assert found.u_gj[4] == pytest.approx(np.hypot(days, hours)), "peers that fit theirs: at least 5 %"


def test_peers_that_do_not_fit_their_signatures_widen_it() -> None:
    close = estimated_heat(measured(), NO_AREA, slice(0, 4), Expected(SIZE, 0.02 * SIZE))
    loose = estimated_heat(measured(scatter=0.3), NO_AREA, slice(0, 4), Expected(SIZE, 0.02 * SIZE))
    assert loose.u_gj[4] > 2.0 * close.u_gj[4]


def test_without_peers_a_signature_stands_alone_and_is_worth_less() -> None:
    signed = np.where(np.arange(5) == 4, SIZE, np.nan)
    found = estimated_heat(measured(), NO_AREA, slice(0, 4), Expected(signed, 0.02 * signed))
    assert found.heat_gj[:, 4].tolist() == [5.0] * 4
    assert found.u_gj[4] == pytest.approx(np.hypot(4 * 0.1, 0.25 * 20.0))


def test_a_device_that_takes_nothing_by_its_signature_keeps_the_scatter_of_its_days() -> None:
    warm = np.where(np.arange(5) == 4, 0.0, SIZE)
    found = estimated_heat(measured(), NO_AREA, slice(0, 4), Expected(warm, np.full(5, 0.3)))
    assert found.heat_gj[:, 4].tolist() == [0.0] * 4
    assert found.u_gj[4] == pytest.approx(1.2)


def test_only_the_steps_that_lack_are_filled_in() -> None:
    heat = measured()
    heat[:2, 4] = 7.0
    found = estimated_heat(heat, NO_AREA, slice(0, 4), Expected(SIZE, 0.0 * SIZE))
    assert found.heat_gj[:, 4] == pytest.approx([7.0, 7.0, 6.5, 5.5])
    assert found.u_gj[4] == pytest.approx(0.05 * 12.0)


def test_until_there_is_a_signature_the_share_of_the_others_heat_stands() -> None:
    heat = np.concatenate([measured(), measured()])
    heat[:4, 4] = 6.0 * LEVEL
    unsigned = np.where(np.arange(5) == 4, np.nan, SIZE)
    found = estimated_heat(heat, NO_AREA, slice(4, 8), Expected(unsigned, 0.02 * unsigned))
    assert found.heat_gj[4:, 4] == pytest.approx(6.0 * LEVEL)
    assert not found.by_signature.any()
    assert found.u_gj[4] == pytest.approx(0.05 * 6.0 * LEVEL.sum())
    assert estimated_heat(heat, NO_AREA, slice(4, 8)).heat_gj[4:, 4] == pytest.approx(6.0 * LEVEL)


def test_two_that_are_silent_are_told_each_by_its_own() -> None:
    """One by its signature, one by its share: what was filled in tells nobody's share."""
    heat = np.concatenate([measured(), measured()])
    heat[:4, 4] = 6.0 * LEVEL
    heat[4:, 3] = np.nan
    signed = np.where(np.arange(5) == 4, np.nan, 2.0 * SIZE)
    found = estimated_heat(heat, NO_AREA, slice(4, 8), Expected(signed, 0.0 * SIZE))
    assert found.heat_gj[4:, 3] == pytest.approx(4.0 * LEVEL)
    assert found.heat_gj[4:, 4] == pytest.approx(6.0 * LEVEL)
    assert found.by_signature.tolist() == [False, False, False, True, False]
