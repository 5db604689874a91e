"""Forecasts through the pipeline are those of the plain function, and what is learnt survives its crashes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.load_forecast import HOUR_MS, House, foretell, houses
from models.forecast_weather import HOURS, Issue
from models.frame import Frame, FrameKind, Record, telemetry_schema
from models.load_forecast import AHEAD_H
from streams.core.operator import Operator
from streams.core.pipeline import Pipeline
from streams.operators.device_heat import device_heat
from streams.operators.load_forecast import load_forecast
from streams.operators.return_effect import return_effect
from streams.operators.secondary_heat import secondary_heat
from streams.operators.signature import signature
from streams.operators.weather import weather
from tests.support.telemetry import registry_frame

RECORDINGS = os.environ.get("HEARTHLINE_RECORDINGS", "")
GJ_PER_KWH = 3.6e-3
MONDAY = 1_767_571_200_000  # 2026-01-05, midnight UTC
OPERATORS: tuple[Operator, ...] = (device_heat, weather, load_forecast)
Row = dict[str, Any]


def site() -> dict[str, str]:
    """A plant with a weather station, both hourly."""
    return {
        "site.toml": '[site]\nid = "s"\nname = "s"\ntimezone = "UTC"\nlateness_s = 900\n'
        '[[region]]\nid = "r"\nname = "r"\n[[unit]]\nid = "u1"\nregion = "r"\nname = "u"\n'
        '[[network]]\nid = "n1"\nunit = "u1"\nname = "n"\n',
        "devices.csv": "device,class,unit,network,mounting,interval_s\n"
        "plant,plant,u1,n1,supply,3600\nsky,weather,u1,,,3600\n",
    }


class Run:
    """A pipeline that is given hours, a frame a device and hour, and may crash after any of them."""

    def __init__(
        self, texts: dict[str, str], operators: tuple[Operator, ...] = OPERATORS, start: int = MONDAY
    ):
        self.operators, self.start, self.offset = operators, start, 0
        self.pipeline = Pipeline("u1", operators, provisional_every_ms=None)
        self.tables: dict[str, list[pa.Table]] = {}
        self.seq = 0
        self.step(registry_frame(texts), start)

    def step(self, frame: Frame, at_ms: int) -> None:
        outputs = self.pipeline.step(Record("u1", self.offset, at_ms, frame.encode()))
        self.offset += 1
        for name, tables in outputs.rows.items():
            self.tables.setdefault(name, []).extend(tables)

    def give(self, device_class: str, device: str, t: int, values: dict[str, float]) -> None:
        known = {n: float(v) for n, v in values.items() if not np.isnan(v)}
        self.seq += 1
        row = {"device": device, "boot": 1, "seq": self.seq, "pos": 0, "t": t, **known}
        batch = pa.RecordBatch.from_pylist([row], schema=telemetry_schema(device_class))
        self.step(Frame(FrameKind.TELEMETRY, device_class, batch), t)

    def crash(self) -> None:
        checkpoint = self.pipeline.checkpoint()
        self.pipeline = Pipeline.restore(checkpoint, self.operators, provisional_every_ms=None)

    def end(self, at_ms: int) -> None:
        self.step(Frame.heartbeat(), at_ms + 3 * HOUR_MS)

    def rows(self, measurement: str) -> dict[tuple[str, int], Row]:
        rows = [r for t in self.tables.get(measurement, ()) for r in t.to_pylist()]
        keys = [(r["key"], r["window_start"]) for r in rows]
        assert len(set(keys)) == len(keys), "each is said once"
        return dict(zip(keys, rows, strict=True))


def run_house(record: House, hours: int, crash_every: int = 0) -> Run:
    """The mean of the houses as a plant's counter, with its weather and forecasts."""
    start = record.end_ms[0] - HOUR_MS
    run = Run(site(), start=start)
    energy = 100.0  # the first step from zero of a counter without a rate is lost
    run.give("plant", "plant", start, {"energy_gj": energy})
    run.give("weather", "sky", start, {"outdoor_c": record.instant_c[0]})
    for at in range(hours):
        t = record.end_ms[at]
        energy += float(record.load_kw[at, 0]) * GJ_PER_KWH
        ahead = {f"outdoor_{h}h_c": float(record.ahead_c[at, h - 1]) for h in range(1, HOURS + 1)}
        # A second early, so that the forecast is there when the hour ends.
        run.give("weather", "sky", t - 1000, {"outdoor_c": float(record.instant_c[at]), **ahead})
        run.give("plant", "plant", t, {"energy_gj": energy})
        if crash_every and at % crash_every == 0:
            run.crash()
    run.end(record.end_ms[hours - 1])
    return run


