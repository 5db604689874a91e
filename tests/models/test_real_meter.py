"""Heat and counters on a real meter's half-year, where its recording is at hand."""

import csv
import os
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from models.counter import Step, counter_steps, window_increase
from models.heat import heat_power_kw

RECORDINGS = os.environ.get("HEARTHLINE_RECORDINGS", "")
pytestmark = pytest.mark.skipif(not RECORDINGS, reason="HEARTHLINE_RECORDINGS is not set")


@pytest.fixture(scope="module")
def meter():
    """Columns of the record by name, sorted by time, repeats removed, t in ms UTC."""
    with (Path(RECORDINGS) / "heat_meter" / "meter_10259_2019_h1.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    zone = ZoneInfo("Europe/Tallinn")
    t = [datetime.fromisoformat(r["READ_DATE"]).replace(tzinfo=zone).timestamp() * 1000 for r in rows]
    unique_t, first = np.unique(np.array(t, dtype=np.int64), return_index=True)
    columns = {
        name: np.array([float(rows[i][name] or "nan") for i in first])
        for name in ("ENERGY", "VOLUME", "HOURS", "POWER1", "FLOW", "FLOW_TEMP", "RETURN_TEMP")
    }
    return columns | {"t": unique_t}


def test_windows_of_a_half_year_add_up_to_the_counter(meter):
    t, energy = meter["t"], meter["ENERGY"] * 3.6
    starts = np.arange(t[0] - t[0] % 900_000, t[-1] + 1, 900_000)
    group = np.zeros(len(t), dtype=np.int64)
    parts = []
    for start in starts:
        near = slice(max(np.searchsorted(t, start) - 2, 0), np.searchsorted(t, start + 900_000) + 1)
        grown = window_increase(
            group[near], t[near], energy[near], start, start + 900_000, 1, operating_h=meter["HOURS"][near]
        ).increase[0]
        assert not np.isnan(grown) or start == starts[-1]
        parts.append(0.0 if np.isnan(grown) else grown)
    assert min(parts) >= 0.0
    assert max(parts) < 0.1  # 0.1 GJ in 15 min is 111 kW, beyond this building
    assert sum(parts) == pytest.approx(energy[-1] - energy[0], rel=1e-9)


def test_every_step_of_the_record_is_counted(meter):
    group = np.zeros(len(meter["t"]), dtype=np.int64)
    for name, most in (("ENERGY", 0.1), ("VOLUME", 3.0)):
        steps = counter_steps(group, meter["t"], meter[name], max_rate_per_h=most, operating_h=meter["HOURS"])
        assert (steps.kind[1:] == Step.COUNTED).all()


def test_power_from_flow_and_temperatures_is_the_meters_own(meter):
    for on_supply in (False, True):
        ours = heat_power_kw(
            meter["FLOW"] / 1000.0,
            meter["FLOW_TEMP"],
            meter["RETURN_TEMP"],
            np.full(len(meter["t"]), on_supply),
        )
        running = (meter["POWER1"] > 5.0) & np.isfinite(ours)
        ratio = meter["POWER1"][running] / ours[running]
        low, middle, high = np.percentile(ratio, [5, 50, 95])
        print(f"POWER1 over ours, on supply {on_supply}: {middle:.4f}, {low:.3f} to {high:.3f} (5 to 95 %)")
        assert running.sum() > 3000
        assert middle == pytest.approx(1.0, abs=0.03)
        assert 0.9 < low < high < 1.1
