"""Faults of simulated substations told with evidence, sound ones left alone, and the laws of learners."""

from __future__ import annotations

import json
import os
import random
import zlib
from base64 import b64encode
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fault_weeks import DAY_MS, START_MS, FaultRun, FaultSim
from benchmarks.recorded_meter import recorded_meter
from models.anomaly import ANOMALY
from models.fault_codes import CODES, SHARED_CAUSE
from models.fault_watch import KEPT, Watch
from models.frame import Frame, Record
from simulator.kinds import Fault
from streams.core.checkpoint import Checkpoint
from streams.core.pipeline import Pipeline
from streams.operators.data_quality import data_quality
from streams.operators.device_heat import device_heat
from streams.operators.substation_faults import substation_faults
from tests.laws.test_pipeline_laws import journal
from tests.support.results import Said
from tests.support.telemetry import T0, Message

HOUR_MS = 3_600_000
RECORDINGS = os.environ.get("HEARTHLINE_RECORDINGS", "")
OPERATORS = (substation_faults, device_heat, data_quality)
KINDS = {  # substation: kind, size, code
    "sub-01": ("fouling", 0.4, "fouled_exchanger"),
    "sub-02": ("clogged_strainer", 0.5, "clogged_strainer"),
    "sub-03": ("stuck_valve", 0.9, "valve_stuck_open"),
    "sub-04": ("stuck_valve", 0.05, "valve_stuck_closed"),
    "sub-05": ("secondary_leak", 0.5, "secondary_leak"),
    "sub-06": ("internal_leak", 0.8, "exchanger_internal_leak"),
    "sub-07": ("supply_bias", 4.0, "sensor_bias"),
    "sub-08": ("return_bias", 4.0, "sensor_bias"),
    "sub-09": ("calculator_bias", 0.2, "calculator_fault"),
    "sub-10": ("sensors_swapped", 0.0, "sensors_swapped"),
    "sub-11": ("sensor_broken", 850.0, "sensor_broken"),
    "sub-12": ("counter_reset", 0.0, "counter_reset"),
    "sub-13": ("air", 0.2, "air"),
}
COLD = "sub-14"
"""Where the pump trips, so that its building cools."""
ONSET_MS = START_MS + 7 * DAY_MS + 3 * HOUR_MS
END_MS = ONSET_MS + 30 * HOUR_MS
WARM_MS = END_MS + 30 * HOUR_MS


@pytest.fixture(scope="module")
def run() -> FaultRun:
    """Seven days of learning, one with a fault of each kind and one after them, every five minutes."""
    faults = [
        Fault(kind, place, size, ONSET_MS, WARM_MS, ONSET_MS) for place, (kind, size, _) in KINDS.items()
    ]
    tripped = Fault("pump_trip", COLD, 0.0, ONSET_MS, END_MS, ONSET_MS)
    sim = FaultSim(17, 18, [*faults, tripped], (data_quality, device_heat), interval_s=300.0)
    run = FaultRun(sim.site, (substation_faults,))
    run.watch(sim.steps(WARM_MS))
    return run


def test_nothing_is_said_while_nothing_is_wrong(run: FaultRun) -> None:
    early = [r["key"] for r in run.rows if r["window_start"] < ONSET_MS]
    assert early == []
    assert {r["subject"] for r in run.rows} <= {*KINDS, COLD}


@pytest.mark.parametrize("place", sorted(KINDS))
def test_each_fault_is_told_with_its_evidence(run: FaultRun, place: str) -> None:
    code = KINDS[place][2]
    mine = [r for r in run.rows if r["subject"] == place]
    assert code in {r["code"] for r in mine}, [(r["code"], r["evidence"]) for r in mine]
    first = next(r for r in mine if r["code"] == code)
    about, evidence = CODES[code], first["evidence"]
    assert first["severity"] == about.severity
    assert first["score"] >= 1.0
    assert first["state"] == "active"
    assert first["model"] == "substation_faults/1"
    assert (evidence["rule"], evidence["learning"]) == (about.rule, False)
    assert evidence["numbers"]
    assert f"cost_{about.unit}_day" in evidence
    assert ONSET_MS - 900_000 < first["window_start"] <= first["told_ms"] - 900_000 * (about.need + 1)


