"""A stream that is restored says, record by record, what one says that never stopped; nothing it keeps is kept in vain."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Final

import pytest

from streams.core.checkpoint import Checkpoint
from streams.core.entity_operator import EntityOperator, MarkOperator
from streams.core.operator import SampleOperator, discovered
from tests.support.crash_road import road_stream
from tests.support.crash_unit import unit_stream
from tests.support.crashing import Run, crashed, uncrashed
from tests.support.forgetting import Field, fields_of, forgetting

UNIT_APART, ROAD_APART = 17, 3
"""Records between two crashes; the first comes while the stream has hardly begun."""
EXCUSED: Final = {
    "*.version": "what another version wrote is refused, or read otherwise",
    "carry.*.boot": "neighbours of windows are told apart by device and time; samples have this column, too",
    "carry.*.seq": "as boot",
    "carry.*.pos": "as boot",
    "ledger.days.restated_ms": "keeps settled days from being told again within a minute: rows are rarer here",
    "ledger.days.before": "settled days change only near the end: what was said of them is told at once",
    "ledger.days.revisions": "as before: none changes twice",
    "ledger.deliveries.*.floor_ms": "days are one with others only when ten have passed",
    "ledger.deliveries.*.boots.*.7": "no message with a used number comes again after a crash",
    "rows.events.*.2": "only a draw is booked with another accuracy, and no known balance is told again with one",
    "meta.next_segment": "a number for people: names of segments have the digest of what is in them",
    "row.pipe_loss": "what was learnt is read a day later: see the law of learners",
    "row.signature": "as of pipe_loss",
}
"""Fields that may be forgotten without anybody seeing it, and why."""


def _first(run: Run, field: Field, apart: int) -> str | None:
    """Where a stream that forgets `field` at every crash says otherwise for the first time, if ever."""
    fresh = run.pipeline().checkpoint()

    def without(checkpoint: Checkpoint) -> Checkpoint:
        try:
            return forgetting(checkpoint, field, fresh)
        except Exception as error:  # noqa: BLE001  it is the test that fails then, not the stream
            pytest.fail(f"expected {'.'.join(field)} to be forgotten, got {error!r}")

    return next(crashed(run, range(5, len(run.records), apart), without), None)


def _kept(run: Run, apart: int) -> set[Field]:
    """Fields that hold something at a crash."""
    found, pipeline = set[Field](), run.pipeline()
    for at, record in enumerate(run.records):
        if at % apart == 5 % apart:
            found |= fields_of(pipeline.checkpoint())
        pipeline.step(record)
    return found


@pytest.fixture(scope="module")
def unit(tmp_path_factory) -> Run:
    return uncrashed(unit_stream(1), tmp_path_factory.mktemp("unit"), every_ms=400_000)


def _road(seed: int, home: Path) -> Run:
    kinds = EntityOperator | MarkOperator | SampleOperator
    operators = [o for o in discovered() if isinstance(o, kinds)]
    return uncrashed(road_stream(seed), home, stream="h1", operators=operators, every_ms=600_000)


@pytest.fixture(scope="module")
def road(tmp_path_factory) -> Run:
    return _road(1, tmp_path_factory.mktemp("road"))


def test_a_stream_that_is_restored_again_and_again_says_what_one_says_that_never_was(unit: Run) -> None:
    said = "".join(unit.said)
    for seen in ("'final'", "'unknown'", "'backlog'", "'restatement'"):
        assert seen in said, f"expected a history with {seen}"
    assert next(crashed(unit, range(5, len(unit.records), UNIT_APART)), None) is None


def test_entities_that_are_restored_say_what_they_say_that_never_were(road: Run) -> None:
    assert "'withdrawn'" in "".join(road.said)
    assert next(crashed(road, range(5, len(road.records), ROAD_APART)), None) is None


@pytest.mark.parametrize("field", [
    "meta.refreshed_ms", "meta.latenesses_ms", "meta.floor_ms", "meta.closed_at_ms", "rows.settled_to_ms",
    "meta.born_interval_s",
])  # fmt: skip
def test_a_part_of_the_state_that_is_forgotten_is_seen(unit: Run, field: str) -> None:
    assert _first(unit, tuple(field.split(".")), UNIT_APART) is not None


@pytest.fixture(scope="module")
def disordered(tmp_path_factory) -> Run:
    """A life in which a counter falls since an older reading came after a newer one."""
    life = islice(unit_stream(1, 4.0), 130)  # soon after that
    return uncrashed(life, tmp_path_factory.mktemp("disordered"), every_ms=400_000)


def test_that_a_counter_fell_outlives_a_crash(disordered: Run) -> None:
    """Else fewer quarters are restated than of a stream that never stopped."""
    fell = range(117, 122)
    assert next(crashed(disordered, fell), None) is None
    fresh = disordered.pipeline().checkpoint()
    told = next(crashed(disordered, fell, lambda c: forgetting(c, ("meta", "fell"), fresh)), None)
    assert told is not None, "expected that it is kept for something"


def test_a_checkpoint_of_before_it_was_kept_is_read(disordered: Run) -> None:
    def older(checkpoint: Checkpoint) -> Checkpoint:
        meta = json.loads(checkpoint.parts["meta"])
        del meta["fell"]
        parts = {**checkpoint.parts, "meta": json.dumps(meta).encode()}
        return Checkpoint(checkpoint.stream, checkpoint.offset, parts)

    assert next(crashed(disordered, range(5, 110, 35), older), None) is None


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_no_field_of_a_checkpoint_is_forgotten_unseen(
    unit: Run, road: Run, disordered: Run, tmp_path
) -> None:
    road_2 = _road(2, tmp_path)
    seen, kept = set[Field](), set[Field]()
    lives = ((road, ROAD_APART, 2), (road_2, ROAD_APART, 2), (unit, UNIT_APART, 4), (disordered, 4, 2))
    for run, apart, closer in lives:
        mine = _kept(run, apart)
        for between in (apart, closer):
            seen |= {field for field in sorted(mine - seen) if _is_seen(run, field, between)}
        kept |= mine
        print(f"{run.stream}: {len(seen)} of {len(kept)} fields seen", flush=True)
    left = {".".join(f) if f[-1] != "version" else "*.version" for f in kept - seen}
    assert left == EXCUSED.keys()


def _is_seen(run: Run, field: Field, apart: int) -> bool:
    """Whether it is noticed that a stream forgets a field; one that then fails is noticed."""
    try:
        return _first(run, field, apart) is not None
    except Exception as error:  # noqa: BLE001  a stream may fail in any way
        print(f"{'.'.join(field)}: {error!r}")
        return True
