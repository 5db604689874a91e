"""Heat that is owed since a fault withheld it: repaid once, never more than was lacking."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.fault_loops import owed

STEP_H = 0.25
POWER = st.floats(0.0, 5_000.0)


def _followed(withheld_kw: list[float], over_kw: list[float]) -> tuple[list[float], list[float]]:
    """What is owed after each step (kWh), and what of the power over its usual repaid it (kW)."""
    lack, left, paid = np.zeros(1), list[float](), list[float]()
    for withheld, over in zip(withheld_kw, over_kw, strict=True):
        lack, repaid = owed(lack, np.array([withheld]), np.array([over]))
        left.append(float(lack[0]))
        paid.append(float(repaid[0]))
    return left, paid


def test_what_was_withheld_is_repaid_and_then_more_power_is_another_load() -> None:
    left, paid = _followed([400.0] * 8 + [0.0] * 12, [0.0] * 8 + [100.0] * 12)
    assert left[7] == pytest.approx(8 * 400.0 * STEP_H, rel=0.02)
    assert paid[8:] == [100.0] * 12, "less than is owed: all of it repays"
    assert left[-1] == pytest.approx(left[7] - 12 * 100.0 * STEP_H, rel=0.05)
    left, paid = _followed([400.0, 0.0, 0.0, 0.0], [0.0, 300.0, 300.0, 300.0])
    assert paid[:2] == [0.0, 300.0]
    assert paid[2] == pytest.approx(100.0, rel=0.02), "what is left is repaid, and no more"
    assert (paid[3], left[2:]) == (0.0, [0.0, 0.0])


def test_what_is_not_repaid_is_lost_as_a_cooler_building_loses_less() -> None:
    left, paid = _followed([400.0] + [0.0] * 400, [0.0] * 401)
    assert set(paid) == {0.0}
    assert left[400] == pytest.approx(left[0] / np.e, rel=1e-6), "after a hundred hours"


@given(st.lists(st.tuples(POWER, POWER), min_size=1, max_size=40))
def test_never_more_is_repaid_than_was_withheld_or_came_over_the_usual(
    steps: list[tuple[float, float]],
) -> None:
    withheld, over = [w for w, _ in steps], [o for _, o in steps]
    left, paid = _followed(withheld, over)
    assert all(0.0 <= p <= o for p, o in zip(paid, over, strict=True))
    assert min(left) >= -1e-9
    assert sum(paid) <= sum(withheld) + 1e-6
