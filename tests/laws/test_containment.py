"""What an operator cannot compute is unknown, alone: in whatever order, after whatever crash."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from models.frame import Frame, Record
from streams.core.containing import Failure, Failures, window_values
from streams.core.entity_operator import (
    Entity,
    EntityOperator,
    EntityRow,
    MarkOperator,
    Marks,
    by_plate,
    entity_operator,
    mark_operator,
)
from streams.core.operator import (
    Learner,
    NetworkOperator,
    Operator,
    SampleOperator,
    WindowOperator,
    discovered,
)
from streams.core.pipeline import Pipeline
from streams.core.rows import Rows
from streams.core.samples import ClassSamples, Samples
from streams.operators.reading import reading
from tests.support.crash_road import road_stream
from tests.support.crash_unit import BEGIN_MS, HOUR_MS, unit_stream
from tests.support.crashing import Run, crashed, uncrashed
from tests.support.poisoned import raising
from tests.support.road import MINUTE_MS, STREAM, Event, Told, road_journal
from tests.support.telemetry import T0

pytestmark = pytest.mark.contained

SUB_2 = range(BEGIN_MS + HOUR_MS, BEGIN_MS + 2 * HOUR_MS)
"""Windows of a device that cannot be computed. [ms UTC]"""
N1 = range(BEGIN_MS + 3 * HOUR_MS, BEGIN_MS + 4 * HOUR_MS)
"""That of its network."""
STEPS = range(BEGIN_MS + 2 * HOUR_MS, BEGIN_MS + 3 * HOUR_MS)
"""What cannot be learnt."""
Said = dict[tuple[str, int], dict[str, Any]]
"""By key and window start."""


def _unit(operators: Sequence[Operator], home: Path) -> tuple[Run, Told]:
    told = Told()
    return uncrashed(unit_stream(1, 5.0), home, operators=operators, every_ms=400_000, hear=told.take), told


def _sub_2(samples: Any, site: Any) -> bool:
    return samples.start_ms in SUB_2 and any(site.ids[d] == "sub-2" for d in samples.devices)


@dataclass
class _Result:
    heat_gj: Any
    coverage: Any
    reason: Any


class _Site:
    def __init__(self, n: int) -> None:
        self.ids = [f"d{i}" for i in range(n)]


@dataclass
class Unit:
    """A unit's stream in which operators of each kind fail, and one in which none does."""

    run: Run
    told: Told
    failures: dict[tuple[str, str], Failure]
    sound: Told
    states: list[tuple[int, Any]]


@pytest.fixture(scope="module")
def unit(tmp_path_factory: pytest.TempPathFactory) -> Unit:
    states: list[tuple[int, Any]] = []

    def step(state: Any, settled: Any) -> bool:
        states.append((settled.start_ms, state))
        return settled.start_ms in STEPS

    about = {
        "device_heat": _sub_2, "network_heat": lambda rows: rows.network.id == "n1" and rows.start_ms in N1,
        "water_normal": step, "fuel_heat": lambda entity: entity.now_ms in N1,
    }  # fmt: skip
    run, told = _unit(raising(about), tmp_path_factory.mktemp("failing"))
    sound, as_ever = _unit(discovered(), tmp_path_factory.mktemp("sound"))
    assert not sound.failures
    return Unit(run, told, {(f.operator, f.subject): f for f in run.failures}, as_ever, states)


def _unlike(rows: Said, sound: Said) -> set[tuple[str, int]]:
    assert rows.keys() == sound.keys()
    return {name for name in rows if rows[name] != sound[name]}


def test_a_device_that_cannot_be_computed_is_unknown_and_its_neighbours_are_as_ever(unit: Unit) -> None:
    heat = unit.told.of("device_heat")
    unlike = _unlike(heat, unit.sound.of("device_heat"))
    assert unlike == {name for name in heat if name[0] == "sub-2" and name[1] in SUB_2}
    assert len(unlike) == 4
    for name in unlike:
        row = heat[name]
        said = (row["status"], row["reason"], row["coverage"], row["heat_gj"])
        assert said == ("unknown", "computing_failed", 0.0, None)
    assert unit.told.of("data_quality") == unit.sound.of("data_quality")
    failure = unit.failures["device_heat", "sub-2"]
    assert failure.error.startswith("ZeroDivisionError: of a test (poisoned.py:")
    assert failure.first_ms < failure.last_ms
    assert "Traceback" in failure.trace


