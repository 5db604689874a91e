"""The pipeline of one stream: records in, results out, by nothing but the records."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.frame import Frame, FrameError, FrameKind, Record
from models.restate import RestateAnswer, RestateRequest
from models.results import Outputs
from streams.core.arriving import Arriving, poison
from streams.core.checkpoint import Checkpoint
from streams.core.containing import Failure
from streams.core.entity_operator import EntityOperator, MarkOperator
from streams.core.leap import Leap, part_of
from streams.core.operator import (
    Learner,
    LedgerOperator,
    NetworkOperator,
    Operator,
    SampleOperator,
    WindowOperator,
    discovered,
)
from streams.core.registering import Registering
from streams.core.restated import computed_again, networks_again, why_of
from streams.core.row_engine import Changed
from streams.core.stream_state import StreamState
from streams.core.telling import Telling

__all__ = ["PROVISIONAL_EVERY_MS", "Pipeline", "PipelineError"]

PROVISIONAL_EVERY_MS = 10_000
_HEARD = frozenset({FrameKind.TELEMETRY, FrameKind.EVENT})
"""Kinds of frames that devices' messages make."""
_ENTITIES_EVERY_MS = 21_600_000
"""How often entities are computed where nothing provisional is asked for. [ms]"""
IntArray = NDArray[np.int64]


class PipelineError(RuntimeError):
    """A record that cannot follow the ones before it."""


