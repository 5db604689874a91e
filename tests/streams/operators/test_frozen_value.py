"""A value that stands still for longer than it ever did: told once, the same however the samples came."""

from __future__ import annotations

import json
import random
from itertools import groupby

import numpy as np
import pytest

from models.anomaly import ANOMALY
from models.frame import Frame, Record
from streams.core.checkpoint import Checkpoint
from streams.core.pipeline import Pipeline
from streams.operators.data_quality import data_quality
from streams.operators.device_heat import device_heat
from streams.operators.frozen_value import FrozenState, frozen_value
from tests.laws.test_pipeline_laws import journal
from tests.support.results import Said
from tests.support.telemetry import T0, Message

STEP_MS = 900_000
HOURS = 30
FROZEN = (T0 + 22 * 3_600_000, T0 + 26 * 3_600_000)
OPERATORS = (frozen_value, device_heat, data_quality)


def history(seed: int, *, frozen: bool = True) -> list[Message]:
    """Two substations at a minute: one whose supply freezes, one where nothing flows, with a steady set point."""
    rng = np.random.default_rng(seed)
    messages = []
    for device, flows in (("sub-1", False), ("sub-2", True)):
        t = np.arange(T0, T0 + HOURS * 3_600_000, 60_000)
        supply = (
            np.round(rng.uniform(86, 94, len(t)) * 2) / 2
        )  # half a degree: some runs are of several readings
        if frozen and flows:
            supply[(t >= FROZEN[0]) & (t < FROZEN[1])] = 91.3
        flow = (
            rng.uniform(5, 6, len(t))
            if flows
            else np.where(t < T0 + 20 * 3_600_000, 5 + rng.random(len(t)), 0)
        )
        for at in range(0, len(t), 15):
            samples = tuple(
                (
                    int(t[i]),
                    {"supply_c": float(supply[i]), "flow_m3_h": float(flow[i]), "secondary_setpoint_c": 55.0},
                )
                for i in range(at, at + 15)
            )
            messages.append(Message(device, T0 - 5, at // 15 + 1, samples))
    return sorted(messages, key=lambda m: (m.newest_t, m.device))


def run(records: list[Record], *, every: int | None = None, crash: frozenset[int] = frozenset()) -> dict:
    pipeline = Pipeline("u1", OPERATORS, provisional_every_ms=every)
    said = Said()
    for at, record in enumerate(records):
        said.take([pipeline.step(record)])
        if at in crash:
            kept = pipeline.checkpoint()
            pipeline = Pipeline.restore(
                Checkpoint(kept.stream, kept.offset, dict(kept.parts)), OPERATORS, provisional_every_ms=every
            )
    settled = Record("u1", records[-1].offset + 1, pipeline.settled_ms(), Frame.heartbeat().encode())
    said.take([pipeline.step(settled)])
    return said.rows.get(ANOMALY, {})


def in_order(messages: list[Message]) -> list[Record]:
    return journal([[m] for m in messages], [m.newest_t + 500 for m in messages])


def test_a_frozen_value_is_told_with_its_evidence_and_its_end_and_nothing_else_is():
    rows = run(in_order(history(1)))
    assert len(rows) == 1, rows
    (row,) = rows.values()
    # Usual are runs of three or four minutes: the first quarter that is frozen throughout says it.
    assert (row["subject"], row["code"], row["window_start"]) == ("sub-2", "frozen_value", FROZEN[0])
    assert (row["until"], row["state"], row["model"]) == (FROZEN[1], "ended", "frozen_value/1")
    (channel,) = json.loads(row["evidence"])["channels"]
    assert (channel["channel"], channel["value"], channel["since"]) == ("supply_c", 91.3, FROZEN[0])
    assert channel["run_s"] == (FROZEN[1] - FROZEN[0] - 60_000) / 1000
    supply = [v["supply_c"] for m in history(1) if m.device == "sub-2" for t, v in m.samples if t < FROZEN[0]]
    lengths = sorted((len(list(g)) - 1) * 60 for _, g in groupby(supply))
    longest_s = lengths[int(np.ceil(0.999 * len(lengths))) - 1]
    assert longest_s <= channel["usual_s"] <= 1.19 * longest_s
    assert channel["runs_known"] == pytest.approx(len(lengths), abs=1)
    assert row["score"] == pytest.approx(channel["run_s"] / 3 / channel["usual_s"])
    assert not run(in_order(history(1, frozen=False)))


def test_it_is_active_while_it_lasts():
    records = [r for r in in_order(history(2)) if r.timestamp_ms < FROZEN[1]]
    pipeline, said = Pipeline("u1", OPERATORS, provisional_every_ms=None), Said()
    for record in records:
        said.take([pipeline.step(record)])
    (row,) = said.rows[ANOMALY].values()
    assert (row["state"], row["until"]) == ("active", FROZEN[1] - 2 * STEP_MS)


def test_a_flag_changes_no_coverage():
    def heat(frozen: bool):
        pipeline, said = Pipeline("u1", OPERATORS, provisional_every_ms=None), Said()
        for record in in_order(history(1, frozen=frozen)):
            said.take([pipeline.step(record)])
        return {
            k: (r["coverage"], r["status"], r["reason"])
            for name in ("device_heat", "data_quality")
            for k, r in said.rows[name].items()
        }

    assert heat(True) == heat(False)


@pytest.mark.parametrize("seed", [2])
def test_order_duplication_splitting_and_crashes_change_nothing(seed: int):
    messages = history(seed)
    clean = run(in_order(messages))
    assert clean
    rng = random.Random(seed)
    arrivals = [(m.newest_t + rng.randint(0, STEP_MS - 20_000), m) for m in messages]
    arrivals += [(at + rng.randint(0, 3_600_000), m) for at, m in arrivals if rng.random() < 0.2]
    arrivals.sort(key=lambda a: (a[0], a[1].device))
    # A message holds a quarter of an hour: what is held back stays within the lateness of its first sample.
    split = [[m] if rng.random() < 0.5 else [m, m] for _, m in arrivals]
    disordered = journal(split, [at for at, _ in arrivals])
    crashes = frozenset(rng.sample(range(len(disordered)), 20))
    assert run(disordered, crash=crashes) == clean
    assert run(in_order(messages), every=10_000) == clean


def test_state_goes_through_bytes_and_the_same_state_gives_the_same_bytes():
    pipeline = Pipeline("u1", OPERATORS, provisional_every_ms=None)
    for record in in_order(history(3))[:150]:
        pipeline.step(record)
    data = pipeline.checkpoint().parts["learnt/frozen_value"][4:]
    assert FrozenState.from_bytes(data).to_bytes() == data
    assert FrozenState.from_bytes(data).runs["substation"].counts.sum() > 1_000


def test_a_learner_of_another_version_begins_anew():
    pipeline = Pipeline("u1", OPERATORS, provisional_every_ms=None)
    records = in_order(history(3))
    for record in records[:150]:
        pipeline.step(record)
    kept = pipeline.checkpoint()
    parts = dict(kept.parts)
    parts["learnt/frozen_value"] = b"\x63" + parts["learnt/frozen_value"][1:]
    again = Pipeline.restore(
        Checkpoint(kept.stream, kept.offset, parts), OPERATORS, provisional_every_ms=None
    )
    assert "learnt/frozen_value" not in again.checkpoint().parts
    again.step(records[150])
