"""The embedded runtime: one loop in this process over every stream of the journal."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Protocol, runtime_checkable

from journal.protocol import Append, Journal, JournalError
from models.frame import Record
from models.restate import RestateAnswer, RestateRequest
from models.results import Outputs, SinkError
from streams.core.checkpoint import Checkpoint, CheckpointError, Checkpoints
from streams.core.leap import SLICE_S, utc
from streams.core.pipeline import PROVISIONAL_EVERY_MS, Pipeline
from streams.core.sink import Sink
from streams.runtime.answering import Answering
from streams.runtime.failing import log_new
from streams.runtime.runtime_state import RuntimeState

__all__ = ["CHECKPOINT_EVERY_S", "LocalRuntime", "WaitableJournal"]

CHECKPOINT_EVERY_S = 30.0
_BATCH_RECORDS = 200
_RETRY_S = 2.0
_GATHER_S = 0.25
_SLICES_STORED = 2
"""After so many slices what they gave is stored: a write costs much the same for one as for some."""
_ALL = 2**62
"""An offset beyond which there is nothing to wait for."""
_log = logging.getLogger(__name__)


class WaitableJournal(Journal, Protocol):
    """A journal that can say when there is more to read."""

    def wait(self, after: Mapping[str, int], timeout_s: float) -> bool:
        """Wait until some stream has a record beyond its offset in `after`; False when the time is up."""
        ...


@dataclass(slots=True)
class _Amid:
    """A stream with records that are begun.

    Attributes
    ----------
    parts : iterator of Outputs
        What is yet to be stepped of them.
    outputs : Outputs
        What was, and is not stored.
    slices : int
        Over how many slices.
    """

    parts: Iterator[Outputs]
    outputs: Outputs
    slices: int = 0


@runtime_checkable
class _KeepsRegistries(Protocol):
    def registries(self) -> list[Record]: ...


class LocalRuntime:
    """Steps every stream's pipeline, writes results, then checkpoints.

    Nothing is lost or doubled by a stop at any point: the store passes over
    readings of records that it holds, other rows are upserts, and what follows
    the last checkpoint is computed again and is equal. That holds amid a leap of now
    too, which is stepped and stored in slices: no checkpoint is taken of its stream.

    Parameters
    ----------
    journal : WaitableJournal
    store : Sink
    checkpoints : Checkpoints
    answer : callable, optional
        Gives what the store has for a stream's request to restate; without it
        settled rows stay as they are.
    checkpoint_every_s : float
        [s]
    kill_point : callable
        Called with a name at points where a crash is worth trying; for fault tests.
    slice_s : float
        How long a leap is stepped until other streams have their turn. [s]
    """

    def __init__(
        self,
        journal: WaitableJournal,
        store: Sink,
        checkpoints: Checkpoints,
        *,
        answer: Callable[[RestateRequest], Iterable[RestateAnswer]] | None = None,
        provisional_every_ms: int | None = PROVISIONAL_EVERY_MS,
        checkpoint_every_s: float = CHECKPOINT_EVERY_S,
        kill_point: Callable[[str], None] = lambda _name: None,
        slice_s: float = SLICE_S,
    ):
        self._journal = journal
        self._store = store
        self._checkpoints = checkpoints
        self._answer = answer
        self._answered: dict[str, str] = {}
        self._answering: dict[str, Answering] = {}
        self._forwards: list[tuple[str, bytes]] = []
        self._unwritten: list[Outputs] = []  # of what was stepped: it cannot be stepped again
        self._begun_at: dict[str, int] = {}
        self._provisional_every_ms = provisional_every_ms
        self._checkpoint_every_s = checkpoint_every_s
        self._kill_point = kill_point
        self._slice_s = slice_s
        self._pipelines: dict[str, Pipeline] = {}
        self._saved: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._amid: dict[str, _Amid] = {}  # streams amid a leap
        self._stood: dict[str, int] = {}  # the last records of streams that cannot go on
        self.status = RuntimeState()

    def load(self) -> None:
        """Take up every stream where its last checkpoint left it; one that cannot be read starts anew."""
        for stream, checkpoint in self._kept().items():
            try:
                pipeline = Pipeline.restore(checkpoint, provisional_every_ms=self._provisional_every_ms)
            except CheckpointError as error:
                _log.warning("%s: the stream is computed anew from the journal", error)
                continue
            self.status.restating = {**self.status.restating, stream: pipeline.restating}
            self._pipelines[stream] = pipeline
            self._saved[stream] = self._done[stream] = pipeline.offset
        self._begun_at = {stream: last for stream, (last, _) in self._journal.streams().items()}

    def _restate(self, stop: threading.Event) -> None:
        """Answer what streams ask of the store, once it holds what they asked about: frames of the journal.

        A long answer is appended in turns, each when the one before is stepped. What a crash left behind may
        stand answered in the journal: that is stepped first.
        """
        if self._answer is None:
            return
        for stream, pipeline in self._pipelines.items():
            request = pipeline.request
            if pipeline.leap is not None or request is None or self._answered.get(stream) == request.name:
                continue
            if pipeline.offset < self._begun_at.get(stream, -1):
                continue
            answering = self._answering.get(stream)
            begun = answering is not None and answering.request == request.name
            if answering is not None and begun and pipeline.offset < answering.until:
                continue
            try:
                if answering is None or not begun:
                    answering = self._answering[stream] = Answering(request.name, self._answer(request))
                turn = answering.turn()
            except SinkError as error:
                self._answering.pop(stream, None)
                self._degrade(error, stop)
                return
            self._kill_point("answering")
            records = self._journal.append([Append(stream, frame, pipeline.now_ms) for frame in turn])
            if answering.handed_out(records[-1].offset):
                self._answered[stream] = request.name
                del self._answering[stream]

    def _forward(self) -> None:
        """Append what streams have to tell each other; no checkpoint passes what is not appended."""
        if not self._forwards:
            return
        known = self._journal.streams()
        items = [Append(s, frame, known[s][1] if s in known else None) for s, frame in self._forwards]
        self._journal.append(items)
        self._forwards.clear()
        self._kill_point("forwarded")

    def _kept(self) -> dict[str, Checkpoint]:
        try:
            return self._checkpoints.load()
        except CheckpointError as error:
            _log.warning("%s: it is put aside, and every stream is computed anew from the journal", error)
            self._checkpoints.clear()
            return {}

    def run(self, stop: threading.Event) -> None:
        """Go on until `stop` is set, then checkpoint."""
        self.load()
        saved_at = time.monotonic()
        unsaid = bool(self._pipelines)
        while not stop.is_set():
            try:
                stepped = self.pass_once(stop)
                if stepped:
                    unsaid = True
                elif unsaid:
                    # On the data clock nothing moves now until more data comes: say what there is to say,
                    # and ask for what came late; what is asked is answered in the next pass.
                    self.report(stop)
                    for pipeline in self._pipelines.values():
                        pipeline.ask()
                    unsaid = False
                if time.monotonic() - saved_at >= self._checkpoint_every_s:
                    self.save(stop)
                    saved_at = time.monotonic()
                self.status.state, self.status.detail = "ok", ""
                known = {s: p.offset for s, p in self._pipelines.items()}
                self._journal.wait(known | dict.fromkeys(self._stood, _ALL), 0.5)
                if not any(self.status.lag.values()):
                    # A transaction costs much the same for one record as for many: let some gather.
                    stop.wait(_GATHER_S)
            except (JournalError, CheckpointError) as error:
                self._degrade(error, stop)
            except SinkError as error:
                # Stopped while the store was away: what was stepped is not stored, so it is not checkpointed.
                _log.warning(
                    "stopped while degraded: %s; the next start goes on from the last checkpoint", error
                )
                return
        self._leave(stop)

    def _leave(self, stop: threading.Event) -> None:
        """Say and keep what can be; of a stream amid a leap nothing, as of a crash."""
        for stream, leap in self.status.leaps.items():
            _log.warning("stream %s is stopped amid a leap; the next start begins it anew: %s", stream, leap)
        try:
            self.report(stop)
            self.save(stop)
        except (CheckpointError, JournalError, SinkError) as error:
            _log.warning("at the stop: %s; the next start goes on from the last checkpoint", error)

    def pass_once(self, stop: threading.Event) -> int:
        """Step what the journal has for each stream, a batch or a slice of a leap each, and store it.

        Returns how many records it stepped, those amid a leap included.
        """
        stepped = 0
        behind: dict[str, int] = {}
        for stream, (last, _) in sorted(self._journal.streams().items()):
            if stream in self._stood:
                continue
            pipeline = self._pipelines.get(stream)
            if pipeline is None:
                pipeline = Pipeline(stream, provisional_every_ms=self._provisional_every_ms)
                self._pipelines[stream] = pipeline
            if last > pipeline.offset:
                stepped += self._step(pipeline)
            behind[stream] = max(0, last - pipeline.offset)
        # Before these records count as stored: who sees that nothing is behind sees what is to be restated.
        self.status.restating = {s: p.restating for s, p in self._pipelines.items()}
        self._kill_point("stepped")
        self._write(stop)
        self._kill_point("stored")
        self._forward()
        self._restate(stop)
        self._show_leaps()
        self._show_failing()
        self.status.lag = behind
        self.status.records += stepped - len(self._amid)
        now_ms = {s: p.now_ms for s, p in self._pipelines.items() if p.now_ms is not None}
        # Of a stream that stands still now stands, too, and grows old.
        self.status.now_ms = {s: ms for s, ms in self.status.now_ms.items() if s in self._stood} | now_ms
        return stepped

    def _step(self, pipeline: Pipeline) -> int:
        """Step records of a stream until they end or a leap has had its time; how many, that one included."""
        stream, until, stepped = pipeline.stream, time.monotonic() + self._slice_s, 0
        amid = self._amid.pop(stream, None)
        if amid is None:
            records = self._journal.read(stream, pipeline.offset, _BATCH_RECORDS)
            if pipeline.offset < 0 and records:
                if records[0].offset > 0:
                    pipeline.begin_anew(self._journal.streams()[stream][0])
                records = [*self._registry_before(records[0]), *records]
            begun = Outputs(stream, pipeline.offset)
            amid = _Amid(chain.from_iterable(map(pipeline.steps, records)), begun)
        try:
            for part in amid.parts:
                amid.outputs.merge(part)
                if pipeline.leap is None:
                    stepped += 1
                elif time.monotonic() >= until:
                    stepped += 1
                    amid.slices += 1
                    if amid.slices < _SLICES_STORED:
                        self._amid[stream] = amid
                        return stepped
                    self._amid[stream] = _Amid(amid.parts, Outputs(stream, pipeline.offset))
                    break
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, others are to go on
            self._stand_still(pipeline, error)
        self._unwritten.append(amid.outputs)
        return stepped

    def _stand_still(self, pipeline: Pipeline, error: Exception) -> None:
        """Step a stream no more: what it holds may be half of a record, and others are to go on.

        The next start begins with its last checkpoint.
        """
        del self._pipelines[pipeline.stream]
        self._stood[pipeline.stream] = pipeline.offset
        if pipeline.now_ms is not None:
            self.status.now_ms = {**self.status.now_ms, pipeline.stream: pipeline.now_ms}
        told = f"after record {pipeline.offset}: {type(error).__name__}: {error}"
        self.status.standing = {**self.status.standing, pipeline.stream: told}
        _log.error("stream %s stands still until the next start, %s", pipeline.stream, told, exc_info=error)

    def _registry_before(self, first: Record) -> list[Record]:
        """The registry of a stream whose beginning is forgotten: journals keep it aside."""
        if not isinstance(self._journal, _KeepsRegistries):
            return []
        before = [
            r for r in self._journal.registries() if r.stream == first.stream and r.offset < first.offset
        ]
        # As old as what follows, so that now does not lie where nothing is known any more.
        return [replace(r, timestamp_ms=first.timestamp_ms) for r in before[-1:]]

    def _show_leaps(self) -> None:
        """Have `status` say which streams are amid a leap; its beginning and its end stand in the log."""
        before = self.status.leaps
        amid = {s: p.leap for s, p in self._pipelines.items()}
        leaps = {s: leap for s, leap in amid.items() if leap is not None and leap.long}
        for stream, leap in (leaps | before).items():
            if stream not in before:
                _log.info("stream %s catches up: %s", stream, leap)
            elif stream not in leaps:
                _log.info("stream %s has caught up with a leap to %s", stream, utc(leap.to_ms))
        self.status.leaps = leaps

    def _show_failing(self) -> None:
        before = self.status.failing
        self.status.failing = {s: found for s, p in self._pipelines.items() if (found := p.failures)}
        log_new(before, self.status.failing, _log)

    def _write(self, stop: threading.Event) -> None:
        """Write what is not written yet, in one transaction, trying until the store has it."""
        said = [outputs for outputs in self._unwritten if not outputs.empty]
        if said:
            self._put(said, stop)
        self._done.update({outputs.stream: outputs.offset for outputs in self._unwritten})
        self._forwards.extend(forward for outputs in self._unwritten for forward in outputs.forwards)
        self._unwritten.clear()

    def _put(self, said: list[Outputs], stop: threading.Event | None) -> None:
        while True:
            try:
                self._store.write(said)
            except SinkError as error:
                if stop is None:
                    raise
                self._degrade(error, stop)
                if stop.is_set():
                    raise
            else:
                return

    def report(self, stop: threading.Event) -> None:
        """Have every stream say what it can: what is asked after a stop is as new as what was journalled."""
        self._unwritten.extend(p.report() for p in self._whole())
        self._write(stop)

    def save(self, stop: threading.Event | None = None) -> None:
        """Keep a checkpoint of every stream that moved; its results are stored already.

        The store is tried until `stop` is set; without one, once.

        The store is told first how far that is, records without results included: one that has not come as
        far as a checkpoint is an older copy, or another one.
        """
        moved = [p for p in self._whole() if self._saved.get(p.stream, -1) != p.offset]
        if not moved:
            return
        self._forward()
        self._put([Outputs(p.stream, p.offset) for p in moved], stop)
        self._checkpoints.save([p.checkpoint() for p in moved])
        self._saved.update({p.stream: p.offset for p in moved})
        self._kill_point("checkpointed")

    def _whole(self) -> list[Pipeline]:
        """The pipelines that are between two records."""
        return [p for p in self._pipelines.values() if p.leap is None]

    def stepped(self) -> dict[str, int]:
        """The last record of each stream that was computed; its results may wait for the store."""
        return self._stood | {stream: pipeline.offset for stream, pipeline in list(self._pipelines.items())}

    def offsets(self) -> dict[str, int]:
        """The last record of each stream whose results are stored."""
        return dict(self._done)

    def _degrade(self, error: Exception, stop: threading.Event) -> None:
        if self.status.detail != str(error):
            _log.warning("degraded: %s", error)
        self.status.state, self.status.detail = "degraded", str(error)
        stop.wait(_RETRY_S)
