"""What is said of a network's hour while it fills: of whole quarters, in proportion to them."""

import pyarrow as pa
import pytest

from models.frame import Frame, FrameKind, Record, telemetry_schema
from streams.core.operator import discovered
from streams.core.pipeline import Pipeline
from tests.support.telemetry import SITE_TEXTS, T0, registry_frame

HOUR_MS = 3_600_000
START = T0 + HOUR_MS
NAMES = ("device_heat", "device_water", "network_heat", "network_water", "reconciled_heat")
OPERATORS = [o for o in discovered() if o.name in NAMES]
FLOW_M3_H = {"plant": 100.0, "sub-0": 60.0, "sub-1": 30.0, "small": 10.0}
GROWING = ("supplied_gj", "delivered_gj", "loss_gj", "leak_gj")


def site_texts(small_s):
    lines = "".join(
        f"{name},substation,u1,n1,{qp},2,3,return,{interval},{name},{1000 * qp}\n"
        for name, qp, interval in (("sub-0", 60, 60), ("sub-1", 30, 60), ("small", 10, small_s))
    )
    return {
        "site.toml": SITE_TEXTS["site.toml"] + "ground_c = 5\nmakeup_c = 10\nvolume_m3 = 100\n",
        "devices.csv": (
            "device,class,unit,network,qp_m3_h,accuracy_class,dt_min_k,mounting,interval_s,node,area_m2\n"
            f"plant,plant,u1,n1,400,2,3,return,30,p,\ndesk,office,u1,n1,,,,,,,\n{lines}"
        ),
        "pipes.csv": (
            "pipe,network,from_node,to_node,length_m,inner_diameter_m,u_w_m_k\n"
            "0,n1,p,sub-0,400,0.15,0.4\n1,n1,p,sub-1,400,0.15,0.4\n2,n1,sub-1,small,50,0.08,0.3\n"
        ),
    }


def sample(device, t, *, counters):
    """Of a network in which nothing changes."""
    flow, hours = FLOW_M3_H[device], (t - T0) / HOUR_MS
    supply, back = (90.0, 50.0) if device == "plant" else (89.0, 50.5)
    values = {"flow_m3_h": flow, "supply_c": supply, "return_c": back}
    if counters:
        power_gj_h = flow * 4.13e-3 * (supply - back)
        values |= {"energy_gj": 100.0 + power_gj_h * hours, "volume_m3": 1000.0 + flow * hours}
    if device == "plant":
        values |= {"makeup_m3": 500.0 + 0.5 * hours, "tank_m3": 20.0, "makeup_c": 10.0}
    return values


def frame(device_class, rows):
    batch = pa.RecordBatch.from_pylist(rows, schema=telemetry_schema(device_class))
    return Frame(FrameKind.TELEMETRY, device_class, batch)


def watched(*, counters=True, small_s=60, silent=None, booked=None, every_ms=30_000, until_s=8200):
    """Rows told of networks over the second hour, with a quarter before it, by measurement: (s since it began, row), in order."""
    mute, mute_from, mute_to = silent or ("", 0, 0)
    pipeline = Pipeline("u1", OPERATORS, provisional_every_ms=every_ms)
    pipeline.step(Record("u1", 0, T0 + 2_700_000, registry_frame(site_texts(small_s)).encode()))
    told, offset = {name: [] for name in NAMES}, 0
    phases = {"plant": (30, 4), "sub-0": (60, 11), "sub-1": (60, 38), "small": (small_s, 47)}
    for second in range(2700, until_s, 5):
        now = T0 + 1000 * second
        frames = []
        for device, (interval_s, phase_s) in phases.items():
            t = now - 1000
            due = (second - 1 - phase_s) % interval_s == 0
            at_last = (second - 1 - phase_s) // interval_s * interval_s + phase_s
            if (due or second - 6 < at_last <= second - 1) and not (
                device == mute and mute_from < second < mute_to
            ):
                t = T0 + 1000 * at_last
                row = {"device": device, "boot": T0 - 5, "seq": at_last + 1, "pos": 0, "t": t}
                row |= sample(device, t, counters=counters)
                frames.append(frame("plant" if device == "plant" else "substation", [row]))
        if booked and second == booked[0]:
            frames.append(
                frame("office", [{"device": "desk", "boot": T0 - 5, "seq": 1, "pos": 0, "t": now, "ref": "a",
                                  "event": "flush", "network": "n1", "volume_m3": booked[1]}])
            )  # fmt: skip
        for each in frames:
            offset += 1
            outputs = pipeline.step(Record("u1", offset, now, each.encode()))
            for name in NAMES:
                rows = [r for table in outputs.rows.get(name, ()) for r in table.to_pylist()]
                told[name] += [(second - 3600, r) for r in rows if r["window_start"] == START]
    return told


