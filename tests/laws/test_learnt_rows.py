"""What is learnt hangs on the samples alone: not on who spoke first, nor on where a run was cut, nor on pauses."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from models.frame import Frame, FrameKind, Record, telemetry_schema
from models.restate import RESTATEMENT
from streams.core.operator import Learner, NetworkOperator, WindowOperator, discovered
from streams.core.pipeline import Pipeline
from tests.laws.test_pipeline_laws import in_order, journal
from tests.support.restating import REWRITTEN_MS
from tests.support.results import Said
from tests.support.telemetry import T0, Log, Message, history, registry_frame

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
STEP_MS = 600_000
RESTING = sorted(
    {o.name for o in discovered() if isinstance(o, WindowOperator | NetworkOperator)}
    | {x.measurement for x in discovered() if isinstance(x, Learner)}
)
"""Measurements whose rows rest on samples or on such rows."""
WINTER_TEXTS = {
    "site.toml": (
        '[site]\nid = "s"\nname = "test"\ntimezone = "Asia/Shanghai"\nlateness_s = 14400\n'
        '[[region]]\nid = "r1"\nname = "north"\n[[unit]]\nid = "u1"\nregion = "r1"\nname = "unit one"\n'
        '[[network]]\nid = "n1"\nunit = "u1"\nname = "net"\nreturn_ref_c = 45\nwindow_s = 3600\n'
    ),
    "devices.csv": (
        "device,class,unit,network,qp_m3_h,accuracy_class,dt_min_k,mounting,interval_s\n"
        "plant,plant,u1,n1,40,2,3,supply,600\nsub-1,substation,u1,n1,20,2,3,return,600\n"
        "sub-2,substation,u1,n1,20,2,3,return,600\nmeter-1,meter,u1,n1,3,3,3,return,600\n"
    ),
}
SHARES = {"plant": 1.0, "sub-1": 0.5, "sub-2": 0.45, "meter-1": 0.05}


def settled_rows(
    records: Sequence[Record],
    *,
    every_ms: int | None = None,
    cuts: frozenset[int] = frozenset(),
    pauses: int = 0,
) -> Said:
    """Step `records`: stop and start anew before those at `cuts`, be idle after each of every so many.

    `every_ms` is how often rows are rewritten while their windows fill. [ms]
    """
    pipeline, said = Pipeline("u1", provisional_every_ms=every_ms), Said()
    for at, record in enumerate(records):
        if at in cuts:
            said.take([pipeline.report()])
            pipeline = Pipeline.restore(pipeline.checkpoint(), provisional_every_ms=every_ms)
        said.take([pipeline.step(record)])
        if pauses and at % pauses == 0:
            said.take([pipeline.report()])
            assert pipeline.ask() is None
    while (settled := pipeline.settled_ms()) is not None and settled > (pipeline.now_ms or 0):
        beat = Record("u1", pipeline.offset + 1, settled, Frame.heartbeat().encode())
        said.take([pipeline.step(beat)])
    said.take([pipeline.finish()])
    assert RESTATEMENT not in said.rows, "expected all to come in time"
    return said


def assert_same(a: Said, b: Said) -> None:
    """Rows that are settled in both are equal, up to the last of each key."""
    for measurement in RESTING:
        mine, other = (x.settled(measurement, "revision") for x in (a, b))
        assert mine == other, measurement


@pytest.mark.parametrize("first", ["plant", "sub-1", "meter-1"])
def test_learners_begin_with_the_oldest_sample_whoever_spoke_first(first: str) -> None:
    """As after an outage at the start: a device's newest message overtakes what others still have to send."""
    cut = T0 + 20 * MINUTE_MS
    messages = sorted(
        (m for m in history(6, hours=1.0, longest_gap_ms=0) if m.device != first or m.newest_t >= cut),
        key=lambda m: (m.newest_t, m.device),
    )
    leader = next(m for m in messages if m.device == first)
    arrivals = [(max(m.newest_t, leader.newest_t) + 500, m) for m in messages if m is not leader]
    overtaken = journal(
        [[leader], *([m] for _, m in arrivals)], [leader.newest_t + 500, *(at for at, _ in arrivals)]
    )
    clean = settled_rows(in_order(messages))
    learnt = {r["window_start"] for r in clean.rows["anomaly"].values()}
    assert min(learnt) == T0, "expected something to be said of the first quarter of an hour"
    assert_same(clean, settled_rows(overtaken, every_ms=REWRITTEN_MS))