def test_a_network_that_cannot_be_computed_is_unknown_and_other_hours_are_as_ever(unit: Unit) -> None:
    heat, as_ever = unit.told.of("network_heat"), unit.sound.of("network_heat")
    assert heat.keys() == as_ever.keys()
    mine = {name: row for name, row in heat.items() if name[0] == "n1"}
    failed = [row for name, row in mine.items() if name[1] in N1]
    assert [(r["status"], r["reason"], r["loss_gj"]) for r in failed] == [
        ("unknown", "computing_failed", None)
    ]
    others = [name for name in mine if name[1] not in N1 and name[1] not in SUB_2]
    assert len(others) > 3
    for name in others:  # a window rests a little on what was said of those before it
        assert heat[name]["status"] == as_ever[name]["status"]
        now, then = (rows[name]["delivered_gj"] or 0.0 for rows in (heat, as_ever))
        assert now == pytest.approx(then, rel=1e-6)
    assert ("network_heat", "n1") in unit.failures


def test_a_step_that_cannot_be_learnt_leaves_what_is_known(unit: Unit) -> None:
    known = dict(unit.states)
    during = [state for at, state in known.items() if at in STEPS]
    assert len(during) == 4
    assert all(state is during[0] for state in during)
    assert known[STEPS.start - 900_000] is not during[0]
    assert known[STEPS.stop + 900_000] is not during[0]
    assert ("water_normal", "u1") in unit.failures


def test_only_what_was_to_fail_failed_and_an_entity_that_is_whole_again_fails_no_more(unit: Unit) -> None:
    assert unit.failures.keys() == {
        ("device_heat", "sub-2"), ("network_heat", "n1"), ("water_normal", "u1"),
    }  # fmt: skip


def _crashes(run: Run) -> list[str]:
    return list(crashed(run, range(5, len(run.records), 35)))


def test_a_crash_changes_nothing_of_what_cannot_be_computed(unit: Unit) -> None:
    assert _crashes(unit.run) == []


def _road(operators: Iterable[Operator], home: Any) -> tuple[Run, Told]:
    kinds, told = EntityOperator | MarkOperator | SampleOperator, Told()
    mine = [o for o in operators if isinstance(o, kinds)]
    run = uncrashed(road_stream(1), home, stream="h1", operators=mine, every_ms=600_000, hear=told.take)
    return run, told


def _ticket(entity: Any) -> bool:
    """Whether it is about a ticket, once that was weighed twice."""
    return entity.name == "MP1-2" and len(entity.of("weighbridge")) > 1


def test_an_entity_that_cannot_be_computed_keeps_its_names_and_what_rests_on_it_is_unknown(tmp_path) -> None:
    run, told = _road(raising({"weighing": _ticket}), tmp_path / "failing")
    _, whole = _road(discovered(), tmp_path / "sound")
    failures = run.failures
    weighed, as_ever = told.of("weighing"), whole.of("weighing")
    mine = {name for name in as_ever if name[0].split(":")[1] == "MP1-2"}
    assert {n: r for n, r in weighed.items() if n not in mine} == {
        n: r for n, r in as_ever.items() if n not in mine
    }
    kept = [r for n, r in weighed.items() if n in mine]
    assert kept
    for row in kept:
        assert (row["status"], row["reason"], row["mass_kg"]) == ("unknown", "computing_failed", None)
        assert (row["ticket"], row["plate"]) == ("MP1-2", "P1")
    assert ("weighing", "MP1-2") in {(f.operator, f.subject) for f in failures}
    assert [f.error for f in failures if f.operator == "haul"] == [], "it matches without the masses"
    months = [r for n, r in told.of("fulfilment").items()]
    assert {r["status"] for r in months if r["received_kg"] is None} == {"unknown"}
    assert _crashes(run) == []


def test_a_truck_whose_way_cannot_be_marked_has_no_marks_and_others_have_theirs(tmp_path) -> None:
    name = next(o.name for o in discovered() if isinstance(o, MarkOperator) and "truck" in o.reads)
    run, told = _road(raising({name: lambda _samples, _site: True}), tmp_path)
    assert {(f.operator, f.subject) for f in run.failures} == {(name, "truck-1")}
    assert len(told.of("weighing")) > 20
    assert _crashes(run) == []


def _computed(odd: range, n: int) -> tuple[list[str], list[int], Failures]:
    """Reasons of `n` devices of which some are odd, how many were given at each try, and what failed."""
    tried: list[int] = []

    def function(samples: Samples, _site: Any) -> _Result:
        tried.append(len(samples.devices))
        if any(d in odd for d in samples.devices.tolist()):
            raise ZeroDivisionError
        return _Result(1.0, 1.0, "")

    nothing = np.zeros(n, np.int64)
    rows = Rows(np.arange(n), nothing, nothing, nothing, nothing, np.ones((1, n)))
    samples, failures = Samples(0, 900_000, [ClassSamples(("flow_m3_h",), rows)]), Failures()
    operator = WindowOperator("o", ("meter",), 900, _Result, function)
    _, _, reason = window_values(operator, samples, _Site(n), failures)
    return reason.tolist(), tried, failures


