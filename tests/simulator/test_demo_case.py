"""The demo's case: every kind of device of coal says something before long, and the yard outlasts the demo."""

from collections import Counter

from simulator.coal import CoalReadings
from simulator.demo_case import demo_case

START_MS = 1_790_000_040_000
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
