"""Bad values, jumps, silence and counters' events, from telemetry to result rows."""

from __future__ import annotations

import numpy as np
import pytest

from models.frame import Frame
from models.quality import is_masked
from models.site_files import parse_site
from streams.core.intake import flags_of
from streams.core.pipeline import Pipeline
from streams.core.rows import Rows, edge_indices, numeric_columns
from streams.core.samples import ClassSamples, Samples
from streams.core.stream_site import StreamSite
from streams.operators.data_quality import data_quality
from tests.support.restating import REWRITTEN_MS
from tests.support.results import Said
from tests.support.telemetry import SITE_TEXTS, T0, Log, Message, registry_frame, telemetry_frames

MINUTE = 60_000
WINDOW = 900_000
CALM = {"flow_m3_h": 6.0, "supply_c": 90.0, "return_c": 50.0}


def said(device, samples, until=T0 + 2 * WINDOW + WINDOW, at=None):
    """Everything said of one device's samples, each a message of its own, once all is final."""
    log, pipeline, out = Log(), Pipeline("u1", provisional_every_ms=REWRITTEN_MS), Said()
    log.append(registry_frame(), T0)
    for seq, (t, values) in enumerate(samples):
        for frame in telemetry_frames([Message(device, T0 - 5, seq + 1, ((t, values),))]):
            log.append(frame, at if at is not None else t + 500)
    log.append(Frame.heartbeat(), max(until, samples[-1][0] + 3 * WINDOW))
    out.take(pipeline.step(record) for record in log.records)
    return out


def minutes(n, changes=None, **values):
    """`n` samples a minute apart, with changes by minute; a change to None takes a sample away."""
    samples = []
    for k in range(n):
        change = (changes or {}).get(k, {})
        if change is not None:
            samples.append((T0 + k * MINUTE, {**CALM, **values, **change}))
    return samples


def counting(n, changes=None, *, start=500.0, per_minute=0.01):
    """Samples of a meter with counters that grow steadily, its registers changed at some minutes."""
    samples = minutes(n)
    for k, (_, values) in enumerate(samples):
        values["energy_gj"] = round(start + k * per_minute, 6)
        values["volume_m3"] = round(10 * start + k * 0.1, 6)
        for name, value in (changes or {}).get(k, {}).items():
            values[name] = value
    return samples


def heat(out, device="sub-2", start=T0):
    return out.rows["device_heat"][device, start]


def quality(out, device="sub-2", start=T0):
    return out.rows["data_quality"][device, start]


def test_sound_data_has_a_row_without_faults():
    row = quality(said("sub-1", counting(31)), "sub-1")
    faults = {k: v for k, v in row.items() if k.startswith("counter_")} | {
        k: row[k] for k in ("out_of_range", "fast_change", "stale_s")
    }
    assert set(faults.values()) == {0.0}
    assert (row["samples"], row["coverage"], row["status"], row["reason"]) == (15.0, 1.0, "final", None)


def test_values_outside_their_range_are_absent_and_counted_where_they_lie():
    bad = {"flow_m3_h": 1e6}
    out = said("sub-2", minutes(31, {3: bad, 4: bad, 5: bad, 20: {"supply_c": 850.0, **bad}}))
    assert quality(out)["out_of_range"] == 3.0
    assert quality(out, start=T0 + WINDOW)["out_of_range"] == 2.0
    row = heat(out)
    assert (row["status"], row["reason"], row["heat_gj"]) == ("unknown", "out_of_range", None)
    assert row["coverage"] == pytest.approx(11 / 15)  # 2 to 6 min is further apart than three intervals
    assert heat(out, start=T0 + WINDOW)["status"] == "final"
    assert out.readings["sub-2", T0 + 3 * MINUTE]["quality"] == "implausible:flow_m3_h"


@pytest.mark.parametrize("sensor", ["supply_c", "return_c"])
def test_heat_counted_by_a_broken_sensor_is_unknown_and_what_flowed_is_known(sensor):
    clean = said("sub-1", counting(46), until=T0 + 4 * WINDOW)
    out = said("sub-1", counting(46, {k: {sensor: 850.0} for k in range(5, 20)}), until=T0 + 4 * WINDOW)
    row = heat(out, "sub-1")
    assert (row["status"], row["reason"], row["heat_gj"]) == ("unknown", "out_of_range", None)
    assert row["coverage"] == pytest.approx(4 / 15)
    assert row["volume_m3"] == heat(clean, "sub-1")["volume_m3"]
    assert heat(out, "sub-1", T0 + 2 * WINDOW) == heat(clean, "sub-1", T0 + 2 * WINDOW)