def test_costs_are_of_the_right_size(run: FaultRun) -> None:
    leak = next(r for r in run.rows if r["subject"] == "sub-05")
    last = [r for r in run.rows if r["key"] == leak["key"]][-1]
    assert last["evidence"]["cost_m3_day"] == pytest.approx(0.5 * 86.4, rel=0.25)
    bias = [r for r in run.rows if r["subject"] == "sub-07" and r["code"] == "sensor_bias"][-1]
    assert bias["evidence"]["numbers"]["bias_k"] == pytest.approx(4.0, abs=1.0)


def test_a_building_that_cools_and_warms_up_again_has_no_other_fault(run: FaultRun) -> None:
    assert {r["code"] for r in run.rows if r["subject"] == COLD} == {"pump_trip"}


def test_what_a_building_draws_to_warm_up_again_is_no_load_of_its_own(run: FaultRun) -> None:
    kept = run.state["substation_faults"].kept
    at = list(run.stream.ids).index(COLD)
    assert kept["owed_kwh"][at] > 0.0, "it lacked heat"
    assert kept["day_load_off_kw"][at] == 0.0, "of a day in which it drew hundreds of kW over its usual"
    assert kept["cusum_up"][at] == 0.0
    others = [n for n, name in enumerate(run.stream.ids) if name not in {*KINDS, COLD}]
    assert not kept["owed_kwh"][others].any()


def test_pumps_behind_one_pipe_trip_as_one_event_and_its_children() -> None:
    onset = START_MS + 3 * HOUR_MS + 100_000
    fault = Fault("pump_trip", "pipe-01", 0.0, onset, onset + 2 * HOUR_MS, onset)
    sim = FaultSim(17, 12, [fault], (data_quality, device_heat), interval_s=60.0)
    run = FaultRun(sim.site, (substation_faults,))
    run.watch(sim.steps(onset + 4 * HOUR_MS))
    trips = {r["subject"]: r for r in run.rows if r["code"] == "pump_trip"}
    (cause,) = [r for r in run.episodes() if r["code"] == SHARED_CAUSE]
    assert len(trips) == 12
    assert cause["subject"].startswith("network:")
    assert cause["evidence"]["children"] == sorted({r["key"] for r in trips.values()})
    assert cause["severity"] == "critical"
    assert cause["evidence"]["codes"] == ["pump_trip"]
    assert cause["told_ms"] == min(r["told_ms"] for r in run.rows)
    assert cause["told_ms"] - onset <= HOUR_MS
    assert (cause["state"], {r["state"] for r in trips.values()}) == ("ended", {"ended"})
    assert all(r["evidence"]["learning"] for r in trips.values())


