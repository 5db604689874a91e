"""A truck that leaves the usual way is told with its plate, the same however its fixes came."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace

from models.anomaly import ANOMALY
from models.frame import Frame, Record
from streams.core.pipeline import Pipeline
from streams.operators.data_quality import data_quality
from streams.operators.route_deviation import RouteState, route_deviation
from tests.support.results import Said
from tests.support.telemetry import T0
from tests.support.trucks import (
    DEGREE_M,
    TRUCK_STREAM,
    disordered,
    minutes,
    truck_history,
    truck_journal,
)

OPERATORS = (route_deviation, data_quality)
HOURS = 8.0
OFF_M = 3_000.0


def history(seed):
    """Three trucks to and fro; the first leaves the road by 3 km on its last whole way in the eighth hour."""
    strayed = []
    for m in truck_history(seed, hours=HOURS, bad=False):
        ((t, v),) = m.samples
        north = (v["lat_deg"] - 39.0) * DEGREE_M
        if m.device == "truck-1" and t > T0 + 6 * 3_600_000 and 3_000 < north < 9_000:
            east = OFF_M / (DEGREE_M * math.cos(math.radians(39.0)))
            v = {**v, "lon_deg": v["lon_deg"] + east}
        strayed.append(replace(m, samples=((t, v),)))
    return strayed


def run(records, crash=frozenset()):
    pipeline, said = Pipeline(TRUCK_STREAM, OPERATORS, provisional_every_ms=None), Said()
    for at, record in enumerate(records):
        said.take([pipeline.step(record)])
        if at in crash:
            pipeline = Pipeline.restore(pipeline.checkpoint(), OPERATORS, provisional_every_ms=None)
    end = Record(
        TRUCK_STREAM, records[-1].offset + 1, T0 + int((HOURS + 2) * 3_600_000), Frame.heartbeat().encode()
    )
    said.take([pipeline.step(end)])
    return said.rows.get(ANOMALY, {}), pipeline


def test_it_is_told_of_the_plate_with_where_and_how_far():
    rows, pipeline = run(truck_journal(*minutes(history(1))))
    assert rows
    for row in rows.values():
        assert (row["subject"], row["code"], row["model"]) == (
            "plate:P1",
            "route_deviation",
            "route_deviation/2",
        )
        evidence = json.loads(row["evidence"])
        assert 0.8 * OFF_M < evidence["off_m"] < 1.2 * OFF_M
        assert T0 + 6 * 3_600_000 < evidence["since"] < row["until"]
    assert "ended" in {row["state"] for row in rows.values()}  # the last may go on at the end
    data = pipeline.checkpoint().parts["learnt/route_deviation"][4:]
    assert RouteState.from_bytes(data).to_bytes() == data


def test_order_duplication_splitting_and_crashes_change_nothing():
    messages, rng = history(2), random.Random(2)
    records = truck_journal(*disordered(messages, rng))
    crashes = frozenset(rng.sample(range(len(records)), 5))
    assert run(records, crashes)[0] == run(truck_journal(*minutes(messages)))[0] != {}