def test_one_garbled_temperature_leaves_what_the_meter_counted():
    clean = said("sub-1", counting(31))
    garbled = said("sub-1", counting(31, {7: {"supply_c": 850.0}, 12: {"return_c": -300.0}}))
    assert heat(garbled, "sub-1")["heat_gj"] == heat(clean, "sub-1")["heat_gj"]
    assert heat(garbled, "sub-1")["heat_u_gj"] == pytest.approx(heat(clean, "sub-1")["heat_u_gj"], rel=0.01)
    assert heat(garbled, "sub-1")["status"] == "final"


@pytest.mark.parametrize(("broken", "status"), [(0, "final"), (8, "final"), (20, "unknown")])
def test_a_sensor_that_breaks_for_a_moment_widens_the_heat_by_what_was_counted_then(broken, status):
    samples = [
        (T0 + 10_000 * k, {**CALM, "energy_gj": 500.0 + k / 600, "volume_m3": 5000.0 + k / 60})
        for k in range(-3, 120)
    ]
    for _, values in samples[30 : 30 + broken]:
        values["supply_c"] = 850.0
    row = heat(said("sub-1", samples), "sub-1")
    assert row["status"] == status
    if status == "unknown":
        assert (row["reason"], row["heat_gj"], row["heat_u_gj"]) == ("out_of_range", None, None)
        return
    share = 10 * (broken + 1) / 900 if broken else 0.0  # from the last good one to the next
    missed = row["heat_gj"] * share / (1 - share)
    assert row["heat_gj"] == pytest.approx(0.15)
    assert row["heat_u_gj"] == pytest.approx(np.hypot(0.15 * 0.03, missed), rel=0.15)


def test_what_a_broken_sensor_counts_until_the_next_reading_counts_in_the_window_after():
    clean = said("sub-1", counting(46), until=T0 + 4 * WINDOW)
    out = said("sub-1", counting(46, {k: {"supply_c": 850.0} for k in range(5, 16)}), until=T0 + 4 * WINDOW)
    row, without = (heat(each, "sub-1", T0 + WINDOW) for each in (out, clean))
    assert (row["status"], row["heat_gj"]) == ("final", without["heat_gj"])
    assert row["heat_u_gj"] == pytest.approx(np.hypot(without["heat_u_gj"], row["heat_gj"] / 14), rel=0.01)


def test_nothing_is_integrated_across_a_temperature_that_jumps():
    still = said("sub-2", minutes(31))
    jump = said("sub-2", minutes(31, {7: {"supply_c": 130.0}}))
    row = heat(jump)
    assert row["coverage"] == pytest.approx(13 / 15)
    assert (row["status"], row["reason"], row["heat_gj"]) == ("unknown", "fast_change", None)
    assert row["supply_c"] == 90.0
    assert row["volume_m3"] == heat(still)["volume_m3"], "the flow did not jump"
    assert quality(jump)["fast_change"] == 2.0
    assert quality(still)["fast_change"] == 0.0


@pytest.mark.parametrize("minute", [14, 15])
def test_a_jump_at_the_edge_of_windows_is_judged_alike_in_both(minute):
    out = said("sub-2", minutes(46, {minute: {"return_c": 20.0}}), until=T0 + 4 * WINDOW)
    first, second = heat(out), heat(out, start=T0 + WINDOW)
    uncovered = (1 - first["coverage"]) + (1 - second["coverage"])
    assert uncovered * 15 == pytest.approx(2.0), "the two steps around it, once"
    assert [first["return_c"], second["return_c"]] == pytest.approx([50.0, 50.0])
    assert quality(out)["fast_change"] + quality(out, start=T0 + WINDOW)["fast_change"] == 2.0


def test_a_slow_drift_and_a_jump_of_what_may_jump_are_let_pass():
    drift = {k: {"supply_c": 60.0 + 2.0 * k, "flow_m3_h": 6.0 if k % 2 else 20.0} for k in range(31)}
    out = said("sub-2", minutes(31, drift))
    assert (heat(out)["status"], quality(out)["fast_change"]) == ("final", 0.0)