def history(seed: int, *, swapped: bool = True) -> list[Message]:
    """Two substations at a minute for eight hours; the sensors of one are in each other's place for three."""
    rng = np.random.default_rng(seed)
    messages = []
    t = np.arange(T0, T0 + 8 * HOUR_MS, 60_000)
    wrong = (t >= T0 + 3 * HOUR_MS) & (t < T0 + 6 * HOUR_MS)
    for device in ("sub-1", "sub-2"):
        flow, hot, cold = rng.uniform(5, 6, len(t)), rng.uniform(88, 90, len(t)), rng.uniform(44, 46, len(t))
        turned = wrong & swapped & (device == "sub-2")
        energy = 500.0 + np.cumsum(np.where(turned, 0.0, flow * 0.18 / 60.0))
        volume = 900.0 + np.cumsum(flow / 60.0)
        shown = np.where(turned, cold, hot), np.where(turned, hot, cold)
        for at in range(0, len(t), 15):
            samples = tuple(
                (int(t[i]), {
                    "flow_m3_h": float(flow[i]), "supply_c": float(shown[0][i]), "return_c": float(shown[1][i]),
                    "energy_gj": float(energy[i]), "volume_m3": float(volume[i]),
                })
                for i in range(at, at + 15)
            )  # fmt: skip
            messages.append(Message(device, T0 - 5, at // 15 + 1, samples))
    return sorted(messages, key=lambda m: (m.newest_t, m.device))


def piped(records: list[Record], crash: frozenset[int] = frozenset(), every: int | None = None) -> dict:
    pipeline, said = Pipeline("u1", OPERATORS, provisional_every_ms=every), Said()
    for at, record in enumerate(records):
        said.take([pipeline.step(record)])
        if at in crash:
            kept = pipeline.checkpoint()
            copied = Checkpoint(kept.stream, kept.offset, dict(kept.parts))
            pipeline = Pipeline.restore(copied, OPERATORS, provisional_every_ms=every)
    settled = Record("u1", records[-1].offset + 1, pipeline.settled_ms(), Frame.heartbeat().encode())
    said.take([pipeline.step(settled)])
    return said.rows.get(ANOMALY, {})


def in_order(messages: list[Message]) -> list[Record]:
    return journal([[m] for m in messages], [m.newest_t + 500 for m in messages])


def test_through_the_pipeline_it_is_told_once_with_its_end() -> None:
    (row,) = piped(in_order(history(1))).values()
    assert (row["subject"], row["code"], row["state"]) == ("sub-2", "sensors_swapped", "ended")
    assert (row["window_start"], row["until"]) == (T0 + 3 * HOUR_MS, T0 + 6 * HOUR_MS)
    assert json.loads(row["evidence"])["learning"] is True
    assert piped(in_order(history(1, swapped=False))) == {}


def test_order_duplication_splitting_and_crashes_change_nothing() -> None:
    messages, rng = history(2), random.Random(2)
    clean = piped(in_order(messages))
    assert clean
    arrivals = [(m.newest_t + rng.randint(0, 880_000), m) for m in messages]
    arrivals += [(at + rng.randint(0, HOUR_MS), m) for at, m in arrivals if rng.random() < 0.2]
    arrivals.sort(key=lambda a: (a[0], a[1].device))
    disordered = journal([[m] for _, m in arrivals], [at for at, _ in arrivals])
    crashes = frozenset(rng.sample(range(len(disordered)), 8))
    assert piped(disordered, crashes) == clean
    assert piped(in_order(messages), every=10_000) == clean


def test_state_goes_through_bytes_and_the_same_state_gives_the_same_bytes(run: FaultRun) -> None:
    data = run.state["substation_faults"].to_bytes()
    assert Watch.from_bytes(data).to_bytes() == data
    assert Watch.from_bytes(data).told


def test_state_of_a_release_that_knew_of_nothing_owed_is_read(run: FaultRun) -> None:
    whole = run.state["substation_faults"]
    assert whole.kept["owed_kwh"].any()
    said = json.loads(whole.to_bytes())
    known = KEPT[: KEPT.index("owed_kwh")]
    kept = np.array([whole.kept[name] for name in known])
    said["kept"] = [kept.dtype.str, list(kept.shape), b64encode(zlib.compress(kept.tobytes(), 1)).decode()]
    read = Watch.from_bytes(json.dumps(said).encode())
    assert not read.kept["owed_kwh"].any()
    for name in known:
        np.testing.assert_array_equal(read.kept[name], whole.kept[name], err_msg=name)


@pytest.mark.skipif(not RECORDINGS, reason="HEARTHLINE_RECORDINGS is not set")
def test_a_real_meter_has_no_faults_of_calculator_counter_or_clock() -> None:
    path = Path(RECORDINGS) / "heat_meter" / "meter_10259_2019_h1.csv"
    assert recorded_meter(path, (substation_faults,), days=21) == []
