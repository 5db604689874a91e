"""What a worker does for one partition: step pipelines in order, and know what is not yet safe."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from journal.export import registry_texts
from models.frame import EMPTIED_STREAMS, REFUSED_STREAM, Frame, FrameError, FrameKind, Record
from models.restate import RestateAnswer, RestateRequest
from models.results import Outputs
from models.site_files import parse_site
from streams.core.checkpoint import Checkpoint, CheckpointError
from streams.core.containing import Failure
from streams.core.leap import Leap
from streams.core.pipeline import PipelineError
from streams.core.tables import dead_letter_rows
from streams.runtime.answering import Answering
from streams.runtime.checkpoint_slots import CheckpointSlots, Plan

__all__ = ["Answer", "OffsetGapError", "PartitionRun", "PipelineLike", "Pipelines", "Sink", "poison"]

_SHOWN_BYTES: Final = 4096
_HEALED = (MemoryError, CheckpointError, PipelineError)
"""What another process may not meet: for these a worker leaves."""
_log = logging.getLogger("hearthline.worker")


class OffsetGapError(RuntimeError):
    """A record was lost on the way from Kafka to the pipeline."""


Answer = Callable[[RestateRequest], Iterable[RestateAnswer]]
"""Gives what the store has for a stream's request to restate."""


