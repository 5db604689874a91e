"""Heat of secondary loops against a plain sum, and what it says where there is nothing to integrate."""

import numpy as np
import pytest

from models.secondary_heat import secondary_heat_u
from models.site import Device, Region, Site, Unit
from models.water import density_kg_m3, enthalpy_kj_kg
from streams.core.rows import Rows, numeric_columns
from streams.core.samples import ClassSamples, Samples
from streams.core.stream_site import StreamSite
from streams.operators.secondary_heat import secondary_heat

START, END, STEP = 900_000, 1_800_000, 60_000
COLUMNS = numeric_columns("substation")


def computed(**values: list[np.ndarray]):
    """The operator's rows for devices with values at every minute from before to after the window."""
    t = np.arange(START - 2 * STEP, END + 2 * STEP, STEP)
    count = len(values["secondary_flow_m3_h"])
    table = np.full((len(COLUMNS), count * len(t)), np.nan)
    for name, given in values.items():
        table[COLUMNS.index(name)] = np.concatenate(given)
    zeros = np.zeros(table.shape[1], np.int64)
    rows = Rows(np.repeat(np.arange(count), len(t)), np.tile(t, count), zeros, zeros, zeros, table)
    devices = {f"s{n}": Device(f"s{n}", "substation", "u", "u", "n", interval_s=60.0) for n in range(count)}
    site = Site(
        "", "", "UTC", regions={"r": Region("r", "")}, units={"u": Unit("u", "r", "")}, devices=devices
    )
    return secondary_heat.function(
        Samples(START, END, [ClassSamples(COLUMNS, rows)]), StreamSite(site, list(devices), {})
    )


def test_it_is_flow_times_spread():
    n = (END - START) // STEP + 4
    flow, hot, cold = np.full(n, 40.0), np.full(n, 55.0), np.full(n, 42.0)
    done = computed(secondary_flow_m3_h=[flow], secondary_supply_c=[hot], secondary_return_c=[cold])
    kj_m3 = float(density_kg_m3(42.0) * (enthalpy_kj_kg(55.0) - enthalpy_kj_kg(42.0)))
    assert done.heat_gj[0] == pytest.approx(10.0 * kj_m3 * 1e-6, rel=1e-9)
    assert done.spread_k[0] == pytest.approx(13.0)
    assert done.heat_u_gj[0] == pytest.approx(2.0 * float(secondary_heat_u(55.0, 42.0)) * done.heat_gj[0])
    assert (done.coverage[0], done.reason[0]) == (1.0, "")


def test_what_is_lacking_is_said_and_no_neighbour_suffers():
    n = (END - START) // STEP + 4
    whole, none = np.full(n, 40.0), np.full(n, np.nan)
    half = np.where(np.arange(n) < n // 2, 40.0, np.nan)
    done = computed(
        secondary_flow_m3_h=[whole, none, half, whole],
        secondary_supply_c=[np.full(n, 55.0)] * 3 + [none],
        secondary_return_c=[np.full(n, 42.0)] * 4,
    )
    assert done.reason.tolist() == ["", "no_secondary_flow", "coverage", "gap"]
    assert np.isnan(done.heat_gj).tolist() == [False, True, True, True]
    assert 0.3 < done.coverage[2] < 0.6


def test_heat_transfer_is_heat_over_the_log_mean_difference_while_the_primary_side_is_known():
    n = (END - START) // STEP + 4
    ones = np.ones(n)
    lacks = np.where(np.arange(n) % 6 < 3, 90.0, np.nan)
    done = computed(
        secondary_flow_m3_h=[40.0 * ones] * 4,
        secondary_supply_c=[55.0 * ones] * 4,
        secondary_return_c=[42.0 * ones] * 4,
        supply_c=[90.0 * ones, lacks, 90.0 * ones, 55.1 * ones],
        return_c=[47.0 * ones, 47.0 * ones, np.nan * ones, 47.0 * ones],
    )
    first, second = 90.0 - 55.0, 47.0 - 42.0
    log_mean = (first - second) / np.log(first / second)
    assert done.ua_kw_k[0] == pytest.approx(done.heat_gj[0] * 1e6 / 900.0 / log_mean, rel=1e-9)
    assert np.isnan(done.ua_kw_k[1:]).tolist() == [True] * 3
    assert not np.isnan(done.heat_gj).any()