class Pipeline:
    """Runs every operator over one stream.

    Parameters
    ----------
    stream : str
    operators : sequence of Operator, optional
        All that are discovered, if not given.
    provisional_every_ms : int or None
        How often, in the stream's own time, rows are rewritten while their
        windows fill; None gives only settled rows (for offline replay). [ms]

    Attributes
    ----------
    leap : Leap or None
        The record in the midst of which it is, None between two records.
    """

    def __init__(
        self,
        stream: str,
        operators: Sequence[Operator] | None = None,
        *,
        provisional_every_ms: int | None = PROVISIONAL_EVERY_MS,
    ):
        self.stream = stream
        self.leap: Leap | None = None
        self.operators = tuple(discovered() if operators is None else operators)
        self._every_ms = provisional_every_ms
        samplers = [o for o in self.operators if isinstance(o, SampleOperator)]
        ledgers = [o for o in self.operators if isinstance(o, LedgerOperator)]
        windows = [o for o in self.operators if isinstance(o, WindowOperator)]
        networks = [o for o in self.operators if isinstance(o, NetworkOperator)]
        learners = [o for o in self.operators if isinstance(o, Learner)]
        entities = [o for o in self.operators if isinstance(o, EntityOperator)]
        marks = [o for o in self.operators if isinstance(o, MarkOperator)]
        provisional = provisional_every_ms is not None
        self._state = StreamState(
            stream, windows, networks, learners, entities, marks, provisional=provisional
        )
        self._telling = Telling(stream, self._state, ledgers)
        self._arriving = Arriving(stream, self._state, samplers, self._telling)
        self._registering = Registering(stream, self._state, self._arriving, self._telling)

    @property
    def offset(self) -> int:
        """Of the last record wholly stepped, -1 at the start."""
        leap = self.leap  # other threads ask, too
        return self._state.offset if leap is None else leap.offset

    @property
    def now_ms(self) -> int | None:
        """The stream's now: the largest timestamp of the records wholly stepped. [ms UTC]"""
        leap = self.leap
        return self._state.now_ms if leap is None else leap.from_ms

    def begin_anew(self, to_offset: int) -> None:
        """Know that this stream was computed before, up to `to_offset`, from records that are no longer kept.

        What nobody can tell any more it does not say of the time up to then, and says to be unknown after.
        """
        self._state.entities.beginning.anew_to = to_offset

    def begin_at(self, ms: int) -> None:
        """Know when the stream began at the latest, where no record tells: messages came before them."""
        if self._state.entities.beginning.hear(ms, 0):
            self._state.entities.know()

    # -- records in ---------------------------------------------------------------

    def step(self, record: Record) -> Outputs:
        """Take in one record and give all that follows from it; otherwise as `steps`."""
        outputs = Outputs(self.stream, record.offset)
        for part in self.steps(record):
            outputs.merge(part)
        return outputs

    def steps(self, record: Record) -> Iterator[Outputs]:
        """Take in one record and give what follows from it, one end of windows after the other.

        So a leap of now over many of them needs no more memory than over one, and who steps can do other
        things between. All parts but the last bear the offset of the record before: what is stored of them
        is written again, and is equal, where the record is stepped again. Until the last part is asked for,
        `leap` says how far it is, and neither another record nor a checkpoint is taken.

        A heartbeat that does not move now says that nothing is under way (on the data clock
        now stands still then): all that can be said is said, as by `report`.

        Raises
        ------
        PipelineError
            If the record is not of this stream or not after the last one, or that one is not wholly stepped.
        """
        self._expect(record)
        outputs, held = Outputs(self.stream, record.offset), Outputs(self.stream, record.offset)
        offset, from_ms = self.offset, self.now_ms
        now_ms, quiet = self._begin(record, outputs)
        from_ms = done_ms = now_ms if from_ms is None else from_ms
        for end_ms, told in self._telling.close(now_ms):
            outputs.merge(told)
            self._state.entities.take_rows(outputs)
            done_ms = max(done_ms, end_ms)
            self.leap = Leap(offset, from_ms, now_ms, done_ms)
            yield part_of(outputs, offset, held)
            outputs = Outputs(self.stream, record.offset)
        self.leap = None
        self._end(now_ms, outputs, quiet=quiet)
        held.merge(outputs)
        yield held

    def _expect(self, record: Record) -> None:
        if record.stream != self.stream or record.offset <= self.offset:
            raise PipelineError(
                f"expected a record of stream {self.stream!r} after offset {self.offset}, "
                f"got {record.stream!r} at {record.offset}"
            )
        self._expect_whole(f"record {record.offset}")

    def _expect_whole(self, what: str) -> None:
        if self.leap is not None:
            raise PipelineError(
                f"stream {self.stream!r}: expected all of the record after {self.offset} to be stepped, "
                f"got {what}"
            )

    def _begin(self, record: Record, outputs: Outputs) -> tuple[int, bool]:
        """Take a record in; what now is after it (ms UTC), and whether it says that nothing is under way."""
        now_ms = record.timestamp_ms if self.now_ms is None else max(self.now_ms, record.timestamp_ms)
        self._state.moving_to_ms = self._state.failures.now_ms = now_ms
        if now_ms > 0:  # under the data clock a stream is at 0 until it has a sample: that is no day
            self._state.book.open(now_ms)
        quiet = False
        try:
            frame = Frame.decode(record.frame)
            quiet = frame.kind is FrameKind.HEARTBEAT and now_ms == self.now_ms
            self._take(frame, record, outputs)
        except FrameError as error:
            self._arriving.refused(outputs, record, [poison(record, error)])
        self._state.offset, self._state.now_ms = record.offset, now_ms
        if self._state.entities.beginning.stepped(record.offset, now_ms):
            self._state.entities.know()
        self._telling.mark_before_close(now_ms)
        return now_ms, quiet

    def _end(self, now_ms: int, outputs: Outputs, *, quiet: bool) -> None:
        """Say what is left to say of a record whose windows are closed."""
        self._telling.ledger(outputs, self._state.book.days.close(now_ms - self._state.ledger_lateness_ms()))
        self._state.forget_segments()
        if self._every_ms is not None and (
            quiet or self._state.refreshed_ms is None or now_ms - self._state.refreshed_ms >= self._every_ms
        ):
            self._state.refreshed_ms = now_ms
            self._telling.windows(
                outputs, self._state.engine.refresh(now_ms, self._state.site, self._state.buffers)
            )
            self._telling.ledger(outputs, self._state.book.changed(now_ms, whole=quiet))
            self.ask()
        self._tell_entities(now_ms, outputs, quiet=quiet and self._every_ms is not None)

    def _tell_entities(self, now_ms: int, outputs: Outputs, *, quiet: bool) -> None:
        """Let entities see what was told, and tell of them from time to time."""
        state = self._state
        state.entities.take_rows(outputs)
        if now_ms <= 0:  # as in `_begin`
            return
        every_ms = _ENTITIES_EVERY_MS if self._every_ms is None else self._every_ms
        if quiet or state.entities_ms is None or now_ms - state.entities_ms >= every_ms:
            state.entities_ms = now_ms
            self._telling.entities(now_ms, outputs, always=quiet)

    # -- restatement ----------------------------------------------------------------

    @property
    def site_id(self) -> str:
        """Of the registry that the stream had last, empty before the first."""
        return self._state.registry.id

    @property
    def request(self) -> RestateRequest | None:
        """What the stream waits for of the store, to be answered by `RestateAnswer` frames in its journal."""
        return self._state.restatements.request

    @property
    def restating(self) -> int:
        """How many quarters of an hour of devices and of networks wait to be restated."""
        return self._state.restatements.quarters

    @property
    def anew_to(self) -> int | None:
        """The last record that was there when it was computed anew without its beginning; None else."""
        return self._state.entities.beginning.anew_to

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What operators could not compute in the last two hours of now, since this pipeline was made."""
        return self._state.failures.recent()

    @property
    def all_failures(self) -> tuple[Failure, ...]:
        """The same of all of its time."""
        return self._state.failures.all()

    def ask(self) -> RestateRequest | None:
        """Ask for what changed in windows that are no longer open; None while an answer is under way.

        `step` does so whenever it rewrites provisional rows. Where now stands still,
        and in a pipeline without those, it is to be called once no record is at hand.
        """
        state = self._state
        return state.restatements.ask(
            self.stream,
            self.offset,
            state.kept_from_ms(),
            state.engine.operators,
            state.rows,
            state.site,
            state.buffers,
            state.entities.marking.reads,
            state.book.is_whole,
        )

    def _take_restatement(self, frame: Frame, record: Record, outputs: Outputs) -> None:
        answer = RestateAnswer.decode(frame)
        state, now_ms = self._state, self.now_ms or 0
        request = state.restatements.request
        if request is not None and request.networks:
            parts = state.restatements.gathered(answer)
            if parts is not None:
                forgotten_ms = state.engine.forgotten_ms
                again = networks_again(
                    parts, request, state.rows, state.index, now_ms, state.site, forgotten_ms
                )
                self._telling.networks(outputs, again)
                # What is at hand and rests on these was computed when its own sources changed, not these.
                changed: Changed = {}
                for each in again:
                    changed.setdefault(each.operator.name, set()).add((each.network.id, each.start_ms))
                self._telling.networks(outputs, self._telling.follow(changed, state.site))
        if not state.restatements.answered(answer):
            return  # of a request that was answered before, or asked again
        computed = computed_again(
            answer,
            state.engine.operators,
            state.index,
            state.site,
            state.engine.states,
            state.engine.forgotten_ms,
            state.failures,
        )
        state.entities.marking.again(answer, state.index, state.site)
        self._telling.windows(outputs, computed, why=why_of(answer))
        for operator, start_ms, rows in computed:
            self._ask_for_networks(operator, start_ms, rows.device)
        if answer.last and self._every_ms is not None:
            state.offset = record.offset
            self.ask()

    def _ask_for_networks(self, operator: WindowOperator, start_ms: int, devices: IntArray) -> None:
        """Note what rests on rows that changed but are not at hand any more."""
        rows, engine = self._state.rows, self._state.engine
        if not rows.networks:
            return
        for name, step_ms in rows.changed(operator, start_ms, devices, self._state.site)[operator.name]:
            if rows.reach(name, step_ms, step_ms + 1, self._state.site)[0] < engine.forgotten_ms:
                self._state.restatements.network(name, step_ms)

    def settled_ms(self) -> int | None:
        """When all windows that hold samples will be final, if nothing more comes. [ms UTC]"""
        of_windows = self._state.engine.settled_ms(self._state.site, self._state.buffers)
        newest_ms = self._state.newest_event_ms
        if newest_ms is None or self._state.entities.idle:
            return of_windows
        of_events = newest_ms + 1000 * self._state.registry.lateness_s + 1
        return of_events if of_windows is None else max(of_windows, of_events)

    def report(self) -> Outputs:
        """What can be said right now, without waiting for the next rewrite: for a clean stop."""
        outputs = Outputs(self.stream, self.offset)
        if self.now_ms is not None and self._every_ms is not None:
            self._telling.windows(
                outputs, self._state.engine.refresh(self.now_ms, self._state.site, self._state.buffers)
            )
            self._telling.ledger(outputs, self._state.book.changed(self.now_ms, whole=True))
            self._state.entities.take_rows(outputs)
            self._telling.entities(self.now_ms, outputs, always=True)
        return outputs

    def finish(self) -> Outputs:
        """What is left to say when no record will ever come again: the open days of the ledger, entities.

        So are windows at hand that were settled before a sample came which they rest on.
        """
        outputs = Outputs(self.stream, self.offset)
        if self.now_ms is not None:
            self._telling.windows(
                outputs, self._state.engine.refresh(self.now_ms, self._state.site, self._state.buffers)
            )
            self._state.entities.take_rows(outputs)
            self._telling.entities(self.now_ms, outputs, always=True)
        if self._state.book.days.kept:
            self._telling.ledger(outputs, self._state.book.finish())
        return outputs

    def _take(self, frame: Frame, record: Record, outputs: Outputs) -> None:
        entities = self._state.entities
        if frame.kind in _HEARD and entities.beginning.hear(_oldest_ms(frame), record.timestamp_ms):
            entities.know()
        if frame.kind is FrameKind.TELEMETRY:
            self._arriving.telemetry(frame, record, outputs)
        elif frame.kind is FrameKind.EVENT:
            self._registering.events(frame)
        elif frame.kind is FrameKind.REFUSAL:
            self._arriving.refused(outputs, record, frame.batch.to_pylist())
        elif frame.kind is FrameKind.REGISTRY:
            self._registering.register(json.loads(frame.batch.column("payload")[0].as_py()), record, outputs)
            # A registry may hold from the beginning of time; the day is that of the stream's now.
            now_ms, timezone = self._state.moving_to_ms, self._state.registry.timezone
            self._telling.ledger(outputs, self._state.book.set_timezone(timezone, now_ms))
        elif frame.kind is FrameKind.RESTATE:
            self._take_restatement(frame, record, outputs)
        elif frame.kind is FrameKind.ACTION:
            self._registering.actions(frame, record, outputs)

    # -- checkpoints ----------------------------------------------------------------------

    def checkpoint(self) -> Checkpoint:
        """The whole state after the last record.

        Raises
        ------
        PipelineError
            If that is not wholly stepped.
        """
        self._expect_whole("a checkpoint to take")
        return self._state.checkpoint()

    @classmethod
    def restore(
        cls,
        checkpoint: Checkpoint,
        operators: Sequence[Operator] | None = None,
        *,
        provisional_every_ms: int | None = PROVISIONAL_EVERY_MS,
    ) -> Pipeline:
        """Continue where `checkpoint` was taken.

        Raises
        ------
        streams.core.checkpoint.CheckpointError
            A part is missing or of another version.
        """
        self = cls(checkpoint.stream, operators, provisional_every_ms=provisional_every_ms)
        self._state.load(checkpoint)
        return self


def _oldest_ms(frame: Frame) -> int:
    """Time of the oldest sample of a frame, 0 where it has none. [ms UTC]"""
    if frame.kind is not FrameKind.TELEMETRY or not frame.batch.num_rows:
        return 0
    return int(pc.min(frame.batch.column("t")).as_py())
