"""Numbers of a step against plain loops; one device's do not depend on another's."""

from __future__ import annotations

import numpy as np
import pytest

from models.fault_step import CARRIED, Samples, fault_step, turns
from models.heat import heat_power_kw
from models.quality import mask

COLUMNS = (
    "supply_c", "return_c", "flow_m3_h", "heat_kw", "energy_gj", "volume_m3", "secondary_supply_kpa",
    "secondary_return_kpa", "secondary_makeup_m3",
)  # fmt: skip
T0 = 1_767_225_600_000
AT = {name: at for at, name in enumerate(COLUMNS)}


def carried(count: int, **known: float) -> dict[str, np.ndarray]:
    return {name: np.full(count, known.get(name, np.nan)) for name in CARRIED}


def samples(seed: int, devices: tuple[int, ...], absent: float = 0.1) -> Samples:
    rng = np.random.default_rng(seed)
    device = np.concatenate([np.full(int(rng.integers(4, 20)), d) for d in devices])
    t = np.concatenate([T0 + 60_000 * np.arange((device == d).sum()) for d in devices]).astype(np.int64)
    n = len(device)
    values = np.array([
        rng.uniform(80, 95, n), rng.uniform(40, 50, n), rng.uniform(0.2, 6, n), rng.uniform(50, 300, n),
        100 + np.cumsum(rng.uniform(0, 0.01, n)), 900 + np.cumsum(rng.uniform(0, 0.1, n)),
        rng.uniform(380, 400, n), rng.uniform(280, 290, n), 7 + np.cumsum(rng.uniform(0, 0.01, n)),
    ])  # fmt: skip
    values[:4][rng.random((4, n)) < absent] = np.nan
    count = max(devices) + 1
    return Samples(
        device, t, COLUMNS, values, np.zeros(count, dtype=bool), np.full(count, 10.0), np.full(count, 3.0),
        np.full(count, 60_000.0),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_numbers_are_those_of_a_plain_loop(seed: int) -> None:
    s = samples(seed, (0, 2, 3))
    got = fault_step(
        [s], 4, carried(4, t=T0 - 60_000, volume_m3=899.9, energy_gj=99.9, secondary_makeup_m3=6.9)
    )
    assert np.isnan([got["supply_c"][1], got["samples"][1]]).all()
    for d in (0, 2, 3):
        v = s.values[:, s.device == d]
        supply, back, flow, shown = v[:4]
        assert got["supply_c"][d] == pytest.approx(np.nanmean(supply))
        assert got["sd_flow"][d] == pytest.approx(np.nanstd(flow))
        dp = v[AT["secondary_supply_kpa"]] - v[AT["secondary_return_kpa"]]
        assert got["tail_secondary_dp_kpa"][d] == pytest.approx(dp[-3:].mean())
        assert got["sd_secondary_dp"][d] == pytest.approx(dp.std())
        power = heat_power_kw(flow, supply, back, np.zeros(len(flow), dtype=bool))
        both = (flow > 0.5) & (supply - back > 3.0) & ~np.isnan(power + shown)
        assert got["compared"][d] == both.sum()
        assert got["compared_kw"][d] == pytest.approx(power[both].sum())
        assert got["shown_kw"][d] == pytest.approx(shown[both].sum())
        grown = v[AT["secondary_makeup_m3"]][-1] - 6.9
        assert got["d_makeup_m3"][d] == pytest.approx(max(grown, 0.0)) or grown < 0
        assert got["last_volume_m3"][d] == v[AT["volume_m3"]][-1]


def test_a_device_alone_has_the_same_bits_as_among_others() -> None:
    whole = samples(7, (0, 1, 2))
    among = fault_step([whole], 3, carried(3))
    mine = whole.device == 1
    alone = fault_step(
        [Samples(whole.device[mine], whole.t[mine], COLUMNS, whole.values[:, mine].copy(), whole.on_supply,
                 whole.qp_m3_h, whole.dt_min_k, whole.interval_ms)], 3, carried(3),
    )  # fmt: skip
    for name, value in among._values.items():
        np.testing.assert_array_equal(alone[name][1], value[1], err_msg=name)


def test_a_masked_temperature_counts_and_an_absent_one_does_not() -> None:
    s = samples(3, (0,), absent=0.0)
    s.values[AT["supply_c"], ::2] = np.nan
    assert fault_step([s], 1, carried(1))["masked_share"][0] == 0.0
    bad = np.zeros(len(s.t), dtype=bool)
    bad[::2] = True
    mask(s.values[AT["supply_c"]], bad)
    assert fault_step([s], 1, carried(1))["masked_share"][0] == pytest.approx(bad.mean())


@pytest.mark.parametrize("ahead_s", [-600, -200, 200, 600])
def test_a_clock_that_jumps_is_off_the_water_counted(ahead_s: int) -> None:
    t = T0 + 60_000 * np.arange(15) + np.where(np.arange(15) >= 8, 1000 * ahead_s, 0)
    volume = 900.0 + np.arange(15) * 5.0 / 60.0
    order = np.argsort(t, kind="stable")
    values = np.full((len(COLUMNS), 15), np.nan)
    values[AT["flow_m3_h"]], values[AT["volume_m3"]] = 5.0, volume[order]
    values[AT["energy_gj"]] = 1.0
    s = samples(0, (0,))
    late = Samples(
        np.zeros(15, dtype=np.int64),
        t[order],
        COLUMNS,
        values,
        s.on_supply,
        s.qp_m3_h,
        s.dt_min_k,
        s.interval_ms,
    )
    jump = fault_step([late], 1, carried(1))["clock_jump_s"][0]
    if ahead_s > 0:
        assert jump == pytest.approx(ahead_s, abs=2)
    sound = Samples(
        late.device, T0 + 60_000 * np.arange(15), COLUMNS, values.copy(), s.on_supply, s.qp_m3_h, s.dt_min_k,
        s.interval_ms,
    )  # fmt: skip
    sound.values[AT["volume_m3"]] = volume
    assert fault_step([sound], 1, carried(1))["clock_jump_s"][0] == 0.0


@pytest.mark.parametrize(("gap_s", "flow_m3_h", "jump_s"), [
    (10, 5.0, 0.0), (3000, 5.0, 0.0), (3000, 5.1, 0.0), (3000, 4.0, 0.0), (45, 5.0, 35.0), (610, 5.0, 600.0),
])  # fmt: skip
def test_what_flowed_while_a_line_was_cut_is_no_jump_of_a_clock(
    gap_s: int, flow_m3_h: float, jump_s: float
) -> None:
    """Readings every 10 s, then none for a while, and the flow after it is somewhat other than within it."""
    n = 20
    t = T0 + 10_000 * np.arange(n) + np.where(np.arange(n) >= 10, 1000 * (gap_s - 10), 0)
    flowed_s = 10.0 if jump_s else gap_s
    volume = 900.0 + np.cumsum(np.where(np.arange(n) == 10, flowed_s, 10.0)) * 5.0 / 3600.0
    values = np.full((len(COLUMNS), n), np.nan)
    values[AT["flow_m3_h"]] = np.where(np.arange(n) < 10, 5.0, flow_m3_h)
    values[AT["volume_m3"]], values[AT["energy_gj"]] = volume, 1.0
    s = samples(0, (0,))
    cut = Samples(
        np.zeros(n, dtype=np.int64), t, COLUMNS, values, s.on_supply, s.qp_m3_h, s.dt_min_k, np.full(1, 1e4)
    )
    assert fault_step([cut], 1, carried(1))["clock_jump_s"][0] == pytest.approx(jump_s, abs=1e-6)


def test_turns_are_counted_by_minute_and_noise_makes_none() -> None:
    t = T0 + 10_000 * np.arange(360)  # an hour at 10 s
    rng = np.random.default_rng(1)
    group = np.zeros(360, dtype=np.int64)
    swing = 10.0 * (1.0 + 0.3 * np.sin(2 * np.pi * (t - T0) / 240_000)) + rng.normal(0, 0.1, 360)
    found = turns(t.astype(np.int64), swing, group, 1, np.array([10.0]))[0]
    assert 27 <= found <= 30  # two a period of four minutes, but for the ends
    calm = 10.0 + rng.normal(0, 1.0, 360)
    assert turns(t.astype(np.int64), calm, group, 1, np.array([10.0]))[0] == 0.0


@pytest.mark.parametrize("jumps", [False, True])
def test_a_valve_that_follows_a_pressure_that_jumps_has_the_passage_that_it_has_at_rest(jumps: bool) -> None:
    dp = np.array([200.0, 105.0] * 4) if jumps else np.full(8, 150.0)
    flow = np.full(8, 50.0)
    valve = 100.0 * flow / (12.0 * np.sqrt(dp))  # of kv 12 (m³/h)/√kPa
    valve[3], dp[5] = 1.0, 0.5  # of what is shut or has no pressure nothing follows
    zero = np.zeros(8, dtype=np.int64)
    one = Samples(
        zero, T0 + 120_000 * np.arange(8), ("supply_c", "flow_m3_h", "supply_kpa", "return_kpa", "valve_pct"),
        np.array([np.full(8, 90.0), flow, 300.0 + dp, np.full(8, 300.0), valve]), np.zeros(1, dtype=bool), np.full(1, 60.0),
        np.full(1, 3.0), np.full(1, 120_000.0),
    )  # fmt: skip
    got = fault_step([one], 1, carried(1))
    assert got["ln_passage"][0] - got["ln_valve"][0] == pytest.approx(np.log(12.0), abs=1e-12)
