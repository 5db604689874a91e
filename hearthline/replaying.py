"""History through the same pipeline, offline: recordings in, one Parquet file a measurement out."""

from __future__ import annotations

import json
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Final, TypeVar

import pyarrow.compute as pc
import pyarrow.parquet as pq

from hearthline.threads import share_fairly
from ingest.decode import Decoder
from ingest.history import Chapter, read_history
from journal.replay_files import read_recordings
from models.frame import Frame, FrameKind, Record
from models.results import Outputs
from models.site import Site
from store import restate
from store.duckdb_series import DuckdbSeries
from store.protocol import Select, SeriesStore
from streams.core.pipeline import Pipeline

__all__ = ["Replayed", "replay"]

_WRITE_ROWS: Final = 100_000
_T = TypeVar("_T")


@dataclass(slots=True)
class Replayed:
    """What a replay did.

    Attributes
    ----------
    messages, dead_letters : int
    seconds : float
        Wall time. [s]
    rows : dict of str to int
        Rows by measurement.
    failing : list of str
        What operators could not compute, and why: it is unknown.
    """

    messages: int = 0
    dead_letters: int = 0
    seconds: float = 0.0
    rows: dict[str, int] = field(default_factory=dict)
    failing: list[str] = field(default_factory=list)


class _Streams:
    """The pipelines of a replay and what they gave that is not written yet.

    Parameters
    ----------
    site : Site
    write : callable
        Given what a leap of now gave so far, once that is much.

    Attributes
    ----------
    timed : bool
        Whether the recording says when messages came; else streams begin with their oldest sample.
    """

    def __init__(self, site: Site, write: Callable[[Sequence[Outputs]], None]):
        payload = json.dumps(dict(site.texts))
        row = {"device": "", "kind": "registry", "payload": payload}
        self._registry = Frame.events([row], FrameKind.REGISTRY).encode()
        self.timed = True
        self.pipelines: dict[str, Pipeline] = {}
        self._outputs: dict[str, Outputs] = {}
        self._forwards: deque[tuple[str, bytes]] = deque()
        self._rows = 0
        self._write = write

    def step(self, stream: str, frame: Frame, timestamp_ms: int) -> None:
        """Feed one frame, as the next record of its stream.

        The registry holds from the beginning of time: a first frame may span months,
        and at its own time all but its newest samples would be late.
        """
        oldest_ms = min(timestamp_ms, _oldest_ms(frame, timestamp_ms))
        pipeline = self._pipeline(stream, oldest_ms)
        if not self.timed:
            pipeline.begin_at(oldest_ms)
        for part in pipeline.steps(Record(stream, pipeline.offset + 1, timestamp_ms, frame.encode())):
            self._take(part)
            if pipeline.leap is not None:
                self._write(self.give(at_least=_WRITE_ROWS))
        self._forward(timestamp_ms)

    def _pipeline(self, stream: str, begin_ms: int) -> Pipeline:
        """The stream's, which knows the registry; made at its first frame."""
        pipeline = self.pipelines.get(stream)
        if pipeline is None:
            pipeline = self.pipelines[stream] = Pipeline(stream, provisional_every_ms=None)
            if not self.timed:  # one may only ever hear of others' rows
                pipeline.begin_at(begin_ms)
            self._take(pipeline.step(Record(stream, 0, begin_ms, self._registry)))
        return pipeline

    def _forward(self, now_ms: int) -> set[str]:
        """Step what streams have to tell each other; who was told something."""
        told: set[str] = set()
        while self._forwards:
            stream, frame = self._forwards.popleft()
            pipeline = self._pipeline(stream, now_ms)
            at_ms = now_ms if pipeline.now_ms is None else pipeline.now_ms
            self._take(pipeline.step(Record(stream, pipeline.offset + 1, at_ms, frame)))
            told.add(stream)
        return told

    def settle(self) -> None:
        """Move every stream's now on until all that has samples is final."""
        heartbeat = Frame.heartbeat()
        for stream, pipeline in list(self.pipelines.items()):
            settled_ms = pipeline.settled_ms()
            if settled_ms is not None:
                self.step(stream, heartbeat, settled_ms)
        self._finish(set(self.pipelines))

    def _finish(self, streams: set[str]) -> None:
        """Let streams say what is left, and those who hear of it too."""
        while streams:
            for stream in sorted(streams):
                self._take(self.pipelines[stream].finish())
            streams = self._forward(0)

    def restate(self, store: SeriesStore) -> None:
        """Compute again what came later than the lateness, from `store`, which has all that was computed."""
        for stream, pipeline in list(self.pipelines.items()):
            asked = False
            while (request := pipeline.ask()) is not None:
                asked = True
                for part in list(restate.answer(store, request)):
                    record = Record(stream, pipeline.offset + 1, pipeline.now_ms or 0, part.encode())
                    self._take(pipeline.step(record))
                store.write(self.give(at_least=0))
            if asked:
                self._finish({stream})
                store.write(self.give(at_least=0))

    def _take(self, outputs: Outputs) -> None:
        self._forwards.extend(outputs.forwards)
        outputs.forwards.clear()
        held = self._outputs.get(outputs.stream)
        if held is None:
            self._outputs[outputs.stream] = outputs
        else:
            held.merge(outputs)
        tables = [*outputs.readings, *chain.from_iterable(outputs.rows.values())]
        self._rows += sum(t.num_rows for t in tables)

    def give(self, *, at_least: int) -> list[Outputs]:
        """Outputs to write, once they have so many rows."""
        if self._rows < at_least:
            return []
        given = [o for o in self._outputs.values() if not o.empty]
        self._outputs, self._rows = {}, 0
        return given


