"""A stream with its store: steps records, keeps what follows, and answers what the stream asks of the store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.frame import Frame, Record
from models.results import READING
from store.protocol import Select
from store.restate import answer
from streams.core.pipeline import Pipeline
from tests.support.asked_store import WrittenWhenAsked

Row = dict[str, Any]
REWRITTEN_MS = 400_000
"""How often rows are rewritten while windows of a quarter of an hour fill: twice, as each time costs a window."""


class StoredStream:
    """Runs a pipeline as a runtime does: step, write, answer; the journal is a list.

    Parameters
    ----------
    path : Path
        Of the store's file.
    operators
        As of `Pipeline`.
    write_every : int
        How many records are stepped before their results are written.
    """

    def __init__(self, path: Path, operators=None, *, write_every: int = 50, stream: str = "u1"):
        self.store = WrittenWhenAsked(path)
        self.journal: list[Record] = []
        self.operators = operators
        self.pipeline = Pipeline(stream, operators, provisional_every_ms=REWRITTEN_MS)
        self._every = write_every
        self._unwritten = []
        self._answered = ""

    def step(self, frame: bytes, timestamp_ms: int) -> None:
        """Take in the next record."""
        record = Record(self.pipeline.stream, self.pipeline.offset + 1, timestamp_ms, frame)
        self.journal.append(record)
        self._unwritten.append(self.pipeline.step(record))
        if len(self._unwritten) >= self._every:
            self.write()

    def write(self) -> None:
        """Write what was computed, then answer what is asked."""
        self.store.write(self._unwritten)
        self._unwritten = []
        request = self.pipeline.request
        if request is not None and request.name != self._answered:
            self._answered = request.name
            for part in list(answer(self.store, request)):
                frame = part.encode()
                assert len(frame) <= 512 * 1024
                self.step(frame, self.pipeline.now_ms)

    def crash(self) -> None:
        """Go on from a checkpoint taken now by another pipeline."""
        self.write()
        self.pipeline = Pipeline.restore(
            self.pipeline.checkpoint(), self.operators, provisional_every_ms=REWRITTEN_MS
        )

    def settle(self) -> None:
        """Move now on until all is final, restatements too."""
        while (settled := self.pipeline.settled_ms()) is not None and settled > self.pipeline.now_ms:
            self.step(Frame.heartbeat().encode(), settled)
        for _ in range(10_000):
            self.write()
            if self.pipeline.request is None and not self._unwritten and self.pipeline.ask() is None:
                return
        raise AssertionError("expected restatement to end")

    def rows(self, measurement: str, *without: str) -> dict[tuple[str, int], Row]:
        """Rows of a measurement as the store has them, less the columns `without`."""
        table = self.store.select(Select(measurement, withdrawn=True)).drop_columns(list(without))
        return {(r["key"], r["window_start"]): r for r in table.to_pylist()}

    def readings(self) -> int:
        return self.store.counts().get(READING, 0)


def run_all(stream: StoredStream, records: Sequence[Record]) -> StoredStream:
    """Step `records` and settle."""
    for record in records:
        stream.step(record.frame, record.timestamp_ms)
    stream.settle()
    return stream
