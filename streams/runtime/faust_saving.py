"""What a worker makes safe of what it computed: results, words to other streams, answers, checkpoints.

Each write is preceded by a look at whether the partition is still this worker's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from journal.kafka import BEGINNING_MS
from models.frame import Frame
from models.restate import RestateRequest
from models.results import Outputs, SinkError
from streams.core.checkpoint import CheckpointError
from streams.runtime.answering import Answering
from streams.runtime.failing import Failing, log_new
from streams.runtime.faust_lease import Lease
from streams.runtime.faust_partition import Answer, PartitionRun, Pipelines, Sink
from streams.runtime.faust_process import WorkerApp
from streams.runtime.faust_settings import WorkerSettings

__all__ = ["CONFIRM_SHARE", "AbandonedError", "Saving"]

CONFIRM_SHARE: Final = 0.6
"""Of the session: a checkpoint that takes longer is given up before the lease is."""
_TICK_S: Final = 0.25
_MOST_UNSAVED: Final = 4_000  # records whose results the store does not hold yet
_FIRST_BACKOFF_S: Final = 0.5
_LAST_BACKOFF_S: Final = 30.0
_HEARTBEAT: Final = Frame.heartbeat().encode()

log = logging.getLogger("hearthline.worker")


class AbandonedError(Exception):
    """The partition is another owner's by now: what was not made safe is computed again there."""


