"""What a stream says record by record, and whether one says the same that is restored again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.frame import Frame, Record
from models.results import Outputs
from store.restate import answer
from streams.core.checkpoint import Checkpoint
from streams.core.containing import Failure
from streams.core.operator import Operator
from streams.core.pipeline import Pipeline
from tests.support.asked_store import WrittenWhenAsked

Alter = Callable[[Checkpoint], Checkpoint]
"""Makes of a checkpoint what a pipeline is restored from."""
_UNWRITTEN = 20
"""Records between what is asked and its answer, so that a restatement is under way for some."""


@dataclass
class Run:
    """Records of one stream with all that was said at each.

    Attributes
    ----------
    stream : str
    operators : sequence of Operator or None
    every_ms : int
        How often rows are rewritten. [ms]
    records : list of Record
    said : list of str
        Of each record; of the end too.
    forwards : list of (int, str, bytes)
        What other streams are to know: when it was said (ms UTC), and to whom.
    failures : tuple of Failure
        What could not be computed.
    """

    stream: str
    operators: Sequence[Operator] | None
    every_ms: int
    records: list[Record] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    forwards: list[tuple[int, str, bytes]] = field(default_factory=list)
    failures: tuple[Failure, ...] = ()

    def pipeline(self) -> Pipeline:
        """One that knows nothing yet."""
        return Pipeline(self.stream, self.operators, provisional_every_ms=self.every_ms)

    def restored(self, checkpoint: Checkpoint) -> Pipeline:
        """One that goes on from `checkpoint`."""
        return Pipeline.restore(checkpoint, self.operators, provisional_every_ms=self.every_ms)


def told(pipeline: Pipeline, outputs: Outputs) -> str:
    """Everything that a record gave, and what is asked for after it, as a text that compares."""
    rows = {m: [t.to_pydict() for t in tables] for m, tables in sorted(outputs.rows.items())}
    readings = [t.to_pydict() for t in (*outputs.readings, *outputs.repeats)]
    return repr((rows, readings, outputs.forwards, standing(pipeline)))


def standing(pipeline: Pipeline) -> tuple[Any, ...]:
    """What others ask a pipeline between two records."""
    asked = pipeline.request
    return pipeline.offset, pipeline.now_ms, pipeline.restating, None if asked is None else asked.to_json()


def uncrashed(
    framed: Iterable[tuple[int, Frame]],
    home: Path,
    *,
    stream: str = "u1",
    operators: Sequence[Operator] | None = None,
    every_ms: int,
    hear: Callable[[Outputs], object] = lambda _outputs: None,
) -> Run:
    """Step frames, each at its time (ms UTC), as a stream over a store that answers; and what it says.

    At last now moves on until all is settled and nothing is asked for any more. `hear` is given all that a
    store is.
    """
    run, store = Run(stream, operators, every_ms), WrittenWhenAsked(home / "series.duckdb")
    pipeline, unwritten, answered = run.pipeline(), list[Outputs](), ""

    def step(frame: bytes, at_ms: int) -> None:
        record = Record(stream, pipeline.offset + 1, at_ms, frame)
        outputs = pipeline.step(record)
        run.records.append(record)
        run.said.append(told(pipeline, outputs))
        run.forwards += [(pipeline.now_ms or 0, *forward) for forward in outputs.forwards]
        hear(outputs)
        unwritten.append(outputs)

    def write() -> None:
        nonlocal answered
        store.write(unwritten)
        unwritten.clear()
        request = pipeline.request
        if request is not None and request.name != answered:
            answered = request.name
            for part in list(answer(store, request)):
                step(part.encode(), pipeline.now_ms or 0)

    try:
        for at_ms, frame in framed:
            step(frame.encode(), at_ms)
            if len(unwritten) >= _UNWRITTEN:
                write()
        while (settled := pipeline.settled_ms()) is not None and settled > (pipeline.now_ms or 0):
            step(Frame.heartbeat().encode(), settled)
        while True:
            write()
            step(Frame.heartbeat().encode(), pipeline.now_ms or 0)  # now stands still: all is asked
            if pipeline.request is None:
                break
    finally:
        store.close()
    finished = pipeline.finish()
    hear(finished)
    run.said.append(told(pipeline, finished))
    run.failures = pipeline.all_failures
    return run


def crashed(run: Run, cuts: Iterable[int], alter: Alter = lambda checkpoint: checkpoint) -> Iterator[str]:
    """Step the records again, by a pipeline that is restored before those at `cuts`; where it says otherwise.

    What is restored is the checkpoint taken there, as `alter` makes it.
    """
    again, pipeline = frozenset(cuts), run.pipeline()
    for at, record in enumerate(run.records):
        if at in again:
            before, pipeline = pipeline, run.restored(alter(pipeline.checkpoint()))
            was, is_ = ((*standing(p), p.settled_ms()) for p in (before, pipeline))
            if is_ != was:
                yield f"before record {at}: expected to stand at {was}, got {is_}"
        now = told(pipeline, pipeline.step(record))
        if now != run.said[at]:
            yield f"record {at}: expected {run.said[at]}, got {now}"
    now = told(pipeline, pipeline.finish())
    if now != run.said[-1]:
        yield f"at the end: expected {run.said[-1]}, got {now}"