def test_a_silent_device_grows_stale_after_three_intervals():
    out = said("sub-2", [*minutes(6), (T0 + 35 * MINUTE, CALM)], until=T0 + 5 * WINDOW)
    assert quality(out)["stale_s"] == 60.0 * (15 - 8)
    second, third = (quality(out, start=T0 + k * WINDOW) for k in (1, 2))
    assert (second["stale_s"], second["samples"], second["coverage"]) == (900.0, 0.0, 0.0)
    assert (second["status"], second["reason"]) == ("final", None)
    assert third["stale_s"] == 60.0 * (5 + 7)


def test_a_zero_reading_of_all_registers_changes_no_sum_and_is_one_spike():
    zero = {"energy_gj": 0.0, "volume_m3": 0.0}
    clean, out = (said("sub-1", counting(46, c), until=T0 + 4 * WINDOW) for c in ({}, {7: zero, 22: zero}))
    for start in (T0, T0 + WINDOW):
        row, without = heat(out, "sub-1", start), heat(clean, "sub-1", start)
        assert row["heat_gj"] == pytest.approx(without["heat_gj"], rel=1e-9)
        assert row["volume_m3"] == pytest.approx(without["volume_m3"], rel=1e-9)
        assert row["status"] == "final"
        found = {k: v for k, v in quality(out, "sub-1", start).items() if k.startswith("counter_") and v}
        assert found == {"counter_spike": 2.0}, "energy and volume"


@pytest.mark.parametrize("minute", range(12, 18))
def test_a_zero_reading_near_the_edge_of_windows_changes_no_sum(minute):
    out = said("sub-1", counting(46, {minute: {"energy_gj": 0.0}}), until=T0 + 4 * WINDOW)
    total = sum(heat(out, "sub-1", T0 + k * WINDOW)["heat_gj"] for k in range(3))
    assert total == pytest.approx(0.45, rel=1e-9)
    spikes = [quality(out, "sub-1", T0 + k * WINDOW)["counter_spike"] for k in range(3)]
    assert spikes == [float(minute < 15), float(minute >= 15), 0.0]


def household(changes):
    """Hourly readings of a household meter that uses 0.1 GJ an hour, without flow or temperatures."""
    samples = []
    for hour in range(7):
        values = {"energy_gj": 100 + 0.1 * hour, "volume_m3": 900 + 0.5 * hour, **changes.get(hour, {})}
        samples.append((T0 + hour * 4 * WINDOW, {k: v for k, v in values.items() if v is not None}))
    return samples


def hourly(changes, at=None):
    log, pipeline, out = Log(), Pipeline("u1", provisional_every_ms=REWRITTEN_MS), Said()
    text = SITE_TEXTS["devices.csv"].replace(
        "meter-1,meter,u1,n1,3,3,3,return,600", "meter-1,meter,u1,n1,,,,,3600"
    )
    log.append(registry_frame({**SITE_TEXTS, "devices.csv": text}), T0)
    for seq, sample in enumerate(household(changes)):
        for frame in telemetry_frames([Message("meter-1", T0 - 5, seq + 1, (sample,))]):
            log.append(frame, at if at is not None else sample[0] + 500)
    log.append(Frame.heartbeat(), T0 + 10 * 4 * WINDOW)
    out.take(pipeline.step(record) for record in log.records)
    rows = [out.rows["device_heat"]["meter-1", T0 + k * WINDOW] for k in range(24)]
    return out, rows


def test_a_zero_of_a_household_meter_is_told_by_the_next_reading_and_nothing_is_lost():
    out, rows = hourly({3: {"energy_gj": 0.0}})
    assert [r["heat_gj"] for r in rows] == pytest.approx([0.025] * 24)
    assert {r["status"] for r in rows} == {"final"}
    assert quality(out, "meter-1", T0 + 12 * WINDOW)["counter_spike"] == 1.0


def test_zeros_of_a_household_meter_that_last_are_unknown_and_never_zero():
    _, rows = hourly({hour: {"energy_gj": 0.0, "volume_m3": 0.0} for hour in range(3, 7)})
    assert {(r["status"], r["reason"]) for r in rows[8:]} == {("unknown", "counter_zero")}
    assert {(r["heat_gj"], r["volume_m3"]) for r in rows[8:]} == {(None, None)}


def test_an_exchanged_meter_is_never_bridged():
    new = {h: {"energy_gj": 0.1 * (h - 3), "volume_m3": 0.5 * (h - 3)} for h in range(3, 7)}
    out, rows = hourly(new)
    assert {r["reason"] for r in rows[8:12]} == {"counter_exchange"}
    assert {(r["heat_gj"], r["volume_m3"], r["coverage"]) for r in rows[8:12]} == {(None, None, 0.0)}
    assert sum(r["heat_gj"] or 0.0 for r in rows) == pytest.approx(0.5)
    assert quality(out, "meter-1", T0 + 12 * WINDOW)["counter_exchange"] == 2.0