def filling(told, name):
    return [(at, row) for at, row in told[name] if row["status"] == "provisional"]


@pytest.mark.parametrize("counters", [True, pytest.param(False, marks=pytest.mark.soak)])
def test_an_hour_that_fills_is_told_quarter_by_quarter(counters):
    told = watched(counters=counters)
    [(_, final)] = [(at, r) for at, r in told["network_heat"] if r["status"] == "final"]
    heat = filling(told, "network_heat")
    assert [round(4 * r["coverage"], 6) for _, r in heat] == [1, 2, 3, 4]
    for n, (at, row) in enumerate(heat, 1):
        assert 900 * n <= at <= 900 * n + 70, "within a minute of the quarter's end"
        assert row["reason"] is None
        for name in GROWING:
            assert row[name] == pytest.approx(final[name] * n / 4, rel=0.003), (n, name)
        assert abs(row["storage_gj"]) < 0.001 * row["supplied_gj"]
        assert abs(row["residual_gj"] - final["residual_gj"] * n / 4) < 0.001 * row["supplied_gj"]
    water = filling(told, "network_water")
    assert [round(4 * r["coverage"], 6) for _, r in water] == [1, 2, 3, 4]
    for n, (_, row) in enumerate(water, 1):
        assert row["reason"] is None
        assert row["makeup_m3"] == pytest.approx(0.5 * n / 4)
        assert row["leak_m3"] == pytest.approx(0.5 * n / 4, abs=0.001)
    meters = filling(told, "reconciled_heat")
    assert len(meters) == 16
    assert all(r["heat_gj"] is not None and r["test_statistic"] is not None for _, r in meters)


def test_a_meter_that_tells_a_quarter_in_part_is_estimated_until_it_tells_it_whole():
    told = watched(small_s=1800, until_s=10_200)
    [(_, final)] = [(at, r) for at, r in told["network_heat"] if r["status"] != "provisional"]
    heat = filling(told, "network_heat")
    assert heat
    whole_gj = sum(FLOW_M3_H[name] * 4.13e-3 * 38.5 for name in ("sub-0", "sub-1", "small"))
    for _, row in heat:
        passed = row["supplied_gj"] / final["supplied_gj"]
        assert row["delivered_gj"] == pytest.approx(whole_gj * passed, rel=0.005)
        assert row["reason"] is None
    assert final["delivered_gj"] == pytest.approx(whole_gj, rel=0.005)


def test_a_station_that_is_silent_does_not_hold_the_hour_up_and_what_was_booked_counts_with_its_quarter():
    told = watched(silent=("small", 3000, 99_999), booked=(3600 + 1000, 2.0))
    heat = filling(told, "network_heat")
    assert [(at // 900, r["reason"]) for at, r in heat] == [(n, None) for n in (1, 2, 3, 4)]
    assert [r["authorised_m3"] for _, r in filling(told, "network_water")] == [0.0, 2.0, 2.0, 2.0]


def test_a_plant_that_was_silent_for_a_while_does_not_hold_the_hour_up():
    told = watched(silent=("plant", 3600 + 1100, 3600 + 1400))
    [(_, final)] = [(at, r) for at, r in told["network_heat"] if r["status"] == "final"]
    heat = filling(told, "network_heat")
    assert [at // 900 for at, _ in heat] == [1, 2, 3, 4]
    for n, (_, row) in enumerate(heat, 1):
        assert row["supplied_gj"] == pytest.approx(final["supplied_gj"] * n / 4, rel=0.015), (
            "with and without a known leak"
        )


@pytest.mark.parametrize("silent", [None, ("plant", 0, 99_999)])
def test_final_rows_are_those_of_an_hour_that_nobody_watched(silent):
    watching = watched(small_s=600, silent=silent)
    later = watched(small_s=600, silent=silent, every_ms=None)
    for name in NAMES[2:]:
        final = [r for _, r in watching[name] if r["status"] != "provisional"]
        assert final
        assert final == [r for _, r in later[name]]
        assert not silent or {r["status"] for r in final} == {"unknown"}
