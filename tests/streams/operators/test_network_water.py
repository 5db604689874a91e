"""The water balance of a network against what the simulator knows, and what it says where something is missing."""

from dataclasses import fields, replace

import numpy as np
import pytest

from benchmarks.leaks import warmer_run
from benchmarks.water_days import WaterRun
from simulator.kinds import Fault
from simulator.unit import NETWORK
from streams.core.network_rows import STEP_MS, NetworkRows
from streams.core.stream_site import StreamSite
from streams.core.window_state import FINAL
from streams.operators.device_heat import device_heat
from streams.operators.device_water import device_water
from streams.operators.network_water import network_water

SEED = 7
HOUR_MS = 3_600_000
MAKEUP, WARMTH, TANK = range(3)


@pytest.fixture(scope="module")
def run():
    """Nine hours; in the last three a leak of 1.2 kg/s."""
    run = WaterRun(SEED, 4, step_s=120.0)
    onset = run.now_ms + 6 * HOUR_MS
    run.suffer([Fault("leak", "n-01", 1.2, onset, onset + 99 * HOUR_MS, onset)])
    run.advance(9)
    return run


def again(run, change=lambda _plant: None, site=None, events=None):
    """The last hour anew, with readings of the plant changed and another registry or events."""
    run = run.split()
    if site is not None:
        run.site = replace(run.site, **site(run.site))
        run.stream = StreamSite(run.site, list(run.site.devices), {})
    for plant in run._plant:
        change(plant)
    for event in events or ():
        run.book(*event)
    start = run.now_ms - HOUR_MS
    for step in range(start, run.now_ms, STEP_MS):
        state = run._computed(device_water, step)
        if state is None:
            run._states["device_water"].pop(step, None)
        else:
            run._states["device_water"][step] = state
    return network_water.function(run.rows(start))


def closes(said):
    return said.leak_m3 == pytest.approx(
        said.makeup_m3 - said.authorised_m3 - said.storage_m3 - said.tank_m3, abs=1e-9
    )


def test_the_loss_is_the_true_one_within_its_uncertainty(run):
    assert run.hours[0].said.reason == "tank_gap", "nothing is known of before the first reading"
    for hour in run.hours[1:]:
        said = hour.said
        assert said.reason == ""
        assert said.coverage > 0.99
        assert closes(said)
        assert abs(said.leak_m3 - hour.leaked_m3) <= said.leak_u_m3
        assert said.circulated_m3 == pytest.approx(hour.circulated_m3, rel=0.08)
        assert 0.0 < said.leak_u_m3 < 0.001 * said.circulated_m3 + 0.1 * hour.leaked_m3
    tight, leaking = run.hours[4].said, run.hours[8].said
    assert leaking.leak_m3 - tight.leak_m3 == pytest.approx(1.2 * 3.6, rel=0.05)
    assert leaking.floor_m3_h - tight.floor_m3_h == pytest.approx(1.2 * 3.6, rel=0.15)
    assert leaking.makeup_pct == pytest.approx(100.0 * leaking.makeup_m3 / leaking.circulated_m3)


def test_a_supply_that_cools_by_5_k_in_an_hour_is_no_leak():
    hours = warmer_run(SEED, 6, -5.0, 120.0).hours[6:]
    assert all(abs(h.said.leak_m3) <= h.said.leak_u_m3 for h in hours)
    blind = [abs(h.said.leak_m3 + h.said.storage_m3) / h.said.leak_u_m3 for h in hours]
    assert max(blind) > 5.0, "without storage it would be"


def test_what_is_booked_is_authorised(run):
    at = run.now_ms - 1_000_000
    plain, booked = again(run), again(run, events=[(at, "flush", 3.0, "a"), (at, "draw", 1.0, "b")])
    assert booked.authorised_m3 == 4.0
    assert booked.leak_m3 == pytest.approx(plain.leak_m3 - 4.0)
    assert booked.leak_u_m3 > plain.leak_u_m3
    later = again(run, events=[(run.now_ms, "flush", 3.0, "a")])
    assert later.leak_m3 == plain.leak_m3, "it is of the next window"


def nothing(column):
    def change(plant):
        plant[column] = np.nan

    return change


def less_pipes(site):
    return {"pipes": {}, "networks": {NETWORK: replace(site.networks[NETWORK], volume_m3=None)}}


def no_plant(site):
    return {"devices": {n: d for n, d in site.devices.items() if d.device_class != "plant"}}


AT = "at"  # a quarter of an hour before the end


