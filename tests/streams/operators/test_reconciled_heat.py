"""Reconciled heat of a network's devices: sound meters stay, a biased one stands out, gaps say so."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.heat_balance import hours_of
from benchmarks.network_days import HOUR_MS, NETWORK, Told, simulated_day, told_by
from streams.core.network_rows import STEP_MS, NetworkRows, Source
from streams.core.window_state import FINAL, UNKNOWN, WindowState
from streams.operators.device_heat import device_heat
from streams.operators.network_heat import NetworkHeat, network_heat
from streams.operators.reconciled_heat import reconciled_heat
from streams.operators.secondary_heat import secondary_heat

SEED = 7


@pytest.fixture(scope="module")
def told() -> Told:
    return told_by(simulated_day(SEED, 5, 8.0, step_s=180.0), SEED + 1)


def state_of(operator, result, count: int) -> WindowState:
    """Final rows as an operator's result says."""
    state = WindowState(len(operator.fields))
    values = np.array([np.broadcast_to(getattr(result, f), count) for f in operator.fields], dtype=float)
    reason = np.array(np.broadcast_to(np.asarray(result.reason, object), count))
    state.say(np.arange(count), values, np.array(np.broadcast_to(result.coverage, count)), reason,
              np.ones(count, dtype=bool))  # fmt: skip
    return state


def behind(told: Told, start: int, share: dict[str, float]) -> dict[int, WindowState]:
    """Rows of `secondary_heat` of devices, as a share of what their own meters say."""
    states = {}
    for step in range(start, start + HOUR_MS, STEP_MS):
        heat = told.states[step].values_of("heat_gj", device_heat.fields, np.arange(len(told.day.stream.ids)))
        values = np.full((len(secondary_heat.fields), len(heat)), np.nan)
        fields = [secondary_heat.fields.index(f) for f in ("heat_gj", "heat_u_gj", "spread_k")]
        for name, factor in share.items():
            at = told.day.stream.ids.index(name)
            values[fields, at] = (factor * heat[at], 0.08 * heat[at], 13.0)
        state = states[step] = WindowState(len(secondary_heat.fields))
        everyone = np.arange(len(heat))
        state.remember(everyone, values, np.ones(len(heat)), np.full(len(heat), FINAL),
                       np.full(len(heat), "", object), np.zeros(len(heat), np.int64))  # fmt: skip
    return states


def rows_of(told: Told, start: int, balance: NetworkHeat, share: dict[str, float] | None = None):
    sources = {
        "device_heat": Source(device_heat.fields, "device", told.states),
        "network_heat": Source(network_heat.fields, "network", {start: state_of(network_heat, balance, 1)}),
    }
    if share is not None:
        sources["secondary_heat"] = Source(secondary_heat.fields, "device", behind(told, start, share))
    stream = told.day.stream
    return NetworkRows(
        told.day.site.networks[NETWORK], 0, start, start + HOUR_MS, 0, np.arange(len(stream.ids)), stream,
        sources, (),
    )  # fmt: skip


def test_sound_meters_are_moved_within_their_uncertainty_and_then_balance(told):
    for start in hours_of(told.day):
        balance = told.balance(start)
        done = reconciled_heat.function(rows_of(told, start, balance))
        plant = told.day.stream.classes == "plant"
        assert (done.test_statistic < 2.0).all()
        assert (done.reason == "").all()
        assert done.coverage == pytest.approx(1.0, abs=0.01)
        # What is left between plant and consumers is what the balance has besides, moved by its share.
        before = done.heat_gj - done.adjustment_gj
        assert before[plant].sum() - before[~plant].sum() == pytest.approx(
            balance.supplied_gj - balance.delivered_gj, abs=0.05 * balance.supplied_gj
        )
        moved = done.adjustment_gj[~plant].sum() - done.adjustment_gj[plant].sum()
        assert 0.0 < moved / balance.residual_gj <= 1.0
        u = told.rows(start)("device_heat", "heat_u_gj")[-4:].sum(axis=0)
        assert (np.abs(done.adjustment_gj) < u).all()