def test_an_operator_that_can_compute_nobody_is_not_tried_with_each_alone() -> None:
    reasons, tried, failures = _computed(range(1000), 1000)
    assert set(reasons) == {"computing_failed"}
    assert len(failures.all()) == 1000
    assert tried.count(1) == 32
    assert len(tried) < 120


def test_many_devices_that_fail_among_more_that_do_not_are_all_that_is_unknown() -> None:
    reasons, _, failures = _computed(range(0, 3000, 50), 3000)
    assert [at for at, reason in enumerate(reasons) if reason] == list(range(0, 3000, 50))
    assert len(failures.all()) == 60


def test_what_is_no_property_of_the_input_is_not_contained(tmp_path) -> None:
    def about(*_given: Any) -> bool:
        raise MemoryError

    with pytest.raises(MemoryError):
        _unit(raising({"device_heat": about}), tmp_path)


def test_every_kind_of_operator_over_rows_and_entities_is_tried() -> None:
    kinds = {type(o) for o in discovered()} - {SampleOperator}
    assert kinds >= {WindowOperator, NetworkOperator, Learner, EntityOperator, MarkOperator}


def _fix(seq: int, minute: float) -> Event:
    t = T0 + int(minute * MINUTE_MS)
    return Event("truck-1", seq, t, {"lat_deg": 39.0, "lon_deg": 110.0 + seq / 100})


def _told_of(
    operators: Sequence[Operator], batches: Sequence[Sequence[Event]], minutes: Sequence[float]
) -> Told:
    """Rows after the batches, each at its minute; an empty one is a heartbeat."""
    pipeline, told = Pipeline(STREAM, operators), Told()
    arrivals = [T0 + int(m * MINUTE_MS) for m in minutes]
    for record in road_journal(batches, arrivals[: len(batches)]):
        told.take(pipeline.step(record))
    for minute in minutes[len(batches) :]:
        at_ms = T0 + int(minute * MINUTE_MS)
        told.take(pipeline.step(Record(STREAM, pipeline.offset + 1, at_ms, Frame.heartbeat().encode())))
    return told


@pytest.mark.parametrize("grows", ["", "more"])
def test_marks_made_before_a_device_failed_go_with_those_that_cannot_be_made(grows: Any) -> None:
    @mark_operator(reads=("truck",), grows=grows)
    def fixes(samples: Samples, _site: Any) -> Marks:
        if (samples["lon_deg"] == 110.02).any():
            raise ZeroDivisionError
        return Marks(samples.device, samples.t, {})

    @entity_operator(
        by=by_plate, marks=("fixes",), writes={"fixed": {"n": pa.int64()}}, horizon_s=86_400, reach_s=86_400,
        names=lambda _site: ("P1",),
    )  # fmt: skip
    def fixed(entity: Entity) -> Iterable[EntityRow]:
        yield EntityRow("fixed", entity.name, T0, 0, "u1", {"n": len(entity.of("fixes"))}, entity.now_ms + 1)

    def count(fixes_sent: int) -> Any:
        batches = [[_fix(n, n)] for n in range(1, fixes_sent + 1)]
        minutes = [n + 2 for n in range(fixes_sent)]
        (row,) = _told_of((reading, fixes, fixed), batches, minutes).of("fixed").values()
        return row["n"]

    assert [count(n) for n in (1, 2, 3, 4)] == [1, 0, 0, 0], "as if each began with the whole window"


def test_an_entity_of_which_nothing_new_comes_is_tried_again_after_an_hour() -> None:
    tried: list[int] = []

    @entity_operator(
        by=by_plate, events=(), writes={"seen": {"n": pa.int64()}}, horizon_s=86_400, reach_s=86_400,
        names=lambda _site: ("P1",),
    )  # fmt: skip
    def seen(entity: Entity) -> Iterable[EntityRow]:
        tried.append((entity.now_ms - T0) // MINUTE_MS)
        if entity.now_ms < T0 + 40 * MINUTE_MS:
            raise ZeroDivisionError
        yield EntityRow("seen", entity.name, T0, 0, "u1", {"n": 1}, entity.now_ms)

    told = _told_of((seen,), [], [1, 2, 30, 59, 61, 62])
    assert tried == [0, 61]
    assert [r["n"] for r in told.of("seen").values()] == [1]


def test_what_can_be_computed_again_is_no_failure_any_more_and_numbers_in_an_error_make_no_other() -> None:
    failures = Failures(now_ms=1)
    for number in (1, 2):
        try:
            raise ValueError(f"odd {number}")
        except ValueError as error:
            failures.note("o", "d", error)
        failures.now_ms += 1
    (failure,) = failures.all()
    assert (failure.first_ms, failure.last_ms) == (1, 2)
    assert failure.error.startswith("ValueError: odd 2 (")
    failures.forget("o", "d")
    assert failures.all() == ()
