"""Weather by windows: means of what was measured, and the newest forecast as it was issued."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from models.frame import Frame, FrameKind, Record, telemetry_schema
from streams.core.pipeline import Pipeline
from streams.operators.weather import AHEAD, weather
from tests.support.settled_steps import site_texts
from tests.support.telemetry import registry_frame

T0 = 1_767_571_200_000
MIN_MS = 60_000
DEVICES = ("plant,plant,n1,supply,", "sky,weather,,,", "odd,weather,,,")


def windows(
    samples: dict[str, list[tuple[int, dict[str, float]]]], minutes: int
) -> dict[tuple[str, int], dict]:
    """Rows of the operator by device and window, samples given by device as (minute, values)."""
    texts = site_texts(DEVICES)
    texts["devices.csv"] = texts["devices.csv"].replace(",60\n", ",600\n")
    pipeline = Pipeline("u1", (weather,), provisional_every_ms=None)
    frames = [(T0, registry_frame(texts))]
    for device, taken in samples.items():
        kind = "plant" if device == "plant" else "weather"
        rows = [
            {"device": device, "boot": 1, "seq": n, "pos": 0, "t": T0 + at * MIN_MS, **values}
            for n, (at, values) in enumerate(taken, 1)
        ]
        batch = pa.RecordBatch.from_pylist(rows, schema=telemetry_schema(kind))
        frames.append((T0, Frame(FrameKind.TELEMETRY, kind, batch)))
    frames.append((T0 + minutes * MIN_MS + 3_600_000, Frame.heartbeat()))
    said = {}
    for offset, (at, frame) in enumerate(frames):
        for table in pipeline.step(Record("u1", offset, at, frame.encode())).rows.get("weather", ()):
            said |= {(r["key"], (r["window_start"] - T0) // (15 * MIN_MS)): r for r in table.to_pylist()}
    return said


def test_means_are_of_straight_lines_between_samples() -> None:
    rows = windows({
        "sky": [(at, {"outdoor_c": -0.1 * at, "wind_m_s": 3.0}) for at in range(0, 61, 10)],
        "plant": [(at, {"outdoor_c": 4.0}) for at in range(0, 61, 10)],
    }, 60)  # fmt: skip
    for window in range(4):
        row = rows["sky", window]
        assert row["outdoor_c"] == pytest.approx(-0.1 * (15 * window + 7.5))
        assert (row["wind_m_s"], row["irradiance_w_m2"], row["forecast_age_s"]) == (
            pytest.approx(3.0),
            None,
            None,
        )
        assert (row["status"], row["coverage"]) == ("final", pytest.approx(1.0))
        assert rows["plant", window]["outdoor_c"] == pytest.approx(4.0)


def test_the_newest_forecast_of_a_window_stands_with_its_age_and_no_other_does() -> None:
    first = {"outdoor_1h_c": -1.0, "outdoor_2h_c": -2.0}
    newer = {"outdoor_1h_c": -5.0, "outdoor_72h_c": -9.0}
    plain = [(at, {"outdoor_c": 1.0}) for at in (0, 10, 20, 30, 40, 50, 60)]
    rows = windows({
        "sky": [*plain[:2], (12, {"outdoor_c": 1.0, **first}), (14, newer), *plain[2:]],
        "odd": [*plain[:4], (35, {"outdoor_1h_c": 999.0, "outdoor_2h_c": 3.0}), *plain[4:]],
    }, 60)  # fmt: skip
    row = rows["sky", 0]
    assert row["forecast_age_s"] == 60.0
    told = {name: row[name] for name in AHEAD if row[name] is not None}
    assert told == newer, "as it was issued: not joined with the one before"
    assert [rows["sky", n]["forecast_age_s"] for n in (1, 2, 3)] == [None] * 3
    assert (rows["odd", 2]["outdoor_1h_c"], rows["odd", 2]["outdoor_2h_c"]) == (None, 3.0), "999 °C is none"


def test_what_is_not_measured_is_absent() -> None:
    rows = windows({
        "sky": [(at, {"outdoor_c": 2.0}) for at in (0, 10, 20)] + [(90, {"outdoor_c": 2.0})],
        "plant": [(at, {"supply_c": 90.0}) for at in range(0, 91, 10)],
    }, 90)  # fmt: skip
    assert (rows["sky", 0]["outdoor_c"], rows["sky", 1]["reason"]) == (pytest.approx(2.0), "coverage")
    assert (rows["sky", 3]["status"], rows["sky", 3]["reason"]) == ("unknown", "gap")
    assert rows["sky", 1]["outdoor_c"] is None
    assert (rows["plant", 1]["outdoor_c"], rows["plant", 1]["reason"]) == (None, "gap")
    assert not any(np.isnan(v) for r in rows.values() for v in r.values() if isinstance(v, float))