def test_a_substation_that_its_secondary_loop_contradicts_stands_out(told):
    start = next(hours_of(told.day))
    share = {"sub-01": 1.0, "sub-02": 0.75, "sub-03": 1.0}
    done = reconciled_heat.function(rows_of(told, start, told.balance(start), share))
    ids = told.day.stream.ids
    assert ids[int(np.nanargmax(done.test_statistic))] == "sub-02"
    assert done.test_statistic[ids.index("sub-02")] > 3.0
    assert done.test_statistic[ids.index("sub-01")] < 1.5
    assert done.adjustment_gj[ids.index("sub-02")] < 0.0
    # Which of its two meters is wrong nobody can say; that it is one of them is said, and of nobody else.
    assert [ids[n] for n in np.flatnonzero(done.suspect == 1.0)] == ["sub-02"]
    assert np.isnan(np.delete(done.suspect, ids.index("sub-02"))).all()


def test_a_meter_that_is_wrong_alone_is_taken_out_and_its_neighbours_are_left(told):
    """Its own meter reads 3 GJ too much, beside a secondary loop that agrees with what left the plant."""
    start = next(hours_of(told.day))
    share = dict.fromkeys(("sub-01", "sub-02", "sub-03"), 1.0)
    sound = reconciled_heat.function(rows_of(told, start, told.balance(start), share))
    assert np.isnan(sound.suspect).all()
    assert (np.abs(sound.off_gj) < 3.0 * sound.off_u_gj)[~np.isnan(sound.off_gj)].all()
    ids, heat_at = told.day.stream.ids, device_heat.fields.index("heat_gj")
    at = ids.index("sub-02")
    states = dict(told.states)
    excess = 0.0
    for step in range(start, start + HOUR_MS, STEP_MS):
        state = states[step] = WindowState.from_bytes(states[step].to_bytes())
        excess += state._values[heat_at, at]
        state._values[heat_at, at] *= 2.0
    wrong = replace(told, states=states)
    rows = rows_of(wrong, start, wrong.balance(start), share | {"sub-02": 0.5})
    done = reconciled_heat.function(rows)
    assert [ids[n] for n in np.flatnonzero(done.suspect == 1.0)] == ["sub-02"]
    assert done.off_gj[at] == pytest.approx(excess, abs=2.0 * done.off_u_gj[at])
    assert done.heat_gj[at] == pytest.approx(excess, rel=0.15)
    others = np.arange(len(ids)) != at
    np.testing.assert_allclose(done.heat_gj[others], sound.heat_gj[others], rtol=0.02)


def test_without_a_balance_only_secondary_meters_check_anything(told):
    start = next(hours_of(told.day))
    unknown = NetworkHeat(1.0, 1.0, np.nan, np.nan, np.nan, np.nan, np.nan, 1.0, "no_ground_c")
    done = reconciled_heat.function(rows_of(told, start, unknown, {"sub-01": 0.98}))
    ids = told.day.stream.ids
    for name, reason in zip(ids, done.reason, strict=True):
        assert reason == ("" if name == "sub-01" else "no_balance")
    assert np.isfinite(done.heat_gj).all()
    assert np.isnan(done.test_statistic[ids.index("sub-02")])
    assert done.adjustment_gj[ids.index("sub-02")] == 0.0


def test_a_meter_without_data_has_no_number(told):
    start = next(hours_of(told.day))
    at = told.day.stream.ids.index("sub-02")
    states = dict(told.states)
    state = states[start] = WindowState.from_bytes(states[start].to_bytes())
    state.remember(np.array([at]), np.full((len(device_heat.fields), 1), np.nan), np.zeros(1),
                   np.array([UNKNOWN]), np.array(["gap"], object), np.zeros(1, np.int64))  # fmt: skip
    lacking = replace(told, states=states)
    done = reconciled_heat.function(rows_of(lacking, start, lacking.balance(start)))
    assert np.isnan(done.heat_gj[at])
    assert done.reason[at] == "gap"
    assert done.coverage[at] == pytest.approx(0.75, abs=0.01)
    assert (np.delete(done.reason, at) == "").all(), "neighbours are unharmed"
