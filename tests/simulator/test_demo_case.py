"""The demo's case: every kind of device of coal says something before long, and the yard outlasts the demo."""

from collections import Counter

import pytest

from simulator.coal import CoalReadings, Coupling
from simulator.demo_case import demo_case

START_MS = 1_790_000_040_000
FIRST_MS = 1_788_192_000_000  # 1 September 2026 in Shanghai
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
HOUR_STEPS = 360


def test_within_an_hour_trucks_load_and_offices_yards_and_laboratories_speak():
    case = demo_case(1, START_MS)
    assert case.end_ms - case.start_ms >= 60 * 86_400_000
    readings = CoalReadings(case)
    said: Counter[str] = Counter()
    before_kg = readings.heat[0].truth.plant.fuel_kg
    for _ in range(HOUR_STEPS):
        for device, reading in readings.step():
            device_class = case.site.devices[device].device_class
            said[device_class] += 1
            said[str(reading.values.get("step") or reading.values.get("event"))] += 1
    assert min(said[c] for c in ("truck", "weighbridge", "yard", "office", "plant", "substation")) >= 1
    assert said["tare"] >= 2
    assert said["gross"] >= 1
    assert said["survey"] == 1
    burnt_t_d = (readings.heat[0].truth.plant.fuel_kg - before_kg) * 24.0 / 1e3
    planned_t = sum(c.planned_t for c in case.site.contracts.values() if c.month == "2026-10")
    assert burnt_t_d * 30.0 < 1.5 * planned_t, "what comes keeps up with what is burnt"
    assert readings.close() == 0


def test_a_demo_that_was_begun_without_papers_goes_on_without():
    start_ms = FIRST_MS + 15 * DAY_MS + 10 * HOUR_MS
    readings = CoalReadings(demo_case(1, start_ms, earlier=False))
    assert all(r.t_ms >= start_ms for _ in range(31) for _, r in readings.step())


@pytest.mark.parametrize("day", [1, 2, 16, 30])
def test_whoever_begins_on_any_day_brings_in_the_months_papers(day):
    start_ms = FIRST_MS + (day - 1) * DAY_MS + 10 * HOUR_MS + 17
    told = _first_minutes(start_ms)
    assert told == _first_minutes(start_ms), "the same seed and start tell the same"
    assert all(r.t_ms >= start_ms for _, r in told[: len(told) // 4]), "what is live comes first"
    case, papers = demo_case(1, start_ms), [(d, r) for d, r in told if r.t_ms < start_ms]
    assert all(r.t_ms >= FIRST_MS for _, r in papers)
    assert len({(d, r.t_ms) for d, r in papers}) == len(papers), "a sample's time names it"
    loads = [r for d, r in papers if d.endswith("gross") and d.startswith("bridge-mine")]
    wanted_t = sum(c.planned_t for c in case.site.contracts.values() if c.month == "2026-09") * day / 30
    assert 0.6 * wanted_t - 350 < 31.0 * len(loads) < wanted_t
    days = Counter((r.t_ms - FIRST_MS) // DAY_MS for r in loads)
    assert set(days) >= set(range(day)), "each day has some"
    mornings = {
        r.t_ms // HOUR_MS * HOUR_MS for _, r in papers if "lot" in r.values and "ticket" not in r.values
    }
    assert mornings == {FIRST_MS + d * DAY_MS + 9 * HOUR_MS for d in range(1, day)}, "each day's lots"
    (survey,) = [r for _, r in told if r.values.get("event") == "survey"]
    assert abs(survey.values["stock_t"] - 7_000) < 100, "the yard is as the case has it"
    by_truck: dict[str, list[tuple[int, str]]] = {}
    for device, reading in sorted(papers, key=lambda x: x[1].t_ms):
        if "plate" in reading.values:
            by_truck.setdefault(reading.values["plate"], []).append((reading.t_ms, device))
    for weighings in by_truck.values():
        steps = ["tare" if "tare" in bridge else "gross" for _, bridge in weighings]
        assert steps == (["tare", "gross", "gross", "tare"] * len(steps))[: len(steps)]
        assert len(steps) % 4 == 0, "nobody is on the road when it begins"


def _first_minutes(start_ms):
    readings = CoalReadings(demo_case(1, start_ms))
    told = [row for _ in range(31) for row in readings.step()]
    assert readings.close() == 0, "the books close over what was brought in"
    return told


@pytest.mark.parametrize("hour", [0, 1, 5, 10])
def test_lots_of_the_days_before_are_analysed_on_their_morrows_whenever_it_is_begun(hour):
    start_ms = FIRST_MS + 15 * DAY_MS + hour * HOUR_MS + 17
    world = Coupling(demo_case(1, start_ms)).world
    world.advance(start_ms + 48 * HOUR_MS)
    late = {
        (r.lot, r.t_ms)
        for r in world.lots.results
        if not r.ticket and not 0 <= r.t_ms - _morrow_ms(r.lot) - 9 * HOUR_MS < HOUR_MS
    }
    assert late == set()
    assert {r.lot[-6:] for r in world.lots.results} >= {f"2609{day:02}" for day in range(1, 17)}


def _morrow_ms(lot: str) -> int:
    """Midnight after the day of a lot, in Shanghai. [ms UTC]"""
    return FIRST_MS + int(lot[-2:]) * DAY_MS