class PipelineLike(Protocol):
    """What is needed of a `streams.core.pipeline.Pipeline`."""

    @property
    def site_id(self) -> str:
        """Of the registry that it had last, empty before the first."""
        ...

    @property
    def request(self) -> RestateRequest | None:
        """What it waits for of the store."""
        ...

    @property
    def now_ms(self) -> int | None:
        """The stream's now. [ms UTC]"""
        ...

    @property
    def restating(self) -> int:
        """How many quarters of an hour wait to be restated."""
        ...

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What its operators cannot compute."""
        ...

    @property
    def anew_to(self) -> int | None:
        """The last record that was there when it was computed anew without its beginning; None else."""
        ...

    @property
    def leap(self) -> Leap | None:
        """The record in the midst of which it is, None between two."""
        ...

    def steps(self, record: Record) -> Iterator[Outputs]:
        """Take in one record, part by part where now leaps."""
        ...

    def begin_anew(self, to_offset: int) -> None:
        """Know that records of before are no longer kept, and up to which it was computed with them."""
        ...

    def checkpoint(self) -> Checkpoint:
        """Give the whole state."""
        ...


class Sink(Protocol):
    """What is needed of a store: durable upserts."""

    def write(self, outputs: Sequence[Outputs]) -> None:
        """Keep all of it, durably when this returns."""
        ...


@dataclass(frozen=True, slots=True)
class Pipelines:
    """How pipelines come into being, and who answers what they ask of the store."""

    new: Callable[[str], PipelineLike]
    restore: Callable[[Checkpoint], PipelineLike]
    answer: Answer | None = None


def poison(record: Record, partition: int, detail: str) -> Outputs:
    """Dead letter of a record that no pipeline can take; its place in the journal is its key."""
    letter = {
        "id": f"{record.stream}:{partition}:{record.offset}", "at": record.timestamp_ms,
        "unit": "", "region": "", "topic": "", "device": "", "boot": None, "seq": None,
        "reason": "frame", "detail": detail,
        "payload": record.frame[:_SHOWN_BYTES], "retained": False, "state": "open",
    }  # fmt: skip
    outputs = Outputs(record.stream, record.offset)
    outputs.add("dead_letter", dead_letter_rows(record.stream, [letter]))
    return outputs


@dataclass(slots=True)
class PartitionRun:
    """One ownership of one partition, from a generation's first record to its last.

    Attributes
    ----------
    partition, generation : int
    slots : CheckpointSlots
        Loaded; its epoch is begun here.
    offset : int
        Last record stepped; the next one must follow it.
    pending : list
        Events stepped since the last checkpoint, to be acknowledged by the next.
    unsaved : int
        Records whose results the sink does not hold yet.
    poisoned : int
        Records since the start that were no frames.
    stepped_ms : int
        Time of the last record stepped, 0 before the first. [ms UTC]
    stored : int
        Last record whose results the sink holds.
    answered : dict of str to str
        By stream the last request to restate whose answer was sent.
    answering : dict of str to Answering
        By stream an answer that is sent in turns.
    retry_at : float
        Before then the store is not asked again for what it refused. [s]
    forwards : list of (str, bytes)
        Frames for other streams that Kafka has not confirmed.
    leap : Leap or None
        Amid which record it is: what it gave is to be stored, but no checkpoint is planned.
    anew_to : int or None
        Last record that was there when the partition was begun anew without its first records, else None.
    standing : dict of str to str
        Streams that cannot go on, and why: they are stepped no more, and the partition has no checkpoint, as
        that would pass over what they lack.
    """

    partition: int
    generation: int
    slots: CheckpointSlots
    offset: int
    pipelines: Pipelines
    pending: list[Any] = field(default_factory=list)
    unsaved: int = 0
    poisoned: int = 0
    stepped_ms: int = 0
    checkpointed_at: float = 0.0
    flushed_at: float = 0.0
    stored: int = -1
    answered: dict[str, str] = field(default_factory=dict)
    answering: dict[str, Answering] = field(default_factory=dict)
    retry_at: float = 0.0
    forwards: list[tuple[str, bytes]] = field(default_factory=list)
    leap: Leap | None = None
    anew_to: int | None = None
    standing: dict[str, str] = field(default_factory=dict)
    _stood_ms: dict[str, int] = field(default_factory=dict)
    _running: dict[str, PipelineLike] = field(default_factory=dict)
    _outputs: dict[str, Outputs] = field(default_factory=dict)
    _restating: dict[str, int] = field(default_factory=dict)

    @classmethod
    def load(
        cls,
        partition: int,
        generation: int,
        entries: Any,
        log_start: int,
        pipelines: Pipelines,
        log_end: int = 0,
    ) -> PartitionRun:
        """Go on from the last complete checkpoint among `entries`.

        Records below `log_start` are no longer kept; where that is past the
        checkpoint, the run begins at `log_start`. Without any checkpoint its
        streams know then that they are computed anew, up to before `log_end`.
        """
        slots = CheckpointSlots.load(partition, entries)
        slots.own(generation)
        run = cls(partition, generation, slots, max(slots.offset, log_start - 1), pipelines)
        run.stored = run.offset
        if slots.offset < 0 < log_start:
            run.anew_to = max(log_start, log_end - 1)
        for stream, checkpoint in slots.take().items():
            pipeline = run._running[stream] = run.pipelines.restore(checkpoint)
            run._restating[stream] = pipeline.restating
            if pipeline.anew_to is not None:  # nor has what is met later up to there
                run.anew_to = max(pipeline.anew_to, run.anew_to or 0)
        return run

    def step(self, key: bytes | None, offset: int, timestamp_ms: int, frame: bytes | None) -> None:
        """Take in the next record; otherwise as `steps`."""
        for _ in self.steps(key, offset, timestamp_ms, frame):
            pass

    def steps(self, key: bytes | None, offset: int, timestamp_ms: int, frame: bytes | None) -> Iterator[Leap]:
        """Take in the next record; OffsetGapError if it is not the next.

        Where now leaps over many windows, gives how far it is between them, so that what was computed can be
        stored. The record counts when all is given; a run that is given up before goes on with no other.
        """
        if offset != self.offset + 1:
            msg = (
                f"partition {self.partition}: expected record {self.offset + 1}, got {offset}:"
                " records were lost or given twice on the way"
            )
            raise OffsetGapError(msg)
        record = Record(_stream_of(key), offset, timestamp_ms, frame or b"")
        try:
            if not key:
                msg = "expected a stream as the record's key, got none"
                raise FrameError(msg)
            for one in self._addressed(record):
                if one.stream not in self.standing:
                    yield from self._steps(one)
        except FrameError as error:
            self.poisoned += 1
            self._hold(poison(record, self.partition, str(error)))
        self.offset = offset
        self.stepped_ms = timestamp_ms
        self.unsaved += 1

    def _steps(self, record: Record) -> Iterator[Leap]:
        """Let a stream take in one of its records; it stands still where it cannot."""
        stream = record.stream
        try:
            pipeline = self._pipeline(stream, record.offset)
            for part in pipeline.steps(record):
                self._hold(part)
                self.leap = pipeline.leap
                if self.leap is not None:
                    yield self.leap
            self._restating[stream] = pipeline.restating
        except (FrameError, *_HEALED):
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, others are to go on
            self._stand_still(stream, error)

    def _stand_still(self, stream: str, error: Exception) -> None:
        """Step a stream no more: what it holds may be half of a record, and others are to go on."""
        pipeline = self._running.pop(stream, None)
        if pipeline is not None and pipeline.now_ms is not None:
            self._stood_ms[stream] = pipeline.now_ms
        self.leap = None
        for known in (self._restating, self.answering, self.answered):
            known.pop(stream, None)
        told = self.standing[stream] = f"after record {self.offset}: {type(error).__name__}: {error}"
        _log.error(
            "partition %d: stream %s stands still until the next start, %s",
            self.partition, stream, told, exc_info=error,
        )  # fmt: skip

    def _addressed(self, record: Record) -> list[Record]:
        """The record; of one for emptied streams, one of each stream here that its site no longer has.

        Another site on the same topic is its own ingest's business.
        """
        if record.stream != EMPTIED_STREAMS:
            return [record]
        frame = Frame.decode(record.frame)
        if frame.kind is not FrameKind.REGISTRY:
            raise FrameError(f"expected a registry under the key {EMPTIED_STREAMS}, got {frame.kind}")
        site = parse_site(registry_texts(frame))[0]
        others = self._running.keys() - {*site.streams, REFUSED_STREAM, EMPTIED_STREAMS}
        emptied = sorted(stream for stream in others if self._running[stream].site_id == site.id)
        return [replace(record, stream=stream) for stream in emptied]

    def _hold(self, outputs: Outputs) -> None:
        """Keep what was computed until it is taken."""
        held = self._outputs.get(outputs.stream)
        if held is None:
            self._outputs[outputs.stream] = outputs
        else:
            held.merge(outputs)

    def now_ms(self) -> dict[str, int]:
        """Each stream's now, as far as it has one. [ms UTC]"""
        nows = {stream: getattr(pipeline, "now_ms", None) for stream, pipeline in list(self._running.items())}
        return self._stood_ms | {stream: ms for stream, ms in nows.items() if ms is not None}

    def leaps(self) -> dict[str, Leap]:
        """Streams amid a long leap of now, and how far they are."""
        amid = {stream: pipeline.leap for stream, pipeline in list(self._running.items())}
        return {stream: leap for stream, leap in amid.items() if leap is not None and leap.long}

    def failing(self) -> dict[str, tuple[Failure, ...]]:
        """By stream what its operators cannot compute."""
        return {stream: found for stream, p in list(self._running.items()) if (found := p.failures)}

    def restating(self) -> dict[str, int]:
        """By stream how many quarters of an hour wait to be restated, as of its last record."""
        return dict(self._restating)

    def take_outputs(self) -> list[Outputs]:
        """What was computed since the last call."""
        taken = [outputs for outputs in self._outputs.values() if not outputs.empty]
        self._outputs = {}
        return taken

    def requests(self) -> list[tuple[RestateRequest, int]]:
        """Requests to restate whose answer, or the next turn of it, can be sent; with the stream's now."""
        return [
            (request, pipeline.now_ms or 0)
            for stream, pipeline in self._running.items()
            if (request := pipeline.request) is not None
            and request.offset <= self.stored
            and self.answered.get(stream) != request.name
            and not (stream in self.answering and self.offset < self.answering[stream].until)
        ]

    def plan(self) -> Plan | None:
        """Plan a checkpoint of all streams at this record boundary; None where one of them stands still."""
        kept = list[Checkpoint]()
        for stream, pipeline in list(self._running.items()):
            try:
                kept.append(pipeline.checkpoint())
            except _HEALED:
                raise
            except Exception as error:  # noqa: BLE001  as of a step
                self._stand_still(stream, error)
        return None if self.standing else self.slots.prepare(self.offset, kept)

    def _pipeline(self, stream: str, offset: int) -> PipelineLike:
        found = self._running.get(stream)
        if found is None:
            found = self._running[stream] = self.pipelines.new(stream)
            if self.anew_to is not None and offset <= self.anew_to:
                found.begin_anew(self.anew_to)
        return found


def _stream_of(key: bytes | None) -> str:
    return key.decode("utf-8", errors="backslashreplace") if key else REFUSED_STREAM