@pytest.mark.parametrize(
    ("change", "site", "event", "reason", "known"),
    [
        (nothing(MAKEUP), None, None, "no_makeup", ()),
        (nothing(TANK), None, None, "no_tank", ("makeup_m3", "storage_m3")),
        (lambda _: None, None, ("flush", -5.0), "no_volume_booked", ("makeup_m3", "storage_m3")),
        (lambda _: None, None, ("drain", None), "no_volume_booked", ("makeup_m3", "storage_m3")),
        (lambda _: None, less_pipes, None, "no_volume", ("makeup_m3",)),
        (lambda _: None, no_plant, None, "no_plant", ()),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_what_is_missing_is_said_and_only_what_is_known_is_given(run, change, site, event, reason, known):
    events = [] if event is None else [(run.now_ms - STEP_MS, *event, "a")]
    said = again(run, change, site, events)
    assert said.reason == reason
    assert np.isnan(said.leak_m3)
    assert np.isnan(said.leak_u_m3)
    assert np.isnan(said.authorised_m3) == (reason in {"no_volume_booked", "no_makeup", "no_plant"})
    terms = ("makeup_m3", "storage_m3", "tank_m3")
    assert {n for n in terms if np.isfinite(getattr(said, n))} == set(known)


def test_make_up_that_its_sensor_says_is_below_freezing_is_water_at_0_c(run):
    def reads(makeup_c):
        def change(plant):
            plant[WARMTH] = makeup_c

        return change

    said, at_0_c = again(run, reads(-0.4)), again(run, reads(0.0))
    assert said.reason == ""
    assert closes(said)
    assert (said.leak_m3, said.storage_m3, said.tank_m3) == (
        at_0_c.leak_m3,
        at_0_c.storage_m3,
        at_0_c.tank_m3,
    )


def test_a_plant_that_is_silent_is_a_gap_not_one_that_makes_nothing_up(run):
    copy = run.split()
    start = copy.now_ms - HOUR_MS
    del copy._states["device_water"][start + STEP_MS]
    assert network_water.function(copy.rows(start)).reason == "makeup_gap"


def test_of_several_plants_each_tank_has_to_be_known(run):
    """A substation's place is taken by a second plant, of which the rows of water are those of the first."""
    copy = run.split()
    devices = dict(copy.site.devices)
    devices["sub-04"] = replace(devices["plant-1"], device="sub-04")
    copy.site = replace(copy.site, devices=devices)
    copy.stream = StreamSite(copy.site, list(devices), {})
    one, two = (np.array([copy.stream.ids.index(name)]) for name in ("plant-1", "sub-04"))
    names = device_water.fields

    def second(**lacking):
        for state in copy._states["device_water"].values():
            values = np.array([state.values_of(name, names, one) for name in names])
            for name, value in lacking.items():
                values[names.index(name)] = value
            state.remember(
                two, values, np.ones(1), np.array([FINAL]), np.array([""], object), np.zeros(1, int)
            )
        return network_water.function(copy.rows(copy.now_ms - HOUR_MS))

    assert second().reason == ""
    assert second().tank_m3 == pytest.approx(2.0 * run.hours[-1].said.tank_m3, rel=0.01)
    silent = second(tank_m3=np.nan, level_m3=np.nan)
    assert silent.reason == "no_tank"
    assert np.isnan(silent.leak_m3)


@pytest.mark.parametrize(
    ("lacking", "reason"),
    [
        (("volume_m3", "flow_m3_h", "supply_c", "return_c"), "no_flow"),  # no flow to weight temperatures by
        (("supply_c",), "no_temperature"),
    ],
)
def test_a_plant_without_flow_is_not_said_to_lack_its_sensors(run, lacking, reason):
    copy = run.split()
    plant = copy.stream.ids.index("plant-1")
    for state in copy._states["device_heat"].values():
        state._values[[device_heat.fields.index(field) for field in lacking], plant] = np.nan
    said = network_water.function(copy.rows(copy.now_ms - HOUR_MS))
    assert said.reason == reason
    assert np.isnan(said.leak_m3)


def test_without_a_temperature_of_the_make_up_water_the_registered_one_serves(run):
    measured, registered = again(run), again(run, nothing(WARMTH))
    assert registered.reason == ""
    assert registered.leak_m3 == pytest.approx(measured.leak_m3, abs=0.01)


def test_the_order_in_which_devices_were_heard_of_does_not_matter(run):
    rows = run.rows(run.now_ms - HOUR_MS)
    order = np.random.default_rng(1).permutation(rows.devices)
    shuffled = NetworkRows(
        rows.network, 0, rows.start_ms, rows.end_ms, 1000 * network_water.history_s, order, rows.site,
        rows._sources, (),
    )  # fmt: skip
    expected = network_water.function(rows)
    got = network_water.function(shuffled)
    assert [str(getattr(got, f.name)) for f in fields(got)] == [
        str(getattr(expected, f.name)) for f in fields(expected)
    ]


def test_a_window_that_is_not_over_balances_what_has_passed(run):
    copy = run.split()
    start = copy.now_ms - HOUR_MS
    for states in (copy._states["device_heat"], copy._states["device_water"]):
        for step in (2, 3):
            del states[start + step * STEP_MS]
    half, whole = network_water.function(copy.rows(start)), run.hours[-1].said
    assert half.reason == ""
    assert half.coverage == pytest.approx(0.5, abs=0.01)
    assert half.leak_m3 == pytest.approx(whole.leak_m3 / 2.0, rel=0.1)


def test_the_second_channel_sees_what_leaves_the_side_that_is_metered():
    run = WaterRun(SEED, 4, step_s=120.0)
    onset = run.now_ms + 3 * HOUR_MS
    told = {}
    for kind in ("leak", "supply_leak"):
        one = run.split()
        one.suffer([Fault(kind, "n-01", 2.0, onset, onset + 99 * HOUR_MS, onset)])
        one.advance(5)
        said = [h.said for h in one.hours]
        told[kind] = (
            said[4].difference_m3 / said[4].circulated_m3 - said[2].difference_m3 / said[2].circulated_m3
        )
        told[kind] *= said[4].circulated_m3
    assert told["supply_leak"] == pytest.approx(7.2, rel=0.1)
    assert abs(told["leak"]) < 0.7
