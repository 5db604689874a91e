"""A learner that can take nothing in any more with what it knows begins anew, at one step in every mode."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pytest

from models.results import result_schema
from streams.core import learning
from streams.core.network_rows import STEP_MS
from streams.core.operator import discovered, learner
from tests.support.crash_unit import BEGIN_MS, HOUR_MS, unit_stream
from tests.support.crashing import Run, crashed, uncrashed
from tests.support.poisoned import told_of

pytestmark = pytest.mark.contained

MOST = 5
"""So many steps the learners here can bear in mind."""
IN_A_ROW = 4
ODD = range(BEGIN_MS + 2 * HOUR_MS, BEGIN_MS + 4 * HOUR_MS)
"""Steps that nobody can learn from. [ms UTC]"""
_LEARNT = result_schema([pa.field("steps", pa.float64())])


@pytest.fixture(autouse=True)
def _sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    assert learning._GIVEN_UP_AFTER == 96
    monkeypatch.setattr(learning, "_GIVEN_UP_AFTER", IN_A_ROW)


def _row(name: str, steps: int, settled: Any) -> pa.Table:
    row = {
        "key": "n1", "unit": "u1", "region": "r1", "stream": settled.stream, "window_start": settled.start_ms,
        "window_ms": STEP_MS, "steps": float(steps), "coverage": 1.0, "status": "final", "reason": None,
        "revision": 0, "model": f"{name}/1",
    }  # fmt: skip
    return pa.Table.from_pylist([row], schema=_LEARNT)


@learner(reads=("device_heat",), version=1, fields=("steps",), subject="network")
def gathering(state, settled):
    """How many steps there were; more than a few it cannot judge."""
    steps = (state or 0) + 1
    if steps > MOST:
        raise ZeroDivisionError
    return steps, _row("gathering", steps, settled)


@dataclass(frozen=True)
class Sum:
    """A state that makes bytes of itself."""

    steps: int = 0

    def to_bytes(self) -> bytes:
        return json.dumps(self.steps).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        return cls(json.loads(data))


@learner(reads=("device_heat",), version=1, fields=("steps",), subject="network", state=Sum)
def gathering_bytes(state, settled):
    """The same with another kind of state."""
    steps = (state or Sum()).steps + 1
    if steps > MOST:
        raise ZeroDivisionError
    return Sum(steps), _row("gathering_bytes", steps, settled)


@learner(reads=("device_heat",), version=1, fields=("steps",), subject="network")
def odd_steps(state, settled):
    """How many steps there were but for those that nobody can learn from."""
    if settled.start_ms in ODD:
        raise ZeroDivisionError
    steps = (state or 0) + 1
    return steps, _row("odd_steps", steps, settled)


def _run(home: Path, *mine: Any) -> Run:
    operators = (*(o for o in discovered() if o.name in {"reading", "device_heat"}), *mine)
    return uncrashed(unit_stream(1), home, operators=operators, every_ms=400_000)


def _steps(run: Run, name: str) -> list[tuple[int, int]]:
    """Which step after the first, and how many it knew of."""
    told, _ = told_of(run)
    rows = sorted((at, int(r["steps"])) for (_, at), r in told.of(name).items())
    return [((at - rows[0][0]) // STEP_MS, steps) for at, steps in rows]


@pytest.mark.parametrize("mine", [gathering, gathering_bytes])
def test_a_learner_that_fails_for_a_day_begins_anew_and_no_crash_changes_when(mine, tmp_path) -> None:
    run = _run(tmp_path, mine)
    told = _steps(run, mine.name)
    assert len(told) > 12
    each = MOST + IN_A_ROW - 1
    assert told == [(at, at % each + 1) for at, _ in told]
    assert {at % each for at, _ in told} == set(range(MOST)), (
        "it told nothing of steps that it could not take in"
    )
    _, failures = told_of(run)
    (failure,) = failures
    assert (failure.operator, failure.subject) == (mine.name, "u1")
    assert list(crashed(run, range(3, len(run.records), 2))) == []


def test_it_is_said_when_a_learner_begins_anew(tmp_path) -> None:
    run = _run(tmp_path, gathering)
    pipeline, errors = run.pipeline(), list[str]()
    for record in run.records:
        pipeline.step(record)
        errors += [f.error for f in pipeline.failures]
    (told,) = {e for e in errors if e.startswith("BegunAnewError: begins anew")}
    assert "at last for ZeroDivisionError()" in told


def test_steps_that_nobody_can_learn_from_leave_what_is_known(tmp_path) -> None:
    run = _run(tmp_path, odd_steps)
    told = _steps(run, "odd_steps")
    assert [steps for _, steps in told] == list(range(1, len(told) + 1))
    assert told[-1][0] - told[0][0] == len(told) - 1 + len(ODD) // STEP_MS
    assert list(crashed(run, range(3, len(run.records), 7))) == []


def test_a_checkpoint_of_before_learners_began_anew_is_read(tmp_path) -> None:
    run = _run(tmp_path, gathering)
    pipeline = run.pipeline()
    for record in run.records[:60]:
        pipeline.step(record)
    checkpoint = pipeline.checkpoint()
    rows = json.loads(checkpoint.parts["rows"])
    assert rows.pop("failing") is not None
    checkpoint.parts["rows"] = json.dumps(rows).encode()  # type: ignore[index]
    restored = run.restored(checkpoint)
    assert restored.offset == pipeline.offset
