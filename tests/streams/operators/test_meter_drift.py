"""The learners of meters over settled steps: what they tell, when, and what they keep."""

from __future__ import annotations

import copy
import json

import numpy as np

from models.site import Device, Network, Region, Site, Unit
from streams.core.network_rows import STEP_MS, Settled, Source
from streams.core.stream_site import StreamSite
from streams.core.window_state import FINAL, UNKNOWN, WindowState
from streams.operators.device_heat import device_heat
from streams.operators.meter_drift import meter_drift
from streams.operators.meter_setting import meter_setting
from streams.operators.network_heat import network_heat
from streams.operators.secondary_heat import secondary_heat

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
START_MS = 20_000 * DAY_MS
IDS = ("plant-1", "sub-1", "sub-2", "sub-3")
LENGTHS = np.array([HOUR_MS])


def registry() -> StreamSite:
    devices = {
        name: Device(
            name, "plant" if name == "plant-1" else "substation", "u", "u", "n", mounting="return",
            dt_min_k=3.0, interval_s=60.0,
        )
        for name in IDS
    }  # fmt: skip
    site = Site(
        "", "", "UTC", regions={"r": Region("r", "")}, units={"u": Unit("u", "r", "")},
        networks={"n": Network("n", "u", "")}, devices=devices,
    )  # fmt: skip
    return StreamSite(site, list(IDS), {})


VIEW = registry()


def said(fields, count, status=FINAL, **values) -> WindowState:
    table = np.full((len(fields), count), np.nan)
    for name, value in values.items():
        table[fields.index(name)] = value
    state, everyone = WindowState(len(fields)), np.arange(count)
    state.remember(everyone, table, np.ones(count), np.full(count, status), np.full(count, "", object),
                   np.zeros(count, np.int64))  # fmt: skip
    return state


def a_day(rng, *, flow=1.0, counted=1.0, plant_known=True):
    """Rows that stand for every step of a day: sub-1's flow meter shows `flow` times what runs."""
    true = np.array([10.0, 2.0, 3.0, 4.5]) * (1.0 + 0.0005 * rng.standard_normal(4))
    factor = np.array([1.01, 0.99 * flow, 1.0, 1.01])
    volume = true / 0.165 * factor
    heat = true * factor * np.array([1.0, counted, 1.0, 1.0])
    residual = 4.0 * (heat[0] - heat[1:].sum() - 0.5)
    heat[0] = heat[0] if plant_known else np.nan
    second = np.array([np.nan, 2.06, 2.9, np.nan]) * (1.0 + 0.001 * rng.standard_normal(4))
    return {
        "device_heat": said(
            device_heat.fields, 4, heat_gj=heat, volume_m3=volume, supply_c=95.0, return_c=55.0
        ),
        "secondary_heat": said(secondary_heat.fields, 4, heat_gj=second, spread_k=13.0),
        "network_heat": said(
            network_heat.fields, 1, FINAL if plant_known else UNKNOWN, supplied_gj=40.0, residual_gj=residual,
            loss_gj=2.0,
        ),
    }  # fmt: skip


def fed(operator, days, state=None, start_ms=START_MS):
    """Rows told over days, each with the day on which it was told, and the state."""
    told = []
    for number, rows in enumerate(days):
        state = json.loads(json.dumps(state))
        for step in range(start_ms + number * DAY_MS, start_ms + (number + 1) * DAY_MS, STEP_MS):
            hour = (step // HOUR_MS) * HOUR_MS
            sources = {
                "device_heat": Source(device_heat.fields, "device", {step: rows["device_heat"]}),
                "secondary_heat": Source(secondary_heat.fields, "device", {step: rows["secondary_heat"]}),
                "network_heat": Source(network_heat.fields, "network", {hour: rows["network_heat"]}, LENGTHS),
            }
            settled = Settled(step, step + STEP_MS, VIEW, "u", ("n",), sources)
            kept = copy.deepcopy(state) if step % DAY_MS == 0 else None
            before = state
            state, table = operator.function(state, settled)
            assert kept is None or before == kept, "what it was given stays as it was"
            rows_told = table.to_pylist() if table is not None else []
            told += [(number, {**row, "evidence": json.loads(row["evidence"])}) for row in rows_told]
    return told, state


def test_a_flow_meter_that_shows_three_percent_more_is_named_and_ends_when_mended():
    rng = np.random.default_rng(1)
    days = [a_day(rng) for _ in range(14)] + [a_day(rng, flow=1.03) for _ in range(3)]
    told, state = fed(meter_drift, days)
    assert {number for number, _ in told} == {14, 15, 16}, "at the end of each day that shows it"
    assert {(r["subject"], r["code"], r["state"]) for _, r in told} == {
        ("sub-1", "flow_meter_drift", "active")
    }
    assert len({r["key"] for _, r in told}) == 1
    last = told[-1][1]
    assert last["evidence"]["suspects"] == ["sub-1"]
    assert abs(last["evidence"]["size"] - 0.03) < 0.005
    assert last["window_start"] == START_MS + 14 * DAY_MS
    assert last["until"] == START_MS + 17 * DAY_MS
    assert last["score"] > 1.0
    told, _ = fed(meter_drift, [a_day(rng) for _ in range(6)], state, START_MS + 17 * DAY_MS)
    assert [r["state"] for _, r in told].count("ended") == 1
    assert told[-1][1]["state"] == "ended"
    assert told[-1][1]["key"] == last["key"]


def test_days_without_a_plant_say_nothing_and_teach_nothing():
    rng = np.random.default_rng(2)
    days = [a_day(rng, plant_known=n % 2 == 0) for n in range(16)]
    told, state = fed(meter_drift, days)
    assert told == []
    assert state["n"]["base"][0][0] == 8.0


def test_a_calculator_of_the_other_pipe_is_named():
    rng = np.random.default_rng(3)
    told, _ = fed(meter_setting, [a_day(rng, counted=0.9759) for _ in range(6)])
    assert [(n, r["subject"], r["code"]) for n, r in told] == [
        (4, "sub-1", "wrong_mounting"), (5, "sub-1", "wrong_mounting")
    ]  # fmt: skip
    assert told[0][1]["evidence"]["registered"] == "return"
    assert abs(told[0][1]["evidence"]["ratio"] - told[0][1]["evidence"]["expected"]) < 0.004
    right, _ = fed(meter_setting, [a_day(rng) for _ in range(6)])
    assert right == []