def _oldest_ms(frame: Frame, otherwise_ms: int) -> int:
    """Time of the oldest sample of `frame`, `otherwise_ms` where it has none. [ms UTC]"""
    if frame.kind is not FrameKind.TELEMETRY or not frame.batch.num_rows:
        return otherwise_ms
    return int(pc.min(frame.batch.column("t")).as_py())


def replay(
    files: Sequence[Path],
    site: Site,
    out: Path,
    *,
    latest_ms: int | None = None,
    progress: Callable[[float, int], None] = lambda _share, _n: None,
) -> Replayed:
    """Run recordings through every operator and write one Parquet file a measurement into `out`.

    Decoding, computing and storing overlap, each in a thread of its own: most of
    their work is done in libraries that let the others run.

    Parameters
    ----------
    files : sequence of Path
        Recordings, read in their order.
    site : Site
    out : Path
        Directory; made when there is none.
    latest_ms : int, optional
        The present, by which samples of a recording without times are in the future. [ms UTC]
    progress : callable
        Called with the share that was read and the number of messages so far.

    Raises
    ------
    journal.replay_files.ReplayError
        A file cannot be read; names file and line.
    """
    began = time.perf_counter()
    share_fairly()
    out.mkdir(parents=True, exist_ok=True)
    done = Replayed()
    with tempfile.TemporaryDirectory(prefix=".replay-", dir=out) as scratch:
        store = DuckdbSeries(Path(scratch) / "series.duckdb", memory_limit="4GB")
        try:
            writer = _Behind(store.write)
            streams = _Streams(site, writer.put)
            for chapter in _ahead(read_history(read_recordings(files), Decoder(site), latest_ms)):
                _feed(chapter, streams, done)
                progress(chapter.progress, done.messages)
                writer.put(streams.give(at_least=_WRITE_ROWS))
            streams.settle()
            writer.put(streams.give(at_least=0))
            writer.finish()
            streams.restate(store)
            done.rows = _export(store, out)
        finally:
            store.close()
    done.failing = [
        f"{stream}: {f.operator} cannot compute {f.subject}, which is unknown: {f.error}"
        for stream, pipeline in sorted(streams.pipelines.items())
        for f in pipeline.all_failures
    ]
    done.dead_letters = done.rows.get("dead_letter", 0)
    done.seconds = round(time.perf_counter() - began, 3)
    return done


def _feed(chapter: Chapter, streams: _Streams, done: Replayed) -> None:
    done.messages += chapter.messages
    streams.timed = chapter.timed
    for placed in chapter.placed:
        streams.step(placed.stream, placed.frame, placed.timestamp_ms)


def _export(store: SeriesStore, out: Path) -> dict[str, int]:
    """Write each measurement to a Parquet file of its own; how many rows each has."""
    rows: dict[str, int] = {}
    for measurement in sorted(store.counts()):
        table = store.select(Select(measurement, withdrawn=True))
        pq.write_table(table, out / f"{measurement}.parquet", compression="zstd")
        rows[measurement] = table.num_rows
    return rows


def _ahead(items: Iterator[_T], depth: int = 2) -> Iterator[_T]:
    """`items`, computed in another thread up to `depth` ahead; an error there is raised here."""
    with ThreadPoolExecutor(1, "decode") as pool:
        ready = deque(pool.submit(next, items, None) for _ in range(depth))
        while (item := ready.popleft().result()) is not None:
            ready.append(pool.submit(next, items, None))
            yield item


class _Behind:
    """Calls a function in another thread, in order, at most two calls behind; raises its error here."""

    def __init__(self, call: Callable[[Sequence[Outputs]], None]):
        self._call = call
        self._pool = ThreadPoolExecutor(1, "store")
        self._todo: deque[Future[None]] = deque()

    def put(self, outputs: Sequence[Outputs]) -> None:
        """Hand over outputs to write."""
        if outputs:
            while len(self._todo) > 1:
                self._todo.popleft().result()
            self._todo.append(self._pool.submit(self._call, outputs))

    def finish(self) -> None:
        """Wait until everything is written."""
        with self._pool:
            for done in self._todo:
                done.result()