class Saving:
    """The part of a worker that gives the store and Kafka what its partitions gave.

    Parameters
    ----------
    settings : WorkerSettings
    pipelines : Pipelines
    sink : Sink
    unavailable : tuple of exception types
    leave : callable
        As of `FrameWorker`.
    """

    app: WorkerApp
    _table: Any
    _frames: Any

    def __init__(
        self,
        settings: WorkerSettings,
        pipelines: Pipelines,
        sink: Sink,
        unavailable: tuple[type[Exception], ...],
        leave: Callable[..., None],
    ):
        self.settings = settings
        self.degraded = ""
        self.checkpoint_took: Callable[[float], None] = lambda _s: None
        self._sink = sink
        self._unavailable = unavailable
        self._pipelines = pipelines
        self._leave = leave
        self._lease = Lease(settings.session_s)
        self._runs: dict[int, PartitionRun] = {}
        self._failing: dict[int, Failing] = {}
        self._saving = asyncio.Lock()
        self._room = asyncio.Event()
        self._room.set()
        # One thread: a store's connection is its own, and writes keep their order.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._moves = 0
        self._writing = False

    def _recount(self) -> None:
        """Hold back while the store is away or behind: what it lacks must not fill the memory."""
        unsaved = sum(run.unsaved for run in self._runs.values())
        if self.degraded or unsaved >= _MOST_UNSAVED:
            self._room.clear()
        else:
            self._room.set()

    async def _safely(self, run: PartitionRun, act: Callable[[PartitionRun], Any]) -> None:
        try:
            async with self._saving:
                await act(run)
        except AbandonedError:
            log.info("partition %d: given up after record %d", run.partition, run.offset)
            if self._runs.get(run.partition) is run:
                del self._runs[run.partition]
            self.degraded = ""
            self._recount()
        except TimeoutError:
            run.checkpointed_at = self._lease.now()
            log.warning(
                "partition %d: Kafka did not confirm a checkpoint in time; trying again", run.partition
            )
        except CheckpointError as error:
            self._leave(str(error))
        except SinkError as error:
            # Such as a token without rights: a new process reads it anew, and Kafka keeps what waits.
            self._leave(f"the store refuses: {error}")
        except Exception as error:
            log.exception("partition %d could not be made safe", run.partition)
            self._leave(f"{type(error).__name__}: {error}")

    def _may_write(self, run: PartitionRun) -> None:
        """Check before every write: still the owner, and within the session."""
        if (
            self._runs.get(run.partition) is not run
            or not self._current(run)
            or not self.app.flow_control.is_active()
        ):
            raise AbandonedError
        if not self._lease.valid:
            self._leave(
                f"no answered heartbeat for {self._lease.age():.1f} s: another worker may own the partitions"
            )

    def _current(self, run: PartitionRun) -> bool:
        return bool(run.generation == self.app.consumer_generation_id)

    async def _flush(self, run: PartitionRun) -> None:
        covered = len(run.pending)
        await self._write(run, run.take_outputs())
        if run.standing:  # no checkpoint comes that would let them go; the next start reads them again
            self._acknowledge(run, covered)
        failing = run.failing()
        log_new(self._failing.get(run.partition, {}), failing, log)
        self._failing[run.partition] = failing

    async def _write(self, run: PartitionRun, outputs: list[Outputs]) -> None:
        """Give the sink what was computed; holds back, and with it the source, while it is away."""
        records, stored = run.unsaved, run.offset
        backoff_s = _FIRST_BACKOFF_S
        while outputs:
            self._may_write(run)
            self._writing = True  # a store may be slow for as long as it has patience
            try:
                await asyncio.get_running_loop().run_in_executor(self._writer, self._sink.write, outputs)
                break
            except self._unavailable as error:
                self.degraded = str(error) or type(error).__name__
                self._recount()
                log.warning("degraded: the store is away, trying again in %.1f s: %s", backoff_s, error)
            finally:
                self._writing = False
            await self._hold_back(run, backoff_s)
            backoff_s = min(2 * backoff_s, _LAST_BACKOFF_S)
        if self.degraded and outputs:
            log.warning("the store answers again")
            self.degraded = ""
        run.unsaved -= records
        run.stored = max(run.stored, stored)
        run.forwards += [forward for each in outputs for forward in each.forwards]
        await self._forward(run)
        self._recount()
        run.flushed_at = self._lease.now()

    async def _forward(self, run: PartitionRun) -> None:
        """Tell other streams what they must know; a checkpoint waits until Kafka has it."""
        if not run.forwards:
            return
        self._may_write(run)
        # Of another stream's now nothing is known here: the record must not move it, unless the broker
        # gives it a time. Where now stands still, what rests on that row waits for such a heartbeat.
        beats = [(stream, _HEARTBEAT) for stream in sorted({stream for stream, _ in run.forwards})]
        sent: list[Any] = [
            await self._frames.send(key=stream.encode(), value=frame, timestamp=BEGINNING_MS / 1000)
            for stream, frame in [*run.forwards, *beats]
        ]
        done, waiting = await asyncio.wait(sent, timeout=CONFIRM_SHARE * self.settings.session_s)
        if waiting or any(future.exception() for future in done):
            raise TimeoutError
        run.forwards.clear()

    async def _restate(self, run: PartitionRun) -> None:
        """Answer what streams ask of the store, as frames of their topic; tried again at the next tick."""
        answer = self._pipelines.answer
        assert answer is not None
        for request, now_ms in run.requests():
            self._may_write(run)
            self._writing = True
            try:
                answering, turn = await asyncio.get_running_loop().run_in_executor(
                    self._writer, _turn, run.answering.get(request.stream), answer, request
                )
            except SinkError as error:
                run.answering.pop(request.stream, None)
                log.warning("a restatement waits for the store: %s", error)
                run.retry_at = self._lease.now() + _LAST_BACKOFF_S
                return
            finally:
                self._writing = False
            self._may_write(run)
            if request.stream in run.standing:
                continue
            run.answering[request.stream] = answering
            key = request.stream.encode()
            sent: list[Any] = [
                await self._frames.send(key=key, value=p, partition=run.partition, timestamp=now_ms / 1000)
                for p in [*turn, _HEARTBEAT]
            ]
            # A send error inside Faust's buffer leaves its future unresolved for ever.
            done, waiting = await asyncio.wait(sent, timeout=CONFIRM_SHARE * self.settings.session_s)
            if waiting or any(future.exception() for future in done):
                log.warning("Kafka did not confirm a restatement in time; trying again")
                return
            if request.stream in run.standing:  # since it was asked, or amid the frames of this turn
                continue
            if answering.handed_out(max(future.result().offset for future in done)):
                run.answered[request.stream] = request.name
                run.answering.pop(request.stream, None)

    async def _hold_back(self, run: PartitionRun, seconds: float) -> None:
        until = self._lease.now() + seconds
        while self._lease.now() < until:
            self._may_write(run)  # a rebalance must not wait for the store
            await asyncio.sleep(min(_TICK_S, seconds))
            self._moves += 1

    async def _checkpoint(self, run: PartitionRun) -> None:
        """Sink, then parts, then marker, then acknowledgement: each durable before the next."""
        if run.leap is not None:  # it began while this waited for its turn
            return
        # Taken together, without a pause: one record boundary.
        began = self._lease.now()
        outputs, plan, covered = run.take_outputs(), run.plan(), len(run.pending)
        await self._write(run, outputs)
        if plan is None:
            return
        await self._confirm(run, plan.parts)
        await self._confirm(run, [plan.marker])
        swept = run.slots.confirm(plan)
        self._acknowledge(run, covered)
        run.checkpointed_at = self._lease.now()
        self.checkpoint_took(run.checkpointed_at - began)
        for key in swept:
            self._table.send_changelog(run.partition, key, None)
            self._table.data.pop(key, None)

    @staticmethod
    def _acknowledge(run: PartitionRun, covered: int) -> None:
        """Let the first events go; Kafka's commits are no position, and only show lag."""
        for event in run.pending[:covered]:
            event.ack()
        del run.pending[:covered]

    async def _confirm(self, run: PartitionRun, writes: list[tuple[bytes, bytes]]) -> None:
        self._may_write(run)
        futures = [self._table.send_changelog(run.partition, key, value) for key, value in writes]
        # A send error inside Faust's buffer leaves its future unresolved for ever.
        done, waiting = await asyncio.wait(futures, timeout=CONFIRM_SHARE * self.settings.session_s)
        if waiting:
            raise TimeoutError
        for future in done:
            future.result()
        self._may_write(run)
        # Only what Kafka confirmed: what is read back here must be what a successor would read.
        for key, value in writes:
            self._table.data[key] = value


def _turn(
    answering: Answering | None, answer: Answer, request: RestateRequest
) -> tuple[Answering, list[bytes]]:
    """The answer to `request`, begun or to be begun, and its next turn."""
    if answering is None or answering.request != request.name:
        answering = Answering(request.name, answer(request))
    return answering, answering.turn()
