"""What a counter of few digits leaves open is in the uncertainty of its quarter of an hour."""

import math

import pytest

from models.frame import Record
from streams.core.operator import discovered
from streams.core.pipeline import Pipeline
from tests.support.telemetry import SITE_TEXTS, T0, Message, registry_frame, telemetry_frames

FLOW_M3_H, POWER_GJ_H = 2.0, 2.0 * 4.13e-3 * 40


def quarters(step_gj, *, counts=True):
    """Rows of an hour of a steady meter whose display shows steps of so many GJ; what the registry knows."""
    lines = SITE_TEXTS["devices.csv"].splitlines()
    known = "" if step_gj is None else f"{step_gj}"
    texts = SITE_TEXTS | {
        "devices.csv": f"{lines[0]},energy_resolution_gj\n"
        + "".join(
            f"{line}{',' if line else ''}{known if line.startswith('sub-1,') else ''}\n" for line in lines[1:]
        )
    }
    pipeline = Pipeline("u1", [o for o in discovered() if o.name == "device_heat"])
    pipeline.step(Record("u1", 0, T0, registry_frame(texts).encode()))
    rows, offset = [], 0
    for minute in range(100):
        t = T0 + 60_000 * minute
        shown = 100.0 + POWER_GJ_H * minute / 60
        values = {"flow_m3_h": FLOW_M3_H, "supply_c": 90.0, "return_c": 50.0}
        if counts:
            values["energy_gj"] = shown if step_gj is None else math.floor(shown / step_gj) * step_gj
        for frame in telemetry_frames([Message("sub-1", T0 - 5, minute + 1, ((t, values),))]):
            offset += 1
            outputs = pipeline.step(Record("u1", offset, t + 500, frame.encode()))
            rows += [r for table in outputs.rows.get("device_heat", ()) for r in table.to_pylist()]
    return [r for r in rows if r["status"] == "final" and r["key"] == "sub-1"]


def test_a_quarter_of_whole_gj_has_what_a_step_leaves_open():
    fine, whole = quarters(None), quarters(1.0)
    assert len(fine) == len(whole) >= 4
    assert [r["heat_gj"] for r in whole[:3]] == [0.0, 0.0, 0.0]
    for row, other in zip(whole, fine, strict=True):
        assert row["heat_u_gj"] >= 2 / math.sqrt(6)
        assert abs(row["heat_gj"] - other["heat_gj"]) <= 2 * row["heat_u_gj"]
        assert other["heat_u_gj"] < 0.05 * other["heat_gj"]


def test_it_adds_to_what_the_class_leaves_open():
    fine, told = quarters(None)[0], quarters(0.1)[0]
    relative = fine["heat_u_gj"] / fine["heat_gj"]
    expected = math.hypot(relative * told["heat_gj"], 0.1 * 2 / math.sqrt(6))
    assert told["heat_u_gj"] == pytest.approx(expected, rel=1e-6)


def test_heat_that_no_counter_told_has_none_of_it():
    with_step, without = quarters(1.0, counts=False), quarters(None, counts=False)
    assert [r["heat_u_gj"] for r in with_step] == [r["heat_u_gj"] for r in without]
    assert all(r["heat_u_gj"] < 0.05 * r["heat_gj"] for r in without)
