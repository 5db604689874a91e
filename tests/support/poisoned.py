"""Operators that raise where they are given what they are to raise about, and streams of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from streams.core.containing import Failure
from streams.core.entity_operator import EntityOperator, MarkOperator
from streams.core.operator import Operator, SampleOperator, discovered
from tests.support.crash_road import road_stream
from tests.support.crashing import Run, crashed, uncrashed
from tests.support.road import Told


def raising(about: Mapping[str, Callable[..., bool]]) -> tuple[Operator, ...]:
    """All operators, those named raising where they are given what they are to raise about."""

    def with_poison(operator: Any) -> Any:
        def function(*given: Any) -> Any:
            if about[operator.name](*given):
                raise ZeroDivisionError("of a test")
            return operator.function(*given)

        return replace(operator, function=function) if operator.name in about else operator

    found = discovered()
    assert about.keys() <= {o.name for o in found}
    return tuple(map(with_poison, found))


def told_of(run: Run) -> tuple[Told, tuple[Failure, ...]]:
    """Rows as a store has them, and what failed."""
    pipeline, told = run.pipeline(), Told()
    for record in run.records:
        told.take(pipeline.step(record))
    told.take(pipeline.finish())
    return told, pipeline.all_failures


def of_the_road(operators: Iterable[Operator]) -> list[Operator]:
    """Those that a haulage stream has."""
    return [o for o in operators if isinstance(o, EntityOperator | MarkOperator | SampleOperator)]


def road(operators: Iterable[Operator], home: Path) -> Run:
    """A haulage stream's life by operators."""
    return uncrashed(road_stream(1), home, stream="h1", operators=of_the_road(operators), every_ms=600_000)


def crashes(run: Run) -> list[str]:
    """What a stream says otherwise that is restored again and again."""
    return list(crashed(run, range(5, len(run.records), 17)))
