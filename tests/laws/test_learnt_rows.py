"""What is learnt hangs on the samples alone: not on who spoke first, nor on where a run was cut, nor on pauses."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from models.frame import Frame, Record
from models.restate import RESTATEMENT
from streams.core.operator import Learner, NetworkOperator, WindowOperator, discovered
from streams.core.pipeline import Pipeline
from tests.laws.test_pipeline_laws import in_order, journal
from tests.support.restating import REWRITTEN_MS
from tests.support.results import Said
from tests.support.telemetry import T0, history

MINUTE_MS = 60_000
RESTING = sorted(
    {o.name for o in discovered() if isinstance(o, WindowOperator | NetworkOperator)}
    | {x.measurement for x in discovered() if isinstance(x, Learner)}
)
"""Measurements whose rows rest on samples or on such rows."""


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
