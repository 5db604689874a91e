"""A learner that can take nothing in any more with what it knows begins anew, at one step in every mode."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa
import pytest

from models.results import result_schema
from streams.core import learning
from streams.core.containing import Failure
from streams.core.network_rows import STEP_MS
from streams.core.operator import discovered, learner
from tests.support.crash_unit import BEGIN_MS, HOUR_MS, unit_stream
from tests.support.crashing import Run, crashed, uncrashed
from tests.support.poisoned import told_of
from tests.support.road import Told

pytestmark = pytest.mark.contained

MOST = 5
"""So many steps the learners here can bear in mind."""
IN_A_ROW = 4
ODD = range(BEGIN_MS + 2 * HOUR_MS, BEGIN_MS + 4 * HOUR_MS)
"""Steps that nobody can learn from. [ms UTC]"""
_LEARNT = result_schema([pa.field("steps", pa.float64())])


@pytest.fixture(scope="module", autouse=True)
def _sooner() -> Iterator[None]:
    assert learning._GIVEN_UP_AFTER == 96
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(learning, "_GIVEN_UP_AFTER", IN_A_ROW)
        yield


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


MINE = (gathering, gathering_bytes, odd_steps)


@pytest.fixture(scope="module")
def run(_sooner: None, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A stream in which each of them learns."""
    operators = (*(o for o in discovered() if o.name in {"reading", "device_heat"}), *MINE)
    home = tmp_path_factory.mktemp("learnt")
    return uncrashed(unit_stream(1), home, operators=operators, every_ms=400_000)


@pytest.fixture(scope="module")
def told(run: Run) -> tuple[Told, tuple[Failure, ...]]:
    return told_of(run)


def _steps(told: Told, name: str) -> list[tuple[int, int]]:
    """Which step after the first, and how many it knew of."""
    rows = sorted((at, int(r["steps"])) for (_, at), r in told.of(name).items())
    return [((at - rows[0][0]) // STEP_MS, steps) for at, steps in rows]


@pytest.mark.parametrize("mine", [gathering, gathering_bytes])
def test_a_learner_that_fails_for_a_day_begins_anew(mine, told) -> None:
    rows, failures = told
    steps = _steps(rows, mine.name)
    assert len(steps) > 12
    each = MOST + IN_A_ROW - 1
    assert steps == [(at, at % each + 1) for at, _ in steps]
    assert {at % each for at, _ in steps} == set(range(MOST)), (
        "it told nothing of steps that it could not take in"
    )
    assert (mine.name, "u1") in {(f.operator, f.subject) for f in failures}


def test_steps_that_nobody_can_learn_from_leave_what_is_known(told) -> None:
    steps = _steps(told[0], "odd_steps")
    assert [n for _, n in steps] == list(range(1, len(steps) + 1))
    assert steps[-1][0] - steps[0][0] == len(steps) - 1 + len(ODD) // STEP_MS


def test_no_crash_changes_when_one_begins_anew_or_what_it_knows(run) -> None:
    assert list(crashed(run, range(3, len(run.records), 3))) == []


def test_it_is_said_when_a_learner_begins_anew_and_a_checkpoint_of_before_it_did_is_read(run) -> None:
    pipeline, errors = run.pipeline(), list[str]()
    for record in run.records:
        pipeline.step(record)
        errors += [f.error for f in pipeline.failures if f.operator == "gathering"]
        if record.offset == 60:
            checkpoint = pipeline.checkpoint()
            rows = json.loads(checkpoint.parts["rows"])
            assert rows.pop("failing") is not None
            checkpoint.parts["rows"] = json.dumps(rows).encode()  # type: ignore[index]
            assert run.restored(checkpoint).offset == 60
    (said,) = {e for e in errors if e.startswith("BegunAnewError: begins anew")}
    assert "at last for ZeroDivisionError()" in said