def test_an_outage_is_interpolated_without_coverage():
    _, rows = hourly({2: {"energy_gj": None}, 3: {"energy_gj": None}, 4: {"energy_gj": None}}, at=T0)
    assert sum(r["heat_gj"] for r in rows) == pytest.approx(0.6)
    assert {(r["status"], r["reason"], r["coverage"]) for r in rows[4:20]} == {("unknown", "gap", 0.0)}


def test_an_exchange_between_two_readings_of_a_fast_meter_falls_back_on_flow_and_temperatures():
    steady = counting(31)
    gone = [s for s in steady if not 4 <= (s[0] - T0) // MINUTE < 7]
    for t, values in gone:
        if t >= T0 + 7 * MINUTE:
            values["energy_gj"] -= 500.0
            values["volume_m3"] -= 5000.0
    for t, values in steady:
        if T0 + 4 * MINUTE <= t < T0 + 7 * MINUTE:
            del values["energy_gj"], values["volume_m3"]
    out = said("sub-1", steady)
    row = heat(out, "sub-1")
    clean = heat(said("sub-2", minutes(31)))
    assert (row["status"], row["coverage"]) == ("final", 1.0)
    assert row["heat_gj"] == pytest.approx(clean["heat_gj"])
    assert row["volume_m3"] == pytest.approx(clean["volume_m3"])


def test_when_samples_came_changes_no_result():
    early, late = (said("sub-2", minutes(31), at=at) for at in (T0, T0 + 29 * MINUTE))
    assert early.rows["device_heat"] == late.rows["device_heat"]
    assert early.rows["data_quality"] == late.rows["data_quality"]


def test_what_was_masked_is_still_known_after_a_checkpoint():
    columns = numeric_columns("substation")
    at = columns.index("supply_c")
    values = np.full((len(columns), 3), np.nan)
    values[at] = [90.0, 999.0, np.nan]
    index = np.arange(3, dtype=np.int64)
    rows, flags = flags_of(Rows(index, index, index, index, index, values), columns, None)
    kept = Rows.from_bytes(rows.to_bytes()).take(np.array([2, 1, 0]))
    assert is_masked(kept.values[at]).tolist() == [False, True, False]
    assert np.isnan(kept.values[at]).tolist() == [True, True, False]
    assert flags == {1: "implausible:supply_c"}


def test_two_neighbours_before_are_kept_of_each_measurement():
    nan = np.nan
    values = np.array([[1.0, 2.0, nan, nan, 5.0, 6.0], [nan, 1.0, 2.0, 3.0, nan, 9.0]])
    device = np.array([0, 0, 0, 0, 0, 1], dtype=np.int64)
    t = np.arange(6, dtype=np.int64)
    rows = Rows(device, t, t, t, t, values)
    assert edge_indices(rows, last=True).tolist() == [1, 2, 3, 4, 5]
    assert edge_indices(rows, last=False).tolist() == [0, 1, 5]
    first, second = rows.take(np.arange(3)), rows.take(np.arange(3, 6))
    kept = [r.take(edge_indices(r, last=True)) for r in (first, second)]
    together = Rows(*(np.concatenate(p) for p in zip(*((r.device, r.t, r.boot, r.seq, r.pos) for r in kept), strict=True)),
                    np.concatenate([r.values for r in kept], axis=1))  # fmt: skip
    assert together.take(edge_indices(together, last=True)).t.tolist() == [1, 2, 3, 4, 5]


def test_a_device_without_an_interval_says_so():
    site = parse_site(
        {**SITE_TEXTS, "devices.csv": SITE_TEXTS["devices.csv"].replace("return,60\n", "return,\n")}
    )[0]
    view = StreamSite(site, ["sub-2"], {})
    columns = numeric_columns("substation")
    one = np.zeros(1, dtype=np.int64)
    rows = Rows(one, one + T0, one, one, one, np.ones((len(columns), 1)))
    result = data_quality.function(Samples(T0, T0 + WINDOW, [ClassSamples(columns, rows)]), view)
    assert result.reason.tolist() == ["no_interval"]
    assert np.isnan(result.stale_s).all()
    assert result.samples.tolist() == [1.0]
