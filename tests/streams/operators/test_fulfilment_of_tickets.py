"""A contract's sums go by tickets as they stand: corrected, and each at its own end."""

from __future__ import annotations

import pytest

from models.fulfilment import RESIDUALS
from streams.core.local_days import day_bounds_ms
from streams.operators.fulfilment import fulfilment
from tests.streams.operators.test_haulage import DAY_MS, OPERATORS, trip_events
from tests.support.road import Event, road_journal, run_road
from tests.support.telemetry import T0

CORRECT = {"event": "correct", "ticket": "M1", "step": "gross", "note": "misread", "person": "Li Wei"}


def newest(events, contract="C1"):
    """The contract's last row of January, some days after the trip."""
    release = {"event": "release", "contract": contract, "mass_kg": 200_000.0, "ref": "R1"}
    ordered = sorted([*events, Event("desk", 90, T0 - 1000, release)], key=lambda e: e.t)
    told = run_road(
        road_journal([[e] for e in ordered], [e.t + 500 for e in ordered]), (*OPERATORS, fulfilment),
        until_ms=max(T0 + 6 * DAY_MS, ordered[-1].t + 4 * DAY_MS),
    )  # fmt: skip
    rows = {key: row for key, row in told.of("fulfilment").items() if key[0].startswith(f"{contract}:")}
    return rows[max(rows, key=lambda key: key[1])]


def sums(row):
    return row["loaded_kg"], row["received_kg"], row["lost_kg"], [row[name] for name in RESIDUALS]


LATE_D = pytest.mark.parametrize("late_d", [2, 25, 40])


@LATE_D
def test_a_corrected_mass_is_in_the_sums_as_it_is_in_the_trip(late_d):
    corrected = Event("desk", 1, T0 + late_d * DAY_MS, {**CORRECT, "ref": "K1", "mass_kg": 44_950.0})
    assert sums(newest(trip_events())) == (30_000, 29_900, 100, [0, 0, 0, 0])
    assert sums(newest([*trip_events(), corrected])) == (29_950, 29_900, 50, [0, 0, 0, 0])


@LATE_D
def test_a_corrected_contract_moves_the_load(late_d):
    both = [
        Event("desk", n, T0 + late_d * DAY_MS + n, {**CORRECT, "ref": f"K{n}", "ticket": t, "step": s, "contract": "C2"})
        for n, (t, s) in enumerate([("M1", "gross"), ("M1", "tare"), ("Y1", "gross"), ("Y1", "tare")], 1)
    ]  # fmt: skip
    left = newest([*trip_events(), *both])
    assert (left["loaded_kg"], left["received_kg"]) == (0, 0)
    assert (left["refused"], newest([*trip_events(), *both], "C2")["refused"]) == (0, 0)
    assert sums(newest([*trip_events(), *both], "C2"))[:3] == (30_000, 29_900, 100)


@pytest.mark.parametrize("number", ["Y1", "7"])
def test_a_number_of_both_ends_is_two_tickets(number):
    events = trip_events()
    for event in events:
        event.values["ticket"] = number
    assert sums(newest(events)) == (30_000, 29_900, 100, [0, 0, 0, 0])


def test_a_correction_to_a_contract_that_nobody_registered_is_no_refused_paper_of_its_own():
    strayed = Event("desk", 1, T0 + 2 * DAY_MS, {**CORRECT, "ref": "K1", "contract": "C77"})
    events = [*trip_events(), strayed]
    told = run_road(
        road_journal([[e] for e in events], [e.t + 500 for e in events]), (*OPERATORS, fulfilment),
        until_ms=T0 + 6 * DAY_MS,
    )  # fmt: skip
    days = {day for key, day in told.of("fulfilment") if key.startswith("C77:")}
    weighed = {day_bounds_ms(e.t, "Asia/Shanghai")[0] for e in trip_events()}
    assert days, "what is weighed for it is refused, on the day of the weighing"
    assert days <= weighed
