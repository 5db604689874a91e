"""What the oracle compares: the final rows of whatever is computed, and of whatever will be."""

from __future__ import annotations

import pytest

from streams.core.operator import LedgerOperator, SampleOperator, discovered
from tests.support.oracle import _NOT_WINDOWS, Verdict, _compare_windows

COMPUTED = [o.name for o in discovered() if not isinstance(o, SampleOperator | LedgerOperator)]
TO_COME = ["anomaly", "burnt_fuel"]
WINDOW_MS = 900_000


def rows(count: int, key: str = "a", **values: object) -> list[dict]:
    return [
        {"key": key, "window_start": at * WINDOW_MS, "window_ms": WINDOW_MS, "status": "final", "revision": 0}
        | values
        for at in range(count)
    ]


def compared(run: dict, replay: dict) -> Verdict:
    verdict = Verdict()
    verdict.windows = _compare_windows(run, replay, "the replay's", verdict)
    return verdict


def test_only_what_is_compared_otherwise_is_left_out():
    assert COMPUTED
    assert not set(COMPUTED) & _NOT_WINDOWS


@pytest.mark.parametrize("name", sorted({*COMPUTED, *TO_COME}))
def test_a_row_of_any_measurement_that_differs_is_a_fault(name):
    right = rows(4, state="closed")
    assert not compared({name: right}, {name: right}).faults
    wrong = [*right[:2], right[2] | {"state": "open"}, right[3]]
    assert compared({name: wrong}, {name: right}).faults.keys() == {f"{name} equals the replay's"}
    missing = [*right[:2], right[3]]
    assert compared({name: missing}, {name: right}).faults
    doubled = compared({name: [*right, *rows(1, key="b")]}, {name: right})
    assert f"{name} has the keys of the replay's" in doubled.faults


def test_a_measurement_that_the_run_has_nothing_of_is_a_fault_once_its_windows_are_over():
    heat = rows(4)
    assert compared({"device_heat": heat}, {"device_heat": heat, "trip": rows(1)}).faults
    day = [rows(1)[0] | {"window_ms": 96 * WINDOW_MS}]
    assert not compared({"device_heat": heat}, {"device_heat": heat, "signature": day}).faults


def test_what_was_not_final_yet_when_the_run_ended_is_no_fault():
    assert compared({"device_heat": rows(2)}, {"device_heat": rows(5)}).windows == 2
    assert not compared({"device_heat": rows(2)}, {"device_heat": rows(5)}).faults