@pytest.mark.skipif(not RECORDINGS, reason="HEARTHLINE_RECORDINGS is not set")
def test_a_recorded_house_is_foretold_as_by_the_plain_function() -> None:
    record, hours = houses(Path(RECORDINGS)), 130
    rows = run_house(record, hours).rows("load_forecast")
    # What the pipeline sees: means over an hour of straight lines between samples, a second early.
    t = np.append(record.end_ms[0] - HOUR_MS, np.array(record.end_ms) - 1000)
    value = np.append(record.instant_c[0], record.instant_c)
    fine = record.end_ms[0] - HOUR_MS + 500 + np.arange(hours * 3600) * 1000
    measured = np.interp(fine, t, value).reshape(hours, 3600).mean(axis=1)
    issues = [Issue(ms - 1000, record.ahead_c[at]) for at, ms in enumerate(record.end_ms[:hours])]
    plain = foretell(record.end_ms[:hours], record.load_kw[:hours, :1], measured, issues, ZoneInfo("UTC"))
    compared = 0
    for at in range(72, hours):
        for ahead in range(1, HOURS + 1):
            if at - ahead < 0:
                continue
            row = rows["n1:" + str(ahead), record.end_ms[at] - HOUR_MS]
            for name in ("p10_kw", "p50_kw", "p90_kw", "persistence_kw"):
                expected = getattr(plain, name)[ahead - 1, at, 0]
                got = np.nan if row[name] is None else row[name]
                assert got == pytest.approx(expected, rel=2e-6, nan_ok=True), (at, ahead, name)
                compared += np.isfinite(expected)
    assert compared > 4_000
    row = rows["n1:6", record.end_ms[hours - 1]]
    assert (row["status"], row["reason"]) == ("final", None)
    assert row["p10_kw"] < row["p50_kw"] < row["p90_kw"]
    late = rows["n1:40", record.end_ms[hours - 1]]
    assert late["reason"] == "few_errors"
    assert {k.split(":")[1] for k, _ in rows if k.startswith("plant:")} == {str(h) for h in AHEAD_H}


def made_up(hours: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Outdoor temperature at the ends of hours, hours + 1 of them, and the load of each hour."""
    at = np.arange(hours + 1)
    outdoor = -3.0 + 8.0 * np.sin(at / 50.0) + 3.0 * np.sin(2 * np.pi * at / 24.0)
    load = 50.0 - 2.0 * (outdoor[1:] + outdoor[:-1]) / 2.0
    return outdoor, load * (1.0 + 0.02 * np.random.default_rng(seed).standard_normal(hours))


def run_made_up(run: Run, outdoor: np.ndarray, load: np.ndarray, crash_every: int = 0) -> Run:
    energy = 0.0
    for at in range(len(outdoor)):
        t = run.start + at * HOUR_MS
        energy += float(load[at - 1]) * GJ_PER_KWH if at else 0.0
        run.give("weather", "sky", t, {"outdoor_c": float(outdoor[at])})
        run.give("plant", "plant", t, {"energy_gj": energy})
        if crash_every and at % crash_every == 0:
            run.crash()
    run.end(run.start + (len(outdoor) - 1) * HOUR_MS)
    return run


def test_crashes_change_nothing_that_is_learnt() -> None:
    outdoor, load = made_up(76)
    operators = (*OPERATORS, secondary_heat, signature, return_effect)
    told = []
    for every in (0, 19):
        run = run_made_up(Run(site(), operators), outdoor, load, every)
        told.append([run.rows(name) for name in ("load_forecast", "signature", "return_effect")])
    assert told[0] == told[1]
    assert any(r["p50_kw"] is not None for r in told[0][0].values())
    row = told[0][0]["n1:6", MONDAY + 81 * HOUR_MS]
    assert row["persistence_kw"] == pytest.approx(load[81 - 24], rel=1e-6)