def days(seed: int, n: int) -> list[Message]:
    """Messages of so many winter days, three samples each, with gaps, blanks, a valve that leaks at last and a sensor that breaks."""
    rng = np.random.default_rng(seed)
    messages: list[Message] = []
    for device, share in SHARES.items():
        energy, volume, seq, samples = 100.0, 1000.0, 0, []
        for t in range(T0 + int(rng.integers(0, STEP_MS)), T0 + n * DAY_MS, STEP_MS):
            outdoor = -6 + 5 * math.sin(2 * math.pi * (t - T0) / DAY_MS) + 2 * math.sin(t / DAY_MS)
            flow = share * (20 - 0.6 * outdoor) * float(rng.uniform(0.95, 1.05))
            supply, back = 85 - 0.5 * outdoor + float(rng.normal(0, 0.2)), 45 + float(rng.normal(0, 0.2))
            if device == "sub-2" and t > T0 + (n - 2) * DAY_MS:
                flow, back = 2 * flow, back + 15  # it lets water through
            if device == "sub-1" and t % DAY_MS < 2 * HOUR_MS:
                supply = 300.0  # its sensor breaks at night
            energy += flow * (supply - back) * 0.0041 * STEP_MS / HOUR_MS
            volume += flow * STEP_MS / HOUR_MS
            values = {
                "flow_m3_h": flow, "supply_c": supply, "return_c": back, "energy_gj": round(energy, 3),
                "volume_m3": round(volume, 2),
            }  # fmt: skip
            if device == "plant":
                values |= {"outdoor_c": outdoor, "makeup_m3": round(volume / 200, 2), "makeup_c": 14.0}
            if rng.random() < 0.01:
                del values["supply_c"]
            if rng.random() > 0.01:
                samples.append((t, values))
            if len(samples) == 3:
                seq += 1
                messages.append(Message(device, T0 - 5, seq, tuple(samples)))
                samples = []
    return messages


def frames(messages: Sequence[Message]) -> list[Frame]:
    """One frame a device class."""
    classes = {"plant": "plant", "meter-1": "meter"}
    made = []
    for name in dict.fromkeys(classes.get(m.device, "substation") for m in messages):
        rows = [
            {"device": m.device, "boot": m.boot, "seq": m.seq, "pos": pos, "t": t, **values}
            for m in messages
            if classes.get(m.device, "substation") == name
            for pos, (t, values) in enumerate(m.samples)
        ]
        batch = pa.RecordBatch.from_pylist(rows, schema=telemetry_schema(name))
        made.append(Frame(FrameKind.TELEMETRY, name, batch))
    return made


def arriving(messages: Sequence[Message], rng: random.Random | None, together: int) -> list[Record]:
    """A journal: each message at once or, with `rng`, up to an hour later; so many in one flush."""
    delayed = [(m.newest_t + (rng.randint(0, HOUR_MS) if rng else 0), m) for m in messages]
    delayed.sort(key=lambda x: (x[0], x[1].device))
    log = Log()
    log.append(registry_frame(WINTER_TEXTS), T0)
    now = T0
    for at in range(0, len(delayed), together):
        *others, last = frames([m for _, m in delayed[at : at + together]])
        for frame in others:
            log.append(frame, now)
        now = delayed[min(at + together, len(delayed)) - 1][0]
        log.append(last, now)
    return log.records


def disturbed(seed: int, n: int) -> Said:
    """Learn days that come shuffled, in other flushes, with stops and pauses, as those in order; what was said."""
    rng = random.Random(seed)
    messages = days(seed, n)
    clean = settled_rows(arriving(messages, None, 24))
    records = arriving(messages, rng, 15)
    cuts = frozenset(rng.sample(range(1, len(records)), 12))
    assert_same(clean, settled_rows(records, every_ms=DAY_MS, cuts=cuts, pauses=7))
    return clean


def forecasts(said: Said) -> int:
    return sum(r["p50_kw"] is not None for r in said.rows["load_forecast"].values())


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [2, 3])
def test_days_of_learning_do_not_hang_on_order_flushes_stops_or_pauses(seed: int) -> None:
    said = disturbed(seed, 9)
    assert forecasts(said) > 1000
    learnt = [r for r in said.rows["anomaly"].values() if r["code"] == "high_return"]
    assert learnt, "expected the valve that leaks to be told of by what was learnt of the days before"
